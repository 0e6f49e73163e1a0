"""Networks for a whole population: stacked weights in one flat buffer each.

::

    member 0   critic 0   | W1 (in x h) | b1 | W2 (h x h) | b2 | W3 (h x out) | b3 |     one row, n numbers
               critic 1   | ...                                                    |
    member 1   critic 0   | ...                                                    |     R = P x K rows
               critic 1   | ...                                                    |

Every layer is a view [R, in, out] of the buffer, so a forward pass is one batched product per layer, and the optimizer,
target updates and checkpoints work on the buffer as a whole. An ensemble of K is K rows per member.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch

from assay.baselines.engine.randomness import Draws
from assay.baselines.networks.optimizer import Adam

__all__ = ["Dropout", "FixedNetwork", "Network", "Parameter", "Specification"]

_ALIGNMENT = 32  # numbers

Dropout: TypeAlias = Callable[[torch.Tensor, str], torch.Tensor]
"""Activations and a name that tells them apart -> activations, some of them zero and the others scaled up."""


@dataclass(frozen=True)
class Parameter:
    """One tensor of a network and how it begins: uniform in [-bound, bound], normal, orthogonal, or constant.

    Parameters
    ----------
    name : str
        Part of the purpose of its initial draws.
    shape : tuple of int
    bound : float, optional
    std : float, optional
    orthogonal : float, optional
        Gain of a matrix with orthonormal columns (or rows, where it is wide).
    value : float
        Where none of them is given.
    """

    name: str
    shape: tuple[int, ...]
    bound: float | None = None
    std: float | None = None
    orthogonal: float | None = None
    value: float = 0.0

    @property
    def size(self) -> int:
        """Count of its numbers."""
        return math.prod(self.shape)

    def fill(self, tensor: torch.Tensor, draws: Draws, purpose: str) -> None:
        """Set [P * K, *shape] initial values, from the draws of each member."""
        copies = len(tensor) // len(draws.seeds)
        if self.bound is not None:
            numbers = draws.uniform(purpose, copies * self.size)
            tensor.copy_((2.0 * numbers - 1.0).mul_(self.bound).view(tensor.shape))
        elif self.std is not None:
            tensor.copy_(draws.normal(purpose, copies * self.size).mul_(self.std).view(tensor.shape))
        elif self.orthogonal is not None:
            # One by one in float64, so that a member's matrix does not depend on its company.
            gaussian = draws.normal(purpose, copies, *self.shape).flatten(0, 1).double().cpu()
            tensor.copy_(torch.stack([_orthonormal(matrix) for matrix in gaussian]) * self.orthogonal)
        else:
            tensor.fill_(self.value)


def _orthonormal(matrix: torch.Tensor) -> torch.Tensor:
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    q, r = torch.linalg.qr(tall)
    q *= r.diagonal().sign()  # makes the distribution uniform
    orthonormal: torch.Tensor = q if tall is matrix else q.T
    return orthonormal


@dataclass(frozen=True, kw_only=True)
class Specification(ABC):
    """What a kind of network looks like and how it is trained.

    Parameters
    ----------
    learning_rate : str
        Name of the algorithm's field that holds the learning rate.
    ensemble : int
        Copies per member, K.
    target : bool
        Whether a slowly following copy is kept.
    target_update_rate : str
        Name of the algorithm's field with the rate at which it follows; at rate 1 it becomes the network itself.
    follow_every : int
        Updates from one move of the copy to the next (hard copies every so often).
    schedule : "constant" or "cosine"
        Of the learning rate over the whole training; cosine ends at zero.
    warmup : int
        Updates over which the learning rate grows linearly from zero.
    weight_decay : str, optional
        Name of the algorithm's field with the decoupled weight decay (AdamW).
    gradient_clip : str, optional
        Name of the algorithm's field with the largest norm of a member's gradient.
    acts_by : "learned" or "target"
        Which of the two acts, and is kept of a finished run.
    """

    learning_rate: str
    ensemble: int = 1
    target: bool = False
    target_update_rate: str = "target_update_rate"
    follow_every: int = 1
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: int = 0
    weight_decay: str | None = None
    gradient_clip: str | None = None
    acts_by: Literal["learned", "target"] = "learned"

    @abstractmethod
    def parameters(self) -> tuple[Parameter, ...]:
        """List the tensors of one copy, in the order in which they lie in a row of the buffer."""

    @abstractmethod
    def forward(self, weights: Sequence[torch.Tensor], *inputs: torch.Tensor, **options: Any) -> torch.Tensor:
        """Apply R networks, given their tensors [R, *shape], to inputs [R, B, ...]."""

    @property
    def size(self) -> int:
        """Numbers per row of the buffer."""
        return sum(parameter.size for parameter in self.parameters())


class FixedNetwork:
    """Networks of one kind as they act: weights, without what training needs.

    Parameters
    ----------
    name : str
    spec : Specification
    buffer : [R, n] tensor
        Ensemble copies of one member are neighbours.
    """

    def __init__(self, name: str, spec: Specification, buffer: torch.Tensor) -> None:
        self.name, self.spec, self.buffer = name, spec, buffer
        self.members = len(buffer) // spec.ensemble
        self.weights = {"frozen": self._views(buffer)}

    def _views(self, buffer: torch.Tensor) -> list[torch.Tensor]:
        views, start = [], 0
        for parameter in self.spec.parameters():
            views.append(buffer[:, start : start + parameter.size].view(len(buffer), *parameter.shape))
            start += parameter.size
        return views

    def __call__(
        self,
        *inputs: torch.Tensor,
        weights: Literal["learned", "frozen", "target"] = "learned",
        first: bool = False,
        repeated: bool = False,
        **options: Any,
    ) -> torch.Tensor:
        """Apply the network.

        Parameters
        ----------
        *inputs : tensors
            [P, B, in], or what else the specification takes; an ensemble gives them to each copy.
        weights : "learned", "frozen" or "target"
            With gradients to the weights, without, or the slowly following copy.
        first : bool
            Use only the first copy of the ensemble.
        repeated : bool
            The inputs are [P, K, B, in], one for each copy of the ensemble.
        **options
            For `Specification.forward`.

        Returns
        -------
        [P, B, out] tensor, or [P, K, B, out] for an ensemble that is used whole; in the dtype of the inputs
        """
        assert weights in self.weights, f"{self.name} has no {weights} weights"
        chosen = self.weights[weights]
        copies = self.spec.ensemble
        if first and copies > 1:
            chosen, copies = [tensor[::copies] for tensor in chosen], 1
        if repeated:
            inputs = tuple(item.flatten(0, 1) for item in inputs)
        elif copies > 1:
            inputs = tuple(
                item.unsqueeze(1).expand(len(item), copies, *item.shape[1:]).reshape(-1, *item.shape[1:])
                for item in inputs
            )
        outputs = self.spec.forward(chosen, *inputs, **options).to(self.buffer.dtype)
        return outputs if copies == 1 else outputs.view(self.members, copies, *outputs.shape[1:])

    @property
    def acting_buffer(self) -> torch.Tensor:
        """The weights [R, n] that act: `Specification.acts_by`."""
        return self.buffer

    def rows(self, member: int) -> slice:
        """Return the rows of one member."""
        return slice(member * self.spec.ensemble, (member + 1) * self.spec.ensemble)


class Network(FixedNetwork):
    """The networks of one kind of a population, with their optimizer state.

    Parameters
    ----------
    name : str
        Part of the purpose of the initial draws, so that networks of one member differ.
    spec : Specification
    draws : Draws
        For the initial weights.
    fused : bool
        Whether the optimizer is one fused operation, or elementary ones for a compiler to fuse.
    """

    def __init__(self, name: str, spec: Specification, draws: Draws, *, fused: bool = True) -> None:
        rows, device = len(draws.seeds) * spec.ensemble, draws.update.device
        # Rows begin at multiples of 128 bytes: matrix units of a GPU read operands that are not aligned at half the speed.
        padded = -(-spec.size // _ALIGNMENT) * _ALIGNMENT
        self._rows = torch.zeros(rows, padded, dtype=draws.dtype, device=device)
        super().__init__(name, spec, self._rows[:, : spec.size])
        for parameter, tensor in zip(spec.parameters(), self.weights["frozen"]):
            parameter.fill(tensor, draws, f"{name}/{parameter.name}")
        self._target_rows = self._rows.clone() if spec.target else None
        self.target_buffer = None if self._target_rows is None else self._target_rows[:, : spec.size]
        self._gradient_rows = torch.zeros_like(self._rows)
        self.gradient = self._gradient_rows[:, : spec.size]
        self._padding = self._rows.new_zeros(rows, padded - spec.size)
        self.optimizer = Adam(self._rows, fused=fused)
        self.renew_views()

    @property
    def acting_buffer(self) -> torch.Tensor:  # noqa: D102
        if self.spec.acts_by == "learned":
            return self.buffer
        assert self.target_buffer is not None, f"{self.name} acts by a target copy, which it does not keep"
        return self.target_buffer

    def renew_views(self) -> None:
        """Make the tensors of the layers anew as views of the buffers."""
        self.parameters = [tensor.detach().requires_grad_() for tensor in self._views(self.buffer)]
        self.weights = {"learned": self.parameters, "frozen": self._views(self.buffer)}
        if self.target_buffer is not None:
            self.weights["target"] = self._views(self.target_buffer)

    @property
    def state_independent(self) -> torch.Tensor:
        """[P, 1, n] free parameters beside the layers."""
        return self.parameters[-1]

    def differentiate(self, loss: torch.Tensor) -> None:
        """Set `gradient` to that of `loss` (a scalar: the sum over members of what each minimizes)."""
        gradients = torch.autograd.grad(loss, self.parameters, retain_graph=True)
        with torch.no_grad():
            flat = [gradient.flatten(1) for gradient in gradients]
            torch.cat([*flat, self._padding], dim=1, out=self._gradient_rows)

    def differentiate_and_combine(
        self, losses: Sequence[torch.Tensor], combine: Callable[[Sequence[torch.Tensor]], torch.Tensor]
    ) -> None:
        """Set `gradient` to what `combine` makes of those of several losses, [P, n] each: all rows of a member in one."""
        gradients = []
        for loss in losses:
            self.differentiate(loss)
            gradients.append(self._gradient_rows.view(self.members, -1).clone())
        with torch.no_grad():
            self._gradient_rows.copy_(combine(gradients).view_as(self._gradient_rows))

    @torch.no_grad()
    def step(
        self,
        rate: torch.Tensor,
        *,
        weight_decay: torch.Tensor | None = None,
        gradient_clip: torch.Tensor | None = None,
        alive: torch.Tensor | None = None,
    ) -> None:
        """Take one optimizer step down `gradient`.

        Parameters
        ----------
        rate : [P, 1] tensor
            Learning rates.
        weight_decay, gradient_clip : [P, 1] tensors, optional
        alive : [P, 1] bool tensor, optional
            Members that are False keep their weights.
        """
        if alive is not None:
            rate = rate.masked_fill(~alive, 0.0)
            self._gradient_rows.masked_fill_(~self._per_row(alive), 0.0)
        if gradient_clip is not None:
            norm = torch.linalg.vector_norm(self._gradient_rows.view(self.members, -1), dim=1, keepdim=True)
            self._gradient_rows.mul_(self._per_row((gradient_clip / (norm + 1e-6)).clamp(max=1.0)))
        if weight_decay is not None:
            self._rows.mul_(self._per_row(1.0 - rate * weight_decay))
        self.optimizer.step(self._gradient_rows, self._per_row(rate))

    def descend(self, loss: torch.Tensor, rate: torch.Tensor, **options: torch.Tensor | None) -> None:
        """Take one optimizer step down the gradient of `loss`; the options are those of `step`."""
        self.differentiate(loss)
        self.step(rate, **options)

    @torch.no_grad()
    def follow(self, rate: torch.Tensor) -> None:
        """Move the target weights towards the learned ones: target += rate (learned - target), rate [P, 1]."""
        assert self._target_rows is not None
        self._target_rows.lerp_(self._rows, self._per_row(rate))

    def _per_row(self, values: torch.Tensor) -> torch.Tensor:
        """Repeat [P, 1] values for every copy of the ensemble: [R, 1]."""
        if self.spec.ensemble == 1:
            return values
        return values[:, None].expand(-1, self.spec.ensemble, -1).reshape(-1, 1)

    # ---------------------------------------------------------------- state

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return every [R, n] tensor that training changes, by name."""
        moments = {name: tensor[:, : self.spec.size] for name, tensor in self.optimizer.moments().items()}
        tensors = {"parameters": self.buffer, **moments}
        return tensors if self.target_buffer is None else {**tensors, "target": self.target_buffer}

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, torch.Tensor], optimizer_steps: int, rows: slice) -> None:
        """Set some rows to what `tensors` and `optimizer.steps` returned."""
        self.optimizer.restart(optimizer_steps)
        for name, tensor in self.tensors().items():
            if name in tensors:
                tensor[rows].copy_(tensors[name])
            else:
                tensor[rows].zero_()  # the moments of a network that has not taken a step
