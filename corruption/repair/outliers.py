"""The robust z-score: how far a step lies from the middle, in spreads that outliers cannot stretch.

    z_ij = |x_ij - median_j| / (1.4826 MAD_j),     MAD_j = median_i |x_ij - median_j|

per dimension j; a step is as suspicious as its worst dimension. 1.4826 makes the spread that of a normal distribution;
3.5 is the usual threshold (Iglewicz and Hoaglin, "How to Detect and Handle Outliers", 1993). Where more than half of the
values are equal, MAD is 0 and sqrt(pi / 2) times the mean absolute deviation takes its place; where all are, nothing is
suspicious.

It finds what leaves the range of a column: rewards replaced by up to 30, salt and pepper, heavy tails. Noise of one
standard deviation it does not find, for such values are ordinary; see `residuals`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from assay.corruption.repair.filters import Examination, ScoreFilter
from assay.corruption.shared import elements
from assay.datasets.dataset import Dataset
from assay.datasets.errors import DatasetError
from assay.datasets.memory import empty
from assay.datasets.streaming import StepReader
from assay.datasets.transform import register

__all__ = ["OutlierFilter", "center_and_spread"]

NORMAL = 1.4826


@register("corruption.repair.outliers")
class OutlierFilter(ScoreFilter):
    """Flag steps with an outlying value of an element.

    Parameters
    ----------
    element : "observations", "actions", "rewards", "dynamics" or "states"
        dynamics is the next observation; states and observations are the same here. Flags are in `flagged/<element>`
        and scores in `suspicion/<element>`.
    threshold, share, action
        See `ScoreFilter` and `Filter`; the threshold is 3.5 by default.

    Raises
    ------
    DatasetError
        When applied: if nothing is left.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(6.0), actions=np.zeros(5), rewards=[1.0, 2.0, 3.0, 2.0, 30.0],
    ...     terminations=np.arange(5) == 4, truncations=np.zeros(5, bool))
    >>> OutlierFilter("rewards", action="flag")(dataset).column("flagged/rewards").tolist()
    [False, False, False, False, True]
    """

    element: Literal["observations", "actions", "rewards", "dynamics", "states"]
    threshold: float = Field(default=3.5, gt=0, allow_inf_nan=False, kw_only=True)

    @property
    def label(self) -> str:
        """The element."""
        return self.element

    def examine(self, dataset: Dataset) -> Examination:
        """Flag steps by their scores, and observations that are outliers themselves, final ones included."""
        scores, of_finals = self._scores(dataset)
        flagged = self.flag(scores)
        if of_finals is None:
            return Examination(flagged, scores)
        rows, wrong = dataset.observation_rows, np.zeros(dataset.total_steps + dataset.total_episodes, bool)
        if self.element == "dynamics":  # the next observation is the next row
            wrong[rows[flagged] + 1] = True
        else:
            wrong[rows[flagged]] = True
            least = self.threshold if self.share is None else scores[flagged].min(initial=np.inf)
            finals = rows[dataset.episode_starts + dataset.episode_lengths - 1] + 1
            wrong[finals] = (of_finals > least) | np.isinf(of_finals)
        return Examination(flagged, scores, wrong)

    def scores(self, dataset: Dataset) -> np.ndarray:
        """Return the largest robust z-score of each step."""
        return self._scores(dataset)[0]

    def _scores(self, dataset: Dataset) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the scores of the steps, (N,), and of the final observations, (E,), where rows of observations count."""
        following = self.element == "dynamics" and not dataset.has_next_observations
        prefix = {"states": "observations"}.get(self.element, self.element)
        if self.element == "dynamics":
            prefix = "observations" if following else "next_observations"
        reader = StepReader(dataset)
        read = reader.read_following if following else reader.read
        worst = np.zeros(dataset.total_steps, np.float32)
        values = empty((dataset.total_steps,), np.float64)
        names = [name for name in reader.leaves(prefix) if dataset.column(name).dtype.kind in "iuf"]
        if not names:
            raise DatasetError(f"{self.name} needs numbers, and {self.element} holds none")
        lasts = dataset.episode_starts + dataset.episode_lengths - 1
        finals = dataset.observation_rows[lasts] + 1
        of_finals = np.zeros(len(finals), np.float32) if prefix == "observations" else None
        for name in names:
            last_rows = dataset.column(name)[finals].reshape(len(finals), -1) if of_finals is not None else None
            for dimension in range(int(np.prod(dataset.column(name).shape[1:], dtype=np.int64))):
                for steps in reader.chunks(name, elements.CHUNK_BYTES):
                    values[steps] = read(name, steps).reshape(steps.stop - steps.start, -1)[:, dimension]
                center, spread = center_and_spread(values)
                for steps in reader.chunks("rewards", elements.CHUNK_BYTES):
                    worst[steps] = np.maximum(worst[steps], z_scores(values[steps], center, spread))
                if of_finals is not None and last_rows is not None:
                    last_values = last_rows[:, dimension].astype(np.float64)
                    of_finals = np.maximum(of_finals, z_scores(last_values, center, spread))
        return worst, of_finals


def z_scores(values: np.ndarray, center: float, spread: float) -> np.ndarray:
    """Return |values - center| / spread as float32; infinite where a value is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        scores = np.abs(values - center) / spread if spread > 0 else np.zeros(len(values))
    return np.where(np.isfinite(values), scores, np.inf).astype(np.float32)


def center_and_spread(values: np.ndarray) -> tuple[float, float]:
    """Return the median and the robust spread of the finite values of a flat array.

    Examples
    --------
    >>> center_and_spread(np.array([1.0, 2.0, 3.0, 2.0, 30.0, np.nan]))
    (2.0, 1.4826)
    """
    scratch = empty(values.shape, values.dtype)
    count = 0
    for start in range(0, len(values), elements.CHUNK_BYTES):
        part = values[start : start + elements.CHUNK_BYTES]
        part = part[np.isfinite(part)]
        scratch[count : count + len(part)] = part
        count += len(part)
    scratch = scratch[:count]
    if not count:
        return 0.0, 0.0
    center = _median(scratch)
    scratch -= values.dtype.type(center)
    np.abs(scratch, out=scratch)
    mean = float(scratch.mean(dtype=np.float64))
    deviation = NORMAL * _median(scratch)
    return center, deviation if deviation > 0 else float(np.sqrt(np.pi / 2)) * mean


def _median(values: np.ndarray) -> float:
    """Return the median; reorders the values."""
    half = len(values) // 2
    values.partition(half)
    middle = float(values[half])
    return middle if len(values) % 2 else (middle + float(values[:half].max())) / 2
