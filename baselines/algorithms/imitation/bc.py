r"""Behaviour cloning: regress the dataset's actions.

Pomerleau 1991; as a baseline of offline RL, Fu et al. 2020 (arXiv 2004.07219). A deterministic policy minimizes

.. math:: L(\pi) = E_{(s,a) \sim D} \, \lVert \pi(s) - a \rVert^2 / d_a .

Of discrete actions, each is an entry of a, 1 where it was taken and -1 elsewhere, and the policy takes the largest entry
of its answer: classification by least squares, where others take the cross-entropy of a softmax.

Deviations: none from CORL's `any_percent_bc.py` at fraction 1 (two layers of 256, Adam 3e-4, batch 256, observations
normalized by (s - mean) / (std + 1e-3), mean squared error over the entries of the action).
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from assay.baselines.algorithms.algorithm import Algorithm, DatasetWeights, Losses, Phase, Setting
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import MLP
from assay.datasets.registry import Widths, register

__all__ = ["BC"]


@register("bc", label="BC")
class BC(Algorithm):
    """Behaviour cloning with a deterministic tanh policy.

    Examples
    --------
    >>> BC().learning_rate
    0.0003
    """

    labels: ClassVar[tuple[str, ...]] = ("actions",)
    discrete_actions: ClassVar[bool] = True

    learning_rate: float = Field(3e-4, gt=0)  # of Adam
    batch_size: int = Field(256, gt=0)  # transitions per update
    hidden: Widths = (256, 256)  # widths of the hidden layers
    normalize_observations: bool = True  # (s - mean) / (std + 1e-3) over the dataset
    dataset_weights: DatasetWeights = "draws"  # how the dataset's weights count: draws, losses or batch_losses

    def networks(self, shapes: Shapes) -> dict[str, MLP]:  # noqa: D102
        return {
            "actor": MLP(
                shapes.observation_size, shapes.action_size, self.hidden, learning_rate="learning_rate", output="tanh"
            )
        }

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return (Phase(actor_loss),)


def actor_loss(setting: Setting) -> Losses:
    """Mean squared error of the policy's actions."""
    actions = setting.networks["actor"](setting.batch.observations)  # [P, B, action]
    loss = setting.batch.mean((actions - setting.batch.actions).square(), (1, 2), rows=1)  # [P]
    return Losses({"actor": loss}, {"actor_loss": loss})
