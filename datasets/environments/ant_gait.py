"""A written gait for the ant, and a planner that walks it through a maze: slow and shaky, as suboptimal data is.

No state beside the observation is kept. Each hip is an oscillator of van der Pol, which its own angle and speed keep going, and the four
are coupled so that legs across from each other swing together and neighbours in opposition::

    z_i     hip angle of leg i, counted forwards in the direction of the walk
    hip     mu (1 - (z / amplitude)^2) dz - k z + kappa (z_opposite - z + mean of neighbours' -z - z)
    ankle   gain (target - angle) - damping speed,      target: lifted while the leg swings forwards, pressed down while it goes back

The numbers come from random searches: for the metres walked in 200 steps in six directions, then for progress in the U-maze.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.datasets.environments.planners import MazePlanner

__all__ = ["AntPlanner", "walk"]

_LEGS = np.pi / 4 + np.pi / 2 * np.arange(4)
_SIDEWAYS = np.stack([-np.sin(_LEGS), np.cos(_LEGS)], 1)  # where each foot goes as its hip turns
_ANKLES = np.array([1.0, -1.0, -1.0, 1.0])  # sign of each ankle's range
_MOTORS = np.array([6, 7, 0, 1, 2, 3, 4, 5])  # motors begin with leg 4
_MU, _AMPLITUDE, _SPRING, _COUPLING = 0.24, 0.452, 2.219, 0.245
_SWING_SPEED, _BEND, _LIFT = 1.82, 0.661, -0.408  # rad/s, rad, rad
_GAIN, _DAMPING = 3.5, 0.035
_CELL = 4.0  # width, metres

Array = NDArray[np.float64]


def walk(observations: Array, directions: Array) -> Array:
    """Return motor actions ``[n, 8]`` of ants ``[n, 27 or more]`` that walk into directions ``[n, 2]`` of the world."""
    w, x, y, z = observations[:, 1:5].T
    yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    cosine, sine = np.cos(yaw), np.sin(yaw)
    own = np.stack(
        [cosine * directions[:, 0] + sine * directions[:, 1], cosine * directions[:, 1] - sine * directions[:, 0]], 1
    )
    angles, speeds = observations[:, 5:13].reshape(-1, 4, 2), observations[:, 19:27].reshape(-1, 4, 2)
    along = own[:, :1] * _SIDEWAYS[:, 0] + own[:, 1:] * _SIDEWAYS[:, 1]
    forward = np.where(along < 0, -1.0, 1.0)
    hip, hip_speed = forward * angles[..., 0], forward * speeds[..., 0]
    neighbours = (np.roll(hip, 1, axis=1) + np.roll(hip, -1, axis=1)) / 2
    coupling = _COUPLING * (np.roll(hip, 2, axis=1) - neighbours - 2 * hip)
    torque = forward * (_MU * (1 - (hip / _AMPLITUDE) ** 2) * hip_speed - _SPRING * hip + coupling)
    target = _ANKLES * (_BEND + _LIFT * np.tanh(hip_speed / _SWING_SPEED))
    ankle = _GAIN * (target - angles[..., 1]) - _DAMPING * speeds[..., 1]
    motors: Array = np.stack([torque, ankle], -1).reshape(-1, 8)[:, _MOTORS]
    return np.clip(motors, -1, 1)


@dataclass(frozen=True)
class AntPlanner:
    """Walks along a shortest path through the cells of a maze.

    Parameters
    ----------
    maze
        As of `MazePlanner`; cells are 4 m wide.
    aim
        The (row, column) of a cell to head for in place of the observed goal.
    """

    maze: tuple[str, ...]
    aim: tuple[int, int] | None = None

    def __call__(self, observations: Any) -> Array:
        """Return actions ``[n, 8]``."""
        places, goals = observations["achieved_goal"] / _CELL, observations["desired_goal"] / _CELL
        planner = MazePlanner(self.maze, aim=self.aim)
        if self.aim is not None:
            goals = np.broadcast_to(planner.centre(self.aim), goals.shape)
        targets = np.array([planner.target(place, goal) for place, goal in zip(places, goals)]).reshape(-1, 2)
        return walk(np.asarray(observations["observation"], np.float64), targets - places)

    def to_dict(self) -> dict[str, Any]:
        """Return what decides its actions, as JSON values."""
        return {"kind": "ant-planner", "maze": list(self.maze), "aim": None if self.aim is None else list(self.aim)}
