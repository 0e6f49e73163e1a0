"""The percentile bootstrap (Efron and Tibshirani 1993, chapter 13): one resampling for metrics, evaluation and analysis.

Rows are drawn with replacement. A table of several columns is resampled within each column, independently of the others
(the stratified bootstrap of Agarwal et al. 2021, arXiv 2108.13264, where rows are runs and columns are tasks).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

__all__ = ["bootstrap", "percentile_interval"]

_DRAWS_AT_A_TIME = (
    1 << 22
)  # numbers resampled at once, which bounds the memory; samples take turns, so draws depend on it


def bootstrap(
    samples: Sequence[np.ndarray],
    statistic: Callable[..., Any],
    resamples: int,
    generator: np.random.Generator,
    *,
    one_by_one: bool = False,
) -> np.ndarray:
    """Return a statistic of many resamples.

    Parameters
    ----------
    samples : sequence of (n,) or (n, columns) arrays
        Resampled independently of each other.
    statistic : callable
        Takes one array per sample, each with a leading axis of resamples, and returns an array with that axis.
    resamples : int
    generator : numpy.random.Generator
    one_by_one : bool
        Call the statistic once per resample, without the leading axis.

    Returns
    -------
    array, shape (resamples, ...)

    Examples
    --------
    >>> values = bootstrap([np.arange(5.0)], lambda rows: rows.mean(1), 1000, np.random.default_rng(0))
    >>> values.shape, bool(1.9 < values.mean() < 2.1)
    ((1000,), True)
    """
    replicates = []
    for drawn in _resampled(samples, resamples, generator):
        if one_by_one:
            replicates.append(np.stack([np.asarray(statistic(*rows)) for rows in zip(*drawn)]))
        else:
            replicates.append(np.asarray(statistic(*drawn)))
    return np.concatenate(replicates)


def _resampled(
    samples: Sequence[np.ndarray], resamples: int, generator: np.random.Generator
) -> Iterator[list[np.ndarray]]:
    pairs = int(np.prod([len(sample) for sample in samples])) * int(np.prod(samples[0].shape[1:]))
    at_a_time = max(1, min(resamples, _DRAWS_AT_A_TIME // max(1, pairs)))
    for start in range(0, resamples, at_a_time):
        count = min(at_a_time, resamples - start)
        drawn = []
        for sample in samples:
            chosen = generator.integers(0, len(sample), (count, *sample.shape))
            drawn.append(sample[chosen] if sample.ndim == 1 else sample[chosen, np.arange(sample.shape[1])])
        yield drawn


def percentile_interval(replicates: np.ndarray, low: float = 0.025, high: float = 0.975) -> np.ndarray:
    """Return the interval between two quantiles of the replicates; shape (2, ...)."""
    interval: np.ndarray = np.quantile(replicates, (low, high), axis=0)
    return interval
