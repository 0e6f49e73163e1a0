"""Draw what learned rewards are worth, and print the tables of docs/rewards.md.

Usage: assay run suites/preference-rewards.yaml --budget small
       python docs/make_rewards_table.py [RUNS]        (default runs/preference-rewards-small)

Scores and their intervals come from the run folder. How well the rewards rank steps comes from the variants of the same suite, which are
read where the run has cached them (`home()/variants`), or made again.
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
from assay.datasets.bootstrap import bootstrap, percentile_interval
from assay.relabeling import ranking_accuracy
from assay.relabeling.task_measure import MEASURE

HERE = Path(__file__).parent
FIGURE = HERE / "images" / "relabeling-rewards.png"
TRUE = "true rewards"
RESAMPLES = 10_000


def main(folder: str = "runs/preference-rewards-small") -> None:
    """Write the figure and print the tables in Markdown."""
    runs = load_runs(folder)
    plot_scores(runs).savefig(FIGURE, dpi=144, facecolor="white")
    print_scores(runs)
    described = json.loads((Path(folder) / "suite.json").read_text())
    suite = Suite.from_yaml(HERE.parent / "suites" / f"{described['name']}.yaml")
    print()
    print_quality(suite, described["budget"])


def print_scores(runs: pl.DataFrame) -> None:
    """Print the scores of every variant, and the share of IQL's with the true rewards."""
    scores = {(row["variant"], row["algorithm"]): row for row in score_table(runs).iter_rows(named=True)}
    algorithms = dict(runs.select("algorithm", "label").unique(maintain_order=True).iter_rows())
    header = " | ".join(algorithms.values())
    print(f"| data | {header} | IQL, share of true rewards |\n|---|" + "---|" * (len(algorithms) + 1))
    for variant in dict.fromkeys(runs["variant"]):
        rows = [scores[variant, name] for name in algorithms]
        cells = [format_interval(row["mean"], row["low"], row["high"]) for row in rows]
        source = variant.partition(" ")[0]
        of_iql = runs.filter(pl.col("algorithm") == "iql")
        own, true = (
            of_iql.filter(pl.col("variant") == name)["score"].to_numpy() for name in (variant, f"{source} {TRUE}")
        )
        print(f"| {variant} | {' | '.join(cells)} | {share(own, true)} |")


def share(own: np.ndarray, true: np.ndarray) -> str:
    """Return the ratio of two means with its 95 % bootstrap interval, over the seeds of both."""
    if own is true or len(own) < 2:
        return ""
    ratios = bootstrap([own, true], lambda a, b: a.mean(1) / b.mean(1), RESAMPLES, np.random.default_rng(0))
    low, high = percentile_interval(ratios)
    return f"{own.mean() / true.mean():.2f} ({low:.2f} to {high:.2f})"


def print_quality(suite: Suite, budget_name: str) -> None:
    """Print how well every learned reward ranks steps, and what its model says of itself."""
    budget = suite.budget(budget_name)
    part = suite.part_of(budget)
    variants = part.variants_of(part.load_sources(budget), lambda source, victim: victim, budget=budget)
    print("| data | pairs of steps ranked right | accuracy on held-out answers | calibration error | passes |")
    print("|---|---|---|---|---|")
    for item in variants:
        report = item.dataset.info.extra.get("reward_model")
        if report is None:
            continue
        ranked = ranking_accuracy(item.dataset.rewards, item.dataset.column(MEASURE))
        held_out = report["held_out"]
        cells = [
            format_interval(ranked.accuracy, ranked.low, ranked.high),
            format_interval(held_out["accuracy"], held_out["low"], held_out["high"]),
            f"{held_out['calibration_error']:.2f}",
            str(report["passes"]),
        ]
        print(f"| {item.label} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
