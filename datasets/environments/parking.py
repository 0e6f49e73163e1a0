"""The way into a parking spot, and a controller that drives it; the simulator is highway-env's `parking-v0`.

In the frame of the spot, `along` is the car's place in the direction in which it is to stand, negative in front of the spot, and `across`
is how far it is to the side. In front of the spot the way bends into the spot's line, elsewhere it leads back there first::

    in front:   heading = spot's heading - arctan(3 across / -along)       length = |p - spot|
    elsewhere:  heading = that of w - p,  w = 10 m in front of the spot    length = |p - w| + 10 m
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SCALES", "ParkingPlanner", "way_in"]

SCALES = np.array([100.0, 100.0, 5.0, 5.0, 1.0, 1.0])
"""By which highway-env divides x, y, the velocity, and the cosine and sine of the heading."""
_IN_FRONT, _RUN_UP = 1.0, 10.0  # metres before the spot's middle: the least, and where a car turns in from
_MOST_STEERING = np.pi / 4
_MOST_ACCELERATION = 5.0

Array = NDArray[np.float64]


def way_in(places: Array, spots: Array, headings: Array) -> tuple[Array, Array]:
    """Return the length of the way into a spot, metres, and the heading that it asks for at each place, radians.

    Parameters
    ----------
    places, spots
        ``[n, 2]`` metres.
    headings
        ``[n, 2]``, cosine and sine of the heading in which the car is to stand.

    Examples
    --------
    >>> length, heading = way_in(*(np.array([each]) for each in ([0.0, -5.0], [0.0, 0.0], [0.0, 1.0])))
    >>> length.tolist(), (heading / np.pi).tolist()  # straight ahead
    ([5.0], [0.5])
    """
    offset = places - spots
    along = (offset * headings).sum(-1)
    across = headings[:, 0] * offset[:, 1] - headings[:, 1] * offset[:, 0]
    in_front = along < -_IN_FRONT
    bend = np.arctan(3 * across / np.where(in_front, -along, 1.0))
    run_up = spots - _RUN_UP * headings - places
    length = np.where(in_front, np.hypot(*offset.T), np.hypot(*run_up.T) + _RUN_UP)
    heading = np.where(
        in_front, np.arctan2(headings[:, 1], headings[:, 0]) - bend, np.arctan2(run_up[:, 1], run_up[:, 0])
    )
    return length, heading


@dataclass(frozen=True)
class ParkingPlanner:
    """Steers into the heading of the way, slower the nearer the spot is.

    Parameters
    ----------
    across
        Aim so many metres beside the spot, where no episode succeeds.
    """

    across: float = 0.0

    def __call__(self, observations: Any) -> Array:
        """Return actions ``[n, 2]`` (acceleration, steering) for `observation` and `desired_goal`, each ``[n, 6]``."""
        state, goal = observations["observation"] * SCALES, observations["desired_goal"] * SCALES
        spots = goal[:, :2] + self.across * np.stack([-goal[:, 5], goal[:, 4]], -1)
        length, heading = way_in(state[:, :2], spots, goal[:, 4:])
        angle = heading - np.arctan2(state[:, 5], state[:, 4])
        angle = np.arctan2(np.sin(angle), np.cos(angle))
        speed = (state[:, 2:4] * state[:, 4:]).sum(-1)
        wanted = np.clip(length / 2, 1.5, 6.0) * np.where(np.abs(angle) > 0.5, 0.5, 1.0)
        acceleration = np.clip((wanted - speed) / (0.2 * _MOST_ACCELERATION), -1, 1)
        return np.stack([acceleration, np.clip(2 * angle / _MOST_STEERING, -1, 1)], -1)

    def to_dict(self) -> dict[str, Any]:
        """Return what decides its actions, as JSON values."""
        return {"kind": "parking-planner", "across": self.across}
