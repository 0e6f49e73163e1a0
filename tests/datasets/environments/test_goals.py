"""Environments with evaluation goals: which they are, that success is rewarded, and that experts reach them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from assay.datasets.environments.arm_scripts import PushScript, ReachScript
from assay.datasets.environments.families.fetch_arms import PUSH_GOALS, REACH_GOALS
from assay.datasets.environments.families.point_mazes import EVALUATION_GOALS
from assay.datasets.environments.planners import MAZES, MazePlanner
from assay.datasets.environments.pool import EnvironmentPool
from assay.datasets.errors import CollectionError, ConfigError

pytest.importorskip("gymnasium_robotics")


def successes(pool: EnvironmentPool, policy: Any, goals: np.ndarray) -> np.ndarray:
    """Run one episode towards each goal, all at once, and return the sums of their rewards."""
    slots = np.arange(len(goals))
    observations, returns, over = (
        pool.reset(slots, 100 + slots, goals),
        np.zeros(len(goals)),
        np.zeros(len(goals), bool),
    )
    while not over.all():
        running = np.flatnonzero(~over)
        after, rewards, terminated, truncated = pool.step(running, np.clip(policy(observations[running]), -1, 1))
        observations[running] = after
        returns[running] += rewards
        over[running] = terminated | truncated
    return returns


@pytest.mark.parametrize(("title", "name"), [("UMaze", "umaze"), ("Medium", "medium")])
def test_goals_of_mazes_lie_in_their_cells_and_the_planner_reaches_them(title: str, name: str) -> None:
    goals, planner = EVALUATION_GOALS[name], MazePlanner(MAZES[name])
    assert all(MAZES[name][row][column] == "." for pair in goals for row, column in pair)
    with EnvironmentPool(f"assay/PointMaze-{title}-MultiGoal-v0", 10, workers=0) as pool:
        assert pool.evaluation_goals == len(goals) == 5
        rows = pool.reset(np.arange(10), np.arange(10), np.tile(np.arange(5), 2))
        for row, (start, goal) in zip(rows, goals * 2):
            assert planner.cell(row["observation"][:2]) == start
            assert planner.cell(row["desired_goal"]) == goal
        assert not np.array_equal(
            rows["desired_goal"][:5], rows["desired_goal"][5:]
        )  # the place within the cell is drawn
        drawn = pool.reset(np.arange(10), np.arange(10))
        assert (
            len({planner.cell(row["desired_goal"]) for row in drawn}) > 3
        )  # without a number any cell may be the goal
        assert (successes(pool, planner, np.arange(5)) == 1).all()


@pytest.mark.parametrize(
    ("task", "script", "goals"), [("Reach", ReachScript(), REACH_GOALS), ("Push", PushScript(), PUSH_GOALS)]
)
def test_goals_of_the_arm_lie_where_they_are_said_to_and_its_script_is_there_in_the_last_step(
    task: str, script: Any, goals: Any
) -> None:
    with EnvironmentPool(f"assay/Fetch{task}-MultiGoal-v0", 5, workers=0) as pool:
        rows = pool.reset(np.arange(5), np.arange(5), np.arange(5))
        between = rows["desired_goal"] - rows["desired_goal"][:1]
        np.testing.assert_allclose(between, np.array(goals) - np.array(goals)[:1], atol=1e-9)
        assert (successes(pool, script, np.arange(5)) == 1).all()
        assert successes(pool, lambda observations: np.zeros((len(observations), 4)), np.arange(5)).sum() <= 1


def test_a_worker_process_gives_the_same_goals() -> None:
    found = []
    for workers in (0, 2):
        with EnvironmentPool("assay/PointMaze-UMaze-MultiGoal-v0", 3, workers=workers) as pool:
            found.append(pool.reset([0, 1, 2], [7, 8, 9], [4, 0, 2]))
    assert all(np.array_equal(found[0][name], found[1][name]) for name in found[0].dtype.names)


def test_goals_that_there_are_not_are_named() -> None:
    with (
        EnvironmentPool("CartPole-v1", 1, workers=0) as pool,
        pytest.raises(ConfigError, match="CartPole-v1 has no evaluation goals"),
    ):
        pool.reset([0], [0], [0])
    with (
        EnvironmentPool("assay/PointMaze-UMaze-MultiGoal-v0", 1, workers=0) as pool,
        pytest.raises(CollectionError, match="there are 5 evaluation goals, and none has the number 5"),
    ):
        pool.reset([0], [0], [5])


def test_data_are_evaluated_where_they_were_recorded_with_the_goals_of_that_place() -> None:
    import assay
    from assay.datasets.environments.specification import evaluation_environment

    dataset = assay.load("pointmaze-umaze-multigoal/detours", steps=300)
    spec = evaluation_environment(dataset.info)
    assert spec is not None
    assert spec.is_plain
    assert json.loads(dataset.info.env_spec or "")["id"] == spec.id == "assay/PointMaze-UMaze-MultiGoal-v0"
