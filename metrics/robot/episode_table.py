"""The table that `assess(..., per="episode")` returns: one row per episode, metric and dimension; `wide()` is one per episode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl

from assay.metrics.robot.checks import Score

__all__ = ["EpisodeTable", "spearman"]

_SCHEMA: dict[str, Any] = {
    "episode": pl.Int64,
    "metric": pl.String,
    "column": pl.String,
    "dimension": pl.String,
    "value": pl.Float64,
    "unit": pl.String,
    "threshold": pl.Float64,
    "kind": pl.String,
    "flagged": pl.Boolean,
    "row": pl.Int64,
}
_WIDTH = 140


class EpisodeTable(pl.DataFrame):
    """A polars DataFrame with columns episode, metric, column, dimension, value, unit, threshold, kind, flagged, row.

    `kind` is "defect", "risk" or null for facts; `flagged` says that the value is beyond the threshold, and `row` is the first
    place, counted from the episode's first step. What its methods return is printed as polars prints it.

    Parameters
    ----------
    scores : sequence of Score
    lengths : (E,) int64
        Steps of each episode.
    skipped : mapping of str to str
        Check to the reason why it was not computed.

    Examples
    --------
    >>> score = Score("idle_tail", np.array([0.1, 0.4]), "share of steps", "risk", limit=0.25)
    >>> table = EpisodeTable([score], np.array([10, 20]))
    >>> table.filter("flagged")["episode"].to_list(), table.wide()["risks"].to_list()
    ([1], [0, 1])
    """

    scores: tuple[Score, ...] = ()
    skipped: Mapping[str, str] = MappingProxyType({})
    lengths: np.ndarray = np.zeros(0, np.int64)

    def __init__(self, scores: Sequence[Score], lengths: np.ndarray, skipped: Mapping[str, str] | None = None) -> None:
        parts = [_tidy(score) for score in scores]
        super().__init__(pl.concat(parts) if parts else pl.DataFrame(schema=_SCHEMA))
        self.scores, self.lengths = tuple(scores), lengths
        self.skipped = MappingProxyType(dict(skipped or {}))

    def wide(self) -> pl.DataFrame:
        """Return one row per episode: its number, its findings by kind, and each metric, the worst of its dimensions.

        A metric that is measured on several columns has a column for each, such as `saturation actions/arm`.
        """
        columns: dict[str, Any] = {"episode": np.arange(len(self.lengths))}
        for kind in ("defect", "risk"):
            flags = [_any(score.flagged()) for score in self.scores if score.kind == kind]
            columns[f"{kind}s"] = (
                np.sum(flags, axis=0, dtype=np.int64) if flags else np.zeros(len(self.lengths), np.int64)
            )
        names = [score.metric for score in self.scores]
        for score in self.scores:
            name = score.metric if names.count(score.metric) == 1 else f"{score.metric} {score.column}"
            columns[name] = score.worst()
        return pl.DataFrame(columns).with_columns(pl.col(pl.Float64).fill_nan(None))

    @property
    def correlations(self) -> pl.DataFrame:
        """How much of each score the length alone explains: metric, column, spearman, low, high (95 %), episodes."""
        rows = []
        for score in self.scores:
            if score.metric == "length":
                continue
            value, interval, count = spearman(score.worst(), self.lengths)
            low, high = (None, None) if interval is None else interval
            rows.append((score.metric, score.column, value, low, high, count))
        schema = {
            "metric": pl.String,
            "column": pl.String,
            "spearman": pl.Float64,
            "low": pl.Float64,
            "high": pl.Float64,
            "episodes": pl.Int64,
        }
        return pl.DataFrame(rows, schema=schema, orient="row")

    @property
    def definitions(self) -> dict[str, str]:
        """What each metric is, with the parameters that decide its value."""
        return {score.metric: score.definition for score in self.scores}

    @property
    def notes(self) -> list[str]:
        """Return a line per check that was not computed."""
        return [f"not computed: {name}: {reason}" for name, reason in self.skipped.items()]

    def __str__(self) -> str:
        with pl.Config(tbl_cols=-1, tbl_width_chars=_WIDTH, tbl_hide_dataframe_shape=False):
            parts = [super().__str__()]
        with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=_WIDTH, float_precision=2):
            title = "rank correlation with the length of the episode (Spearman, 95 % interval):"
            parts += [title, str(self.correlations)] if self.scores else []
        return "\n".join([*parts, *self.notes])

    __repr__ = __str__

    def _repr_html_(self, *, _from_series: bool = False) -> str:
        from html import escape

        parts = [super()._repr_html_(_from_series=_from_series)]
        if self.scores:
            with pl.Config(tbl_rows=-1, float_precision=2):
                title = "<p>Rank correlation with the length of the episode (Spearman, 95 % interval)</p>"
                parts += [title, self.correlations._repr_html_()]
        return "\n".join([*parts, *(f"<p>{escape(note)}</p>" for note in self.notes)])


def spearman(values: np.ndarray, lengths: np.ndarray) -> tuple[float | None, tuple[float, float] | None, int]:
    """Return Spearman's rank correlation, its 95 % interval, and the number of episodes that it is of.

    The interval is Bonett and Wright's (2000): Fisher's z with standard error sqrt((1 + r^2 / 2) / (n - 3)). None where
    fewer than four values are known, or where either does not vary.

    Examples
    --------
    >>> spearman(np.array([1.0, 2.0, 4.0, 3.0, 5.0]), np.array([10, 20, 30, 40, 50]))[0]
    0.9
    """
    known = np.isfinite(values)
    count = int(known.sum())
    if count < 2 or np.ptp(values[known]) == 0 or np.ptp(lengths[known]) == 0:
        return None, None, count
    ranks = [pl.Series(part[known]).rank("average").to_numpy() for part in (values, lengths)]
    value = float(np.clip(np.corrcoef(ranks[0], ranks[1])[0, 1], -1, 1))
    value = round(value, 12)
    if count < 4:
        return value, None, count
    error = 1.959963984540054 * np.sqrt((1 + value**2 / 2) / (count - 3))
    with np.errstate(divide="ignore"):
        z = np.arctanh(value)
    low, high = np.tanh([z - error, z + error]).tolist()
    return value, (low, high), count


def _any(flags: np.ndarray) -> np.ndarray:
    return np.asarray(flags.reshape(len(flags), -1).any(axis=1))


def _tidy(score: Score) -> pl.DataFrame:
    values = score.values if score.values.ndim == 2 else score.values[:, None]
    episodes, width = values.shape
    rows = None
    if score.rows is not None:
        found = score.rows.ravel()
        rows = pl.Series(found, dtype=pl.Int64).replace(-1, None)
    dimensions: list[str | None] = list(score.dimensions) if score.values.ndim == 2 else [None]
    frame = pl.DataFrame(
        {
            "episode": np.repeat(np.arange(episodes), width),
            "dimension": pl.Series(dimensions, dtype=pl.String).gather(np.tile(np.arange(width), episodes)),
            "value": pl.Series(values.ravel(), dtype=pl.Float64).fill_nan(None),
            "flagged": score.flagged().ravel(),
        }
    )
    constants = {"metric": score.metric, "column": score.column, "unit": score.unit, "kind": score.kind}
    return frame.with_columns(
        *(pl.lit(value, dtype=pl.String).alias(name) for name, value in constants.items()),
        pl.lit(score.limit, dtype=pl.Float64).alias("threshold"),
        (pl.lit(None, dtype=pl.Int64) if rows is None else rows).alias("row"),
    ).select(*_SCHEMA)
