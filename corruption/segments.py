"""Corruption of where episodes begin and end: cut short, cut into pieces, joined, or ended by the wrong flag.

::

    episode                  s0 s1 s2 s3 s4 s5 sT
    truncate_episodes        s0 s1 s2 s3                      the rest is lost; truncated, s3 is the final observation
    segment, length=2        s0 s1 s2 | s2 s3 s4 | s4 s5 sT   each border is an artificial truncation
    merge_episodes           s0 ... s5 s0' s1' ...            sT is lost: the step from s5 seems to lead to s0'
    terminations             the flag of the last step changes, or steps inside seem to terminate

An artificial truncation keeps the true next observation as the final one, so that its last transition is correct; only
the rest of the episode is lost. A merged border makes one transition that never happened, and hides that an MDP ended.
Both occur in published data: D4RL's `qlearning_dataset` joins the last observation of an episode that terminated with
the first one of the next, and mixing buffers by position (Schweighofer et al. 2022) leaves such a seam.

Ground truth: `corrupted/truncations` marks steps with an artificial end, `corrupted/borders` steps whose next
observation is another episode's, and `corrupted/terminations` steps with wrong flags. The episodes table has
`corrupted/truncated`, `corrupted/merged` and `corrupted/terminated`. `dataset.validate()` cannot find any of it,
because each result could have been recorded like this. Masks of earlier corruptions stay with their steps.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from assay.corruption.episodes import EpisodeCorruption, smallest
from assay.corruption.shared.pieces import mark_episodes, take_pieces
from assay.datasets.dataset import Dataset, is_under
from assay.datasets.generators import uniform_numbers
from assay.datasets.memory import copy, take_ranges
from assay.datasets.transform import Transform, register

__all__ = ["FlipTerminations", "MergeEpisodes", "SegmentEpisodes", "TruncateEpisodes"]


@register("corruption.truncate_episodes")
class TruncateEpisodes(EpisodeCorruption):
    """Lose the end of some of the episodes.

    Parameters
    ----------
    rate : float in [0, 1]
        Probability that an episode is cut short. Those of a single step cannot be.
    seed : int >= 0
    shortest, longest : float in [0, 1]
        Range of the share of an episode that is kept, drawn uniformly. At least the first step is kept, and at least
        the last one is lost.
    count, tag
        Which episodes; see `EpisodeCorruption`.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(5.0), actions=np.zeros(4), rewards=np.zeros(4),
    ...     terminations=np.arange(4) == 3, truncations=np.zeros(4, bool))
    >>> short = TruncateEpisodes(rate=1.0, shortest=0.5, longest=0.5)(dataset)
    >>> short.observations.tolist(), short.terminations.tolist(), short.truncations.tolist()
    ([0.0, 1.0, 2.0], [False, False], [False, True])
    """

    rate: float = Field(default=0.3, ge=0, le=1)
    seed: int = Field(default=0, ge=0)
    shortest: float = Field(default=0.1, ge=0, le=1)
    longest: float = Field(default=0.9, ge=0, le=1)

    @model_validator(mode="after")
    def _ordered(self) -> TruncateEpisodes:
        if self.shortest > self.longest:
            raise ValueError(f"shortest={self.shortest:g} is more than longest={self.longest:g}")
        return self

    def apply(self, dataset: Dataset) -> Dataset:
        """Return the dataset with the beginnings of touched episodes."""
        lengths = dataset.episode_lengths
        touched = self.touched_episodes(dataset, self.rate, self.seed, possible=lengths > 1)
        share = self.shortest + (self.longest - self.shortest) * self.draws(dataset, self.seed, "share")
        shorter = np.clip(np.floor(share * lengths).astype(np.int64), 1, np.maximum(1, lengths - 1))
        taken = take_pieces(dataset, dataset.episode_starts, np.where(touched, shorter, lengths))
        return _mark_truncated(taken, touched)


@register("corruption.segment")
class SegmentEpisodes(Transform):
    """Cut the episodes into segments, and keep a share of them.

    Parameters
    ----------
    length : int >= 1
        Steps of a segment; the last one of an episode may be shorter.
    keep : float in (0, 1]
        Share of all segments that is kept: round(keep x segments), at least one, drawn without replacement. A smaller
        share is part of a larger one of the same seed.
    seed : int >= 0

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(6.0), actions=np.zeros(5), rewards=np.zeros(5),
    ...     terminations=np.arange(5) == 4, truncations=np.zeros(5, bool))
    >>> segments = SegmentEpisodes(length=2)(dataset)
    >>> segments.observations.tolist(), segments.truncations.tolist()
    ([0.0, 1.0, 2.0, 2.0, 3.0, 4.0, 4.0, 5.0], [False, True, False, True, False])
    """

    length: int = Field(default=100, ge=1)
    keep: float = Field(default=1.0, gt=0, le=1)
    seed: int = Field(default=0, ge=0)

    def apply(self, dataset: Dataset) -> Dataset:
        """Return the segments, in their order, as episodes."""
        if not dataset.total_episodes:
            return dataset
        starts, lengths = dataset.episode_starts, dataset.episode_lengths
        counts = -(-lengths // self.length)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        firsts = np.repeat(starts, counts) + self.length * within
        ends = np.repeat(starts + lengths, counts)
        sizes = np.minimum(self.length, ends - firsts)
        if self.keep < 1:
            numbers = uniform_numbers(len(firsts), self.seed, self.name, "segments")
            kept = np.sort(np.argsort(numbers, kind="stable")[: max(1, round(self.keep * len(firsts)))])
            firsts, sizes, ends = firsts[kept], sizes[kept], ends[kept]
        return _mark_truncated(take_pieces(dataset, firsts, sizes), firsts + sizes < ends)


def _mark_truncated(taken: Dataset, cut: np.ndarray) -> Dataset:
    steps = np.zeros(taken.total_steps, bool)
    steps[(np.cumsum(taken.episode_lengths) - 1)[cut]] = True
    return mark_episodes(taken, episodes={"truncated": cut}, steps={"truncations": steps})


@register("corruption.merge_episodes")
class MergeEpisodes(EpisodeCorruption):
    """Remove borders between episodes: two become one, joined by a transition that never happened.

    The flags of the step at the border are cleared and its final observation is lost, so that its next observation is
    the first one of the following episode (a stored `next_observations` says the same). The merged episode has the
    columns of its first part in the episodes table; its final observation is as well known as that of its last part.

    Parameters
    ----------
    rate : float in [0, 1]
        Probability that the border after an episode is removed.
    seed : int >= 0
    count, tag
        The border after which episodes; see `EpisodeCorruption`.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=[0.0, 1.0, 10.0, 11.0], actions=np.zeros(2), rewards=np.zeros(2),
    ...     terminations=np.ones(2, bool), truncations=np.zeros(2, bool))
    >>> merged = MergeEpisodes(rate=1.0)(dataset)
    >>> merged.observations.tolist(), merged.terminations.tolist(), merged.masks["borders"].tolist()
    ([0.0, 10.0, 11.0], [False, True], [True, False])
    """

    rate: float = Field(default=0.3, ge=0, le=1)
    seed: int = Field(default=0, ge=0)

    def apply(self, dataset: Dataset) -> Dataset:
        """Return the dataset with fewer, longer episodes."""
        episodes, starts, lengths = dataset.total_episodes, dataset.episode_starts, dataset.episode_lengths
        if not episodes:
            return dataset
        touched = self.touched_episodes(dataset, self.rate, self.seed, possible=np.arange(episodes) < episodes - 1)
        lasts = (starts + lengths - 1)[touched]
        columns = {name: dataset.column(name) for name in dataset.columns}
        for name in ("terminations", "truncations"):
            columns[name] = copy(columns[name])
            columns[name][lasts] = False
        for name, array in columns.items():
            if is_under(name, "next_observations"):
                columns[name] = copy(array)
                source = dataset.column(name.removeprefix("next_"))
                columns[name][lasts] = source[(starts + np.arange(episodes))[1:][touched[:-1]]]
            elif len(array) != dataset.total_steps:
                columns[name] = take_ranges(array, starts + np.arange(episodes), lengths + ~touched)
        first_of_group = np.flatnonzero(np.append(True, ~touched[:-1]))
        last_of_group = np.append(first_of_group[1:], episodes) - 1
        table = {name: array[first_of_group] for name, array in dataset.episode_columns.items()}
        for name in ("final_observation", "corrupted/final_observation"):
            if name in table:
                table[name] = dataset.episode_columns[name][last_of_group]
        table.setdefault("origin/episode", first_of_group)
        table.setdefault("origin/step", np.zeros(len(first_of_group), np.int64))
        merged = dataset.replace(
            columns, episode_lengths=np.add.reduceat(lengths, first_of_group), episode_columns=table
        )
        steps = np.zeros(dataset.total_steps, bool)
        steps[lasts] = True
        return mark_episodes(merged, episodes={"merged": last_of_group > first_of_group}, steps={"borders": steps})


@register("corruption.terminations")
class FlipTerminations(EpisodeCorruption):
    """Confuse terminations and truncations, or let an episode seem to terminate inside.

    A learner does not bootstrap from a termination: a false one hides the future, a missing one invents it. A dataset
    can hold these flags at the ends of episodes only. So a termination *inside* an episode ends the episode there, and
    its remaining steps become another episode. No observation is lost.

    Parameters
    ----------
    mode : "exchanged", "hidden", "invented" or "inside"
        "exchanged": terminations and truncations trade places. "hidden": terminations become truncations. "invented":
        truncations become terminations, as in data with one `done` flag, where a time limit looks like a failure.
        "inside": steps within an episode become terminations.
    rate : float in [0, 1]
        Probability that an episode with the flag in question is touched; for "inside", that a step is touched.
    seed : int >= 0
    count, tag
        Which episodes; see `EpisodeCorruption`. `inside` counts steps.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(4.0), actions=np.zeros(3), rewards=np.zeros(3),
    ...     terminations=np.zeros(3, bool), truncations=np.arange(3) == 2)
    >>> FlipTerminations(mode="invented", rate=1.0)(dataset).terminations.tolist()
    [False, False, True]
    >>> FlipTerminations(mode="inside", rate=1.0)(dataset).episode_lengths.tolist()
    [1, 1, 1]
    """

    mode: Literal["exchanged", "hidden", "invented", "inside"] = "exchanged"
    rate: float = Field(default=0.3, ge=0, le=1)
    seed: int = Field(default=0, ge=0)

    def apply(self, dataset: Dataset) -> Dataset:
        """Return the dataset with other flags."""
        if self.mode == "inside":
            return self._end_inside(dataset)
        lasts = np.cumsum(dataset.episode_lengths) - 1
        terminated, truncated = dataset.terminations[lasts], dataset.truncations[lasts]
        terminated, truncated = terminated & ~truncated, truncated & ~terminated
        possible = {"hidden": terminated, "invented": truncated, "exchanged": terminated | truncated}[self.mode]
        touched = self.touched_episodes(dataset, self.rate, self.seed, possible)
        return self._exchange(dataset, touched, lasts[touched])

    def _end_inside(self, dataset: Dataset) -> Dataset:
        starts, lengths = dataset.episode_starts, dataset.episode_lengths
        numbers = uniform_numbers(dataset.total_steps, self.seed, self.name, "steps")
        allowed = np.ones(dataset.total_steps, bool)
        allowed[starts + lengths - 1] = False
        if self.tag is not None:
            allowed &= np.repeat(dataset.tagged(self.tag), lengths)
        chosen = (numbers < self.rate) & allowed
        if self.count == "exact":
            candidates = np.flatnonzero(allowed)
            chosen = smallest(numbers, candidates, round(self.rate * len(candidates)))
        if not chosen.any():
            return self._exchange(dataset, np.zeros(dataset.total_episodes, bool), np.zeros(0, np.int64))
        begins = np.append(False, chosen[:-1])
        begins[starts] = True
        firsts = np.flatnonzero(begins)
        taken = take_pieces(dataset, firsts, np.diff(firsts, append=dataset.total_steps))
        lasts = np.flatnonzero(chosen)  # a split moves no step
        return self._exchange(taken, chosen[np.cumsum(taken.episode_lengths) - 1], lasts)

    def _exchange(self, dataset: Dataset, touched: np.ndarray, lasts: np.ndarray) -> Dataset:
        terminations, truncations = copy(dataset.terminations), copy(dataset.truncations)
        terminations[lasts], truncations[lasts] = truncations[lasts], terminations[lasts]
        steps = np.zeros(dataset.total_steps, bool)
        steps[lasts] = True
        changed = dataset.replace({"terminations": terminations, "truncations": truncations})
        return mark_episodes(changed, episodes={"terminated": touched}, steps={"terminations": steps})
