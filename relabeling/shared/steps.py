"""Leaving steps out of a dataset without inventing a transition.

::

    step        0  1  2  3  4                  left out: step 2
    becomes     s0 s1 s2 | s3 s4 sT            two episodes; the first is truncated, and s2 is its true final observation
"""

from __future__ import annotations

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.errors import DatasetError
from assay.datasets.memory import copy, take_ranges

__all__ = ["keep_steps"]


def keep_steps(dataset: Dataset, kept: np.ndarray) -> Dataset:
    """Return the dataset of some steps; what lies between two steps that are left out is an episode.

    Parameters
    ----------
    dataset : Dataset
    kept : (N,) bool

    Raises
    ------
    DatasetError
        If no step is kept.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(5.0), actions=np.zeros(4), rewards=np.arange(4.0),
    ...     terminations=np.arange(4) == 3, truncations=np.zeros(4, bool))
    >>> left = keep_steps(dataset, np.array([True, False, True, True]))
    >>> left.observations.tolist(), left.truncations.tolist(), left.episode_lengths.tolist()
    ([0.0, 1.0, 2.0, 3.0, 4.0], [True, False, False], [1, 2])
    """
    if kept.all():
        return dataset
    if not kept.any():
        raise DatasetError(f"all of the {len(kept):,} steps would be left out; nothing is left to learn from")
    starts, lasts = dataset.episode_starts, dataset.episode_starts + dataset.episode_lengths - 1
    whole = np.logical_and.reduceat(kept, starts) | ~np.logical_or.reduceat(kept, starts)
    if whole.all():
        return dataset.select(kept[starts])
    begins, ends = kept.copy(), kept.copy()
    first, last = np.zeros(len(kept), bool), np.zeros(len(kept), bool)
    first[starts], last[lasts] = True, True
    begins[1:] &= ~kept[:-1] | first[1:]
    ends[:-1] &= ~kept[1:] | last[:-1]
    firsts = np.flatnonzero(begins)
    lengths = np.flatnonzero(ends) - firsts + 1
    of = dataset.episode_of_step[firsts]
    columns: dict[str, np.ndarray | None] = {
        name: take_ranges(array, firsts, lengths)
        if len(array) == dataset.total_steps
        else take_ranges(array, firsts + of, lengths + 1)
        for name, array in ((name, dataset.column(name)) for name in dataset.columns)
    }
    cut = firsts + lengths - 1 < lasts[of]
    truncations = copy(columns["truncations"])  # type: ignore[arg-type]
    ended = np.cumsum(lengths) - 1
    truncations[ended[cut]] |= ~dataset.terminations[(firsts + lengths - 1)[cut]]
    columns["truncations"] = truncations
    table: dict[str, np.ndarray | None] = {name: array[of] for name, array in dataset.episode_columns.items()}
    if "final_observation" in table:
        table["final_observation"] = dataset.final_observations_known[of] | cut
    return dataset.replace(columns, episode_lengths=lengths, episode_columns=table)
