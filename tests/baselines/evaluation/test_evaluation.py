"""Evaluation: the episodes are the same whoever runs beside them, whatever fails, and whether training waits or not."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import assay
from assay.baselines import BC, IQL, TD3BC, Evaluation, Job, Run, Suite, train
from assay.baselines.engine.data import ActionScale, ObservationScale, TrainingData
from assay.baselines.engine.population import Member, Population
from assay.baselines.evaluation.evaluation import episode_seeds, evaluate, simulators
from assay.baselines.evaluation.evaluator import Evaluator
from assay.datasets import Dataset
from assay.datasets.environments.pool import EnvironmentPool
from assay.datasets.errors import AssayWarning, CollectionError, ConfigError, UnknownNameError
from tests.baselines.problems import pendulum_like
from tests.baselines.training.test_train import ROOT, SMALL

HOPPER = (11, 3)


def actor_for(sizes: tuple[int, int], seeds: range, hidden: tuple[int, ...] = (16, 16)):
    """An untrained actor of each seed, with scales of its own."""
    observation, action = sizes
    data = [
        TrainingData(
            np.zeros((1, 2 * observation + action + 2)),
            (
                ("observations", observation),
                ("actions", action),
                ("rewards", 1),
                ("next_observations", observation),
                ("bootstraps", 1),
            ),
            np.ones(1, np.int32),
            ObservationScale(np.full(observation, 0.1 * seed), np.full(observation, 1.0 + seed)),
            ActionScale.of(-np.ones(action), np.ones(action) / (1 + seed)),
            0.0,
        )
        for seed in seeds
    ]
    members = [Member(TD3BC(hidden=hidden), seed, number) for number, seed in enumerate(seeds)]
    return Population(members, data, 1).actor()


def by_hand(actor, member: int, environment_id: str, seed: int) -> tuple[float, int]:
    """Return of one episode, in a plain Gymnasium loop with one policy call for one observation."""
    import gymnasium

    environment = gymnasium.make(environment_id)
    observation, _ = environment.reset(seed=int(seed))
    episode = actor.begin(slice(member, member + 1), 1)
    total, length, reward, over = 0.0, 0, 0.0, False
    while not over:
        (action,) = episode.act(np.array([[observation]], np.float64), np.array([[reward]]))[0]
        observation, reward, terminated, truncated, _ = environment.step(action.astype(np.float32))
        total, length, over = total + float(reward), length + 1, terminated or truncated
    return total, length


class Counting:
    """An actor whose episodes remember: it acts by the number of the step and the sum of the rewards so far."""

    members = 2

    def __init__(self, disturb=lambda step: None) -> None:
        self.disturb, self.began = disturb, []

    def begin(self, members: slice, episodes: int, seeds=None):
        self.began.append((members, episodes))
        steps, totals = 0, np.zeros((members.stop - members.start, episodes))

        class Episodes:
            def act(_, observations, rewards):
                nonlocal steps, totals
                assert observations.shape == (*totals.shape, 11)  # episodes that are over stay in the batch
                self.disturb(steps)
                steps, totals = steps + 1, totals + rewards
                offset = np.arange(members.start, members.stop)[:, None]
                return np.sin(np.stack([steps + offset + totals, observations[..., 1], totals], -1))

        return Episodes()


def test_returns_are_those_of_a_plain_loop_for_every_member_and_episode() -> None:
    actor = actor_for(HOPPER, range(3))
    result = evaluate(actor, "Hopper-v5", Evaluation(episodes=2, seed=7), workers=2)
    assert result.seeds.tolist() == episode_seeds(7, 2).tolist()
    assert result.restarts == 0
    for member in range(3):
        for episode in range(2):
            total, length = by_hand(actor, member, "Hopper-v5", result.seeds[episode])
            assert result.lengths[member, episode] == length
            assert result.returns[member, episode] == pytest.approx(total, rel=1e-4)


def test_a_member_is_evaluated_as_if_it_were_alone_bit_for_bit() -> None:
    evaluation = Evaluation(episodes=3)
    together = evaluate(actor_for(HOPPER, range(5)), "Hopper-v5", evaluation, workers=2)
    for seed in (0, 3):
        alone = evaluate(actor_for(HOPPER, range(seed, seed + 1)), "Hopper-v5", evaluation, workers=0)
        assert alone.returns[0].tolist() == together.returns[seed].tolist()
        assert alone.lengths[0].tolist() == together.lengths[seed].tolist()


@pytest.mark.parametrize(("cores", "batches"), [(2, 1), (3, 2)])
def test_batches_take_turns_only_where_the_policy_has_a_core_and_nothing_depends_on_it(monkeypatch, cores, batches):
    evaluation, actor = Evaluation(episodes=3), actor_for(HOPPER, range(5))
    expected = evaluate(actor, "Hopper-v5", evaluation, workers=0)
    monkeypatch.setattr("assay.baselines.evaluation.evaluation.usable_cores", lambda: cores)
    begun, begin = [], actor.begin
    monkeypatch.setattr(
        actor, "begin", lambda members, episodes, seeds=None: begun.append(members) or begin(members, episodes, seeds)
    )
    found = evaluate(actor, "Hopper-v5", evaluation, workers=2)
    assert len(begun) == batches
    np.testing.assert_array_equal(found.returns, expected.returns)


def test_few_simulators_serve_many_members_and_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluation = Evaluation(episodes=3)
    assert (simulators(1, evaluation), simulators(64, Evaluation()), simulators(2, Evaluation(episodes=400))) == (
        3,
        220,
        200,
    )
    expected = evaluate(actor_for(HOPPER, range(5)), "Hopper-v5", evaluation, workers=0)
    monkeypatch.setattr("assay.baselines.evaluation.evaluation._SIMULATORS_AT_A_TIME", 6)
    assert simulators(5, evaluation) == 6
    done = []
    in_parts = evaluate(
        actor_for(HOPPER, range(5)), "Hopper-v5", evaluation, workers=0, progress=lambda *state: done.append(state)
    )
    np.testing.assert_array_equal(in_parts.returns, expected.returns)
    assert done == [(6, 15), (12, 15), (15, 15)]


def test_an_actor_is_told_of_rewards_and_may_remember() -> None:
    import gymnasium

    actor = Counting()
    result = evaluate(actor, "Hopper-v5", Evaluation(episodes=2), workers=0)
    assert actor.began == [(slice(0, 1), 2), (slice(1, 2), 2)]
    environment = gymnasium.make("Hopper-v5")
    for member in range(2):
        observation, _ = environment.reset(seed=int(result.seeds[1]))
        total, step, over = 0.0, 0, False
        while not over:
            step += 1
            action = np.sin([step + member + total, observation[1], total]).astype(np.float32)
            observation, reward, terminated, truncated, _ = environment.step(action)
            total, over = total + float(reward), terminated or truncated
        assert (total, step) == (result.returns[member, 1], result.lengths[member, 1])


def test_an_actor_does_not_change_when_its_population_trains_on() -> None:
    dataset = pendulum_like()
    job = Job(IQL(**SMALL), dataset)
    data = [TrainingData.of(dataset.transitions(), job.action_scale, normalize=True)]
    population = Population([Member(job.algorithm, seed, 0) for seed in range(2)], data, 20)
    population.advance(5)
    observations = dataset.observations[:8].reshape(2, 4, 3).astype(np.float64)
    actor, before = population.actor(), population.act(observations)
    population.advance(5)
    later = population.actor()
    np.testing.assert_array_equal(actor.begin(slice(0, 2), 4).act(observations, np.zeros((2, 4))), before)
    assert not np.array_equal(population.act(observations), before)
    for member in range(2):
        later.restore(member, {name: tensor.clone() for name, tensor in actor.tensors(member).items()})
    np.testing.assert_array_equal(later.begin(slice(0, 2), 4).act(observations, np.zeros((2, 4))), before)
    np.testing.assert_array_equal(actor.begin(slice(1, 2), 4).act(observations[1:], np.zeros((1, 4))), before[1:])


def test_a_worker_killed_in_the_middle_changes_no_return() -> None:
    evaluation = Evaluation(episodes=4)
    expected = evaluate(Counting(), "Hopper-v5", evaluation, workers=2)
    with EnvironmentPool("Hopper-v5", simulators(2, evaluation), 2, restart=True) as pool:
        victims = {5: 1, 8: 0}  # step: worker, each in the first pass only

        def kill(step: int) -> None:
            if step in victims:
                os.kill(pool._processes[victims.pop(step)].pid, signal.SIGKILL)

        with pytest.warns(AssayWarning, match=r"worker \d .*Hopper-v5.*SIGKILL.*run again"):
            result = evaluate(Counting(kill), "Hopper-v5", evaluation, pool=pool)
        assert not victims
        assert result.restarts == 2
        np.testing.assert_array_equal(result.returns, expected.returns)
        np.testing.assert_array_equal(result.lengths, expected.lengths)
        again = evaluate(Counting(), "Hopper-v5", evaluation, pool=pool)  # the pool is as good as new
    assert again.restarts == 0
    np.testing.assert_array_equal(again.returns, expected.returns)


@pytest.fixture
def fragile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Have environments raise once for each file in `<seed>` of the folder that is returned."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setenv("FRAGILE", str(tmp_path))
    return tmp_path


def break_joints(folder: Path, times: int) -> None:
    folder.mkdir()
    for number in range(times):
        (folder / str(number)).touch()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_environment_that_raises_now_and_then_changes_no_return(fragile: Path, workers: int) -> None:
    actor, evaluation = actor_for((2, 1), range(2)), Evaluation(episodes=3)
    expected = evaluate(actor, "fragile:Fragile-v0", evaluation, workers=0)
    break_joints(fragile / str(expected.seeds[1]), 2)
    with pytest.warns(AssayWarning, match="the joint broke"):
        result = evaluate(actor, "fragile:Fragile-v0", evaluation, workers=workers)
    assert result.restarts == 2
    np.testing.assert_array_equal(result.returns, expected.returns)


@pytest.mark.filterwarnings("ignore::assay.datasets.errors.AssayWarning")
def test_an_environment_that_always_raises_is_an_error_with_environment_seed_and_cause(fragile: Path) -> None:
    seed = int(episode_seeds(0, 3)[2])
    break_joints(fragile / str(seed), 99)
    with pytest.raises(
        CollectionError, match=rf"3 times.*seed {seed}.*fragile:Fragile-v0.*RuntimeError: the joint broke"
    ):
        evaluate(actor_for((2, 1), range(1)), "fragile:Fragile-v0", Evaluation(episodes=3), workers=1)


def test_evaluations_beside_the_training_give_what_evaluations_one_by_one_give(tmp_path: Path) -> None:
    jobs = [Job(TD3BC(**SMALL), pendulum_like(), seed) for seed in (0, 1)]
    evaluation = Evaluation(episodes=2, every=20)
    runs = train(jobs, steps=50, runs=tmp_path, evaluation=evaluation, workers=1)
    data = [TrainingData.of(pendulum_like().transitions(), jobs[0].action_scale, normalize=True)]
    population = Population([Member(job.algorithm, job.seed, 0) for job in jobs], data, 50)
    expected = []
    for update in (20, 40, 50):
        population.advance(update - population.completed)
        expected.append(evaluate(population.actor(), "Pendulum-v1", evaluation, workers=0).returns)
    for member, run in enumerate(runs):
        table = pl.read_parquet(run.folder / "returns.parquet")
        assert table["update"].to_list() == [20, 20, 40, 40, 50, 50]
        assert table["return"].to_list() == np.stack(expected)[:, member].ravel().tolist()
        assert table["final"].to_list() == [False] * 4 + [True] * 2
        assert run.returns.tolist() == expected[-1][member].tolist()
        assert run.description["evaluation_restarts"] == 0


SCRIPT = """
import sys
from pathlib import Path
from typing import Any
from tests.baselines.evaluation.test_evaluation import train_with_evaluations

train_with_evaluations(Path(sys.argv[1]))
"""


def train_with_evaluations(folder: Path) -> list[Run]:
    jobs = [Job(TD3BC(**SMALL), pendulum_like(), seed) for seed in (0, 1)]
    evaluation = Evaluation(episodes=4, every=64)
    return train(jobs, steps=256, runs=folder, evaluation=evaluation, workers=1, checkpoint_seconds=0.0)


def evaluating(folder: Path) -> list[int]:
    """Updates whose evaluation is under way in the checkpoints of a folder."""
    found = []
    for run in [Run(file.parent) for file in sorted(folder.glob("*/run.json"))]:
        try:
            pending = [run.read_checkpoint(number)[1] for number in run.checkpoints()[-1:]]
        except FileNotFoundError:  # a later one has taken its place meanwhile
            continue
        found += [item.update for item in pending if item is not None]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_killed_while_an_evaluation_is_under_way_it_is_run_again_with_the_same_returns(
    tmp_path: Path, ending: signal.Signals
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "killed")]
    process, deadline = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.PIPE), time.time() + 60
    while len(evaluating(tmp_path / "killed")) < 2:
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.time() < deadline
        time.sleep(0.01)
    process.send_signal(ending)
    process.communicate(timeout=60)  # ends only when no worker holds the pipe any more
    assert process.returncode != 0
    assert evaluating(tmp_path / "killed")
    resumed, whole = train_with_evaluations(tmp_path / "killed"), train_with_evaluations(tmp_path / "whole")
    for left, right in zip(whole, resumed, strict=True):
        assert right.status == "finished"
        returns = pl.read_parquet(left.folder / "returns.parquet")
        assert returns.equals(pl.read_parquet(right.folder / "returns.parquet"))
        assert returns["update"].unique().sort().to_list() == [64, 128, 192, 256]


def test_what_goes_wrong_beside_the_training_fails_the_population_and_leaves_no_thread(tmp_path: Path) -> None:
    job = Job(BC(**SMALL), pendulum_like())
    nowhere = Evaluation(every=10, environment="not_there:Pendulum-v1")
    (run,) = train([job], steps=30, runs=tmp_path, evaluation=nowhere, workers=1)
    assert run.status == "failed"
    assert "not_there" in run.error
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("evaluation")]


def test_a_closed_evaluator_gives_up_what_is_in_flight_and_ends_its_processes() -> None:
    before = threading.active_count()
    evaluator = Evaluator("Hopper-v5", Evaluation(episodes=2), members=2, workers=1)
    evaluator.start(1, Counting(lambda step: time.sleep(0.01)))
    assert evaluator.collect_finished() is None
    assert evaluator.pending[0] == 1
    while evaluator._pool is None:
        time.sleep(0.01)
    (process,) = evaluator._pool._processes
    evaluator.close()
    assert process.poll() is not None
    assert threading.active_count() == before


def test_acting_beside_the_training_does_not_change_the_threads_of_torch() -> None:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with Evaluator("Hopper-v5", Evaluation(), 1, 1) as evaluator:
            assert evaluator._thread.submit(torch.get_num_threads).result() == 1
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("name", "steps", "times"),
    [("final", 1000, 1), ("sparse", 1000, 10), ("published", 1_000_000, 200), ("sparse", 5, 5)],
)
def test_presets_evaluate_so_many_times(name: str, steps: int, times: int) -> None:
    evaluation = Evaluation.preset(name, steps=steps)
    on_the_way = [] if evaluation.every is None else range(evaluation.every, steps, evaluation.every)
    assert len(on_the_way) + 1 == times
    assert evaluation.episodes == 10


def test_an_unknown_preset_is_named_with_its_neighbours() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'published'"):
        Evaluation.preset("publshed", steps=10)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"episodes": 0}, "evaluation: episodes=0: input should be greater than 0"),
        ({"cost_limit": -1}, "evaluation: cost_limit=-1: input should be greater than 0"),
        ({"cost_limit": True}, "evaluation: cost_limit=True: expected a number, not true or false"),
        ({"cost_limit": float("inf")}, "evaluation: cost_limit=inf"),
        ({"episods": 1}, "episods is not a parameter of it; did you mean 'episodes'"),
        ({"observation_noise": {"scale": -1}}, "observation_noise.scale=-1"),
    ],
)
def test_impossible_settings_are_refused_in_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        Evaluation(**given)
    assert "pydantic" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_suite_names_a_preset_that_its_budget_gives_a_length() -> None:
    plain = {
        "name": "example",
        "source": "hopper/medium",
        "variants": {"clean": []},
        "algorithms": {"bc": {}},
        "evaluation": "published",
        "budgets": {"small": {"steps": 1000, "episodes": 3}, "paper": {"steps": 1_000_000}},
    }
    suite = Suite.from_plain(plain)
    assert suite.make_evaluation(suite.budget("paper")) == Evaluation(episodes=10, every=5000)
    assert suite.make_evaluation(suite.budget("small")) == Evaluation(episodes=3, every=5)


def test_a_run_is_scored_by_its_final_evaluation_alone(tmp_path: Path) -> None:
    (run,) = train(
        [Job(BC(**SMALL), pendulum_like())],
        steps=4,
        runs=tmp_path,
        evaluation=Evaluation(episodes=2, every=1),
        workers=0,
    )
    table = pl.read_parquet(run.folder / "returns.parquet")
    assert table.filter(pl.col("final"))["update"].to_list() == [4, 4]
    assert Run(run.folder).returns.tolist() == table.filter(pl.col("update") == 4)["return"].to_list()


# -------------------------------------------------------------------- the environment of the dataset


def recorded_in(**changes) -> Dataset:
    import gymnasium

    dataset = assay.load("pendulum/random", steps=400)
    spec = gymnasium.make("Pendulum-v1", **changes).spec
    assert spec is not None
    with_spec = dataclasses.replace(dataset.info, env_spec=spec.to_json())
    return dataset.replace(info=with_spec)


def test_policies_are_evaluated_in_the_environment_that_the_data_was_recorded_in(tmp_path):
    dataset = recorded_in(max_episode_steps=50, g=1.0)
    evaluation = Evaluation(episodes=2)
    (run,) = train([Job(BC(hidden=(8,)), dataset)], steps=2, evaluation=evaluation, runs=tmp_path)
    table = pl.read_parquet(run.folder / "returns.parquet")
    assert table["length"].to_list() == [50, 50]
    assert run.description["job"]["evaluation"]["environment_spec"] == {
        "id": "Pendulum-v1",
        "kwargs": {"g": 1.0},
        "max_episode_steps": 50,
    }
    named = Evaluation(episodes=2, environment="Pendulum-v1")  # as it is registered, because it is asked for
    (run,) = train([Job(BC(hidden=(8,)), dataset)], steps=2, evaluation=named, runs=tmp_path)
    assert pl.read_parquet(run.folder / "returns.parquet")["length"].to_list() == [200, 200]


def test_jobs_in_environments_as_registered_keep_their_hash_and_others_differ():
    from assay.baselines.runs.plan import Plan

    plan = Plan(10, Evaluation(), "highest")
    job = Job(BC(), assay.load("pendulum/random", steps=400))
    same = Job(BC(), recorded_in())
    assert "environment_spec" not in plan.describe(job)["evaluation"]
    assert plan.hash(same) == plan.hash(job)
    hashes = {plan.hash(Job(BC(), recorded_in(**changes))) for changes in ({}, {"g": 1.0}, {"max_episode_steps": 50})}
    assert len(hashes) == 3
