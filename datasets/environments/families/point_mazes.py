"""Gymnasium-Robotics' mazes; in those of the point, a breadth-first search followed by a controller is the expert.

`assay/PointMaze-<map>-Goal-v0` and `assay/AntMaze-UMaze-Goal-v0` are the mazes of the GuDA paper (Corrado et al. 2024, arXiv 2310.18247): the goal is always in one cell
and the body begins anywhere else. Reaching the goal earns 1 and ends the episode, so that the return is the success. A detour heads for
the far end of the maze.

`assay/PointMaze-<map>-MultiGoal-v0` draws start and goal from the whole maze, ends at the goal with a reward of 1, and has five
evaluation goals (`goals.MazeGoals`): in the medium maze those of OGBench (Park et al. 2025, arXiv 2410.20092).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

from assay.datasets.environments.record import EnvironmentFamily, EnvironmentRecord, Expert, Registration

if TYPE_CHECKING:
    from assay.datasets.environments.ant_gait import AntPlanner
    from assay.datasets.environments.planners import MazePlanner

__all__ = ["FAMILY"]


def maze_planner(name: str) -> MazePlanner:
    """Make the expert of a maze."""
    from assay.datasets.environments.planners import MAZES, MazePlanner

    return MazePlanner(MAZES[name])


GOALS: Mapping[str, tuple[tuple[int, int], tuple[int, int]]] = {"umaze": ((3, 1), (1, 1)), "medium": ((6, 6), (1, 1))}
"""Cells (row, column) of the goal, and of the far end of the maze."""
EVALUATION_GOALS: Mapping[str, tuple[tuple[tuple[int, int], tuple[int, int]], ...]] = {
    "umaze": (((1, 1), (3, 1)), ((3, 1), (1, 1)), ((1, 1), (2, 3)), ((3, 1), (1, 3)), ((3, 3), (1, 2))),
    "medium": (((1, 1), (6, 6)), ((6, 1), (1, 6)), ((5, 3), (4, 2)), ((6, 5), (6, 1)), ((2, 6), (1, 1))),
}
"""Cells (row, column) to begin in and to reach."""
MOST_STEPS = {"umaze": 300, "medium": 600}  # as in Gymnasium-Robotics


def detour_planner(name: str) -> MazePlanner:
    """Make the controller that heads for the far end of a maze."""
    from assay.datasets.environments.planners import MAZES, MazePlanner

    return MazePlanner(MAZES[name], aim=GOALS[name][1])


def ant_planner(name: str, detour: bool) -> AntPlanner:
    """Make the ant's walk to the goal, or to the far end."""
    from assay.datasets.environments.ant_gait import AntPlanner
    from assay.datasets.environments.planners import MAZES

    return AntPlanner(MAZES[name], aim=GOALS[name][1] if detour else None)


def _ant_with_goal(name: str, title: str) -> EnvironmentRecord:
    return EnvironmentRecord(
        f"antmaze-{name}-goal",
        f"assay/AntMaze-{title}-Goal-v0",
        expert=Expert(
            functools.partial(ant_planner, name, False), "A written gait that follows a shortest path", noise=0.1
        ),
        detour=Expert(
            functools.partial(ant_planner, name, True),
            "A written gait that heads for the far end of the maze",
            noise=0.2,
        ),
        registration=Registration(
            "gymnasium_robotics.envs.maze.ant_maze_v4:AntMazeEnv",
            {"maze_map": _rows_with_goal(name), "continuing_task": False},
            max_episode_steps=700,
        ),
        packages=("gymnasium-robotics", "mujoco", "numpy"),
    )


def _rows_of(name: str) -> list[list[int | str]]:
    from assay.datasets.environments.planners import MAZES

    return [[int(cell == "#") for cell in row] for row in MAZES[name]]


def _rows_with_goal(name: str) -> list[list[int | str]]:
    rows = _rows_of(name)
    (row, column), _ = GOALS[name]
    rows[row][column] = "g"
    return rows


def _with_goal(name: str, title: str) -> EnvironmentRecord:
    described = "A breadth-first search over the cells of the maze, followed by a controller,"
    return EnvironmentRecord(
        f"pointmaze-{name}-goal",
        f"assay/PointMaze-{title}-Goal-v0",
        expert=Expert(functools.partial(maze_planner, name), described, noise=0.5),
        detour=Expert(
            functools.partial(detour_planner, name), "A planner that heads for the far end of the maze", noise=0.5
        ),
        registration=Registration(
            "gymnasium_robotics.envs.maze.point_maze:PointMazeEnv",
            {"maze_map": _rows_with_goal(name), "continuing_task": False},
            max_episode_steps=MOST_STEPS[name],
        ),
        packages=("gymnasium-robotics", "mujoco", "numpy"),
    )


def _with_goals(name: str, title: str) -> EnvironmentRecord:
    described = "A breadth-first search over the cells of the maze, followed by a controller,"
    return EnvironmentRecord(
        f"pointmaze-{name}-multigoal",
        f"assay/PointMaze-{title}-MultiGoal-v0",
        expert=Expert(functools.partial(maze_planner, name), described, noise=0.5),
        detour=Expert(
            functools.partial(detour_planner, name), "A planner that heads for the far end of the maze", noise=0.5
        ),
        registration=Registration(
            "assay.datasets.environments.goals:maze_with_goals",
            {
                "maze_map": _rows_of(name),
                "goals": [[list(start), list(goal)] for start, goal in EVALUATION_GOALS[name]],
            },
            max_episode_steps=MOST_STEPS[name],
        ),
        packages=("gymnasium-robotics", "mujoco", "numpy"),
    )


def _record(name: str, environment_id: str) -> EnvironmentRecord:
    described = "A breadth-first search over the cells of the maze, followed by a controller,"
    return EnvironmentRecord(
        f"pointmaze-{name}",
        environment_id,
        expert=Expert(functools.partial(maze_planner, name), described, noise=0.5),
        packages=("gymnasium-robotics", "mujoco", "numpy"),
    )


FAMILY = EnvironmentFamily(
    environments=(
        _record("umaze", "PointMaze_UMaze-v3"),
        _record("medium", "PointMaze_Medium-v3"),
        _with_goal("umaze", "UMaze"),
        _with_goal("medium", "Medium"),
        _with_goals("umaze", "UMaze"),
        _with_goals("medium", "Medium"),
        _ant_with_goal("umaze", "UMaze"),
    ),
    prefixes=("PointMaze_", "AntMaze_", "assay/PointMaze-", "assay/AntMaze-"),
    module="gymnasium_robotics",
    extra="robotics",
)
