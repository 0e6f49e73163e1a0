"""What online trainers share: the replay, the loop of acting and learning, and the learning curve.

The replay grows for as long as a training runs and is laid out as a dataset, so that keeping it costs nothing::

    episode        0  0  0  0  1  1  1          step i of episode e reads its observation
    observations   s0 s1 s2 s3 s0 s1 s2         in row i + e, and the next one in row i + e + 1
    step           0  1  2  -  3  4  -

A learner draws from its last `replay_size` steps. Terminations and truncations are kept apart; only terminations end the
bootstrap. A step at which an episode was cut by the end of the training is a truncation in the dataset.

Several trainings of other seeds may share a loop: each has an environment and a replay of its own, and all take a step at the
same time, so that a learner sees their observations as [members, ...] and updates all of them at once.

Everything follows from a member's seed: weights and the learner's draws through `randomness`, reset seeds of training (below
2**31) through a generator of their own. Evaluation plays other seeds, in other environments, with the policy as it would
be shipped: it changes nothing in the training, and a training cut after fewer steps has the same beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from assay.baselines.behaviour.random_search import FIRST_EVALUATION_SEED
from assay.baselines.networks import Network
from assay.datasets.collection.network_policy import NetworkPolicy
from assay.datasets.collection.policy_returns import episode_returns
from assay.datasets.dataset import Dataset
from assay.datasets.environments.pool import EnvironmentPool
from assay.datasets.errors import ConfigError
from assay.datasets.info import DatasetInfo, assay_version
from assay.datasets.spaces import space_from_gymnasium

__all__ = ["Checkpoint", "OnlineLearner", "OnlineTraining", "Replay", "alone", "layers_of", "train_online"]


@dataclass(frozen=True)
class Checkpoint:
    """The policy after some steps.

    Parameters
    ----------
    steps, episodes
        Environment steps and whole episodes of training behind it (evaluation not counted).
    policy
        What it plays.
    returns
        Returns of its greedy evaluation episodes, float64 ``[evaluation_episodes]``.
    """

    steps: int
    episodes: int
    policy: NetworkPolicy
    returns: NDArray[np.float64]

    @property
    def mean_return(self) -> float:
        """Mean of `returns`."""
        return float(self.returns.mean())


@dataclass(frozen=True)
class OnlineTraining:
    """What an online training made.

    Parameters
    ----------
    environment_id, config, seed
        What was run.
    checkpoints
        The start, then every ``evaluation_interval`` steps and the last, in order: the learning curve.
    evaluation_seeds
        Seeds of the evaluation episodes, the same for every checkpoint.
    replay
        Every step of the training, as a dataset with the final observation of each episode.
    """

    environment_id: str
    config: Any
    seed: int
    checkpoints: tuple[Checkpoint, ...]
    evaluation_seeds: tuple[int, ...]
    replay: Dataset

    @property
    def best(self) -> Checkpoint:
        """The checkpoint with the largest mean return: a maximum over noisy evaluations, so evaluate it afresh."""
        return max(self.checkpoints, key=lambda checkpoint: checkpoint.mean_return)


class Replay:
    """Every step of a training, in arrays that double when they are full."""

    def __init__(self, observation_space: Any, action_space: Any, capacity: int = 4096) -> None:
        self.steps = self.episodes = 0
        self.starts: list[int] = []  # first step of each episode, the running one included
        self.seeds: list[int] = []
        self._columns: dict[str, NDArray[Any]] = {
            "observations": np.empty((capacity, *observation_space.shape), observation_space.dtype),
            "rows": np.empty(capacity, np.int64),  # of a step's observation
            "actions": np.empty((capacity, *action_space.shape), action_space.dtype),
            "rewards": np.empty(capacity),
            "terminations": np.empty(capacity, bool),
            "truncations": np.empty(capacity, bool),
        }

    def begin(self, observation: NDArray[Any], seed: int) -> None:
        """Begin an episode."""
        self.starts.append(self.steps)
        self.seeds.append(seed)
        self._write("observations", self.steps + self.episodes, observation)

    def add(
        self,
        action: NDArray[Any],
        reward: float,
        next_observation: NDArray[Any],
        terminated: bool,
        truncated: bool,
    ) -> None:
        """Add a step of the running episode."""
        row = self.steps + self.episodes
        self._write("rows", self.steps, row)
        self._write("observations", row + 1, next_observation)
        self._write("actions", self.steps, action)
        self._write("rewards", self.steps, reward)
        self._write("terminations", self.steps, terminated)
        self._write("truncations", self.steps, truncated)
        self.steps += 1
        self.episodes += int(terminated or truncated)

    def _write(self, name: str, row: int, value: Any) -> None:
        column = self._columns[name]
        if row >= len(column):
            column = self._columns[name] = np.concatenate([column, np.empty_like(column)])
        column[row] = value

    def batch(self, indices: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
        """Return observations, actions, rewards, next observations and terminations of some steps."""
        columns = self._columns
        rows = columns["rows"][indices]
        observations = columns["observations"]
        return (
            observations[rows],
            columns["actions"][indices],
            columns["rewards"][indices],
            observations[rows + 1],
            columns["terminations"][indices],
        )

    def dataset(self, info: DatasetInfo) -> Dataset:
        """Return a copy of everything so far; an episode that still runs is truncated."""
        starts = [start for start in self.starts if start < self.steps]
        columns = {
            name: self._columns[name][: self.steps].copy()
            for name in ("actions", "rewards", "terminations", "truncations")
        }
        if self.steps:
            columns["truncations"][-1] |= not columns["terminations"][-1]
        return Dataset(
            {"observations": self._columns["observations"][: self.steps + len(starts)].copy(), **columns},
            np.diff([*starts, self.steps]),
            info=info,
            episode_columns={"seed": np.array(self.seeds[: len(starts)], np.int64)},
        )


class OnlineLearner(Protocol):
    """What a method has to bring: how it acts, what it does with a new step, and its policies as they would be shipped."""

    update: torch.Tensor  # (1,) int64, the counter that all of its draws follow

    def act(self, observations: NDArray[Any], step: int) -> NDArray[Any]:
        """Return the actions to try at a step of the trainings, [members, ...] in the action space."""

    def learn(self, replays: Sequence[Replay]) -> None:
        """Learn after a step; the replays of all members are equally long."""

    def policy(self, member: int) -> NetworkPolicy:
        """Return a copy of a member's present policy."""


def train_online(
    environment_id: str,
    config: Any,
    learner: Callable[[Any, Any], OnlineLearner],
    algorithm: str,
    *,
    seeds: Sequence[int],
    steps: int,
    target_return: float | None,
    progress: Callable[[int, Sequence[Checkpoint] | None], None] | None,
) -> list[OnlineTraining]:
    """Act, learn and evaluate in turn for so many steps of every member.

    Parameters
    ----------
    environment_id
        Gymnasium id.
    config
        Has ``evaluation_interval`` and ``evaluation_episodes``.
    learner
        Made from the observation and the action space.
    algorithm
        Its name, for the replays' information.
    seeds
        One for each member.
    steps, target_return
        As in `assay.baselines.behaviour.sac.train_sac`; all members have to reach the return.
    progress
        Called now and then with the steps done, and with the checkpoints of all members.

    Returns
    -------
    list of OnlineTraining
        One for each seed.
    """
    if steps < 1:
        raise ConfigError(f"steps must be at least 1, not {steps}")
    if not seeds or min(seeds) < 0:
        raise ConfigError(f"seed must be 0 or more, not {min(seeds)}" if seeds else "there is no seed to train with")
    evaluation_seeds = range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + config.evaluation_episodes)
    resets = [np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(2,)))) for seed in seeds]
    members = np.arange(len(seeds))
    checkpoints: list[list[Checkpoint]] = []
    with (
        one_thread(),
        EnvironmentPool(environment_id, len(seeds), workers=0) as environment,
        EnvironmentPool(environment_id, min(config.evaluation_episodes, 16), workers=0) as others,
    ):
        learning = learner(environment.observation_space, environment.action_space)
        replays = [Replay(environment.observation_space, environment.action_space) for _ in seeds]

        def evaluate(done: int) -> list[Checkpoint]:
            found = []
            for member, replay in enumerate(replays):
                policy = learning.policy(member)
                returns, _ = episode_returns(others, policy, evaluation_seeds)
                found.append(Checkpoint(done, replay.episodes, policy, returns))
            checkpoints.append(found)
            if progress is not None:
                progress(done, found)
            return found

        evaluate(0)
        over, observations = members, np.empty(0)
        for done in range(1, steps + 1):
            if len(over):
                reset_seeds = [int(resets[member].integers(2**31)) for member in over.tolist()]
                first = environment.reset(over, reset_seeds)
                observations = first.copy() if len(over) == len(members) else observations
                observations[over] = first
                for member, reset_seed, observation in zip(over.tolist(), reset_seeds, first):
                    replays[member].begin(observation, reset_seed)
            learning.update.fill_(done - 1)
            actions = learning.act(observations, done - 1)
            observations, rewards, terminations, truncations = environment.step(members, actions)
            for member, replay in enumerate(replays):
                replay.add(
                    actions[member], rewards[member], observations[member], terminations[member], truncations[member]
                )
            over = np.flatnonzero(terminations | truncations)
            learning.learn(replays)
            if done % config.evaluation_interval == 0 or done == steps:
                reached = min(checkpoint.mean_return for checkpoint in evaluate(done))
                if target_return is not None and reached >= target_return:
                    break
            elif progress is not None and done % 100 == 0:
                progress(done, None)
        infos = [
            DatasetInfo(
                id=f"{environment_id}-{algorithm.lower()}-replay",
                observation_space=space_from_gymnasium(environment.observation_space),
                action_space=space_from_gymnasium(environment.action_space),
                env_spec=environment.spec_json,
                description=f"Every step of {done:,} steps of {algorithm} in {environment_id}, seed {seed}.",
                algorithm=algorithm,
                source=f"collected by Assay {assay_version()} from {environment_id}",
            )
            for seed in seeds
        ]
    return [
        OnlineTraining(environment_id, config, seed, tuple(curve), tuple(evaluation_seeds), replay.dataset(info))
        for seed, curve, replay, info in zip(seeds, zip(*checkpoints), replays, infos)
    ]


def alone(
    progress: Callable[[int, Checkpoint | None], None] | None,
) -> Callable[[int, Sequence[Checkpoint] | None], None] | None:
    """Return the progress of one member as that of a population."""
    if progress is None:
        return None
    return lambda steps, checkpoints: progress(steps, None if checkpoints is None else checkpoints[0])


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch on one thread: layers this small gain nothing from more, and sums do not depend on the machine's cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def layers_of(network: Network, member: int = 0) -> tuple[Sequence[NDArray[np.float32]], Sequence[NDArray[np.float32]]]:
    """Return copies of the weights [in, out] and biases [out] of a member's multilayer perceptron."""
    tensors = [tensor.detach()[member].numpy().copy() for tensor in network.parameters]
    return tensors[0::2], [bias[0] for bias in tensors[1::2]]


def tensor(values: NDArray[Any]) -> torch.Tensor:
    """Return float32 [1, ...], for a population of one."""
    return torch.from_numpy(np.asarray(values, np.float32)[None])


def flat_size(space: Any, algorithm: str) -> int:
    """Return the size of a flattened Box of observations."""
    if type(space).__name__ != "Box":
        raise ConfigError(f"{algorithm} needs a Box of observations, not {space}")
    return int(np.prod(space.shape))
