"""Finds where the values of many HDF5 datasets lie; hand-written for the speed that `benchmarks/loading.py` measures.

HDF5 takes some 50 microseconds to open a dataset, and a thousand episodes have five thousand of them. What it looks up
stands in the file (format specification 3.0; the older structures, which h5py and Minari write by default):

::

    header of a dataset      [1][0][messages u16][references u32][size u32][0 x 4], then messages in `size` bytes
        a message            [type u16][length u16][flags][0 x 3][content]                                IV.A.1.a
        1, dataspace         [1][rank][1: limits follow][0 x 5][lengths u64 x rank][limits u64 x rank]    IV.A.2.b
        8, layout, either    [3][1: in one piece][address u64][bytes u64]                                 IV.A.2.i
                  or         [3][2: in chunks][rank + 1][root u64][chunk u32 x rank][bytes of a value u32]
        18, time             [1][0 x 3][seconds u32]                                                      IV.A.2.s

    node of a chunk tree     TREE [1][level][entries used u16][siblings u64 x 2], the entries, one more key    III.A.1
        entry                [key][address u64]: of a chunk on level 0, else of a node one level below
        key                  [bytes u32][filters left out u32][row u64][column u64]...[0 u64]: the corner of the chunk

        level 1              |k0               |k57            |k64     a node's first and last key
        level 0              |k0 k1 k2 ... k56 |k57 k58 ... k63|k64     are those around its entry above

HDF5 itself reads one dataset, the model. Another dataset is read here only if its header equals the model's byte for byte,
except in the fields for lengths, chunks, addresses and times. Each address is compared with the length of the file before
it is followed, in integers that cannot overflow (`_numbers`). No step takes more memory than the file has bytes.
A dataset that looks otherwise, damaged or only unusual, is read by HDF5.
"""

from __future__ import annotations

import itertools
import math
import struct
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from h5py import h5d, h5t

__all__ = ["Chunks", "find_chunks"]

_SUPERBLOCK = b"\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x08\0"  # version 0, addresses of 8 bytes; II.A
_BASE, _END = 24, 40  # where the superblock says from where addresses count, and how long the file is
_MOST_ENTRIES = 64  # of a node, in files with a superblock of version 0
_DATASPACE, _LAYOUT, _TIME = 1, 8, 18
_MESSAGES = {0, _DATASPACE, 3, 4, 5, _LAYOUT, _TIME}  # and nothing, type, fill values; no filters, no other files
_LARGEST_HEADER = 1 << 12
_HEADER = np.dtype([("version", "u1"), ("reserved", "u1"), ("messages", "<u2"), ("references", "<u4"), ("size", "<u4")])
_NODE = np.dtype([("signature", "S4"), ("kind", "u1"), ("level", "u1"), ("used", "<u2"), ("siblings", "<u8", 2)])
_UNDEFINED = 2**64 - 1
_TOO_LARGE = 2**62  # for any file; two of them still add up to an int64
_Copy: TypeAlias = tuple[tuple[slice, ...], tuple[slice, ...], np.dtype]


class _Unusual(Exception):
    """A dataset is stored in a way that only HDF5 reads."""


def _require(condition: Any) -> None:
    if not np.all(condition):
        raise _Unusual


@dataclass
class Chunks:
    """Where the values of datasets of one type lie; `find_chunks` makes it."""

    content: np.ndarray
    dtype: np.dtype
    rows: np.ndarray
    """(datasets,) int64: the length of each; -1 for one that is left to HDF5."""
    shapes: np.ndarray
    """(datasets, rank) int64: of the chunks of each."""
    starts: np.ndarray
    """(datasets + 1,) int64: the first chunk of each."""
    addresses: np.ndarray
    """(chunks,) int64, of each dataset in C order."""
    _plan: tuple[Any, list[_Copy]] = (None, [])

    def read(self, number: int, array: np.ndarray) -> None:
        """Copy the values of one dataset into an array of its dtype and shape."""
        shape = tuple(self.shapes[number].tolist())
        size = math.prod(shape) * self.dtype.itemsize
        if self._plan[0] != (array.shape, shape):  # often the same as before
            self._plan = (array.shape, shape), _plan_copies(array, shape)
        addresses = self.addresses[self.starts[number] : self.starts[number + 1]].tolist()
        for address, (target, inside, run) in zip(addresses, self._plan[1], strict=True):
            chunk = self.content[address : address + size].view(self.dtype).reshape(shape)
            array[target].view(run)[...] = chunk[inside].view(run)


def _plan_copies(array: np.ndarray, chunk: tuple[int, ...]) -> list[_Copy]:
    """Return for each chunk its place in an array, what of it lies inside, and a dtype for a run along the last axis."""
    plan = []
    for corner in itertools.product(*(range(0, length, step) for length, step in zip(array.shape, chunk, strict=True))):
        extent = [min(step, stop - start) for start, step, stop in zip(corner, chunk, array.shape, strict=True)]
        target = tuple(slice(start, start + length) for start, length in zip(corner, extent, strict=True))
        plan.append((target, tuple(map(slice, extent)), np.dtype((np.void, extent[-1] * array.itemsize))))
    return plan


def find_chunks(content: np.ndarray, model: h5d.DatasetID, dtype: np.dtype, headers: np.ndarray) -> Chunks | None:
    """Find the values of datasets that differ from a model only in their lengths and places.

    The caller has to read the model with HDF5: that HDF5 can read it is what makes the others readable.

    Parameters
    ----------
    content : (size,) uint8
        The file.
    model : DatasetID
    dtype : dtype
        To read the values as; they are found only if they are stored exactly so.
    headers : (datasets,) uint64
        The addresses of the datasets, which need not be trusted; the first is the model.

    Returns
    -------
    Chunks or None
        None if the model is stored in a way that is not read here, such as compressed, or the file is damaged.

    Examples
    --------
    >>> import h5py, tempfile
    >>> from h5py import h5o
    >>> with tempfile.NamedTemporaryFile() as file, h5py.File(file.name, "w") as handle:
    ...     made = [handle.create_dataset(f"of {rows}", data=np.arange(rows)).id for rows in (2, 3)]
    ...     handle.flush()
    ...     headers = np.array([h5o.get_info(dataset).addr for dataset in made], np.uint64)
    ...     chunks = find_chunks(np.fromfile(file.name, np.uint8), made[0], made[0].dtype, headers)
    >>> values = np.empty(3, np.int64)
    >>> chunks.read(1, values)
    >>> chunks.rows.tolist(), values.tolist()
    ([-1, 3], [0, 1, 2])
    """
    try:
        return _find(_FileContent(content), model, dtype, headers)
    except _Unusual:
        return None


class _FileContent:
    """The bytes of a file, at many places at once."""

    def __init__(self, content: np.ndarray) -> None:
        self.content = content
        superblock = content[: _END + 8].tobytes()
        _require(superblock.startswith(_SUPERBLOCK) and len(superblock) == _END + 8)
        base, end = (int.from_bytes(superblock[place : place + 8], "little") for place in (_BASE, _END))
        _require(base == 0)
        self.end = min(len(content), end)

    def at(self, places: np.ndarray, dtype: np.dtype, count: int = 1) -> np.ndarray:
        """Return the (places, count) values at the given places; together they must not be longer than the file."""
        length = dtype.itemsize * count
        _require(len(places) * length <= self.end)
        _require((places >= 0) & (places <= self.end - length))
        found: np.ndarray = np.lib.stride_tricks.sliding_window_view(self.content, length)[places]
        return found.view(dtype)


def _numbers(unsigned: np.ndarray) -> np.ndarray:
    """Return uint64 as int64; a value too large for any file becomes `_TOO_LARGE`, which every check refuses."""
    numbers: np.ndarray = np.minimum(unsigned, np.uint64(_TOO_LARGE)).astype(np.int64)
    return numbers


def _find(file: _FileContent, model: h5d.DatasetID, dtype: np.dtype, headers: np.ndarray) -> Chunks:
    _require(model.shape and model.get_type().equal(h5t.py_create(dtype)))
    row_bytes = math.prod(model.shape[1:]) * dtype.itemsize
    _require(0 < row_bytes <= file.end)
    places = _numbers(headers)
    fields = _fields(file, places[:1], model, dtype)
    found = file.at(places, fields)[:, 0]
    all_rows = _numbers(found["rows"])
    constant = _constant(found)
    known = (constant == constant[0]).all(1) & (all_rows > 0) & (all_rows <= file.end // row_bytes)
    known[0] = False
    if "limit" in (fields.names or ()):
        known &= found["limit"] == found["rows"]
    _require(known.any())

    found, rows = found[known], all_rows[known]
    shapes = np.column_stack([rows, *(np.full_like(rows, length) for length in model.shape[1:])])
    if "chunk" in (fields.names or ()):
        chunks = found["chunk"].astype(np.int64)
        _require((chunks > 0) & (chunks[:, 1:] <= shapes[:, 1:]).all(1, keepdims=True))
        chunk_row_bytes = chunks[:, 1:].prod(1) * dtype.itemsize
        _require(chunks[:, 0] <= file.end // chunk_row_bytes)
        sizes, counts = chunks[:, 0] * chunk_row_bytes, (-(-shapes // chunks)).prod(1)
        addresses = _in_trees(file, _numbers(found["address"]), shapes, chunks, sizes, dtype.itemsize)
    else:
        chunks, sizes, counts = shapes, rows * row_bytes, np.ones_like(rows)
        _require(_numbers(found["size"]) == sizes)
        addresses = _numbers(found["address"])
    _require(addresses <= file.end - sizes.repeat(counts))

    all_chunks, starts = np.zeros((len(known), chunks.shape[1]), np.int64), np.zeros(len(known) + 1, np.int64)
    all_chunks[known], starts[1:][known] = chunks, counts
    return Chunks(file.content, dtype, np.where(known, all_rows, -1), all_chunks, starts.cumsum(), addresses)


# -------------------------------------------------------------------- headers


def _fields(file: _FileContent, place: np.ndarray, model: h5d.DatasetID, dtype: np.dtype) -> np.dtype:
    """Return the places of the fields in which a header may differ from the model's."""
    header = file.at(place, _HEADER)[0, 0]
    length = 16 + int(header["size"])
    _require(header["version"] == 1 and length <= _LARGEST_HEADER)
    block = file.at(place, np.dtype(np.uint8), length).tobytes()
    fields: dict[str, tuple[Any, int]] = {}
    met: set[int] = set()
    shape, stop = model.shape, 16
    for _ in range(int(header["messages"])):
        _require(stop + 8 <= length)
        kind, size, flags = struct.unpack_from("<HHB", block, stop)
        start, stop = stop + 8, stop + 8 + size
        _require(kind in _MESSAGES - met and flags <= 1 and stop <= length)  # flag 1: it does not change
        met.add(kind or -1)  # only of nothing there may be several
        content = block[start:stop]
        if kind == _DATASPACE:
            limits = content[2:3] == b"\1"
            _require(content[:3] == bytes([1, len(shape), limits]) and size >= 8 + 8 * len(shape) * (1 + limits))
            _require(struct.unpack_from(f"<{len(shape)}Q", content, 8) == shape)
            fields["rows"] = "<u8", start + 8
            if limits and struct.unpack_from("<Q", content, 8 + 8 * len(shape)) != (_UNDEFINED,):
                fields["limit"] = "<u8", start + 8 + 8 * len(shape)
        elif kind == _LAYOUT and content[:2] == b"\3\1":
            _require(size >= 18)
            fields |= {"address": ("<u8", start + 2), "size": ("<u8", start + 10)}
        elif kind == _LAYOUT:
            _require(content[:3] == bytes([3, 2, len(shape) + 1]) and size >= 15 + 4 * len(shape))
            chunk = *model.get_create_plist().get_chunk(), dtype.itemsize
            _require(struct.unpack_from(f"<{len(chunk)}I", content, 11) == chunk)
            fields |= {"address": ("<u8", start + 3), "chunk": (("<u4", (len(shape),)), start + 11)}
        elif kind == _TIME:
            _require(size >= 8)
            fields["time"] = "<u4", start + 4
    _require({"rows", "address"} <= fields.keys())
    formats, offsets = zip(*fields.values(), strict=True)
    return np.dtype({"names": list(fields), "formats": formats, "offsets": offsets, "itemsize": length})


def _constant(headers: np.ndarray) -> np.ndarray:
    """Return the bytes of headers, with zeros for the fields."""
    blocks = headers.view(np.uint8).reshape(len(headers), -1).copy()
    for name in headers.dtype.names or ():
        blocks.view(headers.dtype)[name] = 0
    return blocks


# -------------------------------------------------------------------- trees of chunks


def _in_trees(
    file: _FileContent, roots: np.ndarray, shapes: np.ndarray, chunks: np.ndarray, sizes: np.ndarray, value_bytes: int
) -> np.ndarray:
    """Return the addresses of all chunks, after making sure that the trees name each one once and in C order."""
    owner, keys, ends = _entries(file, roots, shapes.shape[1])
    grid = -(-shapes // chunks)
    counts = grid.prod(1)
    _require(np.bincount(owner, minlength=len(roots)) == counts)
    _require((keys["bytes"] == sizes[owner]) & (keys["filters"] == 0))
    remaining = np.arange(len(owner)) - (counts.cumsum() - counts)[owner]
    corners = np.zeros(ends.shape, np.int64)  # in chunks
    for axis in reversed(range(shapes.shape[1])):
        remaining, corners[:, axis] = np.divmod(remaining, grid[owner, axis])
    steps = np.column_stack([chunks, np.full(len(chunks), value_bytes)])[owner]
    _require(_numbers(keys["corner"]) == corners * steps)
    ends, rest = np.divmod(ends, steps)  # HDF5 looks for a chunk from its key on, up to the one that follows
    _require(rest == 0)
    beyond = ends - corners
    _require(beyond[np.arange(len(beyond)), (beyond != 0).argmax(1)] > 0)
    return _numbers(keys["address"])


def _entries(file: _FileContent, roots: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each entry on level 0, in order, the number of its root, the entry, and the key that follows it."""
    entry = np.dtype([("bytes", "<u4"), ("filters", "<u4"), ("corner", "<u8", (rank + 1,)), ("address", "<u8")])
    node_bytes = _NODE.itemsize + (_MOST_ENTRIES + 1) * entry.itemsize - 8  # after the last key is no address
    levels = file.at(roots, _NODE)[:, 0]["level"]
    owners, keys, ends = [], [], []
    for height in np.unique(levels).tolist():
        owner = np.flatnonzero(levels == height)
        nodes, around = roots[owner], list[np.ndarray]()
        _require(file.at(nodes, _NODE)["siblings"] == _UNDEFINED)
        for level in range(height, -1, -1):
            _require(nodes <= file.end - node_bytes)
            heads = file.at(nodes, _NODE)[:, 0]
            used = heads["used"].astype(np.int64)
            _require((heads["signature"] == b"TREE") & (heads["kind"] == 1) & (heads["level"] == level))
            _require((used > 0) & (used <= _MOST_ENTRIES))
            table = file.at(nodes + _NODE.itemsize, entry, int(used.max()) + 1)
            corners = _numbers(table["corner"])
            for outer, own in zip(around, (corners[:, 0], corners[np.arange(len(corners)), used]), strict=False):
                _require(own == outer)
            inside = np.arange(table.shape[1] - 1) < used[:, None]
            entries, around = table[:, :-1][inside], [corners[:, :-1][inside], corners[:, 1:][inside]]
            owner, nodes = owner.repeat(used), _numbers(entries["address"])
        owners.append(owner)
        keys.append(entries)
        ends.append(around[1])
    owner = np.concatenate(owners)
    order = owner.argsort(kind="stable")
    return owner[order], np.concatenate(keys)[order], np.concatenate(ends)[order]
