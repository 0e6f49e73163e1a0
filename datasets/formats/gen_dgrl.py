"""gen_dgrl: Procgen episodes, one .npz file each in a folder (Mediratta et al. 2024, arXiv 2312.05742).

::

    20230329T190805_17_243_56_10.00.npz     when it was written, which one, steps, seed of the level, return
        observations    (T+1, 3, 64, 64)
        actions         (T, 1)
        rewards         (T, 1)
        dones           (T,)

Procgen resets a level in the same step that ends it, so observation T is the first one of the next level: the final
observation of these episodes was never recorded, whether a file has T or T+1 of them. That row is left out, and no
transition is made of an episode's last step unless asked for. `done` is a termination, and where `horizon` says so a
truncation: Procgen does not tell them apart.
"""

from __future__ import annotations

import itertools
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.errors import AssayWarning, ConfigError, DatasetError, FormatError
from assay.datasets.formats.containers.npz import MOST_DENSE, npz_names, open_npz
from assay.datasets.formats.rows import flags, flat, naming
from assay.datasets.info import DatasetInfo
from assay.datasets.memory import empty

__all__ = ["read", "sniff"]

TITLE = "gen_dgrl episodes"
LAYOUT = "folder of .npz files"
ORDER = 40
CANNOT_HOLD = "final observations, whether a termination was a time limit, other columns"

NEEDED = {"observations", "actions", "rewards", "dones"}
_LOOKED_AT = 8  # files, to recognize a folder by
_NAME = re.compile(r"(\d{1,8}T\d{1,6})_(\d{1,18})_(\d{1,12})_(-?\d{1,18})_(-?\d{1,12}(?:\.\d{1,9})?)\.npz", re.ASCII)


def sniff(path: Path) -> bool:
    """Tell whether `path` is a folder of such episodes; one of the first few has to be whole."""
    try:
        if not path.is_dir():
            return False
        named = (file for file in path.iterdir() if _NAME.fullmatch(file.name))
        return any(npz_names(file) >= NEEDED for file in itertools.islice(named, _LOOKED_AT))
    except OSError:
        return False


@dataclass(frozen=True)
class _EpisodeFile:
    path: Path
    timestamp: str
    index: int
    length: int
    seed: int
    total: float


def read(path: Path, *, horizon: int | None = None, zero_final: bool = False) -> Dataset:
    """Read a folder of Procgen episodes, in the order in which they were played.

    Parameters
    ----------
    path : Path
    horizon : int, optional
        Steps after which the environment stops by itself: an episode done at that step counts as truncated.
    zero_final : bool
        Do as gen_dgrl's own loader: put zeros where a final observation belongs and use the last step of every episode,
        which is the one that most levels reward. For values that is harmless, since nothing is expected after a
        termination; a model of the dynamics would learn that levels end in black.

    Returns
    -------
    Dataset
        Episode columns: `seed` of the level (-1 where it was unknown), `timestamp` and `index`.

    Warns
    -----
    AssayWarning
        About other files in the folder.

    Raises
    ------
    FormatError
        If a file is damaged or an array is missing; with both.
    DatasetError
        If a file's content is not what its name says, or differs in shape or dtype from the first file's.
    ConfigError
        If `horizon` is less than 1.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> episode = {"observations": np.zeros((3, 3, 64, 64), np.uint8), "actions": np.zeros((2, 1), np.int64),
    ...     "rewards": np.array([[0.0], [10.0]], np.float32), "dones": np.array([False, True])}
    >>> np.savez(folder / "20230329T190805_0_2_56_10.00.npz", **episode)
    >>> dataset = read(folder)
    >>> dataset.episode_columns["seed"].tolist(), dataset.terminations.tolist()
    ([56], [False, True])
    """
    if horizon is not None and horizon < 1:
        raise ConfigError(f"horizon is {horizon}; at least 1 step belongs there")
    files = _list(path)
    lengths = np.array([file.length for file in files], np.int64)
    columns = _set_up(files, int(lengths.sum()))
    left: set[str] = set()
    start = 0
    for number, file in enumerate(files):
        left |= _read_episode(file, columns, start, number, zero_final)
        start += file.length
    lasts = np.cumsum(lengths) - 1
    terminations = columns["terminations"]
    truncations = np.zeros(len(terminations), bool)
    if horizon is not None:
        truncations[lasts] = terminations[lasts] & (lengths >= horizon)
        terminations[lasts] &= ~truncations[lasts]
    extra = {"not_read": sorted(left)} if left else {}
    return Dataset(
        {**columns, "truncations": truncations},
        lengths,
        info=DatasetInfo(id=path.name, source=f"{TITLE} in {path.name}", extra=extra),
        episode_columns={
            "seed": np.array([file.seed for file in files]),
            "timestamp": np.array([file.timestamp for file in files]),
            "index": np.array([file.index for file in files]),
            "final_observation": np.full(len(files), zero_final),
        },
    )


def _list(path: Path) -> list[_EpisodeFile]:
    files, others = [], []
    for file in path.iterdir() if path.is_dir() else ():
        match = _NAME.fullmatch(file.name)
        if match:
            timestamp, index, length, seed, total = match.groups()
            files.append(_EpisodeFile(file, timestamp, int(index), int(length), int(seed), float(total)))
        elif not file.name.startswith("."):
            others.append(file.name)
    if not files:
        raise FormatError(f"{path} holds no files named timestamp_index_length_seed_return.npz")
    files.sort(key=lambda file: (file.timestamp, file.index))
    for before, after in itertools.pairwise(files):
        if (before.timestamp, before.index) == (after.timestamp, after.index):
            raise DatasetError(f"{path}: {before.path.name} and {after.path.name} are the same episode; remove one")
    if others:
        listed = ", ".join(sorted(others)[:5]) + (", ..." if len(others) > 5 else "")
        warnings.warn(
            f"{path} holds {len(others)} entries that are no episodes; they are not read: {listed}",
            AssayWarning,
            stacklevel=4,
        )
    return files


def _set_up(files: list[_EpisodeFile], steps: int) -> dict[str, np.ndarray]:
    """Set the columns aside, as the first file has them."""
    with open_npz(files[0].path) as file:
        described = {name: file.describe(name) for name in sorted(NEEDED)}
    (dtype, shape), (action_dtype, action_shape) = described["observations"], described["actions"]
    size = sum(file.path.stat().st_size for file in files)
    row = sum(dtype.itemsize * int(np.prod(shape[1:], dtype=object)) for dtype, shape in described.values())
    if steps * row > size * MOST_DENSE:
        raise FormatError(
            f"{files[0].path.parent}: the names promise {steps} steps of {row} bytes, but the files have {size} bytes"
        )
    return {
        "observations": empty((steps + len(files), *shape[1:]), dtype),
        "actions": empty((steps, *action_shape[1:]), action_dtype),
        "rewards": empty((steps,), described["rewards"][0]),
        "terminations": empty((steps,), bool),
    }


def _read_episode(
    file: _EpisodeFile, columns: dict[str, np.ndarray], start: int, number: int, zero_final: bool
) -> set[str]:
    """Read one file into its place; return the names of the arrays that are not of the format."""
    stop, first = start + file.length, start + number
    with open_npz(file.path) as archive, naming(file.path):
        rewards = flat(archive.read("rewards"), "array rewards")
        if len(rewards) != file.length:
            raise DatasetError(f"the name says {file.length} steps, but there are {len(rewards)} rewards")
        if not file.length:
            raise DatasetError("the episode has no steps; remove the file")
        total = float(rewards.sum(dtype=np.float64))
        if not abs(total - file.total) <= 0.0051 + 1e-4 * abs(total):  # the name has two digits; NaN is wrong, too
            raise DatasetError(f"the name says a return of {file.total:g}, but the rewards add up to {total:g}")
        observations = archive.read("observations")
        rows = len(observations) if observations.ndim else 0
        if rows not in (file.length, file.length + 1):
            raise DatasetError(
                f"array observations has {rows} rows; {file.length} or {file.length + 1} belong to {file.length} steps"
            )
        parts = {
            "observations": observations[: file.length],
            "actions": archive.read("actions"),
            "rewards": rewards,
            "terminations": flags(archive.read("dones"), "array dones"),
        }
        for name, part in parts.items():
            place = columns[name][first : first + file.length] if name == "observations" else columns[name][start:stop]
            if part.shape != place.shape or part.dtype != place.dtype:
                raise DatasetError(
                    f"array {'dones' if name == 'terminations' else name} is {part.dtype}{list(part.shape)}, but "
                    f"{place.dtype}{list(place.shape)} belongs there, as in the first file"
                )
            place[...] = part
        columns["observations"][first + file.length] = 0 if zero_final else observations[file.length - 1]
        return set(archive.names) - NEEDED
