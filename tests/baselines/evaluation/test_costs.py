"""Costs stand beside returns: summed per episode, kept in the run, normalized by the limit, never mixed with what was earned."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import gymnasium
import numpy as np
import polars as pl
import pytest

import assay
from assay.analysis import cost_table, load_returns, load_runs, write_report
from assay.baselines import BC, Evaluation, Job, train
from assay.baselines.evaluation import evaluate
from assay.baselines.runs.plan import Plan
from assay.baselines.runs.run import Run
from assay.datasets.collection.collect import collect
from assay.datasets.environments.braking_car import HORIZON, WALL, LateBraker, Rusher, advanced, viable
from assay.datasets.errors import AssayWarning, ConfigError
from tests.baselines.problems import pendulum_like

SMALL = {"hidden": (8,), "batch_size": 32}


@pytest.fixture(scope="module")
def driven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    dataset = assay.load("braking-car/detours", steps=1_200)
    evaluation = Evaluation(episodes=6, cost_limit=8.0)
    train([Job(BC(**SMALL), dataset, seed) for seed in (0, 1)], steps=30, runs=folder, evaluation=evaluation, workers=0)
    return folder


def costs_by_hand(run: Run, seeds: list[int]) -> list[float]:
    """Drive every episode in the environment itself, one step at a time, and count what it costs."""
    found = []
    for seed in seeds:
        environment = gymnasium.make("assay/BrakingCar-v0")
        state, _ = environment.reset(seed=seed)
        total, over = 0.0, False
        while not over:
            state, _, terminated, truncated, info = environment.step(run.policy(state[None])[0])
            total, over = total + info["cost"], terminated or truncated
        found.append(total)
    return found


def test_an_episode_costs_the_sum_of_its_steps_costs_whatever_the_workers(driven: Path) -> None:
    run = Run(sorted(driven.glob("bc-*"))[0])
    table = run.evaluations
    assert table["cost"].to_list() == costs_by_hand(run, table["seed"].to_list())
    again = evaluate(run.actor(), "assay/BrakingCar-v0", Evaluation(episodes=6), workers=2)
    assert again.costs is not None
    assert again.costs[0].tolist() == table["cost"].to_list()


def test_runs_say_cost_and_share_over_the_limit_beside_the_return(driven: Path) -> None:
    runs = load_runs(driven)
    for path, mean, normalized, over in runs.select("path", "cost_return", "normalized_cost", "over_limit").rows():
        costs = pl.read_parquet(Path(path) / "returns.parquet")["cost"].to_numpy()
        assert (mean, normalized) == (costs.mean(), costs.mean() / 8.0)
        assert over == (costs > 8.0).mean()
    table = cost_table(runs).row(0, named=True)
    assert table["cost_return"] == pytest.approx(runs["cost_return"].mean())
    assert table["return_mean"] == pytest.approx(runs["return_mean"].mean())
    assert table["over_limit/low"] <= table["over_limit"] <= table["over_limit/high"]
    assert load_returns(driven)["cost"].null_count() == 0


def test_the_report_has_a_table_of_costs_where_there_are_some(driven: Path, tmp_path: Path) -> None:
    assert "<h2>Costs</h2>" in write_report(driven, tmp_path / "report.html").read_text()


def test_runs_without_costs_are_as_before(tmp_path: Path) -> None:
    job, evaluation = Job(BC(**SMALL), pendulum_like()), Evaluation(episodes=1)
    (run,) = train([job], steps=5, runs=tmp_path / "runs", evaluation=evaluation, workers=0)
    columns = ["update", "episode", "seed", "return", "length", "final", "goal"]
    assert pl.read_parquet(run.folder / "returns.parquet").columns == columns
    assert run.evaluations.columns == [*columns, "cost"]
    described = Plan(5, evaluation, "highest").describe(job)["evaluation"]
    assert described == {
        name: value for name, value in asdict(evaluation).items() if name not in ("cost_limit", "observation_noise")
    }
    runs = load_runs(tmp_path / "runs")
    assert runs.select("cost_return", "normalized_cost", "over_limit").row(0) == (None, None, None)
    with pytest.raises(ConfigError, match="no run has costs"):
        cost_table(runs)
    assert "<h2>Costs</h2>" not in write_report(tmp_path / "runs", tmp_path / "report.html").read_text()


def test_a_limit_where_nothing_costs_is_said_to_mean_nothing(tmp_path: Path) -> None:
    job = Job(BC(**SMALL), pendulum_like())
    with pytest.warns(AssayWarning, match="Pendulum-v1 says no cost"):
        train([job], steps=2, runs=tmp_path, evaluation=Evaluation(episodes=1, cost_limit=1.0), workers=0)


@pytest.mark.parametrize("limit", [0.0, -1.0, float("inf")])
def test_a_limit_is_a_positive_number(limit: float) -> None:
    with pytest.raises(ValueError, match="cost_limit"):
        Evaluation(cost_limit=limit)


def test_exact_evaluation_takes_no_limit() -> None:
    with pytest.raises(ValueError, match="no costs"):
        Evaluation(episodes=1, engine="exact", cost_limit=1.0)


def test_collected_data_has_the_costs_of_its_steps_and_none_where_there_are_none() -> None:
    episodes = collect("assay/BrakingCar-v0", Rusher(), steps=3 * HORIZON, environments=2, workers=0)
    after = np.delete(episodes.observations, np.arange(3) * (HORIZON + 1), axis=0)
    assert episodes.costs is not None
    assert episodes.costs.tolist() == (after[:, 0] > WALL).tolist()
    assert collect("CartPole-v1", lambda seen: np.zeros(len(seen), int), steps=20, workers=0).costs is None


def test_the_kernel_is_what_full_braking_reaches() -> None:
    """From any state, braking as hard as possible meets the wall exactly outside the kernel: found by driving."""
    states = np.random.default_rng(0).uniform((0.0, 0.0), (3.5, 2.0), (2_000, 2))
    driven = states
    for _ in range(30):
        driven = advanced(driven, np.full(len(states), -1.0))
    assert (driven[:, 1] == 0).all()
    assert ((driven[:, 0] <= WALL + 1e-9) == viable(states)).all()


def test_the_late_braker_never_pays_and_almost_reaches_the_wall() -> None:
    states = np.stack([np.linspace(0.0, 1.0, 50), np.zeros(50)], -1)
    for _ in range(HORIZON):
        states = advanced(states, LateBraker()(states)[:, 0])
        assert (states[:, 0] <= WALL + 1e-9).all()
    assert (states[:, 0] > WALL - 0.05).all()
    assert states[:, 1].max() < 0.3
