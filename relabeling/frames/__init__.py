"""Frames: what every observation of a dataset looks like, stored with it or rendered from the simulator's state."""

from assay.relabeling.frames.source import ColumnFrames, FrameSource, RenderedFrames, frames_of

__all__ = ["ColumnFrames", "FrameSource", "RenderedFrames", "frames_of"]
