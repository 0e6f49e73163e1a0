"""Which rows a batch holds: a function of the seed and the batch's number alone.

Draws are made for a group of batches at a time, from one generator keyed by (seed, group). So the state of a sampler is
one number: any batch can be drawn again, and a resumed sampler gives the batches of one that never stopped::

    group 0                 group 1
    batch 0 1 2 ... 63      64 65 ...        fractions [64, batch_size] in [0, 1), from generator (seed, group)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, DatasetError
from assay.datasets.generators import block_generator
from assay.datasets.renamed import former_names

__all__ = ["CandidateDraws"]

_GROUP = 64  # batches

Batch = TypeVar("Batch")


class CandidateDraws:
    """CandidateDraws positions among candidates: uniform, weighted, within strata, or by shuffled passes.

    Parameters
    ----------
    strata : sequence of (N_k,) int64 arrays
        Candidates, one array per stratum; one array where there are no strata.
    rows : sequence of int
        How many of a batch come from each stratum.
    weights : (N,) array or None
        Unnormalized, by candidate.
    seed : int
    purpose : str
        Keeps the draws of different samplers apart.
    passes : bool
        Draw every candidate once before any twice, in a new order each pass.
    """

    def __init__(
        self,
        strata: list[np.ndarray],
        rows: list[int],
        weights: np.ndarray | None,
        seed: int,
        purpose: str,
        *,
        passes: bool = False,
    ) -> None:
        self.strata, self.rows, self.seed, self.purpose, self.passes = strata, rows, seed, purpose, passes
        self._cumulative = None if weights is None else [_cumulative(weights[part]) for part in strata]
        self._group, self._drawn = -1, np.zeros((0, 0), np.int64)
        self._orders: dict[int, np.ndarray] = {}

    def batch(self, number: int) -> np.ndarray:
        """Return the candidates of batch `number`, (sum of rows,) int64."""
        if self.passes:
            return self._of_passes(number)
        group = number // _GROUP
        if group != self._group:
            self._group, self._drawn = group, self._draw(group)
        result: np.ndarray = self._drawn[number % _GROUP]
        return result

    def _draw(self, group: int) -> np.ndarray:
        generator = block_generator(self.seed, "datasets.sampling", self.purpose, group)
        fractions = generator.random((_GROUP, sum(self.rows)))
        parts = np.split(fractions, np.cumsum(self.rows)[:-1], axis=1)
        return np.concatenate([self._choose(stratum, part) for stratum, part in enumerate(parts)], axis=1)

    def _choose(self, stratum: int, fractions: np.ndarray) -> np.ndarray:
        candidates = self.strata[stratum]
        if self._cumulative is None:
            places = (fractions * len(candidates)).astype(np.int64)  # below 2**53 candidates, this stays inside
        else:
            cumulative = self._cumulative[stratum]
            wanted = fractions.ravel() * cumulative[-1]
            order = np.argsort(wanted)  # neighbouring searches share their way through memory
            places = np.empty(len(wanted), np.int64)
            places[order] = np.searchsorted(cumulative, wanted[order], side="right")
            places = np.minimum(places, len(candidates) - 1).reshape(fractions.shape)
        result: np.ndarray = candidates[places]
        return result

    def _of_passes(self, number: int) -> np.ndarray:
        (candidates,), (size,) = self.strata, self.rows
        first, stop = number * size, (number + 1) * size
        begin, end = first // len(candidates), (stop - 1) // len(candidates)
        known = self._orders
        self._orders = {turn: known[turn] if turn in known else self._order(turn) for turn in range(begin, end + 1)}
        parts = [
            self._orders[turn][max(0, first - turn * len(candidates)) : stop - turn * len(candidates)]
            for turn in range(begin, end + 1)
        ]
        result: np.ndarray = candidates[np.concatenate(parts)]
        return result

    def _order(self, turn: int) -> np.ndarray:
        generator = block_generator(self.seed, "datasets.sampling", f"{self.purpose}:order", turn)
        return generator.permutation(len(self.strata[0]))


def _cumulative(weights: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.cumsum(weights, dtype=np.float64)
    if not len(result) or not result[-1] > 0:
        raise DatasetError("the weights of the rows to draw from add up to 0; give some of them a positive weight")
    return result


def checked_weights(weights: np.ndarray | None) -> np.ndarray | None:
    """Return the weights, or raise DatasetError naming the first that is negative or not finite."""
    if weights is not None:
        wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
        if len(wrong):
            raise DatasetError(f"column weights, step {wrong[0]}: {weights[wrong[0]]} is not a weight of 0 or more")
    return weights


def allot(dataset: Dataset, strata: Mapping[str, float], batch_size: int) -> dict[str, int]:
    """Return how many rows of a batch each tag gets; the shares are rounded to whole rows.

    Raises
    ------
    UnknownNameError
        If there is no such tag.
    ConfigError
        If the shares do not add up to 1, or a batch is too small for one of them.
    """
    shares = np.array(list(strata.values()), np.float64)
    if not len(shares) or (shares <= 0).any() or not np.isclose(shares.sum(), 1.0):
        raise ConfigError(f"the shares of the tags must be positive and add up to 1, not {dict(strata)}")
    borders = np.rint(np.cumsum(shares) * batch_size).astype(int)
    rows = dict(zip(strata, np.diff(borders, prepend=0).tolist(), strict=True))
    for tag, count in rows.items():
        dataset.tagged(tag)
        if not count:
            raise ConfigError(
                f"a batch of {batch_size} has no row for tag {tag} with share {strata[tag]:g}; enlarge it"
            )
    return rows


class Sampler(ABC, Generic[Batch]):
    """What all samplers share: candidates, the batch counter, and its state.

    Parameters
    ----------
    dataset : Dataset
    draws : CandidateDraws
    settings : mapping
        What decides the batches; a state is only restored into a sampler of the same settings.
    strata : mapping of tag to share, optional
        One of the settings; the order of the tags is that of a batch's rows.
    """

    def __init__(
        self, dataset: Dataset, draws: CandidateDraws, settings: Mapping[str, Any], strata: Mapping[str, float] | None
    ) -> None:
        self.dataset = dataset
        self.batches_drawn = 0
        self._draws = draws
        self._settings = {**settings, "strata": strata and [[tag, share] for tag, share in strata.items()]}

    @abstractmethod
    def sample(self) -> Batch:
        """Return the next batch."""

    def __iter__(self) -> Iterator[Batch]:
        while True:
            yield self.sample()

    def _next(self) -> np.ndarray:
        self.batches_drawn += 1
        return self._draws.batch(self.batches_drawn - 1)

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON values: the batches drawn, the settings and the dataset's fingerprint."""
        return {"batches_drawn": self.batches_drawn, "fingerprint": self.dataset.fingerprint, **self._settings}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the sampler that returned this state was.

        Raises
        ------
        ConfigError
            If the state is of another dataset or of other settings; with their names.
        """
        own = self.state_dict()
        different = [name for name in own if name != "batches_drawn" and state.get(name) != own[name]]
        if different or not isinstance(state.get("batches_drawn"), int):
            raise ConfigError(f"the state is of another sampler: {', '.join(different) or 'batches_drawn'} differ")
        self.batches_drawn = int(state["batches_drawn"])


def make_draws(
    dataset: Dataset,
    candidates: np.ndarray,
    tag_of: np.ndarray,
    weights: np.ndarray | None,
    *,
    batch_size: int,
    seed: int,
    purpose: str,
    strata: Mapping[str, float] | None,
    replacement: bool,
) -> CandidateDraws:
    """Make the draws of a sampler.

    Parameters
    ----------
    dataset : Dataset
    candidates : (N,) int64
    tag_of : (N,) int64
        Episode of each candidate, which its tags are of.
    weights : array or None
        Indexed by candidate.
    batch_size, seed, purpose, strata, replacement
        As the samplers take them.
    """
    if batch_size < 1 or seed < 0:
        raise ConfigError(f"batch_size must be at least 1 and seed 0 or more, not {batch_size} and {seed}")
    if not len(candidates):
        raise DatasetError("there is nothing to draw from: the dataset has no usable step")
    if not replacement and (weights is not None or strata is not None):
        raise ConfigError("replacement=False draws every row once a pass, which leaves no room for weights or strata")
    if strata is None:
        return CandidateDraws([candidates], [batch_size], weights, seed, purpose, passes=not replacement)
    rows = allot(dataset, strata, batch_size)
    parts = [candidates[dataset.tagged(tag)[tag_of]] for tag in rows]
    for tag, part in zip(rows, parts, strict=True):
        if not len(part):
            raise DatasetError(f"no usable step has the tag {tag}")
    return CandidateDraws(parts, list(rows.values()), weights, seed, purpose)


__getattr__ = former_names(__name__, {"Draws": CandidateDraws})
