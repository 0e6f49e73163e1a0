from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from assay.analysis import load_quality, load_runs, plot_curves, plot_quality, plot_scores
from assay.analysis.figures import GRID, INK, MUTED, SERIES, DatasetView, plot_marginals
from assay.analysis.figures.dataset_view import dimension_names
from assay.analysis.page import WIDTHS
from assay.datasets import Dataset
from assay.datasets.errors import ConfigError

Make = Callable[..., Path]


def words(figure: Figure) -> str:
    return "\n".join(item.get_text() for item in figure.findobj(Text) if isinstance(item, Text))


def test_scores_show_every_seed_the_mean_and_the_datas_own_score(shared_example: Path) -> None:
    figure = plot_scores(load_runs(shared_example))
    (axes,) = figure.axes
    drawn = {}  # scores of the seeds by algorithm (one collection each) and row
    for algorithm, collection in zip(("BC", "TD3+BC"), axes.collections, strict=True):
        for score, row in np.asarray(collection.get_offsets()):
            drawn.setdefault((algorithm, row), []).append(score)
    expected = {"BC": [[40, 42, 44], [39, 42, 45]], "TD3+BC": [[60, 62, 64], [20, 21, 25]]}
    for algorithm, rows in expected.items():
        mine = [values for (name, _), values in sorted(drawn.items()) if name == algorithm]
        assert mine == [pytest.approx(values) for values in rows]
    points = [tuple(line.get_xdata()) for line in axes.lines]  # type: ignore[arg-type]
    doubled = [values[0] for values in points if len(values) == 2 and values[0] == values[1]]
    assert sorted(doubled) == pytest.approx([22.0, 30.0, 30.0, 42.0, 42.0, 62.0])  # four means, the data twice
    text = words(figure)
    assert "random-rewards" in text
    assert "TD3+BC" in text
    assert "D4RL hopper references" in text.replace("\n", " ")


def test_a_figure_shows_itself_in_a_notebook(shared_example: Path) -> None:
    from IPython.core.formatters import DisplayFormatter

    shown, _ = DisplayFormatter().format(plot_scores(load_runs(shared_example)))  # no backend was chosen
    assert shown["image/png"].startswith(b"\x89PNG")


@pytest.mark.parametrize("width", WIDTHS.values())
def test_no_text_is_cut_at_either_width(shared_example: Path, width: int) -> None:
    figures = [
        plot_scores(load_runs(shared_example), width_pixels=width),
        plot_quality(load_quality(shared_example), width_pixels=width),
        plot_curves(shared_example, width_pixels=width),
    ]
    for figure in figures:
        assert figure is not None
        figure.draw_without_rendering()
        assert figure.get_size_inches()[0] * 100 == pytest.approx(width)
        frame = figure.get_tightbbox()
        assert frame.x0 >= 0
        assert frame.y0 >= 0
        assert frame.x1 <= width / 100
        assert frame.y1 <= figure.get_size_inches()[1]


LONG = "hopper/medium-replay + rewards 0.3"
AWKWARD = [  # variant, metric, value, low, high: what touched the neighbour's labels or the edge of the page
    ("clean", "score", 6.54, 4.75, 88.46),
    (LONG, "score", -6.54, -88.0, 5.0),
    ("clean", "unique_state_actions", 4_230_632.0, None, None),
    (LONG, "unique_state_actions", 949_110.0, 800_000.0, 6_500_000.0),
    ("clean", "tq", 0.0654, 0.0475, 0.0846),
    (LONG, "tq", float("nan"), None, None),
    ("clean", "saco", 1.0, None, None),
    (LONG, "saco", 1.17, None, None),
]


@pytest.mark.parametrize("width", WIDTHS.values())
def test_values_collide_with_nothing_and_bars_hold_their_intervals(width: int) -> None:
    names = ["variant", "metric", "value", "low", "high"]
    quality = pl.DataFrame(AWKWARD, schema=names, orient="row").with_columns(unit=pl.lit(""))
    figure = plot_quality(quality, width_pixels=width)
    figure.draw_without_rendering()
    texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    boxes = {text: text.get_window_extent() for text in texts if not text.get_rotation()}
    values = [
        text
        for text in boxes
        if text.get_text() in ("6.54", "-6.54", "4,230,632", "949,110", "0.0654", "–", "1", "1.17")
    ]
    assert len(values) >= 8
    for text in values:
        assert boxes[text].x0 >= 0
        assert boxes[text].x1 <= width
        for other, box in boxes.items():
            assert other is text or not boxes[text].overlaps(box), (text, other)
        for axes in figure.axes:
            drawn = [patch.get_window_extent() for patch in axes.patches]
            drawn += [line.get_window_extent() for line in axes.lines]
            assert not any(boxes[text].overlaps(box) for box in drawn)
    for variant, metric, value, low, high in AWKWARD:
        if low is not None:
            held = [axes for axes in figure.axes for line in axes.lines if list(line.get_xdata()) == [low, high]]
            assert len(held) == 1, (variant, metric)
            left, right = held[0].get_xlim()
            assert left <= low <= high <= right
            assert value in [patch.get_width() for patch in held[0].patches if isinstance(patch, Rectangle)]


def test_quality_takes_what_assess_returns() -> None:
    from assay.metrics import assess

    lengths, generator = [20, 30, 10], np.random.default_rng(0)
    ends = np.isin(np.arange(60), np.cumsum(lengths) - 1)
    dataset = Dataset.from_arrays(
        observations=generator.standard_normal((63, 2)),
        actions=generator.standard_normal((60, 1)),
        rewards=generator.random(60),
        terminations=ends,
        truncations=~ends & False,
    )
    table = assess(dataset, select=["returns", "size"])
    figure = plot_quality(table)
    assert "this dataset" in words(figure)
    (bar,) = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    assert bar.get_width() == pytest.approx(table.filter(metric="return_mean")["value"].item())
    with pytest.raises(ConfigError, match="'low'"):
        plot_quality(table.drop("interval"))


def test_histograms_hold_shares_and_dimensions_have_names() -> None:
    steps = 8
    dataset = Dataset.from_arrays(
        observations=np.arange(18.0).reshape(9, 2) % 4,
        actions={"arm": np.zeros((steps, 1)), "base": np.array([0, 0, 0, 0, 0, 0, 1, 2])},
        rewards=np.ones(steps),
        terminations=np.arange(steps) == steps - 1,
        truncations=np.zeros(steps, bool),
    )
    view = DatasetView(dataset)
    assert "observation 0\nobservation 1" in words(plot_marginals(view, "observations"))
    figure = plot_marginals(view, "actions")
    assert "arm 0\nbase" in words(figure)
    outline = figure.axes[1].collections[0].get_paths()[0].vertices
    for position, share in ((0.0, 6 / 8), (1.0, 1 / 8), (2.0, 1 / 8)):
        around = outline[(outline[:, 0] >= position - 0.5) & (outline[:, 0] <= position + 0.5), 1]
        assert share in around.tolist()
    named = dataclasses.replace(dataset.info)
    object.__setattr__(named, "names", {"observations": ["height", "angle"], "actions": ["of another width"]})
    assert dimension_names(dataset.replace(info=named), "observations") == ["height", "angle"]


def test_returns_are_plotted_where_there_is_no_score(folder: Path, run: Make) -> None:
    run(folder, references=None)
    assert "sum of rewards" in words(plot_scores(load_runs(folder)))


def test_cells_without_a_score_say_so(folder: Path, run: Make) -> None:
    run(folder, "bc")
    run(folder, "iql", returns=(), status="failed")
    assert "no score" in words(plot_scores(load_runs(folder)))
    assert "no score" in words(plot_scores(load_runs(folder).filter(algorithm="iql")))


def test_quality_scatter_joins_the_names_of_points_that_coincide(folder: Path, quality: Any) -> None:
    folder.mkdir()
    quality(folder, [(v, m, x) for v, x in (("a", 0.5), ("b", 0.5), ("c", 1.0)) for m in ("tq", "saco")])
    figure = plot_quality(load_quality(folder))
    assert "a, b" in words(figure)
    assert len(figure.axes) == 3


def test_quality_draws_what_is_asked_for_and_names_what_is_not_there(shared_example: Path) -> None:
    quality = load_quality(shared_example)
    assert "Steps" in words(plot_quality(quality, ["steps"]))
    with pytest.raises(ConfigError, match="'entropy'"):
        plot_quality(quality, ["entropy"])
    with pytest.raises(ConfigError, match="no quality"):
        plot_quality(quality[:0])
    without = quality.with_columns(
        pl.when(pl.col("metric") == "tq").then(None).otherwise(pl.col("value")).alias("value")
    )
    assert "Trajectory quality TQ" not in words(plot_quality(without))


def test_curves_are_scores_with_intermediate_evaluations_and_losses_without(folder: Path, run: Make) -> None:
    for seed in (0, 1):
        run(folder, seed=seed)
    losses = plot_curves(folder)
    assert losses is not None
    assert "actor loss" in words(losses)
    for seed in (2, 3):
        run(folder, seed=seed, earlier={1000: (300.0,), 2000: (620.0 + 64 * seed,)})
    scores = plot_curves(folder)
    assert scores is not None
    assert "Score over gradient updates" in words(scores)
    thick = [line for line in scores.axes[0].lines if line.get_linewidth() == 2.0]
    assert list(thick[0].get_ydata())[-1] == pytest.approx(50.0)  # type: ignore[arg-type]


def test_without_anything_logged_there_are_no_curves(folder: Path, run: Make) -> None:
    run(folder, losses=())
    assert plot_curves(folder) is None


def test_figures_are_drawn_without_a_trace_in_pyplot_or_in_the_settings(shared_example: Path) -> None:
    program = (
        "import sys; import assay.analysis as a\n"
        "assert not {'matplotlib', 'seaborn', 'torch'} & set(sys.modules)\n"
        "import matplotlib; before = dict(matplotlib.rcParams)\n"
        f"a.plot_scores(a.load_runs({str(shared_example)!r})); a.plot_quality(a.load_quality({str(shared_example)!r}))\n"
        "import matplotlib.pyplot as plt; assert plt.get_fignums() == []\n"
        "assert dict(matplotlib.rcParams) == before"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def contrast(first: str, second: str) -> float:
    def luminance(color: str) -> float:
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted([luminance(first), luminance(second)])
    return (high + 0.05) / (low + 0.05)


def test_every_colour_of_the_report_is_readable_on_its_page() -> None:
    from assay.analysis import report

    template = Path(report.__file__).with_name("templates") / "page.html"
    light, dark = re.findall(r":root \{(.*?)\}", template.read_text(), flags=re.DOTALL)
    for block in (light, dark):
        colors = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
        for name, color in colors.items():
            if name.startswith("series") or name in ("ink", "muted", "link"):
                assert contrast(color, colors["page"]) >= 4.5, name
        assert contrast(colors["warning"], colors["warning-page"]) >= 4.5
        assert contrast(colors["muted"], colors["raised"]) >= 4.5
    colors = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light))
    assert [colors[f"series-{index}"] for index in range(len(SERIES))] == list(SERIES)
    assert (colors["ink"], colors["muted"], colors["grid"]) == (INK, MUTED, GRID)
