"""How long does it take to read many run folders and to write their report?

Trains one small run, puts its tables under the names and descriptions of many jobs, and takes the CPU time of every step,
and how much memory the process used at most before the report. The report is left out above 5,000 runs::

    python benchmarks/reporting.py --runs 1000
    python benchmarks/reporting.py --runs 100000
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import polars as pl

import assay
from assay.analysis import load_curves, load_returns, load_runs, scan_returns, score_table, write_report
from assay.baselines import BC, Evaluation, Job, train
from assay.baselines.runs.integrity import write_json

ALGORITHMS, VARIANTS = 5, 20
MOST_OF_A_REPORT = 5000  # runs


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
        name = f"v{variant}" if variant else "clean"
        copy = folder / "runs" / f"a{algorithm}-{name}-seed{seed}-{number:08x}"
        copy.mkdir(parents=True)
        for table in run.folder.glob("*.parquet"):
            os.symlink(table, copy / table.name)
        job = {
            **run.job,
            "algorithm": f"a{algorithm}",
            "label": f"A{algorithm}",
            "variant": name,
            "seed": seed,
        }
        of = {**run.dataset, "fingerprint": f"{variant:032x}"}
        references = {"random": -1600.0, "expert": -150.0, "source": "made up"}
        write_json(copy / "run.json", {**run.description, "job": job, "dataset": of, "references": references})


def cpu_seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def peak_mebibytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        with mock.patch("os.fsync"):  # made-up runs need not survive a power cut
            make_runs(Path(name), arguments.runs)
        runs = Path(name) / "runs"
        before = peak_mebibytes()
        found = {"load_runs": cpu_seconds(lambda: load_runs(runs))}
        table = load_runs(runs)
        one = pl.col("algorithm") == "a1"
        mean = pl.col("score").mean()
        found |= {
            "load_runs of one algorithm": cpu_seconds(lambda: load_runs(runs, where=one)),
            "scan_returns, mean by label": cpu_seconds(
                lambda: scan_returns(table).filter(pl.col("final")).group_by("label").agg(mean).collect()
            ),
            "score_table": cpu_seconds(lambda: score_table(table)),
        }
        peak = peak_mebibytes()
        if arguments.runs <= MOST_OF_A_REPORT:
            found |= {
                "load_returns": cpu_seconds(lambda: load_returns(runs)),
                "load_curves": cpu_seconds(lambda: load_curves(runs)),
                "write_report": cpu_seconds(lambda: write_report(runs, Path(name) / "report.html")),
            }
            size = (Path(name) / "report.html").stat().st_size / 2**20
    seconds = {key: round(value, 2) for key, value in found.items()}
    memory = {"before reading": round(before), "peak": round(peak)}
    if arguments.runs <= MOST_OF_A_REPORT:
        memory["report"] = round(size, 2)
    print(json.dumps({"runs": arguments.runs, "cpu_seconds": seconds, "mebibytes": memory}))


if __name__ == "__main__":
    main()
