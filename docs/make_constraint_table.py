"""Draw what each constraint earns above TD3+BC, and write the tables of docs/constraint.md.

Usage: assay run suites/constraint.yaml --budget small
       python docs/make_constraint_table.py [RUNS]        (default runs/constraint-small)

One point is one source and algorithm: the difference of the mean scores of the seeds, with its 95 % bootstrap interval. Whatever is not
finished is said to be so.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl
from page_parts import replace_part
from score_parts import difference, of_seeds, scores, verdict

from assay.analysis import load_runs

HERE = Path(__file__).parent
PAGE, FIGURE = HERE / "constraint.md", HERE / "images" / "constraint-difference.png"
BESIDE = "TD3+BC"
OTHERS = {
    "IQL": "#8a8a8a",
    "ReBRAC": "#b0a080",
    "PRDC": "#1f4e79",
    "A2PR": "#b4460b",
    "ODICE": "#2c8c4a",
    "BCQ": "#7a4fa3",
}


def main(folder: str = "runs/constraint-small") -> None:
    """Write the figure and the tables."""
    runs = load_runs(folder).filter(pl.col("status") == "finished")
    runs = runs.with_columns(pl.col("variant").str.strip_suffix(" clean"))
    figure(runs).savefig(FIGURE, dpi=144, facecolor="white")
    replace_part(PAGE, "scores", scores(runs))
    replace_part(PAGE, "verdicts", f"{verdicts(runs)}\n\n![difference](images/{FIGURE.name})")


def verdicts(runs: pl.DataFrame) -> str:
    """Return a table of the differences to TD3+BC."""
    lines = [f"| minus {BESIDE} | {' | '.join(OTHERS)} |", "|---|" + "---|" * len(OTHERS)]
    for variant in dict.fromkeys(runs["variant"]):
        theirs, cells = of_seeds(runs, BESIDE, variant), []
        for label in OTHERS:
            own = of_seeds(runs, label, variant)
            cells.append(verdict(own, theirs) if len(own) and len(theirs) else "not finished")
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    return "\n".join(lines)


def figure(runs: pl.DataFrame) -> plt.Figure:
    """Draw the differences, a panel for each source."""
    variants = list(dict.fromkeys(runs["variant"]))
    made, panels = plt.subplots(
        1, len(variants), figsize=(3.2 * len(variants), 2.6), sharey=True, layout="constrained", squeeze=False
    )
    for axes, variant in zip(panels[0], variants, strict=True):
        axes.axvline(0, color="#999", linewidth=0.8)
        theirs = of_seeds(runs, BESIDE, variant)
        for place, (label, colour) in enumerate(OTHERS.items()):
            own = of_seeds(runs, label, variant)
            if len(own) and len(theirs):
                value, low, high = difference(own, theirs)
                axes.errorbar(value, place, xerr=[[value - low], [high - value]], fmt="o", color=colour, ms=5, lw=1.4)
        axes.set(title=variant, yticks=range(len(OTHERS)), yticklabels=list(OTHERS), xlabel=f"score above {BESIDE}")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0][0].invert_yaxis()
    return made


if __name__ == "__main__":
    main(*sys.argv[1:])
