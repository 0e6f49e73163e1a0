"""How well a filter finds what was corrupted, against the ground truth.

    precision   of the flagged steps, the share that was corrupted      TP / (TP + FP)
    recall      of the corrupted steps, the share that was flagged      TP / (TP + FN)

RDT's published code swaps the two names (`RDT.py:283-284`): what it calls recall is divided by the number of flags.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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
    """

    precision: float
    recall: float
    f1: float
    average_precision: float
    flagged: int
    corrupted: int
    steps: int


def detection(dataset: Dataset, element: str, truth: str | None = None) -> Detection:
    """Compare the flags of a filter (`action="flag"` or `"weights"`) with the ground truth.

    Parameters
    ----------
    dataset : Dataset
        With the columns `flagged/<element>` and `corrupted/<truth>`, and perhaps `suspicion/<element>`.
    element : str
    truth : str, optional
        The mask to compare with; default that of the element.

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
    if name not in masks:
        raise UnknownNameError("mask", name, masks, "" if masks else "(nothing of this dataset is corrupted)")
    flagged, corrupted = flags[element], masks[name]
    hits = int((flagged & corrupted).sum())
    precision, recall = _ratio(hits, int(flagged.sum())), _ratio(hits, int(corrupted.sum()))
    both = precision + recall
    f1 = 2 * precision * recall / both if both > 0 else float("nan")
    scores = f"suspicion/{element}"
    average = average_precision(dataset.column(scores), corrupted) if scores in dataset.columns else float("nan")
    return Detection(precision, recall, f1, average, int(flagged.sum()), int(corrupted.sum()), len(corrupted))


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def average_precision(scores: np.ndarray, truth: np.ndarray) -> float:
    """Return the average precision of scores, the higher the more suspicious, against (N,) bool.

    Examples
    --------
    >>> average_precision(np.array([3.0, 2.0, 1.0]), np.array([True, False, True])) == (1 + 2 / 3) / 2
    True
    """
    positives = int(truth.sum())
    if not positives:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    hits = np.cumsum(truth[order])
    last_of_score = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    found = hits[last_of_score]
    precision, recall = found / (last_of_score + 1), found / positives
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))
