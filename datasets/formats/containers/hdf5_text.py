"""Texts and attributes of HDF5 files, read by hand because HDF5 takes as much memory as a text claims to be long.

::

    text as stored     [length u32][address of a heap u64][number u32]     16 bytes, in an attribute or a dataset
    heap at address    GCOL, version 1, size u64, then objects: [number u16][.. 6][size u64][bytes, padded to 8]

A length of 2^31 takes 2 GiB before HDF5 notices that the heap holds less, and one long text under many references takes its
size as often as it is named. So texts and byte strings of varying length are taken from the file here, and HDF5 is not
asked for them (format specification 3.0, III.E for heaps, IV.A.1 for the headers of objects, IV.A.2.m for attributes).
"""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5g, h5i, h5o, h5t, h5z

from assay.datasets.errors import FormatError
from assay.datasets.formats.containers.hdf5_guards import (
    Where,
    base_address,
    check_declared_size,
    check_names,
    check_stored,
    is_filtered,
)

__all__ = ["VariableLengthReader", "decode", "is_text", "read_attributes"]

_LARGEST_ATTRIBUTE = 1 << 24  # bytes
_LARGEST_BLOCK = 1 << 26
_REFERENCE = np.dtype([("length", "<u4"), ("address", "<u8"), ("number", "<u4")])  # packed: 16 bytes


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
        return self._values(self._references(dataset, rows, where), where)

    def single(self, dataset: h5d.DatasetID, where: Where) -> bytes:
        """Return the one value of a dataset without dimensions.

        Raises
        ------
        FormatError
            If it is missing, or stored in an unusual way.
        """
        self._check_addresses(h5i.get_file_id(dataset), where)
        check_stored(dataset, _REFERENCE.itemsize, where)
        reference = self._bytes_as_references(dataset.get_offset(), _REFERENCE.itemsize, where)
        return self._values(reference, where)[0]

    def _values(self, references: np.ndarray, where: Where) -> list[bytes]:
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
        return self._values(np.frombuffer(data, _REFERENCE, count), where)

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
