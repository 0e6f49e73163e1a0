r"""Deep Q-learning (Mnih et al. 2015) as the Dataset Perspective paper trains it (Schweighofer et al. 2022, arXiv 2111.04714).

With a slowly renewed copy Q' of the network and d = 1 at terminations only (a truncation bootstraps),

.. math::
    y &= r + \gamma (1 - d) \, Q'(s', \arg\max_a Q(s', a)) \qquad \text{(double Q-learning; else } \max_a Q'(s', a)) \\
    L(Q) &= E \, H(Q(s, a) - y), \quad
    H(x) = x^2 / 2 \text{ where } |x| < 1, \text{ else } |x| - 1/2

after every step in the environment, and Q' becomes Q after every `target_interval`-th update (van Hasselt et al. 2016,
arXiv 1509.06461, for the double estimate). The behaviour takes a uniform action with a probability that falls linearly
from 1 to `final_exploration` over `exploration_steps`, the greedy one otherwise.

The defaults are the published ones of that paper's online runs: batch 32, learning rate 1e-4, exploration 1 to 0.01 over
1,000 steps, a hard target copy every 100 updates, three SELU layers of 256. Its discounts are 0.95 (CartPole, MiniGrid) and
0.99 (MountainCar, MinAtar). Deviations: learning begins when there is one batch in the replay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from assay.baselines.behaviour.interaction import (
    Checkpoint,
    OnlineTraining,
    Replay,
    alone,
    flat_size,
    layers_of,
    train_online,
)
from assay.baselines.engine.randomness import Draws
from assay.baselines.networks import MLP, Network
from assay.datasets.collection.network_policy import NetworkPolicy
from assay.datasets.errors import ConfigError

__all__ = ["DQNConfig", "train_dqn", "train_dqns"]


@dataclass(frozen=True, kw_only=True)
class DQNConfig:
    """Settings of `train_dqn`.

    Examples
    --------
    >>> DQNConfig(discount=0.95).double
    True
    """

    discount: float = Field(default=0.99, ge=0, le=1)
    learning_rate: float = Field(default=1e-4, gt=0)
    batch_size: int = Field(default=32, ge=1)
    """Transitions per update."""
    hidden: tuple[int, ...] = (256, 256, 256)
    """Widths of the hidden layers."""
    activation: Literal["relu", "selu"] = "selu"
    """Between the layers."""
    double: bool = True
    """Whether Q chooses the action that Q' values."""
    target_interval: int = Field(default=100, ge=1)
    """Updates between two copies of Q into Q'."""
    update_interval: int = Field(default=1, ge=1)
    """Environment steps between two updates."""
    exploration_steps: int = Field(default=1_000, ge=0)
    """Steps over which the probability of a uniform action falls from 1."""
    final_exploration: float = Field(default=0.01, ge=0, le=1)
    """Where it ends."""
    replay_size: int = Field(default=50_000, ge=1)
    """Latest steps that batches are drawn from; all steps are kept."""
    evaluation_interval: int = Field(default=1_000, ge=1)
    """Steps between two kept checkpoints."""
    evaluation_episodes: int = Field(default=10, ge=1)
    """Greedy episodes that each checkpoint is evaluated on, always from the same seeds."""


def train_dqn(
    environment_id: str,
    config: DQNConfig | None = None,
    *,
    seed: int = 0,
    steps: int = 100_000,
    target_return: float | None = None,
    progress: Callable[[int, Checkpoint | None], None] | None = None,
) -> OnlineTraining:
    """Train the value of each action by deep Q-learning, on one thread.

    Parameters
    ----------
    environment_id
        Gymnasium id; a Box of observations (which is flattened) and Discrete actions.
    config
        Settings; None takes the defaults.
    seed
        Keys every random draw. The same seed gives the same result on the same machine.
    steps
        Environment steps.
    target_return
        Stop where a checkpoint's mean return reaches it.
    progress
        Called now and then with the steps done, and with every kept checkpoint.

    Returns
    -------
    OnlineTraining
        The checkpoints, and the replay as a dataset.

    Raises
    ------
    ConfigError
        If the environment's spaces do not suit, or a parameter is impossible.

    Examples
    --------
    >>> config = DQNConfig(hidden=(8,), evaluation_episodes=1)
    >>> training = train_dqn("CartPole-v1", config, steps=40)
    >>> [checkpoint.steps for checkpoint in training.checkpoints], training.replay.total_steps
    ([0, 40], 40)
    """
    (training,) = train_dqns(
        environment_id, config, seeds=[seed], steps=steps, target_return=target_return, progress=alone(progress)
    )
    return training


def train_dqns(
    environment_id: str,
    config: DQNConfig | None = None,
    *,
    seeds: Sequence[int],
    steps: int = 100_000,
    target_return: float | None = None,
    progress: Callable[[int, Sequence[Checkpoint] | None], None] | None = None,
) -> list[OnlineTraining]:
    """Train one network per seed in one loop, each on an environment of its own: the trainings are those of `train_dqn`.

    Parameters
    ----------
    environment_id, config, steps
        As in `train_dqn`.
    seeds
        One for each member.
    target_return
        Stop where the mean returns of all members reach it.
    progress
        Called now and then with the steps done, and with the kept checkpoints of all members.

    Returns
    -------
    list of OnlineTraining
        One for each seed.

    Examples
    --------
    >>> config = DQNConfig(hidden=(8,), evaluation_episodes=1)
    >>> [training.seed for training in train_dqns("CartPole-v1", config, seeds=[0, 1], steps=40)]
    [0, 1]
    """
    config = config or DQNConfig()
    return train_online(
        environment_id,
        config,
        lambda observations, actions: DeepQ(config, observations, actions, seeds),
        "DQN",
        seeds=seeds,
        steps=steps,
        target_return=target_return,
        progress=progress,
    )


class DeepQ:
    """The networks of a population of trainings, and what it does at every step. Tensors are [P, B, ...]."""

    def __init__(self, config: DQNConfig, observation_space: Any, action_space: Any, seeds: Sequence[int]) -> None:
        observation_size = flat_size(observation_space, "DQN")
        if type(action_space).__name__ != "Discrete":
            raise ConfigError(f"DQN needs Discrete actions, not {action_space}; sac takes continuous ones")
        self.config, self.start, self.actions = config, int(action_space.start), int(action_space.n)
        self.members = len(seeds)
        self.update = torch.zeros(1, dtype=torch.int64)
        self.draws = Draws(seeds, self.update)
        spec = MLP(
            observation_size,
            self.actions,
            config.hidden,
            learning_rate="learning_rate",
            target=True,
            activation=config.activation,
        )
        self.values = Network("values", spec, self.draws)
        self.rate = torch.full((self.members, 1), config.learning_rate)
        self.updates = 0

    def act(self, observations: NDArray[Any], step: int) -> NDArray[Any]:
        """Take the best action of each member, or any."""
        whether, which = self.draws.uniform("exploration", 2).double().numpy().T
        explores = whether < exploration(step, self.config)
        chosen: NDArray[Any] = (which * self.actions).astype(np.int64)
        if not explores.all():
            with torch.no_grad():
                values = self.values(self._stacked(observations, 1), weights="frozen")  # [P, 1, actions]
            chosen = np.where(explores, chosen, values.argmax(-1)[:, 0].numpy())
        return self.start + chosen

    def learn(self, replays: Sequence[Replay]) -> None:
        """Take one step, and renew the copy now and then."""
        config, steps = self.config, replays[0].steps
        if steps < config.batch_size or steps % config.update_interval:
            return
        window = min(steps, config.replay_size)
        drawn = self.draws.integers("batch", torch.full((self.members,), window), config.batch_size).numpy()
        batches = [replay.batch(steps - window + rows) for replay, rows in zip(replays, drawn)]
        observations, actions, rewards, next_observations, terminations = (np.stack(column) for column in zip(*batches))
        targets = q_targets(
            self.values,
            config.double,
            config.discount,
            torch.from_numpy(rewards.astype(np.float32)),
            self._stacked(next_observations, config.batch_size),
            torch.from_numpy(terminations.astype(np.float32)),
        )
        taken = torch.from_numpy(actions.astype(np.int64).reshape(self.members, -1, 1) - self.start)
        values = self.values(self._stacked(observations, config.batch_size)).gather(-1, taken).squeeze(-1)
        errors = torch.nn.functional.smooth_l1_loss(values, targets, reduction="none")  # [P, B]
        self.values.descend(errors.mean(-1).sum(), self.rate)
        self.updates += 1
        if self.updates % config.target_interval == 0:
            self.values.follow(torch.ones(self.members, 1))

    def _stacked(self, observations: NDArray[Any], rows: int) -> torch.Tensor:
        """Return float32 [P, rows, observation]."""
        return torch.from_numpy(observations.reshape(self.members, rows, -1).astype(np.float32, copy=False))

    def policy(self, member: int = 0) -> NetworkPolicy:
        """Return a member's greedy policy in NumPy."""
        weights, biases = layers_of(self.values, member)
        return NetworkPolicy(weights, biases, "argmax", activation=self.config.activation)


def exploration(step: int, config: DQNConfig) -> float:
    """Return the probability of a uniform action at a step.

    Examples
    --------
    >>> [round(exploration(step, DQNConfig(final_exploration=0.1)), 6) for step in (0, 500, 1000, 5000)]
    [1.0, 0.55, 0.1, 0.1]
    """
    done = min(step / config.exploration_steps, 1.0) if config.exploration_steps else 1.0
    return 1.0 - done * (1.0 - config.final_exploration)


@torch.no_grad()
def q_targets(
    values: Network,
    double: bool,
    discount: float,
    rewards: torch.Tensor,
    next_observations: torch.Tensor,
    terminations: torch.Tensor,
) -> torch.Tensor:
    """Return what the network regresses, y [1, B]; terminations are 1 where the MDP ended."""
    later = values(next_observations, weights="target")
    choice = (values(next_observations, weights="frozen") if double else later).argmax(-1, keepdim=True)
    targets: torch.Tensor = rewards + discount * (1.0 - terminations) * later.gather(-1, choice).squeeze(-1)
    return targets
