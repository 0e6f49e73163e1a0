"""A dry run tells what a training would do, and writes nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import assay
from assay.baselines import BC, TD3BC, Job, Suite, TrainingProgress, plan_suite, plan_training, train
from assay.baselines.training.live_table import LiveTable
from assay.baselines.training.progress import MemberProgress
from tests.baselines.problems import pendulum_like

SMALL = {"hidden": (16,), "batch_size": 8}


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_plan_has_the_populations_of_the_training_and_knows_what_is_there(tmp_path):
    jobs = [Job(make(**SMALL), pendulum_like(data), seed) for make in (BC, TD3BC) for data in (0, 1) for seed in (0, 1)]
    broken = pendulum_like().replace({"actions": np.full((200, 1), np.nan)})
    jobs.append(Job(BC(hidden=(4,)), broken))
    options = {"steps": 40, "runs": tmp_path, "evaluation": None, "population": 3}
    train(jobs[:1], **options)

    with pytest.raises(KeyboardInterrupt):
        train(jobs[-2:-1], **options, checkpoint_seconds=0.0, progress=interrupt_at(10))
    before = files(tmp_path)
    plan = plan_training(jobs, **options)
    assert files(tmp_path) == before

    assert [job.status for job in plan.jobs] == ["finished", *["new"] * 6, "resumes", "new"]
    assert 10 <= plan.jobs[7].update < 40
    assert [job.folder for job in plan.jobs[:1]] == [run.folder for run in train(jobs[:1], **options)]
    shapes = [(item.label, item.members, item.datasets, item.updates) for item in plan.populations]
    left = 40 - plan.jobs[7].update
    assert shapes == [("BC", 3, 2, 40), ("TD3+BC", 3, 2, 40), ("TD3+BC", 1, 1, left), ("BC", 1, 1, 0)]
    assert "NaN" in plan.populations[3].error

    cloning = plan.populations[0]
    weights = (3 * 16 + 16) + (16 * 1 + 1)  # Pendulum: 3 observations, 1 action; one hidden layer
    assert cloning.state_bytes >= 3 * 3 * weights * 4, "parameters and two moments of three members, float32"
    assert cloning.data_bytes == 2 * 200 * ((2 * 3 + 1 + 2) * 4 + 4), "each dataset once"
    assert (cloning.observation_size, cloning.action_size) == (3, 1)
    assert cloning.seconds == 40 * cloning.seconds_per_update > 0


def interrupt_at(update: int):
    import os
    import signal

    def interrupt(report: TrainingProgress) -> None:
        if not report.ended and report.update >= update:
            os.kill(os.getpid(), signal.SIGINT)

    return interrupt


def suite(source: str) -> Suite:
    return Suite.from_plain(
        {
            "name": "tiny",
            "source": source,
            "variants": {"clean": [], "noisy": [{"corruption.random": {"element": "rewards", "rate": 0.5}}]},
            "algorithms": {"bc": {"hidden": [8]}},
            "seeds": [0, 1],
            "budgets": {"smoke": {"steps": 4, "dataset_steps": 30000}},
        }
    )


def test_a_source_that_is_not_collected_is_not_collected_for_a_plan(tmp_path, monkeypatch):
    monkeypatch.setenv("ASSAY_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    plan = plan_suite(suite("pendulum/random"), "smoke")
    assert plan.collects == 30000
    assert {job.status for job in plan.jobs} == {"unknown"}
    assert [(item.members, item.datasets) for item in plan.populations] == [(4, 2)]
    assert plan.populations[0].data_bytes == 2 * 30000 * ((2 * 3 + 1 + 2) * 4 + 4)
    assert not list(tmp_path.iterdir())

    assay.save(assay.load("pendulum/random", steps=400), tmp_path / "here")
    assert plan_suite(suite(str(tmp_path / "here")), "smoke").collects is None


def lines(table: LiveTable, width: int = 120, height: int = 30) -> list[str]:
    from rich.console import Console

    console = Console(width=width, height=height, color_system=None)
    with console.capture() as captured:
        console.print(table)
    return [" ".join(line.split()) for line in captured.get().splitlines()]


def report(**changes: object) -> TrainingProgress:
    rows = tuple(
        MemberProgress("BC", variant, seed, (("actor_loss", seed + 0.5),), -200.0 * (seed + 1), 10.0 * (seed + 1))
        for variant in ("clean", "noisy")
        for seed in (0, 1)
    )
    return replace(TrainingProgress(0, 3, "BC", 4, 50, 250, 100.0, rows=rows), **changes)


def test_the_live_table_shows_each_member_and_the_time_that_is_left():
    table = LiveTable()
    table.prepare("collecting", 1, 4)
    assert lines(table)[0].endswith("25%")
    table.update(report())
    shown = lines(table)
    assert shown[0].startswith("0 of 3 populations done")
    assert shown[1].startswith("BC (1/3), 4 jobs")
    assert shown[1].endswith("50/250 updates 100 updates/s 0:00:08 left")  # 4 members x 200 updates at 100 per second
    assert shown[2:5] == [
        "algorithm variant seed actor_loss return score",
        "BC clean 0 0.5 -200.0 10.0",
        "BC clean 1 1.5 -400.0 20.0",
    ]
    table.update(report(evaluated=0.5))
    assert lines(table)[1].endswith("evaluating, 50%")
    table.update(report(ended=True))
    table.update(report(population=2, label="IQL"))
    shown = lines(table)
    assert shown[0].startswith("1 of 3 populations done")
    assert shown[1].startswith("IQL (3/3)")


def test_on_a_low_terminal_the_live_table_shows_means_over_seeds_and_then_a_part():
    table = LiveTable()
    table.update(report())
    assert lines(table, height=8)[3:] == ["BC clean 2 members 1 -300.0 15.0", "BC noisy 2 members 1 -300.0 15.0"]
    assert lines(table, height=6)[3:] == ["BC clean 2 members 1 -300.0 15.0", "and 1 more"]


def test_progress_tells_what_was_evaluated(tmp_path):
    from assay.baselines import Evaluation

    reports: list[TrainingProgress] = []
    (run,) = train(
        [Job(BC(**SMALL), pendulum_like(), variant="plain")],
        steps=6,
        runs=tmp_path,
        evaluation=Evaluation(episodes=2, every=3),
        workers=0,
        progress=reports.append,
    )
    (row,) = reports[-1].rows
    assert reports[-1].ended
    assert (row.label, row.variant, row.seed, row.score) == ("BC", "plain", 0, None)
    assert row.mean_return == pytest.approx(run.returns.mean())
    assert dict(row.metrics).items() <= {(name, value) for _, name, value in run.curves.iter_rows()}
    assert json.loads((run.folder / "run.json").read_text())["status"] == "finished"


def test_a_population_that_another_process_trains_is_one_line_with_its_owner():
    table = LiveTable()
    owner = "process 4711 on lab-machine-12, since 2026-11-26 09:00"
    table.update(TrainingProgress(1, 2, "TD3+BC", 6, 0, 4000, 0.0, waiting_for=owner))
    (line,) = [line for line in lines(table, width=120) if "TD3+BC" in line]
    assert f"TD3+BC (2/2), 6 jobs: waiting for {owner}" in line
    assert "updates" not in line
