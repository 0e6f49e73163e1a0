"""Rewards that say little or nothing: what learned rewards have to beat; and those of a column, which a teacher may know.

Offline learners may do well with wrong rewards: where staying in the data is most of the work, or where episodes end by
failing, any constant is enough (Li et al. 2023, "Survival instinct in offline reinforcement learning", arXiv 2306.03286; Shin, Dragan
& Brown 2023, arXiv 2301.01392). A learned reward is worth something only where it beats these.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, UnknownNameError
from assay.datasets.transform import Transform, register
from assay.relabeling.shared.learned_rewards import replaced_rewards

__all__ = ["ColumnRewards", "ConstantRewards", "SparseRewards"]


@register("relabeling.constant_rewards")
class ConstantRewards(Transform):
    """The same reward in every step.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(3.0), actions=np.zeros(2), rewards=[1.0, 5.0],
    ...     terminations=[False, True], truncations=[False, False])
    >>> blind = ConstantRewards(value=0.0)(dataset)
    >>> blind.rewards.tolist(), blind.column("truth/rewards").tolist()
    ([0.0, 0.0], [1.0, 5.0])
    """

    value: float = Field(default=0.0, allow_inf_nan=False)

    def apply(self, dataset: Dataset) -> Dataset:  # noqa: D102
        return replaced_rewards(dataset, np.full(dataset.total_steps, self.value))


@register("relabeling.column_rewards")
class ColumnRewards(Transform):
    """The numbers of a column as rewards; where it is NaN, the reward is missing.

    Parameters
    ----------
    of : str
        A column of one number per step.

    Raises
    ------
    UnknownNameError, ConfigError
        When applied: if there is no such column, or it is no number per step, or infinite.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(3.0), actions=np.zeros(2), rewards=[1.0, 5.0],
    ...     terminations=[False, True], truncations=[False, False], columns={"infos/height": [0.25, np.nan]})
    >>> higher = ColumnRewards(of="infos/height")(dataset)
    >>> higher.rewards.tolist(), higher.missing["rewards"].tolist(), higher.column("truth/rewards").tolist()
    ([0.25, nan], [False, True], [1.0, 5.0])
    """

    of: str

    def apply(self, dataset: Dataset) -> Dataset:  # noqa: D102
        values = number_per_step(dataset, self.of).astype(np.float64)
        missing = np.isnan(values)
        if len(wrong := np.flatnonzero(np.isinf(values))):
            raise ConfigError(f"column {self.of} is infinite at step {wrong[0]}; a reward is a finite number")
        return replaced_rewards(dataset, values, {"missing/rewards": missing} if missing.any() else {})


@register("relabeling.sparse_rewards")
class SparseRewards(Transform):
    """A reward of 1 in the best steps and of 0 elsewhere.

    Parameters
    ----------
    share : float in (0, 1)
        Of the steps that are best; more where several have the same value as the last of them.
    of : str
        Column that says how good a step is.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(5.0), actions=np.zeros(4), rewards=[1.0, 5.0, 2.0, 3.0],
    ...     terminations=[False, False, False, True], truncations=[False] * 4)
    >>> SparseRewards(share=0.5)(dataset).rewards.tolist()
    [0.0, 1.0, 0.0, 1.0]
    """

    share: float = Field(default=0.1, gt=0, lt=1)
    of: str = "rewards"

    def apply(self, dataset: Dataset) -> Dataset:  # noqa: D102
        values = number_per_step(dataset, self.of)
        if len(wrong := np.flatnonzero(np.isnan(values))):
            raise ConfigError(
                f"column {self.of} is NaN at step {wrong[0]}: nothing says whether that step is among the best"
            )
        threshold = np.quantile(values, 1.0 - self.share, method="higher")
        return replaced_rewards(dataset, (values >= threshold).astype(np.float32))


def number_per_step(dataset: Dataset, name: str) -> np.ndarray:
    """Return a column of one number per step, (N,).

    Raises
    ------
    UnknownNameError, ConfigError
        If there is no such column, or it is none.
    """
    if name not in dataset.columns:
        raise UnknownNameError("column", name, dataset.columns)
    values = dataset.column(name)
    if values.shape != (dataset.total_steps,) or values.dtype.kind not in "biuf":
        raise ConfigError(f"column {name} is {values.dtype}{list(values.shape)}; one number per step is needed")
    return values
