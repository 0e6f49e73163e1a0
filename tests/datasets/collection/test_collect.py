from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from assay.datasets.collection.collect import CollectedEpisodes, collect, episode_seed, split_steps
from assay.datasets.collection.policies import LinearPolicy, UniformPolicy
from assay.datasets.collection.policy_returns import episode_returns
from assay.datasets.environments.pool import EnvironmentPool
from assay.datasets.errors import CollectionError, ConfigError

COLUMNS = [
    field.name
    for field in dataclasses.fields(CollectedEpisodes)
    if field.type.startswith("NDArray") and field.name != "costs"  # which Hopper does not have
]


def hopper_policy() -> LinearPolicy:
    weights = np.random.default_rng(0).normal(size=(3, 11)) * 0.1
    return LinearPolicy(weights, np.zeros(11), np.ones(11))


def returns_of(episodes: CollectedEpisodes) -> np.ndarray:
    return np.array([part.sum() for part in np.split(episodes.rewards, np.cumsum(episodes.episode_lengths)[:-1])])


@pytest.fixture(scope="module")
def hopper() -> CollectedEpisodes:
    mix = [(hopper_policy(), 1.0), (UniformPolicy(), 2.0)]
    return collect("Hopper-v5", mix, steps=1500, noise=0.2, seed=3, environments=1, workers=0)


@pytest.mark.parametrize(("environments", "workers"), [(16, 0), (7, 2), (3, 1)])
def test_no_number_depends_on_environments_or_workers(
    hopper: CollectedEpisodes, environments: int, workers: int
) -> None:
    mix = [(hopper_policy(), 1.0), (UniformPolicy(), 2.0)]
    other = collect("Hopper-v5", mix, steps=1500, noise=0.2, seed=3, environments=environments, workers=workers)
    assert len(COLUMNS) == 8
    for name in COLUMNS:
        left, right = getattr(hopper, name), getattr(other, name)
        assert left.dtype == right.dtype, name
        np.testing.assert_array_equal(left, right, err_msg=name)


def test_exactly_the_steps_asked_for_in_blocks_of_their_shares(hopper: CollectedEpisodes) -> None:
    lengths = hopper.episode_lengths
    assert len(hopper.rewards) == len(hopper.actions) == len(hopper.terminations) == lengths.sum() == 1500
    assert len(hopper.observations) == 1500 + len(lengths)
    assert lengths[hopper.episode_policies == 0].sum() == 500
    assert (np.diff(hopper.episode_policies) >= 0).all()
    assert len(np.unique(hopper.episode_seeds)) == len(lengths)


def test_an_episode_ends_at_its_last_step_and_a_cut_is_a_truncation(hopper: CollectedEpisodes) -> None:
    ends = hopper.terminations | hopper.truncations
    last = np.cumsum(hopper.episode_lengths) - 1
    np.testing.assert_array_equal(np.flatnonzero(ends), last)
    cut = np.flatnonzero(hopper.truncations)
    assert set(cut) <= {499, 1499}


def test_a_natural_end_on_the_last_step_stays_a_termination(hopper: CollectedEpisodes) -> None:
    first = int(hopper.episode_lengths[0])
    alone = collect("Hopper-v5", hopper_policy(), steps=first, noise=0.2, seed=3, workers=0)
    assert alone.terminations[-1]
    assert not alone.truncations.any()
    shorter = collect("Hopper-v5", hopper_policy(), steps=first - 1, noise=0.2, seed=3, workers=0)
    assert shorter.truncations[-1]
    assert not shorter.terminations.any()
    np.testing.assert_array_equal(shorter.observations, alone.observations[:-1])


def test_an_episode_can_be_run_again_from_its_seed(hopper: CollectedEpisodes) -> None:
    seeds = hopper.episode_seeds[:4].tolist()
    assert seeds == [episode_seed(3, 0, episode) for episode in range(4)]
    with EnvironmentPool("Hopper-v5", 3, workers=0) as pool:
        returns, lengths = episode_returns(pool, hopper_policy(), seeds, noise=0.2)
    np.testing.assert_array_equal(lengths, hopper.episode_lengths[:4])
    np.testing.assert_allclose(returns, returns_of(hopper)[:4], rtol=1e-12)


def test_stored_actions_are_the_executed_ones() -> None:
    episodes = collect("Pendulum-v1", lambda rows: np.full((len(rows), 1), 1.9), steps=2000, noise=0.1, workers=0)
    assert episodes.actions.dtype == np.float32
    assert episodes.actions.max() == 2.0
    noise = episodes.actions[episodes.actions < 2.0] - 1.9
    # Half the range is 2, so the noise has a standard deviation of 0.2; what lies above the bound was clipped.
    assert abs(np.quantile(episodes.actions, 0.1587) - 1.7) < 0.02
    assert noise.min() < -0.5
    # The environment saw exactly these actions: its reward is a function of them.
    cosine, sine, speed = (episodes.observations[:200, entry].astype(np.float64) for entry in range(3))
    angle = np.arctan2(sine, cosine)
    expected = -(angle**2 + 0.1 * speed**2 + 0.001 * episodes.actions[:200, 0].astype(np.float64) ** 2)
    np.testing.assert_allclose(episodes.rewards[:200], expected, atol=1e-4)


def test_discrete_noise_is_the_probability_of_a_uniform_action() -> None:
    episodes = collect("CartPole-v1", lambda rows: np.zeros(len(rows), int), steps=4000, noise=0.4, workers=0)
    assert abs(episodes.actions.mean() - 0.2) < 0.03
    uniform = collect("CartPole-v1", UniformPolicy(), steps=4000, workers=0)
    assert abs(uniform.actions.mean() - 0.5) < 0.03


def test_seeds_differ_and_repeat() -> None:
    first, again, other = (collect("CartPole-v1", UniformPolicy(), 300, seed=seed, workers=0) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.observations, again.observations)
    assert not np.array_equal(first.actions, other.actions)


def test_progress_rises_to_the_total() -> None:
    reports: list[tuple[int, int]] = []
    mix = [(UniformPolicy(), 1.0), (UniformPolicy(), 1.0)]
    collect("CartPole-v1", mix, 1000, workers=0, progress=lambda done, total: reports.append((done, total)))
    done = [report[0] for report in reports]
    assert done == sorted(done)
    assert reports[-1] == (1000, 1000)


def test_steps_are_split_to_the_last_one() -> None:
    assert split_steps(10, [1, 1, 1]) == [3, 4, 3]
    assert split_steps(7, [0, 1]) == [0, 7]
    assert sum(split_steps(100_001, [0.1] * 10)) == 100_001


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps"),
        ({"noise": -1.0}, "noise"),
        ({"noise": 1.5}, "probability"),
        ({"policy": []}, "shares"),
        ({"policy": [(UniformPolicy(), -1.0)]}, "shares"),
        ({"policy": "random"}, "policy"),
        ({"noise": [0.1, 0.2]}, "each of the 1 policies"),
        ({"seed": -1}, "seed"),
        ({"seed": "a"}, "seed='a': expected a whole number"),
        ({"steps": "10"}, "steps='10': expected a whole number, 1 or more"),
        ({"steps": 1.5}, "steps=1.5"),
        ({"steps": True}, "steps=True"),
        ({"environments": 0}, "environments"),
        ({"environments": "a"}, "environments='a': expected a whole number, 1 or more"),
    ],
)
def test_impossible_parameters_are_refused(changes: dict[str, object], message: str) -> None:
    parameters = {"policy": UniformPolicy(), "steps": 10, "workers": 0} | changes
    with pytest.raises(ConfigError, match=message):
        collect("CartPole-v1", **parameters)


def test_a_policy_that_returns_no_actions_is_named() -> None:
    with pytest.raises(CollectionError, match="shape"):
        collect("Pendulum-v1", lambda rows: np.zeros(len(rows)), 10, workers=0)
    with pytest.raises(CollectionError, match="nan"):
        collect("Pendulum-v1", lambda rows: np.full((len(rows), 1), np.nan), 10, workers=0)
    with pytest.raises(CollectionError, match="only 2"):
        collect("CartPole-v1", lambda rows: np.full(len(rows), 2), 10, workers=0)
