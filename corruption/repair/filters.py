"""What filters have in common: they flag steps, and leave them out without inventing a transition.

::

    step             0  1  2  3  4          5
    flagged                x                            (x: step 2)
    action="drop"    s0 s1 s2 | s3 s4 s5 sT             two episodes; s2 is the final observation of the first
    action="weights" 1  1  0  1  1          1           the step stays, and is never drawn (weight=0.2: less often)
    action="flag"    as it is, with the column flagged/<element>

To cut a step out and to join what is left would make a transition that never happened, so episodes are split there. The
first part is truncated, and its final observation is the true next one. A learner that bootstraps loses nothing but the
flagged transitions. Learners of sequences lose context: for them `weights` keeps episodes whole, where they honour it.

Where the observation s2 itself is wrong, it must not stay as a final observation. Then step 1, which leads to it, is left
out too, unless its true s' is stored, which becomes the final observation. `weights` leaves the values where they are, so
it does not help against NaN.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pydantic
from pydantic import Field

from assay.corruption.shared.pieces import take_pieces
from assay.datasets.dataset import Dataset, is_under
from assay.datasets.errors import DatasetError
from assay.datasets.memory import copy
from assay.datasets.transform import Transform

__all__ = ["Examination", "Filter", "ScoreFilter", "drop_steps"]


@dataclass(frozen=True)
class Examination:
    """What a filter finds in a dataset of N steps in E episodes.

    Parameters
    ----------
    flagged : (N,) bool
    scores : (N,) float32 or None
        How suspicious each step is, where that is known.
    wrong_rows : (N+E,) bool or None
        Rows of the observations that are wrong themselves; None where the filter does not look at them.
    """

    flagged: np.ndarray
    scores: np.ndarray | None = None
    wrong_rows: np.ndarray | None = None


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=pydantic.ConfigDict(extra="forbid"))
class Filter(Transform):
    """Base of the filters; given by keyword.

    Parameters
    ----------
    action : "drop", "weights" or "flag"
        Leave flagged steps out, splitting their episodes; multiply their weight; or only say which they are.
    weight : float in [0, 1)
        What `"weights"` multiplies by; at 0, the default, flagged steps are never drawn.
    """

    action: Literal["drop", "weights", "flag"] = "drop"
    weight: float = Field(default=0.0, ge=0, lt=1, kw_only=True)

    @property
    @abstractmethod
    def label(self) -> str:
        """The element that the steps are flagged for."""

    @abstractmethod
    def find(self, dataset: Dataset) -> tuple[np.ndarray, np.ndarray | None]:
        """Return which steps are flagged, (N,) bool, and how suspicious each is, (N,) float32, if that is known."""

    def examine(self, dataset: Dataset) -> Examination:
        """Return what `find` finds; overridden by filters that know which observations are wrong."""
        return Examination(*self.find(dataset))

    def apply(self, dataset: Dataset) -> Dataset:
        """Return the filtered dataset.

        Raises
        ------
        DatasetError
            If nothing is left.
        """
        found = self.examine(dataset)
        flagged, scores = found.flagged, found.scores
        if self.action == "drop":
            return drop_steps(dataset, flagged, found.wrong_rows)
        columns = {f"flagged/{self.label}": flagged}
        if scores is not None:
            columns[f"suspicion/{self.label}"] = scores
        if self.action == "weights":
            undrawn = _touching(dataset, flagged, found.wrong_rows)
            if undrawn.all() and len(undrawn) and not self.weight:
                raise DatasetError(f"{self.name} flags every step; nothing is left to learn from")
            before = np.ones(dataset.total_steps) if dataset.weights is None else dataset.weights
            columns["weights"] = np.where(undrawn, before * before.dtype.type(self.weight), before)
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
        return self.flag(scores), scores

    def flag(self, scores: np.ndarray) -> np.ndarray:
        """Return which of these scores are beyond the threshold, or among the highest `share` of them."""
        if self.share is None:
            beyond: np.ndarray = scores > self.threshold
            return beyond
        flagged = np.zeros(len(scores), bool)
        count = round(self.share * len(scores))
        flagged[np.argsort(-scores, kind="stable")[:count]] = True
        return flagged


def drop_steps(dataset: Dataset, dropped: np.ndarray, wrong_rows: np.ndarray | None = None) -> Dataset:
    """Return the dataset without some steps; episodes are split where they were.

    Parameters
    ----------
    dataset : Dataset
    dropped : (N,) bool
    wrong_rows : (N+E,) bool, optional
        Rows of the observations of which none may be left. The steps that begin or end there are left out too. A final
        observation among them is replaced by the stored s' of its step; where there is none, a termination is kept and
        its final observation is marked as unknown (`final_observation`).

    Raises
    ------
    DatasetError
        If nothing is left.
    """
    if wrong_rows is not None:
        dropped = _touching(dataset, dropped, wrong_rows)
    starts = dataset.episode_starts
    begins, ends = ~dropped, ~dropped
    first, last = np.zeros(len(dropped), bool), np.zeros(len(dropped), bool)
    first[starts], last[starts + dataset.episode_lengths - 1] = True, True
    begins[1:] &= dropped[:-1] | first[1:]
    ends[:-1] &= dropped[1:] | last[:-1]
    firsts = np.flatnonzero(begins)
    if not len(firsts) and len(dropped):
        raise DatasetError(f"all of the {len(dropped):,} steps would be dropped; nothing is left to learn from")
    lengths = np.flatnonzero(ends) - firsts + 1
    pieces = take_pieces(dataset, firsts, lengths)
    if wrong_rows is None or not len(firsts):
        return pieces
    return _without_wrong_finals(pieces, wrong_rows[dataset.observation_rows[firsts] + lengths])


def _touching(dataset: Dataset, flagged: np.ndarray, wrong_rows: np.ndarray | None) -> np.ndarray:
    """Return the flagged steps, and those that begin at a wrong observation or lead to one; (N,) bool."""
    if wrong_rows is None:
        return flagged
    rows = dataset.observation_rows
    touching: np.ndarray = flagged | wrong_rows[rows]
    if not dataset.has_next_observations:
        terminal_last = np.zeros(len(flagged), bool)
        lasts = dataset.episode_starts + dataset.episode_lengths - 1
        terminal_last[lasts] = dataset.terminations[lasts]  # nobody looks at what follows them
        touching |= wrong_rows[rows + 1] & ~terminal_last
    return touching


def _without_wrong_finals(pieces: Dataset, wrong: np.ndarray) -> Dataset:
    """Replace final observations that are wrong, (E,) bool: by the stored s' of the step, else by a placeholder."""
    if not wrong.any():
        return pieces
    lasts = (pieces.episode_starts + pieces.episode_lengths - 1)[wrong]
    finals = pieces.observation_rows[lasts] + 1
    columns: dict[str, np.ndarray | None] = {}
    for name in pieces.columns:
        if is_under(name, "observations"):
            made = copy(pieces.column(name))
            stored = f"next_{name}" in pieces.columns
            made[finals] = pieces.column(f"next_{name}")[lasts] if stored else made[finals - 1]
            columns[name] = made
    if pieces.has_next_observations:
        return pieces.replace(columns)
    return pieces.replace(columns, episode_columns={"final_observation": pieces.final_observations_known & ~wrong})
