"""Planned experts: they take shortest ways, and never through a wall or into the lava."""

from __future__ import annotations

import numpy as np
import pytest

from assay.datasets.collection.policy_returns import episode_returns
from assay.datasets.environments import planners
from assay.datasets.environments.planners import MAZES, LavaGapPlanner, MazePlanner
from assay.datasets.environments.pool import EnvironmentPool
from assay.datasets.errors import ConfigError

LAYOUTS = [(column, row) for column in (2, 3, 4) for row in (1, 2, 3, 4, 5)]


@pytest.mark.parametrize("name", MAZES)
def test_the_mazes_are_those_of_the_simulator(name: str) -> None:
    maps = pytest.importorskip("gymnasium_robotics.envs.maze.maps")
    theirs = {"umaze": maps.U_MAZE, "medium": maps.MEDIUM_MAZE, "large": maps.LARGE_MAZE}[name]
    assert [[1 if cell == "#" else 0 for cell in row] for row in MAZES[name]] == theirs


def test_the_next_cell_is_on_a_shortest_path() -> None:
    following = planners.next_cells(MAZES["umaze"], (3, 1))
    path, cell = [(1, 1)], (1, 1)
    while cell != (3, 1):
        cell = following[cell]
        path.append(cell)
    assert path == [(1, 1), (1, 2), (1, 3), (2, 3), (3, 3), (3, 2), (3, 1)]
    assert len(following) == sum(row.count(".") for row in MAZES["umaze"])


def test_a_maze_of_anything_else_is_refused() -> None:
    for maze in (("##", "#"), ("#x",)):
        with pytest.raises(ConfigError, match="equal length"):
            MazePlanner(maze)


@pytest.mark.parametrize(
    ("name", "environment_id"), [("umaze", "PointMaze_UMaze-v3"), ("medium", "PointMaze_Medium-v3")]
)
def test_the_planner_reaches_every_goal(name: str, environment_id: str) -> None:
    pytest.importorskip("gymnasium_robotics")
    with EnvironmentPool(environment_id, 4, workers=0) as pool:
        returns, _ = episode_returns(pool, MazePlanner(MAZES[name]), range(8))
    assert (returns > 100).all()  # one for every step at the goal


@pytest.mark.parametrize("gap", LAYOUTS)
def test_every_layout_of_lava_gap_is_solved_in_the_fewest_actions(gap: tuple[int, int]) -> None:
    pytest.importorskip("minigrid")
    actions, distances = planners.lava_gap_actions(7), planners.lava_gap_distances(7, gap)
    views = dict(planners.lava_gap_views(7, gap, [pose for pose, distance in distances.items() if distance]))
    pose = (1, 1, 0)
    for left in range(distances[pose], 0, -1):
        assert distances[pose] == left
        pose = planners.outcome(pose, actions[views[pose]], 7)
    assert pose[:2] == (5, 5)


def test_what_is_planned_on_is_what_the_simulator_shows() -> None:
    pytest.importorskip("minigrid")
    with EnvironmentPool("assay/MiniGrid-LavaGapS7-v0", 4, workers=0) as pool:
        returns, lengths = episode_returns(pool, LavaGapPlanner(), range(20))
    np.testing.assert_allclose(returns, 1 - 0.9 * lengths / 196)
    assert lengths.max() <= 11
    with pytest.raises(ConfigError, match="no view of LavaGap"):
        LavaGapPlanner()(np.full((1, 98), 3.0))
