r"""What weights are, and what all transforms that make them have in common.

The column `weights`, (N,) float64, says how often a step is drawn in training, in relation to the others. It has mean 1, so that 1 is
the weight of uniform drawing. What few steps carry most of the weight is learned from few steps: of N steps with weights w, the
effective sample size

.. math:: n_\text{eff} = \Big(\sum_i w_i\Big)^2 \Big/ \sum_i w_i^2

is the number of equally drawn ones that say as much (Kish 1965). It is N for equal weights, and 1 where one step has them all.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

import numpy as np
import pydantic

from assay.datasets.dataset import Dataset
from assay.datasets.errors import DatasetError
from assay.datasets.transform import Transform

__all__ = ["Weighting", "effective_sample_size", "normalized"]


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=pydantic.ConfigDict(extra="forbid"))
class Weighting(Transform):
    """Base of the transforms that weight steps.

    Parameters
    ----------
    combine : "replace" or "product"
        What to do with weights that are there: put others in their place, or multiply them.
    """

    combine: Literal["replace", "product"] = "replace"

    @abstractmethod
    def weigh(self, dataset: Dataset) -> np.ndarray:
        """Return the weight of each step, (N,), none below 0, of any scale."""

    def apply(self, dataset: Dataset) -> Dataset:
        """Return the dataset with its `weights` column.

        Raises
        ------
        DatasetError
            If no step has a weight.
        """
        return self.weighted(dataset, self.weigh(dataset))

    def weighted(self, dataset: Dataset, weights: np.ndarray) -> Dataset:
        """Return the dataset with these weights, (N,), combined with those that are there."""
        weights = np.asarray(weights, np.float64)
        if self.combine == "product" and dataset.weights is not None:
            weights = weights * dataset.weights
        return dataset.replace({"weights": normalized(weights, self.name)})


def normalized(weights: np.ndarray, name: str) -> np.ndarray:
    """Return weights of mean 1; errors name who made them."""
    if not len(weights):
        return weights
    total = weights.sum()
    if not total > 0:
        raise DatasetError(f"{name}: no step has a weight above 0, so nothing would be drawn")
    result: np.ndarray = weights * (len(weights) / total)
    return result


def effective_sample_size(dataset: Dataset) -> float:
    """Return how many equally drawn steps say as much as the weighted ones; N where there are no weights.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(5.0), actions=np.zeros(4), episode_lengths=[4], columns={"weights": [3.0, 1.0, 0.0, 0.0]})
    >>> effective_sample_size(dataset)
    1.6
    """
    if dataset.weights is None:
        return float(dataset.total_steps)
    weights = dataset.weights.astype(np.float64)
    return float(weights.sum() ** 2 / np.square(weights).sum())
