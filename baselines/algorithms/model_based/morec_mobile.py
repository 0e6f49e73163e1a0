"""MOREC on MOBILE (Luo et al. 2024, arXiv 2310.05422): the filter of `morec`, with the targets of `mobile` in place of a penalty on rewards.

Ten states of the discriminator are kept, where MOREC on MOPO keeps forty, and the entropy stands in the targets, as published.
`morec_mobile.json` has lambda by dataset of D4RL.

Deviations: those of `morec` and `mobile`.
"""

from __future__ import annotations

from pydantic import Field

from assay.baselines.algorithms.model_based.mobile import MOBILE
from assay.baselines.algorithms.model_based.morec import RewardConsistent
from assay.datasets.registry import register

__all__ = ["MORECMOBILE"]


@register("morec_mobile", label="MOBILE+MOREC")
class MORECMOBILE(RewardConsistent, MOBILE):
    """MOBILE on rollouts of steps that a learned reward of transitions chooses; how that is learned is a reconstruction.

    Examples
    --------
    >>> MORECMOBILE(penalty_weight=0.25).discriminators
    10
    """

    discriminators: int = Field(default=10, gt=0, kw_only=True)  # K
    deterministic_backup: bool = False
