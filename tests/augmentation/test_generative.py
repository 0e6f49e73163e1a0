"""Generative augmentation: what is drawn looks like the data, and guidance leads it to a policy without leaving the data."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import assay
from assay.augmentation import GenerativeAugmentation
from assay.datasets import Dataset
from assay.datasets.collection.policies import LinearPolicy
from assay.datasets.collection.policy_file import write_policy_file
from assay.datasets.errors import AssayError
from assay.datasets.info import DatasetInfo
from assay.datasets.spaces import Box, Discrete
from tests.augmentation.test_model_based import linear, new_steps

QUICK = {"updates": 20, "width": 16, "blocks": 1, "sampling_steps": 4}
GOOD = {"updates": 3_000, "width": 64, "blocks": 2, "learning_rate": 1e-3, "sampling_steps": 32}


@pytest.mark.parametrize("length", [1, 3])
def test_original_steps_are_untouched_and_new_ones_stand_behind_them(length):
    dataset = linear()
    more = GenerativeAugmentation(ratio=0.6, length=length, **QUICK)(dataset)
    n, e = dataset.total_steps, dataset.total_episodes
    assert new_steps(more).tolist() == list(range(n, n + round(0.6 * n)))
    for name in ("actions", "rewards", "terminations", "truncations"):
        assert np.array_equal(more.column(name)[:n], dataset.column(name))
        assert more.column(name).dtype == dataset.column(name).dtype
    assert np.array_equal(more.observations[: n + e], dataset.observations)
    assert set(more.episode_lengths[e:].tolist()) == {length}
    assert more.truncations[more.total_steps - 1]
    assert np.abs(more.actions).max() <= 1.0


@pytest.mark.slow
@pytest.mark.parametrize("length", [1, 3])
def test_what_is_drawn_has_the_distribution_and_the_dynamics_of_the_data(length):
    dataset = linear(episodes=300)
    more = GenerativeAugmentation(ratio=1.0, length=length, **GOOD)(dataset)
    steps = new_steps(more)
    states, following = (more.observations[more.observation_rows[steps] + k, 0] for k in (0, 1))
    for found, data in (
        (states, dataset.observations[dataset.observation_rows, 0]),
        (more.actions[steps, 0], dataset.actions[:, 0]),
        (more.rewards[steps], dataset.rewards),
    ):
        assert stats.wasserstein_distance(found, data) < 0.2 * data.std()
    wrong = following - (0.9 * states + more.actions[steps, 0])
    assert np.abs(wrong).mean() < 0.15 * dataset.observations.std()
    shuffled = np.random.default_rng(0).permutation(following) - (0.9 * states + more.actions[steps, 0])
    assert np.abs(wrong).mean() < 0.3 * np.abs(shuffled).mean()  # the stub: marginals alone


def two_bumps(steps: int = 3_000) -> Dataset:
    """States N(0, 0.58^2), actions at -0.7 or 0.7, whatever the state: the toy of policy-guided diffusion."""
    rng = np.random.default_rng(0)
    actions = rng.choice([-0.7, 0.7], steps) + 0.15 * rng.normal(size=steps)
    return Dataset.from_arrays(
        observations=0.58 * rng.normal(size=(steps + 1, 1)),
        actions=np.clip(actions, -1.5, 1.5)[:, None],
        rewards=np.zeros(steps),
        terminations=np.zeros(steps, bool),
        truncations=np.arange(steps) == steps - 1,
        info=DatasetInfo(id="bumps", action_space=Box((1,), "float64", [-1.5], [1.5])),
    )


@pytest.mark.slow
def test_guidance_leads_to_the_policy_and_stays_in_the_data(tmp_path):
    dataset, path = two_bumps(), tmp_path / "policy.safetensors"
    write_policy_file(path, "Bumps-v0", LinearPolicy([[1.0]], [-0.7e6], [1e6]), {})  # 0.7 everywhere
    trained = {**GOOD, "updates": 6_000, "width": 96, "sampling_steps": 64}
    actions, states = {}, {}
    for guidance in (0.0, 0.1, 0.3, 1.0):
        more = GenerativeAugmentation(guidance=guidance, policy=str(path), **trained)(dataset)
        steps = new_steps(more)
        actions[guidance] = more.actions[steps, 0]
        states[guidance] = more.observations[more.observation_rows[steps], 0]
    likelihood = [-0.5 * np.mean(((found - 0.7) / 0.3) ** 2) for found in actions.values()]
    assert likelihood == sorted(likelihood)
    assert likelihood[0] < -4 < -0.5 < likelihood[-1]
    assert 0.4 < (actions[0.0] > 0).mean() < 0.6
    assert (actions[1.0] > 0).mean() > 0.99
    for found in actions.values():
        assert (np.abs(np.abs(found) - 0.7) > 0.45).mean() <= 0.2  # within three deviations of a bump
    for found in states.values():
        assert abs(found.std() - 0.58) < 0.05
    # The stubs. Without the strength nothing changes; drawing from a wide policy itself leaves the data.
    ignored = [likelihood[0]] * 4
    assert not ignored[-1] > ignored[0] + 1
    wide = np.random.default_rng(0).normal(0.7, 1.0, 3_000)
    assert (np.abs(np.abs(wide) - 0.7) > 0.45).mean() > 0.4


@pytest.mark.slow
def test_terminations_are_drawn_too_and_end_a_segment():
    dataset = linear(episodes=600, stop=0.3)
    more = GenerativeAugmentation(length=3, ratio=2.0, **GOOD)(dataset)
    steps = new_steps(more)
    ended = more.terminations[steps]
    following = more.observations[more.observation_rows[steps] + 1, 0]
    assert ended.any()
    assert (ended == (following > 0.3))[np.abs(following - 0.3) > 0.15].mean() > 0.9
    lasts = np.cumsum(more.episode_lengths) - 1
    assert set(np.flatnonzero(more.terminations)) <= set(lasts)


def test_it_depends_on_the_seed_alone_and_is_replayed_from_the_history():
    dataset = assay.load("pendulum/random", steps=400)
    transform = GenerativeAugmentation(ratio=0.5, seed=3, guidance=0.1, **QUICK)
    first, again = transform(dataset), transform(dataset)
    other = GenerativeAugmentation(ratio=0.5, seed=4, guidance=0.1, **QUICK)(dataset)
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert assay.replay(first.history).fingerprint == first.fingerprint


def test_a_drawn_step_has_the_mean_weight_and_no_other_mark_of_an_original_one():
    from assay.corruption import RandomCorruption
    from assay.reweighting import TrajectoryWeighting

    dataset = TrajectoryWeighting(score="return")(RandomCorruption(element="rewards", rate=0.5)(linear()))
    more = GenerativeAugmentation(**QUICK)(dataset)
    assert np.allclose(more.weights[new_steps(more)], dataset.weights.mean())
    assert "corrupted/rewards" not in more.columns
    assert "corrupted/rewards" in more.info.extra["augmentation"][-1]["left_out"]


def test_nested_observations_and_categories_come_back_as_they_were():
    flat = linear()
    goal = np.repeat(np.float64(3.0), len(flat.observations))[:, None]
    actions = (np.arange(flat.total_steps) % 3 + 5).astype(np.int64)
    dataset = linear(
        observations={"position": flat.observations, "goal": goal},
        actions=actions,
        info=DatasetInfo(id="discrete", action_space=Discrete(3, start=5)),
    )
    more = GenerativeAugmentation(length=2, **QUICK)(dataset)
    assert (more.observations["goal"] == 3.0).all()
    assert more.observations["position"].dtype == np.float32
    assert set(more.actions[flat.total_steps :].tolist()) <= {5, 6, 7}
    with pytest.raises(AssayError, match="categories, along which no gradient leads; guidance=0"):
        GenerativeAugmentation(guidance=1.0, **QUICK)(dataset)


@pytest.mark.parametrize("length", [1, 3])
def test_numbers_that_the_data_holds_twice_stay_the_same(length):
    flat = linear()
    twice = linear(observations={"position": flat.observations, "state": np.repeat(flat.observations, 2, axis=1)})
    more = GenerativeAugmentation(length=length, **QUICK)(twice)
    assert np.array_equal(more.observations["state"], np.repeat(more.observations["position"], 2, axis=1))


@pytest.mark.parametrize(
    ("message", "options", "changes"),
    [
        ("neither .clone. nor a file or folder of a run that exists", {"policy": "random"}, {}),
        ("ratio 0.0001 of 400 steps is less than one segment of 1", {"ratio": 1e-4}, {}),
        ("no episode has 11 original steps", {"length": 11}, {}),
        ("images", {}, {"observations": np.zeros((440, 8, 8, 3), np.uint8)}),
        ("1 of 400 segments hold NaN", {}, {"rewards": np.where(np.arange(400) == 7, np.nan, 0.0)}),
    ],
)
def test_misuse_is_named(message, options, changes):
    with pytest.raises(AssayError, match=message):
        GenerativeAugmentation(**{**QUICK, **options})(linear(**changes))
