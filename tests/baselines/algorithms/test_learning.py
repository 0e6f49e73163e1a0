"""The algorithms learn: within the small budget they end above the policies that made the data."""

from __future__ import annotations

from pathlib import Path

import pytest

import assay
from assay.baselines import IQL, Evaluation, Job, Suite, train

SUITES = Path(__file__).parents[3] / "suites"


@pytest.mark.slow
def test_iql_beats_the_behaviours_mean_return_on_hopper_medium_replay(tmp_path):
    small = Suite.from_yaml(SUITES / "quickstart.yaml").budget("small")
    dataset = assay.load("hopper/medium-replay", steps=small.dataset_steps)
    updates = 2_500
    assert updates <= small.steps
    jobs = [Job(IQL(), dataset, seed) for seed in range(2)]
    runs = train(jobs, steps=updates, runs=tmp_path, precision="medium", evaluation=Evaluation(episodes=10))
    for run in runs:
        assert run.returns.mean() > 1.5 * dataset.returns.mean()
        assert run.score > dataset.info.references.normalize(dataset.returns.mean())
