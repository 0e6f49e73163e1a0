"""Finished runs that tests only read: trained once for all processes of a session."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from filelock import FileLock

from assay.baselines import BC, IQL, TD3BC, Evaluation, Job, Run, train
from tests.baselines.problems import pendulum_like

SMALL = {"hidden": (16, 16), "batch_size": 32}
STEPS = 20


def shared_jobs() -> list[Job]:
    """List the jobs of the shared runs: one dataset, three algorithms."""
    return [Job(make(**SMALL), pendulum_like(), seed) for make, seed in ((BC, 0), (TD3BC, 1), (IQL, 1))]


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of this session that the processes of pytest-xdist share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def finished_runs(session_folder: Path) -> dict[str, Run]:
    """Return the shared runs by their algorithm's name. They are for reading: copy the folder of one to change it."""
    with FileLock(session_folder / "finished-runs.lock"):  # whoever comes later finds them finished
        runs = train(
            shared_jobs(),
            steps=STEPS,
            runs=session_folder / "finished-runs",
            evaluation=Evaluation(episodes=4, every=10),
            workers=0,
        )
    assert [run.status for run in runs] == ["finished"] * 3
    return {run.description["job"]["algorithm"]: run for run in runs}
