"""The frames that a judge is shown, read when it looks."""

from __future__ import annotations

import numpy as np

from assay.relabeling.frames.source import FrameSource

__all__ = ["ShownFrames"]


class ShownFrames:
    """Frames of segments.

    Parameters
    ----------
    source : FrameSource
    rows : (n, L) int
        Of the observations that are shown.
    """

    def __init__(self, source: FrameSource, rows: np.ndarray) -> None:
        self._source, self._rows = source, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, segment: int) -> np.ndarray:
        return self._source.take(self._rows[segment])
