r"""A2PR: adaptive advantage-guided policy regularization (Liu et al. 2024, arXiv 2405.19909).

TD3+BC with a better action to clone. A conditional variational autoencoder learns only from actions whose advantage is positive;
the actor is pulled towards the data's action or the autoencoder's, whichever has the larger advantage, and only where one of them
beats the state's value. With :math:`\tilde a'` of TD3 (`td3_bc`), m the field `mask` and w the field `reconstruction_weight`:

.. math::
    L(V) &= E \, (V(s) - \min(r + \gamma (1 - d) \min_k Q_k(s', \tilde a'), \,
        r + \gamma (1 - d) \min_k Q'_k(s', \tilde a')))^2 \\
    L(\mathrm{VAE}) &= w \, E \, 1[Q_1(s, a) > V(s)] \, (\hat a - a)^2 + \tfrac{1}{2} KL \\
    A(x) &= Q_1(s, x) - V(s), \quad \hat a_\pi = \mathrm{VAE}(s, \pi(s)), \quad
    \bar a = \hat a_\pi \text{ if } A(\hat a_\pi) \ge A(a) \text{ else } a \\
    L(\pi) &= -\lambda \, E \, Q_1(s, \pi(s)) + m \, E \, 1[A(\hat a_\pi) \ge 0 \text{ or } A(a) > 0] \, (\pi(s) - \bar a)^2 ,
    \quad \lambda = \alpha / E \, |Q_1(s, \pi(s))|

Means are over batch and entries. An update is: critics; autoencoder; every second time the actor; then V, against the critics
of this update and the targets as they were; then the targets. So the masks of autoencoder and actor see V before its own step, as in the published code, which computes V first and steps later.

`variant="paper"` takes abar as a constant; "released" lets the gradient of the actor pass through VAE(s, pi(s)) as
github.com/ltlhuuu/A2PR (commit 0a42ccf) does.

Deviations from that code:

- The mask of the actor is there the sum of two boolean tensors, which PyTorch takes for their "or", not for a count; so it is here.
- Layers are as there, three of 256 for the actor and four for critics and V.
- The samples of the autoencoder in its own loss and in the actor's are drawn apart, from the member's own numbers.
- Published settings per dataset are in `a2pr.json`, for the four datasets that the README and the code name; others are in the paper only. The
  defaults are those of walker2d-medium but for w = 1, and not the command line's mask 0.5.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from pydantic import Field

from assay.baselines.algorithms.actor_critic.td3_bc import TD3BC, critic_loss, smoothed_next_actions
from assay.baselines.algorithms.algorithm import Losses, Phase, Setting
from assay.baselines.algorithms.autoencoder import autoencoder_networks, divergence, reconstruct
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import MLP
from assay.datasets.registry import Widths, register

__all__ = ["A2PR"]


@register("a2pr", label="A2PR")
class A2PR(TD3BC):
    """TD3 that clones the better of the data's and an autoencoder's action.

    Examples
    --------
    >>> A2PR(mask=0.4).mask
    0.4
    """

    mask: float = Field(default=1.0, ge=0)  # m, weight of the cloning term where it counts
    reconstruction_weight: float = Field(default=1.0, ge=0)  # w, beside the divergence of the autoencoder
    value_learning_rate: float = Field(default=3e-4, gt=0)
    autoencoder_learning_rate: float = Field(default=1e-3, gt=0)
    hidden: Widths = (256, 256, 256)  # widths of the actor's hidden layers
    critic_hidden: Widths = (256, 256, 256, 256)  # of critics and V
    autoencoder_hidden: Widths = (750, 750)  # of encoder and decoder
    variant: Literal["paper", "released"] = (
        "paper"  # whether the cloned action is a constant, or passes gradients to the actor
    )

    def networks(self, shapes: Shapes) -> dict[str, MLP]:  # noqa: D102
        observation, action, hidden = shapes.observation_size, shapes.action_size, self.critic_hidden
        critic = partial(MLP, learning_rate="critic_learning_rate", ensemble=2, target=True)
        return {
            **super().networks(shapes),
            "critic": critic(observation + action, 1, hidden),
            "value": MLP(observation, 1, hidden, learning_rate="value_learning_rate"),
            **autoencoder_networks(shapes, self.autoencoder_hidden, "autoencoder_learning_rate"),
        }

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        of_actor = partial(actor_loss, detached=self.variant == "paper")
        return (
            Phase(critic_loss),
            Phase(autoencoder_loss),
            Phase(of_actor, every=self.policy_delay),
            Phase(value_loss),
            Phase(lambda setting: Losses({}), every=self.policy_delay, follow=("actor", "critic")),
        )


def autoencoder_loss(setting: Setting) -> Losses:
    """Reconstruction of the actions whose advantage is positive, and the divergence of all."""
    networks, batch, h = setting.networks, setting.batch, setting.hyperparameters
    latent = 2 * batch.actions.shape[-1]
    noise = setting.draws.normal("latent noise of the data", batch.actions.shape[1], latent)
    found, mean, log_std = reconstruct(networks, batch.observations, batch.actions, noise)
    with torch.no_grad():
        better = (first_critic(setting, batch.actions) > state_value(setting)).to(found.dtype)  # [P, B]
    errors = better[..., None] * (found - batch.actions).square()  # [P, B, action]
    reconstruction = h.reconstruction_weight[:, 0] * batch.mean(errors, (1, 2), rows=1)
    loss = reconstruction + 0.5 * batch.mean(divergence(mean, log_std), (1, 2), rows=1)
    metrics = {"autoencoder_loss": loss, "reconstruction_loss": reconstruction, "better_share": better.mean(-1)}
    return Losses({"encoder": loss, "decoder": loss}, metrics)


def actor_loss(setting: Setting, detached: bool) -> Losses:
    """Normalized value of the policy's actions, plus their squared distance to the better of two actions."""
    networks, batch, h = setting.networks, setting.batch, setting.hyperparameters
    actions = networks["actor"](batch.observations)  # [P, B, action]
    values = first_critic(setting, actions)  # [P, B]
    scale = h.alpha.squeeze(-1) / batch.mean(values.detach().abs())  # lambda, [P]
    cloned, counts = action_to_clone(setting, actions.detach() if detached else actions)
    cloning = h.mask[:, 0] * batch.mean(counts[..., None] * (actions - cloned).square(), (1, 2), rows=1)
    loss = -scale * batch.mean(values) + cloning
    return Losses({"actor": loss}, {"actor_loss": loss, "cloning_loss": cloning, "cloned_share": counts.mean(-1)})


def action_to_clone(setting: Setting, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return abar [P, B, action] for the policy's actions, and where it counts, [P, B] of 0 and 1."""
    batch = setting.batch
    noise = setting.draws.normal("latent noise of the policy", batch.actions.shape[1], 2 * batch.actions.shape[-1])
    generated, _, _ = reconstruct(setting.networks, batch.observations, actions, noise, frozen=True)
    with torch.no_grad():
        value = state_value(setting)
        of_generated = first_critic(setting, generated) - value  # advantages, [P, B]
        of_data = first_critic(setting, batch.actions) - value
        counts = ((of_generated >= 0) | (of_data > 0)).to(value.dtype)
    return torch.where((of_generated >= of_data)[..., None], generated, batch.actions), counts


def value_loss(setting: Setting) -> Losses:
    """Squared error of V against the smaller of two targets, of the critics and of their copies."""
    networks, batch, h = setting.networks, setting.batch, setting.hyperparameters
    with torch.no_grad():
        inputs = torch.cat([batch.next_observations, smoothed_next_actions(setting)], -1)
        now, slow = (networks["critic"](inputs, weights=which).squeeze(-1).amin(1) for which in ("frozen", "target"))
        targets = batch.rewards + h.discount * batch.bootstraps * torch.minimum(now, slow)  # [P, B]
    values = networks["value"](batch.observations).squeeze(-1)
    loss = batch.mean((values - targets).square())
    return Losses({"value": loss}, {"value_loss": loss, "value_mean": values.mean(-1)})


def first_critic(setting: Setting, actions: torch.Tensor) -> torch.Tensor:
    """Return Q_1(s, actions), [P, B]."""
    inputs = torch.cat([setting.batch.observations, actions], -1)
    return setting.networks["critic"](inputs, weights="frozen", first=True).squeeze(-1)


def state_value(setting: Setting) -> torch.Tensor:
    """Return V(s), [P, B]."""
    return setting.networks["value"](setting.batch.observations, weights="frozen").squeeze(-1)
