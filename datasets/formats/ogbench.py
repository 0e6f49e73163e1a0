"""OGBench (Park et al. 2025, arXiv 2410.20092): one .npz archive whose trajectories hold their final observations.

::

    row               0  1  2  3 | 4  5  6
    observations      s0 s1 s2 s3| s0 s1 s2      one row more than steps in every trajectory
    actions           a0 a1 a2 - | a0 a1 -       the action of a last row means nothing
    terminals         0  0  0  1 | 0  0  1       the row is the last of its trajectory
    qpos, qvel, ...   like observations

So a trajectory of L + 1 rows has L steps, and its last row leads nowhere. A trajectory ends because its collection
stopped, not because the environment did: its last step is truncated, never terminated. The file has no rewards; they are
zeros here. OGBench's `singletask` variants compute rewards and masks from `qpos` with the success test of each
environment when they are loaded; that needs the environments and is not done here. Nor has it goals: `relabeling.hindsight_goals` gives
it some, and the environment that its name stands for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from assay.datasets.atomic import atomic_file
from assay.datasets.dataset import Dataset
from assay.datasets.errors import DatasetError
from assay.datasets.formats.containers.npz import npz_names, open_npz, write_npz
from assay.datasets.formats.losses import names_and_units, report_losses, require_held
from assay.datasets.formats.rows import flags, naming
from assay.datasets.info import DatasetInfo
from assay.datasets.memory import empty

__all__ = ["read", "sniff", "write"]

TITLE = "OGBench"
LAYOUT = "file .npz"
ORDER = 130
CANNOT_HOLD = (
    "datasets without actions or rewards (an error), "
    "labels that are missing in part (missing/..., dropped by name only), "
    "nested observations but a state beside its goal (an error), nested actions (an error), goals, rewards, terminations (they become ends of trajectories), "
    "next_observations that differ, weights, costs, corrupted/... and other columns that methods may learn from "
    "(dropped by name only), flags other than one at the end of each episode, the last step of an episode whose "
    "final observation is unknown, infos without a final row, episode columns, info and history"
)

NEEDED = {"observations", "actions", "terminals"}
_FOREIGN = {"rewards", "obs", "next_observations"}  # an archive with one of them is in another format
_STATE, _GOAL = "observations/achieved_goal", "observations/desired_goal"


def sniff(path: Path) -> bool:
    """Tell whether `path` is an archive with OGBench's arrays."""
    names = npz_names(path)
    return names >= NEEDED and names.isdisjoint(_FOREIGN)


def read(path: Path) -> Dataset:
    """Read a file of OGBench.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Dataset
        Rewards are zeros (float32). Arrays with a row for every observation, such as `qpos`, are `infos/<name>` of
        N+E rows; others are listed in `info.extra["not_read"]`. Rows after the last trajectory's end are an episode
        without an end flag, whose last row is its final observation.

    Raises
    ------
    FormatError
        If the file is damaged or an array is missing; with both.
    DatasetError
        If the arrays do not fit together, or a trajectory has a single row and so no step.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "example-v0.npz")
    >>> np.savez(
    ...     path, observations=np.arange(7.0), actions=np.array([1, 2, 3, 0, 4, 5, 0]),
    ...     terminals=np.array([0, 0, 0, 1, 0, 0, 1], bool))
    >>> dataset = read(path)
    >>> dataset.actions.tolist(), dataset.truncations.tolist()
    ([1, 2, 3, 4, 5], [False, False, True, False, True])
    """
    with open_npz(path) as file, naming(path):
        terminals = flags(file.read("terminals"), "array terminals")
        ends = np.flatnonzero(terminals) + 1
        unended = not len(ends) or ends[-1] != len(terminals)
        lengths = np.diff(np.append(ends, len(terminals)) if unended else ends, prepend=0) - 1
        if len(empty_ones := np.flatnonzero(lengths < 1)):
            raise DatasetError(
                f"trajectory {empty_ones[0]} has a single row, so no step; remove it, or copy the file again"
            )
        rows = np.ones(len(terminals), bool)
        rows[np.cumsum(lengths + 1) - 1] = False  # the last row of a trajectory leads nowhere
        actions = file.read("actions")
        if len(actions.shape) < 1 or len(actions) != len(rows):
            raise DatasetError(f"array actions has the shape {list(actions.shape)}, but terminals {len(rows)} rows")
        steps = int(lengths.sum())
        truncations = np.zeros(steps, bool)
        truncations[np.cumsum(lengths) - 1] = True
        if unended:
            truncations[-1] = False
        columns = {
            "observations": file.read("observations"),
            "actions": np.compress(rows, actions, axis=0, out=empty((steps, *actions.shape[1:]), actions.dtype)),
            "rewards": np.zeros(steps, np.float32),
            "terminations": np.zeros(steps, bool),
            "truncations": truncations,
        }
        left = []
        for name in file.names:
            if name in NEEDED:
                continue
            if file.readable(name) and file.describe(name)[1][:1] == (len(rows),):
                columns[f"infos/{name}"] = file.read(name)
            else:
                file.check(name)
                left.append(name)
        extra = {"rewards": "not in the file; zeros"} | ({"not_read": left} if left else {})
        info = DatasetInfo(id=path.stem, source=f"{TITLE} file {path.name}", extra=extra)
        return Dataset(columns, lengths, info=info)


def write(dataset: Dataset, path: Path, *, overwrite: bool = False, drop: Collection[str] = ()) -> None:
    """Write a dataset as OGBench does, whole or not at all.

    Parameters
    ----------
    dataset : Dataset
        Where a final observation is unknown, the last one that is known takes its place, and the episode is one step
        shorter: no transition is invented. Of observations whose only parts are `achieved_goal` and `desired_goal` the
        former are written.
    path : Path
    overwrite : bool
    drop : collection of str
        `"rewards"` and `"terminations"`, which OGBench has no place for, where there are any.

    Warns
    -----
    AssayWarning
        Once, with the names of what OGBench has no place for.

    Raises
    ------
    DatasetError
        If observations or actions are nested, an episode is left without a step, a column that changes what is
        learned would be lost, or the file exists and `overwrite` is False.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "example-v0.npz")
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(4.0), actions=np.ones(3), rewards=np.zeros(3, np.float32),
    ...     terminations=np.zeros(3, bool), truncations=np.array([False, False, True]))
    >>> write(dataset, path)
    >>> np.load(path)["terminals"].tolist()
    [False, False, False, True]
    """
    require_held(dataset, TITLE)
    for name, column in (("observations", _states(dataset)), ("actions", "actions")):
        if column not in dataset.columns:
            raise DatasetError(f"{name} are nested, and OGBench holds one array of them; choose one with replace()")
    final_rows = np.cumsum(dataset.episode_lengths + 1) - 1
    unknown = ~dataset.episode_columns.get("final_observation", np.ones(dataset.total_episodes, bool)).astype(bool)
    if len(short := np.flatnonzero(unknown & (dataset.episode_lengths == 1))):
        raise DatasetError(
            f"episode {short[0]} has one step, and what followed it is unknown, so nothing is left of it; select the "
            "others with dataset.select(...)"
        )
    keep = np.ones(dataset.total_steps + dataset.total_episodes, bool)
    keep[final_rows[unknown]] = False
    _report_losses(dataset, unknown, drop)
    with atomic_file(path, overwrite=overwrite) as part:
        write_npz(part, _arrays(dataset, keep), compress=True)


def _states(dataset: Dataset) -> str:
    """Return the name of the column of states: all of the observation, or the part beside its goal."""
    parts = {name for name in dataset.columns if name.startswith("observations/")}
    return _STATE if parts == {_STATE, _GOAL} else "observations"


def _arrays(dataset: Dataset, keep: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    rows = int(keep.sum())
    yield "observations", _rows(dataset.column(_states(dataset)), keep)
    stored = dataset.column("actions")
    actions = empty((len(keep), *stored.shape[1:]), stored.dtype)
    actions[np.cumsum(dataset.episode_lengths + 1) - 1] = np.zeros((), stored.dtype)
    actions[dataset.observation_rows] = stored
    yield "actions", _rows(actions, keep)
    terminals = np.zeros(rows, bool)
    episode = np.repeat(np.arange(dataset.total_episodes), dataset.episode_lengths + 1)[keep]
    terminals[np.flatnonzero(np.diff(episode, append=-1))] = True
    yield "terminals", terminals
    for name, array in _infos(dataset):
        yield name, _rows(array, keep)


def _infos(dataset: Dataset) -> Iterator[tuple[str, np.ndarray]]:
    for column in dataset.columns:
        name = column.removeprefix("infos/")
        array = dataset.column(column)
        has_final_rows = len(array) != dataset.total_steps or not dataset.total_episodes
        if column.startswith("infos/") and has_final_rows and name not in NEEDED | _FOREIGN:
            yield name, array


def _rows(array: np.ndarray, keep: np.ndarray) -> np.ndarray:
    if keep.all():
        return array
    return np.compress(keep, array, axis=0, out=empty((int(keep.sum()), *array.shape[1:]), array.dtype))


def _report_losses(dataset: Dataset, unknown: np.ndarray, drop: Collection[str]) -> None:
    ended = np.zeros(dataset.total_steps, bool)
    ended[dataset.episode_starts + dataset.episode_lengths - 1] = True
    lost = [name for name in ("rewards", "terminations") if dataset.column(name).any()]
    others = ["terminations, which become ends of trajectories"] if dataset.terminations.any() else []
    if ((dataset.terminations | dataset.truncations) != ended).any():
        others.append("end flags anywhere but at the end of every episode")
    if unknown.any():
        others.append(f"the last step of {int(unknown.sum())} episodes, whose final observation is unknown")
    stored = {f"infos/{name}" for name, _ in _infos(dataset)}
    if _GOAL in dataset.columns:
        others.append("goals")
    plain = {_states(dataset), _GOAL, "actions", "rewards", "terminations", "truncations"}
    lost += [name for name in dataset.columns if name not in plain and name not in stored]
    lost += [name for name in dataset.episode_columns if name != "final_observation"]
    report_losses(dataset, TITLE, lost, [*others, *names_and_units(dataset)], drop=drop)
