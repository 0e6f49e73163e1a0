"""A suite of several sources may train an algorithm on some of them only."""

from __future__ import annotations

import pytest

from assay.baselines import Suite, run_suite
from assay.datasets.errors import ConfigError, UnknownNameError

PLAIN = {
    "name": "parts",
    "sources": {"one bandit": "bandit/random", "other bandit": "graded-bandit/random", "table": "ladder/random"},
    "variants": {"all": []},
    "algorithms": {
        "lcb": {"sources": ["* bandit"]},
        "vi_lcb": {"sources": ["table", "one*"], "constant": 0.5},
        "clone": {"algorithm": "lcb", "score": "count", "sources": ["other bandit"]},
    },
    "evaluation": {"engine": "exact", "episodes": 1},
    "budgets": {"small": {"steps": 1, "dataset_steps": 200}},
}


def test_an_algorithm_is_trained_on_the_sources_that_it_names_alone(tmp_path):
    runs = run_suite(Suite.from_plain(PLAIN), "small", runs=tmp_path)
    assert {run.status for run in runs} == {"finished"}
    assert [(run.variant, run.label) for run in runs] == [
        ("one bandit all", "LCB"),
        ("one bandit all", "VI-LCB"),
        ("other bandit all", "LCB"),
        ("other bandit all", "clone"),
        ("table all", "VI-LCB"),
    ]


def test_a_pattern_that_fits_no_source_is_misspelt():
    wrong = {**PLAIN, "algorithms": {"lcb": {"sources": ["bandits"]}}}
    with pytest.raises(UnknownNameError, match=r"unknown source 'bandits'.*sources of algorithm lcb"):
        Suite.from_plain(wrong)


@pytest.mark.parametrize("sources", ["table", [1]])
def test_sources_are_a_list_of_labels(sources):
    wrong = {**PLAIN, "algorithms": {"lcb": {"sources": sources}}}
    with pytest.raises(ConfigError, match="algorithm lcb: sources must be a list"):
        Suite.from_plain(wrong)
