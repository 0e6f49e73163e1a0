"""The table that `assess` returns: a polars DataFrame that prints all its rows and knows what was not computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import polars as pl

from assay.metrics.measures import Measure

__all__ = ["MetricTable"]

_SCHEMA: dict[str, Any] = {
    "metric": pl.String,
    "value": pl.Float64,
    "interval": pl.Struct({"low": pl.Float64, "high": pl.Float64}),
    "unit": pl.String,
    "source": pl.String,
    "seconds": pl.Float64,
}

_WIDTH = 140  # characters in which the name of no metric is broken into two lines


class MetricTable(pl.DataFrame):
    """A polars DataFrame of metrics; `print` shows all its rows, and below them the metrics that were not computed.

    What its methods return (`filter`, `unnest`, `to_pandas`, ...) is printed as polars or pandas print it.

    Parameters
    ----------
    rows : sequence of (str, Measure, float)
        Name, measure and seconds of each metric.
    skipped : mapping of str to str
        Metric to the reason why it was not computed.

    Examples
    --------
    >>> table = MetricTable([("steps", Measure(3, "steps", "count"), 0.0)], {"tq": "rewards is NaN at step 0"})
    >>> table["value"].to_list(), dict(table.skipped)
    ([3.0], {'tq': 'rewards is NaN at step 0'})
    >>> print(table.drop("interval", "seconds"))
    shape: (1, 4)
    ┌────────┬───────┬───────┬────────┐
    │ metric ┆ value ┆ unit  ┆ source │
    │ ---    ┆ ---   ┆ ---   ┆ ---    │
    │ str    ┆ f64   ┆ str   ┆ str    │
    ╞════════╪═══════╪═══════╪════════╡
    │ steps  ┆ 3.0   ┆ steps ┆ count  │
    └────────┴───────┴───────┴────────┘
    """

    skipped: Mapping[str, str] = MappingProxyType({})

    def __init__(self, rows: Sequence[tuple[str, Measure, float]], skipped: Mapping[str, str]) -> None:
        measures = [measure for _, measure, _ in rows]
        columns = {
            "metric": [name for name, _, _ in rows],
            "value": [float(measure.value) for measure in measures],
            "interval": [
                None if measure.interval is None else dict(zip(("low", "high"), measure.interval, strict=True))
                for measure in measures
            ],
            "unit": [measure.unit for measure in measures],
            "source": [measure.source for measure in measures],
            "seconds": [seconds for _, _, seconds in rows],
        }
        super().__init__(columns, schema=_SCHEMA)
        self.skipped = MappingProxyType(dict(skipped))

    def __str__(self) -> str:
        with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=_WIDTH):
            return "\n".join([super().__str__(), *self.notes])

    __repr__ = __str__

    def _repr_html_(self, *, _from_series: bool = False) -> str:
        from html import escape

        with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=_WIDTH):
            return "\n".join(
                [super()._repr_html_(_from_series=_from_series), *(f"<p>{escape(note)}</p>" for note in self.notes)]
            )

    @property
    def notes(self) -> list[str]:
        """Return a line per reason, with the metrics that it concerns."""
        reasons: dict[str, list[str]] = {}
        for name, reason in self.skipped.items():
            reasons.setdefault(reason, []).append(name)
        return [f"not computed: {', '.join(names)}: {reason}" for reason, names in reasons.items()]
