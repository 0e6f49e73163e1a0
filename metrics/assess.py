"""All metrics of a dataset in one table.

Where a value estimates something about the policies that made the data (mean return, mean length, score, TQ) it comes
with a 95 % percentile bootstrap interval over episodes (Efron and Tibshirani 1993, chapter 13): 1,000 resamples of the
episodes, seeded, so that the same dataset gives the same table. Everything else is a count of what is there, and has no
interval; nor has anything where fewer than two episodes say something about it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, UnknownNameError
from assay.metrics.returns import (
    finite_returns,
    fraction_terminated,
    fraction_truncated,
    length_summary,
    normalized_score,
    require_episodes,
    return_summary,
)
from assay.metrics.saco import Grid, has_bins, log_ratio, unique_state_actions
from assay.metrics.trajectory_quality import any_completed, completed_returns, quality_references, tq

if TYPE_CHECKING:
    import polars as pl

__all__ = ["assess"]

RESAMPLES = 1_000
_DRAWS_AT_A_TIME = 1 << 21
_PAPER = "Schweighofer et al. 2022"


class _Row(NamedTuple):
    value: float
    unit: str
    source: str
    interval: tuple[float, float] | None = None


def assess(
    dataset: Dataset,
    reference: Dataset | None = None,
    select: Sequence[str] | None = None,
    bins: int = 100,
    seed: int = 0,
) -> pl.DataFrame:
    """Measure a dataset.

    Parameters
    ----------
    dataset : Dataset
    reference : Dataset, optional
        What SACo compares with, such as the replay dataset of the same environment. Without it there are no rows
        `saco` and `lsaco`, and `unique_state_actions` counts on the dataset's own range.
    select : sequence of str, optional
        Metrics to compute, in this order; default all that this dataset has what they need for.
    bins : int
        Bin edges per column of the state-action grid.
    seed : int
        Of the bootstrap.

    Returns
    -------
    polars.DataFrame
        Columns metric, value, interval (a struct of low and high, the 95 % interval, or null), unit, source;
        `.unnest("interval")` makes two columns of it. Metrics: `steps`, `episodes`,
        `return_mean`, `return_std`, `return_min`, `return_median`, `return_max`, `length_mean`, `length_min`,
        `length_median`, `length_max`, `score` and `tq` (where the dataset has reference scores),
        `unique_state_actions`, `saturation`, `saco` and `lsaco` (with a reference), `fraction_terminated`,
        `fraction_truncated`, and `corrupted_<element>` for every mask.

    Raises
    ------
    UnknownNameError
        If a selected metric does not exist; with the nearest names.
    ConfigError
        If a selected metric needs a reference or reference scores that are not there.
    DatasetError
        If there are no episodes, or values are not finite; with the place.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.zeros(5), actions=np.zeros(3), rewards=[1.0, 1.0, 4.0],
    ...     terminations=[False, True, False], truncations=[False, False, True])
    >>> assess(dataset, select=["return_mean", "fraction_terminated"])["value"].to_list()
    [3.0, 0.5]
    """
    import polars as pl

    require_episodes(dataset)
    measured = _Measured(dataset, reference, bins, seed)
    known = measured.metrics()
    if isinstance(select, str):
        raise ConfigError(f"select must be a list of metric names, such as [{select!r}]")
    if select is None:
        chosen = [name for name in known if name not in measured.without_basis()]
    else:
        chosen = list(select)
        for name in chosen:
            if name not in known:
                raise UnknownNameError("metric", name, known)
    rows = [(name, known[name]()) for name in chosen]
    return pl.DataFrame(
        {
            "metric": [name for name, _ in rows],
            "value": [float(row.value) for _, row in rows],
            "interval": [None if row.interval is None else dict(zip(("low", "high"), row.interval)) for _, row in rows],
            "unit": [row.unit for _, row in rows],
            "source": [row.source for _, row in rows],
        },
        schema={
            "metric": pl.String,
            "value": pl.Float64,
            "interval": pl.Struct({"low": pl.Float64, "high": pl.Float64}),
            "unit": pl.String,
            "source": pl.String,
        },
    )


class _Measured:
    """The metrics of one dataset; what several of them need is computed once."""

    def __init__(self, dataset: Dataset, reference: Dataset | None, bins: int, seed: int) -> None:
        self.dataset, self.reference, self.bins, self.seed = dataset, reference, bins, seed

    def metrics(self) -> dict[str, Callable[[], _Row]]:
        """Return a function for every metric, in the order of the table."""
        dataset = self.dataset
        return {
            "steps": lambda: _Row(dataset.total_steps, "steps", "count"),
            "episodes": lambda: _Row(dataset.total_episodes, "episodes", "count"),
            "return_mean": self._return_mean,
            **{f"return_{key}": self._summary_row("return", key) for key in ("std", "min", "median", "max")},
            "length_mean": self._length_mean,
            **{f"length_{key}": self._summary_row("length", key) for key in ("min", "median", "max")},
            "score": self._score,
            "tq": self._tq,
            "unique_state_actions": lambda: _Row(self._unique, "cells", self._grid_source),
            "saturation": lambda: _Row(self._unique / dataset.total_steps, "fraction of steps", self._grid_source),
            "saco": lambda: _Row(self._unique / self._unique_reference, "ratio", self._saco_source("SACo")),
            "lsaco": lambda: _Row(
                log_ratio(self._unique, self._unique_reference), "ratio of logarithms", self._saco_source("lSACo")
            ),
            "fraction_terminated": lambda: _Row(
                fraction_terminated(dataset), "fraction of episodes", "last step is a termination"
            ),
            "fraction_truncated": lambda: _Row(
                fraction_truncated(dataset), "fraction of episodes", "last step is a truncation"
            ),
            **{f"corrupted_{element}": self._mask_row(element) for element in sorted(dataset.masks)},
        }

    def without_basis(self) -> set[str]:
        """Return the metrics that this dataset lacks something for."""
        missing = set() if self.dataset.info.references else {"score", "tq"}
        if not any_completed(self.dataset):
            missing.add("tq")
        if not has_bins(self.dataset):
            missing |= {"unique_state_actions", "saturation", "saco", "lsaco"}
        elif self.reference is None:
            missing |= {"saco", "lsaco"}
        elif self._unique_reference < 2:
            missing.add("lsaco")
        return missing

    def _summary_row(self, what: str, key: str) -> Callable[[], _Row]:
        def row() -> _Row:
            if what == "return":
                return _Row(self._returns[key], "reward", "undiscounted returns of all episodes")
            return _Row(self._lengths[key], "steps", "lengths of all episodes")

        return row

    def _mask_row(self, element: str) -> Callable[[], _Row]:
        def row() -> _Row:
            return _Row(
                float(self.dataset.masks[element].mean()), "fraction of steps", f"mask in column corrupted/{element}"
            )

        return row

    @cached_property
    def _returns(self) -> dict[str, float]:
        return return_summary(self.dataset)

    @cached_property
    def _lengths(self) -> dict[str, float]:
        return length_summary(self.dataset)

    @cached_property
    def _return_interval(self) -> tuple[float, float] | None:
        return bootstrap_interval(finite_returns(self.dataset), self.seed)

    def _return_mean(self) -> _Row:
        return _Row(self._returns["mean"], "reward", "undiscounted returns of all episodes", self._return_interval)

    def _length_mean(self) -> _Row:
        interval = bootstrap_interval(self.dataset.episode_lengths.astype(np.float64), self.seed)
        return _Row(self._lengths["mean"], "steps", "lengths of all episodes", interval)

    def _score(self) -> _Row:
        value, references = normalized_score(self.dataset), self.dataset.info.references
        assert references is not None
        interval = self._return_interval
        if interval is not None:
            low, high = sorted(float(references.normalize(border)) for border in interval)
            interval = low, high
        return _Row(value, "0 random, 100 expert", references.source, interval)

    def _tq(self) -> _Row:
        value, references = tq(self.dataset), self.dataset.info.references
        assert references is not None
        random, best = quality_references(self.dataset)
        interval = bootstrap_interval((completed_returns(self.dataset) - random) / (best - random), self.seed)
        return _Row(value, "0 random, 1 best", f"{_PAPER}, TQ; {references.source}", interval)

    @cached_property
    def _grid(self) -> Grid:
        return Grid.from_dataset(self.dataset if self.reference is None else self.reference, self.bins)

    @property
    def _grid_source(self) -> str:
        whose = "its own" if self.reference is None else "the reference's"
        return f"{_PAPER}; {self.bins} edges over {whose} range of each column"

    def _saco_source(self, name: str) -> str:
        assert self.reference is not None
        label = self.reference.info.id or "dataset"
        return f"{_PAPER}, {name}; {self.bins} edges; reference {label} of {self.reference.total_steps:,} steps"

    @cached_property
    def _unique(self) -> int:
        return unique_state_actions(self.dataset, self._grid)

    @cached_property
    def _unique_reference(self) -> int:
        if self.reference is None:
            raise ConfigError("SACo compares with a reference dataset: pass reference=")
        return unique_state_actions(self.reference, self._grid)


def bootstrap_interval(values: np.ndarray, seed: int) -> tuple[float, float] | None:
    """Return the 95 % percentile bootstrap interval of the mean, or None for fewer than two values."""
    if len(values) < 2:
        return None
    generator = np.random.Generator(np.random.SFC64(seed))
    at_a_time = max(1, _DRAWS_AT_A_TIME // len(values))
    means = [
        values[generator.integers(0, len(values), (min(at_a_time, RESAMPLES - start), len(values)))].mean(1)
        for start in range(0, RESAMPLES, at_a_time)
    ]
    low, high = np.quantile(np.concatenate(means), (0.025, 0.975)).tolist()
    return low, high
