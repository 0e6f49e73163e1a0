"""What is advised at a place follows from the measured datasets near it, by hand-worked planes; elsewhere nothing is."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.analysis.advice import advice_on, compare_algorithms, evidence_plane, load_evidence, near_evidence
from assay.analysis.advice.advice import Place
from assay.analysis.advice.evidence import COLUMNS
from assay.datasets.errors import ConfigError, FormatError


def evidence(*datasets: tuple[float, float, dict[str, list[float]]], actions: str = "discrete") -> pl.DataFrame:
    """Return runs: each dataset is (TQ, SACo, performance of the seeds by algorithm)."""
    rows = [
        {
            "suite": "hand small",
            "environment": "CartPole-v1",
            "actions": actions,
            "dataset": f"data {number}",
            "steps": 1_000,
            "tq": tq,
            "saco": saco,
            "algorithm": label.lower(),
            "label": label,
            "seed": seed,
            "updates": 10,
            "episodes": 1,
            "return_mean": 100 * performance,
            "performance": performance,
            "command": "assay run hand.yaml",
        }
        for number, (tq, saco, learned) in enumerate(datasets)
        for label, seeds in learned.items()
        for seed, performance in enumerate(seeds)
    ]
    return pl.DataFrame(rows, schema=COLUMNS)


# Imitation is right at high quality, Q-learning at high coverage; three datasets at each of the two places.
TWO_PLACES = evidence(
    *[(0.9, 0.1 + shift, {"BC": [0.9, 0.9], "DQN": [0.1, 0.2]}) for shift in (0.0, 0.05, 0.1)],
    *[(0.3 + shift, 1.0, {"BC": [0.3, 0.3], "DQN": [0.8, 1.0]}) for shift in (0.0, 0.05, 0.1)],
)


def advised(tq: float | None, saco: float | None, table: pl.DataFrame = TWO_PLACES, **options):
    options = {"environment": "CartPole-v1", **options}
    return advice_on("mine", Place(tq, saco), table, **options)


def test_what_is_advised_depends_on_the_place():
    assert advised(0.9, 0.15).advised == "BC"
    assert advised(0.35, 1.0).advised == "DQN"


def test_the_numbers_are_means_over_datasets_of_means_over_seeds():
    table = evidence(
        (0.5, 0.5, {"BC": [0.0, 1.0], "DQN": [0.2]}),  # of two runs, and of one
        (0.5, 0.6, {"BC": [0.8], "DQN": [0.4]}),
        (0.5, 0.7, {"BC": [0.8], "DQN": [0.3]}),
    )
    bc, dqn = advised(0.5, 0.5, table).table.iter_rows(named=True)
    assert (bc["algorithm"], bc["datasets"], bc["runs"], bc["nearest"]) == ("BC", 3, 4, 0.0)
    assert bc["performance"] == pytest.approx((0.5 + 0.8 + 0.8) / 3)
    assert dqn["behind"] == pytest.approx((0.3 + 0.4 + 0.5) / 3)
    assert 0.3 <= dqn["behind_low"] <= dqn["behind"] <= dqn["behind_high"] <= 0.5
    assert dqn["verdict"] == "worse"


def test_what_wins_on_some_datasets_and_loses_on_others_is_not_shown_to_be_worse():
    table = evidence(*[(0.5, 0.5, {"BC": [0.5], "DQN": [0.5 + gap]}) for gap in (0.1, 0.1, -0.1)])
    advice = advised(0.5, 0.5, table)
    assert advice.table["verdict"].to_list() == ["advised", "not shown to be worse"]
    assert "Not shown to be worse: BC" in advice.headline


def test_two_datasets_allow_no_interval_and_the_advice_says_so():
    advice = advised(0.5, 0.5, evidence(*[(0.5, 0.5, {"BC": [0.9], "DQN": [0.1]})] * 2))
    assert advice.table["verdict"].to_list() == ["advised", "too few datasets to tell"]
    assert advice.table["low"].null_count() == advice.table["behind_low"].null_count() == 2
    assert "no interval" in advice.headline


def test_algorithms_are_compared_on_the_datasets_that_both_were_trained_on():
    easy, hard = (0.5, 0.5, {"BC": [1.0], "DQN": [0.9]}), (0.5, 0.5, {"DQN": [0.1]})
    bc, dqn = advised(0.5, 0.5, evidence(easy, easy, easy, hard)).table.iter_rows(named=True)
    assert (bc["datasets"], dqn["datasets"]) == (3, 4)
    assert dqn["behind"] == pytest.approx(0.1)  # not the difference of the means, 0.3


@given(st.floats(0, 1), st.floats(0, 1), st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=9))
def test_near_is_the_distance_on_the_plane(tq, saco, places):
    table = evidence(*[(*place, {"BC": [0.5]}) for place in places])
    found = near_evidence(table, tq, saco, 0.3)
    expected = sorted(math.dist((tq, saco), place) for place in places)
    assert np.allclose(found["distance"], [distance for distance in expected if distance <= 0.3])


# -------------------------------------------------------------------- refusal


def test_far_from_everything_there_is_no_advice_but_the_nearest_dataset_and_its_distance():
    advice = advised(0.9, 0.6)
    assert advice.advised is None
    assert advice.table.is_empty()
    assert advice.evidence.is_empty()
    assert "data 2 at TQ 0.90 and SACo 0.20, is 0.40 away" in advice.refusal
    assert advised(0.9, 0.6, radius=0.41).advised == "BC"


def test_a_place_that_is_not_known_is_near_to_nothing():
    advice = advice_on("mine", Place(None, 0.5, obstacles=("there are no rewards",)), TWO_PLACES)
    assert "there are no rewards" in advice.refusal


def test_evidence_of_other_actions_does_not_count():
    advice = advised(0.9, 0.15, actions="continuous")
    assert advice.refusal == "nothing was measured with continuous actions"


def test_a_radius_that_is_not_positive_is_refused():
    with pytest.raises(ConfigError, match="radius"):
        advised(0.9, 0.15, radius=0.0)


# -------------------------------------------------------------------- extrapolation


@pytest.mark.parametrize(
    ("tq", "saco", "text"),
    [
        (1.0, 0.15, "TQ 1.00 is extrapolated: measured datasets have 0.30 to 0.90"),
        (0.35, 1.2, "SACo 1.20 is extrapolated: measured datasets have 0.10 to 1.00"),
        (0.8, 0.12, "outside of the region"),  # within both ranges, but left of the lower group
    ],
)
def test_a_place_beyond_what_was_measured_is_said_to_be_extrapolated(tq, saco, text):
    advice = advised(tq, saco)
    assert advice.advised is not None
    (warning,) = advice.warnings
    assert text in warning


def test_between_measured_datasets_nothing_is_extrapolated():
    assert advised(0.9, 0.15).warnings == ()
    assert (
        advised(
            0.7, 0.4, evidence(*[(*place, {"BC": [1.0]}) for place in ((0.6, 0.3), (0.9, 0.3), (0.7, 0.6))])
        ).warnings
        == ()
    )


def test_datasets_on_a_line_span_no_region():
    line = evidence(*[(place, place, {"BC": [1.0]}) for place in (0.4, 0.5, 0.6)])
    assert advised(0.5, 0.5, line).warnings == ()
    assert "outside of the region" in advised(0.5, 0.45, line).warnings[0]


def test_other_environments_uncertain_places_and_saturated_grids_are_warned_of():
    sure = advice_on("mine", Place(0.9, 0.15, (0.8, 1.0), 0.3), TWO_PLACES, environment="CartPole-v1")
    unsure = advice_on("mine", Place(0.9, 0.15, (0.2, 1.0), 0.99), TWO_PLACES, environment="MountainCar-v0")
    assert sure.warnings == ()
    assert [any(word in warning for warning in unsure.warnings) for word in ("interval", "sizes", "CartPole-v1")] == [
        True
    ] * 3


# -------------------------------------------------------------------- what is shown


def test_the_page_and_the_terminal_show_the_table_the_findings_and_the_commands(tmp_path):
    advice = advised(0.9, 0.15)
    text, page = str(advice), advice.write(tmp_path / "advice.html").read_text()
    for label in ("BC", "DQN"):
        assert label in text
        assert label in advice._repr_html_()
    assert advice.headline in page
    assert repr(advice) == "<Advice on mine: BC>"
    assert page.count("assay run hand.yaml") == 3  # one per near dataset
    with pytest.raises(ConfigError, match="exists already"):
        advice.write(tmp_path / "advice.html", overwrite=False)


def test_the_plane_has_a_panel_for_each_algorithm_and_a_cross_at_the_place():
    figure = evidence_plane(TWO_PLACES, Place(0.5, 0.5))
    panels = {axes.get_title(): axes for axes in figure.axes if axes.get_title()}
    assert set(panels) == {"BC", "DQN"}
    for label, axes in panels.items():
        places = axes.collections[0].get_offsets()
        assert sorted(map(tuple, places.tolist())) == sorted(TWO_PLACES.select("tq", "saco").unique().rows())
        assert [line.get_xydata().tolist() for line in axes.lines] == [[[0.5, 0.5]]], label
    assert all(not axes.lines for axes in evidence_plane(TWO_PLACES).axes if axes.get_title())


def test_names_from_files_are_escaped(tmp_path):
    advice = advice_on("<script>", Place(0.9, 0.15), TWO_PLACES)
    assert "<script>" not in advice.write(tmp_path / "advice.html").read_text()


# -------------------------------------------------------------------- the table that is shipped


def test_the_shipped_runs_lie_on_the_plane_and_hold_their_commands():
    table = load_evidence()
    assert table.height > 100
    assert table.select(pl.col("tq", "saco", "performance").is_finite().all()).row(0) == (True,) * 3
    assert table["command"].str.starts_with("assay run suites/").all()
    assert table.filter(pl.col("scheme") == "replay")["saco"].unique().to_list() == [1.0]
    assert table.select("dataset", "label", "seed").is_duplicated().sum() == 0


def test_a_file_that_is_no_evidence_is_refused_by_what_it_lacks(tmp_path):
    TWO_PLACES.drop("tq", "saco").write_parquet(tmp_path / "other.parquet")
    with pytest.raises(FormatError, match=r"lacks the columns tq, saco"):
        load_evidence(tmp_path / "other.parquet")
    (tmp_path / "text.parquet").write_text("no table")
    with pytest.raises(FormatError, match="no table of evidence"):
        load_evidence(tmp_path / "text.parquet")


def test_comparing_nothing_gives_the_columns_without_rows():
    empty = compare_algorithms(near_evidence(TWO_PLACES, 9.0, 9.0))
    assert empty.is_empty()
    assert empty.columns == compare_algorithms(near_evidence(TWO_PLACES, 0.9, 0.15)).columns
