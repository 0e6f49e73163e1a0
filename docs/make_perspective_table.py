"""Draw the quality plane of the Dataset Perspective study, and write the tables of docs/dataset-perspective.md.

Usage: python -m assay.baselines.behaviour.perspective cartpole mountaincar breakout --budget small
       assay run suites/dataset-perspective.yaml --budget small
       assay run suites/dataset-perspective.yaml --budget small-minatar
       python -m assay.analysis.advice.make_evidence runs/dataset-perspective-small runs/dataset-perspective-small-minatar \\
           --output analysis/advice/evidence.parquet
       python docs/make_perspective_table.py

The figure and the tables come from the committed table of runs, analysis/advice/evidence.parquet, alone. All intervals are 95 % percentile
bootstrap over datasets.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from page_parts import replace_part

from assay.analysis.advice import evidence_plane, load_evidence
from assay.analysis.advice.regret import table_of

HERE = Path(__file__).parent
PAGE, FIGURE = HERE / "dataset-perspective.md", HERE / "images" / "dataset-perspective.png"
Q_LEARNING, CONSTRAINED, CLONING = ("DQN", "QR-DQN", "REM"), ("BCQ", "CQL", "CRR"), "BC"
RESAMPLES = 1_000
COMPETITIVE = 0.1  # of the best online policy, by which the study's "competitive" is read here


def main() -> None:
    """Write the figure and the tables."""
    runs = load_evidence()
    evidence_plane(runs, width_pixels=1040).savefig(FIGURE, dpi=144, facecolor="white")
    replace_part(PAGE, "what was run", what_was_run(runs))
    replace_part(PAGE, "datasets", scores(runs))
    replace_part(PAGE, "slopes", slopes(runs))
    replace_part(PAGE, "findings", findings(runs))
    replace_part(PAGE, "regret", table_of(runs))


def what_was_run(runs: pl.DataFrame) -> str:
    """Say how many runs there are, of what, and by which command."""
    lines = []
    for (suite, command), own in runs.group_by("suite", "command", maintain_order=True):
        counts = {name: own[name].n_unique() for name in ("label", "dataset", "seed")}
        online = own.select("environment", "data_run").n_unique()
        steps, updates = (
            " and ".join(f"{value:,}" for value in own[name].unique().sort()) for name in ("steps", "updates")
        )
        lines.append(
            f"`{suite}` (`{command}`): {own.height} runs, {counts['label']} algorithms on {counts['dataset']} datasets of {steps} steps "
            f"from {online} online runs in {', '.join(own['environment'].unique(maintain_order=True))}, {counts['seed']} seeds, {updates} updates."
        )
    return "\n\n".join(lines)


def points(runs: pl.DataFrame) -> pl.DataFrame:
    """Return a row per dataset: where it lies, and the mean performance of each algorithm over the seeds."""
    return runs.pivot(
        "label", index=["environment", "dataset", "tq", "saco"], values="performance", aggregate_function="mean"
    )


def algorithms(runs: pl.DataFrame) -> list[str]:
    """Return the algorithms in the order of the suite."""
    return runs["label"].unique(maintain_order=True).to_list()


def scores(runs: pl.DataFrame) -> str:
    """Return the performance on every dataset as a table, the best in bold."""
    labels = algorithms(runs)
    lines = [f"| dataset | TQ | SACo | {' | '.join(labels)} |", "|---|---|---|" + "---|" * len(labels)]
    for row in points(runs).iter_rows(named=True):
        best, worst = (choose(row[label] for label in labels) for choose in (max, min))
        cells = [f"**{row[label]:.2f}**" if worst < row[label] == best else rounded(row[label]) for label in labels]
        lines.append(f"| {row['dataset']} | {rounded(row['tq'])} | {rounded(row['saco'])} | {' | '.join(cells)} |")
    return "\n".join(lines)


def rounded(value: float) -> str:
    """Write a number with two digits, and no negative zero."""
    return f"{round(value, 2) + 0.0:.2f}"


def interval(table: pl.DataFrame, statistic: Callable[[pl.DataFrame], float]) -> tuple[float, float, float]:
    """Return a statistic of datasets and the ends of its interval; datasets are drawn within each environment."""
    rng = np.random.default_rng(0)
    groups = [
        group["row"].to_numpy() for _, group in table.with_row_index("row").group_by("environment", maintain_order=True)
    ]
    drawn = []
    for _ in range(RESAMPLES):
        rows = np.concatenate([rng.choice(group, len(group)) for group in groups])
        drawn.append(statistic(table[rows]))
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return statistic(table), float(low), float(high)


def coefficients(table: pl.DataFrame, values: np.ndarray) -> np.ndarray:
    """Return the slopes on TQ and SACo of the least-squares plane with a constant for each environment."""
    constants = [(table["environment"] == name).to_numpy() for name in table["environment"].unique(maintain_order=True)]
    design = np.column_stack([table["tq"], table["saco"], *constants]).astype(float)
    return np.linalg.lstsq(design, values, rcond=None)[0][:2]


def mean_of(*labels: str) -> pl.Expr:
    """Return the mean performance of algorithms on each dataset."""
    return pl.mean_horizontal(*labels)


def slope(labels: tuple[str, ...], which: int) -> Callable[[pl.DataFrame], float]:
    """Return the statistic: a coefficient of the mean performance of algorithms."""
    return lambda rows: coefficients(rows, rows.select(mean_of(*labels)).to_series().to_numpy())[which]


def slopes(runs: pl.DataFrame) -> str:
    """Return what performance gains per unit of TQ and of SACo, for every algorithm and the two families."""
    table = points(runs)
    lines = ["| | per unit of TQ | | per unit of SACo | |", "|---|---|---|---|---|"]
    families = {"DQN, QR-DQN, REM": Q_LEARNING, "BCQ, CQL, CRR": CONSTRAINED}
    for name, labels in {**{label: (label,) for label in algorithms(runs)}, **families}.items():
        cells = []
        for which in (0, 1):
            value, low, high = interval(table, slope(labels, which))
            cells += [said(value, low, high), word(low, high, "rises", "falls")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def said(value: float, low: float, high: float) -> str:
    """Write an effect with its interval."""
    return f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"


def word(low: float, high: float, above: str, below: str) -> str:
    """Say what an interval shows."""
    return above if low > 0 else below if high < 0 else "not shown"


def contrast(of: pl.Expr, where: pl.Expr) -> Callable[[pl.DataFrame], float]:
    """Return the statistic: mean where a condition holds minus mean where it does not."""

    def statistic(rows: pl.DataFrame) -> float:
        found = rows.select(of.alias("value"), where.alias("where"))
        inside, outside = (found.filter(pl.col("where") == value)["value"].mean() for value in (True, False))
        return float("nan") if inside is None or outside is None else inside - outside

    return statistic


def mean_where(of: pl.Expr, where: pl.Expr) -> Callable[[pl.DataFrame], float]:
    """Return the statistic: mean where a condition holds."""

    def statistic(rows: pl.DataFrame) -> float:
        found = rows.filter(where).select(of).to_series().mean()
        return float("nan") if found is None else found

    return statistic


def findings(runs: pl.DataFrame) -> str:
    """Return the study's three findings as a table, with the effects found here."""
    table = points(runs)
    middle_tq, middle_saco = table["tq"].median(), table["saco"].median()
    high_tq, high_saco = pl.col("tq") > middle_tq, pl.col("saco") > middle_saco
    others = [label for label in algorithms(runs) if label != CLONING]
    at_high = {label: mean_where(pl.col(label), high_tq)(table) for label in others}
    best = max(at_high, key=lambda label: at_high[label])
    tests = [
        (
            "DQN's family needs high SACo",
            f"DQN, QR-DQN, REM: SACo above {middle_saco:.2f} minus below",
            contrast(mean_of(*Q_LEARNING), high_saco),
        ),
        (
            "",
            "the same, minus what BC gains",
            contrast(mean_of(*Q_LEARNING) - pl.col(CLONING), high_saco),
        ),
        (
            "methods with a constraint do well where TQ or SACo is high",
            f"BCQ, CQL, CRR: TQ above {middle_tq:.2f} or SACo above {middle_saco:.2f}, minus neither",
            contrast(mean_of(*CONSTRAINED), high_tq | high_saco),
        ),
        (
            "",
            "BCQ, CQL, CRR minus DQN, QR-DQN, REM, where TQ or SACo is high",
            mean_where(mean_of(*CONSTRAINED) - mean_of(*Q_LEARNING), high_tq | high_saco),
        ),
        (
            "BC is competitive where TQ is high",
            f"BC minus {best}, the best of the others there, where TQ is above {middle_tq:.2f}",
            mean_where(pl.col(CLONING) - pl.col(best), high_tq),
        ),
        (
            "",
            f"the same where it is below, against {best}",
            mean_where(pl.col(CLONING) - pl.col(best), ~high_tq),
        ),
    ]
    lines = ["| finding of the study | effect here | value | |", "|---|---|---|---|"]
    for finding, effect, statistic in tests:
        value, low, high = interval(table, statistic)
        verdict = word(low, high, "shown", "the opposite")
        if finding.startswith("BC"):
            verdict = (
                f"shown: at most {COMPETITIVE:g} behind"
                if low > -COMPETITIVE
                else "not shown"
                if high > -COMPETITIVE
                else "BC is behind"
            )
        elif "the same where" in effect:
            verdict = word(low, high, "BC is ahead", "BC is behind")
        lines.append(f"| {finding} | {effect} | {said(value, low, high)} | {verdict} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
