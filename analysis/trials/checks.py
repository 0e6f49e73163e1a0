"""Intervals of a mean difference by other methods: bootstrap-t, and random effects of seeds and start states.

The first is a check of the sign-flip interval. The second is the interval itself where start states are random as well::

    D[s, e] = difference + seed[s] + start[e] + residual[s, e]          seeds and start states are crossed

Both effects are random, so the variance of the mean of S seeds and E start states is

    V = v_seed / S + v_start / E + v_residual / (S E) = (M_seed + M_start - M_residual) / (S E)

with the mean squares M of the two-way table without replication, and its degrees of freedom are Satterthwaite's (1946,
"An approximate distribution of estimates of variance components", Biometrics Bulletin 2). A variance that is estimated below 0
counts as 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from assay.analysis.trials.sign_flip import differences_of_seeds
from assay.datasets.errors import ConfigError

__all__ = ["CrossedEffects", "bootstrap_t_interval", "crossed_effects", "t_interval"]

_RESAMPLES = 2000


@dataclass(frozen=True)
class CrossedEffects:
    """The mean of differences over crossed seeds and start states.

    Parameters
    ----------
    difference : float
        The mean of all.
    standard_error : float
        Of it, for other seeds and other start states.
    degrees_of_freedom : float
        Satterthwaite's; `inf` where nothing varies.
    seed_variance, start_variance, residual_variance : float
        Of the three effects; 0 where the estimate is negative.
    """

    difference: float
    standard_error: float
    degrees_of_freedom: float
    seed_variance: float
    start_variance: float
    residual_variance: float

    @property
    def p_value(self) -> float:
        """Two-sided, of a difference of 0."""
        from scipy.stats import t

        if self.standard_error == 0.0:
            return 1.0 if self.difference == 0.0 else 0.0
        return float(2 * t.sf(abs(self.difference) / self.standard_error, self.degrees_of_freedom))

    def interval(self, alpha: float = 0.05) -> tuple[float, float]:
        """Return the interval that covers with probability 1 - alpha, as (low, high)."""
        from scipy.stats import t

        half = float(t.isf(alpha / 2, self.degrees_of_freedom)) * self.standard_error
        return self.difference - half, self.difference + half


def crossed_effects(differences: np.ndarray) -> CrossedEffects:
    """Estimate the mean of differences whose seeds and start states are both random.

    Parameters
    ----------
    differences : array, shape (seeds, starts)
        At least two of each.

    Raises
    ------
    ConfigError
        If there are fewer.

    Examples
    --------
    >>> found = crossed_effects(np.array([[1.0, 2.0], [2.0, 3.0], [3.0, 4.0]]))
    >>> found.difference, found.seed_variance, found.start_variance, found.residual_variance
    (2.5, 1.0, 0.5, 0.0)
    """
    values = differences_of_seeds(differences)
    if values.ndim != 2 or min(values.shape) < 2:
        raise ConfigError(
            f"the differences have shape {values.shape}; random start states need seeds x starts, two of each at least"
        )
    seeds, starts = values.shape
    mean, of_seed, of_start = values.mean(), values.mean(1, keepdims=True), values.mean(0, keepdims=True)
    residual = float(((values - of_seed - of_start + mean) ** 2).sum()) / ((seeds - 1) * (starts - 1))
    seed = starts * float(((of_seed - mean) ** 2).sum()) / (seeds - 1)
    start = seeds * float(((of_start - mean) ** 2).sum()) / (starts - 1)
    seed_variance, start_variance = max(0.0, (seed - residual) / starts), max(0.0, (start - residual) / seeds)
    # An effect whose variance is 0 has the residual's mean square.
    parts = [(max(seed, residual), seeds - 1), (max(start, residual), starts - 1)]
    parts.append((-residual, (seeds - 1) * (starts - 1)))
    total = sum(square for square, _ in parts)
    spread = sum(square**2 / freedom for square, freedom in parts)
    return CrossedEffects(
        float(mean),
        math.sqrt(total / (seeds * starts)),
        total**2 / spread if spread > 0 else math.inf,
        seed_variance,
        start_variance,
        residual,
    )


def t_interval(differences: np.ndarray, alpha: float = 0.05) -> tuple[float, float]:
    """Return Student's interval of a mean: the mixed model's, where seeds alone are random.

    Examples
    --------
    >>> low, high = t_interval(np.array([1.0, 2.0, 3.0]))
    >>> round(low, 2), round(high, 2)
    (-0.48, 4.48)
    """
    from scipy.stats import t

    values = differences_of_seeds(differences)
    if len(values) < 2:
        return -math.inf, math.inf
    half = float(t.isf(alpha / 2, len(values) - 1)) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()) - half, float(values.mean()) + half


def bootstrap_t_interval(
    differences: np.ndarray, alpha: float = 0.05, resamples: int = _RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Return the bootstrap-t interval of a mean (Efron 1981): the studentized mean's distribution is that of resamples.

    Parameters
    ----------
    differences : array, shape (seeds,)
    alpha : float
    resamples : int
    seed : int
        Of the resampling.

    Returns
    -------
    tuple of float
        (-inf, inf) where the differences are too few or too equal for it: fewer than 3, or the ends would be unbounded
        because resamples of a single value are more frequent than `alpha / 2`.

    Examples
    --------
    >>> low, high = bootstrap_t_interval(np.arange(20.0))
    >>> 5 < low < 9.5 < high < 14
    True
    """
    values = differences_of_seeds(differences)
    count = len(values)
    if count < 3 or not np.ptp(values):
        return (float(values[0]),) * 2 if count >= 3 else (-math.inf, math.inf)
    drawn = values[np.random.default_rng((seed, 0xB007)).integers(0, count, (resamples, count))]
    errors = drawn.std(1, ddof=1) / math.sqrt(count)
    offsets = drawn.mean(1) - values.mean()
    with np.errstate(divide="ignore", invalid="ignore"):
        studentized = np.where(errors > 0, offsets / errors, np.copysign(np.inf, offsets))
    ordered = np.sort(studentized)
    tail = alpha / 2
    low_t, high_t = ordered[math.floor(tail * (resamples - 1))], ordered[math.ceil((1 - tail) * (resamples - 1))]
    error = float(values.std(ddof=1)) / math.sqrt(count)
    return float(values.mean() - high_t * error), float(values.mean() - low_t * error)
