"""Draw what guided augmentation is worth, and write the tables of docs/augmentation.md.

Usage: assay run suites/guided-augmentation.yaml --budget small
       assay run suites/guided-potential.yaml --budget small
       python docs/make_augmentation_table.py [RUNS [RUNS OF THE POTENTIALS]]
           (default runs/guided-augmentation-small and runs/guided-potential-small)

Scores and their intervals come from the run folders. Each table replaces what stands between its two comments in the page.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import polars as pl

from assay.analysis import load_runs, plot_scores, score_table
from assay.analysis.tables import format_interval
from assay.datasets.bootstrap import bootstrap, percentile_interval

HERE = Path(__file__).parent
PAGE, FIGURE = HERE / "augmentation.md", HERE / "images" / "augmentation-scores.png"
GUIDED = "guided"
RESAMPLES = 10_000


def main(folder: str = "runs/guided-augmentation-small", potentials: str = "runs/guided-potential-small") -> None:
    """Write the figure and the tables."""
    runs = load_runs(folder).filter(pl.col("status") == "finished")
    plot_scores(runs).savefig(FIGURE, dpi=144, facecolor="white")
    write("scores", f"![scores](images/{FIGURE.name})\n\n{scores(runs)}\n\n{verdicts(runs)}")
    write("potentials", scores(load_runs(potentials).filter(pl.col("status") == "finished")))


def write(name: str, text: str) -> None:
    """Replace what the page holds between `<!-- name -->` and `<!-- end of name -->`."""
    before, after = f"<!-- {name} -->", f"<!-- end of {name} -->"
    page = PAGE.read_text(encoding="utf-8")
    made, count = re.subn(f"{before}.*?{after}", lambda _: f"{before}\n\n{text}\n\n{after}", page, flags=re.DOTALL)
    if count != 1:
        sys.exit(f"{PAGE} has no place for {name}, between {before} and {after}")
    PAGE.write_text(made, encoding="utf-8")


def scores(runs: pl.DataFrame) -> str:
    """Return the score of every variant and algorithm with its interval as a table."""
    table = {(row["variant"], row["label"]): row for row in score_table(runs, rows=["label"]).iter_rows(named=True)}
    algorithms, variants = (list(dict.fromkeys(runs[name])) for name in ("label", "variant"))
    lines = [f"| data | {' | '.join(algorithms)} |", "|---|" + "---|" * len(algorithms)]
    for variant in variants:
        cells = []
        for label in algorithms:
            row = table.get((variant, label))
            known = row is not None and row["mean"] is not None
            cells.append(
                f"{format_interval(row['mean'], row['low'], row['high'])}, {row['seeds']} seed{'s' * (row['seeds'] != 1)}"
                if row is not None and known
                else "not finished"
            )
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    return "\n".join(lines)


def verdicts(runs: pl.DataFrame) -> str:
    """Say for each source and algorithm by how much guided augmentation is better than each other variant, or that it is not shown."""
    lines = []
    for guided in [name for name in dict.fromkeys(runs["variant"]) if name.endswith(GUIDED)]:
        source = guided.removesuffix(GUIDED)
        for other in [name for name in dict.fromkeys(runs["variant"]) if name.startswith(source) and name != guided]:
            parts = []
            for label in dict.fromkeys(runs["label"]):
                own, theirs = (
                    runs.filter((pl.col("label") == label) & (pl.col("variant") == name))["score"].to_numpy()
                    for name in (guided, other)
                )
                if len(own) and len(theirs):
                    parts.append(f"{label} {verdict(own, theirs)}")
            lines.append(f"- {guided} minus {other.removeprefix(source)}: {'; '.join(parts)}.")
    return "\n".join(lines)


def verdict(own: np.ndarray, theirs: np.ndarray) -> str:
    """Return the difference of two means with its 95 % bootstrap interval, and what it shows."""
    differences = bootstrap([own, theirs], lambda a, b: a.mean(1) - b.mean(1), RESAMPLES, np.random.default_rng(0))
    low, high = percentile_interval(differences)
    word = "better" if low > 0 else "worse" if high < 0 else "not shown"
    return f"{own.mean() - theirs.mean():+.1f} [{low:.1f}, {high:.1f}], {word}"


if __name__ == "__main__":
    main(*sys.argv[1:])
