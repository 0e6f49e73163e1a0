r"""Weights that flatten the coverage: what is rarely visited is drawn as often as what is visited all the time.

With r_k(x) the distance from a state to the k-th nearest other one in d standardized dimensions, the density there is about
k / (N V_d r_k^d) (Loftsgaarden & Quesenberry 1965, the estimate behind the entropies of `assay.metrics`), and

.. math:: w(x) \propto \hat p(x)^{-\beta} \propto r_k(x)^{\beta d}

A state that occurs n times, in any episode, is one of these x, and its steps share its weight. With beta = 1 the states are drawn about uniformly
over the visited region, which for data of many dimensions leaves few steps with all the weight; a smaller beta goes part of the way.
d is not the number of columns: states lie on fewer dimensions, such as an angle that is given by its cosine and sine. It is estimated from the
same distances (Levina & Bickel 2004, "Maximum Likelihood Estimation of Intrinsic Dimension", equation 8, with the mean over the states
taken of 1 / d as MacKay & Ghahramani propose), and is at most the number of columns that change:

.. math:: \frac 1 {\hat d} = \frac 1 n \sum_x \frac 1 {K - 1} \sum_{j < K} \log \frac{r_K(x)}{r_j(x)}

`assay.reweighting.effective_sample_size` says how far that went, and `info.extra["coverage"]` which d was found.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from assay.datasets.dataset import Dataset, is_under
from assay.datasets.errors import DatasetError
from assay.datasets.generators import block_generator
from assay.datasets.missing import require_labels
from assay.datasets.progress import Progress
from assay.datasets.registry import Integer, Seed
from assay.datasets.transform import register
from assay.reweighting.weighting import Weighting

__all__ = ["CoverageWeighting"]

_ROWS_AT_ONCE = 1 << 14
_FOR_DIMENSION = 10  # K, where fewer neighbours are asked for


@register("reweighting.coverage")
class CoverageWeighting(Weighting):
    """Weight steps by the inverse of how densely the data covers their state.

    Parameters
    ----------
    of : "states" or "state_actions"
        Density of the states, or of states and actions together.
    neighbours : int >= 1
        k. Few follow every gap; many smooth.
    power : float >= 0
        beta: 0 draws uniformly, 1 flattens the coverage.
    dimensions : "estimated", "columns" or float > 0
        d: estimated from the distances, the number of columns that change, or as it is known to be.
    samples : int
        Distances are to so many states drawn from the data, where there are more.
    seed : int
        Of that drawing.
    combine
        As of `Weighting`.

    Raises
    ------
    DatasetError
        When applied: if states are images or not finite, or there are too few different ones.

    Examples
    --------
    >>> states = np.r_[np.linspace(0, 1, 101), np.linspace(2, 3, 11)]  # the left part is ten times as dense
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.r_[states, 0.0], actions=np.zeros(112), rewards=np.zeros(112), episode_lengths=[112])
    >>> weights = CoverageWeighting(neighbours=2)(dataset).weights
    >>> round(float(weights[106] / weights[50]), 3)
    10.0
    """

    of: Literal["states", "state_actions"] = "states"
    neighbours: Integer = Field(default=5, ge=1)
    power: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    dimensions: Literal["estimated", "columns"] | Annotated[float, Field(gt=0, allow_inf_nan=False)] = "estimated"
    samples: Integer = Field(default=20_000, ge=2)
    seed: Seed = 0

    @property
    def costly(self) -> bool:  # noqa: D102
        return True

    def weigh(self, dataset: Dataset) -> np.ndarray:  # noqa: D102
        return self._weights(dataset, None)[0]

    def apply_reporting(self, dataset: Dataset, progress: Progress | None) -> Dataset:  # noqa: D102
        weights, dimensions = self._weights(dataset, progress)
        made = self.weighted(dataset, weights)
        known = {**made.info.extra, "coverage": {"dimensions": round(dimensions, 3)}}
        return made.replace(info=replace(made.info, extra=known))

    def _weights(self, dataset: Dataset, progress: Progress | None) -> tuple[np.ndarray, float]:
        """Return the weight of each step, (N,), and d."""
        from scipy.spatial import cKDTree

        rows, inverse, counts = np.unique(self._rows(dataset), axis=0, return_inverse=True, return_counts=True)
        if len(rows) <= self.neighbours:
            raise DatasetError(
                f"{self.name}: {len(rows)} different {self.of.replace('_', ' and ')} have no {self.neighbours} neighbours; lower neighbours"
            )
        reference = rows
        if len(rows) > max(self.samples, self.neighbours + 1):
            chosen = block_generator(self.seed, self.name, "sample", 0).choice(len(rows), self.samples, replace=False)
            reference = rows[chosen]
        tree, logs = cKDTree(reference, balanced_tree=False, compact_nodes=False), np.empty(len(rows))
        looked_at = min(max(self.neighbours, _FOR_DIMENSION), len(reference) - 1)
        if self.dimensions != "estimated":
            looked_at = self.neighbours
        inverse_dimension = 0.0
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            some = slice(start, start + _ROWS_AT_ONCE)
            near, _ = tree.query(rows[some], k=looked_at + 1, workers=-1)
            itself = near[:, 0] == 0.0  # the rows differ, so what is at no distance is the row
            near = np.log(np.where(itself[:, None], near[:, 1:], near[:, :-1]))  # log r_1 ... r_K
            logs[some] = near[:, self.neighbours - 1]
            inverse_dimension += float((near[:, -1:] - near[:, :-1]).mean(1).sum()) if looked_at > 1 else 0.0
            if progress is not None:
                progress(min(start + _ROWS_AT_ONCE, len(rows)), len(rows))
        dimensions = self._dimensions(rows.shape[1], inverse_dimension / len(rows))
        logs = self.power * (dimensions * logs) - self.power * np.log(counts)
        weights: np.ndarray = np.exp(logs - logs.max())[inverse.ravel()]
        return weights, dimensions

    def _dimensions(self, columns: int, inverse: float) -> float:
        if self.dimensions == "columns":
            return float(columns)
        if self.dimensions == "estimated":
            return min(float(columns), 1.0 / inverse) if inverse > 0 else float(columns)
        return float(self.dimensions)

    def _rows(self, dataset: Dataset) -> np.ndarray:
        """Return what is compared, standardized, (N, d), without what never changes."""
        names = [name for name in dataset.columns if is_under(name, "observations")]
        arrays = {name: dataset.column(name)[dataset.observation_rows] for name in names}
        categories = np.zeros((dataset.total_steps, 0))
        if self.of == "state_actions":
            require_labels(dataset, "actions", by="the density of states and actions")
            actions = dataset.actions
            if isinstance(actions, np.ndarray) and actions.dtype.kind in "iub" and actions.size == len(actions):
                categories = (actions.reshape(-1, 1) == np.unique(actions)).astype(np.float64)  # as in assay.metrics
            else:
                arrays |= {name: dataset.column(name) for name in dataset.columns if is_under(name, "actions")}
        for name, array in arrays.items():
            if array.dtype.kind not in "fiub" or array.ndim > 2:
                raise DatasetError(
                    f"{self.name}: column {name!r} is {array.dtype} of shape {list(array.shape[1:])}; densities are of vectors of numbers"
                )
        together = np.concatenate([np.asarray(item, np.float64).reshape(len(item), -1) for item in arrays.values()], 1)
        if not np.isfinite(together).all():
            wrong = ~np.isfinite(together).all(1)
            raise DatasetError(
                f"{self.name}: {int(wrong.sum())} steps hold NaN or infinite numbers, the first step {int(wrong.argmax())}; "
                "corruption.repair.fill fills or drops them"
            )
        deviation = together.std(0)
        varies = deviation > 1e-9 * np.maximum(np.abs(together.mean(0)), 1.0)
        if not varies.any() and categories.shape[1] < 2:
            raise DatasetError(f"{self.name}: all {self.of.replace('_', ' and ')} are the same")
        compared: np.ndarray = np.concatenate([together[:, varies] / deviation[varies], categories], axis=1)
        return compared
