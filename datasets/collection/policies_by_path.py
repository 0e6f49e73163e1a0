"""Policies by path: a policy file, or the folder of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from assay.datasets.collection.policy_file import read_policy_file
from assay.datasets.dataset import Dataset, map_nested
from assay.datasets.errors import AssayError, ConfigError
from assay.datasets.wording import count_of

__all__ = ["policy_at", "policy_for"]


def policy_at(path: str) -> Callable[[Any], Any]:
    """Return what gives an action for each of some observations.

    Parameters
    ----------
    path : str
        A policy file, as `assay datasets train-policy` writes it; or the folder of a finished run, as `assay train` leaves it.

    Raises
    ------
    ConfigError
        If the run has not left a policy.
    FormatError
        If the file is no policy, or damaged.
    """
    if not Path(path).is_dir():
        return read_policy_file(Path(path))[1]
    run = import_module("assay.baselines.runs").Run(Path(path))  # by name: this room imports no other
    if run.status not in ("finished", "diverged"):
        raise ConfigError(f"{path} is a run that is {run.status}; only a finished one has a policy")
    return lambda observations: run.policy(_side_by_side(observations))


def policy_for(path: str, dataset: Dataset) -> Callable[[Any], Any]:
    """Return `policy_at(path)`, after it acted on the first observation of a dataset whose actions are an array.

    Raises
    ------
    ConfigError
        If it acts on other observations, or its actions are not like those of the dataset.
    """
    policy = policy_at(path)
    actions = np.asarray(dataset.actions)
    try:
        answer = np.asarray(policy(map_nested(lambda array: np.asarray(array[:1]), dataset.observations)))
    except (AssayError, TypeError, ValueError) as error:
        raise ConfigError(f"the policy {path} does not act on the observations of {dataset.name}: {error}") from error
    if actions.dtype.kind in "iu" and np.array_equal(answer, np.rint(answer)):
        answer = answer.astype(np.int64)  # a run answers categories as floats
    categories = [array.dtype.kind in "iu" for array in (answer, actions)]
    if answer.size != actions[:1].size or categories[0] != categories[1]:
        told = [
            "a category" if one else count_of(array[:1].size, "number")
            for one, array in zip(categories, (answer, actions))
        ]
        raise ConfigError(
            f"the policy {path} answers {told[0]}, and an action of {dataset.name} is {told[1]}; give a policy for the same actions"
        )
    return policy


def _side_by_side(observations: Any) -> np.ndarray:
    """Return observations, nested or not, as rows of numbers, in the order in which runs were trained on them."""
    if not isinstance(observations, Mapping):
        rows: np.ndarray = np.asarray(observations)
        return rows.reshape(len(rows), -1)
    return np.concatenate([_side_by_side(observations[name]) for name in sorted(observations)], axis=1)
