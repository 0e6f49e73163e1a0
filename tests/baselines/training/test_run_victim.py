"""Suites with several sources, victims and presets."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from assay.analysis import load_runs
from assay.baselines import RIQL, Suite, plan_suite, run_suite
from assay.baselines.suites.suite import Only
from assay.corruption import RandomCorruption
from assay.datasets import load, replay
from assay.datasets.errors import ConfigError, UnknownNameError

SUITES = Path(__file__).parents[3] / "suites"
SMALL = {"hidden": [8], "batch_size": 16}


def plain(**changes: Any) -> dict[str, Any]:
    return {
        "name": "attacked",
        "sources": {"one": "pendulum/random", "two": "pendulum/medium"},
        "variants": {
            "clean": [],
            "attacked": [{"corruption.adversarial": {"element": "actions", "victim": "weak", "steps": 2}}],
        },
        "victims": {"weak": {"algorithm": "iql"}},
        "algorithms": {"bc": {}, "riql": {"preset": "variant"}},
        "evaluation": None,
        "budgets": {
            "smoke": {
                "steps": 3,
                "dataset_steps": 400,
                "algorithm_parameters": {"hidden": [8]},
                "victim_steps": 2,
                "victim_parameters": SMALL,
            }
        },
        **changes,
    }


def test_a_suite_makes_every_variant_of_every_source_and_trains_one_victim_per_source(monkeypatch, tmp_path):
    monkeypatch.setenv("ASSAY_HOME", str(tmp_path / "home"))
    suite = Suite.from_plain(plain())
    runs = run_suite(suite, "smoke", runs=tmp_path / "runs")
    assert [run.status for run in runs] == ["finished"] * 8
    labels = ["one clean", "one attacked", "two clean", "two attacked"]
    assert json.loads((tmp_path / "runs" / "suite.json").read_text())["variants"] == labels
    victims = sorted((tmp_path / "home" / "victims").iterdir())
    assert len(victims) == 2
    described = next(run.description for run in runs if run.description["job"]["variant"] == "two attacked")
    attack = described["dataset"]["history"][-1]
    assert Path(attack["parameters"]["victim"]) in victims
    kept = sorted((tmp_path / "home" / "variants").iterdir())
    assert len(kept) == 2
    written = [(folder / "run.json").stat().st_mtime_ns for folder in victims]
    reports: list[tuple[str, int, int]] = []
    run_suite(suite, "smoke", runs=tmp_path / "runs", preparing=lambda *report: reports.append(report))
    assert written == [(folder / "run.json").stat().st_mtime_ns for folder in victims]
    assert reports == []  # nothing was attacked again
    shutil.rmtree(kept[0])
    run_suite(suite, "smoke", runs=tmp_path / "runs", preparing=lambda *report: reports.append(report))
    (variant,) = {variant for variant, _, _ in reports}
    assert variant in ("one attacked", "two attacked")
    assert sorted((tmp_path / "home" / "variants").iterdir()) == kept
    from assay.datasets.info import Record

    rebuilt = replay([Record.from_plain(record) for record in described["dataset"]["history"]])
    assert rebuilt.fingerprint == described["dataset"]["fingerprint"]
    assert set(load_runs(tmp_path / "runs")["label"]) == {"BC", "RIQL"}


def test_a_plan_trains_no_victim(monkeypatch, tmp_path):
    monkeypatch.setenv("ASSAY_HOME", str(tmp_path / "home"))
    plan = plan_suite(Suite.from_plain(plain()), "smoke", runs=tmp_path / "runs")
    assert len(plan.jobs) == 8
    assert not (tmp_path / "home" / "victims").exists()


def test_presets_are_those_of_the_corruption_in_the_history():
    dataset = load("pendulum/random", steps=400)
    hopper = dataset.replace(info=dataclasses.replace(dataset.info, env_spec='{"id": "Hopper-v5"}'))
    once = RandomCorruption("rewards")(hopper)
    assert RIQL.values_for(once) == {"sigma": 1.0, "quantile": 0.25, "critics": 3}
    assert RIQL.values_for(RandomCorruption("actions")(once)) == {"sigma": 0.1, "quantile": 0.25, "critics": 5}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"victims": {"weak": {"algorithm": "bc"}}}, "attacked.*victim weak: BC cannot be a victim"),
        ({"victims": {"weak": {"algorithm": "iqk"}}}, "unknown algorithm 'iqk'"),
        ({"victims": {}}, "victim weak: unknown algorithm 'weak'"),
        ({"source": "pendulum/random"}, "either source, or sources"),
        ({"sources": {}}, "either source, or sources"),
        ({"algorithms": {"bc": {"preset": "always"}}}, "algorithm bc: preset='always'"),
    ],
)
def test_what_is_wrong_with_a_suite_is_said_before_anything_is_trained(changes, message):
    with pytest.raises((ConfigError, UnknownNameError), match=message):
        Suite.from_plain(plain(**changes))


@pytest.mark.slow
def test_the_robustness_suite_is_in_order_and_its_smoke_budget_runs_on_one_body(monkeypatch, tmp_path):
    suite = Suite.from_yaml(SUITES / "robustness.yaml")
    assert len(suite.variants) == 11
    assert set(suite.budgets) == {"smoke", "small", "cpu", "paper"}
    monkeypatch.setenv("ASSAY_HOME", str(tmp_path / "home"))
    some = suite.budgets["smoke"].model_copy(update={"only": Only(algorithms=("bc", "riql"))})
    one = suite.model_copy(
        update={"sources": {"pendulum": "pendulum/medium-replay"}, "budgets": {**suite.budgets, "smoke": some}}
    )
    runs = run_suite(one, "smoke", runs=tmp_path / "runs", workers=0)
    assert len(runs) == 11 * 2
    assert {run.status for run in runs} == {"finished"}
