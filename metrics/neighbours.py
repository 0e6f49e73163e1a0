"""Rows of a dataset on one scale, and the nearest neighbours among them.

Columns of states and actions come in different units. Before distances are taken, every column is standardized: its
mean is subtracted, and the rest is divided by its standard deviation (population, ddof 0). Both come from the sampled
rows, or from those of the reference if two datasets are compared. A column that is constant in the reference is divided
by the spread of both datasets together. Standardized numbers are cut at 1e9 standard deviations, so that no square
overflows. A discrete action (a flat integer or boolean column) becomes one 0/1 column per value, unscaled: two
different actions are sqrt(2) apart, as two typical values of one standardized column are.

Distances are Euclidean, and searches are exact, by scipy's k-d tree. The sample is what makes results approximate:
`StepSample.of` draws steps without replacement by a seed, and at most 5,000 of them, evenly spaced, are asked for their
neighbours among all. Neighbours of a row never include the row itself, but may be of the same episode: if the sample is
a large part of the dataset, the nearest rows in space are often the nearest in time.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.errors import DatasetError
from assay.datasets.streaming import StepReader
from assay.metrics.estimates import blocks_of
from assay.metrics.measures import Basis, NotMeasurable, real_columns, sample_steps

__all__ = ["Neighbours", "Scaling", "StepSample", "discrete_actions", "nearest", "state_action_rows"]

QUERIES = 5_000
STATE_NEIGHBOURS = 50
STATE_ACTION_NEIGHBOURS = 10
_WIDEST = 1_024  # numbers in a row; wider rows are images, whose pixelwise distances mean little
_LARGEST = 1e9


@dataclass(frozen=True, eq=False)
class Scaling:
    """The centre of each column, and the number that it is divided by.

    Parameters
    ----------
    centre : (D,) float64
    spread : (D,) float64
        Standard deviations, positive; 1 where `constant`.
    constant : (D,) bool
        Columns that hold one value only.

    Examples
    --------
    >>> scaling = Scaling.of(np.array([[0.0, 7.0], [4.0, 7.0]]))
    >>> scaling(np.array([[6.0, 7.0]])).tolist(), scaling.constant.tolist()
    ([[2.0, 0.0]], [False, True])
    """

    centre: np.ndarray
    spread: np.ndarray
    constant: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, otherwise: np.ndarray | None = None) -> Scaling:
        """Measure rows; a constant column takes the spread of `rows` and `otherwise` together."""
        if not len(rows):
            raise NotMeasurable("there are no rows to measure")
        low, high = rows.min(0), rows.max(0)
        half = high / 2 - low / 2  # the difference of two finite numbers may overflow, that of their halves cannot
        constant = half <= 0
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            unit = (rows / 2 - low / 2) / np.where(constant, 1.0, half)  # 0 to 1
            spread = np.where(constant, 1.0, 2 * half * unit.std(0))
        spread = np.where(np.isfinite(spread), spread, np.finfo(np.float64).max)
        constant |= spread <= 0
        spread[constant] = 1.0
        if otherwise is not None and constant.any():
            spread[constant] = cls.of(np.concatenate([rows[:, constant], otherwise[:, constant]])).spread
        return cls(low + half * unit.mean(0) * 2, spread, constant)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Return standardized rows; (n, D) float64."""
        with np.errstate(over="ignore"):
            result: np.ndarray = (rows / 2 - self.centre / 2) / (self.spread / 2)
        return np.clip(result, -_LARGEST, _LARGEST, out=result)


@dataclass(frozen=True, eq=False)
class StepSample:
    """Some steps of a dataset, as numbers.

    Parameters
    ----------
    dataset : Dataset
    steps : (n,) int64
    blocks : (n,) int64
        Steps of equal block are left out together for an interval.
    seed : int
    """

    dataset: Dataset
    steps: np.ndarray
    blocks: np.ndarray
    seed: int

    @classmethod
    def of(cls, dataset: Dataset, size: int = 20_000, seed: int = 0) -> StepSample:
        """Draw at most `size` steps without replacement."""
        return cls.at(dataset, sample_steps(dataset, size, seed), seed)

    @classmethod
    def at(cls, dataset: Dataset, steps: np.ndarray, seed: int = 0) -> StepSample:
        """Take these steps, in ascending order."""
        return cls(dataset, steps, blocks_of(dataset, steps), seed)

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def note(self) -> str:
        """The steps in words, for the source of a measure."""
        if len(self) == self.dataset.total_steps:
            return f"all {len(self):,} steps"
        return f"{len(self):,} of {self.dataset.total_steps:,} steps, seed {self.seed}"

    def take(self, rows: np.ndarray) -> StepSample:
        """Return some of these steps, by their position."""
        return StepSample(self.dataset, self.steps[rows], self.blocks[rows], self.seed)

    def numbers(self, prefix: str) -> np.ndarray:
        """Return the numbers of `"observations"`, `"actions"` or `"next_observations"`; (n, D) float64.

        Raises
        ------
        NotMeasurable
            If there are none, or more than 1,024 per step.
        DatasetError
            If a number is NaN or infinite; with the place.
        """
        stored = "observations" if prefix == "next_observations" and not self.dataset.has_next_observations else prefix
        columns = [self.dataset.column(name) for name in StepReader(self.dataset).leaves(stored)]
        width = sum(int(np.prod(column.shape[1:])) for column in columns if column.dtype.kind in "fiub")
        if width > _WIDEST:
            raise NotMeasurable(
                f"{prefix} hold {width:,} numbers a step: distances between so many pixels say little; "
                "measure features of them instead"
            )
        if not len(self):
            raise NotMeasurable("there are too few steps to look at any")
        return real_columns(self.dataset, prefix, self.steps)


class Neighbours(NamedTuple):
    """The nearest rows of some rows, nearest first.

    Parameters
    ----------
    queries : (q,) int64
        The rows that were asked about.
    distances : (q, k) float64
    rows : (q, k) int64
    """

    queries: np.ndarray
    distances: np.ndarray
    rows: np.ndarray


def nearest(rows: np.ndarray, k: int, queries: np.ndarray | None = None) -> Neighbours:
    """Find the k nearest other rows.

    Parameters
    ----------
    rows : (n, D) floats, finite
        On one scale; see `Scaling`.
    k : int
        Number of neighbours; fewer if there are not so many rows.
    queries : (q,) int64, optional
        Ask for these rows only; default all.

    Raises
    ------
    NotMeasurable
        If there are fewer than two rows.

    Examples
    --------
    >>> nearest(np.array([[0.0], [1.0], [5.0]]), k=1).distances.ravel().tolist()
    [1.0, 1.0, 4.0]
    """
    if len(rows) < 2:
        raise NotMeasurable("neighbours need at least two rows")
    queries = np.arange(len(rows)) if queries is None else queries
    k = min(k, len(rows) - 1)
    distances, found = search(rows, rows[queries], k + 1)
    # among equal rows the row itself may come later, or may not be among the k + 1 at all
    order = np.argsort(found == queries[:, None], axis=1, kind="stable")[:, :k]
    order.sort(axis=1)
    return Neighbours(queries, np.take_along_axis(distances, order, 1), np.take_along_axis(found, order, 1))


def search(rows: np.ndarray, points: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return distances and positions of the k rows nearest to each point; (q, k) each."""
    from scipy.spatial import cKDTree

    if not rows.shape[1]:
        rows, points = np.zeros((len(rows), 1)), np.zeros((len(points), 1))
    # without balancing, a tree is built several times faster and searched as fast
    tree = cKDTree(rows, balanced_tree=False, compact_nodes=False)
    distances, found = tree.query(points, k=np.arange(1, k + 1), workers=-1)
    return distances, found


def kth_without(distances: np.ndarray, blocks: np.ndarray, block: int | None, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance to the k-th neighbour outside a block, and its position among the neighbours.

    Parameters
    ----------
    distances, blocks : (q, K)
        Known neighbours, nearest first. If fewer than k are outside the block, the farthest known one is taken.
    """
    if block is None:
        return distances[:, k - 1], np.full(len(distances), k - 1)
    enough = np.cumsum(blocks != block, axis=1) >= k
    which = np.where(enough[:, -1], enough.argmax(1), distances.shape[1] - 1)
    return distances[np.arange(len(distances)), which], which


def discrete_actions(dataset: Dataset) -> bool:
    """Whether an action is one integer or boolean, whose values are names and not amounts."""
    return "actions" in dataset.columns and (
        dataset.column("actions").ndim == 1 and dataset.column("actions").dtype.kind in "iub"
    )


def state_action_rows(sample: StepSample) -> np.ndarray:
    """Return the rows [state, action], standardized; (n, D) float64.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.array([0.0, 4.0, 0.0]), actions=np.array([0, 1]), rewards=np.zeros(2),
    ...     terminations=[False, True], truncations=[False, False])
    >>> state_action_rows(StepSample.of(dataset)).tolist()
    [[-1.0, 1.0, 0.0], [1.0, 0.0, 1.0]]
    """
    return paired_rows(sample, sample)[0]


def paired_rows(sample: StepSample, reference: StepSample) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows [state, action] of both on the scale of the reference; (n, D) and (m, D) float64.

    Parameters
    ----------
    sample, reference : StepSample
        Samples of datasets of the same environment.

    Raises
    ------
    DatasetError
        If the columns of the two differ.
    """
    states, actions = sample.numbers("observations"), sample.numbers("actions")
    if reference is sample:
        other_states, other_actions = states, actions
    else:
        other_states, other_actions = reference.numbers("observations"), reference.numbers("actions")
    discrete = discrete_actions(sample.dataset)
    if (
        states.shape[1] != other_states.shape[1]
        or actions.shape[1] != other_actions.shape[1]
        or discrete != discrete_actions(reference.dataset)
    ):
        kinds = ["discrete" if discrete_actions(which.dataset) else "real" for which in (sample, reference)]
        raise DatasetError(
            f"the dataset has {states.shape[1]} state and {actions.shape[1]} {kinds[0]} action columns, the reference "
            f"{other_states.shape[1]} and {other_actions.shape[1]} {kinds[1]}; both must come from the same environment"
        )
    scale = Scaling.of(other_states, states)
    if discrete:
        values = np.union1d(actions, other_actions)
        left, right = one_hot(actions, values), one_hot(other_actions, values)
    else:
        action_scale = Scaling.of(other_actions, actions)
        left, right = action_scale(actions), action_scale(other_actions)
    return np.hstack([scale(states), left]), np.hstack([scale(other_states), right])


def one_hot(actions: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return a 0/1 column for each of these values; (n, len(values)) float64."""
    if len(values) > _WIDEST:
        raise NotMeasurable(f"actions take {len(values):,} values: too many to tell apart one by one")
    columns: np.ndarray = (actions == values).astype(np.float64)
    return columns


# -------------------------------------------------------------------- shared by the tables of other files


def the_sample(basis: Basis) -> StepSample:
    """Return the sampled steps of the dataset."""
    return basis.cache("sample", lambda: StepSample.of(basis.dataset, basis.sample, basis.seed))


def the_states(basis: Basis) -> np.ndarray:
    """Return the sampled states."""
    return basis.cache("states", lambda: the_sample(basis).numbers("observations"))


def the_actions(basis: Basis) -> np.ndarray:
    """Return the sampled actions, discrete ones as 0/1 columns."""

    def read() -> np.ndarray:
        actions = the_sample(basis).numbers("actions")
        return one_hot(actions, np.unique(actions)) if discrete_actions(basis.dataset) else actions

    return basis.cache("actions", read)


def state_neighbours(basis: Basis) -> Neighbours:
    """Return the nearest states of some sampled states."""

    def find() -> Neighbours:
        states = the_states(basis)
        return nearest(Scaling.of(states)(states), STATE_NEIGHBOURS, some_of(len(states)))

    return basis.cache("state neighbours", find)


def state_action_neighbours(basis: Basis) -> Neighbours:
    """Return the nearest state-actions of some sampled ones."""

    def find() -> Neighbours:
        rows = basis.cache("state-action rows", lambda: state_action_rows(the_sample(basis)))
        return nearest(rows, STATE_ACTION_NEIGHBOURS, some_of(len(rows)))

    return basis.cache("state-action neighbours", find)


def some_of(total: int, most: int = QUERIES) -> np.ndarray:
    """Return at most `most` of the numbers below `total`, evenly spaced."""
    if total <= most:
        return np.arange(total)
    return np.arange(most) * total // most


def __getattr__(name: str) -> Any:
    if name == "Sample":
        warnings.warn("Sample is now StepSample; the former name goes with the next release", DeprecationWarning, 2)
        return StepSample
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
