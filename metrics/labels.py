"""Plain facts about the steps: constant rewards, repeated steps, dead sensors, the time limit.

    reward_sparsity  = steps with the most frequent reward / steps
    duplicate_rate   = steps whose (s, a, r, s') occurred at an earlier step, bit for bit / steps
    dead_dimensions  = numbers in an observation (an action) that are the same at every step
    time_limit       = length of the longest episodes, if one of them ends in a truncation

All are exact and read every step, in blocks. Sparsity is between 1/N and 1. Schweighofer et al. 2022 count zeros per
episode, which is the same for rewards of 0 and 1, but finds no sparsity in rewards of -1 and 0. Near 1: a few steps
decide the return, value has to be carried far (n-step returns, hindsight), and a regression on rewards learns a
constant. A duplicate rate of 0 is ordinary for real numbers. More means that data were copied, or that a deterministic
environment was driven the same way twice; a split into training and validation then leaks. Dead dimensions are inputs
that no network can learn from, and whose standard deviation is 0.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xxhash

from assay.datasets.dataset import Dataset
from assay.datasets.errors import DatasetError
from assay.datasets.missing import require_labels
from assay.datasets.streaming import StepReader
from assay.metrics.measures import Basis, Measure, Measures, NotMeasurable, register_group
from assay.metrics.returns import last_steps

__all__ = ["dead_dimensions", "duplicate_rate", "reward_sparsity", "time_limit"]

_CHUNK_BYTES = 1 << 22


def reward_sparsity(dataset: Dataset) -> float:
    """Return the share of steps that have the most frequent reward.

    Parameters
    ----------
    dataset : Dataset

    Returns
    -------
    float
        1/N to 1.

    Raises
    ------
    DatasetError
        If there are no steps, or a reward is NaN or infinite; with the place.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.zeros(5), actions=np.zeros(4), rewards=[-1.0, -1.0, -1.0, 0.0],
    ...     terminations=np.arange(4) == 3, truncations=np.zeros(4, bool))
    >>> reward_sparsity(dataset)
    0.75
    """
    _require_steps(dataset)
    require_labels(dataset, "rewards", by="this")
    StepReader(dataset).require_finite("rewards", slice(0, dataset.total_steps), dataset.rewards)
    return int(np.unique(dataset.rewards, return_counts=True)[1].max()) / dataset.total_steps


def duplicate_rate(dataset: Dataset) -> float:
    """Return the share of steps whose transition occurred before; compared by 64-bit hashes of the bytes.

    Parameters
    ----------
    dataset : Dataset
        Any columns: images and text, too.

    Returns
    -------
    float
        0 to 1 - 1/N. Two different transitions are taken for equal with probability below N^2 / 2^65 in all.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.array([0.0, 0.0, 0.0, 1.0, 0.0]), actions=np.zeros(4), rewards=np.zeros(4),
    ...     terminations=np.arange(4) == 3, truncations=np.zeros(4, bool))
    >>> duplicate_rate(dataset)  # 0 -> 0 twice, 0 -> 1, 1 -> 0
    0.25
    """
    _require_steps(dataset)
    hashes = np.empty(dataset.total_steps, np.uint64)
    for steps, parts in _transitions(dataset):
        rows = np.concatenate([_bytes(part) for part in parts], axis=1)
        hashes[steps] = [xxhash.xxh3_64_intdigest(row) for row in rows]
    hashes.sort()
    return int((hashes[1:] == hashes[:-1]).sum()) / dataset.total_steps


def dead_dimensions(dataset: Dataset, prefix: str = "observations") -> int:
    """Return how many numbers of an observation (an action) are the same at every step.

    Parameters
    ----------
    dataset : Dataset
    prefix : str
        `"observations"` or `"actions"`; nested columns count together.

    Raises
    ------
    NotMeasurable
        If there are no numbers in it.
    DatasetError
        If there are no steps. NaN is a value like others: a column that is NaN throughout is dead.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.array([[0.0, 3.0], [1.0, 3.0], [2.0, 3.0]]), actions=np.zeros(2), rewards=np.zeros(2),
    ...     terminations=[False, True], truncations=[False, False])
    >>> dead_dimensions(dataset), dead_dimensions(dataset, "actions")
    (1, 1)
    """
    _require_steps(dataset)
    reader, dead, numbers = StepReader(dataset), 0, 0
    for name in reader.leaves(prefix):
        column = dataset.column(name)
        if column.dtype.kind not in "fiub":
            continue
        first = column[:1]
        alive = np.zeros(first.shape[1:], bool)
        for steps in reader.chunks(name, _CHUNK_BYTES):
            values = reader.read(name, steps)
            alive |= ((values != first) & ((values == values) | (first == first))).any(0)
            if alive.all():
                break
        numbers += alive.size
        dead += int((~alive).sum())
    if not numbers:
        raise NotMeasurable(f"{prefix} hold no numbers to measure")
    return dead


def time_limit(dataset: Dataset) -> int:
    """Return the length of the longest episodes, if one of them was truncated: no episode could be longer.

    Raises
    ------
    NotMeasurable
        If none was. Shorter episodes that were truncated ended for another reason, such as the end of the collection.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.zeros(5), actions=np.zeros(3), rewards=np.zeros(3),
    ...     terminations=[True, False, False], truncations=[False, False, True])
    >>> time_limit(dataset)
    2
    """
    longest = int(dataset.episode_lengths.max(initial=0))
    if not longest or not dataset.truncations[last_steps(dataset)][dataset.episode_lengths == longest].any():
        raise NotMeasurable("none of the longest episodes was truncated, so nothing shows a time limit")
    return longest


def _require_steps(dataset: Dataset) -> None:
    if not dataset.total_steps:
        raise DatasetError("the dataset has no steps to measure")


def _transitions(dataset: Dataset) -> Iterator[tuple[slice, list[np.ndarray]]]:
    reader = StepReader(dataset)
    stored = "next_observations" if dataset.has_next_observations else None
    columns = [*reader.leaves("observations"), *reader.leaves("actions"), *reader.leaves("rewards")]
    widest = max(columns, key=lambda name: dataset.column(name)[:1].nbytes)
    for steps in reader.chunks(widest, _CHUNK_BYTES):
        parts = [reader.read(name, steps) for name in columns]
        if stored:
            parts += [reader.read(name, steps) for name in reader.leaves(stored)]
        else:
            parts += [reader.read_following(name, steps) for name in reader.leaves("observations")]
        yield steps, parts


def _bytes(array: np.ndarray) -> np.ndarray:
    """View the rows of an array as bytes; (n, width) uint8."""
    return np.ascontiguousarray(array).reshape(len(array), -1).view(np.uint8)


# -------------------------------------------------------------------- for the table


@register_group("labels", order=120)
def measures(basis: Basis) -> Measures:
    """Return `reward_sparsity`, `duplicate_rate`, `dead_observations`, `dead_actions` and `time_limit`."""
    dataset = basis.dataset

    def dead(prefix: str) -> Measure:
        return Measure(dead_dimensions(dataset, prefix), "dimensions", f"{prefix} that are the same at every step")

    return {
        "reward_sparsity": lambda: Measure(
            reward_sparsity(dataset), "fraction of steps", "steps with the most frequent reward"
        ),
        "duplicate_rate": lambda: Measure(
            duplicate_rate(dataset), "fraction of steps", "(s, a, r, s') that occurred before, bit for bit"
        ),
        "dead_observations": lambda: dead("observations"),
        "dead_actions": lambda: dead("actions"),
        "time_limit": lambda: Measure(
            time_limit(dataset), "steps", "length of the longest episodes, which a truncation ended"
        ),
    }
