"""Checks before a container is opened: the path exists, is a file, and is not empty; and the order of names."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from assay.datasets.errors import DatasetError, FormatError

__all__ = ["natural_order", "read_json_lines", "read_json_object", "require_file"]


def natural_order(name: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts names with their numbers in order.

    Examples
    --------
    >>> sorted(["run_10", "run_2", "run_1"], key=natural_order)
    ['run_1', 'run_2', 'run_10']
    """
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def require_file(path: Path) -> None:
    """Raise FormatError unless there is a file with something in it.

    Examples
    --------
    >>> require_file(Path("absent.npz"))
    Traceback (most recent call last):
        ...
    assay.datasets.errors.FormatError: absent.npz is missing; copy the dataset again
    """
    if not path.exists():
        raise FormatError(f"{path} is missing; copy the dataset again")
    if not path.is_file():
        raise FormatError(f"{path} is not a file")
    if not path.stat().st_size:
        raise FormatError(f"{path} is empty (0 bytes); copy it again")


def read_json_object(path: Path, error: type[DatasetError] = FormatError) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Raises
    ------
    FormatError, or the error given
        If the file is missing, empty or damaged, or holds something else.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "info.json")
    >>> _ = path.write_text('{"fps": 30}')
    >>> read_json_object(path)
    {'fps': 30}
    """
    try:
        content = path.read_bytes()
    except OSError as cause:
        raise error(f"{path} cannot be read: {cause}") from cause
    if not content.strip(b"\0 \t\r\n"):
        raise error(f"{path} is empty or blank ({len(content)} bytes); copy it again")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as cause:
        raise error(f"{path} is damaged: {cause}") from cause
    if not isinstance(found, dict):
        raise error(f"{path} is damaged: it does not hold a JSON object")
    return found


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Read a file with one JSON object on each line; blank lines are passed over.

    Raises
    ------
    FormatError
        If the file is missing, empty or damaged, or a line holds something else; with the line.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "tasks.jsonl")
    >>> _ = path.write_text('{"task_index": 0}\\n{"task_index": 1}\\n')
    >>> [line["task_index"] for line in read_json_lines(path)]
    [0, 1]
    """
    require_file(path)
    found = []
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                content = json.loads(line)
            except (ValueError, RecursionError) as cause:
                raise FormatError(f"{path}, line {number} is damaged: {cause}") from cause
            if not isinstance(content, dict):
                raise FormatError(f"{path}, line {number} is damaged: it does not hold a JSON object")
            found.append(content)
    if not found:
        raise FormatError(f"{path} holds blank lines only; copy it again")
    return found
