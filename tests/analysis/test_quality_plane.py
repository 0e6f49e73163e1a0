"""The quality plane shows what was measured where it was measured, and nothing elsewhere."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from assay.analysis import quality_plane
from assay.analysis.figures.quality_plane import local_regression, plane_points
from assay.datasets.errors import ConfigError

RNG = np.random.default_rng(0)
PLACES = RNG.random((24, 2))  # TQ and SACo of 24 datasets
LEARNED = {"BC": lambda tq, saco: tq, "DQN": lambda tq, saco: saco}


def runs(seeds: int = 2) -> pl.DataFrame:
    rows = [
        {
            "label": label,
            "variant": f"data {number}",
            "score": 100 * rule(*place) + 2 * (seed - 0.5),
            "path": "nowhere/run",
        }
        for label, rule in LEARNED.items()
        for number, place in enumerate(PLACES)
        for seed in range(seeds)
    ]
    return pl.DataFrame(rows)


def quality() -> pl.DataFrame:
    rows = [
        {"variant": f"data {number}", "metric": metric, "value": value}
        for number, place in enumerate(PLACES)
        for metric, value in zip(("tq", "saco"), place.tolist(), strict=True)
    ]
    return pl.DataFrame(rows)


def test_a_point_is_a_dataset_at_its_measures_and_the_mean_of_its_seeds():
    points = plane_points(runs(), quality())
    assert len(points) == 2 * 24
    for label, rule in LEARNED.items():
        own = points.filter(pl.col("label") == label)
        assert np.allclose(own.select("tq", "saco").to_numpy(), PLACES)
        assert np.allclose(own["performance"], [rule(*place) for place in PLACES])
        assert own["seeds"].to_list() == [2] * 24


def test_each_algorithm_has_a_panel_whose_colour_rises_with_what_it_needs():
    figure = quality_plane(runs(), quality())
    panels = {axes.get_title(): axes for axes in figure.axes if axes.get_title()}
    assert list(panels) == ["BC", "DQN"]
    for label, axes in panels.items():
        (points,) = axes.collections
        assert np.allclose(points.get_offsets(), PLACES)
        assert np.allclose(points.get_array(), [LEARNED[label](*place) for place in PLACES])
        (image,) = axes.images
        surface = np.ma.filled(image.get_array(), np.nan)  # rows are SACo, columns TQ
        along_tq, along_saco = (np.nanmean(np.diff(surface, axis=axis)) for axis in (1, 0))
        assert (along_tq > 5 * abs(along_saco)) == (label == "BC")
        assert (along_saco > 5 * abs(along_tq)) == (label == "DQN")


def test_where_nothing_was_measured_nothing_is_drawn():
    near = PLACES[:, 0] < 0.3
    few = runs().filter(
        pl.col("variant").is_in([f"data {number}" for number in np.flatnonzero(near)] + ["data 0", "data 1"])
    )
    far = pl.DataFrame({"variant": ["data 0", "data 0"], "metric": ["tq", "saco"], "value": [5.0, 5.0]})
    measured = pl.concat([quality().filter(pl.col("variant") != "data 0"), far])
    (image,) = quality_plane(few, measured).axes[0].images
    surface = np.ma.filled(image.get_array(), np.nan)
    assert np.isnan(surface[20, 20])  # between the crowd and the one far away
    assert np.isnan(surface).mean() > 0.5


def test_the_regression_is_exact_for_a_plane_and_smooth_elsewhere():
    values = PLACES @ [2.0, -3.0] + 1.0
    asked = RNG.random((10, 2))
    assert np.allclose(local_regression(PLACES, values, asked, 0.3), asked @ [2.0, -3.0] + 1.0, atol=1e-6)


@pytest.mark.parametrize(
    ("message", "table", "measured"),
    [
        ("no run has a score", runs().with_columns(score=pl.lit(None, pl.Float64)), quality()),
        ("no variant has a value of saco", runs(), quality().filter(pl.col("metric") == "tq")),
        ("are not those whose", runs(), quality().with_columns(variant=pl.lit("other"))),
    ],
)
def test_what_is_lacking_is_named(message, table, measured):
    with pytest.raises(ConfigError, match=message):
        quality_plane(table, measured)


def test_three_datasets_have_points_and_no_surface():
    few = runs().filter(pl.col("variant").is_in(["data 0", "data 1", "data 2"]))
    assert all(not axes.images for axes in quality_plane(few, quality()).axes if axes.get_title())
