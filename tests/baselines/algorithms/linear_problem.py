"""The simulated linear MDP of R2PVI's authors: five states, 16 actions, three steps, and dynamics that can be perturbed.

From state 0 the better action is likelier to reach the good absorbing state 4. A perturbation q sends a share q of those
steps to the failure, state 3, instead. Rewards are the last feature, from the second step on.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from assay.datasets import Dataset
from assay.datasets.info import DatasetInfo
from assay.datasets.spaces import Discrete

HORIZON = 3
THETA = ((0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0), (0.0, 0.0, 0.0, 1.0))
ACTIONS = np.array(list(product([-1, 1], repeat=4)))
SLIP = 0.001


def features(xi: float = 0.2, delta: float = 0.3) -> np.ndarray:
    """phi (5, 16, 4)."""
    good = delta + ACTIONS @ np.full(4, xi / 4)
    found = np.zeros((5, 16, 4))
    for state in range(3):
        found[state, :, state], found[state, :, 3] = 1 - good, good
    found[3, :, 2] = found[4, :, 3] = 1.0
    return found


def moves(step: int, phi: np.ndarray, perturbation: float | None) -> np.ndarray:
    """P (5, 16, 5) of a step; without a perturbation that of the data."""
    chances = np.zeros((5, 16, 5))
    if step == 0 and perturbation is not None:
        chances[..., 1] = phi[..., 0]
        chances[..., 3], chances[..., 4] = perturbation * phi[..., 3], (1 - perturbation) * phi[..., 3]
    elif step == 0:
        chances[..., 1], chances[..., 3], chances[..., 4] = phi[..., 0] * (1 - SLIP), phi[..., 0] * SLIP, phi[..., 3]
    else:
        chances[..., 2], chances[..., 3], chances[..., 4] = phi[..., 1] * (1 - SLIP), phi[..., 1] * SLIP, phi[..., 3]
        chances[3], chances[4] = np.eye(5)[3], np.eye(5)[4]
    return chances


def episodes(seed: int, count: int = 100, xi: float = 0.2) -> Dataset:
    """Episodes of uniformly random actions; an observation is phi(s, .), of shape (16, 4)."""
    rng, phi = np.random.default_rng(seed), features(xi)
    states, actions = np.zeros((count, HORIZON + 1), int), rng.integers(0, 16, (count, HORIZON))
    for step in range(HORIZON - 1):
        chances = moves(step, phi, None)[states[:, step], actions[:, step]].cumsum(-1)
        states[:, step + 1] = (rng.random(count)[:, None] > chances).sum(1).clip(max=4)
    states[:, HORIZON] = states[:, HORIZON - 1]  # the episode is over
    rewards = (phi[states[:, :HORIZON], actions] * np.array(THETA)).sum(-1)
    ends = np.zeros((count, HORIZON), bool)
    ends[:, -1] = True
    return Dataset.from_arrays(
        observations=phi[states.ravel()],
        actions=actions.ravel(),
        rewards=rewards.ravel(),
        terminations=ends.ravel(),
        truncations=np.zeros(count * HORIZON, bool),
        info=DatasetInfo(action_space=Discrete(16)),
    )


def returns_of(learner, perturbation: float, xi: float = 0.2) -> np.ndarray:
    """Exact expected return of each member under perturbed dynamics, from state 0."""
    phi, members = features(xi), len(learner.members)
    acting = learner.actor().begin(slice(0, members), 5)
    seen = np.broadcast_to(phi.reshape(5, -1), (members, 5, phi[0].size))
    chosen = [acting.act(seen, np.zeros((members, 5)))[..., 0].astype(int) for _ in range(HORIZON)]
    value = np.zeros((members, 5))
    for step in reversed(range(HORIZON)):
        taken = phi[np.arange(5), chosen[step]]  # [P, 5, d]
        value_next = value if step < HORIZON - 1 else np.zeros_like(value)
        chances = moves(step, phi, perturbation)[np.arange(5), chosen[step]]
        value = taken @ np.array(THETA[step]) + (chances * value_next[:, None]).sum(-1)
    return value[:, 0]
