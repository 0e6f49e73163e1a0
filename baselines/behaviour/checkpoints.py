"""Checkpoints of an online training on disk: each is a policy file, written as soon as it has been evaluated.

::

    <folder>/000005000.safetensors     the policy after 5,000 steps, with the returns of its evaluation

The training takes long and may be interrupted. What it had reached stays, and since nothing in a training depends on how
long it was to be, the checkpoints of a cut one are those of a shorter one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from assay.baselines.behaviour.interaction import Checkpoint
from assay.datasets.collection.network_policy import NetworkPolicy
from assay.datasets.collection.policy_file import open_policy_file, write_policy_file
from assay.datasets.errors import FormatError

__all__ = ["learning_curve", "read_checkpoints", "write_checkpoint"]


def write_checkpoint(folder: Path, environment_id: str, checkpoint: Checkpoint, run: Mapping[str, Any]) -> None:
    """Write one checkpoint of a run; `run` says how it was trained."""
    training = {
        **run,
        "steps": checkpoint.steps,
        "episodes": checkpoint.episodes,
        "evaluation_returns": checkpoint.returns.tolist(),
    }
    write_policy_file(folder / f"{checkpoint.steps:09d}.safetensors", environment_id, checkpoint.policy, training)


def read_checkpoints(folder: Path, run: Mapping[str, Any]) -> list[Checkpoint]:
    """Read the checkpoints of a run, in order; those of another run in the same folder are a FormatError."""
    found = []
    for path in sorted(folder.glob("*.safetensors")):
        file = open_policy_file(path)
        assert isinstance(file.policy, NetworkPolicy)
        if any(file.training.get(name) != value for name, value in run.items()):
            raise FormatError(f"{path} comes from another run; choose another folder")
        returns = np.array(file.training["evaluation_returns"])
        found.append(Checkpoint(file.training["steps"], file.training["episodes"], file.policy, returns))
    return found


def learning_curve(checkpoints: Sequence[Checkpoint]) -> dict[str, list[float]]:
    """Return the mean and spread of the evaluation returns against the steps, as JSON values."""
    return {
        "steps": [checkpoint.steps for checkpoint in checkpoints],
        "episodes": [checkpoint.episodes for checkpoint in checkpoints],
        "mean_return": [round(checkpoint.mean_return, 3) for checkpoint in checkpoints],
        "std_return": [round(float(checkpoint.returns.std()), 3) for checkpoint in checkpoints],
    }
