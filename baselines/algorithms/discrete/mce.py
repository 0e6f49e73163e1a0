r"""MCE: Monte Carlo estimation of the behaviour's values, as the Dataset Perspective study has it (Schweighofer et al. 2022, arXiv 2111.04714).

The critic is regressed on the discounted sum of the rewards that followed in the data, and the policy takes the largest
value:

.. math::
    G_t = \sum_{k \ge 0} \gamma^k r_{t+k}, \quad L(Q) = E \, \rho(Q(s_t, a_t) - G_t), \quad \pi(s) = \arg\max_a Q(s, a)

The sum ends with the episode, at a truncation too, so values are too small in absolute terms near a time limit; `BVE`
estimates the same values by bootstrapping instead. The Huber loss rho makes them a compromise of mean and median where
returns scatter by more than 1.

G depends on the discount, so members of different discounts hold datasets of their own. Deviations: none known.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from assay.baselines.algorithms.algorithm import Losses, Phase, Setting
from assay.baselines.algorithms.discrete.action_values import (
    ActionValues,
    action_values,
    huber,
    of_taken,
    with_encoders,
)
from assay.baselines.engine.data import ActionScale, TrainingData
from assay.datasets.dataset import Dataset
from assay.datasets.registry import register

__all__ = ["MCE"]

_COLUMN = "returns_to_go"  # laid out as plain sums, then discounted


@register("mce", label="MCE")
class MCE(ActionValues):
    """Monte Carlo values of the behaviour policy, acted on greedily.

    Examples
    --------
    >>> MCE(discount=0.95).data_parameters()["discount"]
    0.95
    """

    extra_columns: ClassVar[tuple[str, ...]] = (_COLUMN,)

    def training_data(self, dataset: Dataset, action_scale: ActionScale) -> TrainingData:
        """Lay a dataset out with the discounted returns from every step on."""
        data = super().training_data(dataset, action_scale)
        names = [name for name, size in data.columns for _ in range(size)]
        rows = data.rows.copy()
        rows[:, names.index(_COLUMN)] = dataset.returns_to_go(self.discount)[dataset.transition_steps()]
        return replace(data, rows=rows)

    def data_parameters(self) -> dict[str, Any]:  # noqa: D102
        return {**super().data_parameters(), "discount": self.discount}

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return (Phase(loss),)


def loss(setting: Setting) -> Losses:
    """Huber loss of the discounted returns."""
    values = of_taken(action_values(setting.networks, setting.batch.seen, "learned"), setting.batch.actions)
    errors = huber(values, setting.batch[_COLUMN])
    return Losses(with_encoders(setting, {"critic": errors}), {"critic_loss": errors, "q_mean": values.mean(-1)})
