r"""GCIQL: implicit Q-learning under goals in hindsight (Kostrikov et al. 2021, arXiv 2110.06169; OGBench, Park et al. 2025, arXiv 2410.20092).

IQL with the reward r = -1 per step until the goal is entered, where the episode is over (d = 1):

.. math::
    L(V) &= E \, |\tau - 1[u < 0]| \, u^2, \quad u = \min_k Q'_k(s, a, g) - V(s, g) \\
    L(Q) &= E \, \sum_k (r + \gamma (1 - d) V(s', g) - Q_k(s, a, g))^2 \\
    L(\pi) &= -E \, \min(e^{\beta (\min_k Q_k - V)}, 100) \log \pi(a | s, g)

Goals of Q and V are what the transition itself enters (0.2), what its episode enters later (0.5, geometric by the discount) and what any
transition enters (0.3); those of the policy are in hindsight, uniform over the future. All losses see the networks as they were. The
policy is a Gaussian of fixed standard deviation 1 with tanh mean, and acts by its mean.

The defaults are OGBench's: three layers of 512 with GELU and, but for the policy, layer norm, Adam 3e-4, batches of 1,024, tau = 0.9.

Deviations from OGBench's `gciql.py`:

- The policy is taken by advantage-weighted regression with IQL's inverse temperature 3; there it is one of two choices, and the
  default adds the critic's gradient to cloning (DDPG+BC).
- A goal is entered by the transition whose s' achieves it, there by the one that begins at it: values differ by one step.
- Equality of what is achieved decides, there equality of row numbers: so it also counts where nothing moves.
- Its policy's mean has no tanh.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field

from assay.baselines.algorithms.algorithm import FIRST, Losses, Phase, Setting
from assay.baselines.algorithms.distributions import gaussian_log_probability
from assay.baselines.algorithms.goal_conditioned.goals import GoalConditioned, goal_size, relabelled
from assay.baselines.engine.shapes import Shapes
from assay.baselines.engine.streams import HindsightRows, Stream
from assay.baselines.networks import MLP
from assay.datasets.registry import Widths, register

__all__ = ["GCIQL"]

_LARGEST_WEIGHT = 100.0


@register("gciql", label="GCIQL")
class GCIQL(GoalConditioned):
    """Goal-conditioned IQL with OGBench's defaults and advantage-weighted regression.

    Examples
    --------
    >>> GCIQL(expectile=0.7).expectile
    0.7
    """

    valued_by: ClassVar[tuple[str, ...]] = ("critic",)

    expectile: float = Field(0.9, gt=0, lt=1)  # tau; nearer to 1 is nearer to the best action in the data
    temperature: float = Field(3.0, ge=0)  # beta, inverse temperature of the advantage weights; 0 is cloning
    hindsight_share: float = Field(0.5, ge=0, le=1)  # of the values' goals: from the transition's own future
    own_share: float = Field(0.2, ge=0, le=1)  # of the values' goals: what the transition itself enters
    discount: float = Field(0.99, gt=0, lt=1)  # of rewards, and of how far away the values' goals are
    target_update_rate: float = Field(0.005, ge=0, le=1)
    actor_learning_rate: float = Field(3e-4, gt=0)
    critic_learning_rate: float = Field(3e-4, gt=0)
    value_learning_rate: float = Field(3e-4, gt=0)
    batch_size: int = Field(1024, gt=0)  # transitions per update
    hidden: Widths = (512, 512, 512)  # widths of the hidden layers
    activation: Literal["relu", "gelu"] = "gelu"
    normalize_observations: bool = False  # (s - mean) / (std + 1e-3) over the dataset

    def networks(self, shapes: Shapes) -> Mapping[str, MLP]:  # noqa: D102
        goal_size(shapes, self.label)
        state, action = shapes.observation_size, shapes.action_size
        common: dict[str, Any] = {"hidden": self.hidden, "activation": self.activation}
        normed: dict[str, Any] = {**common, "layer_norm": True}
        return {
            "value": MLP(state, 1, learning_rate="value_learning_rate", **normed),
            "critic": MLP(state + action, 1, learning_rate="critic_learning_rate", ensemble=2, target=True, **normed),
            "actor": MLP(state, action, learning_rate="actor_learning_rate", output="tanh", **common),
        }

    def streams(self) -> Mapping[str, Stream]:  # noqa: D102
        of_values = HindsightRows(share="hindsight_share", own_share="own_share", discount="discount")
        return {
            FIRST: Stream(self.batch_size),
            "goals": Stream(self.batch_size, sampler=of_values),
            "actor_goals": Stream(self.batch_size, sampler=HindsightRows()),
        }

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return (Phase(losses, follow=("critic",)),)


def losses(setting: Setting) -> Losses:
    """Compute the three losses on the networks as they are before the update."""
    networks, actions, h = setting.networks, setting.batch.actions, setting.hyperparameters
    here, aimed = relabelled(setting), relabelled(setting, "actor_goals").observations
    inputs = torch.cat([here.observations, actions], -1)
    with torch.no_grad():
        slow = networks["critic"](inputs, weights="target").squeeze(-1).amin(1)  # [P, B]
        following = networks["value"](here.next_observations, weights="frozen").squeeze(-1)
        targets = torch.where(here.enters, 0.0, -1.0 + h.discount * following)
        critics = networks["critic"](torch.cat([aimed, actions], -1), weights="frozen").squeeze(-1).amin(1)
        advantages = critics - networks["value"](aimed, weights="frozen").squeeze(-1)
        weights = torch.exp(h.temperature * advantages).clamp(max=_LARGEST_WEIGHT)

    difference = slow - networks["value"](here.observations).squeeze(-1)
    value_loss = (torch.where(difference < 0, 1.0 - h.expectile, h.expectile) * difference.square()).mean(-1)
    values = networks["critic"](inputs).squeeze(-1)  # [P, K, B]
    critic_loss = (values - targets[:, None]).square().mean(-1).sum(-1)
    mean = networks["actor"](aimed)
    actor_loss = -(weights * gaussian_log_probability(actions, mean, torch.zeros_like(mean[:, :1]))).mean(-1)
    metrics = {
        "value_loss": value_loss,
        "critic_loss": critic_loss,
        "actor_loss": actor_loss,
        "q_mean": values.mean((1, 2)),
        "advantage_mean": advantages.mean(-1),
    }
    return Losses({"value": value_loss, "critic": critic_loss, "actor": actor_loss}, metrics)
