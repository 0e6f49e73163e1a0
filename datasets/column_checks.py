"""What a column may be: its name, dtype and number of rows; and the way from a user's values to such columns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from assay.datasets.errors import ConfigError, DatasetError

__all__ = [
    "FLAGS",
    "LABELS",
    "as_array",
    "as_lengths",
    "check_episode",
    "check_roles",
    "check_rows",
    "flatten",
    "floating_dtype",
    "freeze",
    "is_under",
]

FLAGS = ("terminations", "truncations")  # every dataset has them
LABELS = ("actions", "rewards")  # which a dataset may lack
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\- ]*(/[A-Za-z0-9_][A-Za-z0-9_.\- ]*)*")
_KINDS = "biufcUS"  # of dtypes: numbers, booleans and text of fixed length


def is_under(name: str, prefix: str) -> bool:
    """Tell whether a column is `prefix` itself or nested below it."""
    return name == prefix or name.startswith(prefix + "/")


def as_array(name: str, value: Any, *, copy: bool = False) -> np.ndarray:
    """Return a value as an array.

    Raises
    ------
    DatasetError
        If the rows differ in shape, naming the first such row, or the value cannot become an array.
    """
    try:
        array: np.ndarray = np.array(value) if copy else np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise DatasetError(f"column {name} {_why_no_array(value, error)}") from error
    if array.dtype.hasobject and hasattr(value, "dtypes") and hasattr(value, "columns"):  # a data frame
        kinds = dict(zip(value.columns, value.dtypes, strict=False))
        named = ", ".join(f"{key} ({kind})" for key, kind in list(kinds.items())[:8])
        raise DatasetError(f"column {name} is a data frame of mixed types: {named}; pass its numeric columns only")
    return array


def _why_no_array(value: Any, error: Exception) -> str:
    try:
        shapes = [np.shape(row) for row in value]
        row = next(number for number, shape in enumerate(shapes) if shape != shapes[0])
        return (
            f"is ragged: row {row} has shape {shapes[row]} and row 0 {shapes[0]}; every row must have the same shape, "
            "so pad them, or pass episodes of different lengths to Dataset.from_episodes"
        )
    except (TypeError, ValueError, StopIteration):
        return f"is no array: {error}"


def as_lengths(value: Any) -> np.ndarray:
    """Return episode lengths as (E,) int64.

    Raises
    ------
    DatasetError
        If they are not a flat list of integers of at least 1; naming the first wrong one.
    """
    array = as_array("episode_lengths", value)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iuf"):
        raise DatasetError(
            f"episode_lengths must be a flat list of integers, one per episode, not {array.dtype}{list(array.shape)}"
        )
    with np.errstate(invalid="ignore"):
        wrong = np.flatnonzero(~((array >= 1) & (array < 2**62) & (array == np.floor(array))))
    if len(wrong):
        raise DatasetError(
            f"episode_lengths[{wrong[0]}] is {array[wrong[0]]}; an episode has a whole number of steps, at least 1 step each"
        )
    return array.astype(np.int64)


def floating_dtype(dtype: Any) -> np.dtype | None:
    """Return a dtype that floating columns can be cast to, or None, which leaves them as they are.

    Raises
    ------
    ConfigError
        If it is no floating dtype.
    """
    if dtype is None:
        return None
    try:
        found: np.dtype = np.dtype(dtype)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"dtype {dtype!r} is none that NumPy knows; try np.float32") from error
    if found.kind != "f":
        raise ConfigError(f"dtype must be a floating one, such as np.float32, not {found}")
    return found


def freeze(name: Any, value: Any) -> np.ndarray:
    """Return a read-only view of a column after checking its name and dtype."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or ".." in name:
        raise DatasetError(f"{name!r} is not a column name: letters, digits, _ . - and space, nested by /")
    array = as_array(name, value)
    if array.dtype.hasobject or array.dtype.kind not in _KINDS:
        raise DatasetError(
            f"column {name} has dtype {array.dtype}; columns hold numbers, booleans or fixed-length text. Convert it, "
            "such as with .astype(np.float32)"
        )
    if array.ndim == 0:
        raise DatasetError(f"column {name} is a single value, {array[()]!r}; one row per step is needed")
    view = array.view()
    view.setflags(write=False)
    result: np.ndarray = view
    return result


def check_rows(name: str, array: np.ndarray, steps: int, episodes: int) -> None:
    """Raise DatasetError where a column has another number of rows than its name asks for."""
    rows = len(array)
    if is_under(name, "observations"):
        if rows == steps and episodes:
            raise DatasetError(
                f"column {name} has {rows} rows, one per step; {steps + episodes} belong there, one more per episode "
                "for its final observation"
            )
        if rows != steps + episodes:
            raise DatasetError(
                f"column {name} has {rows} rows; {steps} steps in {episodes} episodes need {steps + episodes}"
            )
    elif rows != steps and not (is_under(name, "infos") and rows == steps + episodes):
        raise DatasetError(f"column {name} has {rows} rows; the dataset has {steps} steps")


def check_roles(columns: Mapping[str, np.ndarray]) -> None:
    """Raise DatasetError where a column that has a meaning is missing or cannot mean it."""
    for role in ("observations", "actions"):
        parts = [array for name, array in columns.items() if is_under(name, role)]
        if not parts and role == "observations":
            raise DatasetError(f"column {role} is missing")
        if parts and not any(np.prod(array.shape[1:], dtype=np.int64) for array in parts):
            raise DatasetError(
                f"column {role} has rows of no entries (shape {list(parts[0].shape)}); at least 1 is needed"
            )
    for name in FLAGS:
        if name not in columns:
            raise DatasetError(f"column {name} is missing")
        if columns[name].dtype != bool or columns[name].ndim != 1:
            raise DatasetError(
                f"column {name} must be flat booleans, not {columns[name].dtype} {columns[name].shape}; "
                "zeros and ones become booleans with .astype(bool)"
            )
    if "rewards" not in columns and (nested := [name for name in columns if is_under(name, "rewards")]):
        raise DatasetError(f"column {nested[0]}: rewards cannot be nested; one flat column rewards is needed")
    for name in (name for name in columns if name.startswith("missing/")):
        element = name.removeprefix("missing/")
        if element not in LABELS:
            raise DatasetError(
                f"column {name}: only actions and rewards can be missing, as missing/actions and missing/rewards"
            )
        if columns[name].dtype != bool or columns[name].ndim != 1:
            raise DatasetError(f"column {name} must be flat booleans, not {columns[name].dtype} {columns[name].shape}")
        if not any(is_under(other, element) for other in columns):
            raise DatasetError(
                f"column {name} says which {element} are missing, and there is no column {element}; leave it out"
            )
    for name in ("rewards", "weights"):
        if name not in columns:
            continue
        if columns[name].ndim != 1:
            raise DatasetError(f"column {name} must be flat, not of shape {columns[name].shape}")
        if columns[name].dtype.kind not in "biuf":
            raise DatasetError(f"column {name} must be real numbers, not {columns[name].dtype}; convert it first")


def check_episode(episode: Mapping[str, np.ndarray], length: int, where: str) -> None:
    """Raise DatasetError where a column of one episode of `length` steps has the wrong number of rows."""
    for name, array in episode.items():
        rows = len(array) if array.ndim else 0
        if is_under(name, "observations") and rows == length:
            raise DatasetError(
                f"{where}: column {name} has {rows} rows for {length} steps; {length + 1} belong there, the final "
                "observation included. Without it, repeat the last row and mark the episode in final_observation"
            )
        expected = length + 1 if is_under(name, "observations") else length
        if rows != expected and not (is_under(name, "infos") and rows == length + 1):
            raise DatasetError(f"{where}: column {name} has {rows} rows for {length} steps; expected {expected}")


def flatten(prefix: str, value: Any) -> dict[str, np.ndarray]:
    """Return nested dicts and tuples of arrays as flat columns, copied."""
    if isinstance(value, Mapping):
        children = [(str(key), child) for key, child in value.items()]
    elif isinstance(value, tuple):
        children = [(f"_index_{i}", child) for i, child in enumerate(value)]
    else:
        return {prefix: as_array(prefix, value, copy=True)}
    return {name: array for key, child in children for name, array in flatten(f"{prefix}/{key}", child).items()}
