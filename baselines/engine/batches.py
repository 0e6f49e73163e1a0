"""Batches for a population: every stream draws rows of its table, and gathers them at once.

The rows lie on the device. Where those of the datasets do not fit, they stay in host memory (pinned, on CUDA): since every
draw is a stateless function of the update, the host knows which rows the coming updates want and sends just these ahead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from assay.baselines.algorithms.algorithm import FIRST, Batch
from assay.baselines.engine.randomness import Draws
from assay.baselines.engine.streams import DATA, DrawnRows, Stream
from assay.baselines.engine.tables import Buffer, DatasetTable
from assay.datasets.errors import ConfigError

__all__ = ["Batches"]

_LAST_OF_N_STEPS = ("next_", "has_next_", "bootstraps")  # beginnings of names
_DISCOUNTED = ("rewards", "costs")


class Batches:
    """Draws the batches of a stage's streams.

    Parameters
    ----------
    streams : mapping
        In order; each may use what those before it have drawn.
    data : DatasetTable
    buffers : mapping
    draws : Draws
        Of the stage; on the device.
    hyperparameters : namespace
    streaming : bool
        Whether the datasets are in host memory; `prepare` sends what the coming updates need.

    Raises
    ------
    ConfigError
        If a stream names a table or a field that is not there.
    """

    def __init__(
        self,
        streams: Mapping[str, Stream],
        data: DatasetTable,
        buffers: Mapping[str, Buffer],
        draws: Draws,
        hyperparameters: Any,
        *,
        streaming: bool = False,
    ) -> None:
        self.streams, self.draws, self.hyperparameters, self.streaming = streams, draws, hyperparameters, streaming
        self.data = data
        self.tables: dict[str, DatasetTable | Buffer] = {DATA: data, **buffers}
        self.device = draws.update.device
        if next(iter(streams), None) != FIRST:
            raise ConfigError(f"the first stream is called {FIRST!r}, not {next(iter(streams), 'nothing')!r}")
        for name, stream in streams.items():
            if stream.table not in self.tables:
                raise ConfigError(f"stream {name!r} draws from {stream.table!r}; there are {', '.join(self.tables)}")
            if stream.return_steps > 1 and not hasattr(hyperparameters, stream.discount):
                raise ConfigError(
                    f"n-step returns need a discount; the algorithm has no float field {stream.discount!r}"
                )
        if streaming and (len(streams) > 1 or data.frames or not isinstance(streams[FIRST].sampler, DrawnRows)):
            raise ConfigError(
                "the data is too large for the device: algorithms with several streams, or with images, need it there"
            )
        # The host draws ahead with an update counter of its own.
        self._update = torch.zeros(1, dtype=torch.int64) if streaming else draws.update
        self._draws = Draws(draws.seeds, self._update, draws.dtype, draws.scope) if streaming else draws
        self._sent: list[tuple[torch.Tensor, torch.Tensor]] = []

    # ---------------------------------------------------------------- what an update sees

    def batches(self, slot: int = 0) -> dict[str, Batch]:
        """Return the batches of the current update; `slot` says which of the prepared ones, when streaming."""
        if self.streaming:
            return {FIRST: self._batch(self.streams[FIRST], *self._sent[slot])}
        drawn: dict[str, torch.Tensor] = {}
        made = {}
        for name, stream in self.streams.items():
            drawn[name] = indices = self._choose(name, drawn)
            rows, lengths = self.tables[stream.table].gather(indices, stream.span)
            made[name] = self._batch(stream, rows, lengths, indices)
        return made

    def draw_indices(self, name: str = FIRST) -> torch.Tensor:
        """Return [P, B] rows of a stream for the current update."""
        drawn: dict[str, torch.Tensor] = {}
        for each in self.streams:
            drawn[each] = self._choose(each, drawn)
            if each == name:
                break
        return drawn[name]

    def _choose(self, name: str, drawn: Mapping[str, torch.Tensor]) -> torch.Tensor:
        stream = self.streams[name]
        purpose = name if name == FIRST else f"rows of {name}"
        table = self.tables[stream.table]
        return stream.sampler.choose(table, stream.rows, purpose, self._draws, drawn, self.hyperparameters)

    def _batch(
        self, stream: Stream, rows: torch.Tensor, lengths: torch.Tensor, indices: torch.Tensor | None = None
    ) -> Batch:
        table = self.tables[stream.table]
        rows = rows.to(self.draws.dtype)  # [P, B, span, width]
        parts = torch.split(rows, [size for _, size in table.columns], dim=-1)
        columns = {name: part for (name, _), part in zip(table.columns, parts)}
        valid = None
        if stream.window:
            valid = torch.arange(stream.span, device=lengths.device) < lengths[..., None]  # [P, B, T]
            columns = {name: part * valid[..., None] for name, part in columns.items()}
        else:
            if stream.span > 1:
                columns = _n_step(columns, lengths, getattr(self.hyperparameters, stream.discount))
            columns = {name: part.squeeze(2) for name, part in columns.items()}
        columns = {name: part.squeeze(-1) if name in table.scalars else part for name, part in columns.items()}
        if indices is None or not (isinstance(table, DatasetTable) and table.frames):
            return Batch(columns, valid)
        if stream.window:
            raise ConfigError("windows of images are not laid out; use an algorithm of single observations")
        return Batch(columns, valid, *table.images(indices, lengths if stream.span > 1 else None))

    # ---------------------------------------------------------------- streaming

    def prepare(self, first_update: int, updates: int) -> None:
        """Send the rows of the coming updates to the device, into the same place each time.

        On CUDA the copies are queued behind the updates in flight; the host gathers meanwhile.
        """
        for slot in range(updates):
            self._update.fill_(first_update + slot)
            rows, lengths = self.data.gather(self._choose(FIRST, {}), self.streams[FIRST].span)
            if self.device.type == "cuda":
                rows, lengths = rows.pin_memory(), lengths.pin_memory()
            if slot == len(self._sent):
                self._sent.append((rows.to(self.device), lengths.to(self.device)))
            else:
                for place, value in zip(self._sent[slot], (rows, lengths)):
                    place.copy_(value, non_blocking=True)


def _n_step(columns: dict[str, torch.Tensor], lengths: torch.Tensor, discount: torch.Tensor) -> dict[str, torch.Tensor]:
    """Fold m = min(n, rows left) rows into one: sum of gamma^k r_k, what follows the m-th, gamma^(m-1) as bootstrap."""
    steps = torch.arange(columns["rewards"].shape[2], device=lengths.device)
    powers = discount[..., None] ** steps  # [P, 1, n]
    last = (lengths - 1)[..., None, None]  # [P, B, 1, 1]
    within = (powers * (steps < lengths[..., None]))[..., None]
    folded = {}
    for name, part in columns.items():
        if name in _DISCOUNTED:
            folded[name] = (part * within).sum(2, keepdim=True)
        elif name.startswith(_LAST_OF_N_STEPS):
            folded[name] = part.gather(2, last.expand(-1, -1, 1, part.shape[-1]))
        else:
            folded[name] = part[:, :, :1]
    reached = powers.expand(-1, lengths.shape[1], -1).gather(2, last[..., 0])[..., None]
    return folded | {"bootstraps": folded["bootstraps"] * reached}
