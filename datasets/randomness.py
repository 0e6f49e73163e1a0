"""Random numbers that depend on the seed and the absolute step alone.

A transform draws from one generator per block of `BLOCK_STEPS` steps, keyed by (seed, transform, element, block). So
the same rows get the same noise whether the data is processed whole, in chunks, in any order or on many machines, and
two elements, two transforms or two seeds never share a stream.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xxhash

__all__ = ["BLOCK_STEPS", "block_generator", "blocks"]

BLOCK_STEPS = 65_536


def block_generator(seed: int, transform: str, element: str, block: int) -> np.random.Generator:
    """Return the generator of one block.

    Examples
    --------
    >>> draw = lambda element: block_generator(0, "corruption.random", element, 0).random()
    >>> draw("rewards") == draw("rewards"), draw("rewards") == draw("actions")
    (True, False)
    """
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
