"""Segments: consecutive steps of one episode, many of equal length side by side. A single transition is a segment of one step.

::

    M segments of L steps     observations  [M, L + 1, ...]   a dict of such arrays for structured spaces
                              actions       [M, L, ...]
                              rewards, terminations  [M, L]
                              steps         [M, L]            the step of the dataset that each comes from

Every augmentation works on a whole block of segments at once. Reshaped to rows, a block is what a dataset holds of M episodes of
L steps, so it is appended without a further copy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from assay.datasets.dataset import Dataset, is_under, map_nested
from assay.datasets.errors import DatasetError
from assay.datasets.missing import require_labels

__all__ = ["SegmentReader", "Segments"]


@dataclass(frozen=True)
class Segments:
    """M segments of L steps each.

    Parameters
    ----------
    observations : (M, L + 1, ...) array, or a nested dict of them
    actions : (M, L, ...) array, or a nested dict of them
    rewards : (M, L)
    terminations : (M, L) bool
    steps : (M, L) int64
        Of the dataset that the segments come from.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(5.0), actions=np.zeros(3), rewards=[1.0, 2.0, 4.0],
    ...     terminations=[False, True, True], truncations=[False, False, False])
    >>> segments = SegmentReader(dataset, length=2).read(np.array([0]))
    >>> segments.observations.tolist(), segments.rewards.tolist(), segments.first.tolist(), segments.last.tolist()
    ([[0.0, 1.0, 2.0]], [[1.0, 2.0]], [0.0], [2.0])
    """

    observations: Any
    actions: Any
    rewards: np.ndarray
    terminations: np.ndarray
    steps: np.ndarray

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def length(self) -> int:
        """L, the number of steps of each segment."""
        return int(self.rewards.shape[1])

    @property
    def first(self) -> Any:
        """Observations that the segments start from, (M, ...)."""
        return map_nested(lambda array: array[:, 0], self.observations)

    @property
    def last(self) -> Any:
        """Observations that the segments end with, (M, ...)."""
        return map_nested(lambda array: array[:, -1], self.observations)

    def take(self, rows: np.ndarray | slice) -> Self:
        """Return the segments of these indices or this mask."""
        return replace(
            self,
            observations=map_nested(lambda array: array[rows], self.observations),
            actions=map_nested(lambda array: array[rows], self.actions),
            rewards=self.rewards[rows],
            terminations=self.terminations[rows],
            steps=self.steps[rows],
        )

    def with_changes(self, **changes: Any) -> Self:
        """Return the segments with other observations, actions, rewards or terminations."""
        return replace(self, **changes)


class SegmentReader:
    """Reads segments of a dataset by the step that they start from.

    Sources are the original steps that have an action and a reward: what an earlier augmentation added is not augmented again. A segment lies in one episode,
    and its last step has a real next observation.

    Parameters
    ----------
    dataset : Dataset
    length : int
        Steps in a segment.

    Raises
    ------
    DatasetError
        If no episode has that many steps; or if stored next observations contradict the following ones, and segments are longer
        than one step.
    MissingLabelsError
        If no step has both an action and a reward.
    """

    def __init__(self, dataset: Dataset, length: int = 1) -> None:
        self._unlabelled = dataset.missing["actions"] | dataset.missing["rewards"]
        if self._unlabelled.all():
            require_labels(dataset, "actions", "rewards", by="an augmentation")
        if dataset.has_next_observations and length > 1:
            raise DatasetError(
                "the dataset stores next observations that differ from the following ones, so its steps do not continue each other; "
                "use segments of one step"
            )
        self.dataset, self.length = dataset, length
        self.starts = self._starts()
        if not len(self.starts):
            raise DatasetError(
                f"no episode has {length} original step{'s' * (length > 1)} with labels and a real next observation; "
                f"the longest has {int(dataset.episode_lengths.max(initial=0))} steps: use shorter segments"
            )

    def _starts(self) -> np.ndarray:
        """Return the steps from which a segment can start, (K,) int64."""
        dataset, length = self.dataset, self.length
        usable = np.zeros(dataset.total_steps, bool)
        usable[dataset.usable_steps] = True
        usable &= ~self._unlabelled
        if "augmented" in dataset.columns:
            usable &= ~dataset.column("augmented")
        ends = np.repeat(dataset.episode_starts + dataset.episode_lengths, dataset.episode_lengths)
        steps = np.arange(dataset.total_steps)
        inside = steps + length <= ends
        counts = np.concatenate([[0], np.cumsum(usable)])
        inside[inside] = counts[steps[inside] + length] - counts[steps[inside]] == length
        return np.flatnonzero(inside)

    def read(self, starts: np.ndarray) -> Segments:
        """Return the segments that start from these steps.

        Parameters
        ----------
        starts : (M,) int64
            Among `starts` of the reader.
        """
        dataset = self.dataset
        steps = starts[:, None] + np.arange(self.length)
        episodes = np.searchsorted(dataset.episode_starts, starts, side="right") - 1
        rows = (starts + episodes)[:, None] + np.arange(self.length + 1)
        observations = self._nested("observations", rows)
        if dataset.has_next_observations:
            following = self._nested("next_observations", steps)
            observations = _joined(observations, following)
        return Segments(
            observations=observations,
            actions=self._nested("actions", steps),
            rewards=dataset.rewards[steps],
            terminations=dataset.terminations[steps],
            steps=steps,
        )

    def _nested(self, prefix: str, rows: np.ndarray) -> Any:
        return map_nested(lambda array: np.take(array, rows, axis=0), self.dataset.nested(prefix))


def _joined(observations: Any, following: Any) -> Any:
    """Return observations of one-step segments whose second row is the stored next observation."""
    if isinstance(observations, dict):
        return {key: _joined(observations[key], following[key]) for key in observations}
    return np.concatenate([observations[:, :1], following.astype(observations.dtype)], axis=1)


def flat(prefix: str, value: Any) -> dict[str, np.ndarray]:
    """Return the arrays of a nested dict by the names of their columns.

    Examples
    --------
    >>> sorted(flat("observations", {"goal": np.zeros(1), "image": {"top": np.zeros(1)}}))
    ['observations/goal', 'observations/image/top']
    """
    if not isinstance(value, dict):
        return {prefix: value}
    return {name: array for key, child in value.items() for name, array in flat(f"{prefix}/{key}", child).items()}


def leaves(dataset: Dataset, prefix: str) -> list[str]:
    """Return the names of the columns of this name or below it."""
    return [name for name in dataset.columns if is_under(name, prefix)]
