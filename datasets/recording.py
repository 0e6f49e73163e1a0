"""Whether changes of a dataset are recorded one by one: not inside a transform or a reader, which are recorded whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["recording", "unrecorded"]

_RECORDING: ContextVar[bool] = ContextVar("assay_recording", default=True)


def recording() -> bool:
    """Tell whether a change of a dataset gets a record of its own."""
    return _RECORDING.get()


@contextmanager
def unrecorded() -> Iterator[None]:
    """Add no records while the block runs; whoever runs it records what it does as one step, or gives no dataset away.

    Examples
    --------
    >>> with unrecorded():
    ...     recording()
    False
    >>> recording()
    True
    """
    token = _RECORDING.set(False)
    try:
        yield
    finally:
        _RECORDING.reset(token)
