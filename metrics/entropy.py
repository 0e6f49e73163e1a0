"""Entropy of states, of state-actions and of the behaviour policy, by nearest neighbours, in nats.

Kozachenko and Leonenko 1987; with k neighbours as in Kraskov, Stoegbauer and Grassberger 2004 (equation 20, Euclidean
balls here). r_i is the distance from row i to its k-th nearest among the n - 1 others, V the volume of the unit ball in
d dimensions:

    H = psi(n) - psi(k) + log V + d/n sum_i log r_i
    H(A|S) = H(S, A) - H(S)

This is the differential entropy in the data's own units: negative where rows lie denser than one per unit volume, and
only comparable between datasets of the same columns. Units c times as small add log c per column. Neighbours are
searched on standardized columns (`assay.metrics.neighbours`), and the logarithms of the scales are added back; this
changes the bias only.

High: the data spread widely and evenly, as random, exploratory and replay data do; algorithms that extrapolate values
(DQN and its variants, weakly constrained actor-critics) need it. Low: narrow data, as of one expert; imitation and
strongly constrained methods do well on it. A high policy entropy is noisy or many-sourced behaviour: cloning averages
over it.

Bias, measured on standard normal rows with k = 3 and 20,000 of them (`benchmarks/neighbours.py`): within 0.06 nats up
to 11 dimensions, +0.4 at 17, +0.9 at 23 (of 32.6 nats); with 5,000 rows +0.5 and +1.1. It is upwards because balls in
many dimensions are so large that the density varies inside them. It shrinks slowly with n and is similar for datasets
of similar shape, so compare at equal sample sizes. On 17 + 6 dimensions, H(A|S) is an upper estimate between the truth
and H(A): it cannot resolve the policy more finely than actions vary among the nearest states. If the sample is most of
the dataset, consecutive steps, which lie close together, lower all three.

Decisions for what has no density:

- Constant columns are left out, and the source says so; the entropy is that of the other columns.
- Distances below 1e-6 standard deviations count as 1e-6, so that repeated rows give a low, finite number. If more than
  half of the rows have k equal ones, the data are discrete and the table has no entropy; count cells instead.
- A discrete action a has H(S, A) = H(A) + sum_a p(a) H(S|a) with H(A) the entropy of the counts; then H(A|S) lies
  between 0 and log of the number of actions, up to error. Steps of an action with k rows or fewer are left out.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from assay.metrics.estimates import BLOCKS, leaving_out
from assay.metrics.measures import Basis, Measure, Measures, NotMeasurable, register_group
from assay.metrics.neighbours import (
    STATE_ACTION_NEIGHBOURS,
    Neighbours,
    Scaling,
    discrete_actions,
    kth_without,
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
_KNOWN = 20  # neighbours to fall back on where a block of rows is left out


def knn_entropy(rows: np.ndarray, k: int = K) -> float:
    """Return the differential entropy of the distribution that rows were drawn from, in nats.

    Parameters
    ----------
    rows : (n, d) floats, finite
        Constant columns are left out.
    k : int
        Number of neighbours. More of them give less variance and more bias.

    Returns
    -------
    float
        Unbounded; the module's text says what is high, and how large the bias is.

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
    _require(len(rows), k, scaling)
    return float(entropy_terms(nearest(scaling(rows), k).distances[:, k - 1], len(rows), k, scaling).mean())


def entropy_terms(radii: np.ndarray, rows: int, k: int, scaling: Scaling) -> np.ndarray:
    """Return the terms whose mean is H, given the distance of each query to its k-th neighbour among `rows` rows."""
    from scipy.special import gammaln, psi

    dimensions = int((~scaling.constant).sum())
    volume = dimensions / 2 * np.log(np.pi) - gammaln(dimensions / 2 + 1) + np.log(scaling.spread).sum()
    result: np.ndarray = psi(rows) - psi(k) + volume + dimensions * np.log(np.maximum(radii, FINEST))
    return result


def _require(rows: int, k: int, scaling: Scaling) -> None:
    if scaling.constant.all():
        raise NotMeasurable("all columns are constant: there is no density whose entropy to take")
    if rows <= k:
        raise NotMeasurable(f"the entropy by {k} neighbours needs more than {k} rows, not {rows}")


# -------------------------------------------------------------------- for the table


Terms = Callable[[int | None], np.ndarray]
"""What each query adds without a block of rows; NaN where it is of that block, or has too few of its like."""


@register_group("entropy", order=70, of_steps=True)
def measures(basis: Basis) -> Measures:
    """Return `state_entropy`, `state_action_entropy` and `policy_entropy`."""
    discrete = discrete_actions(basis.dataset)

    def of_states() -> Terms:
        blocks = the_sample(basis).blocks
        return basis.cache("H(S)", lambda: _terms("states", the_states(basis), state_neighbours, blocks))

    def of_state_actions() -> Terms:
        def compute() -> Terms:
            states, actions, blocks = the_states(basis), the_actions(basis), the_sample(basis).blocks
            if discrete:
                return _terms_by_action(states, actions.argmax(1), blocks)
            return _terms("state-actions", np.hstack([states, actions]), state_action_neighbours, blocks)

        return basis.cache("H(S, A)", compute)

    def _terms(what: str, rows: np.ndarray, neighbours: Callable[[Basis], Neighbours], blocks: np.ndarray) -> Terms:
        scaling = Scaling.of(rows)
        _require(len(rows), K, scaling)
        found = neighbours(basis)
        _require_density(what, found.distances[:, K - 1])
        return _terms_of(found, blocks, scaling)

    def estimate(terms: Terms, what: str, constant: int) -> Measure:
        sample = the_sample(basis)
        value, interval = leaving_out(lambda block: _mean_of_numbers(terms(block)), sample.blocks)
        counted = int(np.isfinite(terms(None)).sum())
        left_out = f"; {constant} constant columns left out" if constant else ""
        source = f"Kozachenko and Leonenko 1987, {what}, k={K}; {sample.note}, {counted:,} neighbourhoods{left_out}"
        return Measure(value, "nats", source, interval)

    def constant_states() -> int:
        return int(Scaling.of(the_states(basis)).constant.sum())

    def constant_actions() -> int:
        return 0 if discrete else int(Scaling.of(the_actions(basis)).constant.sum())

    def policy() -> Measure:
        if constant_actions() == the_actions(basis).shape[1]:
            raise NotMeasurable("all action columns are constant: there is no density whose entropy to take")
        both, states = of_state_actions(), of_states()
        return estimate(
            lambda block: both(block) - states(block), "H(S, A) - H(S)", constant_states() + constant_actions()
        )

    return {
        "state_entropy": lambda: estimate(of_states(), "H(S)", constant_states()),
        "state_action_entropy": lambda: estimate(of_state_actions(), "H(S, A)", constant_states() + constant_actions()),
        "policy_entropy": policy,
    }


def _terms_of(found: Neighbours, blocks: np.ndarray, scaling: Scaling) -> Terms:
    known = found.distances[:, :_KNOWN]
    of_neighbours = blocks[found.rows[:, :_KNOWN]]
    sizes = np.bincount(blocks, minlength=BLOCKS)

    def terms(block: int | None) -> np.ndarray:
        left = len(blocks) - (0 if block is None else int(sizes[block]))
        if left <= K:
            return np.full(len(known), np.nan)
        values = entropy_terms(kth_without(known, of_neighbours, block, K)[0], left, K, scaling)
        return values if block is None else np.where(blocks[found.queries] == block, np.nan, values)

    return terms


def _terms_by_action(states: np.ndarray, actions: np.ndarray, blocks: np.ndarray) -> Terms:
    """Return the terms of H(S, A) for the queries `some_of`, each with the neighbours that took the same action."""
    asked = some_of(len(states))
    scaling = Scaling.of(states)
    _require(len(states), K, scaling)
    parts: list[tuple[np.ndarray, np.ndarray, Terms]] = []
    radii = []
    for action in np.unique(actions):
        mine = np.flatnonzero(actions == action)
        queries = np.flatnonzero(np.isin(mine, asked, assume_unique=True))
        if len(mine) > K and len(queries):
            found = nearest(scaling(states[mine]), STATE_ACTION_NEIGHBOURS, queries)
            radii.append(found.distances[:, K - 1])
            places = np.searchsorted(asked, mine[queries])
            parts.append((places, blocks[mine], _terms_of(found, blocks[mine], scaling)))
    if not parts:
        raise NotMeasurable(f"no action was taken more than {K} times")
    _require_density("states given the action", np.concatenate(radii))

    def terms(block: int | None) -> np.ndarray:
        result = np.full(len(asked), np.nan)
        left = len(blocks) if block is None else int((blocks != block).sum())
        for places, of_action, of_states in parts:
            count = len(of_action) if block is None else int((of_action != block).sum())
            if count:
                result[places] = of_states(block) - np.log(count / left)
        return result

    return terms


def _mean_of_numbers(values: np.ndarray) -> float:
    numbers = values[~np.isnan(values)]
    return float(numbers.mean()) if len(numbers) else float("nan")


def _require_density(what: str, radii: np.ndarray) -> None:
    repeated = float((radii < FINEST).mean())
    if repeated > 0.5:
        raise NotMeasurable(
            f"{repeated:.0%} of the {what} have {K} equals: they are discrete and have no density; "
            "unique_state_actions counts them"
        )
