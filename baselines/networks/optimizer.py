"""Adam over a flat buffer [R, n], with a learning rate per row.

Kingma & Ba 2015 (arXiv 1412.6980), with the bias correction of algorithm 1; decoupled weight decay (AdamW, Loshchilov &
Hutter 2019, arXiv 1711.05101) is one product on the buffer before the step, which the caller makes.
"""

from __future__ import annotations

import math

import torch
from torch.optim.adam import adam

__all__ = ["Adam"]

_BETAS = (0.9, 0.999)
_LOG_BETAS = (math.log(0.9), math.log(0.999))
_EPSILON = 1e-8


class Adam:
    """Adam with PyTorch's defaults, in place.

    Parameters
    ----------
    buffer : [R, n] tensor
        What is optimized.
    fused : bool
        One fused operation of PyTorch (fast as it stands), or a chain of elementary ones (for a compiler to fuse).

    Examples
    --------
    >>> weights = torch.ones(2, 3)
    >>> Adam(weights).step(torch.ones(2, 3), torch.tensor([[0.5], [0.0]]))
    >>> weights.round(decimals=6).tolist()
    [[0.5, 0.5, 0.5], [1.0, 1.0, 1.0]]
    """

    def __init__(self, buffer: torch.Tensor, *, fused: bool = True) -> None:
        self.buffer = buffer
        self.fused = fused
        self._first, self._second = torch.zeros_like(buffer), torch.zeros_like(buffer)
        self._steps = torch.zeros((), dtype=torch.float32 if fused else buffer.dtype, device=buffer.device)
        if fused:
            self._step = torch.zeros_like(buffer)

    @torch.no_grad()
    def step(self, gradient: torch.Tensor, rates: torch.Tensor) -> None:
        """Take a step down the gradient [R, n], with rates [R, 1]."""
        if self.fused:
            # PyTorch's Adam takes one learning rate for all rows. So it works on a buffer of zeros with the rate 1, and
            # the step that it leaves there is scaled by each row's own rate.
            adam(
                [self._step.zero_()],
                [gradient],
                [self._first],
                [self._second],
                [],
                [self._steps],
                fused=True,
                capturable=True,
                amsgrad=False,
                beta1=_BETAS[0],
                beta2=_BETAS[1],
                lr=1.0,
                weight_decay=0.0,
                eps=_EPSILON,
                maximize=False,
            )
            self.buffer.addcmul_(self._step, rates)
            return
        self._steps += 1
        self._first.lerp_(gradient, 1.0 - _BETAS[0])
        self._second.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1.0 - _BETAS[1])
        first_correction = -torch.expm1(self._steps * _LOG_BETAS[0])  # 1 - beta^t
        second_correction = -torch.expm1(self._steps * _LOG_BETAS[1])
        scale = self._second.div(second_correction).sqrt_().add_(_EPSILON).mul_(first_correction)
        self.buffer.sub_(rates * self._first / scale)

    @property
    def steps(self) -> int:
        """Steps taken so far."""
        return int(self._steps)

    def moments(self) -> dict[str, torch.Tensor]:
        """Return the running moments [R, n] by name."""
        return {"first_moment": self._first, "second_moment": self._second}

    def restart(self, steps: int) -> None:
        """Go on as after so many steps; the moments are set by writing into them."""
        self._steps.fill_(steps)
