"""Arrow arrays of numbers as NumPy arrays, by DLPack.

`pyarrow.Array.to_numpy`, and every value of Python's that is handed to Arrow, import pandas, which takes longer than most
tables take to be read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["filled", "numbers_of", "validity_of"]


def numbers_of(column: pa.Array) -> np.ndarray:
    """Return the numbers or booleans of an array, without a copy where it is possible; what is missing is NaN.

    Whole numbers and booleans with gaps become float64.

    Examples
    --------
    >>> import pyarrow as pa
    >>> numbers_of(pa.array([1, 2, 3], pa.int8())[1:]), numbers_of(pa.array([True, None]))
    (array([2, 3], dtype=int8), array([ 1., nan]))
    """
    import pyarrow as pa

    is_boolean = pa.types.is_boolean(column.type)
    if column.null_count:
        if not pa.types.is_floating(column.type):
            column = (column.cast(pa.int8()) if is_boolean else column).cast(pa.float64(), safe=False)
        return filled(column, np.nan)
    if is_boolean:
        return np.from_dlpack(column.cast(pa.uint8())).view(bool)
    return np.from_dlpack(column)


def filled(column: pa.Array, value: float) -> np.ndarray:
    """Return a copy of the numbers of an array, with `value` where one is missing.

    Examples
    --------
    >>> import pyarrow as pa
    >>> filled(pa.array([1, None]), -1).tolist()
    [1, -1]
    """
    import pyarrow as pa

    stored = pa.Array.from_buffers(column.type, len(column), [None, column.buffers()[1]], offset=column.offset)
    numbers: np.ndarray = np.from_dlpack(stored).copy()
    numbers[~validity_of(column)] = value
    return numbers


def validity_of(column: pa.Array) -> np.ndarray:
    """Tell for each row whether there is a value, bool (rows,).

    Examples
    --------
    >>> import pyarrow as pa
    >>> validity_of(pa.array([1, None])).tolist()
    [True, False]
    """
    return numbers_of(column.is_valid())
