"""Assay's own store: a folder of memory-mapped columns with a hash each.

::

    columns/<name>.npy      one array per column; a slash in the name is a folder
    episodes.parquet        episode, start, length, return, terminated, truncated, and further episode columns
    metadata.json           schema version, info with spaces, history, dtype, shape and hash of every column, hash of
                            episodes.parquet, and a checksum of itself

Every byte of these files is covered by a hash, except those of .npy headers, which are compared with what they must be.
"""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from assay.datasets.atomic import atomic_folder
from assay.datasets.dataset import Dataset, hash_array
from assay.datasets.errors import DatasetError, DatasetIntegrityError, FormatError
from assay.datasets.formats.containers.files import read_json_object
from assay.datasets.info import DatasetInfo, Record
from assay.datasets.progress import Progress

__all__ = ["read", "sniff", "write"]

TITLE = "Assay store"
LAYOUT = "folder"
ORDER = 10
CANNOT_HOLD = ""

MARKS = ("columns", "episodes.parquet")
SCHEMA_VERSION = 1
_SCHEMA = "assay-dataset"


def sniff(path: Path) -> bool:
    """Tell whether `path` is a folder in this format."""
    try:
        return bool(json.loads((path / "metadata.json").read_bytes())["schema"] == _SCHEMA)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def read(path: Path, *, verify: bool = True) -> Dataset:
    """Open a stored dataset; columns stay on disk until they are used.

    Parameters
    ----------
    path : Path
    verify : bool
        Check every column against its hash (reads everything once). False opens in milliseconds.

    Raises
    ------
    DatasetIntegrityError
        Naming the column or file that differs from what was written.
    """
    metadata = _metadata(path)
    columns, hashes = {}, {}
    for name, stored in metadata["columns"].items():
        array = _open_column(path, name, stored)
        if verify and hash_array(array) != stored.get("hash"):
            raise DatasetIntegrityError(
                f"{path}: column {name} is damaged: its content does not match the hash stored with it. "
                "Restore the file from a copy or make the dataset again"
            )
        columns[name], hashes[name] = array, str(stored.get("hash"))
    lengths, extra = _read_episodes(path / "episodes.parquet", metadata)
    try:
        dataset = Dataset(
            columns,
            lengths,
            info=DatasetInfo.from_plain(metadata["info"]),
            history=Record.history_from_plain(metadata["history"]),
            episode_columns=extra,
            _hashes=hashes,
        )
    except DatasetIntegrityError:
        raise
    except (DatasetError, TypeError, ValueError, AttributeError) as error:
        raise DatasetIntegrityError(f"{path}: the parts do not fit together: {error}") from error
    if dataset.fingerprint != metadata.get("fingerprint"):
        raise DatasetIntegrityError(
            f"{path}: the columns or episodes do not add up to the fingerprint in metadata.json"
        )
    return dataset


def _metadata(path: Path) -> dict[str, Any]:
    file = path / "metadata.json"
    metadata = read_json_object(file, DatasetIntegrityError)
    if metadata.get("schema") != _SCHEMA:
        raise FormatError(f"{file} does not describe an Assay dataset")
    if metadata.get("schema_version") != SCHEMA_VERSION:
        raise FormatError(
            f"{file} has schema version {metadata.get('schema_version')}; this version of Assay reads {SCHEMA_VERSION}"
        )
    if metadata.get("checksum") != _checksum(metadata):
        raise DatasetIntegrityError(
            f"{file} is damaged or was edited: its checksum is wrong. To change the info of a dataset, load it, use "
            "replace(info=...) and save it"
        )
    for key, kind in (("columns", dict), ("info", dict), ("history", list), ("episode_columns", list)):
        if not isinstance(metadata.get(key), kind):
            raise DatasetIntegrityError(f"{file} is damaged: {key} is missing")
    return metadata


def _read_episodes(file: Path, metadata: dict[str, Any]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    import polars as pl

    try:
        content = file.read_bytes()
        if xxhash.xxh3_128_hexdigest(content) != metadata["episodes_hash"]:
            raise DatasetIntegrityError(f"{file} is damaged: its content does not match the hash stored for it")
        episodes = pl.read_parquet(content)
        lengths = episodes["length"].to_numpy()
        return lengths, {name: _episode_column(episodes[name]) for name in metadata["episode_columns"]}
    except DatasetIntegrityError:
        raise
    except (Exception, pl.exceptions.PanicException) as error:  # polars raises many kinds on impossible files
        raise DatasetIntegrityError(f"{file} is missing or damaged: {error}") from error


def _open_column(path: Path, name: str, stored: Any) -> np.ndarray:
    root = (path / "columns").resolve()
    file = (root / f"{name}.npy").resolve()
    if not file.is_relative_to(root):
        raise FormatError(f"{path}: column {name!r} lies outside the dataset's folder")
    try:
        dtype, shape = np.dtype(str(stored["dtype"])), tuple(stored["shape"])
        if dtype.hasobject or dtype.kind == "V" or not all(type(n) is int and n >= 0 for n in shape):
            raise DatasetIntegrityError(f"{path}: column {name} cannot be {stored['dtype']}{stored['shape']}")
        header, size = _header(dtype, shape), math.prod(shape) * dtype.itemsize
        # The header is compared with the one that was written, not parsed: every byte of the file is accounted for.
        with file.open("rb") as handle:
            found = handle.read(len(header))
        if (actual := file.stat().st_size) != len(header) + size or found != header:
            raise DatasetIntegrityError(
                f"{path}: column {name} is damaged: {file.name} has {actual} bytes or a header other than the "
                f"{len(header) + size} bytes of {dtype}{list(shape)} that were written. Restore the file from a copy"
            )
        if not size:
            return np.empty(shape, dtype)
        return np.asarray(np.memmap(file, dtype, "r", len(header), shape))
    except FileNotFoundError:
        raise DatasetIntegrityError(f"{path}: column {name} is missing ({file.name})") from None
    except DatasetError:
        raise
    except (OSError, ValueError, TypeError, KeyError, SyntaxError, OverflowError) as error:
        raise DatasetIntegrityError(f"{path}: column {name} cannot be opened: {error}") from error


def _header(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    """Return the bytes in front of the values in a .npy file."""
    buffer = io.BytesIO()
    description = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, description)
    return buffer.getvalue()


def _checksum(metadata: dict[str, Any]) -> str:
    content = {key: value for key, value in metadata.items() if key != "checksum"}
    return xxhash.xxh3_128_hexdigest(json.dumps(content, sort_keys=True).encode())


def _episode_column(series: Any) -> np.ndarray:
    values: np.ndarray = series.to_numpy()
    return values.astype(str) if values.dtype == object else values


def write(dataset: Dataset, path: Path, *, overwrite: bool = False, progress: Progress | None = None) -> None:
    """Write the dataset as a folder, whole or not at all.

    Raises
    ------
    DatasetError
        If the folder exists and `overwrite` is False.
    """
    with atomic_folder(path, overwrite=overwrite) as folder:
        stored, done = {}, 0
        total = sum(dataset.column(name).nbytes for name in dataset.columns)
        for name in dataset.columns:
            array = dataset.column(name)
            file = folder / "columns" / f"{name}.npy"
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, np.ascontiguousarray(array), allow_pickle=False)
            done += array.nbytes
            if progress is not None:
                progress(done, total)
            stored[name] = {"dtype": array.dtype.str, "shape": list(array.shape), "hash": dataset.column_hash(name)}
        with (folder / "episodes.parquet").open("wb") as table:  # polars takes no path that is not UTF-8
            dataset.episodes.write_parquet(table)
        episodes_hash = xxhash.xxh3_128_hexdigest((folder / "episodes.parquet").read_bytes())
        metadata = {
            "schema": _SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "fingerprint": dataset.fingerprint,
            "total_steps": dataset.total_steps,
            "total_episodes": dataset.total_episodes,
            "columns": stored,
            "episode_columns": sorted(dataset.episode_columns),
            "episodes_hash": episodes_hash,
            "info": dataset.info.to_plain(),
            "history": [record.to_plain() for record in dataset.history],
        }
        metadata["checksum"] = _checksum(metadata)
        (folder / "metadata.json").write_text(json.dumps(metadata, indent=1))
