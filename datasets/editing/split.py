"""Parts of a dataset by whole episodes, and episodes cut in two where a recording is not one take."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
from pydantic import Field

from assay.datasets.dataset import Dataset
from assay.datasets.errors import AssayWarning, ConfigError
from assay.datasets.pieces import take_pieces
from assay.datasets.registry import Integer, Seed
from assay.datasets.signals import Signals
from assay.datasets.transform import Transform, register
from assay.datasets.wording import count_of

__all__ = ["CutEpisodes", "SplitPart"]


@register("datasets.split")
class SplitPart(Transform):
    """One part of `Dataset.split`; the parts of equal other fields are disjoint, and together they are all episodes.

    Parameters
    ----------
    fractions : tuple of float
        Shares of the episodes, adding up to 1.
    part : int
        Which of them, from 0. One that is left without an episode is refused.
    seed : int
        Of the random order.
    by : "episode" or "return"
        At random, or from the lowest returns to the highest.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(5.0), actions=np.zeros(3), rewards=[1.0, 1.0, 4.0],
    ...     terminations=[False, True, True], truncations=[False, False, False])
    >>> [SplitPart(fractions=(0.5, 0.5), part=part, by="return")(dataset).rewards.tolist() for part in (0, 1)]
    [[1.0, 1.0], [4.0]]
    """

    fractions: tuple[float, ...]
    part: Integer = Field(default=0, ge=0)
    seed: Seed = 0
    by: Literal["episode", "return"] = "episode"

    def apply(self, dataset: Dataset) -> Dataset:
        """Return the part."""
        if self.part >= len(self.fractions):
            raise ConfigError(
                f"part {self.part} does not exist; {len(self.fractions)} fractions make 0 to {len(self.fractions) - 1}"
            )
        with warnings.catch_warnings(action="ignore", category=AssayWarning):  # about parts, of which one is asked for
            part = dataset.split(self.fractions, self.seed, by=self.by)[self.part]
        if dataset.total_episodes and not part.total_episodes:
            raise ConfigError(
                f"part {self.part} of {list(self.fractions)} is empty: its share of {count_of(dataset.total_episodes, 'episode')} is less "
                "than half of one; give it a larger share"
            )
        return part


@register("datasets.cut")
class CutEpisodes(Transform):
    """Cut episodes where the time goes back, where it leaps, or at given steps; every piece is an episode.

    Parameters
    ----------
    back : bool
        Cut before a step whose time is earlier than that of the step before.
    gap : float, optional
        Cut before a step that comes more than this many median steps of time after the step before.
    at : mapping of int to tuple of int
        Episode to the steps, counted from its first, that begin a new episode.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(6.0), actions=np.zeros(5), rewards=np.zeros(5),
    ...     terminations=np.zeros(5, bool), truncations=np.arange(5) == 4, columns={"time": np.array([0.0, 1, 2, 0, 1])})
    >>> CutEpisodes()(dataset).episode_lengths.tolist(), CutEpisodes(back=False, at={0: (1,)})(dataset).episode_lengths.tolist()
    ([3, 2], [1, 4])
    """

    back: bool = True
    gap: float | None = Field(default=None, gt=1)
    at: dict[int, tuple[Integer, ...]] = Field(default_factory=dict)

    def apply(self, dataset: Dataset) -> Dataset:
        """Return the dataset with more, shorter episodes."""
        starts, lengths = dataset.episode_starts, dataset.episode_lengths
        begins = np.zeros(dataset.total_steps, bool)
        begins[starts] = True
        for episode, rows in self.at.items():
            if not 0 <= episode < dataset.total_episodes:
                raise ConfigError(f"at: episode {episode} does not exist; there are 0 to {dataset.total_episodes - 1}")
            for row in rows:
                if not 0 < row < lengths[episode]:
                    raise ConfigError(
                        f"at: episode {episode} can be cut at the steps 1 to {lengths[episode] - 1}, not {row}"
                    )
                begins[starts[episode] + row] = True
        if dataset.total_steps > 1:
            self._cut_by_time(dataset, begins)
        firsts = np.flatnonzero(begins)
        if len(firsts) == len(starts):
            return dataset
        return take_pieces(dataset, firsts, np.diff(firsts, append=dataset.total_steps))

    def _cut_by_time(self, dataset: Dataset, begins: np.ndarray) -> None:
        signals = Signals(dataset)
        if signals.time is None:
            if self.gap is not None:
                raise ConfigError("gap needs the time of each step, and this dataset has no column time")
            return
        passed = np.diff(signals.time)
        inside = signals.followed[:-1]
        if self.back:
            begins[1:] |= inside & (passed < 0)
        if self.gap is not None:
            usual = np.repeat(signals.step_seconds, dataset.episode_lengths)[:-1]
            begins[1:] |= inside & (passed > self.gap * usual)
