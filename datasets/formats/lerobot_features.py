"""Which feature of a LeRobot dataset becomes which column.

LeRobot's own names are `observation.<name>`, `action` and `next.reward`; many datasets use others. Without a mapping these
are taken, each only where the one before it is not there::

    observations    observation.<name>      else observation, observations, state or states, and what lies below them
    actions         action, action.<name>   else actions, and what lies below it

A mapping names features under the columns that they become (`assay.datasets.tables.column_mapping`):
`{"observations": "robot_pose", "actions": ["arm_command", "hand_command"]}`; a list is one row of all their numbers.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from assay.datasets.dataset import is_under
from assay.datasets.errors import ConfigError, FormatError
from assay.datasets.tables.column_mapping import ColumnMapping

__all__ = ["INDICES", "is_named", "names_of_entries", "place_features", "proposed", "standard_feature"]

INDICES = {
    "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    "frame_index": {"dtype": "int64", "shape": [1], "names": None},
    "episode_index": {"dtype": "int64", "shape": [1], "names": None},
    "index": {"dtype": "int64", "shape": [1], "names": None},
    "task_index": {"dtype": "int64", "shape": [1], "names": None},
}
"""Features that every dataset has, as info.json describes them."""

_STANDARD = {"rewards": "next.reward", "terminations": "next.terminated", "truncations": "next.truncated"}
_USUAL = {
    "observations": (("observation.",), ("observation", "observations", "state", "states")),
    "actions": (("action",), ("actions",)),
}


def is_named(name: str, prefix: str) -> bool:
    """Tell whether a feature is `prefix` itself or below it; with a dot at its end, below it only.

    Examples
    --------
    >>> is_named("action.arm", "action"), is_named("actions", "action"), is_named("action", "action.")
    (True, False, False)
    """
    return name == prefix or name.startswith(prefix if prefix.endswith(".") else f"{prefix}.")


def standard_feature(column: str) -> str | None:
    """Return LeRobot's own name for a column, or None where it has none.

    Examples
    --------
    >>> standard_feature("observations/arm/pose"), standard_feature("actions"), standard_feature("weights")
    ('observation.arm.pose', 'action', None)
    """
    top, _, below = column.partition("/")
    inside = below.replace("/", ".")
    if top == "observations":
        return f"observation.{inside or 'state'}"
    if top == "actions":
        return f"action.{inside}" if inside else "action"
    if top == "infos" and inside:
        return inside
    return _STANDARD.get(column)


def place_features(
    numbers: Mapping[str, Any], videos: Sequence[str], mapping: ColumnMapping, path: Path
) -> dict[str, tuple[str, ...]]:
    """Return column -> features, of observations, actions and whatever else the mapping names.

    Parameters
    ----------
    numbers : mapping of str
        Features of numbers, by name.
    videos : sequence of str
        Features that are decoded; those that the mapping does not name become observations.
    mapping : ColumnMapping
    path : Path
        For messages.

    Raises
    ------
    ConfigError
        If the mapping names what is not there, or an index that LeRobot needs.
    FormatError
        If there is nothing to be observed; with a mapping to start from.

    Examples
    --------
    >>> place_features({"state": {}, "actions": {}, "timestamp": {}}, [], ColumnMapping(), Path("set"))
    {'observations': ('state',), 'actions': ('actions',)}
    """
    columns = {column: (source,) if isinstance(source, str) else source for column, source in mapping.columns.items()}
    for column, names in columns.items():
        for name in names:
            if name not in (*numbers, *videos) or (name in INDICES and name != "timestamp"):
                near = difflib.get_close_matches(name, numbers, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(numbers)}"
                raise ConfigError(f"{path}: there is no feature {name!r} of numbers for {column}; {hint}")
    taken = {name for names in columns.values() for name in names}
    for role in ("observations", "actions"):
        given = [column for column in columns if is_under(column, role)]
        usual = [] if given else [name for name in _usual(role, numbers) if name not in taken]
        shown = [name for name in videos if name not in taken] if role == "observations" else []
        if shown and given == [role]:
            columns[f"{role}/{_inside(role, columns[role][0])}"] = columns.pop(role)
        if len(usual) + len(shown) == 1 and not given:
            columns[role] = (*usual, *shown)
        else:
            columns |= {f"{role}/{_inside(role, name)}": (name,) for name in [*usual, *shown]}
    missing = [role for role in ("observations", "actions") if not any(is_under(key, role) for key in columns)]
    if "observations" in missing:
        raise FormatError(
            f"{path}: no feature is named as LeRobot names {' or '.join(missing)}; {_proposal(numbers, missing, taken)}"
        )
    return columns


def _inside(role: str, name: str) -> str:
    return name.removeprefix({"observations": "observation.", "actions": "action."}[role])


def _usual(role: str, names: Iterable[str]) -> list[str]:
    for prefixes in _USUAL[role]:
        if found := [name for name in names if any(is_named(name, prefix) for prefix in prefixes)]:
            return found
    return []


def proposed(numbers: Mapping[str, Any], taken: Collection[str] = ()) -> dict[str, Any]:
    """Return a mapping to start from: LeRobot's own names, else what sounds like an action, and the other features.

    Examples
    --------
    >>> proposed({"arm": {}, "gripper": {}, "arm_command": {}, "timestamp": {}})
    {'observations': ['arm', 'gripper'], 'actions': 'arm_command'}
    """
    left = [name for name in numbers if name not in INDICES and name not in taken and not name.startswith("next.")]
    acting = _usual("actions", left) or [n for n in left if any(word in n.lower() for word in _ACTING)]
    seen = _usual("observations", left) or [name for name in left if name not in acting]
    found = {"observations": seen, "actions": acting}
    return {role: names[0] if len(names) == 1 else names for role, names in found.items() if names}


def _proposal(numbers: Mapping[str, Any], missing: Sequence[str], taken: Collection[str]) -> str:
    left = [name for name in numbers if name not in INDICES]
    plain = dict.fromkeys(missing, "...") | {k: v for k, v in proposed(numbers, taken).items() if k in missing}
    return f"its features of numbers are {', '.join(left) or 'none'}. Say which they are: columns={json.dumps(plain)}"


_ACTING = ("act", "command", "cmd", "target")


def names_of_entries(feature: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the names that info.json gives the entries of a row, however they are nested; None where it gives none.

    Examples
    --------
    >>> names_of_entries({"shape": [2], "names": [["shoulder", "elbow"]]})
    ('shoulder', 'elbow')
    >>> names_of_entries({"shape": [2], "names": {"motors": ["shoulder", "elbow"]}})
    ('shoulder', 'elbow')
    """
    found: list[str] = []
    waiting = [feature.get("names")]
    while waiting:
        value = waiting.pop(0)
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, list):
            waiting[:0] = value
        elif isinstance(value, dict):
            waiting[:0] = list(value.values())
    return tuple(found) if found and len(found) == math.prod(feature["shape"]) else None
