"""The command that estimates what each episode of a dataset is worth: value."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from assay.cli.application import Misuse, command, refuse_options
from assay.cli.console import escape, number, out, training_display
from assay.cli.loading import check_files, load
from assay.cli.options import Name, Settings, Training, TypedOptions, settings
from assay.datasets.errors import ConfigError

if TYPE_CHECKING:
    from assay.analysis.values import ValueCurve, ValueResult
    from assay.baselines import Evaluation, Job, TrainingOptions

__all__: list[str] = []

USAGE = "assay value DATA --curve 0.9 0.75 0.5 --figure curve.png"
SHOWN = 10  # groups of the least and of the largest value


@command("value")
def value(
    name: Name,
    *,
    algorithm: str = "bc",
    set: Settings = [],  # noqa: B006
    steps: int = 20_000,
    subsets: int = 512,
    by: str = "episode",
    seeds: int = 2,
    seed: int = 0,
    episodes: int = 10,
    environment: str | None = None,
    runs: Path = Path("runs/value"),
    curve: tuple[float, ...] = (),
    curve_seeds: int = 8,
    deviation: float | None = None,
    leave_one_out: bool = False,
    dry_run: bool = False,
    json: Path | None = None,
    figure: Path | None = None,
    overwrite: bool = False,
    training: Training = TypedOptions(),  # noqa: B008  (frozen)
) -> None:
    """What is each episode worth? Trains on random subsets and compares scores with and without it.

    Values are given only where they rank subsets that they have not seen better than returns, lengths and random numbers do. What that
    will cost, and how exact values will be, is printed first.

    Exit status: 0 values are given; 1 they are not, or it could not be done; 2 the command line was not understood.

    Example: assay value demonstrations/ --algorithm bc --steps 5000 --subsets 512 --json values.json

    Example: assay value demonstrations/ --by tags/operator --subsets 64 --dry-run

    Example: assay value demonstrations/ --by tags/operator --leave-one-out --seeds 8

    Example: assay value demonstrations/ --subsets 512 --curve 0.9 0.75 0.5 --curve-seeds 8 --figure curve.png

    Args:
        name: Catalog name, minari:<id> or path.
        algorithm: By name.
        set: Change a field of the algorithm; may be given several times.
        steps: Updates of each training.
        subsets: Random subsets; a value's standard error is about 2 sd / sqrt(subsets).
        by: Group episodes by this column of the episode table, such as tags/NAME; fewer groups need fewer subsets.
        seeds: Trainings of each subset.
        seed: Of the subsets; the first training seed.
        episodes: Start states that every policy is evaluated from.
        environment: Gymnasium id to evaluate in, instead of the dataset's own.
        runs: Folder for the run folders.
        curve: Shares of the groups to keep, each between 0 and 1: train on what is kept by value, at random, by return and by
            length, with seeds that made no value.
        curve_seeds: Trainings of every share and order.
        deviation: Standard deviation of the subsets' scores, where a pilot told it; the plan is then in units of the score.
        leave_one_out: Train without each group in turn instead, the cheap form: 8 seeds or more, no subsets. The verdicts are those
            of a trial; "worse" without a group says that it is worth having.
        dry_run: Only print the plan.
        json: Also write the values, their validation and the curve to this file.
        figure: Also draw the curve to this file: .png, .svg or .pdf.
        overwrite: Replace the files of --json and --figure.
        training: Where and how to train.
    """
    from assay.analysis.values.curve import kept_groups
    from assay.analysis.values.training import Training as Valuation
    from assay.analysis.values.value import plan_values
    from assay.analysis.values.value import value as value_episodes
    from assay.baselines import Evaluation, Job, algorithm_named
    from assay.datasets.registry import check_seed

    if episodes < 1:
        raise ConfigError(f"--episodes {episodes}: it has to be 1 or more, because scores are what is compared")
    check_files({"--json": json, "--figure": figure}, overwrite)
    if figure is not None and figure.suffix not in (".png", ".svg", ".pdf"):
        raise ConfigError(f"{figure}: a figure is written as .png, .svg or .pdf")
    if not curve:
        refuse_options(["--curve"], "no share follows it", USAGE)
        refuse_options(["--curve-seeds"], "of --curve, which is not given", USAGE)
    if curve_seeds < 1:
        raise ConfigError(f"--curve-seeds {curve_seeds}: it has to be 1 or more")
    if figure is not None and not curve:
        raise Misuse("--figure draws the curve; say which shares to keep by --curve", USAGE)
    if leave_one_out:
        if curve or dry_run or deviation is not None:
            raise Misuse(
                "--leave-one-out has no values to plan or to keep by", "assay value DATA --by COLUMN --leave-one-out"
            )
        refuse_options(
            ["--subsets"], "of values; --leave-one-out draws none", "assay value DATA --by COLUMN --leave-one-out"
        )
    options, chosen = training.checked(), algorithm_named(algorithm, settings(set))
    evaluation = Evaluation(episodes=episodes, environment=environment)
    check_seed(seed)
    dataset = load(name)
    Valuation.of(dataset, chosen, steps, evaluation, runs, options)  # which asks for an environment
    check_training(Job(chosen, dataset), steps, evaluation, runs, options)
    if leave_one_out:
        from assay.analysis.values import leave_one_out as train_without_each
        from assay.cli.trial import print_result
        from assay.cli.trial import write as write_trial

        with training_display() as (_, report_training):
            without = train_without_each(
                dataset,
                algorithm=chosen,
                steps=steps,
                by=by,
                seeds=range(seed, seed + seeds),
                evaluation=evaluation,
                runs=runs,
                progress=report_training,
                options=options,
            )
        print_result(without)
        write_trial(without, json, None)
        return
    plan = plan_values(dataset, subsets=subsets, by=by, seeds=seeds, deviation=deviation)
    if curve:
        kept_groups(curve, plan.groups)  # refused before anything is trained
    for line in plan.sentences:
        out.print(line, markup=False, highlight=False, soft_wrap=True)
    if dry_run:
        return
    with training_display() as (_, report_training):
        result = value_episodes(
            dataset,
            algorithm=chosen,
            steps=steps,
            subsets=subsets,
            by=by,
            seeds=seeds,
            seed=seed,
            evaluation=evaluation,
            runs=runs,
            progress=report_training,
            options=options,
        )
    print_values(result)
    found = None
    if curve and result.validation.passed:
        with training_display() as (_, report_training):
            found = result.curve(shares=curve, seeds=curve_seeds, progress=report_training)
        print_curve(found)
    write(result, found, json, figure)
    if not result.validation.passed:
        raise SystemExit(1)


def check_training(job: Job, steps: int, evaluation: Evaluation, runs: Path, options: TrainingOptions) -> None:
    """Raise where a job cannot be trained or evaluated, as training would: also for a plan, which trains nothing."""
    from assay.baselines.runs.plan import Plan
    from assay.baselines.training.work import look_up

    options.check_device()
    look_up([job], Plan(steps, evaluation, options.matmul_precision, options.storage), runs)


def write(result: ValueResult, curve: ValueCurve | None, json: Path | None, figure: Path | None) -> None:
    """Write values and curve as JSON and as a figure, each whole or not at all."""
    import io

    from assay.datasets.atomic import atomic_write

    if json is not None:
        plain = result.to_plain() | ({} if curve is None else {"curve": curve.to_plain()})
        atomic_write(json, json_text.dumps(plain, indent=2) + "\n")
        out.print(f"written to {json}", soft_wrap=True)
    if figure is not None and curve is not None:
        content = io.BytesIO()
        curve.plot().savefig(content, format=figure.suffix[1:])
        atomic_write(figure, content.getvalue())
        out.print(f"drawn to {figure}", soft_wrap=True)


def print_curve(curve: ValueCurve) -> None:
    """Print the scores of every order and share, and what is shown of the orders."""
    table = Table(
        "kept", "share", "episodes", f"score ({curve.unit})", "95% interval", "by value minus this", "95% interval"
    )
    for row in curve.table.iter_rows(named=True):
        of_score, of_difference = (
            "" if row[low] is None else f"{number(row[low])} to {number(row[high])}"
            for low, high in (("low", "high"), ("difference_low", "difference_high"))
        )
        difference = "" if row["difference"] is None else number(row["difference"])
        cells = (f"{row['share']:g}", str(row["episodes"]), number(row["score"]), of_score, difference, of_difference)
        table.add_row(row["ranking"], *cells)
    out.print(table)
    for line in curve.sentences:
        out.print(line, markup=False, highlight=False, soft_wrap=True)


def print_values(result: ValueResult) -> None:
    """Print how far the values can be relied on, and the groups of the least and of the largest value."""
    if result.validation.passed:
        ordered = result.table.sort("value", nulls_last=True)
        ends = [*range(min(SHOWN, len(ordered))), *range(max(SHOWN, len(ordered) - SHOWN), len(ordered))]
        table = Table("group", "episodes", "steps", "mean return", f"value ({result.unit})", "95% interval")
        for row in ordered[ends].iter_rows(named=True):
            interval = "" if row["low"] is None else f"{number(row['low'])} to {number(row['high'])}"
            cells = (
                str(row["episodes"]),
                str(row["steps"]),
                number(row["return_mean"]),
                number(row["value"]),
                interval,
            )
            table.add_row(escape(row["group"]), *cells)
        out.print(table)
    for line in result.sentences:
        out.print(line, markup=False, highlight=False, soft_wrap=True)
