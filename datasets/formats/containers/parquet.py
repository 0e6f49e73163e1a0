"""Reading Parquet files from strangers.

The footer is compared with the size of the file before anything is unpacked. Pages may not be larger than the footer says,
and their checksums are verified where there are any. Rows come in batches, and every list must have the length of its shape.
"""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.datasets.errors import AssayError, FormatError
from assay.datasets.formats.containers.arrow_numbers import numbers_of
from assay.datasets.formats.containers.files import require_file
from assay.datasets.formats.containers.parquet_safety import RowGroup, check_parquet

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ParquetFile", "open_parquet", "parquet_names", "values"]

_MOST_DENSE = 20_000  # bytes in memory for each byte of a file: constant columns shrink to next to nothing
_ALWAYS_ALLOWED = 1 << 28  # bytes
_LONGEST_TEXT = 1 << 16  # bytes
_BATCH_ROWS = 1 << 14
_MOST_CHECKED = 256  # files whose check is remembered


class ParquetFile:
    """One Parquet file; `open_parquet` makes it.

    Examples
    --------
    >>> import tempfile, pyarrow as pa, pyarrow.parquet as pq
    >>> path = Path(tempfile.mkdtemp(), "example.parquet")
    >>> pq.write_table(pa.table({"state": pa.array([[1.0, 2.0], [3.0, 4.0]])}), path)
    >>> with open_parquet(path) as file:
    ...     [values(batch.column("state"), (2,), "state").tolist() for batch in file.batches({"state": 2})]
    [[[1.0, 2.0], [3.0, 4.0]]]
    """

    def __init__(self, path: Path, file: Any, groups: list[RowGroup]) -> None:
        self.path = path
        self._file = file
        self._groups = groups
        self.rows: int = file.metadata.num_rows
        if self.rows != sum(group.rows for group in groups):
            raise FormatError(f"{path} is damaged: its row groups do not add up to its rows")
        unpacked = sum(group.unpacked for group in groups)
        if unpacked > max(path.stat().st_size * _MOST_DENSE, _ALWAYS_ALLOWED):
            raise FormatError(f"{path} claims {unpacked} bytes, packed into {path.stat().st_size}; impossible")
        schema = file.schema_arrow
        self.types: dict[str, pa.DataType] = dict(zip(schema.names, schema.types, strict=True))
        if len(self.types) != len(schema.names):
            raise FormatError(f"{path}: a column is there twice")

    def check_fits(self, bytes_per_row: int) -> None:
        """Raise FormatError if so many rows of so many bytes cannot be what the file holds."""
        if self.rows * bytes_per_row > max(self.path.stat().st_size * _MOST_DENSE, _ALWAYS_ALLOWED):
            raise FormatError(
                f"{self.path} claims {self.rows} rows of {bytes_per_row} bytes, packed into "
                f"{self.path.stat().st_size}; impossible"
            )

    def batches(self, columns: Mapping[str, int], *, rows: int = _BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """Yield the rows of some columns, so many at a time; a column is given with how many values a row of it may have."""
        for name in columns:
            if name not in self.types:
                raise FormatError(f"{self.path}: there is no column {name}")
        self._check_values(columns)
        found = 0
        for batch in self._file.iter_batches(batch_size=rows, columns=list(columns), use_threads=False):
            batch.validate(full=True)
            found += batch.num_rows
            yield batch
        if found != self.rows:
            raise FormatError(f"{self.path} is damaged: it says {self.rows} rows, but holds {found}")

    def _check_values(self, columns: Mapping[str, int]) -> None:
        # A list may repeat one value a billion times in a few bytes.
        for group in self._groups:
            for path, count in group.values.items():
                inside = [name for name in columns if _is_below(path, name)]
                name = max(inside, key=len, default=None)
                if name is not None and count > group.rows * columns[name]:
                    raise FormatError(
                        f"{self.path}: column {name} has {count} values in {group.rows} rows; "
                        f"{columns[name]} belong into a row"
                    )

    def width(self, name: str) -> int:
        """Return how many values a row of a column has, from the footer: 1 for numbers, the length of its lists.

        Raises
        ------
        FormatError
            If the column is missing, or its lists cannot all be of one length.
        """
        if name not in self.types:
            raise FormatError(f"{self.path}: there is no column {name}; it holds {', '.join(self.types)}")
        values = sum(count for group in self._groups for path, count in group.values.items() if _is_below(path, name))
        if self.rows and values % self.rows:
            raise FormatError(
                f"{self.path}: column {name} has {values} values in {self.rows} rows; lists differ in length"
            )
        return values // self.rows if self.rows else 1

    def counted_gaps(self, path: str) -> int | None:
        """Return how many values of a column are missing, from the footer's statistics; None where there are none.

        Parameters
        ----------
        path : str
            In the Parquet schema, such as `pose.x`.
        """
        metadata, total, found = self._file.metadata, 0, False
        for group in range(metadata.num_row_groups):
            for number in range(metadata.num_columns):
                column = metadata.row_group(group).column(number)
                if column.path_in_schema != path:
                    continue
                statistics, found = column.statistics, True
                if statistics is None or not statistics.has_null_count:
                    return None
                total += statistics.null_count
        return total if found else None

    def rows_of(self, name: str) -> np.ndarray:
        """Read one column of numbers, or of lists of them that are all of one length: (rows,) or (rows, width)."""
        width, where = self.width(name), f"{self.path}: column {name}"
        shape = (width,) if self.types[name].num_fields else ()
        self.check_fits(8 * max(1, width))
        parts = [values(batch.column(name), shape, where) for batch in self.batches({name: max(1, width)})]
        return np.concatenate(parts) if parts else np.zeros((0, *shape), np.float64)

    def column(self, name: str) -> np.ndarray:
        """Read one column of numbers, booleans or text, one value per row.

        Raises
        ------
        FormatError
            If it is missing, damaged, has gaps, or is of another kind; with file and column.
        """
        import pyarrow as pa

        where = f"{self.path}: column {name}"
        kind = self.types.get(name)
        self.check_fits(8)
        parts = []
        for batch in self.batches({name: 1}):
            part = batch.column(name)
            if kind is not None and (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
                import pyarrow.compute as pc

                longest = pc.max(pc.binary_length(part)).as_py() or 0
                if longest > _LONGEST_TEXT or part.null_count:
                    raise FormatError(f"{where} has gaps, or texts longer than {_LONGEST_TEXT} bytes")
                self.check_fits(4 * longest)
                parts.append(np.array(part.to_pylist(), str))
            else:
                parts.append(values(part, (), where))
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _is_below(path: str, name: str) -> bool:
    """Tell whether a path in a Parquet schema, such as `state.list.element`, is a column or below it."""
    return f"{path}.".startswith(f"{name}.")


def parquet_names(path: Path) -> frozenset[str]:
    """Return the names of the columns of a table; none where the path is anything else. Never raises.

    Examples
    --------
    >>> sorted(parquet_names(Path("setup.cfg")))
    []
    """
    try:
        if not path.is_file():
            return frozenset()
        with path.open("rb") as file:
            if file.read(4) != b"PAR1":
                return frozenset()
        with open_parquet(path) as table:
            return frozenset(table.types)
    except (AssayError, OSError, ValueError):
        return frozenset()


@contextmanager
def open_parquet(path: Path) -> Iterator[ParquetFile]:
    """Open a file for reading; whatever goes wrong while it is open is a FormatError that names it.

    Raises
    ------
    FormatError
        If the file is no Parquet, or damaged.
    """
    import pyarrow.parquet as pq

    require_file(path)
    try:
        with path.open("rb") as handle:  # Arrow itself opens no path that is not UTF-8
            state = os.fstat(handle.fileno())
            groups = _checked(path, handle.fileno(), (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns))
            with pq.ParquetFile(
                handle,
                page_checksum_verification=True,
                arrow_extensions_enabled=False,
                schema_depth_limit=32,
                pre_buffer=False,
            ) as file:
                yield ParquetFile(path, file, groups)
    except AssayError:
        raise
    except MemoryError as error:
        raise FormatError(f"{path} does not fit into memory, or is damaged") from error
    except Exception as error:  # Arrow reports damage by errors of many kinds
        text = " ".join(str(error).split())
        raise FormatError(f"{path} is no Parquet file, or damaged ({text}); copy it again") from error


_CHECKED: dict[tuple[int, ...], list[RowGroup]] = {}  # of the files checked last


def _checked(path: Path, descriptor: int, state: tuple[int, ...]) -> list[RowGroup]:
    """Return the row groups of a file, checked once as long as it stays as it is."""
    if state not in _CHECKED:
        with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as content:
            groups = check_parquet(content, path)
        while len(_CHECKED) >= _MOST_CHECKED:
            _CHECKED.pop(next(iter(_CHECKED)))
        _CHECKED[state] = groups
    return _CHECKED[state]


def values(column: pa.Array, shape: tuple[int, ...], where: str) -> np.ndarray:
    """Return the rows of a column as an array of rows of this shape.

    Raises
    ------
    FormatError
        If a row is missing or of another shape, or the column holds no numbers; `where` names file and column.

    Examples
    --------
    >>> import pyarrow as pa
    >>> values(pa.array([[True, False]]), (2,), "example").tolist()
    [[True, False]]
    """
    import pyarrow as pa

    rows = len(column)
    lengths: list[int] = []
    while True:
        if isinstance(column, pa.ExtensionArray):
            column = column.storage
        kind = column.type
        if column.null_count:
            raise FormatError(f"{where} has {column.null_count} gaps; every row needs a value")
        if not pa.types.is_nested(kind):
            break
        if pa.types.is_fixed_size_list(kind):
            length = kind.list_size
        elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
            sizes = np.diff(numbers_of(column.offsets))
            length = int(sizes[0]) if len(sizes) else (shape[len(lengths)] if len(lengths) < len(shape) else 1)
            if (sizes != length).any():
                row = int(np.flatnonzero(sizes != length)[0]) // max(1, math.prod(lengths))
                raise FormatError(f"{where}: row {row} of a batch is of another shape than the first")
        else:
            raise FormatError(f"{where} holds values of type {kind}; numbers and lists of them are read")
        lengths.append(length)
        column = column.flatten()
    # A list of one number per row and the number itself are both written for the shape (1,).
    found = tuple(lengths)
    if rows and found != shape and math.prod(found) * math.prod(shape) != 1:
        raise FormatError(f"{where} holds rows of shape {list(found)}, but {list(shape)} belong there")
    kinds = (pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating)
    if not any(is_kind(column.type) for is_kind in kinds):
        raise FormatError(f"{where} holds values of type {column.type}; numbers and lists of them are read")
    result = numbers_of(column)
    if len(result) != rows * math.prod(shape):
        raise FormatError(f"{where} holds {len(result)} numbers in {rows} rows of shape {list(shape)}")
    return result.reshape(rows, *shape)
