"""Results of transforms that take minutes, cached on disk.

A result is stored in Assay's own format under `home()/variants`. The name of its folder is the transform's name and a hash
of all that the result depends on: the info, history and fingerprint of the dataset before, and the transform's record. It
is written whole or not at all, and its hashes are checked when it is read. Any of these folders may be deleted.
"""

from __future__ import annotations

import json
from pathlib import Path

from assay.datasets.dataset import Dataset
from assay.datasets.errors import DatasetError, DatasetIntegrityError
from assay.datasets.formats import writer_named
from assay.datasets.progress import Auto, Progress
from assay.datasets.renamed import former_names
from assay.datasets.transform import Transform

__all__ = ["apply_or_find", "cache_path"]


def cache_path(transform: Transform, dataset: Dataset) -> Path:
    """Return the folder where the result of a transform on a dataset is, or will be, cached."""
    import xxhash

    from assay.datasets.loading import home

    history = [record.to_plain() for record in (*dataset.history, transform.record_on(dataset))]
    described = json.dumps([dataset.info.to_plain(), history], sort_keys=True)
    return home() / "variants" / f"{transform.name}-{xxhash.xxh3_128_hexdigest(described.encode())}"


def apply_or_find(transform: Transform, dataset: Dataset, progress: Progress | Auto | None = "auto") -> Dataset:
    """Apply a transform; the result of a costly one is cached, and read from there the next time.

    Parameters
    ----------
    transform : Transform
    dataset : Dataset
    progress : callable, optional
        Called with (done, total) by transforms that take minutes; default as in `Transform.__call__`.

    Raises
    ------
    DatasetIntegrityError
        If the cached result is damaged; with its folder, which may be deleted.
    """
    if not transform.costly:
        return transform(dataset, progress=progress)
    folder, store = cache_path(transform, dataset), writer_named("assay")
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


__getattr__ = former_names(__name__, {"kept_path": cache_path})
