"""Several comparisons at once: p values that hold the error rate for all of them together.

Holm's step-down works for any comparisons. Where several variants share one control, Westfall and Young's max-T uses that
(1993, "Resampling-Based Multiple Testing"): within every seed, the labels of the sides are permuted, and the largest difference
of the observed labels is compared with the largest ones of the permuted labels. Permuting only the sides that a hypothesis says
are equal, and rejecting a variant when every hypothesis that it is part of is rejected (closed testing; Marcus, Peritz & Gabriel
1976), holds the error rate also where some of the variants do differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from assay.datasets.errors import ConfigError

__all__ = ["MOST_VARIANTS", "holm", "max_t"]

MOST_VARIANTS = 6  # that max-T takes: closed testing looks at every subset of them
_DRAWS = 5_000


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return Holm's adjusted p values (1979, "A simple sequentially rejective multiple test procedure").

    Parameters
    ----------
    p_values : array, shape (comparisons,)

    Returns
    -------
    array, shape (comparisons,)
        They may exceed 1, so that an adjusted value divided by its p value is the step's number of comparisons.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(steps)
    adjusted[order] = steps
    return adjusted


def max_t(before: np.ndarray, after: np.ndarray, draws: int = _DRAWS, seed: int = 0) -> np.ndarray:
    """Return the adjusted p values of variants against one control, by permuting labels within seeds.

    Parameters
    ----------
    before : array, shape (seeds,)
        Scores of the control.
    after : array, shape (seeds, variants)
        Scores of the variants, with the same seeds; at most 6 variants.
    draws : int
        Permutations for each hypothesis, besides the observed labels.
    seed : int
        Of the permutations.

    Returns
    -------
    array, shape (variants,)

    Raises
    ------
    ConfigError
        If there are more variants, or the shapes do not belong together.

    Examples
    --------
    >>> generator = np.random.default_rng(0)
    >>> before, equal, better = (generator.normal(mean, 1, 20) for mean in (0, 0, 3))
    >>> adjusted = max_t(before, np.stack([equal, better], 1))
    >>> bool(adjusted[0] > 0.05), bool(adjusted[1] < 0.01)
    (True, True)
    """
    before, after = np.asarray(before, np.float64), np.asarray(after, np.float64)
    if before.ndim != 1 or after.ndim != 2 or len(before) != len(after):
        raise ConfigError(f"shapes {before.shape} and {after.shape} have to be (seeds,) and (seeds, variants)")
    variants = after.shape[1]
    if not 1 <= variants <= MOST_VARIANTS:
        raise ConfigError(f"max-T takes 1 to {MOST_VARIANTS} variants, and there are {variants}; use Holm's step-down")
    adjusted = np.zeros(variants)
    for size in range(1, variants + 1):
        for members in combinations(range(variants), size):
            generator = np.random.default_rng((seed, 0x3A87, *members))
            p_value = _p_value(np.column_stack([before, after[:, members]]), draws, generator)
            adjusted[list(members)] = np.maximum(adjusted[list(members)], p_value)
    return adjusted


def _p_value(sides: np.ndarray, draws: int, generator: np.random.Generator) -> float:
    """Return the p value of "all sides are equal", of (seeds, sides) with the control first."""
    seeds, count = sides.shape
    labels = generator.random((draws, seeds, count)).argsort(2)
    means = np.take_along_axis(np.broadcast_to(sides, labels.shape), labels, 2).mean(1)  # (draws, sides)
    largest = np.abs(means[:, 1:] - means[:, :1]).max(1)
    observed = np.abs(sides.mean(0)[1:] - sides.mean(0)[0]).max()
    slack = 1e-9 * np.abs(sides).mean()
    return float(1 + (largest >= observed - slack).sum()) / (draws + 1)
