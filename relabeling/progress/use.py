r"""What progress is good for: a reward, an advantage, or the weights of behaviour cloning.

With phi_t the progress of step t, in [0, 1], and phi at the end of an episode that of its last step:

==========  ==========================================================================================================
reward      `rewards`: phi_(t+1) - phi_t (`reward="gain"`, sums to what the episode gained), or phi_(t+1) (`reward="level"`)
advantage   `infos/progress_advantage`: phi_(t+h) - phi_t over a horizon of h steps, cut at the end of the episode
weights     `weights`: those of RA-BC from these advantages (SARM, Chen et al. 2025, arXiv 2509.25358)
==========  ==========================================================================================================

RA-BC: with mean mu and standard deviation sigma of the advantages d over the dataset,

.. math::
    \tilde w = \mathrm{clip}\Big(\frac{d - (\mu - 2 \sigma)}{4 \sigma + \epsilon}, 0, 1\Big), \quad
    w = 1[d > \kappa] + 1[0 \le d \le \kappa] \, \tilde w

so steps that go back count nothing, clear gains count fully, and small ones in between.

Deviations from the published code: mu and sigma are those of the whole dataset, where a running estimate follows the batches there;
steps without progress get no reward, and weight 0, where the code gives them weight 1.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, DatasetError, UnknownNameError
from assay.datasets.registry import Integer
from assay.datasets.transform import Transform, register
from assay.relabeling.progress.sidecar import read_progress
from assay.relabeling.shared.learned_rewards import replaced_rewards

__all__ = ["ADVANTAGE", "ProgressLabels"]

ADVANTAGE = "infos/progress_advantage"
_EPSILON = 1e-6


@register("relabeling.progress")
class ProgressLabels(Transform):
    """Rewards, advantages or weights from progress.

    Parameters
    ----------
    path : str, optional
        A sidecar file (`*_progress.parquet`); see `assay.relabeling.progress.sidecar`.
    column : str, optional
        Or a column of the dataset, (N,) in [0, 1].
    use : "reward", "advantage" or "weights"
    head : "sparse" or "dense"
        Which progress of the file.
    reward : "gain" or "level"
    horizon : int
        Steps that an advantage looks ahead.
    kappa : float
        Gain over the horizon above which a step counts fully.

    Raises
    ------
    ConfigError, FormatError, DatasetError
        If there is no such progress, the file belongs to another dataset, or no step has a positive weight.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(5.0), actions=np.zeros(4), rewards=np.zeros(4),
    ...     terminations=[False, False, False, True], truncations=[False] * 4,
    ...     columns={"infos/progress": np.array([0.0, 0.5, 0.25, 1.0])})
    >>> ProgressLabels(column="infos/progress")(dataset).rewards.tolist()
    [0.5, -0.25, 0.75, 0.0]
    >>> ProgressLabels(column="infos/progress", use="weights", horizon=1)(dataset).weights.round(2).tolist()
    [1.0, 0.0, 1.0, 0.34]
    """

    path: str | None = None
    column: str | None = None
    use: Literal["reward", "advantage", "weights"] = "reward"
    head: Literal["sparse", "dense"] = "dense"
    reward: Literal["gain", "level"] = "gain"
    horizon: Integer = Field(default=50, gt=0)
    kappa: float = Field(default=0.01, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> ProgressLabels:
        if (self.path is None) == (self.column is None):
            raise ValueError("give either path, of a sidecar file, or column, of the dataset")
        return self

    def apply(self, dataset: Dataset) -> Dataset:  # noqa: D102
        progress = self._progress(dataset)
        if self.use == "reward":
            return self._with_rewards(dataset, progress)
        gains = gain(dataset, progress, self.horizon)
        if self.use == "advantage":
            return dataset.replace({ADVANTAGE: gains.astype(np.float32)})
        weights = cloning_weights(gains, self.kappa)
        if not weights.sum() > 0:
            raise DatasetError("no step gains anything over the horizon, so none has a weight: choose a longer horizon")
        return dataset.replace({"weights": weights})

    def _progress(self, dataset: Dataset) -> np.ndarray:
        if self.path is not None:
            return read_progress(self.path, dataset).head(self.head).astype(np.float64)
        if self.column not in dataset.columns:
            raise UnknownNameError("column", str(self.column), dataset.columns)
        values = dataset.column(str(self.column))
        if values.shape != (dataset.total_steps,) or values.dtype.kind not in "biuf":
            raise ConfigError(
                f"column {self.column} is {values.dtype}{list(values.shape)}; progress is a number per step"
            )
        known = values[~np.isnan(values)] if values.dtype.kind == "f" else values
        if len(known) and (known.min() < 0 or known.max() > 1):
            raise ConfigError(
                f"column {self.column} goes from {known.min():g} to {known.max():g}; progress lies in [0, 1]"
            )
        return values.astype(np.float64)

    def _with_rewards(self, dataset: Dataset, progress: np.ndarray) -> Dataset:
        following = progress[ahead(dataset, 1)]
        rewards = following - progress if self.reward == "gain" else following
        unknown = np.isnan(rewards)
        if unknown.all():
            raise DatasetError("the progress of no step is known")
        return replaced_rewards(dataset, rewards, {"missing/rewards": unknown} if unknown.any() else {})


def ahead(dataset: Dataset, steps: int) -> np.ndarray:
    """Return (N,) the step so many steps later, or the last one of the episode."""
    lasts = np.repeat(dataset.episode_starts + dataset.episode_lengths - 1, dataset.episode_lengths)
    later: np.ndarray = np.minimum(np.arange(dataset.total_steps) + steps, lasts)
    return later


def gain(dataset: Dataset, progress: np.ndarray, horizon: int) -> np.ndarray:
    """Return (N,) the progress gained over a horizon, NaN where either end of it is not known."""
    gained: np.ndarray = progress[ahead(dataset, horizon)] - progress
    return gained


def cloning_weights(gains: np.ndarray, kappa: float) -> np.ndarray:
    """Return the weights of RA-BC, (N,) in [0, 1]; 0 where a gain is NaN.

    Examples
    --------
    >>> cloning_weights(np.array([-0.1, 0.0, 0.1, 0.5]), kappa=0.2).round(3).tolist()
    [0.0, 0.363, 0.473, 1.0]
    """
    known = ~np.isnan(gains)
    if not known.any():
        return np.zeros(len(gains))
    mean, deviation = gains[known].mean(), gains[known].std()
    soft = np.clip((gains - (mean - 2 * deviation)) / (4 * deviation + _EPSILON), 0.0, 1.0)
    weights = np.where(gains > kappa, 1.0, np.where(gains >= 0, soft, 0.0))
    return np.where(known, weights, 0.0)
