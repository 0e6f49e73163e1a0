"""How long does it take to read many run folders and to write their report?

Trains one small run, copies its files under the names and descriptions of many jobs, and takes the CPU time of every step::

    python benchmarks/reporting.py --runs 1000
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import assay
from assay.analysis import load_curves, load_returns, load_runs, score_table, write_report
from assay.baselines import BC, Evaluation, Job, train
from assay.baselines.runs.integrity import write_json

ALGORITHMS, VARIANTS = 5, 20


def make_runs(folder: Path, count: int) -> None:
    """Write run folders as a suite of 5 algorithms and 20 variants does, with as many seeds as it takes."""
    dataset = assay.load("pendulum/random", steps=400)
    (run,) = train(
        [Job(BC(hidden=(64, 64)), dataset)],
        steps=1000,
        runs=folder / "made",
        evaluation=Evaluation(episodes=10, every=100),
        workers=0,
    )
    for number in range(count):
        seed, cell = divmod(number, ALGORITHMS * VARIANTS)
        algorithm, variant = divmod(cell, VARIANTS)
        copy = folder / "runs" / f"a{algorithm}-v{variant}-seed{seed}-{number:08x}"
        shutil.copytree(run.folder, copy)
        job = {
            **run.job,
            "algorithm": f"a{algorithm}",
            "label": f"A{algorithm}",
            "variant": f"v{variant}",
            "seed": seed,
        }
        of = {**run.dataset, "fingerprint": f"{variant:032x}"}
        references = {"random": -1600.0, "expert": -150.0, "source": "made up"}
        write_json(copy / "run.json", {**run.description, "job": job, "dataset": of, "references": references})


def cpu_seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        make_runs(Path(name), arguments.runs)
        runs = Path(name) / "runs"
        table = load_runs(runs)
        found = {
            "load_runs": cpu_seconds(lambda: load_runs(runs)),
            "load_returns": cpu_seconds(lambda: load_returns(runs)),
            "load_curves": cpu_seconds(lambda: load_curves(runs)),
            "score_table": cpu_seconds(lambda: score_table(table)),
            "write_report": cpu_seconds(lambda: write_report(runs, Path(name) / "report.html")),
        }
    print(json.dumps({"runs": arguments.runs, "cpu_seconds": {key: round(value, 2) for key, value in found.items()}}))


if __name__ == "__main__":
    main()
