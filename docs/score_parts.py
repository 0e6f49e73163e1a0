"""What several pages say of scores: a table with intervals, and whether one is better than another or than a number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from scipy import stats

from assay.analysis import score_table
from assay.analysis.tables import format_interval
from assay.datasets.bootstrap import bootstrap, percentile_interval

__all__ = [
    "against",
    "contrast",
    "difference",
    "differences",
    "of_seeds",
    "ratio",
    "scores",
    "verdict",
    "with_interval",
    "worded",
]

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


def contrast(groups: Sequence[np.ndarray], factors: Sequence[float]) -> tuple[float, float, float]:
    """Return a sum of means of groups, each times a factor, and its 95 % interval, for seeds too few to be resampled.

    The interval is Student's, with one variance for all groups (analysis of variance).

    Examples
    --------
    >>> value, low, high = contrast([np.array([1.0, 3.0]), np.array([10.0, 12.0])], [1.0, -1.0])
    >>> value, round(high - value, 3)  # a variance of 2 from 2 degrees of freedom: t = 4.303, a standard error of sqrt(2)
    (-9.0, 6.085)
    """
    freedom = sum(len(group) - 1 for group in groups)
    variance = sum(group.var() * len(group) for group in groups) / freedom
    error = np.sqrt(variance * sum(factor**2 / len(group) for group, factor in zip(groups, factors, strict=True)))
    value = float(sum(factor * group.mean() for group, factor in zip(groups, factors)))
    reach = float(stats.t.ppf(0.975, freedom) * error)
    return value, value - reach, value + reach


def ratio(own: np.ndarray, theirs: np.ndarray) -> tuple[float, float, float]:
    """Return the ratio of two means and its 95 % bootstrap interval."""
    found = bootstrap([own, theirs], lambda a, b: a.mean(1) / b.mean(1), RESAMPLES, np.random.default_rng(0))
    low, high = percentile_interval(found)
    return float(own.mean() / theirs.mean()), float(low), float(high)


def verdict(own: np.ndarray, theirs: np.ndarray) -> str:
    """Return the difference of two means with its 95 % bootstrap interval, and what it shows."""
    return worded(*difference(own, theirs))


def worded(value: float, low: float, high: float) -> str:
    """Return a difference with its interval, and what that shows.

    Examples
    --------
    >>> worded(2.5, -4.1, 9.1)
    '+2.5 [-4.1, 9.1], not shown'
    """
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
