"""What a trial could have shown: the smallest detectable difference, and the seeds that a difference needs.

A difference x of S seeds whose paired differences have the standard deviation sd is found with probability `power` when

    x >= (t[1 - alpha/2, S - 1] + t[power, S - 1]) sd / sqrt(S)

with quantiles of Student's t. The sd is itself an estimate: its chi-squared interval gives one for the smallest difference.
Where start states are random, they leave an error that more seeds do not reduce: `sqrt(sd^2 / S + floor^2)` stands for
`sd / sqrt(S)`.

The sign-flip test of few seeds can reject few sign vectors only, and shows less than a t test: 6 seeds that all agree, and nothing
else, are significant at .05. Where it rejects fewer than 16 of the vectors, the factor of sd is that of the test itself on normal
differences. The test shows a shift x as soon as x exceeds minus the lower end of its interval, which is an order statistic of the
means of all subsets of the differences (Hartigan 1969, "Using subsample values as typical values"); so the factor is the quantile
`power` of that end's distribution, from seeded draws. Without it, 6 seeds would show the stated difference in 61 instead of 80 % of
the trials.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from assay.analysis.trials.sign_flip import EXACT_UP_TO, differences_of_seeds, sign_flip_test, smallest_p_value
from assay.datasets.errors import ConfigError

__all__ = ["predicted_power", "resampled_power", "seeds_needed", "smallest_difference"]

_MOST_SEEDS = 1_000_000
_FEW_VECTORS = 16  # that a test rejects; with more, Student's t is as good
_NUMBERS = 5_000_000  # means of subsets, in all
_DRAWS_AT_A_TIME = 100


def smallest_difference(
    deviation: float, seeds: int, alpha: float = 0.05, power: float = 0.8, floor: float = 0.0
) -> tuple[float, float, float]:
    """Return the smallest difference that so many seeds show with probability `power`, and its 95 % interval.

    Parameters
    ----------
    deviation : float
        Standard deviation of the paired differences over seeds.
    seeds : int
    alpha : float
        Two-sided level of the test.
    power : float
    floor : float
        Standard error that more seeds do not reduce.

    Returns
    -------
    value, low, high : float
        The interval is that of the deviation. All are `inf` where so few seeds can show nothing.

    Raises
    ------
    ConfigError
        If a number is not finite, a deviation is negative, or alpha or power is not between 0 and 1.

    Examples
    --------
    >>> value, low, high = smallest_difference(10.0, seeds=16)
    >>> round(value, 2), round(low, 2), round(high, 2)
    (7.49, 5.54, 11.6)
    """
    from scipy.stats import chi2

    _check(alpha, power, deviation=deviation, floor=floor)
    _check_seeds(seeds)
    if seeds < 2 or smallest_p_value(seeds) > alpha:
        return math.inf, math.inf, math.inf
    value, freedom = _factor(seeds, alpha, power) * _error(deviation, seeds, floor), seeds - 1
    low, high = (value * math.sqrt(freedom / float(chi2.ppf(share, freedom))) for share in (0.975, 0.025))
    return value, low, high


def seeds_needed(
    difference: float, deviation: float, alpha: float = 0.05, power: float = 0.8, floor: float = 0.0
) -> int | None:
    """Return the fewest seeds whose smallest detectable difference is at most `difference`; None where none is enough.

    Parameters
    ----------
    difference : float
        To be shown, in either direction; no number of seeds shows 0.
    deviation, alpha, power, floor
        As in `smallest_difference`.

    Raises
    ------
    ConfigError
        If a number is not finite, a deviation is negative, or alpha or power is not between 0 and 1.

    Examples
    --------
    >>> seeds_needed(7.49, 10.0)
    17
    >>> seeds_needed(3.745, 10.0)
    58
    """
    _check(alpha, power, deviation=deviation, floor=floor)
    difference = abs(_finite(difference))
    if difference == 0:
        return None

    def enough(seeds: int) -> bool:
        if smallest_p_value(min(seeds, EXACT_UP_TO + 1)) > alpha:
            return False
        return _factor(seeds, alpha, power) * _error(deviation, seeds, floor) <= difference

    if not enough(_MOST_SEEDS):
        return None
    low, high = 1, _MOST_SEEDS  # not enough, enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def predicted_power(difference: float, deviation: float, seeds: int, alpha: float = 0.05) -> float:
    """Return the probability that a t test of so many pairs shows a difference, in its own direction.

    The sign-flip test is as powerful from about 10 seeds on, and less with fewer; `resampled_power` asks the test itself.

    Parameters
    ----------
    difference, deviation : float
        Mean and standard deviation of the paired differences.
    seeds : int
    alpha : float

    Raises
    ------
    ConfigError
        If a number is not finite, the deviation is negative, or there are fewer than two seeds.

    Examples
    --------
    >>> round(predicted_power(7.49, 10.0, seeds=16), 2)
    0.8
    """
    from scipy.stats import nct, t

    _check(alpha, deviation=deviation)
    _check_seeds(seeds, 2)
    if deviation == 0.0:
        return float(_finite(difference) != 0.0)
    return float(
        nct.sf(t.isf(alpha / 2, seeds - 1), seeds - 1, abs(_finite(difference)) / deviation * math.sqrt(seeds))
    )


def resampled_power(
    differences: np.ndarray, difference: float, seeds: int, alpha: float = 0.05, resamples: int = 1000, seed: int = 0
) -> float:
    """Return how often the sign-flip test shows a difference planted into resampled observed ones, in its own direction.

    Parameters
    ----------
    differences : array, shape (seeds,)
        Observed ones; they are centered first.
    difference : float
        What is planted.
    seeds : int
        Of each resample.
    alpha : float
    resamples, seed : int

    Examples
    --------
    >>> observed = np.random.default_rng(0).normal(size=40)
    >>> resampled_power(observed, 0.0, 16) < 0.06 < 0.7 < resampled_power(observed, 0.8, 16)
    True
    """
    values = differences_of_seeds(differences)
    generator = np.random.default_rng((seed, 0x70E4))
    drawn = (values - values.mean())[generator.integers(0, len(values), (seeds, resamples))] + difference
    toward = drawn.mean(0) * difference > 0 if difference else np.ones(resamples, bool)
    return float(((sign_flip_test(drawn) <= alpha) & toward).mean())


@lru_cache(maxsize=512)
def _factor(seeds: int, alpha: float, power: float) -> float:
    """Return the smallest difference in standard errors of the mean difference."""
    from scipy.stats import t

    if seeds <= EXACT_UP_TO:
        rejected = math.floor(alpha * 2 ** (seeds - 1) * (1 + 1e-12))
        if 1 <= rejected < _FEW_VECTORS:
            return _factor_of_few(seeds, rejected, power)
    return float(t.isf(alpha / 2, seeds - 1) + t.ppf(power, seeds - 1))


def _factor_of_few(seeds: int, rejected: int, power: float) -> float:
    """Return it for a test that rejects so many of the 2^(seeds - 1) pairs of sign vectors."""
    subsets = ((np.arange(1, 2**seeds)[:, None] >> np.arange(seeds)) & 1).astype(np.float64)
    subsets /= subsets.sum(1, keepdims=True)
    generator, ends = np.random.default_rng((0x70E5, seeds)), []
    draws = min(20_000, max(1_000, _NUMBERS // len(subsets)))
    for _ in range(0, draws, _DRAWS_AT_A_TIME):
        means = subsets @ generator.normal(size=(seeds, _DRAWS_AT_A_TIME))
        ends.append(np.partition(means, rejected - 1, axis=0)[rejected - 1])
    return float(np.quantile(-np.concatenate(ends), power)) * math.sqrt(seeds)


def _error(deviation: float, seeds: int, floor: float) -> float:
    return math.sqrt(deviation**2 / seeds + floor**2)


def _check(alpha: float, power: float = 0.8, **spreads: float) -> None:
    for name, value in spreads.items():
        if not 0 <= value < math.inf:
            raise ConfigError(f"{name}={value!r} must be a finite number of at least 0")
    for name, value in (("alpha", alpha), ("power", power)):
        if not 0 < value < 1:
            raise ConfigError(f"{name}={value!r} must lie between 0 and 1")


def _check_seeds(seeds: int, least: int = 1) -> None:
    if isinstance(seeds, bool) or not isinstance(seeds, int | np.integer) or seeds < least:
        raise ConfigError(f"seeds={seeds!r} must be a whole number of at least {least}")


def _finite(difference: float) -> float:
    if not math.isfinite(difference):
        raise ConfigError(f"difference={difference!r} must be a finite number")
    return difference
