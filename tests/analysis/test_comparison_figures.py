"""Figures of profiles, efficiency, cost and returns: what their artists show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from assay.analysis import (
    load_runs,
    performance_profiles,
    plot_cost,
    plot_performance_profiles,
    plot_return_histograms,
    plot_sample_efficiency,
    plot_tuning_curve,
    sample_efficiency,
)
from assay.analysis.figures import SERIES
from assay.analysis.page import WIDTHS
from assay.corruption import RandomCorruption
from assay.datasets import Dataset
from assay.datasets.errors import ConfigError
from tests.baselines.problems import pendulum_like

Make = Callable[..., Path]


def words(axes: Axes) -> str:
    assert isinstance(axes.figure, Figure)
    return " ".join(item.get_text() for item in axes.figure.findobj(Text) if isinstance(item, Text)).replace("\n", " ")


def band(axes: Axes, index: int) -> np.ndarray:
    return np.asarray(axes.collections[index].get_paths()[0].vertices)


def test_a_profile_is_a_line_with_its_band_and_says_what_is_behind_it(shared_example: Path) -> None:
    table = performance_profiles(load_runs(shared_example))
    axes = plot_performance_profiles(table)
    for index, name in enumerate(("BC", "TD3+BC")):
        part = table.filter(label=name)
        np.testing.assert_allclose(axes.lines[index].get_xdata(), part["threshold"])
        np.testing.assert_allclose(axes.lines[index].get_ydata(), part["share"])
        assert axes.lines[index].get_color() == SERIES[index]
        corners = band(axes, index)
        assert corners[:, 1].min() == pytest.approx(part["low"].min())
        assert corners[:, 1].max() == pytest.approx(part["high"].max())
    text = words(axes)
    assert "2 tasks, 3 seeds, 2 episodes." in text
    assert "TD3+BC" in text
    assert axes.lines[0].get_marker() != axes.lines[1].get_marker()


def test_efficiency_is_drawn_over_updates_from_zero(folder: Path, run: Make) -> None:
    for seed in range(3):
        run(folder, seed=seed, earlier={1000: (100.0 * seed,)}, returns=(500.0 + seed,))
    table = sample_efficiency(load_runs(folder))
    axes = plot_sample_efficiency(table)
    (line,) = axes.lines
    assert list(line.get_xdata()) == [1000, 3000]
    np.testing.assert_allclose(line.get_ydata(), table["iqm"])
    assert axes.get_xlim()[0] == 0
    assert "Gradient updates" in words(axes)


def test_a_tuning_curve_begins_with_a_blind_choice() -> None:
    counts = {"seeds": 1, "tasks": 2, "episodes": 10}
    table = pl.DataFrame({"algorithm": "iql", "pulls": [0, 1, 2], "mean": [10.0, 12.0, 20.0], **counts}).with_columns(
        low=pl.lit(None, pl.Float64), high=pl.lit(None, pl.Float64)
    )
    axes = plot_tuning_curve(table)
    assert list(axes.lines[0].get_ydata()) == [10.0, 12.0, 20.0]
    assert not axes.collections  # a single seed has no band


def test_cost_stands_at_the_median_seconds_and_the_mean_score(shared_example: Path) -> None:
    runs = load_runs(shared_example)
    seconds = pl.when(pl.col("label") == "BC").then(pl.col("seed") + 1.0).otherwise(100.0 + pl.col("seed"))
    axes = plot_cost(runs.with_columns(seconds=seconds))
    points = [(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines]  # type: ignore[index]
    assert points == [(2.0, pytest.approx(42.0)), (101.0, pytest.approx(42.0))]
    assert axes.get_xscale() == "log"
    spans = [np.asarray(item.get_segments()[0]) for item in axes.collections]  # type: ignore[attr-defined]
    assert spans[0][:, 0].tolist() == [1.0, 3.0]
    assert spans[1][0, 1] < 42.0 < spans[1][1, 1]
    with pytest.raises(ConfigError, match="how long it took"):
        plot_cost(runs.with_columns(seconds=pl.lit(None, pl.Float64)))


def test_returns_before_and_after_are_shares_on_the_same_bins_with_their_means() -> None:
    before = pendulum_like()
    after = RandomCorruption(element="rewards", rate=0.5, scale=5.0)(before)
    axes = plot_return_histograms(before, after)
    means = [line.get_xdata()[0] for line in axes.lines if len(set(line.get_xdata())) == 1]  # type: ignore[index, arg-type]
    assert pytest.approx(before.returns.mean()) in means
    assert pytest.approx(after.returns.mean()) in means
    text = words(axes)
    assert "rewards 0.5" in text
    assert f"after: {after.total_episodes:,} episodes" in text


def test_tables_of_another_kind_are_refused_in_words(shared_example: Path) -> None:
    runs = load_runs(shared_example)
    for draw, source in (
        (plot_performance_profiles, "performance_profiles"),
        (plot_sample_efficiency, "sample_efficiency"),
        (plot_tuning_curve, "tuning_curve"),
    ):
        with pytest.raises(ConfigError, match=f"pass what {source} returns"):
            draw(runs)
    with pytest.raises(ConfigError, match="nothing to plot"):
        plot_performance_profiles(performance_profiles(runs).clear())
    with pytest.raises(ConfigError, match="no run to plot"):
        plot_cost(runs.clear())


def test_a_dataset_without_finite_returns_is_refused() -> None:
    data = Dataset.from_arrays(
        observations=np.arange(4.0),
        actions=np.zeros((3, 1)),
        rewards=np.full(3, np.nan),
        terminations=np.array([False, False, True]),
        truncations=np.zeros(3, bool),
    )
    with pytest.raises(ConfigError, match="the dataset before has no finite return"):
        plot_return_histograms(data, data)


@pytest.mark.parametrize("width", WIDTHS.values())
def test_no_text_is_cut_and_none_overlaps_the_panel(shared_example: Path, width: int) -> None:
    runs = load_runs(shared_example)
    profiles = performance_profiles(runs)
    axes_of = [plot_performance_profiles(profiles, width_pixels=width), plot_cost(runs, width_pixels=width)]
    for axes in axes_of:
        figure = axes.figure
        assert isinstance(figure, Figure)
        figure.draw_without_rendering()
        assert figure.get_size_inches()[0] * 100 == pytest.approx(width)
        frame, panel = figure.get_tightbbox(), axes.get_window_extent()
        assert frame.x0 >= 0
        assert frame.y0 >= 0
        assert frame.x1 <= width / 100
        assert frame.y1 <= figure.get_size_inches()[1]
        written = [*figure.texts, *figure.legends[0].get_texts(), axes.xaxis.label]
        assert not [item.get_text() for item in written if item.get_window_extent().overlaps(panel)]
