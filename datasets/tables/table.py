"""A table of rows, whatever holds it: an Arrow table, a frame, a file, or a folder of files read one after another.

All of them give Arrow batches of chosen columns. Columns inside others are named by paths: `pose/x`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from assay.datasets.errors import DatasetError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["BATCH_ROWS", "FILE", "ArrowTable", "JoinedTable", "Table", "arrow_table"]

BATCH_ROWS = 1 << 14
FILE = "file"  # name of the column that says which file of a folder a row is from


class Table:
    """Rows under names; `batches` gives them in order.

    Parameters
    ----------
    types : mapping of str to pyarrow.DataType
    rows : int

    Attributes
    ----------
    reading : str
        What had to be found out to read the file, in words; empty where nothing is worth saying.
    """

    reading = ""

    def __init__(self, types: Mapping[str, pa.DataType], rows: int) -> None:
        self.types = dict(types)
        self.rows = rows

    def batches(self, names: Sequence[str]) -> Iterator[dict[str, pa.Array]]:
        """Yield some columns in blocks of up to `BATCH_ROWS` rows."""
        raise NotImplementedError

    def gaps(self, name: str) -> int:
        """Return in how many rows a column has no value."""
        return sum(batch[name].null_count for batch in self.batches([name]))

    def column(self, name: str) -> pa.ChunkedArray:
        """Return one whole column."""
        import pyarrow as pa

        return pa.chunked_array([batch[name] for batch in self.batches([name])], self.types[name])

    def head(self, name: str) -> pa.Array:
        """Return the first rows of a column."""
        import pyarrow as pa

        return next((batch[name] for batch in self.batches([name])), pa.nulls(0, self.types[name]))


class ArrowTable(Table):
    """A table in memory.

    Examples
    --------
    >>> import pyarrow as pa
    >>> table = ArrowTable(pa.table({"pose": [{"x": 1.0, "y": 2.0}], "r": [0.5]}), "example")
    >>> list(table.types), [batch["pose/y"].to_pylist() for batch in table.batches(["pose/y"])]
    (['pose/x', 'pose/y', 'r'], [[2.0]])
    """

    def __init__(self, table: pa.Table, where: object) -> None:
        import pyarrow as pa

        names = table.column_names
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise DatasetError(f"{where}: two columns are named {twice!r}; rename one of them")
        while any(pa.types.is_struct(kind) for kind in table.schema.types):
            parts: dict[str, Any] = {}
            for name, column in zip(table.column_names, table.columns, strict=True):
                if not pa.types.is_struct(column.type):
                    parts[name] = column
                    continue
                flat = column.flatten()
                for number in range(column.type.num_fields):
                    parts[f"{name}/{column.type.field(number).name}"] = flat[number]
            table = pa.table(parts)
        super().__init__(dict(zip(table.column_names, table.schema.types, strict=True)), table.num_rows)
        self._table = table

    def batches(self, names: Sequence[str]) -> Iterator[dict[str, pa.Array]]:  # noqa: D102
        for batch in self._table.select(list(names)).to_batches(max_chunksize=BATCH_ROWS):
            yield dict(zip(names, batch.columns, strict=True))

    def gaps(self, name: str) -> int:  # noqa: D102
        return int(self._table.column(name).null_count)

    def column(self, name: str) -> pa.ChunkedArray:  # noqa: D102
        return self._table.column(name)


class JoinedTable(Table):
    """Tables of the same columns, one after another; the column `file` says which one a row is from.

    Parameters
    ----------
    parts : mapping of str to callable
        Name -> what opens the table; opened one at a time, as often as needed.
    """

    def __init__(self, parts: Mapping[str, Callable[[], Table]], where: object) -> None:
        import pyarrow as pa

        self._parts = dict(parts)
        self.lengths: list[int] = []
        types: dict[str, pa.DataType] = {}
        for number, (name, opened) in enumerate(self._parts.items()):
            table = opened()
            self.lengths.append(table.rows)
            if not number:
                types, first = dict(table.types), name
                continue
            if different := sorted(types.keys() ^ table.types.keys()):
                missing = different[0] not in table.types
                raise DatasetError(
                    f"{where}: {name} {'lacks' if missing else 'has'} the column {different[0]!r}, which {first} "
                    f"{'has' if missing else 'lacks'}; the files of a folder need the same columns"
                )
            for column, kind in table.types.items():
                types[column] = _common(types[column], kind, f"{where}: column {column} of {name}")
        self._named = FILE not in types
        if self._named:
            types[FILE] = pa.dictionary(pa.int32(), pa.string())
        super().__init__(types, sum(self.lengths))

    @property
    def names(self) -> list[str]:
        """Names of the tables."""
        return list(self._parts)

    def batches(self, names: Sequence[str]) -> Iterator[dict[str, pa.Array]]:  # noqa: D102
        import pyarrow as pa

        inside = [name for name in names if name != FILE or not self._named]
        labels = pa.array(self.names, pa.string())
        for number, opened in enumerate(self._parts.values()):
            table = opened()
            for batch in table.batches(inside or list(table.types)[:1]):
                rows = len(next(iter(batch.values())))
                found = {name: batch[name].cast(self.types[name]) for name in inside}
                if len(inside) < len(names):
                    codes = pa.array([number], pa.int32()).take(pa.array([0] * rows, pa.int32()))
                    found[FILE] = pa.DictionaryArray.from_arrays(codes, labels)
                yield found


def _common(first: pa.DataType, second: pa.DataType, where: object) -> pa.DataType:
    """Return the type that holds both: a file of whole numbers, or without a value, may stand beside one of others."""
    import pyarrow as pa

    if first == second or pa.types.is_null(second):
        return first
    if pa.types.is_null(first):
        return second
    numbers = [pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in (first, second)]
    if all(numbers):
        if pa.types.is_floating(first) and pa.types.is_floating(second):
            return max(first, second, key=lambda kind: kind.bit_width)
        if pa.types.is_integer(first) and pa.types.is_integer(second):
            return pa.int64()
        return pa.float64()
    raise DatasetError(f"{where} is {second}, but {first} in another file")


def arrow_table(frame: Any, where: object, is_needed: Callable[[str], bool] = lambda name: True) -> Table:
    """Return a frame of pandas, polars or Arrow as a table; numbers are shared, not copied, wherever they can be.

    Parameters
    ----------
    frame : pandas, polars or pyarrow frame
    where : object
        What messages call it.
    is_needed : callable
        Tells of the name of a column whether it will be read. One that is not may hold anything: it becomes empty.

    Raises
    ------
    DatasetError
        If it is no frame, or a column that is needed cannot be understood; with the column.

    Examples
    --------
    >>> import polars as pl
    >>> arrow_table(pl.DataFrame({"x": [1, 2]}), "frame").rows
    2
    """
    import pyarrow as pa

    if isinstance(frame, pa.RecordBatch):
        frame = pa.Table.from_batches([frame])
    if isinstance(frame, pa.Table):
        return ArrowTable(frame, where)
    library = type(frame).__module__.split(".")[0]
    kind = type(frame).__name__
    if library == "polars" and kind in ("LazyFrame", "StepsFrame"):
        frame, kind = frame.collect(), "DataFrame"
    if library == "polars" and kind == "DataFrame":
        return ArrowTable(_from_polars(frame, where, is_needed), where)
    if library == "pandas" and kind == "DataFrame":
        return ArrowTable(_from_pandas(frame, where, is_needed), where)
    raise DatasetError(
        f"{where} must be a frame of pandas, polars or pyarrow, not {type(frame).__name__}; arrays go to Dataset.from_arrays"
    )


def _from_polars(frame: Any, where: object, is_needed: Callable[[str], bool]) -> pa.Table:
    import polars as pl
    import pyarrow as pa

    objects = [name for name, kind in frame.schema.items() if kind == pl.Object]
    for name in filter(is_needed, objects):
        raise DatasetError(f"{where}: column {name!r} holds Python objects; convert it first")
    table = frame.drop(objects).to_arrow()
    for name in objects:
        table = table.append_column(name, pa.nulls(len(frame)))
    return table


def _from_pandas(frame: Any, where: object, is_needed: Callable[[str], bool]) -> pa.Table:
    import pyarrow as pa

    columns: dict[str, Any] = {}
    for position, name in enumerate(frame.columns):
        if not isinstance(name, str):
            raise DatasetError(
                f"{where}: column {name!r} has a name that is no text; rename it: "
                "frame.columns = [str(name) for name in frame.columns]"
            )
        if name in columns:
            raise DatasetError(f"{where}: two columns are named {name!r}; rename one of them")
        try:
            columns[name] = pa.Array.from_pandas(frame.iloc[:, position])
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, ValueError, TypeError) as error:
            if not is_needed(name):
                columns[name] = pa.nulls(len(frame))
                continue
            text = " ".join(str(error).split())
            raise DatasetError(
                f"{where}: column {name!r} holds values of mixed or unknown types ({text}); convert it first"
            ) from error
    for name in filter(None, frame.index.names):
        if str(name) not in columns and is_needed(str(name)):
            raise DatasetError(f"{where}: {name} is in the index, not a column: frame.reset_index()")
    return pa.table(columns)
