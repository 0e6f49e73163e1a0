"""Ground truth of corruptions of the episode structure; `take_pieces` builds the episodes."""

from __future__ import annotations

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.pieces import take_pieces

__all__ = ["mark_episodes", "take_pieces"]


def mark_episodes(
    dataset: Dataset, *, episodes: dict[str, np.ndarray] | None = None, steps: dict[str, np.ndarray] | None = None
) -> Dataset:
    """Add ground truth to the episodes table and to the masks; what is marked there already stays marked.

    Parameters
    ----------
    dataset : Dataset
    episodes : mapping of str to (E,) bool, optional
        Name to mark; `duplicated` becomes the episode column `corrupted/duplicated`.
    steps : mapping of str to (N,) bool, optional
        Name to mark; it becomes the mask `corrupted/<name>`.
    """
    none, table = np.zeros(dataset.total_episodes, bool), dataset.episode_columns
    return dataset.replace(
        {f"corrupted/{name}": touched | dataset.masks.get(name, False) for name, touched in (steps or {}).items()},
        episode_columns={
            f"corrupted/{name}": touched | table.get(f"corrupted/{name}", none)
            for name, touched in (episodes or {}).items()
        },
    )
