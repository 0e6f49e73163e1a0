"""Rounds of two processes that train the same jobs in one folder and are killed at random; run as a program.

Every round forks two processes. One or both are killed (SIGKILL) after a random time, or none. When all runs of a folder
are finished they are compared with an undisturbed training, and the next round begins a new folder. Prints the number of
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

from assay.baselines import BC, Job, Run, train
from tests.baselines.problems import pendulum_like

OPTIONS = {"steps": 384, "evaluation": None, "population": 2, "checkpoint_seconds": 0.0}
FILES = ("run.json", "policy.safetensors", "curves.parquet", "returns.parquet")


def jobs() -> list[Job]:
    data = [pendulum_like(0), pendulum_like(1)]
    return [Job(BC(hidden=(8,), batch_size=16), dataset, seed) for dataset in data for seed in (0, 1)]


def trained_bytes(run: Run) -> tuple[bytes, str]:
    return (run.folder / "policy.safetensors").read_bytes(), run.curves.write_csv()


def finished(folder: Path) -> dict[Path, tuple[object, ...]]:
    """Bytes and times of all files of the finished runs, which must verify."""
    found = {}
    for file in folder.glob("*/run.json"):
        run = Run(file.parent)
        if run.status == "finished":
            run.verify()
            found[run.folder] = tuple(
                ((run.folder / name).read_bytes(), (run.folder / name).stat().st_mtime_ns) for name in FILES
            )
    return found


def fork(folder: Path) -> int:
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        runs = train(jobs(), runs=folder, **OPTIONS)
        status = 0 if all(run.status == "finished" for run in runs) else 2
    except BaseException:
        traceback.print_exc()
    os._exit(status)


def main(root: Path, rounds: int) -> None:
    rng = random.Random(0)
    whole = [trained_bytes(run) for run in train(jobs(), runs=root / "whole", **OPTIONS)]
    begun = time.monotonic()
    train(jobs(), runs=root / "timed", **OPTIONS)
    usual = time.monotonic() - begun
    folders, kills, before = 0, 0, {}
    for number in range(rounds):
        folder = root / f"folder{folders}"
        processes = [fork(folder), fork(folder)]
        victims = processes if number == rounds - 1 else rng.sample(processes, rng.choice((0, 1, 1, 2, 2)))
        killed = set()
        for process in victims if number < rounds - 1 else []:
            time.sleep(rng.uniform(0, usual))
            if os.waitpid(process, os.WNOHANG) == (0, 0):
                os.kill(process, signal.SIGKILL)
                killed.add(process)
                os.waitpid(process, 0)
            processes.remove(process)
        kills += len(killed)
        for process in processes:
            _, status = os.waitpid(process, 0)
            assert status == 0, f"round {number}: a process that nobody killed ended with {status}"
        after = finished(folder)
        assert all(after.get(run) == content for run, content in before.items()), "a finished run was lost or rewritten"
        before = after
        if processes:  # one was left to the end, so all is done
            runs = [Run(run.folder) for run in train(jobs(), runs=folder, **OPTIONS)]
            assert [trained_bytes(run) for run in runs] == whole
            assert not (folder / ".owners").exists() or killed
            folders, before = folders + 1, {}
    print(folders, kills)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
