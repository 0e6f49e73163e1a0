"""The sources of a suite are measured against the source that the suite names, or each against itself."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import assay
from assay.baselines import Suite, run_suite
from assay.datasets.errors import UnknownNameError
from assay.metrics import assess, saco

PLAIN = {
    "name": "example",
    "sources": {"one random": "cartpole/random", "one replay": "cartpole/mixed", "two random": "mountaincar/random"},
    "variants": {"": []},
    "algorithms": {"bc": {"hidden": [4], "batch_size": 4}},
    "quality": {"metrics": ["state_actions"], "references": {"one *": "one replay"}},
    "evaluation": None,
    "budgets": {"smoke": {"steps": 1, "dataset_steps": 400}, "less": {"steps": 1, "only": {"sources": ["two random"]}}},
}


def test_coverage_is_relative_to_the_reference_that_fits_the_label(tmp_path):
    run_suite(Suite.from_plain(PLAIN), "smoke", runs=tmp_path, measure=assess, progress=None)
    table = pl.read_parquet(tmp_path / "quality.parquet").filter(pl.col("metric") == "saco")
    found = dict(zip(table["variant"], table["value"]))
    random, replay = (assay.load(f"cartpole/{name}", steps=400) for name in ("random", "mixed"))
    assert found == {"one random": saco(random, replay), "one replay": 1.0, "two random": 1.0}
    assert found["one random"] != 1.0


def test_a_reference_that_is_not_among_the_sources_is_refused_with_those_that_are():
    wrong = {**PLAIN, "quality": {"references": {"one *": "one reply"}}}
    with pytest.raises(UnknownNameError, match=r"one reply.*one replay"):
        Suite.from_plain(wrong)


def test_only_the_sources_of_a_budget_need_their_references():
    assert list(Suite.from_plain(PLAIN).part_of(Suite.from_plain(PLAIN).budget("less")).sources) == ["two random"]
    with_less = {**PLAIN, "budgets": {"less": {"steps": 1, "only": {"sources": ["one random"]}}}}
    with pytest.raises(UnknownNameError, match="one replay"):
        Suite.from_plain(with_less)


def test_the_budgets_of_the_study_are_its_6750_runs_each_measured_against_the_replay_of_its_run():
    suite = Suite.from_yaml(Path(__file__).parents[3] / "suites" / "dataset-perspective.yaml")
    parts = [suite.part_of(suite.budget(name)) for name in ("paper", "paper-minatar")]
    assert sum(len(part.sources) * len(part.algorithms) * len(part.seeds) for part in parts) == 6_750
    for label, path in (item for part in parts for item in part.sources.items()):
        environment, run, scheme = label.split(" ")
        assert path == f"runs/perspective/{environment}/{run}/{scheme}"
        assert suite.quality.reference_of(label) == f"{environment} {run} replay"
