"""HDF5 with a group, or an array, for each episode, in any layout: names with a star.

::

    take_0/state  take_0/cmd      "take_*/state" and "take_*/cmd": what the star stands for is the episode
    take_1/state  take_1/cmd
    state/ep0  state/ep1          "state/ep*" and "cmd/ep*"
    cmd/ep0    cmd/ep1

The arrays of one name are joined in the order of the episodes (2 before 10). An episode has as many steps as its shortest
array has rows; observations may have one row more, the final one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

from assay.datasets.errors import ConfigError, DatasetError
from assay.datasets.formats.containers.files import natural_order
from assay.datasets.formats.containers.hdf5 import Hdf5File
from assay.datasets.formats.mapping import Arrays

__all__ = ["LENGTHS", "episode_arrays", "episode_pattern"]

LENGTHS = "episode_lengths"
"""The name under which the joined arrays have the number of steps of each episode."""


def episode_arrays(file: Hdf5File, patterns: Sequence[str]) -> tuple[Arrays, list[str]]:
    """Return the arrays of a file under names with a star, and what is not among them.

    Parameters
    ----------
    file : Hdf5File
    patterns : sequence of str
        Names with one star each; a group brings what is below it.

    Raises
    ------
    ConfigError
        If a pattern matches nothing, or the patterns match different episodes.
    DatasetError
        When an array is asked for: if its rows do not fit the episodes.
    """
    found: dict[str, dict[str, str]] = {}  # name with a star -> episode -> path
    taken: set[str] = set()
    for pattern in patterns:
        start, star, end = pattern.partition("*")
        if not star or "*" in end:
            raise ConfigError(f"{file.path}: {pattern!r} needs one star, which stands for the episode")
        matches = re.compile(f"{re.escape(start)}([^/]*){re.escape(end)}(/.*)?")
        before = len(taken)
        for path in file.datasets:
            if (match := matches.fullmatch(path)) is not None:
                taken.add(path)
                if file.is_numeric(path):
                    found.setdefault(pattern + (match[2] or ""), {})[match[1]] = path
        if len(taken) == before and not any(name == pattern or name.startswith(f"{pattern}/") for name in found):
            raise ConfigError(f"{file.path}: nothing matches {pattern!r}; the file holds {_shown(file.datasets)}")
    episodes = sorted({key for paths in found.values() for key in paths}, key=natural_order)
    for name, paths in found.items():
        if lacking := [key for key in episodes if key not in paths]:
            raise ConfigError(f"{file.path}: episode {lacking[0]!r} has no {name}; leave the name out, or the episode")
    rows = {name: np.array([_rows(file, paths[key]) for key in episodes], np.int64) for name, paths in found.items()}
    steps: np.ndarray = np.min([*rows.values()], axis=0)

    def read(name: str) -> np.ndarray:
        if name == LENGTHS:
            return steps
        longer = rows[name] - steps
        if len(odd := np.flatnonzero(longer != longer[0])) or longer[0] > 1:
            at = int(odd[0]) if len(odd) else 0
            raise DatasetError(
                f"{file.where(found[name][episodes[at]])} has {rows[name][at]} rows for {steps[at]} steps; each episode needs "
                "as many as steps, or one more in all of them"
            )
        return file.read_parts([found[name][key] for key in episodes], rows[name].tolist())

    return Arrays([*found, LENGTHS], read), [path for path in file.datasets if path not in taken]


def _rows(file: Hdf5File, path: str) -> int:
    shape = file.describe(path)[1]
    if not shape:
        raise DatasetError(f"{file.where(path)} is a single value; an array with a row for each step belongs there")
    return shape[0]


def starred(paths: Iterable[str]) -> list[str]:
    """Return paths with a star for the last number in each, every result once.

    Examples
    --------
    >>> starred(["take_0/state", "take_1/state", "note"])
    ['take_*/state', 'note']
    """
    return list(dict.fromkeys(re.sub(r"\d+(?!.*\d)", "*", path) for path in paths))


def _shown(paths: Iterable[str]) -> str:
    names = starred(paths)
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def episode_pattern(file: Hdf5File) -> list[str]:
    """Return names with a star under which two episodes or more have the same arrays, or none.

    A group for each episode is looked for first, then an array for each in one group.
    """
    groups: dict[str, list[str]] = {}
    for name in file.groups:
        parent, _, last = name.rpartition("/")
        pattern = re.sub(r"\d+(?!.*\d)", "*", last)
        if "*" in pattern:
            groups.setdefault(f"{parent}/{pattern}".lstrip("/"), []).append(name)
    for pattern, found in sorted(groups.items(), key=lambda item: -len(item[1])):
        inside = [tuple(file.below(group)) for group in found]
        if len(found) > 1 and inside[0] and len(set(inside)) == 1:
            return [f"{pattern}/{name}" for name in inside[0] if file.is_numeric(f"{found[0]}/{name}")]
    counts: dict[str, int] = {}
    for path in file.datasets:
        parent, _, last = path.rpartition("/")
        pattern = re.sub(r"\d+(?!.*\d)", "*", last)
        if "*" in pattern and file.is_numeric(path):
            name = f"{parent}/{pattern}".lstrip("/")
            counts[name] = counts.get(name, 0) + 1
    several = [name for name, count in counts.items() if count > 1]
    return several if len(several) > 1 and len({counts[name] for name in several}) == 1 else []
