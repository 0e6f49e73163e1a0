"""All metrics of a dataset in one table.

Where a value estimates something about the policies that made the data (mean return, mean length, score, TQ) it comes
with a 95 % percentile bootstrap interval over episodes. Everything else is a count of what is there, and has no interval;
nor has anything where fewer than two episodes say something about it. What is measured on a subsample says so in its
source, with the seed's draw and an interval.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, UnknownNameError
from assay.metrics.measures import Basis, Measure, NotMeasurable, groups
from assay.metrics.returns import require_episodes

if TYPE_CHECKING:
    import polars as pl

__all__ = ["assess", "metric_names"]


def assess(
    dataset: Dataset,
    reference: Dataset | None = None,
    select: Sequence[str] | None = None,
    bins: int | None = None,
    seed: int = 0,
    sample: int = 20_000,
    definition: str = "paper",
    progress: Callable[[int, int, str], None] | None = None,
) -> pl.DataFrame:
    """Measure a dataset.

    Parameters
    ----------
    dataset : Dataset
    reference : Dataset, optional
        What relative metrics compare with, such as the replay dataset of the same environment. Without it there are no
        rows such as `saco` and `lsaco`, and `unique_state_actions` counts on the dataset's own range.
    select : sequence of str, optional
        Metrics or groups of them to compute, in this order; default: every metric whose inputs this dataset has.
    bins : int, optional
        Bin edges per column of the state-action grid; default 100, and 5 for the notebook's definition.
    seed : int
        Of the bootstrap and of subsamples.
    sample : int
        Most steps that metrics of quadratic cost look at.
    definition : "paper", "published code" or "d4rl notebook"
        Of SACo; `assay.metrics.saco` says how they differ.
    progress : callable, optional
        Called with (metrics done, metrics in all, name of the next).

    Returns
    -------
    polars.DataFrame
        Columns metric, value, interval (a struct of low and high, the 95 % interval, or null), unit, source, seconds
        (what is shared by several metrics counts for the first);
        `.unnest("interval")` makes two columns of it. `metric_names(dataset)` lists the metrics by group.

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
    >>> import numpy as np
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.zeros(5), actions=np.zeros(3), rewards=[1.0, 1.0, 4.0],
    ...     terminations=[False, True, False], truncations=[False, False, True])
    >>> assess(dataset, select=["return_mean", "fraction_terminated"])["value"].to_list()
    [3.0, 0.5]
    """
    require_episodes(dataset)
    if isinstance(select, str):
        raise ConfigError(f"select must be a list of metric names, such as [{select!r}]")
    basis = Basis(dataset, reference, bins, seed, sample, definition)
    measured = {name: group.measures(basis) for name, group in groups().items()}
    known = {name: function for measures in measured.values() for name, function in measures.items()}
    chosen: dict[str, None] = {}
    for name in known if select is None else select:
        if name not in known and name not in measured:
            raise UnknownNameError("metric", name, {*known, *measured})
        chosen |= dict.fromkeys(measured.get(name, [name]))
    rows: list[tuple[str, Measure, float]] = []
    for number, name in enumerate(chosen):
        if progress is not None:
            progress(number, len(chosen), name)
        start = time.perf_counter()
        try:
            measure = known[name]()
        except NotMeasurable as reason:
            if select is not None and name in select:
                raise NotMeasurable(f"{name}: {reason}") from None
            continue
        rows.append((name, measure, time.perf_counter() - start))
    if progress is not None:
        progress(len(chosen), len(chosen), "")
    return _table(rows)


def metric_names(dataset: Dataset) -> dict[str, list[str]]:
    """Return the names of the metrics by group; some depend on the dataset, such as `corrupted_<element>`."""
    return {name: list(group.measures(Basis(dataset))) for name, group in groups().items()}


def __getattr__(name: str) -> Any:
    if name == "GROUPS":
        warnings.warn("GROUPS is now assay.metrics.measures.groups()", DeprecationWarning, stacklevel=2)
        return {name: group.measures for name, group in groups().items()}
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _table(rows: Sequence[tuple[str, Measure, float]]) -> pl.DataFrame:
    import polars as pl

    measures = [measure for _, measure, _ in rows]
    return pl.DataFrame(
        {
            "metric": [name for name, _, _ in rows],
            "value": [float(measure.value) for measure in measures],
            "interval": [
                None if measure.interval is None else dict(zip(("low", "high"), measure.interval, strict=True))
                for measure in measures
            ],
            "unit": [measure.unit for measure in measures],
            "source": [measure.source for measure in measures],
            "seconds": [seconds for _, _, seconds in rows],
        },
        schema={
            "metric": pl.String,
            "value": pl.Float64,
            "interval": pl.Struct({"low": pl.Float64, "high": pl.Float64}),
            "unit": pl.String,
            "source": pl.String,
            "seconds": pl.Float64,
        },
    )
