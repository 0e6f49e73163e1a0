"""Learning curves: scores over gradient updates, or training losses where only the end was evaluated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from assay.analysis.figures.layout import legend, panels
from assay.analysis.figures.style import INK, MARKERS, NARROW_BELOW, SERIES
from assay.analysis.figures.variants import axis_label, distinct_variants, variants_in_order
from assay.analysis.runs import Folders, load_curves, load_returns, load_runs
from assay.analysis.tables import clean_variant

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DASHES: tuple[tuple[float, ...], ...] = (
    (),
    (4, 2),
    (1, 1.5),
    (5, 1, 1, 1),
)  # lengths of strokes and gaps in line widths; none is a whole line

__all__ = ["CurveTables", "draw_curves", "plot_curves"]


def plot_curves(path: Folders, *, width_pixels: int = 680) -> Figure | None:
    """Draw how learning went: the score over updates, or the training losses where only the end was evaluated.

    Parameters
    ----------
    path : path or sequence of paths
        The folder that holds the run folders, or one run folder; or several of these.
    width_pixels : int
        Width at which the figure is shown.

    Returns
    -------
    matplotlib.figure.Figure or None
        With intermediate evaluations: one panel per variant, one line per algorithm (mean over seeds) with the seeds
        as thin lines. Without: one panel per algorithm and loss, one line per variant. None where nothing was logged.
    """
    return draw_curves(CurveTables.read(path), width_pixels)


class CurveTables(NamedTuple):
    """What the curves of a folder of runs are drawn from; read once and drawn at several widths."""

    runs: pl.DataFrame
    returns: pl.DataFrame
    losses: pl.DataFrame | None

    @classmethod
    def read(cls, path: Folders) -> CurveTables:
        """Read the runs, every evaluation, and the training losses where only the end was evaluated."""
        runs = distinct_variants(load_runs(path))
        variant_of = dict(runs.select("run", "variant").iter_rows())
        named = pl.col("run").replace_strict(variant_of, default=None).alias("variant")
        returns = load_returns(path).with_columns(named)
        evaluations = returns.group_by("run").agg(pl.col("update").n_unique())
        if evaluations.filter(pl.col("update") > 1).height:
            return cls(runs, returns, None)
        losses = load_curves(path).filter(pl.col("metric").str.contains("loss"), pl.col("value").is_finite())
        return cls(runs, returns, losses.with_columns(named))


def draw_curves(tables: CurveTables, width: int) -> Figure | None:
    """Draw what was read, for a width in pixels; None where nothing was logged."""
    if tables.losses is None:
        return _score_curves(tables.runs, tables.returns, width)
    return None if tables.losses.is_empty() else _loss_curves(tables.runs, tables.losses, width)


def _marked(index: int) -> dict[str, Any]:
    """Return the style of an algorithm: the colour and the marker that it has in every figure."""
    return {"color": SERIES[index % len(SERIES)], "marker": MARKERS[index % len(MARKERS)], "markersize": 4.5}


def _dashed(index: int) -> dict[str, Any]:
    """Return the style of a variant, for lines of too many points to be marked."""
    return {"color": SERIES[index % len(SERIES)], "dashes": _DASHES[(index // len(SERIES) + index) % len(_DASHES)]}


def _columns(count: int, width: float, narrow: int, least: float) -> int:
    """Return how many panels stand side by side: `narrow` on a phone, else as many as have their least width."""
    return min(count, narrow if width < NARROW_BELOW else max(1, int(width / least)))


def _score_curves(runs: pl.DataFrame, returns: pl.DataFrame, width: int) -> Figure:
    import seaborn
    from matplotlib.collections import LineCollection

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
    styles = {label: _marked(index) for index, label in enumerate(labels)}
    column = "behaviour_score" if metric == "score" else "behaviour_return"
    for axes, variant in zip(found, variants, strict=True):
        behaviour = runs.filter(variant=variant)[column].drop_nulls().to_list()
        if behaviour:
            axes.axhline(behaviour[0], color=INK, linewidth=1.1, linestyle=(0, (3, 2)))
        rows = means.filter(variant=variant)
        for seeds in rows.partition_by("label", maintain_order=True):
            lines = [run.select("update", metric).to_numpy() for run in seeds.partition_by("run", maintain_order=True)]
            color = styles[seeds["label"][0]]["color"]
            axes.add_collection(LineCollection(lines, colors=color, linewidths=0.8, alpha=0.45))
        if not rows.is_empty():
            # a seed that stopped early must not move the mean where it is missing
            count = pl.len().over("label", "update")
            whole = rows.filter(count == count.max().over("label"))
            seaborn.lineplot(
                whole.select("update", metric, "label").to_dict(as_series=False),
                x="update",
                y=metric,
                hue="label",
                style="label",
                palette={label: style["color"] for label, style in styles.items()},
                markers={label: style["marker"] for label, style in styles.items()},
                dashes=False,
                estimator="mean",
                errorbar=None,
                linewidth=2.0,
                markersize=4.5,
                markeredgewidth=0,
                legend=False,
                ax=axes,
            )
        axes.autoscale_view()
        axes.set(xlabel="", ylabel="")
    _share_limits(found)
    legend(figure, labels, list(styles.values()), width)
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
    styles = {variant: _dashed(index) for index, variant in enumerate(variants)}
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
        seaborn.lineplot(
            shown.select("update", "value", "variant").to_dict(as_series=False),
            x="update",
            y="value",
            hue="variant",
            style="variant",
            size="variant",
            palette={variant: style["color"] for variant, style in styles.items()},
            dashes={variant: style["dashes"] for variant, style in styles.items()},
            sizes={variant: 2.4 if variant == clean else 1.4 for variant in variants},
            estimator="mean",
            errorbar=None,
            legend=False,
            ax=axes,
        )
        axes.set(xlabel="", ylabel="")
    legend(figure, variants, list(styles.values()), width)
    return figure
