r"""REM: the random ensemble mixture (Agarwal, Schuurmans & Norouzi 2020, arXiv 1907.04543, section 4.2).

The critic has K heads, each with one value per action. Every update draws a point of the simplex and trains the mixture of
the heads that it stands for, so that all mixtures learn to be consistent (equation 5):

.. math::
    \alpha_k &= u_k / \sum_j u_j, \quad u_k \sim U(0, 1), \quad Q_\alpha = \sum_k \alpha_k Q_k \\
    y &= r + \gamma (1 - d) \, Q'_\alpha(s', \arg\max_{a'} Q_\alpha(s', a')), \quad
    L(Q) = E \, \rho(Q_\alpha(s, a) - y)

rho is the Huber loss, and the policy takes the largest mean over the heads. One mixture serves the value, the choice and the
target of a whole batch.

The defaults are those of the Dataset Perspective study (Schweighofer et al. 2022, arXiv 2111.04714): K = 200 heads on one
trunk, and the double estimate; `double=False` is the paper's maximum of the copy. Deviations from the study's code: that
draws three mixtures, for Q(s), Q(s') and the target, so that it trains something else than the paper describes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from pydantic import Field

from assay.baselines.algorithms.algorithm import Losses, Phase, Setting
from assay.baselines.algorithms.discrete.action_values import (
    BootstrappedActionValues,
    action_values,
    huber,
    of_taken,
    per_action,
    with_encoders,
)
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import FixedNetwork, Specification
from assay.datasets.registry import register

__all__ = ["REM"]


@register("rem", label="REM")
class REM(BootstrappedActionValues):
    """Double deep Q-learning of random mixtures of many heads.

    Examples
    --------
    >>> REM(heads=50).heads
    50
    """

    heads: int = Field(200, gt=0)  # K
    double: bool = True  # whether the learned mixture chooses the action that its copy values

    def networks(self, shapes: Shapes) -> dict[str, Specification]:  # noqa: D102
        return self.network(shapes, "critic", shapes.action_size * self.heads, **self.followed)

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return (Phase(partial(loss, heads=self.heads, double=self.double), follow="trained"),)

    def all_values(self, networks: Mapping[str, FixedNetwork], observations: Any) -> torch.Tensor:  # noqa: D102
        return per_action(action_values(networks, observations, "frozen"), self.heads).mean(-1)[:, None]


def loss(setting: Setting, *, heads: int, double: bool) -> Losses:
    """Huber loss of the temporal difference of one mixture of the heads."""
    networks, batch, h = setting.networks, setting.batch, setting.hyperparameters
    shares = setting.draws.uniform("mixture of the heads", heads)  # [P, K]
    mixture = (shares / shares.sum(-1, keepdim=True))[:, None, None]

    def mixed(outputs: torch.Tensor) -> torch.Tensor:
        return (per_action(outputs, heads) * mixture).sum(-1)  # [P, B, actions]

    with torch.no_grad():
        later = mixed(action_values(networks, batch.next_seen, "target"))
        choosing = mixed(action_values(networks, batch.next_seen, "frozen")) if double else later
        next_values = later.gather(-1, choosing.argmax(-1, keepdim=True)).squeeze(-1)
        targets = batch.rewards + h.discount * batch.bootstraps * next_values
    values = of_taken(mixed(action_values(networks, batch.seen, "learned")), batch.actions)
    errors = huber(values, targets)
    return Losses(with_encoders(setting, {"critic": errors}), {"critic_loss": errors, "q_mean": values.mean(-1)})
