"""Curves for TensorBoard: `tensorboard --logdir RUNS/tensorboard` shows every run of a folder."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.datasets.errors import ConfigError

if TYPE_CHECKING:
    from assay.baselines.runs.run import Run

__all__ = ["TensorBoard"]


class TensorBoard:
    """Event files in `<runs>/tensorboard/<run>`, with the tags `training/<metric>` and `evaluation/<metric>`.

    Files of an interrupted attempt are removed when its run resumes, as all their points are written again.

    Raises
    ------
    ConfigError
        If TensorBoard is not installed.
    """

    def __init__(self) -> None:
        if find_spec("tensorboard") is None:
            raise ConfigError("TensorBoard is not installed: pip install 'assay[tensorboard]'")
        self._writers: dict[Path, Any] = {}

    def start(self, run: Run) -> None:
        """Open the run's event file."""
        from torch.utils.tensorboard import SummaryWriter

        folder = run.folder.parent / "tensorboard" / run.folder.name
        shutil.rmtree(folder, ignore_errors=True)
        self._writers[run.folder] = SummaryWriter(str(folder))

    def log(self, run: Run, kind: str, update: int, metrics: Mapping[str, float]) -> None:
        """Queue the numbers; a thread of the writer takes them to the file."""
        for name, value in metrics.items():
            self._writers[run.folder].add_scalar(f"{kind}/{name}", value, update)

    def close(self) -> None:
        """Write out and close the files."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()
