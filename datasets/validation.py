"""Checking a dataset: what is impossible (errors) and what deserves a second look (warnings), with the place.

Every check streams over blocks of rows, so memory maps stay on disk and a check costs little more than reading once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import xxhash

from assay.datasets.dataset import Dataset, is_under
from assay.datasets.dimensions import dimension_labels
from assay.datasets.environments.specification import time_limit
from assay.datasets.generators import BLOCK_STEPS
from assay.datasets.missing import LABELS
from assay.datasets.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Space, leaves
from assay.datasets.time_checks import time_faults

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Finding", "ValidationReport", "steps_of_earlier_episodes", "validate"]

Severity = Literal["error", "warning", "risk", "note"]

_FROZEN_STEPS = 50  # shorter runs of one value are not called frozen
_MOSTLY_CHANGING = 0.9  # share of the steps at which a dimension changes, for a long run of one value to be odd
_ROUNDED_TO = 1e-3  # standard deviations, for steps to count as nearly the same
_NEARLY = 0.9  # share of an episode's steps that another one has too, for the two to be near-duplicates
_SHORTEST = 10  # steps; shorter episodes are too short to tell
_LARGEST = float(np.finfo(np.float32).max)
_SIZE_TOLERANCE = 0.01  # of the number of steps that a name promises


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Parameters
    ----------
    check : str
        Name of the check.
    severity : "error", "warning", "risk" or "note"
        Impossible; merely surprising; true but hard to learn from (only checks of a profile find risks); or a fact that decides
        what the data can be used for.
    message : str
        What is wrong, in words.
    column : str or None
    episode, row : int or None
        The first place: the episode, and the row counted from the episode's first.
    count : int
        How many rows (or episodes, or dimensions) are affected.
    """

    check: str
    severity: Severity
    message: str
    column: str | None = None
    episode: int | None = None
    row: int | None = None
    count: int = 1

    def __str__(self) -> str:
        places = [] if self.column is None else [f"column {self.column}"]
        places += [] if self.episode is None else [f"episode {self.episode}"]
        places += [] if self.row is None else [f"row {self.row}"]
        return f"{self.severity}: {self.check}: {self.message}" + (f" ({', '.join(places)})" if places else "")


@dataclass(frozen=True)
class ValidationReport:
    """What `validate` found.

    Parameters
    ----------
    findings : tuple of Finding
        Errors first and notes last, else in the order of the checks.
    checks : tuple of str
        Names of all checks that ran.
    """

    findings: tuple[Finding, ...]
    checks: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no error; there may be warnings."""
        return not any(finding.severity == "error" for finding in self.findings)

    def __str__(self) -> str:
        count = {severity: sum(item.severity == severity for item in self.findings) for severity in get_args(Severity)}
        head = f"{len(self.checks)} checks: {count['error']} errors, {count['warning']} warnings"
        head += f", {count['risk']} risks" if count["risk"] else ""
        head += f", {count['note']} notes" if count["note"] else ""
        return "\n".join([head, *(f"  {finding}" for finding in self.findings)])

    def to_frame(self) -> pl.DataFrame:
        """Return the findings as a polars table: check, severity, column, episode, row, count, message."""
        import polars as pl

        schema = {
            "check": pl.String,
            "severity": pl.String,
            "column": pl.String,
            "episode": pl.Int64,
            "row": pl.Int64,
            "count": pl.Int64,
            "message": pl.String,
        }
        return pl.DataFrame([{key: getattr(item, key) for key in schema} for item in self.findings], schema=schema)


def validate(dataset: Dataset) -> ValidationReport:
    """Check a dataset for what training would silently suffer from.

    Errors: no episode, or columns without entries; NaN or infinite values; numbers that are infinite in float32; negative
    weights; complex numbers; costs that are not one real number for each step; both flags on one step; an episode without an end flag, or with one before its last
    step; actions outside their space; shapes that differ from the spaces. Warnings: observations outside a bounded
    space, dtypes that differ from the spaces, stored next observations that differ from the following observation
    where no `corrupted/...` mask explains it, unknown final observations, duplicate state-actions (where observations
    are real numbers), transitions and episodes, near-duplicate episodes, constant columns or dimensions, frozen
    dimensions, episodes beyond the environment's time limit, time stamps (`time`) that go back, stand still, leap or come
    unevenly inside an episode, a recording without any end flag (an error where only some episodes lack one), rewards that
    are all zero, negative costs, a name that promises another number of steps. Notes: actions or rewards that are missing; what stands below
    their mask is not looked at.

    Parameters
    ----------
    dataset : Dataset

    Returns
    -------
    ValidationReport

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(4.0), actions=np.array([0.1, 0.2]), rewards=[1.0, np.nan],
    ...     terminations=[True, True], truncations=[False, False])
    >>> print(validate(dataset))
    22 checks: 1 errors, 0 warnings
      error: finite: 1 of 2 rows hold NaN or infinite values (column rewards, episode 1, row 0)
    """
    findings = [finding for check in _CHECKS.values() for finding in check(dataset)]
    order = {"error": 0, "note": 3}
    findings.sort(key=lambda finding: order.get(finding.severity, 1))
    return ValidationReport(tuple(findings), tuple(_CHECKS))


# -------------------------------------------------------------------- walking


def _blocks(array: np.ndarray, bytes_per_block: int = 1 << 23) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first row, rows as a 2-D array)."""
    width = max(1, int(np.prod(array.shape[1:], dtype=np.int64)))
    rows = max(1, min(BLOCK_STEPS, bytes_per_block // max(1, width * array.itemsize)))
    for start in range(0, len(array), rows):
        part = array[start : start + rows]
        yield start, part.reshape(len(part), -1)


def _place(dataset: Dataset, rows: int, row: int) -> tuple[int, int]:
    """Return (episode, row within the episode) of a row of a column with `rows` rows."""
    starts = dataset.episode_starts
    if rows != dataset.total_steps:
        starts = starts + np.arange(dataset.total_episodes)
    episode = int(np.searchsorted(starts, row, side="right")) - 1
    return episode, row - int(starts[episode])


class _Tally:
    """Counts bad rows and keeps the first."""

    def __init__(self) -> None:
        self.count, self.first = 0, -1

    def add(self, start: int, bad: np.ndarray) -> None:
        if bad.any():
            if not self.count:
                self.first = start + int(bad.argmax())
            self.count += int(bad.sum())

    def finding(
        self, dataset: Dataset, check: str, severity: Severity, text: str, column: str, rows: int
    ) -> Iterator[Finding]:
        if self.count:
            episode, row = _place(dataset, rows, self.first)
            message = f"{self.count:,} of {rows:,} rows {text}"
            yield Finding(check, severity, message, column, episode, row, self.count)


def _unlabelled(dataset: Dataset, column: str) -> np.ndarray | None:
    """Return (N,) bool: the rows of a column of labels at which nothing is said; None where all of them say something."""
    return next(
        (dataset.missing[item] for item in LABELS if is_under(column, item) and dataset.missing[item].any()), None
    )


# -------------------------------------------------------------------- values


def _missing(dataset: Dataset) -> Iterator[Finding]:
    for element, mask in dataset.missing.items():
        if not mask.any():
            continue
        step, count = int(mask.argmax()), int(mask.sum())
        which = "no step has one" if count == len(mask) else f"{count:,} of {len(mask):,} steps have none"
        episodes = int(np.logical_or.reduceat(mask, dataset.episode_starts).sum())
        message = f"{element} are missing: {which}, in {episodes:,} of {dataset.total_episodes:,} episodes"
        yield Finding("missing", "note", message, None, *_place(dataset, len(mask), step), count)


def _finite(dataset: Dataset) -> Iterator[Finding]:
    for name in dataset.columns:
        array = dataset.column(name)
        if array.dtype.kind not in "fc" or is_under(name, "truth") or is_under(name, "uncertainty"):
            continue  # the last two say what was and what is not known, which nobody learns from
        tally, unlabelled = _Tally(), _unlabelled(dataset, name)
        for start, block in _blocks(array):
            # A sum is finite only if all its terms are, and costs a fraction of asking each; it may overflow, so ask.
            with np.errstate(over="ignore", invalid="ignore"):
                suspicious = not np.isfinite(block.sum())
            if suspicious:
                wrong = ~np.isfinite(block).all(axis=1)
                tally.add(start, wrong if unlabelled is None else wrong & ~unlabelled[start : start + len(block)])
        text = "hold NaN or infinite values"
        if tally.count and name in dataset.info.names:
            text += f", the first in {dimension_labels(dataset, name, _not_finite(array[tally.first]))}"
        yield from tally.finding(dataset, "finite", "error", text, name, len(array))


def _not_finite(row: np.ndarray) -> list[int]:
    return [int(number) for number in np.flatnonzero(~np.isfinite(np.ravel(row)))]


def _magnitude(dataset: Dataset) -> Iterator[Finding]:
    """Find float64 numbers that become infinite in float32, in which learners compute."""
    for name in dataset.columns:
        array = dataset.column(name)
        if array.dtype.kind != "f" or array.dtype.itemsize <= 4 or not _is_learned_from(name):
            continue
        tally = _Tally()
        for start, block in _blocks(array):
            if block.size and max(block.max(), -block.min()) > _LARGEST:
                tally.add(start, (np.isfinite(block) & (np.abs(block) > _LARGEST)).any(axis=1))
            elif block.size and np.isnan(block.max()):  # NaN hides what is beside it
                tally.add(start, (np.isfinite(block) & (np.abs(np.nan_to_num(block)) > _LARGEST)).any(axis=1))
        text = f"hold numbers beyond {_LARGEST:.3g}, which are infinite in float32, the precision of training"
        yield from tally.finding(dataset, "magnitude", "error", text, name, len(array))


def _is_learned_from(name: str) -> bool:
    return any(
        is_under(name, prefix) for prefix in ("observations", "next_observations", "actions", "rewards", "costs")
    )


def _emptiness(dataset: Dataset) -> Iterator[Finding]:
    if not dataset.total_episodes:
        yield Finding("empty", "error", "there is no episode", count=0)
    for name in dataset.columns:
        shape = dataset.column(name).shape
        if _is_learned_from(name) and 0 in shape[1:]:
            yield Finding(
                "empty", "error", f"a row has shape {list(shape[1:])} and so no entries", name, count=shape[0]
            )


def _weights(dataset: Dataset) -> Iterator[Finding]:
    if dataset.weights is None or not dataset.total_steps:
        return
    tally = _Tally()
    tally.add(0, dataset.weights < 0)
    yield from tally.finding(dataset, "weights", "error", "are negative", "weights", dataset.total_steps)
    if not dataset.weights.any():
        yield Finding("weights", "error", "all weights are zero: no step can be drawn", "weights")


def _costs(dataset: Dataset) -> Iterator[Finding]:
    """Find costs that are no single number of each step, and negative ones; NaN is found where all columns are looked at."""
    if "costs" not in dataset.columns:
        return
    costs = dataset.column("costs")
    if costs.shape[1:] not in ((), (1,)):
        message = f"a row has shape {list(costs.shape[1:])}; a step has one cost"
        yield Finding("costs", "error", message, "costs", count=len(costs))
    elif costs.dtype.kind not in "biuf":
        yield Finding(
            "costs", "error", f"the column is {costs.dtype}; costs are real numbers", "costs", count=len(costs)
        )
    else:
        tally = _Tally()
        tally.add(0, costs.reshape(-1) < 0)
        text = "are negative: a step that breaks a constraint costs something, and others nothing"
        yield from tally.finding(dataset, "costs", "warning", text, "costs", dataset.total_steps)


def _zero_rewards(dataset: Dataset) -> Iterator[Finding]:
    known = ~dataset.missing["rewards"]
    if known.any() and not any(block[known[start:][: len(block)]].any() for start, block in _blocks(dataset.rewards)):
        yield Finding("zero rewards", "warning", "all rewards are zero", "rewards", count=dataset.total_steps)


def _constant(dataset: Dataset) -> Iterator[Finding]:
    for name in dataset.columns:
        if not any(is_under(name, prefix) for prefix in ("observations", "actions", "rewards")):
            continue
        array = dataset.column(name)
        if len(array) < 2 or array.size == 0 or (name == "rewards" and not array[0]):
            continue  # rewards that are all zero have a check of their own
        unlabelled = _unlabelled(dataset, name)
        if unlabelled is not None:
            array = array[~unlabelled]
            if len(array) < 2:
                continue
        first = array[:1].reshape(1, -1)
        constant = np.ones(first.shape[1], bool)
        for _, block in _blocks(array):
            constant &= (block == first).all(axis=0)
            if not constant.any():
                break
        dimensions = np.flatnonzero(constant)
        if not len(dimensions):
            continue
        if len(dimensions) == len(constant):
            message = "every row is the same"
        else:
            listed = dimension_labels(dataset, name, dimensions)
            message = f"{len(dimensions)} of {len(constant)} dimensions never change: {listed}"
        yield Finding("constant", "warning", message, name, count=len(dimensions))


def _frozen(dataset: Dataset) -> Iterator[Finding]:
    """Find dimensions that change nearly always, yet stop inside some episode for half of its length."""
    for name in dataset.columns:
        if not is_under(name, "observations"):
            continue
        array = dataset.column(name)
        if array.dtype.kind != "f" or len(array) < 2:
            continue
        longest, first_place, changes = _longest_runs(dataset, array)
        needed = np.maximum(_FROZEN_STEPS, (dataset.episode_lengths[first_place[0]] + 1) / 2)
        frozen = np.flatnonzero((changes >= _MOSTLY_CHANGING) & (longest >= needed))
        if len(frozen):
            worst = int(frozen[np.argmax(longest[frozen])])
            listed = dimension_labels(dataset, name, frozen)
            message = (
                f"{len(frozen)} of {len(longest)} dimensions stop changing for half of an episode, though they change "
                f"at {_MOSTLY_CHANGING:.0%} of the steps or more: {listed}"
            )
            episode, row = int(first_place[0][worst]), int(first_place[1][worst])
            yield Finding("frozen", "warning", message, name, episode, row, len(frozen))


def _longest_runs(dataset: Dataset, array: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Return of each dimension: the longest run of unchanged steps relative to its episode, its place, how often it changes."""
    rows = dataset.episode_starts + np.arange(dataset.total_episodes)
    borders = np.append(rows, len(array))
    width = int(np.prod(array.shape[1:], dtype=np.int64))
    longest, share = np.zeros(width), np.zeros(width)
    episodes, places = np.zeros(width, np.int64), np.zeros(width, np.int64)
    unchanged, steps = np.zeros(width), 0
    for episode in range(dataset.total_episodes):
        block = array[borders[episode] : borders[episode + 1]]
        block = block.reshape(len(block), width)
        same = block[1:] == block[:-1]
        steps += len(same)
        counts = same.sum(axis=0)
        unchanged += counts
        # only a dimension that is unchanged at half of the steps can have so long a run
        for dimension in np.flatnonzero(counts >= np.maximum(_FROZEN_STEPS, len(block) / 2)):
            changes = np.flatnonzero(~same[:, dimension])
            edges = np.concatenate([[-1], changes, [len(same)]])
            runs = np.diff(edges) - 1
            runs[0] = 0  # what an episode begins with is its condition, not a sensor that stopped
            best = int(runs.argmax())
            if runs[best] / len(block) > share[dimension]:
                share[dimension] = runs[best] / len(block)
                longest[dimension], episodes[dimension], places[dimension] = runs[best], episode, edges[best] + 1
    return longest, (episodes, places), 1 - unchanged / max(1, steps)


# -------------------------------------------------------------------- flags


def _both_flags(dataset: Dataset) -> Iterator[Finding]:
    tally = _Tally()
    tally.add(0, dataset.terminations & dataset.truncations)
    text = "have both a termination and a truncation"
    yield from tally.finding(dataset, "both flags", "error", text, "truncations", dataset.total_steps)


def _unended(dataset: Dataset) -> Iterator[Finding]:
    lasts = dataset.episode_starts + dataset.episode_lengths - 1
    unended = np.flatnonzero(~(dataset.terminations[lasts] | dataset.truncations[lasts]))
    if len(unended):
        episode = int(unended[0])
        message = f"{len(unended):,} of {dataset.total_episodes:,} episodes end without a termination or truncation"
        row = int(dataset.episode_lengths[episode]) - 1
        severity: Severity = "error"
        if not (dataset.terminations.any() or dataset.truncations.any()):
            severity = "warning"
            message += ': the recording has no end flags; say what its ends mean where it is read, columns={"ends": "truncated"}'
        yield Finding("episode end", severity, message, episode=episode, row=row, count=len(unended))


def _early_flags(dataset: Dataset) -> Iterator[Finding]:
    flagged = dataset.terminations | dataset.truncations
    flagged[dataset.episode_starts + dataset.episode_lengths - 1] = False
    tally = _Tally()
    tally.add(0, flagged)
    text = "have an end flag before the last step of their episode"
    yield from tally.finding(dataset, "early flag", "error", text, "terminations", dataset.total_steps)


def _final_observations(dataset: Dataset) -> Iterator[Finding]:
    known = dataset.episode_columns.get("final_observation")
    if known is None or dataset.has_next_observations:
        return
    unknown = np.flatnonzero(~known.astype(bool))
    if len(unknown):
        message = (
            f"the final observation of {len(unknown):,} of {dataset.total_episodes:,} episodes was never recorded; "
            "their last steps are used only where they terminate"
        )
        yield Finding("final observation", "warning", message, "observations", int(unknown[0]), count=len(unknown))


def _time_limit(dataset: Dataset) -> Iterator[Finding]:
    """Find episodes that are longer than the environment's time limit allows."""
    limit = time_limit(dataset.info.env_spec)
    longer = np.flatnonzero(dataset.episode_lengths > limit) if limit is not None else np.zeros(0, np.int64)
    if len(longer):
        length = int(dataset.episode_lengths[longer[0]])
        message = (
            f"{len(longer):,} of {dataset.total_episodes:,} episodes are longer than the {limit:,} steps that the "
            f"environment's spec allows, the first of them {length:,}"
        )
        yield Finding("time limit", "warning", message, None, int(longer[0]), limit, len(longer))


# -------------------------------------------------------------------- spaces


def _leaves(dataset: Dataset, *prefixes: str) -> Iterator[tuple[str, Space, np.ndarray]]:
    spaces = {"observations": dataset.info.observation_space, "actions": dataset.info.action_space}
    for prefix in prefixes:
        space = spaces[prefix]
        if space is None:
            continue
        for name, leaf in leaves(space, prefix).items():
            if name in dataset.columns:
                yield name, leaf, dataset.column(name)


def _shape(space: Space) -> tuple[int, ...] | None:
    if isinstance(space, Box):
        return space.shape
    if isinstance(space, Discrete):
        return ()
    if isinstance(space, MultiDiscrete):
        return tuple(np.shape(space.nvec))
    if isinstance(space, MultiBinary):
        return (space.n,) if isinstance(space.n, int) else space.n
    return None


def _shapes(dataset: Dataset) -> Iterator[Finding]:
    for prefix, space in (("observations", dataset.info.observation_space), ("actions", dataset.info.action_space)):
        if space is None:
            continue
        stored = {name for name in dataset.columns if is_under(name, prefix)}
        if not stored and prefix in LABELS:
            continue  # all of them are missing, which is no error
        for name in sorted(stored ^ leaves(space, prefix).keys()):
            state = "has no part in" if name in stored else "is missing, says"
            yield Finding("shape", "error", f"the column {state} the {prefix[:-1]} space", name)
    for name, space, array in _leaves(dataset, "observations", "actions"):
        expected = _shape(space)
        if expected is not None and array.shape[1:] != expected:
            yield Finding("shape", "error", f"a row is {list(array.shape[1:])}, but the space {list(expected)}", name)


def _dtypes(dataset: Dataset) -> Iterator[Finding]:
    for name in dataset.columns:
        dtype = dataset.column(name).dtype
        if dtype.kind == "c" and _is_learned_from(name) and name != "costs":  # costs have a check of their own
            message = f"the column is {dtype}, and learners take real numbers: store the real and the imaginary parts"
            yield Finding("dtype", "error", message, name, count=dataset.total_steps)
    for name, space, array in _leaves(dataset, "observations", "actions"):
        is_integer = isinstance(space, Discrete | MultiDiscrete)  # of any width: collectors choose their own
        if not isinstance(space, Box | Discrete | MultiDiscrete) or (is_integer and array.dtype.kind in "iu"):
            continue
        if array.dtype.kind == "c":
            continue  # an error already
        if array.dtype != np.dtype(space.dtype):
            yield Finding("dtype", "warning", f"the column is {array.dtype}, but the space {space.dtype}", name)


def _outside(space: Space, dtype: np.dtype) -> Callable[[np.ndarray], np.ndarray] | None:
    """Return a function from a 2-D block to (rows,) bool: lies outside the space; None where nothing can."""
    low: Any
    high: Any
    if isinstance(space, Box):
        low, high = space.bounds()
        if not (np.isfinite(low).any() or np.isfinite(high).any()):
            return None
    elif isinstance(space, Discrete):
        low, high = np.array(space.start), np.array(space.start + space.n - 1)
    elif isinstance(space, MultiDiscrete):
        low = np.array(space.start)
        high = low + np.array(space.nvec) - 1
    elif isinstance(space, MultiBinary):
        low, high = np.array(0), np.array(1)
    else:
        return None
    if dtype.kind == "b":
        return None
    low, high = low.reshape(1, -1), high.reshape(1, -1)
    if dtype.kind == "f" and low.dtype.kind == "f" and dtype != low.dtype:
        # A bound such as 0.1 differs between precisions; a value that rounds to it lies inside.
        coarse = min(dtype, low.dtype, key=lambda item: item.itemsize)
        low, high = np.nextafter(low.astype(coarse), -np.inf), np.nextafter(high.astype(coarse), np.inf)
    extremes = (low.min(), high.max()) if low.max() == low.min() and high.max() == high.min() else None

    def outside(block: np.ndarray) -> np.ndarray:
        if extremes is not None and block.size and block.min() >= extremes[0] and block.max() <= extremes[1]:
            return np.zeros(len(block), bool)  # the ordinary case: equal bounds, all inside, no temporaries
        result: np.ndarray = ((block < low) | (block > high)).any(axis=1)
        return result

    return outside


def _bounds(dataset: Dataset, prefix: str, severity: Severity) -> Iterator[Finding]:
    for name, space, array in _leaves(dataset, prefix):
        outside = _outside(space, array.dtype)
        if outside is None or array.shape[1:] != _shape(space) or array.dtype.kind not in "iuf":
            continue
        tally, unlabelled = _Tally(), _unlabelled(dataset, name)
        for start, block in _blocks(array):
            wrong = outside(block)
            tally.add(start, wrong if unlabelled is None else wrong & ~unlabelled[start : start + len(block)])
        check = f"{prefix[:-1]} bounds"
        yield from tally.finding(dataset, check, severity, f"lie outside the {prefix[:-1]} space", name, len(array))


def _action_bounds(dataset: Dataset) -> Iterator[Finding]:
    yield from _bounds(dataset, "actions", "error")


def _observation_bounds(dataset: Dataset) -> Iterator[Finding]:
    yield from _bounds(dataset, "observations", "warning")


# -------------------------------------------------------------------- continuity and repetition


def _continuity(dataset: Dataset) -> Iterator[Finding]:
    if not dataset.has_next_observations:
        return
    explained = np.zeros(dataset.total_steps, bool)
    for element in ("dynamics", "next_observations"):
        if (mask := dataset.masks.get(element)) is not None:
            explained |= mask.astype(bool)
    if (mask := dataset.masks.get("observations")) is not None:
        # The step before a touched observation still stores what it was; the first step of an episode has none before.
        before = np.roll(mask.astype(bool), -1)
        before[dataset.episode_starts + dataset.episode_lengths - 1] = False
        explained |= before
    # The row after an episode's last step is its final observation: compare it where it was recorded.
    known = dataset.episode_columns.get("final_observation")
    if known is not None:
        explained[(dataset.episode_starts + dataset.episode_lengths - 1)[~known.astype(bool)]] = True
    rows = dataset.observation_rows
    for name in dataset.columns:
        if not is_under(name, "next_observations"):
            continue
        stored, observations = dataset.column(name), dataset.column(name.removeprefix("next_"))
        tally = _Tally()
        for start, block in _blocks(stored):
            following = observations[rows[start : start + len(block)] + 1].reshape(len(block), -1)
            same = (block == following) | ((block != block) & (following != following))
            tally.add(start, ~same.all(axis=1) & ~explained[start : start + len(block)])
        text = "differ from the following observation, and no corrupted/ mask explains it"
        yield from tally.finding(dataset, "continuity", "warning", text, name, dataset.total_steps)


def _row_hashes(array: np.ndarray, prepare: Callable[[np.ndarray], np.ndarray] | None = None) -> np.ndarray:
    """Return a 64-bit hash of each row, of what `prepare` makes of its 2-D blocks."""
    result = np.zeros(len(array), np.uint64)
    with np.errstate(over="ignore"):
        for start, block in _blocks(array):
            words = _words(block if prepare is None else prepare(block))
            # A multilinear hash: fixed odd random multipliers, one per word.
            generator = np.random.Generator(np.random.SFC64(words.shape[1]))
            multipliers = generator.integers(0, 2**64, words.shape[1], np.uint64) | np.uint64(1)
            part = result[start : start + len(block)]
            for column, multiplier in zip(words.T, multipliers, strict=True):
                part ^= column.astype(np.uint64)
                part *= multiplier
                part ^= part >> np.uint64(29)
    return result


def _join(hashes: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Mix one more column's hashes into those of the steps."""
    hashes = (hashes ^ part) * np.uint64(0x9E3779B97F4A7C15)
    hashes ^= hashes >> np.uint64(31)
    return hashes


def _words(block: np.ndarray) -> np.ndarray:
    """View the rows of a 2-D block as unsigned integers of up to 8 bytes each."""
    block = np.ascontiguousarray(block)
    width = block.shape[1] * block.itemsize
    size = next(size for size in (8, 4, 2, 1) if width % size == 0)
    return block.view(np.uint8).reshape(len(block), width).view(f"u{size}")


def _repeated(hashes: np.ndarray) -> np.ndarray:
    """Return the positions whose hash occurred earlier, in order."""
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    result: np.ndarray = np.sort(order[1:][ordered[1:] == ordered[:-1]])
    return result


def _transition_columns(dataset: Dataset) -> list[tuple[str, int]]:
    """Return (column, offset in observation rows or -1 for plain steps) of everything in (s, a, r, s')."""
    columns = [(name, -1) for name in dataset.columns if is_under(name, "actions") or name == "rewards"]
    columns += [(name, 0) for name in dataset.columns if is_under(name, "observations")]
    if dataset.has_next_observations:
        return columns + [(name, -1) for name in dataset.columns if is_under(name, "next_observations")]
    return columns + [(name, 1) for name in dataset.columns if is_under(name, "observations")]


def _duplicates(dataset: Dataset) -> Iterator[Finding]:
    rows, total = dataset.observation_rows, dataset.total_steps
    columns = _transition_columns(dataset)
    observed: dict[str, np.ndarray] = {}

    def hashes_of(wanted: list[tuple[str, int]]) -> np.ndarray:
        hashes = np.zeros(total, np.uint64)
        for name, offset in wanted:
            if name not in observed:
                observed[name] = _row_hashes(dataset.column(name))
            hashes = _join(hashes, observed[name] if offset < 0 else observed[name][rows + offset])
        return _tell_unlabelled_apart(dataset, hashes, {name for name, _ in wanted})

    begun = [(name, offset) for name, offset in columns if is_under(name, "actions") or is_under(name, "observations")]
    begun = [(name, offset) for name, offset in begun if offset < 1]
    hashes = hashes_of(columns)
    letters = [
        letter
        for letter, role in zip(("s", "a", "r", "s'"), ("observations", *LABELS, "observations"), strict=True)
        if any(is_under(name, role) for name in dataset.columns)
    ]
    kinds = [("transitions", f"({', '.join(letters)})", columns, hashes)]
    real = any(dataset.column(name).dtype.kind == "f" for name in dataset.columns if is_under(name, "observations"))
    if real and "a" in letters:
        kinds.insert(0, ("state-actions", "(s, a)", begun, hashes_of(begun)))
    for kind, formula, wanted, of_kind in kinds:
        repeated = _repeated(of_kind)
        repeated = repeated[_really_repeated(dataset, wanted, of_kind, repeated)]
        if len(repeated):
            episode, row = _place(dataset, total, int(repeated[0]))
            message = f"{len(repeated):,} of {total:,} {kind} {formula} repeat an earlier one exactly"
            yield Finding(f"duplicate {kind}", "warning", message, None, episode, row, len(repeated))
    ends = dataset.episode_starts + dataset.episode_lengths
    whole = [
        xxhash.xxh3_64_intdigest(hashes[start:end].tobytes())
        for start, end in zip(dataset.episode_starts.tolist(), ends.tolist(), strict=True)
    ]
    repeats = _repeated(np.array(whole, np.uint64)) if whole else np.zeros(0, np.int64)
    if len(repeats):
        message = f"{len(repeats):,} of {dataset.total_episodes:,} episodes repeat an earlier one exactly"
        yield Finding("duplicate episodes", "warning", message, None, int(repeats[0]), count=len(repeats))
    yield from _near_duplicates(dataset, set(repeats.tolist()))


def _tell_unlabelled_apart(dataset: Dataset, hashes: np.ndarray, names: set[str]) -> np.ndarray:
    """Return the hashes of the steps, with one of its own for each step whose label is missing: nothing says it repeats."""
    for element in LABELS:
        mask = dataset.missing[element]
        if mask.any() and any(is_under(name, element) for name in names):
            own = _row_hashes(np.flatnonzero(mask)[:, None])
            hashes[mask] = _join(hashes[mask], own)
    return hashes


def steps_of_earlier_episodes(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return of each episode the earlier one that has most of its (s, a), rounded, and the share of its steps that it has.

    Numbers are rounded to a thousandth of the standard deviation of their dimension.

    Parameters
    ----------
    dataset : Dataset

    Returns
    -------
    original : (E,) int64
        -1 where no step occurred earlier.
    share : (E,) float64

    Examples
    --------
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.array([1.0, 2.0, 9.0, 1.0, 2.0, 9.0]), actions=np.array([0.0, 1.0, 0.0, 1.0]),
    ...     rewards=np.zeros(4), terminations=[False, True] * 2, truncations=[False] * 4)
    >>> [part.tolist() for part in steps_of_earlier_episodes(dataset)]
    [[-1, 0], [0.0, 1.0]]
    """
    rows = dataset.observation_rows
    hashes = np.zeros(dataset.total_steps, np.uint64)
    for name in dataset.columns:
        if is_under(name, "observations") or is_under(name, "actions"):
            array = dataset.column(name)
            part = _row_hashes(array, _rounding(array) if array.dtype.kind == "f" else None)
            hashes = _join(hashes, part[rows] if is_under(name, "observations") else part)
    hashes = _tell_unlabelled_apart(dataset, hashes, set(dataset.columns))
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    episodes = dataset.episode_of_step
    earlier = episodes[first[inverse]]
    votes = np.flatnonzero(earlier < episodes)
    pairs, counts = np.unique(episodes[votes] * dataset.total_episodes + earlier[votes], return_counts=True)
    later, origin = np.divmod(pairs, max(1, dataset.total_episodes))
    original, share = np.full(dataset.total_episodes, -1), np.zeros(dataset.total_episodes)
    order = np.argsort(counts, kind="stable")  # the largest comes last and stays
    original[later[order]] = origin[order]
    share[later[order]] = counts[order] / dataset.episode_lengths[later[order]]
    return original, share


def _near_duplicates(dataset: Dataset, exact: set[int]) -> Iterator[Finding]:
    """Find episodes nearly all of whose (s, a), rounded, also occur in one earlier episode."""
    original, share = steps_of_earlier_episodes(dataset)
    near = (dataset.episode_lengths >= _SHORTEST) & (share >= _NEARLY)
    near[sorted(exact)] = False
    if near.any():
        found, of = np.flatnonzero(near), original[near]
        message = (
            f"{len(found):,} of {dataset.total_episodes:,} episodes nearly repeat an earlier one (the first: episode "
            f"{of[0]}): {_NEARLY:.0%} of their (s, a) or more agree to {_ROUNDED_TO:g} standard deviations"
        )
        yield Finding("near-duplicate episodes", "warning", message, None, int(found[0]), count=len(found))


def _rounding(array: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that rounds 2-D blocks of a column to a fraction of each dimension's standard deviation."""
    width = int(np.prod(array.shape[1:], dtype=np.int64))
    count, total, squares = 0, np.zeros(width), np.zeros(width)
    shift = np.nan_to_num(array[:1].reshape(len(array[:1]), width).astype(np.float64), posinf=0.0, neginf=0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        for _, block in _blocks(array):
            moved = block - shift
            count += len(block)
            total += moved.sum(axis=0)
            squares += np.square(moved).sum(axis=0)
        deviation = np.sqrt(squares / max(1, count) - np.square(total / max(1, count)))
    unit = np.where(np.isfinite(deviation) & (deviation > 0), deviation, 1.0) * _ROUNDED_TO

    def rounded(block: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            result: np.ndarray = np.clip(np.nan_to_num(np.rint((block - shift) / unit)), -(2.0**62), 2.0**62)
        return result.astype(np.int64)

    return rounded


def _really_repeated(
    dataset: Dataset, columns: list[tuple[str, int]], hashes: np.ndarray, repeated: np.ndarray
) -> np.ndarray:
    """Compare the bytes of each suspected repetition with those of the first row of equal hash."""
    result = np.ones(len(repeated), bool)
    if not len(repeated):
        return result
    unique, first = np.unique(hashes, return_index=True)
    originals = first[np.searchsorted(unique, hashes[repeated])]
    rows = dataset.observation_rows
    for name, offset in columns:
        array = dataset.column(name)
        for start in range(0, len(repeated), BLOCK_STEPS):
            later, earlier = repeated[start : start + BLOCK_STEPS], originals[start : start + BLOCK_STEPS]
            if offset >= 0:
                later, earlier = rows[later] + offset, rows[earlier] + offset
            same = _bytes(array[later]) == _bytes(array[earlier])
            result[start : start + BLOCK_STEPS] &= same.all(axis=1)
    return result


def _bytes(rows: np.ndarray) -> np.ndarray:
    contiguous = np.ascontiguousarray(rows).reshape(len(rows), -1)
    return contiguous.view(np.uint8).reshape(len(rows), -1)


# -------------------------------------------------------------------- the name


def _promised_size(dataset: Dataset) -> Iterator[Finding]:
    """Find a name such as `task-high-100000-train` or `walker-10k` whose number is not the number of steps."""
    for number, unit in re.findall(r"(?<![A-Za-z0-9.])(\d+)([kKmM]?)(?![A-Za-z0-9.])", dataset.info.id):
        promised = int(number) * {"": 1, "k": 1_000, "m": 1_000_000}[unit.lower()]
        if (unit or len(number) >= 4) and abs(promised - dataset.total_steps) > _SIZE_TOLERANCE * promised:
            message = f"the name {dataset.info.id!r} promises {promised:,} steps, but there are {dataset.total_steps:,}"
            yield Finding("size in name", "warning", message)


def _timestamps(dataset: Dataset) -> Iterator[Finding]:
    """Find time stamps that go back, stand still, leap, or do not come evenly inside an episode."""
    for name, text, wrong in time_faults(dataset):
        tally = _Tally()
        tally.add(0, wrong)
        yield from tally.finding(dataset, "timestamps", "warning", text, name, dataset.total_steps)


_CHECKS: dict[str, Callable[[Dataset], Iterator[Finding]]] = {
    "empty": _emptiness,
    "missing": _missing,
    "shape": _shapes,
    "dtype": _dtypes,
    "finite": _finite,
    "magnitude": _magnitude,
    "weights": _weights,
    "costs": _costs,
    "both flags": _both_flags,
    "episode end": _unended,
    "early flag": _early_flags,
    "time limit": _time_limit,
    "action bounds": _action_bounds,
    "observation bounds": _observation_bounds,
    "continuity": _continuity,
    "final observation": _final_observations,
    "duplicates": _duplicates,
    "constant": _constant,
    "frozen": _frozen,
    "size in name": _promised_size,
    "timestamps": _timestamps,
    "zero rewards": _zero_rewards,
}
