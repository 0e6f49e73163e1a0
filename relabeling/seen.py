"""What a model of rewards sees of a dataset: vectors or frames, and the frames that a judge is shown."""

from __future__ import annotations

from typing import Literal, TypeAlias

from assay.datasets.dataset import Dataset
from assay.datasets.progress import Progress
from assay.relabeling.frames import FrameSource, frames_of
from assay.relabeling.preferences.views import FrameViews, StateViews, Views

__all__ = ["Inputs", "views_of"]

Inputs: TypeAlias = Literal["states", "frames"]


def views_of(
    dataset: Dataset,
    inputs: Inputs,
    column: str | None,
    height: int,
    *,
    with_frames: bool = False,
    progress: Progress | None = None,
) -> tuple[Views, FrameSource | None]:
    """Return what a model sees, and the frames where it or somebody else needs them."""
    frames = None
    if inputs == "frames" or with_frames:
        frames = frames_of(dataset, column=column, height=height, progress=progress)
    if inputs == "frames":
        assert frames is not None
        return FrameViews(frames, dataset.observation_rows), frames
    return StateViews.of(dataset), frames
