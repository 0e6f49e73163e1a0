r"""IQL: implicit Q-learning (Kostrikov, Nair & Levine 2021, arXiv 2110.06169).

A state value follows an upper expectile of the critics (equation 5), the critics bootstrap on it (equation 6), and the
policy is regressed on the data with exponential advantage weights (equation 7):

.. math::
    L(V) &= E \, |\tau - 1[u < 0]| \, u^2, \quad u = \min_k Q'_k(s, a) - V(s) \\
    L(Q) &= E \, \tfrac{1}{K} \sum_k (r + \gamma (1 - d) V(s') - Q_k(s, a))^2 \\
    L(\pi) &= -E \, \min(e^{\beta u}, 100) \log \pi(a | s)

The policy is a Gaussian with tanh mean and state-independent log standard deviations clipped to [-20, 2], and acts by
its mean. The actor's learning rate follows a cosine to zero. Of discrete actions, the critics see the action as an entry each, and the
policy is a softmax, trained by the same weights on log pi(a | s), that takes the likeliest one.

Deviations: none from CORL's `iql.py`, whose choices differ from the original JAX code in that observations are
normalized and rewards are not (github.com/tinkoff-ai/CORL/issues/33), and all three losses use the networks as they
were before the update. A truncation bootstraps; a termination does not.
"""

from __future__ import annotations

from typing import Any, ClassVar, cast

import torch
from pydantic import Field

from assay.baselines.algorithms.algorithm import Algorithm, DatasetWeights, Losses, Phase, Setting
from assay.baselines.algorithms.distributions import gaussian_log_probability
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import MLP
from assay.baselines.networks.network import Network
from assay.datasets.registry import Widths, register

__all__ = ["IQL"]

_LARGEST_WEIGHT = 100.0
_LOG_STD_RANGE = (-20.0, 2.0)


@register("iql", label="IQL")
class IQL(Algorithm):
    """Implicit Q-learning, with the published defaults for locomotion (antmaze: expectile 0.9, temperature 10).

    Examples
    --------
    >>> IQL(expectile=0.9).expectile
    0.9
    """

    valued_by: ClassVar[tuple[str, ...]] = ("critic",)
    discrete_actions: ClassVar[bool] = True

    expectile: float = Field(0.7, gt=0, lt=1)  # tau; nearer to 1 is nearer to the best action in the data
    temperature: float = Field(3.0, ge=0)  # beta, inverse temperature of the advantage weights; 0 is cloning
    discount: float = Field(0.99, ge=0, le=1)
    return_steps: int = Field(1, gt=0)  # n of n-step returns
    target_update_rate: float = Field(0.005, ge=0, le=1)
    actor_learning_rate: float = Field(3e-4, gt=0)  # at the start of its cosine
    critic_learning_rate: float = Field(3e-4, gt=0)
    value_learning_rate: float = Field(3e-4, gt=0)
    batch_size: int = Field(256, gt=0)  # transitions per update
    hidden: Widths = (256, 256)  # widths of the hidden layers
    normalize_observations: bool = True  # (s - mean) / (std + 1e-3) over the dataset
    dataset_weights: DatasetWeights = "draws"  # how the dataset's weights count: draws, losses or batch_losses

    def networks(self, shapes: Shapes) -> dict[str, MLP]:  # noqa: D102
        sizes = self.hidden
        policy: dict[str, Any] = {"output": "tanh", "state_independent": shapes.action_size}
        return {
            "value": MLP(shapes.observation_size, 1, sizes, learning_rate="value_learning_rate"),
            "critic": MLP(
                shapes.observation_size + shapes.action_size,
                1,
                sizes,
                learning_rate="critic_learning_rate",
                ensemble=2,
                target=True,
            ),
            "actor": MLP(
                shapes.observation_size,
                shapes.action_size,
                sizes,
                learning_rate="actor_learning_rate",
                schedule="cosine",
                **({} if shapes.discrete_actions else policy),
            ),
        }

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return (Phase(losses, follow=("critic",)),)


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
    value_loss = batch.mean(asymmetry * advantages.square())

    critics = networks["critic"](inputs).squeeze(-1)  # [P, K, B]
    critic_loss = batch.mean((critics - targets[:, None]).square(), (1, 2))

    weights = torch.exp(h.temperature * advantages.detach()).clamp(max=_LARGEST_WEIGHT)  # [P, B]
    actor_loss = -batch.mean(weights * log_probability(networks["actor"], batch.observations, batch.actions))

    metrics = {
        "value_loss": value_loss,
        "critic_loss": critic_loss,
        "actor_loss": actor_loss,
        "q_mean": critics.mean((1, 2)),
        "advantage_mean": advantages.mean(-1),
    }
    return Losses({"value": value_loss, "critic": critic_loss, "actor": actor_loss}, metrics)


def log_probability(actor: Network, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    """Return log pi(a | s), [P, B]: of a Gaussian, or where there is no standard deviation of a softmax."""
    answers = actor(observations)  # [P, B, action]
    if not cast(MLP, actor.spec).state_independent:
        return (torch.log_softmax(answers, -1) * (actions > 0)).sum(-1)
    return gaussian_log_probability(actions, answers, actor.state_independent.clamp(*_LOG_STD_RANGE))
