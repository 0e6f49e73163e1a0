"""From the columns and the facts about episodes that a reader found to a dataset."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from assay.datasets.dataset import RESERVED_EPISODE_COLUMNS, Dataset
from assay.datasets.errors import AssayWarning, DatasetError, FormatError
from assay.datasets.formats.flat_hdf5 import with_history
from assay.datasets.formats.minari.metadata import METADATA, info_of, own_block
from assay.datasets.info import json_value
from assay.datasets.spaces import Space

__all__ = ["Parts", "assemble"]

# Statistics of the rewards that Minari's collector stores; they would go stale with the first changed reward.
DERIVED = {"id", "total_steps", "rewards_sum", "rewards_mean", "rewards_std", "rewards_max", "rewards_min"}
_PLAIN_TYPES = {"b1", *(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)), "f4", "f8"}


@dataclass
class Parts:
    """What a reader found in a dataset's files."""

    file: Path  # for messages
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    lengths: list[int] = field(default_factory=list)  # of the episodes
    final_observations: list[bool] = field(default_factory=list)  # whether each episode has one
    attributes: list[dict[str, Any]] = field(default_factory=list)  # of the episodes; options nested


def assemble(parts: Parts, metadata: Mapping[str, Any], spaces: Mapping[str, Space | None], folder: Path) -> Dataset:
    """Make the dataset, after checking the lengths of its episodes against their attributes.

    Raises
    ------
    DatasetError
        If the parts do not fit together.
    """
    file = parts.file
    for number, (attributes, length) in enumerate(zip(parts.attributes, parts.lengths, strict=True)):
        if (stated := attributes.get("total_steps", length)) != length:
            raise DatasetError(f"{file}: episode {number}: total_steps says {stated}, but there are {length} rewards")
    block = own_block(metadata)
    episode_columns = _episode_columns(file, parts.attributes, block)
    if not all(parts.final_observations):
        episode_columns["final_observation"] = np.array(parts.final_observations)
    info = info_of(metadata, spaces)
    try:
        dataset = Dataset(parts.columns, parts.lengths, info=info, episode_columns=episode_columns)
    except DatasetError as error:
        raise DatasetError(f"{file}: {error}") from error
    return with_history(dataset, block, folder / METADATA)  # where Minari left the data as Assay wrote it


def _episode_columns(
    file: Path, attributes: Sequence[Mapping[str, Any]], block: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    result: dict[str, np.ndarray] = {}
    seeds = [item.get("seed") for item in attributes]
    if any(seed is not None for seed in seeds):
        result["seed"] = _seeds(file, seeds)
    options = [item.get("options") for item in attributes]
    if any(options):
        result["options"] = np.array([json.dumps(json_value(item), sort_keys=True) if item else "" for item in options])
    others = {name for item in attributes for name in item} - {"seed", "options"}
    dtypes = block.get("episode_dtypes")
    unread = []
    for name in sorted(others - DERIVED):
        values = [item.get(name) for item in attributes]
        if name in RESERVED_EPISODE_COLUMNS or name == "final_observation" or not all(map(_is_plain, values)):
            unread.append(name)
        else:
            result[name] = _as_written(np.array(values), dtypes.get(name) if isinstance(dtypes, dict) else None)
    if unread:
        warnings.warn(
            f"{file}: attributes that are not one number or text in every episode are not read: {', '.join(unread)}",
            AssayWarning,
            stacklevel=6,
        )
    return result


def _is_plain(value: Any) -> bool:
    """Tell whether a table can hold the value: text, or a number of an ordinary type."""
    return isinstance(value, str) or (isinstance(value, np.generic) and value.dtype.str[1:] in _PLAIN_TYPES)


def _as_written(values: np.ndarray, dtype: Any) -> np.ndarray:
    """Give an episode column the dtype that Assay wrote it with, where that changes no value."""
    if not isinstance(dtype, str) or dtype[1:] not in _PLAIN_TYPES or values.dtype.kind not in "biuf":
        return values
    with np.errstate(all="ignore"):
        cast = values.astype(dtype)
    return cast if np.array_equal(cast, values, equal_nan=values.dtype.kind == "f") else values


def _seeds(file: Path, seeds: Sequence[Any]) -> np.ndarray:
    for number, seed in enumerate(seeds):
        if seed is not None and not isinstance(seed, np.integer):
            raise FormatError(f"{file}: episode {number}: the seed is {seed!r}; an integer belongs there")
    known = [int(seed) for seed in seeds if seed is not None]
    if max(known) < 2**63:
        return np.array([-1 if seed is None else int(seed) for seed in seeds], np.int64)
    if len(known) == len(seeds) and min(known) >= 0:
        return np.array(known, np.uint64)
    return np.array(["" if seed is None else str(int(seed)) for seed in seeds])
