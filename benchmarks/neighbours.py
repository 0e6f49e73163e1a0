"""What nearest neighbours cost: the search of PRDC beside others, and what is measured by neighbours, with how far it is off.

    python benchmarks/neighbours.py [--steps 1000000] [--part search|bias|dip|entropy|table]

"search" is 256 queries, a batch of PRDC, among the rows of a dataset of this shape: the engine's products, scipy's k-d tree (what the
published code uses), and, where they are installed, scikit-learn's exact searches and faiss's flat index. All are exact, and their answers are
compared. Building an index counts apart. Set OMP_NUM_THREADS=1. Queries are (beta s, a) with actions a little off the data.

"bias" compares the entropy of standard normal rows with the truth, over dimensions and sample sizes. "dip" is the 95 %
point of the dip of 50 uniform numbers, which `metrics/behaviour.py` uses. "entropy" and "table" measure a made-up dataset
of HalfCheetah's shape, 17 + 6 numbers a step, episodes of 1,000: states are a smooth nonlinear image of 8 slow random
phases with some noise, actions a function of them with more.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import time
from collections.abc import Callable, Sequence

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.spatial import cKDTree

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


Find = Callable[[np.ndarray], np.ndarray]


def searches(keys: np.ndarray, of_engine: Find) -> dict[str, Callable[[], Find]]:
    """Return what builds each search: a function of queries (Q, D) to rows (Q,)."""

    def tree() -> Find:
        built = cKDTree(keys)
        return lambda queries: built.query(queries)[1]

    def sklearn(algorithm: str) -> Find:
        from sklearn.neighbors import NearestNeighbors

        built = NearestNeighbors(n_neighbors=1, algorithm=algorithm).fit(keys)
        return lambda queries: built.kneighbors(queries, return_distance=False)[:, 0]

    def flat() -> Find:
        import faiss

        built = faiss.IndexFlatL2(keys.shape[1])
        built.add(keys)
        return lambda queries: built.search(queries, 1)[1][:, 0]

    return {
        "engine, products": lambda: of_engine,
        "scipy cKDTree": tree,
        "scikit-learn brute": lambda: sklearn("brute"),
        "scikit-learn kd_tree": lambda: sklearn("kd_tree"),
        "faiss flat": flat,
    }


def search(console: Console, sizes: Sequence[int] = (10_000, 100_000), rounds: int = 3, beta: float = 2.0) -> None:
    """Let the searches take turns; the best round of each counts."""
    import torch

    from assay.baselines.engine.data import ActionScale, TrainingData
    from assay.baselines.engine.neighbours import nearest_rows
    from assay.baselines.engine.tables import DatasetTable

    table = Table(title="256 nearest rows: CPU-milliseconds (to build), and where the answer is the engine's")
    for header in ("search", *(f"{size:,} rows" for size in sizes)):
        table.add_column(header, justify="right")
    cells: dict[str, list[str]] = {}
    for size in sizes:
        dataset = make_dataset(size, 1)
        scale = ActionScale.of(-np.ones(dataset.actions.shape[1]), np.ones(dataset.actions.shape[1]))
        laid_out = TrainingData.of(dataset.transitions(dtype=np.float32), scale, normalize=True)
        rows, states = DatasetTable([laid_out], [0], torch.float32, torch.device("cpu")), laid_out.observation_size
        weights = np.concatenate([np.full(states, beta), np.ones(laid_out.action_size)]).astype(np.float32)
        keys = np.ascontiguousarray(laid_out.rows[:, : len(weights)] * weights, np.float32)

        def of_engine(queries: np.ndarray, rows=rows, weights=weights, states=states) -> np.ndarray:
            asked = torch.from_numpy(queries / weights)[None]
            return nearest_rows(rows, asked[..., :states], asked[..., states:], torch.tensor([[beta]]))[0].numpy()

        rng = np.random.default_rng(0)
        queries = keys[rng.choice(size, 256, replace=False)]
        queries[:, states:] += 0.3 * rng.standard_normal((256, laid_out.action_size), np.float32)
        built, spent = {}, {}
        for name, build in searches(keys, of_engine).items():
            start = time.process_time()
            with contextlib.suppress(ImportError):
                built[name] = build()
                spent[name] = time.process_time() - start
        best, answers = dict.fromkeys(built, np.inf), {}
        for _ in range(rounds):
            for name, find in built.items():
                start = time.process_time()
                answers[name] = find(queries)
                best[name] = min(best[name], time.process_time() - start)
        for name in built:
            agreed = (answers[name] == answers["engine, products"]).mean()
            cells.setdefault(name, []).append(f"{1e3 * best[name]:.1f} ({1e3 * spent[name]:.0f}), {agreed:.1%}")
    for name, row in cells.items():
        table.add_row(name, *row)
    console.print(table)


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
    parser.add_argument("--part", choices=("search", "bias", "dip", "entropy", "table"), action="append")
    arguments = parser.parse_args()
    console = Console(width=120)
    parts = arguments.part or ["search", "bias", "dip", "entropy", "table"]
    if "search" in parts:
        search(console)
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
