"""Batches of sub-trajectories: windows of an episode, padded where the episode is shorter.

::

    episode        s0 s1 s2 s3 s4                    window of length 3 for the drawn step 3 (or 1)
    align="start"              [s3 s4 --]            begins at the drawn step, padded behind
    align="end"    [-- s0 s1]                        ends at the drawn step, padded in front
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError
from assay.datasets.missing import LABELS, require_labels
from assay.datasets.sampling.draws import Sampler, checked_weights, make_draws
from assay.datasets.sampling.gathering import GatheredColumns, pack_scalars, unpack_scalars
from assay.datasets.sampling.windows import window
from assay.datasets.transitions import Array

if TYPE_CHECKING:
    import torch

__all__ = ["SequenceBatch", "SequenceSampler"]


@dataclass(frozen=True)
class SequenceBatch(Generic[Array]):
    """B windows of T steps; everything is zero where `mask` is False.

    Parameters
    ----------
    observations : (B, T, ...) array, or a dict of them for structured spaces
    actions : (B, T, ...)
    rewards : (B, T)
    terminations, truncations : (B, T) bool
    returns_to_go : (B, T) float64
        Discounted sum of the rewards from each step to the end of its episode, also beyond the window.
    timesteps : (B, T) int64
        Steps since the episode began.
    mask : (B, T) bool
        True where there is a step, False where there is padding.
    steps : (B, T) int64
        Index of each step in the dataset; -1 for padding.
    columns : dict
        The further columns that were asked for, (B, T, ...).
    """

    observations: Any
    actions: Any
    rewards: Array
    terminations: Array
    truncations: Array
    returns_to_go: Array
    timesteps: Array
    mask: Array
    steps: Array
    columns: dict[str, Any] = field(default_factory=dict)


class SequenceSampler(Sampler[SequenceBatch[Any]]):
    """Draws batches of sub-trajectories.

    Parameters
    ----------
    dataset : Dataset
        Its `weights` column, where it has one, decides how often a step is drawn.
    length : int
        T.
    batch_size : int
        B.
    align : "start" or "end"
        Whether the drawn step is the first or the last of its window.
    discount : float in [0, 1]
        Of the returns to go.
    strata, replacement, columns, seed, dtype, device
        As in `TransitionSampler`.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(5.0), actions=np.zeros(3), rewards=[1.0, 1.0, 4.0],
    ...     terminations=[False, True, True], truncations=[False, False, False])
    >>> batch = SequenceSampler(dataset, length=2, batch_size=8).sample()
    >>> batch.observations.shape, sorted(set(batch.mask.sum(1).tolist()))
    ((8, 2), [1, 2])
    """

    def __init__(
        self,
        dataset: Dataset,
        length: int = 20,
        batch_size: int = 64,
        *,
        align: Literal["start", "end"] = "start",
        discount: float = 1.0,
        strata: Mapping[str, float] | None = None,
        replacement: bool = True,
        columns: Sequence[str] = (),
        seed: int = 0,
        dtype: Any = np.float32,
        device: str | torch.device | None = None,
    ) -> None:
        if length < 1 or align not in ("start", "end"):
            raise ConfigError(f"length must be 1 or more and align 'start' or 'end', not {length} and {align!r}")
        episodes = dataset.episode_of_step
        draws = make_draws(
            dataset,
            np.arange(dataset.total_steps),
            episodes,
            checked_weights(dataset.weights),
            batch_size=batch_size,
            seed=seed,
            purpose="sequences",
            strata=strata,
            replacement=replacement,
        )
        require_labels(dataset, *LABELS, by="the sampler")
        settings = {"kind": "sequences", "batch_size": batch_size, "seed": seed, "replacement": replacement}
        settings |= {"length": length, "align": align, "discount": discount}
        super().__init__(dataset, draws, settings, strata)
        self.length, self.align = length, align
        self._extra = tuple(columns)
        self._episode_of_step = episodes
        self._starts = dataset.episode_starts
        self._stops = self._starts + dataset.episode_lengths
        stored = {name: dataset.nested(name) for name in ("observations", "actions", *self._extra)}
        self._columns = GatheredColumns(stored | {"scalars": pack_scalars(dataset)}, dataset.total_steps, dtype, device)
        self._totals = GatheredColumns(
            {"returns_to_go": dataset.returns_to_go(discount)}, dataset.total_steps, None, device
        )
        self._ahead = np.arange(length) - (0 if align == "start" else length - 1)

    def sample(self) -> SequenceBatch[Any]:
        """Return the next batch."""
        drawn = self._next()
        episodes = self._episode_of_step[drawn]
        starts, lasts = self._starts[episodes], self._stops[episodes] - 1
        steps, mask = window(drawn, self._ahead, after=lasts - drawn, before=drawn - starts)
        columns = self._columns
        padding = None if mask.all() else columns.send(~mask)

        def take(name: str, rows: np.ndarray = steps, source: GatheredColumns = columns) -> Any:
            return clear(source.take(name, rows), padding)

        rewards, terminations, truncations = unpack_scalars(take("scalars"))
        return SequenceBatch(
            observations=take("observations", steps + episodes[:, None]),
            actions=take("actions"),
            rewards=rewards,
            terminations=terminations,
            truncations=truncations,
            returns_to_go=take("returns_to_go", source=self._totals),
            timesteps=columns.send(np.where(mask, steps - starts[:, None], 0)),
            mask=columns.send(mask),
            steps=columns.send(np.where(mask, steps, -1)),
            columns={name: clear(columns.of_steps(name, steps, episodes[:, None]), padding) for name in self._extra},
        )


def clear(value: Any, padding: Any) -> Any:
    """Set the padding of freshly gathered arrays to zero, that of texts to the empty one."""
    if padding is None:
        return value
    if isinstance(value, dict):
        return {key: clear(child, padding) for key, child in value.items()}
    value[padding] = "" if getattr(value.dtype, "kind", "") == "U" else 0
    return value
