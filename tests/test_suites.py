"""Every suite runs at its smallest budget, without network."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.baselines import Suite, run_suite

SUITES = sorted((Path(__file__).parents[1] / "suites").glob("*.yaml"))
BY_NAME = pytest.mark.parametrize("path", SUITES, ids=[path.stem for path in SUITES])


@pytest.fixture
def _models(tmp_path, monkeypatch):
    """Let the suite of the encoder find a model of random weights, where a user puts a real one."""
    from tests.relabeling.judges.tiny_models import save_clip

    monkeypatch.chdir(tmp_path)
    save_clip(tmp_path / "models" / "clip")


@BY_NAME
def test_a_suite_has_a_question_and_three_budgets(path):
    suite = Suite.from_yaml(path)
    assert suite.name == path.stem
    assert suite.question
    assert {"smoke", "small", "paper"} <= set(suite.budgets)


@pytest.mark.slow
@pytest.mark.usefixtures("_models")
@BY_NAME
def test_the_smoke_budget_of_a_suite_runs(path, tmp_path):
    runs = run_suite(Suite.from_yaml(path), "smoke", runs=tmp_path / "runs")
    assert runs
    assert {run.status for run in runs} == {"finished"}
