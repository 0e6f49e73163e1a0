"""Plain HDF5: arrays under names of the user's own, with a mapping that says what they are.

The words of the mapping are those of `assay.datasets.tables.column_mapping`. Names in the file are paths, such as
`trajectories/state`; groups bring what is below them. A star in a name, `take_*/state`, stands for the episode: see
`episode_groups`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from assay.datasets.dataset import Dataset
from assay.datasets.formats.containers.hdf5 import Hdf5File, is_hdf5, members, open_hdf5
from assay.datasets.formats.episode_groups import LENGTHS, episode_arrays, episode_pattern, starred
from assay.datasets.formats.mapping import Arrays, Given, dataset_from_mapping
from assay.datasets.info import DatasetInfo
from assay.datasets.tables.column_mapping import as_mapping
from assay.datasets.tables.proposal import Field
from assay.datasets.tables.proposal import propose as propose_mapping

__all__ = ["propose", "read", "sniff", "sniff_mapped"]

TITLE = "plain HDF5"
LAYOUT = "file .hdf5"
ORDER = 90
CANNOT_HOLD = ""


def sniff(path: Path) -> bool:
    """Tell whether `path` is an HDF5 file with the dataset's own names at its top, and flags among them."""
    found = members(path)
    return (
        "terminals" not in found
        and found >= {"observations", "actions", "rewards"}
        and bool(found & {"terminations", "truncations"})
    )


def read(
    path: Path,
    *,
    columns: Given = None,
    episode_lengths: str | int | None = None,
    episode_ends: str | None = None,
    episode_starts: str | None = None,
) -> Dataset:
    """Read an HDF5 file of arrays.

    Parameters
    ----------
    path : Path
    columns : mapping, or path of a YAML file, optional
        Name of a dataset's column (observations, actions, rewards, terminations, truncations, next_observations, costs,
        weights, infos/<name>) -> path or paths in the file, and what else `assay.datasets.tables.column_mapping` says.
        Columns that are not given are taken where the file uses these names.
    episode_lengths, episode_ends, episode_starts : str, optional
        Path in the file of the array that says where episodes are; at most one. Without, they end at the flags.

    Returns
    -------
    Dataset

    Warns
    -----
    AssayWarning
        About arrays that are not taken, and flags that are nowhere, which are then all False.

    Raises
    ------
    ConfigError
        If the options name what is not there; with what the file holds.
    FormatError, DatasetError
        If the file is damaged, a column is missing, or arrays do not fit together.

    Examples
    --------
    >>> import h5py, numpy as np, tempfile
    >>> path = Path(tempfile.mkdtemp(), "example.hdf5")
    >>> with h5py.File(path, "w") as file:
    ...     file["state"], file["act"] = np.arange(5.0), np.zeros(3)
    ...     file["rew"], file["end"], file["cut"] = np.ones(3), [0, 1, 0], [0, 0, 1]
    >>> names = {"observations": "state", "actions": "act", "rewards": "rew", "terminations": "end"}
    >>> read(path, columns=names | {"truncations": "cut"}).next_observations.tolist()
    [1.0, 2.0, 4.0]
    """
    mapping = as_mapping(columns, path).merged(
        path, episode_lengths=episode_lengths, episode_ends=episode_ends, episode_starts=episode_starts
    )
    with open_hdf5(path) as file:
        patterns = [name for name in mapping.names if "*" in name]
        if patterns:
            arrays, unread = episode_arrays(file, patterns)
            if not mapping.tells_episodes:
                mapping = mapping.merged(path, episode_lengths=LENGTHS)
        else:
            arrays = _arrays(file, mapping.names)
            unread = [name for name in file.datasets if name not in arrays]
        return dataset_from_mapping(
            arrays,
            where=path,
            unread=starred(unread) if patterns else unread,
            columns=mapping,
            info=DatasetInfo(source=f"HDF5 file {path.name}"),
        )


def _arrays(file: Hdf5File, wanted: Sequence[str]) -> Arrays:
    return Arrays([name for name in file.datasets if file.is_numeric(name) or name in wanted], file.read)


def sniff_mapped(path: Path) -> bool:
    """Tell whether `path` can be read where a mapping is given: whether it is an HDF5 file."""
    return is_hdf5(path)


def propose(path: Path) -> str:
    """Return a mapping for `path`, as YAML to be edited; see `assay.datasets.tables.proposal`."""
    with open_hdf5(path) as file:
        patterns = episode_pattern(file)
        arrays = episode_arrays(file, patterns)[0] if patterns else _arrays(file, ())
        fields = [Field(name, arrays[name]) for name in arrays if name != LENGTHS or not patterns]
        fields = [item for item in fields if item.values.ndim]
        rows = len(fields[0].values) if fields else 0
        borders = "what the star stands for is one" if patterns else ""
        return propose_mapping(fields, where=path, rows=rows, borders=borders)
