"""Reads Minari's Arrow and Parquet: each column of a file is copied once, into its place in the whole column.

::

    data/0/part-0.arrow         IPC file, or part-0.parquet; T+1 rows in one batch or several
        observations            a leaf, or a struct by Dict keys or Tuple entries ("0", "1", ...)
        actions                 likewise; the last row is filling
        rewards, terminations, truncations       the last row is filling
        infos                   struct; absent where there are none
    data/0/metadata.json        id, total_steps, seed, options, and what a callback added
    data/1/...

    Box, MultiDiscrete, MultiBinary    lists of fixed size, flattened; the shape is in the space, that of an info in the
                                       field's metadata ("shape": "2,3")
    Discrete                           numbers
    Text                               text
    images                             binary, one JPEG file per row

Minari's own reader takes every batch for an episode, so that one of 32,768 steps or more comes out as several. Its
writer hands batches of 32,768 rows to several threads: beyond 131,072 rows they may arrive in another order. A short
batch before the last one shows that, and is refused; otherwise it cannot be seen, and a warning says so.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import stat
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from assay.datasets.dataset import is_under
from assay.datasets.errors import AssayWarning, DatasetError, FormatError
from assay.datasets.formats.containers.arrow import check_layout
from assay.datasets.formats.containers.hdf5_guards import check_declared_size
from assay.datasets.formats.containers.parquet_safety import check_parquet
from assay.datasets.formats.minari.assembly import DERIVED, Parts
from assay.datasets.formats.minari.metadata import METADATA, own_block, text_width
from assay.datasets.formats.minari.place import Place
from assay.datasets.formats.minari.values import (
    SMALL,
    TEXT_EXPANSION,
    Kind,
    decode_images,
    is_observation,
    kind_of,
    shape_of,
    text_column,
)
from assay.datasets.spaces import Box, Discrete, Space, leaves

__all__ = ["ArrowReader"]

_FLAGS = ("terminations", "truncations")
_REQUIRED = ("observations", "actions", "rewards", *_FLAGS)
_ORDER_KEPT = 131_072  # rows that Minari's writer hands to one thread
_BATCH = 32_768  # rows of its batches, but for the last
_DEEPEST = 16  # structs within structs
_LARGE = 1 << 26  # bytes; smaller files are read faster than mapped
_ROWS_AT_A_TIME = 256  # of text and images in Parquet, which may unpack a few bytes into many


class _EpisodePart(NamedTuple):
    """One file of an episode."""

    path: str
    size: int  # bytes


@dataclass
class _StructColumn:
    """One column while it is being filled."""

    path: tuple[int, ...]  # indices of the top column and of the fields in structs
    extra_rows: int  # of each episode, beyond its steps
    kind: Kind
    width: int | None  # numbers in a row that is a list; None where a row is a plain number
    flat: np.ndarray
    texts: list[str] = field(default_factory=list)


@dataclass
class ArrowReader:
    """Reads the episodes of one dataset; `place` is where it is at, for messages."""

    folder: Path
    metadata: Mapping[str, Any]
    spaces: Mapping[str, Space | None]
    infos: bool
    columns: dict[str, _StructColumn] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.place = Place(self.folder)
        self.steps: int = self.metadata["total_steps"]
        self.episodes: int = self.metadata["total_episodes"]
        self.ending = f".{self.metadata['data_format']}"
        self._part = re.compile(rf"part-(0|[1-9]\d{{0,8}}){re.escape(self.ending)}")
        self.block = own_block(self.metadata)
        self.parts = Parts(self.folder)
        self.schema: pa.Schema | None = None
        self._schemas: dict[tuple[bytes, bytes], pa.Schema] = {}
        self.packed = False  # whether values may be larger than their file
        self.unordered = 0  # episodes whose order cannot be verified
        self.size = 0  # bytes of all files
        self.text_size = 0  # bytes of the texts in memory

    def run(self) -> Parts:
        """Read everything."""
        self._check_folders()
        files = [self._files(number) for number in range(self.episodes)]
        self.size = sum(file.size for parts in files for file in parts)
        start = 0
        for number in range(self.episodes):
            self.place.episode = number
            attributes = self._attributes(number)
            start += self._read_episode(files[number], start, attributes.get("total_steps"))
            self.parts.attributes.append(attributes)
        self.place.episode = None
        if start != self.steps:
            raise DatasetError(
                f"{self.folder}: the episodes hold {start} steps, but {METADATA} says {self.steps}; "
                "the dataset is incomplete: copy it again"
            )
        if self.unordered:
            warnings.warn(
                f"{self.folder}: {self.unordered} episodes have more than {_ORDER_KEPT} rows, which Minari stores in "
                "an arbitrary order; compare them with the source, or write them as HDF5",
                AssayWarning,
                stacklevel=6,
            )
        for name, column in self.columns.items():
            self.parts.columns[name] = column.flat
            if column.kind == "text":
                place, width = f"{self.folder}: column {name}", text_width(self.metadata, name)
                self.parts.columns[name] = text_column(column.texts, self.size, place, width=width)
        return self.parts

    def _check_folders(self) -> None:
        names = [entry.name for entry in os.scandir(self.folder) if entry.name != METADATA]
        numbers = {int(name) for name in names if re.fullmatch(r"0|[1-9]\d{0,17}", name)}
        if foreign := sum(not name.startswith((".", "_")) for name in names) - len(numbers):
            warnings.warn(
                f"{self.folder} holds {foreign} entries that are not episodes; they are not read",
                AssayWarning,
                stacklevel=6,
            )
        if len(numbers) == self.episodes and max(numbers) == self.episodes - 1:
            return
        missing = next((number for number in range(len(numbers) + 1) if number not in numbers), None)
        detail = f"{missing} is missing" if missing is not None and missing < self.episodes else "some are extra"
        raise DatasetError(
            f"{self.folder} holds {len(numbers)} episodes, but {METADATA} says {self.episodes} ({detail}); "
            "the dataset is incomplete: copy it again"
        )

    def _files(self, number: int) -> list[_EpisodePart]:
        folder = f"{self.folder}/{number}"  # text, because there are thousands: paths would take longer than the files
        names = set(os.listdir(folder))
        count = sum(self._part.fullmatch(name) is not None for name in names)
        files = []
        for part in range(max(1, count)):
            if (name := f"part-{part}{self.ending}") not in names:
                raise FormatError(f"{folder}: {name} is missing; copy the dataset again")
            facts = os.stat(path := f"{folder}/{name}")
            if not stat.S_ISREG(facts.st_mode):
                raise FormatError(f"{path} is not a file")
            files.append(_EpisodePart(path, facts.st_size))
        return files

    # ------------------------------------------------ one episode

    def _read_episode(self, files: Sequence[_EpisodePart], start: int, stated: Any) -> int:
        sources = [self._source(file) for file in files]
        rows = sum(source.rows for source in sources)
        length = rows - 1
        if length < 1:
            raise DatasetError(f"{self.place}: {rows} rows, where steps and a final row belong; remove it")
        if start + length > self.steps:
            raise DatasetError(f"{self.place}: more steps than the {self.steps} that {METADATA} says")
        if stated is not None and stated != length:
            raise DatasetError(f"{self.place}: total_steps says {stated}, but there are {length} steps")
        for source, file in zip(sources, files, strict=True):
            if self.schema is None:
                self._set_up(source.schema, sum(item.size for item in files), rows, file.path)
                self.schema = source.schema
            elif not source.schema.equals(self.schema, check_metadata=True):
                self._explain_schema(source.schema, file.path)
        self._check_order(sources)
        offset, number = 0, len(self.parts.lengths)
        for source in sources:
            for batch in source.batches(packed=self.packed):
                batch.validate(full=True)  # pyarrow does not check buffers against lengths by itself
                if offset + batch.num_rows > rows:
                    raise FormatError(f"{self.place}: a batch has more rows than the {rows} declared")
                for name, column in self.columns.items():
                    self.place.column = name
                    take = min(batch.num_rows, length + column.extra_rows - offset)
                    first = start + offset + (number if column.extra_rows else 0)
                    self._copy(self._leaf(batch, column.path), column, first, take)
                self.place.column = None
                offset += batch.num_rows
        if offset != rows:
            raise FormatError(f"{self.place}: {offset} rows, of {rows} declared; the file is truncated or damaged")
        self.parts.lengths.append(length)
        self.parts.final_observations.append(True)
        return length

    def _source(self, file: _EpisodePart) -> _IPCSource | _ParquetSource:
        return _ParquetSource(file) if self.ending == ".parquet" else _IPCSource(file, self._schemas)

    def _copy(self, values: pa.Array, column: _StructColumn, first: int, take: int) -> None:
        if take <= 0:
            return
        self._check_no_nulls(values, take)
        if column.kind != "numbers" and len(values) > take:
            values = values.slice(0, take)
        if column.kind == "text":
            self.text_size += values.nbytes
            if self.text_size > max(SMALL, TEXT_EXPANSION * self.size):
                raise FormatError(f"{self.place}: its texts are many times larger than the files; they are damaged")
            column.texts += values.to_pylist()
            return
        target = column.flat[first : first + take]
        if column.kind == "images":
            decode_images([memoryview(value.as_buffer()) for value in values], target, self.place)
            return
        if column.width is None:
            numbers = _numbers(values, 0, take, target.dtype)
        else:
            first, count = values.offset * column.width, take * column.width
            values = values.values
            self._check_no_nulls(values, first + count)
            numbers = _numbers(values, first, count, target.dtype)
        target.reshape(-1)[...] = numbers

    def _check_no_nulls(self, values: pa.Array, count: int) -> None:
        if len(values) < count or (values.null_count and values.slice(0, count).null_count):
            raise FormatError(f"{self.place} has rows without a value")

    def _leaf(self, batch: pa.RecordBatch, path: Sequence[int]) -> pa.Array:
        values = batch.column(path[0])
        for index in path[1:]:
            if values.null_count:
                raise FormatError(f"{self.place} has rows without a value")
            values = values.field(index)
        return values

    def _check_order(self, sources: Sequence[_IPCSource | _ParquetSource]) -> None:
        lengths = [length for source in sources for length in source.batch_lengths]
        if max(lengths) == _BATCH and min(lengths[:-1], default=_BATCH) < _BATCH:
            raise DatasetError(
                f"{self.place}: batches of {lengths[:8]} rows, a short one before the last: Minari's writer stored them "
                "out of order, which cannot be undone; write the episode again, as HDF5"
            )
        whole = len(lengths) == 1 and self.ending == ".arrow"
        self.unordered += not whole and sum(lengths) > _ORDER_KEPT and "fingerprint" not in self.block

    def _explain_schema(self, schema: pa.Schema, file: str) -> None:
        assert self.schema is not None
        for name in sorted({*self.schema.names, *schema.names}):
            here = schema.field(name).type if name in schema.names else "missing"
            first = self.schema.field(name).type if name in self.schema.names else "missing"
            if here != first:
                raise FormatError(f"{file}: column {name} is {here} here, but {first} in episode 0")
        raise FormatError(f"{file}: the shapes of infos differ from those in episode 0")

    def _attributes(self, number: int) -> dict[str, Any]:
        file = f"{self.folder}/{number}/{METADATA}"
        try:
            with open(file, "rb", buffering=0) as handle:
                found = json.loads(handle.read())
        except (OSError, ValueError, RecursionError) as error:
            raise FormatError(f"{file} is missing or damaged: {error}") from error
        if not isinstance(found, dict):
            raise FormatError(f"{file} is damaged: it does not hold a JSON object")
        options = found.pop("options", None)
        if options is not None and not isinstance(options, dict):
            raise FormatError(f"{file}: options are {type(options).__name__}; an object belongs there")
        kept = {name: _plain(value) for name, value in found.items() if name == "total_steps" or name not in DERIVED}
        if kept.get("seed", 0) is None:
            del kept["seed"]
        return kept | ({"options": options} if options else {})

    # ------------------------------------------------ the columns, as the first episode has them

    def _set_up(self, schema: pa.Schema, size: int, rows: int, file: str) -> None:
        for needed in _REQUIRED:
            if schema.names.count(needed) != 1:
                raise FormatError(f"{file}: column {needed} is missing")
        known = {name: leaf for key, space in self.spaces.items() if space for name, leaf in leaves(space, key).items()}
        short = self.block.get("infos_without_final")
        short_infos = set(map(str, short)) if isinstance(short, list) else set()
        described: list[tuple[str, tuple[int, ...], pa.Field]] = []
        for name in (*_REQUIRED, "infos") if self.infos else _REQUIRED:
            if name in schema.names:
                index = schema.get_field_index(name)
                described += self._leaves(name, (index,), schema.field(index), known, self.spaces.get(name), 0)
        self._check_against_spaces({name for name, _, _ in described}, known)
        bits, layouts = 0, {}
        for name, _, item in described:
            self.place.column = name
            layouts[name] = kind, shape, dtype = self._layout(name, item, known.get(name))
            # In memory; flags take a bit in the file.
            bits += 0 if kind != "numbers" else (1 if dtype.kind == "b" else 8 * dtype.itemsize) * int(np.prod(shape))
        self.place.column = None
        if self.ending == ".arrow":
            check_declared_size(bits * rows // 8, size, file, filtered=False)
            place = f"{self.folder}: {self.steps} steps of {bits / 8:g} bytes"
            check_declared_size(bits * self.steps // 8, self.size, place, filtered=False)
        for name, path, item in described:
            kind, shape, dtype = layouts[name]
            extra = int(is_observation(name) or (is_under(name, "infos") and name not in short_infos))
            listed = kind == "numbers" and pa.types.is_fixed_size_list(item.type)
            if kind == "images":  # a JPEG image of nothing is some hundred bytes
                image_bytes = int(np.prod(shape)) * rows
                check_declared_size(image_bytes, size, f"{file}: column {name}", filtered=True)
            flat = np.empty((0 if kind == "text" else self.steps + extra * self.episodes, *shape), dtype)
            self.columns[name] = _StructColumn(path, extra, kind, item.type.list_size if listed else None, flat)
        self.packed = any(column.kind != "numbers" for column in self.columns.values())

    def _leaves(
        self,
        name: str,
        path: tuple[int, ...],
        item: pa.Field,
        known: Mapping[str, Space],
        space: Space | None,
        depth: int,
    ) -> Iterator[tuple[str, tuple[int, ...], pa.Field]]:
        if not pa.types.is_struct(item.type):
            yield name, path, item
            return
        if depth > _DEEPEST:
            raise FormatError(f"{self.place}: structs are nested more than {_DEEPEST} deep")
        children = [item.type.field(index) for index in range(item.type.num_fields)]
        names = [child.name for child in children]
        if len(set(names)) != len(names):
            raise FormatError(f"{self.place}: column {name} names a part twice")
        if strange := next((child for child in names if not child or "/" in child), None):
            raise FormatError(f"{self.place}: column {name} has a part {strange!r}, which is no name of a column")
        digits = set(names) == {str(index) for index in range(len(names))}
        is_tuple = digits and any(f"{name}/_index_0" == key or key.startswith(f"{name}/_index_0/") for key in known)
        if digits and is_under(name, "infos"):
            tuples = self.block.get("info_tuples")
            is_tuple = name in tuples if isinstance(tuples, list) else True  # dicts of digits are rarer
        elif digits and self.spaces.get(name.split("/")[0]) is None:
            is_tuple = True
        for index, child in enumerate(children):
            part = f"_index_{child.name}" if is_tuple else child.name
            yield from self._leaves(f"{name}/{part}", (*path, index), child, known, space, depth + 1)

    def _check_against_spaces(self, names: set[str], known: Mapping[str, Space]) -> None:
        for prefix, space in self.spaces.items():
            if space is None:
                continue
            expected = {name for name in known if is_under(name, prefix)}
            if different := sorted({name for name in names if is_under(name, prefix)} ^ expected):
                state = "missing in the file" if different[0] in expected else f"not in the {prefix[:-1]}_space"
                raise FormatError(f"{self.place}: column {different[0]} is {state}")

    def _layout(self, name: str, item: pa.Field, space: Space | None) -> tuple[Kind, tuple[int, ...], np.dtype]:
        kind = kind_of(space, jpeg_encoding=bool(self.metadata.get("jpeg_encoding", True)))
        stored, hint = item.type, self.place.infos_hint
        if pa.types.is_string(stored) or pa.types.is_large_string(stored):
            if space is None or kind == "text":
                return "text", (), np.dtype("U1")
        elif kind == "images" and isinstance(space, Box):
            if pa.types.is_binary(stored) or pa.types.is_large_binary(stored):
                return "images", space.shape, np.dtype(np.uint8)
        elif kind == "numbers":
            inner: pa.DataType = stored
            shape: tuple[int, ...] = ()
            if pa.types.is_fixed_size_list(stored):
                inner, shape = stored.value_type, self._shape(item, space)
            elif space is not None and not isinstance(space, Discrete):
                raise FormatError(f"{self.place} is {stored}; rows of fixed size belong there, because of its space")
            if pa.types.is_boolean(inner) or pa.types.is_integer(inner) or pa.types.is_floating(inner):
                return kind, shape, np.dtype(inner.to_pandas_dtype())
        raise FormatError(f"{self.place} is {stored}, which is not read as {kind}{hint}")

    def _shape(self, item: pa.Field, space: Space | None) -> tuple[int, ...]:
        size = item.type.list_size
        shape: tuple[int, ...] = (size,)
        if space is not None:
            shape = shape_of(space)
        elif item.metadata is not None and b"shape" in item.metadata:
            text = item.metadata[b"shape"].decode(errors="replace")
            if not re.fullmatch(r"(\d{1,9}(,\d{1,9})*)?", text):
                raise FormatError(f"{self.place}: its shape is {text!r}")
            shape = tuple(int(part) for part in text.split(",") if part)
        if int(np.prod(shape, dtype=object)) != size:
            raise FormatError(f"{self.place} has {size} numbers in a row, which do not make the shape {shape}")
        return shape


def _numbers(values: pa.Array, first: int, count: int, dtype: np.dtype) -> np.ndarray:
    """View the numbers of an array without nulls. Arrow's `to_numpy` would import pandas, which takes longer than reading."""
    if not count:
        return np.empty(0, dtype)
    data, first = values.buffers()[1], first + values.offset
    if dtype.kind != "b":
        return np.frombuffer(data, dtype, count, first * dtype.itemsize)
    end = first + count
    bits = np.frombuffer(data, np.uint8, -(-end // 8))
    return np.unpackbits(bits, count=end, bitorder="little")[first:].view(bool)


def _plain(value: Any) -> Any:
    """Give numbers the types that they would have in HDF5."""
    if isinstance(value, bool):
        return np.bool_(value)
    if isinstance(value, float):
        return np.float64(value)
    if isinstance(value, int) and -(2**63) <= value < 2**64:
        return np.int64(value) if value < 2**63 else np.uint64(value)
    return value


class _IPCSource:
    """An IPC file, read whole where it is small and memory-mapped where it is large: a batch copies nothing.

    `schemas` holds those parsed so far, by what describes them in the file: thousands of files have the same one, and
    parsing it takes longer than a batch.
    """

    def __init__(self, file: _EpisodePart, schemas: dict[tuple[bytes, bytes], pa.Schema]) -> None:
        with open(file.path, "rb", buffering=0) as handle:
            mapped = file.size > _LARGE
            content = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) if mapped else handle.readall()
        layout = check_layout(content, file.path)
        self._content, self._messages = pa.py_buffer(content), layout.messages
        self.rows, self.batch_lengths = sum(layout.rows), layout.rows
        if layout.schema not in schemas:
            schemas[layout.schema] = pa.ipc.open_file(self._content).schema
        self.schema = schemas[layout.schema]

    def batches(self, *, packed: bool) -> Iterator[pa.RecordBatch]:
        """Return the batches, which are in memory."""
        return (pa.ipc.read_record_batch(self._content[message], self.schema) for message in self._messages)


class _ParquetSource:
    """A Parquet file."""

    def __init__(self, file: _EpisodePart) -> None:
        from pyarrow import parquet

        with open(file.path, "rb") as handle:
            content = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        self.batch_lengths = [group.rows for group in check_parquet(content, file.path)]
        self.rows = sum(self.batch_lengths)
        self._file = parquet.ParquetFile(pa.BufferReader(pa.py_buffer(content)))
        self.schema = self._file.schema_arrow

    def batches(self, *, packed: bool) -> Iterator[pa.RecordBatch]:
        """Yield batches; they are small where packed values may be much larger than the file."""
        size = _ROWS_AT_A_TIME if packed else max(1, min(self.rows, 1 << 20))
        yield from self._file.iter_batches(batch_size=size, use_threads=False)
