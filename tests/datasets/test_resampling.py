"""Resampling: closed forms, returns that stay, sensors of different rates, and times that cannot be resampled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import assay
from assay.datasets import Dataset
from assay.datasets.errors import ConfigError, DatasetError
from assay.datasets.resampling import Resample
from assay.datasets.transform import make_transform


def recorded(time: list[float], values: Any, **columns: Any) -> Dataset:
    """One episode that was truncated, whose final observation is unknown."""
    values = np.asarray(values)
    steps = len(time)
    return Dataset.from_arrays(
        observations=np.concatenate([values, values[-1:]]),
        actions=np.arange(steps, dtype=float),
        rewards=np.ones(steps),
        terminations=np.zeros(steps, bool),
        truncations=np.arange(steps) == steps - 1,
        columns={"time": np.array(time, float), **columns},
        episode_columns={"final_observation": [False]},
    )


@pytest.mark.parametrize(
    ("how", "tolerance", "expected"),
    [
        ("previous", None, [0, 1, 1, 3, 3]),
        ("nearest", None, [0, 1, 3, 3, 4]),
        ("nearest", 0.15, [0, 1, np.nan, 3, np.nan]),
        ("linear", None, [0, 1, 2, 3, 3.75]),
        ("previous", 0.5, [0, 1, np.nan, 3, np.nan]),
    ],
)
def test_a_tick_takes_what_its_method_says(how: str, tolerance: float | None, expected: list[float]) -> None:
    dataset = recorded([0, 1, 3, 4.3], [0.0, 1.0, 3.0, 4.0])
    if how == "linear":
        expected[-1] = 3 + 1 / 1.3
    made = Resample(rate=1, how=how, tolerance=tolerance)(dataset)
    values = made.observations[:-1]
    if how == "nearest" and tolerance is None:
        expected[2] = np.nan  # a second away from both, and half a tick is the tolerance
    np.testing.assert_allclose(values, expected)
    mask = made.column("infos/missing/observations")[:-1] if np.isnan(expected).any() else np.zeros(5, bool)
    assert mask.tolist() == np.isnan(expected).tolist()
    assert made.column("time").tolist() == [0, 1, 2, 3, 4]
    assert made.truncations.tolist() == [False] * 4 + [True]


def test_every_sensor_is_resampled_from_its_own_samples() -> None:
    nan = np.nan
    values = [[0.0, nan], [nan, 10.0], [2.0, nan], [nan, 30.0], [4.0, nan]]
    made = Resample(rate=10, how="linear")(recorded([0, 0.1, 0.2, 0.3, 0.4], values))
    np.testing.assert_allclose(made.observations[:-1], [[0, 10], [1, 10], [2, 20], [3, 30], [4, 30]])
    held = Resample(rate=10)(recorded([0, 0.1, 0.2, 0.3, 0.4], values))
    np.testing.assert_allclose(held.observations[:-1], [[0, nan], [0, 10], [2, 10], [2, 30], [4, 30]])
    assert held.column("infos/missing/observations")[:, 1].tolist() == [True] + [False] * 5


def test_columns_may_have_methods_of_their_own_and_texts_are_never_mixed() -> None:
    dataset = recorded(
        [0, 1], [0.0, 1.0], **{"infos/mode": np.array(["slow", "fast"]), "infos/count": np.array([1, 9])}
    )
    made = Resample(rate=4, how="linear")(dataset)
    assert made.column("infos/mode").tolist() == ["slow", "slow", "slow", "fast", "fast"]
    assert made.column("infos/count").tolist() == [1, 1, 1, 9, 9]
    chosen = Resample(rate=4, how={"observations": "nearest", "actions": "linear"}, tolerance=1.0)(dataset)
    assert chosen.observations.tolist() == [0, 0, 0, 1, 1, 1]
    assert chosen.actions.tolist() == [0, 0.25, 0.5, 0.75, 1]


@settings(max_examples=50, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    rate=st.floats(0.3, 30),
    seed=st.integers(0, 2**31),
    how=st.sampled_from(["previous", "linear", "nearest"]),
)
def test_episodes_and_returns_stay_and_the_clock_is_even(lengths: list[int], rate: float, seed: int, how: Any) -> None:
    generator = np.random.default_rng(seed)
    total, episodes = sum(lengths), len(lengths)
    time = np.concatenate([generator.normal() + np.cumsum(generator.uniform(0.01, 1, n)) for n in lengths])
    dataset = Dataset.from_arrays(
        observations=generator.normal(size=(total + episodes, 2)),
        actions=generator.normal(size=(total, 1)),
        rewards=generator.normal(size=total),
        terminations=np.zeros(total, bool),
        truncations=np.isin(np.arange(total), np.cumsum(lengths) - 1),
        columns={"time": time},
    )
    made = Resample(rate=rate, how=how)(dataset)
    np.testing.assert_allclose(made.returns, dataset.returns, atol=1e-9)
    assert made.total_episodes == episodes
    for before, after in zip(dataset, made, strict=True):
        assert after.columns["time"][0] == before.columns["time"][0]
        assert after.columns["time"][-1] <= before.columns["time"][-1] + 1e-5
        np.testing.assert_allclose(np.diff(after.columns["time"]), 1 / rate, rtol=1e-9, atol=1e-9)
        assert after.observations[-1].tolist() == before.observations[-1].tolist()
        assert after.truncated


def test_an_even_clock_is_left_as_it_is() -> None:
    generator = np.random.default_rng(0)
    time = (np.arange(50) * 0.05 + 17.3).tolist()
    dataset = recorded(time, generator.normal(size=(50, 3)).astype(np.float32))
    for how in ("previous", "linear", "nearest"):
        made = Resample(rate=20, how=how)(dataset)
        assert made.total_steps == 50
        np.testing.assert_allclose(made.observations, dataset.observations, rtol=1e-5)
        assert made.observations.dtype == np.float32


@pytest.mark.parametrize(
    ("time", "message"),
    [
        ([0, 1, 0.5], r"episode 0, step 2 \(0\.5 s\)"),
        ([0, 1, 1], "episode 0, step 2"),
        ([0, np.nan, 2], "episode 0, step"),
        ([0, 1e9, 2e9], "is time in seconds"),
    ],
)
def test_times_that_have_no_clock_are_named(time: list[float], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        Resample(rate=1000)(recorded(time, np.zeros(3)))


def test_without_time_and_with_impossible_fields_it_is_refused() -> None:
    dataset = recorded([0, 1], np.zeros(2)).replace({"time": None})
    with pytest.raises(DatasetError, match="no column time"):
        Resample(rate=1)(dataset)
    for fields in ({"rate": 0}, {"rate": 1, "how": "cubic"}, {"rate": 1, "tolerance": -1}, {}):
        with pytest.raises(ConfigError):
            make_transform("datasets.resample", fields)


def test_it_is_recorded_and_replayed(tmp_path: Any) -> None:
    assay.save(recorded([0, 1, 3], np.arange(3.0)), tmp_path / "own")
    dataset = assay.load(tmp_path / "own")
    made = Resample(rate=2, how="linear")(dataset)
    assert assay.replay(made.history) == made
