r"""10%BC: behaviour cloning on the best trajectories of a dataset (Chen et al. 2021, arXiv 2106.01345, section 5.1).

Trajectories are ranked by their discounted return, the best max(1, floor(fraction * E)) of E are kept, and the loss is
that of behaviour cloning on their transitions:

.. math::
    G_i = \sum_t \gamma^t r_{i,t}, \quad
    L(\pi) = E_{(s,a) \sim D_{best}} \, \lVert \pi(s) - a \rVert^2 / d_a .

Deviations from CORL's `any_percent_bc.py` (fraction 0.1, discount 1 in its configurations, networks and optimizer as
in `bc`, observations normalized by the statistics of the kept transitions alone, which is followed):

- CORL finds trajectories again in a flat table by terminations and by counting 1000 steps. As its loader drops the
  transition of a time limit, the count runs over into the next trajectory, one step further each time. Here
  trajectories are the dataset's episodes.
- CORL drops an unfinished last trajectory. Here an episode that neither terminates nor is truncated ranks behind all
  others, since its return is not known; so fraction 1 is behaviour cloning on everything.
- Of equal returns the earlier episode is kept; CORL leaves the order to an unstable sort.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from assay.baselines.algorithms.imitation.bc import BC
from assay.baselines.engine.data import ActionScale, TrainingData, rows_of_episodes
from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError
from assay.datasets.registry import register

__all__ = ["PercentBC"]


@register("percent_bc", label="10%BC")
class PercentBC(BC):
    """Behaviour cloning on the best fraction of the trajectories, a tenth by default.

    Examples
    --------
    >>> PercentBC(fraction=0.25).fraction
    0.25
    """

    fraction: float = Field(default=0.1, gt=0, le=1)  # of the trajectories, by count; at least one is kept
    discount: float = Field(default=1.0, ge=0, le=1)  # of the returns that rank the trajectories

    def training_data(self, dataset: Dataset, action_scale: ActionScale) -> TrainingData:  # noqa: D102
        kept = best_episodes(dataset, self.fraction, self.discount)
        return self.training_data_of(dataset, action_scale, kept)

    def training_rows(self, dataset: Dataset) -> int:  # noqa: D102
        try:
            kept = best_episodes(dataset, self.fraction, self.discount)
        except ConfigError:  # `training_data` raises it, in the run that it belongs to
            return super().training_rows(dataset)
        return int(rows_of_episodes(dataset)[kept].sum())

    def data_parameters(self) -> dict[str, Any]:  # noqa: D102
        return {**super().data_parameters(), "fraction": self.fraction, "discount": self.discount}


def best_episodes(dataset: Dataset, fraction: float, discount: float) -> np.ndarray:
    """Return the indices of the best episodes, in the order of the dataset."""
    if not dataset.total_episodes:
        raise ConfigError("the dataset has no episode to rank")
    starts, lengths = dataset.episode_starts, dataset.episode_lengths
    time = np.arange(dataset.total_steps) - np.repeat(starts, lengths)
    returns = np.add.reduceat(dataset.rewards * discount**time, starts, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(returns))
    if len(bad):
        raise ConfigError(f"episode {bad[0]} holds a reward that is NaN or infinite; it cannot be ranked")
    lasts = starts + lengths - 1
    unfinished = ~(dataset.terminations[lasts] | dataset.truncations[lasts])
    ranked = np.lexsort((-returns, unfinished))  # stable; finished episodes first, then the larger returns
    best: np.ndarray = np.sort(ranked[: max(1, int(fraction * len(ranked)))])
    return best
