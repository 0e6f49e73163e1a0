"""A suite of several sources may train an algorithm on some of them only."""

from __future__ import annotations

import pytest

from assay.baselines import Suite, run_suite
from assay.datasets.errors import AssayError, ConfigError, UnknownNameError

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


SEARCHED = {
    "parameters": {"lcb": {"delta": {"low": 0.1, "high": 0.5}}, "vi_lcb": {"constant": {"low": 0.1, "high": 1.0}}},
    "proposals": 1,
    "batch": 1,
    "seeds": [7],
}


@pytest.mark.parametrize("search", [None, SEARCHED], ids=["", "searched"])
def test_a_budget_may_name_what_its_part_leaves_out(tmp_path, search):
    budget = {
        "steps": 1,
        "dataset_steps": 200,
        "only": {"sources": ["one bandit"], "variants": ["all"], "algorithms": ["lcb"]},
        "algorithms": {"vi_lcb": {"constant": 0.25}, "lcb": {"delta": 0.25}},
        "transform_parameters": {"corruption.random": {"rate": 0.5}},
    }
    suite = {
        **PLAIN,
        "search": search,
        "variants": {"all": [], "noisy": [{"corruption.random": {"element": "rewards"}}]},
    }
    runs = run_suite(Suite.from_plain({**suite, "budgets": {"small": budget}}), "small", runs=tmp_path)
    assert {run.label for run in runs} == ({"LCB", "LCB, searched"} if search else {"LCB"})
    for part, wrong in (("algorithms", {"vi_lcp": {}}), ("transform_parameters", {"corruption.randon": {}})):
        with pytest.raises(AssayError, match="unknown"):
            Suite.from_plain({**suite, "budgets": {"small": {**budget, part: wrong}}})
