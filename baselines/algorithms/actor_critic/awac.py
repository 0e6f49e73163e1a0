r"""AWAC: advantage-weighted actor-critic (Nair et al. 2020, arXiv 2006.09359).

Critics, two of them, are those of the current policy; the policy is regressed on the data with exponential advantage
weights:

.. math::
    y &= r + \gamma (1 - d) \min_k Q'_k(s', a'), \quad a' \sim \pi(\cdot | s') \\
    L(Q) &= \sum_k E \, (Q_k(s, a) - y)^2 \\
    L(\pi) &= -E \, \min(e^{A(s, a) / \lambda}, 100) \log \pi(a | s), \quad
    A(s, a) = \min_k Q_k(s, a) - \min_k Q_k(s, \tilde a), \quad \tilde a \sim \pi(\cdot | s)

The policy is a Gaussian with a linear mean and state-independent log standard deviations clipped to [-20, 2]; its samples
are clipped to [-1, 1], and it acts by its clipped mean.

Deviations: none from CORL's `awac.py`, the default of lambda being that of its locomotion configurations (1/3; mazes and
dexterous hands 0.1), not of its code (1); `awac.json` has all of them. The value of a state is one sample's. d3rlpy instead takes a softmax of the
advantages over a batch of 1,024, which divides the weights by their mean and does not clip them. A truncation bootstraps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field

from assay.baselines.algorithms.algorithm import Algorithm, DatasetWeights, Losses, Memory, Phase, Setting
from assay.baselines.algorithms.distributions import gaussian_log_probability
from assay.baselines.engine.acting import EpisodeDraws
from assay.baselines.engine.data import RewardScale
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import MLP, FixedNetwork
from assay.datasets.registry import Widths, register

__all__ = ["AWAC"]

_LARGEST_WEIGHT = 100.0
_LOG_STD_RANGE = (-20.0, 2.0)


@register("awac", label="AWAC")
class AWAC(Algorithm):
    """Advantage-weighted actor-critic, with CORL's defaults for locomotion; `values_for` gives those of mazes and hands.

    Examples
    --------
    >>> AWAC(temperature=0.1).temperature
    0.1
    """

    valued_by: ClassVar[tuple[str, ...]] = ("critic",)
    later_fields: ClassVar[tuple[str, ...]] = ("reward_scale",)

    temperature: float = Field(0.3333, gt=0)  # lambda, which divides the advantages; large is cloning
    discount: float = Field(0.99, ge=0, le=1)
    target_update_rate: float = Field(0.005, ge=0, le=1)
    actor_learning_rate: float = Field(3e-4, gt=0)
    critic_learning_rate: float = Field(3e-4, gt=0)
    return_steps: int = Field(1, gt=0)  # n of n-step returns
    batch_size: int = Field(256, gt=0)  # transitions per update
    hidden: Widths = (256, 256, 256)  # widths of the hidden layers
    reward_scale: RewardScale = "recorded"  # what rewards are learned from: recorded, return_range or minus_one
    normalize_observations: bool = True  # (s - mean) / (std + 1e-3) over the dataset
    dataset_weights: DatasetWeights = "draws"  # how the dataset's weights count: draws, losses or batch_losses

    def networks(self, shapes: Shapes) -> dict[str, MLP]:  # noqa: D102
        return {
            "critic": MLP(
                shapes.observation_size + shapes.action_size,
                1,
                self.hidden,
                learning_rate="critic_learning_rate",
                ensemble=2,
                target=True,
            ),
            "actor": MLP(
                shapes.observation_size,
                shapes.action_size,
                self.hidden,
                learning_rate="actor_learning_rate",
                state_independent=shapes.action_size,
            ),
        }

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return Phase(critic_loss), Phase(actor_loss, follow=("critic",))

    def act(
        self,
        networks: Mapping[str, FixedNetwork],
        observations: torch.Tensor,
        memory: Memory,
        draws: EpisodeDraws,
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """Return the clipped means."""
        return networks["actor"](observations, weights="frozen").clamp(-1.0, 1.0), {}


def critic_loss(setting: Setting) -> Losses:
    """Squared temporal-difference error against the smaller target critic, summed over both critics."""
    networks, batch, h = setting.networks, setting.batch, setting.hyperparameters
    with torch.no_grad():
        next_actions = _sampled_actions(setting, batch.next_observations, "target actions")
        next_inputs = torch.cat([batch.next_observations, next_actions], -1)
        next_values = networks["critic"](next_inputs, weights="target").squeeze(-1).amin(1)  # [P, K, B] -> [P, B]
        targets = batch.rewards + h.discount * batch.bootstraps * next_values
    values = networks["critic"](torch.cat([batch.observations, batch.actions], -1)).squeeze(-1)  # [P, K, B]
    loss = batch.mean((values - targets[:, None]).square()).sum(1)  # [P]
    return Losses({"critic": loss}, {"critic_loss": loss, "q_mean": values.mean((1, 2))})


def actor_loss(setting: Setting) -> Losses:
    """Negative log probability of the data, weighted by exponential advantages."""
    networks, batch, h = setting.networks, setting.batch, setting.hyperparameters
    with torch.no_grad():
        policy_actions = _sampled_actions(setting, batch.observations, "policy actions")
        both = torch.cat([batch.actions, policy_actions], 1)  # [P, 2 B, action]
        inputs = torch.cat([batch.observations.repeat(1, 2, 1), both], -1)
        data_values, policy_values = networks["critic"](inputs, weights="frozen").squeeze(-1).amin(1).chunk(2, -1)
        advantages = data_values - policy_values  # [P, B]
        weights = torch.exp(advantages / h.temperature).clamp(max=_LARGEST_WEIGHT)
    means = networks["actor"](batch.observations)  # [P, B, action]
    log_std = networks["actor"].state_independent.clamp(*_LOG_STD_RANGE)  # [P, 1, action]
    loss = -batch.mean(weights * gaussian_log_probability(batch.actions, means, log_std))
    return Losses({"actor": loss}, {"actor_loss": loss, "advantage_mean": advantages.mean(-1)})


def _sampled_actions(setting: Setting, observations: torch.Tensor, purpose: str) -> torch.Tensor:
    """Return actions [P, B, action] of the policy, clipped; without gradients."""
    actor = setting.networks["actor"]
    means = actor(observations, weights="frozen")
    std = torch.exp(actor.state_independent.clamp(*_LOG_STD_RANGE))
    return (means + std * setting.draws.normal(purpose, *means.shape[1:])).clamp(-1.0, 1.0)
