"""Draw what proxy actions are worth, and write the tables of docs/relabeling.md.

Usage: assay run suites/semi-supervised.yaml --budget small
       python docs/make_relabeling_table.py [RUNS]     (default runs/semi-supervised-small)

Scores and their intervals come from the run folder. The errors of the labels come from the variants of the same suite, which
are read where the run has cached them (`home()/variants`), or made again. Each table replaces what stands between its two
comments in the page.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import polars as pl
from page_parts import replace_part
from score_parts import ratio

from assay.analysis import load_runs, plot_scores, score_table
from assay.analysis.tables import format_interval
from assay.baselines import Suite
from assay.datasets import Dataset
from assay.relabeling import label_error

HERE = Path(__file__).parent
PAGE, FIGURE = HERE / "relabeling.md", HERE / "images" / "relabeling-proxy-actions.png"
ORACLE, PROXY, LABELLED = "oracle", "proxy", "labelled only"
WANTED = 0.9  # share of the oracle's score that proxy actions are to reach


def main(folder: str = "runs/semi-supervised-small") -> None:
    """Write the figure and the tables."""
    described = json.loads((Path(folder) / "suite.json").read_text())
    suite = Suite.from_yaml(HERE.parent / "suites" / f"{described['name']}.yaml")
    runs = load_runs(folder).filter(pl.col("status") == "finished")
    plot_scores(runs).savefig(FIGURE, dpi=144, facecolor="white")
    replace_part(PAGE, "scores", f"![scores](images/{FIGURE.name})\n\n{scores(runs)}")
    replace_part(PAGE, "errors", errors(filled_in(suite, described["budget"])))


def filled_in(suite: Suite, name: str) -> dict[str, Dataset]:
    """Return the variants of a budget whose labels were filled in."""
    budget = suite.budget(name)
    part = suite.part_of(budget)
    variants = part.variants_of(part.load_sources(budget), lambda source, victim: victim, budget=budget)
    return {item.label: item.dataset for item in variants if "uncertainty/actions" in item.dataset.columns}


def scores(runs: pl.DataFrame) -> str:
    """Return the score of every variant with its share of the oracle's as a table, and whether the aim was reached."""
    table = {(row["variant"], row["label"]): row for row in score_table(runs, rows=["label"]).iter_rows(named=True)}
    algorithms, variants = (list(dict.fromkeys(runs[name])) for name in ("label", "variant"))
    oracle = next(name for name in variants if name.endswith(ORACLE))
    names = " | ".join(f"{label} | share of the oracle" for label in algorithms)
    lines = [f"| data | {names} |", "|---|" + "---|---|" * len(algorithms)]
    shares: dict[tuple[str, str], tuple[float, float, float]] = {}
    for variant in variants:
        cells = []
        for label in algorithms:
            row = table.get((variant, label))
            if row is None or row["mean"] is None:
                cells += ["not finished", ""]
                continue
            cells.append(
                f"{format_interval(row['mean'], row['low'], row['high'])}, {row['seeds']} seed{'s' * (row['seeds'] != 1)}"
            )
            own, best = (
                runs.filter((pl.col("label") == label) & (pl.col("variant") == name))["score"].to_numpy()
                for name in (variant, oracle)
            )
            shares[variant, label] = ratio(own, best)
            cells.append("1" if variant == oracle else "{:.2f} ({:.2f} to {:.2f})".format(*shares[variant, label]))
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n\n" + "\n".join(verdicts(shares, algorithms))


def verdicts(shares: dict[tuple[str, str], tuple[float, float, float]], algorithms: list[str]) -> list[str]:
    """Say for each algorithm whether proxy actions reach the share that is wanted, and labelled steps alone do not."""
    said = []
    for label in algorithms:
        for kind in (PROXY, LABELLED):
            for (variant, of), (middle, low, high) in shares.items():
                if of == label and f" {kind} " in f" {variant} ":
                    word = (
                        "at least"
                        if low >= WANTED
                        else "below"
                        if high < WANTED
                        else "not shown to be on either side of"
                    )
                    said.append(f"- {label}, {kind}: {middle:.2f} of the oracle, {word} {WANTED:g}.")
    return said


def errors(filled: dict[str, Dataset]) -> str:
    """Return the errors of filled-in labels per quarter of the returns and per entry of the action as a table."""
    lines = ["| labels | returns | entry | steps | mean absolute error | variance explained | covered, of 90 % |"]
    lines.append("|---|---|---|---|---|---|---|")
    for name, dataset in filled.items():
        for row in label_error(dataset).iter_rows(named=True):
            if row["returns"] != "all" and row["entry"] is not None:
                continue
            entry = "all" if row["entry"] is None else row["entry"]
            numbers = f"{row['mean_absolute']:.3f} | {row['explained']:.3f} | {row['covered']:.2f}"
            lines.append(f"| {name} | {row['returns']} | {entry} | {row['steps']:,} | {numbers} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
