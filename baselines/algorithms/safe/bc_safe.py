"""BC-Safe: behaviour cloning of the episodes whose cost is within a limit.

A baseline of DSRL (Liu et al. 2023, arXiv 2306.09303): every episode of which the costs, undiscounted, come to `cost_limit` or less is
cloned, all others are left out. It cannot earn more than the safe episodes do, and it sees none of what went wrong in the others.

Deviations from OSRL's `train_bc.py` in its mode "safe": the cloning is that of `bc` (Adam 3e-4, batch 256, normalized observations).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from assay.baselines.algorithms.imitation.bc import BC
from assay.baselines.engine.data import ActionScale, TrainingData, check_columns, rows_of_episodes
from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError
from assay.datasets.registry import register

__all__ = ["BCSafe"]


@register("bc_safe", label="BC-Safe")
class BCSafe(BC):
    """Behaviour cloning of the episodes that cost no more than a limit; the data needs a column `costs`.

    Examples
    --------
    >>> import assay
    >>> dataset = assay.load("braking-car/detours", steps=600)
    >>> BCSafe(cost_limit=0.0).training_rows(dataset) < BC().training_rows(dataset)
    True
    """

    discrete_actions: ClassVar[bool] = True

    cost_limit: float = Field(default=10.0, ge=0)  # of an episode, undiscounted

    def training_data(self, dataset: Dataset, action_scale: ActionScale) -> TrainingData:  # noqa: D102
        return self.training_data_of(dataset, action_scale, safe_episodes(dataset, self.cost_limit))

    def training_rows(self, dataset: Dataset) -> int:  # noqa: D102
        try:
            kept = safe_episodes(dataset, self.cost_limit)
        except ConfigError:  # `training_data` raises it, in the run that it belongs to
            return super().training_rows(dataset)
        return int(rows_of_episodes(dataset)[kept].sum())

    def data_parameters(self) -> dict[str, Any]:  # noqa: D102
        return {**super().data_parameters(), "cost_limit": self.cost_limit}


def safe_episodes(dataset: Dataset, limit: float) -> np.ndarray:
    """Return the indices of the episodes whose costs come to no more than `limit`.

    Raises
    ------
    ConfigError
        If the dataset has no column `costs`, one of them is not finite, or no episode is within the limit.
    """
    if "costs" not in dataset.columns:
        raise ConfigError("bc_safe needs a column 'costs', which the dataset does not have; `bc` does without")
    check_columns(dataset, ["costs"])
    costs = dataset.column("costs").reshape(-1).astype(np.float64)
    totals = np.add.reduceat(costs, dataset.episode_starts)
    bad = np.flatnonzero(~np.isfinite(totals))
    if len(bad):
        raise ConfigError(f"episode {bad[0]} holds a cost that is NaN or infinite")
    found: np.ndarray = np.flatnonzero(totals <= limit)
    if not len(found):
        raise ConfigError(
            f"no episode costs {limit:g} or less (the cheapest costs {totals.min():g}); raise bc_safe's cost_limit"
        )
    return found
