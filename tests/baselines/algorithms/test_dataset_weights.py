"""Weights of a dataset count by draws, or multiply the losses of rows that are drawn uniformly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from assay.baselines import AWAC, BC, BCQ, CQL, IQL, TD3BC, Job, MixtureBC, train
from assay.baselines.algorithms.algorithm import Batch
from assay.baselines.engine.population import Member, Population
from assay.datasets import Dataset
from assay.datasets.errors import ConfigError
from tests.baselines.engine.test_population import weights
from tests.baselines.problems import pendulum_like

SMALL = {"hidden": (16,), "batch_size": 32}
ALGORITHMS = [BC(**SMALL), TD3BC(**SMALL), IQL(**SMALL), CQL(sampled_actions=2, **SMALL), AWAC(**SMALL)]
ALGORITHMS += [MixtureBC(**SMALL), BCQ(autoencoder_hidden=(8,), sampled_actions=2, **SMALL)]
MODES = ["losses", "batch_losses"]


def trained(algorithm, dataset: Dataset, updates: int = 6) -> dict[str, torch.Tensor]:
    data = algorithm.training_data(dataset, Job(algorithm, dataset).action_scale)
    made = Population([Member(algorithm, 0, 0)], [data], updates, dtype=torch.float64)
    made.advance(updates)
    return weights(made, 0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda algorithm: algorithm.name)
def test_steps_that_weigh_nothing_teach_nothing(algorithm, mode):
    dataset = pendulum_like()
    nothing = np.arange(dataset.total_steps) % 3 == 0
    weighted = dataset.replace({"weights": np.where(nothing, 0.0, 1.0 + np.arange(dataset.total_steps) % 5)})
    rewards, actions = np.array(dataset.rewards), np.array(dataset.actions)
    rewards[nothing] += 7.0
    actions[nothing] = np.roll(actions[nothing], 1, axis=0)
    algorithm = replace(algorithm, dataset_weights=mode)
    before, after = (
        trained(algorithm, made) for made in (weighted, weighted.replace({"rewards": rewards, "actions": actions}))
    )
    assert all(torch.equal(before[name], after[name]) for name in before)
    plain = trained(algorithm, dataset)
    assert any(not torch.equal(before[name], plain[name]) for name in before)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda algorithm: algorithm.name)
def test_equal_weights_and_none_are_the_plain_losses(algorithm, mode):
    dataset = pendulum_like()
    plain = trained(algorithm, dataset)
    for made in (dataset, dataset.replace({"weights": np.full(dataset.total_steps, 2.0)})):
        found = trained(replace(algorithm, dataset_weights=mode), made)
        assert all(torch.allclose(found[name], plain[name], rtol=1e-12, atol=1e-14) for name in plain)


def test_rows_count_by_their_weights():
    values = torch.tensor([[1.0, 2.0, 6.0]])
    given = torch.tensor([[0.5, 2.0, 1.0]])
    assert Batch({}).mean(values).tolist() == [3.0]
    assert Batch({"loss_weights": given}).mean(values).item() == pytest.approx((0.5 + 4 + 6) / 3)
    assert Batch({"batch_loss_weights": given}).mean(values).item() == pytest.approx((0.5 + 4 + 6) / 3.5)
    two = torch.stack([values, 10 * values], -1)  # [P, B, n]
    assert Batch({"loss_weights": given}).mean(two, (1, 2), rows=1).item() == pytest.approx(11 * 10.5 / 6)
    assert Batch({"batch_loss_weights": torch.zeros(1, 3)}).mean(values).item() == 0.0


def test_they_are_trained_through_the_front_door():
    dataset = pendulum_like()
    weighted = dataset.replace({"weights": np.linspace(0.0, 2.0, dataset.total_steps)})
    jobs = [Job(BC(hidden=(8,), batch_size=16, dataset_weights=mode), weighted) for mode in ("draws", *MODES)]
    answers = [run.policy(dataset.observations[:5]) for run in train(jobs, steps=20, evaluation=None)]
    assert not any(np.array_equal(answers[0], other) for other in answers[1:])
    assert not np.array_equal(answers[1], answers[2])


@pytest.mark.parametrize("mode", ["draws", *MODES])
@pytest.mark.parametrize("value", [0.0, np.nan, -1.0])
def test_weights_that_cannot_be_meant_are_named(mode, value):
    dataset = pendulum_like()
    wrong = dataset.replace({"weights": np.full(dataset.total_steps, value)})
    with pytest.raises(ConfigError, match="weights must be finite and non-negative, and some of them positive"):
        trained(BC(**SMALL, dataset_weights=mode), wrong)
