r"""MOBILE: model-Bellman inconsistency penalized policy optimization (Sun et al. 2023, ICML).

Soft actor-critic on the data and on rollouts of a learned model (`agent`), whose targets are lower where the networks of the model
disagree about the value of what comes next: what does not matter for the value costs nothing. For a step of the model, with the E elites
P_i and M samples of each,

.. math::
    s'_{i,m} &\sim P_i(\cdot | s, a), \quad a'_{i,m} \sim \pi(\cdot | s'_{i,m}), \quad q_{i,m} = \min_k Q'_k(s'_{i,m}, a'_{i,m}) \\
    u(s, a) &= \mathrm{std}_i \, \tfrac{1}{M} \sum_m q_{i,m} \quad \textrm{(unbiased; 0 for a step of the data)} \\
    y &= \max(r - \lambda u(s, a) + \gamma (1 - d) (\min_k Q'_k(s', a') - \alpha \log \pi(a' | s')), \; y_{\min})

One update trains two critics, then the actor, whose learning rate falls to zero by a cosine, then the temperature, and then lets
the targets follow. `deterministic_backup` leaves the entropy out of y. The temperature is at most `highest_temperature`.

`mobile.json` has k and lambda by dataset, of the authors' configurations where they store them (yihaosun1124/mobile) and else those of
OfflineRL-Kit's `run_mobile.py`.

Deviations from both: they bound all targets from below by 0, which assumes that no return is negative; here `lowest_target` does, in
the presets alone. The cosine begins with the first update of the dynamics. `max_q_backup` is not offered. The penalty is scaled by each
step's own elites, all E of them, as there. See `agent` and `dynamics` for what the room shares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from pydantic import Field

from assay.baselines.algorithms.actor_critic.sac_n import actor_loss, policy, temperature, temperature_loss
from assay.baselines.algorithms.algorithm import FIRST, Losses, Phase, Setting
from assay.baselines.algorithms.model_based.agent import ModelBased, mixed, on_both
from assay.baselines.algorithms.model_based.dynamics import elites_of, predict
from assay.baselines.algorithms.model_based.mopo import no_loss, two_layer_agent
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import FixedNetwork, Specification
from assay.datasets.errors import ConfigError
from assay.datasets.registry import Widths, register

__all__ = ["MOBILE"]


@register("mobile", label="MOBILE")
class MOBILE(ModelBased):
    """Soft actor-critic penalized by the inconsistency of next values, with OfflineRL-Kit's defaults.

    Examples
    --------
    >>> MOBILE(penalty_weight=0.5).samples
    10
    """

    actor_learning_rate: float = Field(1e-4, gt=0)
    temperature_learning_rate: float = Field(1e-4, gt=0)
    critics: int = Field(2, ge=2)
    hidden: Widths = (256, 256)
    penalty_weight: float = Field(default=1.5, ge=0)  # lambda
    samples: int = Field(default=10, gt=0)  # M
    deterministic_backup: bool = True
    lowest_target: float = -1e12  # y_min; the default is none
    highest_temperature: float = Field(default=1.0, gt=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dynamics == "true":
            raise ConfigError("MOBILE's penalty is the disagreement of learned networks: dynamics must be 'learned'")
        if self.elites < 2:
            raise ConfigError("MOBILE's penalty compares elites, and elites=1; use at least 2")

    def agent_networks(self, shapes: Shapes) -> dict[str, Specification]:  # noqa: D102
        return two_layer_agent(self, shapes, schedule="cosine")

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        losses = (self.critic_loss, on_both(actor_loss), on_both(temperature_loss))
        return *[Phase(loss) for loss in losses], Phase(no_loss, follow=("critic",))

    def critic_loss(self, setting: Setting) -> Losses:
        """Squared error of the penalized temporal difference, summed over the critics."""
        real, both, h = setting.batches[FIRST], mixed(setting), setting.hyperparameters
        batch, networks = both.batch, setting.networks
        rows = real.rewards.shape[1]
        states = self.states(batch.observations[:, rows:])
        unsure = inconsistency(setting, states, batch.actions[:, rows:], self.elites, self.samples, self.seen)
        unsure = torch.cat([torch.zeros_like(real.rewards), unsure], 1)
        targets = penalized_targets(both, unsure, self.deterministic_backup)
        values = networks["critic"](torch.cat([batch.observations, batch.actions], -1)).squeeze(-1)  # [P, K, B]
        loss = (values - targets[:, None]).square().mean(-1).sum(1)
        metrics = {"critic_loss": loss, "q_mean": values.mean((1, 2)), "inconsistency": unsure[:, rows:].mean(-1)}
        return Losses({"critic": loss}, {**metrics, "penalty": h.penalty_weight[:, 0] * metrics["inconsistency"]})


@torch.no_grad()
def inconsistency(
    setting: Setting,
    states: torch.Tensor,
    actions: torch.Tensor,
    elites: int,
    samples: int,
    seen: Callable[[Mapping[str, FixedNetwork], torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """Return the standard deviation over the elites of the value of what comes next, u [P, B]; `seen` is that of the algorithm."""
    networks = setting.networks
    means, deviations = predict(networks, states, actions)  # [P, N, B, state + 1]
    chosen = elites_of(networks, elites)[..., None, None].expand(-1, -1, *means.shape[2:])
    means, deviations = (part.gather(1, chosen)[..., :-1] for part in (means, deviations))  # [P, E, B, state]
    noise = setting.draws.normal("states of the elites", samples, *means.shape[1:])
    following = seen(networks, (means[:, None] + deviations[:, None] * noise).flatten(1, 3))  # [P, M E B, state]
    drawn, _ = policy(networks["actor"](following, weights="frozen")).sample(setting.draws, "actions of the elites")
    values = networks["critic"](torch.cat([following, drawn], -1), weights="target").squeeze(-1).amin(1)
    of_elites = values.view(len(values), samples, elites, -1).mean(1)  # [P, E, B]
    spread: torch.Tensor = of_elites.std(1)
    return spread


@torch.no_grad()
def penalized_targets(setting: Setting, unsure: torch.Tensor, deterministic: bool) -> torch.Tensor:
    """Return what the critics regress, y [P, B]."""
    networks, batch, h = setting.networks, setting.batch, setting.hyperparameters
    distribution = policy(networks["actor"](batch.next_observations, weights="frozen"))
    next_actions, log_probability = distribution.sample(setting.draws, "target actions")
    inputs = torch.cat([batch.next_observations, next_actions], -1)
    next_values = networks["critic"](inputs, weights="target").squeeze(-1).amin(1)
    if not deterministic:
        next_values = next_values - temperature(setting) * log_probability
    targets = batch.rewards - h.penalty_weight * unsure + h.discount * batch.bootstraps * next_values
    return torch.maximum(targets, h.lowest_target)
