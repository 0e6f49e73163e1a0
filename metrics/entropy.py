"""Entropy of states, of state-actions and of the behaviour policy, by nearest neighbours, in nats.

Kozachenko and Leonenko 1987; with k neighbours as in Kraskov, Stoegbauer and Grassberger 2004 (equation 20, Euclidean
balls here). r_i is the distance from row i to its k-th nearest among the n - 1 others, V the volume of the unit ball in d
dimensions:

    H = psi(n) - psi(k) + log V + d/n sum_i log r_i
    H(A|S) = H(S, A) - H(S)

This is the differential entropy in the data's own units: negative where rows lie denser than one per unit volume, and
only comparable between datasets of the same columns. Units c times as small add log c per column. Neighbours are looked
for among standardized columns (`assay.metrics.neighbours`), and the logarithms of the scales are added back, which
changes nothing but the bias.

High: the data spread widely and evenly, as random, exploratory and replay data do; algorithms that extrapolate values (DQN
and its kin, weakly constrained actor-critics) need it. Low: narrow data, as of one expert; imitation and strongly
constrained methods do well on it. A high policy entropy is noisy or many-sourced behaviour: cloning averages over it.

Bias, measured on standard normal rows with k = 3 and 20,000 of them (`benchmarks/neighbours.py`): below 0.05 nats up to
11 dimensions, +0.4 at 17, +0.9 at 23 (of 32.6 nats); with 5,000 rows +0.5 and +1.2. It is upwards because balls in many
dimensions reach beyond where the density is even, shrinks slowly with n, and is common to datasets of like shape: compare
at equal sample sizes. On 17 + 6 dimensions, H(A|S) sees no precision of the policy finer than how actions vary among
the nearest states there are, so that it lies between the truth and H(A): read it as an upper estimate. Steps that follow
each other closely lower all three where the sample is most of the dataset.

Decisions for what has no density:

- Constant columns are left out, and said to be; the entropy is that of the others.
- Distances count as at least 1e-6 standard deviations, so that repeated rows give a low, finite number. Where more than
  half of the rows have k equals, the data are discrete, and in the table there is no entropy: count cells instead.
- A discrete action a has H(S, A) = H(A) + sum_a p(a) H(S|a) with H(A) the entropy of the counts; then H(A|S) lies between
  0 and log of the number of actions, up to error. Steps of an action with k rows or fewer are left out.
"""

from __future__ import annotations

import numpy as np

from assay.metrics.estimates import mean_by_blocks
from assay.metrics.measures import Basis, Measure, Measures, NotMeasurable
from assay.metrics.neighbours import (
    Neighbours,
    Scaling,
    discrete_actions,
    nearest,
    some_of,
    state_action_neighbours,
    state_neighbours,
    the_actions,
    the_sample,
    the_states,
)

__all__ = ["knn_entropy"]

K = 3
FINEST = 1e-6


def knn_entropy(rows: np.ndarray, k: int = K) -> float:
    """Return the differential entropy of the distribution that rows were drawn from, in nats.

    Parameters
    ----------
    rows : (n, d) floats, finite
        Constant columns are left out.
    k : int
        Neighbours. More of them: less variance, more bias.

    Returns
    -------
    float
        Unbounded; the module's text says what is high, and how far off.

    Raises
    ------
    NotMeasurable
        If there are k rows or fewer, or all columns are constant.

    Examples
    --------
    >>> rows = np.random.default_rng(0).uniform(0, 2, (2000, 2))
    >>> bool(abs(knn_entropy(rows) - np.log(4)) < 0.1)
    True
    """
    rows = np.asarray(rows, np.float64)
    scaling = Scaling.of(rows)
    return float(entropy_terms(rows, nearest(scaling(rows), k), k, scaling).mean())


def entropy_terms(rows: np.ndarray, neighbours: Neighbours, k: int, scaling: Scaling) -> np.ndarray:
    """Return what each query adds: H is the mean of these; (q,) float64.

    `neighbours` are those among the standardized `rows`; zero columns in them do no harm.
    """
    from scipy.special import gammaln, psi

    dimensions = int((~scaling.constant).sum())
    if not dimensions:
        raise NotMeasurable("all columns are constant: there is no density whose entropy to take")
    if neighbours.distances.shape[1] < k:
        raise NotMeasurable(f"the entropy by {k} neighbours needs more than {k} rows, not {len(rows)}")
    volume = dimensions / 2 * np.log(np.pi) - gammaln(dimensions / 2 + 1) + np.log(scaling.spread).sum()
    radii = np.maximum(neighbours.distances[:, k - 1], FINEST)
    result: np.ndarray = psi(len(rows)) - psi(k) + volume + dimensions * np.log(radii)
    return result


# -------------------------------------------------------------------- for the table


def measures(basis: Basis) -> Measures:
    """Return `state_entropy`, `state_action_entropy` and `policy_entropy`."""

    def of_states() -> np.ndarray:
        def compute() -> np.ndarray:
            states, neighbours = the_states(basis), state_neighbours(basis)
            return _terms("states", states, neighbours)

        return basis.once("state entropy", compute)

    def of_state_actions() -> np.ndarray:
        def compute() -> np.ndarray:
            states, actions = the_states(basis), the_actions(basis)
            if discrete_actions(basis.dataset):
                return _terms_by_action(states, actions.argmax(1))
            return _terms("state-actions", np.hstack([states, actions]), state_action_neighbours(basis))

        return basis.once("state-action entropy", compute)

    def estimate(terms: np.ndarray, what: str, constant: int) -> Measure:
        sample = the_sample(basis)
        asked = some_of(len(sample))
        counted = np.isfinite(terms)
        value, interval = mean_by_blocks(terms[counted], sample.blocks[asked][counted])
        left_out = f"; {constant} constant columns left out" if constant else ""
        source = f"Kozachenko and Leonenko 1987, {what}, k={K}; {sample.said}, {int(counted.sum()):,} neighbourhoods{left_out}"
        return Measure(value, "nats", source, interval)

    def constant_states() -> int:
        return int(Scaling.of(the_states(basis)).constant.sum())

    def constant_actions() -> int:
        return 0 if discrete_actions(basis.dataset) else int(Scaling.of(the_actions(basis)).constant.sum())

    def policy() -> Measure:
        if constant_actions() == the_actions(basis).shape[1]:
            raise NotMeasurable("all action columns are constant: there is no density whose entropy to take")
        return estimate(of_state_actions() - of_states(), "H(S, A) - H(S)", constant_states() + constant_actions())

    return {
        "state_entropy": lambda: estimate(of_states(), "H(S)", constant_states()),
        "state_action_entropy": lambda: estimate(of_state_actions(), "H(S, A)", constant_states() + constant_actions()),
        "policy_entropy": policy,
    }


def _terms(what: str, rows: np.ndarray, neighbours: Neighbours) -> np.ndarray:
    terms = entropy_terms(rows, neighbours, K, Scaling.of(rows))
    _require_density(what, neighbours.distances[:, K - 1])
    return terms


def _terms_by_action(states: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Return the terms of H(S, A) for the queries `some_of`; NaN for those of actions that are too rare."""
    asked = some_of(len(states))
    scaling = Scaling.of(states)
    terms, radii = np.full((2, len(states)), np.nan)
    for action, count in zip(*np.unique(actions, return_counts=True)):
        mine = np.flatnonzero(actions == action)
        queries = np.flatnonzero(np.isin(mine, asked, assume_unique=True))
        if count > K and len(queries):
            found = nearest(scaling(states[mine]), K, queries)
            radii[mine[queries]] = found.distances[:, K - 1]
            terms[mine[queries]] = entropy_terms(states[mine], found, K, scaling) - np.log(count / len(states))
    found_terms: np.ndarray = terms[asked]
    if np.isnan(found_terms).all():
        raise NotMeasurable(f"no action was taken more than {K} times")
    _require_density("states given the action", radii[~np.isnan(radii)])
    return found_terms


def _require_density(what: str, radii: np.ndarray) -> None:
    repeated = float((radii < FINEST).mean())
    if repeated > 0.5:
        raise NotMeasurable(
            f"{repeated:.0%} of the {what} have {K} equals: they are discrete and have no density; "
            "unique_state_actions counts them"
        )
