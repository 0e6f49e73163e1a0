"""Write docs/learning.md from the finished learning suites.

Usage: assay run suites/learning.yaml --budget small
       assay run suites/learning-sparse.yaml --budget small
       python docs/make_learning_table.py [RUNS ...]     (default runs/learning-small runs/learning-sparse-small)
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from score_parts import against

from assay.analysis import load_runs, score_table
from assay.baselines import Suite

HERE = Path(__file__).parent
HEADER = """# Does every algorithm learn?

Final scores after the small budget, mean over seeds with a 95 % bootstrap interval. "data" is the mean score of the policies
that made the dataset. An algorithm learns where its whole interval lies above that; "not shown" is an interval that contains it.
The budgets are hundreds of times smaller than the published
ones, and {seeds} seeds are few: read whether an algorithm learns, not how good it is. Made by
`assay run suites/learning.yaml --budget small`, `assay run suites/learning-sparse.yaml --budget small` and
`python docs/make_learning_table.py`.

The budget `cpu` of `suites/learning.yaml` is the one between `small` and `paper`, for a night of two cores: see [suites](suites.md#a-night-on-two-cores).
"""


def main(folders: list[str]) -> None:
    """Write the page."""
    parts, seeds = [], 0
    for folder in folders:
        described = json.loads((Path(folder) / "suite.json").read_text())
        suite = Suite.from_yaml(HERE.parent / "suites" / f"{described['name']}.yaml")
        seeds = len(described["seeds"])
        parts.append(f"\n## {suite.title}\n\n{suite.question} {described['budget_parameters']['steps']:,} updates.\n")
        parts.append("| algorithm | score | 95 % interval | data | |\n|---|---|---|---|---|")
        rows = {row["label"]: row for row in score_table(load_runs(folder), rows=["label"]).iter_rows(named=True)}
        for row in sorted(rows.values(), key=lambda row: -(row["mean"] or 0.0)):
            if row["mean"] is None:
                parts.append(f"| {row['label']} | not finished | | | |")
                continue
            verdict = against(row["low"], row["high"], row["behaviour"], "the data")
            interval = f"{row['low']:.1f} to {row['high']:.1f}"
            parts.append(f"| {row['label']} | {row['mean']:.1f} | {interval} | {row['behaviour']:.1f} | {verdict} |")
    (HERE / "learning.md").write_text(HEADER.format(seeds=seeds) + "\n".join(parts) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:] or ["runs/learning-small", "runs/learning-sparse-small"])
