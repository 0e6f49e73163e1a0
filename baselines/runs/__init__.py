"""Jobs, and the run folders that come of them.

This module imports nothing heavy: `assay.analysis` reads run folders through it without torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assay.baselines.runs.job import Job
    from assay.baselines.runs.plan import Plan
    from assay.baselines.runs.run import Run

__all__ = ["Job", "Plan", "Run"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in __all__:
        return getattr(import_module(f"assay.baselines.runs.{name.lower()}"), name)
    raise AttributeError(f"module 'assay.baselines.runs' has no attribute {name!r}")
