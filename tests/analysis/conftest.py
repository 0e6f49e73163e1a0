"""Run folders made by hand, to the letter of the runner's contract."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

REFERENCES = {"random": -20.0, "expert": 3180.0, "source": "D4RL hopper references (random -20, expert 3180)"}
LABELS = {"bc": "BC", "td3_bc": "TD3+BC", "iql": "IQL"}


def write_suite(folder: Path, **fields: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    suite = {
        "schema": "assay-suite",
        "schema_version": 1,
        "name": "quickstart",
        "title": "Which corruption hurts?",
        "question": "Which kind of random corruption hurts which algorithm?",
        "budget": "small",
        "variants": ["clean", "random-rewards"],
        "algorithms": ["bc", "td3_bc"],
        "seeds": [0, 1, 2],
        "source": "hopper/medium-replay",
    }
    (folder / "suite.json").write_text(json.dumps({**suite, **fields}))


def write_quality(folder: Path, rows: Sequence[tuple[str, str, float]]) -> None:
    frame = pl.DataFrame(rows, schema={"variant": pl.String, "metric": pl.String, "value": pl.Float64}, orient="row")
    frame.with_columns(
        low=pl.lit(None, dtype=pl.Float64),
        high=pl.lit(None, dtype=pl.Float64),
        unit=pl.lit(""),
        source=pl.lit("counted"),
    ).write_parquet(folder / "quality.parquet")


def write_run(
    folder: Path,
    algorithm: str = "bc",
    variant: str = "clean",
    seed: int = 0,
    returns: Sequence[float] = (1580.0, 1580.0),
    *,
    status: str = "finished",
    steps: int = 3000,
    earlier: dict[int, Sequence[float]] | None = None,
    references: dict[str, Any] | None = REFERENCES,
    parameters: dict[str, Any] | None = None,
    behaviour: float | None = 940.0,
    history: Sequence[dict[str, Any]] | None = None,
    fingerprint: str | None = None,
    error: str | None = None,
    losses: Sequence[float] = (2.0, 1.0, 0.5),
    label: str | None = None,
    suffix: str = "0123abcd",
) -> Path:
    """Write one run folder; `returns` are those of the final evaluation, `earlier` maps an update to its returns."""
    run = folder / f"{algorithm}-{variant}-seed{seed}-{suffix}"
    run.mkdir(parents=True)
    if history is None:
        history = [{"transform": "source", "parameters": {}, "seed": None, "parent": None, "version": "0.1.0"}]
        if variant != "clean":
            parameters_ = {"element": variant.rpartition("-")[2], "rate": 0.3, "scale": 1.0, "seed": 0}
            history.append({"transform": "corruption.random", "parameters": parameters_, "seed": 0})
    plain = {
        "schema": "assay-run",
        "schema_version": 1,
        "status": status,
        "hash": suffix * 4,
        "job": {
            "algorithm": algorithm,
            "label": label or LABELS.get(algorithm, algorithm),
            "parameters": parameters or {"batch_size": 256},
            "variant": variant,
            "seed": seed,
            "steps": steps,
            "evaluation": {"episodes": len(returns)},
        },
        "dataset": {
            "id": "hopper/medium-replay",
            "fingerprint": fingerprint or f"f1{abs(sum(map(ord, variant))):030x}",
            "history": list(history),
            "total_steps": 100000,
            "total_episodes": 400,
            "return_mean": behaviour,
            "environment_id": "Hopper-v5",
        },
        "references": references,
        "versions": {"assay": "0.1.0", "torch": "2.9.0", "python": "3.13.1"},
        "hardware": {"device": "cpu", "processor": "AMD EPYC 7B13", "cores": 2},
        "precision": "highest",
        "seconds": 12.5,
        "started": "2025-11-21T07:00:00+00:00",
        "error": error,
    }
    (run / "run.json").write_text(json.dumps(plain))
    evaluations = {**(earlier or {}), **({steps: returns} if len(returns) else {})}
    rows = [
        {"update": update, "episode": i, "seed": 100 + i, "return": value, "length": 500, "final": update == steps}
        for update, values in evaluations.items()
        for i, value in enumerate(values)
    ]
    schema = {"update": pl.Int64, "episode": pl.Int64, "seed": pl.Int64, "return": pl.Float64}
    pl.DataFrame(rows, schema={**schema, "length": pl.Int64, "final": pl.Boolean}).write_parquet(
        run / "returns.parquet"
    )
    points = [
        {"update": steps * (i + 1) // len(losses), "metric": "actor_loss", "value": value}
        for i, value in enumerate(losses)
    ]
    curves = {"update": pl.Int64, "metric": pl.String, "value": pl.Float64}
    pl.DataFrame(points, schema=curves).write_parquet(run / "curves.parquet")
    return run


def write_example(folder: Path) -> Path:
    """Two algorithms, two variants, three seeds; hand-checkable scores, 1 point of score being a return of 32."""
    write_suite(folder)
    scores = {
        ("bc", "clean"): (40.0, 42.0, 44.0),
        ("bc", "random-rewards"): (39.0, 42.0, 45.0),
        ("td3_bc", "clean"): (60.0, 62.0, 64.0),
        ("td3_bc", "random-rewards"): (20.0, 21.0, 25.0),
    }
    for (algorithm, variant), values in scores.items():
        for seed, score in enumerate(values):
            middle = 32.0 * score - 20.0
            write_run(folder, algorithm, variant, seed, (middle - 10.0, middle + 10.0))
    write_quality(
        folder,
        [
            (variant, metric, value)
            for variant, factor in (("clean", 1.0), ("random-rewards", 0.9))
            for metric, value in (("return_mean", 940.0 * factor), ("tq", 0.3 * factor), ("saco", 1.0), ("steps", 1e5))
        ],
    )
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "quickstart-small"


@pytest.fixture
def example(folder: Path) -> Path:
    return write_example(folder)


@pytest.fixture(scope="session")
def shared_example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example for tests that only read it; its report stands beside it as report.html."""
    from assay.analysis import write_report

    folder = write_example(tmp_path_factory.mktemp("shared") / "quickstart-small")
    write_report(folder, folder.parent / "report.html")
    return folder


@pytest.fixture
def run() -> Callable[..., Path]:
    return write_run


@pytest.fixture
def suite() -> Callable[..., None]:
    return write_suite


@pytest.fixture
def quality() -> Callable[..., None]:
    return write_quality
