"""Saturation, chatter, and what kind of action it is with which delay."""

from __future__ import annotations

import numpy as np
import pytest

from assay.datasets.spaces import Box

from .recordings import SECONDS, checked, flags_of, recorded, smooth, values_of


def test_a_clipped_sine_is_at_its_bounds_as_long_as_the_sine_is_beyond_them() -> None:
    t = np.arange(20_000) * SECONDS
    clipped = np.clip(np.sin(t), -0.5, 0.5)
    calm = 0.9 * 0.5 * np.sin(t)
    space = Box((2,), "float64", [-0.5, -0.5], [0.5, 0.5])
    table = checked(recorded([smooth(len(t), 0)], [np.stack([clipped, calm], 1)], action_space=space))
    within = 2 * np.arccos(0.49) / np.pi  # |sin| >= 0.5 - 1 % of the span of 1
    assert values_of(table, "saturation") == pytest.approx([within, 0.0], abs=2e-3)
    assert flags_of(table, "saturation") == [0]
    assert "action space" in table.definitions["saturation"]


def test_without_bounds_the_dataset_s_own_range_counts_and_is_named() -> None:
    table = checked(recorded([smooth(500, 0)], [smooth(500, 1)]))
    assert values_of(table, "saturation")[0] < 0.1
    assert "own range" in table.definitions["saturation"]


@pytest.mark.parametrize(("period", "rate"), [(0.2, 10.0), (0.4, 5.0), (2.0, 0.0)])
def test_a_gripper_s_square_wave_is_taken_back_at_its_rate(period: float, rate: float) -> None:
    t = np.arange(5001) * SECONDS
    wave = (np.floor(t / (period / 2) + 1e-9) % 2).astype(float)
    table = checked(recorded([smooth(len(t), 0)], [wave]))
    assert values_of(table, "gripper_chatter") == pytest.approx([rate], abs=0.05)
    assert flags_of(table, "gripper_chatter") == ([0] if rate else [])
    assert "chatter" not in set(table["metric"])


def test_a_gripper_that_goes_on_to_another_value_does_not_chatter() -> None:
    table = checked(recorded([smooth(300, 0)], [np.tile(np.repeat([0.0, 1.0, 2.0], 5), 20)]))
    assert values_of(table, "gripper_chatter") == [0.0]


def test_a_triangle_reverses_twice_a_period_and_noise_below_the_floor_is_none() -> None:
    t = np.arange(5001) * SECONDS
    triangle = np.abs((t / 0.4) % 1 - 0.5)
    ramp = t + 1e-6 * np.random.default_rng(0).standard_normal(len(t))
    table = checked(recorded([smooth(len(t), 0)] * 2, [triangle, ramp / ramp.max()]), chatter_floor=0.001)
    fast, none = values_of(table, "chatter")
    assert fast == pytest.approx(5.0, abs=0.1)
    assert none == 0.0


@pytest.mark.parametrize("delay", [0, 1, 4, 9])
@pytest.mark.parametrize("kind", ["absolute", "relative", "velocity"])
def test_each_kind_of_action_is_recognized_with_its_delay(kind: str, delay: int) -> None:
    states, actions = [], []
    for seed in range(3):
        x = smooth(400 + delay + 1, seed, 2) * 5
        change = np.diff(x, axis=0)
        source = {"absolute": x[:-1], "relative": change, "velocity": change / SECONDS}[kind]
        actions.append(source[delay:][:400])  # the state follows `delay` steps later
        states.append(x[:400])
    table = checked(recorded(states, actions))
    assert values_of(table, "action_lag") == pytest.approx([delay * SECONDS] * 3, abs=0.1 * SECONDS)
    assert f"look {kind}" in table.definitions["action_lag"]
    assert flags_of(table, "action_lag") == []


def test_a_recorded_velocity_tells_velocities_from_changes() -> None:
    x = smooth(500, 0) * 5
    velocity = np.random.default_rng(1).standard_normal(500)  # of another clock, say
    smoothed = np.convolve(velocity, np.ones(9) / 9, "same")
    table = checked(recorded({"joint": [x], "joint_velocity": [smoothed]}, [smoothed]))
    assert "look velocity" in table.definitions["action_lag"]
    assert values_of(table, "action_is_velocity") == pytest.approx([1.0])


def test_actions_that_nothing_follows_have_no_lag_and_a_late_one_is_a_risk() -> None:
    noise = np.random.default_rng(0).standard_normal((400, 2))
    assert values_of(checked(recorded([smooth(400, 1, 2)], [noise])), "action_lag") == [None]
    x = smooth(440, 2)
    late = checked(recorded([x[:400]], [x[40:]]))
    assert values_of(late, "action_lag") == pytest.approx([0.8], abs=0.01)
    assert flags_of(late, "action_lag") == [0]


def test_action_and_state_are_paired_by_name() -> None:
    x = smooth(400, 0, 3)
    names = {"observations": ("a", "b", "c"), "actions": ("c", "a")}
    table = checked(recorded([x], [x[:, [2, 0]]], names=names))
    assert values_of(table, "action_is_absolute") == pytest.approx([1.0])
    unnamed = checked(recorded([x], [x[:, [2, 0]]]))
    assert values_of(unnamed, "action_is_absolute")[0] < 0.9
