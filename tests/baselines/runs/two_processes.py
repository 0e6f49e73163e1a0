"""Rounds of two processes that train the same jobs in one folder and are killed at random; run as a program.

Every round forks two processes. One or both are killed (SIGKILL) after a random time, or none. When all runs of a folder
are finished they are compared with an undisturbed training, byte by byte, and the next round begins a new folder. Prints the number of
folders that were finished, and of kills.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

from assay.baselines import BC, Job, train
from assay.baselines.runs.reader import StoredRun
from tests.baselines.problems import pendulum_like

OPTIONS = {"steps": 256, "evaluation": None, "population": 2, "checkpoint_seconds": 0.02}
FILES = ("run.json", "policy.safetensors", "curves.parquet", "returns.parquet")


def jobs() -> list[Job]:
    data = [pendulum_like(0), pendulum_like(1)]
    return [Job(BC(hidden=(8,), batch_size=16), dataset, seed) for dataset in data for seed in (0, 1)]


def finished(folder: Path) -> dict[str, tuple[tuple[bytes, int], ...]]:
    """Bytes and times of all files of the finished runs."""
    found = {}
    for file in folder.glob("*/run.json"):
        if StoredRun(file.parent).status == "finished":
            files = [file.parent / name for name in FILES]
            found[file.parent.name] = tuple((path.read_bytes(), path.stat().st_mtime_ns) for path in files)
    return found


def trained(folder: Path) -> dict[str, list[bytes]]:
    """What training left in every finished run, without the times that run.json tells."""
    return {name: [content for content, _ in files[1:]] for name, files in finished(folder).items()}


def fork(folder: Path) -> int:
    """Train in another process. This one must never train or use Polars itself: threads do not survive a fork."""
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        runs = train(jobs(), runs=folder, **OPTIONS)
        for run in runs:
            run.verify()
        status = 0 if all(run.status == "finished" for run in runs) else 2
    except BaseException:
        traceback.print_exc()
    os._exit(status)


def ends_well(process: int) -> bool:
    return os.waitpid(process, 0)[1] == 0


def main(root: Path, rounds: int) -> None:
    rng = random.Random(0)
    assert ends_well(fork(root / "whole"))
    begun = time.monotonic()
    assert all(ends_well(process) for process in [fork(root / "timed"), fork(root / "timed")])
    usual = time.monotonic() - begun
    whole = trained(root / "whole")
    assert len(whole) == len(jobs())
    folders, kills, before = 0, 0, {}
    for number in range(rounds):
        folder = root / f"folder{folders}"
        left = [fork(folder), fork(folder)]
        for process in rng.sample(left, 0 if number == rounds - 1 else rng.choice((0, 1, 2, 2, 2))):
            time.sleep(rng.uniform(0, usual / 2))
            left.remove(process)
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                assert status == 0, f"round {number}: a process failed before it was killed"
                continue
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            kills += 1
        assert all(ends_well(process) for process in left), f"round {number}: a process that nobody killed failed"
        after = finished(folder)
        assert all(after.get(run) == content for run, content in before.items()), "a finished run was lost or rewritten"
        before = after
        if len(after) == len(whole):
            assert trained(folder) == whole
            folders, before = folders + 1, {}
    print(folders, kills)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
