"""The flat HDF5 layout that D4RL introduced and DSRL shares: one row per step, top-level arrays, episodes by flags.

::

    observations       (N, ...)        next_observations  (N, ...)  maybe
    actions            (N, ...)        infos/<key>        (N, ...)  maybe
    rewards            (N,) or (N, 1)  metadata/<key>     scalars, texts and arrays: the policy that acted
    terminals          (N,) or (N, 1)  booleans, or numbers 0 and 1
    timeouts           (N,)            maybe

An episode ends where `terminals` or `timeouts` is set. A termination is a terminal and nothing else; a timeout is a
truncation; where both are set, both stay.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from assay.datasets.atomic import atomic_file
from assay.datasets.dataset import Dataset, is_under
from assay.datasets.errors import AssayWarning, DatasetError, FormatError
from assay.datasets.formats.containers.hdf5 import Hdf5File, write_rows
from assay.datasets.formats.containers.hdf5_writing import create_hdf5
from assay.datasets.formats.losses import report_losses, require_held
from assay.datasets.formats.rows import dataset_from_rows, episode_lengths_from_flags, flags, in_machine_order
from assay.datasets.info import DatasetInfo, Record, json_value

__all__ = ["Flat", "read_flat", "write_flat"]

FLAGS = {"terminations": "terminals", "truncations": "timeouts"}
_LARGEST_VALUE = 4096  # numbers of one metadata array that go into the info
_BLOCK = "assay"  # attribute of the root that holds what the layout has no name for


class Flat:
    """The rows of a flat file under the dataset's names, and what came beside them.

    Parameters
    ----------
    path : Path
    rows : dict of str to (N, ...) array
    info : DatasetInfo
    block : dict
        What Assay wrote into the file beside the layout; empty for the files of others.
    """

    def __init__(self, path: Path, rows: dict[str, np.ndarray], info: DatasetInfo, block: Mapping[str, Any]) -> None:
        self.path = path
        self.rows = rows
        self.info = info
        self.block = block

    def dataset(self) -> Dataset:
        """Make the dataset, episodes by flags; the history holds if the data is as Assay wrote it."""
        return with_history(self._dataset(), self.block, self.path)

    def _dataset(self) -> Dataset:
        try:
            return dataset_from_rows(self.rows, info=self.info)
        except DatasetError as error:
            raise DatasetError(f"{self.path}: {error}") from error


def read_flat(file: Hdf5File, *, needed: Sequence[str], optional: Sequence[str] = (), source: str) -> Flat:
    """Read a flat file.

    Parameters
    ----------
    file : Hdf5File
    needed, optional : sequences of str
        Names in the file beside observations, actions, rewards and terminals.
    source : str
        What `info.source` says.

    Raises
    ------
    FormatError, DatasetError
        If an array is missing, damaged, or of another number of rows than the rewards.
    """
    wanted = ["observations", "actions", "rewards", "terminals", *needed]
    for name in wanted:
        if name not in file.datasets:
            raise FormatError(f"{file.path}: there is no dataset {name}; the file holds {', '.join(file.datasets)}")
    wanted += [name for name in optional if name in file.datasets]
    steps = _steps(file)
    infos: list[str] = []
    unread: list[str] = []
    for name in file.datasets:
        if name in wanted or is_under(name, "metadata"):
            continue
        fits = is_under(name, "infos") and file.is_numeric(name) and file.describe(name)[1][:1] == (steps,)
        (infos if fits else unread).append(name)
    for name in wanted:
        shape = file.describe(name)[1]
        if shape[:1] != (steps,):
            raise DatasetError(f"{file.where(name)} has {shape[0] if shape else 'no'} rows, but rewards has {steps}")
    file.check_claims([*wanted, *infos])
    rows = {name: file.read(name) for name in [*wanted, *infos]}
    for ours, theirs in FLAGS.items():
        rows[ours] = flags(rows.pop(theirs), file.where(theirs)) if theirs in rows else np.zeros(steps, bool)
    for name in ("rewards", "costs"):
        if name in rows:
            rows[name] = _flat(rows[name], file.where(name))
    extra, too_large = _values(file)
    unread += too_large
    attributes = file.attributes()
    block = take_block(attributes, file.path)
    extra |= {name: json_value(value) for name, value in attributes.items() if value is not None}
    if unread:
        warnings.warn(
            f"{file.path}: these are not one row per step, or too large for the info, and are not read: "
            f"{', '.join(unread)}",
            AssayWarning,
            stacklevel=4,
        )
    return Flat(file.path, rows, info_from(block, DatasetInfo(source=source, extra=extra), file.path), block)


def _steps(file: Hdf5File) -> int:
    shape = file.describe("rewards")[1]
    if not shape:
        raise FormatError(f"{file.where('rewards')} is a single value; one row per step is needed")
    return shape[0]


def _flat(array: np.ndarray, where: str) -> np.ndarray:
    if array.ndim == 2 and array.shape[1] == 1:
        return array[:, 0]
    if array.ndim != 1:
        raise DatasetError(f"{where} is of shape {array.shape}; one number per row belongs there")
    return array


def _values(file: Hdf5File) -> tuple[dict[str, Any], list[str]]:
    """Return the values under `metadata` as nested JSON values, and the names of those that are too large or not JSON."""
    result: dict[str, Any] = {}
    left = []
    for name in file.below("metadata"):
        path = f"metadata/{name}" if name else "metadata"
        shape = file.datasets[path].shape
        value = file.value(path) if shape is not None and int(np.prod(shape, dtype=object)) <= _LARGEST_VALUE else None
        if value is None:
            left.append(path)
            continue
        *parents, last = path.split("/")
        place = result
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return result, left


# -------------------------------------------------------------------- what these layouts have no name for


def take_block(attributes: dict[str, Any], where: object) -> dict[str, Any]:
    """Take what Assay wrote beside a layout out of the attributes of the root; empty in the files of others.

    Raises
    ------
    FormatError
        If it is damaged.
    """
    text = attributes.pop(_BLOCK, None)
    try:
        block = {} if text is None else json.loads(text)
        if block and not isinstance(block["info"], dict):
            raise ValueError("info is no object")
        return dict(block)
    except (ValueError, RecursionError, TypeError, KeyError) as error:
        raise FormatError(f"{where}: the attribute {_BLOCK} is damaged: {error}") from error


def info_from(block: Mapping[str, Any], default: DatasetInfo, where: object) -> DatasetInfo:
    """Return the info that Assay wrote, or the default where it wrote none."""
    if not block:
        return default
    try:
        info = DatasetInfo.from_plain(block["info"])
        texts = [info.id, info.description, info.algorithm, info.source, info.licence, info.code, info.env_spec or ""]
        if all(isinstance(text, str) for text in texts) and isinstance(info.extra, dict):
            return info
        raise ValueError("a field of the info is no text")
    except (FormatError, TypeError, ValueError, AttributeError, KeyError) as error:
        raise FormatError(f"{where}: the attribute {_BLOCK} is damaged: {error}") from error


def with_history(dataset: Dataset, block: Mapping[str, Any], where: object) -> Dataset:
    """Return the dataset with the history that Assay wrote, if nobody changed the data since.

    Raises
    ------
    FormatError
        If that history is damaged.
    """
    if "fingerprint" not in block or block["fingerprint"] != dataset.fingerprint:
        return dataset
    try:
        history = Record.history_from_plain(block.get("history"))
    except FormatError as error:
        raise FormatError(f"{where}: the history that Assay wrote is damaged: {error}") from error
    return Dataset(
        {name: dataset.column(name) for name in dataset.columns},
        dataset.episode_lengths,
        info=dataset.info,
        history=history,
        episode_columns=dataset.episode_columns,
        _hashes={name: dataset.column_hash(name) for name in dataset.columns},
    )


def block_for(dataset: Dataset, **values: Any) -> str:
    """Return the text of the attribute `assay`: info, history, and the fingerprint of the dataset they belong to."""
    return json.dumps(
        {
            "fingerprint": dataset.fingerprint,
            "info": dataset.info.to_plain(),
            "history": [record.to_plain() for record in dataset.history],
            **values,
        }
    )


# -------------------------------------------------------------------- writing


def write_flat(
    dataset: Dataset, path: Path, *, overwrite: bool, name: str, columns: Mapping[str, str], next_needed: bool
) -> None:
    """Write a dataset in the flat layout, gzip-compressed, whole or not at all.

    Parameters
    ----------
    dataset : Dataset
    path : Path
    overwrite : bool
    name : str
        Of the format, for messages.
    columns : mapping of str to str
        Further columns -> their names in the file.
    next_needed : bool
        Whether there must be next observations; else they are left away where no final observation was recorded.
    """
    check_structure(dataset, name)
    dataset = in_machine_order(dataset, name)
    known = dataset.episode_columns.get("final_observation")
    without_next = (
        not next_needed
        and known is not None
        and not known.any()
        and not dataset.has_next_observations
        and bool(dataset.total_episodes)
    )
    if not without_next:
        check_final_observations(dataset, name)
    theirs = {"observations": "observations", "actions": "actions", "rewards": "rewards", **FLAGS, **columns}
    left_out = _left_out(dataset, name, {*theirs, "next_observations"})
    rows = dataset.observation_rows
    with atomic_file(path, overwrite=overwrite) as target, create_hdf5(target) as handle:
        for ours, their in theirs.items():
            if ours in dataset.columns:
                chosen = rows if ours == "observations" else None
                write_rows(handle, their, dataset.column(ours), chosen, compression="gzip")
        if dataset.has_next_observations:
            write_rows(handle, "next_observations", dataset.column("next_observations"), compression="gzip")
        elif not without_next:
            write_rows(handle, "next_observations", dataset.column("observations"), rows + 1, compression="gzip")
        for column in dataset.columns:
            if column.startswith("infos/") and column not in left_out:
                array = dataset.column(column)
                write_rows(handle, column, array, rows if len(array) != len(rows) else None, compression="gzip")
        for key, value in _leaves("metadata", dataset.info.extra.get("metadata")):
            with suppress(TypeError, ValueError, OSError, RuntimeError):  # the block has whatever HDF5 cannot hold
                handle[key] = value
        handle.attrs[_BLOCK] = block_for(dataset)


def check_structure(dataset: Dataset, name: str) -> None:
    """Raise DatasetError where flat arrays and flags cannot describe the dataset."""
    require_held(dataset, name)
    for column in ("observations", "actions"):
        if column not in dataset.columns:
            raise DatasetError(f"{name} holds {column} as one array; those of this dataset are nested")
    found = episode_lengths_from_flags(dataset.terminations, dataset.truncations)
    if not np.array_equal(found, dataset.episode_lengths):
        short = min(len(found), dataset.total_episodes)
        differs = np.flatnonzero(found[:short] != dataset.episode_lengths[:short])
        episode = int(differs[0]) if len(differs) else short - 1
        flagged = found[episode] < dataset.episode_lengths[episode]
        what = "a flag before its last step" if flagged else "no flag on its last step"
        raise DatasetError(
            f"episode {episode} has {what}, and {name} tells episodes by their flags alone; "
            "dataset.validate() lists all such episodes"
        )


def check_final_observations(dataset: Dataset, name: str) -> None:
    """Raise DatasetError where next observations are needed and a final observation was never recorded."""
    known = dataset.episode_columns.get("final_observation")
    if known is not None and not known.all() and not dataset.has_next_observations:
        episode = int(np.flatnonzero(~known.astype(bool))[0])
        raise DatasetError(
            f"the final observation of episode {episode} was never recorded, and {name} stores what followed every "
            "step; write the others with dataset.select(dataset.episode_columns['final_observation'])"
        )


def _left_out(dataset: Dataset, name: str, held: Collection[str]) -> set[str]:
    """Report what the layout has no place for, and return the names of the columns that are left out."""
    left_out, shortened = [], []
    for column in dataset.columns:
        array = dataset.column(column)
        if column.split("/")[0] in held:
            continue
        if not column.startswith("infos/") or array.dtype.kind not in "biufcS":
            left_out.append(column)
        elif len(array) != dataset.total_steps:
            shortened.append(f"the final row of each episode of {column}")
    episodes = [column for column in dataset.episode_columns if column != "final_observation"]
    report_losses(dataset, name, [*left_out, *episodes], shortened)
    return set(left_out)


def _leaves(path: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [leaf for key, child in value.items() for leaf in _leaves(f"{path}/{key}", child)]
    return [] if value is None else [(path, value)]
