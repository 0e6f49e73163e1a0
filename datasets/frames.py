"""The steps and episodes of a dataset as tables: polars, lazily, or pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

if TYPE_CHECKING:
    import pandas as pd

    from assay.datasets.dataset import Dataset

__all__ = ["StepsFrame", "flat_pandas", "steps_frame"]


class StepsFrame(pl.LazyFrame):
    """A polars LazyFrame of steps that also becomes a pandas frame."""

    def to_pandas(self) -> pd.DataFrame:
        """Compute the frame for pandas, with one column per number: `observations_0`, `observations_1`, ..."""
        return flat_pandas({name: column.to_numpy() for name, column in self.collect().to_dict().items()})


def steps_frame(dataset: Dataset) -> StepsFrame:
    """Return one row per step, vectors as Array columns."""
    frame = StepsFrame._from_pyldf(pl.DataFrame(_step_columns(dataset)).lazy()._ldf)
    assert isinstance(frame, StepsFrame)
    return frame


def pandas_steps(dataset: Dataset) -> pd.DataFrame:
    """Return one row per step, with one column per number."""
    return flat_pandas(_step_columns(dataset))


def flat_pandas(columns: dict[str, np.ndarray]) -> pd.DataFrame:
    """Return a pandas frame with one column for each entry of a row.

    Examples
    --------
    >>> flat_pandas({"x": np.zeros((2, 2)), "y": np.arange(2)}).columns.to_list()
    ['x_0', 'x_1', 'y']
    """
    import pandas as pd

    data: dict[str, Any] = {}
    for name, rows in columns.items():
        if rows.ndim == 1:
            data[name] = rows
        else:
            flat = rows.reshape(len(rows), -1)
            data |= {f"{name}_{i}": flat[:, i] for i in range(flat.shape[1])}
    return pd.DataFrame(data)


def _step_columns(dataset: Dataset) -> dict[str, np.ndarray]:
    episodes = dataset.episode_of_step
    data = {"episode": episodes, "step": np.arange(dataset.total_steps) - dataset.episode_starts[episodes]}
    for name in dataset.columns:
        array = dataset.column(name)
        data[name] = array if len(array) == dataset.total_steps else array[dataset.observation_rows]
    return data
