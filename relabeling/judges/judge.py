"""The protocol of judges, and what they are shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, cast, runtime_checkable

import numpy as np

from assay.datasets.parts import part_from_plain, part_to_plain
from assay.datasets.registry import Registry

__all__ = ["JUDGES", "Frames", "Judge", "Pairs", "Segments", "judge_from_plain", "judge_to_plain"]

JUDGES: Registry[type[Judge]] = Registry("judge", ("assay.relabeling.judges",), "assay.judges")


class Frames(Protocol):
    """The frames of segments, read when they are asked for."""

    def __getitem__(self, segment: int) -> np.ndarray:
        """Return the frames of one segment, (L, height, width, channels) uint8."""


@dataclass(frozen=True)
class Segments:
    """Segments of episodes, each of L steps.

    Parameters
    ----------
    steps : (n, L) int64
        Of the dataset.
    rewards : (n, L) or None
        What a scripted teacher judges by.
    frames : Frames or None
        What each step led to.
    """

    steps: np.ndarray
    rewards: np.ndarray | None = None
    frames: Frames | None = None


@dataclass(frozen=True)
class Pairs:
    """Pairs of segments, as many first ones as second ones."""

    first: Segments
    second: Segments

    def __len__(self) -> int:
        return len(self.first.steps)


@runtime_checkable
class Judge(Protocol):
    """Says which of two segments is nearer to a goal. A frozen dataclass, so that a record can hold it."""

    name: ClassVar[str]

    def judge(self, pairs: Pairs, goal: str) -> np.ndarray:
        """Return (n,) int8: 0 where the first is better, 1 where the second is, -1 where it is not decided."""


def judge_from_plain(plain: Any) -> Judge:
    """Build a judge from `{name: parameters}`, as recipes write it.

    Raises
    ------
    ConfigError
        If it is neither a judge nor such a mapping.

    Examples
    --------
    >>> judge_from_plain({"scripted": {"mistake": 0.1}}).mistake
    0.1
    """
    return cast(Judge, part_from_plain(plain, JUDGES, Judge))


def judge_to_plain(judge: Judge) -> dict[str, Any]:
    """Return `{name: parameters}` of a judge."""
    return part_to_plain(judge)
