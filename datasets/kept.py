"""Results of transforms that take minutes, kept on disk and found again.

A result lies in Assay's own format under `home()/variants`, in a folder that is named after the transform and a hash of
all that it depends on: the info and the history of the dataset before, its fingerprint, and the transform's record. It is
written whole or not at all, and read with its hashes checked. Nothing else refers to these folders: any may be deleted.
"""

from __future__ import annotations

import json
from pathlib import Path

from assay.datasets.dataset import Dataset
from assay.datasets.errors import DatasetError, DatasetIntegrityError
from assay.datasets.formats import writer_named
from assay.datasets.transform import Progress, Transform

__all__ = ["apply_or_find", "kept_path"]


def kept_path(transform: Transform, dataset: Dataset) -> Path:
    """Return the folder where the result of a transform on a dataset is, or will be, kept."""
    import xxhash

    from assay.datasets.loading import home

    history = [record.to_plain() for record in (*dataset.history, transform.record_on(dataset))]
    described = json.dumps([dataset.info.to_plain(), history], sort_keys=True)
    return home() / "variants" / f"{transform.name}-{xxhash.xxh3_128_hexdigest(described.encode())}"


def apply_or_find(transform: Transform, dataset: Dataset, progress: Progress | None = None) -> Dataset:
    """Apply a transform; what a costly one gave is kept, and read where it was applied to the same before.

    Parameters
    ----------
    transform : Transform
    dataset : Dataset
    progress : callable, optional
        Called with (done, total) by transforms that take minutes.

    Raises
    ------
    DatasetIntegrityError
        If what was kept is damaged; with its folder, which may be deleted.
    """
    if not transform.costly:
        return transform(dataset, progress=progress)
    folder, store = kept_path(transform, dataset), writer_named("assay")
    if not folder.exists():
        try:
            store.write(transform(dataset, progress=progress), folder)
        except DatasetError:
            if not folder.exists():  # else somebody made the same at the same time
                raise
    try:
        return store.read(folder)
    except DatasetIntegrityError as error:
        raise DatasetIntegrityError(f"{error}. It can be made again: delete {folder}") from error
