"""How many answers the store takes and finds in a second, and how much memory it needs for a million.

Usage: python benchmarks/answers.py [--answers 1000000]

Beside it, in the same run, stands the floor: SQLite inserting the same rows one per transaction, with nothing around it. Memory is the
growth of the process's peak between a tenth of the answers and all of them.
"""

from __future__ import annotations

import argparse
import resource
import sqlite3
import tempfile
import time
from pathlib import Path

from assay.relabeling.judges.store import Answer, AnswerStore, Question


def peak_mib() -> float:
    """Return the largest memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def floor(path: Path, count: int) -> float:
    """Return the rows per second of bare SQLite."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(
        "CREATE TABLE rows (first BLOB, second BLOB, value REAL, kind TEXT, reply TEXT, cost REAL, made REAL)"
    )
    start = time.perf_counter()
    for number in range(count):
        key = number.to_bytes(16, "little")
        connection.execute("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?)", (key, key, 1.0, "answer", "1", 0.0, 0.0))
    return count / (time.perf_counter() - start)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=1_000_000)
    count = parser.parse_args().answers
    question, answer = Question("judge", "1", "a goal"), Answer(1.0, "answer", "1")
    with tempfile.TemporaryDirectory() as folder, AnswerStore(Path(folder) / "answers.sqlite") as store:
        start, early = time.perf_counter(), 0.0
        for number in range(count):
            key = number.to_bytes(16, "little")
            store.add(question, key, key, answer)
            if number == count // 10:
                early = peak_mib()
        added = count / (time.perf_counter() - start)
        grown = peak_mib() - early
        start = time.perf_counter()
        for number in range(0, count, 10):
            key = number.to_bytes(16, "little")
            assert store.find(question, key, key) == answer
        found = (count // 10) / (time.perf_counter() - start)
        size = sum(file.stat().st_size for file in Path(folder).iterdir()) / 2**20
        bare = floor(Path(folder) / "floor.sqlite", min(count, 100_000))
    print(
        f"{count:,} answers: added {added:,.0f}/s (bare SQLite {bare:,.0f}/s), found {found:,.0f}/s, {size:,.0f} MiB on disk"
    )
    print(f"peak memory grew by {grown:.1f} MiB between a tenth of them and all")


if __name__ == "__main__":
    main()
