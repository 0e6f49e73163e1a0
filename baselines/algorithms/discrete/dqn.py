r"""DQN: deep Q-learning on a fixed dataset (Mnih et al. 2015), with the double estimate (van Hasselt et al. 2016, arXiv 1509.06461).

With a copy Q' of the network that becomes Q every `target_update_every` updates, and d = 1 at terminations only,

.. math::
    y &= r + \gamma (1 - d) \, Q'(s', \arg\max_{a'} Q(s', a')) \\
    L(Q) &= E \, \rho(Q(s, a) - y), \quad
    \rho(x) = x^2 / 2 \text{ where } |x| < 1, \text{ else } |x| - 1/2

and the policy takes the largest value. Nothing keeps it from actions that the data never shows. `double=False` is the
maximum of Q' itself, as in Mnih et al.

The defaults are those of the Dataset Perspective study (Schweighofer et al. 2022, arXiv 2111.04714), whose every algorithm
that bootstraps on a maximum takes the double estimate. Deviations: none known; a truncation bootstraps, a termination
does not.
"""

from __future__ import annotations

from functools import partial

import torch

from assay.baselines.algorithms.algorithm import Losses, Phase, Setting
from assay.baselines.algorithms.discrete.action_values import (
    BootstrappedActionValues,
    action_values,
    huber,
    of_taken,
    with_encoders,
)
from assay.datasets.registry import register

__all__ = ["DQN", "q_targets"]


@register("dqn", label="DQN")
class DQN(BootstrappedActionValues):
    """Double deep Q-learning of discrete actions.

    Examples
    --------
    >>> DQN(discount=0.95).target_update_every
    100
    """

    double: bool = True  # whether Q chooses the action that Q' values

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return (Phase(partial(loss, double=self.double), follow="trained"),)


def loss(setting: Setting, *, double: bool) -> Losses:
    """Huber loss of the temporal difference."""
    batch = setting.batch
    values = of_taken(action_values(setting.networks, batch.seen, "learned"), batch.actions)  # [P, B]
    errors = huber(values, q_targets(setting, double))
    return Losses(with_encoders(setting, {"critic": errors}), {"critic_loss": errors, "q_mean": values.mean(-1)})


@torch.no_grad()
def q_targets(setting: Setting, double: bool = True) -> torch.Tensor:
    """Return y, [P, B]."""
    networks, batch = setting.networks, setting.batch
    later = action_values(networks, batch.next_seen, "target")  # [P, B, actions]
    choosing = action_values(networks, batch.next_seen, "frozen") if double else later
    next_values = later.gather(-1, choosing.argmax(-1, keepdim=True)).squeeze(-1)
    targets: torch.Tensor = batch.rewards + setting.hyperparameters.discount * batch.bootstraps * next_values
    return targets
