"""LeRobot datasets (huggingface/lerobot) of the versions 2.0, 2.1 and 3.0: Parquet frames, described by JSON; v3.0 is written.

`lerobot_metadata` draws what is in the folder. Every data file is read once, whatever the number of episodes in it. What
becomes of a feature, where `columns` says nothing else (`lerobot_features`)::

    observation.<name>          observations/<name>, or observations where there is one only
    action, action.<name>       actions, or actions/<name> where there are several
    next.reward                 rewards; missing where there is none
    next.terminated, next.truncated     terminations, truncations (Assay writes them; they are features like any other)
    next.done                   LeRobot does not tell the two apart: with next.success on the same frame a termination,
                                otherwise a truncation
    task_index                  episode column of this name, where there are several tasks; texts are in info.extra
    timestamp                   time, in seconds; exactly frame_index / fps where it is that, which it nearly always is
    frame_index, episode_index, index   checked, and given by the order of the rows
    others                      infos/<name>

An episode has as many observations as actions: the final one was not recorded. Names that are not LeRobot's own are kept in
`info.extra` and written again; info.json then says under `assay` which columns they are.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from assay.datasets.atomic import atomic_folder
from assay.datasets.dataset import Dataset, is_under
from assay.datasets.errors import AssayWarning, ConfigError, DatasetError, FormatError
from assay.datasets.formats.containers.parquet import open_parquet, values
from assay.datasets.formats.lerobot_features import (
    INDICES,
    is_named,
    names_of_entries,
    place_features,
    proposed,
    standard_feature,
)
from assay.datasets.formats.lerobot_metadata import EPISODE_INDICES, NUMBERS, VERSION_WRITTEN, Metadata, read_metadata
from assay.datasets.formats.lerobot_statistics import episode_statistics, statistics
from assay.datasets.formats.losses import names_and_units, report_losses
from assay.datasets.formats.mapping import Given
from assay.datasets.formats.rows import flat, in_machine_order, naming
from assay.datasets.info import DatasetInfo
from assay.datasets.memory import empty
from assay.datasets.progress import Progress
from assay.datasets.tables.clock import seconds_of
from assay.datasets.tables.column_mapping import ColumnMapping, as_mapping
from assay.datasets.tables.endings import end_episodes

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["propose", "read", "sniff", "write"]

TITLE = "LeRobot"
LAYOUT = "folder"
ORDER = 30
CANNOT_HOLD = (
    "labels that are missing in part (missing/..., dropped by name only), "
    "next_observations that differ, weights, costs, corrupted/... and other columns that methods may learn from "
    "(dropped by name only), final observations, nesting below the first level (joined by dots), the name of a "
    "single nested observation or action, unless LeRobot data had it, rows without dimensions (they become rows of one "
    "number), final rows of infos, text, foreign byte order, info and history"
)

MARKS = ("meta/info.json", "meta/episodes", "meta/episodes.jsonl")
_VECTORS = ("observations", "actions")
_FLAGS = ("terminations", "truncations")
_OWN_FLAGS = ("next.terminated", "next.truncated")
_PICTURES = ("video", "image")
_USUAL_FPS, _RATE_TOLERANCE = 10, 0.01
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


def read(path: Path, *, columns: Given = None, videos: Sequence[str] = ()) -> Dataset:
    """Read a LeRobot dataset.

    Parameters
    ----------
    path : Path
    columns : mapping, or path of a YAML file, optional
        For datasets with names of their own: column -> feature or features, `ends` (what the end of an episode means where
        there are no flags), `time`, `units`, `name`; see `assay.datasets.tables.column_mapping`. Videos and images that it
        names are decoded, as those of `videos` are.
    videos : sequence of str
        Features of videos or images to decode, such as `["observation.images.top"]`, into `observations/images.top` (uint8, rows
        of height, width, channel). Videos need PyAV (`pip install assay[video]`). Others are listed in
        `info.extra["lerobot"]["videos"]`.

    Returns
    -------
    Dataset
        No final observation is known. `info.extra["lerobot"]` has what LeRobot knows beyond the columns: fps, robot
        type, features with the names of their entries, tasks, and which features were not read.

    Warns
    -----
    AssayWarning
        About end flags that the dataset does not have.

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
    metadata = read_metadata(path)
    info, lengths = metadata.info, metadata.lengths
    features = info["features"]
    numbers = {name: feature for name, feature in features.items() if feature["dtype"] in NUMBERS}
    for name in INDICES:
        if name not in numbers:
            raise FormatError(f"{path / 'meta/info.json'}: feature {name} is missing")
    mapping = as_mapping(columns, path) if columns is not None else _own_mapping(info, path)
    _check_said(mapping, numbers, path)
    wanted = _wanted_videos(path, features, videos, mapping)
    places = place_features(numbers, wanted, mapping, path)
    table = _read_frames(metadata, numbers, places)
    for name in wanted:
        if features[name]["dtype"] == "image":
            from assay.datasets.formats.lerobot_images import decode_images

            table[name] = decode_images(name, metadata)
        else:
            from assay.datasets.formats.lerobot_video import decode

            table[name] = decode(name, metadata)
    rows = np.arange(int(lengths.sum())) + np.repeat(np.arange(len(lengths)), lengths)  # of the steps, in observations
    result = {}
    for column, names in places.items():
        parts = [table[name] for name in names]
        if not is_under(column, "observations"):  # a feature may be observed and be something else, too
            parts = [part[rows] if len(part) > len(rows) else part for part in parts]
        if column not in ("rewards", *_FLAGS):
            result[column] = _side_by_side(parts, f"{path}: {', '.join(names)}")
    result["time"] = _time(table, mapping, info["fps"], path)
    result |= _rewards_and_flags(path, table, places, mapping, lengths)
    extra = dict(metadata.extra)
    starts = np.cumsum(lengths) - lengths
    task = table["task_index"]
    if len(metadata.tasks) > 1 and np.array_equal(np.repeat(task[starts], lengths), task):
        extra["task_index"] = task[starts]
    elif len(metadata.tasks) > 1:
        result["infos/task_index"] = task
    taken = {name for names in places.values() for name in names}
    taken |= {*_derived(table, result), mapping.time or "time"}
    result |= {f"infos/{name}": table[name] for name in numbers if name not in taken}
    extra["final_observation"] = np.zeros(len(lengths), bool)
    with naming(path):
        about = _info(metadata, wanted, places, mapping)
        return Dataset(result, lengths, info=about, episode_columns=extra)


def propose(path: Path) -> str:
    """Return a mapping for `path`, as YAML to be edited."""
    features = read_metadata(path).info["features"]
    numbers = {name: feature for name, feature in features.items() if feature["dtype"] in NUMBERS}
    plain = {**proposed(numbers), **({} if "next.done" in numbers else {"ends": "truncated"})}
    taken = as_mapping(plain, path).names
    lines = [f"# {path}: {len(features)} features; episodes and time are LeRobot's own"]
    lines.append(yaml.safe_dump(plain, sort_keys=False).rstrip())
    left = {name: feature for name, feature in features.items() if name not in taken and name not in INDICES}
    hints = dict.fromkeys(_PICTURES, "; decoded where a column names it, such as observations/camera")
    lines += [
        f"# not taken: {name} ({feature['dtype']}{feature['shape']}{hints.get(feature['dtype'], '')})"
        for name, feature in left.items()
    ]
    return "\n".join(lines) + "\n"


def _check_said(mapping: ColumnMapping, numbers: Mapping[str, Any], path: Path) -> None:
    """Raise ConfigError where a mapping says what a LeRobot dataset says itself, or names what is not there."""
    if mapping.tells_episodes or mapping.categories:
        raise ConfigError(
            f"{path}: a LeRobot dataset says itself where episodes are, and holds numbers: leave that out"
        )
    ends = mapping.ends if mapping.ends not in ("truncated", "terminated") else None
    for key, name in (("time", mapping.time), ("ends", ends), *(("units", name) for name in mapping.units)):
        if name is not None and name not in numbers:
            raise ConfigError(f"{path}: there is no feature {name!r} for {key}; there are {', '.join(numbers)}")


def _side_by_side(parts: Sequence[np.ndarray], where: str) -> np.ndarray:
    """Return several features as one row of numbers."""
    if len(parts) == 1:
        return parts[0]
    if any(part.ndim != 2 for part in parts):
        raise DatasetError(f"{where}: only features of one dimension stand side by side; name them one by one")
    return np.concatenate(parts, axis=1)


def _time(table: Mapping[str, np.ndarray], mapping: ColumnMapping, fps: float, path: Path) -> np.ndarray:
    """Return seconds: what the mapping says, a feature `time` that Assay wrote, or LeRobot's stamps without their rounding."""
    if mapping.time is not None:
        return seconds_of(flat(table[mapping.time], f"{path}: {mapping.time}"), mapping.time_unit, path)[0]
    if (own := table.get("time")) is not None and own.dtype == np.float64 and own.ndim == 1:
        return own
    seconds: np.ndarray = table["frame_index"] / fps
    stamps = flat(table["timestamp"], f"{path}: timestamp")
    return seconds if np.array_equal(seconds.astype(np.float32), stamps) else stamps.astype(np.float64)


def _own_mapping(info: Mapping[str, Any], path: Path) -> ColumnMapping:
    """Return the mapping that `write` left in info.json."""
    block = info.get("assay", {})
    columns = block.get("columns", {}) if isinstance(block, dict) else None
    if not isinstance(columns, dict):
        raise FormatError(f"{path / 'meta/info.json'}: assay is {block!r:.80}; a mapping of columns belongs there")
    return as_mapping(columns, path / "meta/info.json")


def _derived(table: Mapping[str, np.ndarray], columns: Mapping[str, np.ndarray]) -> Iterator[str]:
    """Yield the features that need no column: the other columns or the order of the rows determine them."""
    yield from INDICES
    yield "next.reward"
    if all(name in table for name in _OWN_FLAGS):
        yield from _OWN_FLAGS
    done = table.get("next.done")
    if done is not None and np.array_equal(done.astype(bool), columns["terminations"] | columns["truncations"]):
        yield "next.done"


def _read_frames(
    metadata: Metadata, features: Mapping[str, Any], places: Mapping[str, Sequence[str]]
) -> dict[str, np.ndarray]:
    """Read every data file once, each column straight into its place; observations have a row more per episode."""
    lengths, folder = metadata.lengths, metadata.path / "data"
    steps = int(lengths.sum())
    episode_of_step = np.repeat(np.arange(len(lengths)), lengths)
    under = {
        role: [n for column, names in places.items() if is_under(column, role) for n in names] for role in _VECTORS
    }
    observed = [name for name in under["observations"] if name in features]
    vectors = {*under["observations"], *under["actions"]}
    sizes = {name: math.prod(feature["shape"]) for name, feature in features.items()}
    shapes = {
        name: () if feature["shape"] == [1] and name not in vectors else tuple(feature["shape"])
        for name, feature in features.items()
    }
    table: dict[str, np.ndarray] = {}
    start = 0
    for file in metadata.data_files:
        with open_parquet(file) as frames:
            if start + frames.rows > steps:
                raise DatasetError(f"{file}: more frames than the {steps} that meta/ lists")
            frames.check_fits(8 * sum(sizes.values()))
            for batch in frames.batches(sizes):
                rows = slice(start, start + batch.num_rows)
                for name, shape in shapes.items():
                    part = values(batch.column(name), shape, f"{file}: column {name}")
                    if name not in table:
                        extra = len(lengths) if name in observed else 0
                        table[name] = empty((steps + extra, *shape), part.dtype)
                    if part.dtype != table[name].dtype:
                        raise FormatError(f"{file}: column {name} is {part.dtype}, but {table[name].dtype} before")
                    place = episode_of_step[rows] + np.arange(rows.start, rows.stop) if name in observed else rows
                    table[name][place] = part
                _check_order(file, table, rows, lengths, episode_of_step)
                start = rows.stop
    if start != steps:
        raise DatasetError(f"{folder} holds {start} frames, but meta/ lists {steps}; the dataset is incomplete")
    finals = np.cumsum(lengths + 1) - 1
    for name in observed:
        table[name][finals] = table[name][finals - 1]
    return table


def _check_order(
    file: Path, table: Mapping[str, np.ndarray], rows: slice, lengths: np.ndarray, episode_of_step: np.ndarray
) -> None:
    starts = np.cumsum(lengths) - lengths
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
    path: Path,
    table: Mapping[str, np.ndarray],
    places: Mapping[str, Sequence[str]],
    mapping: ColumnMapping,
    lengths: np.ndarray,
) -> dict[str, np.ndarray]:
    """Return rewards and flags: what the mapping names, else LeRobot's own features."""
    result, steps = {}, int(lengths.sum())
    absent = []
    if not any(is_under(column, "actions") for column in places):
        absent.append('no actions, which are missing (columns={"actions": "..."} names others)')
    reward = places.get("rewards", ("next.reward",))[0]
    if reward in table:
        if len(table[reward]) > steps:
            raise ConfigError(f"{path}: {reward} cannot be observations and rewards both")
        result["rewards"] = flat(table[reward], f"{path}: {reward}")
    result |= dict.fromkeys(_FLAGS, np.zeros(steps, bool))
    own = {name: _flag(path, table, name) for name in (*_OWN_FLAGS, "next.done", "next.success") if name in table}
    if mapped := {name: _flag(path, table, places[name][0]) for name in _FLAGS if name in places}:
        result |= mapped
    elif all(name in own for name in _OWN_FLAGS):
        result |= {"terminations": own["next.terminated"], "truncations": own["next.truncated"]}
    elif "next.done" in own:
        solved = own["next.done"] & own.get("next.success", result["terminations"])
        result |= {"terminations": solved, "truncations": own["next.done"] & ~solved}
    elif mapping.ends is None:
        absent.append('no end flags (next.done), so none is set; columns={"ends": "truncated"} says what an end means')
    ends = mapping.ends
    said: Any = ends if ends in (None, "truncated", "terminated") else _flag(path, table, str(ends))
    result["terminations"], result["truncations"] = end_episodes(
        result["terminations"], result["truncations"], lengths, said
    )
    if absent:
        warnings.warn(f"{path} has {' and '.join(absent)}", AssayWarning, stacklevel=4)
    return result


def _flag(path: Path, table: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    array = flat(table[name], f"{path}: {name}")
    result: np.ndarray = array.astype(bool)
    if len(wrong := np.flatnonzero(array != result)):
        raise DatasetError(f"{path}: {name} of frame {wrong[0]} is {array[wrong[0]]}; 0 or 1 belongs there")
    return result


def _wanted_videos(path: Path, features: Mapping[str, Any], videos: Sequence[str], mapping: ColumnMapping) -> list[str]:
    """Return the features that are decoded: those of `videos`, and those that a mapping makes columns of."""
    if isinstance(videos, str):
        raise ConfigError(f"videos is {videos!r}; a list of features belongs there, such as [{videos!r}]")
    there = [name for name, feature in features.items() if feature["dtype"] in _PICTURES]
    for name in videos:
        if name not in there:
            raise ConfigError(f"{path} has no video {name!r}; it has {', '.join(there) or 'none'}")
    return list(dict.fromkeys([*videos, *(name for name in mapping.names if name in there)]))


def _info(
    metadata: Metadata, decoded: Sequence[str], places: Mapping[str, Sequence[str]], mapping: ColumnMapping
) -> DatasetInfo:
    info, path = metadata.info, metadata.path
    features = info["features"]
    kinds = {name: feature["dtype"] for name, feature in features.items()}
    left = {
        "videos": [name for name, kind in kinds.items() if kind in _PICTURES and name not in decoded],
        "not_read": [name for name, kind in kinds.items() if kind not in NUMBERS and kind not in _PICTURES],
        "episode_columns_not_read": metadata.left,
    }
    known = {
        "fps": info["fps"],
        "robot_type": info.get("robot_type"),
        "tasks": metadata.tasks,
        "features": {name: feature for name, feature in features.items() if name not in INDICES},
        "columns": {
            column: names[0]
            for column, names in places.items()
            if len(names) == 1 and names[0] not in decoded and standard_feature(column) != names[0]
        },
        "splits": info.get("splits"),
    }
    extra = {key: value for key, value in (known | left).items() if value}
    source = f"LeRobot {info['codebase_version']} dataset {path.name}"
    names, units = {}, {}
    for column, parts in places.items():
        labels = [names_of_entries(features[name]) for name in parts if name not in decoded]
        if is_under(column, "infos") or not labels:
            continue
        if all(label is not None for label in labels):
            names[column] = tuple(text for label in labels if label is not None for text in label)
        if any(name in mapping.units for name in parts):
            sizes = [math.prod(features[name]["shape"]) for name in parts]
            units[column] = tuple(
                mapping.units.get(n, "") for n, size in zip(parts, sizes, strict=True) for _ in range(size)
            )
    name = mapping.name or path.name
    return DatasetInfo(id=name, source=source, extra={"lerobot": extra}, names=names, units=units)


# -------------------------------------------------------------------- writing


def write(
    dataset: Dataset,
    path: Path,
    *,
    overwrite: bool = False,
    fps: int | None = None,
    task: str | None = None,
    progress: Progress | None = None,
) -> None:
    """Write states, actions, rewards and end flags as a LeRobot dataset, whole or not at all.

    Parameters
    ----------
    dataset : Dataset
    path : Path
    overwrite : bool
    fps : int, optional
        Frames per second. Default: that of the LeRobot dataset that it was read from, else that of the time stamps, else 10.
    task : str, optional
        What the episodes show, in words. Default: the tasks of the LeRobot dataset that it was read from, else the
        description, the environment or the id.
    progress : callable, optional
        Called with (episodes written, episodes in all).

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
    fps = fps if fps is not None else _whole(known.get("fps")) or _measured(dataset) or _USUAL_FPS
    if fps < 1:
        raise ConfigError(f"fps is {fps}; a positive integer belongs there")
    dataset = in_machine_order(dataset, TITLE)
    columns = _features(dataset, known)
    if "time" in dataset.columns and not np.array_equal(dataset.column("time"), _seconds(dataset, fps)):
        columns["time"] = "time"
    tasks, task_of_episode = _tasks(dataset, known, task)
    _report_losses(dataset, columns)
    with atomic_folder(path, overwrite=overwrite) as folder:
        indices = _indices(dataset, fps, task_of_episode)
        features = _described(dataset, columns, indices, known)
        places = _write_frames(dataset, columns, indices, features, folder, progress)
        summary = {}
        tables: dict[str, Any] = _episode_table(dataset, tasks, task_of_episode, places)
        for name in features:
            array = dataset.column(columns[name]) if name in columns else indices[name]
            has_finals = len(array) != dataset.total_steps
            starts = dataset.episode_starts + (np.arange(dataset.total_episodes) if has_finals else 0)
            array = array.reshape(len(array), *features[name]["shape"])
            summary[name] = statistics(array, dataset.observation_rows if has_finals else None)
            tables |= episode_statistics(name, array, starts, dataset.episode_lengths)
        names = {column: name for name, column in columns.items() if not is_under(column, "infos")}
        _write_meta(folder, dataset, features, fps, known, tasks, tables, summary, names)


def _whole(fps: Any) -> int | None:
    return int(fps) if isinstance(fps, int | float) and fps >= 1 and fps == int(fps) else None


def _measured(dataset: Dataset) -> int | None:
    """Return the frames per second that the time stamps say, where they say a whole number."""
    if "time" not in dataset.columns or dataset.total_steps == dataset.total_episodes:
        return None
    inside = np.diff(dataset.episode_of_step) == 0
    period = float(np.median(np.diff(dataset.column("time"))[inside]))
    rate = round(1 / period) if 0 < period <= 1 else 0
    return rate if rate and abs(rate * period - 1) < _RATE_TOLERANCE else None


def _seconds(dataset: Dataset, fps: int) -> np.ndarray:
    """Return the seconds since the beginning of the episode, at this rate."""
    frame = np.arange(dataset.total_steps) - dataset.episode_starts[dataset.episode_of_step]
    seconds: np.ndarray = frame / fps
    return seconds


def _features(dataset: Dataset, known: Mapping[str, Any]) -> dict[str, str]:
    """Return feature of LeRobot -> column that goes there, under the names that it was read from."""
    before = known.get("columns")
    names = before if isinstance(before, Mapping) else {}
    result: dict[str, str] = {}
    for column in dataset.columns:
        array = dataset.column(column)
        top = column.split("/")[0]
        name = names.get(column)
        name = name if _may_be_called(column, name) else standard_feature(column)
        if name is None or is_under(column, "infos/missing"):  # which says of another column what is not there
            continue
        if top == "infos" and not _may_be_called(column, name):
            continue
        if str(array.dtype) not in NUMBERS or not math.prod(array.shape[1:]) or array.ndim > 6:
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


def _may_be_called(column: str, name: Any) -> bool:
    """Tell whether a column may go under a feature's name: not where LeRobot's readers know it as something else."""
    if (
        not isinstance(name, str)
        or not name
        or "/" in name
        or name in (*INDICES, "next.reward", "next.done", *_OWN_FLAGS)
    ):
        return name == standard_feature(column) and name not in INDICES
    acted = name.startswith("observation.") or is_named(name, "action")
    return column.split("/")[0] in ("observations", "actions") or not acted


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
        own = dataset.info.names.get(columns.get(name, ""))
        if own and own != names_of_entries({"names": names, "shape": shape}):
            names = list(own)
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
    progress: Progress | None,
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
            if progress is not None:
                progress(last, dataset.total_episodes)
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
        and name not in {*EPISODE_INDICES, "final_observation", "task_index"}
        and (str(array.dtype) in NUMBERS or array.dtype.kind == "U")
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
    names: Mapping[str, str],
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
        "codebase_version": VERSION_WRITTEN,
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
    if any(names[column] != standard_feature(column) for column in names):
        info["assay"] = {"columns": names}
    (meta / "info.json").write_text(json.dumps(info, indent=4))
    (meta / "stats.json").write_text(json.dumps(summary, indent=4))


def _report_losses(dataset: Dataset, columns: Mapping[str, str]) -> None:
    kept = {*_kept_episode_columns(dataset), "final_observation", "task_index"}
    lost = [name for name in dataset.columns if name not in (*columns.values(), "time")]  # else the stamps say it
    lost += [name for name in dataset.episode_columns if name not in kept]
    others = ["final observations"] if dataset.final_observations_known.any() else []
    others += [
        f"final rows of {column}"
        for column in columns.values()
        if is_under(column, "infos") and len(dataset.column(column)) != dataset.total_steps
    ]
    report_losses(dataset, "LeRobot", lost, [*others, *names_and_units(dataset, names=False)])
