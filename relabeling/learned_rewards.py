"""Learned rewards put into a dataset: scaled, with the spread of the members, and with what stood there kept apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import numpy as np

from assay.datasets.dataset import Dataset

__all__ = ["Scale", "learned_rewards", "replaced_rewards", "scaled"]

Scale: TypeAlias = Literal["range", "standardize", "raw"]


def scaled(members: np.ndarray, scale: Scale) -> np.ndarray:
    """Bring each member's rewards (K, N) to one scale over the dataset; a constant member becomes 0.

    Examples
    --------
    >>> scaled(np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 10.0]]), "range").tolist()
    [[0.0, 0.5, 1.0], [0.0, 0.0, 1.0]]
    """
    if scale == "raw":
        return members
    if scale == "range":
        low, width = members.min(1, keepdims=True), np.ptp(members, axis=1, keepdims=True)
    else:
        low, width = members.mean(1, keepdims=True), members.std(1, keepdims=True)
    moved: np.ndarray = (members - low) / np.where(width > 0, width, 1.0)
    return moved


def learned_rewards(dataset: Dataset, members: np.ndarray, scale: Scale, report: Mapping[str, Any]) -> Dataset:
    """Return the dataset with the mean of the members as rewards.

    Parameters
    ----------
    dataset : Dataset
    members : (K, N)
    scale : str
    report : mapping
        Added to `info.extra`.
    """
    found = scaled(members, scale)
    return replaced_rewards(dataset, found.mean(0), {"uncertainty/rewards": found.std(0).astype(np.float32)}, report)


def replaced_rewards(
    dataset: Dataset, rewards: np.ndarray, more: Mapping[str, np.ndarray] = {}, report: Mapping[str, Any] = {}
) -> Dataset:
    """Return the dataset with other rewards; the old ones, if any, stand in `truth/rewards`, the oldest where there are some."""
    columns: dict[str, np.ndarray | None] = {"rewards": rewards.astype(np.float32), **more}
    if "rewards" in dataset.columns and "truth/rewards" not in dataset.columns:
        columns["truth/rewards"] = dataset.column("rewards")
    if "uncertainty/rewards" in dataset.columns and "uncertainty/rewards" not in more:
        columns["uncertainty/rewards"] = None
    if "missing/rewards" in dataset.columns:
        columns["missing/rewards"] = None
    info = replace(dataset.info, extra={**dataset.info.extra, **report}) if report else None
    return dataset.replace(columns, info=info)
