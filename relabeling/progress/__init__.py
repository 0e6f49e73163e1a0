"""Progress towards a goal, per step: read and written as a sidecar file, and made into rewards, advantages or weights."""

from assay.relabeling.progress.sidecar import Progress, read_progress, write_progress
from assay.relabeling.progress.use import ProgressLabels

__all__ = ["Progress", "ProgressLabels", "read_progress", "write_progress"]
