"""Residuals of a model: steps that do not follow from what came before, as most others do.

    dynamics    y = s' - s     from x = (s, a)
    rewards     y = r          from x = (s, a, s')

    y ~ W phi(x),   phi(x) = [1, x, sqrt(2 / D) cos(O x + b)]

x is scaled to zero mean and unit variance; O and b are random (Fourier features of a Gaussian kernel, Rahimi and Recht
2007), so that W is found by ridge regression in one pass over the data. A step's score is the robust z-score of its
residual, the worst dimension counting; then the model is fitted again without the flagged steps. This is the cheapest
model that can tell wrong transitions from rare ones; it finds a wrong s, a or s' alike, and also joined episodes. Where
contacts make the dynamics jump, it takes rare true transitions for wrong ones: look at precision, not only at recall.
Where much is corrupted, the residuals' own spread is wide, and few are beyond the threshold although nearly all rank
first: where the rate is known, give `share`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from assay.corruption.repair.filters import ScoreFilter
from assay.corruption.repair.outliers import center_and_spread, z_scores
from assay.corruption.shared import elements
from assay.datasets.dataset import Dataset
from assay.datasets.errors import DatasetError
from assay.datasets.generators import block_generator
from assay.datasets.memory import empty
from assay.datasets.streaming import StepReader
from assay.datasets.transform import register

__all__ = ["DynamicsFilter", "RewardFilter"]


class _Table:
    """Inputs and targets of the steps, chunk by chunk, as float64; flattened and joined."""

    def __init__(self, dataset: Dataset, inputs: tuple[str, ...], change: bool) -> None:
        self.dataset, self.reader, self.inputs, self.change = dataset, StepReader(dataset), inputs, change
        usable = np.zeros(dataset.total_steps, bool)
        usable[slice(None) if dataset.has_next_observations else dataset.usable_steps] = True
        if not change:
            usable &= ~dataset.missing["rewards"]
        self.usable = usable
        self.names = {
            prefix: [name for name in self.reader.leaves(prefix) if dataset.column(name).dtype.kind in "iufb"]
            for prefix in ("observations", "actions")
        }
        if not self.names["observations"] or not self.names["actions"]:
            raise DatasetError("a model of the transitions needs observations and actions that are numbers")

    def chunks(self) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray]]:
        """Yield (steps, x (c, p), y (c, q), usable and finite (c,) bool)."""
        widest = max(self.names["observations"], key=lambda name: np.prod(self.dataset.column(name).shape[1:]))
        for steps in self.reader.chunks(widest, elements.CHUNK_BYTES):
            parts = {"observations": self._joined("observations", steps), "actions": self._joined("actions", steps)}
            parts["next_observations"] = self._next(steps)
            x = np.concatenate([parts[name] for name in self.inputs], axis=1)
            if self.change:
                y = parts["next_observations"] - parts["observations"]
            else:
                y = self.dataset.rewards[steps].astype(np.float64)[:, None]
            good = self.usable[steps] & np.isfinite(x).all(axis=1) & np.isfinite(y).all(axis=1)
            yield steps, x, y, good

    def _joined(self, prefix: str, steps: slice) -> np.ndarray:
        rows = [self.reader.read(name, steps).reshape(steps.stop - steps.start, -1) for name in self.names[prefix]]
        return np.concatenate(rows, axis=1, dtype=np.float64)

    def _next(self, steps: slice) -> np.ndarray:
        stored, reader = self.dataset.has_next_observations, self.reader
        rows = [
            (reader.read(f"next_{name}", steps) if stored else reader.read_following(name, steps)).reshape(
                steps.stop - steps.start, -1
            )
            for name in self.names["observations"]
        ]
        return np.concatenate(rows, axis=1, dtype=np.float64)


class _ResidualFilter(ScoreFilter):
    """Base of the two, whose fields these are; declared there for their order."""

    if TYPE_CHECKING:
        features: int
        ridge: float
        rounds: int
        seed: int

    @abstractmethod
    def table(self, dataset: Dataset) -> _Table:
        """Return the inputs and targets."""

    def scores(self, dataset: Dataset) -> np.ndarray:
        """Return the robust z-score of each step's residual."""
        table = self.table(dataset)
        scores = np.zeros(dataset.total_steps, np.float32)
        if not dataset.total_steps:
            return scores
        scale = _scale(table)
        frequencies = self._frequencies(len(scale[0]))
        for _ in range(self.rounds):
            weights = self._fit(table, scale, frequencies, scores)
            scores = self._residual_scores(table, scale, frequencies, weights)
        return scores

    def _frequencies(self, width: int) -> tuple[np.ndarray, np.ndarray]:
        generator = block_generator(self.seed, self.name, "features", 0)
        # inputs of unit variance lie sqrt(2 p) apart; the kernel is as wide as that
        directions = generator.standard_normal((width, self.features)) / np.sqrt(2 * width)
        return directions, generator.uniform(0, 2 * np.pi, self.features)

    def _features(
        self, x: np.ndarray, scale: tuple[np.ndarray, np.ndarray], frequencies: tuple[np.ndarray, np.ndarray]
    ) -> np.ndarray:
        scaled = (x - scale[0]) / scale[1]
        parts = [np.ones((len(x), 1)), scaled]
        if self.features:
            parts.append(np.sqrt(2 / self.features) * np.cos(scaled @ frequencies[0] + frequencies[1]))
        return np.concatenate(parts, axis=1)

    def _fit(
        self,
        table: _Table,
        scale: tuple[np.ndarray, np.ndarray],
        frequencies: tuple[np.ndarray, np.ndarray],
        scores: np.ndarray,
    ) -> np.ndarray:
        products, targets, count = np.zeros(()), np.zeros(()), 0
        for steps, x, y, good in table.chunks():
            good = good & (scores[steps] <= self.threshold)
            phi = self._features(x[good], scale, frequencies)
            products, targets, count = products + phi.T @ phi, targets + phi.T @ y[good], count + len(phi)
        if not count:
            raise DatasetError(f"{self.name}: no step is left to fit the model to; raise the threshold")
        penalty = self.ridge * count * np.eye(len(products))
        penalty[0, 0] = 0.0
        weights: np.ndarray = np.linalg.lstsq(products + penalty, targets, rcond=None)[0]
        return weights

    def _residual_scores(
        self,
        table: _Table,
        scale: tuple[np.ndarray, np.ndarray],
        frequencies: tuple[np.ndarray, np.ndarray],
        weights: np.ndarray,
    ) -> np.ndarray:
        residuals = empty((weights.shape[1], len(table.usable)), np.float32)  # one dimension after the other
        for steps, x, y, good in table.chunks():
            part = np.full(y.shape, np.nan)
            part[good] = y[good] - self._features(x[good], scale, frequencies) @ weights
            residuals[:, steps] = part.T
        worst = np.zeros(len(table.usable), np.float32)
        for residual in residuals:
            center, spread = center_and_spread(residual)
            for start in range(0, len(worst), elements.CHUNK_BYTES):
                rows = slice(start, start + elements.CHUNK_BYTES)
                worst[rows] = np.maximum(worst[rows], z_scores(residual[rows], center, spread))
        worst[~table.usable] = (
            0.0  # nothing can be said of a step whose next observation, or reward, was never recorded
        )
        return worst


def _scale(table: _Table) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and standard deviation of the inputs, 1 where they do not vary."""
    count, mean, squares = 0, np.zeros(()), np.zeros(())
    for _, x, _, good in table.chunks():
        x = x[good]
        if not len(x):
            continue
        shift = x.mean(axis=0) - mean
        squares = squares + np.square(x - x.mean(axis=0)).sum(axis=0)
        squares = squares + np.square(shift) * (count * len(x) / (count + len(x)))
        mean = mean + shift * (len(x) / (count + len(x)))
        count += len(x)
    if not count:
        raise DatasetError("no step has finite observations, actions and targets; there is nothing to fit a model to")
    deviation = np.sqrt(squares / count)
    return mean, np.where(deviation > 0, deviation, 1.0)


@register("corruption.repair.dynamics")
class DynamicsFilter(_ResidualFilter):
    """Flag transitions that a model of the dynamics cannot explain.

    Parameters
    ----------
    element : str
        What the flags are called, `flagged/<element>` and `suspicion/<element>`; no part of the model.
    features : int >= 0
        Random Fourier features beside the linear ones; with none, the default, the model is linear. On Hopper that is
        as good as 128 of them, and ten times as fast.
    ridge : float > 0
        Penalty of the weights, per step.
    rounds : int >= 1
        Fits; each leaves out what the one before flagged by the threshold.
    seed : int >= 0
        Of the features.
    threshold, share, action
        See `ScoreFilter` and `Filter`; the threshold is 6 by default, as in RDT's correction of its own residuals.

    Raises
    ------
    DatasetError
        When applied: if there is nothing to fit to, or nothing is left.
    """

    element: str = Field(default="dynamics", pattern=r"^[A-Za-z0-9_]+$")
    features: int = Field(default=0, ge=0)
    ridge: float = Field(default=1e-6, gt=0, allow_inf_nan=False)
    rounds: int = Field(default=2, ge=1)
    seed: int = Field(default=0, ge=0)

    @property
    def label(self) -> str:
        """The element."""
        return self.element

    def table(self, dataset: Dataset) -> _Table:
        """Predict the change of the observation."""
        return _Table(dataset, ("observations", "actions"), change=True)


@register("corruption.repair.rewards")
class RewardFilter(_ResidualFilter):
    """Flag rewards that a model of the rewards cannot explain.

    Parameters
    ----------
    features, ridge, rounds, seed, threshold, share, action
        As in `DynamicsFilter`. Flags are in `flagged/rewards`.

    Raises
    ------
    DatasetError
        When applied: if there is nothing to fit to, or nothing is left.
    """

    features: int = Field(default=0, ge=0)
    ridge: float = Field(default=1e-6, gt=0, allow_inf_nan=False)
    rounds: int = Field(default=2, ge=1)
    seed: int = Field(default=0, ge=0)

    @property
    def label(self) -> str:
        """The element."""
        return "rewards"

    def table(self, dataset: Dataset) -> _Table:
        """Predict the reward."""
        return _Table(dataset, ("observations", "actions", "next_observations"), change=False)
