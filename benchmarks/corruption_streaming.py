"""Ten million steps through every random and structural corruption and every filter, with 1 GiB of private memory.

    python benchmarks/corruption_streaming.py [--steps 10000000] [--limit 1073741824] [--only corruption.freeze ...]

Every transform runs in a process of its own, which the system stops from taking more than the limit (RLIMIT_DATA), on a
stored dataset of HalfCheetah's shape: 17 float32 observations (T+1 rows), 6 float32 actions, float32 rewards, two flags,
episodes of 1,000 steps. Columns that would take a large part of that memory go to a scratch file
(`assay.datasets.memory.empty`). Printed are the seconds of the transform alone, its peak of anonymous memory, which
leaves out what only caches files, and the steps that came out.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from loading import Peak  # beside this file
from rich.console import Console
from rich.table import Table

import assay
from assay.datasets import Dataset, make_transform
from assay.datasets.memory import empty

LENGTH = 1000
COLUMNS = {"observations": (17, 1), "actions": (6, 0), "rewards": (0, 0)}
TRANSFORMS: dict[str, tuple[str, dict[str, object]]] = {
    **{
        f"random, {element}": ("corruption.random", {"element": element})
        for element in ("observations", "actions", "rewards", "dynamics", "states")
    },
    **{
        f"random, actions, {distribution}": (
            "corruption.random",
            {"element": "actions", "distribution": distribution, "scale": 0.5},
        )
        for distribution in ("gaussian", "student_t", "salt_and_pepper", "replacement")
    },
    "random, states, windows": ("corruption.random", {"element": "states", "granularity": "window", "count": "exact"}),
    "drop_episodes": ("corruption.drop_episodes", {}),
    "duplicate_episodes": ("corruption.duplicate_episodes", {}),
    "reorder_episodes": ("corruption.reorder_episodes", {}),
    "downsample": ("corruption.downsample", {}),
    "truncate_episodes": ("corruption.truncate_episodes", {}),
    "segment": ("corruption.segment", {"keep": 0.5}),
    "merge_episodes": ("corruption.merge_episodes", {}),
    "terminations": ("corruption.terminations", {}),
    "terminations, inside": ("corruption.terminations", {"mode": "inside", "rate": 0.01}),
    "missing, nan": ("corruption.missing", {"dimension_rate": 0.5}),
    "missing, last": ("corruption.missing", {"fill": "last"}),
    "freeze": ("corruption.freeze", {}),
    "freeze, dynamics": ("corruption.freeze", {"element": "dynamics"}),
    "delay": ("corruption.delay", {}),
    "quantize": ("corruption.quantize", {}),
    "clip": ("corruption.clip", {}),
    "swap_dimensions": ("corruption.swap_dimensions", {}),
    "repair.outliers": ("corruption.repair.outliers", {"element": "rewards", "action": "flag"}),
    "repair.rewards": ("corruption.repair.rewards", {"action": "flag"}),
    "repair.dynamics": ("corruption.repair.dynamics", {"action": "weights"}),
    "repair.dynamics, drop": ("corruption.repair.dynamics", {"share": 0.3}),
}


def write_dataset(folder: Path, steps: int) -> None:
    """Random walks of HalfCheetah's shape, block by block."""
    episodes = -(-steps // LENGTH)
    lengths = np.full(episodes, LENGTH)
    lengths[-1] = steps - LENGTH * (episodes - 1)
    generator = np.random.default_rng(0)
    columns: dict[str, np.ndarray] = {}
    for name, (width, extra) in COLUMNS.items():
        shape = (steps + extra * episodes, *([width] if width else []))
        columns[name] = empty(shape, np.float32)
        for start in range(0, shape[0], 1 << 16):
            block = columns[name][start : start + (1 << 16)]
            generator.standard_normal(out=block, dtype=np.float32)
    truncations = np.zeros(steps, bool)
    truncations[np.cumsum(lengths) - 1] = True
    dataset = Dataset(columns | {"terminations": np.zeros(steps, bool), "truncations": truncations}, lengths)
    assay.save(dataset, folder)


def one(folder: Path, name: str, limit: int) -> None:
    """Apply one transform under the limit, and print what it took as JSON."""
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    transform = make_transform(*TRANSFORMS[name])
    dataset = assay.load(folder, verify=False)
    peak, start = Peak(), time.perf_counter()
    variant = transform.apply(dataset)
    seconds = time.perf_counter() - start
    time.sleep(0.02)
    print(json.dumps({"seconds": seconds, "peak": peak.bytes, "steps": variant.total_steps}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10_000_000)
    parser.add_argument("--limit", type=int, default=2**30, help="bytes of private memory of each process")
    parser.add_argument("--only", nargs="+", choices=list(TRANSFORMS), help="of the transforms, by their names here")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        one(arguments.folder, arguments.one, arguments.limit)
        return
    table = Table(title=f"{arguments.steps:,} steps, at most {arguments.limit / 2**20:,.0f} MiB of private memory")
    for header in ("transform", "seconds", "peak MiB", "steps that came out"):
        table.add_column(header, justify="left" if header == "transform" else "right")
    failed = []
    with tempfile.TemporaryDirectory(dir=os.environ.get("ASSAY_SCRATCH")) as folder:
        write_dataset(Path(folder, "data"), arguments.steps)
        for name in arguments.only or TRANSFORMS:
            command = [sys.executable, __file__, "--one", name, "--folder", f"{folder}/data"]
            command += ["--limit", str(arguments.limit)]
            environment = os.environ | {"ASSAY_SCRATCH": f"{folder}/scratch"}
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            if done.returncode:
                failed.append(name)
                table.add_row(name, "failed", done.stderr.strip().splitlines()[-1][:60], "")
                continue
            found = json.loads(done.stdout)
            table.add_row(name, f"{found['seconds']:.1f}", f"{found['peak'] / 2**20:,.0f}", f"{found['steps']:,}")
    Console(width=110).print(table)
    if failed:
        raise SystemExit(f"{len(failed)} transforms did not get by with that memory: {', '.join(failed)}")


if __name__ == "__main__":
    main()
