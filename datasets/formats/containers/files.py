"""Checks before a container is opened: the path exists, is a file, and is not empty."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from assay.datasets.errors import DatasetError, FormatError

__all__ = ["read_json_object", "require_file"]


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
