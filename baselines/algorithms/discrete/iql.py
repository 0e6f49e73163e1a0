r"""Discrete IQL: implicit Q-learning with one value per action (Kostrikov, Nair & Levine 2021, arXiv 2110.06169).

A state value follows an upper expectile of two critics at the data's actions, the critics bootstrap on it, and the policy
is regressed on the data with exponential advantage weights (equations 5 to 7):

.. math::
    L(V) &= E \, |\tau - 1[u < 0]| \, u^2, \quad u = \min_k Q'_k(s, a) - V(s) \\
    L(Q) &= E \, \tfrac{1}{2} \sum_k (r + \gamma (1 - d) V(s') - Q_k(s, a))^2 \\
    L(\pi) &= -E \, \min(e^{T u}, 100) \log \pi(a | s)

No action outside the data is ever valued. All losses see the networks as they were; the policy takes its likeliest action.
Expectile 0.5 values the behaviour policy. (`IQL` takes discrete actions too: there they are inputs of the critics.)

The defaults are those of the generalization-gap study (Mediratta et al. 2024, arXiv 2312.05742): T = 3, tau = 0.8, Adam
5e-4, batch 512, a hard target copy every 100 updates. The Dataset Perspective study (Schweighofer et al. 2022, arXiv
2111.04714) has no IQL; `DiscreteIQL.dataset_perspective()` is this one with its networks, Adam 1e-4 and batches of 128.

Deviations: the encoders are those of `networks.encoder`, not ResNets, one for each network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field

from assay.baselines.algorithms.algorithm import Losses, Memory, Phase, Setting
from assay.baselines.algorithms.discrete.action_values import (
    BootstrappedActionValues,
    action_values,
    of_taken,
    outputs_of,
    with_encoders,
)
from assay.baselines.engine.acting import EpisodeDraws
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import FixedNetwork, Specification
from assay.datasets.registry import Widths, register

__all__ = ["DiscreteIQL"]

_LARGEST_WEIGHT = 100.0


@register("discrete_iql", label="IQL (discrete)")
class DiscreteIQL(BootstrappedActionValues):
    """Implicit Q-learning of discrete actions.

    Examples
    --------
    >>> DiscreteIQL(expectile=0.9).temperature
    3.0
    """

    acting: ClassVar[tuple[str, ...]] = ("actor", "actor_encoder")

    expectile: float = Field(0.8, gt=0, lt=1)  # tau; nearer to 1 is nearer to the best action in the data
    temperature: float = Field(3.0, ge=0)  # T, inverse temperature of the advantage weights; 0 is cloning
    learning_rate: float = Field(default=5e-4, gt=0, kw_only=True)  # of Adam, for every network
    batch_size: int = Field(default=512, gt=0, kw_only=True)  # transitions per update
    hidden: Widths = Field(default=(256, 256), kw_only=True)  # widths of the hidden layers
    activation: Literal["relu", "selu"] = Field(default="relu", kw_only=True)

    def networks(self, shapes: Shapes) -> dict[str, Specification]:  # noqa: D102
        return {
            **self.network(shapes, "value", 1),
            **self.network(shapes, "critic", shapes.action_size, ensemble=2, **self.followed),
            **self.network(shapes, "actor", shapes.action_size),
        }

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return (Phase(losses, follow="trained"),)

    def act(
        self, networks: Mapping[str, FixedNetwork], observations: Any, memory: Memory, draws: EpisodeDraws
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """Return the policy's logits; the largest is taken."""
        return outputs_of(networks, "actor", observations, "frozen"), {}

    def all_values(self, networks: Mapping[str, FixedNetwork], observations: Any) -> torch.Tensor:  # noqa: D102
        return action_values(networks, observations, "frozen")


def losses(setting: Setting) -> Losses:
    """Compute the three losses on the networks as they are before the update."""
    networks, batch, h = setting.networks, setting.batch, setting.hyperparameters
    taken = batch.actions[:, None]  # [P, 1, B, actions]
    with torch.no_grad():
        target_values = of_taken(action_values(networks, batch.seen, "target"), taken).amin(1)  # [P, B]
        next_values = outputs_of(networks, "value", batch.next_seen, "frozen").squeeze(-1)
        targets = batch.rewards + h.discount * batch.bootstraps * next_values

    values = outputs_of(networks, "value", batch.seen, "learned").squeeze(-1)  # [P, B]
    advantages = target_values - values
    asymmetry = torch.where(advantages < 0, 1.0 - h.expectile, h.expectile)
    value_loss = (asymmetry * advantages.square()).mean(-1)

    critics = of_taken(action_values(networks, batch.seen, "learned"), taken)  # [P, K, B]
    critic_loss = (critics - targets[:, None]).square().mean((1, 2))

    weights = torch.exp(h.temperature * advantages.detach()).clamp(max=_LARGEST_WEIGHT)
    log_policy = torch.log_softmax(outputs_of(networks, "actor", batch.seen, "learned"), -1)
    actor_loss = -(weights * of_taken(log_policy, batch.actions)).mean(-1)

    metrics = {
        "value_loss": value_loss,
        "critic_loss": critic_loss,
        "actor_loss": actor_loss,
        "q_mean": critics.mean((1, 2)),
        "advantage_mean": advantages.mean(-1),
    }
    return Losses(with_encoders(setting, {"value": value_loss, "critic": critic_loss, "actor": actor_loss}), metrics)
