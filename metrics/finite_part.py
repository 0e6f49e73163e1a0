"""The part of a dataset whose numbers are all finite, for metrics that meet NaN or infinity.

Sensors drop out. A metric of steps, such as coverage or entropy, goes on with the steps whose observation, next observation,
action and reward are all there: episodes are split around the others, so that no transition is made up. A metric of whole
episodes goes on with the episodes that lack nothing. Either says on how many it was measured.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from assay.datasets.dataset import Dataset, is_under
from assay.datasets.pieces import take_pieces
from assay.datasets.recording import unrecorded
from assay.metrics.measures import Basis

__all__ = ["finite_part", "finite_steps"]

_READ = ("observations", "next_observations", "actions", "rewards")


def finite_steps(dataset: Dataset) -> np.ndarray:
    """Return the steps that hold neither NaN nor infinity, (N,) bool; a label that is said to be missing counts as there.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.array([0.0, 1.0, np.nan, 3.0, 4.0]), actions=np.zeros(4), episode_lengths=[4])
    >>> finite_steps(dataset).tolist()  # the second leads to what is not there
    [True, False, False, True]
    """
    finite = np.ones(dataset.total_steps, bool)
    for name in dataset.columns:
        array = dataset.column(name)
        if array.dtype.kind != "f" or not any(is_under(name, element) for element in _READ):
            continue
        rows = np.isfinite(array.reshape(len(array), -1)).all(axis=1)
        if is_under(name, "observations"):
            finite &= rows[dataset.observation_rows] & rows[dataset.observation_rows + 1]
        else:
            labels = dataset.missing.get(name.partition("/")[0], np.zeros(len(rows), bool))
            finite &= rows | labels
    return finite


def finite_part(basis: Basis, of_steps: bool) -> tuple[Basis, str] | None:
    """Return what to measure instead, and its name in words; None where everything is finite, or nothing is left.

    Parameters
    ----------
    basis : Basis
    of_steps : bool
        Whether pieces of episodes will do. A reference is cut down in the same way.
    """
    parts: list[Dataset | None] = []
    notes: list[str] = []
    for dataset in (basis.dataset, basis.reference):
        if dataset is None:
            parts.append(None)
            continue
        finite = finite_steps(dataset)
        if finite.all():
            parts.append(dataset)
            continue
        whose = "the reference's " if dataset is basis.reference else ""
        with unrecorded():
            if of_steps:
                part = _pieces(dataset, finite)
                notes.append(f"the {finite.sum():,} of {whose}{len(finite):,} steps whose numbers are all finite")
            else:
                whole = np.logical_and.reduceat(finite, dataset.episode_starts)
                part = dataset.select(whole) if whole.any() else None
                notes.append(f"the {whole.sum():,} of {whose}{len(whole):,} episodes whose numbers are all finite")
        if part is None:
            return None
        parts.append(part)
    if not notes or parts[0] is None:
        return None
    return replace(basis, dataset=parts[0], reference=parts[1], _results={}), ", ".join(notes)


def _pieces(dataset: Dataset, steps: np.ndarray) -> Dataset | None:
    """Return the runs of steps that follow each other inside an episode."""
    if not steps.any():
        return None
    starts = np.zeros(len(steps), bool)
    starts[dataset.episode_starts] = True
    first = steps & (starts | ~np.concatenate([[False], steps[:-1]]))
    ends_next = np.concatenate([starts[1:], [True]])
    last = steps & (ends_next | ~np.concatenate([steps[1:], [False]]))
    firsts = np.flatnonzero(first)
    return take_pieces(dataset, firsts, np.flatnonzero(last) - firsts + 1)
