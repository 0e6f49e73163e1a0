"""Writing HDF5 files, also where the disk gets full.

HDF5 keeps what it could not write and tries again for every object that is freed and when Python ends. h5py prints each of
these failures (thousands of lines), and at the end HDF5 crashes the process. So the file that HDF5 is given here never
refuses: it notes the first failure, drops all later writes, and the failure is raised once the file is closed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

__all__ = ["create_hdf5"]


class _NotingFile:
    """A binary file that notes the first failure to write instead of raising it."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
        self.position = 0
        self.failure: OSError | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: os.fstat(self.descriptor).st_size}
        self.position = start[whence] + offset
        return self.position

    def tell(self) -> int:
        return self.position

    def read(self, size: int) -> bytes:
        buffer = bytearray(size)
        self.readinto(buffer)
        return bytes(buffer)

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        read = os.preadv(self.descriptor, [view], self.position)
        view[read:] = bytes(len(view) - read)  # what lies beyond the end of a file that could not grow
        self.position += len(view)
        return len(view)

    def write(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        self._attempt(lambda: self._write_all(view))
        self.position += len(view)
        return len(view)

    def _write_all(self, view: memoryview) -> None:
        done = 0
        while done < len(view):
            done += os.pwrite(self.descriptor, view[done:], self.position + done)

    def truncate(self, size: int | None = None) -> int:
        size = self.position if size is None else size
        self._attempt(lambda: os.ftruncate(self.descriptor, size))
        return size

    def flush(self) -> None:
        pass  # nothing is held back here

    def _attempt(self, action: Any) -> None:
        if self.failure is None:
            try:
                action()
            except OSError as error:
                self.failure = error


@contextmanager
def create_hdf5(path: Path, **options: Any) -> Iterator[h5py.File]:
    """Give a new HDF5 file, open for writing.

    Parameters
    ----------
    path : Path
    **options
        As `h5py.File` takes them, such as `track_order`.

    Raises
    ------
    OSError
        If not all of it could be written, with the operating system's reason; once the file is closed.
    """
    raw = _NotingFile(path)
    try:
        try:
            with h5py.File(raw, "w", **options) as file:
                yield file
        except Exception:
            if raw.failure is None:
                raise
        if raw.failure is not None:
            raise raw.failure
    finally:
        os.close(raw.descriptor)
