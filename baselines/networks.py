"""Networks for a whole population: stacked weights in one flat buffer each.

::

    member 0   critic 0   | W1 (in x h) | b1 | W2 (h x h) | b2 | W3 (h x out) | b3 |     one row, n numbers
               critic 1   | ...                                                    |
    member 1   critic 0   | ...                                                    |     R = P x K rows
               critic 1   | ...                                                    |

Every layer is a view [R, in, out] of the buffer, so a forward pass is one batched product per layer, and Adam, target
updates and checkpoints work on the buffer as a whole. An ensemble of K is K rows per member.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch

from assay.baselines.randomness import Draws

__all__ = ["MLP", "Network"]


@dataclass(frozen=True)
class MLP:
    """What a network looks like: a multilayer perceptron with ReLU between its layers.

    Parameters
    ----------
    inputs, outputs : int
    hidden : tuple of int
        Widths of the hidden layers.
    learning_rate : str
        Name of the algorithm's field that holds the learning rate.
    ensemble : int
        Copies per member, K.
    output : "linear" or "tanh"
    state_independent : int
        Free parameters beside the layers, such as the log standard deviations of a Gaussian policy; zero at first.
    target : bool
        Whether a slowly following copy is kept.
    schedule : "constant" or "cosine"
        Of the learning rate over the whole training; cosine ends at zero.
    """

    inputs: int
    outputs: int
    hidden: tuple[int, ...]
    learning_rate: str
    ensemble: int = 1
    output: Literal["linear", "tanh"] = "linear"
    state_independent: int = 0
    target: bool = False
    schedule: Literal["constant", "cosine"] = "constant"

    @property
    def layers(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of each layer."""
        return tuple(pairwise((self.inputs, *self.hidden, self.outputs)))

    @property
    def size(self) -> int:
        """Numbers per row of the buffer."""
        return sum(rows * columns + columns for rows, columns in self.layers) + self.state_independent


class Network:
    """The networks of one kind of a population, with their optimizer state.

    Parameters
    ----------
    name : str
        Part of the purpose of the initial draws, so that networks of one member differ.
    spec : MLP
    draws : Draws
        For the initial weights, U(-1/sqrt(in), 1/sqrt(in)) for weights and biases, as PyTorch's Linear.
    """

    def __init__(self, name: str, spec: MLP, draws: Draws) -> None:
        self.name, self.spec = name, spec
        self.members = len(draws.seeds)
        device, rows = draws.update.device, self.members * spec.ensemble
        self.buffer = torch.zeros(rows, spec.size, dtype=draws.dtype, device=device)
        for index, (weight, bias) in enumerate(self._layer_views(self.buffer)):
            bound = 1.0 / math.sqrt(weight.shape[1])
            for kind, tensor in (("weight", weight), ("bias", bias)):
                numbers = draws.uniform(f"{name}/{index}/{kind}", spec.ensemble * tensor[0].numel())
                tensor.copy_((2.0 * numbers - 1.0).mul_(bound).view(tensor.shape))
        self.target_buffer = self.buffer.clone() if spec.target else None
        self.gradient = torch.zeros_like(self.buffer)
        # Adam works on a step buffer with learning rate 1; the step is then scaled by each member's own rate.
        self.step_buffer = torch.nn.Parameter(torch.zeros_like(self.buffer))
        self.step_buffer.grad = self.gradient
        self.optimizer = torch.optim.Adam([self.step_buffer], lr=1.0, fused=True, capturable=device.type == "cuda")
        self.parameters = [tensor.detach().requires_grad_() for tensor in self._views(self.buffer)]
        self._frozen = self._views(self.buffer)
        self._target = None if self.target_buffer is None else self._views(self.target_buffer)

    def _views(self, buffer: torch.Tensor) -> list[torch.Tensor]:
        views = [tensor for pair in self._layer_views(buffer) for tensor in pair]
        if self.spec.state_independent:
            views.append(buffer[:, -self.spec.state_independent :].unsqueeze(1))
        return views

    def _layer_views(self, buffer: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        pairs, start = [], 0
        for inputs, outputs in self.spec.layers:
            weight = buffer[:, start : start + inputs * outputs].view(len(buffer), inputs, outputs)
            start += inputs * outputs
            bias = buffer[:, start : start + outputs].view(len(buffer), 1, outputs)
            start += outputs
            pairs.append((weight, bias))
        return pairs

    def __call__(
        self, inputs: torch.Tensor, *, weights: Literal["learned", "frozen", "target"] = "learned", first: bool = False
    ) -> torch.Tensor:
        """Apply the network.

        Parameters
        ----------
        inputs : [P, B, in] tensor
        weights : "learned", "frozen" or "target"
            With gradients to the weights, without, or the slowly following copy.
        first : bool
            Use only the first copy of the ensemble.

        Returns
        -------
        [P, B, out] tensor, or [P, K, B, out] for an ensemble that is used whole
        """
        chosen = {"learned": self.parameters, "frozen": self._frozen, "target": self._target}[weights]
        assert chosen is not None, f"{self.name} has no target network"
        copies = self.spec.ensemble
        hidden = inputs
        if first and copies > 1:
            chosen, copies = [tensor[::copies] for tensor in chosen], 1
        if copies > 1:
            members, batch, width = inputs.shape
            hidden = inputs.unsqueeze(1).expand(members, copies, batch, width).reshape(-1, batch, width)
        last = len(self.spec.layers) - 1
        for index in range(last + 1):
            hidden = torch.baddbmm(chosen[2 * index + 1], hidden, chosen[2 * index])
            if index < last:
                hidden = torch.relu_(hidden)
        if self.spec.output == "tanh":
            hidden = torch.tanh(hidden)
        return hidden if copies == 1 else hidden.view(self.members, copies, *hidden.shape[1:])

    @property
    def state_independent(self) -> torch.Tensor:
        """[P, 1, n] free parameters beside the layers."""
        return self.parameters[-1]

    @torch.no_grad()
    def descend(self, loss: torch.Tensor, rates: torch.Tensor) -> None:
        """Take one Adam step down the gradient of `loss` (a scalar), with one learning rate per member ([P, 1])."""
        with torch.enable_grad():
            gradients = torch.autograd.grad(loss, self.parameters, retain_graph=True)
        torch.cat([gradient.flatten(1) for gradient in gradients], dim=1, out=self.gradient)
        self.step_buffer.zero_()
        self.optimizer.step()
        self.buffer.addcmul_(self.step_buffer, rates.repeat_interleave(self.spec.ensemble, dim=0))

    @torch.no_grad()
    def follow(self, rate: torch.Tensor) -> None:
        """Move the target weights towards the learned ones: target += rate (learned - target), rate [P, 1]."""
        assert self.target_buffer is not None
        self.target_buffer.lerp_(self.buffer, rate.repeat_interleave(self.spec.ensemble, dim=0))

    # ---------------------------------------------------------------- state

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return every [R, n] tensor that training changes, by name."""
        state = self.optimizer.state[self.step_buffer]
        tensors = {"parameters": self.buffer}
        if self.target_buffer is not None:
            tensors["target"] = self.target_buffer
        if state:
            tensors |= {"first_moment": state["exp_avg"], "second_moment": state["exp_avg_sq"]}
        return tensors

    @property
    def optimizer_steps(self) -> int:
        """Adam steps taken so far."""
        state = self.optimizer.state[self.step_buffer]
        return int(state["step"]) if state else 0

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, torch.Tensor], optimizer_steps: int, rows: slice) -> None:
        """Set some rows to what `tensors` and `optimizer_steps` returned."""
        state = self.optimizer.state[self.step_buffer]
        if not state:
            # What torch.optim.Adam creates at its first step.
            state["step"] = torch.zeros((), dtype=torch.float32, device=self.buffer.device)
            state["exp_avg"] = torch.zeros_like(self.buffer)
            state["exp_avg_sq"] = torch.zeros_like(self.buffer)
        state["step"].fill_(optimizer_steps)
        for name, tensor in self.tensors().items():
            if name in tensors:
                tensor[rows].copy_(tensors[name])
            else:
                tensor[rows].zero_()  # the moments of a network that has not taken a step

    def rows(self, member: int) -> slice:
        """Return the rows of one member."""
        return slice(member * self.spec.ensemble, (member + 1) * self.spec.ensemble)
