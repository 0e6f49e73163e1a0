"""Random augmentation: transitions moved as their domain allows, wherever that leads.

The baseline of Corrado et al., "Guided Data Augmentation for Offline Reinforcement Learning and Imitation Learning" (GuDA), RLC
2024, arXiv 2310.18247: for an observed (s, a, r, s'), a domain's transform gives (s~, a~, s'~) that obeys the dynamics, and r~ is
computed anew. `assay.augmentation.guided` keeps of these what makes progress.

What differs from the published code, on purpose:

- Blocks of transitions are changed at once. The first round takes each source as often as the ratio says, as the code's loop does;
  a rejected proposal is replaced by one from a source drawn at random, where the code goes on to the next source.
- Terminations are computed anew as well; the code copies `done`.
- Rewards are those of the new next state, as Gymnasium's environments give them; D4RL's mazes look at the state before.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import pydantic

from assay.augmentation.domain import Domain, domain_from_plain, domain_of
from assay.augmentation.proposals import SegmentAugmentation
from assay.augmentation.segments import Segments
from assay.augmentation.simulator import Simulator
from assay.datasets.dataset import Dataset
from assay.datasets.parts import part_to_plain
from assay.datasets.progress import Auto, Progress
from assay.datasets.transform import register

__all__ = ["DomainAugmentation", "RandomAugmentation"]


def _domain_or_none(plain: Any) -> Domain | None:
    return None if plain is None else domain_from_plain(plain)


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=pydantic.ConfigDict(extra="forbid"))
class DomainAugmentation(SegmentAugmentation):
    """Base of the augmentations that a domain proposes.

    Parameters
    ----------
    domain : Domain, or a mapping of its name to its parameters, optional
        By default that of the environment which the dataset was recorded in.
    ratio, length, seed, attempts, check, tolerance
        See `SegmentAugmentation`.
    """

    domain: Annotated[Any, pydantic.BeforeValidator(_domain_or_none)] = None

    def parameters(self) -> dict[str, Any]:  # noqa: D102
        return {**super().parameters(), "domain": None if self.domain is None else part_to_plain(self.domain)}

    def __call__(self, dataset: Dataset, *, progress: Progress | Auto | None = "auto") -> Dataset:  # noqa: D102
        if self.domain is not None:
            return super().__call__(dataset, progress=progress)
        return replace(self, domain=domain_of(dataset))(dataset, progress=progress)

    def prepare(self, dataset: Dataset) -> None:  # noqa: D102
        self.domain.check(dataset)

    def simulator(self, dataset: Dataset) -> Simulator:  # noqa: D102
        made: Simulator = self._domain.simulator()
        return made

    @property
    def _domain(self) -> Domain:
        domain: Domain = self.domain
        return domain


@register("augmentation.random")
class RandomAugmentation(DomainAugmentation):
    """Add transitions that are moved at random as their domain allows.

    Parameters
    ----------
    domain : Domain, or a mapping of its name to its parameters, optional
        Such as `PointMaze(map="umaze")`, or `{"point_maze": {"map": "umaze"}}` in recipes; by default that of the environment which
        the dataset was recorded in.
    ratio, length, seed, attempts, check, tolerance
        See `SegmentAugmentation`.

    Returns
    -------
    Dataset
        The original steps, and behind them the new ones; the column `augmented` tells them apart, and
        `info.extra["augmentation"]` says how many proposals were rejected.

    Raises
    ------
    DatasetError
        When applied: if the dataset is not of this domain, or too few proposals are accepted within the attempts.

    Examples
    --------
    >>> from assay.augmentation.domains import Soccer
    >>> from assay.datasets import Dataset
    >>> dataset = Dataset.from_arrays(  # one step forwards; robot, ball and heading
    ...     observations=np.array([[0.0, 0, 2, 0, 1, 0], [0.1, 0, 2, 0, 1, 0]]), actions=[[0.0, 1.0, 0.0]], rewards=[0.0],
    ...     terminations=[False], truncations=[True])
    >>> more = RandomAugmentation(domain=Soccer(), ratio=100)(dataset)
    >>> more.total_steps, int(more.column("augmented").sum())
    (101, 100)
    """

    def propose(self, segments: Segments, generator: np.random.Generator) -> tuple[Segments, np.ndarray]:  # noqa: D102
        changed, valid = self._domain.augment(segments, generator)
        return self._domain.labelled(changed), valid
