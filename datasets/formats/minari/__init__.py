"""Minari's datasets, read and written without Minari or Gymnasium.

::

    <id>/data/metadata.json             totals, spaces, env_spec, authors, reference scores, ...
    <id>/data/main_data.hdf5            data_format "hdf5": see `hdf5_reader`
    <id>/data/<episode>/part-0.arrow    "arrow" or "parquet": see `arrow_reader`
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from assay.datasets.atomic import atomic_folder
from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, FormatError
from assay.datasets.formats.containers.hdf5_guards import damage_is_a_format_error
from assay.datasets.formats.losses import require_held
from assay.datasets.formats.minari.assembly import assemble
from assay.datasets.formats.minari.columns import check_final_observations, space_for, writable_columns
from assay.datasets.formats.minari.hdf5_reader import MAIN, HDF5Reader
from assay.datasets.formats.minari.identifiers import identifier_for, mark_namespaces
from assay.datasets.formats.minari.metadata import DATA_FORMATS, METADATA, metadata_of, read_metadata, space_of
from assay.datasets.progress import Progress

__all__ = ["read", "sniff", "write"]

TITLE = "Minari"
LAYOUT = "folder"
ORDER = 20
CANNOT_HOLD = (
    "datasets without actions or rewards (an error), "
    "labels that are missing in part (missing/..., dropped by name only), "
    "unknown final observations (an error), next_observations that differ, weights, costs, corrupted/... and other "
    "columns that methods may learn from (dropped by name only)"
)

MARKS = (f"data/{METADATA}", f"data/{MAIN}")


def sniff(path: Path) -> bool:
    """Tell whether `path` is a Minari dataset: its folder, its `data` folder, or the HDF5 file in that."""
    try:
        folder = _data_folder(path)
        if folder is None:
            return False
        if (folder / MAIN).is_file():
            return True
        return "data_format" in json.loads((folder / METADATA).read_bytes())
    except (OSError, ValueError, TypeError, RecursionError):
        return False


def _data_folder(path: Path) -> Path | None:
    if path.name == MAIN and path.is_file():
        return path.parent
    for folder in (path / "data", path):
        if (folder / METADATA).is_file() or (folder / MAIN).is_file():
            return folder
    return None


def read(path: Path, *, infos: bool = True, repeat_missing_final: bool = False) -> Dataset:
    """Read a Minari dataset, in HDF5, Arrow or Parquet.

    Parameters
    ----------
    path : Path
        The dataset's folder (`.../hopper/medium-v0`), the `data` folder in it, or its `main_data.hdf5`.
    infos : bool
        Whether to read the `infos/...` columns; they have N+E rows where each episode stores T+1, or N where it
        stores T.
    repeat_missing_final : bool
        Accept episodes in HDF5 that store T observations in place of T+1: their last one is repeated, and the episode
        column `final_observation` is False for them, so that no transition is made of it.

    Returns
    -------
    Dataset
        Arrays keep their dtypes; text is of NumPy's fixed length, JPEG images are decoded to uint8. Episode columns:
        `seed` where Minari has seeds (-1, or empty text where seeds exceed int64, for an episode without one),
        `options` as JSON text, and the numbers and texts that a metadata callback stored with every episode. Entries
        of metadata.json that have no field in `DatasetInfo` are in `info.extra`.

    Raises
    ------
    FormatError
        If a file is damaged, or holds what no Minari writes; with the place.
    DatasetError
        If the content is impossible, such as T observations for T steps; with file, episode and column.

    Warns
    -----
    AssayWarning
        About attributes that do not fit a table, and about episodes whose rows Minari may have stored in another
        order (Arrow and Parquet, more than 131,072 rows).

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(5.0), actions=np.zeros(3), rewards=[1.0, 1.0, 4.0],
    ...     terminations=[False, True, True], truncations=[False, False, False])
    >>> folder = Path(tempfile.mkdtemp(), "example-v0")
    >>> write(dataset, folder)
    >>> read(folder).observations.tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0]
    """
    folder = _data_folder(path)
    if folder is None:
        raise FormatError(f"{path} holds no Minari dataset: data/{METADATA} and data/{MAIN} are missing")
    metadata = read_metadata(folder / METADATA)
    spaces = {key: space_of(metadata, f"{key[:-1]}_space", folder / METADATA) for key in ("observations", "actions")}
    if metadata.get("data_format", "hdf5") != "hdf5":
        from assay.datasets.formats.minari.arrow_reader import ArrowReader

        arrow = ArrowReader(folder, metadata, spaces, infos)
        with damage_is_a_format_error(arrow.place):
            return assemble(arrow.run(), metadata, spaces, folder)
    file = folder / MAIN
    if not file.is_file():
        raise FormatError(f"{file} is missing; copy the dataset again")
    hdf5 = HDF5Reader(file, metadata, spaces, infos, repeat_missing_final)
    with damage_is_a_format_error(hdf5.place):
        return assemble(hdf5.run(), metadata, spaces, folder)


def write(
    dataset: Dataset,
    path: Path,
    *,
    overwrite: bool = False,
    dataset_id: str | None = None,
    data_format: str = "hdf5",
    progress: Progress | None = None,
) -> None:
    """Write a dataset as Minari has it, whole or not at all; `minari.load_dataset` opens it.

    Parameters
    ----------
    dataset : Dataset
        Its `info` becomes metadata.json, its episode columns become attributes of the episodes.
    path : Path
        The dataset's folder. For `minari.load_dataset(id)` to find it, it is `<MINARI_DATASETS_PATH>/<id>`.
    overwrite : bool
    dataset_id : str, optional
        Such as `"hopper/medium-v0"`. Default: the path below Minari's folder of datasets, else its last two parts.
    data_format : str
        `"hdf5"`, `"arrow"` or `"parquet"`. Images are stored as they are, never as JPEG, which would change them.
    progress : callable, optional
        Called with (episodes written, episodes in all).

    Warns
    -----
    AssayWarning
        Once, with the names of the `infos/...` that the format cannot hold and that are therefore left out.

    Raises
    ------
    DatasetError
        If the id is not one that Minari takes, a final observation is unknown (Minari stores T+1), a column that changes
        what is learned cannot be held (`next_observations`, `weights`, `costs`, `corrupted/...`), or the folder exists and
        `overwrite` is False.
    """
    if data_format not in DATA_FORMATS:
        raise ConfigError(f"data_format is {data_format!r}; Minari knows {', '.join(DATA_FORMATS)}")
    path = Path(os.path.abspath(path))
    identifier = identifier_for(path, dataset_id)
    require_held(dataset, "Minari")
    check_final_observations(dataset)
    spaces = {
        "observations": space_for(dataset, "observations", dataset.info.observation_space, data_format),
        "actions": space_for(dataset, "actions", dataset.info.action_space, data_format),
    }
    stored = writable_columns(dataset, data_format)
    with atomic_folder(path, overwrite=overwrite) as folder:
        data = folder / "data"
        data.mkdir()
        texts = [name for name in stored if dataset.column(name).dtype.kind == "U"]
        block: dict[str, Any] = {"text_widths": {name: dataset.column(name).dtype.itemsize // 4 for name in texts}}
        if data_format == "hdf5":
            from assay.datasets.formats.minari.hdf5_writer import write_episodes

            write_episodes(dataset, stored, data / MAIN, progress)
        else:
            from assay.datasets.formats.minari.arrow_writer import write_episode_files

            block |= write_episode_files(dataset, stored, spaces, data, data_format, progress)
        metadata = metadata_of(dataset, identifier, spaces, data_format, block)
        size = sum(file.stat().st_size for file in data.rglob("*") if file.is_file())
        metadata["dataset_size"] = round((size + len(json.dumps(metadata))) / 1e6, 1)
        (data / METADATA).write_text(json.dumps(metadata))
    mark_namespaces(path)
