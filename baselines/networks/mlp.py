"""Multilayer perceptrons for a whole population, and free numbers without inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import torch
from torch.nn import functional

from assay.baselines.networks.network import Dropout, Parameter, Specification

__all__ = ["MLP", "Scalars"]

_LAYER_NORM_EPSILON = 1e-5
_CACHED = 1 << 18  # numbers of an activation that stay in a core's cache (1 MiB)
_ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": torch.relu_,
    "selu": torch.selu_,
    "gelu": partial(functional.gelu, approximate="tanh"),
    "silu": functional.silu,
    "mish": functional.mish,
    "tanh": torch.tanh,
}


@dataclass(frozen=True)
class MLP(Specification):
    """A multilayer perceptron.

    Parameters
    ----------
    inputs, outputs : int
    hidden : tuple of int
        Widths of the hidden layers.
    output : "linear" or "tanh"
    state_independent : int
        Free parameters beside the layers, such as the log standard deviations of a Gaussian policy; zero at first.
    layer_norm : bool
        Normalize after each hidden activation.
    norm_before_activation : bool
        Normalize before it instead.
    bias : float, optional
        Initial bias of the hidden layers; default uniform in +-1/sqrt(inputs), as weights are and as in PyTorch's Linear.
    output_bound : float, optional
        The last layer begins uniform in +-output_bound, weights and biases; default as the others.
    orthogonal : float, optional
        Gain of orthogonal initial weights (1e-2 for the last layer), with zero biases.
    activation : "relu", "selu", "gelu", "silu", "mish" or "tanh"
        Between the layers. With SELU (Klambauer et al. 2017, arXiv 1706.02515) all weights begin normal with variance
        1/inputs and all biases zero, which is what keeps its activations normalized. GELU is the approximation by tanh.
    xavier : bool
        Begin uniform in +-sqrt(6 / (inputs + outputs)) with zero biases (Glorot & Bengio 2010), as Flax agents do.
    """

    inputs: int
    outputs: int
    hidden: tuple[int, ...]
    output: Literal["linear", "tanh"] = "linear"
    state_independent: int = 0
    layer_norm: bool = False
    norm_before_activation: bool = False
    bias: float | None = None
    output_bound: float | None = None
    orthogonal: float | None = None
    activation: Literal["relu", "selu", "gelu", "silu", "mish", "tanh"] = "relu"
    xavier: bool = False

    @property
    def layers(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of each layer."""
        return tuple(pairwise((self.inputs, *self.hidden, self.outputs)))

    def parameters(self) -> tuple[Parameter, ...]:  # noqa: D102
        found = []
        for index, (inputs, outputs) in enumerate(self.layers):
            last = index == len(self.layers) - 1
            bound = 1.0 / math.sqrt(inputs)
            weight = bias = self.output_bound if last and self.output_bound is not None else bound
            if self.orthogonal is not None:
                gain = 1e-2 if last else self.orthogonal
                found += [Parameter(f"{index}/weight", (inputs, outputs), orthogonal=gain)]
                found += [Parameter(f"{index}/bias", (1, outputs))]
            elif self.xavier:
                found += [Parameter(f"{index}/weight", (inputs, outputs), bound=math.sqrt(6.0 / (inputs + outputs)))]
                found += [Parameter(f"{index}/bias", (1, outputs))]
            elif self.activation == "selu":
                found += [Parameter(f"{index}/weight", (inputs, outputs), std=bound)]
                found += [Parameter(f"{index}/bias", (1, outputs))]
            elif self.bias is not None and not last:
                found += [Parameter(f"{index}/weight", (inputs, outputs), bound=weight)]
                found += [Parameter(f"{index}/bias", (1, outputs), value=self.bias)]
            else:
                found += [Parameter(f"{index}/weight", (inputs, outputs), bound=weight)]
                found += [Parameter(f"{index}/bias", (1, outputs), bound=bias)]
            if self.layer_norm and not last:
                found += [Parameter(f"{index}/norm/scale", (1, outputs), value=1.0)]
                found += [Parameter(f"{index}/norm/shift", (1, outputs))]
        if self.state_independent:
            found.append(Parameter("state_independent", (1, self.state_independent)))
        return tuple(found)

    def forward(
        self,
        weights: Sequence[torch.Tensor],
        *inputs: torch.Tensor,
        dropout: Dropout | None = None,
        **options: Any,
    ) -> torch.Tensor:
        """Apply R networks to inputs [R, B, in], or to the states [R, B, s] with each of their candidates [R, n, B, a].

        The second way gives [R, n, B, out], as if every state were repeated n times and joined with its candidates; what
        a state contributes to the first layer is computed once. `dropout` is given every hidden activation, of the first
        way only, and a name that tells them apart.
        """
        states, *candidates = inputs
        on_cpu = states.device.type == "cpu"
        if candidates and on_cpu and len(states) > 1:
            # Row by row, so that what is computed stays in the cache.
            tensors = [torch.split(tensor, 1) for tensor in (states, candidates[0], *weights)]
            return torch.cat([self.forward(row, state, block) for state, block, *row in zip(*tensors)])
        weight, bias, *above = weights
        if not candidates:
            return self._above_first_layer(_affine(states, weight, bias), above, dropout)
        size = states.shape[-1]
        shared = torch.baddbmm(bias, states, weight[:, :size])  # [R, B, h]
        together = max(1, _CACHED // shared.numel()) if on_cpu else candidates[0].shape[1]
        outputs = []
        for block in torch.split(candidates[0], together, 1):
            repeated = shared[:, None].expand(-1, block.shape[1], -1, -1).reshape(len(states), -1, shared.shape[-1])
            hidden = torch.baddbmm(repeated, block.flatten(1, 2), weight[:, size:])
            outputs.append(self._above_first_layer(hidden, above).view(*block.shape[:3], -1))
        return torch.cat(outputs, 1)

    def _above_first_layer(
        self, hidden: torch.Tensor, weights: Sequence[torch.Tensor], dropout: Dropout | None = None
    ) -> torch.Tensor:
        tensors = iter(weights)
        for layer in range(len(self.hidden)):
            if not (self.layer_norm and self.norm_before_activation):
                hidden = _ACTIVATIONS[self.activation](hidden)
            if self.layer_norm:
                hidden = functional.layer_norm(hidden, hidden.shape[-1:], eps=_LAYER_NORM_EPSILON)
                scale, shift = next(tensors), next(tensors)
                hidden = torch.addcmul(shift, hidden, scale)
                if self.norm_before_activation:
                    hidden = _ACTIVATIONS[self.activation](hidden)
            if dropout is not None:
                hidden = dropout(hidden, str(layer))
            hidden = _affine(hidden, next(tensors), next(tensors))
        return torch.tanh(hidden) if self.output == "tanh" else hidden


def _affine(inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    if weight.shape[-1] == 1 and inputs.device.type == "cpu":
        # A batched product with a single column, and its derivatives, take a CPU ten times as long.
        return (inputs * weight.mT).sum(-1, keepdim=True) + bias
    return torch.baddbmm(bias, inputs, weight)


@dataclass(frozen=True)
class Scalars(Specification):
    """Free numbers without inputs, such as the logarithm of a temperature; read as `network.state_independent`.

    Parameters
    ----------
    count : int
    value : float
        At first.
    """

    count: int = 1
    value: float = 0.0

    def parameters(self) -> tuple[Parameter, ...]:  # noqa: D102
        return (Parameter("state_independent", (1, self.count), value=self.value),)

    def forward(self, weights: Sequence[torch.Tensor], *inputs: torch.Tensor, **options: Any) -> torch.Tensor:  # noqa: D102
        return weights[0]
