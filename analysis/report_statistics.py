"""The parts of a report that compare: variants with the clean one, algorithms in pairs, profiles, and how fast learning goes.

What cannot be compared, because runs are missing or their seeds differ, is named in a sentence, and the rest of the report stands.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import polars as pl

from assay.analysis.comparisons import comparison_table, performance_profiles, sample_efficiency
from assay.analysis.figures import plot_forest, plot_performance_profiles, plot_sample_efficiency
from assay.analysis.page import escape, figure_block, table_block
from assay.analysis.tables import clean_variant
from assay.analysis.trials import TrialResult
from assay.analysis.trials.finished_runs import compare_stored_runs
from assay.baselines.runs.reader import StoredRun
from assay.datasets.errors import AssayError

__all__ = ["algorithms_section", "control_of", "efficiency_figure", "profiles_figure", "verdicts_section"]

_MOST_IN_A_FOREST = 40  # comparisons, each a row of the figure
_FEWEST_IN_A_PROFILE = 4  # runs of each algorithm


def control_of(runs: pl.DataFrame) -> str | None:
    """Return the variant that trials compare with: the clean one; in a suite of several sources, its name behind theirs.

    Examples
    --------
    >>> control_of(pl.DataFrame({"variant": ["a none", "a noisy", "b none"], "transforms": [0, 1, 0]}))
    'none'
    """
    clean = clean_variant(runs)
    if clean is not None or "transforms" not in runs.columns:
        return clean
    untouched = set(runs.filter(pl.col("transforms") == 0)["variant"])
    names = {name.rpartition(" ")[2] for name in untouched}
    return names.pop() if len(names) == 1 else None


def verdicts_section(records: Sequence[StoredRun], runs: pl.DataFrame) -> str:
    """Return verdicts on every variant beside the control, as `assay trial` gives them; "" where there is nothing to compare."""
    control = control_of(runs)
    if control is None or len({record.variant for record in records}) < 2:
        return ""
    try:
        found = compare_stored_runs(records, control)
    except AssayError as error:
        return _not_compared("Verdicts on the variants", error)
    few = all(item.interval[0] == -math.inf for item in found.comparisons.values())
    parts = ["<h2>Did the changes help or harm?</h2>"]
    if few:
        seeds = max(item.seeds for item in found.comparisons.values())
        comparisons = len(found.comparisons)
        parts.append(
            f"<p>{escape(f'{seeds} seeds cannot show anything over {comparisons} comparisons, whatever the scores are')}: every verdict "
            "is undecided, which does not mean that there is no difference. <code>assay trial</code> says how many seeds are needed.</p>"
        )
    table = found.table.with_columns(pl.col("algorithm").replace(dict(zip(runs["algorithm"], runs["label"]))))
    if not few and table.height <= _MOST_IN_A_FOREST:
        text = "Differences of every variant with their intervals and verdicts; same as the table"
        parts.append(figure_block("verdicts", lambda width: plot_forest(table, width_pixels=width), text))
    parts.append(_verdict_table(found, table))
    return "\n".join(parts)


def _verdict_table(found: TrialResult, table: pl.DataFrame) -> str:
    rows = []
    for row in table.iter_rows(named=True):
        size = f"{row['difference']:+.3g}"
        if row["low"] is not None:
            size += f" <small>[{row['low']:+.3g}, {row['high']:+.3g}]</small>"
        mark = {"worse": "lower", "better": "higher"}.get(row["verdict"])
        verdict = escape(row["verdict"])
        rows.append(
            [
                escape(row["after"]),
                escape(row["algorithm"]),
                f"<td class='text {mark}'>{verdict}</td>" if mark else verdict,
                size,
                f"{row['probability_of_improvement']:.2f}",
                "nothing" if row["smallest_difference"] is None else f"{row['smallest_difference']:.3g}",
                str(row["seeds"]),
                f"{row['adjusted_p_value']:.2g}",
            ]
        )
    header = ["Variant", "Algorithm", "Verdict", "Difference", "P(better)", "Could have shown", "Seeds", "p"]
    unit = found.unit.removeprefix("of ")
    caption = (
        f"Every variant against {found.control}, in pairs of equal seeds: difference ({unit}; pooled: in standard deviations) with its "
        "interval, the share of seeds that are better than without the change, and the difference that these seeds show with probability "
        f"{found.rules.power:.2g}. {found.sentences[-1]}"
    )
    return table_block(header, rows, escape(caption), text=(1, 2), sortable=True)


def algorithms_section(runs: pl.DataFrame, metric: str) -> str:
    """Return every pair of algorithms over all variants; "" where there are not two algorithms."""
    if runs["label"].n_unique() < 2 or not _comparable(runs, metric):
        return ""
    try:
        table = comparison_table(runs, metric, progress=None)
    except AssayError as error:
        return _not_compared("Algorithms in pairs", error)
    rows = [
        [
            escape(row["first"]),
            escape(row["second"]),
            _with_interval(row["difference"], row["low"], row["high"], "+.3g"),
            _with_interval(row["probability"], row["probability_low"], row["probability_high"], ".2f"),
        ]
        for row in table.iter_rows(named=True)
    ]
    first: dict[str, Any] = table.row(0, named=True)
    caption = (
        f"First minus second, the mean over {first['tasks']} tasks and {first['seeds']} seeds of each, in pairs of equal seeds; and the "
        "probability that a run of the first beats one of the second on a task drawn at random [95 % bootstrap interval of each pair alone]."
    )
    header = ["First", "Second", "Difference", "P(first is better)"]
    return "<h2>Algorithms in pairs</h2>\n" + table_block(header, rows, escape(caption), text=(1,), sortable=True)


def profiles_figure(runs: pl.DataFrame, metric: str) -> str:
    """Return performance profiles; "" where runs are too few or do not form equal tasks."""
    scored = runs.filter(pl.col(metric).is_not_null())
    counts = scored["label"].value_counts()["count"].to_list()
    if not _comparable(runs, metric) or min(counts, default=0) < _FEWEST_IN_A_PROFILE:
        return ""
    try:
        profiles = performance_profiles(runs, metric)
    except AssayError:  # the pairs say why
        return ""
    text = "Share of runs above each score, a line per algorithm"
    return figure_block("profiles", lambda width: plot_performance_profiles(profiles, width_pixels=width).figure, text)  # type: ignore[arg-type, return-value]


def efficiency_figure(runs: pl.DataFrame, metric: str) -> str:
    """Return the interquartile mean over updates; "" where runs were not evaluated along the way, alike."""
    if runs["return_mean"].is_null().all() or not _comparable(runs, metric):
        return ""
    try:
        curves = sample_efficiency(runs, "score" if metric == "score" else "return")
    except AssayError:
        return ""
    if curves["update"].n_unique() < 2:
        return ""
    text = "Interquartile mean of the scores over gradient updates, a line per algorithm"
    return figure_block("efficiency", lambda width: plot_sample_efficiency(curves, width_pixels=width).figure, text)  # type: ignore[arg-type, return-value]


def _comparable(runs: pl.DataFrame, metric: str) -> bool:
    """Whether numbers of different tasks compare: scores do, returns of one environment do."""
    return metric == "score" or runs["environment"].n_unique() == 1


def _with_interval(value: float, low: float | None, high: float | None, form: str) -> str:
    text = f"{value:{form}}"
    return text if low is None or high is None else f"{text} <small>[{low:{form}}, {high:{form}}]</small>"


def _not_compared(what: str, error: AssayError) -> str:
    return f'<p class="note">{escape(what)} are left out: {escape(str(error))}.</p>'
