r"""Which algorithms did well near a place on the quality plane.

A measured dataset is near where its distance on the plane is at most a radius,

.. math:: d = \sqrt{(TQ - TQ_i)^2 + (SACo - SACo_i)^2} \le r

Both measures go from 0 to about 1 by definition, so neither is scaled. Of every algorithm the table has the mean over the near datasets of
the means over seeds, and how far that is below the leading algorithm on the datasets that both were trained on. Intervals are 95 %
percentile bootstrap over datasets: seeds of one dataset say nothing of the next one. Fewer than three datasets have none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from assay.datasets.bootstrap import bootstrap, percentile_interval
from assay.datasets.errors import ConfigError

__all__ = ["RADIUS", "compare_algorithms", "near_evidence"]

RADIUS = 0.25
"""Distance on the plane up to which a measured dataset counts as near."""
FEWEST_DATASETS = 3  # for an interval
RESAMPLES = 2_000
ADVISED, NOT_WORSE, WORSE, UNKNOWN = "advised", "not shown to be worse", "worse", "too few datasets to tell"

_SCHEMA: dict[str, Any] = {
    "algorithm": pl.String,
    "performance": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "behind": pl.Float64,
    "behind_low": pl.Float64,
    "behind_high": pl.Float64,
    "datasets": pl.Int64,
    "runs": pl.Int64,
    "nearest": pl.Float64,
    "verdict": pl.String,
}


def near_evidence(evidence: pl.DataFrame, tq: float, saco: float, radius: float = RADIUS) -> pl.DataFrame:
    """Return the evidence of datasets within a radius, with its `distance`, the nearest first.

    Examples
    --------
    >>> evidence = pl.DataFrame({"dataset": ["a", "b"], "tq": [0.3, 0.9], "saco": [0.4, 0.4]})
    >>> near_evidence(evidence, 0.0, 0.0, radius=0.6).select("dataset", "distance").rows()
    [('a', 0.5)]
    """
    if not radius > 0:
        raise ConfigError(f"radius={radius}: a distance on the plane of TQ and SACo has to be above 0")
    distance = ((pl.col("tq") - tq) ** 2 + (pl.col("saco") - saco) ** 2).sqrt()
    return (
        evidence.with_columns(distance=distance)
        .filter(pl.col("distance") <= radius)
        .sort("distance", maintain_order=True)
    )


def compare_algorithms(near: pl.DataFrame) -> pl.DataFrame:
    """Compare the algorithms on datasets.

    Parameters
    ----------
    near : polars.DataFrame
        Evidence, from `near_evidence`.

    Returns
    -------
    polars.DataFrame
        A row for each algorithm, the best first: `performance` with `low` and `high`; `behind` the leading one with its interval;
        `datasets`, `runs` and the distance of the `nearest` dataset; and a `verdict`, which is "advised" for the first one. Intervals
        are null where there are fewer than three datasets.
    """
    names = ["suite", "dataset"]
    points = near.group_by("label", *names, maintain_order=True).agg(
        pl.col("performance").mean(), pl.len().alias("runs"), pl.col("distance").first()
    )
    means = (
        points.group_by("label")
        .agg(pl.col("performance").mean())
        .sort("performance", "label", descending=[True, False])
    )
    if means.is_empty():
        return pl.DataFrame(schema=_SCHEMA)
    order = means["label"].to_list()
    leading = points.filter(pl.col("label") == order[0]).select(*names, pl.col("performance").alias("leading"))
    rows = []
    for label in order:
        own = points.filter(pl.col("label") == label)
        behind = own.join(leading, on=names).select(pl.col("leading") - pl.col("performance")).to_series().to_numpy()
        (mean, low, high), (gap, gap_low, gap_high) = (
            _mean(values) for values in (own["performance"].to_numpy(), behind)
        )
        counts = own.height, own["runs"].sum(), own["distance"].min()
        verdict = ADVISED if label == order[0] else _verdict(gap_low)
        rows.append((label, mean, low, high, gap, gap_low, gap_high, *counts, verdict))
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")


def _verdict(low: float | None) -> str:
    return UNKNOWN if low is None else WORSE if low > 0 else NOT_WORSE


def _mean(values: np.ndarray) -> tuple[float | None, float | None, float | None]:
    """Return a mean over datasets and the ends of its interval, null where nothing can be said."""
    if not len(values):
        return None, None, None
    if len(values) < FEWEST_DATASETS:
        return float(values.mean()), None, None
    drawn = bootstrap([values], lambda rows: rows.mean(1), RESAMPLES, np.random.default_rng(0))
    low, high = percentile_interval(drawn)
    return float(values.mean()), float(low), float(high)
