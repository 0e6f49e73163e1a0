"""Time and memory of the metrics, against bare NumPy and against the published way to count, in one run.

    taskset -c 0 env OMP_NUM_THREADS=1 python benchmarks/metrics.py [--steps 1000000] [--parts count published stream assess]

Seconds are of the process's CPU time, the least of several rounds; ratios are between the rows of one table.

count      Unique state-actions of 17 + 6 and of 1 + 6 float32 columns, on 100 and on 5 edges a column, against two ways
           to do it in NumPy: `np.unique(bins, axis=0)`, and each row of int16 bins viewed as one opaque value. All three
           must return the same count. "Whole SACo" is grid and both counts, with the dataset as its own reference.
published  The same count as the published code of SACo does it, written from its description: digitize each column, join
           each row to a string, hash the string with SHA-1 and add it to a HyperLogLog of 1 % error, one row at a time.
           The loop runs on `--loop` rows; its seconds are scaled to all of them.
stream     A hundred million rows of 23 numbers, made chunk by chunk, through the grid into a HyperLogLog, in a process
           that the system stops from taking more than `--limit` bytes of memory. The rows repeat after `--distinct`, so
           that the exact count is known.
assess     `assess` with every metric, on a dataset of HalfCheetah's shape, with a reference: seconds by group.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import resource
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from assay.datasets import Dataset
from assay.metrics import Grid, HyperLogLog, assess, saco, sketch_state_actions, unique_state_actions
from assay.metrics.assess import metric_names
from assay.metrics.measures import groups as metric_groups

console = Console(width=110)


def make_dataset(steps: int, states: int, episode_length: int = 1000, seed: int = 0) -> Dataset:
    generator = np.random.default_rng(seed)
    ends = (np.arange(steps) % episode_length == episode_length - 1) | (np.arange(steps) == steps - 1)
    columns = {
        "observations": generator.standard_normal((steps + int(ends.sum()), states), dtype=np.float32),
        "actions": generator.standard_normal((steps, 6), dtype=np.float32),
        "rewards": generator.standard_normal(steps, dtype=np.float32),
        "terminations": np.zeros(steps, bool),
        "truncations": ends,
    }
    return Dataset(columns, np.diff(np.flatnonzero(ends), prepend=-1))


def show(title: str, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    table = Table(title=title)
    for number, name in enumerate(header):
        table.add_column(name, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def measure(function: Callable[[], Any], rounds: int) -> tuple[float, Any]:
    seconds = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        result = function()
        seconds = min(seconds, time.process_time() - start)
    return seconds, result


def peak_of(function: Callable[[], Any]) -> int:
    tracemalloc.start()
    function()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


# -------------------------------------------------------------------- count


def bins_of(dataset: Dataset, grid: Grid) -> np.ndarray:
    rows = np.column_stack([dataset.observations[dataset.observation_rows], dataset.actions])
    return np.column_stack([np.digitize(rows[:, j], edges).astype(np.int16) for j, edges in enumerate(grid.edges)])


def count_rows(dataset: Dataset, grid: Grid) -> int:
    return len(np.unique(bins_of(dataset, grid), axis=0))


def count_void(dataset: Dataset, grid: Grid) -> int:
    bins = bins_of(dataset, grid)
    return len(np.unique(bins.view(np.dtype((np.void, bins.itemsize * bins.shape[1])))))


def count(steps: int, rounds: int) -> None:
    for states in (17, 1):
        dataset = make_dataset(steps, states)
        for bins in (100, 5):
            grid = Grid.from_dataset(dataset, bins)
            ways: dict[str, Callable[[], Any]] = {
                "Assay": lambda dataset=dataset, grid=grid: unique_state_actions(dataset, grid),
                "Assay, 128 bits": lambda dataset=dataset, grid=grid: unique_state_actions(dataset, grid, bits=128),
                "np.unique on void rows": lambda dataset=dataset, grid=grid: count_void(dataset, grid),
                "np.unique(axis=0)": lambda dataset=dataset, grid=grid: count_rows(dataset, grid),
                "Assay, whole SACo": lambda dataset=dataset, bins=bins: saco(dataset, dataset, bins),
            }
            results = {way: measure(function, rounds) for way, function in ways.items()}
            base = results["Assay"][0]
            rows = [
                (way, f"{seconds:.2f}", f"{seconds / base:.1f}x", f"{peak_of(ways[way]) / 1e6:.0f}", f"{result:,}")
                for way, (seconds, result) in results.items()
            ]
            title = f"{steps:,} x ({states} + 6) float32, {bins} edges a column"
            show(title, ("way", "CPU seconds", "of Assay's", "peak MB", "result"), rows)
            if len({results[way][1] for way in ways if "SACo" not in way}) != 1:
                raise SystemExit("the counts differ")


# -------------------------------------------------------------------- published


class LoopSketch:
    """A HyperLogLog of strings, one at a time, of 1 % error: 2^14 registers."""

    def __init__(self, error: float = 0.01) -> None:
        self.precision = math.ceil(math.log2((1.04 / error) ** 2))
        self.registers = [0] * (1 << self.precision)

    def add(self, text: str) -> None:
        value = int.from_bytes(hashlib.sha1(text.encode()).digest()[:8], "little")
        place = value & ((1 << self.precision) - 1)
        rest = value >> self.precision
        rank = 64 - self.precision - rest.bit_length() + 1
        self.registers[place] = max(self.registers[place], rank)

    def estimate(self) -> float:
        m = len(self.registers)
        raw = 0.7213 / (1 + 1.079 / m) * m * m / sum(2.0**-rank for rank in self.registers)
        empty = self.registers.count(0)
        return m * math.log(m / empty) if raw <= 2.5 * m and empty else raw


def count_by_loop(rows: np.ndarray) -> float:
    bins = [np.digitize(column, np.linspace(column.min(), column.max(), 100)) for column in rows.T]
    sketch = LoopSketch()
    for row in np.stack(bins, axis=1).astype(np.float64):
        sketch.add("".join(str(value) for value in row))
    return sketch.estimate()


def published(steps: int, rounds: int, loop: int) -> None:
    dataset = make_dataset(steps, 17)
    grid = Grid.from_dataset(dataset)
    rows = np.column_stack([dataset.observations[dataset.observation_rows][:loop], dataset.actions[:loop]])
    exact, counted = measure(lambda: unique_state_actions(dataset, grid), rounds)
    whole, _ = measure(lambda: unique_state_actions(dataset, Grid.from_dataset(dataset)), rounds)
    sketched, sketch = measure(lambda: sketch_state_actions(dataset, grid), rounds)
    looped, estimated = measure(lambda: count_by_loop(rows), 1)
    scaled = looped * steps / loop
    error = f"{estimated / loop - 1:+.2%} of {loop:,}"
    table = [
        ("the published loop, scaled", f"{scaled:.1f}", "1x", error),
        ("Assay, exact", f"{exact:.2f}", f"{scaled / exact:.0f}x", f"{counted:,}"),
        ("Assay, exact, with the grid", f"{whole:.2f}", f"{scaled / whole:.0f}x", f"{counted:,}"),
        (
            "Assay, HyperLogLog",
            f"{sketched:.2f}",
            f"{scaled / sketched:.0f}x",
            f"{sketch.estimate() / counted - 1:+.2%}",
        ),
    ]
    show(f"Unique state-actions of {steps:,} x 23 float32", ("way", "CPU seconds", "faster", "result"), table)


# -------------------------------------------------------------------- stream


def stream(steps: int, distinct: int, limit: int) -> None:
    """Run in a process that the system stops from taking more than the limit."""
    command = [sys.executable, __file__, "--stream-in", str(limit), "--stream-steps", str(steps)]
    subprocess.run([*command, "--distinct", str(distinct)], check=True, env=dict(os.environ))


def stream_within(limit: int, steps: int, distinct: int) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    grid = Grid(tuple(f"observations[{j}]" for j in range(23)), tuple(np.linspace(-5, 5, 100) for _ in range(23)))
    size = 1 << 14
    sketch, start, done = HyperLogLog(14), time.process_time(), 0
    while done < steps:
        # chunk i is made from its own seed, so the same rows come again
        generator = np.random.Generator(np.random.SFC64((done % distinct) // size))
        sketch.add(grid.cells(generator.standard_normal((size, 23), dtype=np.float32)))
        done += size
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    exact = min(-(-distinct // size) * size, done)
    row = (
        f"{done:,}",
        f"{seconds:.0f}",
        f"{done / seconds / 1e6:.2f}",
        f"{peak:.0f}",
        f"{sketch.estimate() / exact - 1:+.2%}",
    )
    header = ("rows x 23", "CPU seconds", "M rows/s", "resident MB", f"error on {exact:,} distinct")
    show(
        f"A stream into a HyperLogLog of {sketch.standard_error:.1%} error, within {limit / 2**20:,.0f} MiB",
        header,
        [row],
    )


# -------------------------------------------------------------------- assess


def whole_table(steps: int) -> None:
    dataset, reference = make_dataset(steps, 17), make_dataset(steps, 17, seed=1)
    last = [time.monotonic()]

    def progress(done: int, total: int, name: str) -> None:
        if time.monotonic() - last[0] > 5:
            last[0] = time.monotonic()
            console.print(f"{done} of {total}, {name}", style="dim")

    start, wall = time.process_time(), time.perf_counter()
    table = assess(dataset, reference, progress=progress)
    seconds, wall = time.process_time() - start, time.perf_counter() - wall
    groups = {name: group for group, names in metric_names(dataset).items() for name in names}
    spent = dict.fromkeys(metric_groups(), 0.0)
    for name, value in zip(table["metric"], table["seconds"]):
        spent[groups[name]] += value
    rows = [(group, f"{value:.2f}") for group, value in spent.items()]
    rows += [("all, wall", f"{wall:.2f}"), ("all, CPU", f"{seconds:.2f}")]
    show(f"assess on {steps:,} steps of HalfCheetah's shape, {len(table)} metrics", ("group", "seconds"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--loop", type=int, default=100_000, help="rows that the published loop counts")
    parser.add_argument("--stream-steps", type=int, default=100_000_000)
    parser.add_argument("--distinct", type=int, default=20_000_000, help="rows after which the stream repeats")
    parser.add_argument("--limit", type=int, default=2**30, help="bytes of memory for the part stream")
    parser.add_argument("--parts", nargs="+", default=["count", "published", "stream", "assess"])
    parser.add_argument("--stream-in", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stream_in:
        stream_within(arguments.stream_in, arguments.stream_steps, arguments.distinct)
        return
    parts: dict[str, Callable[[], None]] = {
        "count": lambda: count(arguments.steps, arguments.rounds),
        "published": lambda: published(arguments.steps, arguments.rounds, arguments.loop),
        "stream": lambda: stream(arguments.stream_steps, arguments.distinct, arguments.limit),
        "assess": lambda: whole_table(arguments.steps),
    }
    for part in arguments.parts:
        parts[part]()


if __name__ == "__main__":
    main()
