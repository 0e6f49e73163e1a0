"""What was asked for when a dataset was collected, as the dataset records it, and whether a folder holds just that.

A dataset of the catalog has it in its history, one of an own policy in its info::

    history[0].parameters    name, options (steps, seed, noise where it is not the catalog's)
    info.extra["collected"]  policy (SHA-256 of its file), steps, seed, noise, sampled
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.datasets.errors import ConfigError, DatasetIntegrityError, FormatError
from assay.datasets.info import SOURCE
from assay.datasets.registry import check_count, check_seed

if TYPE_CHECKING:
    from assay.datasets.dataset import Dataset

__all__ = ["COLLECTED", "catalog_collection", "check_collected", "checked_noise", "policy_collection"]

COLLECTED = "collected"


def checked_noise(noise: Any) -> float:
    """Return an action noise as float; raise ConfigError if it is not a number of 0 or more."""
    if isinstance(noise, bool) or not isinstance(noise, int | float | np.number) or not 0 <= noise < np.inf:
        raise ConfigError(f"noise={noise!r}: expected a number, 0 or more")
    return float(noise)


def catalog_collection(name: str, *, steps: int, seed: int, noise: float | None) -> dict[str, Any]:
    """Return what decides a dataset of the catalog; raise where there is no such name, or a value is impossible."""
    from assay.datasets.collection.catalog import find

    own = find(name).noise if noise is None else checked_noise(noise)
    noises = own if isinstance(own, tuple) else (own,)
    return {
        "name": name,
        "steps": check_count("steps", steps),
        "seed": check_seed(seed),
        "noise": ", ".join(f"{each:g}" for each in noises),
    }


def policy_collection(
    path: Path, *, steps: int, seed: int, noise: float | None, sampled: bool | None
) -> dict[str, Any]:
    """Return what decides a dataset of a policy file; raise where a value is impossible."""
    return {
        "policy": hashlib.sha256(path.read_bytes()).hexdigest(),
        "steps": check_count("steps", steps),
        "seed": check_seed(seed),
        "noise": checked_noise(noise or 0.0),
        "sampled": sampled,
    }


def check_collected(path: Path, asked: dict[str, Any]) -> None:
    """Raise where what lies at a path is not the dataset that was asked for.

    Parameters
    ----------
    path : Path
        Something that exists.
    asked : dict
        What `catalog_collection` or `policy_collection` returned.

    Raises
    ------
    ConfigError
        If something else lies there; with what it is.
    DatasetIntegrityError, FormatError
        If it is damaged, or another version of Assay wrote it.
    """
    from assay.datasets.formats import format_named

    advice = "choose another path, or pass --overwrite to put the new dataset in its place"
    if not path.is_dir():
        raise ConfigError(f"{path} exists already and is a file, and a dataset is a folder: choose another path")
    if not format_named("assay").sniff(path):
        what = "holds something else than a dataset of Assay's" if any(path.iterdir()) else "is an empty folder"
        raise ConfigError(f"{path} exists already and {what}; {advice}")
    try:
        dataset = format_named("assay").read(path)
    except (DatasetIntegrityError, FormatError) as error:
        raise type(error)(f"{error}. --overwrite collects it anew") from error
    there = _collection_of(dataset)
    if there is None:
        raise ConfigError(
            f"{path} exists already and holds a dataset ({dataset.name or 'without a name'}, {dataset.total_steps:,} steps) that is not "
            f"what a collection leaves there; {advice}"
        )
    other = [f"{key} {there.get(key)} instead of {value}" for key, value in asked.items() if there.get(key) != value]
    if other:
        raise ConfigError(f"{path} exists already and holds another dataset: {'; '.join(other)}; {advice}")


def _collection_of(dataset: Dataset) -> dict[str, Any] | None:
    """Return what a dataset says of how it was collected; None where it does not, or was changed since."""
    from assay.datasets.collection.catalog import is_collectable

    if not dataset.history:
        return dataset.info.extra.get(COLLECTED)
    record, *changes = dataset.history
    name, options = str(record.parameters.get("name")), record.parameters.get("options", {})
    if changes or record.transform != SOURCE or not {"steps", "seed"} <= options.keys() or not is_collectable(name):
        return None
    return catalog_collection(name, steps=options["steps"], seed=options["seed"], noise=options.get("noise"))
