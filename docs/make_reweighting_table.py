"""Draw what weights are worth, and write the tables of docs/reweighting.md.

Usage: assay run suites/trajectory-weighting.yaml --budget small
       python docs/make_reweighting_table.py [RUNS]        (default runs/trajectory-weighting-small)

The figure is that of Hong et al. 2023: what a weighting gains over uniform drawing against the positive-sided variance of the returns,
here of returns on the scale of scores, so that tasks can be compared. One point is one source and algorithm, with the 95 % bootstrap
interval over seeds.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from page_parts import replace_part
from scipy.stats import spearmanr
from score_parts import difference, of_seeds, scores, verdict

from assay.analysis import load_quality, load_runs

HERE = Path(__file__).parent
PAGE, FIGURE = HERE / "reweighting.md", HERE / "images" / "reweighting-gain.png"
UNIFORM, WEIGHTINGS = "uniform", ("top 10%", "RW", "AW", "DW", "AW+DW")
COLOURS = {"CQL": "#1f4e79", "IQL": "#b4460b", "TD3+BC": "#2c8c4a"}


def main(folder: str = "runs/trajectory-weighting-small") -> None:
    """Write the figure and the tables."""
    runs = load_runs(folder).filter(pl.col("status") == "finished")
    found = gains(runs, load_quality(folder))
    figure(found).savefig(FIGURE, dpi=144, facecolor="white")
    replace_part(PAGE, "scores", scores(runs))
    replace_part(PAGE, "verdicts", verdicts(runs))
    replace_part(PAGE, "gain", f"![gain](images/{FIGURE.name})\n\n{correlations(found)}")


def sources(runs: pl.DataFrame) -> list[str]:
    """Return the names of the sources, in order."""
    return [name.removesuffix(f" {UNIFORM}") for name in dict.fromkeys(runs["variant"]) if name.endswith(f" {UNIFORM}")]


def gains(runs: pl.DataFrame, quality: pl.DataFrame) -> list[tuple[str, str, float, float, float, float]]:
    """Return (weighting, algorithm, PSV, gain, low, high) of every source."""
    found = []
    spread = dict(quality.filter(pl.col("metric") == "psv_score").select("variant", "value").iter_rows())
    for source in sources(runs):
        for label in dict.fromkeys(runs["label"]):
            theirs = of_seeds(runs, label, f"{source} {UNIFORM}")
            for weighting in WEIGHTINGS:
                own = of_seeds(runs, label, f"{source} {weighting}")
                if len(own) and len(theirs):
                    found.append((weighting, label, spread[f"{source} {UNIFORM}"], *difference(own, theirs)))
    return found


def figure(found: list[tuple[str, str, float, float, float, float]]) -> plt.Figure:
    """Draw a panel for each weighting."""
    made, panels = plt.subplots(1, len(WEIGHTINGS), figsize=(13, 3.2), sharey=True, layout="constrained")
    for axes, weighting in zip(panels, WEIGHTINGS, strict=True):
        axes.axhline(0, color="#999", linewidth=0.8)
        for label, colour in COLOURS.items():
            points = np.array([row[2:] for row in found if row[:2] == (weighting, label)])
            if len(points):
                errors = np.abs(points[:, 2:].T - points[:, 1])
                axes.errorbar(
                    points[:, 0], points[:, 1], errors, fmt="o", color=colour, label=label, ms=4, lw=1, alpha=0.85
                )
        axes.set(title=weighting, xscale="log", xlabel="spread (PSV)")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("score above uniform drawing")
    panels[0].legend(frameon=False)
    return made


def correlations(found: list[tuple[str, str, float, float, float, float]]) -> str:
    """Say how the gain goes with the spread, with an interval over the points."""
    rng, lines = np.random.default_rng(0), []
    for weighting in WEIGHTINGS:
        points = np.array([row[2:4] for row in found if row[0] == weighting])
        drawn = [spearmanr(*points[rng.integers(len(points), size=len(points))].T).statistic for _ in range(2_000)]
        low, high = np.nanquantile(drawn, [0.025, 0.975])
        value = spearmanr(*points.T).statistic
        word = "rises with it" if low > 0 else "falls with it" if high < 0 else "no relation shown"
        lines.append(f"- {weighting}: rank correlation of gain and spread {value:.2f} [{low:.2f}, {high:.2f}], {word}.")
    return "\n".join(lines)


def verdicts(runs: pl.DataFrame) -> str:
    """Return a table of what each weighting gains over uniform drawing."""
    labels = list(dict.fromkeys(runs["label"]))
    lines = [f"| minus uniform | {' | '.join(labels)} |", "|---|" + "---|" * len(labels)]
    for source in sources(runs):
        for weighting in WEIGHTINGS:
            cells = []
            for label in labels:
                own, theirs = (
                    of_seeds(runs, label, f"{source} {weighting}"),
                    of_seeds(runs, label, f"{source} {UNIFORM}"),
                )
                cells.append(verdict(own, theirs) if len(own) and len(theirs) else "not finished")
            lines.append(f"| {source}, {weighting} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
