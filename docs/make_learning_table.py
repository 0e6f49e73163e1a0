"""Write docs/learning.md from the finished learning suites.

Usage: assay run suites/learning.yaml --budget small
       assay run suites/learning-sparse.yaml --budget small
       assay run suites/robustness.yaml --budget cpu
       python docs/make_learning_table.py [FOLDER]     (which holds learning-small, learning-sparse-small and robustness-cpu; default runs)

A table whose runs are not there stays as it is.
"""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
from page_parts import replace_part
from score_parts import against, contrast, of_seeds

from assay.analysis import load_runs, score_table
from assay.analysis.tables import format_interval

PAGE = Path(__file__).parent / "learning.md"
CLEAN = " clean"


def main(folder: str = "runs") -> None:
    """Write the tables."""
    for name in ("learning-small", "learning-sparse-small"):
        if (runs := Path(folder) / name).is_dir():
            replace_part(PAGE, name, scores(runs))
    if (runs := Path(folder) / "robustness-cpu").is_dir():
        replace_part(PAGE, "robustness-cpu", longer_scores(runs))


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


def longer_scores(folder: Path) -> str:
    """Return the final score of every algorithm on the clean data of each body, and whether it is above the data on average over them."""
    runs = load_runs(folder).filter((pl.col("status") == "finished") & pl.col("variant").str.ends_with(CLEAN))
    table = {(row["label"], row["variant"]): row for row in score_table(runs, rows=["label"]).iter_rows(named=True)}
    variants, labels = (list(dict.fromkeys(runs[name])) for name in ("variant", "label"))
    data = {variant: runs.filter(pl.col("variant") == variant)["behaviour_score"][0] for variant in variants}
    heads = [f"{variant.removesuffix(CLEAN)} (data: {data[variant]:.1f})" for variant in variants]
    lines = [
        f"| algorithm | {' | '.join(heads)} | mean of both minus the data | |",
        "|---|" + "---|" * (len(heads) + 2),
    ]
    for label in labels:
        rows = [table[label, variant] for variant in variants if (label, variant) in table]
        if len(rows) < len(variants):
            lines.append(f"| {label} | not finished | | | |")
            continue
        above = [of_seeds(runs, label, variant) - data[variant] for variant in variants]
        value, low, high = contrast(above, [1 / len(above)] * len(above))
        cells = [format_interval(row["mean"], row["low"], row["high"]) for row in rows]
        verdict = against(low, high, 0.0, "the data")
        lines.append(f"| {label} | {' | '.join(cells)} | {value:+.1f} [{low:.1f}, {high:.1f}] | {verdict} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
