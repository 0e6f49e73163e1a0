"""The guards for HDF5 files from strangers, partly hand-written because HDF5 hangs on a hostile heap of names (`check_heaps`).

HDF5 believes its files. A link may lead into another file or back to its own group; a dataset may declare terabytes
that were never written; a group may contain itself. What a file declares is checked here before memory or time is spent
on it; texts have guards of their own (`hdf5_text`). Damage of any kind is a `FormatError`.

In all functions `where` is the place for messages, `file: episode 3: column rewards`: a text, or any object whose
`str()` is one, which is then made only when something is wrong.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
from h5py import h5d, h5g, h5l, h5o, h5s, h5t

from assay.datasets.errors import AssayError, FormatError

__all__ = [
    "DENSEST",
    "NUMERIC_KINDS",
    "Where",
    "base_address",
    "check_booleans",
    "check_declared_size",
    "check_hard_link",
    "check_heaps",
    "check_names",
    "check_stored",
    "damage_is_a_format_error",
    "is_filtered",
    "is_in_chunks",
    "numeric_dtype",
    "read_array",
    "walk",
]

NUMERIC_KINDS = "biufcS"  # S: byte strings of fixed length
DENSEST = 1200  # deflate cannot shrink data further than 1032 times
Where: TypeAlias = object
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_HEAP = b"HEAP\0\0\0\0"  # HDF5 format specification 3.0, III.D: signature, version 0, reserved
_SYMBOL_TABLE = 0x11  # type of the header message with the addresses of a group's tree and heap, IV.A.2.r
_DEEPEST = 16  # groups within groups; deeper ones come from no space and from no library


@contextmanager
def damage_is_a_format_error(where: Where) -> Iterator[None]:
    """Turn whatever h5py raises on a damaged file into a FormatError that names the place; AssayErrors pass.

    HDF5 reports damage by OSError, RuntimeError, KeyError, ValueError and others.
    """
    try:
        yield
    except AssayError:
        raise
    except MemoryError as error:
        raise FormatError(f"{where}: does not fit into memory") from error
    except Exception as error:
        text = " ".join(str(error).split())
        raise FormatError(f"{where}: the file is damaged or truncated ({text}); copy it again") from error


# -------------------------------------------------------------------- heaps of names


def check_heaps(path: Path) -> None:
    """Refuse a file whose heaps of names would send HDF5 into an endless loop that takes all memory.

    ::

        header at "HEAP"   [signature 4][version and reserved 4][size u64][first free u64][address u64]
        free block         [offset of the next one u64, 1 at the end][size u64]

    HDF5 follows the chain of free blocks without noticing that it has been somewhere before. The blocks of an intact
    file do not overlap, so all chains together are no longer than the file.

    Raises
    ------
    FormatError
        With the place of the heap.
    """
    status = path.stat()
    _check_heaps(path, status.st_ino, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)  # telling formats apart opens a file many times
def _check_heaps(path: Path, inode: int, size: int, changed: int) -> None:
    if not size:
        return
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content:
        base, left = base_address(content), len(content) // 16
        heap = content.find(_HEAP)
        while heap >= 0:
            left = _follow_free_blocks(content, base, heap, left, path)
            heap = content.find(_HEAP, heap + 8)


def base_address(content: mmap.mmap) -> int:
    """Return where the superblock is, behind a user block; all addresses count from there."""
    base = 0
    while content[base : base + 8] != _SIGNATURE and base < len(content):
        base = max(512, 2 * base)
    return base


def _follow_free_blocks(content: mmap.mmap, base: int, heap: int, left: int, where: Where) -> int:
    if heap + 32 > len(content):
        return left
    length, free, address = struct.unpack_from("<QQQ", content, heap + 8)
    address += base
    while free < length and address + free + 8 <= len(content) and free != 1:
        left -= 1
        if left < 0:
            raise FormatError(f"{where}: the heap at byte {heap} is damaged; copy the file again")
        free = int.from_bytes(content[address + free : address + free + 8], "little")
    return left


def check_names(address: int, content: mmap.mmap, base: int, path: Path) -> None:
    """Refuse a group whose heap of names loops; before HDF5 looks a name up in it.

    What `check_heaps` does for a whole file, for one group: its object header says where its heap is, so that a large
    file need not be searched. Newer groups have none.

    Parameters
    ----------
    address : int
        Of the group, as HDF5 has it.
    content : mmap
        Of the file.
    base : int
        From `base_address`.
    path : Path
        Of the file, for messages.
    """
    place = base + address
    header = content[place : place + 16]
    if header[:1] != b"\1":
        return
    count, size = int.from_bytes(header[2:4], "little"), int.from_bytes(header[8:12], "little")
    message, stop = place + 16, min(place + 16 + size, len(content))
    for _ in range(count):
        if message + 24 > stop:
            break
        kind, length = struct.unpack_from("<HH", content, message)
        if kind == _SYMBOL_TABLE:
            heap = base + struct.unpack_from("<Q", content, message + 16)[0]
            _follow_free_blocks(content, base, heap, len(content) // 16, path)
            return
        message += 8 + length
    check_heaps(path)  # the header goes on elsewhere


# -------------------------------------------------------------------- groups and links


def check_hard_link(group: h5g.GroupID, name: bytes, where: Where) -> int:
    """Refuse a soft or external link, which could loop or lead into another file; return the address of the object.

    `name` may be a path; only its last part is checked.
    """
    link = group.links.get_info(name)
    if link.type != h5l.TYPE_HARD:
        raise FormatError(f"{where}: {name.decode(errors='replace')!r} is a link to somewhere else")
    return int(link.u)


def walk(
    group: h5g.GroupID,
    where: Callable[[str], Where],
    *,
    enter: Callable[[h5g.GroupID], object] = lambda group: None,
    skip: Collection[str] = (),
) -> Iterator[tuple[str, h5g.GroupID | h5d.DatasetID]]:
    """Yield (path, object) of everything below a group, each group before what is in it, in the order of the names.

    A group may contain itself, and sixteen groups that each name the next one a hundred times would never end.

    Parameters
    ----------
    group : GroupID
        Yielded itself, first, under the path "".
    where : callable
        Told the path of a group, returns its place for messages.
    enter : callable
        Told a group before its names are listed, refuses it by raising.
    skip : collection of str
        Paths that are left out, with all below them.

    Raises
    ------
    FormatError
        On links other than hard ones, on groups with two names, and on groups nested more than 16 deep.
    """
    yield from _walk(group, "", 0, set(), where, enter, skip)


def _walk(
    group: h5g.GroupID,
    path: str,
    depth: int,
    met: set[int],
    where: Callable[[str], Where],
    enter: Callable[[h5g.GroupID], object],
    skip: Collection[str],
) -> Iterator[tuple[str, h5g.GroupID | h5d.DatasetID]]:
    place = where(path)
    if depth > _DEEPEST:
        raise FormatError(f"{place}: groups are nested more than {_DEEPEST} deep")
    address = h5o.get_info(group).addr
    if address in met:
        raise FormatError(f"{place}: the group has two names; such files are not read")
    met.add(address)
    enter(group)
    yield path, group
    for name in sorted(group):
        try:
            below = f"{path}/{name.decode()}" if path else name.decode()
        except UnicodeDecodeError as error:
            raise FormatError(f"{place}: the name {name!r} is not text; the file is damaged") from error
        if below in skip:
            continue
        check_hard_link(group, name, place)
        member = h5o.open(group, name)
        if isinstance(member, h5g.GroupID):
            yield from _walk(member, below, depth + 1, met, where, enter, skip)
        elif isinstance(member, h5d.DatasetID):  # what remains are named types, which hold no data
            yield below, member


# -------------------------------------------------------------------- arrays


def numeric_dtype(dataset: h5d.DatasetID, where: Where, *, hint: str = "") -> np.dtype:
    """Return the dtype to read a dataset of numbers, booleans or fixed byte strings with.

    Raises
    ------
    FormatError
        If it holds anything else: text, compounds, references; `hint` ends the message.
    """
    dtype: np.dtype = dataset.dtype
    if dtype.kind not in NUMERIC_KINDS:
        kind = "text or values of varying length" if dtype.hasobject else f"values of type {dtype}"
        raise FormatError(f"{where} holds {kind}, which is not read{hint}")
    return np.dtype(dtype.str)  # without what h5py attached to it


def is_filtered(dataset: h5d.DatasetID) -> bool:
    """Tell whether a dataset is compressed, or goes through any other filter."""
    return bool(dataset.get_create_plist().get_nfilters())


def check_declared_size(declared: int, file_size: int, where: Where, *, filtered: bool) -> None:
    """Refuse arrays of `declared` bytes that a file of this size cannot hold, before memory is set aside for them."""
    if declared > file_size * (DENSEST if filtered else 1):
        raise FormatError(
            f"{where}: {declared} bytes were declared, but the file has only {file_size} bytes; "
            "it is truncated or damaged"
        )


def check_stored(dataset: h5d.DatasetID, size: int, where: Where) -> int | None:
    """Refuse `size` bytes that were declared but never written (HDF5 would make zeros of them) or lie elsewhere.

    Returns
    -------
    int or None
        The number of chunks that the dataset is stored in; None where it is in one piece.
    """
    properties = dataset.get_create_plist()
    layout = properties.get_layout()
    if layout == h5d.VIRTUAL or properties.get_external_count():
        raise FormatError(f"{where} is stored in another file")
    if layout == h5d.CHUNKED:
        counts = [-(-rows // length) for rows, length in zip(dataset.shape, properties.get_chunk(), strict=True)]
        chunks = int(np.prod(counts, dtype=object))
        if dataset.get_num_chunks() == chunks:
            return chunks
    elif dataset.get_storage_size() >= size:
        return None
    raise FormatError(f"{where} was not written completely; the file is truncated or damaged")


def is_in_chunks(dataset: h5d.DatasetID, chunks: int) -> bool:
    """Tell whether a dataset is stored in so many chunks; much quicker than `check_stored`."""
    try:
        return bool(dataset.get_num_chunks() == chunks)
    except (ValueError, RuntimeError):  # in one piece, or elsewhere
        return False


def read_array(dataset: h5d.DatasetID, file_size: int, where: Where, *, hint: str = "") -> np.ndarray:
    """Read a whole dataset of numbers, after all the checks above.

    Parameters
    ----------
    dataset : DatasetID
    file_size : int
        Bytes of the file, as the file system has it.
    where
        The place, for messages.
    hint : str
        Ends the message about values that are not numbers.

    Returns
    -------
    array
        Of the stored shape and dtype, in the machine's byte order.
    """
    dtype, shape = numeric_dtype(dataset, where, hint=hint), dataset.shape
    if shape is None:
        raise FormatError(f"{where} is empty; an array belongs there")
    size = dtype.itemsize * int(np.prod(shape, dtype=object))
    check_declared_size(size, file_size, where, filtered=is_filtered(dataset))
    array = np.empty(shape, dtype.newbyteorder("="))
    if size:
        check_stored(dataset, size, where)
        dataset.read(h5s.ALL, h5s.ALL, array, h5t.py_create(array.dtype))
    check_booleans(array, where)
    return array


def check_booleans(array: np.ndarray, where: Where) -> None:
    """Refuse booleans that are neither 0 nor 1: NumPy would count each of them as another truth."""
    if array.dtype.kind == "b" and array.size and array.view(np.uint8).max() > 1:
        raise FormatError(f"{where} is damaged: it holds booleans other than 0 and 1")
