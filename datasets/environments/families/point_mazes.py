"""Gymnasium-Robotics' mazes; in those of the point, a breadth-first search followed by a controller is the expert."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from assay.datasets.environments.record import EnvironmentFamily, EnvironmentRecord, Expert

if TYPE_CHECKING:
    from assay.datasets.environments.planners import MazePlanner

__all__ = ["FAMILY"]


def maze_planner(name: str) -> MazePlanner:
    """Make the expert of a maze."""
    from assay.datasets.environments.planners import MAZES, MazePlanner

    return MazePlanner(MAZES[name])


def _record(name: str, environment_id: str) -> EnvironmentRecord:
    described = "A breadth-first search over the cells of the maze, followed by a controller,"
    return EnvironmentRecord(
        f"pointmaze-{name}",
        environment_id,
        expert=Expert(functools.partial(maze_planner, name), described, noise=0.5),
        packages=("gymnasium-robotics", "mujoco", "numpy"),
    )


FAMILY = EnvironmentFamily(
    environments=(_record("umaze", "PointMaze_UMaze-v3"), _record("medium", "PointMaze_Medium-v3")),
    prefixes=("PointMaze_", "AntMaze_"),
    module="gymnasium_robotics",
    extra="robotics",
)
