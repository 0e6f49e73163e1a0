r"""CPQ: constraints-penalized Q-learning (Xu, Zhan & Zhu 2022, arXiv 2107.09003).

Costs have critics of their own. What the policy earns after an action that costs too much counts as nothing, and actions that are unlike those of the
data count as costly: a variational autoencoder of actions tells them, by how far its posterior is from the prior. With the
limit l of discounted costs (see `multiplier`), :math:`a' \sim \pi(\cdot | s')` and :math:`\tilde a \sim \pi(\cdot | s)`,

.. math::
    L(Q_c) &= \tfrac{1}{K} \sum_k \left[ E \, (c + \gamma (1 - d) \max_j Q'_{c,j}(s', a') - Q_{c,k}(s, a))^2
        - \alpha \, (E_{\nu} \, Q_{c,k}(s, \tilde a) - \kappa l) \right] \\
    L(Q) &= \tfrac{1}{K} \sum_k E \, (r + \gamma (1 - d) \, 1[\max_j Q'_{c,j}(s', a') \le l] \, \min_j Q'_j(s', a') - Q_k(s, a))^2 \\
    L(\pi) &= -E \, 1[\max_j Q_{c,j}(s, \tilde a) \le l] \, \min_j Q_j(s, \tilde a)

where :math:`\nu` is the quarter of the policy's actions in a batch that the autoencoder knows least, and alpha, a multiplier in
[0, 1], rises while their costs are below :math:`\kappa l`, with :math:`\kappa = 1.5`. The policy is a tanh-Gaussian and acts by the tanh of its mean.
"Nothing" is a penalty only where there is something to be earned: rewards should add up to positive values.

The defaults are those of OSRL's configurations (github.com/liuzuxin/OSRL). Deviations from its `cpq.py`:

- The mean of the unlike actions' costs is taken over these alone, and has a gradient. There it is taken over all actions, with zeros for the
  others, of the target copies and without a gradient, so that nothing presses the costs up.
- Costs do not go on behind a termination.
- The larger cost critic counts, where it takes the smaller one, as for rewards.
- alpha is learned by Adam and used as it was before its step; there it takes plain steps.
- Rewards are learned as recorded; there they are divided by 10, which changes no policy that is the best one.
- The autoencoder is trained along with the rest, as there; the paper trains it beforehand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field

from assay.baselines.algorithms.algorithm import Algorithm, Losses, Memory, Phase, Setting
from assay.baselines.algorithms.autoencoder import autoencoder_networks, divergence, encode, reconstruct
from assay.baselines.algorithms.distributions import TanhGaussian
from assay.baselines.algorithms.safe.multiplier import discounted_limit, multiplier, multiplier_loss
from assay.baselines.engine.acting import EpisodeDraws
from assay.baselines.engine.data import RewardScale
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import MLP, FixedNetwork, Network, Scalars, Specification
from assay.datasets.registry import Widths, register

__all__ = ["CPQ"]

_LOG_STD_RANGE = (-20.0, 2.0)


@register("cpq", label="CPQ")
class CPQ(Algorithm):
    """Constraints-penalized Q-learning, with OSRL's defaults; the data needs a column `costs`.

    Examples
    --------
    >>> CPQ(cost_limit=5.0, episode_length=200).unlike_limit
    1.5
    """

    extra_columns: ClassVar[tuple[str, ...]] = ("costs",)
    valued_by: ClassVar[tuple[str, ...]] = ("critic",)

    cost_limit: float = Field(10.0, ge=0)  # of an episode, undiscounted
    episode_length: int = Field(300, gt=0)  # T, steps of an episode that the limit is spread over
    unlike_limit: float = Field(1.5, ge=0)  # kappa; unlike actions are to cost at least so many limits
    unlike_quantile: float = Field(0.75, ge=0, le=1)  # of the divergences; actions above it are unlike the data
    multiplier_bound: float = Field(1.0, ge=0)  # of alpha
    divergence_weight: float = Field(0.5, ge=0)  # of the autoencoder's posterior from its prior, in its loss
    discount: float = Field(0.99, ge=0, lt=1)
    target_update_rate: float = Field(0.005, ge=0, le=1)
    actor_learning_rate: float = Field(1e-4, gt=0)
    critic_learning_rate: float = Field(1e-3, gt=0)  # of the critics of costs too
    multiplier_learning_rate: float = Field(1e-3, gt=0)
    autoencoder_learning_rate: float = Field(1e-3, gt=0)
    sampled_actions: int = Field(10, gt=0)  # of the policy at each state, among which unlike ones are looked for
    batch_size: int = Field(512, gt=0)  # transitions per update
    hidden: Widths = (400, 400)  # widths of the hidden layers of the critics
    actor_hidden: Widths = (300, 300)
    autoencoder_hidden: Widths = (400, 400)  # of encoder and decoder
    reward_scale: RewardScale = "recorded"  # what rewards are learned from: recorded, return_range or minus_one
    normalize_observations: bool = False  # (s - mean) / (std + 1e-3) over the dataset

    def networks(self, shapes: Shapes) -> dict[str, Specification]:  # noqa: D102
        observation, action = shapes.observation_size, shapes.action_size
        critic = MLP(
            observation + action, 1, self.hidden, learning_rate="critic_learning_rate", ensemble=2, target=True
        )
        return {
            **autoencoder_networks(shapes, self.autoencoder_hidden, "autoencoder_learning_rate"),
            "critic": critic,
            "cost_critic": critic,
            "multiplier": Scalars(learning_rate="multiplier_learning_rate"),  # alpha
            "actor": MLP(observation, 2 * action, self.actor_hidden, learning_rate="actor_learning_rate"),
        }

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return (
            Phase(autoencoder_loss),
            Phase(self.critic_loss),
            Phase(self.cost_critic_losses),
            Phase(self.actor_loss, follow=("critic", "cost_critic")),
        )

    def act(
        self,
        networks: Mapping[str, FixedNetwork],
        observations: torch.Tensor,
        memory: Memory,
        draws: EpisodeDraws,
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """Return the tanh of the means."""
        mean, _ = networks["actor"](observations, weights="frozen").chunk(2, -1)
        return torch.tanh(mean), {}

    def limit(self, setting: Setting) -> torch.Tensor:
        """Return l [P, 1]."""
        h = setting.hyperparameters
        return discounted_limit(h.cost_limit, h.discount, self.episode_length)

    def critic_loss(self, setting: Setting) -> Losses:
        """Squared error against what is earned as long as costs stay within the limit."""
        batch, h = setting.batch, setting.hyperparameters
        with torch.no_grad():
            values, costs = next_values(setting)
            allowed = (costs <= self.limit(setting)).to(values.dtype)
            targets = batch.rewards + h.discount * batch.bootstraps * allowed * values
        critics = setting.networks["critic"](torch.cat([batch.observations, batch.actions], -1)).squeeze(-1)
        loss = (critics - targets[:, None]).square().mean((1, 2))
        return Losses(
            {"critic": loss},
            {"critic_loss": loss, "q_mean": critics.mean((1, 2)), "allowed_share": allowed.mean(-1)},
        )

    def cost_critic_losses(self, setting: Setting) -> Losses:
        """Squared error of the costs, which are pressed up where the policy's actions are unlike the data's; and alpha's loss."""
        networks, batch, h = setting.networks, setting.batch, setting.hyperparameters
        with torch.no_grad():
            targets = batch["costs"] + h.discount * batch.bootstraps * next_values(setting)[1]
            distribution = policy(networks["actor"], batch.observations)
            actions, _ = distribution.samples(
                self.sampled_actions, setting.draws, "unlike actions"
            )  # [P, n, B, action]
            states = batch.observations.repeat(1, self.sampled_actions, 1)  # [P, n B, observation]
            mean, log_std = encode(networks, states, actions.flatten(1, 2), frozen=True)
            distances = divergence(mean, log_std).mean(-1)  # [P, n B]
            unlike = (distances >= quantiles(distances, h.unlike_quantile)).to(distances.dtype)
        critics = networks["cost_critic"](torch.cat([batch.observations, batch.actions], -1)).squeeze(-1)  # [P, K, B]
        elsewhere = networks["cost_critic"](batch.observations, actions).squeeze(-1).flatten(2)  # [P, K, n B]
        costs = (unlike[:, None] * elsewhere).sum(-1) / unlike.sum(-1, keepdim=True)  # [P, K]
        excess = h.unlike_limit * self.limit(setting) - costs  # [P, K], what is lacking
        alpha = multiplier(setting, h.multiplier_bound)  # [P, 1]
        difference = (critics - targets[:, None]).square().mean((1, 2))
        loss = difference + (alpha * excess).mean(-1)
        alpha_loss = multiplier_loss(setting, excess.mean(-1), h.multiplier_bound)
        metrics = {"cost_critic_loss": difference, "cost_mean": critics.mean((1, 2)), "multiplier": alpha[:, 0]}
        return Losses({"cost_critic": loss, "multiplier": alpha_loss}, {**metrics, "unlike_cost": costs.mean(-1)})

    def actor_loss(self, setting: Setting) -> Losses:
        """What the policy's actions earn, where they do not cost too much."""
        networks, batch = setting.networks, setting.batch
        actions, _ = policy(networks["actor"], batch.observations).sample(setting.draws, "policy actions")
        inputs = torch.cat([batch.observations, actions], -1)
        values = networks["critic"](inputs, weights="frozen").squeeze(-1).amin(1)
        costs = networks["cost_critic"](inputs, weights="frozen").squeeze(-1).amax(1).detach()
        loss = -torch.where(costs <= self.limit(setting), values, 0.0).mean(-1)
        return Losses({"actor": loss}, {"actor_loss": loss})


def policy(actor: Network, observations: torch.Tensor) -> TanhGaussian:
    """Return the distribution of the actions at the observations [P, B, observation]."""
    mean, log_std = actor(observations).chunk(2, -1)
    return TanhGaussian(mean, log_std.clamp(*_LOG_STD_RANGE))


def autoencoder_loss(setting: Setting) -> Losses:
    """Squared error of the decoded actions, and the divergence of what they are encoded as."""
    batch, h = setting.batch, setting.hyperparameters
    latent = 2 * batch.actions.shape[-1]
    noise = setting.draws.normal("latent", batch.actions.shape[1], latent)
    decoded, mean, log_std = reconstruct(setting.networks, batch.observations, batch.actions, noise)
    error = (decoded - batch.actions).square().mean((1, 2))
    loss = error + h.divergence_weight[:, 0] * divergence(mean, log_std).mean((1, 2))
    return Losses({"encoder": loss, "decoder": loss}, {"autoencoder_loss": loss})


@torch.no_grad()
def next_values(setting: Setting) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what is earned and what is paid after the policy's next actions, by the target copies, [P, B] each."""
    networks, batch = setting.networks, setting.batch
    actions, _ = policy(networks["actor"], batch.next_observations).sample(setting.draws, "target actions")
    inputs = torch.cat([batch.next_observations, actions], -1)
    values = networks["critic"](inputs, weights="target").squeeze(-1).amin(1)
    return values, networks["cost_critic"](inputs, weights="target").squeeze(-1).amax(1)


def quantiles(values: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Return of each member's values [P, n] the one below which a share [P, 1] of them lies, [P, 1].

    Examples
    --------
    >>> quantiles(torch.tensor([[3.0, 1.0, 2.0, 4.0]]), torch.tensor([[0.75]])).tolist()
    [[4.0]]
    """
    places = (share * values.shape[1]).long().clamp(max=values.shape[1] - 1)
    return values.sort(-1).values.gather(1, places)
