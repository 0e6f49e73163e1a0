r"""TD3+BC: TD3 with a behaviour-cloning term on the actor (Fujimoto & Gu 2021, arXiv 2106.06860).

Critics, two of them, regress the target of clipped double Q-learning with target policy smoothing (TD3, equations
13-15 of arXiv 1802.09477); the actor, every second update, maximizes the scaled value next to the data (equation 5):

.. math::
    \tilde a &= \pi'(s') + \mathrm{clip}(\epsilon, -c, c), \quad \epsilon \sim N(0, \sigma), \quad
    y = r + \gamma (1 - d) \min_k Q'_k(s', \tilde a) \\
    L(Q) &= \sum_k E \, (Q_k(s, a) - y)^2 \\
    L(\pi) &= -\lambda \, E \, Q_1(s, \pi(s)) + E \, \lVert \pi(s) - a \rVert^2 / d_a, \quad
    \lambda = \alpha / E \, |Q_1(s, \pi(s))|

Deviations: none from CORL's `td3_bc.py`, whose configurations differ only in AntMaze's rewards (`td3_bc.json`); a step is one critic update and, every `policy_delay`-th, one actor update
and the target updates (Unifloral counts two critic updates and one actor update as one). JAX-CORL's layer normalization
and its treatment of time limits as terminations are not followed: a truncation bootstraps. robomimic's (commit d309eae of
github.com/ARISE-Initiative/robomimic) has the same settings and losses; the first critic alone leads its actor too.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field

from assay.baselines.algorithms.algorithm import Algorithm, DatasetWeights, Losses, Phase, Setting
from assay.baselines.engine.data import RewardScale
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import MLP
from assay.datasets.registry import Widths, register

__all__ = ["TD3BC"]


@register("td3_bc", label="TD3+BC")
class TD3BC(Algorithm):
    """TD3 with behaviour cloning, with the published defaults.

    Examples
    --------
    >>> TD3BC(alpha=1.0).alpha
    1.0
    """

    valued_by: ClassVar[tuple[str, ...]] = ("critic",)
    later_fields: ClassVar[tuple[str, ...]] = ("reward_scale",)

    alpha: float = Field(2.5, ge=0)  # weight of the value against the cloning term
    discount: float = Field(0.99, ge=0, le=1)
    return_steps: int = Field(1, gt=0)  # n of n-step returns
    target_update_rate: float = Field(0.005, ge=0, le=1)
    policy_noise: float = Field(0.2, ge=0)  # sigma, standard deviation of target policy smoothing
    noise_clip: float = Field(0.5, ge=0)  # c
    actor_learning_rate: float = Field(3e-4, gt=0)
    critic_learning_rate: float = Field(3e-4, gt=0)
    policy_delay: int = Field(2, gt=0)  # critic updates per actor update
    batch_size: int = Field(256, gt=0)  # transitions per update
    hidden: Widths = (256, 256)  # widths of the hidden layers
    reward_scale: RewardScale = "recorded"  # what rewards are learned from: recorded, return_range or minus_one
    normalize_observations: bool = True  # (s - mean) / (std + 1e-3) over the dataset
    dataset_weights: DatasetWeights = "draws"  # how the dataset's weights count: draws, losses or batch_losses

    def networks(self, shapes: Shapes) -> dict[str, MLP]:  # noqa: D102
        actor = MLP(
            shapes.observation_size,
            shapes.action_size,
            self.hidden,
            learning_rate="actor_learning_rate",
            output="tanh",
            target=True,
        )
        critic = MLP(
            shapes.observation_size + shapes.action_size,
            1,
            self.hidden,
            learning_rate="critic_learning_rate",
            ensemble=2,
            target=True,
        )
        return {"actor": actor, "critic": critic}

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return Phase(critic_loss), Phase(actor_loss, every=self.policy_delay, follow=("actor", "critic"))


def critic_loss(setting: Setting) -> Losses:
    """Squared temporal-difference error against the smaller target critic, summed over both critics."""
    networks, batch, h = setting.networks, setting.batch, setting.hyperparameters
    with torch.no_grad():
        next_inputs = torch.cat([batch.next_observations, smoothed_next_actions(setting)], -1)
        next_values = networks["critic"](next_inputs, weights="target").squeeze(-1).amin(1)  # [P, K, B] -> [P, B]
        targets = batch.rewards + h.discount * batch.bootstraps * next_values
    values = networks["critic"](torch.cat([batch.observations, batch.actions], -1)).squeeze(-1)  # [P, K, B]
    loss = batch.mean((values - targets[:, None]).square()).sum(1)  # [P]
    return Losses({"critic": loss}, {"critic_loss": loss, "q_mean": values.mean((1, 2))})


def smoothed_next_actions(setting: Setting) -> torch.Tensor:
    """Return the target policy's actions [P, B, action] in s' with clipped noise, the same whenever asked in one update."""
    batch, h = setting.batch, setting.hyperparameters
    noise = setting.draws.normal("target policy smoothing", *batch.actions.shape[1:]) * h.policy_noise[..., None]
    noise = torch.clamp(noise, -h.noise_clip[..., None], h.noise_clip[..., None])
    return (setting.networks["actor"](batch.next_observations, weights="target") + noise).clamp(-1.0, 1.0)


def actor_loss(setting: Setting) -> Losses:
    """Normalized value of the policy's actions, plus their squared distance to the data."""
    networks, batch, h = setting.networks, setting.batch, setting.hyperparameters
    actions = networks["actor"](batch.observations)  # [P, B, action]
    inputs = torch.cat([batch.observations, actions], -1)
    values = networks["critic"](inputs, weights="frozen", first=True).squeeze(-1)  # [P, B]
    scale = h.alpha.squeeze(-1) / batch.mean(values.detach().abs())  # lambda, [P]
    cloning = batch.mean((actions - batch.actions).square(), (1, 2), rows=1)
    loss = -scale * batch.mean(values) + cloning
    return Losses({"actor": loss}, {"actor_loss": loss, "cloning_loss": cloning})
