"""Corruption of whole episodes: some are lost, repeated or out of order, or only few were ever recorded.

::

    episodes               0 1 2 3 4 5
    drop_episodes          0 . 2 3 . 5             touched ones are lost
    duplicate_episodes     0 1 2 3 4 5 1 4         touched ones occur again
    reorder_episodes       0 4 2 3 1 5             touched ones trade places
    downsample             . 1 . . . .             a share of the trajectories, as in RDT

No step changes. Masks of earlier corruptions, weights and final observations stay with their steps. The episodes table
holds the ground truth: `origin/episode` is the number that each episode had in the first dataset; numbers that are
missing were dropped.

Every episode e has one number u_e in [0, 1), a function of the seed, the transform and e alone. Episodes with u_e <
rate are touched; with count="exact" the round(rate x episodes) of smallest u_e.

Downsampling follows Robust Decision Transformer (Xu et al., "Tackling Data Corruption in Offline Reinforcement Learning
via Sequence Modeling", ICLR 2025, arXiv 2407.04285; published code `ratio_dataset.py`): whole trajectories, drawn
without replacement, a share of their *number*: MuJoCo medium-replay 10 %, medium 2 %, medium-expert 1 %, Adroit 1 %,
Kitchen all. Deviations, on purpose:

- The code draws from Python's generator with the fixed seed 1234 for all runs; here `seed` is a parameter, and a
  smaller share is part of a larger one of the same seed.
- The number is rounded to the nearest, at least 1. Trajectories keep their order.
- Where lengths vary much, a tenth of the trajectories may be far more or less than a tenth of the steps:
  unit="steps" takes trajectories in the same order until they hold that share of the steps.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pydantic
from pydantic import Field

from assay.corruption.shared.pieces import mark_episodes, take_pieces
from assay.datasets.dataset import Dataset
from assay.datasets.errors import DatasetError
from assay.datasets.generators import uniform_numbers
from assay.datasets.transform import Transform, register

__all__ = ["DownsampleEpisodes", "DropEpisodes", "DuplicateEpisodes", "EpisodeCorruption", "ReorderEpisodes"]


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=pydantic.ConfigDict(extra="forbid"))
class EpisodeCorruption(Transform):
    """Base of the transforms that touch a share of the episodes; its parameters are given by keyword.

    Parameters
    ----------
    count : "random" or "exact"
        Whether every episode is touched with probability `rate`, or exactly the share `rate` of them.
    tag : str, optional
        Touch only episodes with this tag; `rate` is then the share of these.
    """

    count: Literal["random", "exact"] = "random"
    tag: str | None = None

    def draws(self, dataset: Dataset, seed: int, purpose: str = "episodes") -> np.ndarray:
        """Return one number in [0, 1) per episode, (E,) float64."""
        return uniform_numbers(dataset.total_episodes, seed, self.name, purpose)

    def touched_episodes(
        self, dataset: Dataset, rate: float, seed: int, possible: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the episodes to touch, (E,) bool: the share `rate` of those that are `possible`.

        Raises
        ------
        UnknownNameError
            If there is no such tag.
        """
        allowed = np.ones(dataset.total_episodes, bool) if possible is None else possible.copy()
        if self.tag is not None:
            allowed &= dataset.tagged(self.tag)
        numbers = self.draws(dataset, seed)
        if self.count == "random":
            chosen: np.ndarray = (numbers < rate) & allowed
            return chosen
        candidates = np.flatnonzero(allowed)
        return smallest(numbers, candidates, round(rate * len(candidates)))


def smallest(numbers: np.ndarray, candidates: np.ndarray, count: int) -> np.ndarray:
    """Return a mask of the `count` candidates with the smallest numbers."""
    chosen = np.zeros(len(numbers), bool)
    chosen[candidates[np.argsort(numbers[candidates], kind="stable")[:count]]] = True
    return chosen


def _take_episodes(dataset: Dataset, episodes: np.ndarray) -> Dataset:
    if not len(episodes):
        raise DatasetError("no episode would be left; choose another rate or seed")
    return take_pieces(dataset, dataset.episode_starts[episodes], dataset.episode_lengths[episodes])


@register("corruption.drop_episodes")
class DropEpisodes(EpisodeCorruption):
    """Lose some of the episodes.

    Parameters
    ----------
    rate : float in [0, 1]
        Probability that an episode is lost.
    seed : int >= 0
    of : "any", "highest_return" or "lowest_return"
        "any": episodes are lost at random. Otherwise exactly the share `rate` with the highest (lowest) returns is
        lost.
    count, tag
        Which episodes; see `EpisodeCorruption`.

    Raises
    ------
    DatasetError
        When applied: if no episode is left.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(6.0), actions=np.zeros(3), rewards=[1.0, 5.0, 2.0],
    ...     terminations=np.ones(3, bool), truncations=np.zeros(3, bool))
    >>> DropEpisodes(rate=0.34, of="highest_return")(dataset).rewards.tolist()
    [1.0, 2.0]
    """

    rate: float = Field(default=0.3, ge=0, le=1)
    seed: int = Field(default=0, ge=0)
    of: Literal["any", "highest_return", "lowest_return"] = "any"

    def apply(self, dataset: Dataset) -> Dataset:
        """Return the episodes that are left, in their order."""
        if self.of == "any":
            lost = self.touched_episodes(dataset, self.rate, self.seed)
        else:
            sign = -1 if self.of == "highest_return" else 1
            allowed = np.ones(dataset.total_episodes, bool) if self.tag is None else dataset.tagged(self.tag)
            candidates = np.flatnonzero(allowed)
            lost = smallest(sign * dataset.returns, candidates, round(self.rate * len(candidates)))
        return _take_episodes(dataset, np.flatnonzero(~lost))


@register("corruption.duplicate_episodes")
class DuplicateEpisodes(EpisodeCorruption):
    """Let some of the episodes occur more than once.

    The copies are marked in the mask `corrupted/duplicates` and in the episode column `corrupted/duplicated`; the first
    occurrence is not.

    Parameters
    ----------
    rate : float in [0, 1]
        Probability that an episode is repeated.
    seed : int >= 0
    copies : int >= 1
        Copies of each touched episode, besides itself.
    place : "end" or "beside"
        Whether copies follow after all episodes, or each after its original.
    count, tag
        Which episodes; see `EpisodeCorruption`.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(4.0), actions=np.zeros(2), rewards=[1.0, 5.0],
    ...     terminations=np.ones(2, bool), truncations=np.zeros(2, bool))
    >>> repeated = DuplicateEpisodes(rate=1.0, place="beside")(dataset)
    >>> repeated.rewards.tolist(), repeated.masks["duplicates"].tolist()
    ([1.0, 1.0, 5.0, 5.0], [False, True, False, True])
    """

    rate: float = Field(default=0.3, ge=0, le=1)
    seed: int = Field(default=0, ge=0)
    copies: int = Field(default=1, ge=1)
    place: Literal["end", "beside"] = "end"

    def apply(self, dataset: Dataset) -> Dataset:
        """Return the episodes with their copies."""
        touched = self.touched_episodes(dataset, self.rate, self.seed)
        numbers = np.arange(dataset.total_episodes)
        if self.place == "end":
            episodes = np.concatenate([numbers, np.tile(numbers[touched], self.copies)])
            copied = np.arange(len(episodes)) >= len(numbers)
        else:
            episodes = np.repeat(numbers, 1 + self.copies * touched)
            copied = np.zeros(len(episodes), bool)
            copied[1:] = episodes[1:] == episodes[:-1]
        if not dataset.total_episodes:
            return dataset
        taken = _take_episodes(dataset, episodes)
        steps = np.repeat(copied, taken.episode_lengths)
        return mark_episodes(taken, episodes={"duplicated": copied}, steps={"duplicates": steps})


@register("corruption.reorder_episodes")
class ReorderEpisodes(EpisodeCorruption):
    """Let some of the episodes trade places.

    The order matters for splits by time, curricula, and the learning curve in replay data. Episodes that moved are
    marked in the episode column `corrupted/reordered`. No step is wrong, so there is no mask.

    Parameters
    ----------
    rate : float in [0, 1]
        Probability that an episode takes part.
    seed : int >= 0
    count, tag
        Which episodes; see `EpisodeCorruption`.
    """

    rate: float = Field(default=1.0, ge=0, le=1)
    seed: int = Field(default=0, ge=0)

    def apply(self, dataset: Dataset) -> Dataset:
        """Return the episodes in their new order."""
        if not dataset.total_episodes:
            return dataset
        places = np.flatnonzero(self.touched_episodes(dataset, self.rate, self.seed))
        order = np.arange(dataset.total_episodes)
        order[places] = places[np.argsort(self.draws(dataset, self.seed, "order")[places], kind="stable")]
        moved = order != np.arange(len(order))
        return mark_episodes(_take_episodes(dataset, order), episodes={"reordered": moved})


@register("corruption.downsample")
class DownsampleEpisodes(Transform):
    """Keep a share of the trajectories (RDT; the module's text has the published shares).

    Parameters
    ----------
    fraction : float in (0, 1]
    seed : int >= 0
    unit : "episodes" or "steps"
        Whether the fraction counts episodes or steps.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(80.0), actions=np.zeros(40), rewards=np.arange(40.0),
    ...     terminations=np.ones(40, bool), truncations=np.zeros(40, bool))
    >>> few, more = (DownsampleEpisodes(fraction)(dataset) for fraction in (0.1, 0.2))
    >>> few.total_episodes, more.total_episodes, set(few.rewards) <= set(more.rewards)
    (4, 8, True)
    """

    fraction: float = Field(default=0.1, gt=0, le=1)
    seed: int = Field(default=0, ge=0)
    unit: Literal["episodes", "steps"] = "episodes"

    def apply(self, dataset: Dataset) -> Dataset:
        """Return the trajectories that are kept, in their order."""
        if not dataset.total_episodes:
            return dataset
        order = np.argsort(uniform_numbers(dataset.total_episodes, self.seed, self.name, "episodes"), kind="stable")
        if self.unit == "episodes":
            count = round(self.fraction * dataset.total_episodes)
        else:
            held = np.cumsum(dataset.episode_lengths[order])
            count = 1 + int(np.searchsorted(held, self.fraction * dataset.total_steps))
        return _take_episodes(dataset, np.sort(order[: max(1, count)]))
