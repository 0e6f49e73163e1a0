"""How much memory there is, and arrays that may be larger.

Columns that would take a large part of the free memory are laid out in a temporary file instead, through a memory map:
the operating system writes them out and reads them back as needed, so ten million steps are worked on with one gigabyte.
The file has no name, so nothing remains of it however the process ends.
"""

from __future__ import annotations

import math
import mmap
import os
import resource
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from assay.datasets.errors import DatasetError

__all__ = ["available_memory", "empty"]

_LARGEST_SHARE = 1 / 16  # of the free memory, for one array


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
    if size < 1 << 20 or size <= available_memory() * _LARGEST_SHARE:
        return np.empty(shape, dtype)
    folder = _scratch()
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


def _scratch() -> Path:
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
