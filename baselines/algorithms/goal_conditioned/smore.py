r"""SMORe: score models for offline goal-conditioned RL (Sikchi et al. 2024, arXiv 2311.02013).

Reaching goals as matching the occupancy of transitions that enter them, by a contrastive objective without a density: scores of what
enters a goal are pushed up, all others obey a Bellman equation. Of B1, transitions (s, a, s') under a goal g from their own future with
probability 0.8, and B2, transitions that end at g under that g,

.. math::
    L(V) &= E_{B1} \, |\tau - 1[u < 0]| \, u^2, \quad u = \min_k Q'_k(s, a, g) - V(s, g) \\
    L(\pi) &= -E_{B1} \, \min(e^{\beta (\min_k Q'_k - V)}, 100) \log \pi(a | s, g) \\
    L(Q) &= E_{B2} (Q - \tfrac{2}{1 - \gamma})^2 + \tfrac{1}{2} E_{B1} (Q - (-2 + \gamma V(s', g)))^2
            + (1 - \gamma) \, \alpha \, E_{B1} Q^2, \quad \alpha = 10^{-4}.

In words, each step costs 2, and entering the goal is worth 2 for ever after. The order is V, then the policy, then Q: the policy and
the target of Q use the new V, which has no target copy. `variant="paper"` has the paper's objective, in which nothing bounds the
scores but the square,

.. math:: L(Q) = -E_{B2} Q + \alpha E_{B1} Q + \tfrac{1}{2} E_{B1} (Q - \gamma V(s', g))^2 ;

"released", the default, has the one above, `loss_type=smore_stable` of github.com/hari-sikchi/SMORe, which is the default there.
The policy is a Gaussian with tanh mean and state-independent log standard deviations of at least -5; it acts by its mean.

Transitions that enter their goal are in B1 as well, where their target is -2 + gamma V(s', g) in place of 2 / (1 - gamma): Q there is a
compromise that depends on the sizes of both batches. As published; `terminate_at_goal=True` leaves them out of the Bellman part.

Deviations from the released code:

- Goals are found by the rows that are left of an episode. There an index with a stride of one row less per trajectory than it was
  made for takes them from neighbouring trajectories, and the row before an episode's first counts as entering its first state.
- A goal that is not in hindsight is one that some transition of the data enters, any of them alike. There it is the trajectory's desired
  goal in B1, and in B2 that of a row nearer to its desired goal than an environment's threshold. So no threshold is needed, and each
  goal of an update has its transition that enters it: the goals of B1 and B2 are the same.
- `expectile` is 0.8, as its README passes (`--beta`); the flag's own default is 0.1, which is a lower expectile.
- No gradient penalty (off there, and written for one critic twice), no flag that its losses do not use.
- The policy's cosine runs over the updates of the training, there over 3,000,000 whatever the training. Weights begin uniform as
  everywhere here, there orthogonal.
- Discrete actions are not offered.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import ClassVar, Literal

import torch
from pydantic import Field

from assay.baselines.algorithms.algorithm import FIRST, Losses, Phase, Setting
from assay.baselines.algorithms.distributions import gaussian_log_probability
from assay.baselines.algorithms.goal_conditioned.goals import (
    GoalConditioned,
    goal_size,
    reached,
    relabelled,
    shapes_of,
    towards,
)
from assay.baselines.engine.shapes import Shapes
from assay.baselines.engine.streams import HindsightRows, Stream
from assay.baselines.networks import MLP
from assay.datasets.registry import Widths, register

__all__ = ["SMORe"]

_LARGEST_WEIGHT = 100.0
_LOG_STD_RANGE = (-5.0, 2.0)
_STEP_SCORE = -2.0


@register("smore", label="SMORe")
class SMORe(GoalConditioned):
    """Score models, with the released defaults.

    Examples
    --------
    >>> SMORe(expectile=0.7).expectile
    0.7
    """

    valued_by: ClassVar[tuple[str, ...]] = ("critic",)

    expectile: float = Field(0.8, gt=0, lt=1)  # tau; nearer to 1 is nearer to the best action in the data
    temperature: float = Field(3.0, ge=0)  # beta, inverse temperature of the advantage weights; 0 is cloning
    score_decay: float = Field(1e-4, ge=0)  # alpha, of the scores of B1
    hindsight_share: float = Field(0.8, ge=0, le=1)  # of goals from the transition's own future
    discount: float = Field(0.99, ge=0, lt=1)
    target_update_rate: float = Field(0.005, ge=0, le=1)
    actor_learning_rate: float = Field(3e-4, gt=0)  # at the start of its cosine
    critic_learning_rate: float = Field(3e-4, gt=0)
    value_learning_rate: float = Field(3e-4, gt=0)
    batch_size: int = Field(256, gt=0)  # of B1, and of B2
    hidden: Widths = (256, 256, 256)  # widths of the hidden layers
    variant: Literal["released", "paper"] = "released"  # which objective of Q
    terminate_at_goal: bool = False  # leave transitions that enter their goal out of the Bellman part
    normalize_observations: bool = False  # (s - mean) / (std + 1e-3) over the dataset

    def networks(self, shapes: Shapes) -> Mapping[str, MLP]:  # noqa: D102
        goal_size(shapes, self.label)
        state, action = shapes.observation_size, shapes.action_size
        return {
            "value": MLP(
                state,
                1,
                self.hidden,
                learning_rate="value_learning_rate",
                layer_norm=True,
                norm_before_activation=True,
            ),
            "actor": MLP(
                state,
                action,
                self.hidden,
                learning_rate="actor_learning_rate",
                schedule="cosine",
                output="tanh",
                state_independent=action,
            ),
            "critic": MLP(
                state + action, 1, self.hidden, learning_rate="critic_learning_rate", ensemble=2, target=True
            ),
        }

    def streams(self) -> Mapping[str, Stream]:  # noqa: D102
        goals = Stream(self.batch_size, sampler=HindsightRows(share="hindsight_share"))
        return {FIRST: Stream(self.batch_size), "goals": goals}

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        of_critic = partial(critic_loss, variant=self.variant, terminate_at_goal=self.terminate_at_goal)
        return Phase(value_loss), Phase(actor_loss), Phase(of_critic, follow=("critic",))


def value_loss(setting: Setting) -> Losses:
    """Let V follow an upper expectile of the target critics, on B1."""
    observations = relabelled(setting).observations
    advantages = slow_scores(setting, observations) - setting.networks["value"](observations).squeeze(-1)  # [P, B]
    expectile = setting.hyperparameters.expectile
    loss = (torch.where(advantages < 0, 1.0 - expectile, expectile) * advantages.square()).mean(-1)
    return Losses({"value": loss}, {"value_loss": loss, "advantage_mean": advantages.mean(-1)})


def actor_loss(setting: Setting) -> Losses:
    """Clone the actions of B1 by their advantages over the new V."""
    observations, actor = relabelled(setting).observations, setting.networks["actor"]
    with torch.no_grad():
        values = setting.networks["value"](observations, weights="frozen").squeeze(-1)
        advantages = slow_scores(setting, observations) - values
        weights = torch.exp(setting.hyperparameters.temperature * advantages).clamp(max=_LARGEST_WEIGHT)  # [P, B]
    log_std = actor.state_independent.clamp(*_LOG_STD_RANGE)
    loss = -(weights * gaussian_log_probability(setting.batch.actions, actor(observations), log_std)).mean(-1)
    return Losses({"actor": loss}, {"actor_loss": loss, "weight_mean": weights.mean(-1)})


def critic_loss(setting: Setting, variant: Literal["released", "paper"], terminate_at_goal: bool) -> Losses:
    """Push the scores of B2 up, and those of B1 towards the new V of what follows."""
    here, batch, entering = relabelled(setting), setting.batch, setting.batches["goals"]
    h, shapes = setting.hyperparameters, shapes_of(setting)
    with torch.no_grad():
        next_values = setting.networks["value"](here.next_observations, weights="frozen").squeeze(-1)
        per_step = _STEP_SCORE if variant == "released" else 0.0
        targets = (per_step + h.discount * next_values)[:, None]  # [P, 1, B]
    at_goals = towards(entering.observations, reached(entering, shapes), shapes)
    inputs = torch.cat(
        [torch.cat([here.observations, batch.actions], -1), torch.cat([at_goals, entering.actions], -1)], 1
    )
    scores = setting.networks["critic"](inputs).squeeze(-1)  # [P, K, 2 B]
    elsewhere, at_goal = scores[..., : batch.actions.shape[1]], scores[..., batch.actions.shape[1] :]

    residuals = (elsewhere - targets).square()
    if terminate_at_goal:
        residuals = residuals * ~here.enters[:, None]
    bellman, alpha = 0.5 * residuals.mean(-1), h.score_decay  # [P, K], [P, 1]
    if variant == "released":
        decay = (1.0 - h.discount) * alpha * elsewhere.square().mean(-1)
    else:
        decay = alpha * elsewhere.mean(-1)
    loss = (contrast(at_goal, h.discount, variant) + bellman + decay).sum(-1)
    metrics = {
        "critic_loss": loss,
        "score_at_goal": at_goal.mean((1, 2)),
        "score_elsewhere": elsewhere.mean((1, 2)),
    }
    return Losses({"critic": loss}, metrics)


def contrast(at_goal: torch.Tensor, discount: torch.Tensor, variant: Literal["released", "paper"]) -> torch.Tensor:
    """Return what pushes up the scores [P, K, B] of transitions that enter their goal, [P, K].

    Examples
    --------
    >>> contrast(torch.full((1, 2, 4), 3.0), torch.tensor([[0.5]]), "released").tolist()
    [[1.0, 1.0]]
    """
    if variant == "paper":
        return -at_goal.mean(-1)
    return (at_goal + _STEP_SCORE / (1.0 - discount)[..., None]).square().mean(-1)


def slow_scores(setting: Setting, observations: torch.Tensor) -> torch.Tensor:
    """Return the smaller of the target critics at the actions of the data, [P, B], without gradient."""
    inputs = torch.cat([observations, setting.batch.actions], -1)
    with torch.no_grad():
        return setting.networks["critic"](inputs, weights="target").squeeze(-1).amin(1)
