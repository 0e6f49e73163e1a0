"""Minari's HDF5 datasets, read and written without Minari or Gymnasium.

::

    <id>/data/metadata.json         totals, spaces, env_spec, authors, reference scores, ...
    <id>/data/main_data.hdf5
        episode_0                   attributes id, total_steps, seed, options/<key>, and what a callback added
            observations            (T+1, ...), or a group per Dict key or Tuple entry (`_index_0`, ...)
            actions                 (T, ...), likewise
            rewards                 (T,)
            terminations            (T,) bool
            truncations             (T,) bool
            infos/<key>             (T+1, ...); some published datasets hold T rows
        episode_1 ...

The file is opened once, and every episode is read by HDF5 straight into its place in the whole column. HDF5 has no
checksum here, so whatever the file declares is checked against its size before memory is set aside for it.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5g, h5l, h5o, h5s, h5t

from assay.datasets.atomic import atomic_folder, atomic_write
from assay.datasets.dataset import RESERVED_EPISODE_COLUMNS, Dataset
from assay.datasets.errors import AssayError, AssayWarning, DatasetError, FormatError
from assay.datasets.info import DatasetInfo, Record, ReferenceScores, json_value
from assay.datasets.spaces import Box, Dict, Space, Text, Tuple, infer_space, leaves, space_from_json, space_to_json

__all__ = ["read", "sniff", "write"]

TITLE = "Minari"
LAYOUT = "folder"
CANNOT_HOLD = (
    "unknown final observations (an error), next_observations, weights, costs and corrupted/... columns, infos of text"
)

_METADATA, _MAIN = "metadata.json", "main_data.hdf5"
_MINARI_VERSION = "0.5.4"  # the version whose layout is written; readers refuse versions they do not know
_ID = re.compile(r"(?:(?P<namespace>[-_\w][-_\w/]*[-_\w]+)/)?(?P<dataset>[-_\w]+?)-v(?P<version>\d+)")
_STANDARD = ("observations", "actions", "rewards", "terminations", "truncations", "infos")
# Statistics of the rewards that Minari's collector stores; they would go stale with the first changed reward.
_DERIVED = {"id", "total_steps", "rewards_sum", "rewards_mean", "rewards_std", "rewards_max", "rewards_min"}
_NUMERIC_KINDS = "biufcS"
_LARGEST_ATTRIBUTE = 1 << 24  # bytes
_HEAP = b"GCOL\x01\0\0\0"  # HDF5 format specification, III.E
_PLAIN_TYPES = {"b1", *(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)), "f4", "f8"}
_DEEPEST = 16  # groups within groups; deeper ones do not come from a space
_DENSEST = 1200  # deflate cannot shrink data further than 1032 times


# -------------------------------------------------------------------- reading


def sniff(path: Path) -> bool:
    """Tell whether `path` is a Minari dataset: its folder, its `data` folder, or the HDF5 file in that."""
    try:
        folder = _data_folder(path)
        if folder is None:
            return False
        if (folder / _MAIN).is_file():
            return True
        return "data_format" in json.loads((folder / _METADATA).read_bytes())
    except (OSError, ValueError, TypeError, RecursionError):
        return False


def _data_folder(path: Path) -> Path | None:
    if path.name == _MAIN and path.is_file():
        return path.parent
    for folder in (path / "data", path):
        if (folder / _METADATA).is_file() or (folder / _MAIN).is_file():
            return folder
    return None


def read(path: Path, *, infos: bool = True, repeat_missing_final: bool = False) -> Dataset:
    """Read a Minari dataset in HDF5.

    Parameters
    ----------
    path : Path
        The dataset's folder (`.../hopper/medium-v0`), the `data` folder in it, or its `main_data.hdf5`.
    infos : bool
        Whether to read the `infos/...` columns; they have N+E rows where each episode stores T+1, or N where it
        stores T.
    repeat_missing_final : bool
        Accept episodes that store T observations in place of T+1: their last one is repeated, and the episode column
        `final_observation` is False for them, so that no transition is made of it.

    Returns
    -------
    Dataset
        Arrays keep their dtypes. Episode columns: `seed` where Minari has seeds (-1, or empty text where seeds
        exceed int64, for an episode without one), `options` as JSON text, and the numbers and texts that a metadata
        callback stored with every episode. Entries of metadata.json that have no field in `DatasetInfo` are in
        `info.extra`.

    Raises
    ------
    FormatError
        If the file is damaged, or holds text, JPEG images, Arrow or Parquet, which are not read; with the place.
    DatasetError
        If the content is impossible, such as T observations for T steps; with file, episode and column.

    Examples
    --------
    >>> import tempfile
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(5.0), actions=np.zeros(3), rewards=[1.0, 1.0, 4.0],
    ...     terminations=[False, True, True], truncations=[False, False, False])
    >>> folder = Path(tempfile.mkdtemp(), "example-v0")
    >>> write(dataset, folder)
    >>> read(folder).observations.tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0]
    """
    folder = _data_folder(path)
    if folder is None:
        raise FormatError(f"{path} holds no Minari dataset: data/{_METADATA} and data/{_MAIN} are missing")
    metadata = _read_metadata(folder / _METADATA)
    file = folder / _MAIN
    if not file.is_file():
        raise FormatError(f"{file} is missing; copy the dataset again")
    spaces = {key: _space_of(metadata, f"{key[:-1]}_space", folder) for key in ("observations", "actions")}
    reader = _Reader(file, metadata, spaces, infos, repeat_missing_final)
    try:
        with h5py.File(file, "r") as handle:
            reader.run(handle.id)
        return _assemble(file, metadata, spaces, reader)
    except AssayError:
        raise
    except MemoryError as error:
        raise FormatError(f"{reader.where()}: does not fit into memory") from error
    except Exception as error:  # HDF5 reports damage by OSError, RuntimeError, KeyError, ValueError and others
        raise FormatError(
            f"{reader.where()}: the file is damaged or truncated ({' '.join(str(error).split())}); copy it again"
        ) from error


def _read_metadata(file: Path) -> dict[str, Any]:
    try:
        metadata = json.loads(file.read_bytes())
    except OSError as error:
        raise FormatError(f"{file} cannot be read: {error}") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{file} is damaged: {error}") from error
    if not isinstance(metadata, dict):
        raise FormatError(f"{file} is damaged: it does not hold a JSON object")
    stored_as = metadata.get("data_format", "hdf5")
    if stored_as != "hdf5":
        raise FormatError(f"{file}: data_format is {stored_as!r}; only 'hdf5' is read so far")
    for key in ("total_episodes", "total_steps"):
        value = metadata.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**62:
            raise FormatError(f"{file}: {key} is {value!r}; a positive integer belongs there")
    for key in ("dataset_id", "env_spec", "algorithm_name", "description", "code_permalink", "minari_version"):
        if not isinstance(metadata.get(key, ""), str):
            raise FormatError(f"{file}: {key} is {type(metadata[key]).__name__}; text belongs there")
    return metadata


def _space_of(metadata: Mapping[str, Any], key: str, folder: Path) -> Space | None:
    if key not in metadata:
        return None  # Minari asks the environment then; the arrays are readable without
    try:
        return space_from_json(metadata[key])
    except FormatError as error:
        raise FormatError(f"{folder / _METADATA}: {key} is {error}") from error


@dataclass
class _Column:
    """One column while it is being filled."""

    path: bytes  # inside the group of an episode
    extra_rows: int  # of each episode, beyond its steps: 1 for observations and most infos
    file_type: Any
    memory_type: Any
    flat: np.ndarray


@dataclass
class _Reader:
    """Reads the episodes of one file; keeps the place that it is at, for messages."""

    file: Path
    metadata: Mapping[str, Any]
    spaces: Mapping[str, Space | None]
    infos: bool
    repeat_missing_final: bool
    episode: int | None = None
    column: str | None = None
    columns: dict[str, _Column] = field(default_factory=dict)
    groups: dict[bytes, set[bytes]] = field(default_factory=dict)  # their members in episode 0
    attributes: list[dict[str, Any]] = field(default_factory=list)
    heaps_checked: bool = False

    def __post_init__(self) -> None:
        self.steps: int = self.metadata["total_steps"]
        self.episodes: int = self.metadata["total_episodes"]
        self.lengths: list[int] = []
        self.final_observations: list[bool] = []

    def where(self) -> str:
        place = str(self.file)
        if self.episode is not None:
            place += f": episode {self.episode}"
        return place if self.column is None else f"{place}: column {self.column}"

    def run(self, root: h5g.GroupID) -> None:
        self._check_groups(root)
        start = 0
        for number in range(self.episodes):
            self.episode, self.column = number, None
            path = b"episode_%d" % number
            self._check_link(root, path)
            group = h5g.open(root, path)
            if not number:
                self._set_up(group)
            self._check_members(group)
            start += self._read_episode(group, start)
            self.attributes.append(self._attributes(group))
        self.episode = self.column = None
        if start != self.steps:
            raise DatasetError(
                f"{self.file}: the episodes hold {start} steps, but {_METADATA} says {self.steps}; "
                "the dataset is incomplete: copy it again"
            )
        for name, column in self.columns.items():
            flat = column.flat
            if flat.dtype == bool and flat.size and flat.view(np.uint8).max() > 1:
                raise FormatError(f"{self.file}: column {name} is damaged: it holds booleans other than 0 and 1")
            # Without a space, images of equal length would pass as vectors of bytes.
            if (
                self.spaces.get(name, flat) is None
                and flat.dtype == np.uint8
                and flat[0].tobytes()[:3] == b"\xff\xd8\xff"
            ):
                raise FormatError(f"{self.file}: column {name} holds JPEG images, which are not read so far")

    def _check_groups(self, root: h5g.GroupID) -> None:
        matches = [re.fullmatch(rb"episode_(0|[1-9]\d{0,17})", name) for name in root]
        numbers = {int(match[1]) for match in matches if match}
        if foreign := len(matches) - len(numbers):
            warnings.warn(
                f"{self.file} holds {foreign} entries that are not episodes; they are not read",
                AssayWarning,
                stacklevel=6,
            )
        if len(numbers) == self.episodes and max(numbers) == self.episodes - 1:
            return
        missing = next((number for number in range(len(numbers) + 1) if number not in numbers), None)
        detail = (
            f"episode_{missing} is missing" if missing is not None and missing < self.episodes else "some are extra"
        )
        raise DatasetError(
            f"{self.file} holds {len(numbers)} episodes, but {_METADATA} says {self.episodes} ({detail}); "
            "the dataset is incomplete: copy it again"
        )

    def _check_link(self, group: h5g.GroupID, name: bytes) -> None:

        # A soft or external link could loop, or lead into another file.
        if group.links.get_info(name).type != h5l.TYPE_HARD:
            raise FormatError(f"{self.where()}: {name.decode(errors='replace')!r} is a link to somewhere else")

    # ------------------------------------------------ the columns, as the first episode has them

    def _set_up(self, group: h5g.GroupID) -> None:

        found = dict(self._walk(group, b"", 0, self.groups))
        self._check_against_spaces(list(found))
        for needed in ("observations", "actions", "rewards", "terminations", "truncations"):
            if not any(key == needed or key.startswith(needed + "/") for key in found):
                raise FormatError(f"{self.where()}: {needed} are missing")
        length = _rows(found["rewards"][1].shape if "rewards" in found else (), self)
        bytes_per_step, filtered = 0, False
        described = []
        # Rewards come first: they say how many rows all others need.
        for name, (path, dataset) in sorted(found.items(), key=lambda item: item[0] != "rewards"):
            self.column = name
            dtype, shape = self._dtype(dataset), dataset.shape
            rows = _rows(shape, self)
            extra = 1 if _is_observation(name) or (name.startswith("infos/") and rows == length + 1) else 0
            filtered |= dataset.get_create_plist().get_nfilters() > 0
            described.append((name, path, extra, dtype, shape[1:], dataset.get_type()))
            bytes_per_step += dtype.itemsize * int(np.prod(shape[1:], dtype=object))
        self.column = None
        declared, size = bytes_per_step * self.steps, self.file.stat().st_size
        if declared > size * (_DENSEST if filtered else 1):
            raise FormatError(
                f"{self.file}: {self.steps} steps of {bytes_per_step} bytes were declared, but the file has only "
                f"{size} bytes; it is truncated or damaged"
            )
        for name, path, extra, dtype, shape, file_type in described:
            flat = np.empty((self.steps + extra * self.episodes, *shape), dtype)
            self.columns[name] = _Column(path, extra, file_type, h5t.py_create(dtype), flat)

    def _walk(
        self, group: h5g.GroupID, prefix: bytes, depth: int, seen: dict[bytes, set[bytes]] | None = None
    ) -> Iterator[tuple[str, tuple[bytes, h5d.DatasetID]]]:
        if depth > _DEEPEST:
            raise FormatError(f"{self.where()}: groups are nested more than {_DEEPEST} deep")
        names = set(group)
        if seen is not None:
            seen[prefix.rstrip(b"/")] = names
        for name in sorted(names):
            path = prefix + name
            self.column = path.decode()
            if path == b"infos" and not self.infos:
                continue
            self._check_link(group, name)
            entry = h5o.open(group, name)
            if isinstance(entry, h5d.DatasetID):
                yield path.decode(), (path, entry)
            else:
                yield from self._walk(entry, path + b"/", depth + 1, seen)
        self.column = None

    def _check_against_spaces(self, names: Sequence[str]) -> None:
        for prefix, space in self.spaces.items():
            if space is None:
                continue
            expected = leaves(space, prefix)
            stored = {name for name in names if name == prefix or name.startswith(prefix + "/")}
            if different := sorted(stored ^ expected.keys()):
                state = "missing in the file" if different[0] in expected else f"not in the {prefix[:-1]}_space"
                raise FormatError(f"{self.where()}: column {different[0]} is {state}")
            for name, leaf in expected.items():
                if isinstance(leaf, Text):
                    raise FormatError(f"{self.where()}: column {name} holds text, which is not read so far")
                if self.metadata.get("jpeg_encoding", True) and _is_image(leaf):
                    raise FormatError(f"{self.where()}: column {name} holds JPEG images, which are not read so far")

    def _dtype(self, dataset: h5d.DatasetID) -> np.dtype:
        dtype: np.dtype = np.dtype(dataset.dtype.str) if dataset.dtype.kind in _NUMERIC_KINDS else dataset.dtype
        if dtype.kind not in _NUMERIC_KINDS:
            kind = "text or values of varying length" if dtype.hasobject else f"values of type {dtype}"
            raise FormatError(f"{self.where()} holds {kind}, which is not read so far{_infos_hint(self)}")
        return dtype

    # ------------------------------------------------ one episode

    def _check_members(self, group: h5g.GroupID) -> None:
        if all(self._members(group, path) == names for path, names in self.groups.items()):
            return
        found = {name for name, _ in self._walk(group, b"", 0)}
        if different := sorted(found ^ self.columns.keys()):
            state = "missing here" if different[0] in self.columns else "not in episode 0"
            raise FormatError(f"{self.where()}: column {different[0]} is {state}; all episodes need the same columns")

    def _members(self, group: h5g.GroupID, path: bytes) -> set[bytes]:
        if not path:
            return set(group)
        if path not in group:
            return set()
        self._check_link(group, path)
        return set(h5g.open(group, path))

    def _read_episode(self, group: h5g.GroupID, start: int) -> int:

        length, has_final = 0, True
        for name, column in self.columns.items():
            self.column = name
            self._check_link(group, column.path)
            dataset = h5d.open(group, column.path)
            shape = dataset.shape
            rows = _rows(shape, self)
            if name == "rewards":
                length = rows
                if not length:
                    raise DatasetError(f"{self.where()}: the episode has no steps; remove it")
                if start + length > self.steps:
                    raise DatasetError(f"{self.where()}: more steps than the {self.steps} that {_METADATA} says")
            repeat = _is_observation(name) and rows == length
            if repeat:
                has_final = False
                if not self.repeat_missing_final:
                    raise DatasetError(
                        f"{self.where()} has {rows} rows for {length} steps; {length + 1} belong there, the final "
                        "observation included. Pass repeat_missing_final=True to repeat the last row and mark such "
                        "episodes in final_observation"
                    )
            elif rows != length + column.extra_rows:
                expected = f"{length + column.extra_rows} as in episode 0" if self.episode else f"{length}"
                raise DatasetError(f"{self.where()} has {rows} rows for {length} steps; expected {expected}")
            first = start + (len(self.lengths) if column.extra_rows else 0)
            part = column.flat[first : first + rows]
            if shape[1:] != part.shape[1:] or not dataset.get_type().equal(column.file_type):
                raise FormatError(
                    f"{self.where()} is {dataset.dtype}{list(shape[1:])} here, "
                    f"but {part.dtype}{list(part.shape[1:])} in episode 0"
                )
            if part.nbytes:
                self._check_stored(dataset, part.nbytes)
                dataset.read(h5s.ALL, h5s.ALL, part, column.memory_type)
            if repeat:
                column.flat[first + rows] = part[-1]
        self.column = None
        self.lengths.append(length)
        self.final_observations.append(has_final)
        return length

    def _attributes(self, group: h5g.GroupID) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for index in range(h5a.get_num_attrs(group)):
            attribute = h5a.open(group, index=index)
            name = attribute.name.decode()
            if name in _DERIVED and name != "total_steps":
                continue
            shape, dtype = attribute.shape, attribute.dtype
            if shape == () and dtype.kind in "biuf":
                value = np.empty((), dtype)
                attribute.read(value)
                result[name] = value[()]
                continue
            if dtype.hasobject and not self.heaps_checked:
                _check_heaps(self.file)
                self.heaps_checked = True
            if dtype.itemsize * int(np.prod(shape or (), dtype=object)) > _LARGEST_ATTRIBUTE:
                raise FormatError(f"{self.where()}: attribute {name} declares {dtype}{list(shape)}; it is damaged")
            result[name] = h5py.Group(group).attrs[name]
        return result

    def _check_stored(self, dataset: h5d.DatasetID, size: int) -> None:
        """Refuse rows that were declared but never written: HDF5 would make zeros of them."""

        properties = dataset.get_create_plist()
        if properties.get_layout() == h5d.VIRTUAL or properties.get_external_count():
            raise FormatError(f"{self.where()} is stored in another file")
        if dataset.get_storage_size() >= size:
            return
        if properties.get_nfilters():
            chunks = [-(-rows // chunk) for rows, chunk in zip(dataset.shape, properties.get_chunk(), strict=True)]
            if dataset.get_num_chunks() == int(np.prod(chunks, dtype=object)):
                return
        raise FormatError(f"{self.where()} was not written completely; the file is truncated or damaged")


def _rows(shape: tuple[int, ...], reader: _Reader) -> int:
    if not shape:
        raise FormatError(f"{reader.where()} is a single value; one row per step is needed{_infos_hint(reader)}")
    return int(shape[0])


def _infos_hint(reader: _Reader) -> str:
    is_info = reader.column is not None and reader.column.startswith("infos")
    return "; pass infos=False to leave the infos out" if is_info else ""


def _is_observation(name: str) -> bool:
    return name == "observations" or name.startswith("observations/")


def _is_image(space: Space) -> bool:
    """Tell whether Minari stores a space as JPEG images, by its own rule."""
    if not isinstance(space, Box) or space.dtype != "uint8" or len(space.shape) not in (2, 3):
        return False
    low, high = space.bounds()
    return min(space.shape[:2]) >= 32 and bool((low == 0).all() and (high == 255).all())


def _check_heaps(file: Path) -> None:
    """Refuse a file whose heaps of text would send HDF5 into an endless loop.

    A heap is a chain of objects, each giving its size; HDF5 follows the chain without noticing a size of zero.
    """
    with file.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content:
        heap = content.find(_HEAP)
        while heap >= 0:
            end = min(heap + int.from_bytes(content[heap + 8 : heap + 16], "little"), len(content))
            place = heap + 16
            while place + 16 <= end:
                number = int.from_bytes(content[place : place + 2], "little")
                size = int.from_bytes(content[place + 8 : place + 16], "little")
                step = 16 + -(-size // 8) * 8 if number else size  # object 0 is what remains free, header included
                if not step:
                    raise FormatError(f"{file}: the heap at byte {heap} is damaged; copy the file again")
                place += step
            heap = content.find(_HEAP, heap + 8)


# -------------------------------------------------------------------- putting together what was read


def _assemble(file: Path, metadata: Mapping[str, Any], spaces: Mapping[str, Space | None], reader: _Reader) -> Dataset:
    for number, (attributes, length) in enumerate(zip(reader.attributes, reader.lengths, strict=True)):
        if (stated := attributes.get("total_steps", length)) != length:
            raise DatasetError(f"{file}: episode {number}: total_steps says {stated}, but there are {length} rewards")
    episode_columns = _episode_columns(file, reader.attributes)
    if not all(reader.final_observations):
        episode_columns["final_observation"] = np.array(reader.final_observations)
    block = metadata.get("assay")
    try:
        dataset = Dataset(
            {name: column.flat for name, column in reader.columns.items()},
            reader.lengths,
            info=_info(metadata, spaces, block if isinstance(block, dict) else {}),
            episode_columns=episode_columns,
        )
    except DatasetError as error:
        raise DatasetError(f"{file}: {error}") from error
    if not isinstance(block, dict) or block.get("fingerprint") != dataset.fingerprint:
        return dataset
    try:  # Minari left the data as Assay wrote it, so its history still holds
        history = [Record.from_plain(record) for record in block["history"]]
    except (FormatError, KeyError, TypeError) as error:
        raise FormatError(f"{file.parent / _METADATA}: the history under 'assay' is damaged: {error}") from error
    return Dataset(
        {name: dataset.column(name) for name in dataset.columns},
        dataset.episode_lengths,
        info=dataset.info,
        history=history,
        episode_columns=dataset.episode_columns,
    )


def _episode_columns(file: Path, attributes: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    result: dict[str, np.ndarray] = {}
    seeds = [item.get("seed") for item in attributes]
    if any(seed is not None for seed in seeds):
        result["seed"] = _seeds(file, seeds)
    options = [_nested(item, "options/") for item in attributes]
    if any(options):
        result["options"] = np.array([json.dumps(json_value(item)) if item else "" for item in options])
    others = {name for item in attributes for name in item if name != "seed" and not name.startswith("options/")}
    unread = []
    for name in sorted(others - _DERIVED):
        values = [item.get(name) for item in attributes]
        if name in RESERVED_EPISODE_COLUMNS or name == "final_observation" or not all(map(_is_plain, values)):
            unread.append(name)
        else:
            result[name] = np.array(values)
    if unread:
        warnings.warn(
            f"{file}: attributes that are not one number or text in every episode are not read: {', '.join(unread)}",
            AssayWarning,
            stacklevel=6,
        )
    return result


def _is_plain(value: Any) -> bool:
    """Tell whether a table can hold the value: text, or a number of an ordinary type."""
    return isinstance(value, str) or (isinstance(value, np.generic) and value.dtype.str[1:] in _PLAIN_TYPES)


def _seeds(file: Path, seeds: Sequence[Any]) -> np.ndarray:
    for number, seed in enumerate(seeds):
        if seed is not None and not isinstance(seed, np.integer):
            raise FormatError(f"{file}: episode {number}: the seed is {seed!r}; an integer belongs there")
    known = [int(seed) for seed in seeds if seed is not None]
    if max(known) < 2**63:
        return np.array([-1 if seed is None else int(seed) for seed in seeds], np.int64)
    if len(known) == len(seeds) and min(known) >= 0:
        return np.array(known, np.uint64)
    return np.array(["" if seed is None else str(int(seed)) for seed in seeds])


def _nested(attributes: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in attributes.items():
        if name.startswith(prefix):
            *parents, last = name[len(prefix) :].split("/")
            place = result
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = value
    return result


_FIELDS = {  # entry of metadata.json -> field of DatasetInfo
    "dataset_id": "id",
    "env_spec": "env_spec",
    "code_permalink": "code",
    "author": "authors",
    "author_email": "author_emails",
    "algorithm_name": "algorithm",
    "description": "description",
    "requirements": "requirements",
}
_OWN_KEYS = {
    *_FIELDS,
    *("total_episodes", "total_steps", "data_format", "jpeg_encoding", "observation_space", "action_space"),
    *("minari_version", "dataset_size", "ref_min_score", "ref_max_score", "assay"),
}


def _info(metadata: Mapping[str, Any], spaces: Mapping[str, Space | None], block: Mapping[str, Any]) -> DatasetInfo:
    values: dict[str, Any] = {}
    for key, name in _FIELDS.items():
        value = metadata.get(key)
        if value is not None:
            several = name in ("authors", "author_emails", "requirements")
            values[name] = tuple([value] if isinstance(value, str) else map(str, value)) if several else value
    extra = {key: value for key, value in metadata.items() if key not in _OWN_KEYS}
    low, high = metadata.get("ref_min_score"), metadata.get("ref_max_score")
    references = None
    if isinstance(low, int | float) and isinstance(high, int | float):
        references = ReferenceScores(float(low), float(high), str(block.get("references") or "Minari metadata"))
    else:
        extra |= {key: metadata[key] for key in ("ref_min_score", "ref_max_score") if metadata.get(key) is not None}
    version = metadata.get("minari_version", "of unknown version")
    return DatasetInfo(
        observation_space=spaces["observations"],
        action_space=spaces["actions"],
        reference_scores=references,
        source=str(block.get("source") or f"Minari {metadata.get('dataset_id', '')}, written by Minari {version}"),
        licence=str(block.get("licence", "")),
        extra=extra,
        **values,
    )


# -------------------------------------------------------------------- writing


def write(dataset: Dataset, path: Path, *, overwrite: bool = False, dataset_id: str | None = None) -> None:
    """Write a dataset as Minari's HDF5, whole or not at all; `minari.load_dataset` opens it.

    Parameters
    ----------
    dataset : Dataset
        Its `info` becomes metadata.json, its episode columns become attributes of the episodes.
    path : Path
        The dataset's folder. For `minari.load_dataset(id)` to find it, it is `<MINARI_DATASETS_PATH>/<id>`.
    overwrite : bool
    dataset_id : str, optional
        Such as `"hopper/medium-v0"`. Default: the path below Minari's folder of datasets, else its last two parts.

    Warns
    -----
    AssayWarning
        Once, with the names of the columns that Minari has no place for (`next_observations`, `weights`, `costs`,
        `corrupted/...`) and that are therefore left out.

    Raises
    ------
    DatasetError
        If the id is not one that Minari takes, a final observation is unknown (Minari stores T+1), a column holds
        text, or the folder exists and `overwrite` is False.
    """
    path = Path(os.path.abspath(path))
    identifier = _identifier(path, dataset_id)
    known = dataset.episode_columns.get("final_observation")
    if known is not None and not known.all():
        episode = int(np.flatnonzero(~known.astype(bool))[0])
        raise DatasetError(
            f"the final observation of episode {episode} is unknown, and Minari needs it; write the others with "
            "dataset.select(dataset.episode_columns['final_observation'])"
        )
    spaces = {
        "observations": _space_for(dataset, "observations", dataset.info.observation_space),
        "actions": _space_for(dataset, "actions", dataset.info.action_space),
    }
    stored = _writable_columns(dataset)
    with atomic_folder(path, overwrite=overwrite) as folder:
        data = folder / "data"
        data.mkdir()
        _write_episodes(dataset, stored, data / _MAIN)
        metadata = _metadata_of(dataset, identifier, spaces)
        text = json.dumps(metadata)
        metadata["dataset_size"] = round(((data / _MAIN).stat().st_size + len(text)) / 1e6, 1)
        (data / _METADATA).write_text(json.dumps(metadata))
    _mark_namespaces(path)


def _root() -> Path:
    root = os.environ.get("MINARI_DATASETS_PATH") or Path.home() / ".minari" / "datasets"
    return Path(os.path.abspath(root))


def _identifier(path: Path, dataset_id: str | None) -> str:
    if dataset_id is not None:
        candidates = [dataset_id]
    elif path.is_relative_to(_root()):
        candidates = [path.relative_to(_root()).as_posix()]
    else:
        candidates = ["/".join(path.parts[-2:]), path.name]
    for candidate in candidates:
        if _ID.fullmatch(candidate):
            return candidate
    raise DatasetError(
        f"{candidates[0]!r} is not a Minari id: (namespace/)name-v(number), of letters, digits, - and _, the namespace "
        f"with at least two; name the folder like {re.sub(r'[^-_a-zA-Z0-9]', '-', path.name) or 'name'}-v0, or pass "
        "dataset_id"
    )


def _space_for(dataset: Dataset, prefix: str, given: Space | None) -> Space:
    names = [name for name in dataset.columns if name == prefix or name.startswith(prefix + "/")]
    for name in names:
        if dataset.column(name).dtype.kind not in _NUMERIC_KINDS.replace("S", ""):
            raise DatasetError(
                f"column {name} holds {dataset.column(name).dtype}, which is not written as Minari so far"
            )
    if given is None:
        return _infer(dataset.nested(prefix))
    if different := sorted(set(names) ^ leaves(given, prefix).keys()):
        raise DatasetError(
            f"the {prefix[:-1]}_space in info and the columns disagree about {different[0]}; "
            "correct info, or set the space to None to have it inferred"
        )
    return given


def _infer(value: Any) -> Space:
    if not isinstance(value, dict):
        return infer_space(value)
    if list(value) == [f"_index_{i}" for i in range(len(value))]:
        return Tuple(tuple(_infer(child) for child in value.values()))
    return Dict({key: _infer(child) for key, child in value.items()})


def _writable_columns(dataset: Dataset) -> list[str]:
    stored: list[str] = []
    left_out: list[str] = []
    for name in dataset.columns:
        top, _, rest = name.partition("/")
        in_place = top in _STANDARD and (top != "infos" or rest)
        fits = in_place and dataset.column(name).dtype.kind in _NUMERIC_KINDS
        (stored if fits else left_out).append(name)
    if left_out:
        warnings.warn(
            f"Minari has no place for these columns, which are left out: {', '.join(left_out)}; "
            'format="assay" keeps everything',
            AssayWarning,
            stacklevel=4,
        )
    return sorted(stored, key=lambda name: _STANDARD.index(name.split("/")[0]))


def _write_episodes(dataset: Dataset, stored: Sequence[str], file: Path) -> None:
    starts, lengths = dataset.episode_starts.tolist(), dataset.episode_lengths.tolist()
    with h5py.File(file, "w", track_order=True) as handle:
        for number, (start, length) in enumerate(zip(starts, lengths, strict=True)):
            group = handle.create_group(f"episode_{number}")
            _write_attributes(group, dataset, number, length)
            for name in stored:
                array = dataset.column(name)
                extra = len(array) != dataset.total_steps
                first = start + number if extra else start
                part = np.ascontiguousarray(array[first : first + length + extra])
                group.create_dataset(name, data=part, chunks=True, maxshape=(None, *part.shape[1:]))
            group.require_group("infos")  # Minari cannot show episodes without it


def _write_attributes(group: h5py.Group, dataset: Dataset, number: int, length: int) -> None:
    group.attrs["id"] = number
    for name, values in dataset.episode_columns.items():
        value = values[number]
        try:
            if name == "seed":
                if str(value) not in ("-1", ""):
                    group.attrs["seed"] = int(value)
            elif name == "options":
                for key, option in _flat("options", json.loads(str(value) or "{}")):
                    group.attrs[key] = option
            elif name != "final_observation":
                group.attrs[name] = str(value) if values.dtype.kind == "U" else value
        except (TypeError, ValueError, OSError, OverflowError, AttributeError) as error:
            raise DatasetError(f"episode {number}: Minari cannot hold {name} {value!r}: {error}") from error
    group.attrs["total_steps"] = length


def _flat(prefix: str, options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in options.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}/{key}", value)
        else:
            yield f"{prefix}/{key}", value


def _metadata_of(dataset: Dataset, identifier: str, spaces: Mapping[str, Space]) -> dict[str, Any]:
    info = dataset.info
    images = any(_is_image(leaf) for space in spaces.values() for leaf in leaves(space, "").values())
    metadata: dict[str, Any] = {
        "total_episodes": dataset.total_episodes,
        "total_steps": dataset.total_steps,
        "data_format": "hdf5",
        "jpeg_encoding": not images,  # JPEG would change the pixels
        "observation_space": space_to_json(spaces["observations"]),
        "action_space": space_to_json(spaces["actions"]),
    }
    optional = {
        "env_spec": info.env_spec,
        "dataset_id": identifier,
        "code_permalink": info.code,
        "author": list(info.authors),
        "author_email": list(info.author_emails),
        "algorithm_name": info.algorithm,
        "description": info.description,
        "minari_version": _MINARI_VERSION,
    }
    metadata |= {key: value for key, value in optional.items() if value}
    if info.reference_scores is not None:
        metadata["ref_max_score"] = info.reference_scores.expert
        metadata["ref_min_score"] = info.reference_scores.random
    if info.requirements:
        metadata["requirements"] = list(info.requirements)
    metadata |= {key: value for key, value in info.extra.items() if key not in metadata and key not in _OWN_KEYS}
    metadata |= {key: info.extra[key] for key in ("ref_min_score", "ref_max_score") if key in info.extra}
    # Minari keeps entries that it does not know; these are the ones that it has no name for.
    metadata["assay"] = {
        "fingerprint": dataset.fingerprint,
        "licence": info.licence,
        "source": info.source,
        "references": info.reference_scores.source if info.reference_scores else "",
        "history": [record.to_plain() for record in dataset.history],
    }
    return metadata


def _mark_namespaces(path: Path) -> None:
    root = _root()
    if not path.is_relative_to(root):
        return
    for namespace in path.parents:
        if namespace == root:
            return
        if not (namespace / "namespace_metadata.json").exists():
            atomic_write(namespace / "namespace_metadata.json", "{}")
