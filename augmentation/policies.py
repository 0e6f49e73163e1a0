"""Policies by path: a policy file, or the folder of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from assay.datasets.collection.policy_file import read_policy_file
from assay.datasets.errors import ConfigError

__all__ = ["policy_at"]


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
    run = import_module("assay.baselines.runs").Run(Path(path))  # by name: this room knows the engine only
    if run.status not in ("finished", "diverged"):
        raise ConfigError(f"{path} is a run that is {run.status}; only a finished one has a policy")
    return lambda observations: run.policy(_side_by_side(observations))


def _side_by_side(observations: Any) -> np.ndarray:
    """Return observations, nested or not, as rows of numbers, in the order in which runs were trained on them."""
    if not isinstance(observations, Mapping):
        rows: np.ndarray = np.asarray(observations)
        return rows.reshape(len(rows), -1)
    return np.concatenate([_side_by_side(observations[name]) for name in sorted(observations)], axis=1)
