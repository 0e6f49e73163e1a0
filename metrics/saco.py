"""SACo: how much of the state-action space a dataset covers, relative to a reference dataset.

Source: Schweighofer et al., "A Dataset Perspective on Offline Reinforcement Learning", CoLLAs 2022, arXiv 2111.04714;
published code `source/evaluator.py` and `source/plotting/create_plots.py` of ml-jku/OfflineRL. With U(D) the
number of distinct discretized rows [state, action] of D,

    SACo(D)  = U(D) / U(D_ref)
    lSACo(D) = log U(D) / log U(D_ref)
    saturation(D) = U(D) / N                          (ours, reported beside SACo)

Each number in a row goes into the bin `np.digitize(x, np.linspace(low, high, 100))`: 100 edges, hence 0 for x < low, 1 to
99 within, and 100 for x >= high. The paper's reference is the replay dataset of the run that made D, with as many steps
as D; U grows with N, so compare datasets of equal size. Where nearly every row is its own cell (saturation near 1, as on
23 columns of a MuJoCo body with any useful number of edges) SACo says little more than the ratio of the sizes.

Actions are digitized like states, discrete ones too, as published. Integers whose reference range spans fewer than
`bins` values all get bins of their own, so their count is that of the values themselves.

What differs from the published code, on purpose:

- low and high are the reference's, per column, for both counts. The code does so for two of six environments only; in
  the others each dataset is binned on its own range, and the counts are of different grids.
- The count is exact; the code estimates it by HyperLogLog (measured +0.5 % on CartPole-like data, +1.7 % on 1M
  distinct rows of 23 numbers).
- States are the observations that the N steps start from. The code's buffers hold one more, all zeros, which it counts.
- `get_unique_state_actions_exact` in the code adds states and actions elementwise where it should join them; nothing of
  it is used here. (It is not used there either.)
- The D4RL notebook uses 5 edges on the first 100,000 rows: `saco(d.select(...), reference, bins=5)`.

Exactness: a row of bins is packed into 64 bits without loss where the grid has fewer than 2^64 cells (9 columns of 100
edges). For wider rows the 64 bits are a sum of random table entries, one table per column, fixed once and for all
(Zobrist hashing): two different rows agree with probability 2^-64, so N rows are miscounted with probability below
N^2 / 2^65, which is 3e-8 for a million rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, DatasetError
from assay.datasets.streaming import StepReader
from assay.metrics.measures import Basis, Measure, Measures, NotMeasurable

__all__ = ["Grid", "lsaco", "saco", "saturation", "unique_state_actions"]

_CHUNK_BYTES = 1 << 19  # of the rows in float64; what is computed on them then stays in cache
_TABLE_SEED = 0x5AC0
_NUMBERS = "fiub"  # dtype kinds


@dataclass(frozen=True, eq=False)
class Grid:
    """Bin edges for every column of [state, action].

    Parameters
    ----------
    names : tuple of str
        One per column: `"observations[3]"`, `"observations/goal[0]"`, or `"actions"` where the column is flat.
    edges : tuple of 1-D float64 arrays
        Ascending bin edges for each column, at least one each; equal ones are allowed.

    Raises
    ------
    ConfigError
        If edges are missing, not finite or not ascending.

    Examples
    --------
    >>> grid = Grid(("observations", "actions"), (np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0])))
    >>> grid.digitize(np.array([[-1.0, 0.0], [0.5, 0.0], [2.0, 7.0]])).tolist()
    [[0, 1], [1, 1], [3, 2]]
    """

    names: tuple[str, ...]
    edges: tuple[np.ndarray, ...]

    def __post_init__(self) -> None:
        edges = tuple(np.array(item, np.float64) for item in self.edges)
        if len(edges) != len(self.names):
            raise ConfigError(f"the grid has {len(self.names)} names but {len(edges)} lists of edges")
        for name, item in zip(self.names, edges):
            if item.ndim != 1 or not len(item) or not np.isfinite(item).all() or (np.diff(item) < 0).any():
                raise ConfigError(f"the edges of {name} must be a flat, ascending list of finite numbers")
            item.setflags(write=False)
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "edges", edges)

    @classmethod
    def from_dataset(cls, reference: Dataset, bins: int = 100) -> Grid:
        """Lay `bins` edges, `np.linspace(low, high, bins)`, over the range of each column of a dataset.

        Parameters
        ----------
        reference : Dataset
            Its N steps' observations and its actions set the range.
        bins : int
            Number of edges, at least 2; the published code uses 100.

        Raises
        ------
        DatasetError
            If the dataset has no steps, or a column holds NaN, infinity or text; with the place.
        """
        if bins < 2:
            raise ConfigError(f"bins={bins}: at least 2 edges are needed to span a range")
        if not reference.total_steps:
            raise DatasetError("a grid cannot be laid over a dataset without steps")
        lows, highs = [], []
        for rows in _state_action_rows(reference, allow_infinity=False):
            lows.append(rows.min(0))
            highs.append(rows.max(0))
        low, high = np.min(lows, 0), np.max(highs, 0)
        return cls(_column_names(reference), tuple(np.linspace(a, b, bins) for a, b in zip(low, high)))

    def digitize(self, rows: np.ndarray) -> np.ndarray:
        """Return the bin of every number, exactly as `np.digitize(rows[:, j], edges[j])` gives it.

        Parameters
        ----------
        rows : (n, D) floats, without NaN

        Returns
        -------
        (n, D) int64
            From 0 (below the first edge) to the number of edges (at or above the last one).
        """
        result: np.ndarray = self._places(np.asarray(rows, np.float64)) - self._layout.offset
        return result

    def cells(self, rows: np.ndarray) -> np.ndarray:
        """Return the cell of every row as a 64-bit number: equal for equal bins, and different for different ones.

        Parameters
        ----------
        rows : (n, D) floats, without NaN

        Returns
        -------
        (n,) uint64
        """
        places = self._places(np.asarray(rows, np.float64))
        result: np.ndarray = np.take(self._codes, places).sum(1, dtype=np.uint64)
        return result

    def _places(self, rows: np.ndarray) -> np.ndarray:
        """Bins, counted through all columns.

        For evenly spaced edges the bin is guessed by division, then moved until it brackets the number, so rounding in
        the guess cannot show.
        """
        layout = self._layout
        with np.errstate(invalid="ignore", over="ignore"):
            guess = (rows - layout.low) * layout.bins_per_unit
        np.fmax(guess, -1, out=guess)
        np.fmin(guess, layout.last_bin, out=guess)
        np.floor(guess, out=guess)
        places: np.ndarray = guess.astype(np.int64)
        places += layout.offset + 1
        for _ in range(3):
            below = rows < np.take(layout.lower, places)
            above = rows >= np.take(layout.upper, places)
            if not (below.any() or above.any()):
                return places
            places += above
            places -= below
        for j, edges in enumerate(self.edges):  # edges that are not evenly spaced
            places[:, j] = np.searchsorted(edges, rows[:, j], side="right")
        places += layout.offset
        return places

    @cached_property
    def _layout(self) -> _Layout:
        return _Layout(self.edges)

    @cached_property
    def _codes(self) -> np.ndarray:
        """A 64-bit summand for every bin of every column."""
        sizes = [len(edges) + 1 for edges in self.edges]
        if math.prod(sizes) <= 1 << 64:
            strides = [math.prod(sizes[:j]) for j in range(len(sizes))]
            return np.concatenate([np.arange(n, dtype=np.uint64) * np.uint64(s) for n, s in zip(sizes, strides)])
        generator = np.random.Generator(np.random.PCG64(_TABLE_SEED))
        return generator.integers(0, 1 << 64, sum(sizes), np.uint64)


class _Layout:
    """The edges of all columns in one row, bin after bin::

    bin      0        1        2      ...   k        0 of the next column
    lower  -inf     edge 0   edge 1      edge k-1  -inf
    upper  edge 0   edge 1   edge 2        (none)  edge 0
    """

    def __init__(self, edges: tuple[np.ndarray, ...]) -> None:
        sizes = np.array([len(item) + 1 for item in edges], np.int64)
        self.offset = np.cumsum(sizes) - sizes
        self.lower = np.concatenate([np.append(-np.inf, item) for item in edges])
        # NaN is above every number, infinity included: no x >= NaN
        self.upper = np.concatenate([np.append(item, np.nan) for item in edges])
        self.last_bin = sizes - 2.0
        self.low = np.array([item[0] for item in edges])
        high = np.array([item[-1] for item in edges])
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            self.bins_per_unit = (sizes - 2) / (high - self.low)
        # equal edges: everything from them on is in the last bin, everything below in bin 0
        same = high == self.low
        self.low[same] = np.nextafter(self.low[same], -np.inf)
        self.bins_per_unit[same] = np.inf


def unique_state_actions(dataset: Dataset, grid: Grid) -> int:
    """Count the distinct cells that the rows [state, action] of a dataset fall into.

    Parameters
    ----------
    dataset : Dataset
        N rows: the observations that the steps start from, and the actions. Infinite values fall into the outer bins.
    grid : Grid

    Returns
    -------
    int
        Between 1 and N (0 without steps).

    Raises
    ------
    DatasetError
        If the columns are not those of the grid, or hold NaN; with the place.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.array([0.0, 0.4, 0.4, 1.0, 9.0]), actions=np.array([0, 0, 0, 1]), rewards=np.zeros(4),
    ...     terminations=np.arange(4) == 3, truncations=np.zeros(4, bool))
    >>> unique_state_actions(dataset, Grid.from_dataset(dataset, bins=3))  # 0.0 and 0.4 share a bin
    2
    """
    names = _column_names(dataset)
    if names != tuple(grid.names):
        other = next((name for name in (*names, *grid.names) if (name in names) != (name in grid.names)), "their order")
        raise DatasetError(
            f"the dataset has {len(names)} state-action columns and the grid {len(grid.names)}; "
            f"they differ in {other}. Dataset and reference must come from the same environment"
        )
    cells = np.empty(dataset.total_steps, np.uint64)
    start = 0
    for rows in _state_action_rows(dataset, allow_infinity=True):
        cells[start : start + len(rows)] = grid.cells(rows)
        start += len(rows)
    cells.sort()
    return int(np.count_nonzero(cells[1:] != cells[:-1])) + int(len(cells) > 0)


def saturation(dataset: Dataset, grid: Grid) -> float:
    """Return U(D) / N, the share of steps in a cell of their own; near 1 the grid is too fine for SACo to say much.

    Parameters
    ----------
    dataset : Dataset
    grid : Grid

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.array([0.0, 0.0, 1.0, 1.0]), actions=np.zeros(3), rewards=np.zeros(3),
    ...     terminations=[False, False, True], truncations=[False, False, False])
    >>> round(saturation(dataset, Grid.from_dataset(dataset)), 3)
    0.667
    """
    if not dataset.total_steps:
        raise DatasetError("the saturation of a dataset without steps is undefined")
    return unique_state_actions(dataset, grid) / dataset.total_steps


def saco(dataset: Dataset, reference: Dataset, bins: int = 100) -> float:
    """Return SACo(D) = U(D) / U(D_ref), the coverage relative to a reference (Schweighofer et al. 2022).

    Parameters
    ----------
    dataset, reference : Dataset
        Of the same environment and, for a fair comparison, of the same number of steps. The paper's reference is the
        replay dataset of the same run.
    bins : int
        Number of bin edges over the reference's range of every column.

    Returns
    -------
    float
        Non-negative; above 1 where the dataset covers more than the reference.

    Raises
    ------
    DatasetError
        If the columns differ, or hold NaN; with the place.

    Examples
    --------
    >>> replay = Dataset.from_arrays(
    ...     observations=np.array([0.0, 1.0, 2.0, 3.0, 4.0]), actions=np.zeros(4), rewards=np.zeros(4),
    ...     terminations=np.arange(4) == 3, truncations=np.zeros(4, bool))
    >>> narrow = replay.replace({"observations": np.array([1.0, 1.0, 2.0, 2.0, 2.0])})
    >>> saco(narrow, replay), saco(replay, replay)
    (0.5, 1.0)
    """
    grid = Grid.from_dataset(reference, bins)
    return unique_state_actions(dataset, grid) / unique_state_actions(reference, grid)


def lsaco(dataset: Dataset, reference: Dataset, bins: int = 100) -> float:
    """Return lSACo(D) = log U(D) / log U(D_ref).

    Parameters
    ----------
    dataset, reference, bins
        As in `saco`.

    Raises
    ------
    DatasetError
        As `saco` does, and where the logarithm leaves nothing to divide: a dataset without steps, or a reference with
        one cell only.

    Examples
    --------
    >>> replay = Dataset.from_arrays(
    ...     observations=np.array([0.0, 1.0, 2.0, 3.0, 4.0]), actions=np.zeros(4), rewards=np.zeros(4),
    ...     terminations=np.arange(4) == 3, truncations=np.zeros(4, bool))
    >>> lsaco(replay.replace({"observations": np.array([1.0, 1.0, 2.0, 2.0, 2.0])}), replay)
    0.5
    """
    grid = Grid.from_dataset(reference, bins)
    return log_ratio(unique_state_actions(dataset, grid), unique_state_actions(reference, grid))


def log_ratio(unique: int, unique_reference: int) -> float:
    """Return log U / log U_ref, or raise DatasetError where that is undefined."""
    if unique < 1 or unique_reference < 2:
        raise DatasetError(f"lSACo is undefined for U = {unique} and U_ref = {unique_reference}")
    return math.log(unique) / math.log(unique_reference)


def has_bins(dataset: Dataset) -> bool:
    """Whether all observation and action columns are numbers, which can be digitized (text cannot)."""
    reader = StepReader(dataset)
    return all(
        dataset.column(name).dtype.kind in _NUMBERS
        for name in (*reader.leaves("observations"), *reader.leaves("actions"))
    )


def _column_names(dataset: Dataset) -> tuple[str, ...]:
    reader = StepReader(dataset)
    names: list[str] = []
    for name in (*reader.leaves("observations"), *reader.leaves("actions")):
        shape = dataset.column(name).shape[1:]
        names += [f"{name}{list(index)}".replace("[]", "") for index in np.ndindex(*shape)]
    return tuple(names)


def _state_action_rows(dataset: Dataset, *, allow_infinity: bool) -> Iterator[np.ndarray]:
    """Yield (n, D) float64 rows [state, action], chunk by chunk."""
    reader = StepReader(dataset)
    leaves = (*reader.leaves("observations"), *reader.leaves("actions"))
    for name in leaves:
        if dataset.column(name).dtype.kind not in _NUMBERS:
            raise DatasetError(f"column {name} holds {dataset.column(name).dtype}, which has no bins")
    width = sum(math.prod(dataset.column(name).shape[1:]) for name in leaves)
    size = max(1, _CHUNK_BYTES // (8 * max(1, width)))
    for start in range(0, dataset.total_steps, size):
        steps = slice(start, min(start + size, dataset.total_steps))
        rows = np.empty((steps.stop - start, width))
        column = 0
        for name in leaves:
            values = reader.read(name, steps)
            if values.dtype.kind == "f":
                reader.require_finite(name, steps, values, allow_infinity=allow_infinity)
            flat = values.reshape(len(values), -1)
            rows[:, column : column + flat.shape[1]] = flat
            column += flat.shape[1]
        yield rows


# -------------------------------------------------------------------- for the table


def measures(basis: Basis) -> Measures:
    """Return `unique_state_actions`, `saturation`, `saco` and `lsaco`."""
    dataset, bins = basis.dataset, basis.bins

    def grid() -> Grid:
        whose = dataset if basis.reference is None else basis.reference
        if not has_bins(whose) or not has_bins(dataset):
            raise NotMeasurable("a grid needs observations and actions that are numbers")
        return basis.once("grid", lambda: Grid.from_dataset(whose, bins))

    def unique() -> int:
        laid = grid()
        return basis.once("unique", lambda: unique_state_actions(dataset, laid))

    def unique_in_reference() -> int:
        reference, laid = basis.require_reference(), grid()
        return basis.once("unique in reference", lambda: unique_state_actions(reference, laid))

    def counted() -> str:
        whose = "its own" if basis.reference is None else "the reference's"
        return f"{_PAPER}; {bins} edges over {whose} range of each column"

    def compared(name: str) -> str:
        reference = basis.require_reference()
        label = reference.info.id or "dataset"
        return f"{_PAPER}, {name}; {bins} edges; reference {label} of {reference.total_steps:,} steps"

    def logarithms() -> Measure:
        if unique_in_reference() < 2:
            raise NotMeasurable("lSACo divides by log U of the reference, which has one cell only")
        return Measure(log_ratio(unique(), unique_in_reference()), "ratio of logarithms", compared("lSACo"))

    return {
        "unique_state_actions": lambda: Measure(unique(), "cells", counted()),
        "saturation": lambda: Measure(unique() / dataset.total_steps, "fraction of steps", counted()),
        "saco": lambda: Measure(unique() / unique_in_reference(), "ratio", compared("SACo")),
        "lsaco": logarithms,
    }


_PAPER = "Schweighofer et al. 2022"
