"""The action of the nearest labelled transition. A baseline.

The distance is that of (s_t, s_(t+1) - s_t), both normalized over all steps (`relabeling/shared/windows.py`); exact, by
products of matrices: a k-d tree is slower in twenty dimensions. The spread of a label is the standard deviation of the actions of the nearest few, and at least the mean
distance to them times the mean slope of the actions over distances, so that a label from far away is not called certain where
the neighbours agree by chance. Both are calibrated on the held-out steps, like every model's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from assay.datasets.dataset import Dataset
from assay.datasets.progress import Progress
from assay.datasets.registry import Integer
from assay.datasets.transform import register
from assay.relabeling.shared.labelling import ActionLabels, Labelled
from assay.relabeling.shared.predictors import Prediction

if TYPE_CHECKING:
    from assay.relabeling.shared.predictors import Predictor

__all__ = ["NearestNeighbourLabels"]

_DISTANCES = 1 << 24  # computed together
_SAMPLED = 2_000  # windows that the slope is measured on


@register("relabeling.nearest_neighbour_actions")
class NearestNeighbourLabels(ActionLabels):
    """Fill in missing actions by those of the nearest labelled transitions.

    Parameters
    ----------
    neighbours : int >= 1
        Whose mean action is the label.
    spread_neighbours : int >= 2
        Whose actions give the spread; of discrete actions also the label, the most frequent one.
    validation, splits, coverage, uncertain, share, seed
        As in `ActionLabels`.

    Notes
    -----
    Writes what `InverseDynamicsLabels` writes.

    Examples
    --------
    >>> import assay
    >>> from assay.relabeling import HideActions
    >>> hidden = HideActions(fraction=0.5, quantiles=(0.0, 1.0))(assay.load("pendulum/random", steps=2_000))
    >>> filled = NearestNeighbourLabels()(hidden)
    >>> bool(filled.missing["actions"].any())
    False
    """

    neighbours: Integer = Field(default=1, ge=1)
    spread_neighbours: Integer = Field(default=5, ge=2)

    def learn(
        self, labelled: Labelled, dataset: Dataset, progress: Progress | None
    ) -> tuple[list[Predictor], Predictor | None, dict[str, Any]]:
        """Keep the labelled windows: all of them to fill in from, those not held out to calibrate."""
        inputs = labelled.inputs(0)
        counts = self.neighbours, self.spread_neighbours

        def model(rows: np.ndarray) -> _Neighbours:
            return _Neighbours(inputs[rows], labelled.targets[rows].astype(np.float64), labelled.discrete, *counts)

        parts: list[Predictor] = [model(split.fitted) for split in labelled.splits]
        return parts, model(np.ones(len(inputs), bool)), {"neighbours": self.neighbours}


class _Neighbours:
    """The labelled windows, to be searched."""

    past_states = 0

    def __init__(self, inputs: np.ndarray, targets: np.ndarray, discrete: bool, count: int, spread_count: int) -> None:
        self.inputs, self.targets, self.discrete = inputs, targets, discrete
        self.count, self.spread_count = min(count, len(inputs)), min(spread_count, len(inputs))
        sample = inputs[np.linspace(0, len(inputs) - 1, min(len(inputs), _SAMPLED)).round().astype(int)]
        distances, rows = self.search(sample)
        spreads = targets[rows[:, : self.spread_count]].std(1)
        self.slope = spreads.mean(0) / max(float(distances[:, : self.spread_count].mean()), 1e-12)

    def search(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the distances and the rows of the nearest labelled windows, (n, k) each, the nearest first."""
        import torch

        known, asked = torch.from_numpy(self.inputs), torch.from_numpy(inputs)
        step, k = max(1, _DISTANCES // len(known)), max(self.count, self.spread_count)
        found = [torch.cdist(part, known).topk(k, largest=False) for part in torch.split(asked, step)]
        distances, rows = (torch.cat(list(item)).numpy() for item in zip(*found))
        return distances, rows

    def __call__(self, inputs: np.ndarray) -> Prediction:
        distances, rows = self.search(inputs)
        nearest, around = rows[:, : self.count], rows[:, : self.spread_count]
        if self.discrete:
            votes = self.targets[around].sum(1) + 1.0 / self.targets.shape[1]
            votes += 1e-3 * self.targets[nearest].sum(1)  # ties go to the nearest
            return Prediction(votes / votes.sum(1, keepdims=True))
        apart = distances[:, : self.spread_count].mean(1)
        spread = np.maximum(self.targets[around].std(1), apart[:, None] * self.slope)
        return Prediction(self.targets[nearest].mean(1), spread)
