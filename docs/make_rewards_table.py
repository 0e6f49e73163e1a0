"""Draw what learned rewards are worth, and write the tables of docs/rewards.md.

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
from page_parts import replace_part
from score_parts import ratio

from assay.analysis import load_runs, plot_scores, score_table
from assay.analysis.tables import format_interval
from assay.baselines import Suite
from assay.datasets.bootstrap import bootstrap, percentile_interval
from assay.relabeling import ranking_accuracy
from assay.relabeling.task_measure import MEASURE

HERE = Path(__file__).parent
PAGE, FIGURE = HERE / "rewards.md", HERE / "images" / "relabeling-rewards.png"
TRUE = "true rewards"
RESAMPLES = 10_000


def main(folder: str = "runs/preference-rewards-small") -> None:
    """Write the figure and the tables."""
    runs = load_runs(folder)
    plot_scores(runs).savefig(FIGURE, dpi=144, facecolor="white")
    described = json.loads((Path(folder) / "suite.json").read_text())
    suite = Suite.from_yaml(HERE.parent / "suites" / f"{described['name']}.yaml")
    replace_part(PAGE, "scores", f"![scores](images/{FIGURE.name})\n\n{scores_of(runs)}")
    replace_part(PAGE, "quality", quality_of(suite, described["budget"]))


def scores_of(runs: pl.DataFrame) -> str:
    """Return the scores of every variant, and the share of IQL's with the true rewards."""
    scores = {(row["variant"], row["algorithm"]): row for row in score_table(runs).iter_rows(named=True)}
    algorithms = dict(runs.select("algorithm", "label").unique(maintain_order=True).iter_rows())
    header = " | ".join(algorithms.values())
    lines = [f"| data | {header} | IQL, share of true rewards |", "|---|" + "---|" * (len(algorithms) + 1)]
    for variant in dict.fromkeys(runs["variant"]):
        rows = [scores[variant, name] for name in algorithms]
        cells = [format_interval(row["mean"], row["low"], row["high"]) for row in rows]
        source = variant.partition(" ")[0]
        of_iql = runs.filter(pl.col("algorithm") == "iql")
        own, true = (
            of_iql.filter(pl.col("variant") == name)["score"].to_numpy() for name in (variant, f"{source} {TRUE}")
        )
        relative = "1" if variant == f"{source} {TRUE}" else share(own, true)
        lines.append(f"| {variant} | {' | '.join(cells)} | {relative} |")
    return "\n".join(lines)


def share(own: np.ndarray, true: np.ndarray) -> str:
    """Return the ratio of two means with its 95 % bootstrap interval, over the seeds of both."""
    if len(own) < 2 or len(true) < 2:
        return ""
    low, _ = percentile_interval(bootstrap([true], lambda a: a.mean(1), RESAMPLES, np.random.default_rng(0)))
    if low <= 0:
        return "none was shown"
    value, low, high = ratio(own, true)
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def quality_of(suite: Suite, budget_name: str) -> str:
    """Return how well every learned reward ranks steps, and what its model says of itself."""
    budget = suite.budget(budget_name)
    part = suite.part_of(budget)
    variants = part.variants_of(part.load_sources(budget), lambda source, victim: victim, budget=budget)
    lines = ["| data | pairs of steps ranked right | accuracy on held-out answers | calibration error | passes |"]
    lines.append("|---|---|---|---|---|")
    for item in variants:
        report = item.dataset.info.extra.get("reward_model")
        if report is None:
            continue
        ranked = ranking_accuracy(item.dataset.rewards, item.dataset.column(MEASURE))
        held_out = report["held_out"]
        cells = [
            f"{ranked.accuracy:.2f} [{ranked.low:.2f}, {ranked.high:.2f}]",
            f"{held_out['accuracy']:.2f} [{held_out['low']:.2f}, {held_out['high']:.2f}]",
            f"{held_out['calibration_error']:.2f}",
            str(report["passes"]),
        ]
        lines.append(f"| {item.label} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
