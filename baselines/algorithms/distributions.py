r"""Gaussian policies: as they are, in mixtures, and squashed by tanh (Haarnoja et al. 2018, arXiv 1812.05905, appendix C).

An unbounded Gaussian number `u` becomes an action `a = tanh(u)` in (-1, 1), so that

.. math:: \log \pi(a | s) = \log N(u; \mu(s), \sigma(s)) - \sum_i \log(1 - \tanh^2 u_i) .

The correction is computed as 2 (log 2 - u - softplus(-2 u)), which is exact where tanh rounds to 1, as in CQL's public
code. That of SAC-N and EDAC writes log(1 - a^2 + 1e-6) instead: the same to within 1e-4 up to |a| = 0.995, and bounded
from below.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from assay.baselines.engine.randomness import Draws

__all__ = ["TanhGaussian", "gaussian_log_probability", "mixture_log_probability", "squashed"]


def gaussian_log_probability(values: torch.Tensor, mean: torch.Tensor, log_std: torch.Tensor) -> torch.Tensor:
    """Log density [...] of independent Gaussians at `values` [..., action].

    Examples
    --------
    >>> round(gaussian_log_probability(torch.zeros(1), torch.zeros(1), torch.zeros(1)).item(), 4)
    -0.9189
    """
    standardized = (values - mean) * torch.exp(-log_std)
    return (-0.5 * standardized.square() - log_std - 0.5 * math.log(2.0 * math.pi)).sum(-1)


def mixture_log_probability(
    values: torch.Tensor, means: torch.Tensor, log_std: torch.Tensor, logits: torch.Tensor
) -> torch.Tensor:
    """Log density [...] at `values` [..., action] of a mixture of M Gaussians [..., M, action], chosen by a softmax of logits [..., M].

    Examples
    --------
    >>> value, means = torch.zeros(1), torch.tensor([[0.0], [9.0]])
    >>> round(mixture_log_probability(value, means, torch.zeros(2, 1), torch.zeros(2)).exp().item(), 4)  # half of 0.3989
    0.1995
    """
    each = gaussian_log_probability(values.unsqueeze(-2), means, log_std)  # [..., M]
    return torch.logsumexp(torch.log_softmax(logits, -1) + each, -1)


def squashed(mean: torch.Tensor, log_std: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the actions tanh(mean + std * noise) [..., action] and their log densities [...].

    Examples
    --------
    >>> action, log_probability = squashed(torch.zeros(1), torch.zeros(1), torch.zeros(1))
    >>> action.item(), round(log_probability.item(), 4)
    (0.0, -0.9189)
    """
    unbounded = mean + torch.exp(log_std) * noise
    gaussian = -0.5 * noise.square() - log_std - 0.5 * math.log(2.0 * math.pi)
    correction = 2.0 * (math.log(2.0) - unbounded - torch.nn.functional.softplus(-2.0 * unbounded))
    return torch.tanh(unbounded), (gaussian - correction).sum(-1)


@dataclass(frozen=True)
class TanhGaussian:
    """The distribution of a population's actions at its states.

    Parameters
    ----------
    mean, log_std : [P, B, action] tensors
        Before the tanh.
    """

    mean: torch.Tensor
    log_std: torch.Tensor

    def sample(self, draws: Draws, purpose: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw one action per state: [P, B, action], and their log densities [P, B]; gradients pass through both."""
        return squashed(self.mean, self.log_std, draws.normal(purpose, *self.mean.shape[1:]))

    def samples(self, count: int, draws: Draws, purpose: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw several actions per state: [P, count, B, action], and their log densities [P, count, B]."""
        noise = draws.normal(purpose, count, *self.mean.shape[1:])
        return squashed(self.mean[:, None], self.log_std[:, None], noise)

    def detach(self) -> TanhGaussian:
        """Return the same distribution without gradients."""
        return TanhGaussian(self.mean.detach(), self.log_std.detach())
