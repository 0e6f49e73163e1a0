"""Rest at the beginning and at the end of recordings, cut off.

::

    speed                 0 0 0 5 7 0 6 4 0 0 0 0
    trim                        5 7 0 6 4 0            the middle stays; the step at which motion ends stays too
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from assay.datasets.dataset import Dataset
from assay.datasets.pieces import take_pieces
from assay.datasets.signals import Signals
from assay.datasets.transform import Transform, register

__all__ = ["TrimEpisodes"]


@register("datasets.trim")
class TrimEpisodes(Transform):
    """Cut off what rests before the first motion and after the last.

    What is cut off is lost with its rewards and end flags: the last step that is left is truncated, and the observation after
    it becomes the final one. An episode without any motion stays as it is; `datasets.drop` removes it. Speeds are compared
    with the whole dataset's, which is faster once the rest is gone: a second pass may find a little more.

    Parameters
    ----------
    head, tail : bool
        Which ends.
    keep_seconds : float
        Rest that is left at each end; steps where the dataset has no clock.
    idle_speed : float
        Share of the dataset's 95th percentile of the speed, up to which a step rests.
    state, dimensions, rate
        What moves; see `assay.datasets.signals.Signals`.

    Examples
    --------
    >>> x = np.array([0.0, 0.0, 0.0, 1.0, 2.0, 2.0, 2.0, 2.0])
    >>> dataset = Dataset.from_arrays(
    ...     observations=x, actions=np.zeros(7), rewards=np.arange(7.0),
    ...     terminations=np.zeros(7, bool), truncations=np.arange(7) == 6)
    >>> TrimEpisodes()(dataset).rewards.tolist()
    [2.0, 3.0, 4.0]
    """

    head: bool = True
    tail: bool = True
    keep_seconds: float = Field(default=0.0, ge=0)
    idle_speed: float = Field(default=0.01, ge=0, le=1)
    state: str | None = None
    dimensions: tuple[str, ...] | None = None
    rate: float | None = Field(default=None, gt=0)

    def apply(self, dataset: Dataset) -> Dataset:
        """Return the dataset with shorter episodes."""
        signals = Signals(dataset, self.state, self.dimensions, self.rate)
        head, tail = signals.idle_ends(self.idle_speed)
        margin = np.rint(self.keep_seconds / signals.step_seconds).astype(np.int64)
        moves = head < dataset.episode_lengths - 1
        first = np.where(moves & self.head, np.maximum(head - margin, 0), 0)
        lost = np.where(moves & self.tail, np.maximum(tail - margin, 0), 0)
        if not (first.any() or lost.any()):
            return dataset
        return take_pieces(dataset, dataset.episode_starts + first, dataset.episode_lengths - first - lost)
