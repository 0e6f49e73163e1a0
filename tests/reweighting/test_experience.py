"""Experience selection: which steps are kept at random, by reward, and near to a policy; and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from assay.datasets import Dataset
from assay.datasets.errors import ConfigError, DatasetError
from assay.reweighting import ExperienceSelection, effective_sample_size, materialize
from assay.reweighting.followed import FollowedPolicy

QUICK = {"networks": 2, "hidden": (16, 16), "updates": 200, "batch_size": 64}


def halves(steps: int = 400) -> Dataset:
    """Episodes on a line that go up from 0 (task 0) or down (task 1), among others that wander far away."""
    rng, states, actions, tasks, lengths = np.random.default_rng(0), [], [], [], []
    for episode in range(steps // 10):
        task, far = episode % 2, episode % 4 >= 2
        moves = rng.normal(0.0, 0.1, (10, 1)) + (0.0 if far else 0.1 * (1 - 2 * task))
        start = 5.0 * far
        states.append(start + np.concatenate([np.zeros((1, 1)), np.cumsum(moves, 0)]))
        actions.append(10 * moves)
        tasks.append(np.full(11, task))
        lengths.append(10)
    return Dataset.from_arrays(
        observations={"observation": np.concatenate(states).astype(np.float32), "task": np.concatenate(tasks)},
        actions=np.concatenate(actions).astype(np.float32),
        rewards=np.random.default_rng(1).permutation(steps).astype(np.float64),
        episode_lengths=lengths,
    )


def chosen(dataset: Dataset, **options) -> np.ndarray:
    return np.flatnonzero(ExperienceSelection(**options)(dataset).weights)


def test_at_random_as_many_steps_as_asked_for_weigh_alike_and_others_nothing():
    made = ExperienceSelection(select="random", size=30, seed=3)(halves())
    assert set(np.unique(made.weights).round(9)) == {0.0, round(400 / 30, 9)}
    assert effective_sample_size(made) == pytest.approx(30)
    assert materialize(made, steps=30).total_steps == 30


def test_by_reward_the_largest_are_kept_in_each_task_of_its_own():
    dataset = halves()
    task = np.asarray(dataset.column("observations/task"))[dataset.observation_rows]
    kept = chosen(dataset, select="reward", size=7, each="task")
    for number in (0, 1):
        best = np.sort(dataset.rewards[task == number])[-7:]
        assert sorted(dataset.rewards[kept[task[kept] == number]]) == best.tolist()


@pytest.mark.parametrize(("move", "low", "high"), [(0.0, -0.25, 0.25), (1.0, 0.5, 1.3)])
def test_what_is_near_to_where_a_policy_goes_is_kept(move, low, high):
    """Episodes of task 0 go from 0 to about 1; who stays visits their beginning, who goes up ends at their ends."""
    dataset = halves()
    tasks = np.asarray(dataset.column("observations/task"))[dataset.observation_rows]
    states = np.asarray(dataset.column("observations/observation"))[dataset.observation_rows][:, 0]
    up = dataset.select([number for number in range(40) if number % 4 == 0])
    settings = ExperienceSelection(size=100, horizon=10, action_weight=0.0, **QUICK)
    followed = FollowedPolicy(
        settings, up, up.transitions(dtype=np.float32), lambda seen: np.full((len(seen["task"]), 1), move), 0
    )
    places = followed.places(np.arange(0, 100, 10))
    visited = up.transitions().observations["observation"][places, 0]
    late = visited.reshape(10, 10)[-1] if move else visited
    assert low < np.quantile(late, 0.1)
    assert np.quantile(late, 0.9) < high
    assert (np.abs(states[tasks == 0]) > 3).any()  # the data has states that neither visits


def test_near_the_cloned_policy_each_task_has_its_share_and_the_same_steps_every_time():
    dataset = halves()
    tasks = np.asarray(dataset.column("observations/task"))[dataset.observation_rows]
    select = ExperienceSelection(size=60, each="task", horizon=10, **{**QUICK, "updates": 20})
    made = select(dataset)
    counts = made.weights * 120 / 400
    assert np.allclose(counts, counts.round())  # how many times each was chosen
    assert [counts[tasks == number].sum().round() for number in (0, 1)] == [60, 60]
    assert select(dataset).fingerprint == made.fingerprint


def test_what_cannot_be_chosen_is_said():
    with pytest.raises(DatasetError, match="size=1,000 is more than the 400 steps"):
        ExperienceSelection(select="random")(halves())
    with pytest.raises(ConfigError, match="observations/room is not one of several categories"):
        ExperienceSelection(select="random", size=5, each="room")(halves())
    discrete = Dataset.from_arrays(
        observations=np.zeros((9, 1)), actions=np.zeros(8, int), rewards=np.zeros(8), episode_lengths=[8]
    )
    with pytest.raises(ConfigError, match="vectors of numbers"):
        ExperienceSelection(size=5, **QUICK)(discrete)
