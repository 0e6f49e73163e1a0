"""Loading a Parquet table against pyarrow's own reading, in one run: CPU time and memory.

    taskset -c 0 env OMP_NUM_THREADS=1 python benchmarks/tables.py [--rows 10000000] [--rounds 3]

The table has 13 columns: 8 float64 sensors, 2 float64 commands, a reward, the id of the episode and a time stamp, in
episodes of 1,000 rows, as pyarrow writes it unless told otherwise (snappy, dictionaries where they pay). `random` are numbers
that no compression makes smaller, which pyarrow reads fastest; `rounded` are numbers of three decimals, as sensors give.

Each reading is a process of its own, which has read a table of 2,000 rows before the clock starts, so that everything is imported. CPU seconds are the least of the
rounds, which take turns; memory is the most that the process held beyond what it held before reading. pyarrow reads all columns
into a table; Assay makes the dataset of them (observations and actions as rows, with final observations, flags and masks,
and the hash of every column in the history), by `assay.load(path, columns=...)`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

SENSORS = [f"q{number}" for number in range(8)]
COLUMNS = {
    "observations": SENSORS,
    "actions": ["u0", "u1"],
    "rewards": "r",
    "episode": "run",
    "time": "t",
    "ends": "truncated",
}
WAYS = ("pyarrow", "pyarrow, one thread", "Assay")
BLOCK, SMALL = 1 << 20, "small.parquet"
console = Console(width=110)


def write_table(path: Path, rows: int, decimals: int | None) -> None:
    """Write the table block by block."""
    generator = np.random.default_rng(0)
    writer = None
    for start in range(0, rows, BLOCK):
        count = min(BLOCK, rows - start)
        row = np.arange(start, start + count)
        numbers = {name: generator.normal(size=count) for name in (*SENSORS, "u0", "u1", "r")}
        if decimals is not None:
            numbers = {name: array.round(decimals) for name, array in numbers.items()}
        block = pa.table({**numbers, "run": row // 1000, "t": (row % 1000) * 0.01})
        writer = writer or pq.ParquetWriter(path, block.schema)
        writer.write_table(block)
    assert writer is not None
    writer.close()


def peak(*, reset: bool = False) -> int:
    """Return the most memory that this process held since the last reset, in bytes."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024


def read(way: str, path: Path) -> dict[str, float]:
    """Read the table in this process, after a small one beside it."""
    import assay

    def once(file: Path) -> int:
        if way == "Assay":
            return assay.load(file, columns=COLUMNS).total_steps
        return int(pq.read_table(file, use_threads="one" not in way).num_rows)

    once(path.with_name(SMALL))
    before, start = peak(reset=True), time.process_time()
    rows = once(path)
    seconds = time.process_time() - start
    return {"seconds": seconds, "bytes": peak() - before, "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--read", nargs=2, metavar=("WAY", "PATH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        print(json.dumps(read(options.read[0], Path(options.read[1]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_table(Path(folder, SMALL), 2_000, 3)
        for title, decimals in (("random", None), ("rounded", 3)):
            path = Path(folder, f"{title}.parquet")
            write_table(path, options.rows, decimals)
            found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
            for _ in range(options.rounds):
                for way in WAYS:
                    command = [sys.executable, __file__, "--read", way, str(path)]
                    done = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
                    found[way].append(json.loads(done.stdout))
            seconds = {way: min(item["seconds"] for item in items) for way, items in found.items()}
            memory = {way: min(item["bytes"] for item in items) for way, items in found.items()}
            shown = Table(title=f"{title}: {options.rows:,} rows, {path.stat().st_size / 1e6:,.0f} MB")
            for name in ("", "CPU s", "rate, pyarrow = 1", "memory MB", "memory, pyarrow = 1"):
                shown.add_column(name, justify="left" if not name else "right")
            for way in WAYS:
                rate, held = seconds["pyarrow"] / seconds[way], memory[way] / memory["pyarrow"]
                shown.add_row(way, f"{seconds[way]:.2f}", f"{rate:.2f}", f"{memory[way] / 1e6:,.0f}", f"{held:.2f}")
            console.print(shown)
            path.unlink()


if __name__ == "__main__":
    main()
