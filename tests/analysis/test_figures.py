from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from matplotlib.figure import Figure

from assay.analysis import load_quality, load_runs, plot_curves, plot_quality, plot_scores
from assay.analysis.figures import GRID, INK, MUTED, SERIES
from assay.datasets.errors import ConfigError

Make = Callable[..., Path]


def words(figure: Figure) -> str:
    from matplotlib.text import Text

    return "\n".join(item.get_text() for item in figure.findobj(Text) if isinstance(item, Text))


def test_scores_show_every_seed_the_mean_and_the_datas_own_score(shared_example: Path) -> None:
    figure = plot_scores(load_runs(shared_example))
    (axes,) = figure.axes
    points = [tuple(line.get_xdata()) for line in axes.lines]  # type: ignore[arg-type]
    seeds = [list(values) for values in points if len(values) == 3]
    expected = [[40, 42, 44], [60, 62, 64], [39, 42, 45], [20, 21, 25]]
    assert sorted(seeds) == [pytest.approx(values) for values in sorted(expected)]
    doubled = [values[0] for values in points if len(values) == 2 and values[0] == values[1]]
    assert sorted(doubled) == pytest.approx([22.0, 30.0, 30.0, 42.0, 42.0, 62.0])  # four means, the data twice
    text = words(figure)
    assert "random-rewards" in text
    assert "TD3+BC" in text
    assert "D4RL hopper references" in text.replace("\n", " ")


@pytest.mark.parametrize("width", [354, 680])
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


def test_pyplot_is_left_alone(shared_example: Path) -> None:
    program = (
        "import sys; import assay.analysis as a\n"
        "assert 'matplotlib' not in sys.modules and 'torch' not in sys.modules\n"
        f"a.plot_scores(a.load_runs({str(shared_example)!r}))\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


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
