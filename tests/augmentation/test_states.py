"""Perturbations of states: what changes, by how much, and what does not."""

from __future__ import annotations

import numpy as np
import pytest

from assay.augmentation import AmplitudeScaling, DimensionDropout, GaussianNoise, StateMixUp, UniformNoise
from assay.datasets import Dataset
from assay.datasets.errors import ConfigError, DatasetError
from assay.datasets.transform import registered

ALL = [AmplitudeScaling, DimensionDropout, GaussianNoise, StateMixUp, UniformNoise]


def example(steps=500, dtype=np.float32):
    generator = np.random.default_rng(0)
    return Dataset.from_arrays(
        observations={
            "observation": generator.normal(size=(steps + 1, 4)).astype(dtype),
            "desired_goal": np.ones((steps + 1, 2)),
        },
        actions=generator.normal(size=(steps, 2)),
        rewards=generator.normal(size=steps),
        terminations=np.arange(steps) == steps - 1,
        truncations=np.zeros(steps, bool),
    )


def pairs(dataset):
    """States and next states of new transitions, beside those of their sources: (M, 2, 4) each."""
    added = dataset.select("augmented")
    made = added.observations["observation"].reshape(-1, 2, 4).astype(float)
    source = dataset.observations["observation"].astype(float)
    return made, np.stack([source[: len(made)], source[1 : len(made) + 1]], 1)


@pytest.mark.parametrize("kind", ALL)
def test_actions_rewards_flags_goals_and_dtypes_stay(kind):
    dataset = example()
    added = kind()(dataset).select("augmented")
    np.testing.assert_array_equal(added.actions, dataset.actions)
    np.testing.assert_array_equal(added.rewards, dataset.rewards)
    np.testing.assert_array_equal(added.terminations, dataset.terminations)
    assert (added.observations["desired_goal"] == 1).all()
    assert added.observations["observation"].dtype == np.float32
    assert not np.array_equal(*pairs(kind()(dataset)))


def test_gaussian_noise_has_its_spread_and_is_independent():
    made, source = pairs(GaussianNoise(scale=0.1)(example(5000)))
    noise = (made - source).reshape(-1, 8)
    assert noise.std(axis=0) == pytest.approx(0.1, rel=0.05)
    assert np.abs(np.corrcoef(noise.T) - np.eye(8)).max() < 0.06


def test_uniform_noise_fills_its_range_and_stays_inside():
    made, source = pairs(UniformNoise(scale=0.1)(example(5000)))
    noise = made - source
    assert 0.099 < np.abs(noise).max() < 0.1 + 1e-6
    assert noise.std() == pytest.approx(0.1 / np.sqrt(3), rel=0.03)


def test_amplitude_scaling_has_one_factor_for_state_and_next_state():
    made, source = pairs(AmplitudeScaling(low=0.5, high=2.0)(example()))
    factors = (made / source).reshape(-1, 8)
    assert factors == pytest.approx(np.tile(factors[:, :1], 8), rel=1e-4)
    assert 0.5 <= factors.min() < 0.6
    assert 1.9 < factors.max() <= 2.0 + 1e-5


def test_mix_up_lies_between_the_two_states_and_keeps_the_next_one():
    made, source = pairs(StateMixUp()(example()))
    np.testing.assert_allclose(made[:, 1], source[:, 1], rtol=1e-6)
    share = (made[:, 0] - source[:, 1]) / (source[:, 0] - source[:, 1])
    assert share == pytest.approx(np.tile(share[:, :1], 4), abs=1e-2)
    assert -1e-3 <= share.min() < 0.05
    assert 0.95 < share.max() <= 1 + 1e-3


def test_dropout_zeroes_the_same_dimensions_of_both_states_with_its_probability():
    made, source = pairs(DimensionDropout(probability=0.3)(example(5000)))
    zero = made == 0
    np.testing.assert_array_equal(zero[:, 0], zero[:, 1])
    np.testing.assert_allclose(made[~zero], source[~zero])
    assert zero.mean() == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("kind", ALL)
def test_they_are_registered_repeat_and_differ_by_seed(kind):
    assert registered()[kind.name] is kind
    assert kind(seed=3)(example()) == kind(seed=3)(example())
    assert kind(seed=3)(example()) != kind(seed=4)(example())


def test_what_makes_no_sense_is_refused():
    whole = example().replace({"observations/observation": np.zeros((501, 4), int), "observations/desired_goal": None})
    with pytest.raises(DatasetError, match="whole numbers"):
        GaussianNoise()(whole)
    with pytest.raises(ConfigError, match="low=2 is above high=1"):
        AmplitudeScaling(low=2, high=1)
    with pytest.raises(ConfigError, match="leave out check"):
        GaussianNoise(check="every")(example())
