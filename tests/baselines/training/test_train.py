"""Training to disk: runs are written whole, recognized, resumed after a kill, and failures stay with their job."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from assay.baselines import BC, IQL, TD3BC, Evaluation, Job, Run, train
from assay.baselines.runs.integrity import write_json
from assay.baselines.training.train import matmul_precision
from assay.datasets.errors import AssayError, ConfigError, DatasetIntegrityError
from tests.baselines.problems import pendulum_like

SMALL = {"hidden": (16, 16), "batch_size": 32}
ROOT = Path(__file__).parents[3]


def contents(run: Run) -> dict[str, bytes]:
    return {
        name: (run.folder / name).read_bytes() for name in ("policy.safetensors", "returns.parquet", "curves.parquet")
    }


def test_a_finished_run_holds_what_it_promises(finished_runs):
    dataset, run = pendulum_like(), finished_runs["td3_bc"]
    assert run.status == "finished"
    assert {path.name for path in run.folder.iterdir()} == {
        "run.json",
        "curves.parquet",
        "returns.parquet",
        "policy.safetensors",
    }
    assert run.returns.shape == (4,)
    assert (run.returns < 0).all()  # Pendulum's rewards are never positive
    assert run.score is None  # no references for Pendulum-like data
    assert set(run.curves["metric"]) == {"critic_loss", "q_mean", "actor_loss", "cloning_loss"}
    assert run.curves.filter(metric="critic_loss")["update"].to_list() == list(range(1, 21))
    stored = run.description
    assert stored["dataset"]["fingerprint"] == dataset.fingerprint
    assert stored["job"]["parameters"]["alpha"] == 2.5
    assert stored["versions"]["torch"]


def test_a_policy_acts_and_values_as_the_trained_population_did(finished_runs):
    from assay.baselines.engine.data import TrainingData
    from assay.baselines.engine.population import Member, Population

    dataset = pendulum_like()
    job, run = Job(IQL(**SMALL), dataset, seed=1), finished_runs["iql"]
    population = Population(
        [Member(job.algorithm, 1, 0)],
        [TrainingData.of(dataset.transitions(), job.action_scale, normalize=True)],
        20,
    )
    population.advance(20)
    observations = dataset.observations[:7].astype(np.float64)
    assert np.allclose(run.policy(observations), population.act(observations[None])[0], atol=1e-6)
    assert (np.abs(run.policy(observations)) <= 2.0).all()
    actions = dataset.actions[:7]
    mean, std = dataset.transitions().observations.mean(0), dataset.transitions().observations.std(0)
    inputs = np.hstack([(observations - mean) / (std + 1e-3), actions / 2.0])
    expected = population.networks["critic"](torch.from_numpy(inputs).float()[None], weights="frozen")[0, ..., 0]
    assert np.allclose(run.q_values(observations, actions), expected.numpy(), atol=1e-5)
    with pytest.raises(ConfigError, match=r"expected \(n, 3\)"):
        run.policy(observations[:, :2])


def test_a_population_of_runs_equals_the_same_jobs_trained_one_by_one(tmp_path):
    jobs = [Job(BC(**SMALL), pendulum_like(data), seed) for data in (0, 1) for seed in (0, 1)]
    options = {"steps": 30, "evaluation": Evaluation(episodes=2), "workers": 0}
    together = train(jobs, runs=tmp_path / "together", **options)
    alone = [train([job], runs=tmp_path / "alone", **options)[0] for job in jobs]
    for left, right in zip(together, alone):
        assert left.folder.name == right.folder.name
        assert np.allclose(left.returns, right.returns, rtol=1e-4)
    assert len({tuple(run.returns) for run in together}) == 4


def test_a_finished_run_is_recognized_and_not_trained_again(tmp_path):
    job = Job(BC(**SMALL), pendulum_like())
    (first,) = train([job], steps=10, runs=tmp_path, evaluation=None)
    before = contents(first) if (first.folder / "returns.parquet").exists() else None
    modified = (first.folder / "policy.safetensors").stat().st_mtime_ns
    calls = []
    (again,) = train([job], steps=10, runs=tmp_path, evaluation=None, progress=calls.append)
    assert not calls
    assert (again.folder / "policy.safetensors").stat().st_mtime_ns == modified
    assert before == (contents(again) if before else None)


@pytest.mark.parametrize("change", ["seed", "steps", "parameter", "data", "evaluation", "precision"])
def test_anything_that_changes_the_result_changes_the_folder(tmp_path, change):
    base = {"algorithm": BC(**SMALL), "dataset": pendulum_like(), "seed": 0}
    options = {"steps": 4, "evaluation": None, "precision": "highest"}
    (first,) = train([Job(**base)], runs=tmp_path, **options)
    if change == "seed":
        base["seed"] = 1
    elif change == "parameter":
        base["algorithm"] = BC(**SMALL, learning_rate=1e-3)
    elif change == "data":
        base["dataset"] = pendulum_like(5)
    else:
        options |= {
            "steps": {"steps": 5},
            "evaluation": {"evaluation": Evaluation(episodes=1)},
            "precision": {"precision": "medium"},
        }[change]
    (second,) = train([Job(**base)], runs=tmp_path, workers=0, **options)
    assert first.folder != second.folder


def test_a_diverged_job_is_reported_and_its_neighbour_finishes(tmp_path):
    jobs = [Job(BC(**SMALL, learning_rate=1e38), pendulum_like()), Job(BC(**SMALL), pendulum_like())]
    wild, tame = train(jobs, steps=20, runs=tmp_path, evaluation=Evaluation(episodes=1), workers=0)
    assert wild.status == "diverged"
    assert "not finite" in wild.error
    assert tame.status == "finished"
    (alone,) = train(jobs[1:], steps=20, runs=tmp_path / "alone", evaluation=Evaluation(episodes=1), workers=0)
    assert np.allclose(tame.returns, alone.returns, rtol=1e-4)


def test_a_job_that_fails_does_not_stop_the_others(tmp_path):
    broken = pendulum_like().replace({"actions": np.full((200, 1), np.nan)})
    jobs = [Job(TD3BC(**SMALL), broken), Job(BC(**SMALL), pendulum_like())]
    failed, fine = train(jobs, steps=5, runs=tmp_path, evaluation=None)
    assert failed.status == "failed"
    assert "NaN" in failed.error
    assert fine.status == "finished"
    assert not (failed.folder / "policy.safetensors").exists()


def test_a_variant_that_cannot_be_learned_from_does_not_stop_its_companions(tmp_path):
    broken = pendulum_like().replace({"actions": np.full((200, 1), np.nan)})
    jobs = [Job(BC(**SMALL), dataset, seed) for seed in (0, 1) for dataset in (broken, pendulum_like())]
    runs = train(jobs, steps=5, runs=tmp_path / "together", evaluation=None)
    assert [run.status for run in runs] == ["failed", "finished", "failed", "finished"]
    alone = train(jobs[1::2], steps=5, runs=tmp_path / "alone", evaluation=None)
    assert [contents_of_policy(run) for run in runs[1::2]] == [contents_of_policy(run) for run in alone]


def contents_of_policy(run: Run) -> bytes:
    return (run.folder / "policy.safetensors").read_bytes()


def test_a_kill_between_the_checkpoints_of_two_members_takes_both_back_to_the_one_before(tmp_path):
    class Killed(BaseException):
        pass

    jobs = [Job(TD3BC(**SMALL), pendulum_like(), seed) for seed in (0, 1)]
    options = {"steps": 300, "evaluation": None, "checkpoint_seconds": 0.0}
    whole = train(jobs, runs=tmp_path / "whole", **options)

    def stop(report):
        if report.update >= 150:
            raise Killed

    with pytest.raises(Killed):
        train(jobs, runs=tmp_path / "killed", progress=stop, **options)
    runs = runs_in(tmp_path / "killed")
    (latest,) = runs[0].checkpoints()
    assert runs[1].checkpoints() == [latest]
    # The first member has a later checkpoint, which the second was killed before writing.
    state, pending, progress = runs[0].read_checkpoint(latest)
    ahead = replace(state, update=state.update + 1, tensors={name: value + 1 for name, value in state.tensors.items()})
    runs[0].write_checkpoint(latest + 1, ahead, pending, progress)
    resumed = train(jobs, runs=tmp_path / "killed", **options)
    assert [contents_of_policy(run) for run in resumed] == [contents_of_policy(run) for run in whole]
    assert [run.curves.equals(other.curves) for run, other in zip(resumed, whole)] == [True, True]


def test_members_begun_together_go_on_together_whatever_joins_or_is_asked_for(tmp_path):
    jobs = [Job(BC(**SMALL), pendulum_like(), seed) for seed in (0, 1, 2)]
    options = {"steps": 200, "evaluation": None, "checkpoint_seconds": 0.0}

    def stop(report):
        if report.update >= 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(jobs[:2], runs=tmp_path, progress=stop, **options)
    members = []
    train(jobs, runs=tmp_path, population=1, progress=lambda report: members.append(report.members), **options)
    assert set(members) == {2, 1}


def test_impossible_settings_are_refused_before_anything_is_written(tmp_path):
    from assay.datasets.spaces import Discrete

    dataset = pendulum_like()
    discrete = dataset.replace(info=replace(dataset.info, action_space=Discrete(2)))
    unknown = dataset.replace(info=replace(dataset.info, env_spec=None))
    for job, options, message in [
        (Job(BC(), discrete), {}, "bounded Box action space"),
        (Job(BC(), unknown), {"evaluation": Evaluation(episodes=1)}, "does not say which environment"),
        (Job(BC(), dataset), {"precision": "exact"}, "precision='exact'"),
        (Job(BC(), dataset), {"device": "abacus"}, "device 'abacus'"),
        (Job(BC(), dataset), {"steps": 0}, "steps=0"),
        (Job(BC(), dataset), {"population": "many"}, "population='many'"),
        (Job(BC(), dataset), {"storage": "int8"}, "storage='int8'"),
    ]:
        with pytest.raises(ConfigError, match=message):
            train([Job(BC(), dataset), job], runs=tmp_path / "runs", **{"steps": 5, "evaluation": None, **options})
    assert not (tmp_path / "runs").exists()


def test_a_damaged_checkpoint_or_description_is_an_error_that_names_the_file(tmp_path):
    job = Job(BC(**SMALL), pendulum_like())
    (run,) = train([job], steps=5, runs=tmp_path, evaluation=None)
    write_json(run.folder / "run.json", {**run.description, "status": "unfinished"})
    (run.folder / "checkpoint").mkdir()
    (run.folder / "checkpoint" / "3.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(DatasetIntegrityError, match=r"3\.safetensors is damaged"):
        train([job], steps=5, runs=tmp_path, evaluation=None)
    (run.folder / "run.json").write_text("{")
    with pytest.raises(AssayError, match=r"run\.json is damaged"):
        train([job], steps=5, runs=tmp_path, evaluation=None)


KILLS = 10

SCRIPT = """
import sys
from assay.baselines import BC, TD3BC, Evaluation, Job, train
from tests.baselines.problems import pendulum_like

options = {"hidden": (16, 16), "batch_size": 32}
jobs = [Job(make(**options), pendulum_like(data), seed) for make in (BC, TD3BC) for data in (0, 1) for seed in (0, 1)]
print("training", flush=True)
train(jobs, steps=5000, runs=sys.argv[1], evaluation=Evaluation(episodes=1, every=2000), workers=0, checkpoint_seconds=0.1)
"""


def script(folder: Path) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    return subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def runs_in(folder: Path) -> list[Run]:
    return [Run(path.parent) for path in sorted(folder.glob("*/run.json"))]


@pytest.mark.slow
def test_killed_at_any_moment_and_given_again_the_numbers_are_those_of_an_undisturbed_run(tmp_path):
    whole_run = script(tmp_path / "whole")
    assert whole_run.wait() == 0, whole_run.stderr.read().decode()
    rng, kills = np.random.default_rng(0), 0
    for attempt in range(KILLS + 1):
        process = script(tmp_path / "killed")
        process.stdout.readline()  # training begins
        if attempt < KILLS:
            with suppress(subprocess.TimeoutExpired):
                process.wait(rng.uniform(0.05, 0.8))
        else:
            process.wait()
        if process.poll() is not None:
            assert process.returncode == 0, process.stderr.read().decode()
            break
        process.send_signal(signal.SIGKILL if kills % 2 else signal.SIGINT)
        process.wait()
        kills += 1
        for path in (tmp_path / "killed").glob("*/run.json"):  # nothing looks finished that is not
            run = Run(path.parent)
            assert run.status == "unfinished" or (run.folder / "policy.safetensors").exists()
    assert kills >= 3  # a loaded machine lets some attempts run further
    whole, killed = runs_in(tmp_path / "whole"), runs_in(tmp_path / "killed")
    assert [run.folder.name for run in whole] == [run.folder.name for run in killed]
    assert len(whole) == 8
    for left, right in zip(whole, killed):
        assert right.status == "finished"
        for name in ("policy.safetensors", "returns.parquet"):
            assert (left.folder / name).read_bytes() == (right.folder / name).read_bytes()
        assert left.curves["update"].to_list() == right.curves["update"].to_list()
        assert left.curves["metric"].to_list() == right.curves["metric"].to_list()
        assert np.allclose(left.curves["value"], right.curves["value"], rtol=1e-6)


@pytest.mark.parametrize(
    ("known", "precision", "said"),
    [
        (False, "medium", "multiplies in float32"),
        (False, "bf16", "many times slower"),
        (False, "high", None),
        (True, "medium", None),
        (None, "bf16", None),
    ],
)
def test_a_precision_that_the_processor_has_no_instructions_for_is_said(monkeypatch, known, precision, said):
    monkeypatch.setattr(sys.modules["assay.baselines.training.train"], "multiplies_bfloat16", lambda: known)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with matmul_precision(precision, "cpu"):
            assert torch.get_float32_matmul_precision() == ("highest" if precision == "bf16" else precision)
    assert [said in str(item.message) for item in caught] == ([] if said is None else [True])
    assert torch.get_float32_matmul_precision() == "highest"


def test_the_seeds_of_evaluation_do_not_depend_on_training(finished_runs):
    import polars as pl

    first, second = finished_runs["bc"], finished_runs["td3_bc"]
    tables = [pl.read_parquet(run.folder / "returns.parquet") for run in (first, second)]
    seeds = [table.filter(pl.col("final"))["seed"].to_list() for table in tables]
    assert seeds[0] == seeds[1]
    assert len(set(seeds[0])) == 4
    assert json.loads((first.folder / "run.json").read_text())["job"]["evaluation"]["seed"] == 0
