"""Assay's own store: a folder of memory-mapped columns with a hash each.

::

    columns/<name>.npy      one array per column; a slash in the name is a folder
    episodes.parquet        episode, start, length, return, terminated, truncated, and further episode columns
    metadata.json           schema version, info with spaces, history, dtype, shape and hash of every column
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from assay.datasets.atomic import atomic_folder
from assay.datasets.dataset import Dataset, hash_array
from assay.datasets.errors import DatasetError, DatasetIntegrityError, FormatError
from assay.datasets.info import DatasetInfo, Record

__all__ = ["read", "sniff", "write"]

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
    import polars as pl

    metadata = _metadata(path)
    columns, hashes = {}, {}
    for name, stored in metadata["columns"].items():
        array = _open_column(path, name, stored)
        if verify and hash_array(array) != stored["hash"]:
            raise DatasetIntegrityError(
                f"{path}: column {name} is damaged: its content does not match the hash stored with it. "
                "Restore the file from a copy or make the dataset again"
            )
        columns[name], hashes[name] = array, stored["hash"]
    try:
        episodes = pl.read_parquet(path / "episodes.parquet", memory_map=False)
        lengths = episodes["length"].to_numpy()
        extra = {name: _episode_column(episodes[name]) for name in metadata["episode_columns"]}
    except Exception as error:  # polars raises many kinds on damaged files
        raise DatasetIntegrityError(f"{path}: episodes.parquet is missing or damaged: {error}") from error
    try:
        dataset = Dataset(
            columns,
            lengths,
            info=DatasetInfo.from_plain(metadata["info"]),
            history=[Record.from_plain(record) for record in metadata["history"]],
            episode_columns=extra,
            _hashes=hashes,
        )
    except DatasetIntegrityError:
        raise
    except (DatasetError, TypeError) as error:
        raise DatasetIntegrityError(f"{path}: the parts do not fit together: {error}") from error
    if dataset.fingerprint != metadata["fingerprint"]:
        raise DatasetIntegrityError(
            f"{path}: the columns or episodes do not add up to the fingerprint in metadata.json"
        )
    return dataset


def _metadata(path: Path) -> dict[str, Any]:
    file = path / "metadata.json"
    try:
        metadata = json.loads(file.read_bytes())
    except OSError as error:
        raise DatasetIntegrityError(f"{file} cannot be read: {error}") from error
    except (ValueError, RecursionError) as error:
        raise DatasetIntegrityError(f"{file} is damaged: {error}") from error
    if not isinstance(metadata, dict) or metadata.get("schema") != _SCHEMA:
        raise FormatError(f"{file} does not describe an Assay dataset")
    if metadata.get("schema_version") != SCHEMA_VERSION:
        raise FormatError(
            f"{file} has schema version {metadata.get('schema_version')}; this version of Assay reads {SCHEMA_VERSION}"
        )
    for key, kind in (("columns", dict), ("info", dict), ("history", list), ("episode_columns", list)):
        if not isinstance(metadata.get(key), kind):
            raise DatasetIntegrityError(f"{file} is damaged: {key} is missing")
    return metadata


def _open_column(path: Path, name: str, stored: Any) -> np.ndarray:
    root = (path / "columns").resolve()
    file = (root / f"{name}.npy").resolve()
    if not file.is_relative_to(root):
        raise FormatError(f"{path}: column {name!r} lies outside the dataset's folder")
    try:
        expected, shape = np.dtype(stored["dtype"]), tuple(stored["shape"])
        array = np.load(file, mmap_mode="r" if np.prod(shape) else None, allow_pickle=False)
    except FileNotFoundError:
        raise DatasetIntegrityError(f"{path}: column {name} is missing ({file.name})") from None
    except (OSError, ValueError, TypeError, KeyError, SyntaxError, EOFError, OverflowError) as error:
        raise DatasetIntegrityError(f"{path}: column {name} cannot be opened: {error}") from error
    if array.dtype != expected or array.shape != shape:
        raise DatasetIntegrityError(
            f"{path}: column {name} is {array.dtype}{list(array.shape)}, but {expected}{list(shape)} was written"
        )
    return np.asarray(array)


def _episode_column(series: Any) -> np.ndarray:
    values: np.ndarray = series.to_numpy()
    return values.astype(str) if values.dtype == object else values


def write(dataset: Dataset, path: Path, *, overwrite: bool = False) -> None:
    """Write the dataset as a folder, whole or not at all.

    Raises
    ------
    DatasetError
        If the folder exists and `overwrite` is False.
    """
    with atomic_folder(path, overwrite=overwrite) as folder:
        stored = {}
        for name in dataset.columns:
            array = dataset.column(name)
            file = folder / "columns" / f"{name}.npy"
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, array, allow_pickle=False)
            stored[name] = {"dtype": array.dtype.str, "shape": list(array.shape), "hash": dataset.column_hash(name)}
        dataset.episodes.write_parquet(folder / "episodes.parquet")
        metadata = {
            "schema": _SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "fingerprint": dataset.fingerprint,
            "total_steps": dataset.total_steps,
            "total_episodes": dataset.total_episodes,
            "columns": stored,
            "episode_columns": sorted(dataset.episode_columns),
            "info": dataset.info.to_plain(),
            "history": [record.to_plain() for record in dataset.history],
        }
        (folder / "metadata.json").write_text(json.dumps(metadata, indent=1))
