"""COCOA on MOBILE (Song et al. 2024, arXiv 2404.04682): `mobile` on the pairs of `cocoa`.

The penalty asks what follows a step: candidates of the model, each with an anchor of its own.

Deviations: those of `cocoa` and `mobile`.
"""

from __future__ import annotations

from assay.baselines.algorithms.model_based.cocoa import Compositional
from assay.baselines.algorithms.model_based.mobile import MOBILE
from assay.datasets.registry import register

__all__ = ["COCOAMOBILE"]


@register("cocoa_mobile", label="MOBILE+COCOA")
class COCOAMOBILE(Compositional, MOBILE):
    """MOBILE on anchors near the data and differences from them; how long the seeker trains is a choice of this project.

    Examples
    --------
    >>> COCOAMOBILE(penalty_weight=1.0).anchor_steps
    1
    """
