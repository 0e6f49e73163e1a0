"""The arrays that batches are gathered from, in host memory or on a device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from assay.datasets.dataset import Dataset, map_nested
from assay.datasets.device import check_device
from assay.datasets.memory import empty
from assay.datasets.renamed import former_names
from assay.datasets.transitions import to_tensor

if TYPE_CHECKING:
    import torch

__all__ = ["GatheredColumns", "pack_scalars", "unpack_scalars"]

_BLOCK_ROWS = 1 << 16


class GatheredColumns:
    """Named arrays of one dataset; `take` gathers rows of them, `of_steps` what belongs to steps.

    Parameters
    ----------
    arrays : nested dict of arrays
    total_steps : int
        Rows of an array without final rows.
    dtype : numpy dtype or None
        Floating arrays are cast to it once; None leaves them, and memory maps on disk.
    device : str, torch.device or None
        Where to keep them, as tensors; None keeps NumPy arrays.
    """

    def __init__(self, arrays: dict[str, Any], total_steps: int, dtype: Any, device: str | torch.device | None) -> None:
        check_device(device)
        self.device, self.total_steps = device, total_steps
        self._arrays = {
            name: map_nested(lambda array: _place(array, dtype, device), value) for name, value in arrays.items()
        }

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def take(self, name: str, rows: np.ndarray) -> Any:
        """Return rows of an array, or of each array below the name; `rows` may have any shape."""
        if self.device is None:
            return map_nested(lambda array: array.take(rows, axis=0, mode="clip"), self._arrays[name])
        places = self.send(rows)
        return map_nested(lambda tensor: tensor[places], self._arrays[name])

    def of_steps(self, name: str, steps: np.ndarray, episodes: np.ndarray) -> Any:
        """Return what an array, or each array below the name, has at steps of these episodes.

        Infos may keep a row for the final observation of every episode, as observations do, or one row per step.
        """
        places = {True: self.send(steps), False: self.send(steps + episodes)}

        def at(array: Any) -> Any:
            rows = places[len(array) == self.total_steps]
            return array[rows]

        return map_nested(at, self._arrays[name])

    def send(self, array: np.ndarray) -> Any:
        """Return an array where the columns are."""
        if self.device is None:
            return array
        return to_tensor(array, self.device)


def pack_scalars(dataset: Dataset) -> np.ndarray:
    """Return rewards, terminations and truncations side by side, (N, 3): one gather serves all three."""
    packed = empty((dataset.total_steps, 3), np.result_type(dataset.rewards.dtype, np.int8))
    for column, array in enumerate((dataset.rewards, dataset.terminations, dataset.truncations)):
        packed[:, column] = array
    return packed


def unpack_scalars(rows: Any) -> tuple[Any, Any, Any]:
    """Return rewards, terminations and truncations of gathered rows, (..., 3)."""
    return rows[..., 0], rows[..., 1] != 0, rows[..., 2] != 0


def _place(array: np.ndarray, dtype: Any, device: str | torch.device | None) -> Any:
    if dtype is not None and array.dtype.kind == "f" and array.dtype != np.dtype(dtype):
        cast = empty(array.shape, dtype)
        for start in range(0, len(array), _BLOCK_ROWS):
            cast[start : start + _BLOCK_ROWS] = array[start : start + _BLOCK_ROWS]
        array = cast
    return array if device is None else to_tensor(array, device)


__getattr__ = former_names(__name__, {"Columns": GatheredColumns})
