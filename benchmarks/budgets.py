"""CPU-hours that the training of a suite's budget takes, whatever else the machine does.

Usage: OMP_NUM_THREADS=1 python benchmarks/budgets.py suites/learning.yaml suites/robustness.yaml --budget cpu

`assay run --dry-run` times every population on the clock, which on a busy machine says how busy it is. Here a population of as many members
as there are seeds is trained for a few CPU-seconds per algorithm, on rows of HalfCheetah's shape (observations 17, actions 6), and
the CPU time of an update is multiplied by the updates of all jobs. Presets by variant are left at the defaults. Collecting data, transforms,
evaluation and metrics are not included.
"""

from __future__ import annotations

import argparse
import time

import torch

from assay.baselines import Suite
from assay.baselines.algorithms.algorithm import Algorithm
from assay.baselines.engine.shapes import Shapes
from assay.baselines.training.sizing import like_population

OBSERVATION, ACTION = 17, 6


def cpu_seconds(algorithm: Algorithm, members: int, seconds: float) -> float:
    """Return the CPU time of one update of one member."""
    population = like_population(algorithm, members, Shapes.flat(OBSERVATION, ACTION))
    population.advance(population.period)
    done, start = 0, time.process_time()
    while time.process_time() - start < seconds:
        population.advance(population.period)
        done += population.period
    return (time.process_time() - start) / done / members


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suites", nargs="+")
    parser.add_argument("--budget", default="cpu")
    parser.add_argument("--seconds", type=float, default=3.0, help="CPU time of each measurement")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| suite | algorithm | jobs | updates | CPU-ms per update | CPU-hours |\n|---|---|---|---|---|---|", flush=True
    )
    for path in options.suites:
        whole = Suite.from_yaml(path)
        budget = whole.budget(options.budget)
        suite = whole.part_of(budget)
        seeds = len(budget.seeds or suite.seeds)
        jobs = len(suite.sources_by_label) * len(suite.variants) * seeds
        total = 0.0
        for algorithm in suite.make_algorithms(budget).values():
            each = cpu_seconds(algorithm, seeds, options.seconds)
            hours = each * budget.steps * jobs / 3600
            total += hours
            print(
                f"| {suite.name} | {algorithm.label} | {jobs} | {budget.steps:,} | {1000 * each:.1f} | {hours:.1f} |",
                flush=True,
            )
        print(f"| {suite.name} | all | | | | {total:.1f} |", flush=True)


if __name__ == "__main__":
    main()
