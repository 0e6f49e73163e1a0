from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from assay.datasets.environments.pool import EnvironmentPool
from assay.datasets.errors import CollectionError, ConfigError

MISBEHAVING = "misbehaving:Misbehaving-v0"


@pytest.fixture(autouse=True)
def misbehaving_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def alive(process_id: int) -> bool:
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def gone(process_ids: list[int], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while any(map(alive, process_ids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(alive, process_ids))


def trajectory(workers: int, environment_id: str = "Hopper-v5") -> list[np.ndarray]:
    with EnvironmentPool(environment_id, 5, workers) as pool:
        columns = [pool.reset(np.arange(5), np.arange(5) + 100)]
        generator = np.random.default_rng(0)
        for _ in range(5):
            slots = np.sort(generator.permutation(5)[:3])
            columns += pool.step(slots, generator.uniform(-1, 1, (3, *pool.action_space.shape)))
    return columns


def test_numbers_do_not_depend_on_the_workers() -> None:
    here = trajectory(workers=0)
    for workers in (1, 3):
        for left, right in zip(here, trajectory(workers)):
            assert left.dtype == right.dtype
            np.testing.assert_array_equal(left, right)


def test_rows_come_back_in_the_order_of_the_slots_asked_for() -> None:
    with EnvironmentPool("Pendulum-v1", 5, workers=2) as pool:
        forward = pool.reset([0, 1, 2, 3, 4], [10, 11, 12, 13, 14])
        backward = pool.reset([4, 3, 2, 1, 0], [14, 13, 12, 11, 10])
        np.testing.assert_array_equal(forward, backward[::-1])
        assert forward.dtype == np.float32


def test_discrete_actions_and_observations() -> None:
    with EnvironmentPool("FrozenLake-v1", 2, workers=1, kwargs={"is_slippery": False}) as pool:
        assert pool.reset([0, 1], [0, 0]).tolist() == [0, 0]
        observations, _, _, _ = pool.step([0, 1], [1, 2])
        assert observations.tolist() == [4, 1]
        assert '"FrozenLake-v1"' in str(pool.spec_json)


def test_an_ended_slot_must_be_reset_first() -> None:
    with EnvironmentPool(MISBEHAVING, 2, workers=0) as pool:
        with pytest.raises(ConfigError, match="reset them first"):
            pool.step([0], [[0.0]])
        pool.reset([0, 1], [0, 1])
        for _ in range(5):
            terminations = pool.step([1], [[0.5]])[2]
        assert terminations.tolist() == [True]
        with pytest.raises(ConfigError, match=r"\[1\]"):
            pool.step([0, 1], [[0.0], [0.0]])
        pool.step([0], [[0.0]])


@pytest.mark.parametrize(
    ("slots", "actions", "message"),
    [([0, 0], [[0.0], [0.0]], "distinct"), ([2], [[0.0]], "below 2"), ([0], [0.0], "shape"), ([0.5], [[0.0]], "integ")],
)
def test_impossible_requests_are_refused(slots: list[int], actions: list[object], message: str) -> None:
    with EnvironmentPool(MISBEHAVING, 2, workers=0) as pool:
        pool.reset([0, 1], [0, 1])
        with pytest.raises(ConfigError, match=message):
            pool.step(slots, actions)


def test_an_environment_that_prints_does_not_corrupt_the_protocol() -> None:
    with EnvironmentPool(MISBEHAVING, 2, workers=1, kwargs={"fault": "print"}) as pool:
        observations = pool.reset([0, 1], [3, 4])
        rewards = pool.step([0, 1], [[0.25], [0.5]])[1]
    with EnvironmentPool(MISBEHAVING, 2, workers=0) as pool:
        np.testing.assert_array_equal(observations, pool.reset([0, 1], [3, 4]))
    assert rewards.tolist() == [0.25, 0.5]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_environment_that_raises_names_slot_and_cause(workers: int) -> None:
    pool = EnvironmentPool(MISBEHAVING, 3, workers, kwargs={"fault": "raise"})
    process_ids = [process.pid for process in pool._processes]
    pool.reset([0, 1, 2], [0, 1, 2])
    pool.step([1], [[0.0]])
    pool.step([1], [[0.0]])
    with pytest.raises(CollectionError, match=r"Misbehaving-v0.*slot 1.*ValueError: the simulation exploded"):
        pool.step([0, 1, 2], [[0.0]] * 3)
    assert gone(process_ids)
    with pytest.raises(ConfigError, match="closed"):
        pool.step([0], [[0.0]])


@pytest.mark.parametrize("workers", [0, 1])
def test_an_environment_that_cannot_be_made_names_the_cause(workers: int) -> None:
    with pytest.raises(CollectionError, match=r"Misbehaving-v0.*slot 0.*no display"):
        EnvironmentPool(MISBEHAVING, 2, workers, kwargs={"fault": "make"})
    with pytest.raises(CollectionError, match="Hoper"):
        EnvironmentPool("Hoper-v5", 1, workers)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_space_that_cannot_be_collected_is_named(workers: int) -> None:
    with pytest.raises(CollectionError, match=r"observation space Dict.*Text.*only Box and Discrete"):
        EnvironmentPool(MISBEHAVING, 1, workers, kwargs={"space": "text"})


def test_a_killed_worker_is_named_and_no_process_is_left() -> None:
    pool = EnvironmentPool("CartPole-v1", 4, workers=2)
    process_ids = [process.pid for process in pool._processes]
    pool.reset([0, 1, 2, 3], [0, 1, 2, 3])
    os.kill(process_ids[1], signal.SIGKILL)
    with pytest.raises(CollectionError, match=rf"worker 1 \(process {process_ids[1]}\).*CartPole-v1.*1, 3.*SIGKILL"):
        pool.step([0, 1, 2, 3], [0, 0, 0, 0])
    assert gone(process_ids)


def test_batches_begun_together_give_what_they_give_one_after_the_other() -> None:
    actions = np.linspace(-1, 1, 15).reshape(5, 3)
    with EnvironmentPool("Hopper-v5", 5, workers=2) as pool:
        pool.reset(np.arange(5), np.arange(5))
        expected = [pool.step(slots, actions[slots]) for slots in ([0, 1, 2], [4, 3])]
        pool.reset(np.arange(5), np.arange(5))
        pool.step_async([0, 1, 2], actions[:3])
        pool.step_async([4, 3], actions[[4, 3]])
        with pytest.raises(ConfigError, match="step_wait"):
            pool.reset([0], [0])
        for outcome in expected:
            for left, right in zip(outcome, pool.step_wait()):
                np.testing.assert_array_equal(left, right)
        with pytest.raises(ConfigError, match="no step"):
            pool.step_wait()


def test_a_killed_worker_is_started_anew_where_asked_and_only_its_episodes_are_lost() -> None:
    with EnvironmentPool("Hopper-v5", 4, workers=0) as pool:
        first = pool.reset(np.arange(4), np.arange(4))
        second = pool.step(np.arange(4), np.zeros((4, 3)))[0]
    with EnvironmentPool("Hopper-v5", 4, workers=2, restart=True) as pool:
        pool.reset(np.arange(4), np.arange(4))
        killed = pool._processes[1].pid
        os.kill(killed, signal.SIGKILL)
        pool.step_async([0, 1], np.zeros((2, 3)))
        pool.step_async([2, 3], np.zeros((2, 3)))
        observations = np.concatenate([pool.step_wait()[0], pool.step_wait()[0]])
        assert pool.lost.tolist() == [False, True, False, True]
        np.testing.assert_array_equal(observations[[0, 2]], second[[0, 2]])
        (failure,) = pool.failures
        assert failure.slots.tolist() == [1, 3]
        assert f"process {killed}" in failure.cause
        with pytest.raises(ConfigError, match=r"\[1, 3\]"):
            pool.step([0, 1, 3], np.zeros((3, 3)))
        np.testing.assert_array_equal(pool.reset([3, 1], [3, 1]), first[[3, 1]])
        assert not pool.lost.any()
        np.testing.assert_array_equal(pool.step([1, 3], np.zeros((2, 3)))[0], second[[1, 3]])
        processes = [process.pid for process in pool._processes]
    assert gone([killed, *processes])


@pytest.mark.parametrize("workers", [0, 2])
def test_an_environment_that_raises_is_made_anew_where_asked(workers: int) -> None:
    with EnvironmentPool(MISBEHAVING, 2, workers, kwargs={"fault": "raise"}, restart=True) as pool:
        pool.reset([0, 1], [0, 1])
        for _ in range(3):
            pool.step([1], [[0.0]])
        assert pool.lost.tolist() == [workers == 0, True]  # all that live in one process are lost together
        assert [failure.slots.tolist() for failure in pool.failures] == [[1]]
        assert "ValueError: the simulation exploded" in pool.failures[0].cause
        pool.reset([1], [1])
        assert pool.step([1], [[0.5]])[1].tolist() == [0.5]


def test_an_aborted_call_ends_with_an_error_and_leaves_no_process() -> None:
    pool = EnvironmentPool(MISBEHAVING, 1, workers=1, kwargs={"fault": "hang"}, restart=True)
    process_ids = [process.pid for process in pool._processes]
    pool.reset([0], [0])
    with ThreadPoolExecutor(1) as executor:
        stepping = executor.submit(pool.step, [0], [[0.0]])
        pool.abort()
        with pytest.raises((CollectionError, ConfigError), match=r"SIGKILL|closed"):
            stepping.result(timeout=20)
    pool.close()
    assert gone(process_ids)


def test_a_worker_that_exits_is_named_with_its_code() -> None:
    with EnvironmentPool(MISBEHAVING, 1, workers=1, kwargs={"fault": "exit"}) as pool:
        pool.reset([0], [0])
        with pytest.raises(CollectionError, match="exit code 7"):
            pool.step([0], [[0.0]])


def test_close_does_not_wait_for_an_environment_that_hangs() -> None:
    pool = EnvironmentPool(MISBEHAVING, 1, workers=1, kwargs={"fault": "hang"})
    process_ids = [process.pid for process in pool._processes]
    pool.reset([0], [0])
    pool.step_async([0], [[0.0]])
    pool.close()  # the environment would hang for longer than a test may take
    assert gone(process_ids)


def test_a_parent_killed_outright_leaves_no_worker(tmp_path: Path) -> None:
    # No main guard, and from another folder: what a user's script looks like.
    script = tmp_path / "script.py"
    root = Path(sys.modules["assay"].__file__ or "").parent.parent
    script.write_text(
        f"import sys, time\nsys.path.insert(0, {str(root)!r})\n"
        "from assay.datasets.environments.pool import EnvironmentPool\n"
        "pool = EnvironmentPool('CartPole-v1', 2, workers=2)\n"
        "pool.reset([0, 1], [0, 1])\n"
        "print(*[process.pid for process in pool._processes], flush=True)\n"
        "time.sleep(600)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    parent = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
    )
    assert parent.stdout is not None
    process_ids = [int(word) for word in parent.stdout.readline().split()]
    assert len(process_ids) == 2
    assert all(map(alive, process_ids))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert gone(process_ids)


def test_workers_are_bounded_by_environments() -> None:
    with EnvironmentPool("CartPole-v1", 1, workers=8) as pool:
        assert len(pool._processes) == 1
    pool.close()  # twice is fine
    for wrong in ({"environments": 0}, {"environments": 1, "workers": -1}):
        with pytest.raises(ConfigError):
            EnvironmentPool("CartPole-v1", **wrong)
    with pytest.raises(ConfigError, match="survive JSON"):
        EnvironmentPool(MISBEHAVING, 1, workers=1, kwargs={"fault": object()})


def test_a_worker_of_other_code_than_the_pools_is_refused(monkeypatch) -> None:
    """Assay may be upgraded while a program runs; shared memory need not mean the same to both."""
    monkeypatch.setattr("assay.datasets.environments.pool._CODE", 1)
    with pytest.raises(CollectionError, match="upgraded since this program began"):
        EnvironmentPool("Pendulum-v1", 1, workers=1)
