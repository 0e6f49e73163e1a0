"""Guided augmentation (GuDA): transitions moved as their domain allows, and kept where they make progress.

Source: Corrado et al., "Guided Data Augmentation for Offline Reinforcement Learning and Imitation Learning", RLC 2024, arXiv
2310.18247; published code at commit 4061554. An expert's trajectory need not be seen: it is enough to say what progress is. Here
that is a potential of states, and (s~, a~, r~, s'~) is kept where

    potential(s'~) > potential(s~)                 of a segment: from its first observation to its last

What differs from the published code, on purpose:

- In the code each maze has a hand-written table, cell -> directions to the goal. Here the directions come from a breadth-first
  search over any map, and the rule above holds for every kept transition; the code takes the nearest rotation, whatever it leads to.
- See also `assay.augmentation.random`.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import pydantic

from assay.augmentation.guides import Guide, PotentialGuide
from assay.augmentation.random import DomainAugmentation
from assay.augmentation.segments import Segments
from assay.datasets.parts import part_from_plain, part_to_plain
from assay.datasets.transform import register

__all__ = ["GuidedAugmentation"]


def _guide_from_plain(plain: Any) -> Any:
    return part_from_plain(plain, Guide.registry, Guide)


@register("augmentation.guided")
class GuidedAugmentation(DomainAugmentation):
    """Add transitions that are moved as their domain allows and make progress.

    Parameters
    ----------
    domain : Domain, or a mapping of its name to its parameters, optional
        Such as `PointMaze(map="umaze")`, or `{"point_maze": {"map": "umaze"}}` in recipes; by default that of the environment which
        the dataset was recorded in.
    ratio, length, seed, attempts, check, tolerance
        See `SegmentAugmentation`.
    guide : Guide, or a mapping of its name to its parameters
        What is kept; by default what raises the potential of the domain.

    Returns
    -------
    Dataset
        The original steps, and behind them the new ones; the column `augmented` tells them apart, and
        `info.extra["augmentation"]` says how many proposals were rejected.

    Raises
    ------
    DatasetError
        When applied: if the dataset is not of this domain, or too few proposals are accepted within the attempts; with the rates.

    Examples
    --------
    >>> from assay.augmentation.domains import Soccer
    >>> from assay.datasets import Dataset
    >>> dataset = Dataset.from_arrays(  # one step forwards; robot, ball and heading
    ...     observations=np.array([[0.0, 0, 2, 0, 1, 0], [0.1, 0, 2, 0, 1, 0]]), actions=[[0.0, 1.0, 0.0]], rewards=[0.0],
    ...     terminations=[False], truncations=[True])
    >>> added = GuidedAugmentation(domain=Soccer(), ratio=100)(dataset).select("augmented")
    >>> before, after = (Soccer().potential(added.observations[first::2]) for first in (0, 1))
    >>> bool((after > before).all())
    True
    """

    guide: Annotated[Any, pydantic.BeforeValidator(_guide_from_plain)] = PotentialGuide()

    def parameters(self) -> dict[str, Any]:  # noqa: D102
        return {**super().parameters(), "guide": part_to_plain(self.guide)}

    def propose(self, segments: Segments, generator: np.random.Generator) -> tuple[Segments, np.ndarray]:  # noqa: D102
        proposed = (self._domain.aim if self.guide.aims else self._domain.augment)(segments, generator)
        changed, valid = proposed
        return self._domain.labelled(changed), valid

    def accept(self, segments: Segments) -> np.ndarray:  # noqa: D102
        kept: np.ndarray = self.guide.accept(segments, self._domain)
        return kept

    def remedy(self) -> str:  # noqa: D102
        return "Raise attempts, loosen the guide, or give data in which something moves."
