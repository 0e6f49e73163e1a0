"""Batches for a population: draws, and one gather per update.

::

    rows of the data    | variant 0 ............ | variant 1 ............ |      one row per transition
    member 0 (seed 0)     offset 0, length M0
    member 1 (seed 1)     offset 0, length M0
    member 2 (seed 0)                              offset M0, length M1

The rows lie on the device. Where they do not fit, they stay in host memory (pinned, on CUDA): since every draw is a
stateless function of the update, the host knows which rows the coming updates want and sends just these ahead.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from assay.baselines.algorithms.algorithm import Algorithm, Batch
from assay.baselines.engine.data import TrainingData
from assay.baselines.engine.randomness import Draws
from assay.datasets.errors import ConfigError
from assay.datasets.sampling.windows import window

__all__ = ["Batches"]


class Batches:
    """Draws batches of the members' own datasets: uniform, or as weighted by the dataset.

    Parameters
    ----------
    data : sequence of TrainingData
        Each dataset once.
    of_member : sequence of int
        The dataset of each member.
    algorithm : Algorithm
        Says the batch size, and how many rows of an episode belong to one sample.
    draws : Draws
        Of the training; on the device.
    storage : torch.dtype
        Of the rows; batches come in the dtype of `draws`.
    streaming : bool
        Keep the rows in host memory; `prepare` sends what the coming updates need.
    """

    def __init__(
        self,
        data: Sequence[TrainingData],
        of_member: Sequence[int],
        algorithm: Algorithm,
        draws: Draws,
        storage: torch.dtype,
        *,
        streaming: bool = False,
    ) -> None:
        self.algorithm, self.draws, self.streaming = algorithm, draws, streaming
        self.columns = data[0].columns
        self.window = max(algorithm.return_steps, algorithm.sequence_length, 1)  # rows per sample
        self.device = draws.update.device
        home = torch.device("cpu") if streaming else self.device
        self.rows = place_rows(data, storage, home)
        # The host draws ahead with an update counter of its own.
        self._update = torch.zeros(1, dtype=torch.int64) if streaming else draws.update
        self._draws = Draws(draws.seeds, self._update, draws.dtype) if streaming else draws
        lengths = np.array([len(item.rows) for item in data])
        offsets = np.cumsum(lengths) - lengths
        chosen = list(of_member)
        self._offsets = torch.tensor(offsets[chosen], dtype=torch.int64, device=home)
        self._lengths = torch.tensor(lengths[chosen], dtype=torch.int64, device=home)
        self._remaining = torch.from_numpy(np.concatenate([item.remaining for item in data])).to(home)
        self._cumulative: torch.Tensor | None = None
        if any(item.weights is not None for item in data):
            # One increasing array for all datasets: dataset d covers (d, d + 1], so a draw u in [0, 1) of one of its
            # members is a search for d + u.
            parts = []
            for number, item in enumerate(data):
                weights = np.ones(len(item.rows)) if item.weights is None else item.weights.astype(np.float64)
                cumulative = np.cumsum(weights / weights.sum())
                parts.append(number + cumulative / cumulative[-1])
            self._cumulative = torch.from_numpy(np.concatenate(parts)).to(home)
            self._dataset_of_member = torch.tensor(chosen, dtype=torch.float64, device=home)
        self._sent: list[tuple[torch.Tensor, torch.Tensor]] = []

    # ---------------------------------------------------------------- what an update sees

    def batch(self, slot: int, discount: torch.Tensor | None) -> Batch:
        """Return the batch of the current update.

        Parameters
        ----------
        slot : int
            Which of the prepared updates this is, when streaming.
        discount : [P, 1] tensor or None
            For n-step returns.
        """
        rows, lengths = self._sent[slot] if self.streaming else self._gather()
        rows = rows.to(self.draws.dtype)  # [P, B, window, width]
        parts = torch.split(rows, [size for _, size in self.columns], dim=-1)
        columns = {name: part for (name, _), part in zip(self.columns, parts)}
        if self.algorithm.sequence_length:
            return self._sequences(columns, lengths)
        if self.window > 1:
            assert discount is not None, "n-step returns need a discount"
            columns = self._n_step(columns, lengths, discount)
        columns = {name: part.squeeze(2) for name, part in columns.items()}
        return _batch(columns)

    def draw_indices(self) -> torch.Tensor:
        """Return [P, B] rows for the current update."""
        batch = self.algorithm.batch_size
        if self._cumulative is None:
            return self._offsets[:, None] + self._draws.integers("batch", self._lengths, batch)
        wanted = self._dataset_of_member[:, None] + self._draws.fractions("batch", batch)
        found = torch.searchsorted(self._cumulative, wanted, right=True)
        # d + u rounds up to d + 1 when u is within 2**-52 of 1; stay inside the member's own dataset.
        return torch.minimum(found, (self._offsets + self._lengths - 1)[:, None])

    def _gather(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return rows [P, B, window, width], of which the first `lengths` [P, B] are of the drawn row's episode."""
        indices = self.draw_indices()
        if self.window == 1:
            return self.rows.index_select(0, indices.flatten()).view(*indices.shape, 1, -1), indices
        lengths = self._remaining.index_select(0, indices.flatten()).view(indices.shape).clamp(max=self.window).long()
        ahead = torch.arange(self.window, device=indices.device)
        indices, _ = window(indices, ahead, after=lengths - 1)  # repeats the episode's last row
        return self.rows.index_select(0, indices.flatten()).view(*indices.shape, -1), lengths

    def _sequences(self, columns: dict[str, torch.Tensor], lengths: torch.Tensor) -> Batch:
        valid = torch.arange(self.window, device=lengths.device) < lengths[..., None]  # [P, B, T]
        return _batch({name: part * valid[..., None] for name, part in columns.items()}, valid)

    def _n_step(
        self, columns: dict[str, torch.Tensor], lengths: torch.Tensor, discount: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Fold m = min(n, rows left) rows into one: sum of gamma^k r_k, what follows the m-th, gamma^(m-1) as bootstrap."""
        steps = torch.arange(self.window, device=lengths.device)
        powers = discount[..., None] ** steps  # [P, 1, n]
        last = (lengths - 1)[..., None, None]  # [P, B, 1, 1]
        discounted = columns["rewards"] * (powers * (steps < lengths[..., None]))[..., None]
        final = {
            name: columns[name].gather(2, last.expand(-1, -1, 1, columns[name].shape[-1]))
            for name in ("next_observations", "bootstraps", "next_actions", "has_next_actions")
            if name in columns
        }
        first = {name: part[:, :, :1] for name, part in columns.items()}
        final["bootstraps"] = (
            final["bootstraps"] * powers.expand(-1, lengths.shape[1], -1).gather(2, last[..., 0])[..., None]
        )
        return first | final | {"rewards": discounted.sum(2, keepdim=True)}

    # ---------------------------------------------------------------- streaming

    def prepare(self, first_update: int, updates: int) -> None:
        """Send the rows of the coming updates to the device, into the same place each time.

        On CUDA the copies are queued behind the updates in flight; the host gathers meanwhile.
        """
        for slot in range(updates):
            self._update.fill_(first_update + slot)
            rows, lengths = self._gather()
            if self.device.type == "cuda":
                rows, lengths = rows.pin_memory(), lengths.pin_memory()
            if slot == len(self._sent):
                self._sent.append((rows.to(self.device), lengths.to(self.device)))
            else:
                for place, value in zip(self._sent[slot], (rows, lengths)):
                    place.copy_(value, non_blocking=True)


def place_rows(data: Sequence[TrainingData], storage: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return the rows of all datasets one after the other, on the device.

    Raises
    ------
    ConfigError
        If a number is too large for the storage dtype.
    """
    total, width = sum(len(item.rows) for item in data), data[0].rows.shape[1]
    rows = torch.empty(total, width, dtype=storage, device=device)
    start = 0
    for item in data:
        part = rows[start : start + len(item.rows)]
        part.copy_(torch.from_numpy(item.rows))
        start += len(item.rows)
        if not bool(torch.isfinite(part).all()):
            raise ConfigError(
                f"the data does not fit into {str(storage).removeprefix('torch.')}: choose another storage"
            )
    return rows


def _batch(columns: dict[str, torch.Tensor], valid: torch.Tensor | None = None) -> Batch:
    optional = ("has_next_actions", "returns_to_go", "timesteps")
    flat = {name: columns[name].squeeze(-1) for name in ("rewards", "bootstraps", *optional) if name in columns}
    return Batch(**{**columns, **flat}, valid=valid)
