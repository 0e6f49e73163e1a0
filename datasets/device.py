"""Whether tensors can be put on a device."""

from __future__ import annotations

from assay.datasets.errors import ConfigError

__all__ = ["check_device"]


def check_device(device: str) -> None:
    """Raise ConfigError where a device cannot be used.

    Examples
    --------
    >>> check_device("cpu")
    """
    import torch

    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from error
