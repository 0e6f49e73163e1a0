r"""QR-DQN: quantile regression of the return's distribution (Dabney et al. 2018, arXiv 1710.10044).

The critic has N outputs per action, the quantiles of the return at the midpoints of N equal shares (lemma 2), and the
policy takes the largest mean. With the greedy action of equation 13, u_ij the difference of target j and quantile i, and
kappa = 1, equation 10 is

.. math::
    \hat\tau_i &= \frac{2 i - 1}{2 N}, \quad
    y_j = r + \gamma (1 - d) \, \theta'_j(s', a^*), \quad u_{ij} = y_j - \theta_i(s, a) \\
    L(\theta) &= E \sum_i \frac{1}{N} \sum_j \lvert \hat\tau_i - 1[u_{ij} < 0] \rvert \, \rho(u_{ij})

where rho is the Huber loss. The defaults are those of the Dataset Perspective study (Schweighofer et al. 2022, arXiv
2111.04714): N = 50, and a* chosen by the means of the learned critic and valued by its copy. `double=False` lets the copy
choose, as in the paper.

Deviations from the study's code: its levels are i / N, half a share beside the midpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from pydantic import Field
from torch.nn import functional

from assay.baselines.algorithms.algorithm import Losses, Phase, Setting
from assay.baselines.algorithms.discrete.action_values import (
    BootstrappedActionValues,
    action_values,
    of_taken,
    per_action,
    with_encoders,
)
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import FixedNetwork, Specification
from assay.datasets.registry import register

__all__ = ["QRDQN", "quantile_huber"]


@register("qrdqn", label="QR-DQN")
class QRDQN(BootstrappedActionValues):
    """Double deep Q-learning of the distribution of returns.

    Examples
    --------
    >>> QRDQN().quantiles
    50
    """

    quantiles: int = Field(50, gt=0)  # N, per action
    double: bool = True  # whether the learned critic chooses the action that its copy values

    def networks(self, shapes: Shapes) -> dict[str, Specification]:  # noqa: D102
        return self.network(shapes, "critic", shapes.action_size * self.quantiles, **self.followed)

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return (Phase(partial(loss, quantiles=self.quantiles, double=self.double), follow="trained"),)

    def all_values(self, networks: Mapping[str, FixedNetwork], observations: Any) -> torch.Tensor:  # noqa: D102
        return per_action(action_values(networks, observations, "frozen"), self.quantiles).mean(-1)[:, None]


def loss(setting: Setting, *, quantiles: int, double: bool) -> Losses:
    """Quantile regression of the distribution that the next state promises."""
    networks, batch, h = setting.networks, setting.batch, setting.hyperparameters
    with torch.no_grad():
        later = per_action(action_values(networks, batch.next_seen, "target"), quantiles)  # [P, B, actions, N]
        choosing = per_action(action_values(networks, batch.next_seen, "frozen"), quantiles) if double else later
        best = choosing.mean(-1).argmax(-1)[..., None, None].expand(*later.shape[:2], 1, quantiles)
        following = later.gather(2, best).squeeze(2)  # [P, B, N]
        targets = batch.rewards[..., None] + (h.discount * batch.bootstraps)[..., None] * following
    outputs = per_action(action_values(networks, batch.seen, "learned"), quantiles)
    found = of_taken(outputs.transpose(-1, -2), batch.actions[..., None, :])  # [P, B, N]
    errors = quantile_huber(found, targets).mean(-1)
    return Losses(with_encoders(setting, {"critic": errors}), {"critic_loss": errors, "q_mean": found.mean((1, 2))})


def quantile_huber(quantiles: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the loss [...] of quantiles [..., N] at the midpoints, for a distribution of equally likely targets [..., M].

    Examples
    --------
    >>> quantile_huber(torch.tensor([0.0]), torch.tensor([0.5])).item()  # half of the Huber loss
    0.0625
    """
    count = quantiles.shape[-1]
    levels = (torch.arange(count, device=quantiles.device, dtype=quantiles.dtype) + 0.5) / count
    differences = targets[..., None, :] - quantiles[..., None]  # [..., N, M]
    sizes = functional.smooth_l1_loss(differences, torch.zeros_like(differences), reduction="none")
    weights = (levels[:, None] - (differences.detach() < 0).to(levels.dtype)).abs()
    return (weights * sizes).mean(-1).sum(-1)
