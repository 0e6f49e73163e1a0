"""Draw what guided augmentation is worth, and write the tables of docs/augmentation.md.

Usage: assay run suites/guided-augmentation.yaml --budget small
       assay run suites/guided-potential.yaml --budget small
       python docs/make_augmentation_table.py [RUNS [RUNS OF THE POTENTIALS]]
           (default runs/guided-augmentation-small and runs/guided-potential-small)

Scores and their intervals come from the run folders. Each table replaces what stands between its two comments in the page.
"""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
from page_parts import replace_part
from score_parts import of_seeds, scores, verdict

from assay.analysis import load_runs, plot_scores

HERE = Path(__file__).parent
PAGE, FIGURE = HERE / "augmentation.md", HERE / "images" / "augmentation-scores.png"
GUIDED, NONE = "guided", "none"


def main(folder: str = "runs/guided-augmentation-small", potentials: str = "runs/guided-potential-small") -> None:
    """Write the figure and the tables."""
    runs = load_runs(folder).filter(pl.col("status") == "finished")
    plot_scores(runs).savefig(FIGURE, dpi=144, facecolor="white")
    replace_part(PAGE, "scores", f"![scores](images/{FIGURE.name})\n\n{scores(runs)}\n\n{verdicts(runs)}")
    replace_part(PAGE, "potentials", scores(load_runs(potentials).filter(pl.col("status") == "finished")))


def verdicts(runs: pl.DataFrame) -> str:
    """Say for each source and algorithm by how much guided augmentation is better than each other variant, and the others than none."""
    lines = []
    variants = list(dict.fromkeys(runs["variant"]))
    for guided in [name for name in variants if name.endswith(GUIDED)]:
        source = guided.removesuffix(GUIDED)
        others = [name for name in variants if name.startswith(source) and name != guided]
        lines += [difference(runs, guided, other, source) for other in others]
        lines += [difference(runs, other, source + NONE, source) for other in others if other != source + NONE]
    return "\n".join(lines)


def difference(runs: pl.DataFrame, better: str, than: str, source: str) -> str:
    """Say by how much one variant is better than another, for each algorithm."""
    parts = []
    for label in dict.fromkeys(runs["label"]):
        own, theirs = (of_seeds(runs, label, variant) for variant in (better, than))
        if len(own) and len(theirs):
            parts.append(f"{label} {verdict(own, theirs)}")
    return f"- {better} minus {than.removeprefix(source)}: {'; '.join(parts)}."


if __name__ == "__main__":
    main(*sys.argv[1:])
