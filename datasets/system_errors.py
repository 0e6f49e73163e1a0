"""What the operating system refused, said in one line: the path and the reason."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from assay.datasets.errors import AssayError, StorageError

__all__ = ["naming_failures", "system_reason"]

_FULL = "the disk is full, or a quota or a limit of file sizes is reached"
_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: _FULL,
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ELOOP: "its symbolic links lead in a circle",
    errno.EEXIST: "something that is not a folder is in its place",
    errno.ENOTDIR: "something in the path is not a folder",
}
_NUMBER = re.compile(r"(?:errno = |os error )(\d+)")  # HDF5's and Rust's ways to write it
_PARTLY = re.compile(r"\d+ requested and \d+ written")  # NumPy's, which does not say why


def system_reason(error: BaseException) -> str | None:
    """Return why the operating system refused something, or None where an error is of another kind.

    Parameters
    ----------
    error : exception
        Of the standard library, NumPy, h5py, pyarrow or Polars; the last three have ways of their own to say it.

    Examples
    --------
    >>> system_reason(OSError(28, "No space left on device"))
    'the disk is full'
    >>> system_reason(OSError("60000 requested and 28656 written"))
    'the disk is full, or a quota or a limit of file sizes is reached'
    >>> system_reason(ValueError("rate=2")) is None
    True
    """
    text = str(error)
    number = getattr(error, "errno", None)
    if not isinstance(number, int):
        found = _NUMBER.search(text)
        number = int(found[1]) if found else None
    if number is not None:
        return _REASONS.get(number, os.strerror(number).lower())
    if _PARTLY.search(text):
        return _FULL
    return " ".join(text.split()) or type(error).__name__ if isinstance(error, OSError) else None


@contextmanager
def naming_failures(target: Path) -> Iterator[None]:
    """Raise StorageError with the target's path for everything that the operating system refuses while it is written."""
    try:
        yield
    except AssayError:
        raise
    except Exception as error:
        reason = system_reason(error)
        if reason is None:
            raise
        other = getattr(error, "filename", None)
        place = (
            f" ({os.fsdecode(other)})" if isinstance(other, (str, bytes)) and os.fsdecode(other) != str(target) else ""
        )
        raise StorageError(f"{target} cannot be written: {reason}{place}") from error
