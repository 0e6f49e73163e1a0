"""Writes Minari's HDF5, with Minari's own choice of chunks, in one pass over the episodes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5g, h5p, h5s, h5t

from assay.datasets.dataset import Dataset
from assay.datasets.errors import DatasetError
from assay.datasets.formats.containers.hdf5_writing import create_hdf5
from assay.datasets.progress import Progress

__all__ = ["write_episodes"]


def write_episodes(dataset: Dataset, stored: Sequence[str], file: Path, progress: Progress | None = None) -> None:
    """Write the columns named in `stored`, and the episode columns as attributes."""
    starts, lengths = dataset.episode_starts.tolist(), dataset.episode_lengths.tolist()
    columns = [(name, name.encode().split(b"/"), dataset.column(name)) for name in stored]
    with create_hdf5(file, track_order=True) as handle:
        writer = _Writer(handle)
        for number, (start, length) in enumerate(zip(starts, lengths, strict=True)):
            episode = h5g.create(handle.id, b"episode_%d" % number)
            _write_attributes(h5py.Group(episode), dataset, number, length)
            groups = {b"infos": h5g.create(episode, b"infos")}  # Minari cannot show episodes without it
            for name, path, array in columns:
                extra = len(array) != dataset.total_steps
                first = start + number if extra else start
                parent = _parent(episode, path, groups)
                try:
                    writer.write(parent, path[-1], array[first : first + length + extra])
                except ValueError as error:  # text with a zero character inside
                    raise DatasetError(f"column {name}: episode {number}: HDF5 cannot hold it: {error}") from error
            if progress is not None:
                progress(number + 1, len(lengths))


def _parent(episode: h5g.GroupID, path: Sequence[bytes], groups: dict[bytes, h5g.GroupID]) -> h5g.GroupID:
    parent, prefix = episode, b""
    for part in path[:-1]:
        prefix += part
        if prefix not in groups:
            groups[prefix] = h5g.create(parent, part)
        parent = groups[prefix]
        prefix += b"/"
    return parent


class _Writer:
    """Creates datasets; the properties of one serve for all of its shape and dtype."""

    def __init__(self, file: h5py.File) -> None:
        self._file = file
        self._known: dict[tuple[np.dtype, tuple[int, ...]], tuple[Any, Any, Any]] = {}

    def write(self, parent: h5g.GroupID, name: bytes, part: np.ndarray) -> None:
        if part.dtype.kind == "U":
            kind = h5py.string_dtype(encoding="utf-8")
            h5py.Group(parent).create_dataset(
                name, data=part.tolist(), dtype=kind, chunks=True, maxshape=(None, *part.shape[1:])
            )
            return
        part = np.ascontiguousarray(part)
        known = self._known.get((part.dtype, part.shape))
        if known is None:
            made = h5py.Group(parent).create_dataset(name, data=part, chunks=True, maxshape=(None, *part.shape[1:])).id
            properties = h5p.create(h5p.DATASET_CREATE)
            properties.set_chunk(made.get_create_plist().get_chunk())
            properties.set_obj_track_times(False)  # as h5py does, so that headers are alike and files the same again
            space = h5s.create_simple(part.shape, (h5s.UNLIMITED, *part.shape[1:]))
            self._known[part.dtype, part.shape] = h5t.py_create(part.dtype, logical=True), space, properties
            return
        kind, space, properties = known
        made = h5d.create(parent, name, kind, space, properties)
        made.write(h5s.ALL, h5s.ALL, part, kind)


def _write_attributes(group: h5py.Group, dataset: Dataset, number: int, length: int) -> None:
    _write_number(group.id, b"id", np.int64(number))
    for name, values in dataset.episode_columns.items():
        value = values[number]
        try:
            if name == "seed":
                if str(value) not in ("-1", ""):
                    _write_number(group.id, b"seed", np.asarray(int(value)))
            elif name == "options":
                for key, option in _flat("options", json.loads(str(value) or "{}")):
                    group.attrs[key] = option
            elif name != "final_observation":
                if values.dtype.kind in "biuf":
                    _write_number(group.id, name.encode(), value)
                else:
                    group.attrs[name] = str(value) if values.dtype.kind == "U" else value
        except (TypeError, ValueError, OSError, OverflowError, AttributeError) as error:
            raise DatasetError(f"episode {number}: Minari cannot hold {name} {value!r}: {error}") from error
    _write_number(group.id, b"total_steps", np.int64(length))


_SCALAR = h5s.create(h5s.SCALAR)


def _write_number(group: h5g.GroupID, name: bytes, value: Any) -> None:
    array = np.asarray(value)
    h5a.create(group, name, h5t.py_create(array.dtype, logical=True), _SCALAR).write(array)


def _flat(prefix: str, options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in options.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}/{key}", value)
        else:
            yield f"{prefix}/{key}", value
