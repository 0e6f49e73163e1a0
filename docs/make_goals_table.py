"""Draw which evaluation goals each method reaches, and write the tables of docs/goals.md.

Usage: assay run suites/goals.yaml --budget small
       assay run suites/goals.yaml --budget longer
       assay run suites/goals.yaml --budget ogbench           (needs the extra `ogbench`)
       python docs/make_goals_table.py [RUNS [LONGER [OGBENCH]]]   (default runs/goals-small runs/goals-longer runs/goals-ogbench)

A table whose folder is not there stays as it is. One point is one source, algorithm and goal: the mean success of the seeds with its 95 % bootstrap interval; the last one of a panel is the mean of its
goals. Whatever is not finished is said to be so.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from page_parts import replace_part
from score_parts import verdict

from assay.analysis import goal_table, load_curves, load_returns, load_runs
from assay.analysis.tables import format_interval

HERE = Path(__file__).parent
PAGE, FIGURE = HERE / "goals.md", HERE / "images" / "goals.png"
COLOURS = {"SMORe": "#1f4e79", "GCBC": "#b4460b", "GCIQL": "#2c8c4a"}
BESIDE = "SMORe"
METHODS = tuple(COLOURS)
WITH_CLONING = (*METHODS, "BC")


def main(
    folder: str = "runs/goals-small", longer: str = "runs/goals-longer", ogbench: str = "runs/goals-ogbench"
) -> None:
    """Write the figure and the tables."""
    if Path(folder).is_dir():
        episodes, note = finished(folder)
        table = goal_table(episodes)
        figure(table).savefig(FIGURE, dpi=144, facecolor="white")
        replace_part(PAGE, "goals", f"{by_goal(table)}{note}\n\n![success by goal](images/{FIGURE.name})")
        replace_part(PAGE, "verdicts", verdicts(episodes))
    if Path(longer).is_dir():
        replace_part(PAGE, "longer", by_updates(load_returns(longer), load_curves(longer)))
    if Path(ogbench).is_dir():
        episodes, note = finished(ogbench)
        by_task = by_goal(goal_table(episodes), WITH_CLONING)
        replace_part(PAGE, "ogbench", f"{by_task}{note}\n\n{verdicts(episodes, WITH_CLONING)}")


def finished(folder: str) -> tuple[pl.DataFrame, str]:
    """Return the episodes of the runs that are finished, and a sentence on the others."""
    runs = load_runs(folder)
    unfinished = runs.filter(pl.col("status") != "finished").height
    episodes = load_returns(runs.filter(pl.col("status") == "finished"))
    episodes = episodes.with_columns(pl.col("variant").str.strip_suffix(" clean"))
    return episodes, f"\n\n{unfinished} runs did not finish." if unfinished else ""


def cell(row: dict[str, object] | None) -> str:
    """Return success in percent with its interval."""
    if row is None:
        return "not finished"
    numbers = [None if row[name] is None else 100 * float(str(row[name])) for name in ("success", "low", "high")]
    return format_interval(*numbers, digits=0)


def by_goal(table: pl.DataFrame, labels: Sequence[str] = METHODS) -> str:
    """Return success of every algorithm by data and goal as a table."""
    found = {(row["variant"], row["goal"], row["label"]): row for row in table.iter_rows(named=True)}
    lines = [f"| data | goal | {' | '.join(labels)} |", "|---|---|" + "---|" * len(labels)]
    for variant in dict.fromkeys(table["variant"]):
        goals = table.filter(pl.col("variant") == variant)["goal"].unique().sort(nulls_last=True)
        for goal in goals:
            cells = " | ".join(cell(found.get((variant, goal, label))) for label in labels)
            lines.append(f"| {variant if goal == 0 else ''} | {'mean' if goal is None else goal} | {cells} |")
    return "\n".join(lines)


def successes(episodes: pl.DataFrame, label: str, variant: str) -> np.ndarray:
    """Return the mean success of each seed, in percent."""
    chosen = episodes.filter(pl.col("final") & (pl.col("label") == label) & (pl.col("variant") == variant))
    return 100 * chosen.group_by("seed").agg(pl.col("return").mean()).sort("seed")["return"].to_numpy()


def verdicts(episodes: pl.DataFrame, labels: Sequence[str] = METHODS) -> str:
    """Return a table of the differences of SMORe's mean success to the others'."""
    others = [label for label in labels if label != BESIDE]
    lines = [f"| {BESIDE} minus | {' | '.join(others)} |", "|---|" + "---|" * len(others)]
    for variant in dict.fromkeys(episodes["variant"]):
        own, cells = successes(episodes, BESIDE, variant), []
        for label in others:
            theirs = successes(episodes, label, variant)
            cells.append(verdict(own, theirs) if len(own) and len(theirs) else "not finished")
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    return "\n".join(lines)


def by_updates(episodes: pl.DataFrame, curves: pl.DataFrame) -> str:
    """Return the mean success after so many updates, the last less the first, and SMORe's mean score, of at most 200."""
    updates = episodes["update"].unique().sort().to_list()
    lines = [f"| updates | {' | '.join(f'{update:,}' for update in updates)} | last minus first |"]
    lines.append("|---|" + "---|" * (len(updates) + 1))
    for label in dict.fromkeys(episodes["label"]):
        cells, of_seed = [], []
        for update in updates:
            chosen = episodes.filter((pl.col("label") == label) & (pl.col("update") == update))
            row = (
                goal_table(chosen.with_columns(final=pl.lit(True))).filter(pl.col("goal").is_null()).row(0, named=True)
            )
            cells.append(cell(row))
            of_seed.append(successes(chosen.with_columns(final=pl.lit(True)), label, chosen["variant"][0]))
        lines.append(f"| {label} | {' | '.join(cells)} | {verdict(of_seed[-1], of_seed[0])} |")
    scores = curves.filter(pl.col("metric") == "score_elsewhere").group_by("update").agg(pl.col("value").mean())
    of_update = dict(scores.rows())
    lines.append(f"| mean score of SMORe | {' | '.join(f'{of_update[update]:.0f}' for update in updates)} | |")
    return "\n".join(lines)


def figure(table: pl.DataFrame) -> plt.Figure:
    """Draw success by goal, a panel for each source."""
    variants = list(dict.fromkeys(table["variant"]))
    made, panels = plt.subplots(
        1, len(variants), figsize=(2.6 * len(variants), 2.8), sharey=True, layout="constrained", squeeze=False
    )
    for axes, variant in zip(panels[0], variants, strict=True):
        for shift, (label, colour) in enumerate(COLOURS.items()):
            rows = table.filter((pl.col("variant") == variant) & (pl.col("label") == label))
            goals = rows["goal"].fill_null(rows["goal"].max() + 1 if rows.height > 1 else 0).to_numpy()
            success = 100 * rows["success"].to_numpy()
            low, high = (100 * rows[name].fill_null(rows["success"]).to_numpy() for name in ("low", "high"))
            spread = np.stack([success - low, high - success]).clip(min=0)
            axes.errorbar(
                goals + 0.2 * (shift - 1), success, yerr=spread, fmt="o", color=colour, ms=4, lw=1.2, label=label
            )
        places = np.arange(int(table["goal"].max() or 0) + 2)
        axes.set(title=variant, xticks=places, xticklabels=[*map(str, places[:-1]), "mean"], xlabel="evaluation goal")
        axes.axvspan(places[-1] - 0.5, places[-1] + 0.5, color="#f2f2f2", zorder=0)
        axes.title.set_fontsize(8)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_ylabel("success, %")
    panels[0][0].legend(frameon=False, fontsize=8)
    return made


if __name__ == "__main__":
    main(*sys.argv[1:])
