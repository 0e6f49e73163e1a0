"""Metrics of each episode as columns of the dataset, for what filters and weights by a column: `metrics.episodes`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import Field

from assay.datasets.dataset import Dataset
from assay.datasets.transform import Transform, register
from assay.metrics.assess import assess

__all__ = ["EpisodeMetrics"]


@register("metrics.episodes")
class EpisodeMetrics(Transform):
    """Measure each episode, and keep the values as columns `metrics/<name>` of the episodes table.

    `corruption.repair.column` leaves out the worst by such a column, and `reweighting.column` weights by it.

    Parameters
    ----------
    select : tuple of str
        Checks of recorded robots, all of them by `"robot"`, or other metrics, as in `assay.metrics.assess` with `per="episode"`.
        Where a metric has several dimensions, the worst one counts; where it is measured on several columns, the name has the column.
        Beside them stand `metrics/defects` and `metrics/risks`, the numbers of findings.
    checks : mapping
        Settings of the checks, such as `{rate: 20}`, the steps per second.

    Raises
    ------
    UnknownNameError, ConfigError
        When applied: if there is no such metric, or it needs what is not there.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(6.0), actions=np.zeros(4), rewards=[5.0, 1.0, 9.0, 1.0], episode_lengths=[1, 3])
    >>> EpisodeMetrics(select=["return_mean"])(dataset).episodes["metrics/return_mean"].to_list()
    [5.0, 11.0]
    """

    select: tuple[str, ...]
    checks: Mapping[str, Any] = Field(default_factory=dict)

    def apply(self, dataset: Dataset) -> Dataset:  # noqa: D102
        table = assess(
            dataset, select=self.select, per="episode", checks=dict(self.checks) or None, progress=None
        ).wide()
        columns: dict[str, np.ndarray | None] = {
            f"metrics/{name}": table[name].to_numpy().astype(np.float64) for name in table.columns if name != "episode"
        }
        return dataset.replace(episode_columns=columns)
