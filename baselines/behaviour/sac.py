r"""Soft actor-critic with automatic temperature (Haarnoja et al. 2018, arXiv 1812.05905), for bounded continuous actions.

After every step in the environment one update on a batch of the replay, in the order of algorithm 1. With a
tanh-Gaussian policy (appendix C), two critics and their slowly following copies,

.. math::
    y &= r + \gamma (1 - d) (\min_k Q'_k(s', a') - \alpha \log \pi(a' | s')), \quad a' \sim \pi(\cdot | s') \\
    L(Q) &= \sum_k E \, (Q_k(s, a) - y)^2 \\
    L(\pi) &= E \, (\alpha \log \pi(\tilde a | s) - \min_k Q_k(s, \tilde a)), \quad \tilde a \sim \pi(\cdot | s) \\
    L(\alpha) &= -\log \alpha \; E \, (\log \pi(\tilde a | s) + \bar H), \quad \bar H = -|A|

and d is 1 at terminations only: a truncation bootstraps. The first `random_steps` actions are uniform and nothing is
learned before they are over.

Deviations: the temperature's loss uses log alpha in place of alpha, as the authors' code does, and the policy's sample of
the same update; the critics' loss carries no factor 1/2. The log standard deviations are clipped to [-20, 2], as in the
authors' code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from assay.baselines.algorithms.distributions import TanhGaussian
from assay.baselines.behaviour.interaction import (
    Checkpoint,
    OnlineTraining,
    Replay,
    alone,
    flat_size,
    layers_of,
    tensor,
    train_online,
)
from assay.baselines.engine.randomness import Draws
from assay.baselines.networks import MLP, Network, Scalars
from assay.datasets.collection.network_policy import LOG_STD_RANGE, NetworkPolicy
from assay.datasets.errors import ConfigError

__all__ = ["SACConfig", "train_sac"]


@dataclass(frozen=True, kw_only=True)
class SACConfig:
    """Settings of `train_sac`; the defaults are those of the paper's table 1.

    Examples
    --------
    >>> SACConfig(discount=0.98).batch_size
    256
    """

    discount: float = Field(default=0.99, ge=0, le=1)
    target_update_rate: float = Field(default=0.005, ge=0, le=1)
    learning_rate: float = Field(default=3e-4, gt=0)
    """Of policy, critics and temperature alike."""
    batch_size: int = Field(default=256, ge=1)
    """Transitions per update."""
    hidden: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers."""
    replay_size: int = Field(default=1_000_000, ge=1)
    """Latest steps that batches are drawn from; all steps are kept."""
    random_steps: int = Field(default=5_000, ge=0)
    """Steps with uniform actions before learning begins."""
    evaluation_interval: int = Field(default=5_000, ge=1)
    """Steps between two kept checkpoints."""
    evaluation_episodes: int = Field(default=10, ge=1)
    """Greedy episodes that each checkpoint is evaluated on, always from the same seeds."""


def train_sac(
    environment_id: str,
    config: SACConfig | None = None,
    *,
    seed: int = 0,
    steps: int = 200_000,
    target_return: float | None = None,
    progress: Callable[[int, Checkpoint | None], None] | None = None,
) -> OnlineTraining:
    """Train a tanh-Gaussian policy by soft actor-critic, on one thread.

    Parameters
    ----------
    environment_id
        Gymnasium id; a Box of observations (which is flattened) and a flat bounded Box of actions.
    config
        Settings; None takes the defaults.
    seed
        Keys every random draw. The same seed gives the same result on the same machine.
    steps
        Environment steps, and updates but for the random ones at first.
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
    >>> config = SACConfig(hidden=(8,), batch_size=8, random_steps=20, evaluation_episodes=1)
    >>> training = train_sac("Pendulum-v1", config, steps=30)
    >>> [checkpoint.steps for checkpoint in training.checkpoints], training.replay.total_steps
    ([0, 30], 30)
    """
    config = config or SACConfig()
    (training,) = train_online(
        environment_id,
        config,
        lambda observations, actions: SoftActorCritic(config, observations, actions, seed),
        "SAC",
        seeds=[seed],
        steps=steps,
        target_return=target_return,
        progress=alone(progress),
    )
    return training


class SoftActorCritic:
    """The networks of one training, and what it does at every step. Tensors are [1, B, ...]: a population of one."""

    def __init__(self, config: SACConfig, observation_space: Any, action_space: Any, seed: int) -> None:
        observation_size = flat_size(observation_space, "SAC")
        if type(action_space).__name__ != "Box" or len(action_space.shape) != 1 or not action_space.is_bounded():
            raise ConfigError(f"SAC needs a flat Box of bounded actions, not {action_space}; dqn takes discrete ones")
        self.config, self.space = config, action_space
        self.action_size = int(action_space.shape[0])
        self.update = torch.zeros(1, dtype=torch.int64)
        self.draws = Draws([seed], self.update)
        rate = "learning_rate"
        inputs = observation_size + self.action_size
        self.temperature = Network("temperature", Scalars(learning_rate=rate), self.draws)  # log alpha
        self.actor = Network(
            "actor", MLP(observation_size, 2 * self.action_size, config.hidden, learning_rate=rate), self.draws
        )
        self.critic = Network(
            "critic", MLP(inputs, 1, config.hidden, learning_rate=rate, ensemble=2, target=True), self.draws
        )
        self.rate = torch.tensor([[config.learning_rate]])
        self.follow_rate = torch.tensor([[config.target_update_rate]])
        low, high = action_space.low.astype(np.float64), action_space.high.astype(np.float64)
        self.middle, self.half = (high + low) / 2, (high - low) / 2

    def act(self, observations: NDArray[Any], step: int) -> NDArray[Any]:
        """Draw from the policy, or uniformly at first."""
        if step < self.config.random_steps:
            actions = 2.0 * self.draws.uniform("random actions", 1, self.action_size) - 1.0
        else:
            with torch.no_grad():
                state = tensor(observations.reshape(1, -1))
                actions, _ = policy(self.actor(state, weights="frozen")).sample(self.draws, "actions")
        scaled = self.middle + self.half * actions[0, 0].numpy()
        # Rounding must not leave the bounds.
        chosen: NDArray[Any] = np.clip(scaled, self.space.low, self.space.high).astype(self.space.dtype)
        return chosen[None]

    def learn(self, replays: Sequence[Replay]) -> None:
        """Take one step with critics, policy and temperature."""
        config, (replay,) = self.config, replays
        if replay.steps <= config.random_steps:
            return
        window = min(replay.steps, config.replay_size)
        drawn = self.draws.integers("batch", torch.tensor([window]), config.batch_size)[0].numpy()
        batch = replay.batch(replay.steps - window + drawn)
        observations, next_observations = (tensor(each.reshape(len(drawn), -1)) for each in (batch[0], batch[3]))
        actions = tensor((batch[1] - self.middle) / self.half)
        rewards, terminations = tensor(batch[2]), tensor(batch[4])
        alpha = self.temperature.state_independent.detach()[:, 0].exp()  # [1, 1]

        targets = soft_targets(
            self.actor, self.critic, self.draws, alpha, config.discount, rewards, next_observations, terminations
        )
        values = self.critic(torch.cat([observations, actions], -1)).squeeze(-1)  # [1, 2, B]
        self.critic.descend((values - targets[:, None]).square().mean(-1).sum(), self.rate)

        proposed, log_probability = policy(self.actor(observations)).sample(self.draws, "policy actions")
        worth = self.critic(torch.cat([observations, proposed], -1), weights="frozen").squeeze(-1).amin(1)  # [1, B]
        self.actor.descend((alpha * log_probability - worth).mean(-1).sum(), self.rate)

        excess = (log_probability.detach() - self.action_size).mean(-1)  # of the target entropy over the entropy
        self.temperature.descend(-(self.temperature.state_independent[:, 0, 0] * excess).sum(), self.rate)
        self.critic.follow(self.follow_rate)

    def policy(self, member: int = 0) -> NetworkPolicy:
        """Return the policy in NumPy, acting by the tanh of its mean."""
        weights, biases = layers_of(self.actor, member)
        return NetworkPolicy(weights, biases, "tanh_gaussian", self.space.low, self.space.high)


def policy(outputs: torch.Tensor) -> TanhGaussian:
    """Return the distribution that the actor's outputs [1, B, 2 action] stand for."""
    mean, log_std = outputs.chunk(2, -1)
    return TanhGaussian(mean, log_std.clamp(*LOG_STD_RANGE))


@torch.no_grad()
def soft_targets(
    actor: Network,
    critic: Network,
    draws: Draws,
    alpha: torch.Tensor,
    discount: float,
    rewards: torch.Tensor,
    next_observations: torch.Tensor,
    terminations: torch.Tensor,
) -> torch.Tensor:
    """Return what the critics regress, y [1, B]; terminations are 1 where the MDP ended."""
    next_actions, log_probability = policy(actor(next_observations, weights="frozen")).sample(draws, "target actions")
    inputs = torch.cat([next_observations, next_actions], -1)
    next_values = critic(inputs, weights="target").squeeze(-1).amin(1) - alpha * log_probability
    targets: torch.Tensor = rewards + discount * (1.0 - terminations) * next_values
    return targets
