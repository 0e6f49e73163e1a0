"""The calibration of penalties, on models whose error is known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from assay.baselines.dynamics.calibration import penalty_calibration
from assay.baselines.dynamics.ensemble import ModelStep
from assay.datasets.errors import ConfigError


class Off:
    """Two networks that are off by e = |s| to either side; the elite is the first. They expect noise of 1 / (1 + e)."""

    inputs = SimpleNamespace(mean=np.zeros(2))
    elites = np.array([0])

    def predict(self, states, actions):
        off = states.abs()
        true = torch.cat([states + actions, torch.zeros_like(states)], -1)
        shift = torch.cat([off, torch.zeros_like(off)], -1)
        return torch.stack([true + shift, true - shift]), (1 / (1 + off)).expand(-1, 2).expand(2, -1, -1)

    def step(self, states, actions, noise, order):
        return ModelStep(states + actions, states[:, 0], states[:, 0])


def test_a_penalty_that_grows_with_the_error_has_rank_correlation_one_and_one_that_falls_minus_one():
    found = penalty_calibration(Off(), lambda s, a: (s + a, s[..., 0]), torch.randn(200, 1), length=3)
    spearman = {(row["penalty"], row["variant"]): row["spearman"] for row in found.iter_rows(named=True)}
    for variant in ("paper", "released"):
        assert spearman["pairwise_difference", variant] == pytest.approx(1.0)
        assert spearman["aleatoric", variant] == pytest.approx(-1.0)
    assert spearman["ensemble_deviation", "released"] == pytest.approx(1.0)
    pearson = dict(zip(found["penalty"], found["pearson"]))
    assert pearson["pairwise_difference"] == pytest.approx(1.0)  # linear: 2 e
    assert found["steps"].unique().to_list() == [600]


def test_rollouts_need_a_step():
    with pytest.raises(ConfigError, match="length=0"):
        penalty_calibration(Off(), lambda s, a: (s, s[..., 0]), torch.zeros(2, 1), length=0)
