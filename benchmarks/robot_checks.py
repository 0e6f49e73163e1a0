"""CPU seconds of loading, validating and checking a set of robot recordings, beside the peers that are installed.

    python benchmarks/robot_checks.py FOLDER [--install-peers] [--peer "/path/to/venv/bin/peer analyze"]

`--install-peers` puts the peers that pip can install into environments of their own, in a temporary folder, and measures them.
`assay validate` is measured as a whole command, too, as the peers are.

Every measurement is a process of its own; CPU seconds are those of the process and its threads, user and system. `import`
stands apart, because a program pays it once. A peer is a command line that takes the folder: where it is not installed, or
refuses the set, the line says so.
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
import venv
from pathlib import Path

OURS = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
def cpu(): return time.process_time()
start = cpu()
import assay
from assay.metrics.robot.profile import robot_table, validate_robot
from assay.datasets.formats import sniff
import pyarrow.parquet
imported = cpu()
dataset = assay.load(sys.argv[1])
loaded = cpu()
table = robot_table(dataset)
measured = cpu()
report = validate_robot(dataset, table=table)
done = cpu()
print(json.dumps({
    "import": imported - start, "load": loaded - imported, "robot checks": measured - loaded, "validate": done - measured,
    "steps": dataset.total_steps, "metrics": len({s.metric for s in table.scores}),
    "errors": sum(f.severity == "error" for f in report.findings)}))
"""


PEERS = {"lerobot-doctor": "lerobot-doctor", "orbit-robotics": "orbit validate"}
"""Package -> what it is called with the folder of a dataset behind it."""


def installed(package: str, folder: Path) -> str | None:
    """Install a package into an environment of its own; return why it failed, or None."""
    venv.create(folder, with_pip=True)
    command = [str(folder / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", package]
    done = subprocess.run(command, capture_output=True, text=True)
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["pip failed"])[-1]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--peer", action="append", default=[], help="a command that takes the folder, such as 'qrc scan'"
    )
    parser.add_argument("--install-peers", action="store_true", help="measure the known peers, installed for this run")
    options = parser.parse_args()
    runs = [measured_here(options.dataset) for _ in range(options.repeats)]
    for key in runs[0]:
        values = sorted(run[key] for run in runs)
        middle = values[len(values) // 2]
        print(f"{key:14} {middle:10.3f}   {values[0]:.3f} to {values[-1]:.3f}")
    parts = ("load", "robot checks", "validate")
    totals = sorted(sum(run[part] for part in parts) for run in runs)
    print(
        f"{'together':14} {totals[len(totals) // 2]:10.3f}   {totals[0]:.3f} to {totals[-1]:.3f} CPU seconds, without imports"
    )
    assay = f"{Path(sys.executable).with_name('assay')} datasets validate --profile robot"
    print(measured_command(assay, options.dataset))
    for command in options.peer:
        print(measured_command(command, options.dataset))
    if options.install_peers:
        for package, program in PEERS.items():
            with tempfile.TemporaryDirectory() as folder:
                if (failure := installed(package, Path(folder))) is None:
                    print(measured_command(f"{folder}/bin/{program}", options.dataset))
                else:
                    print(f"{package}: not measured: {failure}")


def measured_here(dataset: Path) -> dict[str, float]:
    """Measure Assay in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", OURS, str(dataset)], capture_output=True, text=True, check=True, env=environment
    )
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def measured_command(command: str, dataset: Path) -> str:
    """Measure a command line, its imports included."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    try:
        done = subprocess.run([*command.split(), str(dataset)], capture_output=True, text=True, timeout=600)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command}: not measured: {error}"
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    said = (done.stdout + done.stderr).strip().splitlines()
    command = Path(command.split()[0]).name + command[len(command.split()[0]) :]
    note = f"; status {done.returncode}: {said[-1][:100]}" if done.returncode and said else ""
    return f"{command}: {seconds:.2f} CPU seconds, {time.monotonic() - start:.2f} s{note}"


if __name__ == "__main__":
    main()
