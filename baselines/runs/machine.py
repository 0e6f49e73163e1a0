"""What trains: the processor, the accelerator, and the versions that a result depends on."""

from __future__ import annotations

import os
import platform
import re
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["hardware", "multiplies_bfloat16", "versions"]


def _processor(field: str) -> str | None:
    """Return what Linux says about the processor, or None."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(errors="replace") if cpuinfo.exists() else ""
    found = re.search(rf"^({field})\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(2) if found else None


def multiplies_bfloat16() -> bool | None:
    """Return whether the processor has instructions for bfloat16 products; None where it does not say."""
    flags = _processor("flags|Features")
    return None if flags is None else not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(flags.split())


def hardware(device: str) -> dict[str, Any]:
    """Describe the machine that trains."""
    processor = _processor("model name") or platform.processor() or platform.machine()
    described = {"device": device, "processor": processor, "cores": os.cpu_count()}
    if device.startswith("cuda"):
        import torch

        described["accelerator"] = torch.cuda.get_device_name(device)
    return described


def versions() -> dict[str, str]:
    """Return the versions of what the results depend on."""
    from assay import __version__

    found = {"assay": __version__, "python": platform.python_version()}
    for name in ("torch", "numpy", "gymnasium", "mujoco"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
