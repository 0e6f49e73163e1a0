"""PointMaze: a ball that is pushed through a maze (Gymnasium-Robotics' `PointMaze_*-v3`).

Source: GuDA (Corrado et al. 2024, arXiv 2310.18247; `point_maze_aug_function.py`). A segment is moved to a place p~, mirrored and
rotated by R::

    position   p_t      ->  p~ + R (p_t - p_0)
    velocity   v_t      ->  R v_t
    force      a_t      ->  R a_t
    reward              ->  1[|p_{t+1} - goal| <= 0.45], or exp(-|p_{t+1} - goal|)

`potential` is minus the length of the way to the goal; `aim` takes the rotation whose displacement lies nearest to that way.

What differs from the published code, on purpose: the directions come from a breadth-first search; a transition that touches a wall,
before or after, is rejected (the code looks at the new place alone); segments are mirrored too, which is a symmetry as well; goals may
be drawn anew, since here each episode has its own; with `rotation="any"`, which the code has for ants alone, a segment is rejected where
the simulator would cut its forces or velocities.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from assay.augmentation.mazes import Maze, MazeSimulator
from assay.augmentation.plane import Motions
from assay.augmentation.simulator import Simulator
from assay.datasets.registry import register

__all__ = ["PointMaze"]

_MOST_SPEED, _MOST_FORCE = 5.0, 1.0  # of each component; the simulator cuts what is more


@register("point_maze")
class PointMaze(Maze):
    """The ball of PointMaze.

    Parameters
    ----------
    map, goals, rotation, mirrored, dense, episodic
        See `Maze`.

    Examples
    --------
    >>> domain = PointMaze(map="umaze")
    >>> goal = np.array([[-1.0, -1.0]])  # bottom left; the way leads from the top left round the wall
    >>> domain.potential({"achieved_goal": np.array([[-1.0, 1.0]]), "desired_goal": goal}).tolist()
    [-6.0]
    """

    scale: ClassVar[float] = 1.0
    clearance: ClassVar[float] = 0.11  # radius 0.1, and the margin of contacts
    ids: ClassVar[str] = "PointMaze_"
    sizes: ClassVar[tuple[int, ...]] = (4,)

    def turned(  # noqa: D102
        self, observation: np.ndarray, actions: np.ndarray, motions: Motions, places: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        made = np.empty(observation.shape)
        made[..., :2] = places
        made[..., 2:] = motions(observation[..., 2:])
        forces = motions(actions)
        if self.rotation == "quarter":
            return made, forces, np.ones(len(made), bool)
        possible = np.ones(len(made), bool)
        for before, after, most in ((observation[..., 2:], made[..., 2:], _MOST_SPEED), (actions, forces, _MOST_FORCE)):
            possible &= (np.maximum(np.abs(before), np.abs(after)) <= most).all(axis=(1, 2))
        return made, forces, possible

    def simulator(self) -> Simulator:  # noqa: D102
        return _PointSimulator(self)


class _PointSimulator(MazeSimulator):
    def __init__(self, domain: Maze) -> None:
        super().__init__(domain)
        from gymnasium_robotics.envs.maze.point_maze import PointMazeEnv

        self._environment: Any = PointMazeEnv(**self.options)
        self._environment.reset(seed=0)

    def environment(self, observation: np.ndarray) -> tuple[Any, Any]:
        return self._environment, self._environment.point_env

    def state(self, observation: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return observation[:2], observation[2:]
