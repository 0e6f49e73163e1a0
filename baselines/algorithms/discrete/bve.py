r"""BVE: behaviour value estimation (Gulcehre et al. 2021, arXiv 2103.09575).

The value of the policy that made the data, by SARSA on its own next action a', and then one step of improvement: the policy
takes the largest value.

.. math::
    L(Q) = E \, \rho(Q(s, a) - r - \gamma (1 - d) \, Q(s', a')),
    \quad \pi(s) = \arg\max_a Q(s, a)

rho is the Huber loss. No maximum is bootstrapped on, so errors at actions that the data lacks do not accumulate; the last
step, acting, still meets them.

As in the Dataset Perspective study (Schweighofer et al. 2022, arXiv 2111.04714) there is no target copy: the target is Q
itself, without a gradient. Deviations: the last step of an episode that was cut has no next action and is left out of the
mean; the paper's regularization of the gap between ranked values is not part of the study's BVE and not here.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch.nn import functional

from assay.baselines.algorithms.algorithm import Losses, Phase, Setting
from assay.baselines.algorithms.discrete.action_values import ActionValues, action_values, of_taken, with_encoders
from assay.datasets.registry import register

__all__ = ["BVE"]


@register("bve", label="BVE")
class BVE(ActionValues):
    """Values of the behaviour policy, acted on greedily.

    Examples
    --------
    >>> BVE().discount
    0.99
    """

    extra_columns: ClassVar[tuple[str, ...]] = ("next_actions",)

    return_steps: int = Field(default=1, gt=0, kw_only=True)  # n of n-step returns

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return (Phase(loss),)


def loss(setting: Setting) -> Losses:
    """Huber loss of SARSA, over the steps that end the MDP or have a next action."""
    networks, batch, h = setting.networks, setting.batch, setting.hyperparameters
    with torch.no_grad():
        next_values = of_taken(action_values(networks, batch.next_seen, "frozen"), batch["next_actions"])  # [P, B]
        targets = batch.rewards + h.discount * batch.bootstraps * next_values
        known = torch.maximum(batch["has_next_actions"], (batch.bootstraps == 0).to(targets.dtype))
    values = of_taken(action_values(networks, batch.seen, "learned"), batch.actions)
    errors = functional.smooth_l1_loss(values, targets, reduction="none") * known
    mean = errors.sum(-1) / known.sum(-1).clamp(min=1.0)
    return Losses(with_encoders(setting, {"critic": mean}), {"critic_loss": mean, "q_mean": values.mean(-1)})
