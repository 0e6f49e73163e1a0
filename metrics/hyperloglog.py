"""HyperLogLog: an estimate of the number of distinct things, in a few kilobytes, that can be merged across machines.

Source: Flajolet et al., "HyperLogLog: the analysis of a near-optimal cardinality estimation algorithm", AofA 2007; the
estimate is that of Ertl, "New cardinality estimation algorithms for HyperLogLog sketches", 2017, arXiv 1702.01284,
algorithm 6, which needs no empirical bias correction and no switch to linear counting for small counts.

A 64-bit hash is split: its first p bits choose one of m = 2^p registers, and the register keeps the largest position of
the first one bit among the other 64 - p::

    hash      10110 ... 01 | 0 0 0 1 0 1 1 ...        p bits | 64 - p bits
              register      position 4

Registers merge by their maximum, so the sketch of a union is the merge of the sketches, in any order, and things that
were counted twice count once. The estimate has a relative standard error of about 1.04 / sqrt(m): 0.8 % at p = 14,
which takes 16 KiB (the published SACo asks for 1 %, and gets p = 14).

The input is a 64-bit number per thing, different for different things, such as `Grid.hashes` yields. The numbers need
not look random: each goes through a bijective mix first (the finalizer of splitmix64).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from assay.datasets.errors import ConfigError, FormatError

__all__ = ["HyperLogLog"]

_MAGIC = b"assay-hll-1"
_CHUNK = 1 << 16  # hashes at a time, so that their results stay in cache


class HyperLogLog:
    """A mergeable estimate of a number of distinct 64-bit hashes.

    Parameters
    ----------
    precision : int
        p, 6 to 18: 2^p registers of one byte, relative standard error 1.04 / 2^(p/2).

    Raises
    ------
    ConfigError
        If the precision is out of range.

    Examples
    --------
    >>> here, there = HyperLogLog(12), HyperLogLog(12)
    >>> here.add(np.arange(0, 60_000, dtype=np.uint64))
    >>> there.add(np.arange(40_000, 100_000, dtype=np.uint64))
    >>> whole = here.merge(there)
    >>> abs(whole.estimate() / 100_000 - 1) < 3 * whole.standard_error
    True
    """

    def __init__(self, precision: int = 14) -> None:
        if not 6 <= precision <= 18:
            raise ConfigError(f"precision={precision}: a sketch has 2^6 to 2^18 registers")
        self.precision = precision
        self.registers = np.zeros(1 << precision, np.uint8)

    @property
    def standard_error(self) -> float:
        """Relative standard error of the estimate, 1.04 / sqrt(m)."""
        return 1.04 / math.sqrt(len(self.registers))

    def add(self, hashes: np.ndarray) -> None:
        """Count some hashes.

        Parameters
        ----------
        hashes : (n,) uint64

        Raises
        ------
        ConfigError
            If they are not a flat array of uint64.
        """
        if hashes.dtype != np.uint64 or hashes.ndim != 1:
            raise ConfigError(f"hashes must be a flat array of uint64, not {hashes.dtype} {hashes.shape}")
        for start in range(0, len(hashes), _CHUNK):
            mixed = _mix(hashes[start : start + _CHUNK])
            chosen = (mixed >> np.uint64(64 - self.precision)).astype(np.int64)
            rest = mixed << np.uint64(self.precision)
            rest |= np.uint64(1 << (self.precision - 1))  # ends the search at position 64 - p + 1
            np.maximum.at(self.registers, chosen, _leading_zeros(rest) + np.uint8(1))

    def update(self, hashes: Iterable[np.ndarray]) -> HyperLogLog:
        """Add every array of a stream, such as `grid.hashes(dataset)`; returns the sketch itself."""
        for part in hashes:
            self.add(part)
        return self

    def merge(self, *others: HyperLogLog) -> HyperLogLog:
        """Return the sketch of the union.

        Raises
        ------
        ConfigError
            If the precisions differ.
        """
        merged = HyperLogLog(self.precision)
        merged.registers = self.registers.copy()
        for other in others:
            if other.precision != self.precision:
                raise ConfigError(
                    f"sketches of precision {self.precision} and {other.precision} do not merge; make them alike"
                )
            np.maximum(merged.registers, other.registers, out=merged.registers)
        return merged

    def estimate(self) -> float:
        """Return the estimated number of distinct hashes."""
        m, q = len(self.registers), 64 - self.precision
        counts = np.bincount(self.registers, minlength=q + 2).astype(float)
        if counts[0] == m:
            return 0.0
        z = m * _tau(1 - counts[q + 1] / m)
        for k in range(q, 0, -1):
            z = 0.5 * (z + counts[k])
        z += m * _sigma(counts[0] / m)
        return float(m * m / (2 * math.log(2) * z))

    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of the number, by the normal law: estimate (1 -+ 1.96 standard errors)."""
        value, half = self.estimate(), 1.96 * self.standard_error
        return value * (1 - half), value * (1 + half)

    def to_bytes(self) -> bytes:
        """Return the sketch as bytes, the same on every machine."""
        return _MAGIC + bytes([self.precision]) + self.registers.tobytes()

    @classmethod
    def from_bytes(cls, content: bytes) -> HyperLogLog:
        """Read what `to_bytes` returned.

        Raises
        ------
        FormatError
            If it is not a sketch, or a damaged one.
        """
        head = len(_MAGIC) + 1
        if content[: len(_MAGIC)] != _MAGIC or len(content) < head or not 6 <= content[head - 1] <= 18:
            raise FormatError("these bytes are not a HyperLogLog sketch")
        sketch = cls(content[head - 1])
        registers = np.frombuffer(content, np.uint8, offset=head)
        if len(registers) != len(sketch.registers) or registers.max() > 65 - sketch.precision:
            raise FormatError("the HyperLogLog sketch is damaged: its registers are not those of its precision")
        sketch.registers = registers.copy()
        return sketch

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HyperLogLog) and np.array_equal(self.registers, other.registers)

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"HyperLogLog(precision={self.precision}): about {self.estimate():,.0f} +- {self.standard_error:.1%}"


def _mix(hashes: np.ndarray) -> np.ndarray:
    """Mix every bit into every other: a bijection (splitmix64, Steele et al. 2014)."""
    mixed = hashes + np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def _leading_zeros(words: np.ndarray) -> np.ndarray:
    """Return the zeros above the first one bit of every word, none of which is zero; (n,) uint8."""
    # without the bits that follow the first one, rounding to a float cannot reach the next power of two
    exponents = np.frexp((words & ~(words >> np.uint64(1))).astype(np.float64))[1]
    result: np.ndarray = (64 - exponents).astype(np.uint8)
    return result


def _sigma(x: float) -> float:
    """x + sum over k >= 1 of x^(2^k) 2^(k-1), for x in [0, 1)."""
    y, z, previous = 1.0, x, -1.0
    while z != previous:
        x *= x
        previous = z
        z += x * y
        y += y
    return z


def _tau(x: float) -> float:
    """(1 - x - sum over k >= 1 of (1 - x^(2^-k))^2 2^-k) / 3, for x in [0, 1]."""
    if x in (0.0, 1.0):
        return 0.0
    y, z, previous = 1.0, 1 - x, -1.0
    while z != previous:
        x = math.sqrt(x)
        previous = z
        y *= 0.5
        z -= (1 - x) ** 2 * y
    return z / 3
