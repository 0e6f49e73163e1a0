"""Do two versions of Assay give the same runs, bit for bit? Trains a fixed set of small jobs and compares their digests.

Write the digests with one version and compare them with another, on the same machine::

    python benchmarks/repeatability.py --write before.json
    python benchmarks/repeatability.py --check before.json

Every algorithm trains two members for 60 updates on pendulum data, one of them on a corrupted variant, and is evaluated;
the digests are of the curves, of every evaluation return and of the policy's tensors.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from pathlib import Path

import assay
from assay.baselines import Evaluation, Job, Run, algorithms, train
from assay.corruption import RandomCorruption
from assay.reweighting import TrajectoryWeighting

STEPS = 60
SMALL = {"batch_size": 32}


def digest(run: Run) -> dict[str, str]:
    """Return a hash of each thing that a run leaves behind."""
    policy = (Path(run) / "policy.safetensors").read_bytes()
    return {
        "curves": hashlib.sha256(run.curves.write_csv().encode()).hexdigest()[:16],
        "returns": hashlib.sha256(run.returns.tobytes()).hexdigest()[:16],
        "policy": hashlib.sha256(policy).hexdigest()[:16],
        "hash": run.description["hash"][:16],
    }


def jobs(names: list[str]) -> dict[str, Job]:
    """Make the jobs, each under a name of its own."""
    clean = assay.load("pendulum/medium", steps=2_000)
    noisy = RandomCorruption(element="rewards", rate=0.3, scale=1.0, seed=0)(clean)
    weighted = TrajectoryWeighting(score="return", temperature=0.1)(clean)
    found = {}
    for name, kind in algorithms().items():
        if names and name not in names:
            continue
        fields = dict(SMALL)
        found |= {
            f"{name}/clean": Job(kind(**fields), clean, seed=0),
            f"{name}/noisy": Job(kind(**fields), noisy, seed=1, variant="noisy"),
        }
        if "return_steps" in getattr(kind, "__dataclass_fields__", {}):
            found[f"{name}/n-step"] = Job(kind(**fields, return_steps=3), clean, seed=2, variant="n-step")
    if not names or "iql" in names:
        found["iql/weighted"] = Job(algorithms()["iql"](**SMALL), weighted, seed=3, variant="weighted")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path)
    parser.add_argument("--check", type=Path)
    parser.add_argument("--algorithms", nargs="*", default=[])
    arguments = parser.parse_args()
    before = json.loads(arguments.check.read_text()) if arguments.check else {}
    names = arguments.algorithms or sorted({key.partition("/")[0] for key in before})
    made = jobs(names)
    with tempfile.TemporaryDirectory() as folder:
        runs = train(
            list(made.values()),
            steps=STEPS,
            runs=folder,
            evaluation=Evaluation(episodes=2, every=30),
            population=4,
        )
        failed = [f"{name}: {run.error}" for name, run in zip(made, runs) if run.status != "finished"]
        found = {name: digest(run) for name, run in zip(made, runs) if run.status == "finished"}
    if arguments.write:
        arguments.write.write_text(json.dumps(found, indent=1) + "\n")
    for name, kinds in before.items():
        for kind, value in kinds.items():
            if found.get(name, {}).get(kind) != value:
                failed.append(f"{name}: {kind} differs")
    print(*failed, sep="\n")
    print(f"{len(found)} runs, {len(before)} compared, {len(failed)} differences")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
