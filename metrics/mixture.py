"""Compare one Gaussian with a mixture of two on a few numbers; many small samples at once.

Maximum likelihood by expectation-maximization (Dempster, Laird and Rubin 1977), compared by the Bayesian information
criterion (Schwarz 1978),

    BIC = p log n - 2 log L      p = 2 for one Gaussian (mean, variance), 5 for two (and a weight)
    gain = BIC of one - BIC of two, positive where two are better, in spite of their parameters

The two components start at the means of the halves below and above the median. No variance falls below a hundredth of
that of the sample, because the likelihood has no limit when a component shrinks onto a single number.
"""

from __future__ import annotations

import numpy as np

__all__ = ["mixture_gain"]

_ITERATIONS = 200
_LEAST_VARIANCE = 0.01  # as a share of the variance of the sample


def mixture_gain(samples: np.ndarray) -> np.ndarray:
    """Return by how much the BIC of two Gaussians is lower than that of one.

    Parameters
    ----------
    samples : (q, n) floats, finite, n >= 3
        q samples of n numbers.

    Returns
    -------
    (q,) float64
        Positive where two Gaussians are better; at most 0, by 3 log n, where all numbers are equal.

    Examples
    --------
    >>> generator = np.random.default_rng(0)
    >>> one = generator.standard_normal((1, 50))
    >>> bool(mixture_gain(one)[0] < 0 < mixture_gain(one + 9 * (one > 0))[0])
    True
    """
    samples = np.asarray(samples, np.float64)
    count = samples.shape[1]
    centre, variance = samples.mean(1, keepdims=True), samples.var(1, keepdims=True)
    spread = np.where(variance > 0, variance, 1.0)
    values = (samples - centre) / np.sqrt(spread)  # of mean 0 and variance 1: likelihoods of both models shift alike
    one = -0.5 * count * (np.log(2 * np.pi) + 1.0)
    gain = 2 * (_fitted(values) - one) - 3 * np.log(count)
    result: np.ndarray = np.where(variance[:, 0] > 0, gain, -3 * np.log(count))
    return result


def _fitted(values: np.ndarray) -> np.ndarray:
    """Return the largest log likelihood that expectation-maximization finds for two components, (q,)."""
    ordered = np.sort(values, axis=1)
    half = values.shape[1] // 2
    means = np.stack([ordered[:, :half].mean(1), ordered[:, -half:].mean(1)], axis=1)  # [q, 2]
    variances = np.stack([ordered[:, :half].var(1), ordered[:, -half:].var(1)], axis=1)
    weights = np.full_like(means, 0.5)
    for _ in range(_ITERATIONS):
        shares = _log_densities(values, means, np.maximum(variances, _LEAST_VARIANCE), weights)  # [q, n, 2]
        shares = np.exp(shares - np.logaddexp(shares[..., :1], shares[..., 1:]))
        mass = np.maximum(shares.sum(1), 1e-12)
        weights = mass / values.shape[1]
        means = (shares * values[..., None]).sum(1) / mass
        variances = (shares * (values[..., None] - means[:, None]) ** 2).sum(1) / mass
    final = _log_densities(values, means, np.maximum(variances, _LEAST_VARIANCE), weights)
    result: np.ndarray = np.logaddexp(final[..., 0], final[..., 1]).sum(1)
    return result


def _log_densities(values: np.ndarray, means: np.ndarray, variances: np.ndarray, weights: np.ndarray) -> np.ndarray:
    squares = (values[..., None] - means[:, None]) ** 2 / variances[:, None]
    result: np.ndarray = np.log(weights)[:, None] - 0.5 * (np.log(2 * np.pi * variances)[:, None] + squares)
    return result
