"""What several pages say of scores: a table with intervals, and whether one is better than another or than a number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from assay.analysis import score_table
from assay.analysis.tables import format_interval
from assay.datasets.bootstrap import bootstrap, percentile_interval

__all__ = ["against", "difference", "differences", "of_seeds", "ratio", "scores", "verdict", "with_interval"]

RESAMPLES = 10_000


def scores(runs: pl.DataFrame) -> str:
    """Return the score of every variant and algorithm with its interval as a table."""
    table = {(row["variant"], row["label"]): row for row in score_table(runs, rows=["label"]).iter_rows(named=True)}
    algorithms, variants = (list(dict.fromkeys(runs[name])) for name in ("label", "variant"))
    lines = [f"| data | {' | '.join(algorithms)} |", "|---|" + "---|" * len(algorithms)]
    for variant in variants:
        cells = []
        for label in algorithms:
            row = table.get((variant, label))
            known = row is not None and row["mean"] is not None
            cells.append(
                f"{format_interval(row['mean'], row['low'], row['high'])}, {row['seeds']} seed{'s' * (row['seeds'] != 1)}"
                if row is not None and known
                else "not finished"
            )
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    return "\n".join(lines)


def of_seeds(runs: pl.DataFrame, label: str, variant: str, column: str = "score") -> np.ndarray:
    """Return a number of every seed of one algorithm on one variant."""
    return runs.filter((pl.col("label") == label) & (pl.col("variant") == variant)).sort("seed")[column].to_numpy()


def with_interval(numbers: np.ndarray, digits: int = 1) -> str:
    """Return a mean with its 95 % bootstrap interval."""
    low, high = percentile_interval(bootstrap([numbers], lambda a: a.mean(1), RESAMPLES, np.random.default_rng(0)))
    return format_interval(float(numbers.mean()), float(low), float(high), digits)


def against(low: float, high: float, reference: float, name: str) -> str:
    """Return on which side of a number the interval of a score lies; one that contains it shows neither.

    Examples
    --------
    >>> against(3.7, 16.5, 7.4, "the data")
    'not shown'
    """
    return f"above {name}" if low > reference else f"**below {name}**" if high < reference else "not shown"


def difference(own: np.ndarray, theirs: np.ndarray) -> tuple[float, float, float]:
    """Return the difference of two means and its 95 % bootstrap interval."""
    found = bootstrap([own, theirs], lambda a, b: a.mean(1) - b.mean(1), RESAMPLES, np.random.default_rng(0))
    low, high = percentile_interval(found)
    return float(own.mean() - theirs.mean()), float(low), float(high)


def ratio(own: np.ndarray, theirs: np.ndarray) -> tuple[float, float, float]:
    """Return the ratio of two means and its 95 % bootstrap interval."""
    found = bootstrap([own, theirs], lambda a, b: a.mean(1) / b.mean(1), RESAMPLES, np.random.default_rng(0))
    low, high = percentile_interval(found)
    return float(own.mean() / theirs.mean()), float(low), float(high)


def verdict(own: np.ndarray, theirs: np.ndarray) -> str:
    """Return the difference of two means with its 95 % bootstrap interval, and what it shows."""
    value, low, high = difference(own, theirs)
    word = "better" if low > 0 else "worse" if high < 0 else "not shown"
    return f"{value:+.1f} [{low:.1f}, {high:.1f}], {word}"


def differences(runs: pl.DataFrame, pairs: Sequence[tuple[str, str]]) -> str:
    """Return a table of differences of scores, each of one algorithm and another, on every variant."""
    variants = list(dict.fromkeys(runs["variant"]))
    lines = [f"| difference of scores | {' | '.join(variants)} |", "|---|" + "---|" * len(variants)]
    for one, other in pairs:
        cells = []
        for variant in variants:
            own, theirs = of_seeds(runs, one, variant), of_seeds(runs, other, variant)
            cells.append(verdict(own, theirs) if len(own) and len(theirs) else "not finished")
        lines.append(f"| {one} minus {other} | {' | '.join(cells)} |")
    return "\n".join(lines)
