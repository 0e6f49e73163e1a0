"""What the end of an episode means, where the source's flags do not say it.

An episode whose last step has a flag keeps it. For the others, `ends` says "truncated" (something stopped them),
"terminated" (the task was over), or one truth value per row, which is looked up in the last row: where it is True the episode
terminated, else it was truncated. Nothing said, nothing set: `Dataset.validate` reports episodes without a flag.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

__all__ = ["end_episodes"]


def end_episodes(
    terminations: np.ndarray,
    truncations: np.ndarray,
    lengths: np.ndarray,
    ends: Literal["truncated", "terminated"] | np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return terminations and truncations, (N,) bool each, with a flag at the end of every episode that `ends` speaks of.

    Parameters
    ----------
    terminations, truncations : (N,) bool
    lengths : (E,) integers
    ends : "truncated", "terminated", (N,) bool, or None

    Examples
    --------
    >>> none = np.zeros(3, bool)
    >>> end_episodes(none, none, np.array([2, 1]), np.array([False, True, False]))
    (array([False,  True, False]), array([False, False,  True]))
    """
    if ends is None or not len(lengths):
        return terminations, truncations
    lasts = np.cumsum(lengths) - 1
    lasts = lasts[~(terminations[lasts] | truncations[lasts])]
    terminated = ends[lasts] if isinstance(ends, np.ndarray) else np.full(len(lasts), ends == "terminated")
    terminations, truncations = terminations.copy(), truncations.copy()
    terminations[lasts], truncations[lasts] = terminated, ~terminated
    return terminations, truncations
