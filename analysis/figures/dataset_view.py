"""What figures draw of one dataset: some of its steps as numbers, and the plane that their states are projected on.

Large datasets are drawn from a sample of their steps, by a fixed seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from assay.datasets.dataset import Dataset, is_under
from assay.datasets.streaming import StepReader

__all__ = ["DatasetView", "Plane", "dimension_names", "is_image"]

_MOST_STEPS = 5_000
_SEED = 0
_NOUNS = {"observations": "observation", "actions": "action"}


@dataclass(frozen=True)
class DatasetView:
    """What figures draw of a dataset: some of its steps, as numbers.

    Parameters
    ----------
    dataset : Dataset
    """

    dataset: Dataset

    @cached_property
    def steps(self) -> np.ndarray:
        """(n,) int64 steps: all of them, or a sample of 5,000."""
        total = self.dataset.total_steps
        if total <= _MOST_STEPS:
            return np.arange(total)
        return np.sort(np.random.Generator(np.random.PCG64(_SEED)).choice(total, _MOST_STEPS, replace=False))

    @cached_property
    def states(self) -> tuple[list[str], np.ndarray]:
        """Names and (n, D) float64 values of the observations; images and texts are left out."""
        return self.numbers("observations", self.steps)

    @cached_property
    def actions(self) -> tuple[list[str], np.ndarray]:
        """Names and (n, D) float64 values of the actions, of the steps that have one."""
        return self.numbers("actions", self.steps[~self.dataset.missing["actions"][self.steps]])

    def numbers(self, prefix: str, steps: np.ndarray) -> tuple[list[str], np.ndarray]:
        """Return names and (n, D) float64 values of the columns below `prefix`, for some steps."""
        reader = StepReader(self.dataset)
        names: list[str] = []
        parts = [np.zeros((len(steps), 0))]
        for name in (name for name in self.dataset.columns if is_under(name, prefix)):
            array = self.dataset.column(name)
            if array.dtype.kind not in "fiub" or is_image(array):
                continue
            rows = steps if len(array) == self.dataset.total_steps else steps + reader.episodes_of(steps)
            parts.append(np.asarray(array[rows], np.float64).reshape(len(steps), -1))
            names += dimension_names(self.dataset, name)
        return names, np.concatenate(parts, axis=1)

    @cached_property
    def plane(self) -> Plane | None:
        """The plane of the first two principal components of the states; None where fewer than two dimensions vary."""
        _, values = self.states
        values = values[np.isfinite(values).all(axis=1)]
        return Plane.of(values) if len(values) > 2 else None

    @cached_property
    def images(self) -> list[str]:
        """Names of the observation columns that are images."""
        reader = StepReader(self.dataset)
        return [name for name in reader.leaves("observations") if is_image(self.dataset.column(name))]


@dataclass(frozen=True)
class Plane:
    """Principal components of standardized numbers: center, scale (D,), axes (D, 2), share of the variance (2,)."""

    center: np.ndarray
    scale: np.ndarray
    axes: np.ndarray
    shares: tuple[float, float]

    @classmethod
    def of(cls, values: np.ndarray) -> Plane | None:
        """Fit to the (n, D) rows; None where fewer than two dimensions vary."""
        center, deviation = values.mean(0), values.std(0)
        varies = deviation > 1e-12 * (1 + np.abs(center))
        if np.count_nonzero(varies) < 2:
            return None
        scale = np.where(varies, deviation, np.inf)
        _, lengths, axes = np.linalg.svd(((values - center) / scale)[:2000], full_matrices=False)
        shares = lengths**2 / (lengths**2).sum()
        axes = axes[:2] * np.sign(
            axes[:2].sum(axis=1, keepdims=True) + 1e-12
        )  # so that the signs do not depend on the solver
        return cls(center, scale, axes.T, (float(shares[0]), float(shares[1])))

    def project(self, values: np.ndarray) -> np.ndarray:
        """Return the (n, 2) coordinates of (n, D) rows."""
        result: np.ndarray = ((values - self.center) / self.scale) @ self.axes
        return result


def dimension_names(dataset: Dataset, column: str) -> list[str]:
    """Return a name for every number in a row of a column.

    Names come from `dataset.info.names` where it has as many for the column as the column has numbers, else they are the
    noun of the column and a position.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.zeros((2, 2)), actions=np.zeros(1), rewards=[0.0], terminations=[True], truncations=[False])
    >>> dimension_names(dataset, "observations"), dimension_names(dataset, "actions")
    (['observation 0', 'observation 1'], ['action'])
    """
    shape = dataset.column(column).shape[1:]
    places = list(np.ndindex(*shape))
    names = getattr(dataset.info, "names", None)
    given = names.get(column) if isinstance(names, Mapping) else None
    if given is not None and len(given) == len(places):
        return [str(name) for name in given]
    root, _, below = column.partition("/")
    noun = below or _NOUNS.get(root, root)
    return [f"{noun} {', '.join(map(str, place))}".strip() for place in places]


def is_image(array: np.ndarray) -> bool:
    """Tell whether a column holds images: uint8, with two axes or more in a row."""
    return array.dtype == np.uint8 and array.ndim >= 3
