"""Decoding the image features of a LeRobot dataset, whose pictures stand in the Parquet files themselves.

A picture is a row ``{"bytes": PNG or JPEG, "path": its name when it was recorded}`` of the frames' table. Each file is read once more, a few
rows at a time, and every picture goes straight into its row.
"""

from __future__ import annotations

import numpy as np

from assay.datasets.errors import DatasetError, FormatError
from assay.datasets.formats.containers.parquet import open_parquet
from assay.datasets.formats.lerobot_metadata import Metadata
from assay.datasets.formats.lerobot_video import size_of_frames
from assay.datasets.formats.messages import decode_image
from assay.datasets.memory import empty

__all__ = ["decode_images"]

_ROWS_AT_ONCE = 64


def decode_images(name: str, metadata: Metadata) -> np.ndarray:
    """Decode one image feature.

    Parameters
    ----------
    name : str
        The feature, such as `"observation.images.top"`.
    metadata : Metadata
        Of the dataset.

    Returns
    -------
    (N+E, height, width, 3) uint8 array
        RGB; the last picture of every episode stands twice, since the final observation was not recorded.

    Raises
    ------
    FormatError, DatasetError
        If a picture is missing, damaged or of another size than info.json says; with file and row.
    """
    lengths = metadata.lengths
    height, width = size_of_frames(metadata.path, name, metadata.info["features"][name])
    steps = int(lengths.sum())
    result = empty((steps + len(lengths), height, width, 3), np.uint8)
    rows = np.arange(steps) + np.repeat(np.arange(len(lengths)), lengths)
    step = 0
    for file in metadata.data_files:
        with open_parquet(file) as frames:
            if step + frames.rows > steps:
                raise DatasetError(f"{file}: more frames than the {steps} that meta/ lists")
            for batch in frames.batches({name: 2}, rows=_ROWS_AT_ONCE):
                for number, picture in enumerate(batch.column(name).to_pylist()):
                    where = f"{file}: {name} of frame {step + number}"
                    content = picture.get("bytes") if isinstance(picture, dict) else None
                    if not isinstance(content, bytes):
                        raise FormatError(
                            f"{where} is not in the file (bytes); the dataset was stored without its pictures"
                        )
                    pixels = decode_image(content, where)
                    if pixels.shape[:2] != (height, width) or pixels.dtype != np.uint8 or pixels.shape[2] not in (1, 3):
                        raise DatasetError(
                            f"{where} is {pixels.dtype}{list(pixels.shape)}, but info.json says [{height}, {width}, 3]"
                        )
                    result[rows[step + number]] = pixels  # gray ones become three equal channels
                step += batch.num_rows
    if step != steps:
        raise DatasetError(
            f"{metadata.path / 'data'} holds {step} frames, but meta/ lists {steps}; the dataset is incomplete"
        )
    finals = np.cumsum(lengths + 1) - 1
    result[finals] = result[finals - 1]
    return result
