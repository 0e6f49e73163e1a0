"""The statistics that LeRobot stores with a dataset: of every feature, over all frames and over each episode.

min, max, mean, std (of the population) and the quantiles 0.01, 0.1, 0.5, 0.9 and 0.99 of every entry of the rows, and the
number of rows. LeRobot estimates quantiles from histograms; these are exact, between the two nearest rows linearly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["episode_statistics", "statistics"]

_QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
_BLOCK_NUMBERS = 1 << 22
_LARGEST_ROW = 4096  # entries; images have no use for statistics of every pixel of every episode


def statistics(array: np.ndarray, rows: np.ndarray | None = None) -> dict[str, Any]:
    """Return the statistics of the rows as JSON values.

    Parameters
    ----------
    array : (N, ...) numbers
    rows : integers, optional
        Those that count; default all.

    Examples
    --------
    >>> statistics(np.array([[1.0], [3.0]]))["mean"]
    [2.0]
    """
    parts: dict[str, list[Any]] = {name: [] for name in ("min", "max", "mean", "std", *_QUANTILES)}
    for column in array.reshape(len(array), -1).T:  # one at a time: its copy is all the memory that is needed
        numbers = (column if rows is None else column[rows]).astype(np.float64)
        numbers.sort()
        parts["min"].append(numbers[0] if not np.isnan(numbers[-1]) else np.nan)
        parts["max"].append(numbers[-1])
        parts["mean"].append(numbers.mean())
        parts["std"].append(numbers.std())
        for name, value in zip(_QUANTILES, _quantiles(numbers[None, :, None])[:, 0, 0], strict=True):
            parts[name].append(value)
    shape = array.shape[1:]
    count = len(array) if rows is None else len(rows)
    return {name: np.reshape(part, shape).tolist() for name, part in parts.items()} | {"count": [count]}


def episode_statistics(name: str, array: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> dict[str, pa.Array]:
    """Return the columns `stats/<name>/<statistic>` of the episodes table, a list per episode.

    Parameters
    ----------
    name : str
        The feature.
    array : (N, ...) numbers
    starts, lengths : (E,) integers
        First row and number of rows of each episode.

    Examples
    --------
    >>> rows = np.array([[1.0], [3.0], [8.0]])
    >>> columns = episode_statistics("action", rows, np.array([0, 2]), np.array([2, 1]))
    >>> columns["stats/action/mean"].to_pylist(), columns["stats/action/count"].to_pylist()
    ([[2.0], [8.0]], [[2], [1]])
    """
    import pyarrow as pa

    rows = array.reshape(len(array), -1)
    width, shape = rows.shape[1], array.shape[1:]
    if width > _LARGEST_ROW:
        return {}
    result = {part: np.empty((len(lengths), width)) for part in ("min", "max", "mean", "std", *_QUANTILES)}
    for length in np.unique(lengths).tolist():  # episodes of equal length are one array
        episodes = np.flatnonzero(lengths == length)
        step = max(1, _BLOCK_NUMBERS // (length * width))
        for first in range(0, len(episodes), step):
            chosen = episodes[first : first + step]
            block = rows[starts[chosen][:, None] + np.arange(length)].astype(np.float64)  # [episode, step, entry]
            block.sort(axis=1)
            result["min"][chosen] = np.where(np.isnan(block[:, -1]), np.nan, block[:, 0])
            result["max"][chosen] = block[:, -1]
            result["mean"][chosen] = block.mean(axis=1)
            result["std"][chosen] = block.std(axis=1)
            for part, value in zip(_QUANTILES, _quantiles(block), strict=True):
                result[part][chosen] = value
    columns = {f"stats/{name}/{part}": _lists(numbers, shape) for part, numbers in result.items()}
    return columns | {f"stats/{name}/count": pa.array([[length] for length in lengths.tolist()])}


def _quantiles(ordered: np.ndarray) -> np.ndarray:
    """Return [quantile, episode, entry] of ordered numbers [episode, step, entry]."""
    position = np.array(list(_QUANTILES.values())) * (ordered.shape[1] - 1)
    low = np.floor(position).astype(int)
    high = np.minimum(low + 1, ordered.shape[1] - 1)
    share = (position - low)[:, None, None]
    lower, upper = ordered[:, low].swapaxes(0, 1), ordered[:, high].swapaxes(0, 1)
    with np.errstate(invalid="ignore"):
        result: np.ndarray = np.where(lower == upper, lower, lower * (1 - share) + upper * share)
    result[:, np.isnan(ordered[:, -1])] = np.nan
    return result


def _lists(numbers: np.ndarray, shape: tuple[int, ...]) -> pa.Array:
    import pyarrow as pa

    array = pa.array(numbers.reshape(-1))
    for length in reversed(shape):
        array = pa.ListArray.from_arrays(np.arange(0, len(array) + 1, length, dtype=np.int32), array)
    return array
