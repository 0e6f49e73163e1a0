"""What predicts the noise in a vector, given a condition and a time: the residual network of IDQL's diffusion policies."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from assay.baselines.networks.network import Dropout, Parameter, Specification

__all__ = ["NoiseNetwork"]

_LAYER_NORM_EPSILON = 1e-6
_FEATURE_DEVIATION = 0.2  # of the frequencies of the time, at first


@dataclass(frozen=True)
class NoiseNetwork(Specification):
    """Map a condition, a noisy vector and a time to the noise in the vector.

    ::

        time [.., 1] -> cos, sin of learned frequencies -> 2 F -> mish -> 2 F
        vector, condition, time joined -> W -> blocks: h + W (mish (4 W (norm (dropout h)))) -> mish -> vector

    Parameters
    ----------
    condition, vector : int
        Numbers of each.
    width : int
        W, of the stream.
    blocks : int
    features : int
        F, sines and cosines of the time.
    """

    condition: int
    vector: int
    width: int = 256
    blocks: int = 3
    features: int = 64

    def parameters(self) -> tuple[Parameter, ...]:  # noqa: D102
        times, wide = 2 * self.features, 4 * self.width
        found = [Parameter("frequencies", (1, self.features // 2), std=_FEATURE_DEVIATION)]
        found += _linear("time/0", self.features, times)
        found += _linear("time/1", times, times)
        found += _linear("inputs", self.vector + self.condition + times, self.width)
        for block in range(self.blocks):
            found += [Parameter(f"{block}/scale", (1, self.width), value=1.0)]
            found += [Parameter(f"{block}/shift", (1, self.width))]
            found += _linear(f"{block}/wide", self.width, wide)
            found += _linear(f"{block}/narrow", wide, self.width)
        return (*found, *_linear("outputs", self.width, self.vector))

    def forward(
        self, weights: Sequence[torch.Tensor], *inputs: torch.Tensor, dropout: Dropout | None = None, **options: Any
    ) -> torch.Tensor:
        """Apply R networks to conditions [R, B, condition], vectors [R, B, vector] and times [R, B, 1]."""
        condition, vector, time = inputs
        tensors = iter(weights)
        waves = 2.0 * math.pi * time * next(tensors)
        times = _affine(torch.cat([torch.cos(waves), torch.sin(waves)], -1), tensors)
        times = _affine(functional.mish(times), tensors)
        hidden = _affine(torch.cat([vector, condition, times], -1), tensors)
        for block in range(self.blocks):
            inner = hidden if dropout is None else dropout(hidden, str(block))
            inner = functional.layer_norm(inner, inner.shape[-1:], eps=_LAYER_NORM_EPSILON)
            scale, shift = next(tensors), next(tensors)
            wide = functional.mish(_affine(torch.addcmul(shift, inner, scale), tensors))
            hidden = hidden + _affine(wide, tensors)
        return _affine(functional.mish(hidden), tensors)


def _linear(name: str, inputs: int, outputs: int) -> list[Parameter]:
    bound = math.sqrt(6.0 / (inputs + outputs))
    return [Parameter(f"{name}/weight", (inputs, outputs), bound=bound), Parameter(f"{name}/bias", (1, outputs))]


def _affine(inputs: torch.Tensor, tensors: Iterator[torch.Tensor]) -> torch.Tensor:
    weight, bias = next(tensors), next(tensors)
    return torch.baddbmm(bias, inputs, weight)
