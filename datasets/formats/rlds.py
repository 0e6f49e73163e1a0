"""RLDS datasets in TFDS folders (Ramos et al. 2021, arXiv 2111.02767), Open X-Embodiment's among them; without TensorFlow.

::

    1.0.0/features.json                     the shapes and types of all features
    1.0.0/dataset_info.json                 name, splits and how many episodes each shard has
    1.0.0/<name>-<split>.tfrecord-00000-of-00001        an example per episode, `containers.tfrecord`
        steps/observation/<key>, steps/action, steps/reward, steps/discount
        steps/is_first, steps/is_last, steps/is_terminal
        episode_metadata/<key>

**What the last step is.** RLDS says that the step with `is_last` holds the final observation, and that its action and reward
mean nothing. Many robot datasets store an ordinary step there. `last="content"` looks: where the last actions of all episodes
are exactly zero, and the last rewards as well, they are taken as RLDS says, `last="observation"`; otherwise they are steps,
`last="step"`, and the final observations are unknown. What was chosen stands in `info.extra["rlds"]["last"]`.

An episode is terminated where its last step has `is_terminal`, else truncated; one without `is_last` was cut off, and how it
ended is not known (`columns={"ends": "truncated"}` says it). Features of images are listed, and decoded where
`images` or a column names them; text that is the same throughout an episode is a column of the episodes table.
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from assay.datasets.dataset import Dataset, is_under
from assay.datasets.errors import AssayWarning, ConfigError, DatasetError, FormatError
from assay.datasets.formats.containers.files import read_json_object
from assay.datasets.formats.containers.tfrecord import read_examples
from assay.datasets.formats.mapping import Given, dataset_from_mapping
from assay.datasets.formats.messages import decode_image
from assay.datasets.formats.rows import naming
from assay.datasets.info import DatasetInfo
from assay.datasets.memory import empty
from assay.datasets.tables.column_mapping import ColumnMapping, as_mapping

__all__ = ["propose", "read", "sniff"]

TITLE = "RLDS"
LAYOUT = "folder of .tfrecord files"
ORDER = 32
CANNOT_HOLD = ""

MARKS = ("features.json",)
_STEPS = "steps/"
_FLAGS = ("is_first", "is_last", "is_terminal")
_DEEPEST = 32  # features within features
_NUMBERS = {
    "bool",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    "float16",
    "float32",
    "float64",
}
_SHARD = re.compile(r"(.+)-([^-]+)\.tfrecord-(\d{5,9})-of-(\d{5,9})")
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_LONGEST_TEXT = 1 << 16  # characters
_SIZE = re.compile(r"\d{1,9}")
_LENGTHS = "episode lengths"


def sniff(path: Path) -> bool:
    """Tell whether `path` is a TFDS folder of one version, or the folder of a dataset with one version in it."""
    folder = _folder(path)
    return folder is not None and any(_SHARD.fullmatch(name) for name in _names(folder))


def _folder(path: Path) -> Path | None:
    if (path / "features.json").is_file():
        return path
    inside = [
        path / name for name in _names(path) if _VERSION.fullmatch(name) and (path / name / "features.json").is_file()
    ]
    return inside[0] if len(inside) == 1 else None


def _names(path: Path) -> list[str]:
    try:
        return sorted(child.name for child in path.iterdir())
    except OSError:
        return []


def read(
    path: Path,
    *,
    columns: Given = None,
    split: str | None = None,
    images: Sequence[str] = (),
    last: Literal["content", "step", "observation"] = "content",
) -> Dataset:
    """Read the episodes of a folder.

    Parameters
    ----------
    path : Path
        The folder of a version, or that of the dataset with one version in it.
    columns : mapping, or path of a YAML file, optional
        Column of the dataset -> feature or features of a step, such as `observation/state`; see
        `assay.datasets.tables.column_mapping`. Default: `observation`, `action` and `reward`, others as infos.
    split : str, optional
        Read this split only, such as `"train"`. Default: all that are there; the episode column `split` tells them apart.
    images : sequence of str
        Features of images to decode, such as `["observation/image_0"]`. Others are listed in
        `info.extra["rlds"]["images"]`. Those that `columns` names are decoded, too.
    last : {"content", "step", "observation"}
        What the last step of an episode is; see above.

    Returns
    -------
    Dataset

    Warns
    -----
    AssayWarning
        About splits that are described and not there, and features that are not read.

    Raises
    ------
    FormatError, DatasetError
        If a file is missing, damaged or cut off (every record has a checksum); with the record.
    ConfigError
        If a package is missing (`pip install assay[rlds]`), or an option names what is not there.
    """
    if last not in ("content", "step", "observation"):
        raise ConfigError(f'last is "content", "step" or "observation", not {last!r}')
    folder = _folder(path)
    if folder is None:
        raise FormatError(f"{path} holds no features.json, nor one folder of a version such as 1.0.0 that does")
    features = _read_features(folder / "features.json")
    given = None if columns is None else as_mapping(columns, path)
    shards, remarks = _shards(folder, split)
    wanted = _wanted(path, features, images, given)
    episodes = _Episodes(features, wanted)
    for shard in shards:
        episodes.add(shard)
    with naming(path):
        rows = episodes.rows()
        chosen = last if last != "content" else "observation" if _only_observed(rows, episodes.ends) else "step"
        columns_of, lengths = _as_steps(rows, episodes.ends, chosen)
        named, extra = _of_episodes(episodes, shards)
        remarks += episodes.remarks
        if cut := int((~rows["is_last"][episodes.ends - 1].astype(bool)).sum()):
            remarks.append(
                f"{cut} of {len(lengths)} episodes have no last step (is_last), so how they ended is not known"
            )
        if remarks:
            warnings.warn(f"{path}: {'; '.join(remarks)}", AssayWarning, stacklevel=3)
        if given is None and not any(is_under(name, "observation") for name in columns_of):
            raise FormatError(f"{path}: no numbers are observed. {_what_to_observe(columns_of, episodes.images)}")
        mapping = as_mapping(_usual(columns_of), path) if given is None else given
        known = {"last": chosen, "images": [name for name in episodes.images if name not in wanted]}
        dataset = dataset_from_mapping(
            {**columns_of, _LENGTHS: lengths},
            where=path,
            columns=mapping.merged(path, episode_lengths=_LENGTHS),
            info=DatasetInfo(id=_id(folder), source=f"{TITLE} folder {_id(folder)}", extra={"rlds": known | extra}),
        )
        return Dataset(
            {name: dataset.column(name) for name in dataset.columns},
            dataset.episode_lengths,
            info=dataset.info,
            episode_columns={**dataset.episode_columns, **named},
        )


def _id(folder: Path) -> str:
    return str(read_json_object(folder / "dataset_info.json").get("name") or folder.parent.name)


# -------------------------------------------------------------------- what the folder says


@dataclass(frozen=True)
class _Feature:
    kind: Literal["numbers", "text", "image", "other"]
    shape: tuple[int, ...] = ()
    dtype: str = ""


def _read_features(file: Path) -> dict[str, _Feature]:
    """Return the leaves of features.json by their names, those of steps under `steps/`."""
    leaves: dict[str, _Feature] = {}
    waiting: list[tuple[tuple[str, ...], Any]] = [((), read_json_object(file))]
    while waiting:
        path, item = waiting.pop(0)
        if not isinstance(item, dict) or len(path) > _DEEPEST:
            raise FormatError(f"{file} is damaged: {'/'.join(path) or 'it'} describes no feature")
        if "featuresDict" in item:
            inside = _inside(item, ("featuresDict", "features"), file)
            waiting += [((*path, key), value) for key, value in inside.items()]
        elif path == ("steps",) and "sequence" in item:
            waiting.append((path, _inside(item, ("sequence", "feature"), file)))
        else:
            leaves["/".join(path)] = _leaf(item, file)
    for name in (f"{_STEPS}is_last", f"{_STEPS}is_first"):
        if name not in leaves or leaves[name].kind != "numbers" or leaves[name].shape:
            raise FormatError(f"{file}: there is no feature {name} of flags; these are no episodes as RLDS stores them")
    return leaves


def _inside(item: Any, keys: Sequence[str], file: Path) -> dict[str, Any]:
    """Return the object that lies at a path in an object."""
    for key in keys:
        item = item.get(key) if isinstance(item, dict) else None
    if not isinstance(item, dict):
        raise FormatError(f"{file} is damaged: {'.'.join(keys)} is no object")
    return item


def _leaf(item: dict[str, Any], file: Path) -> _Feature:
    key = next((key for key in ("tensor", "image", "classLabel", "text") if key in item), None)
    if key in (None, "text", "classLabel"):
        return {"text": _Feature("text"), "classLabel": _Feature("numbers", (), "int64")}.get(
            str(key), _Feature("other")
        )
    described = _inside(item, (str(key),), file)
    sizes = _inside(described, ("shape",), file).get("dimensions", [])
    shape = tuple(int(size) for size in sizes if _SIZE.fullmatch(str(size))) if isinstance(sizes, list) else ()
    if not isinstance(sizes, list) or len(shape) != len(sizes) or len(shape) > 8:  # -1 stands for any length
        return _Feature("other")
    dtype = str(described.get("dtype"))
    if key == "image":
        return _Feature("image", shape, dtype)
    if dtype == "string" and not shape:
        return _Feature("text")
    known = dtype in _NUMBERS and described.get("encoding", "none") == "none" and math.prod(shape)
    return _Feature("numbers", shape, dtype) if known else _Feature("other")


def _shard_lengths(file: Path) -> dict[str, list[int]]:
    """Return split -> how many episodes each of its shards has."""
    described = read_json_object(file).get("splits")
    counts: dict[str, list[int]] = {}
    for item in described if isinstance(described, list) else []:
        lengths = item.get("shardLengths") if isinstance(item, dict) else None
        if not isinstance(lengths, list) or not all(_SIZE.fullmatch(str(count)) for count in lengths):
            raise FormatError(f"{file} is damaged: a split says {item!r:.80}; name and shardLengths belong there")
        counts[str(item.get("name"))] = [int(count) for count in lengths]
    return counts


def _shards(folder: Path, split: str | None) -> tuple[list[tuple[Path, str, int]], list[str]]:
    """Return (file, split, how many episodes it should have) and what is to be said."""
    file = folder / "dataset_info.json"
    counts = _shard_lengths(file)
    there: dict[str, dict[int, Path]] = {}
    for name in _names(folder):
        if match := _SHARD.fullmatch(name):
            there.setdefault(match[2], {})[int(match[3])] = folder / name
    if split is not None and split not in there:
        raise ConfigError(f"{folder} has no split {split!r}; there are {', '.join(there) or 'none'}")
    if not there:
        raise FormatError(f"{folder} holds no files <name>-<split>.tfrecord-00000-of-00001")
    result = []
    for name, files in there.items():
        if name not in counts:
            raise FormatError(f"{file} does not describe the split {name}, of which there are files")
        if missing := sorted(set(range(len(counts[name]))) ^ set(files)):
            raise FormatError(f"{folder}: shard {missing[0]} of the split {name} is missing or is one too many")
        if split in (None, name):
            result += [(files[number], name, counts[name][number]) for number in sorted(files)]
    absent = [name for name in counts if name not in there and split is None]
    return result, [f"the split {name} is described and not there" for name in absent]


def _what_to_observe(numbers: Iterable[str], images: Sequence[str]) -> str:
    """Return, in a sentence, what may be observed."""
    if shown := [name for name in images if is_under(name, "observation")]:
        return f"There are images: images={json.dumps(shown)}"
    others = [*(name for name in numbers if name not in ("terminations", "truncations")), *images]
    return f'Say what is observed, columns={{"observations": "...", "actions": "..."}}; there are {", ".join(others)}'


def _wanted(
    path: Path, features: Mapping[str, _Feature], images: Sequence[str], given: ColumnMapping | None
) -> list[str]:
    """Return the images that are decoded: those of `images`, and those that a mapping makes columns of."""
    if isinstance(images, str):
        raise ConfigError(f"images is {images!r}; a list of features belongs there, such as [{images!r}]")
    there = [
        name.removeprefix(_STEPS) for name, item in features.items() if item.kind == "image" and name.startswith(_STEPS)
    ]
    for name in images:
        if name not in there:
            raise ConfigError(f"{path} has no images {name!r}; it has {', '.join(there) or 'none'}")
    named = [] if given is None else [name for name in given.names if name in there]
    return list(dict.fromkeys([*images, *named]))


# -------------------------------------------------------------------- the episodes


class _Episodes:
    """The steps of the episodes, feature by feature, as they are read."""

    def __init__(self, features: Mapping[str, _Feature], wanted: Sequence[str]) -> None:
        self.features = features
        inside = {name.removeprefix(_STEPS): item for name, item in features.items() if name.startswith(_STEPS)}
        self.numbers = {name: item for name, item in inside.items() if item.kind == "numbers"}
        self.texts = [name for name, item in inside.items() if item.kind == "text"]
        self.images = [name for name, item in inside.items() if item.kind == "image"]
        others = [name for name, item in inside.items() if item.kind == "other"]
        self.remarks = [f"features that are not read: {', '.join(others)}"] if others else []
        self.about = {n: i for n, i in features.items() if not n.startswith(_STEPS) and i.kind in ("numbers", "text")}
        self.parts: dict[str, list[Any]] = {name: [] for name in (*self.numbers, *self.texts, *wanted, *self.about)}
        self.wanted = {name: inside[name] for name in wanted}
        self.lengths: list[int] = []
        self.of_shards: list[int] = []

    @property
    def ends(self) -> np.ndarray:
        return np.cumsum(self.lengths)

    def add(self, shard: tuple[Path, str, int]) -> None:
        """Read the episodes of a file."""
        file, _, expected = shard
        before = len(self.lengths)
        for example in read_examples(file):
            self._add_episode(example, f"{file}, record {len(self.lengths) - before}")
        self.of_shards.append(len(self.lengths) - before)
        if self.of_shards[-1] != expected:
            raise DatasetError(f"{file} holds {self.of_shards[-1]} episodes, but dataset_info.json says {expected}")

    def _add_episode(self, example: Mapping[str, Any], where: str) -> None:
        length = len(example.get(f"{_STEPS}is_last", ()))
        if not length:
            raise DatasetError(f"{where}: the episode has no steps")
        for name, item in self.numbers.items():
            self.parts[name].append(
                _numbers(example.get(_STEPS + name, ()), (length, *item.shape), item.dtype, where, name)
            )
        for name in self.texts:
            self.parts[name].append(
                [_text(value) for value in _exactly(example.get(_STEPS + name, ()), length, where, name)]
            )
        for name, item in self.wanted.items():
            values = _exactly(example.get(_STEPS + name, ()), length, where, name)
            self.parts[name].append(_decoded(values, item, f"{where}: {name}"))
        for name, item in self.about.items():
            values = example.get(name, ())
            kept = item.kind == "text" and len(values) == 1
            if kept:
                self.parts[name].append(_text(values[0]))
            elif item.kind == "numbers" and not item.shape:
                self.parts[name].append(_numbers(values, (1,), item.dtype, where, name)[0])
        for name, allowed in (("is_first", 0), ("is_last", length - 1)):
            if strangers := [row for row in self.parts[name][-1].nonzero()[0].tolist() if row != allowed]:
                raise DatasetError(f"{where}: {name} is set in step {strangers[0]} of {length}")
        self.lengths.append(length)

    def rows(self) -> dict[str, np.ndarray]:
        """Return feature of a step -> (rows, ...) of all episodes; numbers and images."""
        if not self.lengths:
            raise DatasetError("there are no episodes")
        return {name: np.concatenate(self.parts[name]) for name in (*self.numbers, *self.wanted)}


def _exactly(values: Any, count: int, where: str, name: str) -> Any:
    if len(values) != count:
        raise DatasetError(f"{where}: {name} has {len(values)} values; {count} belong there")
    return values


def _numbers(values: Any, shape: tuple[int, ...], dtype: str, where: str, name: str) -> np.ndarray:
    _exactly(values, math.prod(shape), where, name)
    try:
        return np.array(values[:]).astype(dtype).reshape(shape)
    except (TypeError, ValueError, OverflowError) as error:
        raise DatasetError(f"{where}: {name} holds no numbers of type {dtype}") from error


def _text(value: Any) -> str:
    return value.decode(errors="replace").rstrip("\0")[:_LONGEST_TEXT] if isinstance(value, bytes) else ""


def _decoded(values: Sequence[Any], item: _Feature, where: str) -> np.ndarray:
    if item.dtype != "uint8":
        raise FormatError(f"{where}: images of {item.dtype} are not decoded")
    result: np.ndarray | None = None
    for row, value in enumerate(values):
        pixels = decode_image(value, where) if isinstance(value, bytes) else np.zeros(0, np.uint8)
        if result is None:
            result = empty((len(values), *pixels.shape), np.uint8)
        if pixels.shape != result.shape[1:] or pixels.dtype != np.uint8:
            raise FormatError(
                f"{where}: image {row} is {pixels.dtype}{list(pixels.shape)}, not {list(result.shape[1:])}"
            )
        result[row] = pixels
    if result is None or (item.shape and result.shape[1:] != item.shape):
        raise FormatError(f"{where}: the images are not of the shape {list(item.shape)} that features.json says")
    return result


# -------------------------------------------------------------------- steps


def _only_observed(rows: Mapping[str, np.ndarray], ends: np.ndarray) -> bool:
    """Tell whether the last step of every episode has neither action nor reward."""
    acted = [array for name, array in rows.items() if is_under(name, "action") or name == "reward"]
    whole = bool(rows["is_last"][ends - 1].all() and (np.diff(ends, prepend=0) > 1).all())
    return whole and bool(acted) and not any(array[ends - 1].any() for array in acted)


def _as_steps(rows: Mapping[str, np.ndarray], ends: np.ndarray, last: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return feature -> rows, of observations one more per episode where the last step is one, and the lengths."""
    lengths = np.diff(ends, prepend=0)
    kept = np.ones(int(ends[-1]), bool)
    if last == "observation":
        if len(short := np.flatnonzero(lengths < 2)):
            raise DatasetError(f'episode {short[0]} has one step only, of which last="observation" makes no step')
        kept[ends - 1] = False
        lengths = lengths - 1
    result = {
        name: array if is_under(name, "observation") else array[kept]
        for name, array in rows.items()
        if name not in _FLAGS
    }
    ended = rows["is_last"][ends - 1].astype(bool)
    terminal = rows["is_terminal"][ends - 1].astype(bool) if "is_terminal" in rows else np.zeros(len(ends), bool)
    for name, which in (("terminations", ended & terminal), ("truncations", ended & ~terminal)):
        result[name] = np.zeros(int(lengths.sum()), bool)
        result[name][np.cumsum(lengths) - 1] = which
    return result, lengths


def propose(path: Path) -> str:
    """Return a mapping for `path`, as YAML to be edited."""
    folder = _folder(path)
    if folder is None:
        raise FormatError(f"{path} holds no features.json, nor one folder of a version such as 1.0.0 that does")
    features = {
        name.removeprefix(_STEPS): item
        for name, item in _read_features(folder / "features.json").items()
        if name.startswith(_STEPS)
    }
    numbers = [name for name, item in features.items() if item.kind == "numbers" and name not in _FLAGS]
    shown = [name for name, item in features.items() if item.kind == "image" and is_under(name, "observation")]
    taken = [] if any(is_under(name, "observation") for name in numbers) else shown
    plain = _usual([*taken, *numbers])
    lines = [
        f"# {path}: {len(features)} features of a step; episodes and how they end are RLDS's own ({', '.join(_FLAGS)})"
    ]
    lines.append(yaml.safe_dump(plain, sort_keys=False).rstrip() if plain else "{}")
    why = {
        "image": "images; decoded where a column names them, such as observations/camera",
        "text": "text; of the episodes where it does not change",
    }
    lines += [
        f"# not taken: {name} ({why.get(item.kind, 'is not read')})"
        for name, item in features.items()
        if item.kind != "numbers" and name not in taken
    ]
    return "\n".join(lines) + "\n"


def _usual(rows: Iterable[str]) -> dict[str, Any]:
    """Return the mapping that RLDS's own names make of those of the rows."""
    rows = list(rows)
    found: dict[str, Any] = {}
    for role, top in (("observations", "observation"), ("actions", "action")):
        names = [name for name in rows if is_under(name, top)]
        if names:
            found[role] = names[0] if len(names) == 1 else {name.removeprefix(f"{top}/"): name for name in names}
    if "reward" in rows:
        found["rewards"] = "reward"
    taken = {"reward", "terminations", "truncations"}
    others = [n for n in rows if n not in taken and not is_under(n, "observation") and not is_under(n, "action")]
    return found | {f"infos/{name}": name for name in others}


def _of_episodes(
    episodes: _Episodes, shards: Sequence[tuple[Path, str, int]]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the columns of the episodes table, and what is to be remembered beside them."""
    count = len(episodes.lengths)
    named: dict[str, np.ndarray] = {}
    for name in episodes.about:
        if len(episodes.parts[name]) == count:
            named[name.removeprefix("episode_metadata/").replace("/", ".")] = np.array(episodes.parts[name])
    changing = []
    for name in episodes.texts:
        if all(len(set(texts)) == 1 for texts in episodes.parts[name]):
            named[name.replace("/", ".")] = np.array([texts[0] for texts in episodes.parts[name]], str)
        else:
            changing.append(name)
    splits = [split for _, split, _ in shards]
    if len(set(splits)) > 1:
        named["split"] = np.repeat(np.array(splits), episodes.of_shards)
    return named, {"text_not_read": changing} if changing else {}
