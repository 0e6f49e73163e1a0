r"""R2PVI: robust regularized pessimistic value iteration on linear features (Tang, Liu & Xu, ICML 2025, arXiv
2411.18612).

The worst next values over factors mu_i, less a price for their distance from the data's, in closed form (total variation,
Kullback-Leibler) or by a search in one dimension per feature (chi-squared):

.. math::
    \nu_{h,i} &= \inf_{\mu_i} E_{\mu_i}[V_{h+1}] + \lambda D_f(\mu_i \| \mu^0_{h,i}), \quad
        \Lambda_h = \sum_\tau \phi_\tau \phi_\tau^T + \text{ridge} \cdot I \\
    \text{TV:}\quad \nu_h &= \Lambda_h^{-1} \Phi^T \min(V, \min_\tau V_\tau + \lambda) \\
    \text{KL:}\quad \nu_h &= -\lambda \log \max(\Lambda_h^{-1} \Phi^T e^{-V / \lambda}, e^{-H / \lambda}) \\
    \chi^2:\quad \nu_{h,i} &= \max_{\alpha \in [0, H]} z_i(\alpha) + \frac{z_i(\alpha)^2 - z^{(2)}_i(\alpha)}{4 \lambda},
        \quad z = \Lambda_h^{-1} \Phi^T [V]_\alpha, \; z^{(2)} = \Lambda_h^{-1} \Phi^T [V]_\alpha^2, \; [V]_\alpha = \min(V, \alpha) \\
    Q_h(s, a) &= [\langle \phi, \theta_h + \nu_h \rangle - \beta \| \phi \|_{diag(\Lambda_h^{-1})}]_{[0, H - h]}

with h from 0, and 0 for nu at the last step. `penalty="norm"` is the square root of sum phi_i^2 [Lambda^-1]_ii, as published
code has it; `"sum"` is sum |phi_i| [Lambda^-1]_ii^(1/2).

`variant="paper"` maximizes the dual of chi-squared. `"released"` minimizes it, as the published code of the simulated linear
MDP does (its other copy, of the American put, maximizes); it has no effect on the other divergences.

Deviations from the published code: values are clipped at 0 from below, where that code is told which state is the failure,
whose value it takes to be 0. Rewards are fitted unless `reward_weights` are given, which that code always has. Its ridge is
called gamma there, and lambda (here `regularizer`) rho. The search is on a grid that is refined around the extremum, where it
has Nelder-Mead. Features that no step has are worth H under KL, which no action sees.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import Field

from assay.baselines.algorithms.theory.linear import BackwardInduction, largest_on_grid
from assay.datasets.registry import register

__all__ = ["R2PVI", "diagonal_norm"]


@register("r2pvi", label="R2PVI")
class R2PVI(BackwardInduction):
    """Robustness at a price per distance.

    Examples
    --------
    >>> R2PVI(divergence="chi_squared").variant
    'paper'
    """

    regularizer: float = Field(0.1, gt=0)  # lambda
    divergence: Literal["total_variation", "kl", "chi_squared"] = "total_variation"
    penalty: Literal["norm", "sum"] = "norm"
    variant: Literal["paper", "released"] = "paper"

    def projected(self, values: np.ndarray, projection: np.ndarray) -> np.ndarray:
        """Return the worst next values, per feature."""
        price = self.regularizer
        found: np.ndarray
        if self.divergence == "total_variation":
            found = projection @ np.minimum(values, values.min() + price)
        elif self.divergence == "kl":
            found = -price * np.log(np.maximum(projection @ np.exp(-values / price), np.exp(-self.horizon / price)))
        else:
            sign = 1.0 if self.variant == "paper" else -1.0

            def dual(points: np.ndarray) -> np.ndarray:
                clipped = np.minimum(values, points[..., None])  # [d or 1, G, M]
                first = (projection[:, None] * clipped).sum(-1)
                second = (projection[:, None] * clipped**2).sum(-1)
                value: np.ndarray = sign * (first + (first**2 - second) / (4 * price))
                return value

            found = sign * largest_on_grid(dual, float(self.horizon))
        return found

    def uncertainty(self, features: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
        """Return the norm, or the sum, by the diagonal."""
        if self.penalty == "norm":
            return diagonal_norm(features, inverse)
        return (features.abs() * inverse.diagonal(dim1=-2, dim2=-1).sqrt().unsqueeze(-2)).sum(-1)


def diagonal_norm(features: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
    """Return the norm (..., n) of features (..., n, d) by the diagonal of inverses (..., d, d)."""
    return (features.square() * inverse.diagonal(dim1=-2, dim2=-1).unsqueeze(-2)).sum(-1).sqrt()
