"""Noise, autocorrelation, jumps and plain facts about steps, against systems whose answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from assay.datasets import Dataset, concatenate
from assay.datasets.errors import DatasetError
from assay.metrics import (
    assess,
    autocorrelation,
    dead_dimensions,
    discontinuities,
    duplicate_rate,
    noise_ratio,
    reward_sparsity,
    time_limit,
)
from assay.metrics.measures import NotMeasurable

from .synthetic import dataset_of


def rows_of(table: Any) -> dict[str, dict[str, Any]]:
    return {row["metric"]: row for row in table.iter_rows(named=True)}


def linear(steps: int, noise: float, episodes: int = 20, seed: int = 0) -> Dataset:
    """Make s' = 0.8 s + 0.5 a + noise, r = s + a, with actions that are independent normals."""
    generator = np.random.default_rng(seed)
    length = steps // episodes
    states, actions = np.zeros((episodes, length + 1)), generator.standard_normal((episodes, length))
    states[:, 0] = generator.standard_normal(episodes)
    for t in range(length):
        states[:, t + 1] = 0.8 * states[:, t] + 0.5 * actions[:, t] + noise * generator.standard_normal(episodes)
    flat = actions.reshape(-1, 1)
    return dataset_of(states.reshape(-1, 1), lambda s, g: flat, episodes, rewards=(states[:, :-1] + actions).ravel())


# -------------------------------------------------------------------- noise


def test_noise_ratio_is_the_share_of_noise_in_a_smooth_function() -> None:
    generator = np.random.default_rng(0)
    inputs = generator.uniform(-1, 1, (3000, 2))
    clean, noise = np.sin(3 * inputs[:, :1]) + inputs[:, 1:] ** 2, generator.standard_normal((3000, 1))
    assert noise_ratio(inputs, clean) == pytest.approx(0, abs=0.005)
    assert noise_ratio(inputs, noise) == pytest.approx(1, abs=0.05)
    both = clean / clean.std() + 0.5 * noise
    assert noise_ratio(inputs, both) == pytest.approx(0.25 / both.var(), abs=0.02)
    assert noise_ratio(inputs, np.hstack([clean, noise, clean * 0])) == pytest.approx(0.5, abs=0.03)
    assert noise_ratio(inputs[::-1], both[::-1]) == pytest.approx(noise_ratio(inputs, both), abs=1e-9)


def test_noise_among_repeated_rows_is_the_variance_within_them() -> None:
    inputs = np.repeat(np.arange(10.0), 200)[:, None]
    outputs = inputs + np.random.default_rng(1).standard_normal((2000, 1))
    assert noise_ratio(inputs, outputs, k=20) == pytest.approx(1 / outputs.var(), rel=0.1)


def test_noise_of_nothing_is_refused() -> None:
    with pytest.raises(NotMeasurable, match="at least three rows"):
        noise_ratio(np.zeros((2, 1)), np.zeros((2, 1)))
    with pytest.raises(NotMeasurable, match="the same at every step"):
        noise_ratio(np.random.default_rng(2).random((9, 1)), np.ones((9, 1)))


def test_the_table_tells_random_transitions_from_certain_ones() -> None:
    certain, random = (rows_of(assess(linear(4000, noise), select=["noise"])) for noise in (0.0, 0.5))
    assert certain["transition_noise"]["value"] == pytest.approx(0, abs=0.01)
    expected = 0.25 / (0.04 * 0.5 / 0.36 + 0.5)  # change: -0.2 s + 0.5 a + 0.5 e, with var s = 0.5 / 0.36
    row = random["transition_noise"]
    assert row["value"] == pytest.approx(expected, abs=0.05)
    assert row["interval"]["low"] < row["value"] < row["interval"]["high"] < row["interval"]["low"] + 0.1
    assert random["reward_noise"]["value"] == pytest.approx(0, abs=0.01)
    assert rows_of(assess(linear(4000, 0.5), select=["transition_noise"], sample=1000))["transition_noise"][
        "source"
    ].endswith("1,000 of 4,000 steps, seed 0")


# -------------------------------------------------------------------- one step after the other


def test_autocorrelation_is_the_coefficient_of_an_autoregression() -> None:
    dataset = linear(4000, 0.5)
    rows = rows_of(assess(dataset, select=["smoothness"]))
    row = rows["autocorrelation_observations"]
    assert row["value"] == pytest.approx(0.8, abs=0.03)
    assert row["interval"]["low"] < 0.8 < row["interval"]["high"]
    assert rows["autocorrelation_actions"]["value"] == pytest.approx(0, abs=0.05)
    before = np.concatenate([episode[:-1] for episode in np.split(dataset.rewards, 20)])
    after = np.concatenate([episode[1:] for episode in np.split(dataset.rewards, 20)])
    assert rows["autocorrelation_rewards"]["value"] == pytest.approx(np.corrcoef(before, after)[0, 1])
    assert "all 3,980 pairs" in row["source"]


def test_pairs_never_cross_episodes_sampled_or_not() -> None:
    states = np.repeat(np.random.default_rng(3).standard_normal(50), 11)  # constant within each of 50 episodes
    dataset = dataset_of(states, lambda s, g: s[:, None], episodes=50)
    for sample in (20_000, 100):
        value = assess(dataset, select=["autocorrelation_observations"], sample=sample)["value"][0]
        assert value == pytest.approx(1)


def test_autocorrelation_refuses_what_does_not_vary() -> None:
    with pytest.raises(NotMeasurable):
        autocorrelation(np.ones((5, 2)), np.ones((5, 2)))
    with pytest.raises(NotMeasurable):
        discontinuities(np.ones((5, 2)), np.ones((5, 2)))
    alternating = np.tile([[0.0], [1.0]], (50, 1))
    assert autocorrelation(alternating[:-1], alternating[1:]) == pytest.approx(-1)


def test_a_random_walk_is_smooth_and_teleports_are_counted() -> None:
    walk = np.cumsum(np.random.default_rng(4).standard_normal((5000, 3)), axis=0)
    assert discontinuities(walk[:-1], walk[1:]) == 0
    for place in (1000, 2000, 3000):
        walk[place:] += 500
    assert discontinuities(walk[:-1], walk[1:]) == 3 / 4999
    walk[4000] -= 700  # a glitch: out and back
    assert discontinuities(walk[:-1], walk[1:]) == 5 / 4999
    assert discontinuities(walk[:0:-1] * 7 + 3, walk[-2::-1] * 7 + 3) == 5 / 4999
    assert discontinuities(np.arange(9.0)[:, None], np.arange(1, 10.0)[:, None]) == 0


# -------------------------------------------------------------------- plain facts


def test_sparsity_is_the_share_of_the_most_frequent_reward() -> None:
    generator = np.random.default_rng(5)
    states = generator.standard_normal((101, 1))
    for rewards in (np.arange(100) % 10 == 0, (np.arange(100) % 10 == 0) - 1):
        dataset = dataset_of(states, lambda s, g: s, rewards=np.asarray(rewards, np.float32))
        assert reward_sparsity(dataset) == 0.9
    broken = dataset.replace({"rewards": np.where(np.arange(100) == 7, np.nan, 0)})
    with pytest.raises(DatasetError, match="rewards is nan at episode 0, step 7"):
        reward_sparsity(broken)


def test_duplicates_are_those_of_a_set_of_tuples() -> None:
    generator = np.random.default_rng(6)
    states = generator.integers(0, 3, (306, 2)).astype(np.float32)
    dataset = dataset_of(states, lambda s, g: g.integers(0, 2, len(s)), episodes=6)
    at = dataset.observation_rows
    tuples = {(*s, a, *n) for s, a, n in zip(states[at].tolist(), dataset.actions.tolist(), states[at + 1].tolist())}
    assert duplicate_rate(dataset) == 1 - len(tuples) / 300
    twice = concatenate([linear(100, 0.5), linear(100, 0.5)])
    assert duplicate_rate(twice) == 0.5
    assert duplicate_rate(twice.select([7, 3, 1])) == 0.0
    follows = np.arange(200.0)[:, None]
    assert duplicate_rate(twice.replace({"next_observations": follows})) == 0.0


def test_dead_dimensions_are_counted_also_in_images_and_nested_columns() -> None:
    generator = np.random.default_rng(7)
    frames = generator.integers(0, 255, (22, 4, 4), np.uint8)
    frames[:, 0] = 9
    dataset = dataset_of(frames, lambda s, g: np.zeros((len(s), 3)), episodes=2)
    assert dead_dimensions(dataset) == 4
    assert dead_dimensions(dataset, "actions") == 3
    nan = dataset.replace({"observations": np.full((22, 2), np.nan)})
    assert dead_dimensions(nan) == 2
    with pytest.raises(NotMeasurable, match="no numbers"):
        dead_dimensions(dataset.replace({"observations": np.full(22, "left")}))


def test_the_time_limit_is_the_length_that_no_episode_exceeds_and_one_was_cut_at() -> None:
    lengths, cut = np.array([3, 9, 5, 2, 9]), np.array([True, False, False, False, True])
    last = np.zeros(28, bool)
    last[np.cumsum(lengths) - 1] = True
    truncations = last & np.repeat(cut, lengths)
    dataset = Dataset.from_arrays(
        observations=np.zeros(33),
        actions=np.zeros(28),
        rewards=np.zeros(28),
        terminations=last & ~truncations,
        truncations=truncations,
    )
    assert time_limit(dataset) == 9
    for others in ([0, 1, 2], [2, 3]):  # the one cut after three steps says nothing; none is cut
        with pytest.raises(NotMeasurable, match="time limit"):
            time_limit(dataset.select(others))
