"""Writes Minari's Arrow and Parquet: one file per episode, one batch in it, in one pass over the episodes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from assay.datasets.dataset import Dataset
from assay.datasets.errors import DatasetError
from assay.datasets.formats.minari.metadata import METADATA
from assay.datasets.info import json_value
from assay.datasets.progress import Progress
from assay.datasets.spaces import Discrete, Space, leaves

__all__ = ["write_episode_files"]


def write_episode_files(
    dataset: Dataset,
    stored: Sequence[str],
    spaces: Mapping[str, Space],
    folder: Path,
    data_format: str,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the columns named in `stored` and the episode columns; return what belongs into metadata.json about them."""
    scalars = {name for key, space in spaces.items() for name, leaf in leaves(space, key).items() if _is_scalar(leaf)}
    tree = _tree(stored)
    # Every column has T+1 rows here, so infos of T rows get a last one that does not count.
    short = [name for name in stored if name.startswith("infos/") and len(dataset.column(name)) == dataset.total_steps]
    schema: pa.Schema | None = None
    starts, lengths = dataset.episode_starts.tolist(), dataset.episode_lengths.tolist()
    for number, (start, length) in enumerate(zip(starts, lengths, strict=True)):

        def leaf(
            name: str, start: int = start, length: int = length, number: int = number
        ) -> tuple[pa.Array, dict[str, str] | None]:
            array = dataset.column(name)
            extra = len(array) != dataset.total_steps
            first = start + number if extra else start
            part = array[first : first + length + extra]
            try:
                return _field(name, part, 1 - extra, scalar=name in scalars)
            except (ValueError, pa.ArrowException) as error:  # text that is no Unicode
                raise DatasetError(f"column {name}: episode {number}: Arrow cannot hold it: {error}") from error

        columns = [_build(name, child, leaf) for name, child in tree.items()]
        if schema is None:
            schema = pa.schema([pa.field(name, array.type, metadata=meta) for name, array, meta in columns])
        batch = pa.RecordBatch.from_arrays([array for _, array, _ in columns], schema=schema)
        target = folder / str(number)
        target.mkdir()
        _write(batch, target / f"part-0.{data_format}", data_format)
        (target / METADATA).write_text(json.dumps(_attributes(dataset, number, length)))
        if progress is not None:
            progress(number + 1, len(lengths))
    dtypes = {name: values.dtype.str for name, values in dataset.episode_columns.items() if values.dtype.kind in "biuf"}
    tuples = list(_tuples("infos", tree["infos"])) if "infos" in tree else []
    return {"infos_without_final": short, "info_tuples": tuples, "episode_dtypes": dtypes}


def _is_scalar(space: Space) -> bool:
    return isinstance(space, Discrete)


def _tree(names: Sequence[str]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name in names:
        *parents, last = name.split("/")
        place = tree
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = name
    return tree


def _is_tuple(children: Mapping[str, Any]) -> bool:
    return set(children) == {f"_index_{index}" for index in range(len(children))}


def _tuples(name: str, children: Mapping[str, Any]) -> Iterator[str]:
    """List the structs that are tuples; no space says so of infos."""
    if _is_tuple(children):
        yield name
    for key, child in children.items():
        if not isinstance(child, str):
            yield from _tuples(f"{name}/{key}", child)


def _build(name: str, child: Any, leaf: Any) -> tuple[str, pa.Array, Any]:
    """Return (name, values, metadata of the field) of a column or struct."""
    if isinstance(child, str):
        values, metadata = leaf(child)
        return name, values, metadata
    parts = [_build(key, item, leaf) for key, item in child.items()]
    if _is_tuple(child):
        parts = [(key.removeprefix("_index_"), values, metadata) for key, values, metadata in parts]
    fields = [pa.field(key, values.type, metadata=metadata) for key, values, metadata in parts]
    return name, pa.StructArray.from_arrays([values for _, values, _ in parts], fields=fields), None


def _field(name: str, part: np.ndarray, filling: int, *, scalar: bool) -> tuple[pa.Array, dict[str, str] | None]:
    """Return the values of a leaf, with `filling` rows more, and the metadata of its field."""
    if part.dtype.kind == "U":
        return pa.array(part.tolist() + [None] * filling, pa.string()), None
    if not part.dtype.isnative:
        part = part.astype(part.dtype.newbyteorder("="))
    if filling:
        part = np.concatenate([part, np.zeros((filling, *part.shape[1:]), part.dtype)])
    info = name.startswith("infos/")
    if scalar or name in ("rewards", "terminations", "truncations") or (info and part.ndim == 1):
        return pa.array(part), None
    width = int(np.prod(part.shape[1:]))
    values = pa.array(np.ascontiguousarray(part).reshape(-1))
    listed = pa.FixedSizeListArray.from_buffers(pa.list_(values.type, width), len(part), [None], children=[values])
    return listed, {"shape": ",".join(map(str, part.shape[1:]))} if info else None


def _write(batch: pa.RecordBatch, file: Path, data_format: str) -> None:
    if data_format == "parquet":
        from pyarrow import parquet

        parquet.write_table(pa.Table.from_batches([batch]), file, row_group_size=max(1, batch.num_rows))
        return
    with pa.ipc.new_file(str(file), batch.schema) as writer:
        writer.write_batch(batch)


def _attributes(dataset: Dataset, number: int, length: int) -> dict[str, Any]:
    result: dict[str, Any] = {"id": number, "total_steps": length}
    for name, values in dataset.episode_columns.items():
        value = values[number]
        if name == "seed":
            if str(value) not in ("-1", ""):
                result["seed"] = int(value)
        elif name == "options":
            if options := json.loads(str(value) or "{}"):
                result["options"] = options
        elif name != "final_observation":
            if values.dtype.kind not in "biufU":
                raise DatasetError(f"episode {number}: Minari cannot hold {name} {value!r}")
            result[name] = json_value(value)
    return result
