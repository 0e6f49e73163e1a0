"""The columns of an element: which hold real numbers, how widely they spread, and their clean next observations."""

from __future__ import annotations

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.errors import DatasetError
from assay.datasets.generators import blocks
from assay.datasets.memory import copy, empty
from assay.datasets.spaces import Box, leaves
from assay.datasets.streaming import StepReader

__all__ = [
    "CHUNK_BYTES",
    "action_bounds",
    "clean_next_observations",
    "extremes",
    "floating_leaves",
    "follow_states",
    "moments",
    "open_element",
    "require_finite",
    "standard_deviation",
    "writable",
]

CHUNK_BYTES = 1 << 20


def floating_leaves(reader: StepReader, prefix: str) -> list[str]:
    """Return the floating-point columns of an element, or raise DatasetError: noise needs one."""
    names = reader.leaves(prefix)
    floating = [name for name in names if np.issubdtype(reader.dataset.column(name).dtype, np.floating)]
    if not floating:
        found = ", ".join(f"{name} {reader.dataset.column(name).dtype}" for name in names)
        raise DatasetError(
            f"random corruption adds real-valued noise, and {prefix} holds none that could take it ({found}); "
            'choose another element or distribution="replacement", or convert the column to floating point first if '
            "its values are quantities"
        )
    return floating


def open_element(dataset: Dataset, element: str) -> tuple[StepReader, str, dict[str, np.ndarray]]:
    """Return a reader of the dataset, the name of the element's column, and the columns that had to be added first.

    Observations and next observations share one column as long as they agree. A transform that changes only one of the
    two needs the clean next observations in a column of their own. The reader's dataset has this column already. For a
    structured (Dict, Tuple) element the name is the common prefix of its columns.
    """
    made = clean_next_observations(StepReader(dataset)) if element in ("observations", "dynamics") else {}
    column = {"dynamics": "next_observations", "states": "observations"}.get(element, element)
    return StepReader(dataset.replace(made) if made else dataset), column, made


def writable(reader: StepReader, name: str, made: dict[str, np.ndarray]) -> np.ndarray:
    """Return a column that may be written to: an added column itself, a copy of any other."""
    return made[name] if name in made else copy(reader.dataset.column(name))


def clean_next_observations(reader: StepReader) -> dict[str, np.ndarray]:
    """Return the next observations that are not stored yet, as columns of their own."""
    dataset = reader.dataset
    missing = [name for name in reader.leaves("observations") if f"next_{name}" not in dataset.columns]
    gathered = {}
    for name in missing:
        source = dataset.column(name)
        column = empty((dataset.total_steps, *source.shape[1:]), source.dtype)
        for steps in reader.chunks(name, CHUNK_BYTES):
            column[steps] = reader.read_following(name, steps)
        gathered[f"next_{name}"] = column
    return gathered


def standard_deviation(reader: StepReader, name: str) -> np.ndarray:
    """Return the population standard deviation of each dimension over the steps, in float64, in one pass."""
    return moments(reader, name)[1]


def moments(reader: StepReader, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the population standard deviation of each dimension over the steps, in float64, in one pass.

    Means and squared deviations of chunks are merged (Chan, Golub and LeVeque 1979), which stays exact where the plain
    sum of squares cancels.
    """
    count, mean, squares = 0, np.zeros(()), np.zeros(())
    for steps in reader.chunks(name, CHUNK_BYTES):
        values = reader.read(name, steps).astype(np.float64)
        size = len(values)
        with np.errstate(over="ignore", invalid="ignore"):
            chunk_mean = _sum_rows(values) / size
            if not np.isfinite(chunk_mean).all():
                reader.require_finite(name, steps, values)
            values -= chunk_mean
            np.square(values, out=values)
            shift = chunk_mean - mean
            squares = squares + _sum_rows(values) + np.square(shift) * (count * size / (count + size))
        mean = mean + shift * (size / (count + size))
        count += size
    return mean, np.sqrt(squares / max(count, 1))


def _sum_rows(values: np.ndarray) -> np.ndarray:
    """Sum over the first axis; 32 rows at a time are joined to one, because NumPy adds long rows much faster."""
    joined, width = 32, values.shape[1:]
    whole = len(values) // joined * joined
    total: np.ndarray = values[whole:].sum(0)
    if whole:
        total = total + values[:whole].reshape(whole // joined, -1).sum(0).reshape(joined, *width).sum(0)
    return total


def extremes(reader: StepReader, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the largest value of each dimension over the steps."""
    parts = []
    for steps in reader.chunks(name, CHUNK_BYTES):
        values = reader.read(name, steps)
        reader.require_finite(name, steps, values)
        parts.append((values.min(axis=0), values.max(axis=0)))
    shape = reader.dataset.column(name).shape[1:]
    if not parts:
        return np.zeros(shape), np.zeros(shape)
    return np.min([low for low, _ in parts], axis=0), np.max([high for _, high in parts], axis=0)


def require_finite(reader: StepReader, name: str) -> None:
    """Raise DatasetError, with the place, if a column holds NaN or infinity."""
    for steps in reader.chunks(name, CHUNK_BYTES):
        values = reader.read(name, steps)
        with np.errstate(over="ignore", invalid="ignore"):
            if not np.isfinite(values.sum()):  # finite only if every term is, and much faster; may overflow
                reader.require_finite(name, steps, values)


def action_bounds(dataset: Dataset, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds of the action space for one action column.

    Raises
    ------
    DatasetError
        If the dataset's info has no Box space for the column.
    """
    space = dataset.info.action_space
    leaf = None if space is None else leaves(space, "actions").get(name)
    if not isinstance(leaf, Box):
        raise DatasetError(
            f"column {name} has no bounded space in the dataset's info to clip to; set info.action_space or clip=False"
        )
    return leaf.bounds()


def follow_states(reader: StepReader, name: str, mask: np.ndarray, observations: np.ndarray) -> np.ndarray:
    """Return the stored next observations after a change of the observations.

    The next observation of step t-1 follows the observation of a touched step t if the two were equal before. Where
    they differed already, it stays as it is.

    Parameters
    ----------
    reader : StepReader
        Of the dataset before the change.
    name : str
        Column of the observations.
    mask : (N,) bool
        Touched steps.
    observations : (N+E, ...) array
        The changed column.
    """
    dataset = reader.dataset
    following = copy(dataset.column(f"next_{name}"))
    before = dataset.column(name)
    inside = mask.copy()
    inside[dataset.episode_starts] = False  # no step comes before the first one of an episode
    for _, rows in blocks(len(mask)):
        touched = np.flatnonzero(inside[rows]) + rows.start
        states = touched + reader.episodes_of(touched)
        old, stored = before[states], following[touched - 1]
        same = ((old == stored) | ((old != old) & (stored != stored))).reshape(len(touched), -1).all(axis=1)
        following[touched[same] - 1] = observations[states[same]]
    return following
