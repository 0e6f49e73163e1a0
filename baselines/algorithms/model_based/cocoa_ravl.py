"""COCOA on RAVL (Song et al. 2024, arXiv 2404.04682): `ravl` on the pairs of `cocoa`.

The authors did not try this base. Diversity is that of the critics' gradients to the action, which both parts of a pair are joined by.

Deviations: those of `cocoa` and `ravl`.
"""

from __future__ import annotations

from assay.baselines.algorithms.model_based.cocoa import Compositional
from assay.baselines.algorithms.model_based.ravl import RAVL
from assay.datasets.registry import register

__all__ = ["COCOARAVL"]


@register("cocoa_ravl", label="RAVL+COCOA")
class COCOARAVL(Compositional, RAVL):
    """RAVL on anchors near the data and differences from them; how long the seeker trains is a choice of this project.

    Examples
    --------
    >>> COCOARAVL(eta=10.0).anchor_steps
    1
    """
