"""Learning curves: scores over gradient updates, or training losses where only the end was evaluated."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import polars as pl

from assay.analysis.figures.layout import legend, panels
from assay.analysis.figures.style import INK, MARKERS, NARROW_BELOW, SERIES
from assay.analysis.figures.variants import axis_label, distinct_variants, variants_in_order
from assay.analysis.runs import load_curves, load_returns, load_runs
from assay.analysis.tables import clean_variant

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_curves"]


def plot_curves(path: str | os.PathLike[str], *, width_pixels: int = 680) -> Figure | None:
    """Draw how learning went: the score over updates, or the training losses where only the end was evaluated.

    Parameters
    ----------
    path : path
        The folder that holds the run folders, or one run folder.
    width_pixels : int
        Width at which the figure is shown.

    Returns
    -------
    matplotlib.figure.Figure or None
        With intermediate evaluations: one panel per variant, one line per algorithm (mean over seeds) with the seeds
        as thin lines. Without: one panel per algorithm and loss, one line per variant. None where nothing was logged.
    """
    runs = distinct_variants(load_runs(path))
    variant_of = dict(runs.select("run", "variant").iter_rows())
    returns = load_returns(path).with_columns(pl.col("run").replace_strict(variant_of, default=None).alias("variant"))
    evaluations = returns.group_by("run").agg(pl.col("update").n_unique())
    if evaluations.filter(pl.col("update") > 1).height:
        return _score_curves(runs, returns, width_pixels)
    curves = load_curves(path).with_columns(pl.col("run").replace_strict(variant_of, default=None).alias("variant"))
    curves = curves.filter(pl.col("metric").str.contains("loss"), pl.col("value").is_finite())
    return None if curves.is_empty() else _loss_curves(runs, curves, width_pixels)


def _marked(index: int) -> dict[str, Any]:
    """Return the style of an algorithm: the colour and the marker that it has in every figure."""
    return {"color": SERIES[index % len(SERIES)], "marker": MARKERS[index % len(MARKERS)], "markersize": 4.5}


def _dashed(index: int) -> dict[str, Any]:
    """Return the style of a variant, for lines of too many points to be marked."""
    styles: tuple[Any, ...] = ("-", (0, (4, 2)), (0, (1, 1.5)), (0, (5, 1, 1, 1)))
    style = styles[(index // len(SERIES) + index) % len(styles)]
    return {"color": SERIES[index % len(SERIES)], "linestyle": style}


def _columns(count: int, width: float, narrow: int, least: float) -> int:
    """Return how many panels stand side by side: `narrow` on a phone, else as many as have their least width."""
    return min(count, narrow if width < NARROW_BELOW else max(1, int(width / least)))


def _score_curves(runs: pl.DataFrame, returns: pl.DataFrame, width: int) -> Figure:
    import seaborn

    metric = "score" if returns["score"].is_not_null().any() else "return"
    means = returns.filter(pl.col(metric).is_finite()).group_by("run", "update").agg(pl.col(metric).mean())
    means = means.join(runs.select("run", "label", "variant"), on="run").sort("run", "update")
    variants, labels = variants_in_order(runs), runs["label"].unique(maintain_order=True).to_list()
    label = axis_label(runs, "score" if metric == "score" else "return_mean").replace("Final score", "Score")
    figure, found = panels(
        variants,
        width,
        _columns(len(variants), width, narrow=2, least=225),
        f"{'Score' if metric == 'score' else 'Return'} over gradient updates, by variant of the data",
        "Thick: mean over seeds. Thin: single seeds. Dashed: mean return in the data.",
        "Horizontal: gradient updates. Vertical: " + label[0].lower() + label[1:].replace("final ", "") + ".",
        shared=True,
    )
    column = "behaviour_score" if metric == "score" else "behaviour_return"
    for axes, variant in zip(found, variants, strict=True):
        behaviour = runs.filter(variant=variant)[column].drop_nulls().to_list()
        if behaviour:
            axes.axhline(behaviour[0], color=INK, linewidth=1.1, linestyle=(0, (3, 2)))
        for index, item in enumerate(labels):
            rows = means.filter(variant=variant, label=item)
            if rows.is_empty():
                continue
            style = _marked(index)
            line = {"x": rows["update"].to_numpy(), "y": rows[metric].to_numpy(), "ax": axes, "legend": False}
            thin = {"color": style["color"], "linewidth": 0.8, "alpha": 0.45}
            seaborn.lineplot(**line, units=rows["run"].to_numpy(), estimator=None, **thin)
            # a seed that stopped early must not move the mean where it is missing
            reached = pl.len().over("update")
            whole = rows.filter(reached == reached.max())
            line |= {"x": whole["update"].to_numpy(), "y": whole[metric].to_numpy()}
            seaborn.lineplot(**line, estimator="mean", errorbar=None, linewidth=2.0, markeredgewidth=0, **style)
        axes.set(xlabel="", ylabel="")
    _share_limits(found)
    legend(figure, labels, [_marked(index) for index in range(len(labels))], width)
    return figure


def _share_limits(panels: list[Axes]) -> None:
    low = min(panel.get_ylim()[0] for panel in panels)
    high = max(panel.get_ylim()[1] for panel in panels)
    for panel in panels:
        panel.set_ylim(low, high)


def _loss_curves(runs: pl.DataFrame, curves: pl.DataFrame, width: int) -> Figure:
    import seaborn

    pairs = curves.select("label", "metric").unique(maintain_order=True).rows()
    variants = variants_in_order(runs)
    clean = clean_variant(runs)
    figure, found = panels(
        [f"{label}: {metric.replace('_', ' ')}" for label, metric in pairs],
        width,
        _columns(len(pairs), width, narrow=1, least=330),
        "Training losses over gradient updates, by variant of the data",
        "Lines: means over seeds. The policies were evaluated after the last update only.",
        "Horizontal: gradient updates. Vertical: the loss as the algorithm defines it; not comparable between panels.",
        shared=False,
    )
    for axes, (label, metric) in zip(found, pairs, strict=True):
        shown = curves.filter(label=label, metric=metric)
        values = shown["value"]
        if values.min() > 0 and values.max() > 100 * values.min():  # type: ignore[operator]
            axes.set_yscale("log")
        for index, variant in enumerate(variants):
            rows = shown.filter(variant=variant)
            if rows.is_empty():
                continue
            seaborn.lineplot(
                x=rows["update"].to_numpy(),
                y=rows["value"].to_numpy(),
                estimator="mean",
                errorbar=None,
                linewidth=2.4 if variant == clean else 1.4,
                legend=False,
                ax=axes,
                **_dashed(index),
            )
        axes.set(xlabel="", ylabel="")
    legend(figure, variants, [_dashed(index) for index in range(len(variants))], width)
    return figure
