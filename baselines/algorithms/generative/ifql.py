r"""IFQL: implicit flow Q-learning, IDQL with a flow in place of diffusion.

IDQL (Hansen-Estruch et al. 2023, arXiv 2304.10573) trains IQL's critics and value without looking at the policy, clones the
data's actions with a generative model, and acts by the best of N samples of it:

.. math::
    L(V) &= E \, |\tau - 1[u < 0]| \, u^2, \quad u = \min_k Q'_k(s, a) - V(s) \\
    L(Q) &= E \, \sum_k (r + \gamma (1 - d) V(s') - Q_k(s, a))^2 \\
    L(v) &= \text{flow matching on } D \\
    \pi(s) &= \arg\max_{a_i} \min_k Q_k(s, a_i), \quad a_1, \ldots, a_N \text{ from the flow}

Park, Li & Levine 2025 (arXiv 2502.02538) use it as a baseline of flow Q-learning; the defaults are those of their
`agents/ifql.py`: four layers of 512, GELU, layer norm in critics and value, expectile 0.9, N = 32, ten Euler steps. All
losses are on the networks as they were.

Deviations from that code: layer norm adds 1e-5 to the variance, not 1e-6; the draws are the member's own. IDQL's own
diffusion model, its advantage-weighted sampling and its settings per domain are not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import ClassVar, cast

import torch
from pydantic import Field

from assay.baselines.algorithms.algorithm import Algorithm, Losses, Memory, Phase, Setting
from assay.baselines.algorithms.generative.flows import flow_actions, flow_matching_loss
from assay.baselines.engine.acting import EpisodeDraws
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import MLP, FixedNetwork, Specification
from assay.datasets.registry import Widths, register

__all__ = ["IFQL"]


@register("ifql", label="IFQL")
class IFQL(Algorithm):
    """Implicit flow Q-learning, with the published defaults.

    Examples
    --------
    >>> IFQL(samples=8).expectile
    0.9
    """

    acting: ClassVar[tuple[str, ...]] = ("flow", "critic")
    valued_by: ClassVar[tuple[str, ...]] = ("critic",)

    expectile: float = Field(0.9, gt=0, lt=1)  # tau; nearer to 1 is nearer to the best action in the data
    discount: float = Field(0.99, ge=0, le=1)
    return_steps: int = Field(1, gt=0)  # n of n-step returns
    target_update_rate: float = Field(0.005, ge=0, le=1)
    learning_rate: float = Field(3e-4, gt=0)  # of Adam, for all networks
    batch_size: int = Field(256, gt=0)  # transitions per update
    hidden: Widths = (512, 512, 512, 512)  # widths of the hidden layers
    critic_layer_norm: bool = True  # of the value, too
    actor_layer_norm: bool = False
    flow_steps: int = Field(default=10, gt=0)  # Euler steps from noise to an action
    samples: int = Field(default=32, gt=0)  # N, actions that the critics choose from
    normalize_observations: bool = False  # (s - mean) / (std + 1e-3) over the dataset

    def networks(self, shapes: Shapes) -> dict[str, Specification]:  # noqa: D102
        observation, action = shapes.observation_size, shapes.action_size
        network = partial(MLP, hidden=self.hidden, learning_rate="learning_rate", activation="gelu", xavier=True)
        return {
            "value": network(observation, 1, layer_norm=self.critic_layer_norm),
            "critic": network(observation + action, 1, layer_norm=self.critic_layer_norm, ensemble=2, target=True),
            "flow": network(observation + action + 1, action, layer_norm=self.actor_layer_norm),
        }

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return (Phase(losses, follow=("critic",)),)

    def act(
        self,
        networks: Mapping[str, FixedNetwork],
        observations: torch.Tensor,
        memory: Memory,
        draws: EpisodeDraws,
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """Return the best of N sampled actions by the smaller critic."""
        members, n = observations.shape[:2]
        size = cast(MLP, networks["flow"].spec).outputs
        noise = draws.normal("flow noise", self.samples, size).reshape(members, n * self.samples, size)
        states = observations.repeat_interleave(self.samples, 1)
        candidates = flow_actions(networks["flow"], states, noise, self.flow_steps)
        values = self.values(networks, states, candidates).amin(1).view(members, n, self.samples)
        best = values.argmax(-1)[..., None, None].expand(-1, -1, 1, size)
        return candidates.view(members, n, self.samples, size).gather(2, best).squeeze(2), {}


def losses(setting: Setting) -> Losses:
    """Compute the three losses on the networks as they are before the update."""
    networks, batch, h = setting.networks, setting.batch, setting.hyperparameters
    inputs = torch.cat([batch.observations, batch.actions], -1)
    with torch.no_grad():
        target_values = networks["critic"](inputs, weights="target").squeeze(-1).amin(1)  # [P, B]
        next_values = networks["value"](batch.next_observations, weights="frozen").squeeze(-1)  # [P, B]
        targets = batch.rewards + h.discount * batch.bootstraps * next_values

    values = networks["value"](batch.observations).squeeze(-1)  # [P, B]
    advantages = target_values - values
    asymmetry = torch.where(advantages < 0, 1.0 - h.expectile, h.expectile)
    value_loss = (asymmetry * advantages.square()).mean(-1)

    critics = networks["critic"](inputs).squeeze(-1)  # [P, K, B]
    critic_loss = (critics - targets[:, None]).square().mean(-1).sum(1)
    flow_loss = flow_matching_loss(setting, "flow")

    metrics = {
        "value_loss": value_loss,
        "critic_loss": critic_loss,
        "flow_loss": flow_loss,
        "q_mean": critics.mean((1, 2)),
        "advantage_mean": advantages.mean(-1),
    }
    return Losses({"value": value_loss, "critic": critic_loss, "flow": flow_loss}, metrics)
