"""Checks Arrow's IPC files before pyarrow opens them; hand-written because pyarrow takes all memory that a file declares.

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
from collections.abc import Iterator
from dataclasses import dataclass
from struct import error as StructError
from struct import unpack_from

from assay.datasets.errors import FormatError

__all__ = ["IPCLayout", "check_layout"]

_MAGIC = b"ARROW1"
_CONTINUATION = 0xFFFFFFFF  # begins a message since version 0.15


@dataclass
class IPCLayout:
    """Where the record batches of an IPC file are.

    Parameters
    ----------
    rows
        Of each batch.
    messages
        Where the message of each batch lies in the file, its body included.
    schema
        The footer but for the places of batches: files with equal ones have the same schema.
    """

    rows: list[int]
    messages: list[slice]
    schema: tuple[bytes, bytes]


def check_layout(content: mmap.mmap | bytes, file: str) -> IPCLayout:
    """Return the layout of an IPC file, none of whose batches is compressed.

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
            return IPCLayout([], [], (content[start:], b""))
        vector = _target(content, batches)
        messages = list(_messages(content, vector, start, file))
        rows = [_rows(content, message.start + 8, number, file) for number, message in enumerate(messages)]
        around = content[start : vector + 4], content[vector + 4 + 24 * len(messages) :]
        return IPCLayout(rows, messages, around)
    except (StructError, IndexError) as error:
        raise FormatError(f"{file} is damaged ({error}); copy it again") from error


def _messages(content: mmap.mmap | bytes, vector: int, end: int, file: str) -> Iterator[slice]:
    for number in range(unpack_from("<I", content, vector)[0]):
        offset, metadata_size, body_size = unpack_from("<qi4xq", content, vector + 4 + 24 * number)
        if offset < 8 or metadata_size < 8 or body_size < 0 or offset + metadata_size + body_size > end:
            raise FormatError(f"{file} is damaged: batch {number} lies outside it")
        if offset % 8 or unpack_from("<Ii", content, offset) != (_CONTINUATION, metadata_size - 8):
            raise FormatError(f"{file} is damaged: batch {number} does not begin where the footer says")
        yield slice(offset, offset + metadata_size + body_size)


def _rows(content: mmap.mmap | bytes, place: int, number: int, file: str) -> int:
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


def _field(content: mmap.mmap | bytes, table: int, number: int) -> int:
    """Return where a field of a table is, or 0 where it is absent."""
    offsets = table - unpack_from("<i", content, table)[0]
    if offsets < 0 or table < 0:
        raise IndexError("an offset before the file")
    if 4 + 2 * number >= unpack_from("<H", content, offsets)[0]:
        return 0
    offset = unpack_from("<H", content, offsets + 4 + 2 * number)[0]
    return table + offset if offset else 0


def _target(content: mmap.mmap | bytes, place: int) -> int:
    target: int = place + unpack_from("<I", content, place)[0]
    return target
