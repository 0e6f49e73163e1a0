r"""DRPVI: distributionally robust pessimistic value iteration (Liu & Xu 2024, arXiv 2403.09621), total variation.

The worst next values over factors mu_i whose distance from those of the data is at most the radius rho, by a dual of one
dimension per feature:

.. math::
    \nu_{h,i} = \max_{\alpha \in [0, H]} z_i(\alpha) - \rho \alpha, \quad
    z(\alpha) = \Lambda_h^{-1} \sum_\tau \phi_\tau \min(V_{h+1}(s'_\tau), \alpha)

Everything else is that of `r2pvi`, with its deviations; the search is on a grid that is refined around the maximum, where the
published code has Nelder-Mead. One radius holds for all features and steps; the published code has one for each. As in that
code, the smallest value is taken to be 0.
"""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field

from assay.baselines.algorithms.theory.linear import BackwardInduction, largest_on_grid
from assay.baselines.algorithms.theory.r2pvi import diagonal_norm
from assay.datasets.registry import register

__all__ = ["DRPVI"]


@register("drpvi", label="DRPVI")
class DRPVI(BackwardInduction):
    """Robustness within a radius.

    Examples
    --------
    >>> DRPVI(radius=0.2).horizon
    3
    """

    radius: float = Field(0.1, ge=0, le=1)  # rho

    def projected(self, values: np.ndarray, projection: np.ndarray) -> np.ndarray:
        """Return the largest of the dual, per feature."""

        def dual(points: np.ndarray) -> np.ndarray:
            clipped = np.minimum(values, points[..., None])  # [d or 1, G, M]
            value: np.ndarray = (projection[:, None] * clipped).sum(-1) - self.radius * points
            return value

        return largest_on_grid(dual, float(self.horizon))

    def uncertainty(self, features: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
        """Return the norm by the diagonal."""
        return diagonal_norm(features, inverse)
