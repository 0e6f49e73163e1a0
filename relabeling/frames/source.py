"""One picture for every row of the observations, whatever it comes from.

::

    observations   s0 s1 s2 ... sT | s0 ...        N+E rows
    frames         f0 f1 f2 ... fT | f0 ...        N+E rows of (height, width, channels) uint8, read when they are asked for

Image columns are taken as they are. Where there are none, frames are rendered from the state of the simulator, headless,
and kept compressed under `home()/frames`, so they are rendered once.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

from assay.datasets.atomic import atomic_file
from assay.datasets.dataset import Dataset, hash_array
from assay.datasets.errors import ConfigError, DatasetIntegrityError, StorageError, UnknownNameError
from assay.datasets.progress import Auto, Progress, counted, reporting
from assay.relabeling.frames.renderer import Renderer, renderer_of

__all__ = ["ColumnFrames", "FrameSource", "RenderedFrames", "frames_of", "image_columns"]

DEFAULT_HEIGHT = 64  # pixels
_CHUNK = 16  # frames that are compressed together; what a single random frame costs to read
_BLOCK = 512  # frames that are rendered and written at a time
_MOST_CHANNELS = 4


class FrameSource(ABC):
    """Frames by row of the observations."""

    shape: tuple[int, int, int]  # (height, width, channels)
    rows: int  # N+E

    @abstractmethod
    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return the frames of some rows, in any order: (n,) integers -> (n, height, width, channels) uint8."""


class ColumnFrames(FrameSource):
    """Frames that the dataset holds.

    Parameters
    ----------
    images : (N+E, ...) or (N, ...) uint8 array
        (height, width), (height, width, channels), or (channels, height, width) with at most 4 channels. Of N frames, one for
        each step, the last one of an episode stands for its final observation too.
    observation_rows : (N,) int array
        As of the dataset.
    episodes : int

    Examples
    --------
    >>> source = ColumnFrames(np.zeros((3, 2, 5), np.uint8), np.array([0, 1]), episodes=1)
    >>> source.take(np.array([2])).shape
    (1, 2, 5, 1)
    """

    def __init__(self, images: np.ndarray, observation_rows: np.ndarray, episodes: int) -> None:
        self._images = images
        self.rows = len(observation_rows) + episodes
        self._places = np.arange(self.rows)
        if len(images) != self.rows:
            following = np.zeros(self.rows, np.int64)
            following[observation_rows] = 1
            self._places = np.cumsum(following) - 1  # the final observation repeats the place before it
        self._channels_first = _is_channels_first(images.shape[1:])
        height, width, *channels = images.shape[1:]
        self.shape = (height, width, channels[0] if channels else 1)
        if self._channels_first:
            self.shape = (*images.shape[2:], images.shape[1])

    def take(self, rows: np.ndarray) -> np.ndarray:  # noqa: D102
        found: np.ndarray = np.asarray(self._images[self._places[rows]])
        if self._channels_first:
            found = np.moveaxis(found, 1, -1)
        return found.reshape(len(rows), *self.shape)


def _is_channels_first(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[0] <= _MOST_CHANNELS < min(shape[1:])


class RenderedFrames(FrameSource):
    """Frames in a file of `frames_of`: an HDF5 dataset `frames`, compressed in chunks of 16.

    Parameters
    ----------
    path : Path

    Raises
    ------
    DatasetIntegrityError
        If the file is not whole.
    """

    def __init__(self, path: Path) -> None:
        import h5py

        self.path = path
        try:
            with h5py.File(path) as file:
                self.rows, *shape = file["frames"].shape
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise _damaged(path, error) from error
        height, width, channels = shape
        self.shape = (height, width, channels)

    def take(self, rows: np.ndarray) -> np.ndarray:  # noqa: D102
        import h5py

        rows = np.asarray(rows, np.int64)
        found = np.empty((len(rows), *self.shape), np.uint8)
        order = np.argsort(rows, kind="stable")
        chunks = rows[order] // _CHUNK
        try:
            with h5py.File(self.path) as file:
                frames = file["frames"]
                for places in np.split(order, np.flatnonzero(np.diff(chunks)) + 1) if len(rows) else []:
                    first, last = int(rows[places].min()), int(rows[places].max())
                    found[places] = frames[first : last + 1][rows[places] - first]
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise _damaged(self.path, error) from error
        return found


def _damaged(path: Path, error: Exception) -> DatasetIntegrityError:
    return DatasetIntegrityError(f"{path} holds no frames, or is damaged ({error}); delete it, and it is made again")


def frames_of(
    dataset: Dataset,
    *,
    column: str | None = None,
    height: int = DEFAULT_HEIGHT,
    progress: Progress | Auto | None = "auto",
) -> FrameSource:
    """Return the frames of a dataset: those of an image column, or rendered from the state of its simulator.

    Parameters
    ----------
    dataset : Dataset
    column : str, optional
        An image column, uint8 of at least two axes per row. By default the first one of the observations, and where there is
        none, frames are rendered.
    height : int
        Pixels of a rendered frame; its width follows from the environment. Image columns keep their size.
    progress : callable, optional
        Called with (frames rendered, all frames); default a bar where somebody looks.

    Returns
    -------
    FrameSource

    Raises
    ------
    UnknownNameError
        If there is no such image column.
    ConfigError
        If there is neither an image nor a state to render, or nothing to render with; with what to do.

    Notes
    -----
    Rendered frames are kept in `home()/frames`, named by the environment and a hash of states and settings. A file is written
    whole or not at all, and may be deleted.
    """
    known = image_columns(dataset)
    if column is not None and column not in known:
        raise UnknownNameError("image column", column, known, "" if known else "(no column holds uint8 images)")
    own = [name for name in known if name.partition("/")[0] == "observations"]
    chosen = column if column is not None else own[0] if own else None
    if chosen is not None:
        return ColumnFrames(dataset.column(chosen), dataset.observation_rows, dataset.total_episodes)
    if height < 8:
        raise ConfigError(f"height={height}: a frame has at least 8 pixels")
    with reporting(progress, "rendering frames", counted("rendering frames")) as report:
        return _rendered(renderer_of(dataset, height), report)


def image_columns(dataset: Dataset) -> list[str]:
    """Return the names of the columns that hold images."""
    columns = [name for name in dataset.columns if not name.startswith("next_observations")]
    return [name for name in columns if dataset.column(name).dtype == np.uint8 and dataset.column(name).ndim in (3, 4)]


def _rendered(renderer: Renderer, report: Progress | None) -> RenderedFrames:
    import xxhash

    from assay.datasets.loading import home

    described = json.dumps([renderer.settings, hash_array(renderer.states), renderer.states.shape], sort_keys=True)
    path = home() / "frames" / f"{renderer.name}-{xxhash.xxh3_128_hexdigest(described.encode())}.h5"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with atomic_file(path) as file:
                _write(renderer, file, report)
        except StorageError:
            if not path.exists():  # else somebody rendered the same at the same time
                raise
    return RenderedFrames(path)


def _write(renderer: Renderer, path: Path, report: Progress | None) -> None:
    """Render every state, a block at a time."""
    import h5py

    count = len(renderer.states)
    with (
        h5py.File(path, "w", libver="latest") as file,
        renderer,
    ):  # whose descriptions have checksums, as the chunks have
        shape = (count, *renderer.shape)
        chunks = (min(_CHUNK, count), *renderer.shape)
        options: dict[str, Any] = {"chunks": chunks, "compression": "gzip", "compression_opts": 1, "fletcher32": True}
        frames = file.create_dataset("frames", shape, np.uint8, **options)
        block = np.empty((_BLOCK, *renderer.shape), np.uint8)
        for start in range(0, count, _BLOCK):
            states = renderer.states[start : start + _BLOCK]
            for place, state in enumerate(states):
                block[place] = renderer.render(state)
            frames[start : start + len(states)] = block[: len(states)]
            if report is not None:
                report(start + len(states), count)
