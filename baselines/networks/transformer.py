"""A causal transformer over (return-to-go, observation, action) tokens, for a whole population.

::

    tokens    R0  s0  a0  R1  s1  a1  ...  R(T-1)  s(T-1)  a(T-1)        3 T per sequence, each plus its time's embedding
    attention every token sees itself and those before it
    output    what stands at s_t predicts a_t

Pre-norm blocks of attention and a four times wider MLP with GELU, as in GPT-2; every product is batched over members.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from assay.baselines.networks.network import Dropout, Parameter, Specification

__all__ = ["SequenceTransformer"]

_STD = 0.02  # of initial weights


@dataclass(frozen=True)
class SequenceTransformer(Specification):
    """Predict actions from the returns-to-go, observations and actions so far.

    Parameters
    ----------
    observations, actions : int
        Entries of each.
    width : int
        Of a token.
    blocks, heads : int
    longest_episode : int
        Time steps that have an embedding; later ones share the last.
    """

    observations: int
    actions: int
    width: int
    blocks: int
    heads: int
    longest_episode: int

    def parameters(self) -> tuple[Parameter, ...]:  # noqa: D102
        found = [Parameter("time", (self.longest_episode, self.width), std=_STD)]
        for name, inputs in (("return", 1), ("observation", self.observations), ("action", self.actions)):
            found += _linear(name, inputs, self.width)
        found += _norm("tokens", self.width)
        for block in range(self.blocks):
            found += _norm(f"{block}/attention", self.width)
            xavier = math.sqrt(6.0 / (4 * self.width))  # of the three projections stacked, as PyTorch's
            found += [
                Parameter(f"{block}/projections/weight", (self.width, 3 * self.width), bound=xavier),
                Parameter(f"{block}/projections/bias", (1, 3 * self.width)),
            ]
            found += _linear(f"{block}/attended", self.width, self.width)
            found += _norm(f"{block}/mlp", self.width)
            found += _linear(f"{block}/wide", self.width, 4 * self.width)
            found += _linear(f"{block}/narrow", 4 * self.width, self.width)
        return (*found, *_norm("output", self.width), *_linear("predicted", self.width, self.actions))

    def forward(
        self,
        weights: Sequence[torch.Tensor],
        *inputs: torch.Tensor,
        dropout: Dropout = lambda tensor, _: tensor,
        **options: Any,
    ) -> torch.Tensor:
        """Apply R networks to returns [R, B, T], observations and actions [R, B, T, n] and timesteps [R, B, T].

        `dropout` is given activations and a name that tells them apart. Returns actions in [-1, 1], [R, B, T, action].
        """
        returns, observations, actions, timesteps = inputs
        rows, batch, length = returns.shape
        tensors = iter(weights)

        def linear(hidden: torch.Tensor) -> torch.Tensor:
            weight, bias = next(tensors), next(tensors)
            flat = hidden.reshape(rows, -1, hidden.shape[-1])
            return torch.baddbmm(bias, flat, weight).view(*hidden.shape[:-1], -1)

        def norm(hidden: torch.Tensor) -> torch.Tensor:
            scale, shift = next(tensors), next(tensors)
            flat = functional.layer_norm(hidden, hidden.shape[-1:]).reshape(rows, -1, self.width)
            return torch.addcmul(shift, flat, scale).view(hidden.shape)

        table = next(tensors)  # [R, longest_episode, width]
        places = timesteps.long().clamp(max=self.longest_episode - 1)
        places = places + torch.arange(rows, device=places.device)[:, None, None] * self.longest_episode
        time = functional.embedding(places, table.reshape(-1, self.width))  # [R, B, T, width]
        tokens = [linear(item) + time for item in (returns[..., None], observations, actions)]
        hidden = torch.stack(tokens, dim=3).view(rows, batch, 3 * length, self.width)
        hidden = dropout(norm(hidden), "tokens")

        later = torch.ones(3 * length, 3 * length, dtype=torch.bool, device=hidden.device).triu(1)
        for block in range(self.blocks):
            projections = linear(norm(hidden)).view(rows, batch, 3 * length, 3, self.heads, -1)
            queries, keys, values = projections.permute(3, 0, 1, 4, 2, 5).unbind(0)  # each [R, B, heads, 3 T, n]
            scores = queries @ keys.transpose(-1, -2) / math.sqrt(queries.shape[-1])
            attention = dropout(torch.softmax(scores.masked_fill(later, -torch.inf), -1), f"{block}/attention")
            attended = (attention @ values).transpose(2, 3).reshape(hidden.shape)
            hidden = hidden + dropout(linear(attended), f"{block}/attended")
            wide = functional.gelu(linear(norm(hidden)))
            hidden = hidden + dropout(linear(wide), f"{block}/mlp")
        return torch.tanh(linear(norm(hidden)[:, :, 1::3]))


def _linear(name: str, inputs: int, outputs: int) -> list[Parameter]:
    return [Parameter(f"{name}/weight", (inputs, outputs), std=_STD), Parameter(f"{name}/bias", (1, outputs))]


def _norm(name: str, width: int) -> list[Parameter]:
    return [Parameter(f"{name}/norm/scale", (1, width), value=1.0), Parameter(f"{name}/norm/shift", (1, width))]
