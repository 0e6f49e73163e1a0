"""Trials on runs that are there: every variant of a folder of runs against the one that is named as control."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from assay.analysis.runs import Folders, read_folders
from assay.analysis.trials.comparison import Comparison, Pair, Rules, judge, pooled
from assay.analysis.trials.result import POOLED, TrialResult, Vary
from assay.baselines.runs.reader import StoredRun
from assay.datasets.errors import AssayError, ConfigError, UnknownNameError
from assay.datasets.info import ReferenceScores

__all__ = [
    "Cell",
    "Scores",
    "cells_of",
    "check_control",
    "compare_runs",
    "compare_stored_runs",
    "judge_with_pooled",
    "notes_on_divergence",
    "references_by_task",
    "scores_of",
    "unit_of",
]


@dataclass(frozen=True)
class Scores:
    """Scores of one algorithm on one dataset.

    Parameters
    ----------
    seeds : tuple of int
        Training seeds.
    values : array, shape (seeds, starts)
    starts : tuple of int
        Seeds of the start states.
    diverged : int
        How many of the trainings diverged.
    """

    seeds: tuple[int, ...]
    values: np.ndarray
    starts: tuple[int, ...]
    diverged: int


@dataclass(frozen=True)
class Cell:
    """What was trained on what: runs that differ in their seed alone."""

    algorithm: str
    task: str
    variant: str


def compare_runs(
    runs: Folders,
    control: str,
    *,
    vary: Vary = "training",
    rules: Rules | None = None,
    seeds: Sequence[int] | None = None,
) -> TrialResult:
    """Compare every variant of finished runs with one of them.

    Parameters
    ----------
    runs : path or sequence of paths
        Folders of runs, such as those of a suite.
    control : str
        Variant that the others are compared with, as `load_runs` names it. In a suite of several sources variants are called
        by source and variant, and `control` is the variant's name: each is compared with the control of the same source.
    vary : "training" or "task"
        `"training"` compares within every task, and seeds are the replicates. `"task"` averages over the seeds of each task, and
        tasks are the replicates: the verdict is then about the change over tasks like these.
    rules : Rules, optional
    seeds : sequence of int, optional
        Use only runs with these training seeds.

    Returns
    -------
    TrialResult

    Raises
    ------
    ConfigError
        If a run is unfinished or failed, or a seed has a run on one side only.

    Examples
    --------
    >>> import assay, tempfile
    >>> from assay.baselines import BC, Evaluation, Job, train
    >>> dataset, folder = assay.load("pendulum/random", steps=400), tempfile.mkdtemp()
    >>> half = dataset[:1].named("half")
    >>> jobs = [Job(BC(hidden=(4,)), data, seed) for data in (dataset, half) for seed in range(2)]
    >>> _ = train(jobs, steps=5, runs=folder, evaluation=Evaluation(episodes=1), workers=0)
    >>> compare_runs(folder, control="pendulum/random").verdict
    {'bc': 'undecided'}
    """
    if vary not in ("training", "task"):
        raise ConfigError(f"vary={vary!r} is not one of training, task for runs that are finished")
    chosen = [run for run in read_folders(runs) if seeds is None or run.job["seed"] in seeds]
    return compare_stored_runs(chosen, control, vary=vary, rules=rules, folder=str(runs))


def compare_stored_runs(
    records: Sequence[StoredRun],
    control: str,
    *,
    vary: Vary = "training",
    rules: Rules | None = None,
    folder: str = "",
) -> TrialResult:
    """Compare every variant of runs that were read with one of them; `compare_runs` describes the parameters and the errors."""
    rules = Rules() if rules is None else rules
    cells = cells_of(records, control)
    check_control([run.variant for run in records], control)
    references = references_by_task(cells)
    if vary == "task" and None in references.values():
        raise ConfigError("returns of different tasks do not compare; vary='task' needs tasks with reference scores")
    measured = {cell: scores_of(found, references[cell.task]) for cell, found in cells.items()}
    by_task = _pairs(measured, control)
    several = len(references) > 1

    def key(cell: Cell) -> tuple[str, str]:
        return cell.algorithm, f"{cell.task}: {cell.variant}" if several and vary == "training" else cell.variant

    if vary == "task":
        pairs = {name: _over_tasks(by_task, name, key) for name in dict.fromkeys(map(key, by_task))}
    else:
        pairs = {key(cell): pair for cell, pair in by_task.items()}
    diverged: dict[tuple[str, str], int] = {}
    for cell, scores in measured.items():
        name = (cell.algorithm, control) if cell.variant == control else key(cell)
        diverged[name] = diverged.get(name, 0) + scores.diverged
    comparisons = judge_with_pooled(pairs, rules)
    if vary == "training" and not several:  # else a control stands for several tasks
        comparisons = notes_on_divergence(comparisons, control, diverged)
    largest = max(item.seeds for item in comparisons.values())
    return TrialResult(
        comparisons,
        control,
        tuple(dict.fromkeys(variant for _, variant in pairs)),
        rules,
        vary,
        unit_of(next(iter(references.values()))),
        min(len(item.starts) for item in measured.values()),
        diverged,
        largest,
        (largest,),
        folder,
    )


def _over_tasks(by_task: Mapping[Cell, Pair], name: tuple[str, str], key: Callable[[Cell], tuple[str, str]]) -> Pair:
    """Return the pair whose rows are tasks: of each, the mean over its seeds and start states."""
    chosen = [pair for cell, pair in by_task.items() if key(cell) == name]
    return Pair(np.array([pair.before.mean() for pair in chosen]), np.array([pair.after.mean() for pair in chosen]))


def _pairs(measured: Mapping[Cell, Scores], control: str) -> dict[Cell, Pair]:
    """Pair every cell with the control of the same algorithm and task."""
    pairs = {}
    for cell, after in measured.items():
        if cell.variant == control:
            continue
        before = measured.get(replace(cell, variant=control))
        if before is None:
            raise ConfigError(
                f"{cell.algorithm} has runs on {cell.variant!r} but none on the control {control!r} ({cell.task})"
            )
        pairs[cell] = _paired(before, after, f"{cell.algorithm} on {cell.variant!r} ({cell.task})", control)
    return pairs


def judge_with_pooled(
    pairs: Mapping[tuple[str, str], Pair], rules: Rules, alpha: float | None = None, beta: float = 0.0
) -> dict[tuple[str, str], Comparison]:
    """Judge (algorithm, variant) pairs, and for each variant the mean over algorithms where there are several.

    Pairs share the error rate with each other, and the pooled ones with each other. Max-T is taken within each algorithm, whose
    variants share a control, at an equal part of the rate. `beta` is that of `judge`; pooled comparisons are never given up.
    """
    algorithms = list(dict.fromkeys(algorithm for algorithm, _ in pairs))
    level = rules.alpha if alpha is None else alpha
    found: dict[tuple[str, str], Comparison] = {}
    if rules.multiplicity == "max_t":
        for algorithm in algorithms:
            of_algorithm = {key: pair for key, pair in pairs.items() if key[0] == algorithm}
            judged = judge(of_algorithm, rules, level / len(algorithms), beta)
            found |= {
                key: replace(item, adjusted_p_value=min(1.0, len(algorithms) * item.adjusted_p_value))
                for key, item in judged.items()
            }
    else:
        found |= judge(pairs, rules, level, beta)
    return found | judge_pooled(pairs, rules, level)


def judge_pooled(
    pairs: Mapping[tuple[str, str], Pair], rules: Rules, alpha: float
) -> dict[tuple[str, str], Comparison]:
    """Judge, for each variant that several algorithms learned from with the same seeds, the mean over them."""
    sides: dict[tuple[str, str], Pair] = {}
    for variant in dict.fromkeys(variant for _, variant in pairs):
        of_variant = {algorithm: pair for (algorithm, name), pair in pairs.items() if name == variant}
        if len(of_variant) > 1 and len({pair.before.shape for pair in of_variant.values()}) == 1:
            sides[POOLED, variant] = pooled(of_variant)
    # The controls are scaled by other deviations for each variant, and a margin in score points does not apply.
    multiplicity = "holm" if rules.multiplicity == "max_t" else rules.multiplicity
    return judge(sides, replace(rules, margin=None, futility=None, multiplicity=multiplicity), alpha)


def notes_on_divergence(
    comparisons: Mapping[tuple[str, str], Comparison], control: str, diverged: Mapping[tuple[str, str], int]
) -> dict[tuple[str, str], Comparison]:
    """Say where one side diverged more often than the other: that may be the difference."""
    found = dict(comparisons)
    for (algorithm, variant), item in comparisons.items():
        before, after = diverged.get((algorithm, control), 0), diverged.get((algorithm, variant), 0)
        if before != after:
            found[algorithm, variant] = item.with_note(
                f"{before} trainings diverged before the change and {after} after it: look at how scores are spread"
            )
    return found


def scores_of(runs: Sequence[StoredRun], references: ReferenceScores | None, used_by: str = "a trial") -> Scores:
    """Return the scores of runs of one algorithm on one dataset, ordered by training seed.

    Parameters
    ----------
    runs : sequence of StoredRun
    references : ReferenceScores or None
        What scores are normalized by, the same on all sides; None leaves returns.
    used_by : str
        What the scores are for, in messages.

    Raises
    ------
    ConfigError
        If a run did not end, has no final evaluation, or start states differ.
    """
    ordered = sorted(runs, key=lambda run: int(run.job["seed"]))
    seeds = tuple(int(run.job["seed"]) for run in ordered)
    if len(set(seeds)) < len(seeds):
        raise ConfigError(
            f"seed {_twice(seeds)} has several runs of {ordered[0].label} on {ordered[0].variant}; they differ in settings: "
            "keep one setting in a folder"
        )
    rows, starts = [], None
    for run in ordered:
        if not run.ended:
            reason = (run.error or "").strip().splitlines()[-1:] or [f"it is {run.status}"]
            raise AssayError(
                f"{run.folder} did not finish: {reason[0]}. Without it {used_by} would select by what fails; mend it and start "
                "again, and what is finished is not trained again"
            )
        final = run.evaluations.filter(pl.col("final")).sort("episode")
        if final.is_empty():
            raise ConfigError(f"{run.folder} was trained without an evaluation; {used_by} compares what policies earn")
        if starts is None:
            starts = tuple(final["seed"].to_list())
        elif starts != tuple(final["seed"].to_list()):
            raise ConfigError(
                f"{run.folder} was evaluated from other start states than {ordered[0].folder}; use one evaluation for all"
            )
        rows.append(_scores(run, final["return"].to_numpy(), references))
    diverged = sum(run.status == "diverged" for run in ordered)
    return Scores(seeds, np.array(rows), starts or (), diverged)


def unit_of(references: ReferenceScores | None) -> str:
    """Say what scores are measured in."""
    return "of return" if references is None else "score points"


def _scores(run: StoredRun, returns: np.ndarray, references: ReferenceScores | None) -> np.ndarray:
    if not np.isfinite(returns).all():
        if references is None:
            raise ConfigError(
                f"{run.folder} has a return that is not finite, and the task has no reference return of a random policy to "
                "count it with"
            )
        returns = np.where(np.isfinite(returns), returns, references.random)
    return np.asarray(returns if references is None else references.normalize(returns), np.float64)


def _twice(seeds: Sequence[int]) -> int:
    return next(seed for seed in seeds if seeds.count(seed) > 1)


def references_by_task(cells: Mapping[Cell, Sequence[StoredRun]]) -> dict[str, ReferenceScores | None]:
    """Return by task what its runs are normalized by; None where one of them has nothing, or they differ."""
    found: dict[str, ReferenceScores | None] = {}
    for task in dict.fromkeys(cell.task for cell in cells):
        of_task = [run.references for cell, runs in cells.items() if cell.task == task for run in runs]
        first = of_task[0]
        ends = {None if item is None else (item.random, item.expert) for item in of_task}
        found[task] = first if len(ends) == 1 else None
    return found


def _algorithm_names(runs: Sequence[StoredRun]) -> dict[str, str]:
    """Return what to call the algorithm of each run, by its folder: its name, or its label where one name is several."""
    labels: dict[str, set[str]] = {}
    for run in runs:
        labels.setdefault(str(run.job["algorithm"]), set()).add(run.label)
    return {
        str(run.folder): str(run.job["algorithm"]) if len(labels[str(run.job["algorithm"])]) == 1 else run.label
        for run in runs
    }


def check_control(variants: Collection[str], control: str) -> None:
    """Refuse a control that is none of the variants of runs or of a suite, or the only one.

    Raises
    ------
    UnknownNameError
        If no variant is called so, in no source.
    ConfigError
        If there is nothing else.

    Examples
    --------
    >>> check_control(["hopper clean", "hopper noisy"], "clean")
    """
    known = {variant for _, variant in _split_by_source(variants, control).values()}
    if control not in known:
        raise UnknownNameError("control", control, known)
    if known == {control}:
        raise ConfigError(f"there is no variant but the control {control!r}; there is nothing to compare it with")


def _split_by_source(variants: Collection[str], control: str) -> dict[str, tuple[str, str]]:
    """Return source and variant by the variant's full name; a suite of several sources calls a variant "SOURCE VARIANT"."""
    ends = sorted((name.removesuffix(control) for name in variants if name.endswith(f" {control}")), key=len)
    prefixes = {name: next((item for item in reversed(ends) if name.startswith(item)), "") for name in variants}
    return {name: (prefix.strip(), name.removeprefix(prefix)) for name, prefix in prefixes.items()}


def cells_of(runs: Sequence[StoredRun], control: str) -> dict[Cell, list[StoredRun]]:
    """Return the runs of every algorithm, task and variant.

    A suite of several sources calls a variant "SOURCE VARIANT". A task is such a source, or else the environment.
    """
    algorithms = _algorithm_names(runs)
    named = _split_by_source({run.variant for run in runs}, control)
    cells: dict[Cell, list[StoredRun]] = {}
    for run in runs:
        source, variant = named[run.variant]
        environment = str(run.dataset.get("environment_id") or run.dataset.get("id") or "")
        cells.setdefault(Cell(algorithms[str(run.folder)], source or environment, variant), []).append(run)
    if not any(cell.variant == control for cell in cells):
        raise UnknownNameError("control", control, sorted({cell.variant for cell in cells}))
    return cells


def _paired(before: Scores, after: Scores, what: str, control: str) -> Pair:
    alone = set(before.seeds) ^ set(after.seeds)
    if alone:
        listed = ", ".join(map(str, sorted(alone)))
        raise ConfigError(
            f"{what}: seeds {listed} have a run on one side only, and a trial compares pairs. Train the other side with them, or "
            f"name the seeds to use, which both {control!r} and the variant have"
        )
    if before.starts != after.starts:
        raise ConfigError(f"{what} was evaluated from other start states than the control; use one evaluation for both")
    return Pair(before.values, after.values)
