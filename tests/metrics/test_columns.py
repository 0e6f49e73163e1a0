"""Metrics of episodes as columns: the values of `assess`, by name, for what filters and weights by them."""

from __future__ import annotations

import numpy as np
import pytest

import assay
from assay.corruption import ColumnFilter
from assay.datasets.errors import UnknownNameError
from assay.datasets.transform import make_transform
from assay.metrics import EpisodeMetrics, assess


@pytest.fixture(scope="module")
def pendulum():
    return assay.load("pendulum/medium", steps=1_000)


def test_columns_hold_what_assess_measures(pendulum):
    made = EpisodeMetrics(select=["saturation", "return_mean"], checks={"rate": 20})(pendulum)
    table = assess(pendulum, per="episode", select=["saturation", "return_mean"], checks={"rate": 20}).wide()
    for name in ("saturation", "return_mean", "risks"):
        assert made.episodes[f"metrics/{name}"].to_list() == pytest.approx(table[name].to_list())
    assert made.fingerprint != pendulum.fingerprint
    assert assay.replay(made.history).fingerprint == made.fingerprint


def test_the_episodes_that_a_metric_calls_worst_are_left_out(pendulum):
    measured = make_transform("metrics.episodes", {"select": ["return_mean"]})(pendulum)
    kept = ColumnFilter(of="metrics/return_mean", worse="lower", share=0.4)(measured)
    assert sorted(kept.returns) == pytest.approx(sorted(np.sort(pendulum.returns)[2:]))


def test_a_misspelt_metric_is_named(pendulum):
    with pytest.raises(UnknownNameError, match="saturation"):
        EpisodeMetrics(select=["saturatoin"])(pendulum)
