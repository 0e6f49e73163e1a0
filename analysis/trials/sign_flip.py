"""The sign-flip test of paired differences, and the interval that it gives.

Every seed trains both sides, so its two scores are a pair. If the change to the data does nothing, the two scores of a pair
can be exchanged, and the difference D_s is as likely as -D_s, whatever its distribution. So all 2^S vectors of signs are
equally likely, and the p value is the share of them with a statistic at least as far from 0 as the observed one
(Fisher 1935, "The Design of Experiments", section 21). Nothing is assumed about the shape of the distribution, unlike in a
t test. The smallest possible p value is 2^(1-S).

The interval holds the shifts d for which `D - d` is not rejected. For differences that are symmetric about their center it
covers that center with at least the stated probability in samples of any size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import numpy as np

from assay.datasets.errors import ConfigError

__all__ = [
    "DRAWS",
    "EXACT_UP_TO",
    "Statistic",
    "differences_of_seeds",
    "sign_flip_interval",
    "sign_flip_ratio_interval",
    "sign_flip_test",
    "smallest_p_value",
]

Statistic: TypeAlias = Literal["mean", "trimmed_mean"]

EXACT_UP_TO = 16  # seeds; with more of them, sign vectors are drawn
DRAWS = 100_000
_TRIMMED = 0.2  # of the differences, at either end
_NUMBERS_AT_A_TIME = 4_000_000
_TIE = 1e-9  # of the sum of the sizes: two statistics that differ by less are equal up to rounding
_FARTHEST = 1e9  # where the search for the end of an interval of a ratio gives up
_PRECISION = 1e-7  # of the range of the differences: how exactly the ends of an interval are found


def sign_flip_test(differences: np.ndarray, statistic: Statistic = "mean") -> Any:
    """Return the two-sided p value of "the differences are symmetric about 0".

    Parameters
    ----------
    differences : array, shape (seeds, ...)
        One per seed; further axes are tests of their own.
    statistic : "mean" or "trimmed_mean"
        The trimmed mean leaves out the lowest and the highest fifth of the differences.

    Returns
    -------
    float or array of shape (...)
        Exact for up to 16 seeds. With more, the share among 100,000 sign vectors, drawn once for all tests of so many seeds,
        and the observed one.

    Raises
    ------
    ConfigError
        If there is no difference, or one is not finite.

    Examples
    --------
    >>> float(sign_flip_test(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])))
    0.03125
    """
    values = differences_of_seeds(differences)
    signs = _sign_vectors(len(values))
    columns = values.reshape(len(values), -1)
    slack = _TIE * np.abs(columns).sum(0)
    reduce = _STATISTICS[statistic]
    observed = np.abs(reduce(np.ones((1, len(values))), columns))[0]
    count = np.zeros(columns.shape[1], np.int64)
    for block in _blocks(signs, columns.size if statistic == "trimmed_mean" else columns.shape[1]):
        count += (np.abs(reduce(block, columns)) >= observed - slack).sum(0)
    return (count / len(signs)).reshape(values.shape[1:])[()]


def sign_flip_interval(
    differences: np.ndarray, alpha: float = 0.05, statistic: Statistic = "mean"
) -> tuple[float, float]:
    """Return the shifts that the test does not reject at level `alpha`, as (low, high).

    Parameters
    ----------
    differences : array, shape (seeds,)
    alpha : float
        1 - alpha is the coverage.
    statistic : "mean" or "trimmed_mean"

    Returns
    -------
    tuple of float
        (-inf, inf) where so few seeds can reject nothing at this level.

    Examples
    --------
    >>> low, high = sign_flip_interval(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
    >>> round(low, 3), round(high, 3)
    (1.0, 6.0)
    >>> sign_flip_interval(np.array([1.0, 2.0, 3.0]))
    (-inf, inf)
    """
    values = differences_of_seeds(differences)
    if values.ndim != 1:
        raise ConfigError(f"the differences have shape {values.shape}; an interval takes one per seed")
    if smallest_p_value(len(values)) > alpha:
        return -np.inf, np.inf
    p_value = _p_value_of_shift(values, statistic)
    span = float(np.ptp(values))
    center = float(_STATISTICS[statistic](np.ones((1, len(values))), values[:, None])[0, 0]) / len(values)
    if span == 0.0:
        return center, center
    low, high = float(values.min()), float(values.max())
    return _end(p_value, alpha, center, low - span, span), _end(p_value, alpha, center, high + span, span)


def sign_flip_ratio_interval(
    numerators: np.ndarray, denominators: np.ndarray, alpha: float = 0.05
) -> tuple[float, float]:
    """Return the ratios r of two mean differences for which `numerators - r * denominators` is not rejected, as (low, high).

    It is Fieller's construction (1954, "Some problems in interval estimation") with the sign-flip test in place of Student's t.

    Parameters
    ----------
    numerators, denominators : array, shape (seeds,)
        Paired differences of the same seeds.
    alpha : float
        1 - alpha is the coverage.

    Returns
    -------
    tuple of float
        (-inf, inf) where the denominators are not shown to differ from 0: their ratio may then be anything.

    Examples
    --------
    >>> gap, gain = np.array([8.0, 9.0, 10.0, 10.0, 11.0, 12.0]), np.array([4.0, 5.0, 5.0, 5.0, 5.0, 6.0])
    >>> low, high = sign_flip_ratio_interval(gain, gap)
    >>> round(low, 2), round(high, 2)
    (0.45, 0.56)
    """
    above, below = differences_of_seeds(numerators), differences_of_seeds(denominators)
    if above.shape != below.shape or above.ndim != 1:
        raise ConfigError(
            f"the differences have shapes {above.shape} and {below.shape}; a ratio takes one per seed of both"
        )
    if float(sign_flip_test(below)) > alpha:
        return -np.inf, np.inf
    signs = _sign_vectors(len(above)).astype(np.float64)
    sums = signs @ np.stack([above, below], 1)  # of s (numerator - ratio * denominator): sums @ (1, -ratio)

    def p_value(ratio: float) -> float:
        slack = _TIE * np.abs(above - ratio * below).sum()
        distances = np.abs(sums[:, 0] - ratio * sums[:, 1])
        return float((distances >= distances[0] - slack).mean())

    center = float(above.mean() / below.mean())
    ends = []
    for side in (-1.0, 1.0):
        span = max(abs(center), 1.0) * 1e-3
        while p_value(center + side * span) > alpha and span < _FARTHEST:
            span *= 2.0
        ends.append(side * np.inf if span >= _FARTHEST else _end(p_value, alpha, center, center + side * span, span))
    return ends[0], ends[1]


def smallest_p_value(seeds: int) -> float:
    """Return the smallest p value that so many seeds can give.

    Examples
    --------
    >>> smallest_p_value(5), smallest_p_value(6)
    (0.0625, 0.03125)
    """
    return 2.0 ** (1 - seeds) if seeds <= EXACT_UP_TO else 1.0 / (DRAWS + 1)


def differences_of_seeds(differences: Any) -> np.ndarray:
    """Return differences as an array of numbers, refusing none and what is not finite."""
    try:
        values = np.asarray(differences, dtype=np.float64)
    except (TypeError, ValueError):
        raise ConfigError("the differences must be numbers, one per seed") from None
    if values.ndim == 0 or not values.size:
        raise ConfigError(f"the differences have shape {values.shape}; there must be at least one, one per seed")
    if not np.isfinite(values).all():
        place = np.argwhere(~np.isfinite(values))[0]
        raise ConfigError(
            f"the difference of seed number {place[0]} is {values[tuple(place)]}; a policy that diverged scores what it "
            "earns, or the random reference, and is not left out"
        )
    return values


@lru_cache(maxsize=4)
def _sign_vectors(seeds: int) -> np.ndarray:
    """Return (vectors, seeds) int8 of +1 and -1, the first all +1.

    The exact set holds one of each pair (s, -s), because both have the same distance from 0.
    """
    if seeds <= EXACT_UP_TO:
        numbers = np.arange(2 ** (seeds - 1), dtype=np.int64)[:, None]
        flipped = (numbers >> np.arange(seeds)) & 1
    else:
        flipped = np.random.default_rng((0x51F1, seeds)).integers(0, 2, (DRAWS + 1, seeds), dtype=np.int8)
        flipped[0] = 0
    signs: np.ndarray = (1 - 2 * flipped).astype(np.int8)
    signs.flags.writeable = False
    return signs


def _blocks(signs: np.ndarray, numbers_per_vector: int) -> Iterator[np.ndarray]:
    rows = max(1, _NUMBERS_AT_A_TIME // max(1, numbers_per_vector))
    for start in range(0, len(signs), rows):
        yield signs[start : start + rows].astype(np.float64)


def _sum(signs: np.ndarray, values: np.ndarray) -> np.ndarray:
    sums: np.ndarray = signs @ values
    return sums


def _trimmed_sum(signs: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the trimmed means of the values under all sign vectors, times the number of values."""
    seeds = len(values)
    cut = int(_TRIMMED * seeds)
    flipped = np.sort(signs[:, :, None] * values, axis=1)
    kept: np.ndarray = flipped[:, cut : seeds - cut]
    return np.asarray(kept.mean(1) * seeds)


_STATISTICS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "mean": _sum,
    "trimmed_mean": _trimmed_sum,
}
"""(vectors, seeds) signs and (seeds, tests) values -> (vectors, tests): the statistic times the number of seeds."""


def _p_value_of_shift(values: np.ndarray, statistic: Statistic) -> Callable[[float], float]:
    """Return the p value of `values - shift` as a function of the shift."""
    if statistic != "mean":
        return lambda shift: float(sign_flip_test(values - shift, statistic))
    signs = _sign_vectors(len(values)).astype(np.float64)
    sums, counts = signs @ values, signs.sum(1)  # of s (D - shift): sums - shift * counts

    def p_value(shift: float) -> float:
        slack = _TIE * np.abs(values - shift).sum()
        return float((np.abs(sums - shift * counts) >= abs(sums[0] - shift * counts[0]) - slack).mean())

    return p_value


def _end(p_value: Callable[[float], float], alpha: float, inside: float, outside: float, span: float) -> float:
    """Return where the p value falls to `alpha`, by bisection between a shift that is not rejected and one that is.

    It is the last shift that is known to be rejected: a shift that is not, such as 0 where many differences are 0, is never outside.
    """
    while abs(outside - inside) > _PRECISION * span:
        middle = 0.5 * (inside + outside)
        if middle in (inside, outside):
            break  # differences that are equal up to rounding: there is no number between the two
        if p_value(middle) > alpha:
            inside = middle
        else:
            outside = middle
    return outside
