r"""Dichotomy of Control, for tables (Yang et al., ICLR 2023, arXiv 2210.13435).

A policy that is conditioned on a high return takes luck for skill. Here it is conditioned on a variable z that may say of the
outcome r, the return from the step on, only what the action decides. Tables of q(z | s, a, r), V(r | s, z), pi(a | s, z) and
f(s, a, r, z) are trained together by Adam:

.. math::
    z &\sim q(z | s, a, r), \quad
    L(q, V, \pi) = E[-\log V(r | s, z) - \log \pi(a | s, z)] + \beta I \\
    I &= \max_f E[f(s, a, r, z) - \log E_{r' \sim \rho} e^{f(s, a, r', z)}] \\
    z^* &= \arg\max_z V(r_{max} | s, z), \quad a \sim \pi(\cdot | s, z^*)

with the outcomes' distribution rho in the data. f maximizes I and q minimizes it. That is `variant="paper"`; in `"released"`,
the sign of the published code, q increases the information with f. `penalty="exact"` has the mutual information of z and r given
s and a itself, counted from the tables, and no f.

Deviations from the published code: the expectations are over the counted data and over every z, where it has batches of 64
and one z by a straight-through gradient. Of the z, those whose p(z | s) is below 1 % are not asked for: V was not trained
there. Outcomes are `outcomes` evenly spaced returns between the smallest and the largest of the data, each the nearest one.
`beta` is 3, where it has 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

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

__all__ = ["TabularDoC"]

LEAST_SHARE = 0.01  # of a z that may be asked for


@register("tabular_doc", label="DoC (tabular)")
class TabularDoC(DirectAlgorithm):
    """Cloning conditioned on what an agent controls.

    Examples
    --------
    >>> TabularDoC(beta=1.0).outcomes
    2
    """

    acting: ClassVar[tuple[str, ...]] = ("policy",)
    extra_columns: ClassVar[tuple[str, ...]] = ("returns_to_go",)
    discrete_actions: ClassVar[bool] = True
    continuous_actions: ClassVar[bool] = False

    beta: float = Field(3.0, ge=0)  # weight of the information
    learning_rate: float = Field(0.01, gt=0)
    updates: int = Field(5_000, gt=0)
    outcomes: int = Field(2, gt=1)  # kinds of returns
    penalty: Literal["learned", "exact"] = "learned"
    variant: Literal["paper", "released"] = "paper"

    def networks(self, shapes: Shapes) -> dict[str, Table]:  # noqa: D102
        return {"policy": Table(states_of(shapes, self.label), shapes.action_size)}

    def solve(self, members: Sequence[Any], data: Sequence[TrainingData], draws: Draws) -> Solution:  # noqa: D102
        states, actions = states_of(data[0].shapes, self.label), data[0].action_size
        shares = torch.from_numpy(np.stack([self.shares(item, states, actions) for item in data]))  # [P, S, A, R]
        beta = shares.new_tensor([member.beta for member in members])
        rates = shares.new_tensor([member.learning_rate for member in members])
        kinds = actions * self.outcomes
        shapes = {
            "posterior": (states, actions, self.outcomes, kinds),
            "values": (states, kinds, self.outcomes),
            "policy": (states, kinds, actions),
            "critic": (states, actions, self.outcomes, kinds),
        }
        tables = {name: draws.normal(f"doc/{name}", *shape).double() for name, shape in shapes.items()}
        tables = {name: (0.1 * table).requires_grad_() for name, table in tables.items()}
        moments = {name: (torch.zeros_like(table), torch.zeros_like(table)) for name, table in tables.items()}
        for update in range(1, self.updates + 1):
            loss = self.loss(tables, shares, beta).sum()
            gradients = torch.autograd.grad(loss, list(tables.values()), allow_unused=True)
            for (name, table), gradient in zip(tables.items(), gradients):
                if gradient is not None:
                    _descend(table, gradient, moments[name], rates, update)
        return self.solution({name: table.detach() for name, table in tables.items()}, shares)

    def shares(self, data: TrainingData, states: int, actions: int) -> np.ndarray:
        """Return the share of each state, action and outcome in the data: (S, A, R)."""
        return shares_of(data, states, actions, self.outcomes)

    def loss(self, tables: Mapping[str, torch.Tensor], shares: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
        """Return what each member minimizes, [P]."""
        posterior = tables["posterior"].softmax(-1)  # q(z | s, a, r): [P, S, A, R, Z]
        joint = shares[..., None] * posterior
        values = torch.log_softmax(tables["values"], -1).transpose(-1, -2)[:, :, None]  # [P, S, 1, R, Z]
        policy = torch.log_softmax(tables["policy"], -1).transpose(-1, -2)[:, :, :, None]  # [P, S, A, 1, Z]
        cloning = -(joint * (values + policy)).flatten(1).sum(1)
        if self.penalty == "exact":
            return cloning + beta * information(shares, posterior)
        # f ascends the bound in both variants; q descends it in the paper and ascends it as released.
        outcomes = shares.sum((1, 2)).log()[:, None, None, :, None]  # log rho
        critic = tables["critic"]
        bound = critic - (outcomes + critic).logsumexp(3, keepdim=True)
        of_critic = (joint.detach() * bound).flatten(1).sum(1)
        of_posterior = (joint * bound.detach()).flatten(1).sum(1)
        sign = 1.0 if self.variant == "paper" else -1.0
        return cloning + beta * (sign * of_posterior - of_critic)

    def solution(self, tables: Mapping[str, torch.Tensor], shares: torch.Tensor) -> Solution:
        """Choose z for the largest outcome in each state, and return the policy given it."""
        posterior = tables["posterior"].softmax(-1)
        met = (shares[..., None] * posterior).sum((2, 3))  # p(s, z): [P, S, Z]
        allowed = met >= LEAST_SHARE * met.sum(-1, keepdim=True)
        good = torch.log_softmax(tables["values"], -1)[..., -1].masked_fill(~allowed, -torch.inf)
        chosen = good.argmax(-1)[..., None, None].expand(-1, -1, 1, tables["policy"].shape[-1])
        policy = torch.log_softmax(tables["policy"], -1).gather(2, chosen).squeeze(2)  # [P, S, A]
        return Solution({"policy": policy}, {"information": information(shares, posterior)})

    def act(
        self, networks: Mapping[str, FixedNetwork], observations: torch.Tensor, memory: Memory, draws: EpisodeDraws
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """Return log pi(a | s, z*) with Gumbel noise, so that the largest is a draw."""
        return drawn_action(networks["policy"](observations, weights="frozen"), draws), {}


def information(shares: torch.Tensor, posterior: torch.Tensor) -> torch.Tensor:
    """Return I(r; z | s, a) in nats, [P], of shares [P, S, A, R] and q [P, S, A, R, Z]."""
    mixed = (shares[..., None] * posterior).sum(3, keepdim=True)
    mixed = mixed / shares.sum(3)[..., None, None].clamp(min=1e-300)
    ratio = posterior.clamp(min=1e-300).log() - mixed.clamp(min=1e-300).log()
    return (shares[..., None] * posterior * ratio).flatten(1).sum(1)


@torch.no_grad()
def _descend(
    table: torch.Tensor,
    gradient: torch.Tensor,
    moments: tuple[torch.Tensor, torch.Tensor],
    rates: torch.Tensor,
    update: int,
) -> None:
    """Take one step of Adam, with a learning rate for each member."""
    first, second = moments
    first.lerp_(gradient, 0.1)
    second.lerp_(gradient.square(), 0.001)
    step = (first / (1 - 0.9**update)) / ((second / (1 - 0.999**update)).sqrt() + 1e-8)
    table -= rates.view(-1, *[1] * (table.ndim - 1)) * step
