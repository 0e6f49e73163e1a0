"""The number of directions in which a dataset varies: the spectrum of its covariance, and its effective rank.

Roy and Vetterli 2007, "The effective rank: a measure of effective dimensionality", applied to the
covariance matrix of standardized columns (the correlation matrix), whose singular values are its eigenvalues l_j:

    p_j = l_j / sum l          erank = exp(- sum_j p_j log p_j)

It lies between 1 (all columns move together) and the number of columns that vary (no two move together). High: states
or state-actions fill all directions, as with independent noise on every joint, and the data determine a value function
in all of them. Low: there are a few coordinated motions, as of one trained gait, and a learned value extrapolates in
all other directions.

Deviation: Roy and Vetterli take the singular values of the data matrix, which are the square roots of these; their rank
is larger. They do not scale the columns; standardizing makes the rank independent of units. Constant columns are left
out. The covariance is linear: a circle counts as two directions.
"""

from __future__ import annotations

import numpy as np

from assay.metrics.estimates import BLOCKS, jackknife
from assay.metrics.measures import Basis, Measure, Measures, NotMeasurable, register_group
from assay.metrics.neighbours import Scaling, the_actions, the_sample, the_states

__all__ = ["effective_rank", "spectrum"]


def spectrum(rows: np.ndarray) -> np.ndarray:
    """Return the share of variance along each principal direction of standardized columns, largest first.

    Parameters
    ----------
    rows : (n, D) floats, finite

    Returns
    -------
    (d,) float64
        The shares add up to 1; d is the number of columns that vary.

    Raises
    ------
    NotMeasurable
        If no column varies.

    Examples
    --------
    >>> x = np.arange(8.0)
    >>> spectrum(np.column_stack([x, 3 * x + 2, np.ones(8)])).round(6).tolist()
    [1.0, 0.0]
    """
    scaling = Scaling.of(np.asarray(rows, np.float64))
    return _shares(np.cov(scaling(rows)[:, ~scaling.constant], rowvar=False, ddof=0))


def effective_rank(rows: np.ndarray) -> float:
    """Return how many directions rows vary in, counted by the entropy of the spectrum.

    Parameters
    ----------
    rows : (n, D) floats, finite

    Returns
    -------
    float
        From 1 to D.

    Raises
    ------
    NotMeasurable
        If no column varies.

    Examples
    --------
    >>> square = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> round(effective_rank(square), 6)
    2.0
    """
    return _rank(spectrum(rows))


def _shares(covariance: np.ndarray) -> np.ndarray:
    covariance = np.atleast_2d(covariance)
    if not covariance.size:
        raise NotMeasurable("all columns are constant: nothing varies in any direction")
    values = np.maximum(np.linalg.eigvalsh(covariance)[::-1], 0)
    shares: np.ndarray = values / values.sum()
    return shares


def _rank(shares: np.ndarray) -> float:
    some = shares[shares > 0]
    return float(np.exp(-(some * np.log(some)).sum()))


# -------------------------------------------------------------------- for the table


@register_group("rank", order=80, of_steps=True)
def measures(basis: Basis) -> Measures:
    """Return `effective_rank_states` and `effective_rank_state_actions`."""

    def rank_of(rows: np.ndarray) -> Measure:
        scaling, sample = Scaling.of(rows), the_sample(basis)
        scaled = scaling(rows)[:, ~scaling.constant]
        value = _rank(_shares(np.cov(scaled, rowvar=False, ddof=0)))
        sizes = np.bincount(sample.blocks, minlength=BLOCKS)
        groups = [scaled[sample.blocks == block] for block in np.flatnonzero(sizes)]
        sums, products = np.array([g.sum(0) for g in groups]), np.array([g.T @ g for g in groups])
        interval = None
        if len(groups) > 1:
            interval = jackknife(value, _ranks_without(sums, products, sizes[sizes > 0]), sizes[sizes > 0]).interval
        source = f"Roy and Vetterli 2007, standardized covariance; {sample.note}"
        return Measure(value, f"of {scaled.shape[1]} directions", source, interval)

    return {
        "effective_rank_states": lambda: rank_of(the_states(basis)),
        "effective_rank_state_actions": lambda: rank_of(np.hstack([the_states(basis), the_actions(basis)])),
    }


def _ranks_without(sums: np.ndarray, products: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the effective rank without each of the groups; NaN if no column varies without it."""
    ranks = np.full(len(sizes), np.nan)
    for group in range(len(sizes)):
        left = sizes.sum() - sizes[group]
        mean = (sums.sum(0) - sums[group]) / left
        covariance = (products.sum(0) - products[group]) / left - np.outer(mean, mean)
        deviations = np.sqrt(np.maximum(np.diag(covariance), 0))
        some = deviations > 1e-6  # of the whole's standard deviation
        if some.any():
            correlation = covariance[np.ix_(some, some)] / np.outer(deviations[some], deviations[some])
            ranks[group] = _rank(_shares(correlation))
    return ranks
