"""Checks Parquet files before pyarrow opens them; hand-written because pyarrow ends the process on damaged column chunks.

::

    PAR1 | column chunk | column chunk ... | footer | footer size u32 | PAR1
    column chunk    [page header][page][page header][page] ...
    page header     2 size when unpacked, 3 size in the file, ...
    footer          4 row groups: 1 column chunks: 3 description: 3 path, 5 values, 6 size when unpacked, 7 size in the
                                                                  file, 9 first page of data, 11 dictionary page
                                  3 rows

pyarrow sets as much memory aside as a page header says, and its view of a damaged column chunk ends the process. So
the footer is read here, and all pages of a chunk together must become no larger than it says. Headers and footer are
structs of Thrift's compact protocol: every field is a byte (distance from the field before, type) and its value, a zero
byte ends them (Parquet format 2.12, parquet.thrift; Thrift, doc/specs/thrift-compact-protocol.md).
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from assay.datasets.errors import FormatError

__all__ = ["RowGroup", "check_parquet"]

Content: TypeAlias = mmap.mmap | bytes
_MAGIC = b"PAR1"
_TRUE, _FALSE, _BYTE, _INT16, _INT32, _INT64, _DOUBLE, _BINARY, _LIST, _STRUCT = 1, 2, 3, 4, 5, 6, 7, 8, 9, 12  # types
_DEEPEST = 32  # values within values; the footer has about a dozen


class RowGroup(NamedTuple):
    """What the footer says of a row group.

    Parameters
    ----------
    rows
        Of every column.
    values
        Path of a column in the schema -> how many values it has, those of lists one by one.
    unpacked
        Bytes of all columns together.
    """

    rows: int
    values: dict[str, int]
    unpacked: int


def check_parquet(content: Content, file: object) -> list[RowGroup]:
    """Return the row groups of a Parquet file, whose pages become no larger than the footer says.

    Parameters
    ----------
    content : mmap or bytes
        Of the whole file.
    file : object
        For messages.

    Raises
    ------
    FormatError
        If it is no Parquet file, or damaged.
    """
    if len(content) < 12 or content[:4] != _MAGIC or content[-4:] != _MAGIC:
        raise FormatError(f"{file} is no Parquet file, or was truncated; copy it again")
    try:
        start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
        if start < 4:
            raise ValueError("the footer is larger than the file")
        footer, _ = _struct(content[start:-8], 0)
        return [_row_group(content, group, start) for group in _items(footer, 4, dict)]
    except ValueError as error:
        raise FormatError(f"{file} is damaged ({error}); copy it again") from error
    except IndexError:
        raise FormatError(f"{file} is damaged (a header goes on behind its end); copy it again") from None


def _row_group(content: Content, group: Mapping[int, Any], end_of_chunks: int) -> RowGroup:
    rows, unpacked = _get(group, 3, int), 0
    values: dict[str, int] = {}
    for chunk in _items(group, 1, dict):
        described = _get(chunk, 3, dict)
        path = b".".join(_items(described, 3, bytes)).decode()
        values[path], left, packed, data = (_get(described, number, int) for number in (5, 6, 7, 9))
        if min(rows, values[path], left) < 0 or (data == 0 and rows):
            raise ValueError(f"column {path} has {rows} rows, {values[path]} values, {left} bytes from {data}")
        dictionary = _get(described, 11, int) if 11 in described else 0
        place = min((offset for offset in (data, dictionary) if offset), default=4)  # 0 where there is none
        end = place + packed
        if not 4 <= place <= end <= end_of_chunks:
            raise ValueError(f"column {path} lies outside the file")
        unpacked += left
        while place < end:
            header, place = _struct(content, place)
            page, size = _get(header, 2, int), _get(header, 3, int)
            left, place = left - page, place + size
            if page < 0 or size < 0 or left < 0 or place > end:
                raise ValueError(f"the pages of column {path} are larger than the footer says")
    return RowGroup(rows, values, unpacked)


def _get(fields: Mapping[int, Any], number: int, kind: type) -> Any:
    """Return a field that has to be there, of the right type."""
    if not isinstance(value := fields.get(number), kind):
        raise ValueError(f"{value!r:.50} in field {number}")
    return value


def _items(fields: Mapping[int, Any], number: int, kind: type) -> list[Any]:
    """Return a list that has to be there, of values of the right type."""
    items: list[Any] = _get(fields, number, list)
    if not all(isinstance(item, kind) for item in items):
        raise ValueError(f"a list of other values in field {number}")
    return items


def _struct(content: Content, place: int, depth: int = 0) -> tuple[dict[int, Any], int]:
    """Return the fields of a struct by their numbers, and where it ends."""
    fields: dict[int, Any] = {}
    number = 0
    while start := content[place]:
        place += 1
        if start >> 4:
            number += start >> 4
        else:
            number, place = _integer(content, place)
        kind = start & 15
        if kind in (_TRUE, _FALSE):
            fields[number] = kind == _TRUE
        else:
            fields[number], place = _value(content, place, kind, depth)
    return fields, place + 1


def _value(content: Content, place: int, kind: int, depth: int) -> tuple[Any, int]:
    if depth > _DEEPEST:
        raise ValueError("values are nested too deep")
    if kind in (_INT16, _INT32, _INT64):
        return _integer(content, place)
    if kind in (_TRUE, _FALSE, _BYTE):  # of a list
        return content[place], place + 1
    if kind == _DOUBLE:
        content[place + 7]  # else a list of them could go on for ever behind the end
        return None, place + 8
    if kind == _BINARY:
        length, place = _varint(content, place)
        return content[place : place + length], place + length
    if kind == _LIST:
        size, kind = content[place] >> 4, content[place] & 15
        place += 1
        if size == 15:
            size, place = _varint(content, place)
        values = []
        for _ in range(size):
            value, place = _value(content, place, kind, depth + 1)
            values.append(value)
        return values, place
    if kind == _STRUCT:
        return _struct(content, place, depth + 1)
    raise ValueError(f"a value of type {kind}, which Parquet does not use")


def _integer(content: Content, place: int) -> tuple[int, int]:
    """Return a signed integer, stored as 0, -1, 1, -2, ..., and where it ends."""
    number, place = _varint(content, place)
    return (number >> 1) ^ -(number & 1), place


def _varint(content: Content, place: int) -> tuple[int, int]:
    """Return a number stored in groups of seven bits, the least first, and where it ends."""
    number = 0
    for shift in range(0, 70, 7):
        byte = content[place]
        place += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, place
    raise ValueError("a number of more than ten bytes")
