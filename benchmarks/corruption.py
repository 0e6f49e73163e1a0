"""Time and peak memory of random corruption, against the same operation in bare NumPy, in one run.

    python benchmarks/corruption.py [--steps 1000000]

Bare NumPy is one float32 copy of the column, one standard deviation, one mask and one addition of noise to the touched
rows: no episodes, no stored next observations, no masks, no check for NaN, no stream per block. `observations` and
`dynamics` also lay out s' (N rows gathered), which bare NumPy is given for free. Goal: a ratio of at most 1.5.
The two take turns; the fastest of the rounds counts. Peak memory is what the call allocates beyond its input,
next to the size of the columns it returns.
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

from assay.corruption import RandomCorruption
from assay.datasets import Dataset

RATE = 0.3


def make_dataset(steps: int, episode_length: int = 1000) -> Dataset:
    generator = np.random.default_rng(0)
    episodes = -(-steps // episode_length)
    lengths = np.full(episodes, episode_length)
    lengths[-1] = steps - episode_length * (episodes - 1)
    truncations = np.zeros(steps, bool)
    truncations[np.cumsum(lengths) - 1] = True
    columns = {
        "observations": generator.standard_normal((steps + episodes, 17), dtype=np.float32),
        "actions": generator.standard_normal((steps, 6), dtype=np.float32),
        "rewards": generator.standard_normal(steps, dtype=np.float32),
        "terminations": np.zeros(steps, bool),
        "truncations": truncations,
    }
    return Dataset(columns, lengths)


def bare_noise(column: np.ndarray) -> np.ndarray:
    generator = np.random.default_rng(0)
    result = column.copy()
    touched = np.flatnonzero(generator.random(len(column)) < RATE)
    noise = generator.random((len(touched), *column.shape[1:]), dtype=np.float32)
    noise *= 2
    noise -= 1
    noise *= column.std(0)
    result[touched] += noise
    return result


def bare_rewards(column: np.ndarray) -> np.ndarray:
    generator = np.random.default_rng(0)
    result = column.copy()
    touched = np.flatnonzero(generator.random(len(column)) < RATE)
    result[touched] = generator.random(len(touched), dtype=np.float32) * 60 - 30
    return result


def fastest(functions: list[Callable[[], Any]], rounds: int) -> list[float]:
    times = [float("inf")] * len(functions)
    for _ in range(rounds):
        for number, function in enumerate(functions):
            start = time.perf_counter()
            function()
            times[number] = min(times[number], time.perf_counter() - start)
    return times


def peak_bytes(function: Callable[[], Any]) -> int:
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    dataset = make_dataset(arguments.steps)
    columns = {
        "observations": dataset.observations,
        "actions": dataset.actions,
        "rewards": dataset.rewards,
        "dynamics": dataset.next_observations,
    }
    table = Table(title=f"corruption.random, {arguments.steps:,} x (17 + 6) float32, rate {RATE}")
    for header in ("element", "Assay, s", "bare NumPy, s", "ratio", "peak MB", "returned MB"):
        table.add_column(header, justify="left" if header == "element" else "right")
    for element, column in columns.items():
        transform = RandomCorruption(element, rate=RATE)
        bare = bare_rewards if element == "rewards" else bare_noise

        def run(transform: RandomCorruption = transform) -> Dataset:
            return transform.apply(dataset)

        def run_bare(column: np.ndarray = column, bare: Any = bare) -> np.ndarray:
            return bare(column)

        own, other = fastest([run, run_bare], arguments.rounds)
        variant = run()
        made = sum(
            variant.column(name).nbytes
            for name in variant.columns
            if name not in dataset.columns or not np.shares_memory(variant.column(name), dataset.column(name))
        )
        del variant
        peak = peak_bytes(run)
        table.add_row(
            element, f"{own:.3f}", f"{other:.3f}", f"{own / other:.2f}", f"{peak / 1e6:.0f}", f"{made / 1e6:.0f}"
        )
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
