"""Values of groups of episodes from the scores of policies that were trained on random subsets, and whether they predict anything.

With y[m] the score of the policy of subset m, and z[m, i] whether group i was in it:

- Banzhaf value: v[i] = mean(y | z[i] = 1) - mean(y | z[i] = 0), every subset used for every group (Wang & Jia 2023, "Data Banzhaf",
  arXiv 2205.15466).
- Datamodel: y ~ b + z w by ridge regression, the penalty by leave-one-out (Ilyas et al. 2022, "Datamodels", arXiv 2202.00622, who
  use the lasso on far more subsets).

Values that do not predict the scores of subsets they have not seen are noise. So they are validated first: Spearman's correlation of
predicted and observed scores of held-out subsets, beside that of simple predictors, and beside the most that the noise of training
allows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from assay.datasets.errors import ConfigError
from assay.datasets.wording import count_of

__all__ = [
    "Validation",
    "banzhaf_values",
    "check_subsets",
    "draw_subsets",
    "fit_datamodel",
    "held_out_predictions",
    "noise_ceiling",
    "validate",
]

FEWEST_SUBSETS = 24
_FOLDS = 8
_RESAMPLES = 2000
_PENALTIES = np.logspace(-4, 2, 25)  # of the largest squared singular value


@dataclass(frozen=True)
class Validation:
    """Whether values predict the scores of held-out subsets.

    Parameters
    ----------
    correlation : float
        Spearman's, of predicted and observed scores.
    interval : (float, float)
        Of it, 95 %, by a bootstrap over subsets.
    ceiling : float
        The largest correlation that the noise of training leaves; NaN where every subset was trained once.
    simple : mapping of str to float
        Spearman's correlations of simple predictors with the scores.
    best_simple : str
        The one with the largest correlation, whatever its sign.
    gain : (float, float)
        95 % interval of the correlation minus the size of that of the best simple predictor.
    """

    correlation: float
    interval: tuple[float, float]
    ceiling: float
    simple: Mapping[str, float]
    best_simple: str
    gain: tuple[float, float]

    @property
    def passed(self) -> bool:
        """Whether the values predict more than the best simple predictor does."""
        return self.gain[0] > 0


def draw_subsets(groups: int, subsets: int, seed: int = 0) -> np.ndarray:
    """Draw subsets that hold each group with probability 1/2; none is empty.

    Returns
    -------
    array, shape (subsets, groups), bool

    Raises
    ------
    ConfigError
        If there are fewer than two groups, or too few subsets to validate anything.

    Examples
    --------
    >>> draw_subsets(10, 200).mean().round(1), draw_subsets(2, 100).any(1).all()
    (np.float64(0.5), np.True_)
    """
    check_subsets(groups, subsets)
    generator = np.random.default_rng((seed, 0x7A1E))
    chosen = generator.random((subsets, groups)) < 0.5
    while not (full := chosen.any(1)).all():
        chosen[~full] = generator.random((int((~full).sum()), groups)) < 0.5
    return chosen


def check_subsets(groups: int, subsets: int) -> None:
    """Refuse too few groups or subsets to value anything, by ConfigError."""
    if groups < 2 or subsets < FEWEST_SUBSETS:
        raise ConfigError(
            f"{count_of(groups, 'group')} and {count_of(subsets, 'subset')}: values need two groups at least, and {FEWEST_SUBSETS} subsets"
        )


def banzhaf_values(scores: np.ndarray, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the Banzhaf value of every group and its standard error.

    Parameters
    ----------
    scores : array, shape (subsets,)
    members : array, shape (subsets, groups), bool

    Returns
    -------
    values, errors : arrays, shape (groups,)
        NaN for a group that nearly all subsets hold, or nearly none.

    Examples
    --------
    >>> members = np.array([[1, 0], [1, 1], [0, 1], [0, 0]] * 3, bool)
    >>> values, errors = banzhaf_values(10.0 * members[:, 0], members)
    >>> values.tolist()
    [10.0, 0.0]
    """
    sides = []
    for inside in (members.astype(np.float64), 1.0 - members):
        count = inside.sum(0)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = scores @ inside / count
            spread = (((scores[:, None] - mean) ** 2) * inside).sum(0) / (count - 1)
            sides.append((mean, np.where(count > 1, spread / count, np.nan)))
    (mean_in, square_in), (mean_out, square_out) = sides
    return np.where(np.isnan(square_in + square_out), np.nan, mean_in - mean_out), np.sqrt(square_in + square_out)


def fit_datamodel(scores: np.ndarray, members: np.ndarray) -> tuple[float, np.ndarray]:
    """Fit scores by a ridge regression on membership, the penalty by leave-one-out.

    Returns
    -------
    intercept : float
    weights : array, shape (groups,)

    Examples
    --------
    >>> members = draw_subsets(3, 60)
    >>> intercept, weights = fit_datamodel(5.0 + members @ np.array([3.0, 1.0, -2.0]), members)
    >>> round(intercept, 1), weights.round(1).tolist()
    (5.0, [3.0, 1.0, -2.0])
    """
    inside = members.astype(np.float64)
    center, mean = inside.mean(0), float(scores.mean())
    left, singular, right = np.linalg.svd(inside - center, full_matrices=False)
    projected, squares = left.T @ (scores - mean), singular**2
    if squares.max() == 0:
        return mean, np.zeros(members.shape[1])
    best_error, best = math.inf, 0.0
    for penalty in _PENALTIES * squares.max():
        shrunk = squares / (squares + penalty)
        residual = scores - mean - left @ (shrunk * projected)
        leverage = np.minimum(1 / len(scores) + left**2 @ shrunk, 1 - 1e-9)
        error = float(((residual / (1 - leverage)) ** 2).mean())
        if error < best_error:
            best_error, best = error, float(penalty)
    weights = right.T @ (singular / (squares + best) * projected)
    return mean - float(center @ weights), weights


def held_out_predictions(scores: np.ndarray, members: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return the score of every subset as predicted by the datamodel of the other seven eighths: (subsets,)."""
    order = np.random.default_rng((seed, 0xF01D)).permutation(len(scores))
    predicted = np.empty(len(scores))
    for fold in np.array_split(order, _FOLDS):
        rest = np.setdiff1d(order, fold)
        intercept, weights = fit_datamodel(scores[rest], members[rest])
        predicted[fold] = intercept + members[fold] @ weights
    return predicted


def noise_ceiling(scores: np.ndarray) -> float:
    """Return the largest correlation with mean scores that the noise of training leaves.

    Parameters
    ----------
    scores : array, shape (subsets, seeds)
        Of the same subsets under several training seeds.

    Returns
    -------
    float
        The root of the reliability of the mean over seeds, `k r / (1 + (k - 1) r)` with r the mean correlation of two seeds
        (Spearman 1910, Brown 1910). NaN for a single seed.

    Examples
    --------
    >>> truth = np.arange(50.0)
    >>> round(noise_ceiling(np.stack([truth, truth], 1)), 6)
    1.0
    """
    count = scores.shape[1]
    if count < 2:
        return math.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        table = np.nan_to_num(np.corrcoef(scores.T))
    between = float(table[~np.eye(count, dtype=bool)].mean())
    reliability = count * between / (1 + (count - 1) * between) if between > 0 else 0.0
    return math.sqrt(reliability)


def validate(
    scores: np.ndarray,
    predicted: np.ndarray,
    simple: Mapping[str, np.ndarray],
    ceiling: float = math.nan,
    seed: int = 0,
) -> Validation:
    """Compare predictions of held-out scores with simple predictors.

    Parameters
    ----------
    scores, predicted : arrays, shape (subsets,)
    simple : mapping of str to array, shape (subsets,)
    ceiling : float
        From `noise_ceiling`.
    seed : int
        Of the bootstrap over subsets.
    """
    drawn = np.random.default_rng((seed, 0xB007)).integers(0, len(scores), (_RESAMPLES, len(scores)))

    def correlations(values: np.ndarray) -> tuple[float, np.ndarray]:
        whole = _spearman(values[None], scores[None])[0]
        return float(whole), _spearman(values[drawn], scores[drawn])

    correlation, resampled = correlations(predicted)
    others = {name: correlations(values) for name, values in simple.items()}
    best = max(others, key=lambda name: abs(others[name][0]))
    gains = resampled - np.abs(others[best][1])
    low, high = np.quantile(resampled, (0.025, 0.975))
    gain_low, gain_high = np.quantile(gains, (0.025, 0.975))
    return Validation(
        correlation,
        (float(low), float(high)),
        ceiling,
        {name: whole for name, (whole, _) in others.items()},
        best,
        (float(gain_low), float(gain_high)),
    )


def _spearman(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return Spearman's correlation of every row; 0 where one of the two does not vary."""
    from scipy.stats import rankdata

    first, second = (rankdata(values, axis=1) for values in (one, other))
    first, second = (ranks - ranks.mean(1, keepdims=True) for ranks in (first, second))
    scale = np.sqrt((first**2).sum(1) * (second**2).sum(1))
    found = np.zeros(len(scale))
    np.divide((first * second).sum(1), scale, out=found, where=scale > 0)
    return found
