r"""MOREC: reward-consistent dynamics models (Luo et al. 2024, arXiv 2310.05422, ICLR), on MOPO and MOBILE.

What is true of the dynamics everywhere is learned as a reward of transitions, and a rollout takes the candidate that earns most of it. The
reward comes from a game between a network G that makes transitions and a discriminator D that tells them from the data's,

.. math::
    L(D) &= -E \log \sigma(D(s, a, s')) - E \log (1 - \sigma(D(s, a, \tilde s))), \quad \tilde s \sim G(\cdot | s, a) \\
    L(G) &= -E \log \sigma(D(s, a, \tilde s))

of which K states of D are kept, each with the mean of D of made transitions, l, and of the data's, e. Any one of them knows only what G did
wrong at its time; the reward is that of their mean:

.. math::
    p_k &= \sigma \Big( 2 \, \frac{\mathrm{clip}(D_k, l_k, e_k) - l_k}{e_k - l_k} - 1 \Big), \qquad
    r_D(s, a, s') = -\log \Big( 1 - \tfrac{1}{K} \sum_k p_k \Big) \in [0.31, 1.31]

A step of a rollout draws `resamples` candidates from each elite and takes one of them, by a softmax of r_D / `selection_temperature` or the
best. Where that one has less than `lowest_dynamics_reward` the rollout stops.

::

    stage "dynamics"           the model, as of MOPO and MOBILE
    stage "dynamics reward"    G and D; the discriminator is kept K times, at equal distances
    stage "policy"             MOPO or MOBILE on rollouts of filtered steps

`variant` says what a step is worth behind which a rollout was stopped. In the paper the rollout is cut, and the value of the next state counts
("paper"); the code marks the step as the end of the episode, so that nothing is earned behind it ("released").

This file has it on MOPO, `morec_mobile` on MOBILE. `morec.json` and `morec_mobile.json` have the settings of github.com/polixir/morec by
dataset of D4RL, without those for NeoRL.

Deviations. How the reward is trained was not released. Here, as a reconstruction, G is a Gaussian network that is trained through the
discriminator, where the paper has reinforcement learning; widths, rates and the count of updates are choices of this project. Otherwise, from
the released filter: a discriminator that values made transitions above those of the data says 1/2 of all; only states are clipped
to +-`largest_state`, not rewards, and in the units in which the networks see them; `d_clip` is left out, because p_k is below 0.74 and never
reaches it; the `minimal_rollout_length`, 0 as published, is not offered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import pydantic
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch.nn.functional import logsigmoid

from assay.baselines.algorithms.algorithm import FIRST, Losses, Pause, Phase, Setting, Stage
from assay.baselines.algorithms.model_based.dynamics import (
    ModelScale,
    ModelStep,
    elites_of,
    keep_best,
    predict,
    unsureness,
)
from assay.baselines.algorithms.model_based.mopo import MOPO
from assay.baselines.dynamics.gaussian import gaussian, gaussian_network
from assay.baselines.engine.randomness import Draws
from assay.baselines.engine.shapes import Shapes
from assay.baselines.engine.streams import Stream
from assay.baselines.networks import MLP, FixedNetwork, Scalars, Specification
from assay.datasets.errors import ConfigError
from assay.datasets.registry import Widths, register

if TYPE_CHECKING:
    from assay.baselines.algorithms.model_based.agent import ModelBased as Base
else:
    Base = object  # fields of a base with defaults of its own would hide those of MOPO and MOBILE

__all__ = ["MOREC", "RewardConsistent", "dynamics_reward"]

_ROWS_OF_LEVELS = 1_000  # of the data, on which the levels of a discriminator are measured
_ROWS_AT_ONCE = 1 << 15  # of all members, through all discriminators

Networks = Mapping[str, FixedNetwork]


@dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid"))
class RewardConsistent(Base):
    """What MOREC adds to an algorithm of this room: the reward of transitions, and rollouts of filtered steps."""

    transition_learning_rate: float = Field(default=3e-4, gt=0, kw_only=True)  # of G
    discriminator_learning_rate: float = Field(default=3e-4, gt=0, kw_only=True)
    discriminators: int = Field(default=40, gt=0, kw_only=True)  # K
    discriminator_hidden: Widths = Field(default=(256, 256), kw_only=True)
    transition_hidden: Widths = Field(default=(200, 200), kw_only=True)
    reward_updates: int = Field(default=20_000, gt=0, kw_only=True)  # of a training's updates, those of the game
    reward_batch_size: int = Field(default=256, gt=0, kw_only=True)
    resamples: int = Field(default=2, gt=0, kw_only=True)  # candidates of each elite
    selection: Literal["softmax", "best"] = Field(default="softmax", kw_only=True)
    selection_temperature: float = Field(default=0.1, gt=0, kw_only=True)
    lowest_dynamics_reward: float = Field(default=0.6, kw_only=True)  # below which a rollout stops
    largest_state: float = Field(default=25.0, gt=0, kw_only=True)
    variant: Literal["paper", "released"] = Field(default="paper", kw_only=True)  # of stops, and of MOPO's penalty
    rollout_batch: int = Field(default=2_000, gt=0, kw_only=True)
    rollout_length: int = Field(default=100, gt=0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dynamics == "true":
            raise ConfigError("MOREC chooses among steps of learned networks: dynamics must be 'learned'")
        if self.reward_updates < self.discriminators:
            raise ConfigError(
                f"discriminators={self.discriminators} cannot be kept of reward_updates={self.reward_updates}"
            )

    # ---------------------------------------------------------------- training

    def networks(self, shapes: Shapes) -> dict[str, Specification]:  # noqa: D102
        state, action = shapes.observation_size, shapes.action_size
        rate, count = "discriminator_learning_rate", self.discriminators
        made = gaussian_network(state + action, state, self.transition_hidden, "transition_learning_rate")
        discriminator = MLP(2 * state + action, 1, self.discriminator_hidden, learning_rate=rate)
        return {
            **super().networks(shapes),
            "transitions": made,
            "discriminator": discriminator,
            "discriminators": replace(discriminator, ensemble=count),
            "discriminator_levels": Scalars(count=2, learning_rate=rate, ensemble=count),  # l and e
        }

    def stages(self) -> tuple[Stage, ...]:  # noqa: D102
        dynamics, policy = super().stages()
        game = Stage(
            "dynamics reward",
            (Phase(discriminator_loss), Phase(transition_loss)),
            {FIRST: Stream(self.reward_batch_size)},
            updates=self.reward_updates,
            segment=self.reward_updates // self.discriminators,
            between=self.between_games,
        )
        return dynamics, game, replace(policy, between=self.after_the_game)

    def between_games(self, pause: Pause) -> None:
        """Keep the best model before the first update of the game, and the discriminator in every later pause."""
        if pause.update == 0:
            keep_best(pause)  # of the last updates of the stage before
        else:
            self.keep_discriminator(pause, pause.update)

    def after_the_game(self, pause: Pause) -> None:
        """Keep the last discriminator, and refill the buffer."""
        if pause.update == 0:
            self.keep_discriminator(pause, self.reward_updates)
        self.roll_out(pause)

    @torch.no_grad()
    def keep_discriminator(self, pause: Pause, update: int) -> None:
        """Put the discriminator in the place of the oldest of the K, with its levels."""
        networks, count = pause.networks, self.discriminators
        place = (update // (self.reward_updates // count) - 1) % count
        kept = networks["discriminators"].buffer
        kept.view(-1, count, kept.shape[-1])[:, place] = networks["discriminator"].buffer
        rows = pause.data.draw(pause.draws, "levels of discriminators", _ROWS_OF_LEVELS)
        dtype = kept.dtype
        columns = (pause.data.column(name, rows).to(dtype) for name in ("observations", "actions", "next_observations"))
        real, inputs = seen_transitions(networks, *columns)
        made = make_transitions(networks, inputs, pause.draws, "levels of discriminators: noise", weights="frozen")
        values = [
            networks["discriminator"](torch.cat([inputs, change], -1), weights="frozen").mean((1, 2))
            for change in (made, real)
        ]
        levels = networks["discriminator_levels"].buffer
        levels.view(-1, count, 2)[:, place] = torch.stack(values, -1)

    # ---------------------------------------------------------------- rollouts

    @property
    def stops_are_ends(self) -> bool:  # noqa: D102
        return self.variant == "released"

    @torch.no_grad()
    def step(self, pause: Pause, states: torch.Tensor, actions: torch.Tensor, purpose: str) -> ModelStep:
        """Take the candidate with the greatest dynamics reward, or one that is drawn by it."""
        networks, h, draws = pause.networks, pause.hyperparameters, pause.draws
        means, deviations = predict(networks, states, actions)  # [P, N, B, state + 1]
        elites = elites_of(networks, self.elites)[..., None, None].expand(-1, -1, *means.shape[2:])
        mean, deviation = (part.gather(1, elites).repeat(1, self.resamples, 1, 1) for part in (means, deviations))
        candidates = mean + deviation * draws.normal(f"{purpose}: candidates", *mean.shape[1:])  # [P, C, B, state + 1]
        limit = h.largest_state[..., None, None]
        following = torch.maximum(torch.minimum(candidates[..., :-1], limit), -limit)
        earned = dynamics_reward(networks, states, actions, following)  # [P, C, B]
        preference = earned
        if self.selection == "softmax":  # the largest of these with Gumbel noise is drawn by the softmax
            uniform = draws.uniform(f"{purpose}: selection", *earned.shape[1:]).clamp(min=1e-7)
            preference = earned / h.selection_temperature[..., None] - torch.log(-torch.log(uniform))
        taken = preference.argmax(1, keepdim=True)  # [P, 1, B]
        chosen = following.gather(1, taken[..., None].expand(-1, -1, -1, following.shape[-1]))[:, 0]
        unsure = torch.zeros_like(chosen[..., 0])
        if self.rollout_penalty is not None:
            unsure = unsureness(networks, means, deviations, self.rollout_penalty, self.variant)
        stopped = earned.gather(1, taken)[:, 0] < h.lowest_dynamics_reward
        return ModelStep(chosen, candidates[..., -1].gather(1, taken)[:, 0], unsure, stopped)


@register("morec", label="MOPO+MOREC")
class MOREC(RewardConsistent, MOPO):
    """MOPO on rollouts of steps that a learned reward of transitions chooses; how that is learned is a reconstruction.

    Examples
    --------
    >>> MOREC(selection="best", penalty_weight=0.5).rollout_length
    100
    """


# -------------------------------------------------------------------------------------------------- the game


def seen_transitions(
    networks: Networks, states: torch.Tensor, actions: torch.Tensor, following: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return standardized changes [P, B, state], and standardized states and actions [P, B, state + action]."""
    scale = ModelScale.of(networks)
    return scale.changes(states, following), scale.inputs(states, actions)


def make_transitions(
    networks: Networks, inputs: torch.Tensor, draws: Draws, purpose: str, weights: Literal["learned", "frozen"]
) -> torch.Tensor:
    """Draw standardized changes [P, B, state] from G, with gradients to its weights where these are the learned ones."""
    mean, log_variance = gaussian(networks["transitions"], inputs, weights=weights)
    return mean + torch.exp(0.5 * log_variance) * draws.normal(purpose, *mean.shape[1:])


def discriminator_loss(setting: Setting) -> Losses:
    """Cross-entropy of D on transitions of the data and on made ones."""
    networks, batch = setting.networks, setting.batch
    real, inputs = seen_transitions(networks, batch.observations, batch.actions, batch.next_observations)
    with torch.no_grad():
        made = make_transitions(networks, inputs, setting.draws, "transitions to tell apart", weights="frozen")
    of_real, of_made = (networks["discriminator"](torch.cat([inputs, change], -1)) for change in (real, made))
    loss = -(logsigmoid(of_real) + logsigmoid(-of_made)).mean((1, 2))
    apart = 0.5 * ((of_real > 0).to(loss.dtype) + (of_made < 0).to(loss.dtype)).mean((1, 2))
    return Losses({"discriminator": loss}, {"discriminator_loss": loss, "told_apart": apart})


def transition_loss(setting: Setting) -> Losses:
    """Fool D."""
    networks, batch = setting.networks, setting.batch
    _, inputs = seen_transitions(networks, batch.observations, batch.actions, batch.next_observations)
    made = make_transitions(networks, inputs, setting.draws, "transitions to pass", weights="learned")
    loss = -logsigmoid(networks["discriminator"](torch.cat([inputs, made], -1), weights="frozen")).mean((1, 2))
    return Losses({"transitions": loss}, {"transitions_loss": loss})


@torch.no_grad()
def dynamics_reward(
    networks: Networks, states: torch.Tensor, actions: torch.Tensor, following: torch.Tensor
) -> torch.Tensor:
    """Return r_D of C candidates of every row.

    Parameters
    ----------
    networks : mapping
    states, actions : [P, B, ...] tensors
    following : [P, C, B, state] tensor

    Returns
    -------
    [P, C, B] tensor, from 0.31 to 1.31
    """
    members, candidates = following.shape[:2]
    kept, levels = networks["discriminators"], networks["discriminator_levels"].buffer
    made_level, real_level = levels.view(members, -1, 2, 1).unbind(2)  # [P, K, 1]
    width = real_level - made_level
    together, parts = max(1, _ROWS_AT_ONCE // (members * candidates)), []
    for first in range(0, states.shape[1], together):
        part = slice(first, first + together)
        some, done = (rows[:, part].repeat(1, candidates, 1) for rows in (states, actions))
        change, inputs = seen_transitions(networks, some, done, following[:, :, part].flatten(1, 2))
        values = kept(torch.cat([inputs, change], -1), weights="frozen").view(members, -1, change.shape[1])
        shares = 2.0 * ((values - made_level) / width).clamp(0.0, 1.0) - 1.0
        shares = torch.where(width > 0, shares, torch.zeros_like(shares))  # a discriminator that is wrong says nothing
        parts.append(-torch.log1p(-torch.sigmoid(shares).mean(1)).view(members, candidates, -1))
    return torch.cat(parts, -1)
