"""The behaviour policy in one state: how much its actions vary, and whether they form several groups.

The actions in the k nearest states of the sample, on standardized columns (`assay.metrics.neighbours`), stand for the
actions that the policy takes in the state itself.

    action_variance = mean_i sum_j var_{N_k(i)}(a_j) / sum_j var(a_j)                                    k = 10
    multimodality   = share of i whose actions in N_k(i) have a dip beyond the 95 % point of uniform ones, k = 50

`action_variance` is after the estimated action stochasticity (EAS) of Swazinna, Udluft and Runkler 2021, "Measuring
Data Quality for Dataset Selection in Offline Reinforcement Learning". The estimator is ours: variances among neighbours
(ddof 1, the state itself included) are divided by those of all actions. So a policy that the state determines has 0,
and a policy that ignores the state has 1. Actions are standardized; a discrete action is one 0/1 column per value, and
the measure is then the Gini impurity among neighbours over that of all. Low: imitation is enough, because there is
nothing better to choose. High: a value function can choose between actions, and cloning averages them.

Multimodality projects the actions of a neighbourhood on their direction of largest variance and takes Hartigan's dip
(`assay.metrics.dip`). Between 0 and 1: at most 0.05 for one Gaussian or uniform source, near 1 for two policies or
bang-bang control. High: a unimodal policy fits actions that nobody took; mixtures, diffusion policies and cloning
filtered by value are made for such data.

`mixture_modes` is the share of these neighbourhoods, projected likewise, that a mixture of two Gaussians fits better
than one by the BIC (`assay.metrics.mixture`). Other than the dip, it also counts groups that overlap, a group that is
small, and skewed or heavy-tailed actions, such as bounded actions at one bound.

All three describe neighbourhoods, not points. In many dimensions or in a small sample, a policy that changes fast
between neighbouring states counts as varying. So they are upper estimates for deterministic policies. Compare them at
equal sample size.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from assay.metrics.dip import dip
from assay.metrics.estimates import leaving_out, mean_by_blocks
from assay.metrics.measures import Basis, Measure, Measures, NotMeasurable, register_group
from assay.metrics.mixture import mixture_gain
from assay.metrics.neighbours import (
    Neighbours,
    Scaling,
    discrete_actions,
    nearest,
    some_of,
    state_neighbours,
    the_actions,
    the_sample,
)

__all__ = ["action_variance", "mixture_modes", "multimodality"]

VARIANCE_NEIGHBOURS = 10
MODE_NEIGHBOURS = 50
DIPS = 500
_REJECTED = 0.0704  # 95 % point of the dip of 50 uniform numbers (benchmarks/neighbours.py --part dip)


def action_variance(states: np.ndarray, actions: np.ndarray, k: int = VARIANCE_NEIGHBOURS) -> float:
    """Return the variance of actions among neighbouring states, relative to that of all actions.

    Parameters
    ----------
    states : (n, S) floats, finite
    actions : (n, A) floats, finite
        Discrete ones as one 0/1 column per action. Columns are not scaled here; standardize them if units differ.
    k : int
        Number of neighbours, without the state itself.

    Returns
    -------
    float
        0 if the state determines the action, 1 if it does not matter; chance may give a little more than 1.

    Raises
    ------
    NotMeasurable
        If there are fewer than two rows, or the actions are all the same.

    Examples
    --------
    >>> states = np.repeat([[0.0], [9.0]], 20, axis=0)
    >>> action_variance(states, states, k=5)
    0.0
    """
    states, actions = np.asarray(states, np.float64), np.asarray(actions, np.float64)
    _require_variance(actions)
    return _variance(actions, nearest(Scaling.of(states)(states), k), k, np.ones(len(states), bool))


def multimodality(states: np.ndarray, actions: np.ndarray) -> float:
    """Return the share of neighbourhoods of 50 states in which actions have more than one mode.

    Parameters
    ----------
    states : (n, S) floats, finite
    actions : (n, A) floats, finite
        All columns on one scale.

    Returns
    -------
    float
        0 to 1.

    Raises
    ------
    NotMeasurable
        If there are 50 rows or fewer.

    Examples
    --------
    >>> generator = np.random.default_rng(0)
    >>> states, signs = generator.random((200, 1)), generator.choice([-1.0, 1.0], (200, 1))
    >>> multimodality(states, signs + 0.1 * generator.standard_normal((200, 1)))
    1.0
    """
    return _share(_split, states, actions)


def _variance(actions: np.ndarray, neighbours: Neighbours, k: int, keep: np.ndarray) -> float:
    """Return the relative variance among the kept rows; neighbourhoods with one kept row do not count."""
    total = actions[keep].var(0).sum()
    if total <= 0:
        return float("nan")
    around = np.concatenate([neighbours.queries[:, None], neighbours.rows[:, :k]], axis=1)[keep[neighbours.queries]]
    inside = keep[around][:, :, None]
    counts = inside.sum(1)
    some = counts[:, 0] > 1
    values, inside, counts = actions[around[some]], inside[some], counts[some]
    means = (values * inside).sum(1, keepdims=True) / counts[:, None]
    squares = ((values - means) ** 2 * inside).sum(1) / (counts - 1)
    return float(squares.sum(1).mean() / total) if some.any() else float("nan")


def _require_variance(actions: np.ndarray) -> None:
    if actions.var(0).sum() <= 0:
        raise NotMeasurable("all actions are the same: there is no variance to divide by")


def mixture_modes(states: np.ndarray, actions: np.ndarray) -> float:
    """Return the share of neighbourhoods of 50 states whose actions two Gaussians fit better than one, by the BIC.

    Parameters
    ----------
    states, actions
        As in `multimodality`.

    Returns
    -------
    float
        0 to 1.

    Raises
    ------
    NotMeasurable
        If there are 50 rows or fewer.

    Examples
    --------
    >>> generator = np.random.default_rng(0)
    >>> states, signs = generator.random((200, 1)), generator.choice([-1.0, 1.0], (200, 1))
    >>> mixture_modes(states, signs + 0.1 * generator.standard_normal((200, 1)))
    1.0
    """
    return _share(_mixed, states, actions)


def _share(test: Callable[[np.ndarray, np.ndarray], np.ndarray], states: np.ndarray, actions: np.ndarray) -> float:
    """Return the share of neighbourhoods that pass a test of their actions."""
    states, actions = np.asarray(states, np.float64), np.asarray(actions, np.float64)
    return float(test(actions, nearest(Scaling.of(states)(states), MODE_NEIGHBOURS).rows).mean())


def _split(actions: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.array([dip(values) > _REJECTED for values in _projected(actions, rows)])


def _mixed(actions: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return mixture_gain(_projected(actions, rows)) > 0


def _projected(actions: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the actions of each neighbourhood along their direction of largest variance, (q, k)."""
    if rows.shape[1] < MODE_NEIGHBOURS:
        raise NotMeasurable(f"multimodality looks at {MODE_NEIGHBOURS} neighbours, and there are {rows.shape[1]}")
    around = actions[rows]
    around = around - around.mean(1, keepdims=True)
    axes = np.linalg.eigh(np.einsum("qka,qkb->qab", around, around))[1][:, :, -1]
    projected: np.ndarray = np.einsum("qka,qa->qk", around, axes)
    return projected


# -------------------------------------------------------------------- for the table


@register_group("behaviour", order=100, of_steps=True)
def measures(basis: Basis) -> Measures:
    """Return `action_variance`, `multimodality` and `mixture_modes`."""

    def actions() -> np.ndarray:
        found = the_actions(basis)
        return found if discrete_actions(basis.dataset) else Scaling.of(found)(found)

    def variance() -> Measure:
        sample, neighbours, values, k = the_sample(basis), state_neighbours(basis), actions(), VARIANCE_NEIGHBOURS
        _require_variance(values)
        value, interval = leaving_out(
            lambda block: _variance(values, neighbours, k, sample.blocks != block), sample.blocks
        )
        source = f"after EAS, Swazinna et al. 2021, k={k}; {sample.note}, {len(neighbours.queries):,} neighbourhoods"
        return Measure(value, "fraction of action variance", source, interval)

    def modes(split: Callable[[np.ndarray, np.ndarray], np.ndarray], test: str) -> Measure:
        if discrete_actions(basis.dataset):
            raise NotMeasurable("modes are those of real-valued actions, and these are discrete")
        sample, neighbours = the_sample(basis), state_neighbours(basis)
        # few enough that neighbourhoods hardly overlap: then leaving out their blocks measures the error of the share
        some = some_of(len(neighbours.queries), int(np.clip(len(sample) // 40, 20, DIPS)))
        values = split(actions(), neighbours.rows[some]).astype(np.float64)
        value, interval = mean_by_blocks(values, sample.blocks[neighbours.queries[some]]).within(0, 1)
        source = f"{test}, k={MODE_NEIGHBOURS}; {sample.note}, {len(some):,} neighbourhoods"
        return Measure(value, "fraction of states", source, interval)

    return {
        "action_variance": variance,
        "multimodality": lambda: modes(_split, "dip test, Hartigan and Hartigan 1985"),
        "mixture_modes": lambda: modes(_mixed, "two Gaussians or one, by BIC"),
    }
