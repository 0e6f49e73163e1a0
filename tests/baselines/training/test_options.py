"""One record of options goes through every door, is checked in one place, and keyword arguments override it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from assay.baselines import BC, Job, Suite, TrainingOptions, plan_suite, plan_training, run_suite, train, train_victim
from assay.baselines.training.options import OptionChanges
from assay.datasets.errors import ConfigError, UnknownNameError
from tests.baselines.problems import pendulum_like

WRONG = [
    ({"precision": "double"}, "precision='double' is not one of highest, high, medium, bf16"),
    ({"storage": "int8"}, "storage='int8' is not one of float32, float16, bfloat16"),
    ({"storage": None}, "storage=None is not one of"),
    ({"population": 0}, "population=0 must be at least 1, or 'auto'"),
    ({"population": "most"}, "population='most' must be at least 1, or 'auto'"),
    ({"population": True}, "population=True must be at least 1"),
    ({"population": 2.5}, "population=2.5 must be at least 1"),
    ({"workers": -1}, "workers=-1 must be 0 or more"),
    ({"workers": 1.5}, "workers=1.5 must be 0 or more"),
    ({"checkpoint_seconds": -1.0}, "checkpoint_seconds=-1.0 must be 0 or more"),
    ({"checkpoint_seconds": float("nan")}, "checkpoint_seconds=nan must be 0 or more"),
    ({"compile": "yes"}, "compile='yes' must be True or False"),
    ({"compile": 1}, "compile=1 must be True or False"),
    ({"ray": True}, "ray=True must be an address"),
    ({"device": 0}, "device=0 must be a name"),
    ({"ray": "auto", "device": "cuda:1"}, "Ray chooses the device"),
]


@pytest.mark.parametrize(("given", "message"), WRONG)
def test_an_impossible_option_is_refused_in_every_way_it_can_be_given(given, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        TrainingOptions(**given)
    with pytest.raises(ConfigError, match=message):
        TrainingOptions().with_changes(given)
    with pytest.raises(ConfigError, match=message):
        train([Job(BC(), pendulum_like())], steps=1, runs=tmp_path / "runs", evaluation=None, **given)
    assert not (tmp_path / "runs").exists()


def test_compiling_on_a_cpu_needs_a_compiler(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs a C\+\+ compiler on a CPU"):
        TrainingOptions(compile=True)
    TrainingOptions(compile=True, device="cuda")


@pytest.mark.slow  # twenty seconds of compiling
def test_a_compiled_training_on_a_cpu_is_the_same_but_for_rounding(tmp_path):
    scores = {}
    for compiled in (False, True):
        jobs = [Job(BC(hidden=(16, 16)), pendulum_like(), seed=seed) for seed in (0, 1)]
        runs = train(jobs, steps=40, runs=tmp_path / str(compiled), compile=compiled, workers=0)
        observations = np.random.default_rng(0).normal(size=(5, 3))
        scores[compiled] = np.stack([run.policy(observations) for run in runs])
    assert np.allclose(scores[True], scores[False], atol=1e-4)


def suite() -> Suite:
    plain = {"name": "tiny", "source": "pendulum/random", "variants": {"clean": []}, "algorithms": {"bc": {}}}
    return Suite.from_plain({**plain, "budgets": {"smoke": {"steps": 1, "dataset_steps": 400}}})


def test_a_misspelt_option_is_named_with_what_was_meant(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    jobs, victim = [Job(BC(), pendulum_like())], (BC(), pendulum_like())
    for door in (
        lambda **given: train(jobs, steps=1, **given),
        lambda **given: plan_training(jobs, steps=1, **given),
        lambda **given: run_suite(suite(), "smoke", **given),
        lambda **given: plan_suite(suite(), "smoke", **given),
    ):
        with pytest.raises(UnknownNameError, match="unknown training option 'devise'; did you mean 'device'"):
            door(devise="cpu")
    with pytest.raises(ConfigError, match="cannot be a victim"):
        train_victim(*victim, devise="cpu")  # what is impossible whatever the options comes first
    assert not list(tmp_path.iterdir())


def test_the_command_line_takes_the_record_and_says_in_one_line_what_is_wrong_with_it(capsys, tmp_path, monkeypatch):
    from assay.cli import main

    monkeypatch.chdir(tmp_path)
    suite = str(Path(__file__).parents[3] / "suites" / "quickstart.yaml")
    for command in (["run", suite], ["run", suite, "--dry-run"], ["train", "pendulum/random"]):
        with pytest.raises(SystemExit) as end:
            main([*command, "--population", "0"])
        assert end.value.code == 1
        assert " ".join(capsys.readouterr().err.split()) == "error: population=0 must be at least 1, or 'auto'"
        with pytest.raises(SystemExit):
            main([command[0], "--help"])
        shown = capsys.readouterr().out
        assert all(f"--{item.name.replace('_', '-')}" in shown for item in fields(TrainingOptions))
    assert not (tmp_path / "runs").exists()


def test_keyword_arguments_override_the_record(tmp_path):
    jobs = [Job(BC(hidden=(4,), batch_size=2), pendulum_like(), seed) for seed in range(3)]
    options = TrainingOptions(population=1, storage="float16", checkpoint_seconds=0.0)
    plan = plan_training(jobs, steps=2, runs=tmp_path, evaluation=None, options=options, population=2)
    assert [item.members for item in plan.populations] == [2, 1]
    (run, *_) = train(jobs, steps=2, runs=tmp_path, evaluation=None, options=options, population=2)
    assert plan.jobs[0].folder == run.folder, "the storage came from the record"
    assert options == TrainingOptions(population=1, storage="float16", checkpoint_seconds=0.0)


def test_every_field_can_be_given_as_a_keyword_argument():
    assert {item.name for item in fields(TrainingOptions)} == set(OptionChanges.__annotations__)


def test_the_budget_chooses_the_precision_where_nobody_did():
    assert TrainingOptions().matmul_precision == "highest"
    assert TrainingOptions().or_precision("medium").precision == "medium"
    assert TrainingOptions(precision="high").or_precision("medium").precision == "high"


def test_a_plan_times_this_machine_and_no_cluster(tmp_path):
    with pytest.raises(ConfigError, match="times this machine, not a Ray cluster"):
        plan_training([Job(BC(), pendulum_like())], steps=1, runs=tmp_path, ray="auto")


def test_a_mixture_without_an_entry_of_its_own_has_the_size_that_a_budget_says():
    plain = {"name": "tiny", "source": "pendulum/random-expert-5", "variants": {"clean": []}, "algorithms": {"bc": {}}}
    suite = Suite.from_plain({**plain, "budgets": {"smoke": {"steps": 1, "dataset_steps": 400}}})
    (dataset,) = suite.load_sources(suite.budgets["smoke"]).values()
    assert dataset.total_steps == 400
