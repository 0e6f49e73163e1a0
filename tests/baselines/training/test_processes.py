"""Several processes of one thread: the division follows from the jobs, and runs are those of one process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from assay.baselines import BC, TD3BC, Evaluation, Job, ObservationNoise, Run, TrainingOptions, plan_training, train
from assay.baselines.runs.plan import Plan
from assay.baselines.training.dry_run import PlannedPopulation, TrainingPlan
from assay.baselines.training.grouping import even_share
from assay.baselines.training.sending import DatasetShelf, job_from_plain, job_to_plain
from assay.baselines.training.work import Work, count_processes
from assay.datasets.errors import AssayWarning, ConfigError
from assay.datasets.memory import scratch_folder
from tests.baselines.problems import pendulum_like

SMALL = {"hidden": (16, 16), "batch_size": 32}
ROOT = Path(__file__).parents[3]
CONTENTS = ("policy.safetensors", "returns.parquet", "curves.parquet")


def mapped(array: np.ndarray | None) -> bool:
    return isinstance(array, np.memmap) or (array is not None and mapped(array.base))


def jobs_of_two_kinds() -> list[Job]:
    jobs = [Job(TD3BC(**SMALL), pendulum_like(data), seed) for data in (0, 1) for seed in (0, 1, 2)]
    return [*jobs, Job(BC(**SMALL), pendulum_like(0))]


class Notes:
    """A logger that remembers what it was told; it cannot be sent anywhere, because it holds a function."""

    def __init__(self) -> None:
        self.points: dict[str, list[tuple[str, int]]] = {}
        self.open: set[str] = set()
        self.odd: list[str] = []
        self.keep = lambda: None

    def start(self, run: Run) -> None:
        self.open.add(run.folder.name)
        self.points[run.folder.name] = []

    def log(self, run: Run, kind: str, update: int, metrics: Mapping[str, float]) -> None:
        if run.folder.name not in self.open or not metrics:
            self.odd.append(run.folder.name)
        self.points[run.folder.name].append((kind, update))

    def close(self) -> None:
        self.open.clear()


@pytest.mark.slow  # ten seconds of starting processes
def test_two_processes_write_the_bytes_of_one_that_trains_the_same_populations(tmp_path):
    jobs, notes, reports = jobs_of_two_kinds(), Notes(), []
    options = {"steps": 40, "evaluation": Evaluation(episodes=1, every=20)}
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        one = train(jobs, runs=tmp_path / "one", population=3, processes=1, workers=0, **options)
    finally:
        torch.set_num_threads(before)
    two = train(jobs, runs=tmp_path / "two", processes=2, progress=reports.append, loggers=[notes], **options)
    for left, right in zip(one, two):
        assert (left.folder.name, left.status) == (right.folder.name, "finished")
        for name in CONTENTS:
            assert (left.folder / name).read_bytes() == (right.folder / name).read_bytes(), name
    assert {(report.population, report.members) for report in reports} == {(0, 3), (1, 3), (2, 1)}
    assert {report.populations for report in reports} == {3}
    assert {report.rows[0].score is not None for report in reports if report.ended} == {False}
    assert sum(report.ended for report in reports) == 3
    assert notes.points.keys() == {run.folder.name for run in two}
    assert not notes.odd
    assert not notes.open
    assert all(points[-1] == ("evaluation", 40) for points in notes.points.values())
    assert not list(scratch_folder().glob("training-*"))


def test_a_job_made_of_what_is_sent_is_the_same_job(tmp_path):
    dataset = pendulum_like(0).replace({"weights": np.linspace(0.1, 1, 200)})
    shelf, opened = DatasetShelf(tmp_path), {}
    evaluation = Evaluation(episodes=3, observation_noise=ObservationNoise(scale=0.1))
    job = Job(TD3BC(**SMALL, alpha=1.0), dataset, 7, "noisy", "mine", 12.5, ("alpha",))
    bare = Job(BC(**SMALL), dataset)
    for given_ in (job, bare):
        made = job_from_plain(job_to_plain(given_, shelf), opened)
        for plan in (Plan(10, evaluation, "highest"), Plan(10, None, "high")):
            assert plan.describe(made) == plan.describe(given_)
            assert plan.folder(made) == plan.folder(given_)
        assert made.known_behaviour_return == given_.known_behaviour_return
    assert len(opened) == 1
    assert mapped(made.dataset.column("rewards"))


def test_columns_that_datasets_have_in_common_are_one_file(tmp_path):
    clean = pendulum_like(0)
    other = clean.replace({"rewards": clean.rewards + 1.0})
    shelf = DatasetShelf(tmp_path)
    first, second = (shelf.put(dataset) / "columns" for dataset in (clean, other))
    assert shelf.put(clean) == first.parent
    assert (first / "actions.npy").samefile(second / "actions.npy")
    assert not (first / "rewards.npy").samefile(second / "rewards.npy")


@given(st.integers(1, 300), st.integers(1, 80), st.integers(1, 70))
def test_every_process_gets_an_even_share(jobs, largest, processes):
    size = even_share(jobs, largest, processes)
    sizes = [min(size, jobs - start) for start in range(0, jobs, size)]
    assert 1 <= size <= largest
    if processes == 1:
        assert size == largest
    else:  # nobody trains two populations while another one trains none
        assert len(sizes) <= processes * -(-jobs // (largest * processes))
        assert size - 1 < -(-jobs // min(jobs, processes * -(-jobs // (largest * processes))))


def looked_up(jobs: list[Job], steps: int, root: Path) -> list[Work]:
    work = [Work(job, Plan(steps, None, "highest"), root) for job in jobs]
    for item in work:
        item.look_up()
    return work


def test_the_work_decides_how_many_processes_train_and_not_a_stopwatch(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    large = [Job(TD3BC(), pendulum_like(), seed) for seed in range(4)]  # 400 M operations per update
    assert count_processes(looked_up(large, 2_000, tmp_path), TrainingOptions()) == 4
    assert count_processes(looked_up(large, 20, tmp_path), TrainingOptions()) == 1
    assert count_processes(looked_up(large, 20, tmp_path), TrainingOptions(processes=3)) == 3
    assert count_processes(looked_up(large, 2_000, tmp_path), TrainingOptions(workers=0)) == 1
    assert count_processes(looked_up(large, 2_000, tmp_path), TrainingOptions(device="cuda")) == 1
    monkeypatch.setattr(TD3BC, "__module__", "__main__")
    assert count_processes(looked_up(large, 2_000, tmp_path), TrainingOptions()) == 1
    with pytest.raises(ConfigError, match=r"TD3\+BC is defined in a script or notebook.*processes=1"):
        train(large, steps=20, runs=tmp_path, evaluation=None, processes=2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert count_processes(looked_up(large, 2_000, tmp_path), TrainingOptions()) == 1


def test_a_plan_divides_jobs_as_training_does_and_counts_its_time_side_by_side(tmp_path):
    jobs = jobs_of_two_kinds()
    plan = plan_training(jobs, steps=10, runs=tmp_path, evaluation=None, processes=2)
    assert [item.members for item in plan.populations] == [3, 3, 1]
    assert plan.processes == 2
    planned = [PlannedPopulation("", 1, 1, updates=1, seconds_per_update=seconds) for seconds in (4.0, 1.0, 2.0, 3.0)]
    assert TrainingPlan((), tuple(planned), 2).seconds == 6.0  # one does 4, the other 1, 2 and 3
    assert TrainingPlan((), tuple(planned)).seconds == 10.0


def test_a_disk_that_is_full_is_said_before_anything_is_trained(tmp_path, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(ConfigError, match=r"the disk is full\): set ASSAY_SCRATCH"):
        train(jobs_of_two_kinds(), steps=4, runs=tmp_path / "runs", evaluation=None, processes=2)
    assert not list(scratch_folder().glob("training-*"))


SCRIPT = """
import sys
import numpy as np
from assay.baselines import TD3BC, Evaluation, Job, train
from tests.baselines.problems import pendulum_like
jobs = [Job(TD3BC(hidden=(16, 16), batch_size=32), pendulum_like(data), seed) for data in (0, 1) for seed in (0, 1)]
report = lambda progress: print(progress.update, flush=True)
train(jobs, steps=1200, runs=sys.argv[1], evaluation=Evaluation(episodes=1, every=600), checkpoint_seconds=0.1,
      processes=2, progress=report)
"""


def started(folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    return subprocess.Popen(
        command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def children(process: int) -> list[int]:
    text = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [
        child for child in map(int, text.split()) if b"training_process" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def wait_for_updates(process: subprocess.Popen[str], update: int) -> None:
    for line in process.stdout:
        if int(line) >= update:
            return


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the training processes under /proc")
def test_killed_and_given_again_the_bytes_are_those_of_an_undisturbed_training(tmp_path):
    whole = started(tmp_path / "whole")
    assert whole.communicate()[1] == ""
    assert whole.returncode == 0

    process = started(tmp_path / "killed")  # the one that asked is killed: the others save and end
    wait_for_updates(process, 200)
    trainers = children(process.pid)
    assert len(trainers) == 2
    process.kill()
    process.communicate()
    for trainer in trainers:
        deadline = time.monotonic() + 30
        while Path(f"/proc/{trainer}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not Path(f"/proc/{trainer}").exists()
    runs = [Run(path.parent) for path in sorted((tmp_path / "killed").glob("*/run.json"))]
    assert {run.status for run in runs} == {"unfinished"}
    assert all(run.checkpoints() for run in runs)

    process = started(tmp_path / "killed")  # interrupted
    wait_for_updates(process, 500)
    process.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in process.communicate()[1]

    process = started(tmp_path / "killed")  # one trainer is killed: the other goes on with its population
    wait_for_updates(process, 800)
    with suppress(ProcessLookupError):
        os.kill(children(process.pid)[0], signal.SIGKILL)
    complaints = process.communicate()[1]
    assert process.returncode == 0, complaints
    assert "was killed by SIGKILL" in complaints
    assert "other processes went on" in complaints
    compared = sorted((tmp_path / "whole").glob("*/run.json"))
    assert len(compared) == 4
    for left in (path.parent for path in compared):
        for name in ("policy.safetensors", "returns.parquet"):
            assert (left / name).read_bytes() == (tmp_path / "killed" / left.name / name).read_bytes()


@pytest.mark.slow
def test_a_warning_or_an_error_of_a_training_process_is_one_here(tmp_path, monkeypatch):
    module = sys.modules["assay.baselines.training.train"]
    if module.multiplies_bfloat16() is False:
        with pytest.warns(AssayWarning, match="multiplies in float32 here") as caught:
            train(jobs_of_two_kinds(), steps=2, runs=tmp_path, evaluation=None, processes=2, precision="medium")
        assert len(caught) == 1  # and not one for each process
    broken = pendulum_like().replace({"rewards": np.full(200, 1e39)})
    runs = train(
        [Job(BC(**SMALL), broken), Job(BC(**SMALL), pendulum_like())],
        steps=2,
        runs=tmp_path,
        evaluation=None,
        processes=2,
    )
    assert [run.status for run in runs] == ["failed", "finished"]
