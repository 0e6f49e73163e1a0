"""Draw what proxy actions are worth, and print the tables of docs/relabeling.md.

Usage: assay run suites/semi-supervised.yaml --budget small
       python docs/make_relabeling_table.py [RUNS]     (default runs/semi-supervised-small)

Scores and their intervals come from the run folder. The errors of the labels come from the variants of the same suite, which
are read where the run has cached them (`home()/variants`), or made again.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl

from assay.analysis import load_runs, plot_scores, score_table
from assay.analysis.tables import format_interval
from assay.baselines import Suite
from assay.datasets import Dataset
from assay.datasets.bootstrap import bootstrap, percentile_interval
from assay.relabeling import label_error

HERE = Path(__file__).parent
FIGURE = HERE / "images" / "relabeling-proxy-actions.png"
ORACLE = "oracle"
RESAMPLES = 10_000


def main(folder: str = "runs/semi-supervised-small") -> None:
    """Write the figure and print the tables in Markdown."""
    runs = load_runs(folder)
    plot_scores(runs).savefig(FIGURE, dpi=144, facecolor="white")
    print_scores(runs)
    described = json.loads((Path(folder) / "suite.json").read_text())
    suite = Suite.from_yaml(HERE.parent / "suites" / f"{described['name']}.yaml")
    budget = suite.budget(described["budget"])
    part = suite.part_of(budget)
    variants = part.variants_of(part.load_sources(budget), lambda source, victim: victim, budget=budget)
    print()
    print_errors({item.label: item.dataset for item in variants if "truth/actions" in item.dataset.columns})


def print_scores(runs: pl.DataFrame) -> None:
    """Print the score of every variant, and its share of the oracle's."""
    scores = {(row["variant"], row["label"]): row for row in score_table(runs).iter_rows(named=True)}
    algorithms = list(dict.fromkeys(runs["label"]))
    names = [f"{label} | share of the oracle" for label in algorithms]
    print(f"| data | {' | '.join(names)} |\n|---|" + "---|---|" * len(algorithms))
    oracle = next(name for name in runs["variant"].unique() if name.endswith(ORACLE))
    for variant in dict.fromkeys(runs["variant"]):
        cells = []
        for label in algorithms:
            row = scores[variant, label]
            cells.append(format_interval(row["mean"], row["low"], row["high"]))
            of_label = runs.filter(pl.col("label") == label)
            own, best = (of_label.filter(pl.col("variant") == name)["score"].to_numpy() for name in (variant, oracle))
            cells.append("1" if variant == oracle else share(own, best))
        print(f"| {variant} | {' | '.join(cells)} |")


def share(own: np.ndarray, best: np.ndarray) -> str:
    """Return the ratio of two means with its 95 % bootstrap interval, over the seeds of both."""
    ratios = bootstrap([own, best], lambda a, b: a.mean(1) / b.mean(1), RESAMPLES, np.random.default_rng(0))
    low, high = percentile_interval(ratios)
    return f"{own.mean() / best.mean():.2f} ({low:.2f} to {high:.2f})"


def print_errors(filled: dict[str, Dataset]) -> None:
    """Print the errors of filled-in labels per quarter of the returns and per entry of the action."""
    print("| labels | returns | entry | steps | mean absolute error | variance explained | covered, of 90 % |")
    print("|---|---|---|---|---|---|---|")
    for name, dataset in filled.items():
        if "uncertainty/actions" not in dataset.columns:
            continue
        for row in label_error(dataset).iter_rows(named=True):
            if row["returns"] != "all" and row["entry"] is not None:
                continue
            entry = "all" if row["entry"] is None else row["entry"]
            numbers = f"{row['mean_absolute']:.3f} | {row['explained']:.3f} | {row['covered']:.2f}"
            print(f"| {name} | {row['returns']} | {entry} | {row['steps']:,} | {numbers} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
