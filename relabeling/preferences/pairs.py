"""Which pairs of segments a judge is asked about.

A segment is L steps of one episode that follow one another; with L = 1, as in RL-VLM-F, a single frame. What is judged of step t
is what it led to, the observation after it: that is what the reward of step t is about, and what is relabelled in the end.

==================  =================================================================================================
`uniform`           both segments uniform over all segments
`by_episode`        two episodes uniform with replacement, then a segment uniform in each (RL-VLM-F, `reward_model.py:467-544`)
`feature_distance`  of ten times as many uniform pairs those whose segments differ most in what the model sees
`disagreement`      in rounds: of ten times as many uniform pairs those on which the members of the ensemble that the answers
                    so far have trained disagree most (B-Pref's disagreement sampling); the first round is uniform
==================  =================================================================================================

Pairs of which both segments look the same are dropped and drawn again: no judge can tell them apart.

Deviations from the published code: it draws frames from [0, T - 1), so never the last one, and needs episodes of one length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.errors import DatasetError
from assay.datasets.generators import block_generator
from assay.relabeling.preferences.views import Views

__all__ = ["PairDrawer", "PairMethod", "StepPairs"]

PairMethod: TypeAlias = Literal["uniform", "by_episode", "feature_distance", "disagreement"]

_LEAST_DISTANCE = 1e-3  # of two segments, as published
_CANDIDATES = 10  # for each pair that is wanted, where some are chosen
_ATTEMPTS = 20  # of drawing as many pairs as are wanted
_PURPOSE = "relabeling.preferences"


@dataclass(frozen=True)
class StepPairs:
    """Pairs of segments, by the first step of each.

    Parameters
    ----------
    first, second : (n,) int64
    length : int
        Steps of a segment, L.
    """

    first: np.ndarray
    second: np.ndarray
    length: int = 1

    def __len__(self) -> int:
        return len(self.first)

    def steps(self, which: Literal["first", "second"]) -> np.ndarray:
        """Return (n, L) int64 steps of one of the segments."""
        starts = self.first if which == "first" else self.second
        steps: np.ndarray = starts[:, None] + np.arange(self.length)
        return steps

    def take(self, places: np.ndarray) -> StepPairs:
        """Return some of the pairs."""
        return StepPairs(self.first[places], self.second[places], self.length)

    def joined(self, others: StepPairs) -> StepPairs:
        """Return these pairs and others."""
        return StepPairs(
            np.concatenate([self.first, others.first]), np.concatenate([self.second, others.second]), self.length
        )


class PairDrawer:
    """Draws pairs of segments of one dataset; equal seeds draw equal pairs.

    Parameters
    ----------
    dataset : Dataset
    views : Views
        What a judge and the model see of each step.
    length : int
        Steps of a segment.
    seed : int

    Raises
    ------
    DatasetError
        If fewer than two segments of this length are there.

    Examples
    --------
    >>> from assay.relabeling.preferences.views import StateViews
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(12.0)[:, None], actions=np.zeros(10), rewards=np.zeros(10),
    ...     terminations=np.arange(10) % 5 == 4, truncations=np.zeros(10, bool))
    >>> pairs = PairDrawer(dataset, StateViews.of(dataset), length=2, seed=0).draw(50, "by_episode")
    >>> len(pairs), sorted({int(start) % 5 for start in pairs.first})  # no segment goes over the end of an episode
    (50, [0, 1, 2, 3])
    """

    def __init__(self, dataset: Dataset, views: Views, length: int, seed: int) -> None:
        self.views, self.length, self.seed = views, length, seed
        lengths = dataset.episode_lengths - (
            ~dataset.final_observations_known
        )  # what its last step led to is not known
        counts = np.maximum(lengths - length + 1, 0)
        if counts.sum() < 2:
            raise DatasetError(
                f"no two segments of {length} steps can be compared: the longest of the {dataset.total_episodes} episodes has "
                f"{int(lengths.max(initial=0))} steps whose next observation is known"
            )
        firsts = np.cumsum(counts) - counts
        within = np.arange(counts.sum()) - np.repeat(firsts, counts)
        self._starts = np.repeat(dataset.episode_starts, counts) + within
        self._firsts, self._counts = firsts[counts > 0], counts[counts > 0]
        self._drawn = 0

    def draw(
        self,
        count: int,
        method: PairMethod,
        disagreement: Callable[[StepPairs], np.ndarray] | None = None,
    ) -> StepPairs:
        """Draw pairs that look different; a second call goes on with other numbers.

        Parameters
        ----------
        count : int
        method : str
        disagreement : callable, optional
            Gives a number (n,) for pairs, the larger the sooner they are chosen; `"disagreement"` is uniform without.

        Raises
        ------
        DatasetError
            If so many different pairs are not found.
        """
        choosing = method == "feature_distance" or (method == "disagreement" and disagreement is not None)
        wanted = _CANDIDATES * count if choosing else count
        pairs, distances = self._different(wanted, method)
        if not choosing:
            return pairs
        scores = distances if disagreement is None or method == "feature_distance" else disagreement(pairs)
        best = np.argsort(-scores, kind="stable")[:count]
        return pairs.take(np.sort(best))

    def _different(self, wanted: int, method: PairMethod) -> tuple[StepPairs, np.ndarray]:
        found = StepPairs(np.zeros(0, np.int64), np.zeros(0, np.int64), self.length)
        distances = np.zeros(0)
        for drawn in self._attempts(wanted, method):
            apart = self.distances(drawn)
            kept = np.flatnonzero(apart >= _LEAST_DISTANCE)[: wanted - len(found)]
            found, distances = found.joined(drawn.take(kept)), np.concatenate([distances, apart[kept]])
            if len(found) == wanted:
                return found, distances
        raise DatasetError(
            f"of {_ATTEMPTS * wanted:,} pairs only {len(found):,} differ in what is seen of them; {wanted:,} are wanted: ask "
            "for fewer pairs, or look at frames of more pixels"
        )

    def _attempts(self, wanted: int, method: PairMethod) -> Iterator[StepPairs]:
        for _ in range(_ATTEMPTS):
            generator = block_generator(self.seed, _PURPOSE, method, self._drawn)
            self._drawn += 1
            sides = [self._draw_starts(generator, wanted, method) for _ in range(2)]
            yield StepPairs(sides[0], sides[1], self.length)

    def _draw_starts(self, generator: np.random.Generator, count: int, method: PairMethod) -> np.ndarray:
        if method != "by_episode":
            return self._starts[generator.integers(0, len(self._starts), count)]
        episodes = generator.integers(0, len(self._counts), count)
        within = (generator.random(count) * self._counts[episodes]).astype(np.int64)
        return self._starts[self._firsts[episodes] + within]

    def distances(self, pairs: StepPairs) -> np.ndarray:
        """Return the Euclidean distances (n,) of what is seen of both segments."""
        apart = np.empty(len(pairs))
        chunk = max(1, self.views.rows_at_once // pairs.length)
        for start in range(0, len(pairs), chunk):
            part = pairs.take(np.arange(start, min(start + chunk, len(pairs))))
            sides = [self.views.take(part.steps(side).ravel()).astype(np.float32) for side in ("first", "second")]  # type: ignore[arg-type]
            apart[start : start + chunk] = np.linalg.norm((sides[0] - sides[1]).reshape(len(part), -1), axis=1)
        return apart
