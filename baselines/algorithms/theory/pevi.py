r"""PEVI: pessimistic value iteration on linear features (Jin et al. 2021, arXiv 2012.15085).

.. math::
    \Lambda_h &= \sum_\tau \phi_\tau \phi_\tau^T + \text{ridge} \cdot I, \quad
        \nu_h = \Lambda_h^{-1} \sum_\tau \phi_\tau V_{h+1}(s'_\tau) \\
    Q_h(s, a) &= [\langle \phi, \theta_h + \nu_h \rangle - \beta \sqrt{\phi^T \Lambda_h^{-1} \phi}]_{[0, H - h]}

with h from 0 and V_h the maximum of Q_h.

Deviations: as in `r2pvi`.
"""

from __future__ import annotations

import numpy as np
import torch

from assay.baselines.algorithms.theory.linear import BackwardInduction
from assay.datasets.registry import register

__all__ = ["PEVI"]


@register("pevi", label="PEVI")
class PEVI(BackwardInduction):
    """Pessimistic value iteration, without robustness.

    Examples
    --------
    >>> PEVI(horizon=20).beta
    1.0
    """

    def projected(self, values: np.ndarray, projection: np.ndarray) -> np.ndarray:
        """Return the regression of the next values."""
        found: np.ndarray = projection @ values
        return found

    def uncertainty(self, features: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
        """Return the norm by the whole matrix."""
        return ((features @ inverse) * features).sum(-1).clamp(min=0.0).sqrt()
