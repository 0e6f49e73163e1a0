"""`assay relabel actions`, and the suite of proxy actions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import assay
from assay.baselines import Suite, plan_suite, run_suite
from assay.cli import main
from assay.datasets.errors import AssayError
from tests.relabeling.systems import linear

SUITE = Path(__file__).parent.parent.parent / "suites" / "semi-supervised.yaml"
SMALL = ["steps=20", "hidden=[16]", "batch_size=32", "ensemble=1"]


@pytest.fixture
def saved(tmp_path: Path) -> str:
    assay.save(linear(0, episodes=20, length=20), tmp_path / "linear")
    return str(tmp_path / "linear")


def test_actions_are_hidden_filled_in_and_judged(saved, tmp_path, capsys):
    main(
        ["relabel", "actions", saved, *SMALL, "--hide", "0.5", "--quantiles", "0", "1", "-o", str(tmp_path / "filled")]
    )
    printed = capsys.readouterr().out
    assert "measured on 20 held out" in printed
    assert "Against the hidden actions" in printed
    filled = assay.load(tmp_path / "filled")
    assert [record.transform for record in filled.history[-2:]] == [
        "relabeling.hide_actions",
        "relabeling.inverse_dynamics",
    ]
    assert not filled.missing["actions"].any()


def test_without_a_gap_nothing_is_filled_in(saved, tmp_path, capsys):
    main(["relabel", "actions", saved, "--method", "nearest_neighbour", "-o", str(tmp_path / "same")])
    assert "no action was missing" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["setps=3"], "did you mean 'steps'"),
        (["--hide", "2"], "fraction=2"),
        (["--method", "nearest_neighbour", "--device", "cuda"], "not"),
    ],
)
def test_what_is_misspelt_or_impossible_is_one_line(words, message, saved, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["relabel", "actions", saved, *words, "-o", str(tmp_path / "none")])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def plain(**changes):
    hidden = {"relabeling.hide_actions": {"fraction": 0.5, "quantiles": [0, 1]}}
    proxy = {"relabeling.inverse_dynamics": {"steps": 50, "hidden": [16], "batch_size": 32, "ensemble": 1}}
    return {
        "name": "test",
        "sources": {"pendulum": "pendulum/random", "cart": "cartpole/random"},
        "variants": {"oracle": [], "proxy": [hidden, proxy]},
        "algorithms": {"bc": {"hidden": [8]}, "td3_bc": {"hidden": [8]}},
        "evaluation": None,
        "budgets": {
            "smoke": {
                "steps": 2,
                "dataset_steps": 800,
                "only": {"sources": ["pendulum"], "algorithms": ["bc"]},
                "transform_parameters": {"relabeling.inverse_dynamics": {"steps": 3}},
                **changes,
            }
        },
    }


def test_a_budget_runs_a_part_of_a_suite_with_transforms_of_its_own(tmp_path):
    suite = Suite.from_plain(plain())
    runs = run_suite(suite, "smoke", runs=tmp_path / "runs", progress=None)
    assert [run.description["job"]["label"] for run in runs] == ["BC", "BC"]
    assert [run.description["job"]["variant"] for run in runs] == ["pendulum oracle", "pendulum proxy"]
    history = runs[1].description["dataset"]["history"]
    assert history[-1]["parameters"]["steps"] == 3


def test_a_plan_trains_no_model(tmp_path, monkeypatch):
    from assay.relabeling.shared import inverse_model

    trained = []

    def counted(*arguments, **options):
        trained.append(options["steps"])
        return train_best(*arguments, **options)

    train_best = inverse_model.train_best
    monkeypatch.setattr(inverse_model, "train_best", counted)
    plan = plan_suite(Suite.from_plain(plain()), "smoke", runs=tmp_path / "runs")
    assert len(plan.jobs) == 2
    assert trained == [1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"only": {"variants": ["proxies"]}}, "unknown variant 'proxies'; did you mean 'proxy'"),
        ({"only": {"algorithm": ["bc"]}}, "algorithm"),
        ({"transform_parameters": {"relabeling.inverse_dynamic": {}}}, "did you mean 'relabeling.inverse_dynamics'"),
        ({"transform_parameters": {"relabeling.inverse_dynamics": {"setps": 3}}}, "setps"),
    ],
)
def test_a_budget_that_names_what_is_not_there_is_refused(changes, message):
    with pytest.raises(AssayError, match=message):
        Suite.from_plain(plain(**changes))


def test_the_suite_spans_fractions_quantiles_methods_and_algorithms():
    suite = Suite.from_yaml(SUITE)
    assert len(suite.variants) == 1 + 3 * 3 * 5
    assert set(suite.algorithms) == {"bc", "td3_bc", "cql", "dt"}
    assert set(suite.budgets) == {"smoke", "small", "paper"}
    small = suite.part_of(suite.budget("small"))
    assert len(small.variants) * len(small.algorithms) * len(suite.seeds) == 40


@pytest.mark.slow
def test_the_smoke_budget_trains_every_algorithm_on_every_kind_of_variant(tmp_path):
    runs = run_suite(SUITE, "smoke", runs=tmp_path, progress=None, workers=0)
    assert len(runs) == 16
    assert {run.status for run in runs} == {"finished"}
    labels = {run.description["job"]["variant"]: run.description["dataset"]["fingerprint"] for run in runs}
    assert len(set(labels.values())) == 4
    assert all(np.isfinite(run.returns).all() for run in runs[:1])
