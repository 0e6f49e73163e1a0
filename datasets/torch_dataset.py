"""The transitions of a dataset for a training loop of one's own: torch's `Dataset` and `IterableDataset`.

Both hold plain arrays, so they travel to the workers of a `DataLoader`. `assay.datasets.sampling` has samplers for n-step
returns, sequences and weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import IterableDataset, get_worker_info

from assay.datasets.errors import ConfigError
from assay.datasets.missing import LABELS

if TYPE_CHECKING:
    from assay.datasets.dataset import Dataset

__all__ = ["TransitionBatches", "TransitionDataset"]

_LEFT = ("steps", "episodes", "columns", "discounts")


def _arrays(dataset: Dataset, dtype: Any, keep_terminal: bool) -> dict[str, Any]:
    """Return the transitions by name; labels that no step has are left out."""
    absent = [element for element in LABELS if dataset.missing[element].all()]
    labels = [element for element in LABELS if element not in absent]
    transitions = dataset.transitions(dtype, keep_terminal=keep_terminal, labels=labels)
    left = (*_LEFT, *absent)
    found = {item.name: getattr(transitions, item.name) for item in fields(transitions) if item.name not in left}
    return {name: value for name, value in found.items() if value is not None}


def _taken(value: Any, index: Any) -> Any:
    if isinstance(value, dict):
        return {key: _taken(child, index) for key, child in value.items()}
    taken = np.asarray(value[index])
    return torch.as_tensor(taken.copy() if taken.base is not None else taken)  # never a view that could be written to


class TransitionDataset(TorchDataset[dict[str, Any]]):
    """One item per transition: a dict of tensors under the names of `Dataset.transitions`.

    A dataset without rewards, such as demonstrations, has items without rewards; likewise without actions.

    Parameters
    ----------
    dataset : Dataset
    dtype : floating dtype or None
    keep_terminal : bool
        As in `Dataset.transitions`.

    Examples
    --------
    >>> import assay
    >>> items = assay.load("pendulum/random", steps=400).to_torch_dataset()
    >>> len(items), sorted(items[0])
    (400, ['actions', 'next_observations', 'observations', 'rewards', 'terminations', 'truncations'])
    >>> next(iter(torch.utils.data.DataLoader(items, batch_size=32, shuffle=True)))["observations"].shape
    torch.Size([32, 3])
    """

    def __init__(self, dataset: Dataset, dtype: Any = np.float32, *, keep_terminal: bool = True) -> None:
        self.arrays = _arrays(dataset, dtype, keep_terminal)

    def __len__(self) -> int:
        return len(self.arrays["terminations"])

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"transition {index} does not exist; there are {len(self)}")
        return {name: _taken(value, index) for name, value in self.arrays.items()}


class TransitionBatches(IterableDataset[dict[str, Any]]):
    """Batches of transitions in a random order, each transition once an epoch; the last batch may be smaller.

    Workers of a `DataLoader` share the batches among themselves. The order is a function of the seed and the epoch alone, which
    counts the iterations begun; `set_epoch` says which one comes next.

    Parameters
    ----------
    dataset : Dataset
    batch_size : int
    dtype, keep_terminal
        As in `TransitionDataset`.
    shuffle : bool
    seed : int

    Examples
    --------
    >>> import assay
    >>> batches = assay.load("pendulum/random", steps=400).to_torch_dataset(batch_size=150)
    >>> loader = torch.utils.data.DataLoader(batches, batch_size=None)
    >>> [len(batch["rewards"]) for batch in loader]
    [150, 150, 100]
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        dtype: Any = np.float32,
        *,
        keep_terminal: bool = True,
        shuffle: bool = True,
        seed: int = 0,
    ) -> None:
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ConfigError(f"batch_size must be a whole number of at least 1, not {batch_size!r}")
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise ConfigError(f"seed must be an integer of 0 or more, not {seed!r}")
        self.arrays = _arrays(dataset, dtype, keep_terminal)
        self.batch_size, self.shuffle, self.seed, self.epoch = batch_size, shuffle, seed, 0

    def __len__(self) -> int:
        return -(-len(self.arrays["terminations"]) // self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration be that of an epoch; loaders with persistent workers need it before each one."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[dict[str, Any]]:
        total, epoch = len(self.arrays["terminations"]), self.epoch
        self.epoch += 1
        order = np.arange(total)
        if self.shuffle:
            order = np.random.Generator(np.random.PCG64([self.seed, epoch])).permutation(total)
        worker = get_worker_info()
        first, stride = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for batch in range(first, len(self), stride):
            rows = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield {name: _taken(value, rows) for name, value in self.arrays.items()}
