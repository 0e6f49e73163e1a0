"""Columns that are computed from the rows of a dataset when it is laid out for training.

An algorithm names them in `extra_columns`, beside columns that the dataset has. A derivation of one's own is a function
registered under a name::

    @derivation("reward_ranks")
    def reward_ranks(rows: Rows) -> dict[str, np.ndarray]:
        return {"reward_ranks": rows.transitions.rewards.argsort().argsort()}
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from assay.datasets.registry import Registry
from assay.datasets.transitions import Transitions

__all__ = ["DERIVATIONS", "Derivation", "Rows", "derivation", "episode_starts"]


@dataclass(frozen=True)
class Rows:
    """What a derivation computes from.

    Parameters
    ----------
    transitions : Transitions
        In the dataset's units, M rows.
    actions : (M, action) array
        As networks see them.
    remaining : (M,) int32
        Rows left in the episode, the row itself included.
    """

    transitions: Transitions[np.ndarray]
    actions: np.ndarray
    remaining: np.ndarray


Derivation: TypeAlias = Callable[[Rows], dict[str, np.ndarray]]
"""Rows -> columns by name: (M,) for one number per row, (M, n) for a vector."""

DERIVATIONS: Registry[Derivation] = Registry("derived column", [__name__], "assay.derivations")


def derivation(name: str) -> Callable[[Derivation], Derivation]:
    """Register a function as the derivation of a column."""

    def decorate(function: Derivation) -> Derivation:
        DERIVATIONS.add(name, function, function.__module__)
        return function

    return decorate


def episode_starts(remaining: np.ndarray) -> np.ndarray:
    """Return the first row of each episode.

    Examples
    --------
    >>> episode_starts(np.array([2, 1, 3, 2, 1])).tolist()
    [0, 2]
    """
    return np.flatnonzero(np.r_[True, remaining[:-1] == 1])


@derivation("next_actions")
def next_actions(rows: Rows) -> dict[str, np.ndarray]:
    """The action of the episode's next row, zeros where it has none; `has_next_actions` says which."""
    following = np.zeros_like(rows.actions)
    following[:-1] = rows.actions[1:]
    exists = rows.remaining > 1
    return {"next_actions": np.where(exists[:, None], following, 0.0), "has_next_actions": exists}


@derivation("returns_to_go")
def returns_to_go(rows: Rows) -> dict[str, np.ndarray]:
    """Undiscounted sum of the rewards from the row to the end of its episode."""
    # Sums from the back, less what lies behind the end of the row's own episode.
    rewards, count = rows.transitions.rewards, np.arange(len(rows.remaining))
    totals = np.append(np.cumsum(rewards[::-1].astype(np.float64))[::-1], 0.0)
    return {"returns_to_go": totals[count] - totals[count + rows.remaining]}


@derivation("loss_weights")
def loss_weights(rows: Rows) -> dict[str, np.ndarray]:
    """The dataset's weights, 1 on average; all 1 where it has none."""
    weights = rows.transitions.weights
    return {
        "loss_weights": np.ones(len(rows.remaining)) if weights is None else weights / weights.mean(dtype=np.float64)
    }


@derivation("batch_loss_weights")
def batch_loss_weights(rows: Rows) -> dict[str, np.ndarray]:
    """As `loss_weights`; each batch divides them by their mean in it."""
    return {"batch_loss_weights": loss_weights(rows)["loss_weights"]}


@derivation("timesteps")
def timesteps(rows: Rows) -> dict[str, np.ndarray]:
    """Rows since the episode's first."""
    starts = episode_starts(rows.remaining)
    lengths = np.diff(starts, append=len(rows.remaining))
    return {"timesteps": np.arange(len(rows.remaining)) - np.repeat(starts, lengths)}
