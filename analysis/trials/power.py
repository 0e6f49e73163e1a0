"""What a trial could have shown: the smallest detectable difference, and the seeds that a difference needs.

A difference x of S seeds whose paired differences have the standard deviation sd is found with probability `power` when

    x >= (t[1 - alpha/2, S - 1] + t[power, S - 1]) sd / sqrt(S)

with quantiles of Student's t. The sd is itself an estimate: its chi-squared interval gives one for the smallest difference.
Where start states are random, they leave an error that more seeds do not reduce: `sqrt(sd^2 / S + floor^2)` stands for
`sd / sqrt(S)`.
"""

from __future__ import annotations

import math

import numpy as np

from assay.analysis.trials.sign_flip import EXACT_UP_TO, differences_of_seeds, sign_flip_test, smallest_p_value
from assay.datasets.errors import ConfigError

__all__ = ["predicted_power", "resampled_power", "seeds_needed", "smallest_difference"]

_MOST_SEEDS = 1_000_000


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

    Examples
    --------
    >>> value, low, high = smallest_difference(10.0, seeds=16)
    >>> round(value, 2), round(low, 2), round(high, 2)
    (7.49, 5.54, 11.6)
    """
    from scipy.stats import chi2

    _check(alpha, power)
    if seeds < 2 or smallest_p_value(seeds) > alpha:
        return math.inf, math.inf, math.inf
    value, freedom = _quantiles(seeds, alpha, power) * _error(deviation, seeds, floor), seeds - 1
    low, high = (value * math.sqrt(freedom / float(chi2.ppf(share, freedom))) for share in (0.975, 0.025))
    return value, low, high


def seeds_needed(
    difference: float, deviation: float, alpha: float = 0.05, power: float = 0.8, floor: float = 0.0
) -> int | None:
    """Return the fewest seeds whose smallest detectable difference is at most `difference`; None where none is enough.

    Examples
    --------
    >>> seeds_needed(7.49, 10.0)
    17
    >>> seeds_needed(3.745, 10.0)
    58
    """
    _check(alpha, power)
    if not difference > 0:
        return None

    def enough(seeds: int) -> bool:
        if smallest_p_value(min(seeds, EXACT_UP_TO + 1)) > alpha:
            return False
        return _quantiles(seeds, alpha, power) * _error(deviation, seeds, floor) <= difference

    if not enough(_MOST_SEEDS):
        return None
    low, high = 1, _MOST_SEEDS  # not enough, enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def predicted_power(difference: float, deviation: float, seeds: int, alpha: float = 0.05) -> float:
    """Return the probability that a t test of so many pairs shows a difference, in its own direction.

    Parameters
    ----------
    difference, deviation : float
        Mean and standard deviation of the paired differences.
    seeds : int
    alpha : float

    Examples
    --------
    >>> round(predicted_power(7.49, 10.0, seeds=16), 2)
    0.8
    """
    from scipy.stats import nct, t

    if deviation == 0.0:
        return float(difference != 0.0)
    return float(nct.sf(t.isf(alpha / 2, seeds - 1), seeds - 1, abs(difference) / deviation * math.sqrt(seeds)))


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


def _quantiles(seeds: int, alpha: float, power: float) -> float:
    from scipy.stats import t

    return float(t.isf(alpha / 2, seeds - 1) + t.ppf(power, seeds - 1))


def _error(deviation: float, seeds: int, floor: float) -> float:
    return math.sqrt(deviation**2 / seeds + floor**2)


def _check(alpha: float, power: float) -> None:
    for name, value in (("alpha", alpha), ("power", power)):
        if not 0 < value < 1:
            raise ConfigError(f"{name}={value!r} must lie between 0 and 1")
