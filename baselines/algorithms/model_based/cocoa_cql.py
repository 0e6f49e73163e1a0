"""COCOA on CQL (Song et al. 2024, arXiv 2404.04682): `cql` on the pairs of `cocoa`.

CQL learns from the data alone. The models of both directions of time serve to find anchors, of states of the data as of those in which it acts.

Deviations: those of `cocoa` and `cql`. All networks begin as PyTorch's layers do: `orthogonal` has no effect.
"""

from __future__ import annotations

from assay.baselines.algorithms.actor_critic.cql import CQL
from assay.baselines.algorithms.model_based.agent import LearnedDynamics
from assay.baselines.algorithms.model_based.cocoa import Compositional
from assay.datasets.registry import register

__all__ = ["COCOACQL"]


@register("cocoa_cql", label="CQL+COCOA")
class COCOACQL(Compositional, LearnedDynamics, CQL):
    """Conservative Q-learning on anchors near the data and differences from them; how long the seeker trains is a choice of this project.

    Examples
    --------
    >>> COCOACQL(alpha=5.0).anchor_steps
    1
    """
