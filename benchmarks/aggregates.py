"""Are the statistics rliable's and statsmodels's, and how much faster is the bootstrap?

rliable does not import beside pandas 3, so it runs in an environment of its own, made once and thrown away::

    python -m venv peer && peer/bin/pip install rliable "pandas<3" statsmodels
    python benchmarks/aggregates.py --peer peer/bin/python

Both sides get the same scores (10 runs x 26 tasks, as in Atari 100k) and the same number of replicates. For each statistic
it prints the difference of the estimates, the larger difference of the two ends of the intervals in widths of the interval
(both are random: with 2,000 replicates an end moves by about 2 % of the width), and how many times faster Assay is, by the CPU
time of each process. For the mixed regression it prints the relative difference of coefficients, standard errors and variances.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

RUNS, TASKS, UPDATES = 10, 26, 10
THRESHOLDS = np.linspace(0.0, 1.5, 51)


def make_problem(file: Path) -> None:
    """Write scores of two algorithms, a learning curve, and data of a mixed regression."""
    generator = np.random.default_rng(0)
    level = generator.uniform(0.1, 1.2, TASKS)
    groups = np.repeat(np.arange(12), generator.integers(2, 9, 12))
    design = np.column_stack(
        [np.ones(len(groups)), generator.normal(size=12)[groups], generator.normal(size=len(groups))]
    )
    response = design @ [3.0, 1.0, -0.5] + generator.normal(size=12)[groups] + generator.normal(size=len(groups))
    np.savez(
        file,
        x=generator.normal(level, 0.3, (RUNS, TASKS)),
        y=generator.normal(level - 0.05, 0.3, (RUNS, TASKS)),
        curve=generator.normal(level[:, None] * np.linspace(0.2, 1.0, UPDATES), 0.2, (RUNS, TASKS, UPDATES)),
        groups=groups,
        design=design,
        response=response,
    )


def timed(name: str, work: Callable[[], tuple[Any, Any]], found: dict[str, Any]) -> None:
    """Note the estimate, the interval and the CPU seconds of a statistic: the least of three, or one of over five."""
    seconds = float("inf")
    for _ in range(3):
        started = time.process_time()
        estimate, interval = work()
        seconds = min(seconds, time.process_time() - started)
        if seconds > 5:
            break
    found[name] = {
        "estimate": np.ravel(estimate).tolist(),
        "interval": np.reshape(interval, (2, -1)).tolist(),
        "seconds": seconds,
    }


def with_rliable(problem: Any, reps: int) -> dict[str, Any]:
    """Compute everything by rliable's own functions."""
    import statsmodels.api
    from rliable import library, metrics

    x, y, curve = problem["x"], problem["y"], problem["curve"]
    functions = {
        "mean": metrics.aggregate_mean,
        "median": metrics.aggregate_median,
        "iqm": metrics.aggregate_iqm,
        "optimality gap": metrics.aggregate_optimality_gap,
    }
    found: dict[str, Any] = {}

    def interval(scores: Any, function: Callable[..., Any]) -> tuple[Any, Any]:
        estimates, intervals = library.get_interval_estimates({"a": scores}, function, reps=reps)
        return estimates["a"], intervals["a"]

    for name, function in functions.items():
        timed(name, lambda function=function: interval(x, lambda scores: np.array([function(scores)])), found)
    improvement = metrics.probability_of_improvement
    timed("probability of improvement", lambda: interval((x, y), lambda *both: np.array([improvement(*both)])), found)

    def profile() -> tuple[Any, Any]:
        profiles, intervals = library.create_performance_profile({"a": x}, THRESHOLDS, reps=reps)
        return profiles["a"], intervals["a"]

    library.create_performance_profile({"a": x}, THRESHOLDS, reps=2)  # what is compiled, is compiled before the timing
    timed("performance profile", profile, found)

    def by_update(scores: np.ndarray) -> np.ndarray:
        return np.array([metrics.aggregate_iqm(scores[..., update]) for update in range(scores.shape[-1])])

    timed("sample efficiency", lambda: interval(curve, by_update), found)
    model = statsmodels.api.MixedLM(problem["response"], problem["design"], problem["groups"]).fit(reml=True)
    found["mixed regression"] = [
        *model.fe_params,
        *model.bse_fe,
        float(np.asarray(model.cov_re).ravel()[0]),
        model.scale,
    ]
    return found


def with_assay(problem: Any, reps: int) -> dict[str, Any]:
    """Compute the same by Assay."""
    from assay.analysis import (
        aggregate_iqm,
        aggregate_mean,
        aggregate_median,
        aggregate_optimality_gap,
        create_performance_profile,
        get_interval_estimates,
        probability_of_improvement,
    )
    from assay.analysis.associations import mixed_model
    from assay.analysis.comparisons import iqm_by_update

    x, y, curve = problem["x"], problem["y"], problem["curve"]
    functions: dict[str, Callable[..., Any]] = {
        "mean": aggregate_mean,
        "median": aggregate_median,
        "iqm": aggregate_iqm,
        "optimality gap": aggregate_optimality_gap,
    }
    found: dict[str, Any] = {}

    def interval(scores: Any, function: Callable[..., Any]) -> tuple[Any, Any]:
        estimates, intervals = get_interval_estimates({"a": scores}, function, reps=reps)
        return estimates["a"], intervals["a"]

    for name, function in functions.items():
        timed(name, lambda function=function: interval(x, function), found)  # type: ignore[misc]
    timed("probability of improvement", lambda: interval((x, y), probability_of_improvement), found)

    def profile() -> tuple[Any, Any]:
        profiles, intervals = create_performance_profile({"a": x}, THRESHOLDS, reps=reps)
        return profiles["a"], intervals["a"]

    timed("performance profile", profile, found)

    def efficiency() -> tuple[Any, Any]:
        values, ends = iqm_by_update(np.moveaxis(curve, -1, 0), reps=reps)
        return values, ends

    timed("sample efficiency", efficiency, found)
    model = mixed_model(problem["response"], problem["design"], problem["groups"])
    errors = np.sqrt(np.diag(model.covariance))
    found["mixed regression"] = [*model.coefficients, *errors, model.between, model.within]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", help="Python of an environment with rliable, pandas<3 and statsmodels")
    parser.add_argument("--reps", type=int, default=2000, help="bootstrap replicates")
    parser.add_argument("--problem", type=Path, help=argparse.SUPPRESS)  # given to the peer
    arguments = parser.parse_args()
    if arguments.problem is not None:
        with np.load(arguments.problem) as problem:
            print(json.dumps(with_rliable(problem, arguments.reps), default=float))
        return
    if arguments.peer is None:
        parser.error("--peer is needed; the head of this file says how to make one")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "problem.npz"
        make_problem(file)
        command = [arguments.peer, __file__, "--problem", str(file), "--reps", str(arguments.reps)]
        peer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        with np.load(file) as problem:
            ours = with_assay(problem, arguments.reps)
    print(
        f"{'statistic':28} {'estimates differ':>17} {'ends, in widths':>16} {'rliable':>9} {'assay':>9} {'faster':>7}"
    )
    for name, mine in ours.items():
        if name == "mixed regression":
            continue
        theirs = peer[name]
        apart = np.abs(np.subtract(mine["estimate"], theirs["estimate"])).max()
        width = np.diff(np.array(theirs["interval"]), axis=0)
        ends = np.abs(np.subtract(mine["interval"], theirs["interval"]))[:, width[0] > 0] / width[:, width[0] > 0]
        times = f"{theirs['seconds']:7.3f} s {mine['seconds']:7.4f} s {theirs['seconds'] / mine['seconds']:6.0f}x"
        print(f"{name:28} {apart:17.1e} {ends.max():16.3f} {times}")
    mixed = np.abs(np.divide(ours["mixed regression"], peer["mixed regression"]) - 1).max()
    print(f"mixed regression, relative difference from statsmodels: {mixed:.1e}")


if __name__ == "__main__":
    main()
