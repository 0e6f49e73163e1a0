"""Write docs/learning.md from the finished learning suites.

Usage: assay run suites/learning.yaml --budget small
       assay run suites/learning.yaml --budget cpu
       assay run suites/learning-sparse.yaml --budget small
       python docs/make_learning_table.py [FOLDER]     (which holds learning-small, learning-cpu and learning-sparse-small; default runs)

A table whose runs are not there stays as it is.
"""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
from page_parts import replace_part
from score_parts import against, of_seeds, with_interval

from assay.analysis import load_curves, load_runs, score_table

PAGE = Path(__file__).parent / "learning.md"


def main(folder: str = "runs") -> None:
    """Write the tables."""
    for name in ("learning-small", "learning-cpu", "learning-sparse-small"):
        runs = Path(folder) / name
        if runs.is_dir():
            replace_part(PAGE, name, scores(runs) + (f"\n\n{by_updates(runs)}" if name == "learning-cpu" else ""))


def scores(folder: Path) -> str:
    """Return the final score of every algorithm, the best first, and whether it is above the data."""
    lines = ["| algorithm | score | 95 % interval | data | |", "|---|---|---|---|---|"]
    table = score_table(load_runs(folder), rows=["label"])
    for row in table.sort("mean", descending=True, nulls_last=True).iter_rows(named=True):
        if row["mean"] is None:
            lines.append(f"| {row['label']} | not finished | | | |")
            continue
        verdict = against(row["low"], row["high"], row["behaviour"], "the data")
        interval = f"{row['low']:.1f} to {row['high']:.1f}"
        lines.append(f"| {row['label']} | {row['mean']:.1f} | {interval} | {row['behaviour']:.1f} | {verdict} |")
    return "\n".join(lines)


def by_updates(folder: Path) -> str:
    """Return the score of every algorithm after so many updates."""
    curves = load_curves(folder).filter(pl.col("metric") == "score").with_columns(score=pl.col("value"))
    updates = curves["update"].unique().sort().to_list()
    lines = [
        f"| score after updates | {' | '.join(f'{update:,}' for update in updates)} |",
        "|---|" + "---|" * len(updates),
    ]
    for label in dict.fromkeys(curves["label"]):
        cells = []
        for update in updates:
            rows = curves.filter(pl.col("update") == update)
            cells.append(with_interval(of_seeds(rows, label, rows["variant"][0])))
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
