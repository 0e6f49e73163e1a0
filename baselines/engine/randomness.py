"""Counter-based random numbers: every draw is a stateless function of (member's seed, purpose, update, position).

So a member's stream does not depend on who shares its population, on how the updates are chunked, or on a resume, and
there is no generator state to save. The function is two rounds of the SplitMix64 finalizer (Steele, Lea & Flood 2014)::

    key   = mix(mix(seed + G) ^ hash(purpose))        once per member and purpose
    state = mix(key + G * (update + 1))               once per member, purpose and update
    bits  = mix(state + G * (position + 1))           once per number

A handful of integer operations on the device that holds the training data; on CUDA they are captured in the graph with
the update counter as a tensor.
"""

from __future__ import annotations

import contextlib
import math
import zlib
from collections.abc import Callable, Iterator, Sequence

import torch

__all__ = ["Draws"]

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def _signed(value: int) -> int:
    """Return the int64 with the bits of an unsigned 64-bit integer; tensors have no uint64 arithmetic."""
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value


def _mix_int(x: int) -> int:
    x = ((x ^ (x >> 30)) * _FIRST) & _MASK
    x = ((x ^ (x >> 27)) * _SECOND) & _MASK
    return x ^ (x >> 31)


def _shift_right(x: torch.Tensor, bits: int) -> torch.Tensor:
    """Shift without copies of the sign bit."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: torch.Tensor) -> torch.Tensor:
    x = (x ^ _shift_right(x, 30)) * _signed(_FIRST)
    x = (x ^ _shift_right(x, 27)) * _signed(_SECOND)
    return x ^ _shift_right(x, 31)


class Draws:
    """Random numbers for the members of a population at one update.

    Parameters
    ----------
    seeds : sequence of int
        One per member.
    update : (1,) int64 tensor
        The update counter; draws follow its current value.
    dtype : torch.dtype
        Of the floating draws; they are computed in float32 whatever it is, so both precisions see the same numbers.
    scope : str
        Put before every purpose.

    Examples
    --------
    >>> draws = Draws([0, 1], torch.zeros(1, dtype=torch.int64))
    >>> alone = Draws([1], torch.zeros(1, dtype=torch.int64))
    >>> bool((draws.normal("noise", 3)[1] == alone.normal("noise", 3)[0]).all())
    True
    """

    def __init__(
        self, seeds: Sequence[int], update: torch.Tensor, dtype: torch.dtype = torch.float32, scope: str = ""
    ) -> None:
        self.seeds = tuple(seeds)
        self.update = update
        self.dtype = dtype
        self.scope = scope
        self._keys: dict[str, torch.Tensor] = {}
        self._places: dict[int, torch.Tensor] = {}
        self._updates_ahead, self._now = 1, 0
        self._drawn: dict[tuple[str, str, tuple[int, ...]], torch.Tensor] = {}  # [U, P, *shape]

    def scoped(self, name: str) -> Draws:
        """Return draws of the same members and updates whose purposes are apart from all others; `""` gives these."""
        if not name:
            return self
        found = Draws(self.seeds, self.update, self.dtype, f"{self.scope}{name}/")
        found._places = self._places
        return found

    # ---------------------------------------------------------------- several updates at once

    @contextlib.contextmanager
    def ahead(self, updates: int) -> Iterator[None]:
        """Draw the numbers of so many coming updates in one go, each purpose when it is first asked for.

        They are the same numbers, by a fraction of the operations. Between two of the updates the counter grows by one and
        `proceed` is called. Limits and probabilities must stay as they are meanwhile.
        """
        self._updates_ahead, self._now = updates, 0
        try:
            yield
        finally:
            self._updates_ahead, self._now = 1, 0
            self._drawn.clear()

    def proceed(self) -> None:
        """Go on to the next of the updates that are drawn ahead; the counter has grown."""
        self._now += 1

    def _draw(
        self, kind: str, purpose: str, shape: tuple[int, ...], make: Callable[[torch.Tensor], torch.Tensor], count: int
    ) -> torch.Tensor:
        """Return [P, *shape] numbers of the current update, made of `count` bits per member."""
        wanted = (kind, purpose, shape)
        if wanted not in self._drawn:
            numbers = make(self._bits(purpose, count)).view(self._updates_ahead, len(self.seeds), *shape)
            if self._updates_ahead == 1:
                return numbers[0]
            self._drawn[wanted] = numbers
        return self._drawn[wanted][self._now]

    def _bits(self, purpose: str, count: int) -> torch.Tensor:
        """Return [U, P, count] int64 tensors of 64 random bits, for the updates that are drawn ahead."""
        updates = self.update
        if self._updates_ahead > 1:
            updates = updates + torch.arange(-self._now, self._updates_ahead - self._now, device=updates.device)
        state = _mix(self._key(purpose) + (updates[:, None] + 1) * _signed(_GOLDEN))
        return _mix(state[..., None] + self._steps_to(count))

    def _key(self, purpose: str) -> torch.Tensor:
        if purpose not in self._keys:
            code = zlib.crc32((self.scope + purpose).encode())
            keys = [_signed(_mix_int(_mix_int((seed + _GOLDEN) & _MASK) ^ code)) for seed in self.seeds]
            self._keys[purpose] = torch.tensor(keys, dtype=torch.int64, device=self.update.device)
        return self._keys[purpose]

    def _steps_to(self, count: int) -> torch.Tensor:
        """Return G * 1, ..., G * count, made once.

        A compiler that saw the products made would fold them into its arithmetic of indices, which knows no overflow.
        """
        if count not in self._places:
            self._places[count] = torch.arange(1, count + 1, device=self.update.device) * _signed(_GOLDEN)
        return self._places[count]

    # ---------------------------------------------------------------- numbers

    def bits(self, purpose: str, *shape: int) -> torch.Tensor:
        """Return [P, *shape] int64 tensors of 64 random bits."""
        return self._draw("bits", purpose, shape, lambda bits: bits, math.prod(shape))

    def uniform(self, purpose: str, *shape: int) -> torch.Tensor:
        """Return [P, *shape] floats in [0, 1), multiples of 2**-24."""
        return self._draw("uniform", purpose, shape, self._to_uniform, math.prod(shape))

    def _to_uniform(self, bits: torch.Tensor) -> torch.Tensor:
        return (_shift_right(bits, 40).float() * 2.0**-24).to(self.dtype)

    def events(self, purpose: str, probability: torch.Tensor, *shape: int) -> torch.Tensor:
        """Return [P, *shape] bool, True with each member's probability ([P, 1], rounded to a multiple of 2**-16).

        Four of them come from one number, for large masks.
        """
        count = math.prod(shape)

        def to_events(bits: torch.Tensor) -> torch.Tensor:
            quarters = bits.view(torch.int16)[..., :count]  # uniform in [-2**15, 2**15)
            return quarters < (probability * 2.0**16).round() - 2.0**15

        return self._draw("events", purpose, shape, to_events, -(-count // 4))

    def normal(self, purpose: str, *shape: int) -> torch.Tensor:
        """Return [P, *shape] standard normal floats (Box-Muller on the two halves of each draw)."""
        return self._draw("normal", purpose, shape, self._to_normal, math.prod(shape))

    def _to_normal(self, bits: torch.Tensor) -> torch.Tensor:
        radius = (_shift_right(bits, 40) + 1).float() * 2.0**-24  # in (0, 1], so that the logarithm is finite
        angle = (bits & 0xFFFFFF).float() * (2.0 * math.pi * 2.0**-24)
        return (torch.sqrt(-2.0 * torch.log(radius)) * torch.cos(angle)).to(self.dtype)

    def integers(self, purpose: str, limits: torch.Tensor, *shape: int) -> torch.Tensor:
        """Return [P, *shape] int64 in [0, limit) for each member's limit ([P] int64, below 2**31)."""

        def to_integers(bits: torch.Tensor) -> torch.Tensor:
            return (_shift_right(bits, 32) * limits[:, None]) >> 32

        return self._draw("integers", purpose, shape, to_integers, math.prod(shape))

    def fixed_integers(self, purposes: Sequence[str], places: torch.Tensor, limits: torch.Tensor) -> torch.Tensor:
        """Return an int64 in [0, limit) for each place: the same in every update, so that K purposes are K fixed tables.

        Parameters
        ----------
        purposes : sequence of str
            One per table.
        places : [P, K, n] int64 tensor
            Where in its table.
        limits : [P] int64 tensor
            Below 2**31.
        """
        keys = torch.stack([self._key(purpose) for purpose in purposes], 1)[..., None]
        bits = _mix(_mix(keys) + (places + 1) * _signed(_GOLDEN))
        return (_shift_right(bits, 32) * limits[:, None, None]) >> 32

    def fractions(self, purpose: str, *shape: int) -> torch.Tensor:
        """Return [P, *shape] float64 in [0, 1), multiples of 2**-53: for draws from a cumulative distribution."""

        def to_fractions(bits: torch.Tensor) -> torch.Tensor:
            return _shift_right(bits, 11).double() * 2.0**-53

        return self._draw("fractions", purpose, shape, to_fractions, math.prod(shape))
