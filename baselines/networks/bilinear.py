"""A network of a difference and an anchor: bilinear in what two perceptrons make of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from assay.baselines.networks.mlp import MLP
from assay.baselines.networks.network import Parameter, Specification

__all__ = ["Bilinear"]


@dataclass(frozen=True)
class Bilinear(Specification):
    r"""Map a difference and an anchor to :math:`h_o = \sum_k f_{ok}(\Delta, x) \, g_{ok}(\hat s, x)`.

    Where the value at :math:`\hat s + \Delta` is such a sum, it is known at new combinations of differences and anchors
    that were both seen (Netanyahu et al. 2023, arXiv 2304.14329).

    Parameters
    ----------
    state : int
        Numbers of the difference and of the anchor.
    others : int
        Numbers x that are joined to both, such as an action.
    outputs : int
    hidden : tuple of int
        Widths of the hidden layers of f and of g.
    embedding : int
        Terms of the sum.
    output : "linear" or "tanh"
    state_independent : int
        Free parameters beside both parts; zero at first.
    """

    state: int
    others: int
    outputs: int
    hidden: tuple[int, ...]
    embedding: int
    output: Literal["linear", "tanh"] = "linear"
    state_independent: int = 0

    @property
    def part(self) -> MLP:
        """What f and g each are."""
        inputs, outputs = self.state + self.others, self.outputs * self.embedding
        return MLP(inputs, outputs, self.hidden, learning_rate=self.learning_rate)

    def parameters(self) -> tuple[Parameter, ...]:  # noqa: D102
        tensors = self.part.parameters()
        both = [replace(item, name=f"{part}/{item.name}") for part in ("difference", "anchor") for item in tensors]
        free = [Parameter("state_independent", (1, self.state_independent))] if self.state_independent else []
        return (*both, *free)

    def forward(self, weights: Sequence[torch.Tensor], *inputs: torch.Tensor, **options: Any) -> torch.Tensor:
        """Apply R networks to the difference, the anchor and what is joined to both, in a row: [R, B, 2 state + others].

        Given pairs [R, B, 2 state] and candidates [R, n, B, others], every pair meets each of its candidates, as in an `MLP`.
        """
        rows, *candidates = inputs
        differences, anchors, *others = torch.split(rows, [self.state, self.state, rows.shape[-1] - 2 * self.state], -1)
        if not candidates:
            differences, anchors = (torch.cat([part, *others], -1) for part in (differences, anchors))
        part = self.part
        count = len(part.parameters())
        f = part.forward(weights[:count], differences, *candidates)
        g = part.forward(weights[count : 2 * count], anchors, *candidates)
        outputs = (f * g).view(*f.shape[:-1], self.outputs, self.embedding).sum(-1)
        return torch.tanh(outputs) if self.output == "tanh" else outputs
