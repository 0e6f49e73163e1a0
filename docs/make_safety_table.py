"""Draw what methods earn and what they cost, and write the tables of docs/safety.md.

Usage: assay run suites/safety.yaml --budget small
       assay run suites/safety.yaml --budget scale
       python docs/make_safety_table.py [RUNS [SCALE]]        (default runs/safety-small runs/safety-scale)

Scores and costs stay two numbers: means over the seeds with 95 % bootstrap intervals. Whatever is not finished is said to be so.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from page_parts import replace_part
from score_parts import verdict

import assay
from assay.analysis import cost_table, load_curves, load_runs
from assay.analysis.tables import format_interval
from assay.baselines import Run
from assay.datasets.environments import braking_car, point_robot

HERE = Path(__file__).parent
PAGE, FIGURE = HERE / "safety.md", HERE / "images" / "safety.png"
BESIDE = "FISOR"
COLOURS = {
    BESIDE: "#1f4e79",
    "BC-Safe": "#2c8c4a",
    "CPQ": "#8a5aa8",
    "IQL-Lag": "#b4460b",
    "BC": "#9a9a9a",
    "TD3+BC": "#666666",
    "IQL": "#222222",
}


def main(folder: str = "runs/safety-small", scale: str = "runs/safety-scale") -> None:
    """Write the figure and the tables."""
    (runs, unfinished), (rescaled, _) = finished(folder), finished(scale)
    table = cost_table(runs, ["label"])
    figure(table).savefig(FIGURE, dpi=144, facecolor="white")
    note = f"\n\n{unfinished} runs did not finish." if unfinished else ""
    replace_part(PAGE, "costs", f"{costs(table)}{note}\n\n![scores and costs](images/{FIGURE.name})")
    replace_part(PAGE, "verdicts", verdicts(runs))
    replace_part(PAGE, "regions", regions(runs))
    replace_part(PAGE, "scale", f"{costs(cost_table(rescaled, ['label']), [BESIDE])}\n\n{regions(rescaled)}")


def finished(folder: str) -> tuple[pl.DataFrame, int]:
    """Return the finished runs, and the number of the others."""
    runs = load_runs(folder).with_columns(pl.col("variant").str.strip_suffix(" clean"))
    done = runs.filter(pl.col("status") == "finished")
    return done, runs.height - done.height


def costs(table: pl.DataFrame, labels: Iterable[str] = COLOURS) -> str:
    """Return score, cost, cost over the limit and share of episodes above it, by data and method, as a table."""
    found = {(row["variant"], row["label"]): row for row in table.iter_rows(named=True)}
    lines = [
        "| data | method | score | cost of an episode | cost / limit | episodes above the limit, % |",
        "|---|---|---|---|---|---|",
    ]
    for variant in dict.fromkeys(table["variant"]):
        for place, label in enumerate(labels):
            row = found.get((variant, label))
            cells = "not finished | | | "
            if row is not None:
                cells = " | ".join(
                    format_interval(*(scale * row[f"{metric}{end}"] for end in ("", "/low", "/high")), digits=digits)
                    for metric, scale, digits in (
                        ("score", 1, 0),
                        ("cost_return", 1, 1),
                        ("normalized_cost", 1, 1),
                        ("over_limit", 100, 0),
                    )
                )
            lines.append(f"| {variant if place == 0 else ''} | {label} | {cells} |")
    return "\n".join(lines)


def of_seeds(runs: pl.DataFrame, label: str, variant: str, metric: str) -> np.ndarray:
    """Return a number of each seed."""
    chosen = runs.filter((pl.col("label") == label) & (pl.col("variant") == variant))
    return chosen.sort("seed")[metric].to_numpy()


def verdicts(runs: pl.DataFrame) -> str:
    """Return a table of FISOR's score less the others', and of what the others cost more."""
    lines = [f"| data | beside {BESIDE} | {BESIDE}'s score less its | its cost less {BESIDE}'s |", "|---|---|---|---|"]
    for variant in dict.fromkeys(runs["variant"]):
        for place, label in enumerate(name for name in COLOURS if name != BESIDE):
            cells = []
            for metric, sign in (("score", 1), ("cost_return", -1)):
                pair = [of_seeds(runs, name, variant, metric) for name in (BESIDE, label)][::sign]
                cells.append(verdict(*pair) if all(map(len, pair)) else "not finished")
            lines.append(f"| {variant if place == 0 else ''} | {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def regions(runs: pl.DataFrame) -> str:
    """Return which share of the data's states FISOR calls feasible, which one is, and how its episodes end on the robot."""
    data = {
        name: assay.load(f"{name}/detours", steps=20_000).transitions().observations
        for name in ("braking-car", "point-robot")
    }
    true = {
        "car detours": braking_car.viable(data["braking-car"]).mean(),
        "robot detours": point_robot.avoidable(point_robot.state_of(data["point-robot"])).mean(),
    }
    lines = [
        "| data | seed | called feasible, % | feasible, % | reach the goal, % | leave the arena, % |",
        "|---|---|---|---|---|---|",
    ]
    for run in runs.filter(pl.col("label") == BESIDE).sort("variant", "seed").iter_rows(named=True):
        logged = load_curves(runs.filter(pl.col("path") == run["path"])).filter(pl.col("metric") == "feasible_share")
        called = logged.sort("update")["value"].tail(3).mean()
        ends = (
            " | ".join(f"{100 * share:.0f}" for share in robot_ends(run["path"]))
            if run["variant"].startswith("robot")
            else " | "
        )
        lines.append(
            f"| {run['variant']} | {run['seed']} | {100 * called:.0f} | {100 * true[run['variant']]:.0f} | {ends} |"
        )
    return "\n".join(lines)


def robot_ends(path: str) -> tuple[float, float]:
    """Drive 100 episodes and return which shares of them reach the goal and leave the arena."""
    policy, robot = Run(Path(path)).policy, point_robot.PointRobot()
    state = point_robot.state_of(np.stack([robot.reset(seed=seed)[0] for seed in range(100)]))
    ended = np.zeros(len(state), bool)
    for _ in range(point_robot.HORIZON):
        actions = policy(point_robot.observed(state).astype(np.float32))
        state = np.where(ended[:, None], state, point_robot.advanced(state, actions))
        ended |= point_robot.over(state)
    reached = ended & (np.abs(state[:, :2]) <= point_robot.ARENA).all(1)
    return float(reached.mean()), float((ended & ~reached).mean())


def figure(table: pl.DataFrame) -> plt.Figure:
    """Draw score against cost, a panel for each source; costs within the limit are on white."""
    variants = list(dict.fromkeys(table["variant"]))
    made, panels = plt.subplots(
        1, len(variants), figsize=(3.6 * len(variants), 3.0), layout="constrained", squeeze=False
    )
    for axes, variant in zip(panels[0], variants, strict=True):
        rows = {row["label"]: row for row in table.filter(pl.col("variant") == variant).iter_rows(named=True)}
        for label, colour in COLOURS.items():
            if label not in rows:
                continue
            row = rows[label]
            spreads = {}
            for axis, metric in (("xerr", "cost_return"), ("yerr", "score")):
                low, high = (row[f"{metric}/{end}"] for end in ("low", "high"))
                spreads[axis] = [[max(row[metric] - low, 0.0)], [max(high - row[metric], 0.0)]]
            axes.errorbar(row["cost_return"], row["score"], **spreads, fmt="o", color=colour, ms=5, lw=1.2, label=label)
        limits = [row["cost_return"] / row["normalized_cost"] for row in rows.values() if row["normalized_cost"]]
        if limits:
            right = axes.get_xlim()[1]
            axes.axvspan(limits[0], right, color="#f2e3e0", zorder=0)
            axes.set_xlim(right=right)
        axes.set(title=variant, xlabel="cost of an episode")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_ylabel("score")
    panels[0][0].legend(frameon=False, fontsize=7)
    return made


if __name__ == "__main__":
    main(*sys.argv[1:])
