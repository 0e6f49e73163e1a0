r"""ReBRAC: TD3 with a behaviour penalty in the actor and in the critic (Tarasov et al. 2023, arXiv 2305.09836).

Both networks have three hidden layers, the critics with layer normalization. The critics' target is lowered
where the policy leaves the data, and the actor, every second update, weighs the value against the distance to the
data; a' is the dataset's next action:

.. math::
    \tilde a &= \mathrm{clip}(\pi'(s') + \mathrm{clip}(\epsilon, -c, c), -1, 1), \quad \epsilon \sim N(0, \sigma) \\
    y &= r + \gamma (1 - d) (\min_k Q'_k(s', \tilde a) - \beta_2 \lVert \tilde a - a' \rVert^2) \\
    L(Q) &= \sum_k E \, (Q_k(s, a) - y)^2 \\
    L(\pi) &= E \, (\beta_1 \lVert \pi(s) - a \rVert^2 - \lambda \min_k Q_k(s, \pi(s))), \quad
    \lambda = 1 / E \, |\min_k Q_k(s, \pi(s))|

Squared distances are sums over the entries of the action, where TD3+BC takes their mean, and the actor follows the
smaller critic, where TD3+BC takes the first. Observations and rewards are not normalized.

Deviations from CORL's `rebrac.py` (which is JAX):

- Where an episode has no next row in the data, a' does not exist. CORL's loader drops the last transition of an episode
  that ran into its time limit, and the table's last one. Here they stay, and bootstrap without the penalty.
- The actor's target follows the actor after its step; CORL's, before it. CORL takes the delayed step in the first of
  every two updates; here it is the second. The epsilon of layer normalization is PyTorch's 1e-5; flax has 1e-6.
- CORL's class sets both coefficients to 1, its configurations always change them. The defaults here are those of
  halfcheetah-medium, which are also the defaults of d3rlpy and Unifloral; `rebrac.json` has CORL's for locomotion. Those
  for maze2d, adroit (learning rates 3e-4, batch 256) and antmaze (in addition critic 5e-5, discount 0.999 and rewards
  times 100) are in `configs/offline/rebrac` of github.com/tinkoff-ai/CORL.
- Unifloral's update is two critic updates on one batch and one actor update; d3rlpy has two hidden layers.

With n-step returns, s', a' and the penalty belong to the last of the steps.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import torch
from pydantic import Field

from assay.baselines.algorithms.algorithm import Algorithm, Losses, Phase, Setting
from assay.baselines.algorithms.presets import presets_of
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import MLP
from assay.datasets.registry import Widths, register

__all__ = ["ReBRAC"]

_HIDDEN_BIAS = 0.1  # at first, as in EDAC
_LAST_ACTOR_LAYER, _LAST_CRITIC_LAYER = 1e-3, 3e-3  # bounds of the initial weights and biases


@register("rebrac", label="ReBRAC")
class ReBRAC(Algorithm):
    """TD3 with behaviour penalties on actor and critic, with CORL's settings for locomotion.

    Examples
    --------
    >>> ReBRAC.preset("hopper", "medium-replay").critic_penalty
    0.5
    """

    valued_by: ClassVar[tuple[str, ...]] = ("critic",)

    extra_columns: ClassVar[tuple[str, ...]] = ("next_actions",)

    actor_penalty: float = Field(0.001, ge=0)  # beta_1, CORL's actor_bc_coef
    critic_penalty: float = Field(0.01, ge=0)  # beta_2, CORL's critic_bc_coef
    discount: float = Field(0.99, ge=0, le=1)
    return_steps: int = Field(1, gt=0)  # n of n-step returns
    target_update_rate: float = Field(0.005, ge=0, le=1)
    policy_noise: float = Field(0.2, ge=0)  # sigma, standard deviation of target policy smoothing
    noise_clip: float = Field(0.5, ge=0)  # c
    actor_learning_rate: float = Field(1e-3, gt=0)
    critic_learning_rate: float = Field(1e-3, gt=0)
    policy_delay: int = Field(2, gt=0)  # critic updates per actor update
    batch_size: int = Field(1024, gt=0)  # transitions per update
    hidden: Widths = (256, 256, 256)  # widths of the hidden layers
    normalize_values: bool = True  # divide the actor's value by its mean magnitude; otherwise lambda is 1
    actor_layer_norm: bool = False
    critic_layer_norm: bool = True
    normalize_observations: bool = False  # (s - mean) / (std + 1e-3) over the dataset

    @classmethod
    def preset(cls, environment: str, data: str, **changes: Any) -> ReBRAC:
        """Return CORL's penalties for a locomotion dataset of D4RL.

        Parameters
        ----------
        environment : "halfcheetah", "hopper" or "walker2d"
        data : "random", "medium", "medium-replay", "medium-expert", "expert" or "full-replay"
        **changes
            Other fields, or these.

        Raises
        ------
        UnknownNameError
            If there is no such preset.
        """
        return cls(**{**presets_of(cls).find(environment, data), **changes})

    def networks(self, shapes: Shapes) -> dict[str, MLP]:  # noqa: D102
        actor = MLP(
            shapes.observation_size,
            shapes.action_size,
            self.hidden,
            learning_rate="actor_learning_rate",
            output="tanh",
            target=True,
            layer_norm=self.actor_layer_norm,
            bias=_HIDDEN_BIAS,
            output_bound=_LAST_ACTOR_LAYER,
        )
        critic = MLP(
            shapes.observation_size + shapes.action_size,
            1,
            self.hidden,
            learning_rate="critic_learning_rate",
            ensemble=2,
            target=True,
            layer_norm=self.critic_layer_norm,
            bias=_HIDDEN_BIAS,
            output_bound=_LAST_CRITIC_LAYER,
        )
        return {"actor": actor, "critic": critic}

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        of_actor = partial(actor_loss, normalize=self.normalize_values)
        return Phase(critic_loss), Phase(of_actor, every=self.policy_delay, follow=("actor", "critic"))


def critic_loss(setting: Setting) -> Losses:
    """Squared temporal-difference error against the penalized smaller target critic, summed over both critics."""
    networks, batch, h = setting.networks, setting.batch, setting.hyperparameters
    with torch.no_grad():
        noise = setting.draws.normal("target policy smoothing", *batch.actions.shape[1:]) * h.policy_noise[..., None]
        noise = torch.clamp(noise, -h.noise_clip[..., None], h.noise_clip[..., None])
        next_actions = (networks["actor"](batch.next_observations, weights="target") + noise).clamp(-1.0, 1.0)
        distance = (next_actions - batch["next_actions"]).square().sum(-1) * batch["has_next_actions"]  # [P, B]
        next_inputs = torch.cat([batch.next_observations, next_actions], -1)
        next_values = networks["critic"](next_inputs, weights="target").squeeze(-1).amin(1)  # [P, K, B] -> [P, B]
        targets = batch.rewards + h.discount * batch.bootstraps * (next_values - h.critic_penalty * distance)
    values = networks["critic"](torch.cat([batch.observations, batch.actions], -1)).squeeze(-1)  # [P, K, B]
    loss = (values - targets[:, None]).square().mean(-1).sum(1)  # [P]
    return Losses({"critic": loss}, {"critic_loss": loss, "q_mean": values.mean((1, 2))})


def actor_loss(setting: Setting, normalize: bool) -> Losses:
    """Squared distance to the data, less the value of the policy's actions."""
    networks, batch, h = setting.networks, setting.batch, setting.hyperparameters
    actions = networks["actor"](batch.observations)  # [P, B, action]
    inputs = torch.cat([batch.observations, actions], -1)
    values = networks["critic"](inputs, weights="frozen").squeeze(-1).amin(1)  # [P, K, B] -> [P, B]
    distance = (actions - batch.actions).square().sum(-1).mean(-1)  # [P]
    value = values.mean(-1)
    if normalize:
        value = value / values.detach().abs().mean(-1)
    loss = h.actor_penalty.squeeze(-1) * distance - value
    return Losses({"actor": loss}, {"actor_loss": loss, "cloning_loss": distance})
