"""robomimic's HDF5 files (Mandlekar et al. 2021, arXiv 2108.03298), filter keys included, and robosuite's demonstrations.

::

    data                      attributes total, env_args (JSON: env_name, env_type, env_kwargs)
        demo_0                attributes num_samples, model_file (the simulator's model), ep_meta
            obs/<key>         (T, ...) observations; one key `flat` where they are one array
            next_obs/<key>    (T, ...) maybe
            actions           (T, ...)
            rewards, dones    (T,) maybe
            states            (T, ...) states of the simulator, maybe; likewise action_dict/<key>, ...
        demo_1 ...            in the order of the numbers
    mask/<filter key>         names of the demonstrations that belong to a subset

robosuite's `demo.hdf5` holds states and actions only: `observations="states"` takes the states of the simulator, each of which
the action beside it was taken in.

**What a done means.** robomimic's scripts set `dones` where the task was solved, on the last step whatever happened, or
on both, and the file does not say which; its converter of D4RL data sets them at timeouts, too, and repeats the last
observation as what followed. A demonstration is one episode here, and only a done on its last step says how it ended:

- in a file whose rewards are all 0 or 1, a done with a reward of 1 is a success: a termination;
- any other done on the last step is a truncation: somebody stopped recording. `dones="terminations"` takes them as
  robomimic's own training does, `dones="truncations"` takes none as a termination.

The dones themselves are kept in `infos/dones` where the flags do not say the same. Files written by Assay hold both
flags beside `dones`, so nothing is inferred from those.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np

from assay.datasets.atomic import atomic_file
from assay.datasets.dataset import RESERVED_EPISODE_COLUMNS, Dataset, is_under
from assay.datasets.errors import AssayWarning, ConfigError, DatasetError, FormatError, UnknownNameError
from assay.datasets.formats.containers.hdf5 import Hdf5File, members, open_hdf5, write_rows
from assay.datasets.formats.containers.hdf5_writing import create_hdf5
from assay.datasets.formats.flat_hdf5 import block_for, check_final_observations, info_from, take_block, with_history
from assay.datasets.formats.losses import report_losses, require_held
from assay.datasets.formats.rows import dataset_from_rows, flags, in_machine_order
from assay.datasets.info import DatasetInfo, json_value
from assay.datasets.tables.endings import end_episodes

__all__ = ["read", "sniff", "write"]

TITLE = "robomimic and robosuite"
LAYOUT = "file .hdf5"
ORDER = 50
CANNOT_HOLD = (
    "datasets without actions (an error), "
    "labels that are missing in part (missing/..., dropped by name only), "
    "nested actions (an error), final observations known for some episodes only (an error), weights, costs, "
    "corrupted/... and other columns that methods may learn from (dropped by name only), infos of text, the final "
    "row of infos of N+E rows, foreign byte order, episode columns that are neither tags/... nor numbers nor text, "
    "observations of the single key flat (which become the array)"
)

_DEMO = re.compile(r"demo_(0|[1-9]\d{0,17})")
_FLAT = "flat"
_NEEDED = ("obs", "next_obs", "actions", "rewards", "dones")
_FLAGS = ("terminations", "truncations")
_TAGS = "tags/"
_LARGEST_TEXTS = 1 << 24  # bytes of an episode column
_PLACES = {"observations": "obs", "next_observations": "next_obs"}


# -------------------------------------------------------------------- reading


def sniff(path: Path) -> bool:
    """Tell whether `path` is an HDF5 file with demonstrations under `data`."""
    found = members(path)
    return "data" in found and "rewards" not in found and any(_DEMO.fullmatch(name) for name in members(path, "data"))


def read(
    path: Path,
    *,
    observations: Literal["obs", "states"] = "obs",
    filter_key: str | None = None,
    dones: Literal["success", "terminations", "truncations"] = "success",
    ends: Literal["truncated", "terminated"] | None = None,
) -> Dataset:
    """Read a robomimic file.

    Parameters
    ----------
    path : Path
    observations : {"obs", "states"}
        What becomes the observations: those that were recorded, or the states of the simulator.
    filter_key : str, optional
        Read only the demonstrations of this subset, such as `"train"`.
    dones : {"success", "terminations", "truncations"}
        What a done on the last step of a demonstration means; see above.
    ends : {"truncated", "terminated"}, optional
        What the end of a demonstration means where no done says it, as in robosuite's.

    Returns
    -------
    Dataset
        Observations are columns `observations/<key>`, or `observations` where the only key is `flat`; simulator states
        and whatever else has one row per step are `infos/...`. Filter keys are the bool episode columns `tags/<key>`;
        numbers and texts stored with every demonstration are episode columns, too, and `demo` is its number where
        these are not 0, 1, 2, ... `info.extra` has `env_args` and, where all have the same, `model_file`.

    Warns
    -----
    AssayWarning
        About what is not read, and about rewards or dones that are missing.

    Raises
    ------
    FormatError, DatasetError
        If the file is damaged, or its arrays do not fit together; with file, demonstration and array.
    UnknownNameError
        If there is no such filter key.

    Examples
    --------
    >>> import tempfile
    >>> dataset = Dataset.from_arrays(
    ...     observations={"pose": np.arange(5.0)}, actions=np.zeros((3, 1)), rewards=[0.0, 1.0, 0.0],
    ...     terminations=[False, True, False], truncations=[False, False, True],
    ...     episode_columns={"tags/better": [True, False]})
    >>> path = Path(tempfile.mkdtemp(), "example.hdf5")
    >>> write(dataset, path)
    >>> read(path) == dataset, read(path, filter_key="better").total_steps
    (True, 2)
    """
    if observations not in ("obs", "states"):
        raise ConfigError(f'observations are "obs" or "states", not {observations!r}')
    if ends not in (None, "truncated", "terminated"):
        raise ConfigError(f'ends are "truncated" or "terminated", not {ends!r}')
    if dones not in ("success", "terminations", "truncations"):
        raise ConfigError(f'dones are "success", "terminations" or "truncations", not {dones!r}')
    with open_hdf5(path) as file:
        demonstrations = _Demonstrations(file)
        if filter_key is not None:
            demonstrations.keep(filter_key)
        rows = demonstrations.rows(observations)
        _set_flags(rows, demonstrations, dones, said=ends is not None)
        lengths = np.array(demonstrations.lengths)
        rows["terminations"], rows["truncations"] = end_episodes(
            rows["terminations"], rows["truncations"], lengths, ends
        )
        attributes = file.attributes("data")
        block = take_block(attributes, path)
        episode_columns, shared = demonstrations.episode_columns()
        default = DatasetInfo(source=f"robomimic file {path.name}", extra=_extra(attributes, shared))
        info = info_from(block, default, path)
        demonstrations.check_total(attributes.get("total"), complete=filter_key is None)
        demonstrations.warn()
        try:
            dataset = dataset_from_rows(rows, lengths=lengths, info=info, episode_columns=episode_columns)
        except DatasetError as error:
            raise DatasetError(f"{path}: {error}") from error
        return with_history(dataset, block, path)


class _Demonstrations:
    """The demonstrations of one file."""

    def __init__(self, file: Hdf5File) -> None:
        self.file = file
        if "data" not in file.groups:
            raise FormatError(f"{file.path}: there is no group data; the file is not robomimic's")
        names = [name.removeprefix("data/") for name in file.groups if is_under(name, "data") and name.count("/") == 1]
        self.unread = [f"data/{name}" for name in names if not _DEMO.fullmatch(name)]
        self.demos = sorted((name for name in names if _DEMO.fullmatch(name)), key=lambda name: int(name[5:]))
        if not self.demos:
            raise FormatError(f"{file.path}: there are no demonstrations data/demo_0, data/demo_1, ...")
        self.unread += [
            name for name in file.datasets if not is_under(name, "mask") and not _DEMO.match(name.removeprefix("data/"))
        ]
        self.remarks: list[str] = []
        self.masks = {name: self._mask(name) for name in file.below("mask") if name}
        self.contents: dict[str, list[str]] = {demo: [] for demo in self.demos}
        for name in file.datasets:
            demo, _, rest = name.removeprefix("data/").partition("/")
            if demo in self.contents and name.startswith("data/"):
                self.contents[demo].append(rest)
        self.lengths: list[int] = []

    def keep(self, filter_key: str) -> None:
        """Keep only the demonstrations of a filter key."""
        if filter_key not in self.masks:
            raise UnknownNameError(f"filter key of {self.file.path}", filter_key, self.masks)
        self.demos = [demo for demo in self.demos if demo in self.masks[filter_key]]
        if not self.demos:
            raise DatasetError(f"{self.file.path}: no demonstration has the filter key {filter_key}")

    def _mask(self, name: str) -> set[str]:
        values = self.file.text(f"mask/{name}")
        if not isinstance(values, list):
            raise FormatError(f"{self.file.where(f'mask/{name}')}: a list of names of demonstrations belongs there")
        if strangers := sorted(set(values) - set(self.demos)):
            self.remarks.append(f"mask/{name} names {strangers[0]!r}, which is not in the file")
        return set(values)

    def rows(self, observed: str) -> dict[str, np.ndarray]:
        """Read one row per step of every column, the dones under `dones`."""
        file = self.file
        self.lengths = [self._length(demo) for demo in self.demos]
        everywhere = set(self.contents[self.demos[0]]).intersection(*(self.contents[demo] for demo in self.demos))
        self._check_needed(everywhere, observed)
        result: dict[str, np.ndarray] = {}
        for rest in sorted(everywhere):
            names = [f"data/{demo}/{rest}" for demo in self.demos]
            top, _, key = rest.partition("/")
            needed = top in (*_NEEDED, observed)
            if not needed and not all(self._fits(name, length) for name, length in zip(names, self.lengths)):
                self.unread.append(f"data/<demo>/{rest}")
                continue
            result[self._column(top, key, rest, observed)] = file.read_parts(names, self.lengths)
        sometimes = {rest for demo in self.demos for rest in self.contents[demo]} - everywhere
        self.unread += [f"data/<demo>/{rest}" for rest in sorted(sometimes)]
        for prefix in ("observations", "next_observations"):
            if [name for name in result if is_under(name, prefix)] == [f"{prefix}/{_FLAT}"]:
                result[prefix] = result.pop(f"{prefix}/{_FLAT}")
        if not any(is_under(name, "observations") for name in result):
            states = "states" in everywhere and observed == "obs"
            raise FormatError(
                f"{file.path}: the demonstrations have no {observed}"
                + (
                    ', only states of the simulator, which observations="states" takes as observations; '
                    if states
                    else "; "
                )
                + "the simulator makes observations of its states (robomimic/scripts/dataset_states_to_obs.py)"
            )
        if "rewards" not in result:
            self.remarks.append("it has no rewards: they are missing")
        for name in ("rewards", "dones"):
            if name in result and result[name].ndim == 2 and result[name].shape[1] == 1:
                result[name] = result[name][:, 0]
        return result

    def _length(self, demo: str) -> int:
        name = f"data/{demo}/actions"
        if name not in self.file.datasets:
            raise FormatError(f"{self.file.where(f'data/{demo}')}: actions are missing")
        shape = self.file.describe(name)[1]
        if not shape or not shape[0]:
            raise DatasetError(f"{self.file.where(name)}: the demonstration has no steps; remove it")
        return shape[0]

    def _check_needed(self, everywhere: set[str], observed: str) -> None:
        contents = {demo: set(self.contents[demo]) for demo in self.demos}
        for rest in sorted(set.union(*contents.values()) - everywhere):
            if rest.split("/")[0] in (*_NEEDED, observed):
                demo = next(demo for demo in self.demos if rest not in contents[demo])
                raise FormatError(
                    f"{self.file.where(f'data/{demo}')}: {rest} is missing; all demonstrations need the same"
                )

    def _fits(self, name: str, length: int) -> bool:
        return self.file.is_numeric(name) and self.file.describe(name)[1][:1] == (length,)

    def _column(self, top: str, key: str, rest: str, observed: str) -> str:
        if observed != "obs":
            if rest == observed:
                return "observations"
            if top in _PLACES.values():
                return f"infos/{rest}"
        for ours, theirs in _PLACES.items():
            if top == theirs and key:
                return f"{ours}/{key}"
        if rest in ("actions", "rewards", "dones", *_FLAGS):
            return rest
        return rest if top == "infos" and key else f"infos/{rest}"

    def check_total(self, total: Any, *, complete: bool) -> None:
        """Note where the file says another number of steps than it holds."""
        if complete and total is not None and np.ndim(total) == 0 and total != sum(self.lengths):
            self.remarks.append(f"total says {total} samples, but there are {sum(self.lengths)}")

    def episode_columns(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the columns of the episodes table, and attributes that all demonstrations share."""
        attributes = [self.file.attributes(f"data/{demo}") for demo in self.demos]
        for demo, item, length in zip(self.demos, attributes, self.lengths, strict=True):
            if "num_samples" in item and item.pop("num_samples") != length:
                raise DatasetError(
                    f"{self.file.where(f'data/{demo}')}: num_samples is not {length}, the rows of actions"
                )
        result: dict[str, np.ndarray] = {}
        shared: dict[str, Any] = {}
        unread = []
        for name in sorted({name for item in attributes for name in item}):
            values = [item.get(name) for item in attributes]
            size = sum(len(value) for value in values if isinstance(value, str))
            same = isinstance(values[0], str) and len(values) > 1 and all(value == values[0] for value in values)
            if same and name in ("model_file", "ep_meta"):
                shared[name] = values[0]
            elif name in RESERVED_EPISODE_COLUMNS or not _are_plain(values) or size > _LARGEST_TEXTS:
                unread.append(name)
            else:
                result[name] = np.array(values)
        if unread:
            self.remarks.append(f"attributes of demonstrations that are not read: {', '.join(unread)}")
        numbers = [int(demo[5:]) for demo in self.demos]
        if numbers != list(range(len(numbers))):
            result["demo"] = np.array(numbers)
        for key, names in self.masks.items():
            result[f"{_TAGS}{key}"] = np.array([demo in names for demo in self.demos])
        return result, shared

    def warn(self) -> None:
        """Say in one warning what is not read or looks wrong."""
        texts = [*self.remarks]
        if self.unread:
            texts.append(f"not one row per step in every demonstration, and not read: {', '.join(self.unread)}")
        if texts:
            warnings.warn(f"{self.file.path}: {'; '.join(texts)}", AssayWarning, stacklevel=3)


def _are_plain(values: Sequence[Any]) -> bool:
    """Tell whether values make a column: all text, or all numbers of one type."""
    if all(isinstance(value, str) for value in values):
        return True
    return all(isinstance(value, np.generic) and value.dtype.kind in "biuf" for value in values) and (
        len({value.dtype for value in values}) == 1
    )


def _set_flags(rows: dict[str, np.ndarray], demonstrations: _Demonstrations, meaning: str, *, said: bool) -> None:
    """Replace the dones by terminations and truncations."""
    where = demonstrations.file.path
    given = rows.pop("dones", None)
    if all(name in rows for name in _FLAGS):  # Assay wrote them
        for name in _FLAGS:
            rows[name] = flags(rows[name], f"{where}: {name}")
        return
    for name in _FLAGS:
        if name in rows:
            rows[f"infos/{name}"] = rows.pop(name)
    steps = sum(demonstrations.lengths)
    terminations, truncations = np.zeros(steps, bool), np.zeros(steps, bool)
    if given is None and not said:
        demonstrations.remarks.append(
            'it has no dones, so no episode has an end flag; ends="truncated" says what an end means'
        )
    elif given is not None:
        done = flags(given, f"{where}: dones")
        lasts = np.cumsum(demonstrations.lengths) - 1
        rewards = rows.get("rewards")
        solved = np.full(len(lasts), meaning == "terminations")
        if meaning == "success" and rewards is not None and _is_sparse(rewards):
            solved = rewards[lasts] == 1
        terminations[lasts] = done[lasts] & solved
        truncations[lasts] = done[lasts] & ~solved
        if not np.array_equal(done, terminations):
            rows["infos/dones"] = given
    rows |= {"terminations": terminations, "truncations": truncations}


def _is_sparse(rewards: np.ndarray) -> bool:
    return rewards.ndim == 1 and bool(((rewards == 0) | (rewards == 1)).all())


def _extra(attributes: dict[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    extra: dict[str, Any] = {
        name: json_value(value) for name, value in attributes.items() if name != "total" and value is not None
    }
    with suppress(KeyError, TypeError, ValueError, RecursionError):  # missing, or kept as the text that it is
        extra["env_args"] = json.loads(extra["env_args"])
    return {**extra, **shared}


# -------------------------------------------------------------------- writing


def write(dataset: Dataset, path: Path, *, overwrite: bool = False) -> None:
    """Write a dataset as a robomimic file, tags as filter keys.

    `dones` are the terminations; both flags stand beside them, where robomimic does not look and `read` does.

    Parameters
    ----------
    dataset : Dataset
        `infos/states` become `states`. `info.extra["env_args"]` is written if it is there; otherwise robomimic's
        `env_args` name the environment as a Gym one.
    path : Path
    overwrite : bool

    Warns
    -----
    AssayWarning
        Once, naming what is left out.

    Raises
    ------
    DatasetError
        If actions are nested, or some final observations are unknown.
    """
    require_held(dataset, TITLE, "actions")
    if "actions" not in dataset.columns:
        raise DatasetError("robomimic holds actions as one array; those of this dataset are nested")
    if not dataset.total_episodes:
        raise DatasetError("robomimic holds at least one demonstration; this dataset has no episodes")
    dataset = in_machine_order(dataset, TITLE)
    known = dataset.episode_columns.get("final_observation")
    with_next = known is None or bool(known.any()) or dataset.has_next_observations
    if with_next:
        check_final_observations(dataset, "robomimic")
    stored, tags, attributes = _what_fits(dataset)
    numbers = _demo_numbers(dataset)
    starts, lengths = dataset.episode_starts.tolist(), dataset.episode_lengths.tolist()
    with atomic_file(path, overwrite=overwrite) as target, create_hdf5(target) as handle:
        data = handle.create_group("data")
        for episode, (start, length) in enumerate(zip(starts, lengths, strict=True)):
            group = data.create_group(f"demo_{numbers[episode]}")
            for name, place in stored.items():
                array = dataset.column(name)
                observed = is_under(name, "observations")
                first = start + episode if len(array) != dataset.total_steps else start
                write_rows(group, place, array[first : first + length])
                if observed and with_next and not dataset.has_next_observations:
                    write_rows(group, f"next_{place}", array[first + 1 : first + 1 + length])
            group["dones"] = dataset.terminations[start : start + length].astype(np.int64)
            group.attrs["num_samples"] = length
            for name, values in attributes.items():
                group.attrs[name] = str(values[episode]) if values.dtype.kind == "U" else values[episode]
        data.attrs["total"] = dataset.total_steps
        data.attrs["env_args"] = _env_args(dataset.info)
        data.attrs["assay"] = block_for(dataset)
        for key, chosen in tags.items():
            names = [f"demo_{numbers[episode]}".encode() for episode in np.flatnonzero(chosen)]
            handle[f"mask/{key}"] = np.array(names, dtype="S")  # as robomimic's split_train_val has them


def _what_fits(dataset: Dataset) -> tuple[dict[str, str], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return column -> place in a demonstration, filter keys, and attributes; report everything else."""
    stored, left_out, others = {}, [], []
    for name in dataset.columns:
        array = dataset.column(name)
        top, _, rest = name.partition("/")
        if array.dtype.kind not in "biufcS":
            left_out.append(name)
        elif top in _PLACES:
            stored[name] = f"{_PLACES[top]}/{rest or _FLAT}"
        elif name in ("actions", "rewards", *_FLAGS):
            stored[name] = name
        elif top == "infos":
            stored[name] = "states" if rest == "states" else name
            if len(array) != dataset.total_steps:
                others.append(f"the final row of each episode of {name}")
        else:
            left_out.append(name)
    for name in left_out:
        if is_under(name, "observations") or name in ("actions", "rewards"):
            raise DatasetError(f"column {name} holds {dataset.column(name).dtype}, which robomimic does not")
    tags, attributes, episodes_left_out = {}, {}, []
    for name, values in dataset.episode_columns.items():
        if name.startswith(_TAGS) and values.dtype == bool:
            tags[name.removeprefix(_TAGS)] = values
        elif name in ("final_observation", "demo", "num_samples"):
            continue
        elif values.dtype.kind in "biufU":
            attributes[name] = values
        else:
            episodes_left_out.append(name)
    if f"observations/{_FLAT}" in stored and "obs/flat" in stored.values() and len(_observed(dataset)) == 1:
        others.append("a Dict of the single key flat, which comes back as the array")
    report_losses(dataset, TITLE, [*left_out, *episodes_left_out], others)
    return stored, tags, attributes


def _observed(dataset: Dataset) -> list[str]:
    return [name for name in dataset.columns if is_under(name, "observations")]


def _demo_numbers(dataset: Dataset) -> list[int]:
    numbers = dataset.episode_columns.get("demo")
    if numbers is not None and numbers.dtype.kind in "iu":
        found: list[int] = numbers.tolist()
        if found == sorted(set(found)) and (not found or found[0] >= 0):
            return found
    return list(range(dataset.total_episodes))


def _env_args(info: DatasetInfo) -> str:
    given = info.extra.get("env_args")
    if isinstance(given, str):
        return given
    gym = 2  # robomimic.envs.env_base.EnvType.GYM_TYPE
    return json.dumps(
        given or {"env_name": info.environment_id or info.id, "env_type": gym, "env_kwargs": {}}, indent=4
    )
