r"""Discrete CQL: conservative Q-learning with one value per action (Kumar et al. 2020, arXiv 2006.04779).

Double Q-learning with a hard target copy, and the gap between the log-sum-exp over all actions and the action in the data:

.. math::
    L(Q) = E \, \rho(Q(s, a) - r - \gamma (1 - d) Q'(s', \arg\max_{a'} Q(s', a')))
        + \alpha \, E \, [\log \sum_{a'} e^{Q(s, a')} - Q(s, a)]

where rho is the Huber loss, quadratic within 1. The defaults are those of the generalization-gap study (Mediratta et al.
2024, arXiv 2312.05742; `facebookresearch/gen_dgrl`): Adam 5e-4, batch 256, alpha 4. The Dataset Perspective study
(Schweighofer et al. 2022, arXiv 2111.04714) has alpha 0.1, three layers of 256 with SELU, Adam 1e-4, batch 128 and a copy
every 100 updates: `DiscreteCQL.dataset_perspective()`.

Images pass through an encoder that the loss trains too. Deviations: the encoder is DQN's, not the ResNet of either study;
gen_dgrl's copy every 100 updates stands in for its `tau`, which that code does not use.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from assay.baselines.algorithms.algorithm import Losses, Phase, Setting
from assay.baselines.algorithms.discrete.action_values import (
    BootstrappedActionValues,
    action_values,
    huber,
    of_taken,
    with_encoders,
)
from assay.baselines.algorithms.discrete.dqn import q_targets
from assay.datasets.registry import Filters, Widths, register

__all__ = ["DiscreteCQL"]


@register("discrete_cql", label="CQL (discrete)")
class DiscreteCQL(BootstrappedActionValues):
    """Conservative Q-learning of discrete actions, from vectors and images.

    Examples
    --------
    >>> DiscreteCQL.dataset_perspective().alpha
    0.1
    """

    alpha: float = Field(4.0, ge=0)  # weight of the conservative term
    learning_rate: float = Field(default=5e-4, gt=0, kw_only=True)  # of Adam
    batch_size: int = Field(default=256, gt=0, kw_only=True)  # transitions per update
    hidden: Widths = Field(default=(256, 256), kw_only=True)  # widths of the hidden layers
    activation: Literal["relu", "selu"] = Field(default="relu", kw_only=True)
    # (channels, kernel, stride); None goes by the image's size
    filters: Filters | None = Field(default=((32, 8, 4), (64, 4, 2), (64, 3, 1)), kw_only=True)

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return (Phase(loss, follow="trained"),)


def loss(setting: Setting) -> Losses:
    """Huber loss of double Q-learning, plus the conservative gap."""
    all_values = action_values(setting.networks, setting.batch.seen, "learned")  # [P, B, actions]
    values = of_taken(all_values, setting.batch.actions)  # [P, B]
    errors = huber(values, q_targets(setting))
    gap = (torch.logsumexp(all_values, -1) - values).mean(-1)
    total = errors + setting.hyperparameters.alpha[:, 0] * gap
    metrics = {"critic_loss": errors, "conservative_gap": gap, "q_mean": values.mean(-1)}
    return Losses(with_encoders(setting, {"critic": total}), metrics)
