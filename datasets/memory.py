"""How much memory there is, and arrays that may be larger.

A column that would take a large part of the free memory lies in a temporary file instead, through a memory map. The
operating system writes and reads it as needed, so that one gigabyte is enough for ten million steps. The file has no name,
so nothing remains of it however the process ends.

Where large arrays come and go at every step of a computation, `keep_freed` lets them use the same memory again.
"""

from __future__ import annotations

import ctypes
import functools
import math
import mmap
import os
import platform
import resource
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from assay.datasets.errors import DatasetError

__all__ = ["available_memory", "copy", "empty", "keep_freed", "scratch_folder", "take_ranges"]

_LARGEST_SHARE = 1 / 16  # of the free memory, for one array
_SMALL_BYTES = 4 << 20  # asking how much memory is free would take as long as filling so few
_BLOCK_ROWS = 1 << 18
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h


def available_memory() -> int:
    """Return the bytes that this process may still take.

    The least of what the machine has (memory that only caches files can be had), what a container or job scheduler
    allows (control groups), and the process's own limit on data (`ulimit -d`).
    """
    amounts = [_of_machine(), *_of_control_group()]
    limit = min(resource.getrlimit(resource.RLIMIT_DATA)[0] % 2**64, resource.getrlimit(resource.RLIMIT_AS)[0] % 2**64)
    if limit < 2**62:
        amounts.append(limit - _taken())
    return max(0, min(amounts))


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array to be filled: in memory, or in a nameless temporary file where it is large for the free memory.

    The file lies in the folder that the environment variable ASSAY_SCRATCH names, by default `scratch` under the
    folder of `assay.datasets.loading.home`.

    Parameters
    ----------
    shape : tuple of int
    dtype : numpy dtype

    Raises
    ------
    DatasetError
        If the temporary file cannot be made; with the folder.

    Examples
    --------
    >>> empty((2, 3), np.float32).shape
    (2, 3)
    """
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size < _SMALL_BYTES or size <= available_memory() * _LARGEST_SHARE:
        return np.empty(shape, dtype)
    folder = scratch_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, size)  # a full disk is an error here, and a crash later
            mapped = mmap.mmap(file.fileno(), size)
    except OSError as error:
        raise DatasetError(
            f"{size:,} bytes for a column of {dtype}{list(shape)} fit neither into memory nor into {folder} "
            f"({error.strerror}); set ASSAY_SCRATCH to a folder with more room"
        ) from error
    return np.frombuffer(mapped, dtype).reshape(shape)


def copy(array: np.ndarray) -> np.ndarray:
    """Return a copy that may be written to, made by `empty`."""
    result = empty(array.shape, array.dtype)
    for start in range(0, len(array), _BLOCK_ROWS):
        result[start : start + _BLOCK_ROWS] = array[start : start + _BLOCK_ROWS]
    return result


def take_ranges(array: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Join the row ranges start, ..., start + length - 1 of an array; ranges that follow each other are not copied.

    Parameters
    ----------
    array : (M, ...) array
    starts, lengths : (K,) int64

    Examples
    --------
    >>> take_ranges(np.arange(10), np.array([7, 1]), np.array([2, 3])).tolist()
    [7, 8, 1, 2, 3]
    """
    if not len(starts):
        return array[:0]
    stops = starts + lengths
    if np.array_equal(starts[1:], stops[:-1]):
        return array[starts[0] : stops[-1]]
    result = empty((int(lengths.sum()), *array.shape[1:]), array.dtype)
    borders = np.cumsum(lengths)
    first, filled = 0, 0
    while first < len(starts):  # as many ranges at a time as make up a block
        last = max(first + 1, int(np.searchsorted(borders, filled + _BLOCK_ROWS, side="right")))
        rows = np.arange(borders[last - 1] - filled)
        rows += np.repeat(
            starts[first:last] - (borders[first:last] - lengths[first:last] - filled), lengths[first:last]
        )
        np.take(array, rows, axis=0, out=result[filled : filled + len(rows)], mode="clip")
        first, filled = last, int(borders[last - 1])
    return result


@functools.cache
def keep_freed() -> bool:
    """Keep what this process frees, up to 2 GiB at a time, for what it allocates next; asked once for a process.

    The GNU C library gives every block of 32 MiB and more back as soon as it is freed, and smaller ones when many are, and the
    operating system fills with zeros, page by page, what it hands out again. A training that makes the same large arrays
    in every update can spend a third of its time on that. No number that is computed changes.

    Returns
    -------
    bool
        Whether the allocator could be told; others than glibc's are left as they are.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return bool(library.mallopt(_MMAP_MAX, 0) and library.mallopt(_TRIM_THRESHOLD, 2**31 - 1))


def scratch_folder() -> Path:
    """Return the folder for temporary files: the environment variable ASSAY_SCRATCH, or `scratch` under `home()`."""
    home = os.environ.get("ASSAY_HOME") or Path.home() / ".assay"
    return Path(os.environ.get("ASSAY_SCRATCH") or Path(home, "scratch"))


def _of_machine() -> int:
    information = Path("/proc/meminfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _of_control_group() -> list[int]:
    """Return what the control group of this process still allows, if it has a limit (version 2)."""
    try:
        group = Path("/proc/self/cgroup").read_text().strip().rpartition("::")[2]
        folder = Path("/sys/fs/cgroup", group.lstrip("/"))
        limit = (folder / "memory.max").read_text().strip()
        if limit == "max":
            return []
        counts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return [int(limit) - int((folder / "memory.current").read_text()) + int(counts["file"])]
    except (OSError, ValueError, KeyError):
        return []


def _taken() -> int:
    """Return the bytes of private memory of this process, or 0 where they are not counted."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
