"""Observation and action spaces as plain data, so that reading a dataset needs no simulator library.

The JSON form is Minari's, key for key, so a space written here is read there and the other way round.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from assay.datasets.errors import FormatError

__all__ = [
    "Box",
    "Dict",
    "Discrete",
    "MultiBinary",
    "MultiDiscrete",
    "Space",
    "Text",
    "Tuple",
    "infer_space",
    "leaves",
    "space_from_gymnasium",
    "space_from_json",
    "space_to_gymnasium",
    "space_to_json",
]


@dataclass(frozen=True)
class Box:
    """Arrays of one shape and dtype between `low` and `high` (nested lists of floats, one per entry)."""

    shape: tuple[int, ...]
    dtype: str
    low: Any
    high: Any

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return `low` and `high` as arrays of the space's shape and dtype."""
        return np.array(self.low, self.dtype).reshape(self.shape), np.array(self.high, self.dtype).reshape(self.shape)


@dataclass(frozen=True)
class Discrete:
    """One of the `n` integers from `start` on."""

    n: int
    start: int = 0
    dtype: str = "int64"


@dataclass(frozen=True)
class MultiDiscrete:
    """A vector of integers, entry i one of `nvec[i]` from `start[i]` on (nested lists)."""

    nvec: Any
    start: Any
    dtype: str = "int64"


@dataclass(frozen=True)
class MultiBinary:
    """An array of zeros and ones; `n` is its length or its shape."""

    n: int | tuple[int, ...]


@dataclass(frozen=True)
class Text:
    """A string of `min_length` to `max_length` characters out of `charset`."""

    max_length: int
    min_length: int
    charset: str


@dataclass(frozen=True)
class Dict:
    """Named subspaces, stored as nested columns."""

    subspaces: Mapping[str, Space]


@dataclass(frozen=True)
class Tuple:
    """Ordered subspaces, stored as nested columns `_index_0`, `_index_1`, ..."""

    subspaces: tuple[Space, ...]


Space: TypeAlias = Box | Discrete | MultiDiscrete | MultiBinary | Text | Dict | Tuple


def leaves(space: Space, prefix: str) -> dict[str, Space]:
    """List the leaf spaces under the column names that hold them.

    Examples
    --------
    >>> leaves(Dict({"goal": Discrete(3)}), "observations")
    {'observations/goal': Discrete(n=3, start=0, dtype='int64')}
    """
    if isinstance(space, Dict):
        children = [(name, child) for name, child in space.subspaces.items()]
    elif isinstance(space, Tuple):
        children = [(f"_index_{i}", child) for i, child in enumerate(space.subspaces)]
    else:
        return {prefix: space}
    return {name: leaf for key, child in children for name, leaf in leaves(child, f"{prefix}/{key}").items()}


def infer_space(array: np.ndarray) -> Space:
    """Give the widest space of a column that came without one: an unbounded Box, Discrete for flat integers, or Text.

    Examples
    --------
    >>> infer_space(np.array([0, 2, 1]))
    Discrete(n=3, start=0, dtype='int64')
    >>> infer_space(np.array(["go", "stop"]))
    Text(max_length=4, min_length=2, charset='gopst')
    """
    shape = array.shape[1:]
    if array.dtype.kind == "U" and not shape and array.size:
        lengths = np.strings.str_len(array)
        characters = np.unique(np.ascontiguousarray(array).view("U1"))  # "" fills the short ones
        return Text(max(int(lengths.max()), 1), int(lengths.min()), "".join(characters.tolist()) or "a")
    if np.issubdtype(array.dtype, np.integer) and not shape and array.size and array.min() >= 0:
        return Discrete(int(array.max()) + 1)
    if np.issubdtype(array.dtype, np.floating):
        return Box(shape, str(array.dtype), np.full(shape, -np.inf).tolist(), np.full(shape, np.inf).tolist())
    if array.dtype == bool:
        return MultiBinary(shape)
    if not np.issubdtype(array.dtype, np.integer):
        raise FormatError(f"no space describes a column of dtype {array.dtype}; convert it to a number or a boolean")
    limits = np.iinfo(array.dtype)
    return Box(shape, str(array.dtype), np.full(shape, limits.min).tolist(), np.full(shape, limits.max).tolist())


def _to_plain(space: Space) -> dict[str, Any]:
    match space:
        case Box(shape, dtype, low, high):
            return {"type": "Box", "dtype": dtype, "shape": list(shape), "low": low, "high": high}
        case Discrete(n, start, dtype):
            return {"type": "Discrete", "dtype": dtype, "start": start, "n": n}
        case MultiDiscrete(nvec, start, dtype):
            return {"type": "MultiDiscrete", "dtype": dtype, "nvec": nvec, "start": start}
        case MultiBinary(n):
            return {"type": "MultiBinary", "n": n if isinstance(n, int) else list(n)}
        case Text(max_length, min_length, charset):
            return {"type": "Text", "max_length": max_length, "min_length": min_length, "charset": charset}
        case Dict(subspaces):
            return {"type": "Dict", "subspaces": {key: _to_plain(child) for key, child in subspaces.items()}}
        case Tuple(children):
            return {"type": "Tuple", "subspaces": [_to_plain(child) for child in children]}


def space_to_json(space: Space) -> str:
    """Serialize a space as Minari does (infinities as the literals Infinity and -Infinity)."""
    return json.dumps(_to_plain(space))


def _from_plain(plain: Any) -> Space:
    kind = plain["type"]
    if kind == "Box":
        if np.dtype(plain["dtype"]).kind not in "biuf":
            raise ValueError(f"a Box of dtype {plain['dtype']!r}")
        box = Box(tuple(int(n) for n in plain["shape"]), str(np.dtype(plain["dtype"])), plain["low"], plain["high"])
        box.bounds()  # raises where the numbers do not fit the shape or the dtype
        return box
    if kind == "Discrete":
        return Discrete(int(plain["n"]), int(plain.get("start", 0)), plain.get("dtype", "int64"))
    if kind == "MultiDiscrete":
        nvec = plain["nvec"]
        return MultiDiscrete(nvec, plain.get("start", np.zeros_like(nvec).tolist()), plain.get("dtype", "int64"))
    if kind == "MultiBinary":
        return MultiBinary(plain["n"] if isinstance(plain["n"], int) else tuple(plain["n"]))
    if kind == "Text":
        return Text(int(plain["max_length"]), int(plain["min_length"]), str(plain["charset"]))
    if kind == "Dict":
        return Dict({str(key): _from_plain(child) for key, child in plain["subspaces"].items()})
    if kind == "Tuple":
        return Tuple(tuple(_from_plain(child) for child in plain["subspaces"]))
    raise ValueError(f"unknown space type {kind!r}")


def space_from_json(text: str) -> Space:
    """Read a space from Minari's JSON.

    Raises
    ------
    FormatError
        If the text is not such a space.

    Examples
    --------
    >>> space_from_json('{"type": "Discrete", "dtype": "int64", "start": 0, "n": 2}')
    Discrete(n=2, start=0, dtype='int64')
    """
    try:
        return _from_plain(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise FormatError(f"not a space: {str(text)[:80]!r} ({type(error).__name__}: {error})") from error


def space_from_gymnasium(space: Any) -> Space:
    """Convert a `gymnasium.Space` (only its attributes are read; Gymnasium itself is not imported)."""
    kind = type(space).__name__
    if kind == "Box":
        return Box(tuple(space.shape), str(space.dtype), space.low.tolist(), space.high.tolist())
    if kind == "Discrete":
        return Discrete(int(space.n), int(space.start))
    if kind == "MultiDiscrete":
        return MultiDiscrete(space.nvec.tolist(), space.start.tolist(), str(space.dtype))
    if kind == "MultiBinary":
        return MultiBinary(int(space.n) if np.ndim(space.n) == 0 else tuple(int(n) for n in space.n))
    if kind == "Text":
        return Text(space.max_length, space.min_length, space.characters)
    if kind == "Dict":
        return Dict({key: space_from_gymnasium(child) for key, child in space.spaces.items()})
    if kind == "Tuple":
        return Tuple(tuple(space_from_gymnasium(child) for child in space.spaces))
    raise FormatError(f"no column layout for a space of type {kind}")


def space_to_gymnasium(space: Space) -> Any:
    """Convert to the `gymnasium.Space` of the same kind; needs Gymnasium."""
    from gymnasium import spaces

    match space:
        case Box(shape, dtype, _, _):
            low, high = space.bounds()
            return spaces.Box(low, high, shape, np.dtype(dtype).type)
        case Discrete(n, start):
            return spaces.Discrete(n, start=start)
        case MultiDiscrete(nvec, start, dtype):
            return spaces.MultiDiscrete(np.array(nvec), dtype=np.dtype(dtype).type, start=np.array(start))
        case MultiBinary(n):
            return spaces.MultiBinary(n)
        case Text(max_length, min_length, charset):
            return spaces.Text(max_length, min_length=min_length, charset=charset)
        case Dict(subspaces):
            return spaces.Dict({key: space_to_gymnasium(child) for key, child in subspaces.items()})
        case Tuple(children):
            return spaces.Tuple([space_to_gymnasium(child) for child in children])
