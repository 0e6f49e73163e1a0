"""Files and folders that appear whole or not at all.

Writing goes to a hidden sibling, which is flushed to disk and renamed. A writer that is killed leaves at most such a
sibling; it holds a lock while it lives, so the next writer of the same target can tell a dead one and removes it.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from assay.datasets.errors import DatasetError

__all__ = ["atomic_folder", "atomic_write"]

_MARK = ".writing-"  # temporary siblings are named .<target>.writing-<random>
_LOCK = ".lock"


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def atomic_write(path: Path, content: bytes | str) -> None:
    """Write a small file so that readers see the old content or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}{_MARK}", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise
    _flush(path.parent)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _remove_abandoned(target: Path) -> None:
    for sibling in target.parent.glob(f".{target.name}{_MARK}*"):
        if not sibling.is_dir():
            continue
        try:
            descriptor = os.open(sibling / _LOCK, os.O_RDWR)
        except FileNotFoundError:
            continue  # its writer is between creating the folder and the lock, or finishing
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue  # its writer is alive
        else:
            shutil.rmtree(sibling, ignore_errors=True)
        finally:
            os.close(descriptor)


def _exchange(new: Path, old: Path) -> None:
    """Swap two folders in one step, so that there is no moment without `old` (Linux; elsewhere two renames)."""
    swap = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    at_current_folder, exchange = -100, 2
    if (
        swap is not None
        and swap(at_current_folder, os.fsencode(new), at_current_folder, os.fsencode(old), exchange) == 0
    ):
        return
    aside = Path(f"{new}.replaced")
    os.rename(old, aside)
    os.rename(new, old)
    os.rename(aside, new)


@contextmanager
def atomic_folder(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder to fill; on success it becomes `target`, on any error it is removed.

    Raises
    ------
    DatasetError
        If `target` exists and `overwrite` is False.
    """
    target = Path(os.path.abspath(target))
    if target.exists() and not overwrite:
        raise DatasetError(f"{target} exists already; choose another path or pass overwrite=True (--overwrite)")
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(target)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}{_MARK}", dir=target.parent))
    lock = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
        os.unlink(folder / _LOCK)
        for parent, _, names in os.walk(folder):
            for name in names:
                _flush(Path(parent, name))
            _flush(Path(parent))
        os.chmod(folder, 0o777 & ~_umask())
        if target.exists():
            if not overwrite:
                raise DatasetError(f"{target} was created by somebody else meanwhile; nothing was written")
            _exchange(folder, target)
            shutil.rmtree(folder)
        else:
            os.rename(folder, target)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        os.close(lock)
    _flush(target.parent)
