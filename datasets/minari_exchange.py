"""Exchange with live Minari objects, as `minari.load_dataset` returns them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError

if TYPE_CHECKING:
    import minari

__all__ = ["from_minari", "to_minari"]


def from_minari(minari_dataset: minari.MinariDataset) -> Dataset:
    """Read a live Minari dataset: its episodes, of a filtered one those that are left.

    Parameters
    ----------
    minari_dataset : minari.MinariDataset

    Returns
    -------
    Dataset
        Its history names the Minari dataset's folder, so that it can be replayed.

    Raises
    ------
    ConfigError
        If it is no Minari dataset.
    DatasetError
        If its files are damaged or gone; as `assay.load`.

    Examples
    --------
    >>> import os, tempfile
    >>> os.environ["MINARI_DATASETS_PATH"] = tempfile.mkdtemp()
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(5.0)[:, None], actions=np.zeros((3, 1)), rewards=[1.0, 1.0, 4.0],
    ...     terminations=[False, True, True], truncations=[False, False, False])
    >>> live = dataset.to_minari("own/example-v0")
    >>> live.total_episodes
    2
    >>> from_minari(live.filter_episodes(lambda episode: episode.rewards.sum() > 3)).rewards.tolist()
    [4.0]
    """
    from minari import MinariDataset

    from assay.datasets.loading import load

    if not isinstance(minari_dataset, MinariDataset):
        raise ConfigError(
            f"from_minari takes a MinariDataset, as minari.load_dataset returns it, not {type(minari_dataset).__name__}; "
            'a Minari id is read by assay.load("minari:<id>")'
        )
    dataset = load(Path(minari_dataset.storage.data_path), format="minari")
    chosen = np.asarray(minari_dataset.episode_indices, np.int64)
    if np.array_equal(chosen, np.arange(dataset.total_episodes)):
        return dataset
    return dataset.select(chosen)


def to_minari(
    dataset: Dataset,
    dataset_id: str,
    *,
    path: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    **options: Any,
) -> minari.MinariDataset:
    """Write a dataset into Minari's folder of datasets, and open it with Minari.

    Parameters
    ----------
    dataset : Dataset
    dataset_id : str
        Such as `"own/hopper-v0"`.
    path : path, optional
        Another folder for it; `minari.load_dataset` does not find it there by its id.
    overwrite : bool
        Replace the dataset of this id.
    **options
        What `assay.save` takes for the format `"minari"`, such as `data_format="arrow"`.

    Raises
    ------
    DatasetError
        If there is a dataset of this id, or Minari cannot hold this one; as `assay.save`.
    """
    from minari import MinariDataset

    from assay.datasets.loading import save
    from assay.datasets.remote import minari_root

    if not isinstance(dataset_id, str) or not dataset_id:
        raise ConfigError(f"dataset_id must be a name such as 'own/hopper-v0', not {dataset_id!r}")
    folder = minari_root() / dataset_id if path is None else Path(path)
    save(dataset, folder, format="minari", overwrite=overwrite, dataset_id=dataset_id, **options)
    return MinariDataset(folder / "data")
