"""Reading HDF5 files of arrays from strangers, and writing files.

`open_hdf5` walks the file once, over hard links only (`hdf5_guards`), and afterwards reads what is asked for. The datasets
that are read may together not claim more of the file than it has bytes. Compressed chunks are unpacked here, on all
cores: HDF5 unpacks whatever a chunk holds, and a chunk may hold a thousand times what it declares.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5g, h5i, h5l, h5o, h5s, h5t, h5z

from assay.datasets.errors import DatasetError, FormatError
from assay.datasets.formats.containers.files import require_file
from assay.datasets.formats.containers.hdf5_guards import (
    DENSEST,
    NUMERIC_KINDS,
    check_booleans,
    check_heaps,
    check_stored,
    damage_is_a_format_error,
    numeric_dtype,
    walk,
)
from assay.datasets.formats.containers.hdf5_text import VariableLengthReader, decode, is_text, read_attributes
from assay.datasets.memory import empty

__all__ = ["Hdf5File", "is_hdf5", "members", "open_hdf5", "write_rows"]

_LARGEST_CHUNK = 1 << 24  # bytes, where the whole array has fewer
_BLOCK_BYTES = 1 << 24
_OWN_FILTERS = {h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE}
_FILTERS = {*_OWN_FILTERS, h5z.FILTER_FLETCHER32, 32000}  # 32000 is LZF, which comes with h5py


class _Members(Mapping[str, Any]):
    """Objects of a file by their paths, each opened when it is asked for."""

    def __init__(self, root: h5g.GroupID) -> None:
        self._root = root
        self._paths: dict[str, None] = {}

    def add(self, path: str) -> None:
        self._paths[path] = None

    def __getitem__(self, path: str) -> Any:
        if path not in self._paths:
            raise KeyError(path)
        return h5o.open(self._root, path.encode()) if path else self._root

    def __contains__(self, path: object) -> bool:
        return path in self._paths

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


class Hdf5File:
    """What one file holds; `open_hdf5` makes it.

    Parameters
    ----------
    path : Path
    handle : h5py.File
    texts : VariableLengthReader

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "example.hdf5")
    >>> with h5py.File(path, "w") as handle:
    ...     handle["group/actions"] = np.arange(3)
    >>> with open_hdf5(path) as file:
    ...     list(file.datasets), file.read("group/actions").tolist()
    (['group/actions'], [0, 1, 2])
    """

    def __init__(self, path: Path, handle: h5py.File, texts: VariableLengthReader) -> None:
        self.path = path
        self.size = path.stat().st_size
        self._handle = handle
        self._texts = texts
        self._described: dict[str, tuple[np.dtype | None, tuple[int, ...] | None]] = {}
        self._filters: dict[str, list[int]] = {}
        self._total = 0
        self._workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._root: h5g.GroupID = handle["/"].id
        self.datasets = _Members(self._root)
        """Path in the file -> dataset, in the order of the names; opened anew each time, for there may be 100,000."""
        self.groups = _Members(self._root)
        """Path in the file -> group; the root is ""."""
        for name, member in walk(self._root, self.where):
            if isinstance(member, h5d.DatasetID):
                self.datasets.add(name)
                self._described[name] = _numbers(member), member.shape
            else:
                self.groups.add(name)

    def where(self, name: str) -> str:
        """Return the place of a dataset or group for messages."""
        return f"{self.path}: {name}" if name else str(self.path)

    def below(self, prefix: str) -> list[str]:
        """Return the paths, inside a group, of the datasets below it; [""] if the path is a dataset."""
        if prefix in self.datasets:
            return [""]
        start = f"{prefix}/"
        return [name[len(start) :] for name in self.datasets if name.startswith(start)]

    # ------------------------------------------------ arrays

    def describe(self, name: str) -> tuple[np.dtype, tuple[int, ...]]:
        """Return dtype, in the machine's byte order, and shape of a dataset of numbers, without reading it."""
        dtype, shape = self._described.get(name, (None, None))
        if dtype is None:
            dtype = numeric_dtype(self._dataset(name), self.where(name))  # says what it holds instead
        if shape is None:
            raise FormatError(f"{self.where(name)} is empty; an array belongs there")
        return dtype, shape

    def is_numeric(self, name: str) -> bool:
        """Tell whether `read` reads a dataset: numbers, booleans or byte strings of fixed length."""
        dtype, shape = self._described[name]
        return dtype is not None and shape is not None

    def read(self, name: str) -> np.ndarray:
        """Read one dataset of numbers, booleans or byte strings.

        Raises
        ------
        FormatError
            If it is missing, damaged, holds anything else, or declares what cannot be true; with file and dataset.
        """
        dtype, shape = self.describe(name)
        self._check_claim(name, dtype.itemsize * int(np.prod(shape, dtype=object)))
        return self._fill(name, empty(shape, dtype))

    def read_into(self, name: str, part: np.ndarray) -> None:
        """Read one dataset into an array, or contiguous part of one, of its dtype and shape."""
        dtype, shape = self.describe(name)
        if (dtype, shape) != (part.dtype, part.shape):
            raise FormatError(
                f"{self.where(name)} is {dtype}{list(shape)}, but {part.dtype}{list(part.shape)} belongs there"
            )
        self._check_claim(name, part.nbytes)
        self._fill(name, part)

    def read_parts(self, names: Sequence[str], lengths: Sequence[int]) -> np.ndarray:
        """Read datasets of one dtype and row shape, of `lengths` rows each, one after another into one array."""
        if not names:
            raise FormatError(f"{self.path} holds no episodes")
        dtype, shape = self.describe(names[0])
        for name, length in zip(names, lengths, strict=True):
            found = self.describe(name)
            if len(found[1]) < 1 or found[1][0] != length:
                rows = found[1][0] if found[1] else "no"
                raise DatasetError(f"{self.where(name)} has {rows} rows; the episode has {length} steps")
            if found != (dtype, (length, *shape[1:])):
                raise FormatError(
                    f"{self.where(name)} is {found[0]}{list(found[1][1:])} here, but {dtype}{list(shape[1:])} in "
                    f"{names[0]}; all episodes need the same"
                )
        self.check_claims(names)
        result = empty((sum(lengths), *shape[1:]), dtype)
        start = 0
        for name, length in zip(names, lengths, strict=True):
            self._fill(name, result[start : start + length])
            start += length
        return result

    def _dataset(self, name: str) -> h5d.DatasetID:
        if name not in self.datasets:
            names = ", ".join(list(self.datasets)[:30])
            raise FormatError(f"{self.path}: there is no dataset {name}; the file holds {names or 'none'}")
        dataset: h5d.DatasetID = self.datasets[name]
        return dataset

    def check_claims(self, names: Sequence[str]) -> None:
        """Refuse datasets that together declare more than the file can hold, before memory is set aside for them."""
        for name in names:
            dtype, shape = self.describe(name)
            self._check_claim(name, dtype.itemsize * int(np.prod(shape, dtype=object)))

    def _check_claim(self, name: str, declared: int) -> None:
        if name in self._filters:
            return
        dataset, where = self.datasets[name], self.where(name)
        stored = dataset.get_storage_size()
        self._total += stored
        self._filters[name] = filters = _filters(dataset, where)
        if stored > self.size or declared > stored * (DENSEST if filters else 1):
            raise FormatError(
                f"{where}: {declared} bytes were declared, but {min(stored, self.size)} are stored; "
                "the file is truncated or damaged"
            )
        if self._total > self.size:
            raise FormatError(f"{where}: the datasets overlap; the file is damaged, or made to exhaust memory")
        if declared:
            check_stored(dataset, declared, where)

    def _fill(self, name: str, array: np.ndarray) -> np.ndarray:
        dataset, where = self.datasets[name], self.where(name)
        if array.nbytes:
            filters = self._filters[name]
            unpacked_here = h5z.FILTER_DEFLATE in filters
            if unpacked_here:
                exact = set(filters) <= _OWN_FILTERS
                self._unpack(dataset, array, filters, where, keep=exact)
                unpacked_here = exact
            if not unpacked_here:
                dataset.read(h5s.ALL, h5s.ALL, array, h5t.py_create(array.dtype))
        check_booleans(array, where)
        return array

    def _unpack(self, dataset: h5d.DatasetID, array: np.ndarray, filters: list[int], where: str, *, keep: bool) -> None:
        """Unpack the chunks of a dataset into an array; without `keep`, only check that they have the declared size."""
        chunk = dataset.get_create_plist().get_chunk()
        stored_dtype = _stored_dtype(dataset, array.dtype, where)
        size = int(np.prod(chunk, dtype=object)) * stored_dtype.itemsize
        if size > max(_LARGEST_CHUNK, 2 * array.nbytes):
            raise FormatError(f"{where}: compressed in blocks of {size} bytes; it is damaged")
        found: list[Any] = []
        dataset.chunk_iter(found.append)
        places = {info.chunk_offset for info in found}
        inside = all(
            place % length == 0 and place < rows
            for offset in places
            for place, length, rows in zip(offset, chunk, array.shape, strict=True)
        )
        if len(places) != len(found) or not inside:
            raise FormatError(f"{where}: the index of its blocks is damaged; copy the file again")
        descriptor = os.open(self.path, os.O_RDONLY)
        moved = bool(h5i.get_file_id(dataset).get_create_plist().get_userblock())  # offsets then differ by versions

        def unpack(info: Any) -> None:
            if info.byte_offset is None or info.size > self.size:
                raise FormatError(f"{where}: a compressed block lies outside the file; it is truncated")
            data = (
                dataset.read_direct_chunk(info.chunk_offset)[1]
                if moved
                else os.pread(descriptor, info.size, info.byte_offset)
            )
            applied = [code for index, code in enumerate(filters) if not info.filter_mask >> index & 1]
            data = _decode_chunk(data, applied, size, stored_dtype.itemsize, where)
            if keep:
                block = np.frombuffer(data, stored_dtype).reshape(chunk)
                place = tuple(slice(start, start + length) for start, length in zip(info.chunk_offset, chunk))
                target = array[place]
                target[...] = block[tuple(slice(length) for length in target.shape)]

        def unpack_all(part: list[Any]) -> None:
            for info in part:
                unpack(info)

        try:
            if self._workers == 1 or len(found) == 1:
                unpack_all(found)
            else:
                with ThreadPoolExecutor(self._workers) as pool:
                    for _ in pool.map(unpack_all, [found[worker :: self._workers] for worker in range(self._workers)]):
                        pass  # what a worker raised is raised here
        finally:
            os.close(descriptor)

    # ------------------------------------------------ text, single values and attributes

    def text(self, name: str) -> str | list[str] | None:
        """Return a dataset of text, of fixed or of varying length: one text, or a flat list; None if it is no text."""
        dataset, where = self._dataset(name), self.where(name)
        if dataset.shape is None:
            return None
        if dataset.dtype.kind == "S":
            array = self.read(name)
            values = decode(array.reshape(-1).tolist(), where)
            return values[0] if array.ndim == 0 else values
        if not is_text(dataset.get_type()):
            return None
        if dataset.shape == ():
            return decode([self._texts.single(dataset, where)], where)[0]
        return decode(self._texts.dataset(dataset, where), where)

    def value(self, name: str) -> Any:
        """Return a dataset as JSON can hold it: a number, a text, or nested lists; None where it cannot."""
        dataset = self._dataset(name)
        if dataset.shape is None:
            return None
        if dataset.dtype.kind in "biuf":
            return self.read(name).tolist()
        return self.text(name) if dataset.dtype.kind in "SO" else None

    def attributes(self, name: str = "") -> dict[str, Any]:
        """Return the attributes of a group or dataset.

        Numbers are NumPy scalars, text of any kind is str, arrays are lists; None stands for what cannot be read.
        """
        holder = self.groups[name] if name in self.groups else self._dataset(name)
        return {key: _attribute(value) for key, value in read_attributes(holder, self._texts, self.where(name)).items()}


def _attribute(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_attribute(item) for item in value] if value.dtype.kind in "biufS" else None
    if isinstance(value, bytes):  # np.bytes_, too
        return value.split(b"\0", 1)[0].decode(errors="replace")
    return value if isinstance(value, str | list) or np.asarray(value).dtype.kind in "biuf" else None


@contextmanager
def open_hdf5(path: Path) -> Iterator[Hdf5File]:
    """Open a file for reading; whatever h5py raises on damage while it is open is a FormatError.

    Raises
    ------
    FormatError
        If the file is no HDF5, is damaged, or holds links to elsewhere.
    """
    require_file(path)
    if not h5py.is_hdf5(path):
        raise FormatError(f"{path} is not an HDF5 file, or its head is damaged; copy it again")
    check_heaps(path)
    with damage_is_a_format_error(path), VariableLengthReader(path) as texts, h5py.File(path, "r") as opened:
        yield Hdf5File(path, opened, texts)


def is_hdf5(path: Path) -> bool:
    """Tell from the first bytes whether a file is HDF5. Never raises."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(8) == b"\x89HDF\r\n\x1a\n"
    except OSError:
        return False


def members(path: Path, group: str = "") -> frozenset[str]:
    """Return the names in a group of a file, to tell formats apart; none where it is no HDF5, or damaged.

    Examples
    --------
    >>> members(Path("/dev/null"))
    frozenset()
    """
    try:
        if not path.is_file() or not h5py.is_hdf5(path):
            return frozenset()
        check_heaps(path)
        with h5py.File(path, "r") as handle:
            place: Any = handle["/"].id
            if group:
                if group.encode() not in place or place.links.get_info(group.encode()).type != h5l.TYPE_HARD:
                    return frozenset()
                place = h5o.open(place, group.encode())
            return frozenset(name.decode() for name in place) if isinstance(place, h5g.GroupID) else frozenset()
    except Exception:  # a foreign or damaged file is not this format
        return frozenset()


# -------------------------------------------------------------------- chunks


def _numbers(dataset: h5d.DatasetID) -> np.dtype | None:
    """Return the dtype of a dataset of numbers in the machine's byte order, or None for anything else."""
    try:
        dtype: np.dtype = dataset.dtype
    except TypeError:  # a type that NumPy does not have
        return None
    return np.dtype(dtype.str).newbyteorder("=") if dtype.kind in NUMERIC_KINDS else None


def _filters(dataset: h5d.DatasetID, where: str) -> list[int]:
    properties = dataset.get_create_plist()
    filters = [properties.get_filter(index)[0] for index in range(properties.get_nfilters())]
    if unknown := [code for code in filters if code not in _FILTERS]:
        raise FormatError(f"{where}: compressed by HDF5 filter {unknown[0]}, which is not read; write it with gzip")
    if filters.count(h5z.FILTER_DEFLATE) > 1:
        raise FormatError(f"{where}: compressed twice; made to exhaust memory")
    return filters


def _stored_dtype(dataset: h5d.DatasetID, dtype: np.dtype, where: str) -> np.dtype:
    """Return the dtype of the bytes in a chunk."""
    kind = dataset.get_type()
    result: np.dtype = np.dtype(dataset.dtype.str)
    if dtype.kind == "S" and kind.get_size() == dtype.itemsize:
        return result
    if dtype.kind != "b" and isinstance(kind, h5t.TypeEnumID):
        kind = kind.get_super()
    if not h5t.py_create(result, logical=True).equal(kind):
        raise FormatError(f"{where}: compressed numbers of an unusual type, which is not read")
    return result


def _decode_chunk(data: bytes, filters: list[int], size: int, itemsize: int, where: str) -> bytes:
    """Undo the filters of a chunk, giving exactly `size` bytes."""
    for code in reversed(filters):
        if code == h5z.FILTER_FLETCHER32:
            data = data[:-4]  # HDF5 verifies it afterwards
        elif code == h5z.FILTER_DEFLATE:
            packed = zlib.decompressobj()
            data = packed.decompress(data, size + 4)
        elif code == h5z.FILTER_SHUFFLE and itemsize > 1 and len(data) == size:
            data = np.frombuffer(data, np.uint8).reshape(itemsize, -1).T.tobytes()
    if len(data) != size:
        raise FormatError(f"{where}: a compressed block holds {len(data)} bytes for {size}; copy the file again")
    return data


# -------------------------------------------------------------------- writing


def write_rows(
    group: h5py.Group,
    name: str,
    array: np.ndarray,
    rows: np.ndarray | None = None,
    *,
    compression: str | None = None,
) -> None:
    """Write an array, or chosen rows of it, block by block, so that a memory map is never whole in memory.

    Raises
    ------
    DatasetError
        If the array holds what HDF5 has no numbers for.
    """
    if array.dtype.kind not in "biufcS":
        raise DatasetError(f"column {name} holds {array.dtype}, which is not written to HDF5")
    count = len(array) if rows is None else len(rows)
    shape = (count, *array.shape[1:])
    if compression is None and count * array[:1].nbytes <= _BLOCK_BYTES:
        group.create_dataset(name, data=array if rows is None else array[rows])
        return
    packed = {} if compression is None or 0 in shape else {"compression": compression}
    dataset = group.create_dataset(name, shape, array.dtype, **packed)
    row_bytes = max(1, array.dtype.itemsize * int(np.prod(array.shape[1:], dtype=np.int64)))
    block = max(1, _BLOCK_BYTES // row_bytes)
    if dataset.chunks:
        block = -(-block // dataset.chunks[0]) * dataset.chunks[0]
    if 0 in shape:
        return
    for start in range(0, count, block):
        place = slice(start, min(start + block, count))
        dataset[place] = array[place] if rows is None else array[rows[place]]
