"""Batches of whole episodes, padded to the longest of the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.missing import LABELS, require_labels
from assay.datasets.sampling.draws import Sampler, checked_weights, make_draws
from assay.datasets.sampling.gathering import GatheredColumns
from assay.datasets.sampling.sequence_batches import clear
from assay.datasets.sampling.windows import window
from assay.datasets.transitions import Array

if TYPE_CHECKING:
    import torch

__all__ = ["EpisodeBatch", "EpisodeSampler"]


@dataclass(frozen=True)
class EpisodeBatch(Generic[Array]):
    """B episodes, the longest of T steps; everything is zero behind an episode's end.

    Parameters
    ----------
    observations : (B, T+1, ...) array, or a dict of them
        With the final observation of each episode (repeated from the row before where it was never recorded).
    actions : (B, T, ...)
    rewards : (B, T)
    terminations, truncations : (B, T) bool
    mask : (B, T) bool
        True where there is a step.
    lengths, episodes : (B,) int64
        Steps of each episode, and its index in the dataset.
    columns : dict
        The further columns that were asked for, (B, T, ...).
    """

    observations: Any
    actions: Any
    rewards: Array
    terminations: Array
    truncations: Array
    mask: Array
    lengths: Array
    episodes: Array
    columns: dict[str, Any] = field(default_factory=dict)


class EpisodeSampler(Sampler[EpisodeBatch[Any]]):
    """Draws batches of whole episodes.

    Parameters
    ----------
    dataset : Dataset
        Where it has a `weights` column, an episode is drawn in proportion to the mean weight of its steps.
    batch_size : int
        B.
    strata, replacement, columns, seed, dtype, device
        As in `TransitionSampler`.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(5.0), actions=np.zeros(3), rewards=[1.0, 1.0, 4.0],
    ...     terminations=[False, True, True], truncations=[False, False, False])
    >>> batch = EpisodeSampler(dataset, batch_size=2, replacement=False).sample()
    >>> sorted(batch.rewards.sum(1).tolist())
    [2.0, 4.0]
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int = 16,
        *,
        strata: Mapping[str, float] | None = None,
        replacement: bool = True,
        columns: Sequence[str] = (),
        seed: int = 0,
        dtype: Any = np.float32,
        device: str | torch.device | None = None,
    ) -> None:
        numbers = np.arange(dataset.total_episodes)
        weights = checked_weights(dataset.weights)
        if weights is not None:
            weights = np.add.reduceat(weights, dataset.episode_starts, dtype=np.float64) / dataset.episode_lengths
        draws = make_draws(
            dataset,
            numbers,
            numbers,
            weights,
            batch_size=batch_size,
            seed=seed,
            purpose="episodes",
            strata=strata,
            replacement=replacement,
        )
        require_labels(dataset, *LABELS, by="the sampler")
        settings = {"kind": "episodes", "batch_size": batch_size, "seed": seed, "replacement": replacement}
        super().__init__(dataset, draws, settings, strata)
        self._extra = tuple(columns)
        self._starts, self._lengths = dataset.episode_starts, dataset.episode_lengths
        stored = {name: dataset.nested(name) for name in ("observations", "actions", "rewards", *self._extra)}
        stored |= {name: dataset.column(name) for name in ("terminations", "truncations")}
        self._columns = GatheredColumns(stored, dataset.total_steps, dtype, device)

    def sample(self) -> EpisodeBatch[Any]:
        """Return the next batch."""
        episodes = self._next()
        columns, lengths = self._columns, self._lengths[episodes]
        ahead, starts = np.arange(int(lengths.max()) + 1), self._starts[episodes]
        steps, mask = window(starts, ahead[:-1], after=lengths - 1)
        rows, observed = window(starts + episodes, ahead, after=lengths)
        padding, behind = columns.send(~mask), columns.send(~observed)
        return EpisodeBatch(
            observations=clear(columns.take("observations", rows), behind),
            **{
                name: clear(columns.take(name, steps), padding)
                for name in ("actions", "rewards", "terminations", "truncations")
            },
            mask=columns.send(mask),
            lengths=columns.send(lengths),
            episodes=columns.send(episodes),
            columns={name: clear(columns.of_steps(name, steps, episodes[:, None]), padding) for name in self._extra},
        )
