"""Coverage weighting against densities that are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.datasets import Dataset
from assay.datasets.errors import AssayError
from assay.reweighting import CoverageWeighting, effective_sample_size


def dataset_of(states: np.ndarray, **columns) -> Dataset:
    """One episode that visits these states; the final one is the first again."""
    states = np.asarray(states, np.float64)
    states = states.reshape(len(states), -1)
    count = len(states)
    made = {
        "observations": np.concatenate([states, states[:1]]),
        "actions": np.zeros((count, 1)),
        "rewards": np.zeros(count),
    }
    return Dataset.from_arrays(**{**made, **columns}, episode_lengths=[count])


def test_a_weight_is_the_distance_to_the_kth_other_state_to_the_power_of_the_dimensions():
    rng = np.random.default_rng(0)
    states = rng.normal(size=(60, 3)) * [1.0, 5.0, 0.2]
    scaled = states / states.std(0)
    radii = np.sort(np.linalg.norm(scaled[:, None] - scaled[None], axis=-1), axis=1)[:, 4]
    expected = radii ** (0.7 * 3)
    found = CoverageWeighting(neighbours=4, power=0.7, dimensions="columns")(dataset_of(states)).weights
    assert np.allclose(found, expected * 60 / expected.sum())


@pytest.mark.parametrize("dimensions", [1, 2])
def test_a_region_that_is_visited_more_weighs_as_much_less(dimensions):
    rng = np.random.default_rng(1)
    sparse, dense = rng.random((2_000, dimensions)), rng.random((8_000, dimensions)) + 5.0
    weights = CoverageWeighting(neighbours=10)(dataset_of(np.concatenate([sparse, dense]))).weights
    assert abs(np.median(weights[:2_000]) / np.median(weights[2_000:]) - 4.0) < 0.6
    assert abs(weights[:2_000].sum() / weights[2_000:].sum() - 1.0) < 0.25  # both regions are of one size


def test_an_angle_given_by_cosine_and_sine_is_of_one_dimension():
    rng = np.random.default_rng(2)
    angles = np.concatenate([rng.uniform(0, np.pi, 500), rng.uniform(np.pi, 2 * np.pi, 5_000)])
    circle = dataset_of(np.stack([np.cos(angles), np.sin(angles)], 1))
    made = CoverageWeighting(neighbours=10)(circle)
    assert abs(made.info.extra["coverage"]["dimensions"] - 1.0) < 0.1
    assert abs(np.median(made.weights[:500]) / np.median(made.weights[500:]) - 10.0) < 1.5
    too_far = CoverageWeighting(neighbours=10, dimensions="columns")(circle).weights
    assert np.median(too_far[:500]) / np.median(too_far[500:]) > 50.0


@pytest.mark.parametrize("dimensions", [2, 5])
def test_the_estimate_is_levina_and_bickel_s(dimensions):
    rng = np.random.default_rng(3)
    plane = rng.normal(size=(400, dimensions)) @ rng.normal(size=(dimensions, 8))
    scaled = plane / plane.std(0)
    logs = np.log(np.sort(np.linalg.norm(scaled[:, None] - scaled[None], axis=-1), axis=1)[:, 1:11])
    expected = 1.0 / np.mean([(row[-1] - row[:-1]).mean() for row in logs])
    found = CoverageWeighting()(dataset_of(plane)).info.extra["coverage"]["dimensions"]
    assert found == round(expected, 3)
    assert abs(found - dimensions) < 0.15 * dimensions


def test_states_that_occur_often_share_the_weight_of_one():
    states = np.repeat(np.arange(10.0), [1, 1, 1, 50, 1, 1, 1, 20, 1, 1])
    weights = CoverageWeighting(neighbours=1)(dataset_of(states)).weights
    totals = [weights[states == value].sum() for value in range(10)]
    assert np.allclose(totals, totals[0])


@given(st.integers(0, 2**32 - 1))
def test_the_order_of_the_steps_and_the_units_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    states, order = rng.normal(size=(30, 2)), rng.permutation(30)
    weights = CoverageWeighting(neighbours=3)(dataset_of(states)).weights
    assert np.allclose(
        CoverageWeighting(neighbours=3)(dataset_of(states[order] * [1e3, 1e-3] + 7.0)).weights, weights[order]
    )
    assert np.isclose(weights.mean(), 1.0)


def test_no_power_is_uniform_and_more_leaves_fewer_steps():
    dataset = dataset_of(np.random.default_rng(0).normal(size=(500, 2)))
    sizes = [effective_sample_size(CoverageWeighting(power=power)(dataset)) for power in (0.0, 0.3, 1.0)]
    assert np.isclose(sizes[0], 500)
    assert sizes == sorted(sizes, reverse=True)


def test_distances_to_a_sample_say_nearly_the_same():
    states = np.random.default_rng(0).normal(size=(4_000, 2))
    whole = CoverageWeighting(neighbours=20)(dataset_of(states)).weights
    sampled = CoverageWeighting(neighbours=5, samples=1_000)(dataset_of(states)).weights
    assert np.corrcoef(np.log(whole), np.log(sampled))[0, 1] > 0.9
    again = CoverageWeighting(neighbours=5, samples=1_000)(dataset_of(states)).weights
    assert np.array_equal(sampled, again)
    assert not np.array_equal(
        sampled, CoverageWeighting(neighbours=5, samples=1_000, seed=1)(dataset_of(states)).weights
    )


def test_distances_are_those_that_the_entropies_of_metrics_are_made_of():
    from assay.metrics.neighbours import nearest

    states = np.random.default_rng(0).normal(size=(300, 2))
    radii = nearest(states / states.std(0), k=3).distances[:, 2]
    assert np.allclose(
        CoverageWeighting(neighbours=3, dimensions=2)(dataset_of(states)).weights, radii**2 * 300 / np.sum(radii**2)
    )


def test_discrete_actions_are_as_far_apart_as_in_metrics():
    from assay.metrics.neighbours import nearest

    rng = np.random.default_rng(0)
    states, actions = rng.normal(size=(200, 1)), rng.integers(0, 3, 200)
    rows = np.hstack([states / states.std(0), np.eye(3)[actions]])
    radii = nearest(rows, k=2).distances[:, 1]
    found = CoverageWeighting(of="state_actions", neighbours=2, dimensions="columns")(
        dataset_of(states, actions=actions)
    ).weights
    assert np.allclose(found, radii**4 * 200 / np.sum(radii**4))


def test_actions_count_where_asked_and_what_never_changes_does_not():
    states = np.zeros(200)
    actions = np.random.default_rng(0).normal(size=(200, 1))
    found = CoverageWeighting(of="state_actions", neighbours=2)(dataset_of(states, actions=actions)).weights
    expected = CoverageWeighting(neighbours=2)(dataset_of(actions)).weights
    assert np.allclose(found, expected)


@pytest.mark.parametrize(
    ("message", "states", "options"),
    [
        ("all states are the same", np.ones(50), {}),
        ("3 different states have no 5 neighbours", np.arange(60) % 3, {}),
        (
            "1 steps hold NaN or infinite numbers, the first step 4",
            np.where(np.arange(50) == 4, np.nan, np.arange(50.0)),
            {},
        ),
        ("power", np.arange(50.0), {"power": -1.0}),
    ],
)
def test_misuse_is_named(message, states, options):
    with pytest.raises(AssayError, match=message):
        CoverageWeighting(**options)(dataset_of(states))


def test_images_are_refused():
    frames = np.zeros((21, 4, 4, 3), np.uint8)
    dataset = Dataset.from_arrays(observations=frames, actions=np.zeros(20), rewards=np.zeros(20), episode_lengths=[20])
    with pytest.raises(AssayError, match="densities are of vectors of numbers"):
        CoverageWeighting()(dataset)
