"""Tables: what methods without gradients learn, one number per state and action."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from assay.baselines.networks.network import Parameter, Specification

__all__ = ["Table"]


@dataclass(frozen=True)
class Table(Specification):
    """A table [states, outputs] that is read at the numbers of states.

    Parameters
    ----------
    states, outputs : int
    """

    states: int
    outputs: int
    learning_rate: str = field(default="", kw_only=True)  # nothing descends a table

    def parameters(self) -> tuple[Parameter, ...]:  # noqa: D102
        return (Parameter("table", (self.states, self.outputs)),)

    def forward(self, weights: Sequence[torch.Tensor], *inputs: torch.Tensor, **options: Any) -> torch.Tensor:
        """Read R tables at the states [R, B, 1], numbers from 0 on; returns [R, B, outputs]."""
        (table,), (states,) = weights, inputs
        return table.gather(1, states.long().expand(-1, -1, self.outputs))
