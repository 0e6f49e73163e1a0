"""Collect a fixed number of steps from an environment with known behaviour policies.

Episode e of block b has one seed, drawn from the sequence keyed by (seed, b, e), which decides its reset and all of
its noise (see `behaviour`). The dataset is episodes 0, 1, 2, ... of each block in order, the last one cut where the
block's steps are used up::

    block 0: first policy                          block 1: second policy
    | episode 0 | episode 1 | ... | episode k, cut | episode 0 | ... | episode m, cut |

Many episodes run at once, so later ones can end before earlier ones; those are kept until the earlier ones are whole.
What is returned is therefore the same, to the last bit, for any number of environments and workers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.datasets.collection.exploration import Behaviour
from assay.datasets.collection.policies import Policy
from assay.datasets.environments.pool import EnvironmentPool
from assay.datasets.environments.specification import EnvironmentSpec
from assay.datasets.environments.worker import row_layout
from assay.datasets.errors import ConfigError
from assay.datasets.progress import Auto, Progress, counted, reporting
from assay.datasets.registry import check_count, check_seed

__all__ = ["CollectedEpisodes", "collect", "episode_seed"]


@dataclass(frozen=True)
class CollectedEpisodes:
    """N steps in E episodes, as they were executed.

    Parameters
    ----------
    environment_id
        What was stepped.
    observations
        ``[N + E, ...]``: episodes back to back, each with its final observation (T + 1 rows); a structured array with a
        field for each part where the space is a Dict or Tuple.
    actions
        ``[N, ...]``: executed actions, after noise and clipping.
    rewards
        float64 ``[N]``.
    costs
        float64 ``[N]``, ``info["cost"]`` of the steps; None where no step has one.
    terminations, truncations
        bool ``[N]``; a cut by the end of a block is a truncation.
    episode_lengths
        int64 ``[E]``.
    episode_seeds
        int64 ``[E]``; below 2**32.
    episode_policies
        int64 ``[E]``: place in the list of policies.
    observation_space, action_space
        Gymnasium spaces of one environment.
    environment_spec
        ``EnvSpec.to_json()``, or None where it has no JSON form.
    """

    environment_id: str
    observations: NDArray[Any]
    actions: NDArray[Any]
    rewards: NDArray[np.float64]
    terminations: NDArray[np.bool_]
    truncations: NDArray[np.bool_]
    episode_lengths: NDArray[np.int64]
    episode_seeds: NDArray[np.int64]
    episode_policies: NDArray[np.int64]
    observation_space: Any
    action_space: Any
    environment_spec: str | None
    costs: NDArray[np.float64] | None = None


def collect(
    environment_id: str | EnvironmentSpec,
    policy: Policy | Sequence[tuple[Policy, float]],
    steps: int = 100_000,
    noise: float | Sequence[float] = 0.0,
    seed: int = 0,
    environments: int = 16,
    workers: int | None = None,
    progress: Progress | Auto | None = "auto",
    kwargs: Mapping[str, Any] | None = None,
) -> CollectedEpisodes:
    """Run a policy, or several one after the other, until exactly ``steps`` steps are collected.

    Parameters
    ----------
    environment_id
        Gymnasium id with a Box or Discrete observation and action space; or an `EnvironmentSpec`, such as
        `assay.datasets.environments.specification.evaluation_environment(dataset.info)` for more data like a dataset's.
    policy
        A callable ``observations [n, ...] -> actions [n, ...]`` or `UniformPolicy`; or a list of (policy, share), each
        of which gets a consecutive block with that share of the steps. Where a policy's output for a row depends on
        the rows beside it, as with matrix products on a GPU, the result depends on ``environments``.
    steps
        Number of steps.
    noise
        Box actions: standard deviation of Gaussian noise, as a fraction of half the action range. Discrete actions:
        probability of a uniform action instead. Does not apply to `UniformPolicy`. One number, or one for each
        policy of the list.
    seed
        Keys the resets and the noise of every episode.
    environments, workers
        Episodes run at once, and on how many processes (see `EnvironmentPool`); they change the speed, not the result.
    progress
        Called now and then with (steps done, steps in all); default as in `assay.load`.
    kwargs
        Keyword arguments of ``gymnasium.make``.

    Returns
    -------
    CollectedEpisodes
        Exactly ``steps`` steps.

    Raises
    ------
    ConfigError
        If a parameter is impossible.
    CollectionError
        If an environment fails, a worker dies, or the policy returns something that is not an action.

    Examples
    --------
    >>> from assay.datasets.collection.policies import UniformPolicy
    >>> episodes = collect("CartPole-v1", UniformPolicy(), steps=100, workers=0)
    >>> episodes.actions.shape, int(episodes.episode_lengths.sum())
    ((100,), 100)
    >>> len(episodes.observations) == 100 + len(episodes.episode_lengths)
    True
    """
    steps, seed = check_count("steps", steps), check_seed(seed)
    environments = check_count("environments", environments)
    if isinstance(policy, str) or (isinstance(policy, Sequence) and any(len(pair) != 2 for pair in policy)):
        raise ConfigError(f"policy must be a policy or a list of (policy, share), not {policy!r}")
    policies = list(policy) if isinstance(policy, Sequence) else [(policy, 1.0)]
    noises = list(noise) if isinstance(noise, Sequence) else [noise] * len(policies)
    if len(noises) != len(policies):
        raise ConfigError(f"noise must be one number, or one for each of the {len(policies)} policies, not {noise}")
    budgets = split_steps(steps, [share for _, share in policies])
    parts: list[_Block] = []
    with (
        EnvironmentPool(environment_id, min(environments, steps), workers, kwargs) as pool,
        reporting(progress, title := f"collecting in {pool.environment_id}", counted(title)) as report,
    ):
        behaviours = [
            Behaviour(each, pool.action_space, level, pool.environments) for (each, _), level in zip(policies, noises)
        ]
        done = 0
        for block, (behaviour, budget) in enumerate(zip(behaviours, budgets)):
            if not budget:
                continue
            part = _Block(pool, behaviour, budget, seed, block)
            part.run(None if report is None else functools.partial(report_block, report, done, steps))
            parts.append(part)
            done += budget
        first = [episode for part in parts for episode in part.episodes]
        return CollectedEpisodes(
            environment_id=pool.environment_id,
            observations=np.concatenate([episode.observations for episode in first]),
            actions=np.concatenate([episode.actions for episode in first]),
            rewards=np.concatenate([episode.rewards for episode in first]),
            terminations=np.concatenate([episode.terminations for episode in first]),
            truncations=np.concatenate([episode.truncations for episode in first]),
            episode_lengths=np.array([len(episode.rewards) for episode in first], np.int64),
            episode_seeds=np.array([episode.seed for episode in first], np.int64),
            episode_policies=np.array([part.block for part in parts for _ in part.episodes], np.int64),
            observation_space=pool.observation_space,
            action_space=pool.action_space,
            environment_spec=pool.spec_json,
            costs=costs_of(np.concatenate([episode.costs for episode in first])),
        )


def costs_of(costs: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return the costs of steps, 0 where a step has none; None where no step has one.

    Examples
    --------
    >>> costs_of(np.array([np.nan, 1.0])).tolist(), costs_of(np.array([np.nan]))
    ([0.0, 1.0], None)
    """
    absent = np.isnan(costs)
    return None if absent.all() else np.where(absent, 0.0, costs)


def report_block(progress: Progress, before: int, steps: int, now: int) -> None:
    """Report a block's progress as that of the whole collection."""
    progress(before + now, steps)


def episode_seed(seed: int, block: int, episode: int) -> int:
    """Return the seed of an episode: 32 bits, which every simulator takes, from the sequence keyed by all three."""
    return int(np.random.SeedSequence(seed, spawn_key=(block, episode)).generate_state(1)[0])


def split_steps(steps: int, shares: Sequence[float]) -> list[int]:
    """Split steps in proportion to shares, so that they sum to ``steps`` and each is within one of its share.

    Examples
    --------
    >>> split_steps(10, [1.0, 1.0, 1.0])
    [3, 4, 3]
    """
    if not len(shares) or not np.isfinite(shares).all() or min(shares) < 0 or sum(shares) <= 0:
        raise ConfigError(f"shares must be 0 or more and not all 0, not {list(shares)}")
    bounds = np.round(np.cumsum(shares) / np.sum(shares) * steps).astype(np.int64)
    bounds[-1] = steps
    return [int(size) for size in np.diff(bounds, prepend=0)]


@dataclass
class _Episode:
    """The rows of one episode, which grow while it runs."""

    seed: int
    observations: NDArray[Any]
    actions: NDArray[Any]
    rewards: NDArray[np.float64]
    costs: NDArray[np.float64]
    terminations: NDArray[np.bool_]
    truncations: NDArray[np.bool_]


class _Block:
    """One policy's consecutive episodes."""

    def __init__(self, pool: EnvironmentPool, behaviour: Behaviour, budget: int, seed: int, block: int) -> None:
        self.pool, self.behaviour, self.budget, self.seed, self.block = pool, behaviour, budget, seed, block
        self.episodes: list[_Episode] = []

    def run(self, progress: Callable[[int], None] | None) -> None:
        """Fill `episodes` with exactly ``budget`` steps."""
        pool, slots = self.pool, self.pool.environments
        # A running episode's rows lie in its slot's part of these buffers, [slot, step, ...].
        capacity = 1024
        kind, shape = row_layout(pool.observation_space)
        observations = np.empty((slots, capacity + 1, *shape), kind)
        actions = np.empty((slots, capacity, *pool.action_space.shape), pool.action_space.dtype)
        rewards, costs = np.empty((slots, capacity)), np.empty((slots, capacity))
        ends = np.zeros((slots, capacity, 2), bool)
        length_of = np.zeros(slots, np.int64)
        episode_of = np.full(slots, -1)  # -1: nothing runs in the slot
        seeds: list[int] = []
        whole: dict[int, _Episode] = {}  # ended, but an earlier one still runs
        kept = 0  # steps in self.episodes
        taken = 0  # steps of all episodes that were begun
        reported = 0

        def take(slot: int, length: int) -> _Episode:
            termination, truncation = ends[slot, :length].T.copy()
            return _Episode(
                seeds[episode_of[slot]],
                observations[slot, : length + 1].copy(),
                actions[slot, :length].copy(),
                rewards[slot, :length].copy(),
                costs[slot, :length].copy(),
                termination,
                truncation,
            )

        while True:
            free = np.flatnonzero(episode_of < 0)
            # Episodes begun so far may already be enough, in which case only the early ones have to go on.
            if len(free) and taken < self.budget:
                begun = np.arange(len(seeds), len(seeds) + len(free))
                seeds += [episode_seed(self.seed, self.block, episode) for episode in begun.tolist()]
                observations[free, 0] = pool.reset(free, [seeds[episode] for episode in begun.tolist()])
                for slot, episode in zip(free.tolist(), begun.tolist()):
                    self.behaviour.start(slot, seeds[episode])
                episode_of[free], length_of[free] = begun, 0
            active = np.flatnonzero(episode_of >= 0)
            steps = length_of[active]
            if steps.max() == capacity:
                capacity *= 2
                observations, actions, rewards, costs, ends = (
                    np.concatenate([each, np.zeros((slots, capacity // 2, *each.shape[2:]), each.dtype)], axis=1)
                    for each in (observations, actions, rewards, costs, ends)
                )
            chosen = self.behaviour.act(active, observations[active, steps])
            after, reward, termination, truncation = pool.step(active, chosen)
            observations[active, steps + 1] = after
            actions[active, steps], rewards[active, steps] = chosen, reward
            costs[active, steps] = pool.costs(active)
            ends[active, steps, 0], ends[active, steps, 1] = termination, truncation
            length_of[active] += 1
            taken += len(active)

            for slot in active[termination | truncation].tolist():
                whole[int(episode_of[slot])] = take(slot, int(length_of[slot]))
                episode_of[slot] = -1
            while kept < self.budget and len(self.episodes) in whole:
                self.episodes.append(whole.pop(len(self.episodes)))
                kept += len(self.episodes[-1].rewards)
            if kept < self.budget:
                # The first episode that is not whole may be enough as it stands.
                for slot in np.flatnonzero(episode_of == len(self.episodes)).tolist():
                    if kept + length_of[slot] >= self.budget:
                        kept += int(length_of[slot])
                        self.episodes.append(take(slot, int(length_of[slot])))
            if taken >= self.budget:
                # Episodes that the budget cannot reach any more are given up: earlier ones already hold its steps.
                lengths = {episode: len(ended.rewards) for episode, ended in whole.items()}
                lengths |= {int(episode_of[slot]): int(length_of[slot]) for slot in np.flatnonzero(episode_of >= 0)}
                reached = kept
                for episode in sorted(lengths):
                    if reached >= self.budget:
                        episode_of[episode_of == episode] = -1
                    reached += lengths[episode]
            now = min(taken, self.budget)
            if progress is not None and (now - reported >= self.budget / 200 or kept >= self.budget):
                reported = self.budget if kept >= self.budget else now
                progress(reported)
            if kept >= self.budget:
                self.cut(kept - self.budget)
                return

    def cut(self, surplus: int) -> None:
        """Shorten the last episode by that many steps; where it did not end by itself, it was truncated."""
        last = self.episodes[-1]
        length = len(last.rewards) - surplus
        last.observations = last.observations[: length + 1]
        last.actions, last.rewards, last.costs = last.actions[:length], last.rewards[:length], last.costs[:length]
        last.terminations, last.truncations = last.terminations[:length], last.truncations[:length]
        if not last.terminations[-1]:
            last.truncations[-1] = True
