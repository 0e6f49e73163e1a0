"""Files of rows: CSV, Parquet and JSON Lines, one of them or a folder with one kind of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.datasets.errors import ConfigError, FormatError
from assay.datasets.formats.containers.files import natural_order, require_file
from assay.datasets.formats.containers.parquet import ParquetFile, open_parquet
from assay.datasets.tables.csv_layout import DELIMITERS, CsvLayout, find_layout, has_comments, without_comments
from assay.datasets.tables.table import ArrowTable, JoinedTable, Table

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["DELIMITERS", "ParquetTable", "files_of", "kind_of", "open_table"]

SUFFIXES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
_HEADER_BYTES = 1 << 16
_DECIMAL_COMMA = re.compile(r"\s*[-+]?[0-9]+,[0-9]+([eE][-+]?[0-9]+)?\s*")
_LARGEST_BLOCK = (1 << 31) - 1  # of Arrow's readers


def kind_of(path: Path) -> str | None:
    """Return "csv", "parquet" or "jsonl" where a file is such a table, by its first bytes and its name; None otherwise.

    Examples
    --------
    >>> kind_of(Path("setup.cfg")) is None
    True
    """
    kind = SUFFIXES.get(path.suffix.lower())
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            head = file.read(_HEADER_BYTES if kind else 4)
    except OSError:
        return None
    if head.startswith(b"PAR1") or kind in (None, "parquet"):
        return "parquet" if head.startswith(b"PAR1") else None
    if not head or b"\0" in head:
        return None
    return None if kind == "jsonl" and not head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") else kind


def files_of(path: Path) -> list[Path]:
    """Return the tables of a folder, numbers in their names in order (`run_2` before `run_10`); or the one file.

    Raises
    ------
    FormatError
        If tables of several kinds lie there.
    """
    if not path.is_dir():
        return [path]
    found = [(kind_of(file), file) for file in path.iterdir() if not file.name.startswith(".")]
    tables = {file: kind for kind, file in found if kind is not None}
    if len(kinds := sorted(set(tables.values()))) > 1:
        raise FormatError(
            f"{path} holds tables of several kinds ({', '.join(kinds)}); put one kind into a folder of its own"
        )
    return sorted(tables, key=lambda file: natural_order(file.name))


def open_table(path: Path, *, delimiter: str | None = None, decimal: str = ".") -> Table:
    """Open a file, or a folder of files, as a table.

    Parameters
    ----------
    path : Path
    delimiter : str, optional
        Between the values of a CSV file; by default what stands there, see `assay.datasets.tables.csv_layout`.
    decimal : str
        Point of the numbers in a CSV file.

    Raises
    ------
    FormatError
        If nothing there is a table, or one is damaged; with the file.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "run.csv")
    >>> _ = path.write_text("t,x\\n0.0,1\\n0.1,2\\n")
    >>> table = open_table(path)
    >>> table.rows, list(table.types), table.column("x").to_pylist()
    (2, ['t', 'x'], [1, 2])
    """
    if delimiter is not None and (not isinstance(delimiter, str) or len(delimiter) != 1):
        raise ConfigError(f"delimiter must be one character, not {delimiter!r}")
    if not isinstance(decimal, str) or len(decimal) != 1:
        raise ConfigError(f"decimal must be one character, not {decimal!r}")
    files = files_of(path)
    if path.is_dir():
        _check_none_is_empty(path)
    if not files:
        raise FormatError(f"{path} holds no table: no file .csv, .tsv, .parquet, .jsonl or .ndjson")
    if not path.is_dir():
        return _open(path, delimiter, decimal)
    return JoinedTable({_stem(file): _opener(file, delimiter, decimal) for file in files}, path)


def _check_none_is_empty(path: Path) -> None:
    """Raise FormatError where a file that is called a table is empty: it would be left out in silence."""
    for file in path.iterdir():
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and not file.stat().st_size:
            raise FormatError(f"{file} is empty; take it out of the folder, or copy it again")


def _stem(file: Path) -> str:
    return file.name.rpartition(".")[0]


def _opener(file: Path, delimiter: str | None, decimal: str) -> Callable[[], Table]:
    return lambda: _open(file, delimiter, decimal)


def _open(path: Path, delimiter: str | None, decimal: str) -> Table:
    kind = kind_of(path)
    if kind == "parquet":
        return ParquetTable(path)
    require_file(path)
    if kind == "csv":
        layout = find_layout(path, delimiter)
        table = ArrowTable(_read_csv(path, layout, decimal), path)
        table.reading = layout.reading
        return table
    if kind == "jsonl":
        return ArrowTable(_read_json(path), path)
    raise FormatError(f"{path} is no table: no CSV, Parquet or JSON Lines")


def _read_csv(path: Path, layout: CsvLayout, decimal: str) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv

    filtered = layout.any_blanks or has_comments(path, layout)

    def read(**options: Any) -> pa.Table:
        with path.open("rb") as file:
            return csv.read_csv(
                without_comments(file, layout) if filtered else file,
                read_options=csv.ReadOptions(
                    skip_rows=0 if filtered else layout.skipped,
                    column_names=None if layout.names is None else [*layout.names],
                    **options,
                ),
                parse_options=csv.ParseOptions(delimiter=layout.delimiter, newlines_in_values=True),
                convert_options=csv.ConvertOptions(decimal_point=decimal),
            )

    try:
        try:
            table = read()
        except pa.ArrowInvalid:  # the kind of a column was decided by its first rows, and later ones are of another
            table = read(block_size=min(_LARGEST_BLOCK, path.stat().st_size + 1))
        names = table.column_names  # which Arrow does not look at before
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not UTF-8 ({_one_line(error)}); save it as UTF-8") from error
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise FormatError(
            f"{path} cannot be read as CSV with {layout.between} between values: {_one_line(error)}"
        ) from error
    if layout.delimiter != "," and decimal == ".":
        _check_no_decimal_commas(table, names, path)
    return table


def _check_no_decimal_commas(table: pa.Table, names: Sequence[str], path: Path) -> None:
    """Raise FormatError where all texts of a column are numbers with a decimal comma."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for name, column in zip(names, table.columns, strict=True):
        if not pa.types.is_string(column.type):
            continue
        first = next((text for text in column.drop_null().slice(0, 1).to_pylist()), "")
        if (
            _DECIMAL_COMMA.fullmatch(first)
            and pc.all(pc.match_substring_regex(column, f"^{_DECIMAL_COMMA.pattern}$")).as_py()
        ):
            raise FormatError(f'{path}: column {name} holds numbers such as {first}; say so: decimal=","')


def _read_json(path: Path) -> pa.Table:
    import pyarrow as pa
    from pyarrow import json

    try:
        with path.open("rb") as file:
            block = min(_LARGEST_BLOCK, max(1 << 20, path.stat().st_size + 1))
            return json.read_json(file, read_options=json.ReadOptions(block_size=block))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} cannot be read as JSON Lines, one object per line: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


class ParquetTable(Table):
    """A Parquet file, read block by block."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with open_parquet(path) as file:
            types: dict[str, pa.DataType] = {}
            for name, kind in file.types.items():
                types |= _leaves(name, kind)
            super().__init__(types, file.rows)
            self._gaps = {name: _counted_gaps(file, name) for name in types}

    def batches(self, names: Sequence[str]) -> Iterator[dict[str, pa.Array]]:  # noqa: D102
        with open_parquet(self._path) as file:
            widths: dict[str, int] = {}
            for name in names:
                top = name if name in file.types else next(t for t in file.types if name.startswith(f"{t}/"))
                widths[top] = max(widths.get(top, 1), file.width(top) if not _is_struct(file.types[top]) else 1)
            file.check_fits(8 * sum(widths.values()))
            for batch in file.batches(widths, rows=_rows_at_once(sum(widths.values()))):
                columns = (
                    dict(zip(widths, batch.columns, strict=True))
                    if batch.schema.names == [*widths]
                    else {name: batch.column(name) for name in widths}
                )
                yield {name: columns[name] if name in columns else _inside(columns, name) for name in names}

    def gaps(self, name: str) -> int:  # noqa: D102
        known = self._gaps[name]
        return super().gaps(name) if known is None else known


def _rows_at_once(values: int) -> int:
    """Return how many rows of so many values are read in one go: few enough for a cache, enough that calls cost little."""
    return max(1 << 10, min(1 << 16, (1 << 18) // max(values, 1)))


def _leaves(name: str, kind: pa.DataType) -> dict[str, pa.DataType]:
    if not _is_struct(kind):
        return {name: kind}
    found: dict[str, pa.DataType] = {}
    for number in range(kind.num_fields):
        found |= _leaves(f"{name}/{kind.field(number).name}", kind.field(number).type)
    return found


def _is_struct(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_struct(kind))


def _inside(columns: dict[str, Any], name: str) -> Any:
    """Return a column inside others, without a value where one that it lies in has none."""
    top = next(key for key in columns if name.startswith(f"{key}/"))
    column, rest = columns[top], name[len(top) + 1 :]
    while _is_struct(column.type):
        fields = {column.type.field(number).name: number for number in range(column.type.num_fields)}
        field = next(key for key in fields if rest == key or rest.startswith(f"{key}/"))
        column, rest = column.flatten()[fields[field]], rest[len(field) + 1 :]
    return column


def _counted_gaps(file: ParquetFile, name: str) -> int | None:
    """Return how many rows have no value, as the file's statistics say; None where they do not."""
    return file.counted_gaps(name.replace("/", "."))
