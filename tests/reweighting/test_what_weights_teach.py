"""What an algorithm makes of weights depends on the scale of its own: IQL with a temperature that suits the returns, and one that does not."""

from __future__ import annotations

import numpy as np
import pytest

import assay
from assay.baselines import IQL, Evaluation, Job, train
from assay.reweighting import TrajectoryWeighting


@pytest.mark.slow  # a minute
def test_iql_gains_from_weights_where_its_own_weights_do_not_saturate(tmp_path):
    """Returns of a pendulum reach -1600: exp(3 A), cut at 100, is then 0 or 100, and noise in the values decides which."""
    dataset = assay.load("pendulum/random-expert-5", steps=20_000)
    weighted = TrajectoryWeighting(score="advantage", temperature=0.1)(dataset)
    small = {"hidden": (64, 64), "batch_size": 128}
    rates = dict.fromkeys(("actor_learning_rate", "critic_learning_rate", "value_learning_rate"), 1e-3)
    cases = [(temperature, data) for temperature in (3.0, 0.1) for data in ("uniform", "weighted")]
    jobs = [
        Job(IQL(temperature=temperature, **small, **rates), dataset if data == "uniform" else weighted, seed=seed)
        for temperature, data in cases
        for seed in (0, 1)
    ]
    runs = train(jobs, steps=3_000, runs=tmp_path, evaluation=Evaluation(episodes=20))
    means = np.reshape([run.score for run in runs], (len(cases), 2)).mean(1)
    scores = dict(zip(cases, means.tolist(), strict=True))
    assert scores[0.1, "weighted"] > scores[0.1, "uniform"] + 30
    assert scores[3.0, "weighted"] < scores[3.0, "uniform"] - 20  # what looks like harm done by the weights
