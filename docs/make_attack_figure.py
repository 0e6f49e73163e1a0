"""Draw what is left to IQL after an attack and after noise, and print the table of docs/corruption.md.

Usage: assay run suites/attack-pendulum.yaml --budget small
       assay run suites/attack.yaml --budget small
       python docs/make_attack_figure.py [RUNS ...]     (default runs/attack-pendulum-small runs/attack-small)
"""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl

from assay.analysis import load_runs, plot_scores, score_table
from assay.analysis.tables import format_interval

IMAGES = Path(__file__).parent / "images"
ELEMENTS = ("observations", "actions", "rewards", "dynamics")


def main(folders: list[str]) -> None:
    """Write one PNG file per dataset, named after it, and print the table in Markdown."""
    runs = load_runs(folders)
    print("| data | element | clean | random | adversarial | the attack |\n|---|---|---|---|---|---|")
    for (dataset,), some in runs.group_by("dataset", maintain_order=True):
        # a suite of several sources puts their labels before the names of its variants
        some = some.with_columns(pl.col("variant").str.extract(r"((clean|random|adversarial).*)"))
        figure = plot_scores(some)
        figure.savefig(IMAGES / f"attack-{str(dataset).replace('/', '-')}.png", dpi=144, facecolor="white")
        scores = {row["variant"]: row for row in score_table(some).iter_rows(named=True)}
        for element in ELEMENTS:
            rows = [scores[variant] for variant in ("clean", f"random {element}", f"adversarial {element}")]
            cells = [format_interval(row["mean"], row["low"], row["high"]) for row in rows]
            print(f"| {dataset} | {element} | " + " | ".join([*cells, costs(rows[1], rows[2])]) + " |")


def costs(noise: dict[str, float], attack: dict[str, float]) -> str:
    """Return what an attack costs beside noise: intervals that overlap show nothing."""
    if attack["high"] < noise["low"]:
        return "costs more"
    return "costs less" if attack["low"] > noise["high"] else "not shown"


if __name__ == "__main__":
    main(sys.argv[1:] or ["runs/attack-pendulum-small", "runs/attack-small"])
