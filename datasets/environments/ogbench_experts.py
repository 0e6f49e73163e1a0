"""Experts for OGBench's environments, which decide by the observation alone: a planner for the mazes of the point, and OGBench's oracle for a cube.

`PointPlanner` is what OGBench collects the data of the point with: the next cell on a shortest path is looked up, and the action is the direction to its
centre. Here it heads for the goal itself once that lies in the same or the next cell, and comes to rest there. The path takes no notice of teleports,
which OGBench's does not either.

`CubeOracle` asks OGBench's `CubeMarkovOracle`, which reads the simulation, with what the observation says of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.datasets.environments import planners
from assay.datasets.errors import ConfigError

__all__ = ["CUBE", "GRIPPER", "MAZES", "SCALE", "CubeOracle", "PointPlanner"]

Array = NDArray[np.float64]

MAZES: Mapping[str, tuple[str, ...]] = {
    "medium": planners.MAZES["medium"],
    "large": planners.MAZES["large"],
    "giant": (
        "################",
        "#.#......##....#",
        "#.#.##.#.#..##.#",
        "#...#..#...#...#",
        "#.###.######.#.#",
        "#...#...#....#.#",
        "###.#.#..#.#.###",
        "#...#..#...#...#",
        "#.#.#.######.#.#",
        "#.###...#...##.#",
        "#.....#...#....#",
        "################",
    ),
    "teleport": (
        "############",
        "#.....#.#..#",
        "##.#...#..##",
        "##.###.....#",
        "#....#.#.#.#",
        "#.##.#.#.#.#",
        "#.##.#.#.#.#",
        "#....#...#.#",
        "############",
    ),
}
"""Walls (#) of OGBench's mazes, row by row in the direction of y."""
CELL = 4.0  # width; the middle of the cell in row 1 and column 1 is the origin
STEP = 0.2  # how far an action of 1 goes


@dataclass(frozen=True)
class PointPlanner:
    """A shortest path through the cells of a maze, and steps along it.

    Parameters
    ----------
    maze : tuple of str
        As in `MAZES`.

    Examples
    --------
    >>> rows = np.zeros(1, [("achieved_goal", "f8", (2,)), ("desired_goal", "f8", (2,))])
    >>> rows["achieved_goal"], rows["desired_goal"] = [0, 4], [8, 8]  # row 2, column 1; to row 3, column 3
    >>> PointPlanner(MAZES["medium"])(rows)  # right first, then down
    array([[1., 0.]])
    """

    maze: tuple[str, ...]

    def __call__(self, observations: Any) -> Array:
        """Return displacements ``[n, 2]``, of length 1 or less."""
        states, goals = observations["achieved_goal"], observations["desired_goal"]
        away = np.array([self.target(state, goal) for state, goal in zip(states, goals)]).reshape(-1, 2) - states
        moves: Array = away / np.maximum(STEP, np.hypot(away[:, :1], away[:, 1:]))
        return moves

    def to_dict(self) -> dict[str, Any]:
        """Return what decides its actions, as JSON values."""
        return {"kind": "point-planner", "maze": list(self.maze)}

    def target(self, position: Array, goal: Array) -> Array:
        """Return the point to head for."""
        here, there = cell(position), cell(goal)
        following = planners.next_cells(self.maze, there).get(here, there)
        return goal if following == there else CELL * (np.array(following[::-1]) - 1.0)


def cell(point: Array) -> tuple[int, int]:
    """Return the (row, column) of a point (x, y)."""
    column, row = np.floor(point / CELL + 1.5)
    return int(row), int(column)


GRIPPER, GRIPPER_YAW, OPENING, CONTACT = slice(12, 15), slice(15, 17), 17, 18
CUBE, CUBE_YAW = slice(19, 22), slice(26, 28)
"""Where the state of one cube and the arm holds places, yaws (cosine, sine), and how far the gripper is open and what it touches."""
SCALE, CENTRE = 10.0, (0.425, 0.0, 0.0)
"""A place in a state is SCALE times its distance from CENTRE in metres."""
OPENING_SCALE = 3.0


@dataclass(frozen=True)
class CubeOracle:
    """OGBench's Markov oracle for one cube: grasp it, carry it to its place, release it, and go to where the gripper is in the goal.

    Parameters
    ----------
    least_move : float
        The oracle's `min_norm`: moves that would be shorter are made longer, metres.

    Raises
    ------
    ConfigError
        If OGBench is not installed.
    """

    least_move: float = 0.4

    def __call__(self, observations: Any) -> Array:
        """Return actions ``[n, 5]`` for states ``[n, 28]``."""
        try:
            from ogbench.manipspace.oracles.markov.cube_markov import CubeMarkovOracle
        except ModuleNotFoundError as error:
            raise ConfigError(f"{error.name} is not installed: pip install 'assay[ogbench]'") from error
        oracle = CubeMarkovOracle(env=None, min_norm=self.least_move)
        actions = np.zeros((len(observations), 5))
        for row, (state, goal) in enumerate(zip(observations["achieved_goal"], observations["desired_goal"])):
            oracle._final_pos, oracle._final_yaw = place(goal[GRIPPER]), yaw(goal[GRIPPER_YAW])
            oracle._step = 0  # of what it counts, to give up
            actions[row] = oracle.select_action(None, told(state, goal))
        return actions

    def to_dict(self) -> dict[str, Any]:
        """Return what decides its actions, as JSON values."""
        return {"kind": "cube-oracle", "least_move": self.least_move}


def told(state: Array, goal: Array) -> dict[str, Any]:
    """Return what the oracle reads of a simulation, by its names."""
    return {
        "proprio/effector_pos": place(state[GRIPPER]),
        "proprio/effector_yaw": [yaw(state[GRIPPER_YAW])],
        "proprio/gripper_opening": state[OPENING] / OPENING_SCALE,
        "proprio/gripper_contact": state[CONTACT],
        "privileged/target_block": 0,
        "privileged/block_0_pos": place(state[CUBE]),
        "privileged/block_0_yaw": [yaw(state[CUBE_YAW])],
        "privileged/target_block_pos": place(goal[CUBE]),
        "privileged/target_block_yaw": [yaw(goal[CUBE_YAW])],
    }


def place(entries: Array) -> Array:
    """Return a place in metres."""
    return entries / SCALE + CENTRE


def yaw(entries: Array) -> float:
    """Return an angle, given its cosine and sine."""
    return float(np.arctan2(entries[1], entries[0]))
