"""Guards for Arrow's IPC files from strangers: what pyarrow would believe is looked up first.

::

    ARROW1 .. | messages | footer | footer size i32 | ARROW1
    footer    [version, schema, dictionaries, record batches]; each batch a block of 24 bytes:
              [offset i64][metadata size i32][..4][body size i64]
    message   FFFFFFFF, metadata size i32, then [version, kind, header, body size]
    header    [rows i64, nodes, buffers, compression]

The tables in brackets are FlatBuffers: fields behind a table of offsets, absent where the offset is 0 (Arrow columnar
format 1.5, Schema.fbs, Message.fbs, File.fbs).
"""

from __future__ import annotations

import mmap
from pathlib import Path
from struct import error as StructError
from struct import unpack_from

from assay.datasets.errors import FormatError

__all__ = ["check_batches"]

_MAGIC = b"ARROW1"


def check_batches(content: memoryview | mmap.mmap | bytes, file: Path) -> int:
    """Return the rows of all record batches of an IPC file, none of which is compressed.

    Raises
    ------
    FormatError
        If the file is damaged or truncated; if a batch is compressed, because a few bytes could then fill the memory
        (Minari does not compress); or if there are dictionaries, which no space needs.
    """
    size = len(content)
    if size < 18 or content[:6] != _MAGIC or content[size - 6 : size] != _MAGIC:
        raise FormatError(f"{file} is no Arrow file, or was truncated; copy it again")
    try:
        footer_size = unpack_from("<i", content, size - 10)[0]
        start = size - 10 - footer_size
        if footer_size < 8 or start < 8:
            raise FormatError(f"{file} is damaged: its footer is missing")
        footer = start + unpack_from("<I", content, start)[0]
        dictionaries, batches = _field(content, footer, 2), _field(content, footer, 3)
        if dictionaries and unpack_from("<I", content, _target(content, dictionaries))[0]:
            raise FormatError(f"{file} holds dictionaries, which are not read")
        if not batches:
            return 0
        vector = _target(content, batches)
        rows = 0
        for number in range(unpack_from("<I", content, vector)[0]):
            offset, metadata_size, body_size = unpack_from("<qi4xq", content, vector + 4 + 24 * number)
            if offset < 8 or metadata_size < 8 or body_size < 0 or offset + metadata_size + body_size > start:
                raise FormatError(f"{file} is damaged: batch {number} lies outside it")
            rows += _rows(content, offset, number, file)
        return rows
    except (StructError, IndexError) as error:
        raise FormatError(f"{file} is damaged ({error}); copy it again") from error


def _rows(content: memoryview | mmap.mmap | bytes, offset: int, number: int, file: Path) -> int:
    marker = unpack_from("<I", content, offset)[0]
    place = offset + (8 if marker == 0xFFFFFFFF else 4)  # the marker came with version 0.15
    message = place + unpack_from("<I", content, place)[0]
    header = _field(content, message, 2)
    if not header:
        raise FormatError(f"{file} is damaged: batch {number} has no header")
    batch = _target(content, header)
    if _field(content, batch, 3):
        raise FormatError(f"{file}: batch {number} is compressed, which is not read; write the file uncompressed")
    length = _field(content, batch, 0)
    rows: int = unpack_from("<q", content, length)[0] if length else 0
    if rows < 0:
        raise FormatError(f"{file} is damaged: batch {number} has {rows} rows")
    return rows


def _field(content: memoryview | mmap.mmap | bytes, table: int, number: int) -> int:
    """Return where a field of a table is, or 0 where it is absent."""
    offsets = table - unpack_from("<i", content, table)[0]
    if offsets < 0 or table < 0:
        raise IndexError("an offset before the file")
    if 4 + 2 * number >= unpack_from("<H", content, offsets)[0]:
        return 0
    offset = unpack_from("<H", content, offsets + 4 + 2 * number)[0]
    return table + offset if offset else 0


def _target(content: memoryview | mmap.mmap | bytes, place: int) -> int:
    target: int = place + unpack_from("<I", content, place)[0]
    return target
