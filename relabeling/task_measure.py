"""How near what a step led to is to the goal of its task, as known from the environment; for scripted teachers.

The rewards of some tasks say nothing about a single frame: CartPole pays 1 for every step, PointMaze 1 at the goal alone. A teacher that
compares frames needs what a person would look at:

==========  =========================================================================================================
CartPole    1 - max(angle / 12 degrees, position / 2.4): how far it is from failing
Pendulum    cosine of the angle: how upright it is
PointMaze   minus the length of the way to the target through the cells of the maze
any other   its reward
==========  =========================================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.environments.planners import MazePlanner, next_cells
from assay.datasets.environments.specification import read_spec
from assay.datasets.errors import ConfigError
from assay.datasets.missing import require_labels
from assay.datasets.transform import Transform, register

__all__ = ["MEASURE", "TaskMeasure"]

MEASURE = "infos/task_measure"
_LARGEST_ANGLE, _LARGEST_POSITION = 12 * 2 * np.pi / 360, 2.4  # where an episode of CartPole ends


def _cart_pole(dataset: Dataset) -> np.ndarray:
    after = dataset.next_observations
    measured: np.ndarray = 1.0 - np.maximum(
        np.abs(after[:, 2]) / _LARGEST_ANGLE, np.abs(after[:, 0]) / _LARGEST_POSITION
    )
    return measured


def _pendulum(dataset: Dataset) -> np.ndarray:
    measured: np.ndarray = dataset.next_observations[:, 0]
    return measured


def _point_maze(dataset: Dataset) -> np.ndarray:
    spec = read_spec(dataset.info.env_spec)
    if spec is None or "maze_map" not in spec.kwargs:
        raise ConfigError("the environment of the dataset does not say its maze (maze_map)")
    planner = MazePlanner(tuple("".join("#" if cell == 1 else "." for cell in row) for row in spec.kwargs["maze_map"]))
    after = dataset.next_observations
    return np.array([-_way(planner, here, goal) for here, goal in zip(after["achieved_goal"], after["desired_goal"])])


def _way(planner: MazePlanner, here: np.ndarray, goal: np.ndarray) -> float:
    """Return the length of the way from a point to a goal: to the next cell's centre, and 1 for each cell behind it."""
    following, cell, there = next_cells(planner.maze, planner.cell(goal)), planner.cell(here), planner.cell(goal)
    cells = 0
    while cell != there and cell in following:
        cell, cells = following[cell], cells + 1
    return float(np.linalg.norm(planner.target(here, goal) - here)) + max(0, cells - 1)


_MEASURES: Mapping[str, Callable[[Dataset], np.ndarray]] = {
    "CartPole": _cart_pole,
    "Pendulum": _pendulum,
    "assay/SparsePendulum": _pendulum,
    "PointMaze_": _point_maze,
}


@register("relabeling.task_measure")
class TaskMeasure(Transform):
    """Add the column `infos/task_measure`, (N,) float32: the nearer to the goal, the larger.

    Examples
    --------
    >>> import assay
    >>> dataset = TaskMeasure()(assay.load("pendulum/random", steps=400))
    >>> bool((dataset.column("infos/task_measure") <= 1.0).all())
    True
    """

    def apply(self, dataset: Dataset) -> Dataset:  # noqa: D102
        environment = dataset.info.environment_id or ""
        for beginning, measure in _MEASURES.items():
            if environment.startswith(beginning):
                return dataset.replace({MEASURE: measure(dataset).astype(np.float32)})
        require_labels(dataset, "rewards", by="a task measure where none is known of the environment")
        return dataset.replace({MEASURE: dataset.rewards.astype(np.float32)})
