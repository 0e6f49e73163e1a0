r"""How well scores rank what is wrong above what is right, and how much of that the length of the episodes does alone.

With U the number of pairs of a wrong and a right unit of which the wrong one has the higher score, ties counting half,

.. math:: \text{AUROC} = U / (n_\text{wrong}\, n_\text{right})

which is 1/2 for a score that knows nothing (Hanley and McNeil 1982, "The meaning and use of the area under a receiver operating
characteristic curve"). Many scores of episodes grow with their length, as sums do. Where wrong episodes are also shorter or longer
than others, such a score ranks them without having seen anything else. Two numbers say what is left of it:

- the AUROC over pairs of equal length only, the mean over strata of one length weighted by their pairs;
- the AUROC of what a monotone regression on the length leaves over. Ranks of the scores are regressed, rising or falling, whichever
  fits better (isotonic regression, Barlow et al. 1972).

The first assumes nothing, and needs wrong and right episodes of one length. The second is there for any lengths. Where each length
occurs once, it takes away some of what a score knows beyond the length.
"""

from __future__ import annotations

import numpy as np

__all__ = ["auroc", "auroc_beyond_length", "auroc_of_equal_length", "average_precision", "length_correlation"]


def auroc(scores: np.ndarray, truth: np.ndarray) -> float:
    """Return the area under the receiver operating characteristic curve; NaN where all, or none, are wrong.

    Parameters
    ----------
    scores : (n,) array
        The higher, the more suspicious; infinite ones are allowed.
    truth : (n,) bool
        Which are wrong.

    Examples
    --------
    >>> auroc(np.array([3.0, 2.0, 1.0]), np.array([True, False, True]))
    0.5
    """
    wins, pairs = _wins(scores, truth)
    return wins / pairs if pairs else float("nan")


def auroc_of_equal_length(scores: np.ndarray, truth: np.ndarray, lengths: np.ndarray) -> float:
    """Return the AUROC over pairs of equal length; NaN where there is no such pair.

    Examples
    --------
    >>> lengths = np.array([10, 10, 20, 20])
    >>> truth = np.array([False, False, True, True])
    >>> auroc(lengths, truth), auroc_of_equal_length(lengths, truth, lengths)
    (1.0, nan)
    """
    found = [_wins(scores[lengths == length], truth[lengths == length]) for length in np.unique(lengths)]
    pairs = sum(count for _, count in found)
    return sum(wins for wins, _ in found) / pairs if pairs else float("nan")


def auroc_beyond_length(scores: np.ndarray, truth: np.ndarray, lengths: np.ndarray) -> float:
    """Return the AUROC of what a monotone regression of the ranked scores on the length leaves over.

    Examples
    --------
    >>> lengths = np.array([10, 10, 20, 20])
    >>> auroc_beyond_length(lengths, np.array([False, False, True, True]), lengths)
    0.5
    """
    from scipy.optimize import isotonic_regression

    if not len(scores):
        return float("nan")
    ranks = _ranks(scores)
    _, group, counts = np.unique(lengths, return_inverse=True, return_counts=True)
    means = np.bincount(group, ranks) / counts
    fits = [isotonic_regression(means, weights=counts, increasing=rising).x for rising in (True, False)]
    residuals = [ranks - fit[group] for fit in fits]
    best = min(residuals, key=lambda residual: float(np.square(residual).sum()))
    return auroc(np.round(best, 9), truth)  # equal up to rounding is equal


def length_correlation(scores: np.ndarray, lengths: np.ndarray) -> float:
    """Return Spearman's correlation of scores and lengths; NaN where either does not vary.

    Examples
    --------
    >>> round(length_correlation(np.array([1.0, 2.0, 4.0, 3.0]), np.array([10, 20, 30, 40])), 9)
    0.8
    """
    of_scores, of_lengths = _ranks(scores), _ranks(lengths)
    if len(scores) < 2 or not np.ptp(of_scores) or not np.ptp(of_lengths):
        return float("nan")
    return float(np.corrcoef(of_scores, of_lengths)[0, 1])


def average_precision(scores: np.ndarray, truth: np.ndarray) -> float:
    """Return the average precision of scores, the higher the more suspicious, against (n,) bool.

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


def _wins(scores: np.ndarray, truth: np.ndarray) -> tuple[float, int]:
    """Return U and the number of pairs."""
    wrong = int(truth.sum())
    pairs = wrong * (len(truth) - wrong)
    if not pairs:
        return 0.0, 0
    return float(_ranks(scores)[truth].sum()) - wrong * (wrong + 1) / 2, pairs


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks from 1, equal values sharing their mean."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    lasts = np.cumsum(counts)
    ranks: np.ndarray = (lasts - (counts - 1) / 2)[group]
    return ranks
