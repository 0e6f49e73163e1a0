"""Arrow columns as NumPy arrays: numbers without a copy where there are no gaps, texts, dates, lists of one length."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.datasets.errors import DatasetError
from assay.datasets.formats.containers.arrow_numbers import filled, numbers_of, validity_of

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["is_text", "numpy_dtype", "row_shape", "values_of"]

_LONGEST_TEXT = 1 << 16  # characters
_NOT_A_TIME = int(np.iinfo(np.int64).min)  # NumPy's NaT


def is_text(kind: pa.DataType) -> bool:
    """Tell whether a column holds texts, or categories of texts."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def numpy_dtype(kind: pa.DataType, gaps: bool, where: object) -> np.dtype:
    """Return the dtype of a column's numbers; gaps are NaN, so whole numbers with gaps become float64.

    Raises
    ------
    DatasetError
        If the column holds neither numbers nor dates.

    Examples
    --------
    >>> import pyarrow as pa
    >>> numpy_dtype(pa.int32(), False, "x"), numpy_dtype(pa.int32(), True, "x"), numpy_dtype(pa.float32(), True, "x")
    (dtype('int32'), dtype('float64'), dtype('float32'))
    """
    import pyarrow as pa

    while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        kind = kind.value_type
    if pa.types.is_dictionary(kind):
        return numpy_dtype(kind.value_type, gaps, where)
    if pa.types.is_boolean(kind):
        return np.dtype(np.float64 if gaps else bool)
    if pa.types.is_decimal(kind) or pa.types.is_null(kind):
        return np.dtype(np.float64)
    if pa.types.is_timestamp(kind) or pa.types.is_duration(kind) or pa.types.is_date(kind):
        return np.dtype("m8[ns]" if pa.types.is_duration(kind) else "M8[ns]")
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        dtype = np.dtype(kind.to_pandas_dtype())
        return np.dtype(np.float64) if gaps and dtype.kind in "iu" else dtype
    raise DatasetError(
        f"{where} holds values of type {kind}; numbers, booleans, dates, texts and lists of numbers are read"
    )


def row_shape(column: pa.Array | pa.ChunkedArray, where: object) -> tuple[int, ...]:
    """Return the shape of a row of a column: () for one value, (k,) for lists of k, from its first row.

    Examples
    --------
    >>> import pyarrow as pa
    >>> row_shape(pa.array([[1, 2, 3], [4, 5, 6]]), "x"), row_shape(pa.array([1.0]), "x")
    ((3,), ())
    """
    import pyarrow as pa

    shape: list[int] = []
    kind = column.type
    first = column[0].as_py() if len(column) and pa.types.is_nested(kind) else None
    while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        if pa.types.is_fixed_size_list(kind):
            shape.append(kind.list_size)
        elif first is None:
            raise DatasetError(f"{where}: row 0 is missing; every row needs a list of the same length")
        else:
            shape.append(len(first))
        first = first[0] if first else None
        kind = kind.value_type
    if pa.types.is_nested(kind):
        raise DatasetError(f"{where} holds values of type {kind}; numbers and lists of them are read")
    return tuple(shape)


def values_of(column: pa.Array, shape: tuple[int, ...], first_row: int, where: object) -> np.ndarray:
    """Return the rows of a column, (rows, *shape); missing numbers are NaN, missing texts are empty.

    Parameters
    ----------
    column : pyarrow.Array
    shape : tuple of int
        Of a row, from `row_shape`.
    first_row : int
        Of the column in the source, for messages.
    where : object

    Raises
    ------
    DatasetError
        If a row is missing or of another shape; with the row.

    Examples
    --------
    >>> import pyarrow as pa
    >>> values_of(pa.array([1, None]), (), 0, "x").tolist(), values_of(pa.array([[1, 2]]), (2,), 0, "x").tolist()
    ([1.0, nan], [[1, 2]])
    """
    import pyarrow as pa

    if not shape and (
        pa.types.is_floating(column.type) or pa.types.is_integer(column.type)
    ):  # most columns are plain numbers
        return numbers_of(column)
    rows = len(column)
    for number, length in enumerate(shape):
        inner = math.prod(shape[:number])
        if column.null_count:
            row = int(np.flatnonzero(~validity_of(column))[0]) // inner
            raise DatasetError(f"{where}, row {first_row + row} is missing; every row needs a list of {length} numbers")
        if not pa.types.is_fixed_size_list(column.type):
            sizes = np.diff(numbers_of(column.offsets))
            if len(wrong := np.flatnonzero(sizes != length)):
                row = int(wrong[0]) // inner
                raise DatasetError(
                    f"{where} is ragged: row {first_row + row} holds {int(sizes[wrong[0]])} values, others {length}; every "
                    "row must have as many, so pad them, or leave the column out"
                )
        column = column.flatten()
    array = _flat_values(column, where)
    return array.reshape(rows, *shape) if shape else array


def _flat_values(column: pa.Array, where: object) -> np.ndarray:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    if is_text(kind):
        return _texts(column, where)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_duration(kind):
        target = pa.duration("ns") if pa.types.is_duration(kind) else pa.timestamp("ns")
        stamps = column.cast(target, safe=False).view(pa.int64())
        return filled(stamps, _NOT_A_TIME).view(numpy_dtype(target, False, where))
    if pa.types.is_decimal(kind) or pa.types.is_null(kind) or (pa.types.is_boolean(kind) and column.null_count):
        column = column.cast(pa.int8()).cast(pa.float64()) if pa.types.is_boolean(kind) else column.cast(pa.float64())
    numpy_dtype(column.type, bool(column.null_count), where)  # refuses what is no number
    return numbers_of(column)


def _texts(column: Any, where: object) -> np.ndarray:
    import pyarrow.compute as pc

    longest = pc.max(pc.utf8_length(column)).as_py() or 0
    if longest > _LONGEST_TEXT:
        raise DatasetError(
            f"{where} holds a text of {longest:,} characters; columns hold texts up to {_LONGEST_TEXT:,}"
        )
    return np.array([text or "" for text in column.to_pylist()], dtype=f"U{max(1, longest)}")
