"""Which feature of a LeRobot dataset becomes which column.

LeRobot's own names are `observation.<name>`, `action` and `next.reward`; many datasets use others. Without a mapping these
are taken, each only where the one before it is not there::

    observations    observation.<name>      else observation, observations, state or states, and what lies below them
    actions         action, action.<name>   else actions, and what lies below it

A mapping names features under the columns that they become: `{"observations": "robot_pose", "actions": "command"}`, several
of them as a list, or one by one (`{"observations/arm": "arm_pose", "observations/hand": "hand_pose"}`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from assay.datasets.errors import ConfigError, FormatError

__all__ = ["INDICES", "is_named", "place_features", "standard_feature"]

INDICES = {
    "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    "frame_index": {"dtype": "int64", "shape": [1], "names": None},
    "episode_index": {"dtype": "int64", "shape": [1], "names": None},
    "index": {"dtype": "int64", "shape": [1], "names": None},
    "task_index": {"dtype": "int64", "shape": [1], "names": None},
}
"""Features that every dataset has, as info.json describes them."""

_ROLES = ("observations", "actions", "rewards", "terminations", "truncations", "infos", "costs", "weights")
_FLAT = ("rewards", "terminations", "truncations", "costs", "weights")
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
    numbers: Mapping[str, Any], videos: Sequence[str], columns: Mapping[str, Any], path: Path
) -> dict[str, str]:
    """Return feature -> column, of observations, actions and whatever else the mapping names.

    Parameters
    ----------
    numbers : mapping of str
        Features of numbers, by name.
    videos : sequence of str
        Features that are decoded; they become observations.
    columns : mapping of str to str or list of str
        Column -> feature or features.
    path : Path
        For messages.

    Raises
    ------
    ConfigError
        If the mapping names what is not there, or one thing twice.
    FormatError
        If there is nothing to be observed, or no action; with a mapping to start from.

    Examples
    --------
    >>> place_features({"state": {}, "actions": {}, "timestamp": {}}, [], {}, Path("set"))
    {'state': 'observations', 'actions': 'actions'}
    >>> place_features({"arm": {}, "hand": {}, "cmd": {}}, [], {"observations": ["arm", "hand"], "actions": "cmd"}, Path("set"))
    {'arm': 'observations/arm', 'hand': 'observations/hand', 'cmd': 'actions'}
    """
    places = _as_mapped(numbers, columns, path)
    for role in ("observations", "actions"):
        if not any(column.split("/")[0] == role for column in places.values()):
            names = [name for name in _usual(role, numbers) if name not in places]
            shown = [name for name in videos if name not in places] if role == "observations" else []
            places |= _nested(role, [*names, *shown])
        elif role == "observations" and videos:
            whole = [name for name, column in places.items() if column == role]
            places |= {name: f"{role}/{name}" for name in [*whole, *videos]}
    missing = [role for role in ("observations", "actions") if role not in {c.split("/")[0] for c in places.values()}]
    if missing:
        raise FormatError(
            f"{path}: nothing is named as LeRobot names {' or '.join(missing)}; {_proposal(numbers, missing, places)}"
        )
    return places


def _as_mapped(numbers: Mapping[str, Any], columns: Mapping[str, Any], path: Path) -> dict[str, str]:
    places: dict[str, str] = {}
    for column, given in columns.items():
        top = column.split("/")[0]
        if top not in _ROLES or (top in _FLAT and column != top):
            raise ConfigError(
                f"{path}: {column!r} is no column; columns are {', '.join(_ROLES)} and what lies below them"
            )
        names = [given] if isinstance(given, str) else list(given)
        if len(names) != 1 and top in _FLAT:
            raise ConfigError(f"{path}: {column} is one feature, not {len(names)}")
        for name in names:
            if name not in numbers:
                close = difflib.get_close_matches(str(name), numbers, n=1)
                hint = f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(numbers)}"
                raise ConfigError(f"{path}: there is no feature {name!r} of numbers for {column}{hint}")
            if name in places or (name in INDICES and name != "timestamp"):
                raise ConfigError(f"{path}: feature {name} is given twice, or is an index that LeRobot needs")
        new = _nested(column, names) if len(names) != 1 else {names[0]: column}
        if twice := {*new.values()} & {*places.values()}:
            raise ConfigError(f"{path}: column {min(twice)} is given twice")
        places |= new
    return places


def _usual(role: str, names: Iterable[str]) -> list[str]:
    for prefixes in _USUAL[role]:
        if found := [name for name in names if any(is_named(name, prefix) for prefix in prefixes)]:
            return found
    return []


def _nested(column: str, names: Sequence[str]) -> dict[str, str]:
    """Return features -> columns: the column itself for a single one, else one below it for each."""
    if len(names) == 1:
        return {names[0]: column}
    own = {"observations": "observation.", "actions": "action."}.get(column, "")
    return {name: f"{column}/{name.removeprefix(own)}" for name in names}


def _proposal(numbers: Mapping[str, Any], missing: Sequence[str], places: Mapping[str, str]) -> str:
    """Return a mapping to start from: what sounds like an action, and the other vectors."""
    left = [name for name in numbers if name not in INDICES and name not in places and not name.startswith("next.")]
    acting = [name for name in left if any(word in name.lower() for word in ("act", "command", "cmd", "target"))]
    seen = [name for name in left if name not in acting]
    proposed = {"observations": seen, "actions": acting}
    texts = []
    for role in missing:
        names = proposed[role]
        texts.append(
            f'"{role}": ' + (f'"{names[0]}"' if len(names) == 1 else str(names).replace("'", '"') if names else '"..."')
        )
    return (
        f"its features of numbers are {', '.join(left) or 'none'}. Say which they are: columns={{{', '.join(texts)}}}"
    )
