"""Plain .npz archives: Assay's columns under their own names, or anybody's arrays with a mapping.

::

    observations            (N+E, ...), or observations/<key> for nested ones
    actions, rewards, terminations, truncations, next_observations, infos/<key>, ...
    episode_lengths         (E,)
    episodes/<name>         (E,) further columns of the episodes table
    assay                   JSON text: info and history

What Assay writes it reads back equal. For files that others wrote, `mapping` says which array is which column.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from assay.datasets.atomic import atomic_file
from assay.datasets.dataset import RESERVED_EPISODE_COLUMNS, Dataset, is_under
from assay.datasets.errors import DatasetError, FormatError
from assay.datasets.formats.containers.npz import NpzFile, npz_names, open_npz, write_npz
from assay.datasets.formats.mapping import COLUMNS, Arrays, Given, dataset_from_mapping
from assay.datasets.formats.rows import naming
from assay.datasets.info import DatasetInfo, Record
from assay.datasets.tables.column_mapping import STRUCTURES, ColumnMapping, as_mapping
from assay.datasets.tables.proposal import Field
from assay.datasets.tables.proposal import propose as propose_mapping

__all__ = ["propose", "read", "sniff", "sniff_mapped", "write"]

TITLE = "plain npz"
LAYOUT = "file .npz"
ORDER = 140
CANNOT_HOLD = ""

_LENGTHS, _EPISODES, _MARK = "episode_lengths", "episodes/", "assay"


def sniff(path: Path) -> bool:
    """Tell whether `path` is an archive with observations and rewards or ends of episodes under these names."""
    names = npz_names(path)
    found = {name.split("/")[0] for name in names}
    if "observations" not in found:
        return False
    return bool(found & {"terminations", "truncations", *STRUCTURES}) or ("actions" in found and "rewards" in names)


def sniff_mapped(path: Path) -> bool:
    """Tell whether `path` can be read where a mapping is given: whether it is an archive of arrays."""
    return bool(npz_names(path))


def propose(path: Path) -> str:
    """Return a mapping for `path`, as YAML to be edited; see `assay.datasets.tables.proposal`."""
    with open_npz(path) as file, naming(path):
        fields = [Field(name, file.read(name)) for name in file.names if file.readable(name)]
        fields = [item for item in fields if item.values.ndim]
        rows = max((len(item.values) for item in fields), default=0)
        own = next((name for name in STRUCTURES if name in file.names), None)
        borders = "" if own is None else f"the array {own} says where they are"
        return propose_mapping([item for item in fields if item.name != own], where=path, rows=rows, borders=borders)


def read(
    path: Path,
    *,
    columns: Given = None,
    episode_lengths: str | int | None = None,
    episode_ends: str | None = None,
    episode_starts: str | None = None,
) -> Dataset:
    """Read an archive.

    Parameters
    ----------
    path : Path
    columns : mapping, or path of a YAML file, optional
        Name of a dataset's column -> name or names in the file, such as `{"observations": "states", "infos/qpos": "qpos"}`,
        and what else `assay.datasets.tables.column_mapping` says. Others are looked for under their own names.
    episode_lengths, episode_ends, episode_starts : str, optional
        Name in the file of the array that says where episodes are: their lengths, the row after each last one, or each
        first row (numbers, or flags on the rows). Default: an array of the option's own name, else the flags.

    Returns
    -------
    Dataset
        Where the file says how many episodes there are, arrays with one number or text for each become episode columns.

    Warns
    -----
    AssayWarning
        About arrays that are not taken, and about flags that are nowhere.

    Raises
    ------
    FormatError
        If the file is damaged or a needed column is missing; with what the file holds and the option to pass.
    ConfigError
        If the options name what is not there.
    DatasetError
        If the arrays do not fit together.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "example.npz")
    >>> np.savez(
    ...     path, states=np.arange(5.0), actions=np.zeros(3), rewards=np.ones(3),
    ...     terminations=np.array([0, 1, 0]), truncations=np.array([0, 0, 1]))
    >>> read(path, columns={"observations": "states"}).episode_lengths.tolist()
    [2, 1]
    """
    with open_npz(path) as file, naming(path):
        given = (columns, episode_lengths, episode_ends, episode_starts)
        if _MARK in file.names and given == (None, None, None, None):
            return _read_own(file)
        mapping = as_mapping(columns, path).merged(
            path, episode_lengths=episode_lengths, episode_ends=episode_ends, episode_starts=episode_starts
        )
        if not mapping.tells_episodes:
            own = next((name for name in STRUCTURES if name in file.names and name not in mapping.names), None)
            mapping = mapping if own is None else mapping.merged(path, **{own: own})
        per_episode = _per_episode(file, mapping)
        dataset = dataset_from_mapping(
            Arrays([name for name in file.names if name not in per_episode], file.read),
            where=path,
            columns=mapping,
            info=DatasetInfo(id=path.stem, source=f"{TITLE} file {path.name}"),
        )
        if not per_episode:
            return dataset
        extra = {name.removeprefix(_EPISODES): file.read(name) for name in per_episode}
        return Dataset(
            {name: dataset.column(name) for name in dataset.columns},
            dataset.episode_lengths,
            info=dataset.info,
            episode_columns=extra | dict(dataset.episode_columns),
        )


def _per_episode(file: NpzFile, mapping: ColumnMapping) -> list[str]:
    """Return the names of arrays with one entry for each episode, where the file says how many there are."""
    source = mapping.episode_lengths or mapping.episode_ends
    if source is None or source not in file.names:
        return []
    episodes = file.describe(str(source))[1]
    taken = set(mapping.names)
    result = []
    for name in file.names:
        if name in taken or name.split("/")[0] in COLUMNS:
            continue
        fits = file.readable(name) and file.describe(name)[1] == episodes
        if fits and name.removeprefix(_EPISODES) not in RESERVED_EPISODE_COLUMNS:
            result.append(name)
        else:
            file.check(name)
    return result


def _read_own(file: NpzFile) -> Dataset:
    """Read what `write` wrote."""
    try:
        plain = json.loads(str(file.read(_MARK)))
        info = DatasetInfo.from_plain(plain["info"])
        history = Record.history_from_plain(plain["history"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FormatError(f"{file.path}: array {_MARK} is damaged: {error}") from error
    lengths = file.read(_LENGTHS)
    if lengths.dtype != np.int64:
        raise FormatError(f"{file.path}: array {_LENGTHS} is {lengths.dtype}; it is damaged")
    columns, extra = {}, {}
    for name in file.names:
        if name.startswith(_EPISODES):
            extra[name.removeprefix(_EPISODES)] = file.read(name)
        elif name not in (_LENGTHS, _MARK):
            columns[name] = file.read(name)
    return Dataset(columns, lengths, info=info, history=history, episode_columns=extra)


def write(dataset: Dataset, path: Path, *, overwrite: bool = False, compress: bool = False) -> None:
    """Write a dataset as one archive, whole or not at all; `numpy.load` opens it.

    Parameters
    ----------
    dataset : Dataset
    path : Path
    overwrite : bool
    compress : bool
        Smaller, and slower to write and read.

    Raises
    ------
    DatasetError
        If the file exists and `overwrite` is False, or a column has one of the names that describe episodes.
    """
    for name in dataset.columns:
        if name in (_LENGTHS, _MARK) or is_under(name, _EPISODES.rstrip("/")):
            raise DatasetError(f"column {name}: an .npz file uses this name for its episodes; rename the column")
    with atomic_file(path, overwrite=overwrite) as part:
        write_npz(part, _arrays(dataset), compress=compress)


def _arrays(dataset: Dataset) -> Iterator[tuple[str, np.ndarray]]:
    for name in dataset.columns:
        yield name, dataset.column(name)
    yield _LENGTHS, dataset.episode_lengths
    for name, array in dataset.episode_columns.items():
        yield f"{_EPISODES}{name}", array
    plain = {"info": dataset.info.to_plain(), "history": [record.to_plain() for record in dataset.history]}
    yield _MARK, np.array(json.dumps(plain))
