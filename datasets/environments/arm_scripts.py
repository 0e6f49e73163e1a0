"""Written experts for the Fetch arm of Gymnasium-Robotics: reaching a place, and pushing a block to one.

Actions are displacements of the gripper, 1 for 5 cm a step, and the opening of its fingers, which both tasks ignore. Pushing decides
by geometry alone, so that it needs no memory::

    goal  <------ direction ------  block   spot            the spot lies behind the block, seen from the goal
                                     [ ]     x

    beside the block's line        up, over to above the spot, and down
    behind it, on the line         along the direction, slower near the goal, and back onto the line
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["PushScript", "ReachScript"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ReachScript:
    """Moves the gripper straight to the goal.

    Parameters
    ----------
    gain : float
        Action per metre of distance.
    """

    gain: float = 10.0

    def __call__(self, observations: Any) -> Array:
        """Return actions ``[n, 4]`` for ``observation`` ``[n, 10]`` and ``desired_goal`` ``[n, 3]``."""
        away = observations["desired_goal"] - observations["observation"][:, :3]
        return _actions(self.gain * away)

    def to_dict(self) -> dict[str, Any]:
        """Return what decides its actions, as JSON values."""
        return {"kind": "reach-script", "gain": self.gain}


@dataclass(frozen=True)
class PushScript:
    """Goes behind the block and pushes it to the goal.

    Parameters
    ----------
    gain : float
        Action per metre of distance.
    behind : float
        Distance of the spot from the middle of the block, metres.
    clearance : float
        How far above the block the gripper crosses it, metres.
    near : float
        Distance from the goal at which pushing stops, metres.
    """

    gain: float = 10.0
    behind: float = 0.08
    clearance: float = 0.08
    near: float = 0.02

    def __call__(self, observations: Any) -> Array:
        """Return actions ``[n, 4]`` for ``observation`` ``[n, 25]`` and ``desired_goal`` ``[n, 3]``."""
        states, goals = observations["observation"], observations["desired_goal"]
        gripper, block = states[:, :3], states[:, 3:6]
        way = (goals - block)[:, :2]
        left = np.hypot(*way.T)
        direction = way / np.maximum(left, 1e-9)[:, None]
        offset = (gripper - block)[:, :2]
        ahead = (offset * direction).sum(1)  # negative behind the block
        beside = offset - ahead[:, None] * direction
        spot = block[:, :2] - self.behind * direction
        high = gripper[:, 2] - block[:, 2]
        above_spot = np.hypot(*(gripper[:, :2] - spot).T) < 0.02

        pushing = (np.hypot(*beside.T) < 0.02) & (ahead < -0.03) & (ahead > -self.behind - 0.03) & (high < 0.03)
        low = ~pushing & ~above_spot & (high < self.clearance - 0.02)
        target = np.column_stack([spot, block[:, 2] + self.clearance])  # over to above the spot
        target[low, :2] = gripper[low, :2]  # up first
        target[above_spot, 2] = block[above_spot, 2]  # down
        moves = self.gain * (target - gripper)
        speed = np.clip(self.gain * left, 0.15, 1.0)[:, None]
        moves[pushing, :2] = (speed * direction - 1.5 * self.gain * beside)[pushing]
        moves[pushing, 2] = self.gain * (block - gripper)[pushing, 2]
        moves[left < self.near] = 0.0
        return _actions(moves)

    def to_dict(self) -> dict[str, Any]:
        """Return what decides its actions, as JSON values."""
        return {
            "kind": "push-script",
            "gain": self.gain,
            "behind": self.behind,
            "clearance": self.clearance,
            "near": self.near,
        }


def _actions(moves: Array) -> Array:
    """Return moves [n, 3] of the gripper as actions [n, 4]; moves faster than an action can be keep their direction."""
    fastest = np.abs(moves).max(1, keepdims=True)
    return np.column_stack([moves / np.maximum(fastest, 1.0), np.zeros(len(moves))])
