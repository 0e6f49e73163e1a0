"""Between the rows of transition files and the dataset's layout.

Most formats store one row per step. Some also store what followed it, others only the observation that it began with::

    file      observations       s0 s1 s2 | s0 s1        one row per step
              next_observations  s1 s2 s3 | s1 s2        maybe
              terminations       0  0  0  | 0  1
              truncations        0  0  1  | 0  0
    dataset   observations       s0 s1 s2 s3 | s0 s1 s2  one more per episode: its final observation

With next observations the final one is that of the episode's last step, and a column of them is kept only where it
differs from the following row. Without them the final observation was never recorded: the last row is repeated, the
episode column `final_observation` says so, and no transition is made of it.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from assay.datasets.dataset import Dataset, is_under
from assay.datasets.errors import AssayWarning, DatasetError
from assay.datasets.info import DatasetInfo
from assay.datasets.memory import empty

__all__ = [
    "dataset_from_rows",
    "episode_lengths_from_ends",
    "episode_lengths_from_flags",
    "flags",
    "flat",
    "in_machine_order",
    "naming",
    "next_observation_rows",
    "observation_rows",
]

_BLOCK_ROWS = 65_536


def episode_lengths_from_flags(terminations: np.ndarray, truncations: np.ndarray) -> np.ndarray:
    """Return the lengths of the episodes that end where either flag is set, rows after the last flag being one more.

    Examples
    --------
    >>> flags = np.array([False, True, False, False, True, False])
    >>> episode_lengths_from_flags(flags, np.zeros(6, bool)).tolist()
    [2, 3, 1]
    """
    ends = np.flatnonzero(terminations | truncations)
    if len(terminations) and (not len(ends) or ends[-1] != len(terminations) - 1):
        ends = np.append(ends, len(terminations) - 1)
    lengths: np.ndarray = np.diff(ends, prepend=-1)
    return lengths


def episode_lengths_from_ends(ends: np.ndarray, steps: int, where: str) -> np.ndarray:
    """Return the lengths of the episodes that end before these rows; the last one ends with the steps.

    Raises
    ------
    DatasetError
        If the ends are no such list; `where` names the file and the array.

    Examples
    --------
    >>> episode_lengths_from_ends(np.array([2, 5, 6]), 6, "example").tolist()
    [2, 3, 1]
    """
    if ends.ndim != 1 or ends.dtype.kind not in "iu":
        raise DatasetError(f"{where} is {ends.dtype}{list(ends.shape)}; a list of row numbers belongs there")
    numbers = [0, *ends.tolist()]
    for episode, (start, end) in enumerate(itertools.pairwise(numbers)):
        if not start < end <= steps:
            raise DatasetError(
                f"{where}, entry {episode}: {end} cannot end an episode that starts at row {start}; there are "
                f"{steps} rows"
            )
    if numbers[-1] != steps:
        raise DatasetError(f"{where} ends the last episode at row {numbers[-1]}, but there are {steps} rows")
    return np.diff(np.array(numbers, np.int64))


def flat(array: np.ndarray, where: str) -> np.ndarray:
    """Return a column of one value per row as (N,), where some store (N, 1).

    Raises
    ------
    DatasetError
        If it has another shape; `where` names the file and the column.
    """
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DatasetError(f"{where} has shape {list(array.shape)}; one value per row belongs there")
    return array


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the file into the errors of a block that does not know it."""
    try:
        yield
    except DatasetError as error:
        if str(path) in str(error):
            raise
        raise type(error)(f"{path}: {error}") from error


def flags(array: np.ndarray, where: str) -> np.ndarray:
    """Return a column of flags as (N,) booleans, whatever number type stores them.

    Raises
    ------
    DatasetError
        If it is not one flag per row, or holds anything but 0 and 1; `where` names the file and the column.
    """
    array = flat(array, where)
    if array.dtype.kind not in "biuf":
        raise DatasetError(f"{where} is {array.dtype}; one flag per row belongs there, 0 or 1")
    result: np.ndarray = array.astype(bool)
    wrong = np.flatnonzero(array != result)  # NaN differs from everything, so it is found too
    if len(wrong):
        raise DatasetError(f"{where}, row {wrong[0]}: {array[wrong[0]]} is not a flag; 0 or 1 belongs there")
    return result


def dataset_from_rows(
    columns: Mapping[str, np.ndarray],
    *,
    lengths: np.ndarray | None = None,
    info: DatasetInfo | None = None,
    episode_columns: Mapping[str, np.ndarray] | None = None,
) -> Dataset:
    """Make a dataset from columns of one row per step.

    Parameters
    ----------
    columns : mapping of str to (N, ...) array
        Under the dataset's names. `observations` (or columns below it) are those that the steps start from;
        `next_observations`, if there, names the same leaves.
    lengths : (E,) integers, optional
        Steps of each episode. Default: an episode ends where a flag is set.
    info, episode_columns : optional
        As in `Dataset`.

    Returns
    -------
    Dataset

    Raises
    ------
    DatasetError
        If rows or leaves disagree.

    Examples
    --------
    >>> rows = {
    ...     "observations": np.array([0.0, 1.0, 5.0]), "next_observations": np.array([1.0, 2.0, 6.0]),
    ...     "actions": np.zeros(3), "rewards": np.ones(3),
    ...     "terminations": np.array([False, True, False]), "truncations": np.array([False, False, True])}
    >>> dataset = dataset_from_rows(rows)
    >>> dataset.observations.tolist(), dataset.has_next_observations
    ([0.0, 1.0, 2.0, 5.0, 6.0], False)
    """
    for name, array in columns.items():
        if array.ndim == 0:
            raise DatasetError(f"column {name} is a single value; one row per step is needed")
    measure = "rewards" if "rewards" in columns else "terminations"
    steps = len(columns[measure])
    for name, array in columns.items():
        if len(array) != steps:
            raise DatasetError(f"column {name} has {len(array)} rows, but {measure} has {steps}")
    if lengths is None:
        lengths = episode_lengths_from_flags(columns["terminations"], columns["truncations"])
    lengths = np.asarray(lengths)
    if lengths.ndim != 1 or (len(lengths) and lengths.dtype.kind not in "iu"):
        raise DatasetError(f"episode lengths are {lengths.dtype}{list(lengths.shape)}; a list of integers is needed")
    if len(wrong := np.flatnonzero(lengths < 1)):
        raise DatasetError(f"episode {wrong[0]} has {lengths[wrong[0]]} steps; at least 1 belong there")
    if sum(lengths.tolist()) != steps:
        raise DatasetError(f"the episodes hold {sum(lengths.tolist())} steps, but there are {steps} rows")
    lengths = lengths.astype(np.int64)
    observed = [name for name in columns if is_under(name, "observations")]
    following = [name for name in columns if is_under(name, "next_observations")]
    if following and sorted(following) != sorted(f"next_{name}" for name in observed):
        raise DatasetError(
            f"next observations ({', '.join(following)}) and observations ({', '.join(observed)}) differ"
        )
    result = {name: array for name, array in columns.items() if name not in observed and name not in following}
    extra = dict(episode_columns or {})
    differs = False
    for name in observed:
        stored = columns.get(f"next_{name}")
        result[name] = _with_final(columns[name], stored, lengths, name)
        differs |= stored is not None and not _follows(columns[name], stored, lengths)
    if differs:
        result |= {name: columns[name] for name in following}
    if not following and len(lengths):
        extra["final_observation"] = np.zeros(len(lengths), bool)
    return Dataset(result, lengths, info=info, episode_columns=extra)


def _with_final(array: np.ndarray, following: np.ndarray | None, lengths: np.ndarray, name: str) -> np.ndarray:
    """Return the rows of every episode with one more behind them."""
    if following is not None and (following.shape != array.shape or following.dtype != array.dtype):
        raise DatasetError(
            f"column next_{name} is {following.dtype}{list(following.shape)}, but {name} is "
            f"{array.dtype}{list(array.shape)}"
        )
    result = empty((len(array) + len(lengths), *array.shape[1:]), array.dtype)
    lasts = np.cumsum(lengths) - 1
    for rows, episodes in _row_blocks(lengths):
        result[np.arange(rows.start, rows.stop) + episodes] = array[rows]
    result[lasts + np.arange(len(lengths)) + 1] = (array if following is None else following)[lasts]
    return result


def _follows(array: np.ndarray, following: np.ndarray, lengths: np.ndarray) -> bool:
    """Tell whether every next observation inside an episode equals the following row, bit for bit."""
    inside = np.ones(len(array), bool)
    inside[np.cumsum(lengths) - 1] = False
    for start in range(0, len(array) - 1, _BLOCK_ROWS):
        stop = min(start + _BLOCK_ROWS, len(array) - 1)
        keep = inside[start:stop]
        if _bytes(following[start:stop][keep]) != _bytes(array[start + 1 : stop + 1][keep]):
            return False
    return True


def _bytes(rows: np.ndarray) -> memoryview:
    return np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data


def _row_blocks(lengths: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield (rows, episode of each row)."""
    episodes = np.repeat(np.arange(len(lengths)), lengths)
    for start in range(0, len(episodes), _BLOCK_ROWS):
        rows = slice(start, min(start + _BLOCK_ROWS, len(episodes)))
        yield rows, episodes[rows]


# -------------------------------------------------------------------- the way back, for writers


def in_machine_order(dataset: Dataset, format_title: str) -> Dataset:
    """Return the dataset in this machine's byte order, which formats are read in; a warning names the columns that change."""
    foreign = [name for name in dataset.columns if not dataset.column(name).dtype.isnative]
    if not foreign:
        return dataset
    warnings.warn(
        f"{format_title} has one byte order, to which these columns are converted: {', '.join(foreign)}",
        AssayWarning,
        stacklevel=4,
    )
    return dataset.replace(
        {name: dataset.column(name).astype(dataset.column(name).dtype.newbyteorder("=")) for name in foreign}
    )


def observation_rows(dataset: Dataset) -> dict[str, np.ndarray]:
    """Return the observations that the steps start from: column name -> (N, ...)."""
    rows = dataset.observation_rows
    return {name: dataset.column(name)[rows] for name in dataset.columns if is_under(name, "observations")}


def next_observation_rows(dataset: Dataset, *, needed_by: str) -> dict[str, np.ndarray]:
    """Return what followed the steps: `next_observations...` column name -> (N, ...).

    Raises
    ------
    DatasetError
        If a final observation was never recorded; `needed_by` names the format that cannot do without.
    """
    known = dataset.episode_columns.get("final_observation")
    if known is not None and not known.all() and not dataset.has_next_observations:
        episode = int(np.flatnonzero(~known.astype(bool))[0])
        raise DatasetError(
            f"the final observation of episode {episode} was never recorded, and {needed_by} stores what followed every "
            "step; write the others with dataset.select(dataset.episode_columns['final_observation'])"
        )
    if dataset.has_next_observations:
        return {name: dataset.column(name) for name in dataset.columns if is_under(name, "next_observations")}
    rows = dataset.observation_rows + 1
    return {f"next_{name}": dataset.column(name)[rows] for name in dataset.columns if is_under(name, "observations")}
