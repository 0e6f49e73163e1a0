"""A point in a plane whose reward is best where it can stay, and tempting where no data is.

::

    start       uniform in [-1, 1] x [-1, 1]
    step        s' = s + a, a in [-1, 1] x [-1, 1]
    reward      exp(-|s' - (0.5, 0)|^2 / (2 WIDTH^2)) + 0.4 s'_x   where |s'_x| <= 2, and else 0
    40 steps    then a truncation

States of the data lie in the square of the starts, so one step leads out of it, to states from which no rollout of one step
begins: they are bootstrapped from and never updated, the edge of reach of Sims et al. 2024 (arXiv 2402.12527). To stay on the
bump earns 1.2 a step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["BUMP", "EDGE", "HORIZON", "SLOPE", "WIDTH", "BumpSeeker", "EdgeOfReach", "Wanderer"]

BUMP, WIDTH, SLOPE, EDGE, HORIZON = (0.5, 0.0), 0.3, 0.4, 2.0, 40


class EdgeOfReach(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """The plane as an environment.

    Examples
    --------
    >>> environment = EdgeOfReach()
    >>> state, _ = environment.reset(seed=0)
    >>> _, reward, *_ = environment.step(np.array(BUMP) - state)
    >>> round(reward, 3)
    1.2
    """

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self) -> None:
        self._state, self._step = np.zeros(2), 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """Draw a start."""
        super().reset(seed=seed)
        self._state, self._step = self.np_random.uniform(-1.0, 1.0, 2), 0
        return self._state.astype(np.float32), {}

    def step(self, action: Any) -> Any:
        """Move."""
        self._state = self._state + np.clip(np.asarray(action, np.float64), -1.0, 1.0)
        self._step += 1
        away = float(np.square(self._state - np.array(BUMP)).sum())
        inside = abs(self._state[0]) <= EDGE
        reward = (math.exp(-0.5 * away / WIDTH**2) + SLOPE * float(self._state[0])) * float(inside)
        return self._state.astype(np.float32), reward, False, self._step == HORIZON, {}


@dataclass(frozen=True)
class BumpSeeker:
    """The best policy: straight to the bump, and then to stay.

    Examples
    --------
    >>> BumpSeeker()(np.array([[0.0, 0.25]])).tolist()
    [[0.5, -0.25]]
    """

    def __call__(self, observations: ArrayLike) -> NDArray[np.float64]:
        """Return the actions ``[n, 2]`` at states ``[n, 2]``."""
        actions: NDArray[np.float64] = np.clip(np.array(BUMP) - np.asarray(observations, np.float64), -1.0, 1.0)
        return actions

    def to_dict(self) -> dict[str, Any]:
        """Return what decides its actions, as JSON values."""
        return {"kind": "bump seeker"}


@dataclass(frozen=True)
class Wanderer:
    """A policy that never leaves the square of the starts: from every state towards a point that looks as if drawn from it.

    Examples
    --------
    >>> states = np.random.default_rng(0).uniform(-1, 1, (1_000, 2))
    >>> bool((np.abs(states + Wanderer()(states)) <= 1).all())
    True
    """

    def __call__(self, observations: ArrayLike) -> NDArray[np.float64]:
        """Return the actions ``[n, 2]`` at states ``[n, 2]``."""
        states = np.asarray(observations, np.float64)
        mixed = 4e4 * np.sin(states @ np.array([[12.9898, 39.3461], [78.233, 11.1351]]))
        actions: NDArray[np.float64] = np.clip(2.0 * (mixed - np.floor(mixed)) - 1.0 - states, -1.0, 1.0)
        return actions

    def to_dict(self) -> dict[str, Any]:
        """Return what decides its actions, as JSON values."""
        return {"kind": "wanderer"}
