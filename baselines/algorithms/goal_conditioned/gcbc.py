r"""GCBC: goal-conditioned behaviour cloning by hindsight (Ghosh et al. 2021, arXiv 1912.06088; OGBench, Park et al. 2025, arXiv 2410.20092).

Whatever an episode reached later was a goal that its actions led to, so the actions are cloned under it:

.. math:: L(\pi) = E \, \lVert \pi(s_t, g) - a_t \rVert^2 / d_a, \quad g = \text{what } s_{t+k} \text{ achieves}, \ k \ge 1 \text{ uniform.}

It needs no value and no reward, and copies detours: every way to a goal counts alike, however long.

The defaults are OGBench's: three layers of 512 with GELU, Adam 3e-4, batches of 1,024, goals uniform over the episode's future.

Deviations from OGBench's `gcbc.py`: its Gaussian has a fixed standard deviation of 1, which is the squared error here, and its mean
has no tanh.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from assay.baselines.algorithms.algorithm import FIRST, Losses, Phase, Setting
from assay.baselines.algorithms.goal_conditioned.goals import GoalConditioned, goal_size, relabelled
from assay.baselines.engine.shapes import Shapes
from assay.baselines.engine.streams import HindsightRows, Stream
from assay.baselines.networks import MLP
from assay.datasets.registry import Widths, register

__all__ = ["GCBC"]


@register("gcbc", label="GCBC")
class GCBC(GoalConditioned):
    """Hindsight cloning with a deterministic tanh policy.

    Examples
    --------
    >>> GCBC().batch_size
    1024
    """

    learning_rate: float = Field(3e-4, gt=0)  # of Adam
    batch_size: int = Field(1024, gt=0)  # transitions per update
    hidden: Widths = (512, 512, 512)  # widths of the hidden layers
    activation: Literal["relu", "gelu"] = "gelu"
    normalize_observations: bool = False  # (s - mean) / (std + 1e-3) over the dataset

    def networks(self, shapes: Shapes) -> Mapping[str, MLP]:  # noqa: D102
        goal_size(shapes, self.label)
        actor = MLP(
            shapes.observation_size,
            shapes.action_size,
            self.hidden,
            learning_rate="learning_rate",
            output="tanh",
            activation=self.activation,
        )
        return {"actor": actor}

    def streams(self) -> Mapping[str, Stream]:  # noqa: D102
        return {FIRST: Stream(self.batch_size), "goals": Stream(self.batch_size, sampler=HindsightRows())}

    def phases(self) -> tuple[Phase, ...]:  # noqa: D102
        return (Phase(actor_loss),)


def actor_loss(setting: Setting) -> Losses:
    """Mean squared error of the policy's actions under goals in hindsight."""
    actions = setting.networks["actor"](relabelled(setting).observations)  # [P, B, action]
    loss = (actions - setting.batch.actions).square().mean((1, 2))
    return Losses({"actor": loss}, {"actor_loss": loss})
