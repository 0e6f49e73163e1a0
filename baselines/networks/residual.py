"""A residual multilayer perceptron for a whole population, told how much noise is in its input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from assay.baselines.networks.network import Parameter, Specification

__all__ = ["ResidualDenoiser"]

_FREQUENCIES = 16
_LAYER_NORM_EPSILON = 1e-5


@dataclass(frozen=True)
class ResidualDenoiser(Specification):
    """Map a vector and a noise level to a vector: blocks h + W SiLU(norm(h)), between two linear layers.

    The noise level enters as sines and cosines of it, joined to the input.

    Parameters
    ----------
    vector : int
        Numbers of input and output.
    width : int
        Of the blocks.
    blocks : int
    """

    vector: int
    width: int
    blocks: int

    def parameters(self) -> tuple[Parameter, ...]:  # noqa: D102
        found = [*_linear("inputs", self.vector + 2 * _FREQUENCIES, self.width)]
        for block in range(self.blocks):
            found += [
                Parameter(f"{block}/scale", (1, self.width), value=1.0),
                Parameter(f"{block}/shift", (1, self.width)),
            ]
            found += _linear(str(block), self.width, self.width)
        return (
            *found,
            Parameter("outputs/weight", (self.width, self.vector)),
            Parameter("outputs/bias", (1, self.vector)),
        )

    def forward(self, weights: Sequence[torch.Tensor], *inputs: torch.Tensor, **options: Any) -> torch.Tensor:
        """Apply R networks to vectors [R, B, vector] and noise levels [R, B, 1]."""
        vectors, level = inputs
        tensors = iter(weights)
        frequencies = 2.0 ** torch.arange(_FREQUENCIES, device=level.device, dtype=level.dtype).mul(0.5)
        waves = level * frequencies * (math.pi / 8.0)
        joined = torch.cat([vectors, torch.sin(waves), torch.cos(waves)], -1)
        hidden = _affine(joined, tensors)
        for _ in range(self.blocks):
            normed = functional.layer_norm(hidden, hidden.shape[-1:], eps=_LAYER_NORM_EPSILON)
            scale, shift = next(tensors), next(tensors)
            hidden = hidden + _affine(functional.silu(torch.addcmul(shift, normed, scale)), tensors)
        return _affine(hidden, tensors)


def _linear(name: str, inputs: int, outputs: int) -> tuple[Parameter, Parameter]:
    bound = inputs**-0.5
    return Parameter(f"{name}/weight", (inputs, outputs), bound=bound), Parameter(
        f"{name}/bias", (1, outputs), bound=bound
    )


def _affine(inputs: torch.Tensor, tensors: Any) -> torch.Tensor:
    weight, bias = next(tensors), next(tensors)
    return torch.baddbmm(bias, inputs, weight)
