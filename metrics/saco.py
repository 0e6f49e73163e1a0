"""SACo: how much of the state-action space a dataset covers, relative to a reference dataset.

Source: Schweighofer et al., "A Dataset Perspective on Offline Reinforcement Learning", CoLLAs 2022, arXiv 2111.04714;
published code `source/evaluator.py` and `source/plotting/create_plots.py` of ml-jku/OfflineRL. With U(D) the
number of distinct cells that the rows [state, action] of D fall into (`assay.metrics.grid`),

    SACo(D)  = U(D) / U(D_ref)
    lSACo(D) = log U(D) / log U(D_ref)
    saturation(D) = U(D) / N                          (ours, reported beside SACo)

The paper's reference is the replay dataset of the run that made D, with as many steps as D; U grows with N, so compare
datasets of equal size. High SACo is what value-based methods (DQN and its variants) need; methods that constrain the
policy (BCQ, CQL, CRR) do well with high SACo or high TQ. If nearly every row is its own cell (saturation near 1, as on
the 23 columns of a MuJoCo body with any useful number of edges), SACo says little more than the ratio of the sizes:
take fewer bins.

The published sources disagree on what is counted. `definition` chooses; in all three the count here is exact:

"paper"
    `np.linspace(low, high, 100)` per column, low and high those of the reference, the same grid for both counts.
"published code"
    Each dataset is counted on a grid over the range of its own columns (in four of the six environments; in the other
    two the reference's range is passed). Each dataset has one more row, of zeros in state and action, which counts for
    the range too: the code's buffers hold N + 1 rows, and the evaluator gets all of them. ImageColumn are flattened to
    pixels. The code then estimates U by a HyperLogLog of 1 % nominal error (measured +0.5 % on CartPole-like data, +1.7
    % on 1M distinct rows of 23 numbers); `sketch_state_actions` is such an estimate.
"d4rl notebook"
    `evaluate.ipynb` of the code: a Python set of tuples on a grid of `np.linspace(low, high, 5)` over the range of the
    reference (the medium-replay dataset of the body). Only the first 100,000 rows of each dataset are used, also for
    the range.

Actions are digitized like states, discrete ones too, as published. Integers whose reference range spans fewer than
`bins` values all get bins of their own, so their count is that of the values themselves. States are the observations
that the N steps start from. The code's `get_unique_state_actions_exact` adds states and actions elementwise where it
should concatenate them. The code does not use this function, and neither do we.

A dataset that is larger than one machine is counted in parts, by sketches that are merged::

    grid = Grid.from_dataset(reference)                                # once, then sent to everyone
    part = sketch_state_actions(part_of_the_dataset, grid)             # on each machine; part.to_bytes() travels
    whole = part.merge(*others); whole.estimate(), whole.standard_error
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, DatasetError, UnknownNameError
from assay.datasets.memory import empty
from assay.metrics.grid import Grid, Images, has_bins
from assay.metrics.hyperloglog import HyperLogLog
from assay.metrics.measures import Basis, Measure, Measures, NotMeasurable, register_group

__all__ = [
    "Definition",
    "lsaco",
    "saco",
    "saturation",
    "sketch_state_actions",
    "unique_counts",
    "unique_state_actions",
    "unique_states",
]

Definition: TypeAlias = Literal["paper", "published code", "d4rl notebook"]

DEFAULT_BINS: dict[str, int] = {"paper": 100, "published code": 100, "d4rl notebook": 5}
_NOTEBOOK_STEPS = 100_000


def unique_state_actions(dataset: Dataset, grid: Grid, *, bits: int = 64) -> int:
    """Count the distinct cells that the rows [state, action] of a dataset fall into.

    Parameters
    ----------
    dataset : Dataset
        N rows: the observations that the steps start from, and the actions. Infinite values fall into the outer bins.
    grid : Grid
    bits : 64 or 128
        Size of the cells' numbers; `assay.metrics.grid` says how likely two cells get the same number by chance.

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
    return _distinct(_cells(dataset, grid, bits))


def unique_states(dataset: Dataset, grid: Grid, *, bits: int = 64) -> int:
    """Count the distinct cells that the states of a dataset fall into, without the actions.

    Parameters
    ----------
    dataset, grid, bits
        As in `unique_state_actions`; only the part of the grid over the observations is used.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.array([0.0, 1.0, 1.0, 9.0]), actions=np.array([0, 1, 2]), rewards=np.zeros(3),
    ...     terminations=np.arange(3) == 2, truncations=np.zeros(3, bool))
    >>> grid = Grid.from_dataset(dataset)
    >>> unique_states(dataset, grid), unique_state_actions(dataset, grid)
    (2, 3)
    """
    return unique_state_actions(dataset, grid.states, bits=bits)


def sketch_state_actions(dataset: Dataset, grid: Grid, precision: int = 14) -> HyperLogLog:
    """Return a mergeable estimate of `unique_state_actions`, in 2^precision bytes for any size of the dataset.

    Parameters
    ----------
    dataset : Dataset
    grid : Grid
        It has to be the same for all parts that are to be merged.
    precision : int
        Relative standard error 1.04 / 2^(precision/2).

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(1001.0), actions=np.zeros(1000), rewards=np.zeros(1000),
    ...     terminations=np.arange(1000) == 999, truncations=np.zeros(1000, bool))
    >>> sketch = sketch_state_actions(dataset, Grid.from_dataset(dataset, bins=2000))
    >>> abs(sketch.estimate() / 1000 - 1) < 3 * sketch.standard_error
    True
    """
    return HyperLogLog(precision).update(grid.hashes(dataset))


def saturation(dataset: Dataset, grid: Grid) -> float:
    """Return U(D) / N, distinct cells per step: from 1/N to 1, at which the grid is too fine for SACo to say much.

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


def saco(
    dataset: Dataset,
    reference: Dataset,
    bins: int | None = None,
    *,
    definition: Definition = "paper",
    grid: Grid | None = None,
    bits: int = 64,
) -> float:
    """Return SACo(D) = U(D) / U(D_ref), the coverage relative to a reference (Schweighofer et al. 2022).

    Parameters
    ----------
    dataset, reference : Dataset
        Datasets of the same environment and, for a fair comparison, of the same number of steps. The paper's reference
        is the replay dataset of the same run.
    bins : int, optional
        Number of bin edges over the range of every column; default 100, and 5 for the notebook's definition.
    definition : "paper", "published code" or "d4rl notebook"
        Source of the definition, because the three disagree; the module's text describes them.
    grid : Grid, optional
        Count on this grid instead, such as `Grid.from_spaces(...)`; not together with `bins` or a definition.
    bits : 64 or 128
        Size of the cells' numbers.

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
    unique, of_reference = unique_counts(dataset, reference, bins, definition=definition, grid=grid, bits=bits)
    return unique / of_reference


def lsaco(
    dataset: Dataset,
    reference: Dataset,
    bins: int | None = None,
    *,
    definition: Definition = "paper",
    grid: Grid | None = None,
    bits: int = 64,
) -> float:
    """Return lSACo(D) = log U(D) / log U(D_ref).

    Parameters
    ----------
    dataset, reference, bins, definition, grid, bits
        As in `saco`.

    Raises
    ------
    DatasetError
        As `saco` does, and if a logarithm is not usable: the dataset has no steps, or the reference has one cell only.

    Examples
    --------
    >>> replay = Dataset.from_arrays(
    ...     observations=np.array([0.0, 1.0, 2.0, 3.0, 4.0]), actions=np.zeros(4), rewards=np.zeros(4),
    ...     terminations=np.arange(4) == 3, truncations=np.zeros(4, bool))
    >>> lsaco(replay.replace({"observations": np.array([1.0, 1.0, 2.0, 2.0, 2.0])}), replay)
    0.5
    """
    return log_ratio(*unique_counts(dataset, reference, bins, definition=definition, grid=grid, bits=bits))


def unique_counts(
    dataset: Dataset,
    reference: Dataset,
    bins: int | None = None,
    *,
    definition: Definition = "paper",
    grid: Grid | None = None,
    bits: int = 64,
) -> tuple[int, int]:
    """Return U(D) and U(D_ref), as `saco` divides them.

    Parameters
    ----------
    dataset, reference, bins, definition, grid, bits
        As in `saco`.
    """
    if grid is not None:
        if bins is not None or definition != "paper":
            raise ConfigError("a grid holds its own bins: pass either grid, or bins and a definition")
        return unique_state_actions(dataset, grid, bits=bits), unique_state_actions(reference, grid, bits=bits)
    laid = definition_grid(reference, definition, bins)
    counts = [count(part, laid, definition, bins, bits) for part in (dataset, reference)]
    return counts[0], counts[1]


def definition_grid(
    reference: Dataset, definition: str, bins: int | None = None, parts: Sequence[str] = ("observations", "actions")
) -> Grid:
    """Return the grid over the reference that a definition counts on (the published code has one per dataset)."""
    if definition not in DEFAULT_BINS:
        raise UnknownNameError("definition of SACo", definition, get_args(Definition))
    bins = DEFAULT_BINS[definition] if bins is None else bins
    if definition == "d4rl notebook":
        return Grid.from_dataset(reference, bins, steps=_NOTEBOOK_STEPS, parts=parts)
    images: Images = "pixels" if definition == "published code" else "whole"
    return Grid.from_dataset(reference, bins, images=images, parts=parts)


def counted_steps(dataset: Dataset, definition: str) -> int:
    """Return how many of a dataset's steps a definition looks at."""
    return min(dataset.total_steps, _NOTEBOOK_STEPS) if definition == "d4rl notebook" else dataset.total_steps


def count(dataset: Dataset, grid: Grid, definition: str, bins: int | None = None, bits: int = 64) -> int:
    """Return U of one dataset by a definition, given the definition's grid over the reference."""
    if definition == "published code":
        if not dataset.total_steps:
            return 1  # the row of zeros
        own = definition_grid(dataset, definition, bins)
        widened = (np.linspace(min(item[0], 0.0), max(item[-1], 0.0), len(item)) for item in own.edges)
        if own.names != grid.names:
            list(grid.hashes(dataset))  # raises, with the column that differs
        return _distinct(_cells(dataset, Grid(own.names, tuple(widened)), bits, zeros=True))
    return _distinct(_cells(dataset, grid, bits, steps=counted_steps(dataset, definition)))


def log_ratio(unique: int, unique_reference: int) -> float:
    """Return log U / log U_ref, or raise DatasetError where that is undefined."""
    if unique < 1 or unique_reference < 2:
        raise DatasetError(f"lSACo is undefined for U = {unique} and U_ref = {unique_reference}")
    return math.log(unique) / math.log(unique_reference)


def _cells(dataset: Dataset, grid: Grid, bits: int, steps: int | None = None, zeros: bool = False) -> np.ndarray:
    """Return the (n,) or (n, 2) cells of the steps, with one more for a row of zeros if asked."""
    rows = dataset.total_steps if steps is None else steps
    cells = empty((rows + zeros,) if bits == 64 else (rows + zeros, 2), np.uint64)
    if zeros:
        cells[-1:] = grid.cells(np.zeros((1, len(grid.names))), bits)
    start = 0
    for part in grid.hashes(dataset, bits=bits, steps=steps):
        cells[start : start + len(part)] = part
        start += len(part)
    return cells


def _distinct(cells: np.ndarray) -> int:
    """Return the number of distinct cells; sorts them in place."""
    if not len(cells):
        return 0
    if cells.ndim == 1:
        cells.sort()
        return int(np.count_nonzero(cells[1:] != cells[:-1])) + 1
    cells = cells[np.lexsort((cells[:, 1], cells[:, 0]))]
    return int(np.count_nonzero((cells[1:] != cells[:-1]).any(axis=1))) + 1


# -------------------------------------------------------------------- for the table


@register_group("state_actions", order=50, of_steps=True)
def measures(basis: Basis) -> Measures:
    """Return `unique_states`, `unique_state_actions`, `saturation`, `saco` and `lsaco`."""
    dataset, bins, definition = basis.dataset, basis.bins, basis.definition

    def grid(*parts: str) -> Grid:
        whose = dataset if basis.reference is None else basis.reference
        if not has_bins(whose, parts) or not has_bins(dataset, parts):
            raise NotMeasurable(f"a grid needs {' and '.join(parts)} that are numbers")
        return basis.cache(f"grid of {parts}", lambda: definition_grid(whose, definition, bins, parts))

    def unique() -> int:
        laid = grid("observations", "actions")
        return basis.cache("unique", lambda: count(dataset, laid, definition, bins))

    def unique_in_reference() -> int:
        reference, laid = basis.require_reference(), grid("observations", "actions")
        return basis.cache("unique in reference", lambda: count(reference, laid, definition, bins))

    def edges() -> str:
        used = DEFAULT_BINS[definition] if bins is None else bins
        return f"{used} edges" + (", first 100,000 steps" if definition == "d4rl notebook" else "")

    def counted(own: bool = False) -> str:
        whose = "its own" if basis.reference is None or own else "the reference's"
        return f"{_PAPER}; {edges()} over {whose} range of each column"

    def compared(name: str) -> str:
        reference = basis.require_reference()
        label = reference.info.id or "dataset"
        kind = "" if definition == "paper" else f", as in the {definition}"
        return f"{_PAPER}, {name}{kind}; {edges()}; reference {label} of {reference.total_steps:,} steps"

    def states() -> Measure:
        laid = grid("observations")  # actions may be missing
        cells = _cells(dataset, laid, 64, steps=counted_steps(dataset, definition))
        return Measure(_distinct(cells), "cells", counted())

    def ratio() -> Measure:
        basis.require_reference()  # where there is none, it is not the labels that are lacking
        return Measure(unique() / unique_in_reference(), "ratio", compared("SACo"))

    def logarithms() -> Measure:
        if unique_in_reference() < 2:
            raise NotMeasurable("lSACo divides by log U of the reference, which has one cell only")
        return Measure(log_ratio(unique(), unique_in_reference()), "ratio of logarithms", compared("lSACo"))

    def share() -> Measure:
        return Measure(unique() / counted_steps(dataset, definition), "fraction of steps", counted(own))

    own = definition == "published code"
    return {
        "unique_states": states,
        "unique_state_actions": lambda: Measure(unique(), "cells", counted(own)),
        "saturation": share,
        "saco": ratio,
        "lsaco": logarithms,
    }


_PAPER = "Schweighofer et al. 2022"
