"""How a CSV file is laid out: where its names stand, what is between its values, and which lines are comments.

Lines that begin with # are comments. Names stand in the first other line, or in the last comment before it that has as many cells as
the rows, as in files of `numpy.savetxt` and in logs that begin with `#timestamp,filename`::

    # from the arm        a comment
    # t x u               names: as many cells as the rows
    # s m N               units, which are no names
    0.0 1.0 -1.0          rows, blanks between their values
    # paused              a comment
    0.5 2.0 -2.0
"""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from assay.datasets.errors import AssayWarning, FormatError

__all__ = ["BLANKS", "DELIMITERS", "CsvLayout", "find_layout", "has_comments", "without_comments"]

DELIMITERS = (",", ";", "\t", "|")
BLANKS = " "
_HEADER_BYTES = 1 << 16
_BLOCK_BYTES = 1 << 20
_LOOKED_AT = 50  # rows
_UNITS = re.compile(
    r"[\[(].*[\])]|-|%|[munkM]?(s|m|g|A|V|W|N|J|Hz|Pa|Nm|rad|deg|px)([*/^·0-9].*)?|N[ *·]?m|°C?|°?/s|K|C|hz|sec|min|h"
)


@dataclass(frozen=True)
class CsvLayout:
    """How a CSV file is laid out.

    Parameters
    ----------
    skipped : int
        Lines before the names; before the rows, where `names` are known.
    delimiter : str
        Between values.
    names : tuple of str, optional
        Where they stand in a comment.
    any_blanks : bool
        Whether several blanks or tabs between values count as one.
    hashed_rows : int
        Cells of rows that begin with #; 0 where every such line is a comment.
    nameless : bool
        Whether the file has no names, so that `names` are made up.
    """

    skipped: int
    delimiter: str
    names: tuple[str, ...] | None = None
    any_blanks: bool = False
    hashed_rows: int = 0
    nameless: bool = False

    @property
    def between(self) -> str:
        """What stands between values, in words."""
        known = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
        return "blanks" if self.any_blanks else known.get(self.delimiter, repr(self.delimiter))

    @property
    def reading(self) -> str:
        """What is not as in most files, in words."""
        told = [] if self.delimiter == "," else [f"{self.between} between values"]
        if self.names is not None:
            told.append(f"names {'made up' if self.nameless else 'of a comment'}: {', '.join(self.names)}")
        return ", ".join(told)


def find_layout(path: Path, delimiter: str | None = None) -> CsvLayout:
    """Return how a file is laid out, by its first lines.

    Parameters
    ----------
    path : Path
    delimiter : str, optional
        By default what occurs most in the first line that is no comment, of comma, semicolon, tab and bar; blanks where none
        of them occurs and every line has as many words.

    Raises
    ------
    FormatError
        If there is nothing but comments.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "arm.txt")
    >>> _ = file.write_text("# from the arm\\n# t x\\n# s m\\n0.0 1.0\\n0.5 2.0\\n")
    >>> find_layout(file)
    CsvLayout(skipped=3, delimiter=' ', names=('t', 'x'), any_blanks=True, hashed_rows=0, nameless=False)
    """
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
    lines = head.decode("utf-8-sig", "replace").split("\n")
    if len(head) == _HEADER_BYTES and len(lines) > 1:
        lines.pop()  # cut
    lines = [line.rstrip("\r") for line in lines]
    first = next((number for number, line in enumerate(lines) if line.strip() and not line.startswith("#")), None)
    if first is None:
        told = "blank lines" if not any(map(str.strip, lines)) else "comments, lines that begin with #"
        raise FormatError(f"{path} holds no rows but {told}; put a line of names and the rows below")
    rows = [line for line in lines[first:] if line.strip() and not line.startswith("#")][:_LOOKED_AT]
    blanks = delimiter is None and _between_blanks(rows)
    delimiter = BLANKS if blanks else delimiter or max(DELIMITERS, key=_unquoted(rows[0]).count)
    cells = [_cells(row, delimiter, blanks) for row in rows]
    names = None
    if any(map(_is_number, cells[0])) or not any(_is_number(cell) for row in cells[1:] for cell in row):
        comments = [line for line in lines[:first] if line.startswith("#")]
        names = _names_among([_cells(line[1:].strip(), delimiter, blanks) for line in comments], len(cells[0]))
    nameless = names is None and all(map(_is_number, cells[0])) and not all(map(_is_whole, cells[0]))
    if nameless:  # whole numbers may be names, as pandas writes them
        names = tuple(f"column_{number}" for number in range(len(cells[0])))
        warnings.warn(
            f"{path} has no line of names; its columns are called {names[0]} to {names[-1]}", AssayWarning, stacklevel=2
        )
    data = [line for line in lines[first + (names is None) :] if line.strip()]
    hashed = (
        bool(data)
        and all(len(_cells(line, delimiter, blanks)) == len(cells[0]) for line in data if line.startswith("#"))
        and not _is_number(next((row for row in cells[names is None :]), [""])[0])
    )
    return CsvLayout(first, delimiter, names, blanks, len(cells[0]) if hashed else 0, nameless)


def without_comments(file: BinaryIO, layout: CsvLayout) -> BinaryIO:
    """Return a file from its rows on (from its names, where these are no comment), without comments, one blank between values."""
    return io.BufferedReader(_Lines(file, layout), _BLOCK_BYTES)


class _Lines(io.RawIOBase):
    def __init__(self, file: BinaryIO, layout: CsvLayout) -> None:
        self._lines, self._rest = _kept(file, layout), b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while len(self._rest) < len(buffer) and (line := next(self._lines, None)) is not None:
            self._rest += line
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def _kept(file: BinaryIO, layout: CsvLayout) -> Iterator[bytes]:
    """Return pieces of about a block, of whole lines."""
    for _ in range(layout.skipped):
        file.readline()
    quoted = False  # inside a text that goes over several lines
    while lines := file.readlines(_BLOCK_BYTES):
        kept = []
        for line in lines:
            if not quoted and line.startswith(b"#") and not _is_row(line, layout):
                continue
            quoted ^= bool(line.count(b'"') % 2)
            kept.append(b" ".join(line.split()) + b"\n" if layout.any_blanks else line)
        yield b"".join(kept)


def _is_row(line: bytes, layout: CsvLayout) -> bool:
    if not layout.hashed_rows:
        return False
    return len(_cells(line.decode("utf-8", "replace").rstrip("\r\n"), layout.delimiter, False)) == layout.hashed_rows


def has_comments(path: Path, layout: CsvLayout) -> bool:
    """Tell whether a line behind the first ones begins with #."""
    with path.open("rb") as file:
        for _ in range(layout.skipped):
            file.readline()
        before = b"\n"
        while block := file.read(_BLOCK_BYTES):
            if b"\n#" in before + block:
                return True
            before = block[-1:]
    return False


def _between_blanks(rows: Sequence[str]) -> bool:
    """Tell whether blanks stand between the values: nothing else does, rows have as many words, and there are numbers."""
    if any(mark in row for row in rows for mark in (",", ";", "|", '"')):
        return False
    words = [row.split() for row in rows]
    if len(words[0]) < 2 or len(words[0]) != len(words[min(1, len(words) - 1)]):
        return False
    if len({len(row) for row in words}) > 1 and not all(map(_is_number, words[1])):
        return False  # texts
    single_tabs = all(row.count("\t") == len(found) - 1 for row, found in zip(rows, words))
    return not single_tabs and any(_is_number(word) for row in words for word in row)


def _names_among(comments: Sequence[Sequence[str]], count: int) -> tuple[str, ...] | None:
    """Return the cells of the last comment that may be names of so many columns: those of units only if there is no other."""
    fitting = [cells for cells in comments if len(cells) == count and len(set(cells)) == count]
    chosen = next((cells for cells in reversed(fitting) if not all(map(_UNITS.fullmatch, cells))), None)
    if chosen is None:
        chosen = fitting[-1] if fitting else None
    return None if chosen is None else (chosen[0] or "#", *chosen[1:])


def _cells(line: str, delimiter: str, blanks: bool) -> list[str]:
    if blanks:
        return line.split()
    found = next(csv.reader([line], delimiter=delimiter), [])
    return [cell.strip() for cell in found]


def _unquoted(line: str) -> str:
    return re.sub(r'"[^"]*"', "", line)


def _is_whole(text: str) -> bool:
    return text.strip(' "').isdecimal()


def _is_number(text: str) -> bool:
    try:
        float(text.strip(' "').replace(",", "."))
    except ValueError:
        return False
    return True
