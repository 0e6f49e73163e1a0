"""LeRobot v3.0 datasets (huggingface/lerobot): Parquet frames of many episodes per file, described by JSON.

::

    meta/info.json                          version, fps, features {name: {dtype, shape, names}}, totals
    meta/stats.json                         of every feature
    meta/tasks.parquet                      task_index, text
    meta/episodes/chunk-000/file-000.parquet    episode_index, length, tasks, data/..., videos/..., stats/...
    data/chunk-000/file-000.parquet         a row per frame: observation.state, action, next.reward, ...
    videos/<feature>/chunk-000/file-000.mp4

Every data file is read once, whatever the number of episodes in it. What becomes of a feature::

    observation.<name>          observations/<name>, or observations where there is one only
    action, action.<name>       actions, or actions/<name> where there are several
    next.reward                 rewards; missing where it is not there, as actions are
    next.terminated, next.truncated     terminations, truncations (Assay writes them; they are features like any other)
    next.done                   LeRobot does not tell the two apart: with next.success on the same frame a termination,
                                otherwise a truncation
    task_index                  episode column of this name, where there are several tasks; texts are in info.extra
    timestamp                   infos/timestamp, unless it is frame_index / fps, which it nearly always is
    frame_index, episode_index, index   checked, and given by the order of the rows
    others                      infos/<name>

An episode has as many observations as actions: the final one was not recorded.
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.datasets.atomic import atomic_folder
from assay.datasets.dataset import RESERVED_EPISODE_COLUMNS, Dataset, is_under
from assay.datasets.errors import AssayWarning, ConfigError, DatasetError, FormatError
from assay.datasets.formats.containers.files import read_json_object
from assay.datasets.formats.containers.parquet import open_parquet, values
from assay.datasets.formats.lerobot_statistics import episode_statistics, statistics
from assay.datasets.formats.losses import report_losses
from assay.datasets.formats.rows import flat, in_machine_order, naming
from assay.datasets.info import DatasetInfo
from assay.datasets.memory import empty

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["read", "sniff", "write"]

TITLE = "LeRobot v3.0"
LAYOUT = "folder"
ORDER = 30
CANNOT_HOLD = (
    "labels that are missing in part (missing/..., dropped by name only), "
    "next_observations that differ, weights, costs, corrupted/... and other columns that methods may learn from "
    "(dropped by name only), final observations, nesting below the first level (joined by dots), the name of a "
    "single nested observation or action, rows without dimensions (they become rows of one number), final rows of "
    "infos, text, foreign byte order, info and history"
)

MARKS = ("meta/info.json", "meta/episodes", "meta/episodes.jsonl")
_VERSION = "v3.0"
_INDICES = {
    "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    "frame_index": {"dtype": "int64", "shape": [1], "names": None},
    "episode_index": {"dtype": "int64", "shape": [1], "names": None},
    "index": {"dtype": "int64", "shape": [1], "names": None},
    "task_index": {"dtype": "int64", "shape": [1], "names": None},
}
_NUMBERS = {
    "bool",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    *("float16", "float32", "float64"),
}
_FILE = re.compile(r"chunk-(\d{1,9})/file-(\d{1,9})\.parquet")
_EPISODE_INDICES = {"episode_index", "length", "tasks", "dataset_from_index", "dataset_to_index"}
_FLAGS = ("next.terminated", "next.truncated")
_CHUNK_FILES, _FILE_BYTES, _VIDEO_MB = 1000, 100 * 2**20, 200
_BLOCK_ROWS = 1 << 16


# -------------------------------------------------------------------- reading


def sniff(path: Path) -> bool:
    """Tell whether `path` is a folder with LeRobot's meta/info.json, of whatever version."""
    try:
        plain = json.loads((path / "meta" / "info.json").read_bytes())
        return isinstance(plain["features"], dict) and str(plain["codebase_version"]).startswith("v")
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def read(path: Path, *, videos: Sequence[str] = ()) -> Dataset:
    """Read a LeRobot dataset.

    Parameters
    ----------
    path : Path
    videos : sequence of str
        Video features to decode, such as `["observation.images.top"]`, into `observations/images.top` (uint8, rows of
        height, width, channel). Needs PyAV (`pip install assay[video]`). Others are listed in
        `info.extra["lerobot"]["videos"]`.

    Returns
    -------
    Dataset
        No final observation is known. `info.extra["lerobot"]` has what LeRobot knows beyond the columns: fps, robot
        type, features with the names of their entries, tasks, and which features were not read.

    Warns
    -----
    AssayWarning
        About actions, rewards or end flags that the dataset does not have: the labels are missing, the flags unset.

    Raises
    ------
    FormatError
        If a file is damaged, or the dataset is of another version; with the file.
    DatasetError
        If files disagree about episodes or frames; with file and row.
    ConfigError
        If a video is asked for that is not there, or PyAV is missing.

    Examples
    --------
    >>> import tempfile
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(10.0).reshape(5, 2), actions=np.zeros((3, 1)), rewards=np.ones(3),
    ...     terminations=np.array([0, 1, 0], bool), truncations=np.array([0, 0, 1], bool))
    >>> folder = Path(tempfile.mkdtemp(), "example")
    >>> with warnings.catch_warnings(action="ignore"):  # that final observations are left out
    ...     write(dataset, folder)
    >>> read(folder).terminations.tolist()
    [False, True, False]
    """
    info = _read_info(path)
    features = info["features"]
    episodes = _read_episodes(path, info)
    numbers = [name for name, feature in features.items() if feature["dtype"] in _NUMBERS]
    for name in _INDICES:
        if name not in numbers:
            raise FormatError(f"{path / 'meta/info.json'}: feature {name} is missing")
    wanted = _wanted_videos(path, features, videos)
    observed = [name for name in numbers if name.startswith("observation.")] + wanted
    acted = [name for name in numbers if _is_named(name, "action")]
    if not observed:
        raise FormatError(f"{path} has no observation.* of numbers; its features are {', '.join(features)}")
    table = _read_frames(path, {name: features[name] for name in numbers}, episodes, observed)
    tasks = _read_tasks(path)
    if wanted:
        from assay.datasets.formats.lerobot_video import decode

        for name in wanted:
            table[name] = decode(path, name, info, episodes.columns, episodes.lengths)
    columns = _nest("observations", "observation", observed, table) | (
        _nest("actions", "action", acted, table) if acted else {}
    )
    columns |= _rewards_and_flags(path, table, len(table["index"]), bool(acted))
    extra = dict(episodes.extra)
    starts = np.cumsum(episodes.lengths) - episodes.lengths
    task = table["task_index"]
    if len(tasks) > 1 and np.array_equal(np.repeat(task[starts], episodes.lengths), task):
        extra["task_index"] = task[starts]
    elif len(tasks) > 1:
        columns["infos/task_index"] = task
    taken = {*observed, *acted, *_derived(table, columns, info["fps"])}
    columns |= {f"infos/{name}": table[name] for name in numbers if name not in taken}
    extra["final_observation"] = np.zeros(len(episodes.lengths), bool)
    with naming(path):
        about = _info(path, info, tasks, wanted, episodes.left)
        return Dataset(columns, episodes.lengths, info=about, episode_columns=extra)


def _derived(table: Mapping[str, np.ndarray], columns: Mapping[str, np.ndarray], fps: float) -> Iterator[str]:
    """Yield the features that need no column: the other columns or the order of the rows determine them."""
    yield from (name for name in _INDICES if name != "timestamp")
    seconds = (table["frame_index"] / fps).astype(np.float32)
    if table["timestamp"].dtype == np.float32 and np.array_equal(seconds, table["timestamp"]):
        yield "timestamp"
    yield "next.reward"
    if all(name in table for name in _FLAGS):
        yield from _FLAGS
    done = table.get("next.done")
    if done is not None and np.array_equal(done.astype(bool), columns["terminations"] | columns["truncations"]):
        yield "next.done"


def _is_named(name: str, prefix: str) -> bool:
    """Tell whether a feature is `prefix` itself or below it."""
    return name == prefix or name.startswith(prefix + ".")


def _nest(column: str, prefix: str, names: Sequence[str], table: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    if len(names) == 1:
        return {column: table[names[0]]}
    return {f"{column}/{name.removeprefix(prefix + '.')}": table[name] for name in names}


def _read_info(path: Path) -> dict[str, Any]:
    file = path / "meta" / "info.json"
    info = read_json_object(file)
    if not isinstance(info.get("features"), dict):
        raise FormatError(f"{file} is damaged: it describes no features")
    if info.get("codebase_version") != _VERSION:
        raise FormatError(
            f"{file}: codebase_version is {info.get('codebase_version')!r}; {_VERSION} is read. LeRobot converts older "
            "ones: python -m lerobot.scripts.convert_dataset_v21_to_v30 --repo-id=..."
        )
    for key in ("total_episodes", "total_frames"):
        value = info.get(key)
        if type(value) is not int or not 0 < value < 2**40:
            raise FormatError(f"{file}: {key} is {value!r}; a positive integer belongs there")
    fps = info.get("fps")
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not 0 < fps < 1e9:
        raise FormatError(f"{file}: fps is {fps!r}; a positive number belongs there")
    for name, feature in info["features"].items():
        shape = feature.get("shape") if isinstance(feature, dict) else None
        if not isinstance(shape, list) or not all(type(n) is int and 0 <= n < 2**31 for n in shape) or len(shape) > 8:
            raise FormatError(f"{file}: feature {name} has the shape {shape!r}; a list of integers belongs there")
        if not isinstance(feature.get("dtype"), str):
            raise FormatError(f"{file}: feature {name} has no dtype")
        if feature["dtype"] in _NUMBERS and not math.prod(shape):
            raise FormatError(f"{file}: feature {name} has the shape {shape}, which holds nothing")
    return info


def _files(folder: Path) -> list[Path]:
    """Return the Parquet files of a folder in the order of their numbers, as LeRobot takes them."""
    found = []
    for file in folder.glob("chunk-*/file-*.parquet"):
        match = _FILE.fullmatch(file.relative_to(folder).as_posix())
        if match and file.is_file():
            found.append(((int(match[1]), int(match[2])), file))
    if not found:
        raise FormatError(f"{folder} holds no files chunk-000/file-000.parquet, ...; the dataset is incomplete")
    return [file for _, file in sorted(found)]


@dataclass(frozen=True)
class _Episodes:
    lengths: np.ndarray  # (E,)
    columns: dict[str, np.ndarray]  # (E,) each, of the table as it is: indices of files, time stamps of videos
    extra: dict[str, np.ndarray]  # (E,) each, those that are not LeRobot's
    left: list[str]  # columns that are not read


def _read_episodes(path: Path, info: Mapping[str, Any]) -> _Episodes:
    parts: dict[str, list[np.ndarray]] = {}
    left: set[str] = set()
    files = _files(path / "meta" / "episodes")
    for file in files:
        with open_parquet(file) as table:
            there = [name for name in table.types if not name.startswith(("stats/", "meta/")) and name != "tasks"]
            names = [name for name in there if table.types[name].num_fields == 0]  # no lists
            left |= set(there) - set(names)
            if parts and set(names) != parts.keys():
                different = sorted(set(names) ^ parts.keys())
                raise FormatError(f"{file} and {files[0]} differ in the column {different[0]}")
            for name in names:
                parts.setdefault(name, []).append(table.column(name))
    columns = {name: np.concatenate(part) for name, part in parts.items()}
    folder = path / "meta" / "episodes"
    for needed in ("episode_index", "length", "dataset_from_index", "dataset_to_index"):
        if needed not in columns or columns[needed].dtype.kind not in "iu":
            raise FormatError(f"{folder}: column {needed} of integers is missing")
    lengths = columns["length"].astype(np.int64)
    if len(lengths) != info["total_episodes"] or not np.array_equal(columns["episode_index"], np.arange(len(lengths))):
        raise DatasetError(
            f"{folder} does not list the episodes 0 to {info['total_episodes'] - 1} once each, as meta/info.json says"
        )
    if len(wrong := np.flatnonzero((lengths < 1) | (lengths > info["total_frames"]))):
        raise DatasetError(f"{folder}: episode {wrong[0]} has {lengths[wrong[0]]} steps")
    ends = np.cumsum(lengths)
    for name, expected in (("dataset_from_index", ends - lengths), ("dataset_to_index", ends)):
        if len(wrong := np.flatnonzero(columns[name] != expected)):
            raise DatasetError(
                f"{folder}: {name} of episode {wrong[0]} is {columns[name][wrong[0]]}, but the episodes before it "
                f"make it {expected[wrong[0]]}"
            )
    if ends[-1] != info["total_frames"]:
        raise DatasetError(
            f"{folder}: the episodes hold {ends[-1]} frames, but meta/info.json says {info['total_frames']}"
        )
    known = {name for name in columns if name in _EPISODE_INDICES or name.startswith(("data/", "videos/"))}
    left |= {name for name in columns if "/" in name or name in RESERVED_EPISODE_COLUMNS} - known
    extra = {name: array for name, array in columns.items() if name not in known | left}
    return _Episodes(lengths, columns, extra, sorted(left))


def _read_tasks(path: Path) -> list[str]:
    file = path / "meta" / "tasks.parquet"
    with open_parquet(file) as table:
        texts = [name for name, kind in table.types.items() if str(kind) in ("string", "large_string")]
        if "task_index" not in table.types or len(texts) != 1:
            raise FormatError(f"{file}: the columns {', '.join(table.types)} are not task_index and the task's text")
        indices, tasks = table.column("task_index"), table.column(texts[0])
    if not np.array_equal(np.sort(indices), np.arange(len(tasks))):
        raise FormatError(f"{file}: the tasks are not numbered from 0 to {len(tasks) - 1}")
    return [str(tasks[number]) for number in np.argsort(indices)]


def _read_frames(
    path: Path, features: Mapping[str, Any], episodes: _Episodes, observed: Sequence[str]
) -> dict[str, np.ndarray]:
    """Read every data file once, each column straight into its place; observations have a row more per episode."""
    steps, folder = int(episodes.lengths.sum()), path / "data"
    episode_of_step = np.repeat(np.arange(len(episodes.lengths)), episodes.lengths)
    files = _files(folder)
    table: dict[str, np.ndarray] = {}
    start = 0
    for file in files:
        with open_parquet(file) as frames:
            if start + frames.rows > steps:
                raise DatasetError(f"{file}: more frames than the {steps} that meta/ lists")
            sizes = {name: math.prod(feature["shape"]) for name, feature in features.items()}
            frames.check_fits(8 * sum(sizes.values()))
            for batch in frames.batches(sizes):
                rows = slice(start, start + batch.num_rows)
                for name, feature in features.items():
                    shape = tuple(feature["shape"]) if _is_vector(name) else _squeezed(feature["shape"])
                    part = values(batch.column(name), shape, f"{file}: column {name}")
                    if name not in table:
                        extra = len(episodes.lengths) if name in observed else 0
                        table[name] = empty((steps + extra, *shape), part.dtype)
                    if part.dtype != table[name].dtype:
                        raise FormatError(f"{file}: column {name} is {part.dtype}, but {table[name].dtype} before")
                    place = episode_of_step[rows] + np.arange(rows.start, rows.stop) if name in observed else rows
                    table[name][place] = part
                _check_order(file, table, rows, episodes, episode_of_step)
                start = rows.stop
    if start != steps:
        raise DatasetError(f"{folder} holds {start} frames, but meta/ lists {steps}; the dataset is incomplete")
    finals = np.cumsum(episodes.lengths + 1) - 1
    for name in observed:
        if name in table:
            table[name][finals] = table[name][finals - 1]
    return table


def _is_vector(name: str) -> bool:
    """Tell whether rows of a single number keep their dimension: those of observations and actions do."""
    return name.startswith("observation.") or _is_named(name, "action")


def _squeezed(shape: Sequence[int]) -> tuple[int, ...]:
    return () if list(shape) == [1] else tuple(shape)


def _check_order(
    file: Path, table: Mapping[str, np.ndarray], rows: slice, episodes: _Episodes, episode_of_step: np.ndarray
) -> None:
    starts = np.cumsum(episodes.lengths) - episodes.lengths
    numbers = np.arange(rows.start, rows.stop)
    episode = episode_of_step[rows]
    for name, expected in (("index", numbers), ("episode_index", episode), ("frame_index", numbers - starts[episode])):
        if len(wrong := np.flatnonzero(table[name][rows] != expected)):
            first = wrong[0]
            raise DatasetError(
                f"{file}: {name} of frame {numbers[first]} is {table[name][rows][first]}, but meta/ makes it "
                f"{expected[first]}: rows are missing or mixed up, or two takes were stored as one episode"
            )


def _rewards_and_flags(
    path: Path, table: Mapping[str, np.ndarray], steps: int, has_actions: bool
) -> dict[str, np.ndarray]:
    """Return the rewards, if there are some, and the flags; one warning says what the dataset has not."""
    missing = [] if has_actions else ["actions of numbers (action), which are missing"]
    rewards = {}
    if "next.reward" in table:
        rewards["rewards"] = flat(table["next.reward"], f"{path}: next.reward")
    else:
        missing.append("rewards (next.reward), which are missing")
    flags = {name: _flag(path, table, name) for name in (*_FLAGS, "next.done", "next.success") if name in table}
    terminations, truncations = np.zeros(steps, bool), np.zeros(steps, bool)
    if all(name in flags for name in _FLAGS):
        terminations, truncations = flags["next.terminated"], flags["next.truncated"]
    elif "next.done" in flags:
        terminations = flags["next.done"] & flags.get("next.success", terminations)
        truncations = flags["next.done"] & ~terminations
    else:
        missing.append("end flags (next.done), of which none is set")
    if missing:
        warnings.warn(f"{path} has no {' and no '.join(missing)}", AssayWarning, stacklevel=4)
    return {**rewards, "terminations": terminations, "truncations": truncations}


def _flag(path: Path, table: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    array = flat(table[name], f"{path}: {name}")
    result: np.ndarray = array.astype(bool)
    if len(wrong := np.flatnonzero(array != result)):
        raise DatasetError(f"{path}: {name} of frame {wrong[0]} is {array[wrong[0]]}; 0 or 1 belongs there")
    return result


def _wanted_videos(path: Path, features: Mapping[str, Any], videos: Sequence[str]) -> list[str]:
    if isinstance(videos, str):
        raise ConfigError(f"videos is {videos!r}; a list of features belongs there, such as [{videos!r}]")
    there = [name for name, feature in features.items() if feature["dtype"] == "video"]
    for name in videos:
        if name not in there or not name.startswith("observation."):
            raise ConfigError(f"{path} has no video {name!r}; it has {', '.join(there) or 'none'}")
    return list(dict.fromkeys(videos))


def _info(
    path: Path, info: Mapping[str, Any], tasks: list[str], decoded: list[str], left_of_episodes: list[str]
) -> DatasetInfo:
    features = info["features"]
    kinds = {name: feature["dtype"] for name, feature in features.items()}
    left = {
        "videos": [name for name, kind in kinds.items() if kind == "video" and name not in decoded],
        "not_read": [name for name, kind in kinds.items() if kind not in _NUMBERS and kind != "video"],
        "episode_columns_not_read": left_of_episodes,
    }
    known = {
        "fps": info["fps"],
        "robot_type": info.get("robot_type"),
        "tasks": tasks,
        "features": {name: feature for name, feature in features.items() if name not in _INDICES},
        "splits": info.get("splits"),
    }
    extra = {key: value for key, value in (known | left).items() if value}
    return DatasetInfo(id=path.name, source=f"{TITLE} dataset {path.name}", extra={"lerobot": extra})


# -------------------------------------------------------------------- writing


def write(
    dataset: Dataset, path: Path, *, overwrite: bool = False, fps: int | None = None, task: str | None = None
) -> None:
    """Write states, actions, rewards and end flags as a LeRobot dataset, whole or not at all.

    Parameters
    ----------
    dataset : Dataset
    path : Path
    overwrite : bool
    fps : int, optional
        Frames per second. Default: that of the LeRobot dataset that it was read from, else 10.
    task : str, optional
        What the episodes show, in words. Default: the tasks of the LeRobot dataset that it was read from, else the
        description, the environment or the id.

    Warns
    -----
    AssayWarning
        Once, with the names of what LeRobot has no place for; final observations are among them.

    Raises
    ------
    DatasetError
        If observations or actions hold text, there are no steps, or the folder exists and `overwrite` is False.
    """
    if not dataset.total_steps:
        raise DatasetError(f"{path}: the dataset has no steps, and LeRobot reads no empty one")
    known = dataset.info.extra.get("lerobot", {})
    known = known if isinstance(known, Mapping) else {}
    fps = fps if fps is not None else _whole(known.get("fps"))
    if fps < 1:
        raise ConfigError(f"fps is {fps}; a positive integer belongs there")
    dataset = in_machine_order(dataset, TITLE)
    columns = _features(dataset)
    tasks, task_of_episode = _tasks(dataset, known, task)
    _report_losses(dataset, columns)
    with atomic_folder(path, overwrite=overwrite) as folder:
        indices = _indices(dataset, fps, task_of_episode)
        features = _described(dataset, columns, indices, known)
        places = _write_frames(dataset, columns, indices, features, folder)
        summary = {}
        tables: dict[str, Any] = _episode_table(dataset, tasks, task_of_episode, places)
        for name in features:
            array = dataset.column(columns[name]) if name in columns else indices[name]
            has_finals = len(array) != dataset.total_steps
            starts = dataset.episode_starts + (np.arange(dataset.total_episodes) if has_finals else 0)
            array = array.reshape(len(array), *features[name]["shape"])
            summary[name] = statistics(array, dataset.observation_rows if has_finals else None)
            tables |= episode_statistics(name, array, starts, dataset.episode_lengths)
        _write_meta(folder, dataset, features, fps, known, tasks, tables, summary)


def _whole(fps: Any) -> int:
    return int(fps) if isinstance(fps, int | float) and fps >= 1 and fps == int(fps) else 10


def _features(dataset: Dataset) -> dict[str, str]:
    """Return feature of LeRobot -> column that goes there."""
    result: dict[str, str] = {}
    for column in dataset.columns:
        array = dataset.column(column)
        top, _, below = column.partition("/")
        inside = below.replace("/", ".")
        if top == "observations":
            name = f"observation.{inside or 'state'}"
        elif top == "actions":
            name = f"action.{inside}" if inside else "action"
        elif column in ("rewards", "terminations", "truncations"):
            name = {"rewards": "next.reward", "terminations": "next.terminated", "truncations": "next.truncated"}[
                column
            ]
        elif is_under(column, "infos/missing"):  # says of another column what is not there, under this very name
            continue
        elif top == "infos" and inside and inside not in _INDICES and not _is_ours(inside):
            name = inside
        elif column == "infos/timestamp" and array.dtype == np.float32 and array.shape == (dataset.total_steps,):
            name = "timestamp"
        else:
            continue
        if str(array.dtype) not in _NUMBERS or not math.prod(array.shape[1:]) or array.ndim > 6:
            if top in ("observations", "actions"):
                raise DatasetError(
                    f"column {column} is {array.dtype}{list(array.shape[1:])}; LeRobot holds numbers and booleans of up "
                    "to five dimensions"
                )
            continue
        if name in result:
            raise DatasetError(
                f"columns {result[name]} and {column} would both be LeRobot's feature {name}; rename one"
            )
        result[name] = column
    return result


def _is_ours(name: str) -> bool:
    return name in ("next.reward", "next.done", *_FLAGS) or name.startswith("observation.") or _is_named(name, "action")


def _tasks(dataset: Dataset, known: Mapping[str, Any], task: str | None) -> tuple[list[str], np.ndarray]:
    tasks = known.get("tasks")
    one = np.zeros(dataset.total_episodes, np.int64)
    if task is None and isinstance(tasks, list) and tasks and all(isinstance(text, str) for text in tasks):
        chosen = dataset.episode_columns.get("task_index")
        if len(tasks) == 1:
            return tasks, one
        if chosen is not None and chosen.dtype.kind in "iu" and chosen.min() >= 0 and chosen.max() < len(tasks):
            return tasks, chosen.astype(np.int64)
    text = task or dataset.info.description or dataset.info.environment_id or dataset.info.id or "unknown"
    return [text], one


def _indices(dataset: Dataset, fps: int, task_of_episode: np.ndarray) -> dict[str, np.ndarray]:
    episode = dataset.episode_of_step
    index = np.arange(dataset.total_steps)
    frame = index - dataset.episode_starts[episode]
    return {
        "next.done": dataset.terminations | dataset.truncations,
        "timestamp": (frame / fps).astype(np.float32),
        "frame_index": frame,
        "episode_index": episode,
        "index": index,
        "task_index": task_of_episode[episode],
    }


def _described(
    dataset: Dataset, columns: Mapping[str, str], indices: Mapping[str, np.ndarray], known: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the features as info.json describes them; the names of entries are kept from where they were read."""
    before = known.get("features")
    features: dict[str, Any] = {}
    for name in [*columns, *indices]:
        array = dataset.column(columns[name]) if name in columns else indices[name]
        shape = list(array.shape[1:]) or [1]
        old = before.get(name) if isinstance(before, Mapping) else None
        names = old.get("names") if isinstance(old, Mapping) and old.get("shape") == shape else None
        features[name] = {"dtype": str(array.dtype), "shape": shape, "names": names}
    return features


def _blocks(dataset: Dataset, row_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield (first, last + 1) of neighbouring episodes that are written together."""
    most = max(1, min(_BLOCK_ROWS, (_FILE_BYTES // 4) // row_bytes))
    first, rows = 0, 0
    for episode, length in enumerate(dataset.episode_lengths.tolist()):
        if rows and rows + length > most:
            yield first, episode
            first, rows = episode, 0
        rows += length
    yield first, dataset.total_episodes


def _write_frames(
    dataset: Dataset,
    columns: Mapping[str, str],
    indices: Mapping[str, np.ndarray],
    features: Mapping[str, Any],
    folder: Path,
) -> np.ndarray:
    """Write the data files; return (E, 2) chunk and file of every episode."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    row_bytes = sum(np.dtype(item["dtype"]).itemsize * math.prod(item["shape"]) for item in features.values())
    ends = np.concatenate([[0], np.cumsum(dataset.episode_lengths)])
    places = np.zeros((dataset.total_episodes, 2), np.int64)
    number, taken = 0, 0
    writer = None
    try:
        for first, last in _blocks(dataset, row_bytes):
            start, stop = int(ends[first]), int(ends[last])
            if writer is not None and taken + (stop - start) * row_bytes > _FILE_BYTES:
                writer.close()
                writer, number, taken = None, number + 1, 0
            arrays = {}
            for name, feature in features.items():
                if name in columns:
                    array = dataset.column(columns[name])
                    rows = (
                        slice(start, stop)
                        if len(array) == dataset.total_steps
                        else dataset.observation_rows[start:stop]
                    )
                    part = array[rows]
                else:
                    part = indices[name][start:stop]
                arrays[name] = _arrow(part, tuple(feature["shape"]))
            table = pa.table(arrays)
            if writer is None:
                file = folder / "data" / _place(number)
                file.parent.mkdir(parents=True, exist_ok=True)
                # Numbers of floating point hardly ever repeat: a dictionary of them costs time and saves nothing.
                whole = [name for name in features if np.dtype(features[name]["dtype"]).kind != "f"]
                writer = pq.ParquetWriter(file, table.schema, use_dictionary=whole, write_page_checksum=True)
            writer.write_table(table)
            taken += (stop - start) * row_bytes
            places[first:last] = divmod(number, _CHUNK_FILES)
    finally:
        if writer is not None:
            writer.close()
    return places


def _place(number: int) -> str:
    return f"chunk-{number // _CHUNK_FILES:03d}/file-{number % _CHUNK_FILES:03d}.parquet"


def _arrow(rows: np.ndarray, shape: tuple[int, ...]) -> pa.Array:
    """Return rows as LeRobot stores them: numbers for the shape (1,), else lists, the innermost of fixed length."""
    import pyarrow as pa

    array = pa.array(np.ascontiguousarray(rows).reshape(-1))
    if shape == (1,):
        return array
    if len(shape) == 1:
        return pa.FixedSizeListArray.from_arrays(array, shape[0])
    for length in reversed(shape):
        array = pa.ListArray.from_arrays(np.arange(0, len(array) + 1, length, dtype=np.int32), array)
    return array


def _episode_table(
    dataset: Dataset, tasks: list[str], task_of_episode: np.ndarray, places: np.ndarray
) -> dict[str, Any]:
    ends = np.cumsum(dataset.episode_lengths)
    table: dict[str, Any] = {
        "episode_index": np.arange(dataset.total_episodes),
        "tasks": [[tasks[number]] for number in task_of_episode.tolist()],
        "length": dataset.episode_lengths,
        "data/chunk_index": places[:, 0],
        "data/file_index": places[:, 1],
        "dataset_from_index": ends - dataset.episode_lengths,
        "dataset_to_index": ends,
        "meta/episodes/chunk_index": np.zeros(dataset.total_episodes, np.int64),
        "meta/episodes/file_index": np.zeros(dataset.total_episodes, np.int64),
    }
    for name, array in _kept_episode_columns(dataset).items():
        table[name] = array.tolist() if array.dtype.kind == "U" else array
    return table


def _kept_episode_columns(dataset: Dataset) -> dict[str, np.ndarray]:
    return {
        name: array
        for name, array in dataset.episode_columns.items()
        if "/" not in name
        and name not in {*_EPISODE_INDICES, "final_observation", "task_index"}
        and (str(array.dtype) in _NUMBERS or array.dtype.kind == "U")
    }


def _write_meta(
    folder: Path,
    dataset: Dataset,
    features: Mapping[str, Any],
    fps: int,
    known: Mapping[str, Any],
    tasks: list[str],
    episodes: Mapping[str, Any],
    summary: Mapping[str, Any],
) -> None:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    meta = folder / "meta"
    (meta / "episodes" / "chunk-000").mkdir(parents=True)
    pq.write_table(pa.table(dict(episodes)), meta / "episodes" / _place(0), write_page_checksum=True)
    # LeRobot looks a task's number up by its text, which is the index of the frame.
    pd.DataFrame({"task_index": range(len(tasks))}, index=tasks).to_parquet(meta / "tasks.parquet")
    info = {
        "codebase_version": _VERSION,
        "robot_type": known.get("robot_type"),
        "total_episodes": dataset.total_episodes,
        "total_frames": dataset.total_steps,
        "total_tasks": len(tasks),
        "chunks_size": _CHUNK_FILES,
        "data_files_size_in_mb": _FILE_BYTES >> 20,
        "video_files_size_in_mb": _VIDEO_MB,
        "fps": fps,
        "splits": {"train": f"0:{dataset.total_episodes}"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": None,
        "features": features,
    }
    (meta / "info.json").write_text(json.dumps(info, indent=4))
    (meta / "stats.json").write_text(json.dumps(summary, indent=4))


def _report_losses(dataset: Dataset, columns: Mapping[str, str]) -> None:
    kept = {*_kept_episode_columns(dataset), "final_observation", "task_index"}
    lost = [name for name in dataset.columns if name not in columns.values()]
    lost += [name for name in dataset.episode_columns if name not in kept]
    others = ["final observations"] if dataset.final_observations_known.any() else []
    others += [
        f"final rows of {column}"
        for column in columns.values()
        if is_under(column, "infos") and len(dataset.column(column)) != dataset.total_steps
    ]
    report_losses(dataset, "LeRobot", lost, others)
