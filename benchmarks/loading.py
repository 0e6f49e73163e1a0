"""Reading, writing and sampling against Minari, d3rlpy and bare NumPy or HDF5, in one run.

    taskset -c 0 env OMP_NUM_THREADS=1 python benchmarks/loading.py [--steps 1000000] [--parts read store sample write large]

All parts use steps of HalfCheetah's shape: 17 float64 observations (T+1 rows), 6 float32 actions, float64 rewards, two
flags; in episodes of 1,000 steps where nothing else is said. Seconds are of the process's CPU time, the least of several
rounds that take turns; ratios are between the rows of one table.

read     Minari's HDF5 and Arrow into flat arrays: Minari's own iteration, Assay, and for HDF5 the floor: one low-level
         read per column and episode into arrays set aside before. HDF5 as Minari wrote it and as Assay wrote it, and
         in episodes of 20 to 1,000 steps, which fill their blocks unevenly.
store    Opening an Assay store without hashing, and reading all of it into memory, against np.load of the same columns.
sample   Batches a second, of 256 transitions and of sub-trajectories of 20 steps; d3rlpy and Minari where installed.
write    Saving as Minari's HDF5, for growing numbers of episodes, against Minari's own writer.
large    Ten million steps in a process that may take 1 GiB of memory: load, corrupt two elements, SACo, split, save,
         export to Minari; with the peak.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5g, h5s
from rich.console import Console
from rich.table import Table

import assay
from assay.datasets import Dataset
from assay.datasets.memory import empty
from assay.datasets.sampling import SequenceSampler, TransitionSampler

LENGTH, SHORTEST = 1000, 20
COLUMNS = {"observations": (17, "f8", 1), "actions": (6, "f4", 0), "rewards": (0, "f8", 0)}
console = Console(width=110)


def make_dataset(steps: int, shortest: int = LENGTH) -> Dataset:
    """Random numbers of HalfCheetah's shape, block by block, in episodes of `shortest` to 1,000 steps."""
    generator = np.random.default_rng(0)
    ends = np.cumsum(generator.integers(shortest, LENGTH + 1, -(-steps // shortest)))
    lengths = np.diff(ends[ends < steps], prepend=0, append=steps)
    episodes = len(lengths)
    columns: dict[str, np.ndarray] = {}
    for name, (width, dtype, extra) in COLUMNS.items():
        shape = (steps + extra * episodes, *([width] if width else []))
        columns[name] = empty(shape, dtype)
        for start in range(0, shape[0], 1 << 16):
            block = columns[name][start : start + (1 << 16)]
            block[...] = generator.standard_normal(block.shape)
    truncations = np.zeros(steps, bool)
    truncations[np.cumsum(lengths) - 1] = True
    return Dataset(columns | {"terminations": np.zeros(steps, bool), "truncations": truncations}, lengths)


def best_of(ways: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Return the least CPU seconds of each way; the ways take turns."""
    seconds = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.process_time()
            way()
            seconds[name] = min(seconds[name], time.process_time() - start)
    return seconds


def show(title: str, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    table = Table(title=title)
    for number, name in enumerate(header):
        table.add_column(name, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)


# -------------------------------------------------------------------- read


def with_minari(root: Path, name: str) -> dict[str, np.ndarray]:
    """Minari's own way to flat arrays."""
    import minari

    os.environ["MINARI_DATASETS_PATH"] = str(root)
    parts: dict[str, list[np.ndarray]] = {}
    for episode in minari.load_dataset(name).iterate_episodes():
        for key in ("observations", "actions", "rewards", "terminations", "truncations"):
            parts.setdefault(key, []).append(getattr(episode, key))
    return {key: np.concatenate(arrays) for key, arrays in parts.items()}


def floor(file: Path, steps: int, episodes: int) -> dict[str, np.ndarray]:
    """One low-level read per column and episode, into arrays set aside before; no check of anything."""
    flat = {
        name: np.empty((steps + extra * episodes, *([width] if width else [])), dtype)
        for name, (width, dtype, extra) in COLUMNS.items()
    }
    flat |= {name: np.empty(steps, bool) for name in ("terminations", "truncations")}
    filled = dict.fromkeys(flat, 0)
    with h5py.File(file, "r") as handle:
        for number in range(episodes):
            group = h5g.open(handle.id, b"episode_%d" % number)
            for name, array in flat.items():
                stored = h5d.open(group, name.encode())
                part = array[filled[name] : filled[name] + stored.shape[0]]
                stored.read(h5s.ALL, h5s.ALL, part)
                filled[name] += len(part)
    return flat


def read(root: Path, steps: int, rounds: int) -> None:
    for layout, by, shortest in (
        ("hdf5", "Minari", LENGTH),
        ("hdf5", "Assay", LENGTH),
        ("hdf5", "Minari", SHORTEST),
        ("arrow", "Assay", LENGTH),
    ):
        dataset, name = make_dataset(steps, shortest), f"bench/{layout}-{by}-{shortest}-v0"
        if by == "Minari":
            save_with_minari(minari_buffers(dataset), root, name)
        else:
            assay.save(dataset, root / name, format="minari", data_format=layout)
        ways: dict[str, Callable[[], Any]] = {
            "Minari, iterate_episodes": lambda name=name: with_minari(root, name),
            "Assay": lambda name=name: assay.load(root / name),
        }
        episodes = dataset.total_episodes
        if layout == "hdf5":
            file = root / name / "data" / "main_data.hdf5"
            ways["floor: preallocated h5d reads"] = lambda file=file, episodes=episodes: floor(file, steps, episodes)
        theirs, ours = with_minari(root, name), assay.load(root / name)
        for key, array in theirs.items():
            if not np.array_equal(array, ours.column(key)):
                raise SystemExit(f"{name}: {key} differs from what Minari reads")
        del theirs, ours
        seconds = best_of(ways, rounds)
        base = seconds["Assay"]
        rows = [(way, f"{value:.3f}", f"{value / base:.2f}x") for way, value in seconds.items()]
        title = f"Minari {layout} written by {by}, {steps:,} steps in {episodes:,} episodes to flat arrays"
        show(title, ("way", "CPU seconds", "of Assay's"), rows)
        shutil.rmtree(root / name)


# -------------------------------------------------------------------- store


def store(root: Path, steps: int, rounds: int) -> None:
    folder = root / "store"
    assay.save(make_dataset(steps), folder)
    files = sorted((folder / "columns").rglob("*.npy"))

    def copy_columns() -> list[np.ndarray]:
        dataset = assay.load(folder, verify=False)
        return [np.array(dataset.column(name)) for name in dataset.columns]

    ways: dict[str, Callable[[], Any]] = {
        "np.load of the columns": lambda: [np.load(file) for file in files],
        "Assay, into memory": copy_columns,
        "Assay, opened (verify=False)": lambda: assay.load(folder, verify=False),
        "Assay, opened and every hash checked": lambda: assay.load(folder),
    }
    seconds = best_of(ways, 3 * rounds)
    size = sum(file.stat().st_size for file in files)
    rows = [
        (way, f"{1000 * value:.1f}", f"{seconds['np.load of the columns'] / value:.2f}x")
        for way, value in seconds.items()
    ]
    show(f"Assay store, {steps:,} steps, {size / 1e6:.0f} MB", ("way", "CPU milliseconds", "rate to np.load's"), rows)


# -------------------------------------------------------------------- sample


def batches_per_second(draw: Callable[[], Any], seconds: float) -> float:
    draw()
    count, start = 0, time.process_time()
    while (spent := time.process_time() - start) < seconds:
        draw()
        count += 1
    return count / spent


def sample(root: Path, steps: int, seconds: float) -> None:
    dataset = make_dataset(steps)
    weighted = dataset.replace({"weights": np.random.default_rng(1).random(steps)})
    ways: list[tuple[str, Callable[[], Any]]] = [
        ("floor: 256 rows of five float32 and flag arrays, np.take", gather(dataset)),
        ("256 transitions", TransitionSampler(dataset, 256).sample),
        ("256 transitions, weighted", TransitionSampler(weighted, 256).sample),
        ("256 transitions, 5-step returns", TransitionSampler(dataset, 256, return_steps=5).sample),
        ("256 transitions, shuffled passes", TransitionSampler(dataset, 256, replacement=False).sample),
        ("64 x 20 steps", SequenceSampler(dataset, 20, 64).sample),
        ("64 x 20 steps, weighted", SequenceSampler(weighted, 20, 64).sample),
        ("256 x 20 steps", SequenceSampler(dataset, 20, 256).sample),
    ]
    if importlib.util.find_spec("d3rlpy"):
        ways += with_d3rlpy(dataset)
    if importlib.util.find_spec("minari"):
        assay.save(dataset, root / "bench/sample-v0", format="minari")
        ways.append(("Minari: 256 sampled episodes, a row of each", sample_minari(root, "bench/sample-v0")))
    rows = [(name, f"{batches_per_second(draw, seconds):,.0f}") for name, draw in ways]
    show(f"Sampling from {steps:,} steps, float32 batches", ("batch", "batches per CPU second"), rows)


def gather(dataset: Dataset) -> Callable[[], Any]:
    """Draw rows and take them from every array, and nothing else."""
    generator, rows = np.random.default_rng(0), dataset.observation_rows
    observations = dataset.observations.astype(np.float32)
    others = [dataset.actions, dataset.rewards.astype(np.float32), dataset.terminations, dataset.truncations]

    def draw() -> list[np.ndarray]:
        steps = generator.integers(0, dataset.total_steps, 256)
        states = rows[steps]
        taken = [np.take(array, steps, axis=0) for array in others]
        return [*taken, np.take(observations, states, axis=0), np.take(observations, states + 1, axis=0)]

    return draw


def with_d3rlpy(dataset: Dataset) -> list[tuple[str, Callable[[], Any]]]:
    from d3rlpy.dataset import MDPDataset

    rows = dataset.observation_rows
    buffer = MDPDataset(
        dataset.observations[rows].astype(np.float32),
        dataset.actions,
        dataset.rewards.astype(np.float32),
        dataset.terminations.astype(np.float32),
        dataset.truncations.astype(np.float32),
    )
    return [
        ("d3rlpy: 256 transitions", lambda: buffer.sample_transition_batch(256)),
        ("d3rlpy: 64 x 20 steps", lambda: buffer.sample_trajectory_batch(64, 20)),
    ]


def sample_minari(root: Path, name: str) -> Callable[[], Any]:
    import minari

    os.environ["MINARI_DATASETS_PATH"] = str(root)
    data = minari.load_dataset(name)
    generator = np.random.default_rng(0)

    def draw() -> list[Any]:
        episodes = data.sample_episodes(min(256, data.total_episodes))
        return [episode.observations[generator.integers(len(episode.rewards))] for episode in episodes]

    return draw


# -------------------------------------------------------------------- write


def minari_buffers(dataset: Dataset) -> list[Any]:
    """Minari's form of episodes in memory."""
    from minari.data_collector.episode_buffer import EpisodeBuffer

    episodes = (dataset.select([number]) for number in range(dataset.total_episodes))
    return [
        EpisodeBuffer(
            **{key: list(episode.column(key)) for key in ("rewards", "terminations", "truncations")},
            observations=episode.observations,
            actions=episode.actions,
        )
        for episode in episodes
    ]


def save_with_minari(buffers: list[Any], root: Path, name: str) -> None:
    import minari
    from gymnasium.spaces import Box

    warnings.filterwarnings("ignore", module="minari")  # about authors and descriptions
    os.environ["MINARI_DATASETS_PATH"] = str(root)
    shutil.rmtree(root / name, ignore_errors=True)
    minari.create_dataset_from_buffers(
        name,
        buffers,
        observation_space=Box(-np.inf, np.inf, (17,), np.float64),
        action_space=Box(-np.inf, np.inf, (6,), np.float32),
    )


def write(root: Path, rounds: int) -> None:
    rows = []
    for episodes in (250, 500, 1000):
        dataset = make_dataset(episodes * LENGTH)
        buffers = minari_buffers(dataset)

        def theirs(buffers: list[Any] = buffers) -> None:
            save_with_minari(buffers, root, "bench/theirs-v0")

        def ours(dataset: Dataset = dataset) -> None:
            assay.save(dataset, root / "bench/ours-v0", format="minari", overwrite=True)

        seconds = best_of({"Minari": theirs, "Assay": ours}, rounds)
        each = 1e6 / episodes
        rows.append(
            (
                f"{episodes:,}",
                f"{seconds['Minari']:.2f}",
                f"{seconds['Assay']:.2f}",
                f"{seconds['Minari'] / seconds['Assay']:.1f}x",
                f"{seconds['Minari'] * each:.0f}",
                f"{seconds['Assay'] * each:.0f}",
            )
        )
    header = ("episodes", "Minari CPU s", "Assay CPU s", "Minari / Assay", "Minari us/episode", "Assay us/episode")
    show(f"Saving as Minari HDF5, episodes of {LENGTH:,} steps", header, rows)


# -------------------------------------------------------------------- large


class Peak:
    """Watches the anonymous memory of this process; what caches files does not count, it can be had back."""

    def __init__(self) -> None:
        self.bytes = 0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            lines = Path("/proc/self/status").read_text().splitlines()
            self.bytes = max(self.bytes, *(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")))
            time.sleep(0.01)


def large(root: Path, steps: int, limit: int) -> None:
    """Run the whole chain in a process that the system stops from taking more than the limit."""
    command = [sys.executable, __file__, "--steps", str(steps), "--large-in", str(root), "--limit", str(limit)]
    subprocess.run(command, check=True, env=os.environ | {"ASSAY_SCRATCH": str(root / "scratch")})


def chain(root: Path, steps: int, limit: int) -> None:
    from assay.corruption import RandomCorruption
    from assay.metrics import saco

    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    peak, rows = Peak(), []

    def timed(what: str, function: Callable[[], Any]) -> Any:
        peak.bytes, start = 0, time.perf_counter()
        result = function()
        time.sleep(0.02)
        rows.append((what, f"{time.perf_counter() - start:.1f}", f"{peak.bytes / 2**20:,.0f}"))
        return result

    timed("make and save", lambda: assay.save(make_dataset(steps), root / "large"))
    data = timed("load, hashes checked", lambda: assay.load(root / "large"))
    clean = data
    for element in ("observations", "actions"):
        corruption = RandomCorruption(element=element, rate=0.3)
        data = timed(f"corrupt {element}", lambda data=data, corruption=corruption: corruption(data))
    timed("SACo against the clean data", lambda: saco(data, clean))
    parts = timed("split 9 : 1 by episode", lambda: data.split([0.9, 0.1]))
    timed("save", lambda: assay.save(parts[0], root / "part"))
    clean_columns = {"next_observations": None, "corrupted/observations": None, "corrupted/actions": None}
    timed(
        "export to Minari", lambda: assay.save(parts[0].replace(clean_columns), root / "mine/part-v0", format="minari")
    )
    show(f"{steps:,} steps, at most {limit / 2**20:,.0f} MiB of private memory", ("step", "seconds", "peak MiB"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1_000_000, help="of all parts but large")
    parser.add_argument("--large-steps", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each sampler")
    parser.add_argument("--parts", nargs="+", default=["read", "store", "sample", "write", "large"])
    parser.add_argument("--limit", type=int, default=2**30, help="bytes of private memory for the part large")
    parser.add_argument("--large-in", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.large_in:
        chain(arguments.large_in, arguments.steps, arguments.limit)
        return
    parts: dict[str, Callable[[Path], None]] = {
        "read": lambda root: read(root, arguments.steps, arguments.rounds),
        "store": lambda root: store(root, arguments.steps, arguments.rounds),
        "sample": lambda root: sample(root, arguments.steps, arguments.seconds),
        "write": lambda root: write(root, arguments.rounds),
        "large": lambda root: large(root, arguments.large_steps, arguments.limit),
    }
    for part in arguments.parts:
        with tempfile.TemporaryDirectory() as folder:
            parts[part](Path(folder))


if __name__ == "__main__":
    main()
