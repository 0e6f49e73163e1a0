"""Clocks, frozen sensors and delays between signals, each planted and each absent."""

from __future__ import annotations

import numpy as np
import pytest

from assay.metrics.robot.delay import lag_of

from .recordings import SECONDS, checked, flags_of, recorded, smooth, values_of

FPS = {"lerobot": {"fps": 50}}


def at(metric: str, table) -> list[int | None]:
    return table.filter(table["metric"] == metric)["row"].to_list()


def test_a_gap_a_repeated_stamp_and_a_step_back_are_counted_and_located() -> None:
    clean = np.arange(100) * SECONDS
    gap, repeated, back = clean.copy(), clean.copy(), clean.copy()
    gap[60:] += 0.5
    repeated[30] = repeated[29]
    back[70:] -= 1.0
    table = checked(recorded([smooth(100, i) for i in range(4)], times=[clean, gap, repeated, back], extra=FPS))
    assert values_of(table, "gaps") == [0, 1, 1, 0]  # after a repeated stamp twice the time passes
    assert values_of(table, "repeated_stamps") == [0, 0, 1, 0]
    assert values_of(table, "steps_back") == [0, 0, 0, 1]
    assert at("gaps", table)[:2] == [None, 59]
    assert at("repeated_stamps", table)[2] == 29
    assert at("steps_back", table)[3] == 69
    assert values_of(table, "rate_error") == pytest.approx([0] * 4, abs=1e-9)
    assert [flags_of(table, name) for name in ("steps_back", "repeated_stamps", "gaps")] == [[3], [2], [1, 2]]


def test_jitter_is_the_spread_of_the_steps_of_time() -> None:
    generator = np.random.default_rng(0)
    steps = SECONDS * (1 + generator.uniform(-0.4, 0.4, 20_000))
    table = checked(recorded([smooth(20_000, 0)], times=[np.cumsum(steps)]))
    assert values_of(table, "jitter") == pytest.approx([0.72], abs=0.01)  # 90 % of a width of 0.8
    assert flags_of(table, "jitter") == [0]
    calm = checked(recorded([smooth(200, 0)]))
    assert values_of(calm, "jitter") == pytest.approx([0], abs=1e-9)


def test_a_declared_rate_that_is_not_the_measured_one_is_a_defect() -> None:
    wrong = checked(recorded([smooth(100, 0)], extra={"lerobot": {"fps": 40}}))
    assert values_of(wrong, "rate_error") == pytest.approx([0.2])
    assert flags_of(wrong, "rate_error") == [0]
    assert flags_of(checked(recorded([smooth(100, 0)], extra=FPS)), "rate_error") == []


def test_without_a_clock_durations_are_steps_and_nothing_is_said_of_stamps() -> None:
    dataset = recorded([smooth(100, 0)]).replace({"time": None})
    table = checked(dataset)
    assert not {"gaps", "jitter", "rate_error", "duration"} & set(table["metric"])
    assert set(table.filter(table["metric"] == "held")["unit"]) == {"steps"}
    assert values_of(checked(dataset, rate=50), "duration") == pytest.approx([2.0])


def test_a_held_sensor_is_frozen_for_as_long_as_it_was_held() -> None:
    states = [smooth(400, seed, 3) for seed in range(4)]
    states[2][100:251, 1] = states[2][100, 1]
    table = checked(recorded(states, names={"observations": ("a", "left_knee", "c")}))
    assert values_of(table, "frozen", "left_knee") == pytest.approx([0, 0, 150 * SECONDS, 0])
    assert values_of(table, "held", "left_knee")[2] == pytest.approx(150 * SECONDS)
    frozen = table.filter((table["metric"] == "frozen") & table["flagged"])
    assert frozen.select("episode", "dimension", "row").rows() == [(2, "left_knee", 100)]


def test_what_rests_with_the_others_or_by_nature_is_not_frozen() -> None:
    generator = np.random.default_rng(0)
    pause = [smooth(400, seed, 3) for seed in range(4)]
    pause[0][100:300] = pause[0][100]  # everything rests
    gripper = [np.column_stack([smooth(400, s, 2), np.repeat(generator.integers(0, 2, 4), 100)]) for s in range(4)]
    waiting = [smooth(400, seed, 3) for seed in range(4)]
    waiting[1][:150, 2] = waiting[1][0, 2]  # the other arm begins later
    for states in (pause, gripper, waiting):
        assert flags_of(checked(recorded(states)), "frozen") == []


def test_a_shifted_copy_is_late_by_its_shift_also_between_samples() -> None:
    fine = smooth(6000, 0, window=200)[:, 0]
    x, behind, between = fine[1000:5000:10], fine[940:4940:10], fine[965:4965:10]
    for later, steps in ((behind, 6), (between, 3.5)):
        lag, correlation = lag_of(x, later, SECONDS, 0.5)
        assert lag == pytest.approx(steps * SECONDS, abs=0.1 * SECONDS)
        assert correlation > 0.99
        assert lag_of(later, x, SECONDS, 0.5)[0] == pytest.approx(-lag, abs=0.05 * SECONDS)


def test_the_correlation_at_a_lag_is_pearson_s_over_the_steps_that_both_have() -> None:
    from assay.metrics.robot.delay import _correlations

    generator = np.random.default_rng(0)
    a, u = generator.standard_normal((2, 130)).cumsum(axis=1)
    starts, lengths, lags = np.array([0, 50, 90]), np.array([50, 40, 39]), np.arange(-6, 7)
    curve = _correlations(a, u, starts, lengths, lags)
    for segment, (start, length) in enumerate(zip(starts, lengths)):
        one, two = a[start : start + length], u[start : start + length]
        for column, lag in enumerate(lags):
            first = one[max(0, -lag) : length - max(0, lag)]
            second = two[max(0, lag) : length - max(0, -lag)]
            assert curve[segment, column] == pytest.approx(np.corrcoef(first, second)[0, 1])


def test_skew_and_drift_between_two_sensors_have_their_values() -> None:
    t = np.arange(4000) * SECONDS
    generator = np.random.default_rng(0)
    phases, hertz = generator.uniform(0, 2 * np.pi, 12), generator.uniform(0.2, 2.0, 12)

    def movement(time: np.ndarray) -> np.ndarray:
        return np.sin(2 * np.pi * hertz * time[:, None] + phases).sum(axis=1)

    states = {
        "state": [movement(t)] * 3,
        "late": [movement(t), movement(t - 0.2), movement(t)],
        "fast": [movement(t), movement(t), movement(1.01 * t)],
    }
    table = checked(recorded(states))
    assert values_of(table, "skew", "late") == pytest.approx([0, 0.2, 0], abs=SECONDS / 5)
    assert [row for row in flags_of(table, "skew") if row < 2] == [1]
    assert values_of(table, "drift", "fast")[:2] == pytest.approx([0, 0], abs=1e-6)
    assert values_of(table, "drift", "late") == pytest.approx([0, 0, 0], abs=1e-3)
    short = checked(recorded({key: [part[:2000] for part in parts] for key, parts in states.items()}))
    assert values_of(short, "drift", "fast")[2] == pytest.approx(0.01, rel=0.2)
    assert flags_of(short, "drift") == [2]
