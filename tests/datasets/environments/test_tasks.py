from __future__ import annotations

import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from assay.datasets.environments.pool import EnvironmentPool
from assay.datasets.errors import CollectionError


def test_the_sparse_pendulum_is_pendulum_with_other_rewards() -> None:
    rng = np.random.default_rng(0)
    reference = gymnasium.make("Pendulum-v1")
    with EnvironmentPool("assay/SparsePendulum-v0", 1, workers=1) as pool:
        for seed in range(3):
            expected, found = reference.reset(seed=seed)[0], pool.reset([0], [seed])[0]
            for step in range(200):
                assert np.array_equal(found, expected)
                action = rng.uniform(-2, 2, 1).astype(np.float32)
                expected, _, _, over, _ = reference.step(action)
                (found,), (reward,), (terminated,), (truncated,) = pool.step([0], action[None])
                assert reward == float(np.arccos(expected[0]) < np.arccos(0.95))
                assert not terminated
                assert truncated == over == (step == 199)
    assert pool.spec_json is not None


def test_it_is_found_by_the_name_that_its_datasets_carry() -> None:
    import assay

    dataset = assay.load("pendulum-sparse/random", steps=400)
    assert dataset.info.environment_id == "assay/SparsePendulum-v0"
    assert set(np.unique(dataset.rewards)) <= {0.0, 1.0}
    assert dataset.rewards.sum() == dataset.returns.sum()


def test_minatar_is_observed_as_published_and_an_episode_depends_on_its_seed_alone() -> None:
    pytest.importorskip("minatar")
    from minatar import Environment

    actions = np.random.default_rng(0).integers(0, 6, 400)
    played: list[list[np.ndarray]] = []
    with EnvironmentPool("assay/MinAtar-SpaceInvaders-v0", 1, workers=0) as pool:
        for seed in (5, 6, 5):
            reference = Environment("space_invaders")
            reference.seed(seed)
            reference.reset()
            (observation,) = pool.reset([0], [seed])
            seen = [observation]
            for action in actions:
                grid, channels = reference.state(), reference.state().shape[-1]
                for row, column in ((0, 0), (4, 4), (9, 5)):
                    active = np.flatnonzero(grid[row, column])
                    expected = (active.max() + 1) / channels - 0.5 if len(active) else -0.5
                    assert seen[-1].reshape(10, 10)[row, column] == pytest.approx(expected)
                reward, over = reference.act(action)
                (observation,), (found,), (terminated,), (truncated,) = pool.step([0], [action])
                assert (found, terminated, truncated) == (reward, over, False)
                seen.append(observation)
                if over:
                    break
            played.append(seen)
    assert len(played[0]) != len(played[1]) or not np.array_equal(played[0], played[1])
    np.testing.assert_array_equal(played[0], played[2])


def test_the_timer_of_freeway_truncates() -> None:
    pytest.importorskip("minatar")
    with EnvironmentPool("assay/MinAtar-Freeway-v0", 1, workers=0) as pool:
        pool.reset([0], [0])
        for _ in range(3000):
            _, _, (terminated,), (truncated,) = pool.step([0], [0])
            if terminated or truncated:
                break
    assert (terminated, truncated) == (False, True)


def test_minigrid_is_observed_as_published() -> None:
    minigrid = pytest.importorskip("minigrid")
    gymnasium.register_envs(minigrid)
    reference = gymnasium.make("MiniGrid-Dynamic-Obstacles-8x8-v0")
    with EnvironmentPool("assay/MiniGrid-Dynamic-Obstacles-8x8-v0", 1, workers=0) as pool:
        assert pool.action_space.n == 3
        for seed in range(5):
            expected, (found,) = reference.reset(seed=seed)[0], pool.reset([0], [seed])
            over = False
            for action in np.random.default_rng(seed).integers(0, 3, 60):
                np.testing.assert_array_equal(
                    found, expected["image"][:, :, :2].ravel().astype(np.float32) / np.float32(10)
                )
                if over:
                    break
                expected, reward, ended, cut, _ = reference.step(action)
                (found,), (got,), (terminated,), (truncated,) = pool.step([0], [action])
                assert (got, terminated, truncated) == (pytest.approx(reward), ended, cut)
                over = ended or cut


@pytest.mark.parametrize(
    ("environment_id", "module", "extra"),
    [
        ("assay/MinAtar-Breakout-v0", "minatar", "minatar"),
        ("assay/MiniGrid-LavaGapS7-v0", "minigrid", "minigrid"),
        ("PointMaze_UMaze-v3", "gymnasium_robotics", "robotics"),
        ("assay/OGBench-pointmaze-medium-v0", "ogbench", "ogbench"),
    ],
)
def test_without_the_package_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, environment_id: str, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(CollectionError, match=rf"pip install 'assay\[{extra}\]'"):
        EnvironmentPool(environment_id, 1, workers=0)


def test_dictionary_observations_become_nested_columns_and_survive_a_store(tmp_path: Path) -> None:
    pytest.importorskip("gymnasium_robotics")
    import assay
    from assay.datasets.loading import collect_entry

    first = collect_entry("pointmaze-umaze/expert", steps=700, environments=1, workers=0)
    other = collect_entry("pointmaze-umaze/expert", steps=700, environments=3, workers=2)
    assert first == other
    assert [name for name in first.columns if name.startswith("observations")] == [
        "observations/achieved_goal",
        "observations/desired_goal",
        "observations/observation",
    ]
    assert first.observations["observation"].shape == (703, 4)
    assert first.episode_lengths.tolist() == [300, 300, 100]
    np.testing.assert_array_equal(first.observations["achieved_goal"], first.observations["observation"][:, :2])
    distance = np.linalg.norm(
        first.next_observations["achieved_goal"] - first.next_observations["desired_goal"], axis=1
    )
    np.testing.assert_array_equal(first.rewards, distance <= 0.45)
    assert first.validate().ok
    assay.save(first, tmp_path / "maze")
    assert assay.load(tmp_path / "maze") == first
    environment = gymnasium.make("PointMaze_UMaze-v3")
    for episode in (0, 2):
        state, _ = environment.reset(seed=int(first.episode_columns["seed"][episode]))
        start = int(first.episode_starts[episode])
        for step in range(start, start + int(first.episode_lengths[episode])):
            np.testing.assert_array_equal(first.observations["observation"][step + episode], state["observation"])
            state, reward, *_ = environment.step(first.actions[step])
            assert reward == first.rewards[step]
