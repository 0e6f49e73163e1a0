"""ManiSkill's recorded trajectories (Tao et al. 2024, arXiv 2410.00425): an HDF5 file and a JSON file beside it.

::

    trajectory.h5
        traj_0                  a group per episode, in the order of the numbers
            obs                 (T+1, ...), or a group per key, nested: agent/qpos, sensor_data/<camera>/rgb, ...
            actions             (T, ...), or a group per key
            terminated          (T,) bool
            truncated           (T,) bool
            rewards             (T,), if they were recorded
            success, fail       (T,) bool, maybe
            env_states          (T+1, ...), or nested: actors/<name>, articulations/<name>
        traj_1 ...
    trajectory.json             env_info: env_id, env_kwargs, max_episode_steps
                                episodes: episode_id, episode_seed, control_mode, elapsed_steps, reset_kwargs, success

The published demonstrations hold states of the simulator and no observations (`obs` is an empty group); ManiSkill makes
observations of them by replaying (`python -m mani_skill.trajectory.replay_trajectory`). `observations="env_states"` takes
the states themselves. ManiSkill 2 stores neither `terminated` nor `truncated`: an episode is then a termination where its
last step is a success, and truncated otherwise.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from assay.datasets.dataset import Dataset, is_under
from assay.datasets.errors import AssayWarning, ConfigError, DatasetError, FormatError
from assay.datasets.formats.containers.files import read_json_object
from assay.datasets.formats.containers.hdf5 import Hdf5File, members, open_hdf5
from assay.datasets.formats.rows import flags, flat, naming
from assay.datasets.info import DatasetInfo

__all__ = ["read", "sniff"]

TITLE = "ManiSkill trajectories"
LAYOUT = "file .h5 and .json"
ORDER = 55
CANNOT_HOLD = ""

_TRAJECTORY = re.compile(r"traj_(0|[1-9]\d{0,17})")
_PLACES = {"obs": "observations", "actions": "actions", "rewards": "rewards"}
_FLAGS = {"terminated": "terminations", "truncated": "truncations"}


def sniff(path: Path) -> bool:
    """Tell whether `path` is an HDF5 file of trajectories `traj_0`, `traj_1`, ..."""
    return any(_TRAJECTORY.fullmatch(name) for name in members(path))


def read(
    path: Path,
    *,
    observations: Literal["obs", "env_states"] = "obs",
    rewards: Literal["stored", "success"] = "stored",
) -> Dataset:
    """Read the trajectories of a file, with what the JSON file of the same name says about them.

    Parameters
    ----------
    path : Path
        The .h5 file.
    observations : {"obs", "env_states"}
        What becomes the observations: those that were recorded, or the states of the simulator.
    rewards : {"stored", "success"}
        The recorded rewards, or 1 on steps that are a success and 0 on others.

    Returns
    -------
    Dataset
        Whatever else has a row per step or per observation is `infos/...`. Episode columns: `trajectory` (its number,
        where these are not 0, 1, 2, ...), `seed` and `control_mode` of the JSON file. `info.env_spec` has its
        environment, with its arguments and its limit of steps.

    Warns
    -----
    AssayWarning
        About rewards that were not recorded (they are missing), a missing JSON file, and arrays that are not read.

    Raises
    ------
    FormatError, DatasetError
        If a file is damaged, trajectories differ in what they hold, or no observations were recorded.
    ConfigError
        If an option is none of its values, or the file has no success to make rewards of.

    Examples
    --------
    >>> import h5py, tempfile
    >>> path = Path(tempfile.mkdtemp(), "trajectory.h5")
    >>> with h5py.File(path, "w") as file:
    ...     file["traj_0/obs"], file["traj_0/actions"] = np.zeros((3, 4)), np.zeros((2, 1))
    ...     file["traj_0/terminated"], file["traj_0/truncated"] = [False, True], [False, False]
    ...     file["traj_0/rewards"] = [0.0, 1.0]
    >>> _ = path.with_suffix(".json").write_text('{"env_info": {"env_id": "PickCube-v1"}, "episodes": []}')
    >>> dataset = read(path)
    >>> dataset.info.environment_id, dataset.observations.shape, dataset.terminations.tolist()
    ('PickCube-v1', (3, 4), [False, True])
    """
    if observations not in ("obs", "env_states"):
        raise ConfigError(f'observations are "obs" or "env_states", not {observations!r}')
    if rewards not in ("stored", "success"):
        raise ConfigError(f'rewards are "stored" or "success", not {rewards!r}')
    with open_hdf5(path) as file, naming(path):
        trajectories = _Trajectories(file)
        columns = trajectories.columns(observations)
        _set_rewards(columns, trajectories, rewards)
        _set_flags(columns, trajectories)
        about, episode_columns = _beside(path, trajectories)
        if trajectories.remarks:
            warnings.warn(f"{path}: {'; '.join(trajectories.remarks)}", AssayWarning, stacklevel=3)
        return Dataset(columns, trajectories.lengths, info=about, episode_columns=episode_columns)


class _Trajectories:
    """The trajectories of one file, and what is to be said about them."""

    def __init__(self, file: Hdf5File) -> None:
        self.file = file
        found = {name: int(match[1]) for name in file.groups if (match := _TRAJECTORY.fullmatch(name))}
        if not found:
            raise FormatError(f"{file.path}: there are no trajectories traj_0, traj_1, ...")
        self.names = sorted(found, key=lambda name: found[name])
        self.numbers = [found[name] for name in self.names]
        contents: dict[str, list[str]] = {name: [] for name in self.names}
        for name in file.datasets:
            trajectory, _, item = name.partition("/")
            if trajectory in contents:
                contents[trajectory].append(item)
        self.contents = contents[self.names[0]]
        for name, content in contents.items():
            if different := sorted({*content} ^ {*self.contents}):
                raise FormatError(
                    f"{file.where(name)}: {different[0]} is not in every trajectory; all trajectories need the same"
                )
        acted = next((item for item in self.contents if is_under(item, "actions")), None)
        if acted is None:
            raise FormatError(f"{file.where(self.names[0])}: actions are missing")
        self.lengths = [self._rows(name, acted) for name in self.names]
        self.remarks: list[str] = []
        if strangers := [name for name in file.datasets if name.split("/")[0] not in found]:
            self.remarks.append(f"arrays that belong to no trajectory are not read: {', '.join(strangers)}")

    def _rows(self, trajectory: str, item: str) -> int:
        shape = self.file.describe(f"{trajectory}/{item}")[1]
        if not shape or not shape[0]:
            raise DatasetError(f"{self.file.where(f'{trajectory}/{item}')}: the trajectory has no steps; remove it")
        return shape[0]

    def columns(self, observed: str) -> dict[str, np.ndarray]:
        """Read every array, under the dataset's names."""
        if not any(is_under(item, observed) for item in self.contents):
            states = any(is_under(item, "env_states") for item in self.contents)
            raise FormatError(
                f"{self.file.path}: no {observed} were recorded. ManiSkill makes them by replaying: python -m "
                f"mani_skill.trajectory.replay_trajectory --traj-path {self.file.path.name} -o state --save-traj"
                + (
                    '; the states of the simulator serve as observations with observations="env_states"'
                    if states
                    else ""
                )
            )
        result, left = {}, []
        for item in self.contents:
            top, _, below = item.partition("/")
            place = "observations" if top == observed else _PLACES.get(top) if top != "obs" else None
            if place is not None:
                name = f"{place}/{below}" if below else place
            elif item in _FLAGS:
                name = _FLAGS[item]
            else:
                name = f"infos/{item}"
            extra = self._extra_rows(item, needed=place is not None or item in _FLAGS, observed=place == "observations")
            if extra is None:
                left.append(item)
            else:
                lengths = [length + extra for length in self.lengths]
                result[name] = self.file.read_parts([f"{trajectory}/{item}" for trajectory in self.names], lengths)
        if left:
            self.remarks.append(f"not one row per step or observation, and not read: {', '.join(left)}")
        return result

    def _extra_rows(self, item: str, *, needed: bool, observed: bool) -> int | None:
        """Return how many rows an array has in every trajectory beyond its steps, 0 or 1; None where it differs."""
        names = [f"{trajectory}/{item}" for trajectory in self.names]
        if needed:
            for name, length in zip(names, self.lengths, strict=True):
                if self.file.describe(name)[1][:1] != (length + observed,):
                    raise DatasetError(
                        f"{self.file.where(name)} is of shape {list(self.file.describe(name)[1])}, but the trajectory has "
                        f"{length} steps, so {length + observed} rows belong there"
                    )
            return int(observed)
        if not all(self.file.is_numeric(name) and self.file.describe(name)[1] for name in names):
            return None
        extra = {self.file.describe(name)[1][0] - length for name, length in zip(names, self.lengths, strict=True)}
        return extra.pop() if extra in ({0}, {1}) else None


def _set_rewards(columns: dict[str, np.ndarray], trajectories: _Trajectories, chosen: str) -> None:
    success = columns.get("infos/success")
    if chosen == "success":
        if success is None:
            raise ConfigError(f'{trajectories.file.path} has no success, which rewards="success" takes')
        if "rewards" in columns:
            columns["infos/rewards"] = columns.pop("rewards")
        columns["rewards"] = flags(success, "array success").astype(np.float32)
    elif "rewards" in columns:
        columns["rewards"] = flat(columns["rewards"], "array rewards")
    else:
        hint = ' (rewards="success" makes them of the successes)' if success is not None else ""
        trajectories.remarks.append(f"rewards were not recorded, so they are missing{hint}")


def _set_flags(columns: dict[str, np.ndarray], trajectories: _Trajectories) -> None:
    for name in _FLAGS.values():
        if name in columns:
            columns[name] = flags(columns[name], f"array {name}")
    if all(name in columns for name in _FLAGS.values()):
        return
    lasts = np.cumsum(trajectories.lengths) - 1
    solved = columns.get("infos/success")
    ended = np.zeros(len(lasts), bool) if solved is None else flags(solved, "array success")[lasts]
    for name, last in (("terminations", ended), ("truncations", ~ended)):
        columns[name] = np.zeros(sum(trajectories.lengths), bool)
        columns[name][lasts] = last
    trajectories.remarks.append(
        "it has no terminated and truncated: an episode is terminated where its last step is a success, else truncated"
    )


# -------------------------------------------------------------------- the JSON file


def _beside(path: Path, trajectories: _Trajectories) -> tuple[DatasetInfo, dict[str, np.ndarray]]:
    """Return what is known about the dataset, and the columns of the episodes table."""
    file = path.with_suffix(".json")
    episode_columns: dict[str, np.ndarray] = {}
    if trajectories.numbers != list(range(len(trajectories.numbers))):
        episode_columns["trajectory"] = np.array(trajectories.numbers)
    source = f"{TITLE} file {path.name}"
    if not file.exists():
        trajectories.remarks.append(f"{file.name}, which names the environment, is missing")
        return DatasetInfo(id=path.stem, source=source), episode_columns
    plain = read_json_object(file)
    environment, episodes = plain.get("env_info"), plain.get("episodes")
    if not isinstance(environment, dict) or not isinstance(environment.get("env_id"), str):
        raise FormatError(f"{file}: env_info with an env_id is missing; it is damaged")
    described = _episodes(file, episodes, trajectories)
    if described is not None:
        episode_columns |= _columns_of(described)
    kept = {key: value for key, value in plain.items() if key not in ("env_info", "episodes")}
    info = DatasetInfo(
        id=f"{environment['env_id']}/{path.stem}",
        env_spec=_env_spec(environment),
        source=source,
        extra={"maniskill": kept},
    )
    return info, episode_columns


def _env_spec(environment: Mapping[str, Any]) -> str:
    limit, kwargs = environment.get("max_episode_steps"), environment.get("env_kwargs")
    spec = {
        "id": environment["env_id"],
        "max_episode_steps": limit if type(limit) is int else None,
        "kwargs": kwargs if isinstance(kwargs, dict) else {},
    }
    return json.dumps(spec)


def _episodes(file: Path, episodes: Any, trajectories: _Trajectories) -> list[dict[str, Any]] | None:
    """Return the entry of each trajectory, after comparing the lengths; None if a trajectory has no entry."""
    if not isinstance(episodes, list) or not all(isinstance(item, dict) for item in episodes):
        raise FormatError(f"{file}: episodes is no list of objects; it is damaged")
    known = {item["episode_id"]: item for item in episodes if type(item.get("episode_id")) is int}
    for number, name, length in zip(trajectories.numbers, trajectories.names, trajectories.lengths, strict=True):
        stated = known.get(number, {}).get("elapsed_steps", length)
        if stated != length:
            raise DatasetError(f"{file}: {name} has {stated} steps here, but {length} in {trajectories.file.path.name}")
    missing = [name for name, number in zip(trajectories.names, trajectories.numbers) if number not in known]
    if missing:
        trajectories.remarks.append(f"{file.name} has no entry for {missing[0]} ({len(missing)} in all)")
        return None
    return [known[number] for number in trajectories.numbers]


def _columns_of(episodes: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    result: dict[str, np.ndarray] = {}
    seeds = [_single(item.get("episode_seed")) for item in episodes]
    if all(type(seed) is int and -(2**63) <= seed < 2**63 for seed in seeds):
        result["seed"] = np.array(seeds, np.int64)
    modes = [item.get("control_mode") for item in episodes]
    if all(isinstance(mode, str) for mode in modes):
        result["control_mode"] = np.array(modes)
    return result


def _single(value: Any) -> Any:
    """Return the entry of a list of one: parallel environments have lists of seeds."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value
