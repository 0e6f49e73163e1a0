"""What a LeRobot folder says about itself, in the three layouts that are about.

::

    v3.0    meta/info.json, meta/tasks.parquet, meta/episodes/chunk-000/file-000.parquet
            data/chunk-000/file-000.parquet                             many episodes in a file
            videos/<feature>/chunk-000/file-000.mp4
    v2.1    meta/info.json, meta/tasks.jsonl, meta/episodes.jsonl, meta/episodes_stats.jsonl
            data/chunk-000/episode_000000.parquet                       a file for each episode
            videos/chunk-000/<feature>/episode_000000.mp4
    v2.0    as v2.1, with meta/stats.json in place of meta/episodes_stats.jsonl

Statistics are not read: they can be computed. Files are found by their numbers, never by the templates in info.json, which a
stranger may have written.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from assay.datasets.dataset import RESERVED_EPISODE_COLUMNS
from assay.datasets.errors import DatasetError, FormatError
from assay.datasets.formats.containers.files import read_json_lines, read_json_object
from assay.datasets.formats.containers.parquet import open_parquet

__all__ = ["EPISODE_INDICES", "NUMBERS", "VERSIONS", "VERSION_WRITTEN", "Metadata", "read_metadata"]

VERSION_WRITTEN = "v3.0"
VERSIONS = ("v2.0", "v2.1", VERSION_WRITTEN)
NUMBERS = {
    "bool",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    *("float16", "float32", "float64"),
}
"""Names of the dtypes of features that are numbers."""
EPISODE_INDICES = {"episode_index", "length", "tasks", "dataset_from_index", "dataset_to_index"}

_SHARED_FILE = re.compile(r"chunk-(\d{1,9})/file-(\d{1,9})\.parquet")
_EPISODE_FILE = re.compile(r"chunk-(\d{1,9})/episode_(\d{1,9})\.(parquet|mp4)")
_LONGEST_TEXT = 1 << 16  # characters


@dataclass(frozen=True)
class Metadata:
    """A LeRobot folder without its frames; `read_metadata` makes it.

    Parameters
    ----------
    path : Path
    info : dict
        info.json, checked.
    lengths : (E,) int64
    tasks : list of str
        Their texts, by number.
    data_files : list of Path
        In the order of the frames.
    extra : mapping of str to (E,) array
        Columns of the episodes that are not LeRobot's.
    left : list of str
        Columns of the episodes that are not read.
    columns : mapping of str to (E,) array
        Of v3.0: the episodes table as it is, with the places of the videos.
    """

    path: Path
    info: dict[str, Any]
    lengths: np.ndarray
    tasks: list[str]
    data_files: list[Path]
    extra: dict[str, np.ndarray]
    left: list[str]
    columns: dict[str, np.ndarray] = field(default_factory=dict)

    def video_files(self, name: str) -> Iterator[tuple[Path, np.ndarray, np.ndarray]]:
        """Yield (file, its episodes, where each begins in seconds) of a video feature."""
        if "/" in name or ".." in name:
            raise FormatError(f"{self.path}: {name!r} is not a feature's name")
        if self.info["codebase_version"] != VERSION_WRITTEN:
            found = _files_of_episodes(self.path / "videos", f"chunk-*/{name}/episode_*.mp4", len(self.lengths))
            for episode, file in enumerate(found):
                yield file, np.array([episode]), np.zeros(1)
            return
        places = {}
        for key in ("chunk_index", "file_index", "from_timestamp"):
            column = self.columns.get(f"videos/{name}/{key}")
            if column is None or column.dtype.kind not in "iuf":
                raise FormatError(f"{self.path / 'meta/episodes'}: column videos/{name}/{key} of numbers is missing")
            places[key] = column
        files = np.stack([places["chunk_index"], places["file_index"]], axis=1).astype(np.int64)
        for chunk, number in np.unique(files, axis=0).tolist():
            inside = np.flatnonzero((files == (chunk, number)).all(axis=1))
            file = self.path / "videos" / name / f"chunk-{chunk:03d}" / f"file-{number:03d}.mp4"
            yield file, inside, places["from_timestamp"][inside]


def read_metadata(path: Path) -> Metadata:
    """Read everything in `meta/` and find the data files.

    Raises
    ------
    FormatError
        If a file is missing or damaged, or the dataset is of an unknown version; with the file.
    DatasetError
        If files disagree about the episodes.
    """
    info = _read_info(path)
    if info["codebase_version"] == VERSION_WRITTEN:
        columns, left = _episodes_table(path)
        lengths = _lengths(path / "meta" / "episodes", info, columns)
        _check_ranges(path / "meta" / "episodes", columns, lengths)
        _check_total(path / "meta" / "episodes", info, lengths)
        known = {name for name in columns if name in EPISODE_INDICES or name.startswith(("data/", "videos/"))}
        left |= {name for name in columns if "/" in name or name in RESERVED_EPISODE_COLUMNS} - known
        extra = {name: array for name, array in columns.items() if name not in known | left}
        files = _shared_files(path / "data")
        return Metadata(path, info, lengths, _tasks_table(path), files, extra, sorted(left), columns)
    file = path / "meta" / "episodes.jsonl"
    columns, left = _episodes_lines(file)
    lengths = _lengths(file, info, columns)
    _check_total(file, info, lengths)
    files = _files_of_episodes(path / "data", "chunk-*/episode_*.parquet", len(lengths))
    extra = {name: array for name, array in columns.items() if name not in EPISODE_INDICES}
    return Metadata(path, info, lengths, _tasks_lines(path / "meta" / "tasks.jsonl"), files, extra, sorted(left))


# -------------------------------------------------------------------- info.json


def _read_info(path: Path) -> dict[str, Any]:
    file = path / "meta" / "info.json"
    info = read_json_object(file)
    if not isinstance(info.get("features"), dict):
        raise FormatError(f"{file} is damaged: it describes no features")
    if info.get("codebase_version") not in VERSIONS:
        raise FormatError(
            f"{file}: codebase_version is {info.get('codebase_version')!r}; {', '.join(VERSIONS)} are read"
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
        if feature["dtype"] in NUMBERS and not math.prod(shape):
            raise FormatError(f"{file}: feature {name} has the shape {shape}, which holds nothing")
    return info


# -------------------------------------------------------------------- episodes and tasks


def _episodes_table(path: Path) -> tuple[dict[str, np.ndarray], set[str]]:
    """Return the columns of v3.0's episodes table, and the names of those that are not read."""
    parts: dict[str, list[np.ndarray]] = {}
    left: set[str] = set()
    files = _shared_files(path / "meta" / "episodes")
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
    return {name: np.concatenate(part) for name, part in parts.items()}, left


def _episodes_lines(file: Path) -> tuple[dict[str, np.ndarray], set[str]]:
    """Return the columns that v2's lines of JSON make, and the names of those that are not read."""
    episodes = read_json_lines(file)
    columns: dict[str, np.ndarray] = {}
    left: set[str] = set()
    for name in dict.fromkeys(key for episode in episodes for key in episode if key != "tasks"):
        values = [episode.get(name) for episode in episodes]
        column = _column(values)
        if column is None or (name in RESERVED_EPISODE_COLUMNS and name not in EPISODE_INDICES):
            left.add(name)
        else:
            columns[name] = column
    return columns, left


def _column(values: list[Any]) -> np.ndarray | None:
    """Return values of one kind (booleans, whole numbers, numbers, texts) as an array, else None."""
    kinds = {type(value) for value in values}
    if kinds <= {int, float} and kinds and all(abs(value) < 2**63 for value in values):
        return np.array(values, np.int64 if kinds == {int} else np.float64)
    if kinds == {bool}:
        return np.array(values)
    if kinds == {str} and max(map(len, values)) <= _LONGEST_TEXT and not any(text.endswith("\0") for text in values):
        return np.array(values, str)
    return None


def _lengths(where: Path, info: Mapping[str, Any], columns: Mapping[str, np.ndarray]) -> np.ndarray:
    for needed in ("episode_index", "length"):
        if needed not in columns or columns[needed].dtype.kind not in "iu":
            raise FormatError(f"{where}: column {needed} of integers is missing")
    lengths = columns["length"].astype(np.int64)
    if len(lengths) != info["total_episodes"] or not np.array_equal(columns["episode_index"], np.arange(len(lengths))):
        raise DatasetError(
            f"{where} does not list the episodes 0 to {info['total_episodes'] - 1} once each, as meta/info.json says"
        )
    if len(wrong := np.flatnonzero((lengths < 1) | (lengths > info["total_frames"]))):
        raise DatasetError(f"{where}: episode {wrong[0]} has {lengths[wrong[0]]} steps")
    return lengths


def _check_total(where: Path, info: Mapping[str, Any], lengths: np.ndarray) -> None:
    total = sum(lengths.tolist())
    if total != info["total_frames"]:
        raise DatasetError(f"{where}: the episodes hold {total} frames, but meta/info.json says {info['total_frames']}")


def _check_ranges(where: Path, columns: Mapping[str, np.ndarray], lengths: np.ndarray) -> None:
    """Check the rows of the data that v3.0 gives each episode."""
    ends = np.cumsum(lengths)
    for name, expected in (("dataset_from_index", ends - lengths), ("dataset_to_index", ends)):
        if name not in columns or columns[name].dtype.kind not in "iu":
            raise FormatError(f"{where}: column {name} of integers is missing")
        if len(wrong := np.flatnonzero(columns[name] != expected)):
            raise DatasetError(
                f"{where}: {name} of episode {wrong[0]} is {columns[name][wrong[0]]}, but the episodes before it "
                f"make it {expected[wrong[0]]}"
            )


def _tasks_table(path: Path) -> list[str]:
    file = path / "meta" / "tasks.parquet"
    with open_parquet(file) as table:
        texts = [name for name, kind in table.types.items() if str(kind) in ("string", "large_string")]
        if "task_index" not in table.types or len(texts) != 1:
            raise FormatError(f"{file}: the columns {', '.join(table.types)} are not task_index and the task's text")
        return _ordered(file, table.column("task_index").tolist(), table.column(texts[0]).tolist())


def _tasks_lines(file: Path) -> list[str]:
    lines = read_json_lines(file)
    for number, line in enumerate(lines):
        if type(line.get("task_index")) is not int or not isinstance(line.get("task"), str):
            raise FormatError(f"{file}, line {number + 1}: a task_index and the task's text belong there")
    return _ordered(file, [line["task_index"] for line in lines], [line["task"] for line in lines])


def _ordered(file: Path, indices: list[int], texts: list[str]) -> list[str]:
    if sorted(indices) != list(range(len(texts))):
        raise FormatError(f"{file}: the tasks are not numbered from 0 to {len(texts) - 1}")
    return [str(text) for _, text in sorted(zip(indices, texts, strict=True))]


# -------------------------------------------------------------------- files


def _shared_files(folder: Path) -> list[Path]:
    """Return the Parquet files of a folder in the order of their numbers, as LeRobot takes them."""
    found = []
    for file in folder.glob("chunk-*/file-*.parquet"):
        match = _SHARED_FILE.fullmatch(file.relative_to(folder).as_posix())
        if match and file.is_file():
            found.append(((int(match[1]), int(match[2])), file))
    if not found:
        raise FormatError(f"{folder} holds no files chunk-000/file-000.parquet, ...; the dataset is incomplete")
    return [file for _, file in sorted(found)]


def _files_of_episodes(folder: Path, pattern: str, episodes: int) -> list[Path]:
    """Return the file of every episode, of a layout with one each."""
    found: dict[int, Path] = {}
    for file in folder.glob(pattern):
        match = _EPISODE_FILE.fullmatch(f"{file.relative_to(folder).parts[0]}/{file.name}")
        if match and found.setdefault(int(match[2]), file) != file:
            raise FormatError(f"{file} and {found[int(match[2])]} hold the same episode; remove one")
    if missing := [number for number in range(episodes) if number not in found]:
        example = folder / pattern.replace("*", "000", 1).replace("*", f"{missing[0]:06d}")
        raise FormatError(f"{example} is missing ({len(missing)} of {episodes} in all); the dataset is incomplete")
    if len(found) > episodes:
        stranger = found[min(set(found) - set(range(episodes)))]
        raise DatasetError(f"{stranger} belongs to no episode of meta/; remove it, or copy meta/ again")
    return [found[number] for number in range(episodes)]
