"""The table per episode, the findings, and the datasets that people have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import assay
from assay.datasets import Dataset
from assay.datasets.errors import ConfigError, UnknownNameError
from assay.metrics import assess
from assay.metrics.robot import RobotChecks, Score, episode_check, validate_robot
from assay.metrics.robot.checks import _REGISTRY, robust_z
from assay.metrics.robot.episode_table import EpisodeTable, spearman
from tests.datasets.test_shared_robot_data import FILES

from .recordings import checked, flags_of, recorded, smooth, values_of

ROBOT = Path(__file__).parents[4] / "shared" / "data" / "robot"


def several(count: int = 12) -> Dataset:
    movements = [smooth(62 + 10 * seed, seed, 2) for seed in range(count)]
    return recorded(
        [movement[:-2] for movement in movements],
        [movement[2:] for movement in movements],
        names={"observations": ("hip", "left_knee")},
    )


def test_the_table_has_a_row_per_episode_metric_and_dimension_and_wide_one_per_episode() -> None:
    table = checked(several())
    held = table.filter(table["metric"] == "held")
    assert held.height == 24
    assert held["dimension"].unique(maintain_order=True).to_list() == ["hip", "left_knee"]
    wide = table.wide()
    assert wide.height == 12
    assert wide["length"].to_list() == [60 + 10 * i for i in range(12)]
    by_episode = held.group_by("episode", maintain_order=True).max()
    assert wide["held"].to_list() == by_episode["value"].to_list()
    assert set(table["kind"]) <= {"defect", "risk", None}
    assert not table.filter(table["kind"].is_null())["flagged"].any()
    risks = table.filter(table["kind"] == "risk").group_by("episode")
    flagged = risks.agg(pl.col("metric").filter("flagged").n_unique())
    assert dict(flagged.rows()) == dict(enumerate(wide["risks"].to_list()))


def test_every_score_is_printed_with_its_correlation_with_the_length() -> None:
    table = checked(several())
    text = str(table)
    assert "rank correlation with the length" in text
    for metric in set(table["metric"]) - {"length"}:
        assert metric in text.partition("rank correlation")[2], metric
    correlations = dict(table.correlations.select("metric", "spearman").rows())
    assert correlations["duration"] == 1.0
    assert "Rank correlation" in table._repr_html_()


def test_the_correlation_is_spearman_s_with_ties_and_its_interval_covers() -> None:
    from scipy.stats import spearmanr

    generator = np.random.default_rng(0)
    lengths = generator.integers(10, 20, 40)
    values = lengths + generator.integers(0, 9, 40)
    value, interval, count = spearman(values.astype(float), lengths)
    assert value == pytest.approx(spearmanr(values, lengths).statistic)
    assert interval is not None
    assert interval[0] < value < interval[1]
    assert count == 40
    covered = 0
    for _ in range(200):
        x = generator.standard_normal((2, 30))
        inside = spearman(x[0], np.argsort(np.argsort(x[1])))[1]
        covered += inside is not None and inside[0] <= 0 <= inside[1]
    assert 0.9 < covered / 200 < 0.985
    assert spearman(np.ones(10), np.arange(10))[:2] == (None, None)


def test_one_long_episode_is_an_outlier_and_a_repeated_one_is_found() -> None:
    states = [smooth(100 + seed, seed, 2) for seed in range(8)]
    states += [smooth(1000, 8, 2), states[3].copy()]
    table = checked(recorded(states, [s * 2 for s in states]))
    assert flags_of(table, "length_outlier") == [8]
    assert values_of(table, "repeated") == [0.0] * 9 + [1.0]
    assert flags_of(table, "repeated") == [9]
    z = robust_z(np.log([100.0, 110, 120, 130, 1000]))
    assert abs(z[:4]).max() < 3.5 < z[4]


def test_success_is_looked_for_in_the_last_second() -> None:
    success = np.zeros(200, bool)
    success[75:100], success[120:130] = True, True
    table = checked(recorded([smooth(100, 0), smooth(100, 1)], columns={"infos/success": success}))
    assert values_of(table, "success_at_end") == [0.5, 0.0]
    assert flags_of(table, "success_at_end") == [1]
    assert "success_at_end" not in set(checked(several())["metric"])


def test_limits_are_the_user_s() -> None:
    dataset = several()
    assert flags_of(checked(dataset, limits={"chatter": 0.0}), "chatter") == list(range(12))
    assert flags_of(checked(dataset, limits={"chatter": None}), "chatter") == []
    assert flags_of(checked(dataset, limits={"length": 100}), "length") == list(range(5, 12))  # a fact becomes a risk
    for checks, what in (
        ({"limits": {"chater": 1.0}}, "chatter"),
        ({"idle_sped": 1.0}, "idle_speed"),
        ({"state": "joints"}, "column of a state"),
        ({"dimensions": ("knee",)}, "left_knee"),
    ):
        with pytest.raises(UnknownNameError, match=what):
            checked(dataset, **checks)
    with pytest.raises(ConfigError, match="idle_speed"):
        checked(dataset, idle_speed=-1)


def test_selections_are_checks_metrics_and_any_other_metric_on_each_episode_alone() -> None:
    dataset = several(5)
    assert set(assess(dataset, per="episode", select=["idle"])["metric"]) == {
        "idle",
        "idle_head",
        "idle_middle",
        "idle_tail",
    }
    assert set(assess(dataset, per="episode", select=["idle_tail", "length"])["metric"]) == {"idle_tail", "length"}
    table = assess(dataset, per="episode", select=["length_mean", "length"])
    assert values_of(table, "length_mean") == values_of(table, "length")
    assert dataset.history == ()
    with pytest.raises(UnknownNameError, match="idle_tail"):
        assess(dataset, per="episode", select=["idle_tale"])
    with pytest.raises(UnknownNameError, match="episode"):
        assess(dataset, per="episodes")  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match="per episode"):
        assess(dataset, checks={})  # type: ignore[call-overload]


def test_a_check_of_one_s_own_is_one_function() -> None:
    @episode_check("twice")
    def twice(recording):
        yield Score("double_length", 2.0 * recording.lengths, "steps", "risk", 130.0, definition="twice the length")

    try:
        table = checked(several(3))
        assert flags_of(table, "double_length") == [1, 2]
        assert any(finding.check == "double_length" for finding in validate_robot(several(3)).findings)
    finally:
        _REGISTRY.remove("twice")


def test_defects_are_errors_with_their_place_and_risks_never_are() -> None:
    states = [smooth(300, seed, 2) for seed in range(4)]
    states[1][100:] += 9.0
    states[2][150:] = states[2][150]
    report = validate_robot(recorded(states, names={"observations": ("hip", "knee")}))
    errors = [item for item in report.findings if item.severity == "error"]
    assert [(item.check, item.episode, item.row) for item in errors] == [("jumps", 1, 99)]
    risks = [item for item in report.findings if item.severity == "risk"]
    assert "idle_tail" in {item.check for item in risks}
    assert not report.ok
    assert re.match(r"\d+ checks: 1 errors, \d+ warnings, \d+ risks", str(report))
    assert [item.severity for item in report.findings] == sorted(
        (item.severity for item in report.findings), key=("error", "warning", "risk").index
    )


def test_a_clean_recording_has_neither_defects_nor_risks() -> None:
    report = validate_robot(several())
    assert [item for item in report.findings if item.severity != "warning"] == []


def test_final_observations_that_no_robot_records_are_a_note() -> None:
    dataset = several()
    without = Dataset(
        {name: dataset.column(name) for name in dataset.columns},
        dataset.episode_lengths,
        info=dataset.info,
        episode_columns={"final_observation": np.zeros(dataset.total_episodes, bool)},
    )
    before, after = (
        {(finding.check, finding.severity) for finding in validate_robot(made).findings} for made in (dataset, without)
    )
    assert after - before == {("final observation", "note")}


def test_images_alone_are_said_to_have_no_state_and_the_rest_is_checked() -> None:
    images = [np.random.default_rng(0).integers(0, 9, (30, 4, 4, 3)).astype(np.uint8)]
    with pytest.warns(assay.datasets.errors.AssayWarning, match="no observation is a vector"):
        table = assess(recorded(images), per="episode", select="robot")
    assert "length" in set(table["metric"])
    assert "jumps" in table.skipped


def test_blocks_of_any_size_and_order_of_episodes_do_not_change_a_score() -> None:
    dataset = several(6)
    order = [4, 0, 5, 2, 1, 3]
    straight, mixed = checked(dataset).wide(), checked(dataset.select(order)).wide()
    for name in straight.columns:
        if name not in ("episode", "repeated"):
            one, two = straight[name].to_numpy()[order], mixed[name].to_numpy()
            np.testing.assert_allclose(one.astype(float), two.astype(float), rtol=1e-9, err_msg=name)


def test_the_table_is_a_frame_also_without_scores() -> None:
    assert EpisodeTable([], np.array([3])).wide()["risks"].to_list() == [0]


@pytest.mark.skipif(not ROBOT.is_dir(), reason="real robot data lies beside the repository only")
@pytest.mark.filterwarnings("ignore::assay.datasets.errors.AssayWarning")
def test_the_g1_set_has_no_error_and_its_lengths_are_known_to_confound_the_jerk() -> None:
    dataset = assay.load(ROBOT / "g1_lerobot_v21")
    table = checked(dataset)
    report = validate_robot(dataset, table=table)
    assert report.ok, report
    wide = table.wide()
    assert (wide.height, wide["length"].min(), wide["length"].max(), wide["length"].sum()) == (100, 221, 583, 35_965)
    assert (wide["defects"] == 0).all()
    assert (wide["unchanging"] == 0).all()
    assert "look absolute" in table.definitions["action_lag"]
    correlations = dict(table.correlations.select("metric", "spearman").rows())
    assert correlations["log_dimensionless_jerk"] < -0.7
    assert "kLeftElbow" in set(table["dimension"])


@pytest.mark.skipif(not ROBOT.is_dir(), reason="real robot data lies beside the repository only")
@pytest.mark.filterwarnings("ignore::assay.datasets.errors.AssayWarning")
@pytest.mark.parametrize("name", [name for name in FILES if name != "g1_lerobot_v21"])
def test_no_real_recording_has_a_false_error(name: str) -> None:
    report = validate_robot(assay.load(ROBOT / name, **FILES[name][1]))
    assert [str(finding) for finding in report.findings if finding.severity == "error"] == []


@pytest.mark.parametrize("element", ["rewards", "actions"])
def test_recordings_without_labels_are_checked_as_far_as_they_go(element: str) -> None:
    dataset = several(5)
    whole, table = checked(dataset), checked(dataset.replace({element: None}))
    assert values_of(table, "idle_tail") == values_of(whole, "idle_tail")
    assert ("action_lag" in set(table["metric"])) is (element == "rewards")
    assert validate_robot(dataset.replace({element: None})).ok


@pytest.mark.parametrize(
    "wrong",
    [{"limits": {"jumps": "far"}}, {"limits": 3}, {"gap": 0.5}, {"gap": True}, {"idle_sped": 0.1}, {"rate": -1}],
)
def test_impossible_settings_are_one_clear_error_however_they_are_given(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ConfigError, match=f"^checks: .*{name}") as caught:
        RobotChecks(**wrong)
    assert "\n" not in str(caught.value)
    with pytest.raises((ConfigError, UnknownNameError), match=name):
        assess(several(2), per="episode", checks=wrong)


def test_the_checks_of_episodes_are_not_asked_of_the_whole() -> None:
    with pytest.raises(ConfigError, match='pass per="episode" too'):
        assess(several(2), select="robot")
