"""Windows of consecutive rows inside an episode: the index arithmetic of n-step returns and sequences.

::

    episode      r0 r1 r2 r3 r4          window of rows 0, 1, 2 ahead of r3     r3 r4 r4    inside  1 1 0
                                         window of rows -2, -1, 0 ahead of r1   r0 r0 r1    inside  0 1 1

Rows beyond the episode are replaced by its nearest row. It is written for NumPy arrays and torch tensors alike; the
samplers here and the training engine share it.
"""

from __future__ import annotations

from typing import Any

__all__ = ["window"]


def window(rows: Any, ahead: Any, *, after: Any, before: Any = None) -> tuple[Any, Any]:
    """Return the rows of windows, and which of them lie inside their episode.

    Parameters
    ----------
    rows : (...,) integers
        The row that each window is counted from.
    ahead : (T,) integers
        Distance of each entry from that row.
    after : (...,) integers
        How many rows of the episode follow.
    before : (...,) integers, optional
        How many rows of the episode come before; needed where an entry of `ahead` is negative.

    Returns
    -------
    rows : (..., T) integers
    inside : (..., T) bool

    Examples
    --------
    >>> import numpy as np
    >>> rows, inside = window(np.array([3, 0]), np.arange(3), after=np.array([1, 4]))
    >>> rows.tolist(), inside.tolist()
    ([[3, 4, 4], [0, 1, 2]], [[True, True, False], [True, True, True]])
    """
    offsets = ahead.clip(max=after[..., None])
    if before is not None:
        offsets = offsets.clip(min=-before[..., None])
    return rows[..., None] + offsets, offsets == ahead
