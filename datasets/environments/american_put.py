"""The American put option of R2PVI's authors (Tang, Liu & Xu 2025, arXiv 2411.18612), with features and exact returns.

The right to sell at the strike, 100, within H = 20 steps::

    start       a price from 95 to 105
    wait (0)    the price is multiplied by 1.02 with probability `up`, else by 0.98; nothing is earned
    sell (1)    earns max(0, 100 - price) and ends the episode
    step H      ends the episode; an option that was not sold earns nothing

    observed    features of both actions, [2, 31]
                wait    30 tents of width 100/30 around 80, 80 + 100/30, ...; all are 0 below a price of about 76.7
                sell    what it earns, in units of the strike, as the last feature

The published code draws one start for each dataset, from all prices between 95 and 105. Here it is one of 11 even prices in each
episode, so that expected returns are sums over the prices that can be met. That code gives selling no features: its
value is known. Here the weight of the last feature, 100, is what is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import ArrayLike, NDArray

from assay.datasets.errors import ConfigError

__all__ = ["AmericanPut", "PutModel", "features_of"]

Array = NDArray[np.float64]

STRIKE, UP, DOWN, HORIZON = 100.0, 1.02, 0.98, 20
STARTS = np.linspace(95.0, 105.0, 11)
TENTS = 30
WIDTH = 100.0 / TENTS
ANCHORS = 80.0 + WIDTH * np.arange(TENTS)


def features_of(prices: ArrayLike) -> Array:
    """Return the features ``[..., 2, 31]`` of waiting and selling at prices ``[...]``.

    Examples
    --------
    >>> features_of(91.0)[0].nonzero()[0].tolist(), float(features_of(91.0)[1, -1])
    ([3, 4], 0.09)
    """
    price = np.asarray(prices, np.float64)[..., None]
    found = np.zeros((*price.shape[:-1], 2, TENTS + 1))
    found[..., 0, :TENTS] = np.maximum(0.0, 1.0 - np.abs(price - ANCHORS) / WIDTH)
    found[..., 1, TENTS] = np.maximum(0.0, STRIKE - price[..., 0]) / STRIKE
    return found


@dataclass(frozen=True)
class PutModel:
    """The tree of prices: a state is a start, a step and how often the price went up.

    Parameters
    ----------
    up
        Probability that the price goes up.
    """

    up: float = 0.5
    horizon: int = HORIZON

    @cached_property
    def _nodes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The step and the number of ups of every node of one start's tree."""
        steps = np.repeat(np.arange(self.horizon), np.arange(1, self.horizon + 1))
        return steps, np.arange(len(steps)) - steps * (steps + 1) // 2

    @cached_property
    def prices(self) -> Array:
        """Of all states, ``[starts, nodes]``."""
        steps, ups = self._nodes
        found: Array = STARTS[:, None] * UP**ups * DOWN ** (steps - ups)
        return found

    @cached_property
    def observations(self) -> Array:
        """What is observed in all states: ``[S, 2, 31]``."""
        return features_of(self.prices.ravel())

    def expected_return(self, actions: ArrayLike) -> Array:
        """Return the exact expected return ``[P]`` of P policies, given their actions ``[P, H, S]``."""
        chosen = np.asarray(actions, np.int64)
        chosen = chosen.reshape(len(chosen), self.horizon, len(STARTS), -1)
        earned = np.maximum(0.0, STRIKE - self.prices)
        value = np.zeros((len(chosen), len(STARTS), self.horizon + 1))
        for step in reversed(range(self.horizon)):
            nodes = slice(step * (step + 1) // 2, (step + 1) * (step + 2) // 2)
            waiting = self.up * value[..., 1:] + (1 - self.up) * value[..., :-1]
            value = np.where(chosen[:, step, :, nodes] == 1, earned[:, nodes], waiting)
        found: Array = value[..., 0].mean(-1)
        return found


class AmericanPut(gymnasium.Env[Any, Any]):
    """The option as an environment.

    Parameters
    ----------
    up
        Probability that the price goes up; 0.5 in the data, and another one is a perturbation.

    Raises
    ------
    ConfigError
        If `up` is no probability.

    Examples
    --------
    >>> environment = AmericanPut()
    >>> _ = environment.reset(seed=0)
    >>> _, earned, terminated, truncated, _ = environment.step(1)
    >>> terminated, truncated, earned == max(0.0, 100 - environment.price)
    (True, False, True)
    """

    observation_space = gymnasium.spaces.Box(0.0, 1.0, (2, TENTS + 1), np.float64)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, up: float = 0.5) -> None:
        if not 0 <= up <= 1:
            raise ConfigError(f"up is the probability that the price goes up, from 0 to 1, not {up}")
        self.model = PutModel(up)
        self.price, self._step = STRIKE, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """Draw the first price."""
        super().reset(seed=seed)
        self.price, self._step = float(self.np_random.choice(STARTS)), 0
        return features_of(self.price), {}

    def step(self, action: Any) -> Any:
        """Wait or sell."""
        self._step += 1
        if int(action) == 1:
            return features_of(self.price), max(0.0, STRIKE - self.price), True, False, {}
        self.price *= UP if self.np_random.random() < self.model.up else DOWN
        return features_of(self.price), 0.0, self._step == HORIZON, False, {}
