"""How figures call variants and metrics, and in which order the variants stand."""

from __future__ import annotations

import polars as pl

__all__ = ["axis_label", "choose_metric", "distinct_variants", "variants_in_order"]


def distinct_variants(runs: pl.DataFrame) -> pl.DataFrame:
    """Put the dataset's name before the variant's where one variant name stands for several datasets."""
    if "dataset" not in runs.columns:
        return runs
    several = pl.col("dataset").n_unique().over("variant") > 1
    named = pl.format("{}: {}", pl.col("dataset").fill_null("?"), pl.col("variant"))
    return runs.with_columns(pl.when(several).then(named).otherwise(pl.col("variant")).alias("variant"))


def variants_in_order(runs: pl.DataFrame) -> list[str]:
    """Return the variants in the suite's order, also where the first algorithm lacks some of them."""
    sequences = [group["variant"].unique(maintain_order=True).to_list() for group in runs.partition_by("algorithm")]
    order: list[str] = []
    for sequence in sorted(sequences, key=len, reverse=True):
        order.extend(variant for variant in sequence if variant not in order)
    return order


def choose_metric(runs: pl.DataFrame) -> str:
    """Return "score" where any run has one, else "return_mean"."""
    return "score" if runs["score"].is_not_null().any() else "return_mean"


def axis_label(runs: pl.DataFrame, metric: str) -> str:
    """Say what a metric is, in which unit, and with which references."""
    if metric == "return_mean":
        return "Mean final return (sum of rewards per episode)"
    if metric not in ("score", "best_score"):
        return metric
    sources = runs["references"].drop_nulls().unique(maintain_order=True).to_list() if "references" in runs else []
    what = "Final score" if metric == "score" else "Best score along the way"
    return f"{what} (0 = random, 100 = expert" + (f"; {'; '.join(sources)})" if sources else ")")
