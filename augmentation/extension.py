"""What an augmented dataset is: the original steps as they were, and behind them the new ones as episodes of their own.

::

    columns                 | original steps, untouched | new steps            |
    augmented      (N,)     | False (or as it was)      | True                 |
    episode tag augmented   | False (or as it was)      | True                 |

A new transition is an episode of one step, a new segment or rollout of L steps an episode of L. It ends with a termination, or is
truncated there. `dataset.select(dataset.tagged("augmented"))` is what was added, and the mask `augmented` tells the two apart step
by step.

Of the other columns a new step takes from the step that it was made of: `weights`, `uncertainty/...` and the masks
`corrupted/...` and `filled/...`. All else (`infos/...`, `costs`, `time`, `truth/...`) was observed and cannot be said of a new step:
these columns are left out. A step that is made of no step in particular, but drawn from a model of all, has the mean weight, and the
other columns are left out too.

How much was proposed and rejected on the way, and which columns were left out, is in `info.extra["augmentation"]`, one entry per
augmentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from assay.augmentation.segments import Segments, flat
from assay.datasets.dataset import Dataset, is_under
from assay.datasets.memory import empty

__all__ = ["AUGMENTED", "REPORT", "Extension", "original_steps"]

AUGMENTED = "augmented"
REPORT = "augmentation"
_TAG = f"tags/{AUGMENTED}"
_INHERITED = ("weights", "uncertainty", "corrupted", "filled")
_MADE = ("observations", "next_observations", "actions", "rewards", "terminations", "truncations", AUGMENTED, "missing")
_COPIED_ROWS = 1 << 18


def original_steps(dataset: Dataset) -> np.ndarray:
    """Return the steps that no augmentation has added, ascending.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(3.0), actions=np.zeros(2), rewards=[1.0, 2.0], episode_lengths=[2],
    ...     columns={"augmented": [False, True]})
    >>> original_steps(dataset).tolist()
    [0]
    """
    if AUGMENTED not in dataset.columns:
        return np.arange(dataset.total_steps)
    return np.flatnonzero(~dataset.column(AUGMENTED))


class Extension:
    """A dataset with room for new episodes behind it.

    Parameters
    ----------
    dataset : Dataset
    episode_lengths : (K,) integers
        Of the new episodes.
    of_steps : bool
        Whether each new step is made of an original one.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(3.0), actions=np.zeros(2), rewards=[1.0, 2.0],
    ...     terminations=[False, True], truncations=[False, False])
    >>> extension = Extension(dataset, [1])
    >>> extension.write(0, observations=[5.0, 6.0], actions=[1.0], rewards=[3.0], terminations=[False], steps=[0])
    >>> more = extension.finish({"transform": "by hand"})
    >>> more.rewards.tolist(), more.column("augmented").tolist(), more.truncations.tolist()
    ([1.0, 2.0, 3.0], [False, False, True], [False, False, True])
    """

    def __init__(self, dataset: Dataset, episode_lengths: Any, *, of_steps: bool = True) -> None:
        self.dataset, self._of_steps = dataset, of_steps
        self._lengths = np.asarray(episode_lengths, np.int64)
        self._starts = np.cumsum(self._lengths) - self._lengths
        new = int(self._lengths.sum())
        self._columns: dict[str, np.ndarray] = {}
        kept = (*_MADE, *(_INHERITED if of_steps else _INHERITED[:1]))
        self._left_out = [name for name in dataset.columns if not any(is_under(name, part) for part in kept)]
        for name in dataset.columns:
            if name in self._left_out:
                continue
            array = dataset.column(name)
            finals = len(array) != dataset.total_steps or is_under(name, "observations")
            made = empty((len(array) + new + len(self._lengths) * finals, *array.shape[1:]), array.dtype)
            for start in range(0, len(array), _COPIED_ROWS):
                rows = slice(start, min(start + _COPIED_ROWS, len(array)))
                made[rows] = array[rows]
            self._columns[name] = made
        if AUGMENTED not in self._columns:
            self._columns[AUGMENTED] = np.zeros(dataset.total_steps + new, bool)

    def write(
        self,
        episode: int,
        *,
        observations: Any,
        actions: Any,
        rewards: Any,
        terminations: Any,
        steps: Any = None,
    ) -> None:
        """Fill in consecutive new episodes.

        Parameters
        ----------
        episode : int
            Number of the first of them among the new ones.
        observations : (n + k, ...) array, or a nested dict of them
            Of k episodes with n steps, each with its final one.
        actions : (n, ...) array, or a nested dict of them
        rewards, terminations : (n,)
        steps : (n,) int64
            The original step that each is made of, where they are made of steps.
        """
        dataset = self.dataset
        begin = int(self._starts[episode])
        first = dataset.total_steps + begin
        rows = slice(first, first + len(rewards))
        for name, array in flat("observations", observations).items():
            start = dataset.total_steps + dataset.total_episodes + begin + episode
            self._columns[name][start : start + len(array)] = array
        for name, array in flat("actions", actions).items():
            self._columns[name][rows] = array
        self._columns["rewards"][rows] = rewards
        self._columns["terminations"][rows] = terminations
        self._columns[AUGMENTED][rows] = True
        for name in self._columns:
            if any(is_under(name, part) for part in _INHERITED):
                inherited = dataset.column(name)
                self._columns[name][rows] = (
                    inherited[np.asarray(steps, np.int64)] if self._of_steps else inherited.mean()
                )
            elif is_under(name, "missing"):
                self._columns[name][rows] = False
        if dataset.has_next_observations:
            self._write_following(episode, len(rewards), observations, rows)

    def write_segments(self, episode: int, segments: Segments) -> None:
        """Fill in as many new episodes as there are segments."""

        def rows(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: rows(child) for key, child in value.items()}
            return value.reshape(-1, *value.shape[2:])

        self.write(
            episode,
            observations=rows(segments.observations),
            actions=rows(segments.actions),
            rewards=segments.rewards.reshape(-1),
            terminations=segments.terminations.reshape(-1),
            steps=segments.steps.reshape(-1),
        )

    def _write_following(self, episode: int, count: int, observations: Any, rows: slice) -> None:
        """Fill the stored next observations, which are the following rows here."""
        last = int(np.searchsorted(self._starts, int(self._starts[episode]) + count))
        keep = np.ones(count + last - episode, bool)
        keep[self._starts[episode:last] - self._starts[episode] + np.arange(last - episode)] = False
        for name, array in flat("next_observations", observations).items():
            self._columns[name][rows] = np.asarray(array)[keep]

    def finish(self, report: Mapping[str, Any]) -> Dataset:
        """Return the augmented dataset.

        Parameters
        ----------
        report : mapping of JSON values
            Kept in `info.extra["augmentation"]`.
        """
        dataset, count = self.dataset, len(self._lengths)
        terminations, truncations = self._columns["terminations"], self._columns["truncations"]
        truncations[dataset.total_steps :] = False
        lasts = dataset.total_steps + self._starts + self._lengths - 1
        truncations[lasts] = ~terminations[lasts]
        of_episodes = {
            name: np.concatenate([array, np.full(count, _blank(array.dtype), array.dtype)])
            for name, array in {_TAG: np.zeros(dataset.total_episodes, bool), **dataset.episode_columns}.items()
        }
        of_episodes[_TAG][dataset.total_episodes :] = True
        if "final_observation" in of_episodes:
            of_episodes["final_observation"][dataset.total_episodes :] = True
        extra = {
            **dataset.info.extra,
            REPORT: [*dataset.info.extra.get(REPORT, ()), {**report, "left_out": self._left_out}],
        }
        return dataset.replace(
            {**self._columns, **dict.fromkeys(self._left_out)},
            episode_lengths=np.concatenate([dataset.episode_lengths, self._lengths]),
            episode_columns=of_episodes,
            info=replace(dataset.info, extra=extra),
        )


def _blank(dtype: np.dtype) -> Any:
    """Return what stands for no value in an episode's column: NaN, 0, False or an empty text."""
    return np.nan if dtype.kind in "fc" else np.zeros(1, dtype)[0]
