"""Jobs as JSON, for other processes of this machine: their datasets lie in files that every process maps into its memory.

::

    FOLDER/0, 1, ...      a dataset each, in Assay's own format; columns of the same content are one file on disk
    job                   {"algorithm": {"module", "name", "parameters"}, "dataset": FOLDER/0, "seed", "variant", ...}
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assay.baselines.algorithms.algorithm import Algorithm
from assay.baselines.algorithms.registry import algorithm_named
from assay.baselines.runs.job import Job
from assay.datasets.dataset import Dataset
from assay.datasets.errors import AssayError, ConfigError
from assay.datasets.formats import format_named
from assay.datasets.registry import defined_in_import

__all__ = ["DatasetShelf", "can_be_sent", "job_from_plain", "job_to_plain"]


def can_be_sent(algorithm: Algorithm) -> bool:
    """Whether another process finds the algorithm's class: by an import, not only in a script or notebook at work.

    Examples
    --------
    >>> from assay.baselines import BC
    >>> can_be_sent(BC())
    True
    """
    return type(algorithm).__module__ != "__main__"


class DatasetShelf:
    """Puts datasets where other processes map them, each once.

    Parameters
    ----------
    folder : Path
        Exists, and is removed by whoever made it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._places: dict[int, tuple[Dataset, Path]] = {}  # the datasets are kept, so that no identity is used twice
        self._columns: dict[tuple[str, str, tuple[int, ...]], Path] = {}

    def put(self, dataset: Dataset) -> Path:
        """Return the folder of a dataset.

        Raises
        ------
        ConfigError
            If the disk is full, or the folder cannot be written.
        """
        if id(dataset) not in self._places:
            place = self.folder / str(len(self._places))
            try:
                format_named("assay").write(dataset, place)  # type: ignore[attr-defined]
                self._share_columns(dataset, place)
            except OSError as error:
                raise ConfigError(
                    f"{self.folder} does not take the datasets of several training processes ({error}): set "
                    "ASSAY_SCRATCH to a folder with more room, or train with processes=1"
                ) from error
            self._places[id(dataset)] = (dataset, place)
        return self._places[id(dataset)][1]

    def _share_columns(self, dataset: Dataset, place: Path) -> None:
        """Make columns that a dataset has in common with earlier ones one file, which memory then holds once."""
        for name in dataset.columns:
            column, file = dataset.column(name), place / "columns" / f"{name}.npy"
            key = (dataset.column_hash(name), column.dtype.str, column.shape)
            first = self._columns.setdefault(key, file)
            if first != file:
                file.unlink()
                os.link(first, file)


def job_to_plain(job: Job, shelf: DatasetShelf) -> dict[str, Any]:
    """Return a job as JSON values.

    Raises
    ------
    ConfigError
        If another process cannot find its algorithm.
    """
    algorithm = job.algorithm
    if not can_be_sent(algorithm):
        raise ConfigError(
            f"{algorithm.label} is defined in a script or notebook, where other processes do not find it: move its class to "
            "a file that is imported, or train with processes=1"
        )
    module = None if defined_in_import(type(algorithm)) else type(algorithm).__module__
    return {
        "algorithm": {"module": module, "name": algorithm.name, "parameters": algorithm.parameters()},
        "dataset": os.fspath(shelf.put(job.dataset)),
        "seed": job.seed,
        "variant": job.variant,
        "name": job.name,
        "behaviour_return": job.behaviour_return,
        "by_variant": list(job.by_variant),
    }


def job_from_plain(plain: Mapping[str, Any], datasets: dict[str, Dataset]) -> Job:
    """Make a job of what `job_to_plain` returned.

    Parameters
    ----------
    plain : mapping
    datasets : dict
        By folder, those that are open; a new one is added.

    Raises
    ------
    AssayError
        If its algorithm or its dataset is not found.
    """
    algorithm, place = plain["algorithm"], plain["dataset"]
    if algorithm["module"] is not None:
        try:
            importlib.import_module(algorithm["module"])
        except ImportError as error:
            raise AssayError(
                f"a training process cannot import {algorithm['module']} ({error}); train with processes=1"
            ) from error
    if place not in datasets:
        datasets[place] = format_named("assay").read(Path(place), verify=False)
    return Job(
        algorithm_named(algorithm["name"], algorithm["parameters"]),
        datasets[place],
        plain["seed"],
        plain["variant"],
        plain["name"],
        plain["behaviour_return"],
        tuple(plain["by_variant"]),
    )
