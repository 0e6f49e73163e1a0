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

from collections.abc import Callable
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
    flat_size,
    layers_of,
    tensor,
    train_online,
)
from assay.baselines.engine.randomness import Draws
from assay.baselines.networks import MLP, Network
from assay.datasets.collection.network_policy import NetworkPolicy
from assay.datasets.errors import ConfigError

__all__ = ["DQNConfig", "train_dqn"]


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
    config = config or DQNConfig()
    return train_online(
        environment_id,
        config,
        lambda observations, actions: DeepQ(config, observations, actions, seed),
        "DQN",
        seed=seed,
        steps=steps,
        target_return=target_return,
        progress=progress,
    )


class DeepQ:
    """The network of one training, and what it does at every step. Tensors are [1, B, ...]: a population of one."""

    def __init__(self, config: DQNConfig, observation_space: Any, action_space: Any, seed: int) -> None:
        observation_size = flat_size(observation_space, "DQN")
        if type(action_space).__name__ != "Discrete":
            raise ConfigError(f"DQN needs Discrete actions, not {action_space}; sac takes continuous ones")
        self.config, self.start, self.actions = config, int(action_space.start), int(action_space.n)
        self.update = torch.zeros(1, dtype=torch.int64)
        self.draws = Draws([seed], self.update)
        spec = MLP(
            observation_size,
            self.actions,
            config.hidden,
            learning_rate="learning_rate",
            target=True,
            activation=config.activation,
        )
        self.values = Network("values", spec, self.draws)
        self.rate = torch.tensor([[config.learning_rate]])
        self.updates = 0

    def act(self, observation: NDArray[Any], step: int) -> NDArray[Any]:
        """Take the best action, or any."""
        whether, which = self.draws.uniform("exploration", 2)[0].tolist()
        if whether < exploration(step, self.config):
            return np.asarray(self.start + int(which * self.actions))
        with torch.no_grad():
            values = self.values(tensor(observation.reshape(1, -1)), weights="frozen")
        return np.asarray(self.start + int(values.argmax()))

    def learn(self, replay: Replay) -> None:
        """Take one step, and renew the copy now and then."""
        config = self.config
        if replay.steps < config.batch_size or replay.steps % config.update_interval:
            return
        window = min(replay.steps, config.replay_size)
        drawn = self.draws.integers("batch", torch.tensor([window]), config.batch_size)[0].numpy()
        batch = replay.batch(replay.steps - window + drawn)
        observations, next_observations = (tensor(each.reshape(len(drawn), -1)) for each in (batch[0], batch[3]))
        actions = torch.from_numpy(batch[1].astype(np.int64) - self.start)[None]
        targets = q_targets(
            self.values, config.double, config.discount, tensor(batch[2]), next_observations, tensor(batch[4])
        )
        values = self.values(observations).gather(-1, actions[..., None]).squeeze(-1)  # [1, B]
        self.values.descend(torch.nn.functional.smooth_l1_loss(values, targets), self.rate)
        self.updates += 1
        if self.updates % config.target_interval == 0:
            self.values.follow(torch.ones(1, 1))

    def policy(self) -> NetworkPolicy:
        """Return the greedy policy in NumPy."""
        weights, biases = layers_of(self.values)
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
