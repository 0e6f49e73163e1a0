"""Without an environment, reports show estimates from data and whether their order is stable, instead of blank tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import assay
from assay.analysis import load_runs, load_values, save_values, write_report
from assay.cli import main

Make = Callable[..., Path]
SUITE = """
name: tiny
source: data
variants: {clean: [], noisy: [corruption.random: {element: rewards, rate: 0.3}]}
algorithms: {bc: {hidden: [4]}, td3_bc: {hidden: [4]}}
seeds: [0, 1]
budgets: {small: {steps: 2, episodes: 2}}
"""


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def without_evaluation(run: Path) -> None:
    described = json.loads((run / "run.json").read_text())
    described["job"]["evaluation"] = None
    (run / "run.json").write_text(json.dumps(described))


@pytest.fixture
def blind(folder: Path, run: Make) -> Path:
    """Two algorithms, three seeds, no evaluation."""
    for algorithm in ("bc", "iql"):
        for seed in range(3):
            without_evaluation(run(folder, algorithm, seed=seed, returns=()))
    return folder


def values_of(folder: Path, estimates: dict[str, tuple[float, ...]]) -> pl.DataFrame:
    runs = load_runs(folder)
    estimate = [estimates[row["algorithm"]][row["seed"]] for row in runs.iter_rows(named=True)]
    return runs.select("run", "label", "variant", "seed").with_columns(
        pl.Series("estimate", estimate),
        method=pl.lit("fitted_q"),
        low=pl.lit(None, pl.Float64),
        high=pl.lit(None, pl.Float64),
    )


def test_a_report_without_estimates_says_how_to_make_them(blind: Path) -> None:
    text = text_of(write_report(blind, blind.parent / "report.html"))
    assert "trained without an environment" in text
    assert f"assay evaluate {blind} --dataset hopper/medium-replay" in text
    assert "no score" not in text
    assert "best score along the way" not in text


def test_a_report_with_estimates_shows_their_means_intervals_and_stability(blind: Path) -> None:
    values = values_of(blind, {"bc": (1.0, 2.0, 3.0), "iql": (4.0, 5.0, 0.0)})
    save_values(blind, values, dataset="hopper/medium-replay", fingerprint="a" * 32, discount=0.99, updates=100)
    text = text_of(write_report(blind, blind.parent / "report.html"))
    assert "Fitted Q evaluation, from hopper/medium-replay, discount 0.99" in text
    assert "2.000 <small>[1.000, 3.000]</small>" in text
    assert "3.000 <small>[0.000, 5.000]</small>" in text
    assert (
        "<td>67%</td><td>-0.33</td>" in text
    )  # IQL is first in two of three seeds; of the three pairs of seeds one agrees
    assert "assay evaluate" not in text


@pytest.mark.slow
def test_a_suite_runs_without_an_environment_is_estimated_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assay.save(assay.load("pendulum/random", steps=400), "data")
    Path("suite.yaml").write_text(SUITE)
    main(["run", "suite.yaml", "--runs", "runs", "--episodes", "0"])
    assert "assay evaluate runs --dataset" in capsys.readouterr().out.replace("\n", " ")
    assert load_runs("runs")["return_mean"].null_count() == 8
    main(["evaluate", "runs", "--dataset", "data", "--steps", "5", "--discount", "0.9"])
    printed = capsys.readouterr().out
    assert "Rankings over seeds" in printed
    values = load_values("runs")
    assert values.filter(method="fitted_q").height == 8
    assert values.filter(method="own_critic").height == 4  # BC has no critic
    assert values["fingerprint"].unique().to_list() == [assay.load("data").fingerprint]
    main(["report", "runs", "-o", "report.html"])
    assert "own critic" in text_of(Path("report.html"))
    with pytest.raises(SystemExit):
        main(["evaluate", "runs", "--dataset", "data", "--steps", "5", "--discount", "0.5"])
    assert "another discount (0.9, now 0.5)" in capsys.readouterr().err
    main(["evaluate", "runs", "--dataset", "data", "--steps", "5", "--discount", "0.5", "--no-save"])
    assert load_values("runs").equals(values)


def test_episodes_of_a_suite_are_those_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assay.save(assay.load("pendulum/random", steps=400), "data")
    Path("suite.yaml").write_text(SUITE.replace("budgets", "evaluation: null\nbudgets"))
    main(["run", "suite.yaml", "--runs", "runs", "--episodes", "1", "--workers", "0"])
    assert load_runs("runs")["episodes"].to_list() == [1] * 8
    with pytest.raises(SystemExit):
        main(["run", "suite.yaml", "--runs", "runs", "--episodes", "-1"])
    assert "it has to be 0 or more" in capsys.readouterr().err
