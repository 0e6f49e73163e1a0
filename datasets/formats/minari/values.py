"""How Minari stores the values of a space: as numbers, as text, or as JPEG images."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from assay.datasets.errors import FormatError
from assay.datasets.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Space, Text

__all__ = [
    "SMALL",
    "TEXT_EXPANSION",
    "Kind",
    "decode_images",
    "is_image",
    "is_observation",
    "kind_of",
    "shape_of",
    "text_column",
]

Kind: TypeAlias = Literal["numbers", "text", "images"]
TEXT_EXPANSION = 256  # bytes in memory for one in the file, where short texts stand beside long ones
SMALL = 1 << 28  # bytes that need no such check


def is_observation(name: str) -> bool:
    """Tell whether a column has the final row of each episode."""
    return name == "observations" or name.startswith("observations/")


def is_image(space: Space) -> bool:
    """Tell whether Minari would store a space as JPEG images by default."""
    if not isinstance(space, Box) or space.dtype != "uint8" or len(space.shape) not in (2, 3):
        return False
    low, high = space.bounds()
    return min(space.shape[:2]) >= 32 and bool((low == 0).all() and (high == 255).all())


def kind_of(space: Space | None, *, jpeg_encoding: bool) -> Kind:
    """Tell how the values of a leaf space are stored."""
    if isinstance(space, Text):
        return "text"
    return "images" if jpeg_encoding and space is not None and is_image(space) else "numbers"


def shape_of(space: Space) -> tuple[int, ...]:
    """Return the shape of one value of a leaf space."""
    match space:
        case Box(shape):
            return shape
        case MultiDiscrete(nvec):
            return np.shape(nvec)
        case MultiBinary(n):
            return (n,) if isinstance(n, int) else n
        case Discrete() | Text():
            return ()
    raise TypeError(f"{type(space).__name__} is no leaf")


def text_column(values: Sequence[str], file_size: int, where: object, *, width: Any = None) -> np.ndarray:
    """Put texts into an array of NumPy's fixed length: that of the longest, or `width` where that is more.

    Raises
    ------
    FormatError
        If a text ends in a zero character, which NumPy would drop, or a few long ones would make the array many times
        larger than the file.
    """
    longest = max(map(len, values), default=0)
    if isinstance(width, int) and 0 < width < 1 << 31:
        longest = max(longest, width)
    size = 4 * longest * len(values)
    if size > max(SMALL, TEXT_EXPANSION * file_size):
        raise FormatError(
            f"{where}: {len(values)} texts of up to {longest} characters need {size} bytes as a column of fixed length, "
            f"and the file has {file_size}; it is damaged, or does not fit a table"
        )
    if any(value.endswith("\0") for value in values):
        raise FormatError(f"{where} holds text that ends in a zero character, which would be lost")
    return np.array(values, f"<U{max(longest, 1)}")


def decode_images(encoded: Sequence[Any], out: np.ndarray, where: object) -> None:
    """Decode JPEG images into `out`, uint8 (images, height, width) or (..., 3); sizes are checked before pixels.

    Raises
    ------
    FormatError
        If one is not a JPEG image of that size, or is damaged.
    """
    from PIL import Image

    height, width = out.shape[1:3]
    mode = {2: "L", 3: "RGB"}.get(out.ndim - 1) if out.ndim == 3 or out.shape[3] == 3 else None
    for row, content in enumerate(encoded):
        try:
            image = Image.open(io.BytesIO(content), formats=["JPEG"])
            if image.size != (width, height) or image.mode != mode:
                raise FormatError(
                    f"{where}: row {row} is an image of {image.width} x {image.height} in {image.mode}; the space says "
                    f"{width} x {height} in {mode or f'{out.shape[3:]} channels'}"
                )
            out[row] = np.asarray(image)
        except FormatError:
            raise
        except Exception as error:  # Pillow's plugins raise what they like on damage
            raise FormatError(f"{where}: row {row} is a damaged image ({error}); copy the file again") from error
