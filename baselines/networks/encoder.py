"""Encoders: what a vector and images become before a perceptron, for a whole population.

::

    image [R, B, H, W, C] uint8 -> / largest -> [B, R C, H, W] -> convolutions with R groups -> [R, B, n] -> linear, ReLU
    joined with the vector [R, B, v]: [R, B, outputs]

The member axis lies in the groups of each convolution, so one call serves all members and their ensembles.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from assay.baselines.networks.network import Parameter, Specification
from assay.datasets.errors import ConfigError

__all__ = ["ConvolutionalEncoder", "filters_for"]

_MOST_CHANNELS = 4  # of an image whose channels come first
_WHITE = 255  # what becomes 1 where nothing else is said
_PICTURE = ((32, 8, 4), (64, 4, 2), (64, 3, 1))  # DQN (Mnih et al. 2015)
_GRID = ((16, 3, 1),)  # MinAtar (Young & Tian 2019)
_SMALLEST_PICTURE = 36  # pixels that DQN's filters need


def filters_for(shape: tuple[int, ...]) -> tuple[tuple[int, int, int], ...]:
    """Return (channels, kernel, stride) of convolutions that suit an image: DQN's, and for small grids MinAtar's.

    Examples
    --------
    >>> filters_for((10, 10, 6))
    ((16, 3, 1),)
    >>> len(filters_for((64, 64, 3)))
    3
    """
    _, height, width = _channels_first(shape)
    return _GRID if min(height, width) < _SMALLEST_PICTURE else _PICTURE


@dataclass(frozen=True)
class ConvolutionalEncoder(Specification):
    """Convolutions over every image, and a linear layer; the vector passes through.

    Parameters
    ----------
    vector : int
        Entries of the vector; 0 where there is none.
    images : tuple of shapes
        (height, width), (height, width, channels), or (channels, height, width) with at most 4 channels.
    filters : tuple of (channels, kernel, stride), optional
        Of each convolution; the default is that of DQN (Mnih et al. 2015), and None takes `filters_for` each image.
    features : int
        Entries that each image becomes.
    largest : tuple of int
        What becomes 1 in each image: 255 of a picture, 1 of a grid of bits. Default 255.
    """

    vector: int
    images: tuple[tuple[int, ...], ...]
    filters: tuple[tuple[int, int, int], ...] | None = _PICTURE
    features: int = 256
    largest: tuple[int, ...] = ()

    @property
    def outputs(self) -> int:
        """Entries of what comes out."""
        return self.vector + self.features * len(self.images)

    def parameters(self) -> tuple[Parameter, ...]:  # noqa: D102
        found: list[Parameter] = []
        for number, shape in enumerate(self.images):
            inputs, height, width = _channels_first(shape)
            filters = self._filters(shape)
            for layer, (outputs, kernel, stride) in enumerate(filters):
                height, width = (height - kernel) // stride + 1, (width - kernel) // stride + 1
                if min(height, width) < 1:
                    raise ConfigError(f"an image of {list(shape)} is too small for the filters {list(filters)}")
                bound = 1.0 / math.sqrt(inputs * kernel * kernel)
                name = f"{number}/convolution/{layer}"
                found += [Parameter(f"{name}/weight", (outputs, inputs, kernel, kernel), bound=bound)]
                found += [Parameter(f"{name}/bias", (outputs,), bound=bound)]
                inputs = outputs
            flat = inputs * height * width
            bound = 1.0 / math.sqrt(flat)
            found += [Parameter(f"{number}/features/weight", (flat, self.features), bound=bound)]
            found += [Parameter(f"{number}/features/bias", (1, self.features), bound=bound)]
        return tuple(found)

    def forward(self, weights: Sequence[torch.Tensor], *inputs: torch.Tensor, **options: Any) -> torch.Tensor:
        """Apply R encoders to the vectors [R, B, v] and images [R, B, *shape] uint8; returns [R, B, outputs]."""
        vector, *images = inputs
        tensors = iter(weights)
        found = [vector] if self.vector else []
        largest = self.largest or (_WHITE,) * len(self.images)
        for shape, image, white in zip(self.images, images, largest, strict=True):
            found.append(self._features(image, shape, white, tensors))
        return torch.cat(found, -1)

    def _filters(self, shape: tuple[int, ...]) -> tuple[tuple[int, int, int], ...]:
        return filters_for(shape) if self.filters is None else self.filters

    def _features(
        self, image: torch.Tensor, shape: tuple[int, ...], white: int, tensors: Iterator[torch.Tensor]
    ) -> torch.Tensor:
        rows, batch = image.shape[:2]
        pixels = image.unsqueeze(-1) if len(shape) == 2 else image
        if len(shape) == 2 or _channels_first(shape) != shape:
            pixels = pixels.movedim(-1, 2)  # [R, B, C, H, W]
        hidden = pixels.transpose(0, 1).flatten(1, 2)
        for _, _, stride in self._filters(shape):
            weight, bias = next(tensors), next(tensors)
            hidden = hidden.to(weight.dtype) if hidden.is_floating_point() else hidden.to(weight.dtype) / white
            hidden = functional.conv2d(hidden, weight.flatten(0, 1), bias.flatten(), stride=stride, groups=rows)
            hidden = torch.relu(hidden)
        flat = hidden.reshape(batch, rows, -1).transpose(0, 1)
        weight, bias = next(tensors), next(tensors)
        return torch.relu(torch.baddbmm(bias, flat, weight))


def _channels_first(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return (channels, height, width) of an image."""
    if len(shape) == 2:
        return 1, *shape
    if len(shape) != 3:
        raise ConfigError(f"an image has two or three axes, not the shape {list(shape)}")
    first, middle, last = shape
    if first <= _MOST_CHANNELS < min(middle, last):
        return first, middle, last
    return last, first, middle
