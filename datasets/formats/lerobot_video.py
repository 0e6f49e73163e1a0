"""Decoding the video features of a LeRobot dataset with PyAV, which is an extra.

A video file holds one episode, or since v3.0 many of them, one after another. Each is decoded once, from its first frame on,
and the frames whose time stamps the episodes name go straight into their rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from assay.datasets.errors import AssayError, ConfigError, DatasetError, FormatError
from assay.datasets.formats.lerobot_metadata import Metadata
from assay.datasets.memory import empty

__all__ = ["decode", "size_of_frames"]

_TOLERANCE_SECONDS = 1e-4  # LeRobot's own


def decode(name: str, metadata: Metadata) -> np.ndarray:
    """Decode one video feature.

    Parameters
    ----------
    name : str
        The feature, such as `"observation.images.top"`.
    metadata : Metadata
        Of the dataset.

    Returns
    -------
    (N+E, height, width, 3) uint8 array
        RGB; the last frame of every episode stands twice, since the final observation was not recorded.

    Raises
    ------
    ConfigError
        If PyAV is not installed.
    FormatError, DatasetError
        If a file is missing, damaged, of another size than info.json says, or lacks a frame.
    """
    try:
        import av
    except ImportError as error:
        raise ConfigError("decoding videos needs PyAV: pip install assay[video]") from error
    info, lengths = metadata.info, metadata.lengths
    height, width = size_of_frames(metadata.path, name, info["features"][name])
    starts = np.cumsum(lengths + 1) - (lengths + 1)
    result = empty((int(lengths.sum()) + len(lengths), height, width, 3), np.uint8)
    for file, episodes, begins in metadata.video_files(name):
        if not file.is_file():
            raise FormatError(f"{file} is missing; the dataset was copied without its videos")
        times = [begin + np.arange(lengths[episode]) / info["fps"] for episode, begin in zip(episodes, begins)]
        rows = [starts[episode] + np.arange(lengths[episode]) for episode in episodes]
        order = np.argsort(np.concatenate(times), kind="stable")
        try:
            with av.open(str(file)) as container:
                _decode_file(container, file, np.concatenate(times)[order], np.concatenate(rows)[order], result)
        except AssayError:
            raise
        except Exception as error:  # FFmpeg reports damage by errors of many kinds
            raise FormatError(f"{file} is damaged ({' '.join(str(error).split())}); copy it again") from error
    finals = starts + lengths
    result[finals] = result[finals - 1]
    return result


def size_of_frames(path: Path, name: str, feature: Mapping[str, Any]) -> tuple[int, int]:
    """Return height and width of a feature of color pictures, as info.json describes it."""
    shape, names = feature["shape"], feature.get("names")
    if isinstance(names, list) and len(names) == len(shape) and {"height", "width"} <= set(map(str, names)):
        height, width = shape[names.index("height")], shape[names.index("width")]
    else:
        height, width = shape[1:3] if shape[:1] == [3] else shape[:2]
    if len(shape) != 3 or math.prod(shape) != height * width * 3:
        raise FormatError(f"{path}: {name} has the shape {shape}; only color images are decoded")
    return height, width


def _decode_file(container: Any, file: Path, times: np.ndarray, rows: np.ndarray, result: np.ndarray) -> None:
    """Put the frame at each time (ascending) into its row."""
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    wanted = 0
    for frame in container.decode(stream):
        if wanted == len(times):
            break
        if frame.time is None or frame.time < times[wanted] - _TOLERANCE_SECONDS:
            continue
        if frame.time > times[wanted] + _TOLERANCE_SECONDS:
            break
        if (frame.height, frame.width) != result.shape[1:3]:
            raise DatasetError(
                f"{file}: frames are {frame.height}x{frame.width}, but info.json says "
                f"{result.shape[1]}x{result.shape[2]}"
            )
        result[rows[wanted]] = frame.to_ndarray(format="rgb24")
        wanted += 1
        while wanted < len(times) and times[wanted] <= frame.time + _TOLERANCE_SECONDS:  # two episodes share a frame
            result[rows[wanted]] = result[rows[wanted - 1]]
            wanted += 1
    if wanted < len(times):
        raise DatasetError(f"{file} has no frame at {times[wanted]:.4f} s, which meta/episodes lists")
