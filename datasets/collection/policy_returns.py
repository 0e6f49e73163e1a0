"""Returns of a behaviour policy over episodes with known seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from assay.datasets.collection.exploration import Behaviour
from assay.datasets.collection.policies import Policy
from assay.datasets.environments.pool import EnvironmentPool
from assay.datasets.environments.worker import row_layout

__all__ = ["episode_returns"]


def episode_returns(
    pool: EnvironmentPool, policy: Policy, seeds: Sequence[int], noise: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Run one episode for each seed.

    The same seed gives the same episode as in `collect`: a collected episode can be run again from its seed alone.

    Parameters
    ----------
    pool
        Where the episodes run; all of its slots are used.
    policy
        Callable ``observations [n, ...] -> actions [n, ...]``, or `UniformPolicy`.
    seeds
        Seed of each episode, non-negative.
    noise
        As in `collect`.

    Returns
    -------
    returns : numpy.ndarray
        Undiscounted sum of rewards of each episode, float64 ``[len(seeds)]``.
    lengths : numpy.ndarray
        Steps of each episode, int64 ``[len(seeds)]``.

    Examples
    --------
    >>> from assay.datasets.collection.policies import UniformPolicy
    >>> with EnvironmentPool("CartPole-v1", environments=2, workers=0) as pool:
    ...     returns, lengths = episode_returns(pool, UniformPolicy(), seeds=[1, 2, 3])
    >>> bool((returns == lengths).all())
    True
    """
    behaviour = Behaviour(policy, pool.action_space, noise, pool.environments)
    returns, lengths = np.zeros(len(seeds)), np.zeros(len(seeds), np.int64)
    episode_of = np.full(pool.environments, -1)
    kind, shape = row_layout(pool.observation_space)
    observations = np.empty((pool.environments, *shape), kind)
    launched = 0
    free = np.arange(pool.environments)
    while True:
        free = free[: len(seeds) - launched]
        if len(free):
            begun = seeds[launched : launched + len(free)]
            observations[free] = pool.reset(free, begun)
            for slot, seed in zip(free.tolist(), begun):
                behaviour.start(slot, seed)
            episode_of[free] = np.arange(launched, launched + len(free))
            launched += len(free)
        active = np.flatnonzero(episode_of >= 0)
        if not len(active):
            return returns, lengths
        outcome = pool.step(active, behaviour.act(active, observations[active]))
        observations[active], rewards, terminations, truncations = outcome
        returns[episode_of[active]] += rewards
        lengths[episode_of[active]] += 1
        free = active[terminations | truncations]
        episode_of[free] = -1
