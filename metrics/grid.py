"""A grid over states and actions, by explicit bin edges; every cell has a number.

Each number of a row [state, action] goes into the bin `np.digitize(x, edges)`: 0 for x below the first edge, k for x at
or above the last of k edges. The caller chooses the edges:

- `Grid.from_dataset`: evenly spaced over the range of a reference dataset, as Schweighofer et al. 2022 do;
- `Grid.from_spaces`: evenly spaced over the spaces, the same for every dataset of an environment;
- `Grid.from_quantiles`: at the quantiles of a reference dataset, so that its rows spread evenly over the bins;
- `Grid(names, edges)`: any other edges.

An image (a uint8 column with two axes or more in a row) counts as one thing, not as thousands of numbers. Two frames
share a cell if they are equal (`images="whole"`), or if they are equal after they were made small, grey and coarse
(`images=(rows, columns, levels)`; the cells of Ecoffet et al., "First return, then explore", Nature 590, 2021, are (8,
11, 8)). `images="pixels"` bins every pixel as a number, as the published code of SACo does with its flattened frames.

Exactness of the cells' numbers: a row of bins is packed into 64 bits without loss where the grid has at most 2^64 cells
(9 columns of 100 edges). For wider rows the 64 bits are a sum of random table entries, one table per column, fixed once
and for all (Zobrist hashing), and frames add their xxh3 hash: two different rows agree with probability 2^-64, so N
rows are miscounted with probability below N^2 / 2^65, which is 3e-8 for a million rows and 3e-4 for a hundred million;
with 128 bits it is below 1e-22. The numbers depend on the grid alone, so parts of a dataset may be hashed on many
machines.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
import xxhash

from assay.datasets.dataset import Dataset, is_under
from assay.datasets.errors import ConfigError, DatasetError
from assay.datasets.memory import empty
from assay.datasets.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Space, leaves
from assay.datasets.streaming import StepReader

__all__ = ["Grid", "ImageColumn", "Images"]

Images: TypeAlias = Literal["whole", "pixels"] | tuple[int, int, int]

_CHUNK_BYTES = 1 << 19  # size of a chunk of float64 rows, so that its results stay in cache
_CHUNK_FRAME_BYTES = 1 << 24
_QUANTILE_BYTES = 1 << 26
_TABLE_SEEDS = (0x5AC0, 0x5AC1)  # seeds of the tables for the first and the second 64 bits
_NUMBERS = "fiub"  # dtype kinds
_PARTS = ("observations", "actions")


@dataclass(frozen=True)
class ImageColumn:
    """A column of images that is compared frame by frame.

    Parameters
    ----------
    name : str
        Column, such as `"observations/camera"`.
    size : (rows, columns, levels) or None
        Size that frames are reduced to before they are compared; None compares them as they are.

    Raises
    ------
    ConfigError
        If the size is not three positive numbers, or asks for more than 256 levels.
    """

    name: str
    size: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        if self.size is None:
            return
        if len(self.size) != 3 or min(self.size) < 1 or self.size[2] > 256:
            raise ConfigError(f"images={self.size}: give (rows, columns, levels), of 256 levels at most")

    def reduce(self, frames: np.ndarray) -> np.ndarray:
        """Return the reduced frames: (n, rows, columns) uint8 levels of grey, or the frames themselves.

        Channels are averaged: the last axis, or else the first, where it has four entries or fewer. Each new pixel is
        the mean of a block; frames smaller than the size keep their own.

        Parameters
        ----------
        frames : (n, height, width), (n, height, width, channels) or (n, channels, height, width) uint8

        Examples
        --------
        >>> frame = np.array([[0, 0, 255, 255], [0, 0, 255, 251]], np.uint8)
        >>> ImageColumn("observations", (1, 2, 8)).reduce(frame[None]).tolist()
        [[[0, 7]]]
        """
        if self.size is None:
            return frames
        grey: np.ndarray = frames
        if frames.ndim == 4:
            grey = frames.mean(axis=3 if frames.shape[3] <= 4 else 1, dtype=np.float32)
        if grey.ndim != 3 or (frames.ndim == 4 and min(frames.shape[1], frames.shape[3]) > 4):
            raise DatasetError(f"column {self.name} of {frames.shape[1:]} a step cannot be made smaller as an image")
        rows, columns, levels = self.size
        sums = grey.astype(np.float64)
        for axis, wanted in ((1, rows), (2, columns)):
            length = sums.shape[axis]
            borders = np.arange(min(wanted, length)) * length // min(wanted, length)
            counts = np.diff(borders, append=length).reshape([-1 if i == axis else 1 for i in range(3)])
            sums = np.add.reduceat(sums, borders, axis=axis) / counts
        return (sums * (levels / 256)).astype(np.uint8)

    def hashes(self, frames: np.ndarray, seed: int, bits: int) -> np.ndarray:
        """Return (n, bits / 64) uint64 hashes, equal for frames that are equal after they were reduced."""
        reduced = np.ascontiguousarray(self.reduce(frames))
        result = np.empty((len(reduced), bits // 64), np.uint64)
        for i, frame in enumerate(reduced.reshape(len(reduced), -1)):
            if bits == 64:
                result[i, 0] = xxhash.xxh3_64_intdigest(frame.data, seed)
            else:
                result[i, 0], result[i, 1] = divmod(xxhash.xxh3_128_intdigest(frame.data, seed), 1 << 64)
        return result


@dataclass(frozen=True, eq=False)
class Grid:
    """Bin edges for every column of [state, action].

    Parameters
    ----------
    names : tuple of str
        One per column: `"observations[3]"`, `"observations/goal[0]"`, or `"actions"` where the column is flat.
    edges : tuple of 1-D float64 arrays
        Ascending bin edges for each column, at least one each; equal ones are allowed.
    frames : tuple of ImageColumn
        Columns that are images.

    Raises
    ------
    ConfigError
        If edges are missing, not finite or not ascending.

    Examples
    --------
    >>> grid = Grid(("observations", "actions"), (np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0])))
    >>> grid.digitize(np.array([[-1.0, 0.0], [0.5, 0.0], [2.0, 7.0]])).tolist()
    [[0, 1], [1, 1], [3, 2]]
    """

    names: tuple[str, ...]
    edges: tuple[np.ndarray, ...]
    frames: tuple[ImageColumn, ...] = ()

    def __post_init__(self) -> None:
        edges = tuple(np.array(item, np.float64) for item in self.edges)
        if len(edges) != len(self.names):
            raise ConfigError(f"the grid has {len(self.names)} names but {len(edges)} lists of edges")
        for name, item in zip(self.names, edges):
            if item.ndim != 1 or not len(item) or not np.isfinite(item).all() or (np.diff(item) < 0).any():
                raise ConfigError(f"the edges of {name} must be a flat, ascending list of finite numbers")
            item.setflags(write=False)
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "edges", edges)
        object.__setattr__(self, "frames", tuple(self.frames))

    # ---------------------------------------------------------------- making

    @classmethod
    def from_dataset(
        cls,
        reference: Dataset,
        bins: int = 100,
        *,
        images: Images = "whole",
        steps: int | None = None,
        parts: Sequence[str] = _PARTS,
    ) -> Grid:
        """Lay `bins` edges, `np.linspace(low, high, bins)`, over the range of each column of a dataset.

        Parameters
        ----------
        reference : Dataset
            Its N steps' observations and its actions set the range.
        bins : int
            Number of edges, at least 2; the published code uses 100.
        images : "whole", "pixels" or (rows, columns, levels)
            How frames are compared (the module's text).
        steps : int, optional
            Use only this many steps, from the first one on.
        parts : sequence of str
            What the grid lies over; `("observations",)` for a dataset whose actions are missing.

        Raises
        ------
        MissingLabelsError
            If the grid lies over actions, and a step has none.
        DatasetError
            If the dataset has no steps, or a column holds NaN, infinity or text; with the place.
        """
        require_bins(bins)
        layout = _Columns.of(reference, images, parts)
        lows, highs = [], []
        for rows, _ in layout.chunks(reference, steps, allow_infinity=False, frames=False):
            lows.append(rows.min(0))
            highs.append(rows.max(0))
        if not lows:
            raise DatasetError("a grid cannot be laid over a dataset without steps")
        low, high = np.min(lows, 0), np.max(highs, 0)
        return cls(layout.names, tuple(np.linspace(a, b, bins) for a, b in zip(low, high)), layout.frames)

    @classmethod
    def from_spaces(
        cls, observation_space: Space, action_space: Space, bins: int = 100, *, images: Images = "whole"
    ) -> Grid:
        """Lay the edges over the spaces, so that all datasets of one environment share one grid.

        Parameters
        ----------
        observation_space, action_space : Space
            As in `dataset.info`. Bounded boxes get `np.linspace(low, high, bins)`; discrete values and bits each a bin
            of their own, however many there are.
        bins : int
        images : "whole", "pixels" or (rows, columns, levels)

        Raises
        ------
        ConfigError
            If an entry of a box has no bounds, or a space is text; with its name.

        Examples
        --------
        >>> grid = Grid.from_spaces(Box((1,), "float64", [-1.0], [1.0]), Discrete(3), bins=5)
        >>> grid.names, grid.edges[0].tolist(), grid.edges[1].tolist()
        (('observations[0]', 'actions'), [-1.0, -0.5, 0.0, 0.5, 1.0], [0.0, 1.0, 2.0])
        """
        require_bins(bins)
        names: list[str] = []
        edges: list[np.ndarray] = []
        frames: list[ImageColumn] = []
        spaces = leaves(observation_space, "observations") | leaves(action_space, "actions")
        for name in sorted(spaces, key=lambda key: (not is_under(key, "observations"), key)):
            space = spaces[name]
            if isinstance(space, Box) and images != "pixels" and _is_image(space.dtype, len(space.shape)):
                frames.append(_frames(name, images))
                continue
            shape, entries = _edges_of_space(name, space, bins)
            names += _entry_names(name, shape)
            edges += entries
        return cls(tuple(names), tuple(edges), tuple(frames))

    @classmethod
    def from_quantiles(cls, reference: Dataset, bins: int = 100, *, images: Images = "whole") -> Grid:
        """Lay the edges at the quantiles 0, 1/(bins-1), ..., 1 of each column of a dataset.

        Its steps spread evenly over the bins of every column, so that a few outliers cannot make the others share one
        bin, as they do in an evenly spaced grid. Repeated values make equal edges and take fewer bins.

        Parameters
        ----------
        reference : Dataset
        bins : int
        images : "whole", "pixels" or (rows, columns, levels)

        Raises
        ------
        DatasetError
            As `from_dataset`.

        Examples
        --------
        >>> dataset = Dataset.from_arrays(
        ...     observations=np.array([0.0, 1.0, 2.0, 3.0, 1000.0, 0.0]), actions=np.zeros(5), rewards=np.zeros(5),
        ...     terminations=np.arange(5) == 4, truncations=np.zeros(5, bool))
        >>> Grid.from_quantiles(dataset, bins=5).edges[0].tolist()
        [0.0, 1.0, 2.0, 3.0, 1000.0]
        """
        require_bins(bins)
        steps = reference.total_steps
        if not steps:
            raise DatasetError("a grid cannot be laid over a dataset without steps")
        layout = _Columns.of(reference, images)
        at_a_time = max(1, _QUANTILE_BYTES // (8 * steps))
        edges: list[np.ndarray] = []
        for first in range(0, len(layout.names), at_a_time):
            columns = slice(first, first + at_a_time)
            values = empty((len(layout.names[columns]), steps), np.float64)
            start = 0
            for rows, _ in layout.chunks(reference, None, allow_infinity=False, frames=False):
                values[:, start : start + len(rows)] = rows[:, columns].T
                start += len(rows)
            edges += [np.quantile(column, np.linspace(0, 1, bins), overwrite_input=True) for column in values]
        # rounding in the interpolation may put an edge a hair below the one before it
        return cls(layout.names, tuple(np.maximum.accumulate(item) for item in edges), layout.frames)

    # ---------------------------------------------------------------- using

    @cached_property
    def states(self) -> Grid:
        """The part of the grid that lies over the observations."""
        return self._part("observations")

    @cached_property
    def actions(self) -> Grid:
        """The part of the grid that lies over the actions."""
        return self._part("actions")

    def _part(self, part: str) -> Grid:
        kept = [j for j, name in enumerate(self.names) if _column_of(name) == part]
        frames = tuple(item for item in self.frames if is_under(item.name, part))
        return Grid(tuple(self.names[j] for j in kept), tuple(self.edges[j] for j in kept), frames)

    def digitize(self, rows: np.ndarray) -> np.ndarray:
        """Return the bin of every number, exactly as `np.digitize(rows[:, j], edges[j])` gives it.

        Parameters
        ----------
        rows : (n, D) floats, without NaN

        Returns
        -------
        (n, D) int64
            From 0 (below the first edge) to the number of edges (at or above the last one).
        """
        result: np.ndarray = self._places(np.asarray(rows, np.float64)) - self._layout.offset
        return result

    def cells(self, rows: np.ndarray, bits: int = 64) -> np.ndarray:
        """Return the cell of every row as a number: equal for equal bins, and different for different ones.

        Parameters
        ----------
        rows : (n, D) floats, without NaN
        bits : 64 or 128

        Returns
        -------
        (n,) uint64, or (n, 2) uint64 of 128 bits
        """
        places = self._places(np.asarray(rows, np.float64))
        words = [np.take(codes, places).sum(1, dtype=np.uint64) for codes in self._codes[: bits // 64]]
        return words[0] if bits == 64 else np.stack(words, axis=1)

    def hashes(
        self, dataset: Dataset, *, bits: int = 64, steps: int | None = None, following: bool = False
    ) -> Iterator[np.ndarray]:
        """Yield the cells of the steps of a dataset, chunk by chunk, in order.

        Parameters
        ----------
        dataset : Dataset
            The observations that its steps start from, and its actions. Infinite values fall into the outer bins.
        bits : 64 or 128
        steps : int, optional
            Use only this many steps, from the first one on.
        following : bool
            Take the observations that follow the steps instead of those that they start from.

        Yields
        ------
        (n,) uint64, or (n, 2) uint64 of 128 bits

        Raises
        ------
        DatasetError
            If the columns are not those of the grid, or hold NaN; with the place.
        """
        if bits not in (64, 128):
            raise ConfigError(f"bits={bits}: cells have 64 or 128 bits")
        layout = self._columns_in(dataset)
        for rows, frames in layout.chunks(dataset, steps, allow_infinity=True, frames=True, following=following):
            words = self.cells(rows, bits).reshape(len(rows), -1)
            for seed, (kind, images) in enumerate(zip(self.frames, frames), start=1):
                words += kind.hashes(images, seed, bits)
            yield words[:, 0] if bits == 64 else words

    def _columns_in(self, dataset: Dataset) -> _Columns:
        parts = {_column_of(name) for name in (*self.names, *(item.name for item in self.frames))}
        layout = _Columns.of(dataset, self.frames, [part for part in _PARTS if part in parts])
        found, known = (*layout.names, *layout.frame_names), (*self.names, *(item.name for item in self.frames))
        if found != known:
            other = next((name for name in (*found, *known) if (name in found) != (name in known)), "their order")
            raise DatasetError(
                f"the dataset has {len(found)} state-action columns and the grid {len(known)}; "
                f"they differ in {other}. Dataset and reference must come from the same environment"
            )
        return layout

    def _places(self, rows: np.ndarray) -> np.ndarray:
        """Bins, counted through all columns.

        For evenly spaced edges the bin is guessed by division and then moved until its edges enclose the number, so
        that rounding in the guess has no effect.
        """
        layout = self._layout
        with np.errstate(invalid="ignore", over="ignore"):
            guess = (rows - layout.low) * layout.bins_per_unit
        np.fmax(guess, -1, out=guess)
        np.fmin(guess, layout.last_bin, out=guess)
        np.floor(guess, out=guess)
        places: np.ndarray = guess.astype(np.int64)
        places += layout.offset + 1
        for _ in range(3):
            below = rows < np.take(layout.lower, places)
            above = rows >= np.take(layout.upper, places)
            if not (below.any() or above.any()):
                return places
            places += above
            places -= below
        for j, edges in enumerate(self.edges):  # edges that are not evenly spaced
            places[:, j] = np.searchsorted(edges, rows[:, j], side="right")
        places += layout.offset
        return places

    @cached_property
    def _layout(self) -> _Layout:
        return _Layout(self.edges)

    @cached_property
    def _codes(self) -> tuple[np.ndarray, np.ndarray]:
        """A summand for every bin of every column, for the first and the second 64 bits."""
        sizes = [len(edges) + 1 for edges in self.edges]
        # raw bits: unlike `integers`, they are promised to stay the same from one NumPy to the next
        first, second = (np.random.PCG64(seed).random_raw(sum(sizes)).astype(np.uint64) for seed in _TABLE_SEEDS)
        if sizes and math.prod(sizes) <= 1 << 64:
            strides = [math.prod(sizes[:j]) for j in range(len(sizes))]
            first = np.concatenate([np.arange(n, dtype=np.uint64) * np.uint64(s) for n, s in zip(sizes, strides)])
        return first, second


class _Layout:
    """The edges of all columns in one row, bin after bin::

    bin      0        1        2      ...   k        0 of the next column
    lower  -inf     edge 0   edge 1      edge k-1  -inf
    upper  edge 0   edge 1   edge 2        (none)  edge 0
    """

    def __init__(self, edges: tuple[np.ndarray, ...]) -> None:
        sizes = np.array([len(item) + 1 for item in edges], np.int64)
        self.offset = np.cumsum(sizes) - sizes
        self.lower = np.concatenate([np.zeros(0), *(np.append(-np.inf, item) for item in edges)])
        # NaN is above every number, infinity included: no x >= NaN
        self.upper = np.concatenate([np.zeros(0), *(np.append(item, np.nan) for item in edges)])
        self.last_bin = sizes - 2.0
        self.low = np.array([item[0] for item in edges])
        high = np.array([item[-1] for item in edges])
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            self.bins_per_unit = (sizes - 2) / (high - self.low)
        # equal edges: everything from them on is in the last bin, everything below in bin 0
        same = high == self.low
        self.low[same] = np.nextafter(self.low[same], -np.inf)
        self.bins_per_unit[same] = np.inf


@dataclass(frozen=True)
class _Columns:
    """Which columns of a dataset are numbers, and which are frames."""

    numbers: tuple[str, ...]
    names: tuple[str, ...]  # one for every number
    frames: tuple[ImageColumn, ...]

    @property
    def frame_names(self) -> tuple[str, ...]:
        return tuple(item.name for item in self.frames)

    @classmethod
    def of(cls, dataset: Dataset, images: Images | tuple[ImageColumn, ...], parts: Sequence[str] = _PARTS) -> _Columns:
        """Sort the columns below `parts`, by kind or by what a grid takes for frames."""
        reader = StepReader(dataset)
        numbers: list[str] = []
        names: list[str] = []
        frames: list[ImageColumn] = []
        taken = {item.name: item for item in images if isinstance(item, ImageColumn)}
        given = isinstance(images, tuple) and (not images or bool(taken))
        for name in (leaf for part in parts for leaf in reader.leaves(part)):
            array = dataset.column(name)
            if name in taken:
                frames.append(taken[name])
            elif not given and images != "pixels" and _is_image(array.dtype, array.ndim - 1):
                frames.append(_frames(name, images))  # type: ignore[arg-type]
            elif array.dtype.kind not in _NUMBERS:
                raise DatasetError(f"column {name} holds {array.dtype}, which has no bins")
            else:
                numbers.append(name)
                names += _entry_names(name, array.shape[1:])
        return cls(tuple(numbers), tuple(names), tuple(frames))

    def chunks(
        self, dataset: Dataset, steps: int | None, *, allow_infinity: bool, frames: bool, following: bool = False
    ) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
        """Yield (n, D) float64 rows and the frames beside them, chunk by chunk."""
        reader = StepReader(dataset)
        read = self.frame_names if frames else ()
        frame_bytes = sum(math.prod(dataset.column(name).shape[1:]) for name in read)
        size = max(1, _CHUNK_BYTES // (8 * max(1, len(self.names))))
        size = max(1, min(size, _CHUNK_FRAME_BYTES // max(1, frame_bytes)))
        total = dataset.total_steps if steps is None else min(steps, dataset.total_steps)

        def values_of(name: str, span: slice) -> np.ndarray:
            if not following or not is_under(name, "observations"):
                return reader.read(name, span)
            if dataset.has_next_observations:
                return dataset.column(f"next_{name}")[span]
            return reader.read_following(name, span)

        for start in range(0, total, size):
            span = slice(start, min(start + size, total))
            rows = np.empty((span.stop - start, len(self.names)))
            column = 0
            for name in self.numbers:
                values = values_of(name, span)
                if values.dtype.kind == "f":
                    reader.require_finite(name, span, values, allow_infinity=allow_infinity)
                flat = values.reshape(len(values), -1)
                rows[:, column : column + flat.shape[1]] = flat
                column += flat.shape[1]
            yield rows, [values_of(name, span) for name in read]


def has_bins(dataset: Dataset, parts: Sequence[str] = _PARTS) -> bool:
    """Tell whether all observation and action columns hold numbers or images, so that a grid can be laid over them."""
    reader = StepReader(dataset)
    return all(dataset.column(name).dtype.kind in _NUMBERS for part in parts for name in reader.leaves(part))


def require_bins(bins: int) -> None:
    """Raise ConfigError where there are too few edges."""
    if bins < 2:
        raise ConfigError(f"bins={bins}: at least 2 edges are needed to span a range")


def _is_image(dtype: np.dtype | str, axes: int) -> bool:
    return np.dtype(dtype) == np.uint8 and axes >= 2


def _frames(name: str, images: Images) -> ImageColumn:
    if isinstance(images, str) and images not in ("whole", "pixels"):
        raise ConfigError(f"images={images!r}: known are 'whole', 'pixels' and (rows, columns, levels)")
    return ImageColumn(name, None if isinstance(images, str) else images)


def _entry_names(name: str, shape: tuple[int, ...]) -> list[str]:
    return [f"{name}{list(index)}".replace("[]", "") for index in np.ndindex(*shape)]


def _column_of(name: str) -> str:
    return "observations" if name.startswith("observations") else "actions"


def _edges_of_space(name: str, space: Space, bins: int) -> tuple[tuple[int, ...], list[np.ndarray]]:
    """Return the shape of a space's entries, and the edges of every entry."""
    match space:
        case Discrete(n, start):
            return (), [start + np.arange(n, dtype=np.float64)]
        case MultiDiscrete(nvec, start):
            counts, starts = np.array(nvec), np.array(start)
            return counts.shape, [b + np.arange(n, dtype=np.float64) for n, b in zip(counts.flat, starts.flat)]
        case MultiBinary(n):
            bits = (n,) if isinstance(n, int) else tuple(n)
            return bits, [np.array([0.0, 1.0]) for _ in range(math.prod(bits))]
        case Box(shape):
            lows, highs = space.bounds()
            edges = []
            entries = _entry_names(name, shape)
            for entry, low, high in zip(entries, lows.astype(np.float64).flat, highs.astype(np.float64).flat):
                if not (math.isfinite(low) and math.isfinite(high)):
                    raise ConfigError(
                        f"{entry} has no bounds in its space ({low:g} to {high:g}): "
                        "use Grid.from_dataset or Grid.from_quantiles with a reference dataset"
                    )
                edges.append(np.linspace(low, high, bins))
            return shape, edges
    raise ConfigError(f"{name} is of a space that has no bins: {type(space).__name__}")
