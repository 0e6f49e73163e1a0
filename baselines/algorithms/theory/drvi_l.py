r"""DRVI-L: distributionally robust value iteration on linear features (Ma et al. 2022, arXiv 2209.06620),
Kullback-Leibler.

The worst next values over factors mu_i whose divergence from those of the data is at most the radius rho, by a dual of one
dimension per feature:

.. math::
    \nu_{h,i} = \max_{\alpha \in (0, H]} -\alpha \log(1 + z_i(\alpha)) - \alpha \rho, \quad
    z(\alpha) = \Lambda_h^{-1} \sum_\tau \phi_\tau (e^{-V_{h+1}(s'_\tau) / \alpha} - 1)

The 1 is subtracted before the regression and added after it, so that features without data are worth 0 and not the most.
Everything else is that of `r2pvi`, with its deviations and its penalty; `beta=0` is DRVI-L as the paper has it for data that
covers everything, and `beta > 0` is its pessimistic version, as R2PVI's authors ran it. 1 + z is at least 1e-6, as in their code; the
search is on a grid that is refined around the maximum, where they have Nelder-Mead. One radius holds for all features and steps.

Where the weights of a regression, Lambda^-1 Phi^T, sum to a little more than 1, 1 + z is negative for small alpha, and nu exceeds the
largest value that was seen. `estimate="normalized"` is a deviation without this fault: with the sum w of a feature's weights,

.. math::
    \nu_{h,i} = \max_{\alpha \in (0, H]} -\alpha \log \max\Bigl(\frac{1}{w_i} \Lambda_h^{-1} \sum_\tau \phi_\tau
        e^{-V_{h+1}(s'_\tau) / \alpha}, e^{-\max_\tau V / \alpha}\Bigr)_i - \alpha \rho

and 0 where w is not positive.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import Field

from assay.baselines.algorithms.theory.linear import BackwardInduction, largest_on_grid
from assay.baselines.algorithms.theory.r2pvi import diagonal_norm
from assay.datasets.registry import register

__all__ = ["DRVIL"]

LEAST = 1e-6  # of 1 + z, and of alpha


@register("drvi_l", label="DRVI-L")
class DRVIL(BackwardInduction):
    """Robustness within a Kullback-Leibler radius.

    Examples
    --------
    >>> DRVIL(radius=0.2, beta=0.0).horizon
    3
    """

    radius: float = Field(0.1, ge=0)  # rho
    estimate: Literal["shifted", "normalized"] = "shifted"  # of the moments; "shifted" is the paper's

    def projected(self, values: np.ndarray, projection: np.ndarray) -> np.ndarray:
        """Return the largest of the dual, per feature."""
        total, highest, lowest = projection.sum(1)[:, None], float(values.max()), float(values.min())
        positive = total > LEAST

        def dual(points: np.ndarray) -> np.ndarray:
            alpha = np.maximum(points, LEAST)  # [d or 1, G]
            value: np.ndarray
            if self.estimate == "shifted":
                moments = 1.0 + (projection[:, None] * np.expm1(-values / alpha[..., None])).sum(-1)
                value = -alpha * (np.log(np.maximum(moments, LEAST)) + self.radius)
                return value
            # Relative to the lowest value, so that nothing underflows.
            moments = (projection[:, None] * np.exp((lowest - values) / alpha[..., None])).sum(-1)
            least = np.maximum(np.exp((lowest - highest) / alpha), 1e-300)
            moments = np.maximum(moments / np.where(positive, total, 1.0), least)
            value = lowest - alpha * (np.log(moments) + self.radius)
            return np.where(positive, value, 0.0)

        return largest_on_grid(dual, float(self.horizon))

    def uncertainty(self, features: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
        """Return the norm by the diagonal."""
        return diagonal_norm(features, inverse)
