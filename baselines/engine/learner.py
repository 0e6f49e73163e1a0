"""Learners: what turns jobs into what was learned. A population serves methods with gradients, a direct learner the others.

Training asks a learner for updates, for numbers to log, for a snapshot that acts, and for states to save; how it learns is
its own matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from assay.baselines.engine.data import TrainingData
from assay.baselines.networks.network import FixedNetwork

if TYPE_CHECKING:
    from assay.baselines.algorithms.algorithm import Algorithm
    from assay.baselines.engine.acting import Actor

__all__ = ["Learner", "Member", "State"]


@dataclass(frozen=True)
class Member:
    """A job inside a learner."""

    algorithm: Algorithm
    seed: int
    data: int  # index of its TrainingData


@dataclass(frozen=True)
class State:
    """What training changes.

    Parameters
    ----------
    update : int
        Updates done.
    optimizer_steps : mapping
        Adam's step count per network.
    tensors : mapping
        `"network/tensor"` and `"buffers/name/tensor"` -> its rows.
    metrics : sequence of mapping
        Per phase: name -> sums since the last log point, one per member, and their count as the last entry.
    frozen_at : sequence of int
        Update in which each member's loss was first not finite, or -1.
    """

    update: int
    optimizer_steps: Mapping[str, int]
    tensors: Mapping[str, torch.Tensor]
    metrics: Sequence[Mapping[str, Sequence[float]]]
    frozen_at: Sequence[int]


class Learner(Protocol):
    """Learns for some members of one algorithm."""

    @property
    def members(self) -> tuple[Member, ...]:
        """The jobs."""

    @property
    def data(self) -> tuple[TrainingData, ...]:
        """Each dataset once."""

    @property
    def networks(self) -> Mapping[str, FixedNetwork]:
        """What is learned, by name."""

    @property
    def completed(self) -> int:
        """Updates done."""

    @property
    def frozen_at(self) -> list[int | None]:
        """The update in which each member's loss was first not finite, or None."""

    def advance(self, updates: int) -> None:
        """Learn by so many updates."""

    def metrics(self) -> dict[str, np.ndarray]:
        """Return the mean [P] of every logged number since the last call."""

    def actor(self) -> Actor:
        """Return a snapshot of what every member acts with now."""

    def state(self, member: int | None = None) -> State:
        """Copy everything that learning changes, of one member or of all."""

    def restore(self, state: State, member: int | None = None) -> None:
        """Set what `state` returned; all members must be restored to the same update."""
