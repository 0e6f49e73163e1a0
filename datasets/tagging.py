"""Episode tags: boolean columns `tags/<name>` of the episode table, one per tag.

robomimic calls them filter keys (Mandlekar et al. 2021, arXiv 2108.03298). Here they are stored with the episodes.
"""

from __future__ import annotations

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError
from assay.datasets.transform import Transform, register

__all__ = ["TagEpisodes"]


@register("datasets.tag")
class TagEpisodes(Transform):
    """Tag some episodes; the tag is False for all others.

    Parameters
    ----------
    tags : mapping of str to sequence of int
        The episodes of each tag. An existing tag of the same name is replaced.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(5.0), actions=np.zeros(3), rewards=[1.0, 1.0, 4.0],
    ...     terminations=[False, True, True], truncations=[False, False, False])
    >>> TagEpisodes(tags={"better": [1]})(dataset).episodes["tags/better"].to_list()
    [False, True]
    """

    tags: dict[str, tuple[int, ...]]

    def apply(self, dataset: Dataset) -> Dataset:  # noqa: D102
        columns: dict[str, np.ndarray | None] = {}
        for name, episodes in self.tags.items():
            column = np.zeros(dataset.total_episodes, bool)
            chosen = np.array(episodes, np.int64)
            if ((chosen < 0) | (chosen >= dataset.total_episodes)).any():
                raise ConfigError(f"tag {name}: episodes are 0 to {dataset.total_episodes - 1}, not {chosen.max()}")
            column[chosen] = True
            columns[f"tags/{name}"] = column
        return dataset.replace(episode_columns=columns)
