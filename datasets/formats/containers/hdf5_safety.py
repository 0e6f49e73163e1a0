"""Guards for HDF5 files from strangers: what a file declares is checked before memory or time is spent on it.

HDF5 believes its files. A link may lead into another file or back to its own group; a dataset may declare terabytes
that were never written; a text is a length and an address, and the library sets aside whatever the length says.

::

    text as stored     [length u32][address of a heap u64][number u32]     16 bytes, in an attribute or a dataset
    heap at address    GCOL, version 1, size u64, then objects: [number u16][.. 6][size u64][bytes, padded to 8]

So texts and byte strings of varying length are taken from the file here, and HDF5 is not asked for them (format
specification 3.0, III.E for heaps, IV.A.1 for the headers of objects, IV.A.2.m for attributes). Damage of any kind is
a `FormatError`.

In all functions `where` is the place for messages, `file: episode 3: column rewards`: a text, or any object whose
`str()` is one, which is then made only when something is wrong.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np
from h5py import h5a, h5d, h5g, h5i, h5l, h5o, h5s, h5t, h5z

from assay.datasets.errors import AssayError, FormatError

__all__ = [
    "NUMERIC_KINDS",
    "VariableLengthReader",
    "base_address",
    "check_declared_size",
    "check_hard_link",
    "check_heaps",
    "check_met_once",
    "check_names",
    "check_stored",
    "damage_is_a_format_error",
    "datasets_below",
    "decode",
    "is_filtered",
    "is_in_chunks",
    "is_text",
    "numeric_dtype",
    "open_member",
    "read_array",
    "read_attributes",
]

NUMERIC_KINDS = "biufcS"  # S: byte strings of fixed length
Where: TypeAlias = object
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_HEAP = b"HEAP\0\0\0\0"  # HDF5 format specification 3.0, III.D: signature, version 0, reserved
_SYMBOL_TABLE = 0x11  # type of the header message with the addresses of a group's tree and heap, IV.A.2.r
_DEEPEST = 16  # groups within groups; deeper ones come from no space and from no library
_DENSEST = 1200  # deflate cannot shrink data further than 1032 times
_LARGEST_ATTRIBUTE = 1 << 24  # bytes
_LARGEST_BLOCK = 1 << 26
_REFERENCE = np.dtype([("length", "<u4"), ("address", "<u8"), ("number", "<u4")])  # packed: 16 bytes


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


def open_member(group: h5g.GroupID, name: bytes, where: Where) -> h5g.GroupID | h5d.DatasetID:
    """Open a group or dataset behind a hard link.

    Raises
    ------
    FormatError
        If it is missing, a link, or neither a group nor a dataset.
    """
    if name not in group:
        raise FormatError(f"{where}: {name.decode(errors='replace')!r} is missing")
    check_hard_link(group, name, where)
    member = h5o.open(group, name)
    if not isinstance(member, h5g.GroupID | h5d.DatasetID):
        raise FormatError(f"{where}: {name.decode(errors='replace')!r} is neither a group nor a dataset")
    return member


def check_met_once(group: h5g.GroupID, met: set[int], where: Where) -> None:
    """Refuse a group that is among those already met, and add it to them.

    A group may contain itself, and sixteen groups that each name the next one a hundred times would never end.
    """
    address = h5o.get_info(group).addr
    if address in met:
        raise FormatError(f"{where} is a group that has another name too")
    met.add(address)


def datasets_below(
    group: h5g.GroupID, where: Where, *, prefix: str = "", met: set[int] | None = None
) -> Iterator[tuple[str, h5d.DatasetID]]:
    """Yield (path from `group`, dataset) of every dataset below a group, in the order of the names.

    Raises
    ------
    FormatError
        On links other than hard ones, on groups with two names, and on groups nested more than 16 deep.
    """
    if prefix.count("/") > _DEEPEST:
        raise FormatError(f"{where}: groups are nested more than {_DEEPEST} deep")
    met = set() if met is None else met
    check_met_once(group, met, f"{where}: {prefix}".rstrip(": /"))
    for name in sorted(group):
        member = open_member(group, name, f"{where}: {prefix}".rstrip(": /"))
        path = prefix + name.decode()
        if isinstance(member, h5d.DatasetID):
            yield path, member
        else:
            yield from datasets_below(member, where, prefix=f"{path}/", met=met)


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
    if declared > file_size * (_DENSEST if filtered else 1):
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
    if dtype.kind == "b" and array.size and array.view(np.uint8).max() > 1:
        raise FormatError(f"{where} is damaged: it holds booleans other than 0 and 1")
    return array


# -------------------------------------------------------------------- text and other values of varying length


def decode(values: list[bytes], where: Where) -> list[str]:
    """Return texts as UTF-8 has them, each to its first zero byte."""
    try:
        return [value.split(b"\0", 1)[0].decode() for value in values]
    except UnicodeDecodeError as error:
        raise FormatError(f"{where} holds text that is not UTF-8; it is damaged") from error


def is_text(kind: h5t.TypeID) -> bool:
    """Tell whether a type is text of varying length."""
    return isinstance(kind, h5t.TypeStringID) and bool(kind.is_variable_str())


class VariableLengthReader:
    """Takes values of varying length out of a file, without HDF5's trust in the lengths that it declares.

    A view of the file, to be closed: use it in `with`.

    Parameters
    ----------
    file : Path
        The file that is open in HDF5, unchanged since.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._heaps: dict[int, dict[int, tuple[int, int]]] = {}
        with file.open("rb") as handle:
            self._content = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        self._base = base_address(self._content)

    def check_names(self, group: h5g.GroupID, address: int | None = None) -> None:
        """Refuse a group whose heap of names loops; to look its address up takes as long as the rest."""
        check_names(h5o.get_info(group).addr if address is None else address, self._content, self._base, self.file)

    def __enter__(self) -> VariableLengthReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._content.close()

    def dataset(self, dataset: h5d.DatasetID, where: Where) -> list[bytes]:
        """Return the values of a flat dataset of texts or byte sequences.

        Raises
        ------
        FormatError
            If values are missing, or are no texts and no bytes.
        """
        kind = dataset.get_type()
        if not is_text(kind) and not (isinstance(kind, h5t.TypeVlenID) and kind.get_super().get_size() == 1):
            raise FormatError(f"{where} holds values of type {dataset.dtype}, which are not read")
        if dataset.shape is None or len(dataset.shape) != 1:
            raise FormatError(f"{where} has the shape {dataset.shape}; one value per row belongs there")
        self._check_addresses(h5i.get_file_id(dataset), where)
        rows = dataset.shape[0]
        check_declared_size(rows * _REFERENCE.itemsize, len(self._content), where, filtered=is_filtered(dataset))
        if not rows:
            return []
        check_stored(dataset, rows * _REFERENCE.itemsize, where)
        return self.values(self._references(dataset, rows, where), where)

    def values(self, references: np.ndarray, where: Where) -> list[bytes]:
        """Return the bytes that references lead to."""
        if references["length"].sum(dtype=np.uint64) > len(self._content):  # else one long value, named often enough
            raise FormatError(f"{where}: its values are longer than the file; it is damaged")
        return [self._value(length, address, number, where) for length, address, number in references.tolist()]

    def attribute(self, holder: Any, name: bytes, where: Where) -> list[bytes]:
        """Return the texts in an attribute of a group or dataset.

        Raises
        ------
        FormatError
            If the attribute is kept outside the header of its group, as no known writer does.
        """
        self._check_addresses(h5i.get_file_id(holder), where)
        try:
            stored = dict(self._attributes(h5o.get_info(holder).addr))
        except (IndexError, ValueError) as error:
            raise FormatError(f"{where}: the header is damaged; copy the file again") from error
        data = stored.get(name)
        if data is None:
            text = name.decode(errors="replace")
            raise FormatError(f"{where}: the text of attribute {text} is stored apart, which is not read")
        count = int(np.prod(h5a.open(holder, name).shape, dtype=object))
        if len(data) < count * _REFERENCE.itemsize:
            raise FormatError(f"{where}: attribute {name.decode(errors='replace')} is damaged")
        return self.values(np.frombuffer(data, _REFERENCE, count), where)

    def _check_addresses(self, file: Any, where: Where) -> None:
        properties = file.get_create_plist()
        if properties.get_userblock() or properties.get_sizes() != (8, 8):
            raise FormatError(f"{where}: text is read only from files without a user block, of 8-byte addresses")

    def _references(self, dataset: h5d.DatasetID, rows: int, where: Where) -> np.ndarray:
        properties = dataset.get_create_plist()
        if properties.get_layout() == h5d.CONTIGUOUS:
            return self._bytes_as_references(dataset.get_offset(), rows * _REFERENCE.itemsize, where)[:rows]
        if properties.get_layout() != h5d.CHUNKED:
            raise FormatError(f"{where}: text inside the header is not read")
        references = np.zeros(rows, _REFERENCE)
        chunk = properties.get_chunk()[0]
        filters = [properties.get_filter(index)[0] for index in range(properties.get_nfilters())]
        found: list[Any] = []
        dataset.chunk_iter(found.append)
        for info in found:
            part = references[info.chunk_offset[0] : info.chunk_offset[0] + chunk]
            if filters:
                applied = [code for index, code in enumerate(filters) if not info.filter_mask >> index & 1]
                data = self._content[info.byte_offset : info.byte_offset + info.size]
                part[:] = np.frombuffer(_unfilter(data, applied, chunk, where), _REFERENCE)[: len(part)]
            else:
                part[:] = self._bytes_as_references(info.byte_offset, info.size, where)[: len(part)]
        return references

    def _bytes_as_references(self, start: int | None, size: int, where: Where) -> np.ndarray:
        if start is None or start + size > len(self._content):
            raise FormatError(f"{where}: the references to its text lie outside the file; it is truncated")
        return np.frombuffer(self._content[start : start + size], _REFERENCE)

    def _value(self, length: int, address: int, number: int, where: Where) -> bytes:
        if not length:
            return b""
        if address not in self._heaps:
            self._heaps[address] = self._read_heap(address)
        start, size = self._heaps[address].get(number, (0, -1))
        if length > size:
            raise FormatError(f"{where}: the heap at byte {address} is damaged; copy the file again")
        return self._content[start : start + length]

    def _read_heap(self, address: int) -> dict[int, tuple[int, int]]:
        content, objects = self._content, {}
        if content[address : address + 8] != b"GCOL\x01\0\0\0":
            return {}
        end = min(address + int.from_bytes(content[address + 8 : address + 16], "little"), len(content))
        place = address + 16
        while place + 16 <= end:
            number = int.from_bytes(content[place : place + 2], "little")
            size = int.from_bytes(content[place + 8 : place + 16], "little")
            if not number or place + 16 + size > end:  # what is left over, or damage
                break
            objects[number] = (place + 16, size)
            place += 16 + -(-size // 8) * 8
        return objects

    # ------------------------------------------------ headers of objects

    def _attributes(self, address: int) -> Iterator[tuple[bytes, bytes]]:
        for message in self._messages(address):
            version, name_size = message[0], int.from_bytes(message[2:4], "little")
            sizes = [name_size, int.from_bytes(message[4:6], "little"), int.from_bytes(message[6:8], "little")]
            place = 9 if version == 3 else 8
            name = message[place : place + name_size].split(b"\0")[0]
            for size in sizes:
                place += -(-size // 8) * 8 if version == 1 else size
            yield name, message[place:]

    def _messages(self, address: int) -> Iterator[bytes]:
        """Yield the attribute messages of the object header at an address."""
        content = self._content
        new = content[address : address + 4] == b"OHDR"
        if new:
            flags, place = content[address + 5], address + 6
            place += (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
            width = 1 << (flags & 3)
            size = int.from_bytes(content[place : place + width], "little")
            blocks, head = [(place + width, size)], 6 if flags & 4 else 4
        else:
            size = int.from_bytes(content[address + 8 : address + 12], "little")
            blocks, head = [(address + 16, size)], 8
        seen = set()
        while blocks:
            start, size = blocks.pop()
            end = min(start + size, len(content))
            if start in seen:
                continue
            seen.add(start)
            while start + head <= end:
                kind = content[start] if new else int.from_bytes(content[start : start + 2], "little")
                length = int.from_bytes(
                    content[start + 1 : start + 3] if new else content[start + 2 : start + 4], "little"
                )
                shared = content[start + (3 if new else 4)] & 2
                data = content[start + head : min(start + head + length, end)]
                if kind == 0x10:  # continued elsewhere; new blocks carry a signature before and a checksum after
                    place, extent = int.from_bytes(data[:8], "little"), int.from_bytes(data[8:16], "little")
                    blocks.append((place + 4, extent - 8) if new else (place, extent))
                elif kind == 0x0C and not shared:
                    yield data
                start += head + length


def _unfilter(data: bytes, filters: list[int], rows: int, where: Where) -> bytes:
    size = rows * _REFERENCE.itemsize
    if size > _LARGEST_BLOCK:
        raise FormatError(f"{where}: compressed in blocks of {size} bytes; it is damaged")
    for code in reversed(filters):
        if code == h5z.FILTER_DEFLATE:
            data = zlib.decompressobj().decompress(data, size)
        elif code == h5z.FILTER_SHUFFLE and len(data) == size:
            data = np.frombuffer(data, np.uint8).reshape(_REFERENCE.itemsize, rows).T.tobytes()
        else:
            raise FormatError(f"{where}: compressed by filter {code}, which is not read for text")
    if len(data) != size:
        raise FormatError(f"{where}: a compressed block is damaged")
    return data


# -------------------------------------------------------------------- attributes


def read_attributes(
    holder: Any,
    texts: VariableLengthReader,
    where: Where,
    *,
    wanted: Callable[[str], bool] | None = None,
) -> dict[str, Any]:
    """Read the attributes of a group, a dataset or the root of a file.

    Parameters
    ----------
    holder : GroupID, DatasetID
    texts : VariableLengthReader
        Of the same file.
    where
        The place, for messages.
    wanted : callable, optional
        Told a name, says whether to read it; default all.

    Returns
    -------
    dict
        Scalars as NumPy scalars, arrays as arrays, text as str (arrays of text as lists of str). None stands for what
        cannot be read: references, compounds, sequences of varying length.

    Raises
    ------
    FormatError
        If an attribute declares more than 16 MiB, or its text is damaged.
    """
    result: dict[str, Any] = {}
    stored: list[bytes] = []
    h5a.iterate(holder, stored.append)  # opening by number would sort them all each time
    for key in stored:
        name = key.decode(errors="replace")
        if wanted is not None and not wanted(name):
            continue
        attribute = h5a.open(holder, key)
        shape, kind = attribute.shape, attribute.get_type()
        if shape == () and kind.equal(h5t.NATIVE_INT64):  # most are
            number = np.empty((), np.int64)
            attribute.read(number, h5t.NATIVE_INT64)
            result[name] = number[()]
            continue
        dtype = attribute.dtype
        if shape == () and dtype.kind in "biuf":
            value = np.empty((), dtype)
            attribute.read(value)
            result[name] = value[()]
            continue
        if shape is None:
            result[name] = h5py.Empty(dtype)
            continue
        if dtype.itemsize * int(np.prod(shape, dtype=object)) > _LARGEST_ATTRIBUTE:
            raise FormatError(f"{where}: attribute {name} declares {dtype}{list(shape)}; it is damaged")
        if is_text(kind):
            decoded = decode(texts.attribute(holder, key, where), f"{where}: attribute {name}")
            result[name] = decoded if shape else decoded[0]
        elif dtype.hasobject or dtype.kind == "V":
            result[name] = None
        else:
            value = np.empty(shape, dtype)
            attribute.read(value)
            result[name] = value if shape else value[()]
    return result
