"""The filter of any score: a column of the steps or of the episodes table says what is suspicious.

::

    of                         worse     what is flagged
    suspicion/dynamics         higher    the episodes, or steps, that a filter finds most suspicious
    metrics/jerk               higher    what `metrics.episodes` measured of each episode
    return                     lower     the episodes of the lowest return
    infos/progress             lower     any column of your own
    random                               a random choice of the same size: what every score has to beat
    oracle                               what the ground truth marks: what no score can beat

How much is flagged is said by a `threshold`, by the `share` of all steps, or by `share="corrupted"`: as much as the ground truth marks.
Whole episodes are taken from the worst one down, as long as that comes nearer to the share of the steps. So a filter that prefers
short episodes leaves out as many steps as one that prefers long ones.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from assay.corruption.repair.filters import Examination, Filter
from assay.corruption.repair.oracle import OracleFilter
from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, UnknownNameError
from assay.datasets.generators import uniform_numbers
from assay.datasets.registry import Seed
from assay.datasets.transform import register

__all__ = ["ColumnFilter"]

_NO_COLUMN = ("random", "oracle")


@register("corruption.repair.column")
class ColumnFilter(Filter):
    """Flag the episodes, or steps, that a column calls worst.

    Parameters
    ----------
    of : str
        A column of numbers, of the steps or of the episodes table (of several numbers, the largest); `"random"`, or `"oracle"`, the
        ground truth of all masks but `truncations`. A NaN is no score and is never flagged.
    worse : "higher" or "lower"
    per : "episode" or "step"
        What is flagged as a whole.
    share : float in [0, 1] or "corrupted", optional
        Flag the worst, up to this share of all steps; `"corrupted"`: as many steps as the ground truth marks, or as the episodes have
        in which it marks one. Equal scores are taken in random order.
    threshold : float, optional
        Flag what is beyond it, instead.
    of_episode : "mean" or "max"
        The score of an episode where the column has one for each step.
    wrong_observations : bool
        Whether flagged steps begin at an observation that is wrong itself. Steps that lead to one are then left out as well.
    seed : int
        Of what is random.
    action, weight
        See `Filter`. Flags are in `flagged/<of>` and scores in `suspicion/<of>`, with `_` for `/`.

    Raises
    ------
    ConfigError
        If neither or both of share and threshold are given; when applied, if the column is not numbers, or is of the episodes where
        steps are asked for.
    UnknownNameError
        When applied: if there is no such column, or no ground truth.
    DatasetError
        When applied: if nothing is left.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(7.0), actions=np.zeros(4), rewards=[5.0, 1.0, 9.0, 1.0], episode_lengths=[1, 2, 1])
    >>> ColumnFilter(of="return", worse="lower", share=0.25)(dataset).returns.tolist()
    [5.0, 10.0]
    >>> ColumnFilter(of="rewards", per="step", threshold=8.0, action="flag")(dataset).column("flagged/rewards").tolist()
    [False, False, True, False]
    """

    of: str
    worse: Literal["higher", "lower"] = "higher"
    per: Literal["episode", "step"] = "episode"
    share: float | Literal["corrupted"] | None = None
    threshold: float | None = Field(default=None, allow_inf_nan=False)
    of_episode: Literal["mean", "max"] = "mean"
    wrong_observations: bool = False
    seed: Seed = 0

    @model_validator(mode="after")
    def _one_size(self) -> ColumnFilter:
        if (self.share is None) == (self.threshold is None):
            raise ValueError("give either share or threshold")
        if isinstance(self.share, float) and not 0 <= self.share <= 1:
            raise ValueError(f"share={self.share:g} must lie in [0, 1]")
        if self.threshold is not None and self.of in _NO_COLUMN:
            raise ValueError(f"{self.of!r} is no scale that a threshold could lie on; give a share")
        return self

    @property
    def label(self) -> str:
        """The column, without slashes."""
        return self.of.replace("/", "_")

    def examine(self, dataset: Dataset) -> Examination:
        """Flag the worst, and their observations where those are wrong."""
        flagged, scores = self.find(dataset)
        if not self.wrong_observations:
            return Examination(flagged, scores)
        wrong = np.zeros(dataset.total_steps + dataset.total_episodes, bool)
        wrong[dataset.observation_rows[flagged]] = True
        return Examination(flagged, scores, wrong)

    def find(self, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
        """Flag episodes or steps by the column."""
        scores = self._scores(dataset)
        sizes = dataset.episode_lengths if self.per == "episode" else np.ones(dataset.total_steps, np.int64)
        flagged = self._flag(scores, sizes, self._wanted(dataset))
        if self.per == "episode":
            flagged, scores = (np.repeat(part, dataset.episode_lengths) for part in (flagged, scores))
        return flagged, scores.astype(np.float32)

    def _flag(self, scores: np.ndarray, sizes: np.ndarray, wanted: float) -> np.ndarray:
        """Return which units to flag: beyond the threshold, or the worst until they hold `wanted` steps."""
        if self.threshold is not None:
            beyond: np.ndarray = scores > (self.threshold if self.worse == "higher" else -self.threshold)
            return beyond
        ties = uniform_numbers(len(scores), self.seed, self.name, f"ties:{self.per}")
        order = np.lexsort((ties, -scores))
        held = np.concatenate([[0], np.cumsum(sizes[order])])
        flagged = np.zeros(len(scores), bool)
        flagged[order[: int(np.argmin(np.abs(held - wanted)))]] = True
        return flagged

    def _wanted(self, dataset: Dataset) -> float:
        """Return how many steps to flag."""
        if self.share != "corrupted":
            return (self.share or 0.0) * dataset.total_steps
        touched = _ground_truth(dataset)
        if self.per == "episode":
            return float(dataset.episode_lengths[np.unique(dataset.episode_of_step[touched])].sum())
        return float(touched.sum())

    def _scores(self, dataset: Dataset) -> np.ndarray:
        """Return one score per episode or step, the higher the worse; -inf where there is none."""
        units = dataset.total_episodes if self.per == "episode" else dataset.total_steps
        if self.of == "random":
            return uniform_numbers(units, self.seed, self.name, f"random:{self.per}")
        values = self._values(dataset)
        values = values if self.worse == "higher" else -values
        values = np.where(np.isnan(values), -np.inf, values)
        if len(values) == units:
            return values
        if self.per == "step":
            raise ConfigError(f'column {self.of} is of the episodes: per="episode"')
        return self._of_episodes(dataset, values)

    def _of_episodes(self, dataset: Dataset, values: np.ndarray) -> np.ndarray:
        """Return the mean, or the largest, of the steps' scores in each episode; of those that have one."""
        if not len(values):
            return np.zeros(0)
        starts, known = dataset.episode_starts, values > -np.inf
        if self.of_episode == "max":
            return np.maximum.reduceat(values, starts)
        counts = np.add.reduceat(known.astype(np.int64), starts)
        sums = np.add.reduceat(np.where(known, values, 0.0), starts)
        return np.where(counts > 0, sums / np.maximum(counts, 1), -np.inf)

    def _values(self, dataset: Dataset) -> np.ndarray:
        """Return the column as float64, one number per step or per episode."""
        if self.of == "oracle":
            return _ground_truth(dataset).astype(np.float64)
        if self.of in dataset.columns:
            array = dataset.column(self.of)
            if len(array) != dataset.total_steps:
                raise ConfigError(f"column {self.of} has a row more for each episode; one number per step is needed")
            array = array.reshape(len(array), -1).max(axis=1) if array.ndim > 1 else array
        elif self.of in dataset.episodes.columns:
            array = dataset.episodes[self.of].to_numpy()
        else:
            raise UnknownNameError("column", self.of, [*_NO_COLUMN, *dataset.columns, *dataset.episodes.columns])
        if array.dtype.kind not in "biuf":
            raise ConfigError(f"column {self.of} holds {array.dtype}; numbers are needed")
        return array.astype(np.float64)


def _ground_truth(dataset: Dataset) -> np.ndarray:
    """Return the steps that any mask marks, (N,) bool."""
    if not dataset.masks:
        raise UnknownNameError("mask", "corrupted", [], "(nothing of this dataset is marked as corrupted)")
    return OracleFilter(action="flag").find(dataset)[0]
