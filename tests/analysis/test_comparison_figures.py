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
    plot_judge_quality,
    plot_performance_profiles,
    plot_return_histograms,
    plot_robustness,
    plot_sample_efficiency,
    plot_score_map,
    plot_tuning_curve,
    sample_efficiency,
    score_table,
)
from assay.analysis.figures import SERIES, number_text
from assay.analysis.page import WIDTHS
from assay.corruption import RandomCorruption
from assay.datasets import Dataset
from assay.datasets.errors import ConfigError, UnknownNameError
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


def test_a_map_of_scores_has_a_cell_per_algorithm_and_variant(shared_example: Path) -> None:
    runs = load_runs(shared_example)
    axes = plot_score_map(runs)
    (mesh,) = axes.collections
    table = score_table(runs, "score", ["label"])
    colours = np.asarray(mesh.get_array()).ravel()
    assert sorted(colours) == pytest.approx(sorted(table["mean"].to_list()))
    cells = [item.get_text() for item in axes.texts]
    assert len(cells) == table.height == 4
    row = table.row(0, named=True)
    assert any(f"{number_text(row['low'])} to {number_text(row['high'])}" in text for text in cells)
    assert [item.get_text() for item in axes.get_xticklabels()] == ["BC", "TD3+BC"]
    with pytest.raises(ConfigError, match="no run to plot"):
        plot_score_map(runs.clear())


def robustness_runs() -> pl.DataFrame:
    rate = "transform/corruption.random/rate"
    rows = [
        {"variant": f"rewards {value}" if value else "clean", "seed": seed, "label": label, "algorithm": label.lower()}
        | {rate: value or None, "transforms": int(value > 0), "score": 90.0 - drop * value + seed}
        for label, drop in (("BC", 0.0), ("IQL", 100.0))
        for value in (0.0, 0.3, 0.6)
        for seed in range(3)
    ]
    constant = {
        "dataset": "d",
        "environment": "e",
        "references": "D4RL",
        "status": "finished",
        "noise": None,
        "episodes": 10,
    }
    return pl.DataFrame([row | constant for row in rows])


def test_robustness_begins_at_the_untouched_data_and_follows_the_rate() -> None:
    runs = robustness_runs()
    axes = plot_robustness(runs)
    assert [line.get_xdata().tolist() for line in axes.lines] == [[0.0, 0.3, 0.6]] * 2  # type: ignore[union-attr]
    assert axes.lines[0].get_ydata() == pytest.approx([91.0, 91.0, 91.0])
    assert axes.lines[1].get_ydata() == pytest.approx([91.0, 61.0, 31.0])
    corners = band(axes, 1)
    assert corners[:, 1].min() == pytest.approx(30.0)
    assert "rate of corruption.random" in words(axes)
    with pytest.raises(UnknownNameError, match=r"did you mean .transform/corruption\.random/rate"):
        plot_robustness(runs, "transform/corruption.random/rat")
    with pytest.raises(ConfigError, match="no run has"):
        plot_robustness(runs.filter(transforms=0))
    with pytest.raises(ConfigError, match="not numbers"):
        plot_robustness(runs, "variant")


def test_judges_stand_side_by_side_with_their_intervals() -> None:
    def measured(value: float) -> pl.DataFrame:
        rows = [("sensitivity", value, value - 0.1, value + 0.05), ("trials for one", 2.8, 2.0, 4.0)]
        return pl.DataFrame(rows, schema=["measure", "value", "low", "high"], orient="row")

    axes = plot_judge_quality({"teacher": measured(0.9), "model": measured(0.6)})
    assert [line.get_xdata()[0] for line in axes.lines] == [0.9, 0.6]  # type: ignore[index]
    spans = [np.asarray(item.get_segments()[0])[:, 0].tolist() for item in axes.collections]  # type: ignore[attr-defined]
    assert spans == [pytest.approx([0.8, 0.95]), pytest.approx([0.5, 0.65])]
    text = words(axes)
    assert "sensitivity" in text
    assert "trials" not in text  # no rate
    assert "model" in text
    with pytest.raises(ConfigError, match="no judge"):
        plot_judge_quality({})
    with pytest.raises(ConfigError, match="pass what judge_quality"):
        plot_judge_quality({"model": pl.DataFrame({"a": [1]})})


@pytest.mark.parametrize("width", WIDTHS.values())
def test_no_text_is_cut_and_none_overlaps_the_panel(shared_example: Path, width: int) -> None:
    runs = load_runs(shared_example)
    profiles = performance_profiles(runs)
    axes_of = [
        plot_performance_profiles(profiles, width_pixels=width),
        plot_cost(runs, width_pixels=width),
        plot_robustness(robustness_runs(), width_pixels=width),
        plot_score_map(runs, width_pixels=width),
    ]
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
        written = [*figure.texts, *(item for made in figure.legends for item in made.get_texts()), axes.xaxis.label]
        assert not [item.get_text() for item in written if item.get_window_extent().overlaps(panel)]
