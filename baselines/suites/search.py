"""Search: parameters of an algorithm proposed in batches, each batch trained together, the next one asked for with what came of it.

::

    propose(space, told, ...)  ->  a batch  ->  trained as populations  ->  told  ->  propose(...)  ->  ...

A batch is a function of the space, the seed and what was told before, and of nothing else: no state of a sampler is kept.
A search that was killed is begun anew, proposes what it proposed, finds those runs finished, and goes on.

Random search needs no package. The others are samplers of Optuna, which works in memory here and writes nothing.

- `tpe`: tree-structured Parzen estimators, of all parameters jointly (Bergstra et al., Algorithms for Hyper-Parameter
  Optimization, NeurIPS 2011).
- `gp`: a Gaussian process with a Matern kernel (5/2) and expected improvement in logarithms (Ament et al., Unexpected Improvements to
  Expected Improvement for Bayesian Optimization, NeurIPS 2023).

Deviations: the proposals of a batch are made one after the other, each as if those before it had come out as the mean of
what was told (the constant liar of Ginsbourger et al., Kriging Is Well-Suited to Parallelize Optimization, 2010); numbers
are rounded to six digits, so that machines that differ in the last ones propose the same.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from assay.datasets.errors import ConfigError, UnknownNameError
from assay.datasets.registry import Integer, Seed, describe_validation_error

__all__ = ["Proposal", "Range", "Search", "SearchedSpace", "Seeds", "propose", "search"]

SAMPLERS = ("random", "tpe", "gp")
STARTUP = 10  # proposals drawn at random before a model is fitted, as Optuna has it
_DIGITS = 6


class Range(BaseModel):
    """Numbers between two ends, both included; whole ones where both ends are written as whole numbers.

    Parameters
    ----------
    low, high : int or float
    log : bool
        Whether equal ratios are equally likely, instead of equal differences.

    Examples
    --------
    >>> Range(low=1, high=10).whole, Range(low=0.1, high=10, log=True).whole
    (True, False)
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    low: int | float
    high: int | float
    log: bool = False

    @field_validator("low", "high", mode="before")
    @classmethod
    def _no_boolean(cls, value: Any) -> Any:
        if isinstance(value, bool | str):
            raise ValueError("expected a number")
        return value

    @model_validator(mode="after")
    def _check(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"low={self.low} has to be less than high={self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low={self.low} has to be more than 0 where log is true")
        return self

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def examples(self) -> list[Any]:
        """Return both ends and what lies between them."""
        return [self.low, self.high, *([] if self.whole else [self.at(0.3819)])]

    def at(self, share: float) -> int | float:
        """Return the number at a share of the range from 0 to 1."""
        low, high = (self.low, self.high + 1) if self.whole else (self.low, self.high)
        if self.log:
            number = float(np.exp(np.log(low) + share * (np.log(high) - np.log(low))))
        else:
            number = low + share * (high - low)
        return self.rounded(np.floor(number) if self.whole else number)

    def rounded(self, number: float) -> int | float:
        """Return the number as it is proposed: within the ends, with six digits."""
        if self.whole:
            return int(min(max(number, self.low), self.high))
        return min(max(float(f"{number:.{_DIGITS}g}"), float(self.low)), float(self.high))


Categories = tuple[Any, ...]
SearchedSpace = Mapping[str, Range | Categories]


def _checked_seeds(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if not seeds:
        raise ValueError("name one seed at least")
    if len(set(seeds)) < len(seeds):
        raise ValueError("a seed stands there twice")
    return seeds


Seeds = Annotated[tuple[Seed, ...], AfterValidator(_checked_seeds)]
"""Training seeds: one at least, and none of them twice."""


class Search(BaseModel):
    """The section `search` of a suite.

    Parameters
    ----------
    parameters : mapping
        Label of an algorithm -> its fields -> a range of numbers (`{low: 0.1, high: 10, log: true}`) or a list of values.
    sampler : "random", "tpe" or "gp"
    proposals : int
        In all, for each algorithm on each variant.
    batch : int
        That are asked for at once and trained together.
    seeds : tuple of int
        Training seeds of each proposal; none of those of the suite, which are kept for the final runs.
    seed : int
        Of the sampler.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    parameters: dict[str, dict[str, Range | Categories]] = Field(min_length=1)
    sampler: Literal["random", "tpe", "gp"] = "tpe"
    proposals: Integer = Field(25, gt=0)
    batch: Integer = Field(5, gt=0)
    seeds: Seeds = (1000,)
    seed: Seed = 0


def space_from_plain(given: Any, where: str = "space") -> dict[str, Range | Categories]:
    """Build a space from lists of values and mappings of low, high and log.

    Raises
    ------
    ConfigError
        If an entry is neither; the text names it.

    Examples
    --------
    >>> space_from_plain({"penalty": ["aleatoric", "ensemble_deviation"], "penalty_weight": {"low": 0.1, "high": 10, "log": True}})
    {'penalty': ('aleatoric', 'ensemble_deviation'), 'penalty_weight': Range(low=0.1, high=10, log=True)}
    """
    if not isinstance(given, Mapping) or not given:
        raise ConfigError(f"{where}: expected fields, each with a list of values or with low and high")
    space: dict[str, Range | Categories] = {}
    for name, entry in given.items():
        place = f"{where}: {name}"
        if isinstance(entry, Range):
            space[name] = entry
        elif isinstance(entry, Mapping):
            try:
                space[name] = Range.model_validate(entry)
            except ValidationError as error:
                raise ConfigError(describe_validation_error(place, error, known=Range.model_fields)) from error
        elif isinstance(entry, list | tuple):
            if len({repr(value) for value in entry}) < max(len(entry), 2):
                raise ConfigError(f"{place}: expected two or more different values, not {list(entry)!r}")
            space[name] = tuple(entry)
        else:
            raise ConfigError(f"{place}={entry!r}: expected a list of values, or {{low: ..., high: ...}}")
    return space


@dataclass(frozen=True)
class Proposal:
    """Parameters that were proposed, and what came of them.

    Parameters
    ----------
    number : int
        From 0.
    batch : int
        Number of the batch, from 0.
    parameters : mapping
    value : float or None
        More is better. None where the training diverged, which counts as the worst of all.
    """

    number: int
    batch: int
    parameters: Mapping[str, Any]
    value: float | None = None


class ProposalSequence:
    """A search as it goes on: ask for a batch, tell what came of it.

    Parameters
    ----------
    space : mapping
        Name -> range or values.
    sampler, proposals, batch, seed
        As in `search`.

    Attributes
    ----------
    told : list of Proposal
    """

    def __init__(self, space: SearchedSpace, sampler: str, proposals: int, batch: int, seed: int) -> None:
        self.space, self.sampler, self.proposals, self.batch, self.seed = space, sampler, proposals, batch, seed
        self.told: list[Proposal] = []
        self._batches = 0

    def ask(self) -> list[dict[str, Any]]:
        """Return the next batch; empty where all have been told."""
        count = min(self.batch, self.proposals - len(self.told))
        return propose(self.space, self.told, count, self.sampler, self.seed) if count else []

    def tell(self, batch: Sequence[Mapping[str, Any]], values: Sequence[float | None]) -> None:
        """Tell what came of a batch, in its order."""
        for parameters, value in zip(batch, values, strict=True):
            finite = value is not None and np.isfinite(value)
            kept = float(value) if finite and value is not None else None
            self.told.append(Proposal(len(self.told), self._batches, dict(parameters), kept))
        self._batches += 1

    @property
    def best(self) -> Proposal:
        """The first of those with the highest value.

        Raises
        ------
        ConfigError
            If all diverged.
        """
        known = [item for item in self.told if item.value is not None]
        if not known:
            raise ConfigError(f"all {len(self.told)} proposals diverged; search smaller ranges, or other parameters")
        return max(known, key=lambda item: (item.value, -item.number))


def search(
    objective: Callable[[list[dict[str, Any]]], Sequence[float | None]],
    space: Mapping[str, Any],
    *,
    sampler: Literal["random", "tpe", "gp"] = "tpe",
    proposals: int = 25,
    batch: int = 5,
    seed: int = 0,
) -> list[Proposal]:
    """Search parameters for which an objective is high; suites do so with trainings, by their section `search`.

    Parameters
    ----------
    objective : callable
        A batch of proposals, as mappings of names to values -> a number for each, more is better; None where it diverged,
        which counts as the worst.
    space : mapping
        Name -> list of values, or a mapping of `low`, `high` and `log`. Ends that are both whole numbers mean whole numbers.
    sampler : "random", "tpe" or "gp"
        The latter two are Optuna's (`pip install 'assay[search]'`); their first 10 proposals are random. `tpe` takes no
        time, `gp` some tenths of a second for a proposal.
    proposals : int
        In all.
    batch : int
        That are asked for at once.
    seed : int
        Of the sampler: the same seed and the same values give the same proposals.

    Returns
    -------
    list of Proposal
        In order.

    Raises
    ------
    ConfigError
        If the space is impossible, or Optuna is missing.

    Examples
    --------
    >>> found = search(lambda batch: [-abs(item["x"] - 3.0) for item in batch], {"x": {"low": 0.0, "high": 10.0}},
    ...                sampler="random", proposals=20)
    >>> best = max(found, key=lambda item: item.value)
    >>> abs(best.parameters["x"] - 3.0) < 1.0
    True
    """
    if sampler not in SAMPLERS:
        raise UnknownNameError("sampler", sampler, SAMPLERS)
    for name, number in (("proposals", proposals), ("batch", batch)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ConfigError(f"{name}={number!r}: expected a whole number of 1 or more")
    sequence = ProposalSequence(space_from_plain(space), sampler, proposals, batch, seed)
    while asked := sequence.ask():
        sequence.tell(asked, objective(asked))
    return sequence.told


def propose(
    space: SearchedSpace, told: Sequence[Proposal], count: int, sampler: str, seed: int
) -> list[dict[str, Any]]:
    """Return so many proposals, which depend on nothing but the arguments.

    Parameters
    ----------
    space : mapping
    told : sequence of Proposal
        What came of those before, in order.
    count : int
    sampler : str
    seed : int

    Raises
    ------
    ConfigError
        If Optuna is missing and the sampler is one of its own.

    Examples
    --------
    >>> [first, second] = propose({"kind": ("a", "b"), "size": Range(low=1, high=4)}, [], 2, "random", 0)
    >>> propose({"kind": ("a", "b"), "size": Range(low=1, high=4)}, [Proposal(0, 0, first, 1.0)], 1, "random", 0) == [second]
    True
    """
    if sampler == "random":
        return [_drawn(space, np.random.default_rng([seed, len(told) + place])) for place in range(count)]
    optuna = require_optuna()
    distributions = {name: _distribution(optuna, entry) for name, entry in space.items()}
    known = [item.value for item in told if item.value is not None]
    worst, mean = (min(known), float(np.mean(known))) if known else (0.0, 0.0)
    with _quietly(optuna):
        study = optuna.create_study(direction="maximize", sampler=_sampler(optuna, sampler, seed, len(told)))
        study.add_trials(
            [
                optuna.trial.create_trial(
                    params={name: _position(space[name], value) for name, value in item.parameters.items()},
                    distributions=distributions,
                    value=worst if item.value is None else item.value,
                )
                for item in told
            ]
        )
        proposed = []
        for _ in range(count):
            trial = study.ask(distributions)
            study.tell(trial, mean)  # until it is known
            proposed.append({name: _value(space[name], trial.params[name]) for name in space})
    return proposed


def require_optuna() -> Any:
    """Import Optuna.

    Raises
    ------
    ConfigError
        If it is missing.
    """
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(
            "the samplers tpe and gp are Optuna's: pip install 'assay[search]'; the sampler random needs nothing"
        ) from error
    return optuna


@contextmanager
def _quietly(optuna: Any) -> Iterator[None]:
    """Keep Optuna from printing that a study began, what would make it faster, and what is experimental."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def _sampler(optuna: Any, name: str, seed: int, told: int) -> Any:
    """Return a new sampler; what it draws differs from batch to batch."""
    drawn = int(np.random.SeedSequence([seed, told]).generate_state(1)[0])
    if name == "tpe":
        return optuna.samplers.TPESampler(seed=drawn, n_startup_trials=STARTUP, multivariate=True)
    return optuna.samplers.GPSampler(seed=drawn, n_startup_trials=STARTUP, deterministic_objective=False)


def _drawn(space: SearchedSpace, generator: np.random.Generator) -> dict[str, Any]:
    return {
        name: entry.at(generator.random()) if isinstance(entry, Range) else entry[generator.integers(len(entry))]
        for name, entry in space.items()
    }


def _distribution(optuna: Any, entry: Range | Categories) -> Any:
    """Return what Optuna draws from; of values their places, since it knows texts and numbers only."""
    if not isinstance(entry, Range):
        return optuna.distributions.CategoricalDistribution(range(len(entry)))
    kind = optuna.distributions.IntDistribution if entry.whole else optuna.distributions.FloatDistribution
    return kind(entry.low, entry.high, log=entry.log)


def _position(entry: Range | Categories, value: Any) -> Any:
    return value if isinstance(entry, Range) else entry.index(value)


def _value(entry: Range | Categories, drawn: Any) -> Any:
    return entry.rounded(drawn) if isinstance(entry, Range) else entry[drawn]
