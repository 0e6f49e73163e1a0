"""Evaluation over goals: which episode has which, and that runs keep it, also those from before there were any."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import assay
from assay.analysis import goal_table, load_returns
from assay.baselines import GCBC, Evaluation, Job, train
from assay.baselines.runs.reader import read_table
from assay.baselines.runs.schema import RETURNS
from assay.datasets.errors import ConfigError
from tests.baselines.problems import pendulum_like

pytest.importorskip("gymnasium_robotics")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    maze = assay.load("pointmaze-umaze-multigoal/expert", steps=600)
    jobs = [Job(GCBC(hidden=(16,), batch_size=32), maze, seed) for seed in (0, 1)]
    folder = tmp_path_factory.mktemp("runs")
    return train(jobs, steps=20, runs=folder, evaluation=Evaluation(episodes=7), workers=0, progress=None)


def test_the_goals_take_turns_and_every_episode_is_kept_with_its_own(runs):
    for run in runs:
        assert run.evaluations["goal"].to_list() == [0, 1, 2, 3, 4, 0, 1]
        assert set(run.evaluations["return"]) <= {0.0, 1.0}


def test_success_is_told_by_goal_and_as_the_mean_of_the_goals(runs):
    episodes = load_returns([run.folder for run in runs])
    table = goal_table(episodes)
    assert table["goal"].to_list() == [0, 1, 2, 3, 4, None]
    assert table["episodes"].to_list() == [2, 2, 1, 1, 1, 7]
    for row in table.drop_nulls("goal").iter_rows(named=True):
        of_goal = episodes.filter(pl.col("goal") == row["goal"])
        assert row["success"] == pytest.approx(of_goal["return"].mean())
    whole = table.filter(pl.col("goal").is_null())["success"].item()
    assert whole == pytest.approx(table.drop_nulls("goal")["success"].mean())  # each goal counts alike


@pytest.mark.slow
def test_a_report_shows_success_by_goal(runs):
    from assay.analysis import write_report

    page = write_report(runs[0].folder.parent).read_text()
    assert "Success by evaluation goal" in page
    goals = page.rsplit("Success by evaluation goal", 1)[1].split("</table>")[0]
    assert goals.count("<tr") == 1 + 6  # five goals and their mean


def test_episodes_without_goals_have_none_and_make_no_table(tmp_path):
    (run,) = train(
        [Job(assay.baselines.BC(hidden=(4,)), pendulum_like())], steps=2, runs=tmp_path, workers=0, progress=None
    )
    assert run.evaluations["goal"].null_count() == 10
    with pytest.raises(ConfigError, match="no final episode has an evaluation goal"):
        goal_table(load_returns(tmp_path))


def test_tables_from_before_there_were_goals_are_read_as_without(runs, tmp_path):
    file = tmp_path / "returns.parquet"
    runs[0].evaluations.drop("goal").write_parquet(file)
    found = read_table(file, RETURNS)
    assert found["goal"].null_count() == found.height == 7
    assert np.array_equal(found["return"], runs[0].evaluations["return"])
