"""COCOA on IQL (Song et al. 2024, arXiv 2404.04682): `iql` on the pairs of `cocoa`.

IQL learns from the data alone. The models of both directions of time serve to find anchors, of states of the data as of those in which it acts.

Deviations: those of `cocoa` and `iql`.
"""

from __future__ import annotations

from assay.baselines.algorithms.actor_critic.iql import IQL
from assay.baselines.algorithms.model_based.agent import LearnedDynamics
from assay.baselines.algorithms.model_based.cocoa import Compositional
from assay.datasets.registry import register

__all__ = ["COCOAIQL"]


@register("cocoa_iql", label="IQL+COCOA")
class COCOAIQL(Compositional, LearnedDynamics, IQL):
    """Implicit Q-learning on anchors near the data and differences from them; how long the seeker trains is a choice of this project.

    Examples
    --------
    >>> COCOAIQL(expectile=0.9).anchor_steps
    1
    """
