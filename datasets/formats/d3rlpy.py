"""d3rlpy's HDF5 files: `ReplayBuffer.dump` of version 2, and `MDPDataset.dump` of version 1.

::

    version 2    columns               names of the columns below
                 num_episodes          E
                 version               "2.1"
                 observations_<i>      (T, ...) of episode i, or observations_<i>_<j> for entry j of a tuple
                 actions_<i>           (T, ...); (T, 1) integers for discrete actions
                 rewards_<i>           (T, 1)
                 terminated_<i>        whether the MDP ended with the last step; if not, something else stopped it
    version 1    observations, actions, rewards, terminals, episode_terminals    (N, ...); the latter at every end

Actions and rewards stand beside the observation that they follow. An episode of T steps has T observations, so the
final one is unknown: the zeros that d3rlpy makes up for it are not read, and no transition is made of the last step.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from assay.datasets.atomic import atomic_file
from assay.datasets.dataset import Dataset, is_under
from assay.datasets.errors import AssayWarning, DatasetError, FormatError
from assay.datasets.formats.containers.hdf5 import Hdf5File, members, open_hdf5, write_rows
from assay.datasets.formats.containers.hdf5_writing import create_hdf5
from assay.datasets.formats.flat_hdf5 import block_for, info_from, take_block, with_history
from assay.datasets.formats.losses import report_losses, require_held
from assay.datasets.formats.rows import dataset_from_rows, episode_lengths_from_flags, flags, in_machine_order
from assay.datasets.info import DatasetInfo, json_value

__all__ = ["read", "sniff", "write"]

TITLE = "d3rlpy"
LAYOUT = "file .h5"
ORDER = 60
CANNOT_HOLD = (
    "datasets without actions or rewards (an error), "
    "labels that are missing in part (missing/..., dropped by name only), "
    "observations in a Dict, or nested deeper than one tuple (an error), nested actions (an error), "
    "next_observations that differ, terminations before the last step, weights, costs, corrupted/... and other "
    "columns that methods may learn from (dropped by name only), infos, final observations, truncations beside a "
    "termination or before the last step, episodes without an end flag (which come back truncated), episode columns, "
    "foreign byte order"
)

NEEDED = {"columns", "num_episodes", "version"}  # of version 2
_VERSION = "2.1"
_KNOWN = ("observations", "actions", "rewards", "terminated")
_TUPLE = re.compile(r"observations/_index_(0|[1-9]\d*)")


# -------------------------------------------------------------------- reading


def sniff(path: Path) -> bool:
    """Tell whether `path` is an HDF5 file of d3rlpy, of version 1 or 2."""
    found = members(path)
    version_1 = {"observations", "actions", "rewards", "terminals"} <= found
    return found >= NEEDED or (version_1 and bool(found & {"episode_terminals", "discrete_action"}))


def read(path: Path) -> Dataset:
    """Read a d3rlpy file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Dataset
        No final observation is known. Rewards and discrete actions are flat. An episode of version 2 that is not
        terminated is truncated; in version 1 a truncation is an episode's end that is no terminal.

    Warns
    -----
    AssayWarning
        About what is not read.

    Raises
    ------
    FormatError, DatasetError
        If the file is damaged, or its arrays do not fit together; with file and array.

    Examples
    --------
    >>> import tempfile
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.array([0.0, 1.0, 1.0, 3.0, 3.0]), actions=np.zeros((3, 1)), rewards=[1.0, 1.0, 4.0],
    ...     terminations=[False, True, False], truncations=[False, False, True],
    ...     episode_columns={"final_observation": [False, False]})
    >>> path = Path(tempfile.mkdtemp(), "example.h5")
    >>> write(dataset, path)
    >>> read(path) == dataset
    True
    """
    with open_hdf5(path) as file:
        attributes = file.attributes()
        block = take_block(attributes, path)
        unread: list[str] = []
        if "num_episodes" in file.datasets:
            rows, lengths, extra = _version_2(file, unread)
        else:
            rows, lengths, extra = _version_1(file, unread)
        extra |= {name: json_value(value) for name, value in attributes.items() if value is not None}
        if block.get("flat_actions") and rows["actions"].shape[1:] == (1,):
            rows["actions"] = rows["actions"][:, 0]
        if unread:
            warnings.warn(f"{path}: these are not read: {', '.join(unread)}", AssayWarning, stacklevel=2)
        info = info_from(block, DatasetInfo(source=f"d3rlpy file {path.name}", extra=extra), path)
        try:
            return with_history(dataset_from_rows(rows, lengths=lengths, info=info), block, path)
        except DatasetError as error:
            raise DatasetError(f"{path}: {error}") from error


def _version_2(file: Hdf5File, unread: list[str]) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, Any]]:
    version, columns = file.text("version"), file.text("columns")
    if version == "2.0":
        raise FormatError(f"{file.path}: version 2.0, which d3rlpy itself gave up, is not read")
    if not isinstance(columns, list) or not set(_KNOWN) <= set(columns):
        raise FormatError(f"{file.where('columns')} is {columns!r}; {', '.join(_KNOWN)} belong there")
    episodes = _single(file, "num_episodes", "iu")
    if not 0 < episodes <= len(file.datasets):
        raise FormatError(f"{file.where('num_episodes')} says {episodes}, which the file does not hold")
    lengths = [_length(file, f"rewards_{episode}") for episode in range(episodes)]
    taken = {"version", "columns", "num_episodes"}

    def parts(pattern: str) -> np.ndarray:
        names = [pattern.format(episode) for episode in range(episodes)]
        taken.update(names)
        return file.read_parts(names, lengths)

    rows = {"rewards": _flat_rewards(file, parts("rewards_{}")), "actions": _flat_integers(parts("actions_{}"))}
    if "observations_0" in file.datasets:
        rows["observations"] = parts("observations_{}")
    else:
        count = 0
        while f"observations_0_{count}" in file.datasets:
            rows[f"observations/_index_{count}"] = parts(f"observations_{{}}_{count}")
            count += 1
        if not count:
            raise FormatError(f"{file.path}: there is no dataset observations_0")
    terminated = np.array([bool(_single(file, f"terminated_{episode}", "biuf")) for episode in range(episodes)])
    taken.update(f"terminated_{episode}" for episode in range(episodes))
    lasts = np.cumsum(lengths) - 1
    for name, ends in (("terminations", terminated), ("truncations", ~terminated)):
        rows[name] = np.zeros(sum(lengths), bool)
        rows[name][lasts] = ends
    left = [name for name in file.datasets if name not in taken]
    unread += sorted({re.sub(r"_\d+(_\d+)?$", "_<episode>", name) for name in left})
    return rows, np.array(lengths), {"version": version}


def _version_1(file: Hdf5File, unread: list[str]) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, Any]]:
    needed = ["observations", "actions", "rewards", "terminals"]
    for name in needed:
        if name not in file.datasets:
            raise FormatError(f"{file.path}: there is no dataset {name}; the file holds {', '.join(file.datasets)}")
    needed += [name for name in ("episode_terminals",) if name in file.datasets]
    steps = _length(file, "rewards", least=0)
    read = {name: file.read_parts([name], [steps]) for name in needed}
    rows = {name: read[name] for name in ("observations",)}
    rows["rewards"], rows["actions"] = _flat_rewards(file, read["rewards"]), _flat_integers(read["actions"])
    rows["terminations"] = flags(read["terminals"], file.where("terminals"))
    rows["truncations"] = np.zeros(steps, bool)
    if "episode_terminals" in read:
        ends = flags(read["episode_terminals"], file.where("episode_terminals"))
        rows["truncations"] = ends & ~rows["terminations"]
    else:
        warnings.warn(
            f"{file.path} has no episode_terminals: episodes end at terminals only, and may run into one another",
            AssayWarning,
            stacklevel=3,
        )
    extra: dict[str, Any] = {}
    for name, dataset in file.datasets.items():
        if name not in needed:
            value = file.value(name) if dataset.shape == () else None
            if value is None:
                unread.append(name)
            else:
                extra[name] = value
    return rows, episode_lengths_from_flags(rows["terminations"], rows["truncations"]), extra


def _length(file: Hdf5File, name: str, *, least: int = 1) -> int:
    shape = file.describe(name)[1]
    if not shape or shape[0] < least:
        raise DatasetError(
            f"{file.where(name)} is of shape {list(shape)}; a row per step, of at least 1, belongs there"
        )
    return shape[0]


def _single(file: Hdf5File, name: str, kinds: str) -> Any:
    dtype, shape = file.describe(name)
    if shape != () or dtype.kind not in kinds:
        raise FormatError(f"{file.where(name)} is {dtype}{list(shape)}; a single value belongs there")
    return file.read(name)[()]


def _flat_rewards(file: Hdf5File, array: np.ndarray) -> np.ndarray:
    if array.ndim == 2 and array.shape[1] == 1:
        return array[:, 0]
    if array.ndim != 1:
        raise DatasetError(f"{file.path}: rewards are of shape {list(array.shape[1:])} per step; one belongs there")
    return array


def _flat_integers(actions: np.ndarray) -> np.ndarray:
    """Return discrete actions flat, as a Discrete space has them."""
    return actions[:, 0] if actions.dtype.kind in "iu" and actions.ndim == 2 and actions.shape[1] == 1 else actions


# -------------------------------------------------------------------- writing


def write(dataset: Dataset, path: Path, *, overwrite: bool = False, drop: Collection[str] = ()) -> None:
    """Write a dataset as d3rlpy's version 2.1; `ReplayBuffer.load` opens it.

    Parameters
    ----------
    dataset : Dataset
        Observations are one array or a tuple of them.
    path : Path
    overwrite : bool
    drop : collection of str
        `"terminations"`, where they stand before the last step of an episode, for which d3rlpy has no place.

    Warns
    -----
    AssayWarning
        Once, naming what is left out: the final observations, if they are known, and whatever else has no place.

    Raises
    ------
    DatasetError
        If observations or actions are nested otherwise, or hold text, or a column that changes what is learned would
        be lost.
    """
    require_held(dataset, TITLE)
    observed = _observations(dataset)
    if "actions" not in dataset.columns:
        raise DatasetError("d3rlpy holds actions as one array; those of this dataset are nested")
    if not dataset.total_episodes:
        raise DatasetError("d3rlpy holds at least one episode; this dataset has none")
    dataset = in_machine_order(dataset, TITLE)
    _report_losses(dataset, observed, drop)
    actions, rewards = dataset.column("actions"), dataset.rewards
    starts, lengths = dataset.episode_starts.tolist(), dataset.episode_lengths.tolist()
    with atomic_file(path, overwrite=overwrite) as target, create_hdf5(target) as handle:
        handle["columns"] = list(_KNOWN)
        handle["num_episodes"] = dataset.total_episodes
        for episode, (start, length) in enumerate(zip(starts, lengths, strict=True)):
            rows = slice(start, start + length)
            for name, pattern in observed.items():
                first = start + episode
                write_rows(handle, pattern.format(episode), dataset.column(name)[first : first + length])
            write_rows(handle, f"actions_{episode}", actions[rows, None] if actions.ndim == 1 else actions[rows])
            write_rows(handle, f"rewards_{episode}", rewards[rows, None])
            handle[f"terminated_{episode}"] = bool(dataset.terminations[start + length - 1])
        handle["version"] = _VERSION
        discrete = actions.dtype.kind in "iu"
        handle.attrs["assay"] = block_for(dataset, flat_actions=actions.ndim == 1 and not discrete)


def _observations(dataset: Dataset) -> dict[str, str]:
    """Return column -> name in the file, with a place for the episode."""
    names = [name for name in dataset.columns if is_under(name, "observations")]
    if names == ["observations"]:
        return {"observations": "observations_{}"}
    matches: Mapping[str, Any] = {name: _TUPLE.fullmatch(name) for name in names}
    if not all(matches.values()) or {int(match[1]) for match in matches.values()} != set(range(len(names))):
        raise DatasetError(
            f"d3rlpy holds observations as one array or a tuple of them; this dataset has {', '.join(names)}"
        )
    return {name: f"observations_{{}}_{match[1]}" for name, match in matches.items()}


def _report_losses(dataset: Dataset, observed: Mapping[str, str], drop: Collection[str]) -> None:
    held = {*observed, "actions", "rewards", "terminations", "truncations"}
    lasts = dataset.episode_starts + dataset.episode_lengths - 1
    before = np.ones(dataset.total_steps, bool)
    before[lasts] = False
    lost = [name for name in dataset.columns if name not in held]
    lost += [name for name in dataset.episode_columns if name != "final_observation"]
    lost += ["terminations"] if (dataset.terminations & before).any() else []
    others = ["final observations"] if dataset.final_observations_known.any() else []
    others += (
        ["flags before an episode's last step"] if ((dataset.terminations | dataset.truncations) & before).any() else []
    )
    others += (
        ["truncations beside terminations"] if (dataset.terminations & dataset.truncations & ~before).any() else []
    )
    if not (dataset.terminations | dataset.truncations)[lasts].all():
        others.append("episodes without an end flag, which come back truncated")
    if dataset.column("actions").dtype.kind in "iu" and dataset.column("actions").shape[1:] == (1,):
        others.append("integer actions of shape (N, 1), which come back flat")
    report_losses(dataset, TITLE, lost, others, drop=drop)
