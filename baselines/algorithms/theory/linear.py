r"""Backward induction on features, which PEVI, DRPVI, DRVI-L and R2PVI share.

An observation holds the features of every action, [actions, features], and the step h of an episode is counted from 0. The
methods differ in the next values' projection nu_h and in the penalty, and in nothing else.

`variance_aware` weighs every step by the inverse of its variance (VA-PEVI is VAPVI of Yin et al. 2022, arXiv 2203.05804;
VA-DRPVI that of Liu & Xu 2024, arXiv 2403.09621). The method is solved once with equal weights, and again with those that its values V give:

.. math::
    z^{(1)}_h &= \Lambda_h^{-1} \Phi^T V_{h+1}, \quad z^{(2)}_h = \Lambda_h^{-1} \Phi^T V_{h+1}^2, \quad
        \sigma_h^2(\phi) = \max(1, [\phi^T z^{(2)}_h]_{[0, H^2]} - [\phi^T z^{(1)}_h]_{[0, H]}^2) \\
    \Lambda_h &= \sum_\tau \phi_\tau \phi_\tau^T / \sigma_h^2(\phi_\tau) + \text{ridge} \cdot I, \quad
        \Lambda_h^{-1} \sum_\tau \phi_\tau V_{h+1}(s'_\tau) / \sigma_h^2(\phi_\tau)

The variance is 1 at least, so that nothing changes where values differ by less than 2. Deviations: both papers take other data for the
variance than for the rest; here it is the same data. The published code has these weights in the targets but takes the values of an
agent that was never trained, and sets one of the features only.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pydantic
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from assay.baselines.algorithms.algorithm import Memory
from assay.baselines.algorithms.direct import DirectAlgorithm, Solution
from assay.baselines.algorithms.theory.tables import column_of
from assay.baselines.engine.acting import EpisodeDraws
from assay.baselines.engine.data import TrainingData
from assay.baselines.engine.randomness import Draws
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import FixedNetwork, Table
from assay.datasets.errors import ConfigError

__all__ = ["BackwardInduction", "largest_on_grid"]

GRID = 301  # points of a search in one dimension


@dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid"))
class BackwardInduction(DirectAlgorithm):
    """Base of the linear methods: ridge regression from the last step to the first."""

    acting: ClassVar[tuple[str, ...]] = ("weights", "inverses")
    extra_columns: ClassVar[tuple[str, ...]] = ("timesteps",)
    discrete_actions: ClassVar[bool] = True
    continuous_actions: ClassVar[bool] = False

    horizon: int = Field(default=3, gt=0, kw_only=True)  # H, steps of an episode
    beta: float = Field(default=1.0, ge=0, kw_only=True)  # weight of the penalty
    ridge: float = Field(default=0.1, gt=0, kw_only=True)
    variance_aware: bool = Field(default=False, kw_only=True)  # whether steps are weighed by their variance
    # theta of each step, or one for all, where it is known; None fits it
    reward_weights: tuple[tuple[float, ...], ...] | None = Field(default=None, kw_only=True)

    @abstractmethod
    def projected(self, values: np.ndarray, projection: np.ndarray) -> np.ndarray:
        """Return nu (d,) for next values V (M,) and the projection Lambda^-1 Phi^T (d, M)."""

    @abstractmethod
    def uncertainty(self, features: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
        """Return the norm (..., n) of features (..., n, d) by inverses of Lambda (..., d, d), one for every n."""

    def networks(self, shapes: Shapes) -> dict[str, Table]:  # noqa: D102
        part, found = shapes.parts[0], [item.shape for item in shapes.parts]
        if len(shapes.parts) != 1 or len(part.shape) != 2 or part.shape[0] != shapes.action_size:
            raise ConfigError(
                f"{self.label} needs the features of every action as its observation, of shape "
                f"({shapes.action_size}, features); these have the shapes {', '.join(map(str, found))}"
            )
        features = part.shape[1]
        return {"weights": Table(self.horizon, features), "inverses": Table(self.horizon, features**2)}

    def solve(self, members: Sequence[Any], data: Sequence[TrainingData], draws: Draws) -> Solution:  # noqa: D102
        found = [member.induce(item) for member, item in zip(members, data)]
        weights, inverses = (torch.from_numpy(np.stack(parts)) for parts in zip(*found))
        return Solution({"weights": weights, "inverses": inverses.flatten(2)})

    def induce(self, data: TrainingData) -> tuple[np.ndarray, np.ndarray]:
        """Return theta_h + nu_h (H, d), and the inverse of Lambda_h (H, d, d).

        Raises
        ------
        ConfigError
            If an episode is longer than the horizon, or the known weights of rewards have another shape.
        """
        actions, rows = data.action_size, len(data.rows)
        every = column_of(data, "observations").reshape(rows, actions, -1)
        features = every[np.arange(rows), column_of(data, "actions").argmax(1)]
        following = torch.from_numpy(column_of(data, "next_observations").reshape(rows, actions, -1))
        steps, rewards = column_of(data, "timesteps"), column_of(data, "rewards")
        bootstraps, size = column_of(data, "bootstraps"), features.shape[1]
        if steps.max() >= self.horizon:
            raise ConfigError(
                f"an episode has {int(steps.max()) + 1} steps, more than the horizon {self.horizon} of {self.label}; "
                "set horizon"
            )
        known = None if self.reward_weights is None else np.array(self.reward_weights)
        if known is not None and known.shape not in ((self.horizon, size), (1, size)):
            raise ConfigError(
                f"reward_weights have shape {known.shape}; expected ({self.horizon}, {size}) or (1, {size})"
            )
        weights, inverses = np.zeros((self.horizon, size)), np.zeros((self.horizon, size, size))
        variances = np.ones(rows)
        for weighing in [True, False] if self.variance_aware else [False]:
            for h in reversed(range(self.horizon)):
                here = steps == h
                phi, weighed = features[here], features[here] / variances[here, None]
                inverses[h] = np.linalg.inv(weighed.T @ phi + self.ridge * np.eye(size))
                projection = inverses[h] @ weighed.T
                weights[h] = projection @ rewards[here] if known is None else known[min(h, len(known) - 1)]
                if h + 1 < self.horizon and here.any():
                    later = self.bounds(
                        following[here],
                        torch.from_numpy(weights[h + 1]),
                        torch.from_numpy(inverses[h + 1]),
                        self.beta,
                        h + 1,
                    )
                    values = later.max(-1).values.numpy() * bootstraps[here]
                    weights[h] += self.projected(values, projection)
                    if weighing:
                        variances[here] = self.variance(phi, values, projection)
        return weights, inverses

    def variance(self, phi: np.ndarray, values: np.ndarray, projection: np.ndarray) -> np.ndarray:
        """Return sigma^2 (M,) of features (M, d) by the next values (M,) and the projection (d, M)."""
        first = np.clip(phi @ (projection @ values), 0.0, self.horizon)
        second = np.clip(phi @ (projection @ values**2), 0.0, self.horizon**2)
        found: np.ndarray = np.maximum(1.0, second - first**2)
        return found

    def bounds(
        self,
        features: torch.Tensor,
        weights: torch.Tensor,
        inverse: torch.Tensor,
        beta: float | torch.Tensor,
        step: int,
    ) -> torch.Tensor:
        """Return Q_h (..., actions) of features (..., actions, d), in [0, H - h]."""
        value = (features * weights).sum(-1) - beta * self.uncertainty(features, inverse)
        return value.clamp(0.0, float(self.horizon - step))

    def act(
        self, networks: Mapping[str, FixedNetwork], observations: torch.Tensor, memory: Memory, draws: EpisodeDraws
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """Return Q_h of every action; after step H - 1 those of that step."""
        step = min(memory.step, self.horizon - 1)
        members = len(observations)
        now = observations.new_full((members, 1, 1), step)
        weights = networks["weights"](now, weights="frozen")  # [P, 1, d]
        size = weights.shape[-1]
        inverse = networks["inverses"](now, weights="frozen").view(members, size, size)
        features = observations.reshape(members, -1, size)  # [P, n * actions, d]
        values = self.bounds(features, weights, inverse, memory.hyperparameters.beta, step)
        return values.view(*observations.shape[:2], -1), {}


def largest_on_grid(objective: Callable[[np.ndarray], np.ndarray], high: float) -> np.ndarray:
    """Return the largest values (d,) of functions on [0, high]: on a grid, and on a finer one around each maximum.

    Parameters
    ----------
    objective : callable
        (d or 1, G) points -> (d, G) values.
    high : float
    """
    points = np.linspace(0.0, high, GRID)[None]
    found = objective(points)
    for _ in range(3):
        place = found.argmax(1)
        spacing = points[:, 1:2] - points[:, :1]
        middle = np.take_along_axis(np.broadcast_to(points, found.shape), place[:, None], 1)
        points = (middle + spacing * np.linspace(-1, 1, GRID)[None]).clip(0.0, high)
        found = objective(points)
    largest: np.ndarray = found.max(1)
    return largest
