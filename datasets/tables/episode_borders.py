"""Where episodes begin: by an id, by a reset of time, or by a gap in time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from assay.datasets.errors import DatasetError

__all__ = ["lengths_by_borders", "starts_by_id", "starts_by_time"]


def starts_by_id(
    ids: Sequence[np.ndarray],
    names: Sequence[str],
    where: object,
    labels: Sequence[Sequence[str] | None] | None = None,
) -> np.ndarray:
    """Return which rows begin an episode, (N,) bool: those whose id differs from the row before.

    Parameters
    ----------
    ids : sequence of (N,) arrays
        Rows of one combination of values are one episode.
    names : sequence of str
        Of the ids, for messages.
    where : object
    labels : sequence of sequences of str, optional
        What ids that are numbers of texts stand for, for messages.

    Raises
    ------
    DatasetError
        If an id is missing, is no flat column, or comes back after others.

    Examples
    --------
    >>> starts_by_id([np.array([4, 4, 7])], ["run"], "example").tolist()
    [True, False, True]
    >>> starts_by_id([np.array(["a", "b", "a"])], ["run"], "example")
    Traceback (most recent call last):
    ...
    assay.datasets.errors.DatasetError: example: episode run=a comes back in row 2, after others in between; sort the rows \
by run (and by time), or name what else tells its parts apart: episode: [run, ...]
    """
    starts = np.zeros(len(ids[0]), bool)
    if not len(starts):
        return starts
    for array, name in zip(ids, names, strict=True):
        if array.ndim != 1:
            raise DatasetError(
                f"{where}: episode column {name} has shape {list(array.shape)}; one id per row belongs there"
            )
        if array.dtype.kind == "f" and len(missing := np.flatnonzero(np.isnan(array))):
            raise DatasetError(f"{where}: row {missing[0]} has no episode ({name} is missing)")
        starts[1:] |= array[1:] != array[:-1]
    starts[0] = True
    rows = np.flatnonzero(starts)
    seen: dict[tuple[object, ...], int] = {}
    if _unique(ids, rows):
        return starts
    for row in rows.tolist():
        key = tuple(array[row].item() for array in ids)
        if key in seen:
            texts = [of[value] if of is not None else value for of, value in zip(labels or [None] * len(key), key)]
            shown = ", ".join(f"{name}={text}" for name, text in zip(names, texts, strict=True))
            raise DatasetError(
                f"{where}: episode {shown} comes back in row {row}, after others in between; sort the rows by "
                f"{', '.join(names)} (and by time), or name what else tells its parts apart: episode: [{', '.join(names)}, ...]"
            )
        seen[key] = row
    return starts


def _unique(ids: Sequence[np.ndarray], rows: np.ndarray) -> bool:
    return len(ids) == 1 and len(np.unique(ids[0][rows])) == len(rows)


def starts_by_time(seconds: np.ndarray, *, gap: float | None, resets: bool) -> np.ndarray:
    """Return which rows begin an episode, (N,) bool: where time goes back, or leaps by more than `gap` seconds.

    Examples
    --------
    >>> starts_by_time(np.array([0.0, 0.1, 5.0, 5.1, 0.0]), gap=1.0, resets=True).tolist()
    [True, False, True, False, True]
    """
    starts = np.zeros(len(seconds), bool)
    if not len(starts):
        return starts
    starts[0] = True
    passed = np.diff(seconds)
    if gap is not None:
        starts[1:] |= passed > gap
    if resets:
        starts[1:] |= passed < 0
    return starts


def lengths_by_borders(starts: np.ndarray) -> np.ndarray:
    """Return the lengths of the episodes that begin at these rows.

    Examples
    --------
    >>> lengths_by_borders(np.array([True, False, True])).tolist()
    [2, 1]
    """
    lengths: np.ndarray = np.diff(np.flatnonzero(starts), append=len(starts))
    return lengths
