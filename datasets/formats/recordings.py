"""A folder of recordings: bags of ROS 1 and 2, MCAP files or PX4 logs, each read by its own format, with one mapping for all.

::

    logs/run-2.bag          one episode, or as many as the mapping says
    logs/run-10.bag         the next
    logs/README.md          texts and YAML files are passed over, anything else is an error

The recordings come in the order of their names, numbers in order; the episode column `file` says which one an episode is of. Where
messages name their numbers (joints) and two recordings list the same names in another order, the numbers are put into that of the first.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from assay.datasets.dataset import Dataset, concatenate
from assay.datasets.errors import AssayError, AssayWarning, ConfigError, DatasetError
from assay.datasets.formats import mcap, rosbag, ulog
from assay.datasets.formats.containers.files import natural_order
from assay.datasets.formats.mapping import Given
from assay.datasets.formats.topics import How
from assay.datasets.info import DatasetInfo
from assay.datasets.tables.table import FILE

__all__ = ["propose", "read", "sniff"]

TITLE = "folder of recordings"
LAYOUT = "folder of bags, .mcap or .ulg files"
ORDER = 39
CANNOT_HOLD = ""

_KINDS: tuple[Any, ...] = (rosbag, mcap, ulog)
_PASSED_OVER = (".md", ".txt", ".yaml", ".yml", ".json")


def sniff(path: Path) -> bool:
    """Tell whether `path` is a folder in which a recording lies, and which is none itself."""
    return path.is_dir() and not rosbag.sniff(path) and any(_kind(item) is not None for item in _inside(path))


def _inside(path: Path) -> list[Path]:
    """Return what may be a recording, in the order of the names."""
    try:
        found = sorted(path.iterdir(), key=lambda item: natural_order(item.name))
    except OSError:
        return []
    return [item for item in found if not item.name.startswith(".") and item.suffix.lower() not in _PASSED_OVER]


def _kind(path: Path) -> Any:
    return next((kind for kind in _KINDS if kind.sniff(path)), None)


def _recordings(path: Path) -> list[tuple[Path, Any]]:
    found = [(item, _kind(item)) for item in _inside(path)]
    if strangers := [item for item, kind in found if kind is None]:
        raise ConfigError(
            f"{path} is a folder of recordings, but {strangers[0].name} is no bag, MCAP file or PX4 log: "
            "it is damaged or cut off (copy it again), or does not belong there (move it elsewhere)"
        )
    return found


def read(
    path: Path,
    *,
    columns: Given = None,
    clock: str | float | None = None,
    how: How | Mapping[str, How] = "previous",
    stamps: Literal["received", "header"] = "received",
) -> Dataset:
    """Read all recordings of a folder.

    Parameters
    ----------
    path : Path
    columns : mapping, or path of a YAML file
        For every recording; see `assay.datasets.tables.column_mapping`.
    clock, how, stamps
        As of the recordings' own formats; PX4 logs have one stamp for a message, and take no `stamps`.

    Returns
    -------
    Dataset
        With the episode column `file`.

    Raises
    ------
    ConfigError
        If something else lies in the folder, or the mapping names a topic that a recording does not have; with both.
    FormatError, DatasetError
        If a recording is damaged, or its columns are of another shape, or of other names, than those of the first; with the file.

    Warns
    -----
    AssayWarning
        What the recordings' own formats warn about, each once, with the recordings.
    """
    datasets: list[Dataset] = []
    files: list[Path] = []
    said: dict[tuple[type[Warning], str], list[str]] = {}
    for item, kind in _recordings(path):
        options: dict[str, Any] = {"columns": columns, "clock": clock, "how": how}
        if kind is not ulog:
            options["stamps"] = stamps
        elif stamps != "received":
            raise ConfigError(f"{item}: a PX4 log has one stamp for a message; leave stamps out")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", AssayWarning)
            made = kind.read(item, **options)
        for warning in caught:
            text = str(warning.message).removeprefix(f"{item}: ")
            said.setdefault((warning.category, text), []).append(item.name)
        if datasets:
            _check_alike(datasets[0], made, files[0], item)
            made = _named_alike(datasets[0], made, files[0], item)
        datasets.append(made)
        files.append(item)
    for (category, text), names in said.items():
        which = "all recordings" if len(names) == len(files) else f"{len(names)} recordings, such as {names[0]}"
        warnings.warn(f"{path}: {text} ({which})", category, stacklevel=3)
    joined = concatenate(datasets)
    from_file = np.repeat([item.name for item in files], [made.total_episodes for made in datasets])
    return Dataset(
        {name: joined.column(name) for name in joined.columns},
        joined.episode_lengths,
        info=_info(datasets[0].info, path, len(files)),
        episode_columns={**joined.episode_columns, FILE: from_file},
    )


def _check_alike(first: Dataset, other: Dataset, of_first: Path, of_other: Path) -> None:
    """Raise DatasetError where two recordings do not make the same columns."""
    if apart := sorted(set(first.columns) ^ set(other.columns)):
        has, lacks = (of_first, of_other) if apart[0] in first.columns else (of_other, of_first)
        raise DatasetError(f"{has} has a column {apart[0]}, and {lacks} has none; choose what both have with columns=")
    for name in first.columns:
        one, two = first.column(name), other.column(name)
        if one.shape[1:] != two.shape[1:]:
            raise DatasetError(
                f"{of_other}: {name} has rows of shape {list(two.shape[1:])}, but those of {of_first.name} are {list(one.shape[1:])}"
            )


def _named_alike(first: Dataset, other: Dataset, of_first: Path, of_other: Path) -> Dataset:
    """Return a recording with the numbers of each column in the order of the first one's names.

    Raises
    ------
    DatasetError
        If names are others.
    """
    changed = {}
    for column, names in first.info.names.items():
        own = other.info.names.get(column, names)
        if own == names:
            continue
        if sorted(own) != sorted(names) or len(set(names)) < len(names):
            apart = sorted(set(own) ^ set(names)) or [*names]
            raise DatasetError(
                f"{of_other}: {column} has the names {', '.join(own)}, but in {of_first.name} they are {', '.join(names)} ({apart[0]} is "
                "not in both): read them apart"
            )
        changed[column] = other.column(column)[:, [own.index(name) for name in names]]
    if not changed:
        return other
    return Dataset(
        {name: changed.get(name, other.column(name)) for name in other.columns},
        other.episode_lengths,
        info=replace(
            other.info, names={**other.info.names, **{column: first.info.names[column] for column in changed}}
        ),
        episode_columns=other.episode_columns,
    )


def _info(info: DatasetInfo, path: Path, count: int) -> DatasetInfo:
    return replace(info, id=path.name, source=f"{count} recordings in {path.name}")


def propose(path: Path) -> str:
    """Return a mapping for `path`, as YAML to be edited: that of the first recording, which is for all."""
    found = _recordings(path)
    first, kind = found[0]
    proposed: Callable[[Path], str] = kind.propose
    lines = [f"# {path}: {len(found)} recordings, all read by this mapping, which was made from {first.name}"]
    for item, other in found[1:]:
        try:
            other.propose(item)
        except AssayError as error:
            lines.append(f"# {item.name} cannot be looked at: {error}")
    return "\n".join(lines) + "\n" + proposed(first)
