r"""A Lagrange multiplier of a limit on costs, for methods that weigh what is earned against what it costs.

The multiplier :math:`\lambda` rises while the constraint is broken and falls while it is kept, between 0 and a bound. An episode's limit
is one of undiscounted costs, and critics value discounted ones; where the costs of an episode of T steps are spread evenly,

.. math:: l = \text{limit} \cdot \frac{1 - \gamma^T}{(1 - \gamma) T} .
"""

from __future__ import annotations

import torch

from assay.baselines.algorithms.algorithm import Setting

__all__ = ["discounted_limit", "multiplier", "multiplier_loss"]


def discounted_limit(limit: torch.Tensor, discount: torch.Tensor, steps: int) -> torch.Tensor:
    """Return what discounted costs may come to, [P, 1].

    Examples
    --------
    >>> discounted_limit(torch.tensor([[10.0]]), torch.tensor([[0.5]]), 2).item()  # 5 now and 5 a step later
    7.5
    """
    return limit * (1.0 - discount**steps) / ((1.0 - discount) * steps)


def multiplier(setting: Setting, bound: torch.Tensor) -> torch.Tensor:
    """Return lambda [P, 1], without gradients: the number of the network "multiplier" within 0 and its bound."""
    number = setting.networks["multiplier"].state_independent.detach()[:, 0]
    return torch.minimum(number.clamp(min=0.0), bound)


def multiplier_loss(setting: Setting, excess: torch.Tensor, bound: torch.Tensor) -> torch.Tensor:
    """Return the loss [P] whose descent moves lambda in the direction of the excess [P], where it is not at that end already."""
    number = setting.networks["multiplier"].state_independent[:, 0, 0]
    at_end = ((number <= 0.0) & (excess < 0)) | ((number >= bound[:, 0]) & (excess > 0))
    return -number * torch.where(at_end, 0.0, excess).detach()
