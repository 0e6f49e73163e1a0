"""Draw what is known of each task after each task, and write the tables of docs/continual.md.

Usage: assay run suites/continual.yaml --budget small
       python docs/make_continual_table.py [RUNS]        (default runs/continual-small)

One line is one algorithm and task: the mean success of the seeds with its 95 % bootstrap interval, after so many updates. Whatever is not finished is
said to be so.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from page_parts import replace_part
from score_parts import verdict

from assay.analysis import goal_table, load_returns, load_runs, transfer_table
from assay.analysis.tables import format_interval

HERE = Path(__file__).parent
PAGE, FIGURE = HERE / "continual.md", HERE / "images" / "continual.png"
MULTITASK = "multitask"
OER, STATES, RANDOM = ("OER (reconstruction)", "OER (reconstruction), by states alone", "OER (reconstruction), random")
PAIRS = (
    (OER, "ER, random"),
    (OER, "ER, reward"),
    (OER, RANDOM),
    (OER, STATES),
    (RANDOM, "ER, random"),
    ("ER, reward", "ER, random"),
    ("ER, random", "fine-tuning"),
    (OER, MULTITASK),
)
COLOURS = ("#1f4e79", "#b4460b", "#2c8c4a")


def main(folder: str = "runs/continual-small") -> None:
    """Write the figure and the tables."""
    runs = load_runs(folder)
    unfinished = runs.filter(pl.col("status") != "finished").height
    episodes = load_returns(runs.filter(pl.col("status") == "finished")).with_columns(pl.col("return") * 100)
    note = f"\n\n{unfinished} runs did not finish." if unfinished else ""
    figure(episodes).savefig(FIGURE, dpi=144, facecolor="white")
    replace_part(PAGE, "measures", f"{measures(episodes)}{note}\n\n![success in each task](images/{FIGURE.name})")
    replace_part(PAGE, "verdicts", verdicts(episodes))


def measures(episodes: pl.DataFrame) -> str:
    """Return the measures of every algorithm as a table; of learning all at once the average alone means something."""
    table = {(row["label"], row["measure"]): row for row in transfer_table(episodes).iter_rows(named=True)}
    names = ("average", "learned", "backward", "forward")
    lines = [f"| | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for label in dict.fromkeys(episodes["label"]):
        known = [table[label, name] for name in (names[:1] if label == MULTITASK else names)]
        cells = [format_interval(row["value"], row["low"], row["high"], digits=0) for row in known]
        lines.append(f"| {label} | {' | '.join(cells + [''] * (len(names) - len(cells)))} |")
    return "\n".join(lines)


def successes(episodes: pl.DataFrame, label: str) -> np.ndarray:
    """Return the mean success of each seed over all tasks in the end."""
    chosen = episodes.filter(pl.col("final") & (pl.col("label") == label))
    return chosen.group_by("seed").agg(pl.col("return").mean()).sort("seed")["return"].to_numpy()


def verdicts(episodes: pl.DataFrame) -> str:
    """Return a table of differences."""
    lines = ["| | difference |", "|---|---|"]
    for one, other in PAIRS:
        own, theirs = successes(episodes, one), successes(episodes, other)
        said = verdict(own, theirs) if len(own) and len(theirs) else "not finished"
        lines.append(f"| {one} minus {other} | {said} |")
    return "\n".join(lines)


def figure(episodes: pl.DataFrame) -> plt.Figure:
    """Draw success in each task by the updates, a panel for each algorithm."""
    labels = list(dict.fromkeys(episodes["label"]))
    updates = episodes["update"].unique().sort().to_list()
    made, panels = plt.subplots(1, len(labels), figsize=(1.6 * len(labels), 2.8), sharey=True, layout="constrained")
    for axes, label in zip(panels, labels, strict=True):
        for task, colour in enumerate(COLOURS):
            rows = []
            for update in updates:
                chosen = episodes.filter(
                    (pl.col("label") == label) & (pl.col("update") == update) & (pl.col("goal") == task)
                )
                rows.append(goal_table(chosen.with_columns(final=pl.lit(True))).row(0, named=True))
            value = np.array([row["success"] for row in rows])
            low, high = (
                np.array([row[name] if row[name] is not None else row["success"] for row in rows])
                for name in ("low", "high")
            )
            places = np.arange(1, len(updates) + 1) + 0.08 * (task - 1)
            spread = np.stack([value - low, high - value]).clip(min=0)
            axes.errorbar(places, value, yerr=spread, fmt="o-", color=colour, ms=3, lw=1.2, label=f"task {task + 1}")
        axes.set(
            title=label.replace(" (", "\n(").replace("), ", "),\n"),
            xticks=range(1, len(updates) + 1),
            xlabel="after task",
        )
        axes.title.set_fontsize(7)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("success, %")
    panels[0].legend(frameon=False, fontsize=7)
    return made


if __name__ == "__main__":
    main(*sys.argv[1:])
