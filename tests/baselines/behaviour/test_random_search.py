from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from assay.baselines.behaviour.random_search import SETTINGS, ObservationFilter, RandomSearchConfig, random_search
from assay.datasets.errors import ConfigError


def test_cartpole_is_learned() -> None:
    result = random_search("CartPole-v1", seed=0, iterations=6, target_return=450.0, workers=0)
    assert result.iterates[0].mean_return < 50
    assert result.best.mean_return > 400


def test_a_seed_repeats_whatever_the_workers() -> None:
    config = dataclasses.replace(SETTINGS["Hopper-v5"], directions=3, elite=2, action_noise=0.1, evaluation_interval=1)
    runs = [random_search("Hopper-v5", config, seed=5, iterations=3, workers=workers) for workers in (0, 2)]
    for left, right in zip(runs[0].iterates, runs[1].iterates, strict=True):
        assert left.policy == right.policy
        assert left.steps == right.steps
        np.testing.assert_array_equal(left.returns, right.returns)
    other = random_search("Hopper-v5", config, seed=6, iterations=3, workers=0)
    assert other.iterates[-1].policy != runs[0].iterates[-1].policy


def test_the_filter_is_the_mean_and_deviation_of_all_rows() -> None:
    rows = np.random.default_rng(0).normal(3.0, [1.0, 100.0], size=(90, 2))
    running = ObservationFilter(2)
    for part in np.split(rows, [1, 20, 50]):
        centred = part - running.mean
        running.update(len(part), centred.sum(axis=0), (centred**2).sum(axis=0))
    np.testing.assert_allclose(running.mean, rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(running.std, rows.std(axis=0, ddof=1), rtol=1e-10)


def test_the_first_update_is_the_equation_of_the_paper() -> None:
    config = RandomSearchConfig(directions=2, elite=1, step_size=0.5, perturbation=0.3, evaluation_episodes=1)
    result = random_search("Pendulum-v1", config, seed=9, iterations=1, workers=0)
    directions = np.random.default_rng([9, 0]).standard_normal((2, 1, 3))
    weights = result.iterates[-1].policy.weights
    # With one direction kept, (r+ - r-) / sigma_R is +-2, so the step is 2 alpha along one of the directions.
    steps = [weights / direction for direction in directions]
    assert any(np.allclose(np.abs(step), 1.0) for step in steps)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="limit"):
        random_search("CartPole-v1")
    with pytest.raises(ValueError, match="elite"):
        RandomSearchConfig(directions=2, elite=3)
    with pytest.raises(ValueError, match="step_size"):
        RandomSearchConfig(step_size=0.0)
    with pytest.raises(ConfigError, match="flat Box"):
        random_search("FrozenLake-v1", iterations=1, workers=0)
