"""Draw what model-based algorithms earn and what they think it is worth, and write the tables of docs/model-based.md.

Usage: assay run suites/model-based.yaml --budget small
       python docs/make_model_based_table.py [RUNS]        (default runs/model-based-small)

One cell is one source and algorithm: the mean over seeds with its 95 % bootstrap interval. Whatever is not finished is said to be so.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from page_parts import replace_part
from score_parts import difference, differences, of_seeds, scores, with_interval

from assay.analysis import load_curves, load_runs

HERE = Path(__file__).parent
PAGE, FIGURE = HERE / "model-based.md", HERE / "images" / "model-based.png"
PAIRS = (
    ("MOPO", "no penalty"),
    ("MOBILE", "no penalty"),
    ("RAVL", "no penalty"),
    ("no penalty (true dynamics)", "no penalty"),
    ("RAVL (true dynamics)", "RAVL"),
    ("RAVL (true dynamics)", "no penalty (true dynamics)"),
)
COLOURS = {"pendulum": "#1f4e79", "edge of reach": "#b4460b"}


def main(folder: str = "runs/model-based-small") -> None:
    """Write the figure and the tables."""
    runs = load_runs(folder).filter(pl.col("status") == "finished")
    runs = runs.with_columns(pl.col("variant").str.strip_suffix(" clean"))
    replace_part(PAGE, "scores", scores(runs))
    replace_part(PAGE, "values", values(runs, folder))
    figure(runs).savefig(FIGURE, dpi=144, facecolor="white")
    replace_part(PAGE, "verdicts", f"{differences(runs, PAIRS)}\n\n![difference](images/{FIGURE.name})")


def values(runs: pl.DataFrame, folder: str) -> str:
    """Return a table of the critics' mean value at the end."""
    curves = load_curves(folder).filter(pl.col("metric") == "q_mean")
    last = curves.sort("update").group_by("run").last().select("run", pl.col("value").alias("q_mean"))
    runs = runs.join(last, on="run", how="left")
    variants = list(dict.fromkeys(runs["variant"]))
    lines = [f"| mean value | {' | '.join(variants)} |", "|---|" + "---|" * len(variants)]
    for label in dict.fromkeys(runs["label"]):
        cells = []
        for variant in variants:
            own = of_seeds(runs, label, variant, "q_mean").astype(float)
            known = own[np.isfinite(own)]
            cells.append(with_interval(known) if len(known) else "not finished")
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def figure(runs: pl.DataFrame) -> plt.Figure:
    """Draw the differences."""
    made, axes = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
    axes.axvline(0, color="#999", linewidth=0.8)
    for place, (one, other) in enumerate(PAIRS):
        for offset, (variant, colour) in zip((-0.12, 0.12), COLOURS.items()):
            own, theirs = of_seeds(runs, one, variant), of_seeds(runs, other, variant)
            if len(own) and len(theirs):
                value, low, high = difference(own, theirs)
                label = variant if place == 0 else None
                error = [[value - low], [high - value]]
                axes.errorbar(value, place + offset, xerr=error, fmt="o", color=colour, ms=5, lw=1.4, label=label)
    axes.set(yticks=range(len(PAIRS)), yticklabels=[f"{one}\nminus {other}" for one, other in PAIRS])
    axes.set(xlabel="difference of scores")
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return made


if __name__ == "__main__":
    main(*sys.argv[1:])
