"""Datasets made of given states, for tests of metrics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from assay.datasets import Dataset, DatasetInfo

Policy = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def dataset_of(
    states: np.ndarray, policy: Policy, episodes: int = 1, rewards: np.ndarray | None = None, name: str = "made/up"
) -> Dataset:
    """Cut states into episodes of equal length and act in each by the policy."""
    steps = len(states) - episodes
    assert steps % episodes == 0
    lasts = np.arange(1, episodes + 1) * (steps // episodes + 1) - 1
    ends = np.zeros(steps, bool)
    ends[np.arange(1, episodes + 1) * (steps // episodes) - 1] = True
    return Dataset.from_arrays(
        observations=states,
        actions=policy(np.delete(states, lasts, axis=0), np.random.default_rng(99)),
        rewards=np.zeros(steps) if rewards is None else rewards,
        terminations=np.zeros(steps, bool),
        truncations=ends,
        info=DatasetInfo(id=name),
    )
