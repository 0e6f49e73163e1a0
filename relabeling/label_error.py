"""How wrong filled-in labels are, where the truth is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["label_error"]


def label_error(dataset: Dataset, element: str = "actions", *, quantiles: int = 4) -> pl.DataFrame:
    r"""Compare filled-in labels with `truth/<element>`, per range of returns and per entry of the label.

    Only steps whose label was filled in are compared: those whose `uncertainty/<element>` is above 0.

    Parameters
    ----------
    dataset : Dataset
        With the columns `truth/<element>` and `uncertainty/<element>`.
    element : str
        `"actions"` or `"rewards"`.
    quantiles : int >= 1
        Ranges of the returns of all episodes, of equally many episodes each, from the lowest; none where a return is unknown.

    Returns
    -------
    polars.DataFrame
        One row for all filled-in steps, one per range of returns (`returns` is `"0-25%"` ...), each for every entry
        (`entry`, from 0) and for all of them (null): `steps`; `mean_absolute` and `root_mean_square`, in the label's units
        (of integers, both are the share of wrong labels); `explained`, 1 - mean square error / variance of the true
        labels, null where they do not vary; `covered`, how often the truth lies within the uncertainty of the label; of
        integers, the mean probability that the label was given of being right.

    Raises
    ------
    DatasetError
        If the truth is not known, or nothing was filled in.

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(5.0), actions=[[0.0], [1.0], [2.0], [3.0]], rewards=np.zeros(4),
    ...     terminations=np.zeros(4, bool), truncations=np.arange(4) == 3,
    ...     columns={"truth/actions": [[0.0], [1.5], [2.0], [5.0]], "uncertainty/actions": [[0.0], [1.0], [1.0], [1.0]]})
    >>> label_error(dataset, quantiles=1).row(0, named=True)["mean_absolute"].__round__(3)
    0.833
    """
    import polars as pl

    if quantiles < 1:
        raise ConfigError(f"quantiles={quantiles} must be at least 1")
    for name in (f"truth/{element}", f"uncertainty/{element}", element):
        if name not in dataset.columns:
            raise DatasetError(
                f"there is no column {name}; label_error compares filled-in labels with the hidden truth"
            )
    uncertainty = dataset.column(f"uncertainty/{element}").reshape(dataset.total_steps, -1)
    filled = (uncertainty > 0).any(1)
    if not filled.any():
        raise DatasetError(f"no label in {element} was filled in")
    rank = np.argsort(np.argsort(dataset.returns, kind="stable"), kind="stable")
    part_of_step = np.repeat(rank * quantiles // max(1, dataset.total_episodes), dataset.episode_lengths)
    rows = []
    ranges = [("all", filled)]
    if quantiles > 1 and not np.isnan(dataset.returns).any():
        named = [f"{100 * part // quantiles}-{100 * (part + 1) // quantiles}%" for part in range(quantiles)]
        ranges += [(name, filled & (part_of_step == part)) for part, name in enumerate(named)]
    for name, steps in ranges:
        rows += [{"returns": name, **row} for row in _rows(dataset, element, np.flatnonzero(steps), uncertainty)]
    schema = {
        "returns": pl.String,
        "entry": pl.Int64,
        "steps": pl.Int64,
        "mean_absolute": pl.Float64,
        "root_mean_square": pl.Float64,
        "explained": pl.Float64,
        "covered": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema)


def _rows(
    dataset: Dataset, element: str, steps: np.ndarray, uncertainty: np.ndarray
) -> list[dict[str, float | int | None]]:
    """Return the row of all entries and, where there are several, one of each."""
    if not len(steps):
        return []
    label, truth = (dataset.column(name)[steps].reshape(len(steps), -1) for name in (element, f"truth/{element}"))
    spread = uncertainty[steps]
    if label.dtype.kind in "iub":
        wrong = (label != truth).astype(np.float64)
        errors, inside, squares = wrong, 1.0 - spread, np.full(wrong.shape, np.nan)
    else:
        errors = np.abs(label.astype(np.float64) - truth)
        inside, squares = (errors <= spread).astype(np.float64), np.square(truth - truth.mean(0, dtype=np.float64))
    entries: list[tuple[int | None, slice]] = [(None, slice(None))]
    entries += [(entry, slice(entry, entry + 1)) for entry in range(label.shape[1])] if label.shape[1] > 1 else []
    rows = []
    for entry, which in entries:
        square, total = float(np.square(errors[:, which]).mean()), float(squares[:, which].mean())
        integers = label.dtype.kind in "iub"
        rows.append(
            {
                "entry": entry,
                "steps": len(steps),
                "mean_absolute": float(errors[:, which].mean()),
                "root_mean_square": square if integers else square**0.5,
                "explained": 1.0 - square / total if total > 0 else None,
                "covered": float(inside[:, which if inside.shape[1] > 1 else slice(None)].mean()),
            }
        )
    return rows
