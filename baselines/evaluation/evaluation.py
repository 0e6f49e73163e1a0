"""Evaluation: every member of a population on the same episodes, many at once.

Episodes are numbered, and each has its own seed that depends on `Evaluation.seed` alone, never on training: all members
and all algorithms meet the same initial states. Simulators run on worker processes, and one policy call per step serves
a batch of members with all their episodes. Where the policy has a core beside those of the simulators, two batches take
turns, so that neither side waits for the other::

    simulators   step batch A     step batch B     step batch A     ...
    policy            act for B        act for A        act for B   ...

Where it has none, turns would only make more and smaller messages, and there is one batch.
A batch keeps its shape to the end, episodes that are over included, so that the rounding of an action depends neither on
which episodes still run nor on who else is evaluated. For the same reason an episode whose simulator failed can be run
again from its seed, with the same outcome.
"""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from assay.baselines.evaluation.exact import exact_returns
from assay.baselines.evaluation.observation_noise import NoisyEpisodes, ObservationNoise
from assay.datasets.environments.pool import EnvironmentPool, usable_cores
from assay.datasets.environments.specification import EnvironmentSpec, evaluation_environment
from assay.datasets.errors import AssayWarning, CollectionError, ConfigError, UnknownNameError
from assay.datasets.registry import Integer, Seed, validated

if TYPE_CHECKING:
    from assay.baselines.engine.acting import Actor, Episodes
    from assay.datasets.environments.envpool import EnvPoolEnvironments
    from assay.datasets.info import DatasetInfo

__all__ = ["Evaluation", "EvaluationResult", "episode_seeds", "evaluate", "simulators"]

_SIMULATORS_AT_A_TIME = 256
_LONGEST_EPISODE = 100_000
_ATTEMPTS = 3  # at an episode whose simulator fails


@validated("evaluation")
class Evaluation:
    """How trained policies are evaluated.

    Parameters
    ----------
    episodes : int
        Per policy and evaluation. An environment with G evaluation goals (`assay.datasets.environments.goals`) is given goal
        k % G in episode k, so that a multiple of G tries all of them equally often.
    every : int, optional
        Updates between evaluations on the way; None evaluates once, after the last update.
    seed : int
        Of the initial states; independent of the training seeds.
    environment : str, optional
        Gymnasium id, of the environment as it is registered. Default is the dataset's environment, with the keyword
        arguments, time limit and wrappers that it was recorded with; Minari's evaluation environment where there is one.
    engine : "gymnasium", "envpool" or "exact"
        What simulates it. EnvPool is faster and has other random streams and another simulator version: scores of the two
        do not compare exactly. "exact" computes the expected return where the environment's model is known (bandits, tables,
        linear processes), for policies that neither draw nor remember: one number, which is one episode, and no simulation.
    cost_limit : float, optional
        What an episode's costs, the sum of `info["cost"]`, may come to. It changes no episode: tables normalize by it and
        count the episodes above it.
    observation_noise : ObservationNoise, optional
        Disturbs what policies see. Such returns are labelled wherever they are shown; they are no clean scores.

    Examples
    --------
    >>> Evaluation(episodes=5).every is None
    True
    >>> Evaluation.preset("published", steps=1_000_000).every
    5000
    """

    PRESETS: ClassVar[tuple[str, ...]] = ("final", "sparse", "published")

    episodes: Annotated[Integer, Field(gt=0)] = 10
    every: Annotated[Integer, Field(gt=0)] | None = None
    seed: Seed = 0
    environment: str | None = None
    engine: Literal["gymnasium", "envpool", "exact"] = "gymnasium"
    observation_noise: ObservationNoise | None = None
    cost_limit: Annotated[float, Field(gt=0)] | None = None

    def __post_init__(self) -> None:
        if self.engine == "exact" and (self.episodes != 1 or self.observation_noise is not None):
            raise ConfigError(
                "engine exact computes one number and draws nothing: it takes episodes 1 and no observation_noise"
            )
        if self.engine == "exact" and self.cost_limit is not None:
            raise ConfigError("engine exact computes returns and no costs: it takes no cost_limit")

    def environment_of(self, info: DatasetInfo) -> EnvironmentSpec | None:
        """Return where policies learned from a dataset are evaluated; None where nothing says it.

        Raises
        ------
        ConfigError
            If the dataset's environment was recorded inside a wrapper that cannot be applied again.
        """
        if self.environment is not None:
            return EnvironmentSpec(self.environment)
        return evaluation_environment(info)

    @classmethod
    def preset(cls, name: str, steps: int) -> Evaluation:
        """Return a named protocol for a training of so many updates; all of them run 10 episodes.

        `"final"` evaluates once, after the last update; `"sparse"` 10 times in even intervals, the last of them after
        the last update; `"published"` 200 times, as CORL does (every 5,000 of 1,000,000 updates).

        Raises
        ------
        UnknownNameError
            If there is no such preset.
        """
        if name not in cls.PRESETS:
            raise UnknownNameError("evaluation preset", name, cls.PRESETS)
        times = {"final": 1, "sparse": 10, "published": 200}[name]
        return cls(every=None if times == 1 else max(1, math.ceil(steps / times)))


@dataclass(frozen=True)
class EvaluationResult:
    """What came of an evaluation of P members.

    Parameters
    ----------
    returns : (P, episodes) float64 array
        Undiscounted.
    lengths : (P, episodes) int64 array
        In steps.
    seeds : (episodes,) int64 array
        Of the episodes.
    goals : (episodes,) int64 array, optional
        Numbers of the evaluation goals, where the environment has some.
    restarts : int
        How many times a simulator failed and was started anew; the numbers do not depend on it.
    costs : (P, episodes) float64 array, optional
        Sums of `info["cost"]`, undiscounted; NaN for an episode in which no step has one, None where no episode has. A step
        without one in an episode with others costs nothing.
    """

    returns: np.ndarray
    lengths: np.ndarray
    seeds: np.ndarray
    restarts: int = 0
    goals: np.ndarray | None = None
    costs: np.ndarray | None = None


def episode_seeds(seed: int, episodes: int) -> np.ndarray:
    """Return the seeds of the evaluation episodes 0, 1, ...: (episodes,) int64 below 2**31.

    Examples
    --------
    >>> bool((episode_seeds(0, 3) == episode_seeds(0, 5)[:3]).all())
    True
    """
    children = [np.random.SeedSequence((seed, 0xE7A1, episode)) for episode in range(episodes)]
    return np.array([int(child.generate_state(1)[0]) >> 1 for child in children], np.int64)


def simulators(members: int, evaluation: Evaluation) -> int:
    """Return how many simulators an evaluation of so many members uses at a time."""
    return _members_at_a_time(members, evaluation) * _episodes_at_a_time(evaluation)


def make_simulators(
    members: int, environment_id: str | EnvironmentSpec, evaluation: Evaluation, workers: int | None
) -> EnvironmentPool | EnvPoolEnvironments:
    """Make the simulators that an evaluation of so many members uses, of an environment by id or as specified."""
    count = simulators(members, evaluation)
    if workers is None:
        cores = usable_cores()
        workers = cores if cores <= 2 else cores - 1  # one is left to the policy
    if evaluation.engine == "envpool":
        from assay.datasets.environments.envpool import EnvPoolEnvironments

        return EnvPoolEnvironments(environment_id, count, workers)
    return EnvironmentPool(environment_id, count, workers, restart=True)


def _episodes_at_a_time(evaluation: Evaluation) -> int:
    return _even_part(evaluation.episodes, _SIMULATORS_AT_A_TIME)


def _members_at_a_time(members: int, evaluation: Evaluation) -> int:
    return _even_part(members, max(1, _SIMULATORS_AT_A_TIME // _episodes_at_a_time(evaluation)))


def _even_part(total: int, most: int) -> int:
    """Return the size of the parts when `total` is split evenly into as few as possible of at most `most`."""
    return math.ceil(total / math.ceil(total / most))


def evaluate(
    actor: Actor,
    environment_id: str | EnvironmentSpec,
    evaluation: Evaluation,
    *,
    pool: EnvironmentPool | EnvPoolEnvironments | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> EvaluationResult:
    """Run every member on the episodes of an evaluation.

    A simulator that fails is started anew, with a warning, and its episodes are run again; the result is that of an
    undisturbed evaluation.

    Parameters
    ----------
    actor : Actor
        Members whose actions are not finite act with zeros there.
    environment_id : str or EnvironmentSpec
    evaluation : Evaluation
    pool : EnvironmentPool or EnvPoolEnvironments, optional
        What `make_simulators` returned; default makes and closes one.
    workers : int, optional
        Simulator processes where no pool is given; default one per core, less one where there are more than two.
    progress : callable, optional
        Called with (episodes done, episodes in all).

    Raises
    ------
    CollectionError
        If an episode does not end, or its simulator keeps failing.
    ConfigError
        If the engine is exact, and the environment has no known model or a member acts at random or by memory.
    """
    if evaluation.engine == "exact":
        expected, horizon = exact_returns(actor, environment_id)
        shape = (actor.members, 1)
        return EvaluationResult(expected.reshape(shape), np.full(shape, horizon), episode_seeds(evaluation.seed, 1))
    if pool is None:
        with make_simulators(actor.members, environment_id, evaluation, workers) as made:
            return evaluate(actor, environment_id, evaluation, pool=made, progress=progress)
    failed_before = len(pool.failures)
    seeds = episode_seeds(evaluation.seed, evaluation.episodes)
    returns = np.zeros((actor.members, evaluation.episodes))
    lengths = np.zeros((actor.members, evaluation.episodes), np.int64)
    goals = np.arange(evaluation.episodes) % pool.evaluation_goals if pool.evaluation_goals else None
    costs = np.full((actor.members, evaluation.episodes), np.nan)
    m, n = _members_at_a_time(actor.members, evaluation), _episodes_at_a_time(evaluation)
    done = 0
    for member in range(0, actor.members, m):
        for episode in range(0, evaluation.episodes, n):
            members = slice(member, min(member + m, actor.members))
            part = members, slice(episode, min(episode + n, evaluation.episodes))
            noise = evaluation.observation_noise
            towards = None if goals is None else goals[part[1]]
            outcomes = returns[part], lengths[part], costs[part]
            _run_part(pool, actor, members, seeds[part[1]], towards, outcomes, noise)
            done += returns[part].size
            if progress is not None:
                progress(done, returns.size)
    known = bool(np.isfinite(costs).any())
    if evaluation.cost_limit is not None and not known:
        warnings.warn(
            f"{pool.environment_id} says no cost of its steps (info['cost']), so cost_limit={evaluation.cost_limit:g} means nothing",
            AssayWarning,
            stacklevel=2,
        )
    return EvaluationResult(
        returns, lengths, seeds, len(pool.failures) - failed_before, goals, costs if known else None
    )


def _run_part(
    pool: EnvironmentPool | EnvPoolEnvironments,
    actor: Actor,
    members: slice,
    seeds: np.ndarray,
    goals: np.ndarray | None,
    outcomes: tuple[np.ndarray, np.ndarray, np.ndarray],
    noise: ObservationNoise | None,
) -> None:
    """Run one episode per member and seed; fills the outcomes, (m, n) each: returns, lengths and costs."""
    m, n = outcomes[0].shape
    half = members.start + math.ceil(m / 2) if pool.workers < usable_cores() else members.stop
    halves = [part for part in (slice(members.start, half), slice(half, members.stop)) if part.start < part.stop]
    wanted, failures = np.ones((m, n), bool), np.zeros(pool.environments, np.int64)
    while wanted.any():
        seen = len(pool.failures)
        batches = []
        for half_of in halves:
            rows = slice(half_of.start - members.start, half_of.stop - members.start)
            slots = np.arange(m * n).reshape(m, n)[rows]
            begun = (
                actor.begin(half_of, n, seeds.tolist())
                if noise is None
                else NoisyEpisodes(noise, actor, half_of, seeds)
            )
            batches.append(_Batch(pool, begun, slots, seeds, goals, wanted[rows]))
        _take_turns(batches)
        complete = wanted & ~pool.lost[: m * n].reshape(m, n)
        for number, outcome in enumerate(outcomes):
            found = np.concatenate([(batch.returns, batch.lengths, batch.costs)[number] for batch in batches])
            outcome[complete] = found.reshape(m, n)[complete]
        wanted &= ~complete
        for failure in pool.failures[seen:]:
            failures[failure.slots] += 1
            hopeless = failure.slots[failures[failure.slots] >= _ATTEMPTS]
            if len(hopeless):
                named = ", ".join(map(str, np.unique(seeds[hopeless % n])[:8]))
                raise CollectionError(
                    f"an evaluation episode failed {_ATTEMPTS} times, that with reset seed {named}: {failure.cause}"
                )
            warnings.warn(f"{failure.cause}; it was started anew and its episodes run again", AssayWarning)  # noqa: B028


def _take_turns(batches: list[_Batch]) -> None:
    """Run batches to their end: while the simulators step one, the policy acts for the other."""
    sent = deque(batch for batch in batches if batch.send())
    while sent:
        batch = sent.popleft()
        batch.receive()
        if batch.send():
            sent.append(batch)


class _Batch:
    """Episodes of some members that share every policy call; all arrays are flat, [m * n, ...]."""

    def __init__(
        self,
        pool: EnvironmentPool | EnvPoolEnvironments,
        episodes: Episodes,
        slots: np.ndarray,
        seeds: np.ndarray,
        goals: np.ndarray | None,
        wanted: np.ndarray,
    ) -> None:
        self.pool, self.episodes, self.shape, self.slots = pool, episodes, slots.shape, slots.ravel()
        count, chosen = slots.size, wanted.ravel()
        self.ended = ~chosen
        self.observations = np.zeros((count, _row_size(pool.observation_space)))
        self.rewards, self.returns, self.lengths = np.zeros(count), np.zeros(count), np.zeros(count, np.int64)
        self.costs = np.full(count, np.nan)  # of episodes in which no step had one
        towards = None if goals is None else np.broadcast_to(goals, slots.shape)[wanted]
        first = pool.reset(self.slots[chosen], np.broadcast_to(seeds, slots.shape)[wanted], towards)
        self.observations[chosen] = _flat_rows(first)
        self.sent = np.zeros(0, np.int64)

    def send(self) -> bool:
        """Have the running episodes stepped; False where none is left."""
        self.sent = np.flatnonzero(~(self.ended | self.pool.lost[self.slots]))
        if not len(self.sent):
            return False
        # Episodes that are over stay in the batch, so that the shapes, and with them the rounding, never change.
        actions = self.episodes.act(self.observations.reshape(*self.shape, -1), self.rewards.reshape(self.shape))
        chosen = actions.reshape(len(self.slots), -1)[self.sent]
        chosen[~np.isfinite(chosen)] = 0.0
        self.pool.step_async(self.slots[self.sent], chosen.reshape(-1, *self.pool.action_space.shape))
        return True

    def receive(self) -> None:
        """Take in what came of it; rows of slots that were lost meanwhile mean nothing and are run again."""
        observations, rewards, terminations, truncations = self.pool.step_wait()
        self.observations[self.sent] = _flat_rows(observations)
        self.rewards[self.sent] = rewards
        self.returns[self.sent] += rewards
        before, costs = self.costs[self.sent], self.pool.costs(self.slots[self.sent])
        self.costs[self.sent] = np.where(np.isnan(costs), before, np.nan_to_num(before) + costs)
        self.lengths[self.sent] += 1
        self.ended[self.sent] = terminations | truncations
        if self.lengths.max() > _LONGEST_EPISODE:
            raise CollectionError(
                f"an evaluation episode of {self.pool.environment_id} did not end in {_LONGEST_EPISODE} steps"
            )


def _row_size(space: Any) -> int:
    """Return how many numbers an observation has, all parts together."""
    parts = getattr(space, "spaces", None)
    if parts is None:
        return math.prod(space.shape)
    return sum(map(_row_size, parts.values() if isinstance(parts, Mapping) else parts))


def _flat_rows(observations: np.ndarray) -> np.ndarray:
    """Return (n, size) numbers: the parts of an observation one after the other, by name, as `Shapes.split` takes them."""
    if observations.dtype.names is None:
        return observations.reshape(len(observations), -1) if observations.size else observations.reshape(0, 0)
    return np.concatenate([_flat_rows(observations[name]) for name in sorted(observations.dtype.names)], axis=1)
