"""Transitions: a dataset laid out for learning, one contiguous row per (s, a, r, s')."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from assay.datasets.device import check_device

if TYPE_CHECKING:
    import torch

__all__ = ["Transitions"]

Array = TypeVar("Array")


def to_tensor(array: np.ndarray, device: str | torch.device | None) -> torch.Tensor:
    """Copy an array to a device, in the byte order of this machine: tensors have no other."""
    import torch

    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C")).to(device)


@dataclass(frozen=True)
class Transitions(Generic[Array]):
    """Rows of equal index belong together; M is the number of transitions.

    Parameters
    ----------
    observations, next_observations : (M, ...) arrays, or a dict of them for structured spaces
        At a termination the next observation may be a placeholder, where the final one was not stored.
    actions : (M, ...)
    rewards : (M,)
    terminations, truncations : (M,) bool
        The MDP ended, or something else stopped the episode, after this transition.
    steps : (M,) int64
        Index of the step in the dataset that each row comes from.
    weights : (M,) or None
        Unnormalized sampling weights, where the dataset has them.
    episodes : (M,) int64 or None
        Index of the episode of each row; None where the flags alone tell where episodes end.
    discounts : (M,) or None
        Factor of the value of the next observation, where rows span several steps (`TransitionSampler`).
    columns : dict
        Further columns, (M, ...), where they were asked for.
    """

    observations: Any
    actions: Any
    rewards: Array
    next_observations: Any
    terminations: Array
    truncations: Array
    steps: Array
    weights: Array | None = None
    episodes: Array | None = None
    discounts: Array | None = None
    columns: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rewards)  # type: ignore[arg-type]

    def to_torch(self: Transitions[np.ndarray], device: str | torch.device = "cpu") -> Transitions[torch.Tensor]:
        """Copy every array to a device.

        Parameters
        ----------
        device : str or torch.device
            Such as `"cpu"` or `"cuda:0"`.

        Raises
        ------
        ConfigError
            If the device cannot be used.
        """
        check_device(device)

        def move(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: move(item) for key, item in value.items()}
            return None if value is None else to_tensor(value, device)

        return Transitions(**{item.name: move(getattr(self, item.name)) for item in fields(self)})
