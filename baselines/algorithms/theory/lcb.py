r"""LCB: the lower confidence bound for bandits and contextual bandits.

Rashidinejad et al. 2021 (arXiv 2103.12021): pessimism under uncertainty, in closed form. Of the actions seen in a state the
one with the largest lower bound of its mean reward is taken,

.. math::
    \pi(s) = \arg\max_a \bar r(s, a) - b(s, a), \quad
    b(s, a) = \sqrt{\log(2 |S| |A| / \delta) / (2 N(s, a))}

for rewards in [0, 1]; an action without data has mean 0 and b = 1. A plain bandit is one state. The paper takes delta about
1/N. With concentrability C* near 1 (expert data) the error falls as 1/N, else as 1/sqrt(N).

The other scores are its baselines: `"mean"` takes the largest mean, `"count"` the most played action, which is cloning.

Deviations: the formulas are those of the published paper as stated above (there is no published code); rewards in another
range are divided by `reward_range` first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from assay.baselines.algorithms.algorithm import Memory
from assay.baselines.algorithms.direct import DirectAlgorithm, Solution
from assay.baselines.algorithms.theory.tables import cells_of, column_of, states_of
from assay.baselines.engine.acting import EpisodeDraws
from assay.baselines.engine.data import TrainingData
from assay.baselines.engine.randomness import Draws
from assay.baselines.engine.shapes import Shapes
from assay.baselines.networks import FixedNetwork, Table
from assay.datasets.errors import ConfigError
from assay.datasets.registry import register

__all__ = ["LCB", "count"]


@register("lcb", label="LCB")
class LCB(DirectAlgorithm):
    """Lower confidence bounds on a table of states and actions.

    Examples
    --------
    >>> LCB(score="mean").delta is None
    True
    """

    acting: ClassVar[tuple[str, ...]] = ("bounds",)
    valued_by: ClassVar[tuple[str, ...]] = ("bounds",)
    discrete_actions: ClassVar[bool] = True
    continuous_actions: ClassVar[bool] = False

    reward_range: float = Field(1.0, gt=0)  # rewards are taken to be in [0, reward_range]
    delta: float | None = Field(None, gt=0, lt=1)  # probability that a bound fails; None is 1/N
    score: Literal["lcb", "mean", "count"] = "lcb"

    def networks(self, shapes: Shapes) -> dict[str, Table]:  # noqa: D102
        return {"bounds": Table(states_of(shapes, self.label), shapes.action_size)}

    def solve(self, members: Sequence[Any], data: Sequence[TrainingData], draws: Draws) -> Solution:  # noqa: D102
        states, actions = self.networks(data[0].shapes)["bounds"].states, data[0].action_size
        counted = [count(item, states, actions) for item in data]
        counts = torch.from_numpy(np.stack([item[0] for item in counted]))  # [P, S, A]
        sums = torch.from_numpy(np.stack([item[1] for item in counted]))
        ranges = counts.new_tensor([member.reward_range for member in members])[:, None, None]
        means = torch.where(counts > 0, sums / counts.clamp(min=1.0) / ranges, 0.0)
        total = counts.sum((1, 2), keepdim=True)
        delta = 1.0 / total if self.delta is None else torch.full_like(total, self.delta)
        penalties = torch.sqrt(torch.log(2 * states * actions / delta) / (2.0 * counts.clamp(min=1.0)))
        penalties = torch.where(counts > 0, penalties, 1.0)
        bounds = {"lcb": means - penalties, "mean": means, "count": counts}[self.score]
        return Solution({"bounds": bounds}, {"coverage": (counts > 0).double().mean((1, 2))})

    def act(
        self,
        networks: Mapping[str, FixedNetwork],
        observations: torch.Tensor,
        memory: Memory,
        draws: EpisodeDraws,
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """Return the bounds of all actions; the largest is taken, the first of equal ones."""
        return networks["bounds"](observations, weights="frozen"), {}

    def values(
        self, networks: Mapping[str, FixedNetwork], observations: torch.Tensor, actions: torch.Tensor
    ) -> torch.Tensor:
        """Return the bounds [P, 1, n] of the actions."""
        return (networks["bounds"](observations, weights="frozen") * (actions > 0)).sum(-1)[:, None]


def count(data: TrainingData, states: int, actions: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how often each action was taken in each state, and the sum of its rewards: (states, actions) float64.

    Raises
    ------
    ConfigError
        If an episode has more than one step: a bandit's has one.
    """
    if (data.remaining > 1).any():
        row = int(np.flatnonzero(data.remaining > 1)[0])
        raise ConfigError(
            f"LCB is for bandits, whose episodes have one step; the episode of row {row} goes on. Mark every step as the "
            "end of its episode if the next state does not matter"
        )
    cells = cells_of(data)
    counts = np.bincount(cells, minlength=states * actions).astype(np.float64)
    sums = np.bincount(cells, column_of(data, "rewards"), minlength=states * actions)
    return counts.reshape(states, actions), sums.reshape(states, actions)
