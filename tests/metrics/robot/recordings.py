"""Recordings made of given signals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from assay.datasets import Dataset, DatasetInfo
from assay.metrics import assess
from assay.metrics.robot.episode_table import EpisodeTable

SECONDS = 0.02


def recorded(
    states: Sequence[np.ndarray] | Mapping[str, Sequence[np.ndarray]],
    actions: Sequence[np.ndarray] | None = None,
    times: Sequence[np.ndarray] | None = None,
    columns: Mapping[str, np.ndarray] | None = None,
    seconds: float = SECONDS,
    **info: Any,
) -> Dataset:
    """Make a dataset of episodes of states, [step, dimension] each; stamps are `seconds` apart."""
    observed = states if isinstance(states, Mapping) else {"": states}
    first = next(iter(observed.values()))
    lengths = [len(episode) for episode in first]
    ends = np.zeros(sum(lengths), bool)
    ends[np.cumsum(lengths) - 1] = True
    stamps = [np.arange(n) * seconds for n in lengths] if times is None else times
    joined = {name: np.concatenate([_with_final(part) for part in parts]) for name, parts in observed.items()}
    return Dataset.from_arrays(
        observations=joined.get("", joined),
        actions=np.zeros((sum(lengths), 1)) if actions is None else np.concatenate([_columns(a) for a in actions]),
        rewards=np.zeros(sum(lengths)),
        terminations=np.zeros(sum(lengths), bool),
        truncations=ends,
        columns={"time": np.concatenate(stamps), **(columns or {})},
        info=DatasetInfo(**info),
    )


def _columns(values: np.ndarray) -> np.ndarray:
    return values if values.ndim > 1 else values[:, None]


def _with_final(values: np.ndarray) -> np.ndarray:
    return np.concatenate([_columns(values), _columns(values)[-1:]])


def checked(dataset: Dataset, **checks: Any) -> EpisodeTable:
    return assess(dataset, per="episode", select="robot", checks=checks, progress=None)


def values_of(table: EpisodeTable, metric: str, dimension: str | None = None) -> list[float]:
    rows = table.filter(table["metric"] == metric)
    if dimension is not None:
        rows = rows.filter(rows["dimension"] == dimension)
    return rows["value"].to_list()


def flags_of(table: EpisodeTable, metric: str) -> list[int]:
    """Return the episodes that a metric flags."""
    return sorted(set(table.filter((table["metric"] == metric) & table["flagged"])["episode"].to_list()))


def smooth(steps: int, seed: int, width: int = 1, window: int = 15) -> np.ndarray:
    """Return a random movement without corners, [step, dimension]."""
    noise = np.random.default_rng(seed).standard_normal((steps + 2 * window, width))
    kernel = np.hanning(window) / np.hanning(window).sum()
    rows = [np.convolve(np.convolve(column, kernel, "same"), kernel, "same") for column in noise.T]
    return np.array(rows).T[window : window + steps]
