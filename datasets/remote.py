"""Datasets on other machines: what `d4rl:<id>` and `minari:<id>` name, where their files lie here, and fetching them.

Nothing is fetched unless it is asked for: `assay datasets download NAME`, or `download_dataset`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from assay.datasets.d4rl_table import D4RLEntry, d4rl_table
from assay.datasets.download import check_download, download
from assay.datasets.errors import DatasetError, DownloadError, UnknownNameError

__all__ = [
    "d4rl_entry",
    "d4rl_file",
    "download_dataset",
    "local_d4rl_ids",
    "local_minari_ids",
    "minari_folder",
    "minari_root",
]

Progress = Callable[[int, int], None]


def downloads_folder() -> Path:
    """Return the folder of downloaded files, `downloads` under `assay.datasets.loading.home()`."""
    from assay.datasets.loading import home

    return home() / "downloads"


# -------------------------------------------------------------------- D4RL


def d4rl_entry(identifier: str) -> D4RLEntry:
    """Return the entry of D4RL's table for an id; raises UnknownNameError with the nearest ones."""
    entry = d4rl_table().get(identifier)
    if entry is None:
        nearest = [f"d4rl:{name}" for name in d4rl_table()]
        form = "names are such as d4rl:hopper-medium-v2"
        raise UnknownNameError("dataset of D4RL", f"d4rl:{identifier}", nearest, elsewhere=form)
    return entry


def d4rl_target(identifier: str) -> Path:
    """Return where the file of a D4RL dataset is, or will be."""
    return downloads_folder() / "d4rl" / f"{d4rl_entry(identifier).id}.hdf5"


def d4rl_file(identifier: str, *, verify: bool = True) -> Path:
    """Return the downloaded file of a D4RL dataset.

    Parameters
    ----------
    identifier : str
        Such as `"hopper-medium-v2"`.
    verify : bool
        Compare the file with the hash of its download.

    Raises
    ------
    UnknownNameError
        If D4RL has no such dataset; with the nearest ids.
    DatasetError
        If it is not on this machine; loading never downloads.
    DatasetIntegrityError
        If the file is not what was downloaded.
    """
    target = d4rl_target(identifier)
    if not target.exists():
        raise DatasetError(
            f"d4rl:{identifier} is not on this machine; fetch it: assay datasets download d4rl:{identifier}"
        )
    if verify:
        check_download(target)
    return target


def local_d4rl_ids() -> list[str]:
    """Return the names of the D4RL datasets on this machine, as `load` takes them."""
    return sorted(f"d4rl:{name}" for name in d4rl_table() if (downloads_folder() / "d4rl" / f"{name}.hdf5").exists())


# -------------------------------------------------------------------- Minari


def minari_root() -> Path:
    """Return Minari's folder of datasets: the environment variable MINARI_DATASETS_PATH, or `~/.minari/datasets`."""
    root = os.environ.get("MINARI_DATASETS_PATH") or Path.home() / ".minari" / "datasets"
    return Path(os.path.abspath(root))


def local_minari_ids() -> list[str]:
    """Return the ids of the Minari datasets on this machine, as `load` takes them."""
    root = minari_root()
    return sorted(f"minari:{file.parent.parent.relative_to(root)}" for file in root.glob("**/data/metadata.json"))


def minari_folder(identifier: str) -> Path:
    """Return the folder of a local Minari dataset.

    Raises
    ------
    DatasetError
        If this is no Minari id.
    UnknownNameError
        If it is not on this machine; with the nearest ids and how to fetch it.
    """
    root = minari_root()
    path = (root / identifier).resolve()
    if not path.is_relative_to(root.resolve()):
        raise DatasetError(f"minari:{identifier} is not a Minari id")
    if not (path / "data").is_dir():
        hint = f"(under {root}; `assay datasets download minari:{identifier}` fetches it)"
        raise UnknownNameError("local Minari dataset", f"minari:{identifier}", local_minari_ids(), hint)
    return path


def _download_minari(identifier: str) -> Path:
    if not re.fullmatch(r"[-_\w]+(/[-_\w]+)*-v\d+", identifier):
        raise DatasetError(f"minari:{identifier} is not a Minari id: (namespace/)name-v(number)")
    import minari

    try:
        minari.download_dataset(identifier)
    except Exception as error:  # whatever its remotes and their libraries raise
        raise DownloadError(f"minari:{identifier}: {' '.join(str(error).split()) or type(error).__name__}") from error
    return minari_folder(identifier)


def download_dataset(name: str, progress: Progress | None = None) -> Path:
    """Fetch a dataset by name; nothing is done when it is here already, except that its hash is checked.

    Parameters
    ----------
    name : str
        `"d4rl:<id>"` (resumable, from D4RL's public address), or `"minari:<id>"` (by Minari itself, which shows its own
        progress; needs the extra `minari`).
    progress : callable, optional
        Called with (bytes done, bytes in all, or 0 where that is unknown).

    Returns
    -------
    Path
        The file or folder; `assay.load(name)` reads it.

    Raises
    ------
    UnknownNameError
        If there is no such scheme or dataset.
    DownloadError
        If it cannot be fetched.
    DatasetIntegrityError
        If the file is another one than at the first download.
    """
    scheme, _, identifier = name.partition(":")
    if scheme == "d4rl" and identifier:
        return download(d4rl_entry(identifier).url, d4rl_target(identifier), progress=progress)
    if scheme == "minari" and identifier:
        return _download_minari(identifier)
    raise UnknownNameError("source of downloads", name, ["d4rl:<id>", "minari:<id>"])
