"""Whether a worker that begins now runs the code that its pool does: Assay may be upgraded while a program runs.

A program keeps the code that it began with, and starts simulator workers from what lies on disk. Where both differ, what they
write into shared memory need not mean the same, and numbers would be wrong without a word.
"""

from __future__ import annotations

import zlib
from pathlib import Path

__all__ = ["mark_of_code"]


def mark_of_code() -> int:
    """Return a checksum of the files of pool and worker as they lie on disk now.

    Examples
    --------
    >>> mark_of_code() == mark_of_code()
    True
    """
    mark = 0
    for name in ("pool.py", "worker.py"):
        mark = zlib.crc32(Path(__file__).with_name(name).read_bytes(), mark)
    return mark
