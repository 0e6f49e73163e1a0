"""Why nothing recognizes a path: it is empty, cut off, or of a known kind and something is missing.

A format may say by two names what a path of its kind has, for the message: `NEEDED`, arrays of a single file, and `MARKS`,
paths in a folder.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from assay.datasets.errors import DatasetError
from assay.datasets.formats.containers.files import require_file
from assay.datasets.formats.containers.hdf5 import open_hdf5
from assay.datasets.formats.containers.npz import open_npz
from assay.datasets.formats.containers.parquet import open_parquet
from assay.datasets.tables.files import SUFFIXES, kind_of, open_table

__all__ = ["reason"]

_LISTED = 30  # names of arrays or datasets
_FOREIGN = {  # how a file begins -> what it is, and what to do
    b"\x1f\x8b": "is packed by gzip; unpack it first",
    b"\xfd7zXZ": "is packed by xz; unpack it first",
    b"BZh": "is packed by bzip2; unpack it first",
    b"\x28\xb5\x2f\xfd": "is packed by zstd; unpack it first",
    **dict.fromkeys((b"\xff\xfe", b"\xfe\xff"), "is text in UTF-16; save it as UTF-8"),
    b"version https://git-lfs": "is a pointer of Git LFS, not the file itself; fetch it with git lfs pull",
    b"<!DOCTYPE": "is a web page, which a server sent in place of the file; download it again",
    b"<html": "is a web page, which a server sent in place of the file; download it again",
    **dict.fromkeys((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"), "is a pickle, which is never opened"),
}


def reason(path: Path, formats: Mapping[str, Any]) -> str:
    """Return, in a sentence that begins with the path, why no format recognizes what is there.

    Parameters
    ----------
    path : Path
        A file or folder.
    formats : mapping of str to Format
        By name, those that were tried.
    """
    unknown = f"{path} is in no known format ({', '.join(formats)})"
    if path.is_dir():
        return _of_folder(path, formats) or unknown + _datasets_inside(path, formats)
    try:
        require_file(path)
        with path.open("rb") as file:
            head = file.read(64)
        for start, text in _FOREIGN.items():
            if head.startswith(start):
                return f"{path} {text}"
        return _of_container(path, head, formats) or unknown + _of_text(head)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    except DatasetError as error:
        return str(error)


def _of_container(path: Path, head: bytes, formats: Mapping[str, Any]) -> str:
    """Return what an HDF5 file, archive or table holds and what is missing; "" for a file of another kind.

    Raises
    ------
    FormatError
        If it is damaged or cut off.
    """
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        with open_hdf5(path) as hdf5:
            return _holds(path, "an HDF5 file", list(hdf5.datasets), (".hdf5", ".h5"), formats, "hdf5")
    if head.startswith(b"PK\x03\x04"):
        with open_npz(path) as archive:
            return _holds(path, "an .npz archive", archive.names, (".npz",), formats, "npz")
    if head.startswith(b"PAR1"):
        with open_parquet(path) as table:
            return _holds(path, "a Parquet table", list(table.types), (".parquet",), formats, "table")
    if (kind := kind_of(path)) is not None:
        names = list(open_table(path).types)
        return _holds(path, "a CSV table" if kind == "csv" else "a table of JSON Lines", names, (), formats, "table")
    return ""


def _of_text(head: bytes) -> str:
    """Return what a file of text should be called, if it is to be read as a table; "" for anything else."""
    text = head.decode("utf-8", "ignore")
    if not all(character.isprintable() or character in "\r\n\t" for character in text):
        return ""
    if text.lstrip().startswith(("{", "[")):
        return "; JSON is read as lines of one object each, from a file that ends in .jsonl or .ndjson"
    return "; tables of text are read from files that end in .csv or .tsv"


def _holds(
    path: Path,
    kind: str,
    names: Collection[str],
    suffixes: tuple[str, ...],
    formats: Mapping[str, Any],
    plain: str | None,
) -> str:
    listed = ", ".join(list(names)[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
    text = f"{path} is {kind} in no known format; it holds {listed or 'nothing'}"
    tops = {name.split("/")[0] for name in names}
    nearest = max(_candidates(tops, suffixes, formats), default=None)
    if nearest is not None:
        _, title, missing = nearest
        text += (
            f". Nearest is {title}, for which {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
        )
    if plain in formats:
        text += (
            '. Any names are read with a mapping, columns={"observations": "...", ...}; '
            f"`{_proposal(path)}` proposes one"
        )
    return text


def _proposal(path: Path) -> str:
    return f"assay datasets map {shlex.quote(str(path))}"


def _candidates(
    names: Collection[str], suffixes: tuple[str, ...], formats: Mapping[str, Any]
) -> Iterator[tuple[float, str, list[str]]]:
    """Yield (share of the needed arrays that are there, title, missing arrays) for formats with half of their arrays or more."""
    for format in formats.values():
        needed = set(getattr(format, "NEEDED", ()))
        if needed and any(suffix in format.LAYOUT for suffix in suffixes):
            missing = sorted(needed - set(names))
            share = 1 - len(missing) / len(needed)
            if missing and share >= 0.5:
                yield share, format.TITLE, missing


def _of_folder(path: Path, formats: Mapping[str, Any]) -> str:
    """Return the error of the format that a folder has a mark of; "" if it has no mark."""
    for format in formats.values():
        marks = [mark for mark in getattr(format, "MARKS", ()) if (path / mark).exists()]
        if not marks:
            continue
        try:
            format.read(path)
        except DatasetError as error:
            return f"{path} has {marks[0]}, as {format.TITLE} does, but cannot be read as such: {error}"
    return ""


def _datasets_inside(path: Path, formats: Mapping[str, Any]) -> str:
    try:
        inside = sorted(child for child in path.iterdir() if not child.name.startswith("."))
    except OSError as error:
        return f"; the folder cannot be read: {error.strerror}"
    if not inside:
        return "; the folder is empty"
    datasets = [child.name for child in inside if any(format.sniff(child) for format in formats.values())]
    if datasets:
        return f"; the folder holds the datasets {', '.join(datasets)}"
    tables = [kind for child in inside if (kind := kind_of(child)) is not None]
    if len(kinds := sorted(set(tables))) > 1:
        return f"; the folder holds tables of several kinds ({', '.join(kinds)}): put one kind into a folder of its own"
    if len(tables) > 1:
        return (
            f"; the folder holds {len(tables):,} tables, of which each may be an episode: they are read with a mapping, "
            f'columns={{"observations": "...", ...}}; `{_proposal(path)}` proposes one'
        )
    reasons = [reason(child, formats) for child in inside[:_LISTED] if child.is_file() and child.suffix in _SUFFIXES]
    return f"; {reasons[0]}" if reasons else ""


_SUFFIXES = {".hdf5", ".h5", ".npz", *SUFFIXES}
