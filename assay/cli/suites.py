"""Commands about suites: run and report."""

from __future__ import annotations

import contextlib
import os
import shlex
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.table import Table
from tyro.conf import Positional, arg

from assay.cli.application import command
from assay.cli.console import escape, number, out, training_display
from assay.cli.loading import check_files
from assay.cli.options import Loggers, Output, Training, TypedOptions
from assay.cli.training import check_runs
from assay.datasets.errors import ConfigError
from assay.datasets.wording import count_of

if TYPE_CHECKING:
    from assay.baselines import Run, Suite, TrainingPlan

__all__: list[str] = []


@command("run")
def run(
    suite: Annotated[Positional[Path], arg(metavar="SUITE")],
    *,
    budget: str = "small",
    runs: Path | None = None,
    episodes: int | None = None,
    log: Loggers = [],  # noqa: B006
    training: Training = TypedOptions(),  # noqa: B008  (frozen)
    dry_run: bool = False,
) -> None:
    """Run a suite: variants x algorithms x seeds. Given again, it goes on where it stopped.

    Example: assay run suites/quickstart.yaml --budget small

    Example: assay run suites/quickstart.yaml --budget paper --device cuda --dry-run

    Args:
        suite: YAML file.
        budget: One of the suite's budgets, such as smoke, small or paper.
        runs: Folder for the results; default runs/SUITE-BUDGET.
        episodes: Episodes of each evaluation, instead of the budget's; 0 trains without an environment, as
            `evaluation: null` in the suite does.
        log: Also log to tensorboard or wandb; may be given several times.
        training: Where and how to train.
        dry_run: Only print jobs, populations, memory and an estimate of the time, from a short timing here.
    """
    from assay.baselines import Suite, plan_suite, run_suite
    from assay.baselines.training.logging import logger_named
    from assay.metrics import assess

    loaded, options = with_episodes(Suite.from_yaml(suite), budget, episodes), training.checked()
    root = loaded.folder(budget, runs)
    if dry_run:
        print_plan(
            plan_suite(loaded, budget, runs=root, options=options),
            ", ".join(loaded.part_of(loaded.budget(budget)).sources_by_label.values()),
        )
        return
    with training_display() as (draw, report_training):
        finished = run_suite(
            loaded,
            budget,
            runs=root,
            measure=assess,
            progress=report_training,
            collecting=lambda name, done, total: draw(f"collecting {name}", done, total),
            preparing=lambda variant, done, total: draw(f"preparing {variant}", done, total),
            loggers=[logger_named(item) for item in log],
            options=options,
            command=shlex.join(["assay", "run", str(suite), "--budget", budget])
            + ("" if episodes is None else f" --episodes {episodes}"),
        )
    print_scores(root, finished)
    print_search(root)
    out.print(f"results in {root}; `{shlex.join(['assay', 'report', str(root)])}` makes a page of them", soft_wrap=True)
    check_runs(finished)


@command("report")
def report(
    runs: Annotated[Positional[Path], arg(metavar="RUNS")],
    *,
    output: Output = Path("report.html"),
    overwrite: bool = False,
) -> None:
    """Write a report of a suite's results: one self-contained HTML page.

    Example: assay report runs/quickstart-small -o report.html

    Args:
        runs: Folder of results.
        output: HTML file to write; a report that is there is replaced.
        overwrite: Replace any other file as well.
    """
    from assay.analysis import write_report
    from assay.analysis.page import is_page

    check_files({"--output": output}, overwrite or is_page(output, "report"))
    print_scores(runs)
    print_statuses(runs)
    written = write_report(runs, output)
    out.print(f"report: {written.resolve()}", soft_wrap=True)


@command("serve")
def serve(
    runs: Annotated[Positional[Path], arg(metavar="RUNS")],
    *,
    port: int = 0,
    refresh_seconds: float = 5.0,
    browser: bool = True,
) -> None:
    """Show the report of a folder of runs while they are going, on this machine, until Ctrl-C.

    Example: assay serve runs/quickstart-small

    Args:
        runs: Folder of results; it may be empty still.
        port: Of the page; 0 takes a free one.
        refresh_seconds: Time until the page looks again.
        browser: Open the page in the browser of this machine.
    """
    import time
    import webbrowser

    from assay.analysis.live_page import served

    with served(runs, port=port, refresh_seconds=refresh_seconds) as address:
        out.print(f"the report of {runs}, until Ctrl-C: {address}", soft_wrap=True)
        if browser:
            webbrowser.open(address)
        with contextlib.suppress(KeyboardInterrupt):  # this is how it ends
            while True:
                time.sleep(0.5)


def with_episodes(suite: Suite, budget: str, episodes: int | None) -> Suite:
    """Return the suite with so many episodes in this budget: as it says for None, without an environment for 0."""
    if episodes is None:
        return suite
    if episodes < 0:
        raise ConfigError(f"--episodes {episodes}: it has to be 0 or more")
    from assay.baselines import Evaluation

    if episodes == 0:
        return suite.model_copy(update={"evaluation": None})
    changed = suite.budget(budget).model_copy(update={"episodes": episodes})
    evaluation = suite.evaluation if suite.evaluation is not None else Evaluation()
    return suite.model_copy(update={"budgets": {**suite.budgets, budget: changed}, "evaluation": evaluation})


def print_plan(plan: TrainingPlan, source: str) -> None:
    """Print what a suite would do."""
    jobs = Table("algorithm", "variant", "seeds", "status", title=count_of(len(plan.jobs), "job"))
    seeds: dict[tuple[str, str, str], list[str]] = {}
    for job in plan.jobs:
        status = f"resumes at update {job.update:,}" if job.status == "resumes" else job.status
        seeds.setdefault((job.label, job.variant, status), []).append(str(job.seed))
    for (label, variant, status), together in seeds.items():
        jobs.add_row(label, variant, " ".join(together), status)
    out.print(jobs)
    columns = ("population", "members", "datasets", "shapes", "updates left", "weights, optimizer", "data", "time")
    populations = Table(*columns, title="Populations")
    for item in plan.populations:
        what = (item.label, str(item.members), str(item.datasets))
        if item.error is not None:
            populations.add_row(*what, f"would fail: {escape(item.error)}")
            continue
        peak = "" if item.peak_bytes is None else f" (peak {mebibytes(item.peak_bytes)})"
        populations.add_row(
            *what,
            f"{item.observation_size} -> {item.action_size}",
            f"{item.updates:,}",
            mebibytes(item.state_bytes) + peak,
            mebibytes(item.data_bytes),
            f"{timedelta(seconds=round(item.seconds))} at {item.members / item.seconds_per_update:,.0f} updates/s",
        )
    out.print(populations)
    if plan.collects is not None:
        out.print(
            f"{source} is not here yet: {plan.collects:,} steps would be collected first, and what is finished is"
        )
        out.print("not known before that; the populations were timed on a sample of it", highlight=False)
    if plan.search is not None:
        searching = timedelta(seconds=round(plan.search.seconds))
        out.print(
            f"before these, a search of {plan.search.trainings:,} trainings, {plan.search.finished:,} of them finished: about "
            f"{searching}; and {plan.search.finals:,} more for what it finds",
            soft_wrap=True,
        )
    total = timedelta(seconds=round(plan.seconds))
    by = f" by {plan.processes} processes side by side" if plan.processes > 1 else ""
    out.print(f"about {total} of training{by}, as timed just now on this machine; evaluation is not included")


def print_search(folder: Path) -> None:
    """Print what a search of a suite found, where there was one; its scores are not, since they are the best of many."""
    from assay.analysis import load_search
    from assay.baselines.runs.schema import SEARCH_FILE, SEARCH_FOLDER

    if not (folder / SEARCH_FOLDER / SEARCH_FILE).exists():
        return
    proposals = load_search(folder)
    found = Table("algorithm", "variant", "proposals", "diverged", "found", title="Searched parameters")
    for (algorithm, variant), part in proposals.group_by("algorithm", "variant", maintain_order=True):
        best = part.filter(part["best"]).row(0, named=True)
        values = [f"{name.partition('/')[2]}={best[name]}" for name in part.columns if "/" in name]
        diverged = str(part["value"].null_count())
        found.add_row(str(algorithm), str(variant), str(part.height), diverged, ", ".join(values))
    out.print(found)


def mebibytes(size: int) -> str:
    """Write a size in memory for people."""
    return f"{size / 2**20:,.1f} MiB"


def print_statuses(folder: Path) -> None:
    """Say what became of the runs of a folder where not all of them finished."""
    from assay.analysis.report import absent_jobs
    from assay.analysis.runs import load_suite, read_folders
    from assay.analysis.tables import statuses_text

    records = read_folders(folder)
    absent = absent_jobs(records, load_suite(folder))
    if absent or any(item.status != "finished" for item in records):
        out.print(statuses_text([item.status for item in records], len(absent)), highlight=False, soft_wrap=True)


def print_scores(folder: Path, runs: list[Run] | None = None) -> None:
    """Print the final scores of a folder of runs, or of some of its runs where others lie beside them."""
    from assay.analysis import load_runs, score_table

    found = load_runs(folder)
    if runs is not None:
        found = found.filter(found["path"].is_in([os.fspath(item) for item in runs]))
    if "evaluation/episodes" not in found.columns and found.height:
        source = found["dataset"][0] or "DATASET"
        estimating = shlex.join(["assay", "evaluate", str(folder), "--dataset", source])
        out.print(
            f"{count_of(found.height, 'run')} without an environment, so there are no scores; `{estimating}` "
            "estimates from data which algorithm fits",
            soft_wrap=True,
        )
        return
    scores = score_table(found, rows=["label", "dataset"])
    several = scores.select("label", "variant").is_duplicated().any()  # datasets of one name, as of two suites
    columns = (
        "algorithm",
        *(["dataset"] if several else []),
        "variant",
        "seeds",
        "episodes",
        "score",
        "95% interval",
        "data",
    )
    table = Table(*columns, title=f"Final scores, {folder}")
    for row in scores.iter_rows(named=True):
        interval = "" if row["low"] is None else f"{number(row['low'])} to {number(row['high'])}"
        behaviour = "" if row["behaviour"] is None else number(row["behaviour"])
        mean = "" if row["mean"] is None else number(row["mean"])
        names = [row["label"], *([row["dataset"]] if several else []), row["variant"]]
        episodes = "" if row["episodes"] is None else str(row["episodes"])
        table.add_row(*names, str(row["seeds"]), episodes, mean, interval, behaviour)
    out.print(table)
