r"""VI-LCB: value iteration with lower confidence bounds, for tables of states and actions.

Rashidinejad et al. 2021 (arXiv 2103.12021), the method for Markov decision processes. The N steps are split at random into
T + 1 folds of m = N / (T + 1), with T = log N / (1 - gamma). Fold 0 gives the policy to begin with, the most played action
of each state, and V_0 = 0. Then for t = 1, ..., T, with the counts m_t, the mean rewards r_t and the transitions P_t of fold t:

.. math::
    b_t(s, a) &= V_{max} \sqrt{L / \max(m_t(s, a), 1)}, \quad
        L = c \log(2 (T + 1) |S| |A| / \delta), \quad V_{max} = 1 / (1 - \gamma) \\
    Q_t(s, a) &= r_t(s, a) - b_t(s, a) + \gamma \sum_{s'} P_t(s' | s, a) V_{t-1}(s') \\
    V_t(s)    &= \max(V_{t-1}(s), \max_a Q_t(s, a)) \\
    \pi_t(s)  &= \arg\max_a Q_t(s, a) \text{ where } V_t(s) > V_{t-1}(s), \text{ else } \pi_{t-1}(s)

for rewards in [0, 1]. Where fold t lacks (s, a), its reward is 0 and P_t is uniform. The paper prints c = 2000 and takes
delta about 1/N. With c = 2000 every bound exceeds V_max for m below 2000 log(...), so that the answer is the most played
action: a clone. `constant=0.5` is Hoeffding's inequality for one cell. `split=False` uses all of the data in every
iteration, as one would without the proof.

Deviations: there is no published code, and versions of the paper differ in the factors of L and in T; what is above is
used. Rewards in another range are divided by `reward_range` first. A terminated step has no next state. Values are of the
last Q_T, so that they may lie below V_T.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

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
from assay.datasets.registry import register

__all__ = ["VILCB", "Iterate"]


@dataclass(frozen=True)
class Iterate:
    """What iteration t found, in units of `reward_range`.

    Parameters
    ----------
    values : (states,) array
        V_t.
    policy : (states,) int array
        pi_t.
    action_values : (states, actions) array
        Q_t.
    """

    values: np.ndarray
    policy: np.ndarray
    action_values: np.ndarray


@register("vi_lcb", label="VI-LCB")
class VILCB(DirectAlgorithm):
    """Value iteration on lower bounds.

    Examples
    --------
    >>> VILCB(constant=0.5, split=False).discount
    0.9
    """

    acting: ClassVar[tuple[str, ...]] = ("policy",)
    valued_by: ClassVar[tuple[str, ...]] = ("values",)
    discrete_actions: ClassVar[bool] = True
    continuous_actions: ClassVar[bool] = False

    discount: float = Field(0.9, gt=0, lt=1)
    constant: float = Field(2000.0, ge=0)  # c of L; as printed
    reward_range: float = Field(1.0, gt=0)  # rewards are taken to be in [0, reward_range]
    delta: float | None = Field(None, gt=0, lt=1)  # probability that a bound fails; None is 1/N
    split: bool = True  # whether each iteration has a fold of its own, as in the proof
    monotone: bool = True  # whether a value and its action are kept until a larger one comes; False is plain iteration

    def networks(self, shapes: Shapes) -> dict[str, Table]:  # noqa: D102
        states = states_of(shapes, self.label)
        return {"policy": Table(states, shapes.action_size), "values": Table(states, shapes.action_size)}

    def solve(self, members: Sequence[Any], data: Sequence[TrainingData], draws: Draws) -> Solution:  # noqa: D102
        numbers = draws.fractions("folds", max(len(item.rows) for item in data)).numpy()
        policies, values, iterations = [], [], []
        for member, item, places in zip(members, data, numbers):
            *_, last = enumerate(member.iterate(item, places[: len(item.rows)]))
            iterations.append(float(last[0]))
            policies.append(np.eye(item.action_size)[last[1].policy])
            values.append(last[1].action_values * member.reward_range)
        return Solution(
            {"policy": torch.from_numpy(np.stack(policies)), "values": torch.from_numpy(np.stack(values))},
            {"iterations": torch.tensor(iterations, dtype=torch.float64)},
        )

    def iterate(self, data: TrainingData, places: np.ndarray) -> Iterator[Iterate]:
        """Yield iterations 0, ..., T.

        Parameters
        ----------
        data : TrainingData
        places : (M,) array
            Distinct random numbers by which the rows are put in order for the folds.
        """
        states, actions = states_of(data.shapes, self.label), data.action_size
        size, rows = states * actions, len(data.rows)
        cells = cells_of(data)
        following = column_of(data, "next_observations")[:, 0].astype(np.int64)
        bootstraps = column_of(data, "bootstraps")
        rewards = column_of(data, "rewards") / self.reward_range
        iterations = max(1, math.ceil(math.log(rows) / (1.0 - self.discount)))
        everything = np.arange(rows)
        folds = np.array_split(np.argsort(places, kind="stable"), iterations + 1) if self.split else None
        delta = 1.0 / rows if self.delta is None else self.delta
        bound = math.sqrt(self.constant * math.log(2 * (iterations + 1) * size / delta)) / (1.0 - self.discount)

        first = everything if folds is None else folds[0]
        played = np.bincount(cells[first], minlength=size).reshape(states, actions)
        best, policy = np.zeros(states), played.argmax(1)
        yield Iterate(best, policy, np.zeros((states, actions)))
        for t in range(1, iterations + 1):
            fold = everything if folds is None else folds[t]
            counts = np.bincount(cells[fold], minlength=size)
            gained = rewards[fold] + self.discount * bootstraps[fold] * best[following[fold]]
            means = np.bincount(cells[fold], gained, minlength=size) / np.maximum(counts, 1)
            means = np.where(counts > 0, means, self.discount * best.mean())
            lower = (means - bound / np.sqrt(np.maximum(counts, 1))).reshape(states, actions)
            grown = lower.max(1) > best if self.monotone else np.ones(states, bool)
            best, policy = np.where(grown, lower.max(1), best), np.where(grown, lower.argmax(1), policy)
            yield Iterate(best, policy, lower)

    def act(
        self, networks: Mapping[str, FixedNetwork], observations: torch.Tensor, memory: Memory, draws: EpisodeDraws
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """Return 1 for the action of pi_T, and 0 for the others."""
        return networks["policy"](observations, weights="frozen"), {}

    def values(
        self, networks: Mapping[str, FixedNetwork], observations: torch.Tensor, actions: torch.Tensor
    ) -> torch.Tensor:
        """Return the lower bounds Q_T [P, 1, n] of the actions."""
        return (networks["values"](observations, weights="frozen") * (actions > 0)).sum(-1)[:, None]
