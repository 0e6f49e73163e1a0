"""Environments whose expert is written down or plans, and what it was measured to earn.

``python -m assay.datasets.collection.scripted [NAME ...]`` measures them, and uniform random actions, on 100 episodes each and
writes ``policies/scripted.json``, from which the catalog takes the reference scores of these tasks. A task without an expert has
random data only, and no scale of scores.
"""

from __future__ import annotations

import functools
import json
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import numpy as np

from assay.datasets.atomic import atomic_write
from assay.datasets.collection.policies import Policy, UniformPolicy
from assay.datasets.collection.policy_returns import episode_returns
from assay.datasets.environments.pool import EnvironmentPool
from assay.datasets.environments.record import Expert, records

__all__ = ["SCRIPTED", "ScriptedTask", "measured_returns"]

MEASUREMENT_SEEDS = range(4_000_000_000, 4_000_000_100)  # those of the trained policies


@dataclass(frozen=True)
class ScriptedTask:
    """One task.

    Parameters
    ----------
    environment_id
        What is stepped.
    expert
        Makes the expert; None where there is none.
    described
        What the expert is, in a few words.
    noise
        Action noise that expert data is collected and so measured with.
    packages
        Those whose versions the measured numbers depend on.
    detour
        Where there is one, a controller with another aim than the task's, and its noise.
    discrete
        Whether the expert's actions are numbers of choices.
    collected
        Keyword arguments of `gymnasium.make` that data is collected with; what the policies earn is measured without them.
    """

    environment_id: str
    expert: Callable[[], Policy] | None = None
    described: str = ""
    noise: float = 0.0
    packages: tuple[str, ...] = ("gymnasium", "numpy")
    detour: Expert | None = None
    discrete: bool = False
    collected: Mapping[str, Any] = field(default_factory=dict)


SCRIPTED: Mapping[str, ScriptedTask] = {
    record.name: ScriptedTask(
        record.environment_id,
        None if record.expert is None else record.expert.make,
        "" if record.expert is None else record.expert.described,
        0.0 if record.expert is None else record.expert.noise,
        record.packages,
        record.detour,
        record.expert is not None and record.expert.discrete,
        record.collected,
    )
    for record in records().values()
    if not record.trained
}
"""The environments of `assay.datasets.environments.record` whose policies are not trained."""


@functools.cache
def measured_returns() -> Mapping[str, Any]:
    """Return what was measured: for each task ``random``, ``expert`` where there is one, and ``versions``."""
    text = (files("assay.datasets.collection") / "policies" / "scripted.json").read_text(encoding="utf-8")
    return cast(Mapping[str, Any], json.loads(text)["tasks"])


def measure(task: ScriptedTask) -> dict[str, Any]:
    """Measure one task's policies."""
    found: dict[str, Any] = {"environment_id": task.environment_id, "noise": task.noise}
    with EnvironmentPool(task.environment_id, 10, workers=0) as pool:
        found["random"] = summary(*episode_returns(pool, UniformPolicy(), MEASUREMENT_SEEDS))
        if task.expert is not None:
            found["expert"] = summary(*episode_returns(pool, task.expert(), MEASUREMENT_SEEDS, task.noise))
    return found | {"versions": {package: version(package) for package in task.packages}}


def summary(returns: Sequence[float] | np.ndarray, lengths: Sequence[int] | np.ndarray) -> dict[str, Any]:
    """Return the mean and spread of measured episodes, and the first three of them."""
    return {
        "mean_return": float(np.mean(returns)),
        "std_return": float(np.std(returns, ddof=1)),
        "mean_length": float(np.mean(lengths)),
        "episodes": len(returns),
        "first_seed": MEASUREMENT_SEEDS.start,
        "first_returns": [float(value) for value in returns[:3]],
    }


def main(names: Sequence[str] = ()) -> None:
    """Measure the named tasks, by default all, and keep what was measured of the others."""
    before = measured_returns() if names else {}
    measured = {name: measure(SCRIPTED[name]) for name in names or SCRIPTED}
    content = {
        "schema": 1,
        "command": "python -m assay.datasets.collection.scripted",
        "machine": platform.machine(),
        "tasks": {name: measured.get(name, before.get(name)) for name in SCRIPTED if name in {*measured, *before}},
    }
    path = Path(str(files("assay.datasets.collection"))) / "policies" / "scripted.json"
    atomic_write(path, json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
