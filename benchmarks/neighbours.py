"""What measures by nearest neighbours cost and how far they are off: bias of the entropy, and a whole table of metrics.

    python benchmarks/neighbours.py [--steps 1000000] [--part bias|dip|entropy|table]

"bias" compares the entropy of standard normal rows with the truth, over dimensions and sample sizes. "dip" is the 95 %
point of the dip of 50 uniform numbers, which `metrics/behaviour.py` uses. "entropy" and "table" measure a made-up dataset
of HalfCheetah's shape, 17 + 6 numbers a step, episodes of 1,000: states are a smooth nonlinear image of 8 slow random
phases with some noise, actions a function of them with more.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from assay.datasets import Dataset, DatasetInfo, ReferenceScores
from assay.metrics import assess, dip, knn_entropy
from assay.metrics.neighbours import Scaling, StepSample, nearest

REFERENCES = ReferenceScores(random=-280.0, expert=12_135.0, source="D4RL, HalfCheetah")


def make_dataset(steps: int, seed: int, noise: float = 0.3, episode_length: int = 1000) -> Dataset:
    generator = np.random.default_rng(seed)
    shared = np.random.default_rng(0)
    rows = steps + -(-steps // episode_length)
    speeds = 0.3 * generator.standard_normal((rows, 8), dtype=np.float32)
    phases = np.cumsum(speeds, axis=0)
    hidden = np.concatenate([np.sin(phases), np.cos(phases)], axis=1)
    states = np.tanh(hidden @ shared.standard_normal((16, 17), dtype=np.float32))
    states += 0.05 * generator.standard_normal(states.shape, dtype=np.float32)
    ends = (np.arange(steps) % episode_length == episode_length - 1) | (np.arange(steps) == steps - 1)
    before = np.arange(steps) + np.arange(steps) // episode_length
    actions = np.tanh(states[before] @ shared.standard_normal((17, 6), dtype=np.float32) / 3)
    actions += noise * generator.standard_normal(actions.shape, dtype=np.float32)
    columns = {
        "observations": states,
        "actions": actions,
        "rewards": states[before, 8] - 0.1 * (actions**2).sum(1),
        "terminations": np.zeros(steps, bool),
        "truncations": ends,
    }
    info = DatasetInfo(id=f"made/up-{noise:g}", reference_scores=REFERENCES)
    return Dataset(columns, np.diff(np.flatnonzero(ends), prepend=-1), info=info)


def bias(console: Console) -> None:
    table = Table(title="entropy of standard normal rows, k = 3: estimate - truth, in nats (CPU seconds)")
    sizes = (1_000, 5_000, 20_000)
    for header in ("dimensions", "truth", *(f"n = {size:,}" for size in sizes)):
        table.add_column(header, justify="right")
    generator = np.random.default_rng(0)
    for dimensions in (1, 2, 3, 6, 11, 17, 23):
        truth = dimensions / 2 * np.log(2 * np.pi * np.e)
        cells = []
        for size in sizes:
            start = time.process_time()
            found = knn_entropy(generator.standard_normal((size, dimensions)))
            cells.append(f"{found - truth:+.3f} ({time.process_time() - start:.1f})")
        table.add_row(str(dimensions), f"{truth:.3f}", *cells)
    console.print(table)


def dips(console: Console) -> None:
    draws = 20_000
    found = [dip(values) for values in np.random.default_rng(0).random((draws, 50))]
    console.print(f"95 % point of the dip of 50 uniform numbers, {draws:,} draws: {np.quantile(found, 0.95):.4f}")


def entropy(console: Console, dataset: Dataset) -> None:
    start = time.process_time()
    row = assess(dataset, select=["state_action_entropy"]).row(0, named=True)
    cpu = time.process_time() - start
    console.print(f"state_action_entropy of {dataset.total_steps:,} x (17 + 6): {cpu:.1f} CPU-seconds")
    console.print(f"  {row['value']:.3f} nats, {row['interval']}; {row['source']}", soft_wrap=True)
    start = time.process_time()
    generator = np.random.default_rng(0)
    worst = generator.standard_normal((20_000, 23))
    nearest(Scaling.of(worst)(worst), 10, np.arange(5_000) * 4)
    console.print(f"the same search among 23 independent normals: {time.process_time() - start:.1f} CPU-seconds")
    start = time.process_time()
    StepSample.of(dataset).numbers("observations")
    console.print(f"drawing the sample: {time.process_time() - start:.2f} CPU-seconds")


def table_of(console: Console, dataset: Dataset, reference: Dataset) -> None:
    start, cpu = time.perf_counter(), time.process_time()
    frame = assess(dataset, reference, progress=lambda done, total, name: None)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    table = Table("metric", "value", "low", "high", "unit", "seconds", title=f"assess, {dataset.total_steps:,} steps")
    for row in frame.iter_rows(named=True):
        ends = ("", "") if row["interval"] is None else [f"{end:.4g}" for end in row["interval"].values()]
        table.add_row(row["metric"], f"{row['value']:.5g}", *ends, row["unit"], f"{row['seconds']:.2f}")
    console.print(table)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    console.print(f"{len(frame)} metrics: {wall:.1f} s, {cpu:.1f} CPU-seconds, peak {peak:.2f} GB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--part", choices=("bias", "dip", "entropy", "table"), action="append")
    arguments = parser.parse_args()
    console = Console(width=120)
    parts = arguments.part or ["bias", "dip", "entropy", "table"]
    if "bias" in parts:
        bias(console)
    if "dip" in parts:
        dips(console)
    if {"entropy", "table"} & set(parts):
        dataset = make_dataset(arguments.steps, 1)
        if "entropy" in parts:
            entropy(console, dataset)
        if "table" in parts:
            table_of(console, dataset, make_dataset(arguments.steps, 2, noise=0.6))


if __name__ == "__main__":
    main()
