"""Guides: which of the changed segments are kept.

A guide of one's own is a class with `accept`; one that asks a potential of its own to rise needs only that::

    @register("nearer")
    class Nearer(Guide):
        def accept(self, segments, domain):
            return distance(segments.last) < distance(segments.first)      # (M,) bool
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from pydantic import Field

from assay.augmentation.domain import Domain
from assay.augmentation.segments import Segments
from assay.datasets.registry import Registry, register

__all__ = ["Guide", "PotentialGuide", "RewardGuide"]


class Guide(ABC):
    """Base of all guides; a frozen dataclass, so that a record of the history can hold it."""

    registry: ClassVar[Registry[type[Guide]]] = Registry("guide", ("assay.augmentation.guides",), "assay.guides")
    name: ClassVar[str]
    aims: ClassVar[bool] = False
    """Whether proposals are aimed at the domain's goal before this guide sees them."""

    @abstractmethod
    def accept(self, segments: Segments, domain: Domain) -> np.ndarray:
        """Return which segments are kept, (M,) bool.

        Parameters
        ----------
        segments : Segments
            With the rewards and terminations of the domain.
        domain : Domain
        """


@register("potential")
class PotentialGuide(Guide):
    """Keep what raises the domain's potential from the first observation of a segment to its last.

    Parameters
    ----------
    least : float >= 0
        The rise must be more than this.

    Examples
    --------
    >>> PotentialGuide(least=0.1).aims
    True
    """

    least: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    aims: ClassVar[bool] = True

    def accept(self, segments: Segments, domain: Domain) -> np.ndarray:  # noqa: D102
        accepted: np.ndarray = domain.potential(segments.last) - domain.potential(segments.first) > self.least
        return accepted


@register("reward")
class RewardGuide(Guide):
    """Keep segments whose summed reward is at least so much.

    Parameters
    ----------
    least : float

    Examples
    --------
    >>> RewardGuide(least=1.0)
    RewardGuide(least=1.0)
    """

    least: float = Field(allow_inf_nan=False)

    def accept(self, segments: Segments, domain: Domain) -> np.ndarray:  # noqa: D102
        accepted: np.ndarray = segments.rewards.sum(axis=1) >= self.least
        return accepted
