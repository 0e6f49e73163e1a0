"""Whether tensors can be put on a device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assay.datasets.errors import ConfigError

if TYPE_CHECKING:
    import torch

__all__ = ["check_device"]


def check_device(device: str | torch.device | None) -> None:
    """Raise ConfigError where tensors cannot be put on a device and read again; None is no device, and always there.

    Examples
    --------
    >>> check_device("cpu")
    """
    if device is None or device == "cpu":
        return
    import torch

    try:
        torch.zeros(1, device=device).item()
    except (AssertionError, RuntimeError, TypeError) as error:
        said: Any = str(device) if isinstance(device, torch.device) else device
        raise ConfigError(f"device {said!r} cannot be used: {str(error).splitlines()[0]}") from error
