"""Draw who survives corrupted data, and write the tables of docs/corruption.md.

Usage: assay run suites/robustness.yaml --budget small
       assay run suites/robustness.yaml --budget cpu
       python docs/make_robustness_table.py [RUNS [LONGER]]        (default runs/robustness-small runs/robustness-cpu)

One cell is one variant and algorithm: the mean score of its seeds, and its difference to the clean data. Whatever is not finished is said
to be so. Tables whose folder is not there stay as they are.
"""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
from page_parts import replace_part
from score_parts import contrast, of_seeds, scores, verdict, worded

from assay.analysis import load_returns, load_runs, plot_score_map

HERE = Path(__file__).parent
PAGE, FIGURE = HERE / "corruption.md", HERE / "images" / "corruption-robustness.png"
ROBUST, ORDINARY = "RIQL", "IQL"
CLEAN, CORRUPTED = "clean", "random simultaneous"


def main(folder: str = "runs/robustness-small", longer: str = "runs/robustness-cpu") -> None:
    """Write the figure and the tables."""
    if Path(folder).is_dir():
        runs = load_runs(folder).filter(pl.col("status") == "finished")
        figure = plot_score_map(runs).figure
        figure.savefig(FIGURE, dpi=144, facecolor="white")
        replace_part(PAGE, "survivors", f"{scores(runs)}\n\n![scores](images/{FIGURE.name})")
        replace_part(PAGE, "survivors' losses", losses(runs))
        replace_part(PAGE, "survivors' episodes", episodes(load_returns(folder).filter("final")))
    if Path(longer).is_dir():
        runs = load_runs(longer).filter(pl.col("status") == "finished")
        replace_part(PAGE, "survivors of the longer runs", f"{scores(runs)}\n\n{losses_over_bodies(runs)}")


def losses(runs: pl.DataFrame) -> str:
    """Return a table of what corruption takes from each algorithm, and what the robust one has above its like."""
    labels, variants = (list(dict.fromkeys(runs[name])) for name in ("label", "variant"))
    clean = next(variant for variant in variants if variant.endswith("clean"))
    heads = [*(f"{label} minus clean" for label in labels), f"{ROBUST} minus {ORDINARY}"]
    lines = [f"| data | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    for variant in variants:
        pairs = [(label, clean, label) for label in labels] + [(ORDINARY, variant, ROBUST)]
        cells = []
        for than, on, label in pairs:
            own, theirs = of_seeds(runs, label, variant), of_seeds(runs, than, on)
            known = len(own) and len(theirs)
            cells.append("" if (label, variant) == (than, on) else verdict(own, theirs) if known else "not finished")
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    return "\n".join(lines)


def losses_over_bodies(runs: pl.DataFrame) -> str:
    """Return a table of what corruption takes from each algorithm on average over the bodies, and what the robust one has above its like."""
    bodies = [
        variant.removesuffix(f" {CLEAN}") for variant in dict.fromkeys(runs["variant"]) if variant.endswith(CLEAN)
    ]
    lines = [f"| mean over {' and '.join(bodies)} | difference |", "|---|---|"]
    sums = {
        f"{label}, corrupted minus clean": {(label, CORRUPTED): 1.0, (label, CLEAN): -1.0}
        for label in dict.fromkeys(runs["label"])
    }
    sums |= {
        f"{ROBUST} minus {ORDINARY}, {data}": {(ROBUST, data): 1.0, (ORDINARY, data): -1.0}
        for data in (CLEAN, CORRUPTED)
    }
    ahead = [sums[f"{ROBUST} minus {ORDINARY}, {data}"] for data in (CLEAN, CORRUPTED)]
    sums[f"{ROBUST} minus {ORDINARY}, corrupted minus clean"] = {
        cell: -factor for cell, factor in ahead[0].items()
    } | ahead[1]
    for name, factors in sums.items():
        groups = [of_seeds(runs, label, f"{body} {data}") for label, data in factors for body in bodies]
        shares = [factor / len(bodies) for factor in factors.values() for _ in bodies]
        lines.append(f"| {name} | {worded(*contrast(groups, shares)) if all(map(len, groups)) else 'not finished'} |")
    return "\n".join(lines)


def episodes(returns: pl.DataFrame) -> str:
    """Return a table of how long episodes last, and of the reward per step."""
    labels, variants = (list(dict.fromkeys(returns[name])) for name in ("label", "variant"))
    means = returns.group_by("label", "variant").agg(pl.col("length").mean(), pl.col("return").mean())
    found = {(label, variant): (length, earned) for label, variant, length, earned in means.iter_rows()}
    lines = [f"| data | {' | '.join(labels)} |", "|---|" + "---|" * len(labels)]
    for variant in variants:
        cells = []
        for label in labels:
            length, earned = found.get((label, variant), (None, None))
            cells.append("not finished" if length is None else f"{length:.0f} steps, {earned / length:.1f} each")
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
