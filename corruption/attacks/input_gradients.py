r"""Gradients of a victim's value with respect to what is corrupted, one per row.

The objective is the sum over rows, so that a row's gradient does not depend on how many others there are. Of perceptrons
with ReLU, only the products that the input's gradient needs are computed:

.. math::
    h_1 &= c + z W_z, \quad h_{l+1} = \mathrm{relu}(h_l) W_{l+1} + b_{l+1} \\
    \partial Q / \partial z &= (((w \odot 1[h_L > 0]) W_L^T \odot 1[h_{L-1} > 0]) \cdots) W_z^T

The part c of the first layer that does not change is computed once, the spread of the noise is folded into W_z, the last
layer of the forward pass is not computed at all (unless the smallest critic is asked for), and nothing is allocated in
between. Critics come one after the other on a CPU, where an activation stays in the cache, and all at once elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch

from assay.corruption.attacks.victim import LayeredVictim, Layers, Victim
from assay.datasets.errors import ConfigError

__all__ = ["Target", "input_gradient"]

Gradient = Callable[[torch.Tensor], torch.Tensor]
Aggregate = Literal["mean", "min"]


@dataclass(frozen=True)
class Target:
    """What is moved, x = base + z * spread, and what stays.

    Parameters
    ----------
    kind : "observations", "actions" or "policy"
        Value of (x, actions), of (observations, x), or of (x, the victim's action at x).
    base : [n, dim] float64 tensor
    spread : [dim] float64 tensor
    other : [n, ...] float64 tensor, optional
        The actions, or the observations.
    """

    kind: Literal["observations", "actions", "policy"]
    base: torch.Tensor
    spread: torch.Tensor
    other: torch.Tensor | None


def input_gradient(victim: Victim, target: Target, aggregate: Aggregate, dtype: torch.dtype) -> Gradient:
    """Return a function z [n, dim] -> d sum_rows aggregate_k Q_k / dz [n, dim], up to a positive factor."""
    layers = victim.critic_layers() if isinstance(victim, LayeredVictim) else None
    if layers is None or len(layers) < 2:
        return _by_autograd(victim, target, aggregate, dtype)
    return _Stacked(victim, layers, target, aggregate, dtype)


def _by_autograd(victim: Victim, target: Target, aggregate: Aggregate, dtype: torch.dtype) -> Gradient:
    base, spread = target.base.to(dtype), target.spread.to(dtype)
    other = None if target.other is None else target.other.to(dtype)

    def gradient(z: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            moved = base + z * spread
            if other is None:
                values = victim.q_values(moved, victim.act(moved))
            elif target.kind == "actions":
                values = victim.q_values(other, moved)
            else:
                values = victim.q_values(moved, other)
            _check_values(values, len(z))
            objective = values.mean(0) if aggregate == "mean" else values.min(0).values
            (found,) = torch.autograd.grad(objective.sum(), z)
        return found

    return gradient


def _check_values(values: Any, rows: int) -> None:
    given = f"of shape {list(values.shape)}" if isinstance(values, torch.Tensor) else f"a {type(values).__name__}"
    if not isinstance(values, torch.Tensor) or values.ndim != 2 or values.shape[1] != rows:
        raise ConfigError(
            f"corruption.adversarial: the victim's values are {given}; they must be a tensor, [critics, {rows}] for "
            f"{rows} rows"
        )
    if not values.requires_grad:
        raise ConfigError(
            "corruption.adversarial: no gradient leads from the victim's values to what is attacked; they must depend on "
            "it through torch, without detach() or no_grad()"
        )


class _Stacked:
    """The gradient of stacked perceptrons; see the module's text."""

    def __init__(
        self, victim: Victim, layers: Layers, target: Target, aggregate: Aggregate, dtype: torch.dtype
    ) -> None:
        self.victim, self.target, self.aggregate = victim, target, aggregate
        rows, size = target.base.shape
        first, bias = layers[0]
        split = first.shape[1] - size if target.kind == "actions" else size
        of_observations, of_actions = first[:, :split], first[:, split:]
        moving, staying = (of_actions, of_observations) if target.kind == "actions" else (of_observations, of_actions)
        constant = bias + target.base @ moving  # [K, n, h] in float64, where large offsets cancel
        if target.other is not None:
            constant = constant + target.other @ staying
        stacks = [constant, target.spread[:, None] * moving, staying]
        stacks += [tensor for layer in layers[1:] for tensor in layer]
        tensors = [tensor.to(dtype) for tensor in stacks]
        self.affine: Any
        self.one_by_one = _one_by_one(target.base.device)
        if self.one_by_one:
            self.critics = [[tensor[k] for tensor in tensors] for k in range(len(first))]
            self.affine, self.product = torch.addmm, torch.mm
        else:
            self.critics = [tensors]
            self.affine, self.product = torch.baddbmm, torch.bmm
        widths = [weight.shape[-1] for weight, _ in layers[:-1]]
        together = () if self.one_by_one else (len(first),)
        places = len(self.critics) if aggregate == "min" else 1  # the smallest critic is known when all are
        like = target.base.new_empty
        self.hidden = [[like((*together, rows, width), dtype=dtype) for width in widths] for _ in range(places)]
        self.spare = {width: like((*together, rows, width), dtype=dtype) for width in widths}
        self.base, self.spread = target.base.to(dtype), target.spread.to(dtype)

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        actions = leaf = None
        if self.target.kind == "policy":
            with torch.enable_grad():
                leaf = z.detach().requires_grad_()
                actions = self.victim.act(self.base + leaf * self.spread)
        to_moved = torch.zeros_like(z)
        to_actions = None if actions is None else torch.zeros_like(actions)
        with torch.no_grad():
            chosen = None
            if self.aggregate == "min":
                values = [self._forward(critic, place, z, actions) for critic, place in zip(self.critics, self.hidden)]
                chosen = _one_hot(torch.stack(values) if values[0].ndim == 2 else values[0])  # [K, n, 1]
            for number, critic in enumerate(self.critics):
                hidden = self.hidden[number if chosen is not None else 0]
                if chosen is None:
                    self._forward(critic, hidden, z, actions)
                selected = chosen[number] if chosen is not None and self.one_by_one else chosen
                self._backward(critic, hidden, selected, to_moved, to_actions)
        if actions is not None and leaf is not None:
            (through,) = torch.autograd.grad(actions, leaf, to_actions)
            to_moved += through
        return to_moved

    def _forward(
        self, critic: list[torch.Tensor], hidden: list[torch.Tensor], z: torch.Tensor, actions: torch.Tensor | None
    ) -> torch.Tensor:
        """Fill the activations; return the values [..., n, 1] where they are asked for."""
        constant, moving, staying, *above = critic
        repeated = constant.ndim == 3
        self.affine(constant, z.expand(len(constant), *z.shape) if repeated else z, moving, out=hidden[0])
        if actions is not None:
            hidden[0] += actions.detach() @ staying
        for place, below, weight, bias in zip(hidden[1:], hidden, above[::2], above[1::2]):
            self.affine(bias, torch.relu_(below), weight, out=place)
        torch.relu_(hidden[-1])
        return self.affine(above[-1], hidden[-1], above[-2]) if self.aggregate == "min" else hidden[-1]

    def _backward(
        self,
        critic: list[torch.Tensor],
        hidden: list[torch.Tensor],
        chosen: torch.Tensor | None,
        to_moved: torch.Tensor,
        to_actions: torch.Tensor | None,
    ) -> None:
        """Add the gradients; the activations are used up."""
        _, moving, staying, *above = critic
        weights = above[::2]
        last = weights[-1].mT if chosen is None else chosen * weights[-1].mT
        errors = _where_active(last.expand(hidden[-1].shape), hidden[-1])
        for weight, place in zip(reversed(weights[:-1]), reversed(hidden[:-1])):
            errors = _where_active(self.product(errors, weight.mT, out=self.spare[place.shape[-1]]), place)
        found = errors @ moving.mT
        to_moved += found.sum(0) if found.ndim == 3 else found
        if to_actions is not None:
            found = errors @ staying.mT
            to_actions += found.sum(0) if found.ndim == 3 else found


def _one_by_one(device: torch.device) -> bool:
    """Whether critics come one after the other."""
    return device.type == "cpu"


def _where_active(errors: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Return the errors where the activations are positive and 0 elsewhere, in the place of the activations."""
    found: torch.Tensor = torch.ops.aten.threshold_backward.grad_input(errors, hidden, 0, grad_input=hidden)
    return found


def _one_hot(values: torch.Tensor) -> torch.Tensor:
    """[K, n, 1] values -> 1 at the smallest of the K, 0 elsewhere."""
    return torch.zeros_like(values).scatter_(0, values.argmin(0, keepdim=True), 1.0)
