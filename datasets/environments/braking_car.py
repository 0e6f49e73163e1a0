"""A car before a wall, whose brakes are bounded: the smallest problem in which a safe state is not one without a cost.

::

    start       x uniform in [0, 1], at rest
    observed    position x and speed v >= 0
    action      acceleration a in [-1, 1], held for 0.1 time units; a car that stands stays where it is while it brakes
    reward      x' - x, the way of the step
    cost        1 where x' is beyond the wall at 3, else 0
    60 steps    then a truncation; the wall does not end an episode

Braking from speed v takes the way v^2 / 2. So the car can be kept from the wall for good exactly where x + v^2 / 2 <= 3 (`viable`),
the viability kernel in closed form. Episodes start inside it: costs can always be avoided, and driving on earns more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["FASTEST", "HORIZON", "SECONDS", "WALL", "BrakingCar", "LateBraker", "Rusher", "advanced", "viable"]

WALL, FASTEST, SECONDS, HORIZON = 3.0, 2.0, 0.1, 60


def advanced(states: ArrayLike, accelerations: ArrayLike) -> NDArray[np.float64]:
    """Return the states (x, v) ``[..., 2]`` after one step with accelerations ``[...]``, by the exact motion.

    Examples
    --------
    >>> advanced([0.0, 1.0], -1.0).round(3).tolist(), advanced([0.0, 0.05], -1.0).round(5).tolist()
    ([0.095, 0.9], [0.00125, 0.0])
    """
    state = np.asarray(states, np.float64)
    position, speed = state[..., 0], state[..., 1]
    acceleration = np.clip(np.asarray(accelerations, np.float64), -1.0, 1.0)
    after = np.clip(speed + acceleration * SECONDS, 0.0, FASTEST)
    # The speed changes for this long: to the end of the step, or until the car stands or is as fast as it can be.
    changing = np.divide(after - speed, acceleration, out=np.full_like(after, SECONDS), where=acceleration != 0)
    way = 0.5 * (speed + after) * changing + after * (SECONDS - changing)
    reached: NDArray[np.float64] = np.stack([position + way, after], -1)
    return reached


def viable(states: ArrayLike) -> NDArray[np.bool_]:
    """Tell in which states (x, v) ``[..., 2]`` the car can still be kept from the wall.

    Examples
    --------
    >>> viable([[1.0, 2.0], [1.1, 2.0]]).tolist()
    [True, False]
    """
    state = np.asarray(states, np.float64)
    inside: NDArray[np.bool_] = state[..., 0] + 0.5 * state[..., 1] ** 2 <= WALL + 1e-9
    return inside


class BrakingCar(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """The car as an environment; ``info["cost"]`` of a step is 1 beyond the wall.

    Examples
    --------
    >>> environment = BrakingCar()
    >>> state, _ = environment.reset(seed=0)
    >>> bool(viable(state)), environment.step([1.0])[4]
    (True, {'cost': 0.0})
    """

    observation_space = gymnasium.spaces.Box(0.0, np.array([np.inf, FASTEST], np.float32), (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self) -> None:
        self._state, self._step = np.zeros(2), 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """Draw a position."""
        super().reset(seed=seed)
        self._state = np.array([self.np_random.uniform(0.0, 1.0), 0.0])
        self._step = 0
        return self._state.astype(np.float32), {}

    def step(self, action: Any) -> Any:
        """Drive."""
        before = float(self._state[0])
        self._state = advanced(self._state, float(np.asarray(action).reshape(())))
        self._step += 1
        cost = float(self._state[0] > WALL)
        way = float(self._state[0]) - before
        return self._state.astype(np.float32), way, False, self._step == HORIZON, {"cost": cost}


@dataclass(frozen=True)
class LateBraker:
    """The best of the safe policies: full speed for as long as the wall can be kept from afterwards, and then the brakes.

    Parameters
    ----------
    margin
        Distance from the wall that it keeps.

    Examples
    --------
    >>> LateBraker()(np.array([[0.0, 1.0], [1.2, 1.95]])).tolist()
    [[1.0], [-1.0]]
    """

    margin: float = 0.0

    def __call__(self, observations: ArrayLike) -> NDArray[np.float64]:
        """Return the actions ``[n, 1]`` at states ``[n, 2]``: the largest of 41 from which the car can still be stopped."""
        states = np.asarray(observations, np.float64)
        choices = np.linspace(1.0, -1.0, 41)
        after = advanced(states[:, None] + np.array([self.margin, 0.0]), np.broadcast_to(choices, (len(states), 41)))
        allowed = viable(after)
        allowed[:, -1] = True
        actions: NDArray[np.float64] = choices[allowed.argmax(1)][:, None]
        return actions

    def to_dict(self) -> dict[str, Any]:
        """Return what decides its actions, as JSON values."""
        return {"kind": "late braker", "margin": self.margin}


@dataclass(frozen=True)
class Rusher:
    """A policy that never brakes.

    Examples
    --------
    >>> Rusher()(np.zeros((2, 2))).tolist()
    [[1.0], [1.0]]
    """

    def __call__(self, observations: ArrayLike) -> NDArray[np.float64]:
        """Return the actions ``[n, 1]`` at states ``[n, 2]``."""
        return np.ones((len(np.asarray(observations)), 1))

    def to_dict(self) -> dict[str, Any]:
        """Return what decides its actions, as JSON values."""
        return {"kind": "rusher"}
