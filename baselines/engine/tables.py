"""Tables that streams draw from: the members' datasets, and buffers that are filled between updates.

::

    datasets    | variant 0 ............ | variant 1 ............ |      one row per transition
    member 0      offset 0, length M0
    member 1      offset 0, length M0
    member 2                               offset M0, length M1

    buffer      member 0  | row 0 | row 1 | ... filled ... | empty ... |     capacity C, a length per member
                member 1  | ...                                        |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from assay.baselines.engine.data import Frames, TrainingData
from assay.baselines.engine.randomness import Draws
from assay.baselines.engine.streams import BufferLayout
from assay.datasets.errors import ConfigError
from assay.datasets.sampling.windows import window

__all__ = ["Buffer", "CategoryTable", "DatasetTable", "data_bytes", "place_rows"]


class DatasetTable:
    """The datasets of all members on one device, each once.

    Parameters
    ----------
    data : sequence of TrainingData
    of_member : sequence of int
        The dataset of each member.
    storage : torch.dtype
        Of the rows.
    device : torch.device
    """

    def __init__(
        self, data: Sequence[TrainingData], of_member: Sequence[int], storage: torch.dtype, device: torch.device
    ) -> None:
        self.columns, self.scalars = data[0].columns, frozenset(data[0].scalars)
        self.rows = place_rows(data, storage, device)
        lengths = np.array([len(item.rows) for item in data])
        offsets = np.cumsum(lengths) - lengths
        chosen = list(of_member)
        self.members = tuple(data[number] for number in chosen)  # the dataset of each as it was laid out
        self.offsets = torch.tensor(offsets[chosen], dtype=torch.int64, device=device)
        self.lengths = torch.tensor(lengths[chosen], dtype=torch.int64, device=device)
        self.shared = tuple(  # first row, row behind the last, and the members of each dataset that some member has
            (int(offsets[number]), int(offsets[number] + lengths[number]), of_dataset.to(device))
            for number in range(len(data))
            if len(of_dataset := torch.tensor([place for place, each in enumerate(chosen) if each == number]))
        )
        self.remaining = torch.from_numpy(np.concatenate([item.remaining for item in data])).to(device)
        self.frames = {name: _Frames([item.frames[name] for item in data], device) for name in data[0].frames}
        self._data = tuple(data)
        self._by_category: dict[str, CategoryTable] = {}
        self._cumulative: torch.Tensor | None = None
        if any(item.weights is not None for item in data):
            # One increasing array for all datasets: dataset d covers (d, d + 1], so a draw u in [0, 1) of one of its
            # members is a search for d + u.
            parts = []
            for number, item in enumerate(data):
                weights = np.ones(len(item.rows)) if item.weights is None else item.weights.astype(np.float64)
                cumulative = np.cumsum(weights / weights.sum())
                parts.append(number + cumulative / cumulative[-1])
            self._cumulative = torch.from_numpy(np.concatenate(parts)).to(device)
            self._dataset_of_member = torch.tensor(chosen, dtype=torch.float64, device=device)

    @property
    def nbytes(self) -> int:
        """Bytes that the data takes where it lies, as `data_bytes` counts them."""
        tensors = [self.rows, self.remaining, *([] if self._cumulative is None else [self._cumulative])]
        for frames in self.frames.values():
            tensors += [frames.frames, frames.rows, frames.next_rows]
        return sum(tensor.nbytes for tensor in tensors)

    def draw(self, draws: Draws, purpose: str, count: int) -> torch.Tensor:
        """Return [P, count] row numbers, uniform or by the weights of each member's dataset."""
        if self._cumulative is None:
            return self.offsets[:, None] + draws.integers(purpose, self.lengths, count)
        wanted = self._dataset_of_member[:, None] + draws.fractions(purpose, count)
        found = torch.searchsorted(self._cumulative, wanted, right=True)
        # d + u rounds up to d + 1 when u is within 2**-52 of 1; stay inside the member's own dataset.
        return torch.minimum(found, (self.offsets + self.lengths - 1)[:, None])

    def by_category(self, part: str) -> CategoryTable:
        """Return the rows of the datasets by a part of their observations that is one of several categories."""
        if part not in self._by_category:
            self._by_category[part] = CategoryTable(self, self._data, part)
        return self._by_category[part]

    def column(self, name: str, indices: torch.Tensor) -> torch.Tensor:
        """Return a column at rows [P, B]: [P, B, size], of one number too."""
        start = 0
        for other, size in self.columns:
            if other == name:
                found = self.rows[:, start : start + size].index_select(0, indices.flatten())
                return found.view(*indices.shape, size)
            start += size
        raise ConfigError(f"the dataset has no column {name!r}; it has {', '.join(name for name, _ in self.columns)}")

    def rows_left(self, indices: torch.Tensor) -> torch.Tensor:
        """Return how many rows of its episode are left at each row, itself included: [P, B] int64."""
        return self.remaining.index_select(0, indices.flatten()).view(indices.shape).long()

    def gather(self, indices: torch.Tensor, span: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """Return rows [P, B, span, width], of which the first `lengths` [P, B] are of the drawn row's episode."""
        if span == 1:
            return self.rows.index_select(0, indices.flatten()).view(*indices.shape, 1, -1), indices
        lengths = self.remaining.index_select(0, indices.flatten()).view(indices.shape).clamp(max=span).long()
        ahead = torch.arange(span, device=indices.device)
        indices, _ = window(indices, ahead, after=lengths - 1)  # repeats the episode's last row
        return self.rows.index_select(0, indices.flatten()).view(*indices.shape, -1), lengths

    def images(
        self, indices: torch.Tensor, lengths: torch.Tensor | None
    ) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Return the frames of s and of s' of rows [P, B], by part; of s' that after `lengths` rows, where given."""
        last = indices if lengths is None else indices + lengths - 1
        return (
            {name: frames.at(frames.rows, indices) for name, frames in self.frames.items()},
            {name: frames.at(frames.next_rows, last) for name, frames in self.frames.items()},
        )


class CategoryTable:
    """The rows of a `DatasetTable` in the order of a category, such as the task that they are of.

    ::

        order      | dataset 0: rows of category 0 | of category 1 | ... | dataset 1: ... |
        member p     firsts[p, c] .. firsts[p, c] + counts[p, c]     are places in it

    Parameters
    ----------
    table : DatasetTable
    data : sequence of TrainingData
        Those of the table.
    part : str
        Of the observations, coded as one entry for each category.

    Raises
    ------
    ConfigError
        If the observations have no such part, or it is no category; or a dataset has no row of one of them that may be drawn.
    """

    def __init__(self, table: DatasetTable, data: Sequence[TrainingData], part: str) -> None:
        self.part, device = part, table.rows.device
        place = data[0].shapes.place(part)
        if not any(each.name == part and each.kind == "category" for each in data[0].shapes.parts):
            raise ConfigError(
                f"observations/{part} is not one of several categories, so that rows cannot be told apart by it"
            )
        groups = place.stop - place.start
        orders, firsts, counts, start = [], {}, {}, 0
        for number, item in enumerate(data):
            categories = item.rows[:, place].argmax(1)
            weights = np.ones(len(item.rows)) if item.weights is None else item.weights
            of_each = np.bincount(categories, weights, minlength=groups)
            if not (of_each > 0).all():
                raise ConfigError(f"the data has no step of {part} {int(of_each.argmin())} to draw")
            orders.append(start + np.argsort(categories, kind="stable"))
            counts[number] = np.bincount(categories, minlength=groups)
            firsts[number] = start + np.cumsum(counts[number]) - counts[number]
            start += len(item.rows)
        chosen = [next(number for number, item in enumerate(data) if item is own) for own in table.members]
        self.order = torch.from_numpy(np.concatenate(orders)).to(device)
        self.firsts, self.counts = (
            torch.tensor(np.stack([of[number] for number in chosen]), dtype=torch.int64, device=device)
            for of in (firsts, counts)
        )
        self._cumulative: torch.Tensor | None = None
        if any(item.weights is not None for item in data):
            all_weights = [np.ones(len(item.rows)) if item.weights is None else item.weights for item in data]
            ordered = np.concatenate(all_weights).astype(np.float64)[np.concatenate(orders)]
            self._cumulative = torch.from_numpy(np.concatenate([[0.0], np.cumsum(ordered)])).to(device)

    def rows(self, member: int, category: int) -> torch.Tensor:
        """Return the rows of a category in the dataset of a member, (n,) int64, in the order of the data."""
        first, count = (int(of[member, category]) for of in (self.firsts, self.counts))
        return self.order[first : first + count]

    def draw(self, category: int, draws: Draws, purpose: str, count: int) -> torch.Tensor:
        """Return [P, count] numbers of rows of a category, uniform or by the weights of each member's dataset."""
        first, rows = self.firsts[:, category], self.counts[:, category]
        if self._cumulative is None:
            return self.order[first[:, None] + draws.integers(purpose, rows, count)]
        below, above = (self._cumulative[place][:, None] for place in (first, first + rows))
        wanted = below + draws.fractions(purpose, count) * (above - below)
        found = torch.searchsorted(self._cumulative, wanted, right=True) - 1
        # Rounding must not lead out of the category.
        return self.order[torch.maximum(torch.minimum(found, (first + rows - 1)[:, None]), first[:, None])]


class _Frames:
    """The images of one part of the observations of all datasets."""

    def __init__(self, items: Sequence[Frames], device: torch.device) -> None:
        starts = np.cumsum([0, *(len(item.frames) for item in items[:-1])])
        self.frames = torch.from_numpy(np.concatenate([item.frames for item in items])).to(device)
        self.rows = torch.from_numpy(np.concatenate([item.rows + start for item, start in zip(items, starts)])).to(
            device
        )
        following = np.concatenate([item.next_rows + start for item, start in zip(items, starts)])
        self.next_rows = torch.from_numpy(following).to(device)

    def at(self, places: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        found = self.frames.index_select(0, places.index_select(0, indices.flatten()))
        return found.view(*indices.shape, *self.frames.shape[1:])


class Buffer:
    """A table of each member, of fixed capacity, whose rows are written between updates.

    Lengths and rows are overwritten in place, so a captured graph sees what is new.

    Parameters
    ----------
    layout : BufferLayout
    members : int
    dtype : torch.dtype
    device : torch.device

    Examples
    --------
    >>> buffer = Buffer(BufferLayout(4, {"observations": 2, "rewards": 0}), 1, torch.float32, torch.device("cpu"))
    >>> buffer.append({"observations": torch.ones(1, 3, 2), "rewards": torch.zeros(1, 3)})
    >>> buffer.lengths.tolist()
    [3]
    """

    def __init__(self, layout: BufferLayout, members: int, dtype: torch.dtype, device: torch.device) -> None:
        self.layout = layout
        self.columns = tuple((name, max(size, 1)) for name, size in layout.columns.items())
        self.scalars = frozenset(name for name, size in layout.columns.items() if not size)
        width = sum(size for _, size in self.columns)
        self.rows = torch.zeros(members, layout.capacity, width, dtype=dtype, device=device)
        self.written = torch.zeros(members, 1, dtype=torch.int64, device=device)  # rows ever written

    @property
    def lengths(self) -> torch.Tensor:
        """[P] int64 rows that are filled."""
        return self.written[:, 0].clamp(max=self.layout.capacity)

    def draw(self, draws: Draws, purpose: str, count: int) -> torch.Tensor:
        """Return [P, count] numbers of filled rows, uniform; row 0 of an empty buffer, which holds zeros."""
        return draws.integers(purpose, self.lengths, count)

    def rows_left(self, indices: torch.Tensor) -> torch.Tensor:
        """Return [P, B] ones: rows of a buffer belong to no episode."""
        return torch.ones_like(indices)

    def by_category(self, part: str) -> CategoryTable:
        """Raise ConfigError."""
        raise ConfigError("rows of a buffer are not told apart by categories; streams by category are for the dataset")

    def gather(self, indices: torch.Tensor, span: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """Return rows [P, B, 1, width]."""
        if span != 1:
            raise ConfigError("rows of a buffer belong to no episode: return_steps and window are for the dataset")
        found = self.rows.gather(1, indices[..., None].expand(-1, -1, self.rows.shape[-1]))
        return found[:, :, None], indices

    @torch.no_grad()
    def clear(self) -> None:
        """Forget every row."""
        self.rows.zero_()
        self.written.zero_()

    @torch.no_grad()
    def append(self, columns: Mapping[str, torch.Tensor], valid: torch.Tensor | None = None) -> None:
        """Write rows of every member; the oldest are overwritten when the buffer is full.

        Parameters
        ----------
        columns : mapping
            [P, n] or [P, n, size] tensors, for every column of the layout.
        valid : [P, n] bool tensor, optional
            Rows to write; the others are left out.

        Raises
        ------
        ConfigError
            If a column is missing or unknown, or more rows come at once than the buffer holds.
        """
        if columns.keys() != self.layout.columns.keys():
            raise ConfigError(f"a buffer of {sorted(self.layout.columns)} cannot take {sorted(columns)}")
        parts = [columns[name].reshape(len(self.rows), -1, size) for name, size in self.columns]
        rows = torch.cat([part.to(self.rows.dtype) for part in parts], -1)  # [P, n, width]
        if rows.shape[1] > self.layout.capacity:
            raise ConfigError(f"{rows.shape[1]:,} rows do not fit into a buffer of {self.layout.capacity:,}")
        mask = torch.ones(rows.shape[:2], dtype=torch.bool, device=rows.device) if valid is None else valid
        order = mask.long().cumsum(1) - 1
        places = (self.written + order) % self.layout.capacity
        members = torch.arange(len(rows), device=rows.device)[:, None].expand_as(places)
        self.rows[members[mask], places[mask]] = rows[mask]
        self.written += mask.sum(1, keepdim=True)

    def column(self, name: str) -> torch.Tensor:
        """Return [P, capacity] or [P, capacity, size], a view that may be written."""
        start = 0
        for other, size in self.columns:
            if other == name:
                return self.rows[:, :, start] if name in self.scalars else self.rows[:, :, start : start + size]
            start += size
        raise ConfigError(f"the buffer has no column {name!r}; it has {', '.join(self.layout.columns)}")

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return what a checkpoint holds of it, one row per member."""
        return {"rows": self.rows, "written": self.written}


def data_bytes(
    rows: int,
    columns: Sequence[tuple[str, int]],
    storage: torch.dtype,
    *,
    weighted: bool = False,
    images: Sequence[tuple[int, int]] = (),
) -> int:
    """Return the bytes that a dataset takes where its batches are drawn: its rows, what is left of each episode, weights.

    Parameters
    ----------
    rows : int
    columns : sequence of (str, int)
        As from `row_columns`.
    storage : torch.dtype
        Of the rows.
    weighted : bool
        Whether rows are drawn by weights.
    images : sequence of (int, int)
        Frames of each part that is an image, and bytes of one.

    Examples
    --------
    >>> from assay.baselines.engine.data import row_columns
    >>> data_bytes(1_000_000, row_columns(11, 3), torch.float16)
    58000000
    """
    width = sum(size for _, size in columns)
    places = 2 * torch.int64.itemsize * rows  # of s and s' among the frames
    frames = sum(count * size + places for count, size in images)
    return rows * (width * storage.itemsize + torch.int32.itemsize + weighted * torch.float64.itemsize) + frames


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
        if bool(torch.isinf(part).any()):  # NaN are rewards that are missing, and that nothing reads
            raise ConfigError(
                f"the data does not fit into {str(storage).removeprefix('torch.')}: choose another storage"
            )
    return rows
