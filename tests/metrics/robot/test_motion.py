"""Rest, jumps and smoothness on movements whose values are known."""

from __future__ import annotations

import numpy as np
import pytest

from assay.datasets import Dataset
from assay.datasets.signals import Signals
from assay.metrics.robot.fluency import log_dimensionless_jerk, spectral_arc_length

from .recordings import SECONDS, checked, flags_of, recorded, smooth, values_of


def reach(steps: int) -> np.ndarray:
    """Minimum-jerk position from 0 to 1 (Flash and Hogan 1985)."""
    t = np.linspace(0, 1, steps)
    return 10 * t**3 - 15 * t**4 + 6 * t**5


def published_sparc(movement: np.ndarray, frequency: float, cutoff: float = 10.0, threshold: float = 0.05) -> float:
    """SPARC as Balasubramanian et al. 2015 define it, for one profile, written from the paper: an independent statement."""
    padded = int(2 ** (np.ceil(np.log2(len(movement))) + 4))
    frequencies = np.arange(0, frequency, frequency / padded)
    spectrum = np.abs(np.fft.fft(movement, padded))
    spectrum = spectrum / spectrum[0]
    inside = np.flatnonzero(frequencies <= cutoff)
    loud = np.flatnonzero(spectrum[inside] >= threshold)
    chosen = inside[loud[0] : loud[-1] + 1]
    f, v = frequencies[chosen], spectrum[chosen]
    return -float(np.sum(np.sqrt((np.diff(f) / (f[-1] - f[0])) ** 2 + np.diff(v) ** 2)))


def test_the_speed_is_the_norm_of_the_change_per_second_and_ends_with_the_episode() -> None:
    line = np.arange(6.0)[:, None] * [0.03, 0.04]
    signals = Signals(recorded([line, line * 2]))
    assert signals.speed[:5] == pytest.approx(0.05 / SECONDS)
    assert signals.speed[6:11] == pytest.approx(0.1 / SECONDS)
    assert np.isnan(signals.speed[[5, 11]]).all()
    one = Signals(recorded([line]), dimensions=("[0]",))
    assert one.speed[:5] == pytest.approx(0.03 / SECONDS)


def test_rest_at_both_ends_and_in_the_middle_has_the_shares_it_was_given() -> None:
    moving = np.linspace(0, 1, 31)
    x = np.concatenate([np.zeros(10), moving, np.full(20, 1.0), 1 + moving, np.full(40, 2.0)])
    never = np.zeros(50)
    table = checked(recorded([x, smooth(100, 0)[:, 0] * 10, never]))
    n = len(x) - 1
    # the first of 31 samples repeats what stood before it, so that 10, 20 + 1 and 40 steps rest
    assert values_of(table, "idle_head")[0] == pytest.approx(10 / n)
    assert values_of(table, "idle_tail")[0] == pytest.approx(40 / n)
    assert values_of(table, "idle_middle")[0] == pytest.approx(21 / n)
    assert values_of(table, "idle")[0] == pytest.approx(71 / n)
    assert values_of(table, "idle")[1] < 0.05
    assert (values_of(table, "idle_head")[2], values_of(table, "idle_tail")[2]) == (1.0, 0.0)
    assert flags_of(table, "idle_tail") == [0]
    assert flags_of(table, "idle_head") == [2]
    line = checked(recorded([np.arange(50.0)]))
    assert values_of(line, "idle") == [0.0]


def test_the_jerk_of_a_minimum_jerk_reach_has_its_closed_value_and_is_invariant_to_scale_and_time() -> None:
    speed = np.diff(reach(4001))
    closed = -np.log(204.8)  # 720 / 1.875^2
    assert log_dimensionless_jerk(speed, 1 / 4000) == pytest.approx(closed, abs=4e-3)
    assert log_dimensionless_jerk(7 * speed, 3.0) == pytest.approx(log_dimensionless_jerk(speed, 1 / 4000))
    steps = 200
    tremor = reach(steps) + 0.002 * np.sin(np.arange(steps))
    table = checked(recorded([reach(steps), 100 * reach(steps), tremor]))
    calm, scaled, shaken = values_of(table, "log_dimensionless_jerk")
    assert calm == pytest.approx(closed, abs=0.1)
    assert calm == pytest.approx(scaled)
    assert shaken < calm - 2


@pytest.mark.parametrize(("steps", "seconds"), [(64, 0.01), (65, 0.01), (400, 0.01), (333, 1 / 30), (50, 0.2)])
def test_the_arc_length_is_the_published_one(steps: int, seconds: float) -> None:
    speed = np.abs(smooth(steps, steps)[:, 0])
    assert spectral_arc_length(speed, seconds) == pytest.approx(
        published_sparc(speed, 1 / seconds, min(10.0, 0.5 / seconds)), rel=1e-6
    )


def test_episodes_of_different_lengths_have_each_their_own_arc_length_and_jerk() -> None:
    states = [smooth(steps, steps, 3) for steps in (40, 90, 91, 260)]
    table = checked(recorded(states))
    alone = [np.linalg.norm(np.diff(x, axis=0), axis=1) for x in states]
    assert values_of(table, "spectral_arc_length") == pytest.approx([published_sparc(v, 1 / SECONDS) for v in alone])
    assert values_of(table, "log_dimensionless_jerk") == pytest.approx(
        [log_dimensionless_jerk(v, SECONDS) for v in alone]
    )


def test_more_submovements_are_less_smooth() -> None:
    once = np.diff(reach(300))
    thrice = np.concatenate([np.diff(reach(100))] * 3)
    for measure in (log_dimensionless_jerk, spectral_arc_length):
        assert measure(thrice, 0.01) < measure(once, 0.01) - 0.3


def test_a_teleport_and_a_glitch_are_jumps_where_they_are() -> None:
    teleport, glitch, clean = (smooth(200, seed, 2) for seed in range(3))
    teleport[120:] += 5.0
    glitch[60] += 5.0
    table = checked(recorded([teleport, glitch, clean]))
    assert values_of(table, "jumps") == [1.0, 2.0, 0.0]
    rows = table.filter(table["metric"] == "jumps")["row"].to_list()
    assert rows == [119, 59, None]
    assert flags_of(table, "jumps") == [0, 1]


def test_a_fast_motion_a_wrapping_angle_and_a_gripper_do_not_jump() -> None:
    fast = np.concatenate([smooth(100, 0)[:, 0] * 0.01, smooth(100, 0)[-1, 0] * 0.01 + 20 * reach(40)])
    angle = (np.arange(400) * 0.05 + np.pi) % (2 * np.pi) - np.pi
    line = np.arange(400.0)
    arm, gripper = smooth(300, 4)[:, 0], np.repeat([0.0, 1.0, 0.0], 100) * 50
    for states in ([fast], [angle], [line], [np.stack([arm, gripper], 1)]):
        assert values_of(checked(recorded(states)), "jumps") == [0.0]


def test_a_state_that_leaps_every_now_and_then_does_so_by_nature() -> None:
    x = smooth(600, 0)[:, 0]
    x[20::40] += 9.0
    table = checked(recorded([x]))
    assert values_of(table, "jumps") == [30.0]
    assert set(table.filter(table["metric"] == "jumps")["kind"]) == {"risk"}
    assert "by nature" in table.definitions["jumps"]


def test_what_is_not_finite_is_left_out_and_not_called_smooth() -> None:
    broken = smooth(100, 0)
    broken[40] = np.nan
    table = checked(recorded([broken, smooth(100, 1)]))
    assert values_of(table, "log_dimensionless_jerk")[0] is None
    assert values_of(table, "spectral_arc_length")[0] is None
    assert values_of(table, "spectral_arc_length")[1] is not None
    assert values_of(table, "idle")[0] < 0.1


def test_an_episode_of_one_step_and_one_without_motion_are_measured_as_far_as_they_go() -> None:
    table = checked(recorded([np.zeros(1), np.zeros(30), smooth(30, 0)[:, 0]]))
    wide = table.wide()
    assert wide.height == 3
    assert wide["spectral_arc_length"].null_count() == 2
    assert isinstance(recorded([np.zeros(1)]), Dataset)
    assert checked(recorded([np.zeros(1)])).wide().height == 1
