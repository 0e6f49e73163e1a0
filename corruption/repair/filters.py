"""What filters have in common: they flag steps, and leave them out without inventing a transition.

::

    step             0  1  2  3  4          5
    flagged                x                            (x: step 2)
    action="drop"    s0 s1 s2 | s3 s4 s5 sT             two episodes; s2 is the final observation of the first
    action="weights" 1  1  0  1  1          1           the step stays, and is never drawn
    action="flag"    as it is, with the column flagged/<element>

To cut a step out and to join what is left would make a transition that never happened, so episodes are split there. The
first part is truncated, its final observation being the true next one; a learner that bootstraps loses nothing but the
flagged transitions. Learners of sequences lose context: for them `weights` keeps episodes whole, where they honour it.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

import numpy as np
import pydantic
from pydantic import Field

from assay.corruption.shared.pieces import take_pieces
from assay.datasets.dataset import Dataset
from assay.datasets.errors import DatasetError
from assay.datasets.transform import Transform

__all__ = ["Filter", "ScoreFilter", "drop_steps"]


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=pydantic.ConfigDict(extra="forbid"))
class Filter(Transform):
    """Base of the filters; given by keyword.

    Parameters
    ----------
    action : "drop", "weights" or "flag"
        Leave flagged steps out, splitting their episodes; set their weight to 0; or only say which they are.
    """

    action: Literal["drop", "weights", "flag"] = "drop"

    @property
    @abstractmethod
    def label(self) -> str:
        """The element that the steps are flagged for."""

    @abstractmethod
    def find(self, dataset: Dataset) -> tuple[np.ndarray, np.ndarray | None]:
        """Return which steps are flagged, (N,) bool, and how suspicious each is, (N,) float32, if that is known."""

    def apply(self, dataset: Dataset) -> Dataset:
        """Return the filtered dataset.

        Raises
        ------
        DatasetError
            If nothing is left.
        """
        flagged, scores = self.find(dataset)
        if self.action == "drop":
            return drop_steps(dataset, flagged)
        columns = {f"flagged/{self.label}": flagged}
        if scores is not None:
            columns[f"suspicion/{self.label}"] = scores
        if self.action == "weights":
            if flagged.all() and len(flagged):
                raise DatasetError(f"{self.name} flags every step; nothing is left to learn from")
            before = np.ones(dataset.total_steps) if dataset.weights is None else dataset.weights
            columns["weights"] = np.where(flagged, before.dtype.type(0), before)
        return dataset.replace(columns)


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=pydantic.ConfigDict(extra="forbid"))
class ScoreFilter(Filter):
    """Base of the filters that score every step.

    Parameters
    ----------
    threshold : float > 0
        Steps with a higher score are flagged.
    share : float in [0, 1], optional
        Flag exactly this share of the steps, those of the highest scores, instead: where the rate of the corruption is
        known.
    """

    threshold: float = Field(default=6.0, gt=0, allow_inf_nan=False, kw_only=True)
    share: float | None = Field(default=None, ge=0, le=1, kw_only=True)

    @abstractmethod
    def scores(self, dataset: Dataset) -> np.ndarray:
        """Return how suspicious each step is, (N,) float32; infinite where a value is not finite."""

    def find(self, dataset: Dataset) -> tuple[np.ndarray, np.ndarray | None]:
        """Flag steps by their scores."""
        scores = self.scores(dataset)
        if self.share is None:
            return scores > self.threshold, scores
        flagged = np.zeros(len(scores), bool)
        count = round(self.share * len(scores))
        flagged[np.argsort(-scores, kind="stable")[:count]] = True
        return flagged, scores


def drop_steps(dataset: Dataset, dropped: np.ndarray) -> Dataset:
    """Return the dataset without some steps; episodes are split where they were.

    Parameters
    ----------
    dataset : Dataset
    dropped : (N,) bool

    Raises
    ------
    DatasetError
        If nothing is left.
    """
    starts = dataset.episode_starts
    begins, ends = ~dropped, ~dropped
    first, last = np.zeros(len(dropped), bool), np.zeros(len(dropped), bool)
    first[starts], last[starts + dataset.episode_lengths - 1] = True, True
    begins[1:] &= dropped[:-1] | first[1:]
    ends[:-1] &= dropped[1:] | last[:-1]
    firsts = np.flatnonzero(begins)
    if not len(firsts) and len(dropped):
        raise DatasetError(f"all of the {len(dropped):,} steps would be dropped; nothing is left to learn from")
    return take_pieces(dataset, firsts, np.flatnonzero(ends) - firsts + 1)
