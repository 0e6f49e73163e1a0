r"""BCQ: batch-constrained Q-learning of continuous actions (Fujimoto, Meger & Precup 2019, arXiv 1812.02900).

Q-learning that compares only actions which a model of the data would take. A conditional variational autoencoder G learns the data's
actions; a network xi moves what it proposes by at most Phi (algorithm 1). With n proposals for each state, the critics regress the
best of them by a mixture of the smaller and the larger target critic, and the policy takes the best of N by the first critic:

.. math::
    L(G) &= E \, (\hat a - a)^2 + w \, KL \\
    a_i &= \mathrm{clip}(\hat a_i + \Phi \, \xi(s, \hat a_i)), \quad \hat a_i = G(s, \mathrm{clip}(z_i, -c, c)), \quad z_i \sim N(0, 1) \\
    y &= r + \gamma (1 - d) \max_i \left[ \lambda \min_k Q'_k(s', a'_i) + (1 - \lambda) \max_k Q'_k(s', a'_i) \right] \\
    L(Q) &= \sum_k E \, (Q_k(s, a) - y)^2, \quad L(\xi) = -E \, Q_1(s, \hat a + \Phi \, \xi(s, \hat a))

An update is: autoencoder, critics, xi, each seeing what the one before has become, then the target copies of critics and xi. At s' it
is xi's target copy that moves the proposals.

The defaults are those of github.com/sfujim/BCQ (commit 4876f7e). `perturbed=False` leaves xi out, as the study of robomimic does for
human demonstrations (Mandlekar et al. 2021, arXiv 2108.03298): `BCQ.values_for(dataset, study="robomimic")` has the settings of its
code (github.com/ARISE-Initiative/robomimic, commit d309eae), by how the data was made (ph, mh, paired, mg) and for locomotion.

Deviations. From the authors' code: none but that a truncation bootstraps. From robomimic's:

- Its KL is a sum over the 14 latent numbers. Here it is a mean, so the weights of the table are 14 times its own.
- Its encoder says the log variance, which is not limited; here log std within [-4, 15], as in the authors' code.
- Prior mixtures that are learned (its setting for mh and paired), mixtures in place of the autoencoder, distributional critics and
  `infinite_horizon`, which is off in all of its settings, are not offered.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import ClassVar, Literal

import torch
from pydantic import Field

from assay.baselines.algorithms.algorithm import Algorithm, DatasetWeights, Losses, Memory, Phase, Setting
from assay.baselines.algorithms.autoencoder import autoencoder_networks, decode, divergence, latent_size, reconstruct
from assay.baselines.engine.acting import EpisodeDraws
from assay.baselines.engine.data import RewardScale
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import MLP, FixedNetwork
from assay.datasets.registry import Widths, register

__all__ = ["BCQ"]


@register("bcq", label="BCQ")
class BCQ(Algorithm):
    """Q-learning among actions that a model of the data proposes, with the published defaults.

    Examples
    --------
    >>> BCQ(perturbation=0.1).acting_samples
    100
    >>> import assay
    >>> BCQ.values_for(assay.load("hopper/medium", steps=2_000), study="robomimic")["divergence_weight"]
    7.0
    """

    acting: ClassVar[tuple[str, ...]] = ("decoder", "actor", "critic")
    valued_by: ClassVar[tuple[str, ...]] = ("critic",)

    perturbation: float = Field(default=0.05, ge=0)  # Phi, the farthest that a proposed action is moved
    minimum_weight: float = Field(default=0.75, ge=0, le=1)  # lambda, of the smaller critic in the target
    divergence_weight: float = Field(default=0.5, ge=0)  # w, beside the reconstruction of the autoencoder
    discount: float = Field(default=0.99, ge=0, le=1)
    target_update_rate: float = Field(default=0.005, ge=0, le=1)
    actor_learning_rate: float = Field(default=1e-3, gt=0)
    critic_learning_rate: float = Field(default=1e-3, gt=0)
    autoencoder_learning_rate: float = Field(default=1e-3, gt=0)
    return_steps: int = Field(default=1, gt=0)  # n of n-step returns
    sampled_actions: int = Field(default=10, gt=0)  # n, proposals for each state of a target
    acting_samples: int = Field(default=100, gt=0)  # N, proposals that the policy chooses from
    latent: int | None = Field(default=None, gt=0)  # numbers of the autoencoder; None is twice the entries of an action
    latent_clip: float | None = Field(default=0.5, gt=0)  # c, farthest that a proposal's z lies from 0; None is any
    perturbed: bool = True  # whether xi moves what is proposed
    batch_size: int = Field(default=100, gt=0)  # transitions per update
    hidden: Widths = (400, 300)  # widths of the hidden layers of critics and xi
    autoencoder_hidden: Widths = (750, 750)  # of encoder and decoder
    reward_scale: RewardScale = "recorded"  # what rewards are learned from: recorded, return_range or minus_one
    normalize_observations: bool = False  # (s - mean) / (std + 1e-3) over the dataset
    dataset_weights: DatasetWeights = "draws"  # how the dataset's weights count: draws, losses or batch_losses

    def networks(self, shapes: Shapes) -> dict[str, MLP]:  # noqa: D102
        inputs = shapes.observation_size + shapes.action_size
        network = partial(MLP, inputs, hidden=self.hidden, target=True)
        moving = {"actor": network(shapes.action_size, learning_rate="actor_learning_rate", output="tanh")}
        return {
            **autoencoder_networks(shapes, self.autoencoder_hidden, "autoencoder_learning_rate", self.latent),
            "critic": network(1, learning_rate="critic_learning_rate", ensemble=2),
            **(moving if self.perturbed else {}),
        }

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        learning = Phase(autoencoder_loss), Phase(self.critic_loss, follow=() if self.perturbed else ("critic",))
        return (*learning, Phase(self.actor_loss, follow=("actor", "critic"))) if self.perturbed else learning

    def act(
        self,
        networks: Mapping[str, FixedNetwork],
        observations: torch.Tensor,
        memory: Memory,
        draws: EpisodeDraws,
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """Return the best of N proposals by the first critic."""
        noise = draws.normal("latent", self.acting_samples, latent_size(networks["decoder"], observations)).transpose(
            1, 2
        )
        moved = self.proposals(networks, observations, noise, memory.hyperparameters.perturbation)  # [P, N, n, action]
        values = networks["critic"](observations, moved, weights="frozen", first=True)  # [P, N, n, 1]
        best = values.argmax(1, keepdim=True).expand(-1, -1, -1, moved.shape[-1])
        return moved.gather(1, best).squeeze(1), {}

    def proposals(
        self,
        networks: Mapping[str, FixedNetwork],
        observations: torch.Tensor,
        noise: torch.Tensor,
        perturbation: torch.Tensor,
        weights: Literal["learned", "frozen", "target"] = "frozen",
    ) -> torch.Tensor:
        """Return proposed actions [P, n, B, action], made of noise [P, n, B, latent] and moved by xi."""
        actions = decode(networks["decoder"], observations, noise, self.latent_clip)
        if not self.perturbed:
            return actions
        moves = networks["actor"](observations, actions, weights=weights)
        return (actions + perturbation[..., None, None] * moves).clamp(-1.0, 1.0)

    def critic_loss(self, setting: Setting) -> Losses:
        """Squared error against the best proposal at s', summed over both critics."""
        networks, batch = setting.networks, setting.batch
        targets = self.targets(setting)
        values = networks["critic"](torch.cat([batch.observations, batch.actions], -1)).squeeze(-1)  # [P, K, B]
        loss = batch.mean((values - targets[:, None]).square()).sum(1)
        return Losses({"critic": loss}, {"critic_loss": loss, "q_mean": values.mean((1, 2))})

    @torch.no_grad()
    def targets(self, setting: Setting) -> torch.Tensor:
        """Return what the critics regress, y [P, B]."""
        networks, batch, h = setting.networks, setting.batch, setting.hyperparameters
        size = latent_size(networks["decoder"], batch.next_observations)
        noise = setting.draws.normal("latent of the next state", self.sampled_actions, batch.rewards.shape[1], size)
        actions = self.proposals(networks, batch.next_observations, noise, h.perturbation, "target")
        values = networks["critic"](batch.next_observations, actions, weights="target").squeeze(-1)  # [P, K, n, B]
        share = h.minimum_weight[..., None]  # lambda, [P, 1, 1]
        mixed = share * values.amin(1) + (1.0 - share) * values.amax(1)  # [P, n, B]
        targets: torch.Tensor = batch.rewards + h.discount * batch.bootstraps * mixed.amax(1)
        return targets

    def actor_loss(self, setting: Setting) -> Losses:
        """Value of a proposal that xi moves, by the first critic."""
        networks, batch = setting.networks, setting.batch
        size = latent_size(networks["decoder"], batch.observations)
        noise = setting.draws.normal("latent of the state", 1, batch.rewards.shape[1], size)
        moved = self.proposals(networks, batch.observations, noise, setting.hyperparameters.perturbation, "learned")
        values = networks["critic"](batch.observations, moved, weights="frozen", first=True)
        loss = -batch.mean(values[:, 0, :, 0])
        return Losses({"actor": loss}, {"actor_loss": loss})


def autoencoder_loss(setting: Setting) -> Losses:
    """Reconstruction of the data's actions, and the divergence of their latent numbers."""
    networks, batch, h = setting.networks, setting.batch, setting.hyperparameters
    size = latent_size(networks["decoder"], batch.observations)
    noise = setting.draws.normal("latent of the data", batch.rewards.shape[1], size)
    found, mean, log_std = reconstruct(networks, batch.observations, batch.actions, noise)
    reconstruction = batch.mean((found - batch.actions).square(), (1, 2), rows=1)
    apart = batch.mean(divergence(mean, log_std), (1, 2), rows=1)
    loss = reconstruction + h.divergence_weight[:, 0] * apart
    metrics = {"autoencoder_loss": loss, "reconstruction_loss": reconstruction, "divergence": apart}
    return Losses({"encoder": loss, "decoder": loss}, metrics)
