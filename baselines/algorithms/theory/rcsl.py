r"""RCSL: return-conditioned supervised learning, for tables (Brandfonbrener et al. 2022, arXiv 2206.01079).

What a Decision Transformer tends to where everything can be counted: the actions that were followed by the largest return,

.. math::
    \pi(a | s) = \hat P(a | s, r = r_{max})

with r the return from the step on, in `outcomes` kinds as `doc` has them, and the behaviour's distribution in states that no
largest return followed. Where the environment draws, a large return is partly luck, and luck is cloned with it.

Deviations: the paper conditions on any return, by a function f(s); here it is the largest, as `doc` asks for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field

from assay.baselines.algorithms.algorithm import Memory
from assay.baselines.algorithms.direct import DirectAlgorithm, Solution
from assay.baselines.algorithms.theory.tables import drawn_action, shares_of, states_of
from assay.baselines.engine.acting import EpisodeDraws
from assay.baselines.engine.data import TrainingData
from assay.baselines.engine.randomness import Draws
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import FixedNetwork, Table
from assay.datasets.registry import register

__all__ = ["TabularRCSL"]


@register("tabular_rcsl", label="RCSL (tabular)")
class TabularRCSL(DirectAlgorithm):
    """Cloning of what was followed by the largest return.

    Examples
    --------
    >>> TabularRCSL().outcomes
    2
    """

    acting: ClassVar[tuple[str, ...]] = ("policy",)
    extra_columns: ClassVar[tuple[str, ...]] = ("returns_to_go",)
    discrete_actions: ClassVar[bool] = True
    continuous_actions: ClassVar[bool] = False

    outcomes: int = Field(2, gt=1)  # kinds of returns

    def networks(self, shapes: Shapes) -> dict[str, Table]:  # noqa: D102
        return {"policy": Table(states_of(shapes, self.label), shapes.action_size)}

    def solve(self, members: Sequence[Any], data: Sequence[TrainingData], draws: Draws) -> Solution:  # noqa: D102
        states, actions = states_of(data[0].shapes, self.label), data[0].action_size
        shares = np.stack([shares_of(item, states, actions, self.outcomes) for item in data])  # [P, S, A, R]
        best, played = shares[..., -1], shares.sum(-1)
        followed = best.sum(-1, keepdims=True) > 0
        chosen = np.where(followed, best, np.where(played.sum(-1, keepdims=True) > 0, played, 1.0))
        with np.errstate(divide="ignore"):
            policy = np.log(chosen / chosen.sum(-1, keepdims=True))
        return Solution(
            {"policy": torch.from_numpy(np.maximum(policy, -1e9))},
            {"followed": torch.from_numpy(followed.mean((1, 2)))},
        )

    def act(
        self, networks: Mapping[str, FixedNetwork], observations: torch.Tensor, memory: Memory, draws: EpisodeDraws
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """Return log pi(a | s) with Gumbel noise, so that the largest is a draw."""
        return drawn_action(networks["policy"](observations, weights="frozen"), draws), {}
