"""Files and folders that appear whole or not at all.

Writing goes to a hidden sibling, which is flushed to disk and renamed. A writer that is killed leaves at most such a
sibling. While it lives it holds a lock on a file beside it, from before the sibling exists until after it is gone, so the
next writer of the same target can tell a dead one and removes what it left.
"""

from __future__ import annotations

import ctypes
import fcntl
import glob
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from assay.datasets.errors import DatasetError, StorageError
from assay.datasets.system_errors import naming_failures

__all__ = ["atomic_file", "atomic_folder", "atomic_write"]

_MARK = ".writing-"  # temporary siblings are named .<target>.writing-<random>
_MANY_FILES = 200  # as formats with a file per episode have
_LONG_NAME = 200  # bytes; a file system takes 255, and the siblings' names are longer than the target's
_LOCK = ".lock"  # and their locks .<target>.writing-<random>.lock


def _prefix(target: Path) -> str:
    """Return how the names of temporary siblings begin: with the target's name, or its digest where that is long."""
    name = os.fsencode(target.name)
    if len(name) > _LONG_NAME:
        return f".{hashlib.sha256(name).hexdigest()}{_MARK}"
    return f".{target.name}{_MARK}"


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    """Flush all that is in a folder: file by file, or the whole file system at once where there are many (Linux)."""
    walked = list(os.walk(folder))
    whole = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if whole is not None and sum(len(names) for _, _, names in walked) > _MANY_FILES:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            if whole(descriptor) == 0:
                return
        finally:
            os.close(descriptor)
    for parent, _, names in walked:
        for name in names:
            _flush(Path(parent, name))
        _flush(Path(parent))


def atomic_write(path: Path, content: bytes | str) -> None:
    """Write a small file so that readers see the old content or the new one, never a part.

    Raises
    ------
    StorageError
        If the operating system refuses; with the path and the reason.
    """
    with naming_failures(path):
        _write_whole(path, content)


def _refuse_special(target: Path) -> None:
    """Raise where the target is no place for a file: renaming would replace a device, such as /dev/null, by one."""
    if target.exists() and not (target.is_file() or target.is_dir()):
        raise StorageError(f"{target} cannot be written: it is a device, a pipe or a socket, not a file")


def _write_whole(path: Path, content: bytes | str) -> None:
    _refuse_special(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=_prefix(path), dir=path.parent)
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
    for lock in target.parent.glob(f"{glob.escape(_prefix(target))}*{_LOCK}"):
        try:
            descriptor = os.open(lock, os.O_RDWR)
        except FileNotFoundError:
            continue  # its writer has just finished
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue  # its writer is alive
        else:
            left = lock.with_name(lock.name.removesuffix(_LOCK))
            shutil.rmtree(left, ignore_errors=True)
            with suppress(FileNotFoundError, IsADirectoryError):
                left.unlink()
            lock.unlink(missing_ok=True)  # last, so that a folder without a lock never exists
        finally:
            os.close(descriptor)


def _take_lock(target: Path) -> tuple[Path, int]:
    """Create a lock file beside `target` and lock it; return it and its descriptor."""
    while True:
        descriptor, name = tempfile.mkstemp(prefix=_prefix(target), suffix=_LOCK, dir=target.parent)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.path.exists(name):
            return Path(name), descriptor
        os.close(descriptor)  # another writer took it for abandoned before it was locked


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
def atomic_file(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a path to write a large file to; on success it becomes `target`, on any error it is removed.

    Raises
    ------
    DatasetError
        If `target` exists and `overwrite` is False, or is a folder.
    StorageError
        If the operating system refuses; with the path and the reason.
    """
    with naming_failures(target), _atomic_file(target, overwrite) as part:
        yield part


@contextmanager
def _atomic_file(target: Path, overwrite: bool) -> Iterator[Path]:
    _refuse_special(target)
    target = Path(os.path.realpath(target))
    if target.is_dir():
        raise DatasetError(f"{target} is a folder; this format is one file: name it")
    if target.exists() and not overwrite:
        raise DatasetError(f"{target} exists already; choose another path or pass overwrite=True (--overwrite)")
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(target)
    lock, descriptor = _take_lock(target)
    part = lock.with_name(lock.name.removesuffix(_LOCK))
    try:
        yield part
        _flush(part)
        if overwrite:
            os.replace(part, target)
        else:
            try:
                os.link(part, target)  # unlike a renaming, this never replaces what somebody else wrote meanwhile
            except FileExistsError:
                raise DatasetError(f"{target} was created by somebody else meanwhile; nothing was written") from None
        _flush(target.parent)
    finally:
        part.unlink(missing_ok=True)
        lock.unlink(missing_ok=True)
        os.close(descriptor)


@contextmanager
def atomic_folder(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder to fill; on success it becomes `target`, on any error it is removed.

    Raises
    ------
    DatasetError
        If `target` exists and `overwrite` is False, or is a file.
    StorageError
        If the operating system refuses; with the path and the reason.
    """
    with naming_failures(target), _atomic_folder(target, overwrite) as part:
        yield part


@contextmanager
def _atomic_folder(target: Path, overwrite: bool) -> Iterator[Path]:
    _refuse_special(target)
    target = Path(os.path.realpath(target))
    _refuse_unasked(target, overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(target)
    lock, descriptor = _take_lock(target)
    folder = lock.with_name(lock.name.removesuffix(_LOCK))
    try:
        folder.mkdir()
        yield folder
        _flush_folder(folder)
        _put_in_place(folder, target, overwrite)
        _flush(target.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # what was replaced, or what was not finished
        lock.unlink(missing_ok=True)
        os.close(descriptor)


def _put_in_place(folder: Path, target: Path, overwrite: bool) -> None:
    if not target.exists():
        try:
            os.rename(folder, target)
            return
        except OSError:
            if not target.exists():  # else somebody was faster by a moment
                raise
    if not overwrite:
        raise DatasetError(f"{target} was created by somebody else meanwhile; nothing was written")
    _exchange(folder, target)


def _refuse_unasked(target: Path, overwrite: bool) -> None:
    if target.exists() and not overwrite:
        raise DatasetError(f"{target} exists already; choose another path or pass overwrite=True (--overwrite)")
    if target.exists() and not target.is_dir():
        raise DatasetError(f"{target} is a file; only a folder can be overwritten by a dataset")
