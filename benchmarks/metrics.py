"""Time and peak memory of counting unique state-actions, against two ways to do it in bare NumPy, in one run.

    python benchmarks/metrics.py [--steps 1000000]

All three digitize 17 + 6 float32 columns on the same 100 edges a column and must return the same count. The naive way
is `np.unique(bins, axis=0)`; the other one views each row of int16 bins as one opaque value. "SACo" is the whole metric,
grid and both counts, with the dataset as its own reference.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from assay.datasets import Dataset
from assay.metrics import Grid, saco, unique_state_actions


def make_dataset(steps: int, states: int, episode_length: int = 1000) -> Dataset:
    generator = np.random.default_rng(0)
    ends = (np.arange(steps) % episode_length == episode_length - 1) | (np.arange(steps) == steps - 1)
    columns = {
        "observations": generator.standard_normal((steps + int(ends.sum()), states), dtype=np.float32),
        "actions": generator.standard_normal((steps, 6), dtype=np.float32),
        "rewards": np.zeros(steps, np.float32),
        "terminations": np.zeros(steps, bool),
        "truncations": ends,
    }
    return Dataset(columns, np.diff(np.flatnonzero(ends), prepend=-1))


def bins_of(dataset: Dataset, grid: Grid) -> np.ndarray:
    rows = np.column_stack([dataset.observations[dataset.observation_rows], dataset.actions])
    return np.column_stack([np.digitize(rows[:, j], edges).astype(np.int16) for j, edges in enumerate(grid.edges)])


def count_rows(dataset: Dataset, grid: Grid) -> int:
    return len(np.unique(bins_of(dataset, grid), axis=0))


def count_void(dataset: Dataset, grid: Grid) -> int:
    bins = bins_of(dataset, grid)
    return len(np.unique(bins.view(np.dtype((np.void, bins.itemsize * bins.shape[1])))))


def measure(function: Callable[[], Any], rounds: int) -> tuple[float, int, Any]:
    seconds = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        result = function()
        seconds = min(seconds, time.perf_counter() - start)
    tracemalloc.start()
    function()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return seconds, peak, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    for states in (17, 1):
        dataset = make_dataset(arguments.steps, states)
        for bins in (100, 5):
            grid = Grid.from_dataset(dataset, bins)
            ways: dict[str, Callable[[], Any]] = {
                "Assay": lambda dataset=dataset, grid=grid: unique_state_actions(dataset, grid),
                "np.unique on void rows": lambda dataset=dataset, grid=grid: count_void(dataset, grid),
                "np.unique(axis=0)": lambda dataset=dataset, grid=grid: count_rows(dataset, grid),
                "Assay, whole SACo": lambda dataset=dataset, bins=bins: saco(dataset, dataset, bins),
            }
            table = Table(title=f"{arguments.steps:,} x ({states} + 6) float32, {bins} edges a column")
            for header in ("way", "seconds", "of Assay's", "peak MB", "result"):
                table.add_column(header, justify="left" if header == "way" else "right")
            results = {way: measure(function, arguments.rounds) for way, function in ways.items()}
            base = results["Assay"][0]
            for way, (seconds, peak, result) in results.items():
                table.add_row(way, f"{seconds:.2f}", f"{seconds / base:.1f}x", f"{peak / 1e6:.0f}", f"{result:,}")
            Console(width=110).print(table)
            if len({results[way][2] for way in ways if "SACo" not in way}) != 1:
                raise SystemExit("the counts differ")


if __name__ == "__main__":
    main()
