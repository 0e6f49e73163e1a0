"""PointMaze: a ball that is pushed through a maze (Gymnasium-Robotics' `PointMaze_*-v3`).

Source: GuDA (Corrado et al. 2024, arXiv 2310.18247; `point_maze_aug_function.py`). A segment is moved to a place p~, mirrored and
rotated by R::

    position   p_t      ->  p~ + R (p_t - p_0)
    velocity   v_t      ->  R v_t
    force      a_t      ->  R a_t
    reward              ->  1[|p_{t+1} - goal| <= 0.45], or exp(-|p_{t+1} - goal|)

`potential` is minus the length of the way to the goal, and minus what the velocity lacks::

    potential(p, v) = -distance(p) - seconds |speed u(p) - v|            u: direction in which the way begins

With the distance alone (`speed=None`), as published, a transition is kept for where it goes. Its action then depends on the velocity and
not on the place: all places have the same transitions, turned round. So nothing shows how to steer into the way, and a policy that was
trained on it runs into walls (docs/augmentation.md). The second term keeps what turns the velocity into the way. With the distance alone,
`aim` takes the rotation whose displacement lies nearest to the way, as the published code does; else all are proposed.

What differs from the published code, on purpose: the directions come from a breadth-first search; a transition that touches a wall,
before or after, is rejected (the code looks at the new place alone); segments are mirrored too, which is a symmetry as well; goals may
be drawn anew, since here each episode has its own; with `rotation="any"`, which the code has for ants alone, a segment is rejected where
the simulator would cut its forces or velocities.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from assay.augmentation.mazes import Maze, MazeSimulator
from assay.augmentation.plane import Motions
from assay.augmentation.segments import Segments
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
    speed : float > 0, or None
        That the potential asks for along the way, metres per second; None asks for the distance alone.
    seconds : float > 0
        How much a lack of velocity counts, in seconds of it.

    Examples
    --------
    >>> domain = PointMaze(map="umaze", speed=None)
    >>> goal = np.array([[-1.0, -1.0]])  # bottom left; the way leads from the top left round the wall
    >>> domain.potential({"achieved_goal": np.array([[-1.0, 1.0]]), "desired_goal": goal}).tolist()
    [-6.0]
    """

    speed: float | None = Field(default=3.0, gt=0, allow_inf_nan=False)
    seconds: float = Field(default=0.3, gt=0, allow_inf_nan=False)

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

    def aim(self, segments: Segments, generator: np.random.Generator) -> tuple[Segments, np.ndarray]:
        """Propose rotations that turn what a segment covers into the direction of the way; with a speed, all rotations."""
        return self.augment(segments, generator) if self.speed else super().aim(segments, generator)

    def potential(self, observations: Any) -> np.ndarray:
        """Return minus the length of the way to the goal, and with a speed also what the velocity lacks, (M,)."""
        distance, heading = self.maze.way(observations["achieved_goal"], observations["desired_goal"])
        if self.speed is None:
            return -distance
        x, y = heading[:, 0], heading[:, 1]
        per_length = self.speed / np.maximum(np.sqrt(x * x + y * y), 1e-9)
        velocity = observations["observation"]
        lacking = np.sqrt((per_length * x - velocity[:, 2]) ** 2 + (per_length * y - velocity[:, 3]) ** 2)
        potential: np.ndarray = -(distance + self.seconds * lacking)
        return potential

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
