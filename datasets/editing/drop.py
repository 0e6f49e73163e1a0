"""Episodes that are left out, by number, tag or length."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError
from assay.datasets.registry import Integer
from assay.datasets.transform import Transform, register

__all__ = ["DropEpisodes"]


@register("datasets.drop")
class DropEpisodes(Transform):
    """Leave out the episodes that any of the conditions names.

    Parameters
    ----------
    episodes : tuple of int
        By number, from 0.
    tag : str, optional
        Those with this tag.
    shortest, longest : int, optional
        Those of fewer, or more, steps.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(5.0), actions=np.zeros(3), rewards=[1.0, 1.0, 4.0],
    ...     terminations=[False, True, True], truncations=[False, False, False])
    >>> DropEpisodes(episodes=(0,))(dataset).rewards.tolist(), DropEpisodes(shortest=2)(dataset).rewards.tolist()
    ([4.0], [1.0, 1.0])
    """

    episodes: tuple[Integer, ...] = ()
    tag: str | None = None
    shortest: Integer | None = Field(default=None, ge=1)
    longest: Integer | None = Field(default=None, ge=1)

    def apply(self, dataset: Dataset) -> Dataset:
        """Return the episodes that are left, in their order."""
        total = dataset.total_episodes
        if wrong := [number for number in self.episodes if not 0 <= number < total]:
            raise ConfigError(f"episode {wrong[0]} does not exist; there are 0 to {total - 1}")
        lost = np.zeros(total, bool) if self.tag is None else dataset.tagged(self.tag).copy()
        lost[list(self.episodes)] = True
        lost |= dataset.episode_lengths < (self.shortest or 0)
        lost |= dataset.episode_lengths > (self.longest or np.inf)
        if lost.all():
            raise ConfigError(f"all {total} episodes would be left out; keep at least one")
        return dataset.select(~lost)
