r"""Labels that were filled in with a large spread: their steps are left out, or drawn less often.

The spread of a step is the mean over the label's entries of u_j / m_j, with u from the column `uncertainty/<element>` and
m_j its median over the filled-in steps, so that 1 is ordinary:

.. math:: r = \tfrac{1}{d} \sum_j u_j / m_j, \qquad \text{weight} = \frac{1}{1 + r^2}
"""

from __future__ import annotations

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.errors import DatasetError
from assay.relabeling.shared.steps import keep_steps

__all__ = ["drop_uncertain", "relative_spread", "weight_by_spread"]


def drop_uncertain(dataset: Dataset, element: str, share: float) -> Dataset:
    """Return the dataset without the share of the filled-in steps whose labels are the most uncertain."""
    spread = relative_spread(dataset, element)
    filled = spread > 0  # False for NaN
    count = round(share * int(filled.sum()))
    dropped = np.argsort(np.where(filled, -spread, 0.0), kind="stable")[:count]
    kept = np.ones(len(spread), bool)
    kept[dropped] = False
    return keep_steps(dataset, kept)


def weight_by_spread(dataset: Dataset, element: str) -> Dataset:
    """Return the dataset with 1 / (1 + r^2) on top of its weights; 0 where the label is still missing."""
    spread = relative_spread(dataset, element)
    weights = np.where(np.isnan(spread), 0.0, 1.0 / (1.0 + np.square(spread)))
    return dataset.replace({"weights": weights * (1.0 if dataset.weights is None else dataset.weights)})


def relative_spread(dataset: Dataset, element: str) -> np.ndarray:
    """Return r of every step, (N,) float64: 0 for true labels, NaN where the label is still missing.

    Raises
    ------
    DatasetError
        If no label of the element was filled in.
    """
    name = f"uncertainty/{element}"
    if name not in dataset.columns:
        raise DatasetError(f"there is no column {name}: no missing {element} were filled in")
    flat = dataset.column(name).reshape(dataset.total_steps, -1).astype(np.float64)
    filled = (flat > 0).any(1)
    middle = np.median(flat[filled], axis=0) if filled.any() else np.ones(flat.shape[1])
    result: np.ndarray = (flat / np.where(middle > 0, middle, 1.0)).mean(1)
    return result
