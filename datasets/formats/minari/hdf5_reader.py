"""Reads Minari's HDF5: every episode straight into its place in the whole column.

::

    main_data.hdf5
        episode_0                   attributes id, total_steps, seed, options/<key>, and what a callback added
            observations            (T+1, ...), or a group per Dict key or Tuple entry (`_index_0`, ...)
            actions                 (T, ...), likewise
            rewards                 (T,)
            terminations            (T,) bool
            truncations             (T,) bool
            infos/<key>             (T+1, ...); some published datasets hold T rows
        episode_1 ...

    text        one value of varying length per row
    images      one JPEG file per row: bytes of varying length, or (rows, bytes) where all are equally long

The file is opened once. HDF5 leads to the columns of every episode; where their numbers lie is then looked up for all
episodes at once, without it (`hdf5_chunks`), and only what is stored in unusual ways is read by HDF5. There is no
checksum here, so whatever the file declares is checked against its size before memory is set aside for it.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5g, h5s, h5t

from assay.datasets.errors import AssayWarning, DatasetError, FormatError
from assay.datasets.formats.containers.hdf5_chunks import Chunks, find_chunks
from assay.datasets.formats.containers.hdf5_guards import (
    check_booleans,
    check_declared_size,
    check_hard_link,
    check_stored,
    is_filtered,
    is_in_chunks,
    numeric_dtype,
    read_array,
    walk,
)
from assay.datasets.formats.containers.hdf5_text import VariableLengthReader, decode, is_text, read_attributes
from assay.datasets.formats.minari.assembly import DERIVED, Parts
from assay.datasets.formats.minari.metadata import METADATA, text_width
from assay.datasets.formats.minari.place import Place
from assay.datasets.formats.minari.values import Kind, decode_images, is_observation, kind_of, text_column
from assay.datasets.memory import empty
from assay.datasets.spaces import Box, Space, leaves

__all__ = ["MAIN", "HDF5Reader"]

MAIN = "main_data.hdf5"
_JPEG = b"\xff\xd8\xff"


@dataclass
class _ColumnInProgress:
    """One column while it is being filled."""

    path: bytes  # inside the group of an episode
    extra_rows: int  # of each episode, beyond its steps: 1 for observations and most infos
    kind: Kind
    file_type: Any = None
    memory_type: Any = None
    flat: np.ndarray = field(default_factory=lambda: np.empty(0))
    texts: list[str] = field(default_factory=list)
    chunk_counts: dict[tuple[int, ...], int | None] = field(default_factory=dict)  # by the shape in an episode
    headers: list[int] = field(default_factory=list)  # addresses, by episode
    chunks: Chunks | None = None  # where its numbers were found without HDF5


@dataclass
class HDF5Reader:
    """Reads the episodes of one file; `place` is where it is at, for messages."""

    file: Path
    metadata: Mapping[str, Any]
    spaces: Mapping[str, Space | None]
    infos: bool
    repeat_missing_final: bool
    columns: dict[str, _ColumnInProgress] = field(default_factory=dict)
    groups: dict[bytes, set[bytes]] = field(default_factory=dict)  # their members in episode 0

    def __post_init__(self) -> None:
        self.place = Place(self.file)
        self.steps: int = self.metadata["total_steps"]
        self.episodes: int = self.metadata["total_episodes"]
        self.size = self.file.stat().st_size
        self.parts = Parts(self.file)
        self.kinds: dict[str, Kind] = {}

    def run(self) -> Parts:
        """Read everything."""
        with h5py.File(self.file, "r") as handle, VariableLengthReader(self.file) as self.values:
            self._read(handle.id)
        return self.parts

    def _read(self, root: h5g.GroupID) -> None:
        self.values.check_names(root)
        self._check_groups(root)
        for number in range(self.episodes):
            self._look_up(root, number)
        self._find_chunks(root)
        start = 0
        for number in range(self.episodes):
            start += self._read_episode(root, number, start)
        self.place.episode = self.place.column = None
        if start != self.steps:
            raise DatasetError(
                f"{self.file}: the episodes hold {start} steps, but {METADATA} says {self.steps}; "
                "the dataset is incomplete: copy it again"
            )
        for name, column in self.columns.items():
            self.parts.columns[name] = self._finish(name, column)

    def _finish(self, name: str, column: _ColumnInProgress) -> np.ndarray:
        if column.kind == "text":
            width = text_width(self.metadata, name)
            return text_column(column.texts, self.size, f"{self.file}: column {name}", width=width)
        flat = column.flat
        check_booleans(flat, f"{self.file}: column {name}")
        # Without a space, images of equal length would pass as vectors of bytes.
        if self.spaces.get(name, flat) is None and flat.dtype == np.uint8 and flat[0].tobytes()[:3] == _JPEG:
            raise FormatError(
                f"{self.file}: column {name} holds JPEG images, but {METADATA} has no {name[:-1]}_space to decode them by"
            )
        return flat

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
            f"{self.file} holds {len(numbers)} episodes, but {METADATA} says {self.episodes} ({detail}); "
            "the dataset is incomplete: copy it again"
        )

    # ------------------------------------------------ the columns, as the first episode has them

    def _set_up(self, group: h5g.GroupID) -> None:
        found, self.groups = self._contents(group)
        known = self._check_against_spaces(list(found))
        for needed in ("observations", "actions", "rewards", "terminations", "truncations"):
            if not any(key == needed or key.startswith(needed + "/") for key in found):
                raise FormatError(f"{self.place}: {needed} are missing")
        length = self._rows(found["rewards"].shape) if "rewards" in found else 0
        # Rewards come first: they say how many rows all others need.
        described = [
            self._describe(name, name.encode(), dataset, known.get(name), length)
            for name, dataset in sorted(found.items(), key=lambda item: item[0] != "rewards")
        ]
        self.place.column = None
        self._check_sizes(described)
        for name, column, dtype, shape, _ in described:
            if column.kind != "text":
                column.flat = empty((self.steps + column.extra_rows * self.episodes, *shape), dtype)
            self.columns[name] = column

    def _describe(
        self, name: str, path: bytes, dataset: h5d.DatasetID, space: Space | None, length: int
    ) -> tuple[str, _ColumnInProgress, np.dtype, tuple[int, ...], bool]:
        self.place.column = name
        rows = self._rows(dataset.shape)
        extra = 1 if is_observation(name) or (name.startswith("infos/") and rows == length + 1) else 0
        kind = kind_of(space, jpeg_encoding=bool(self.metadata.get("jpeg_encoding", True)))
        if space is None and name not in ("rewards", "terminations", "truncations") and is_text(dataset.get_type()):
            kind = "text"
        column = _ColumnInProgress(path, extra, kind)
        if kind == "text":
            return name, column, np.dtype("V16"), (), is_filtered(dataset)
        if kind == "images" and isinstance(space, Box):
            return name, column, np.dtype(np.uint8), space.shape, True
        dtype = numeric_dtype(dataset, self.place, hint=self.place.infos_hint)
        column.file_type, column.memory_type = dataset.get_type(), h5t.py_create(dtype)
        return name, column, dtype, dataset.shape[1:], is_filtered(dataset)

    def _check_sizes(self, described: Sequence[tuple[str, _ColumnInProgress, np.dtype, tuple[int, ...], bool]]) -> None:
        for dense in (False, True):  # images and what is compressed may be larger than the file
            some = [item for item in described if item[4] is dense]
            bytes_per_step = sum(dtype.itemsize * int(np.prod(shape, dtype=object)) for _, _, dtype, shape, _ in some)
            place = f"{self.file}: {self.steps} steps of {bytes_per_step} bytes"
            check_declared_size(bytes_per_step * self.steps, self.size, place, filtered=dense)

    def _contents(self, group: h5g.GroupID) -> tuple[dict[str, h5d.DatasetID], dict[bytes, set[bytes]]]:
        """Return the datasets of an episode by path, and the members of each of its groups."""
        datasets: dict[str, h5d.DatasetID] = {}
        groups: dict[bytes, set[bytes]] = {}

        def place(path: str) -> Place:
            self.place.column = path or None
            return self.place

        skip = () if self.infos else ("infos",)
        for path, member in walk(group, place, enter=self.values.check_names, skip=skip):
            if isinstance(member, h5d.DatasetID):
                datasets[path] = member
            else:
                groups[path.encode()] = set(member)
        self.place.column = None
        return datasets, groups

    def _check_against_spaces(self, names: Sequence[str]) -> dict[str, Space]:
        known: dict[str, Space] = {}
        for prefix, space in self.spaces.items():
            if space is None:
                continue
            expected = leaves(space, prefix)
            stored = {name for name in names if name == prefix or name.startswith(prefix + "/")}
            if different := sorted(stored ^ expected.keys()):
                state = "missing in the file" if different[0] in expected else f"not in the {prefix[:-1]}_space"
                raise FormatError(f"{self.place}: column {different[0]} is {state}")
            known |= expected
        return known

    def _find_chunks(self, root: h5g.GroupID) -> None:
        """Find out where the numbers of all episodes lie."""
        content = np.asarray(np.memmap(self.file, np.uint8, "r"))
        for name, column in self.columns.items():
            self.place.episode, self.place.column = 0, name
            if column.kind == "numbers":
                model = h5d.open(root, b"episode_0/" + column.path)
                column.chunks = find_chunks(content, model, column.flat.dtype, np.array(column.headers, np.uint64))

    # ------------------------------------------------ one episode

    def _look_up(self, root: h5g.GroupID, number: int) -> None:
        """Read the attributes of an episode, and find its columns."""
        self.place.episode, self.place.column = number, None
        path = b"episode_%d" % number
        address = check_hard_link(root, path, self.place)
        group = h5g.open(root, path)
        self.values.check_names(group, address)
        if not number:
            self._set_up(group)
        self._check_members(group)
        for name, column in self.columns.items():
            self.place.column = name
            try:
                column.headers.append(check_hard_link(group, column.path, self.place))
            except KeyError:  # another one is here instead
                self._explain_members(group)
                raise
        self.place.column = None
        self.parts.attributes.append(self._attributes(group))

    def _check_members(self, group: h5g.GroupID) -> None:
        """Refuse columns that episode 0 does not have; a missing column is noticed when it is opened."""
        if not all(self._count(group, path) == len(names) for path, names in self.groups.items()):
            self._explain_members(group)

    def _explain_members(self, group: h5g.GroupID) -> None:
        found, _ = self._contents(group)
        if different := sorted(found.keys() ^ self.columns.keys()):
            state = "missing here" if different[0] in self.columns else "not in episode 0"
            raise FormatError(f"{self.place}: column {different[0]} is {state}; all episodes need the same columns")

    def _count(self, group: h5g.GroupID, path: bytes) -> int:
        if not path:
            return int(group.get_num_objs())
        try:
            address = check_hard_link(group, path, self.place)
        except KeyError:
            return -1
        below = h5g.open(group, path)
        self.values.check_names(below, address)
        return int(below.get_num_objs())

    def _read_episode(self, root: h5g.GroupID, number: int, start: int) -> int:
        self.place.episode = number
        group = None
        length, has_final = 0, True
        for name, column in self.columns.items():
            self.place.column = name
            chunks = column.chunks if column.chunks is not None and column.chunks.rows[number] >= 0 else None
            if chunks is not None:
                rows = int(chunks.rows[number])
            else:
                group = h5g.open(root, b"episode_%d" % number) if group is None else group
                dataset = h5d.open(group, column.path)
                rows = self._rows(dataset.shape)
            if name == "rewards":
                length = rows
                if not length:
                    raise DatasetError(f"{self.place}: the episode has no steps; remove it")
                if start + length > self.steps:
                    raise DatasetError(f"{self.place}: more steps than the {self.steps} that {METADATA} says")
            repeat = is_observation(name) and rows == length
            if repeat:
                has_final = False
            self._check_rows(column, rows, length, repeat)
            first = start + (len(self.parts.lengths) if column.extra_rows else 0)
            if chunks is not None:
                chunks.read(number, column.flat[first : first + rows])
            elif column.kind == "numbers":
                self._read_numbers(dataset, column, column.flat[first : first + rows])
            elif column.kind == "text":
                column.texts += decode(self.values.dataset(dataset, self.place), self.place)
            else:
                decode_images(self._encoded_images(dataset), column.flat[first : first + rows], self.place)
            if repeat and column.kind == "text":
                column.texts.append(column.texts[-1])
            elif repeat:
                column.flat[first + rows] = column.flat[first + rows - 1]
        self.place.column = None
        self.parts.lengths.append(length)
        self.parts.final_observations.append(has_final)
        return length

    def _check_rows(self, column: _ColumnInProgress, rows: int, length: int, repeat: bool) -> None:
        if repeat and not self.repeat_missing_final:
            raise DatasetError(
                f"{self.place} has {rows} rows for {length} steps; {length + 1} belong there, the final "
                "observation included. Pass repeat_missing_final=True to repeat the last row and mark such "
                "episodes in final_observation"
            )
        if not repeat and rows != length + column.extra_rows:
            expected = f"{length + column.extra_rows} as in episode 0" if self.place.episode else f"{length}"
            raise DatasetError(f"{self.place} has {rows} rows for {length} steps; expected {expected}")

    def _read_numbers(self, dataset: h5d.DatasetID, column: _ColumnInProgress, part: np.ndarray) -> None:
        shape = dataset.shape
        if shape[1:] != part.shape[1:] or not dataset.get_type().equal(column.file_type):
            raise FormatError(
                f"{self.place} is {dataset.dtype}{list(shape[1:])} here, "
                f"but {part.dtype}{list(part.shape[1:])} in episode 0"
            )
        if part.nbytes:
            # Of equal shapes the first one is looked at closely; the others then are stored like it.
            known = column.chunk_counts.get(shape)
            if known is None or not is_in_chunks(dataset, known):
                column.chunk_counts[shape] = check_stored(dataset, part.nbytes, self.place)
            dataset.read(h5s.ALL, h5s.ALL, part, column.memory_type)

    def _encoded_images(self, dataset: h5d.DatasetID) -> list[Any]:
        if len(dataset.shape) == 1:
            return self.values.dataset(dataset, self.place)
        content = read_array(dataset, self.size, self.place)
        if content.ndim != 2 or content.dtype != np.uint8:
            raise FormatError(
                f"{self.place} is {content.dtype}{list(content.shape[1:])}; JPEG images belong there, because "
                f"{METADATA} says jpeg_encoding"
            )
        return [row.tobytes() for row in content]

    def _attributes(self, group: h5g.GroupID) -> dict[str, Any]:
        found = read_attributes(
            group, self.values, self.place, wanted=lambda name: name == "total_steps" or name not in DERIVED
        )
        plain = {name: value for name, value in found.items() if not name.startswith("options/")}
        options = {name[len("options/") :]: value for name, value in found.items() if name.startswith("options/")}
        return plain | {"options": _nested(options)} if options else plain

    def _rows(self, shape: tuple[int, ...] | None) -> int:
        if not shape:
            raise FormatError(f"{self.place} is a single value; one row per step is needed{self.place.infos_hint}")
        return int(shape[0])


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in flat.items():
        *parents, last = name.split("/")
        place = result
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return result
