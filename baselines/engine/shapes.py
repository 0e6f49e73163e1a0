"""Shapes: what the networks of a member see of its dataset, by named parts.

::

    an observation      position (3,) float      camera (64, 64, 3) uint8      room, one of 5
    what networks see   vector [.. 3 ..                                   .. 5, one-hot ..]   and   images["camera"], uint8

Every floating or small part joins one vector, in the order of the parts; images stay as they are, uint8 to the device. An
environment's observation is one flat row of numbers, the parts one after the other; `Shapes.split` takes it apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
import torch

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError
from assay.datasets.spaces import Box, Discrete, infer_space, leaves

__all__ = ["VECTOR", "CategoryCode", "Observations", "Part", "Shapes", "named_arrays", "split_observations"]

Observations: TypeAlias = torch.Tensor | Mapping[str, torch.Tensor]
"""The vector [..., n]; with images a mapping of `"vector"` (if there is one) and the images' names."""

CategoryCode: TypeAlias = Literal["one_hot", "index"]
VECTOR = "vector"
_LARGEST_CODE = 4_096  # categories that are coded as a vector


@dataclass(frozen=True)
class Part:
    """One named array of an observation.

    Parameters
    ----------
    name : str
        `""` where the observation is a single array, else its path, such as `"achieved_goal"`.
    shape : tuple of int
        Of one observation.
    kind : "vector", "image" or "category"
    categories : int
        How many there are; for a category only.
    first : int
        The smallest category.
    largest : int
        The largest number of an image, which encoders see as 1.
    """

    name: str
    shape: tuple[int, ...]
    kind: Literal["vector", "image", "category"] = "vector"
    categories: int = 0
    first: int = 0
    largest: int = 255

    @property
    def key(self) -> str:
        """What the image is called in a batch; `"image"` where the observation is nothing else."""
        return self.name or "image"

    @property
    def size(self) -> int:
        """Count of its numbers in an environment's observation."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Shapes:
    """What networks are made for.

    Parameters
    ----------
    parts : tuple of Part
        Of an observation, in order.
    action_size : int
        Entries of an action; of discrete actions their count.
    discrete_actions : bool
    category_code : "one_hot" or "index"
        How categories stand in the vector: as so many entries of 0 and 1, or as their number from 0.

    Examples
    --------
    >>> Shapes.flat(17, 6).observation_size
    17
    >>> Shapes((Part("goal", (2,)), Part("room", (), "category", 5)), 4).observation_size
    7
    """

    parts: tuple[Part, ...]
    action_size: int
    discrete_actions: bool = False
    category_code: CategoryCode = "one_hot"

    @classmethod
    def flat(cls, observation_size: int, action_size: int, discrete_actions: bool = False) -> Shapes:
        """Shapes of observations that are one vector."""
        return cls((Part("", (observation_size,)),), action_size, discrete_actions)

    @classmethod
    def of(
        cls, dataset: Dataset, action_size: int, discrete_actions: bool, category_code: CategoryCode = "one_hot"
    ) -> Shapes:
        """Read the shapes off a dataset.

        Raises
        ------
        ConfigError
            If a part of the observations is neither numbers nor an image; its column is named.
        """
        spaces = {} if dataset.info.observation_space is None else leaves(dataset.info.observation_space, "")
        parts = [
            _part(name, array, spaces.get(f"/{name}" if name else ""))
            for name, array in named_arrays(dataset.observations)
        ]
        return cls(tuple(parts), action_size, discrete_actions, category_code)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Shapes:
        """Read what `to_plain` returned."""
        parts = tuple(Part(**{**part, "shape": tuple(part["shape"])}) for part in plain["parts"])
        return cls(parts, plain["action_size"], plain["discrete_actions"], plain["category_code"])

    def to_plain(self) -> dict[str, Any]:
        """Return the shapes as JSON values."""
        return asdict(self)

    @cached_property
    def images(self) -> tuple[Part, ...]:
        """The parts that stay images."""
        return tuple(part for part in self.parts if part.kind == "image")

    @cached_property
    def in_vector(self) -> tuple[Part, ...]:
        """The parts that join the vector."""
        return tuple(part for part in self.parts if part.kind != "image")

    @cached_property
    def observation_size(self) -> int:
        """Entries of the vector."""
        return sum(self._width(part) for part in self.in_vector)

    @cached_property
    def environment_size(self) -> int:
        """Numbers of an environment's observation."""
        return sum(part.size for part in self.parts)

    @property
    def is_one_vector(self) -> bool:
        """Whether an observation is a single vector, which networks see as it is."""
        return len(self.parts) == 1 and self.parts[0].kind == "vector" and len(self.parts[0].shape) == 1

    @cached_property
    def measured(self) -> np.ndarray:
        """(observation_size,) bool: entries that are measurements, which normalization is for; codes are not."""
        kinds = np.array([part.kind == "vector" for part in self.in_vector], bool)
        return np.repeat(kinds, np.array([self._width(part) for part in self.in_vector], int))

    def place(self, name: str) -> slice:
        """Return which entries of the vector a part is.

        Raises
        ------
        ConfigError
            If the vector has no such part.

        Examples
        --------
        >>> Shapes((Part("achieved_goal", (2,)), Part("desired_goal", (2,))), 4).place("desired_goal")
        slice(2, 4, None)
        """
        start = 0
        for part in self.in_vector:
            if part.name == name:
                return slice(start, start + self._width(part))
            start += self._width(part)
        have = ", ".join(part.name for part in self.parts if part.name) or "no named parts"
        raise ConfigError(f"the observations have no vector {name!r}; they have {have}")

    def vector(self, observations: Any) -> np.ndarray:
        """Return the vectors (M, n) of a dataset's observations: an array, or a nested dict of them.

        Raises
        ------
        ConfigError
            If a category is none of the known ones; it is named.
        """
        arrays = dict(named_arrays(observations))
        if self.is_one_vector:
            return arrays[self.parts[0].name]
        rows = len(next(iter(arrays.values())))
        if not self.in_vector:
            return np.zeros((rows, 0), np.float32)
        return np.concatenate([self._coded(part, arrays[part.name]) for part in self.in_vector], axis=1)

    def split(self, flat: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Take an environment's observations apart.

        Parameters
        ----------
        flat : (..., environment_size) array

        Returns
        -------
        (..., n) float64 vector, and the images (..., *shape) uint8 by name
        """
        if self.is_one_vector:
            return flat, {}
        leading, rows = flat.shape[:-1], flat.reshape(-1, flat.shape[-1])
        found, start = {}, 0
        for part in self.parts:
            found[part.name] = rows[:, start : start + part.size].reshape(-1, *part.shape)
            start += part.size
        vector = np.zeros((len(rows), 0))
        if self.in_vector:
            vector = np.concatenate([self._coded(part, found[part.name]) for part in self.in_vector], axis=1)
        images = {part.key: found[part.name].astype(np.uint8).reshape(*leading, *part.shape) for part in self.images}
        return vector.reshape(*leading, -1), images

    def _width(self, part: Part) -> int:
        return part.categories if part.kind == "category" and self.category_code == "one_hot" else part.size

    def _coded(self, part: Part, array: np.ndarray) -> np.ndarray:
        if part.kind == "vector":
            floating = array.dtype.kind == "f"
            return array.reshape(len(array), -1).astype(array.dtype if floating else np.float32, copy=False)
        numbers = array.reshape(-1).astype(np.int64) - part.first
        wrong = np.flatnonzero((numbers < 0) | (numbers >= part.categories))
        if len(wrong):
            where = f"observations/{part.name}" if part.name else "observations"
            raise ConfigError(
                f"{where} holds {numbers[wrong[0]] + part.first} in row {wrong[0]}, which is none of the "
                f"{part.categories} categories from {part.first} on"
            )
        if self.category_code == "index":
            return numbers[:, None].astype(np.float64)
        code = np.zeros((len(numbers), part.categories), np.float32)
        code[np.arange(len(numbers)), numbers] = 1.0
        return code


def named_arrays(observations: Any, path: str = "") -> list[tuple[str, np.ndarray]]:
    """List the arrays of a nested dict under their paths, in alphabetical order, as Gymnasium keeps them."""
    if not isinstance(observations, Mapping):
        return [(path, observations)]
    return [
        item
        for name in sorted(observations)
        for item in named_arrays(observations[name], f"{path}/{name}" if path else str(name))
    ]


def _part(name: str, array: np.ndarray, space: Any) -> Part:
    where = f"observations/{name}" if name else "observations"
    shape = tuple(array.shape[1:])
    if array.dtype == np.uint8 and len(shape) >= 2:
        return Part(name, shape, "image", largest=_largest(space))
    if array.dtype.kind in "iu" and math.prod(shape) == 1:
        space = space if isinstance(space, Discrete) else infer_space(array.reshape(-1))
        if isinstance(space, Discrete):
            if space.n > _LARGEST_CODE:
                raise ConfigError(f"{where} has {space.n:,} categories; a vector codes at most {_LARGEST_CODE:,}")
            return Part(name, shape, "category", space.n, space.start)
    if array.dtype.kind not in "biuf":
        raise ConfigError(f"algorithms learn from numbers; {where} is {array.dtype}{list(shape)}")
    return Part(name, shape)


def _largest(space: Any) -> int:
    """Return the upper bound of the pixels in a space, 255 where it is not known."""
    return max(1, int(space.bounds()[1].max())) if isinstance(space, Box) else 255


def split_observations(observations: Observations) -> tuple[torch.Tensor, ...]:
    """Return the tensors of observations, the vector first and the images in their order: the inputs of an encoder."""
    return (observations,) if isinstance(observations, torch.Tensor) else tuple(observations.values())
