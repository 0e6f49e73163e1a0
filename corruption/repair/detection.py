"""How well a filter finds what was corrupted, against the ground truth.

    precision   of the flagged steps, the share that was corrupted      TP / (TP + FP)
    recall      of the corrupted steps, the share that was flagged      TP / (TP + FN)

RDT's published code swaps the two names (`RDT.py:283-284`): what it calls recall is divided by the number of flags.

Over all thresholds, `ranking` has the average precision and the AUROC, with the length of the episodes taken into account.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from assay.corruption.repair.oracle import OracleFilter
from assay.corruption.repair.ranking import (
    auroc,
    auroc_beyond_length,
    auroc_of_equal_length,
    average_precision,
    length_correlation,
)
from assay.datasets.dataset import Dataset
from assay.datasets.errors import UnknownNameError

__all__ = ["Detection", "detection"]


@dataclass(frozen=True)
class Detection:
    """Agreement of flags and ground truth.

    Parameters
    ----------
    precision, recall, f1 : float
        NaN where nothing was flagged, where nothing was corrupted, and where both are 0 or NaN.
    average_precision : float
        Over all thresholds of the scores: the sum of (R_n - R_(n-1)) P_n, steps of equal score counting at once. NaN
        without scores. It does not depend on the threshold; a filter that knows nothing has the rate of the corruption.
    flagged, corrupted, steps : int
        Counted in steps, or in episodes where those were compared.
    auroc : float
        Area under the receiver operating characteristic curve of the scores; 1/2 knows nothing. NaN without scores, and where all
        or nothing was corrupted.
    auroc_of_equal_length, auroc_beyond_length : float
        Over pairs from episodes of equal length, NaN where there are none; and of what the length does not explain. See
        `assay.corruption.repair.ranking`.
    length_correlation : float
        Spearman's, of the scores with the lengths of the episodes; NaN where either does not vary.
    """

    precision: float
    recall: float
    f1: float
    average_precision: float
    flagged: int
    corrupted: int
    steps: int
    auroc: float = float("nan")
    auroc_of_equal_length: float = float("nan")
    auroc_beyond_length: float = float("nan")
    length_correlation: float = float("nan")


def detection(
    dataset: Dataset, element: str, truth: str | None = None, per: Literal["step", "episode"] = "step"
) -> Detection:
    """Compare the flags of a filter (`action="flag"` or `"weights"`) with the ground truth.

    Parameters
    ----------
    dataset : Dataset
        With the columns `flagged/<element>` and `corrupted/<truth>`, and perhaps `suspicion/<element>`.
    element : str
    truth : str, optional
        The mask to compare with; default that of the element. `"any"` unites all masks but `truncations`.
    per : "step" or "episode"
        What is counted. An episode is corrupted, or flagged, where one of its steps is, and its score is the mean of theirs.

    Raises
    ------
    UnknownNameError
        If there are no such flags or no such mask.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(5.0), actions=np.zeros(4), rewards=np.zeros(4),
    ...     terminations=np.arange(4) == 3, truncations=np.zeros(4, bool),
    ...     columns={"flagged/rewards": [True, True, True, False], "corrupted/rewards": [True, False, False, False]})
    >>> found = detection(dataset, "rewards")
    >>> round(found.precision, 3), found.recall
    (0.333, 1.0)
    """
    flags = {name.partition("/")[2]: dataset.column(name) for name in dataset.columns if name.startswith("flagged/")}
    if element not in flags:
        raise UnknownNameError("flag", element, flags, "" if flags else '(run a filter with action="flag" first)')
    masks = dataset.masks
    name = element if truth is None else truth
    if name == "any" and masks:
        corrupted, _ = OracleFilter(action="flag").find(dataset)
    elif name in masks:
        corrupted = masks[name]
    else:
        raise UnknownNameError("mask", name, masks, "" if masks else "(nothing of this dataset is corrupted)")
    flagged, lengths = flags[element], dataset.episode_lengths
    suspicion = f"suspicion/{element}"
    scores = dataset.column(suspicion).astype(np.float64) if suspicion in dataset.columns else None
    if per == "episode" and dataset.total_episodes:
        starts = dataset.episode_starts
        flagged, corrupted = (np.logical_or.reduceat(part, starts) for part in (flagged, corrupted))
        scores = None if scores is None else np.add.reduceat(scores, starts) / lengths
    else:
        lengths = np.repeat(lengths, lengths)
    return _compared(flagged, corrupted, scores, lengths)


def _compared(flagged: np.ndarray, corrupted: np.ndarray, scores: np.ndarray | None, lengths: np.ndarray) -> Detection:
    """Compare flags and scores of steps, or of episodes, with the truth."""
    hits = int((flagged & corrupted).sum())
    precision, recall = _ratio(hits, int(flagged.sum())), _ratio(hits, int(corrupted.sum()))
    both = precision + recall
    f1 = 2 * precision * recall / both if both > 0 else float("nan")
    counts = int(flagged.sum()), int(corrupted.sum()), len(corrupted)
    if scores is None:
        return Detection(precision, recall, f1, float("nan"), *counts)
    return Detection(
        precision,
        recall,
        f1,
        average_precision(scores, corrupted),
        *counts,
        auroc(scores, corrupted),
        auroc_of_equal_length(scores, corrupted, lengths),
        auroc_beyond_length(scores, corrupted, lengths),
        length_correlation(scores, lengths),
    )


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
