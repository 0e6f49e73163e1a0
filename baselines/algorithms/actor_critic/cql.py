r"""CQL: conservative Q-learning, CQL(H) for continuous actions (Kumar et al. 2020, arXiv 2006.04779).

Soft actor-critic with two critics, which besides are pressed down on actions outside the data and up on those in it
(equation 4; the log-sum-exp is estimated by importance sampling, as in the appendix). With n actions each from the uniform
distribution on [-1, 1], from the policy at s and from the policy at s', drawn with densities p and all valued at s:

.. math::
    \Delta_k &= E \left[ T \log \sum_{i=1}^{3n} \exp \frac{Q_k(s, a_i) - \log p(a_i)}{T} - Q_k(s, a) \right] \\
    y &= r + \gamma (1 - d) \min_k Q'_k(s', a'), \quad a' \sim \pi(\cdot | s') \\
    L(Q) &= \sum_k \left[ E \, (Q_k(s, a) - y)^2 + \alpha \, \Delta_k \right] \\
    L(\pi) &= E \, (\beta \log \pi(\tilde a | s) - \min_k Q_k(s, \tilde a)), \quad \tilde a \sim \pi(\cdot | s) \\
    L(\beta) &= -\log \beta \; E \, (\log \pi(\tilde a | s) - |A|)

The choices among the published variants are fields. `importance_sampling=False` leaves the densities out and takes the
action in the data into the pool. `max_target_backup` bootstraps on the best of n actions at s', by the smaller critic
(JaxCQL, CORL), or with `backup_order="max_first"` on the smaller of the critics' own best (robomimic); `backup_entropy` subtracts
:math:`\beta \log \pi(a' | s')` from the target. `lagrange` learns a factor :math:`\alpha'` beside alpha, by descent on
:math:`-\frac{1}{2} \sum_k \alpha' \alpha \, (\Delta_k - g)`, with the `target_action_gap` g, and takes
:math:`\alpha' \alpha \, (\Delta_k - g)` into the critics' loss. `automatic_entropy=False` keeps the entropy's weight fixed.

The policy is a tanh-Gaussian; its log standard deviation is w x + b, clipped to [-20, 2], with x the network's output and
w = 1, b = -1 at first, both learned; with `plain_deviation` it is x, clipped to [log 0.007, log 7.5]. It acts by the tanh of its mean.

Deviations. As in CORL's `cql.py`: all losses use the networks as they were before the update; the pool is each critic's
own; the policy's learning rate is that of the temperature too; the orthogonal initialization is the critics' only (CORL's
flag does not reach the policy, whose last layer begins within 1e-2 sqrt(6 / (inputs + outputs)); its biases begin within
that bound here and at zero there). Otherwise:

* The policy's network is applied once to s and once to s', and the n samples drawn from its outputs; CORL applies it to
  each of 2n + 2 copies. The numbers are the same.
* `hidden` holds for both critics; CORL's second critic ignores its `q_n_hidden_layers`.
* OfflineRL-Kit discards the result of a reshape, so that its log-sum-exp runs over 3 values instead of 3n.
* Unifloral pools the values of all its (ten) critics in one log-sum-exp, with one action per source, and gave the penalty
  no gradient until its pull request 7. That is another algorithm.
* JaxCQL once drew the uniform actions from [0, 1], its issue 1. Here they cover [-1, 1] in every dimension.

CORL's configurations, in `cql.json` but for antmaze: locomotion as the defaults here, but for hopper-medium, whose rewards are in
units of the return range (`reward_scale`; of the dataset's episodes, see `iql`); mazes with `lagrange` and a gap of 5; dexterous
hands with alpha = 1 and 1e-4 for the policy. Antmaze has `lagrange` with a gap of 0.8, `max_target_backup`, alpha = 5, critics of five
layers, a conservative term clipped at -200, 1e-4 for the policy, observations as they are and rewards 10 r - 5, of which the
different depths, the clipping and the rewards are not offered.
Elsewhere alpha is 5 (OfflineRL-Kit, JAX-CORL, d3rlpy), and d3rlpy learns alpha' by default. A truncation bootstraps.

robomimic's CQL (Mandlekar et al. 2021, arXiv 2108.03298; github.com/ARISE-Initiative/robomimic, commit d309eae) has `lagrange` with a gap
of 5 and alpha = 1: `CQL.values_for(dataset, study="robomimic")`. Beyond its settings, its critics see the policy after this update's step
of it, its alpha' begins at 1 and not at e, its policy's means are limited to +-9, and it may clone at first (`bc_start_steps`, for
locomotion), which is not offered. Its `init_std` has no effect with the exponential that it takes for standard deviations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal, cast

import torch
from pydantic import Field

from assay.baselines.algorithms.algorithm import Algorithm, DatasetWeights, Losses, Memory, Phase, Setting
from assay.baselines.algorithms.distributions import TanhGaussian
from assay.baselines.engine.acting import EpisodeDraws
from assay.baselines.engine.data import RewardScale
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import MLP, FixedNetwork, Network, Scalars, Specification
from assay.datasets.errors import ConfigError
from assay.datasets.registry import Widths, register

__all__ = ["CQL"]

_LOG_STD_RANGE = (-20.0, 2.0)
_LOG_STD_OFFSET = -1.0
_PLAIN_LOG_STD_RANGE = (math.log(0.007), math.log(7.5))
_HEAD_GAIN = 1e-2
_LARGEST_MULTIPLIER = 1e6


@register("cql", label="CQL")
class CQL(Algorithm):
    """Conservative Q-learning, with CORL's defaults for locomotion; `values_for` gives its settings for other datasets.

    Examples
    --------
    >>> CQL(alpha=5.0, lagrange=True).sampled_actions
    10
    """

    valued_by: ClassVar[tuple[str, ...]] = ("critic",)
    later_fields: ClassVar[tuple[str, ...]] = ("reward_scale", "backup_order", "plain_deviation")

    alpha: float = Field(10.0, ge=0)  # weight of the conservative term
    softmax_temperature: float = Field(1.0, gt=0)  # T of the log-sum-exp
    target_action_gap: float = Field(-1.0)  # g; with lagrange, the conservative term is pressed down to it
    entropy_weight: float = Field(1.0, ge=0)  # factor of the learned temperature beta, or beta itself where it is fixed
    discount: float = Field(0.99, ge=0, le=1)
    target_update_rate: float = Field(0.005, ge=0, le=1)
    actor_learning_rate: float = Field(3e-5, gt=0)  # of the temperature too
    critic_learning_rate: float = Field(3e-4, gt=0)  # of the multiplier alpha' too
    sampled_actions: int = Field(10, gt=0)  # n, from each of three sources
    return_steps: int = Field(1, gt=0)  # n of n-step returns
    batch_size: int = Field(256, gt=0)  # transitions per update
    hidden: Widths = (256, 256, 256)  # widths of the hidden layers
    importance_sampling: bool = True  # subtract log densities; otherwise pool the data's action with the others
    automatic_entropy: bool = True  # learn beta so that the entropy is -|A|
    backup_entropy: bool = False  # subtract beta log pi in the target
    max_target_backup: bool = False  # bootstrap on the best of n actions
    backup_order: Literal["min_first", "max_first"] = (
        "min_first"  # over critics or actions first, with max_target_backup
    )
    lagrange: bool = False  # learn alpha'
    plain_deviation: bool = False  # whether the policy's log std is x and not w x + b
    orthogonal: bool = True  # initial weights of the critics
    reward_scale: RewardScale = "recorded"  # what rewards are learned from: recorded, return_range or minus_one
    normalize_observations: bool = True  # (s - mean) / (std + 1e-3) over the dataset
    dataset_weights: DatasetWeights = "draws"  # how the dataset's weights count: draws, losses or batch_losses

    def networks(self, shapes: Shapes) -> dict[str, Specification]:  # noqa: D102
        if self.backup_order == "max_first" and (self.backup_entropy or not self.max_target_backup):
            raise ConfigError(
                "backup_order='max_first' is an order of max_target_backup=True; each critic then has a best action of its own, so "
                "backup_entropy must be off"
            )
        actor = MLP(
            shapes.observation_size,
            2 * shapes.action_size,
            self.hidden,
            learning_rate="actor_learning_rate",
            output_bound=_HEAD_GAIN * math.sqrt(6.0 / (self.hidden[-1] + 2 * shapes.action_size)),
            state_independent=0 if self.plain_deviation else 2,  # w - 1 and b + 1
        )
        critic = MLP(
            shapes.observation_size + shapes.action_size,
            1,
            self.hidden,
            learning_rate="critic_learning_rate",
            ensemble=2,
            target=True,
            orthogonal=math.sqrt(2.0) if self.orthogonal else None,
        )
        networks: dict[str, Specification] = {"actor": actor, "critic": critic}
        if self.automatic_entropy:
            networks["temperature"] = Scalars(learning_rate="actor_learning_rate")  # log beta
        if self.lagrange:
            networks["multiplier"] = Scalars(learning_rate="critic_learning_rate", value=1.0)  # log alpha'
        return networks

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return (Phase(self.losses, follow=("critic",)),)

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

    def losses(self, setting: Setting) -> Losses:
        """Compute all losses on the networks as they are before the update."""
        networks, batch, h = setting.networks, setting.batch, setting.hyperparameters
        here = policy(networks["actor"], batch.observations)
        with torch.no_grad():
            there = policy(networks["actor"], batch.next_observations)
        losses, metrics = {}, {}

        # Temperature and actor, on one sample per state.
        actions, log_probability = here.sample(setting.draws, "policy actions")  # [P, B, action], [P, B]
        temperature = h.entropy_weight  # beta, [P, 1]
        if self.automatic_entropy:
            log_temperature = networks["temperature"].state_independent[:, 0]  # [P, 1]
            excess = log_probability.detach() - batch.actions.shape[-1]
            losses["temperature"] = -batch.mean(log_temperature * excess)
            temperature = temperature * log_temperature.detach().exp()
        policy_inputs = torch.cat([batch.observations, actions], -1)
        policy_values = networks["critic"](policy_inputs, weights="frozen").squeeze(-1).amin(1)  # [P, B]
        losses["actor"] = batch.mean(temperature * log_probability - policy_values)

        # Critics.
        targets = self.targets(setting, there, temperature)  # [P, B]
        candidates, log_densities = self.candidates(setting, here.detach(), there)
        pool = torch.cat([batch.actions[:, None], candidates], 1)  # [P, 1 + 3 n, B, action], the data first
        values = networks["critic"](batch.observations, pool).squeeze(-1)  # [P, K, 1 + 3 n, B]
        data_values = values[:, :, 0]  # [P, K, B]
        differences = batch.mean((data_values - targets[:, None]).square())  # [P, K]
        if self.importance_sampling:
            values = values[:, :, 1:] - log_densities[:, None]
        softness = h.softmax_temperature[..., None]  # [P, 1, 1]
        largest = softness * torch.logsumexp(values / softness[..., None], 2)  # [P, K, B]
        gaps = batch.mean(largest - data_values)  # Delta, [P, K]
        penalties = h.alpha * gaps
        if self.lagrange:
            multiplier = networks["multiplier"].state_independent[:, 0].exp().clamp(max=_LARGEST_MULTIPLIER)  # [P, 1]
            excess = h.alpha * (gaps - h.target_action_gap)
            losses["multiplier"] = -0.5 * (multiplier * excess.detach()).sum(-1)
            penalties = multiplier.detach() * excess
            metrics["multiplier"] = multiplier[:, 0]
        losses["critic"] = (differences + penalties).sum(-1)

        metrics |= {
            "critic_loss": differences.sum(-1),
            "conservative_gap": gaps.mean(-1),
            "actor_loss": losses["actor"],
            "q_mean": data_values.mean((1, 2)),
            "temperature": temperature[:, 0],
            "entropy": -log_probability.mean(-1),
        }
        return Losses(losses, metrics)

    @torch.no_grad()
    def targets(self, setting: Setting, there: TanhGaussian, temperature: torch.Tensor) -> torch.Tensor:
        """Return what the critics regress, y [P, B], given the policy at s'."""
        batch, h = setting.batch, setting.hyperparameters
        count = self.sampled_actions if self.max_target_backup else 1
        actions, log_probability = there.samples(count, setting.draws, "target actions")
        values = setting.networks["critic"](batch.next_observations, actions, weights="target").squeeze(-1)
        if self.backup_order == "max_first":
            values = values.amax(2, keepdim=True)  # [P, K, n, B] -> [P, K, 1, B]
        values, best = values.amin(1).max(1, keepdim=True)  # [P, n, B] -> [P, 1, B]
        next_values = values[:, 0]
        if self.backup_entropy:
            next_values = next_values - temperature * log_probability.gather(1, best)[:, 0]
        targets: torch.Tensor = batch.rewards + h.discount * batch.bootstraps * next_values
        return targets

    @torch.no_grad()
    def candidates(
        self, setting: Setting, here: TanhGaussian, there: TanhGaussian
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return actions [P, 3 n, B, action] to press down, and the log densities [P, 3 n, B] that they came from."""
        draws, (batch, size), n = setting.draws, setting.batch.actions.shape[1:], self.sampled_actions
        uniform = 2.0 * draws.uniform("uniform actions", n, batch, size) - 1.0
        uniform_density = torch.full_like(uniform[..., 0], -size * math.log(2.0))
        next_actions, next_density = there.samples(n, draws, "actions of the next state")
        current_actions, current_density = here.samples(n, draws, "actions of the state")
        actions = torch.cat([uniform, next_actions, current_actions], 1)
        return actions, torch.cat([uniform_density, next_density, current_density], 1)


def policy(actor: Network, observations: torch.Tensor) -> TanhGaussian:
    """Return the distribution of the actions at the observations [P, B, observation]."""
    mean, log_std = actor(observations).chunk(2, -1)
    if not cast(MLP, actor.spec).state_independent:
        return TanhGaussian(mean, log_std.clamp(*_PLAIN_LOG_STD_RANGE))
    scale, offset = actor.state_independent.chunk(2, -1)  # [P, 1, 1], zero at first
    log_std = (1.0 + scale) * log_std + (_LOG_STD_OFFSET + offset)
    return TanhGaussian(mean, log_std.clamp(*_LOG_STD_RANGE))
