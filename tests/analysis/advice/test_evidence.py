"""Evidence is read off the runs of a suite: a row per run, at the place of its dataset, with its command."""

from __future__ import annotations

import sys

import polars as pl
import pytest

from assay.analysis import load_runs
from assay.analysis.advice import evidence_of, load_evidence
from assay.analysis.advice.evidence import COLUMNS
from assay.analysis.advice.make_evidence import main
from assay.baselines import Suite, run_suite
from assay.datasets.errors import ConfigError
from assay.metrics import assess

SUITE = {
    "name": "tiny",
    "sources": {"cartpole run3 replay": "cartpole/medium-replay", "else": "cartpole/random"},
    "variants": {"": []},
    "algorithms": {"Cloning": {"algorithm": "bc", "hidden": [4], "batch_size": 4}},
    "seeds": [0, 1],
    "quality": {"metrics": ["size", "quality", "state_actions"], "references": {"*": "cartpole run3 replay"}},
    "budgets": {"smoke": {"steps": 2, "dataset_steps": 400, "episodes": 1}},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs")
    run_suite(Suite.from_plain(SUITE), "smoke", runs=path, measure=assess, command="assay run tiny.yaml", progress=None)
    return path


def test_a_row_is_a_run_at_the_place_of_its_dataset(folder):
    table = evidence_of(folder)
    assert table.columns == list(COLUMNS)
    runs = load_runs(folder)
    assert (100 * table["performance"]).to_list() == pytest.approx(runs["score"].to_list())
    assert table["return_mean"].to_list() == runs["return_mean"].to_list()
    assert table["dataset"].to_list() == ["cartpole run3 replay"] * 2 + ["else"] * 2
    assert table["saco"].to_list()[:2] == [1.0, 1.0]
    assert set(table.select("suite", "environment", "steps", "label", "algorithm", "updates", "command").rows()) == {
        ("tiny smoke", "CartPole-v1", 400, "Cloning", "bc", 2, "assay run tiny.yaml")
    }


def test_the_scheme_and_the_online_run_are_read_off_the_name_where_it_says_them(folder):
    assert evidence_of(folder).select("scheme", "data_run").rows() == [("replay", 3)] * 2 + [(None, None)] * 2


def test_the_command_writes_a_table_that_is_read_again(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["evidence", str(folder), "--output", str(tmp_path / "e.parquet")])
    main()
    assert "4 runs on 2 datasets" in capsys.readouterr().out
    assert load_evidence(tmp_path / "e.parquet").equals(evidence_of(folder))


def test_rows_of_datasets_that_were_not_run_again_are_kept(folder, tmp_path, monkeypatch):
    found = evidence_of(folder)
    other = found.with_columns(dataset=pl.lit("lake"), performance=pl.lit(0.5))
    before = tmp_path / "before.parquet"
    pl.concat([found.with_columns(performance=pl.lit(9.0)), other]).write_parquet(before)
    output = tmp_path / "e.parquet"
    monkeypatch.setattr(sys, "argv", ["evidence", str(folder), "--keep", str(before), "--output", str(output)])
    main()
    assert load_evidence(output).equals(pl.concat([other, found]))


def test_runs_whose_datasets_have_no_place_are_no_evidence(tmp_path):
    without = {**SUITE, "quality": {"metrics": ["size"]}, "seeds": [0]}
    run_suite(Suite.from_plain(without), "smoke", runs=tmp_path, measure=assess, progress=None)
    with pytest.raises(ConfigError, match="no dataset has a value of tq"):
        evidence_of(tmp_path)
