"""Small datasets drawn from a large one: how does what is learned depend on the size of the data, and on its luck?

Episodes are put into a random order once, and each draw takes the next so many of them::

    order of the episodes   | draw 0 | draw 1 | draw 2 | ...        disjoint, so the draws are independent datasets
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError
from assay.datasets.registry import Seed
from assay.datasets.transform import Transform, register, register_variants

__all__ = ["DrawEpisodes", "draws"]


@register("datasets.draw_episodes")
class DrawEpisodes(Transform):
    """Keep so many episodes, drawn without replacement.

    Parameters
    ----------
    episodes : int
    draw : int
        Number of the draw; draws of one size and seed share no episode.
    seed : int
        Of the order of the episodes.

    Raises
    ------
    ConfigError
        When applied: if the dataset has too few episodes for a draw of this number.

    Examples
    --------
    >>> import assay
    >>> dataset = assay.load("contextual-bandit/random", steps=400)
    >>> one, other = (DrawEpisodes(100, draw=draw)(dataset) for draw in (0, 1))
    >>> one.total_episodes, set(one.episode_columns["seed"]) & set(other.episode_columns["seed"])
    (100, set())
    """

    episodes: int = Field(gt=0)
    draw: int = Field(0, ge=0)
    seed: Seed = 0

    def apply(self, dataset: Dataset) -> Dataset:  # noqa: D102
        needed = self.episodes * (self.draw + 1)
        if needed > dataset.total_episodes:
            raise ConfigError(
                f"draw {self.draw} of {self.episodes} episodes needs a dataset of {needed} episodes; this one has "
                f"{dataset.total_episodes}"
            )
        order = np.random.Generator(np.random.PCG64(self.seed)).permutation(dataset.total_episodes)
        return dataset.select(np.sort(order[needed - self.episodes : needed]))


@register_variants("datasets.draws")
def draws(episodes: Sequence[int], draws: int, seed: int = 0) -> dict[str, list[dict[str, Any]]]:
    """Return variants of several sizes, so many draws of each.

    Examples
    --------
    >>> from assay.datasets.transform import make_variants
    >>> list(make_variants("datasets.draws", {"episodes": [10, 100], "draws": 2}))
    ['10 episodes, draw 0', '10 episodes, draw 1', '100 episodes, draw 0', '100 episodes, draw 1']
    """
    return {
        f"{size} episodes, draw {draw}": [{"datasets.draw_episodes": {"episodes": size, "draw": draw, "seed": seed}}]
        for size in episodes
        for draw in range(draws)
    }
