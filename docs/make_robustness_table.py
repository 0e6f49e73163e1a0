"""Draw who survives corrupted data, and write the tables of docs/corruption.md.

Usage: assay run suites/robustness.yaml --budget small
       python docs/make_robustness_table.py [RUNS]        (default runs/robustness-small)

One cell is one variant and algorithm: the mean score of its seeds, and its difference to the clean data. Whatever is not finished is said
to be so.
"""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
from page_parts import replace_part
from score_parts import scores, verdict

from assay.analysis import load_runs, plot_score_map

HERE = Path(__file__).parent
PAGE, FIGURE = HERE / "corruption.md", HERE / "images" / "corruption-robustness.png"
ROBUST, ORDINARY = "RIQL", "IQL"


def main(folder: str = "runs/robustness-small") -> None:
    """Write the figure and the tables."""
    runs = load_runs(folder).filter(pl.col("status") == "finished")
    figure = plot_score_map(runs).figure
    figure.savefig(FIGURE, dpi=144, facecolor="white")
    replace_part(PAGE, "survivors", f"{scores(runs)}\n\n![scores](images/{FIGURE.name})")
    replace_part(PAGE, "survivors' losses", losses(runs))


def losses(runs: pl.DataFrame) -> str:
    """Return a table of what corruption takes from each algorithm, and what the robust one has above its like."""
    labels, variants = (list(dict.fromkeys(runs[name])) for name in ("label", "variant"))
    lines = [
        f"| minus clean | {' | '.join(labels)} | {ROBUST} minus {ORDINARY} |",
        "|---|" + "---|" * (len(labels) + 1),
    ]
    found = {key: part.sort("seed")["score"].to_numpy() for key, part in runs.group_by("label", "variant")}
    for variant in variants:
        pairs = [((label, variant), (label, "clean")) for label in labels] + [((ROBUST, variant), (ORDINARY, variant))]
        cells = [
            "" if own == other else verdict(found[own], found[other]) if {own, other} <= set(found) else "not finished"
            for own, other in pairs
        ]
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
