"""Systems whose actions are known functions of what is seen, or are not."""

from __future__ import annotations

import numpy as np

from assay.datasets import Dataset


def dataset_of(states: np.ndarray, actions: np.ndarray, rewards: np.ndarray | None = None) -> Dataset:
    """Return (E, T + 1, s) states and (E, T, ...) actions as a dataset of E truncated episodes."""
    episodes, length = actions.shape[:2]
    truncations = np.zeros((episodes, length), bool)
    truncations[:, -1] = True
    return Dataset.from_arrays(
        observations=states.reshape(-1, states.shape[-1]),
        actions=actions.reshape(episodes * length, *actions.shape[2:]),
        rewards=np.zeros(episodes * length) if rewards is None else rewards.ravel(),
        terminations=np.zeros(episodes * length, bool),
        truncations=truncations.ravel(),
    )


def linear(seed: int, episodes: int = 60, length: int = 50) -> Dataset:
    """s' = A s + B a with an invertible B: the action is a linear function of s and s'."""
    generator = np.random.default_rng(seed)
    drift, control = np.array([[1.0, 0.1], [-0.1, 0.9]]), np.array([[0.3, 0.1], [-0.05, 0.4]])
    actions = generator.uniform(-0.9, 0.9, (episodes, length, 2)).astype(np.float32)
    states = np.zeros((episodes, length + 1, 2))
    states[:, 0] = generator.standard_normal((episodes, 2))
    for step in range(length):
        states[:, step + 1] = states[:, step] @ drift.T + actions[:, step] @ control.T
    return dataset_of(states, actions)


def summed(seed: int, episodes: int = 60, length: int = 100) -> Dataset:
    """s' = s + a_0 + a_1: many actions lead to the same next state, (a_0, a_1) and (a_1, a_0) among them."""
    generator = np.random.default_rng(seed)
    actions = generator.uniform(-0.9, 0.9, (episodes, length, 2)).astype(np.float32)
    first = generator.standard_normal((episodes, 1))
    states = np.concatenate([first, first + actions.sum(2).cumsum(1)], axis=1)[..., None]
    return dataset_of(states, actions)


def moves(seed: int, episodes: int = 12, length: int = 40) -> Dataset:
    """A walk on a line by the discrete actions 0 (left), 1 (stay) and 2 (right), with noise."""
    generator = np.random.default_rng(seed)
    actions = generator.integers(0, 3, (episodes, length))
    steps = actions - 1.0 + 0.05 * generator.standard_normal(actions.shape)
    first = generator.standard_normal((episodes, 1))
    states = np.concatenate([first, first + steps.cumsum(1)], axis=1)[..., None]
    return dataset_of(states, actions, generator.standard_normal(actions.shape))
