r"""IQL with a Lagrange multiplier: implicit Q-learning of rewards less costs, whose price is learned.

What costs are worth is not known beforehand. IQL (Kostrikov, Nair & Levine 2021, arXiv 2110.06169) learns from penalized rewards, and the price lambda
rises while the policy costs more than the limit, as in reward-constrained policy optimization (Tessler, Mankowitz & Mannor 2018, arXiv
1805.11074, equations 8 to 10). With the limit l of discounted costs (see `multiplier`), and the action pi(s) that the policy acts by,

.. math::
    r_\lambda &= (r - \lambda c) / (1 + \lambda) \\
    L(Q_c) &= \tfrac{1}{K} \sum_k E \, (c + \gamma (1 - d) \max_j Q'_{c,j}(s', \pi(s')) - Q_{c,k}(s, a))^2 \\
    L(\lambda) &= -\lambda \, (E \max_k Q_{c,k}(s, \pi(s)) - l), \quad 0 \le \lambda \le \text{bound}

and everything else is `iql` with :math:`r_\lambda` in place of r.

A reference, as BCQ-Lag and BEAR-Lag are in DSRL (Liu et al. 2023, arXiv 2306.09303): nobody published this combination or settings for it. As theirs, it
takes the expected cost over the states of the data, not over first states. So it also counts states in which costs cannot be avoided any more,
and the price is higher than the limit asks for. Their multiplier is that of a PID controller; here it follows by Adam.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from pydantic import Field

from assay.baselines.algorithms.actor_critic.iql import IQL
from assay.baselines.algorithms.actor_critic.iql import losses as iql_losses
from assay.baselines.algorithms.algorithm import FIRST, Losses, Phase, Setting
from assay.baselines.algorithms.safe.multiplier import discounted_limit, multiplier, multiplier_loss
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import MLP, Scalars, Specification
from assay.datasets.registry import register

__all__ = ["IQLLag"]


@register("iql_lag", label="IQL-Lag")
class IQLLag(IQL):
    """IQL with a price on costs that is learned; the data needs a column `costs`.

    Examples
    --------
    >>> IQLLag(cost_limit=5.0).expectile
    0.7
    """

    extra_columns: ClassVar[tuple[str, ...]] = ("costs",)
    discrete_actions: ClassVar[bool] = False
    later_fields: ClassVar[tuple[str, ...]] = ()

    discount: float = Field(0.99, ge=0, lt=1)
    cost_limit: float = Field(default=10.0, ge=0)  # of an episode, undiscounted
    episode_length: int = Field(default=300, gt=0)  # T, steps of an episode that the limit is spread over
    multiplier_learning_rate: float = Field(default=1e-3, gt=0)
    multiplier_bound: float = Field(default=100.0, ge=0)  # of lambda

    def networks(self, shapes: Shapes) -> dict[str, Specification]:  # noqa: D102
        inputs = shapes.observation_size + shapes.action_size
        cost_critic = MLP(inputs, 1, self.hidden, learning_rate="critic_learning_rate", ensemble=2, target=True)
        return {
            **super().networks(shapes),
            "cost_critic": cost_critic,
            "multiplier": Scalars(learning_rate="multiplier_learning_rate"),  # lambda
        }

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return (Phase(self.losses, follow=("critic", "cost_critic")),)

    def losses(self, setting: Setting) -> Losses:
        """Compute all losses on the networks as they are before the update."""
        batch, h = setting.batch, setting.hyperparameters
        price = multiplier(setting, h.multiplier_bound)  # [P, 1]
        columns = {**batch.columns, "rewards": (batch.rewards - price * batch["costs"]) / (1.0 + price)}
        penalized = replace(setting, batches={**setting.batches, FIRST: replace(batch, columns=columns)})
        found = iql_losses(penalized)
        cost_loss, expected = cost_critic_loss(setting)
        excess = (expected - discounted_limit(h.cost_limit, h.discount, self.episode_length)[:, 0]).detach()
        price_loss = multiplier_loss(setting, excess, h.multiplier_bound)
        metrics = {"cost_critic_loss": cost_loss, "policy_cost": expected, "multiplier": price[:, 0]}
        return Losses({**found.of, "cost_critic": cost_loss, "multiplier": price_loss}, {**found.metrics, **metrics})


def cost_critic_loss(setting: Setting) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss of the cost critics, which value the policy's actions, and what they expect of it, [P] each."""
    networks, batch, h = setting.networks, setting.batch, setting.hyperparameters
    with torch.no_grad():
        following = torch.cat(
            [batch.next_observations, networks["actor"](batch.next_observations, weights="frozen")], -1
        )
        next_costs = networks["cost_critic"](following, weights="target").squeeze(-1).amax(1)
        targets = batch["costs"] + h.discount * batch.bootstraps * next_costs
        own = torch.cat([batch.observations, networks["actor"](batch.observations, weights="frozen")], -1)
        expected = networks["cost_critic"](own, weights="frozen").squeeze(-1).amax(1).mean(-1)
    critics = networks["cost_critic"](torch.cat([batch.observations, batch.actions], -1)).squeeze(-1)
    return batch.mean((critics - targets[:, None]).square(), (1, 2)), expected
