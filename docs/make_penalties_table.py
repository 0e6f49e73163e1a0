"""Write the tables of docs/model-based.md on penalties: whether they know where a model is wrong, and which a search chose.

Usage: assay run suites/penalties.yaml --budget small
       python docs/make_penalties_table.py [RUNS]        (default runs/penalties-small)

Calibration: an ensemble of each of four seeds on 2,000 steps of data, as large as in the suite; means with 95 % bootstrap intervals over the
seeds. The search is read from its folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl
import torch
from page_parts import replace_part
from score_parts import of_seeds, scores, verdict, with_interval

import assay
from assay.analysis import load_runs, load_search, search_table
from assay.baselines.dynamics.calibration import penalty_calibration
from assay.baselines.dynamics.ensemble import train_dynamics
from assay.baselines.dynamics.gaussian import GaussianModel
from assay.baselines.dynamics.known import known_dynamics

PAGE = Path(__file__).parent / "model-based.md"
SOURCES = {"pendulum/medium-replay": 2.0, "edge-of-reach/detours": 1.0}  # and the largest action
SEEDS, STEPS, UPDATES, STARTS, LENGTH = range(4), 2_000, 1_000, 500, 5


def main(folder: str = "runs/penalties-small") -> None:
    """Write the tables."""
    replace_part(PAGE, "calibration", calibration())
    proposals = load_search(folder)
    replace_part(PAGE, "search", chosen(proposals))
    runs = load_runs(folder).filter(pl.col("status") == "finished")
    replace_part(PAGE, "searched", f"{scores(runs)}\n\n{verdicts(runs)}")


def calibration() -> str:
    """Return the rank correlation of every penalty with the true error."""
    found = {source: [of_seed(source, bound, seed) for seed in SEEDS] for source, bound in SOURCES.items()}
    kinds = next(iter(found.values()))[0].select("penalty", "variant").rows()
    lines = [f"| penalty | variant | {' | '.join(found)} |", "|---|---|" + "---|" * len(found)]
    for number, (name, variant) in enumerate(kinds):
        cells = [with_interval(np.array([each["spearman"][number] for each in seeds]), 2) for seeds in found.values()]
        lines.append(f"| `{name}` | {variant} | {' | '.join(cells)} |")
    return "\n".join(lines)


def of_seed(source: str, bound: float, seed: int) -> pl.DataFrame:
    """Train one ensemble and compare its penalties with its error."""
    data = assay.load(source, steps=STEPS)
    rows = data.transitions()
    ensemble = train_dynamics(
        rows.observations,
        rows.actions,
        rows.rewards,
        rows.next_observations,
        model=GaussianModel(hidden=(64, 64)),
        updates=UPDATES,
        seed=seed,
    )
    known = known_dynamics(data.info.env_spec)
    assert known is not None
    starts = torch.from_numpy(np.random.default_rng(seed).choice(rows.observations, STARTS).astype(np.float32))
    return penalty_calibration(ensemble, known, starts, length=LENGTH, bound=bound, seed=seed)


def chosen(proposals: pl.DataFrame) -> str:
    """Return what the search found, and how much hung on each parameter."""
    table = search_table(proposals)
    lines = [
        "| parameter | found | rank correlation with the score | share of the ranks' variance |",
        "|---|---|---|---|",
    ]
    for row in table.iter_rows(named=True):
        correlation = "" if row["correlation"] is None else f"{row['correlation']:+.2f}"
        share = "" if row["importance"] is None else f"{100 * row['importance']:.0f} %"
        lines.append(f"| `{row['parameter']}` | {row['found']} | {correlation} | {share} |")
    return "\n".join(lines)


def verdicts(runs: pl.DataFrame) -> str:
    """Return the differences of final scores."""
    lines = ["| difference of scores | |", "|---|---|"]
    for one, other in (("MOPO, searched", "MOPO"), ("MOPO, searched", "no penalty"), ("MOPO", "no penalty")):
        own, theirs = (of_seeds(runs, label, "clean") for label in (one, other))
        if len(own) and len(theirs):
            lines.append(f"| {one} minus {other} | {verdict(own, theirs)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
