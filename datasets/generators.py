"""Random numbers that depend on the seed and the absolute step alone.

A transform draws from one generator per block of `BLOCK_STEPS` steps, keyed by (seed, transform, element, block). So
the same rows get the same noise whether the data is processed whole, in chunks, in any order or on many machines, and
two elements, two transforms or two seeds never share a stream.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from assay.datasets.memory import empty

__all__ = ["BLOCK_STEPS", "block_generator", "blocks", "random_rows", "uniform_numbers"]

BLOCK_STEPS = 65_536


def block_generator(seed: int, transform: str, element: str, block: int) -> np.random.Generator:
    """Return the generator of one block.

    Examples
    --------
    >>> draw = lambda element: block_generator(0, "corruption.random", element, 0).random()
    >>> draw("rewards") == draw("rewards"), draw("rewards") == draw("actions")
    (True, False)
    """
    import xxhash

    purpose = xxhash.xxh3_64_intdigest(f"{transform}\0{element}".encode())
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence((seed, purpose, block))))


def blocks(steps: int) -> Iterator[tuple[int, slice]]:
    """Yield (block, rows) that cover `steps` steps.

    Examples
    --------
    >>> list(blocks(70_000))
    [(0, slice(0, 65536, None)), (1, slice(65536, 70000, None))]
    """
    for block, start in enumerate(range(0, steps, BLOCK_STEPS)):
        yield block, slice(start, min(start + BLOCK_STEPS, steps))


def uniform_numbers(count: int, seed: int, transform: str, purpose: str) -> np.ndarray:
    """Return numbers in [0, 1), (count,) float64; each depends on its position, not on the count.

    Examples
    --------
    >>> few, many = (uniform_numbers(count, 0, "corruption.drop_episodes", "episodes") for count in (3, 5))
    >>> few.tolist() == many[:3].tolist()
    True
    """
    numbers = empty((count,), np.float64)
    for block, rows in blocks(count):
        block_generator(seed, transform, purpose, block).random(out=numbers[rows])
    return numbers


def random_rows(
    generator: np.random.Generator, shape: tuple[int, ...], rows: np.ndarray, dtype: Any = np.float32
) -> np.ndarray:
    """Return `generator.random(shape, dtype)[rows]`, in about half the time for float32.

    All of `shape` is drawn, so that what a row gets does not depend on which rows are asked for. NumPy makes each float32
    of the upper 24 bits of half a word of 64; here the words come in one call, and only the rows asked for become numbers.

    Examples
    --------
    >>> first, second = (np.random.Generator(np.random.SFC64(0)) for _ in range(2))
    >>> random_rows(first, (4, 3), np.array([1, 3])).tolist() == second.random((4, 3), np.float32)[[1, 3]].tolist()
    True
    """
    size, bits = math.prod(shape), generator.bit_generator
    if np.dtype(dtype) != np.float32 or size % 2 or bits.state["has_uint32"]:  # the last two leave half a word over
        drawn: np.ndarray = generator.random(shape, dtype=dtype)[rows]
        return drawn
    words = np.asarray(bits.random_raw(size // 2), "<u8").view("<u4").reshape(shape)
    halves = np.take(words, rows, axis=0)  # faster than words[rows]
    halves >>= 8
    numbers: np.ndarray = halves.view(np.int32).astype(np.float32)
    numbers *= np.float32(2**-24)
    return numbers
