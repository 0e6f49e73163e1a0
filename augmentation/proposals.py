"""Filling a dataset with proposals: how many, from which steps, until how many are accepted. What is proposed, a subclass says.

For each block of new segments, one generator keyed by (seed, transform, block) draws everything::

    wanted ---- first round: each segment from its own source step, spread evenly over the dataset (in order, each as often as the
                             ratio says) ---- accepted ones take their places
           ---- further rounds: sources drawn uniformly, until all places are taken or the budget of attempts is used up

So the result depends on the data, the fields and nothing else, and takes the memory of one block beside the columns it fills.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pydantic
from pydantic import Field

from assay.augmentation.extension import Extension, original_steps
from assay.augmentation.segments import SegmentReader, Segments
from assay.augmentation.simulator import Deviations, Simulator, deviations
from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, DatasetError
from assay.datasets.generators import BLOCK_STEPS, block_generator
from assay.datasets.progress import Progress
from assay.datasets.registry import Integer, Seed
from assay.datasets.transform import Transform

__all__ = ["Counts", "SegmentAugmentation"]

_CHECKED_SEGMENTS = 100  # of a sample
_MORE = 1.1  # proposals than the rate of acceptance calls for, so that few rounds are needed


@dataclass
class Counts:
    """What became of the proposals."""

    proposed: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    largest_deviation: float | None = None

    def count(self, who: str, kept: np.ndarray) -> np.ndarray:
        """Note how many are not kept, and return the mask."""
        self.rejected[who] = self.rejected.get(who, 0) + int(len(kept) - kept.sum())
        return kept

    @property
    def rejection_rate(self) -> float:
        """Share of the proposals that were rejected."""
        return sum(self.rejected.values()) / self.proposed if self.proposed else 0.0

    def describe(self) -> str:
        """Say how many of how many were rejected, and by what."""
        parts = ", ".join(f"{count / max(self.proposed, 1):.3%} by the {who}" for who, count in self.rejected.items())
        return f"of {self.proposed:,} proposals {self.rejection_rate:.3%} were rejected ({parts or 'none'})"


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=pydantic.ConfigDict(extra="forbid"))
class SegmentAugmentation(Transform):
    """Base of the transforms that add changed segments behind a dataset.

    Parameters
    ----------
    ratio : float > 0
        New steps for each original one.
    length : int >= 1
        Steps in each new segment; 1 for single transitions.
    seed : int >= 0
    attempts : int >= 1
        Budget: proposals for each segment that is wanted, on average.
    check : "none", "sample" or "every"
        Whether the simulator's own step is compared with what is accepted: with 100 segments, where one that differs is an error,
        or with every segment, where one that differs is rejected.
    tolerance : float > 0
        Largest difference of any number.
    """

    ratio: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    length: Integer = Field(default=1, ge=1)
    seed: Seed = 0
    attempts: Integer = Field(default=100, ge=1)
    check: Literal["none", "sample", "every"] = "none"
    tolerance: float = Field(default=1e-5, gt=0, allow_inf_nan=False)

    @abstractmethod
    def propose(self, segments: Segments, generator: np.random.Generator) -> tuple[Segments, np.ndarray]:
        """Return changed segments with their rewards and terminations, and which of them are valid, (M,) bool."""

    def accept(self, segments: Segments) -> np.ndarray:
        """Return which of the valid segments are kept, (M,) bool; all by default."""
        return np.ones(len(segments), bool)

    def prepare(self, dataset: Dataset) -> None:
        """Raise DatasetError where the transform does not fit the dataset."""

    def simulator(self, dataset: Dataset) -> Simulator:
        """Return the simulator that segments are compared with."""
        raise ConfigError(f"{self.name} has no simulator to compare its transitions with; leave out check")

    def apply(self, dataset: Dataset) -> Dataset:  # noqa: D102
        return self.apply_reporting(dataset, None)

    def apply_reporting(self, dataset: Dataset, progress: Progress | None) -> Dataset:  # noqa: D102
        self.prepare(dataset)
        reader = SegmentReader(dataset, self.length)
        original = len(original_steps(dataset))
        wanted = round(self.ratio * original / self.length)
        if not wanted:
            raise DatasetError(
                f"{self.name}: ratio {self.ratio:g} of {original} steps is less than one segment of {self.length}"
            )
        extension = Extension(dataset, np.full(wanted, self.length))
        simulator = None if self.check == "none" else self.simulator(dataset)
        counts = Counts()
        size = max(1, BLOCK_STEPS // self.length)
        for block, start in enumerate(range(0, wanted, size)):
            if progress is not None:
                progress(start, wanted)
            stop = min(start + size, wanted)
            self._fill(extension, reader, block, slice(start, stop), wanted, simulator, counts)
        if progress is not None:
            progress(wanted, wanted)
        return extension.finish(self._report(counts, wanted))

    def _fill(
        self,
        extension: Extension,
        reader: SegmentReader,
        block: int,
        places: slice,
        wanted: int,
        simulator: Simulator | None,
        counts: Counts,
    ) -> None:
        """Fill one block of new segments."""
        generator = block_generator(self.seed, self.name, "segments", block)
        numbers = np.arange(places.start, places.stop)
        known = len(reader.starts)
        chosen = np.minimum(((numbers + generator.random(len(numbers))) * known / wanted).astype(np.int64), known - 1)
        budget = self.attempts * len(numbers)
        proposed, filled, here = 0, places.start, Counts()
        while filled < places.stop:
            accepted = self._round(reader.read(reader.starts[chosen]), generator, simulator, here)
            accepted = accepted.take(slice(0, places.stop - filled))
            if len(accepted):
                extension.write_segments(filled, accepted)
            proposed, filled = here.proposed, filled + len(accepted)
            left = places.stop - filled
            if left and proposed >= budget:
                raise DatasetError(
                    f"{self.name}: only {filled - places.start:,} of {places.stop - places.start:,} segments were accepted within "
                    f"{self.attempts} attempts each: {here.describe()}. {self.remedy()}"
                )
            rate = max(1 - here.rejection_rate, 1 / self.attempts)
            more = min(int(_MORE * left / rate) + 16, budget - proposed, BLOCK_STEPS)
            chosen = generator.integers(0, known, more)
        _add(counts, here)

    def remedy(self) -> str:
        """Say what to do when too few proposals are accepted."""
        return "Raise attempts, or give data that the augmentation suits."

    def _round(
        self, segments: Segments, generator: np.random.Generator, simulator: Simulator | None, counts: Counts
    ) -> Segments:
        """Propose a change of each segment, and return those that are accepted."""
        counts.proposed += len(segments)
        changed, valid = self.propose(segments, generator)
        valid = valid & ~changed.terminations[:, :-1].any(axis=1)  # a termination inside would end the segment there
        changed = changed.take(counts.count("domain", valid))
        kept = self.accept(changed)
        changed = changed.take(counts.count("guide", kept)) if not kept.all() else changed
        if simulator is None or not len(changed):
            return changed
        return self._compared(changed, simulator, counts)

    def _compared(self, changed: Segments, simulator: Simulator, counts: Counts) -> Segments:
        if self.check == "every":
            found = deviations(changed, simulator)
            fits = counts.count("simulator", found.largest <= self.tolerance)
            if fits.any():
                counts.largest_deviation = max(counts.largest_deviation or 0.0, float(found.largest[fits].max()))
            return changed.take(fits)
        if counts.largest_deviation is None:
            found = deviations(changed.take(slice(0, _CHECKED_SEGMENTS)), simulator)
            self._require(found)
            counts.largest_deviation = float(found.largest.max())
        return changed

    def _require(self, found: Deviations) -> None:
        wrong = int((found.largest > self.tolerance).sum())
        if wrong:
            raise DatasetError(
                f"{self.name}: {wrong} of {len(found.largest)} new segments are not what the simulator does (tolerance "
                f'{self.tolerance:g}): {found.worst()}. check="every" rejects such segments'
            )

    def _report(self, counts: Counts, wanted: int) -> dict[str, Any]:
        return {
            "transform": self.name,
            "segments": wanted,
            "steps": wanted * self.length,
            "proposed": counts.proposed,
            "rejected": dict(counts.rejected),
            "rejection_rate": counts.rejection_rate,
            "check": self.check,
            "largest_deviation": counts.largest_deviation,
        }


def _add(total: Counts, part: Counts) -> None:
    total.proposed += part.proposed
    for who, count in part.rejected.items():
        total.rejected[who] = total.rejected.get(who, 0) + count
    if part.largest_deviation is not None:
        total.largest_deviation = max(total.largest_deviation or 0.0, part.largest_deviation)
