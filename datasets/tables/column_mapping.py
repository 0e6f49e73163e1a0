"""What a user says about a source with names of its own: which name is which column, and where episodes are.

One mapping serves frames, CSV, Parquet, JSON Lines, HDF5, archives and recordings. As YAML::

    observations: [x, y]              # one row of numbers of several names; or one name; or {state: [x, y], image: camera}
    actions: [u]
    rewards: r
    terminations: done                # next_observations, truncations, costs, weights, infos/<name>: likewise
    extra: [temperature]              # kept beside, as infos/temperature
    episode: run                      # rows of one value are one episode; several names: of one combination
    time: t                           # kept as `time`, in seconds
    time_unit: ns                     # of the source: s (unless told otherwise), ms, us or ns
    ends: truncated                   # what an episode's end means: truncated, terminated, or a column that says so
    gap: 0.5                          # an episode also ends where the next row comes more than 0.5 s later
    resets: true                      # ... and where time goes back
    units: {x: m, y: m, u: N}
    categories: {colour: one-hot}     # texts that become numbers: one-hot, or code
    name: my robot                    # what the dataset is called

In place of `episode`, one of `episode_lengths`, `episode_ends` and `episode_starts` may name an array, and
`episode_lengths` may be a number (every episode has so many steps) or `all` (a file is one episode).
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from assay.datasets.errors import ConfigError

__all__ = ["COLUMNS", "ColumnMapping", "Source", "as_mapping"]

COLUMNS = (
    *("observations", "actions", "rewards", "terminations", "truncations", "next_observations"),
    *("costs", "weights", "infos", "corrupted", "missing"),
)
"""Names that a column, or the first part of one (`infos/qpos`), may have."""

STRUCTURES = ("episode_lengths", "episode_ends", "episode_starts")
TIME_UNITS = ("s", "ms", "us", "ns")
ENCODINGS = ("one-hot", "code")
WHOLE = "all"  # episode_lengths: a file is one episode
_OTHERS = ("episode", "time", "time_unit", "ends", "gap", "resets", "units", "categories", "extra", "name")

Source = str | tuple[str, ...]
"""One name of the source, or several, whose numbers stand beside each other in a row."""


@dataclass(frozen=True)
class ColumnMapping:
    """A mapping of names, checked; `as_mapping` makes it of what a user wrote.

    Parameters
    ----------
    columns : mapping of str to str or tuple of str
        Column of the dataset -> name or names in the source.
    episode : tuple of str
        Names whose values tell episodes apart.
    time, time_unit : str, optional
    ends : str, optional
        "truncated", "terminated", or a name whose value in an episode's last row says whether it terminated.
    gap : float, optional
        Seconds.
    resets : bool
    episode_lengths, episode_ends, episode_starts : str or int, optional
        At most one; see the module's text.
    units, categories : mapping of str to str
        Of names in the source.
    name : str
    """

    columns: Mapping[str, Source] = field(default_factory=dict)
    episode: tuple[str, ...] = ()
    time: str | None = None
    time_unit: str | None = None
    ends: str | None = None
    gap: float | None = None
    resets: bool = False
    episode_lengths: str | int | None = None
    episode_ends: str | None = None
    episode_starts: str | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    categories: Mapping[str, str] = field(default_factory=dict)
    name: str = ""

    @property
    def structures(self) -> dict[str, str | int]:
        """What says how long the episodes are: option -> name in the source, number, or `all`."""
        return {name: value for name in STRUCTURES if (value := getattr(self, name)) is not None}

    @property
    def tells_episodes(self) -> bool:
        """Whether anything but flags says where episodes end."""
        return bool(self.episode or self.structures or self.gap is not None or self.resets)

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the source that the mapping speaks of, each once, in its order."""
        found: dict[str, None] = {}
        for source in self.columns.values():
            found |= dict.fromkeys([source] if isinstance(source, str) else source)
        found |= dict.fromkeys(self.episode)
        found |= dict.fromkeys(value for value in self.structures.values() if isinstance(value, str) and value != WHOLE)
        if self.time is not None:
            found[self.time] = None
        if self.ends not in (None, "truncated", "terminated"):
            found[str(self.ends)] = None
        return tuple(found)

    def to_plain(self) -> dict[str, Any]:
        """Return the mapping as a user would write it: JSON values, without what is not said.

        Examples
        --------
        >>> as_mapping({"observations": ["x"], "episode": "run", "ends": "truncated"}, "example").to_plain()
        {'observations': ['x'], 'episode': 'run', 'ends': 'truncated'}
        """
        plain: dict[str, Any] = {
            name: source if isinstance(source, str) else list(source) for name, source in self.columns.items()
        }
        episode: Any = self.episode[0] if len(self.episode) == 1 else list(self.episode)
        values = {"episode": episode, "time": self.time, "time_unit": self.time_unit, **self.structures}
        values |= {"ends": self.ends, "gap": self.gap, "resets": self.resets, "name": self.name}
        values |= {"units": dict(self.units), "categories": dict(self.categories)}
        return plain | {name: value for name, value in values.items() if value not in (None, False, "", [], {})}

    def merged(self, where: object, **options: Any) -> ColumnMapping:
        """Return the mapping with options that were given beside it; None says nothing.

        Raises
        ------
        ConfigError
            If one is given twice.
        """
        said = {name: value for name, value in options.items() if value is not None}
        for name in said:
            if getattr(self, name) not in (None, (), ""):
                raise ConfigError(f"{where}: {name} is given twice, in the mapping and beside it")
        return _checked(replace(self, **said), where)


def as_mapping(given: Any, where: object) -> ColumnMapping:
    """Return a mapping from what a user gives: a dict, the path of a YAML file, a `ColumnMapping`, or None.

    Parameters
    ----------
    given : mapping, path, ColumnMapping or None
        See the module's text.
    where : object
        The source, for messages.

    Raises
    ------
    ConfigError
        If a key is unknown or a value cannot be meant; with the key and what belongs there.

    Examples
    --------
    >>> as_mapping({"observations": {"pose": ["x", "y"]}, "extra": ["heat"]}, "example").columns
    {'observations/pose': ('x', 'y'), 'infos/heat': 'heat'}
    >>> as_mapping({"observation": "x"}, "example")
    Traceback (most recent call last):
    ...
    assay.datasets.errors.ConfigError: example: 'observation' is not a column; did you mean observations?
    """
    if isinstance(given, ColumnMapping):
        return given
    if isinstance(given, str | os.PathLike):
        from assay.datasets.yaml_reader import read_yaml  # training does without YAML

        where, given = os.fspath(given), read_yaml(os.fspath(given))
    if given is None:
        return ColumnMapping()
    if not isinstance(given, Mapping):
        raise ConfigError(
            f"{where}: columns must be a mapping of names, or the path of a YAML file with one, not "
            f"{type(given).__name__}"
        )
    columns: dict[str, Source] = {}
    options: dict[str, Any] = {}
    for key, value in given.items():
        if key in STRUCTURES or key in _OTHERS:
            if value is not None:
                options[key] = value
        else:
            _add(columns, _column_name(key, where), value, where)
    for name, source in _extra(options.pop("extra", ()), where):
        _add(columns, name, source, where)
    for key in ("units", "categories"):
        if key in options:
            options[key] = _texts(options[key], key, where)
    if "episode" in options:
        options["episode"] = _names(options["episode"], "episode", where)
    return _checked(ColumnMapping(columns, **options), where)


def _column_name(key: Any, where: object) -> str:
    if isinstance(key, str) and key.split("/")[0] in COLUMNS:
        return key
    near = difflib.get_close_matches(str(key), [*COLUMNS, *_OTHERS, *STRUCTURES], n=1, cutoff=0.6)
    advice = (
        f"did you mean {near[0]}?"
        if near
        else f"columns are {', '.join(COLUMNS[:-3])}, infos/<name> and corrupted/<name>"
    )
    raise ConfigError(f"{where}: {key!r} is not a column; {advice}")


def _add(columns: dict[str, Source], name: str, value: Any, where: object) -> None:
    """Put a source under a column's name, or what is nested in it under the names below."""
    if isinstance(value, Mapping):
        if not value:
            raise ConfigError(f"{where}: {name} names nothing")
        for key, child in value.items():
            _add(columns, f"{name}/{key}", child, where)
        return
    if name in columns:
        raise ConfigError(f"{where}: column {name} is given twice")
    columns[name] = value if isinstance(value, str) else _names(value, name, where)


def _names(value: Any, key: str, where: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Iterable) and not isinstance(value, bytes | Mapping):
        names = tuple(value)
        for name in names:
            if not isinstance(name, str):
                raise ConfigError(f"{where}: {key} names {name!r}, which is no name but {type(name).__name__}")
            if names.count(name) > 1:
                raise ConfigError(f"{where}: {key} names {name!r} twice")
        if names:
            return names
        raise ConfigError(f"{where}: {key} names nothing")
    raise ConfigError(f"{where}: {key} must be a name or a list of names, not {value!r}")


def _extra(value: Any, where: object) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [(_column_name(key, where), source) for key, source in value.items()]
    if not value:
        return []
    return [(f"infos/{name.replace('%', '')}", name) for name in _names(value, "extra", where)]


def _texts(value: Any, key: str, where: object) -> dict[str, str]:
    if key == "categories" and isinstance(value, list | tuple | str):
        value = dict.fromkeys(_names(value, key, where), "code")
    if not isinstance(value, Mapping) or not all(isinstance(item, str) for pair in value.items() for item in pair):
        raise ConfigError(f"{where}: {key} must be a mapping of names to texts, not {value!r}")
    return dict(value)


def _checked(mapping: ColumnMapping, where: object) -> ColumnMapping:
    for key in ("time", "ends", "episode_ends", "episode_starts", "name"):
        value = getattr(mapping, key)
        if value is not None and not isinstance(value, str):
            raise ConfigError(f"{where}: {key} must be a name, not {value!r}")
    lengths = mapping.episode_lengths
    if isinstance(lengths, bool) or not (lengths is None or isinstance(lengths, str) or lengths >= 1):
        raise ConfigError(
            f"{where}: episode_lengths must be a name, a number of steps from 1 on, or {WHOLE}, not {lengths!r}"
        )
    if mapping.time_unit is not None and mapping.time_unit not in TIME_UNITS:
        raise ConfigError(f"{where}: time_unit must be one of {', '.join(TIME_UNITS)}, not {mapping.time_unit!r}")
    gap = mapping.gap
    if gap is not None and (isinstance(gap, bool) or not isinstance(gap, int | float) or not gap > 0):
        raise ConfigError(f"{where}: gap must be a number of seconds above 0, not {gap!r}")
    if not isinstance(mapping.resets, bool):
        raise ConfigError(f"{where}: resets must be true or false, not {mapping.resets!r}")
    if (gap is not None or mapping.resets) and mapping.time is None:
        raise ConfigError(f"{where}: {'gap' if gap is not None else 'resets'} needs time, the name of the time stamps")
    for name, encoding in mapping.categories.items():
        if encoding not in ENCODINGS:
            raise ConfigError(f"{where}: categories of {name} must be {' or '.join(ENCODINGS)}, not {encoding!r}")
    structures = list(mapping.structures)
    if len(structures) > 1:
        raise ConfigError(f"{where}: {' and '.join(structures)} say the same thing; give one of them")
    if structures and mapping.episode:
        raise ConfigError(f"{where}: {structures[0]} and episode say the same thing; give one of them")
    return mapping
