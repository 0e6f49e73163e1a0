r"""FQL: flow Q-learning (Park, Li & Levine 2025, arXiv 2502.02538).

A flow clones the data's actions; a one-step policy is distilled from it and climbs the critic, so that no gradient passes
through the flow (algorithm 1):

.. math::
    L(v) &= \text{flow matching on } D \\
    L(Q) &= E \, \tfrac{1}{K} \sum_k (r + \gamma (1 - d) \operatorname{mean}_j Q'_j(s', \mu(s', z)) - Q_k(s, a))^2 \\
    L(\mu) &= E \, [-\operatorname{mean}_k Q_k(s, \mu(s, z)) + \alpha \lVert \mu(s, z) - \mu_v(s, z) \rVert^2 / d_a],
    \quad z \sim N(0, I)

where mu_v(s, z) is what ten Euler steps of the flow make of the same noise. All losses are on the networks as they were.

The defaults are those of the authors' code (`agents/fql.py`): four layers of 512, GELU, layer norm in the critics, Adam
3e-4, batch 256, alpha 10, which they tune for each environment (OGBench 3 to 1000, D4RL antmaze 3 or 10, Adroit 1000 to
30000).

Deviations from the authors' code: layer norm adds 1e-5 to the variance, not 1e-6; the noises of critic, flow and
distillation are the member's own draws. Observations are not normalized, as there.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import ClassVar, Literal, cast

import torch
from pydantic import Field

from assay.baselines.algorithms.algorithm import Algorithm, Losses, Memory, Phase, Setting
from assay.baselines.algorithms.generative.flows import flow_actions, flow_matching_loss
from assay.baselines.engine.acting import EpisodeDraws
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import MLP, FixedNetwork, Specification
from assay.datasets.registry import Widths, register

__all__ = ["FQL"]


@register("fql", label="FQL")
class FQL(Algorithm):
    """Flow Q-learning, with the published defaults.

    Examples
    --------
    >>> FQL(alpha=300.0).flow_steps
    10
    """

    acting: ClassVar[tuple[str, ...]] = ("policy",)
    valued_by: ClassVar[tuple[str, ...]] = ("critic",)

    alpha: float = Field(10.0, ge=0)  # weight of the distillation; to be tuned for each environment
    discount: float = Field(0.99, ge=0, le=1)
    return_steps: int = Field(1, gt=0)  # n of n-step returns
    target_update_rate: float = Field(0.005, ge=0, le=1)
    learning_rate: float = Field(3e-4, gt=0)  # of Adam, for all networks
    batch_size: int = Field(256, gt=0)  # transitions per update
    hidden: Widths = (512, 512, 512, 512)  # widths of the hidden layers
    critic_layer_norm: bool = True
    actor_layer_norm: bool = False
    flow_steps: int = Field(default=10, gt=0)  # Euler steps from noise to an action
    value_aggregation: Literal["mean", "min"] = "mean"  # of the target critics
    normalize_values: bool = False  # divide the policy's value by its mean magnitude
    normalize_observations: bool = False  # (s - mean) / (std + 1e-3) over the dataset

    def networks(self, shapes: Shapes) -> dict[str, Specification]:  # noqa: D102
        observation, action = shapes.observation_size, shapes.action_size
        network = partial(MLP, hidden=self.hidden, learning_rate="learning_rate", activation="gelu", xavier=True)
        return {
            "critic": network(observation + action, 1, layer_norm=self.critic_layer_norm, ensemble=2, target=True),
            "flow": network(observation + action + 1, action, layer_norm=self.actor_layer_norm),
            "policy": network(observation + action, action, layer_norm=self.actor_layer_norm),
        }

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return (Phase(self.losses, follow=("critic",)),)

    def act(
        self,
        networks: Mapping[str, FixedNetwork],
        observations: torch.Tensor,
        memory: Memory,
        draws: EpisodeDraws,
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """Return what the one-step policy makes of noise."""
        noise = draws.normal("policy noise", cast(MLP, networks["policy"].spec).outputs)
        return one_step(networks["policy"], observations, noise, "frozen").clamp(-1.0, 1.0), {}

    def losses(self, setting: Setting) -> Losses:
        """Compute the three losses on the networks as they are before the update."""
        networks, batch, h = setting.networks, setting.batch, setting.hyperparameters
        flow_loss = flow_matching_loss(setting, "flow")
        critic_loss, q_mean = self.critic_loss(setting)

        noise = setting.draws.normal("policy noise", *batch.actions.shape[1:])
        cloned = flow_actions(networks["flow"], batch.observations, noise, self.flow_steps)
        actions = one_step(networks["policy"], batch.observations, noise, "learned")  # [P, B, action]
        distillation = (actions - cloned).square().mean((1, 2))
        inputs = torch.cat([batch.observations, actions.clamp(-1.0, 1.0)], -1)
        values = networks["critic"](inputs, weights="frozen").squeeze(-1).mean(1)  # [P, K, B] -> [P, B]
        value = values.mean(-1)
        if self.normalize_values:
            value = value / values.detach().abs().mean(-1)
        policy_loss = h.alpha[:, 0] * distillation - value

        metrics = {
            "critic_loss": critic_loss,
            "flow_loss": flow_loss,
            "policy_loss": policy_loss,
            "distillation_loss": distillation,
            "q_mean": q_mean,
        }
        return Losses({"critic": critic_loss, "flow": flow_loss, "policy": policy_loss}, metrics)

    def critic_loss(self, setting: Setting) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the squared temporal-difference error [P], averaged over both critics, and the mean value [P]."""
        networks, batch, h = setting.networks, setting.batch, setting.hyperparameters
        with torch.no_grad():
            noise = setting.draws.normal("target noise", *batch.actions.shape[1:])
            next_actions = one_step(networks["policy"], batch.next_observations, noise, "frozen").clamp(-1.0, 1.0)
            next_inputs = torch.cat([batch.next_observations, next_actions], -1)
            next_values = networks["critic"](next_inputs, weights="target").squeeze(-1)  # [P, K, B]
            next_values = next_values.mean(1) if self.value_aggregation == "mean" else next_values.amin(1)
            targets = batch.rewards + h.discount * batch.bootstraps * next_values
        values = networks["critic"](torch.cat([batch.observations, batch.actions], -1)).squeeze(-1)
        return (values - targets[:, None]).square().mean((1, 2)), values.mean((1, 2))


def one_step(
    policy: FixedNetwork, observations: torch.Tensor, noise: torch.Tensor, weights: Literal["learned", "frozen"]
) -> torch.Tensor:
    """Return the actions [P, n, action] that the one-step policy makes of noise."""
    return policy(torch.cat([observations, noise], -1), weights=weights)
