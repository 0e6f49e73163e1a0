"""Values of episodes: the estimates are what their definitions say, and they are given only where they predict held-out subsets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import assay
from assay.analysis.figures import plot_value_curve
from assay.analysis.values import (
    ValuePlan,
    banzhaf_values,
    draw_subsets,
    fit_datamodel,
    leave_one_out,
    noise_ceiling,
    plan_values,
    subsets_needed,
    validate,
)
from assay.analysis.values.curve import kept_groups
from assay.analysis.values.estimates import held_out_predictions
from assay.analysis.values.training import Training
from assay.baselines import BC, Evaluation
from assay.baselines.runs.reader import StoredRun
from assay.cli import main
from assay.datasets import Dataset
from assay.datasets.errors import AssayError, ConfigError, UnknownNameError
from tests.analysis.conftest import write_run

SETTINGS = {
    "algorithm": BC(hidden=(16,), learning_rate=3e-3),
    "steps": 150,
    "evaluation": Evaluation(episodes=2),
    "workers": 0,
    "progress": None,
}


def test_banzhaf_values_are_differences_of_means_with_their_errors():
    generator = np.random.default_rng(0)
    members, scores = draw_subsets(6, 100), generator.normal(size=100)
    values, errors = banzhaf_values(scores, members)
    for group in range(6):
        inside, outside = scores[members[:, group]], scores[~members[:, group]]
        assert values[group] == pytest.approx(inside.mean() - outside.mean())
        assert errors[group] == pytest.approx(
            np.sqrt(inside.var(ddof=1) / len(inside) + outside.var(ddof=1) / len(outside))
        )
    never = members.copy()
    never[:, 0] = False
    assert np.isnan(banzhaf_values(scores, never)[0][0])


def test_intervals_of_values_cover_planted_ones():
    generator, planted = np.random.default_rng(1), np.array([5.0, -3.0, 0.0, 1.0])
    missed = []
    for trial in range(300):
        members = draw_subsets(4, 80, trial)
        values, errors = banzhaf_values(members @ planted + generator.normal(0, 4, 80), members)
        missed += (np.abs(values - planted) > 1.96 * errors).tolist()
    assert 0.03 < np.mean(missed) < 0.08


def test_the_datamodel_is_the_ridge_regression_with_the_least_leave_one_out_error():
    generator = np.random.default_rng(2)
    members = draw_subsets(30, 40)
    scores = members @ generator.normal(size=30) + generator.normal(0, 3, 40)
    intercept, weights = fit_datamodel(scores, members)
    centered, target = members - members.mean(0), scores - scores.mean()
    largest = np.linalg.eigvalsh(centered.T @ centered).max()

    def ridge(penalty, rows):
        design = members[rows] - members[rows].mean(0)
        return np.linalg.solve(
            design.T @ design + penalty * np.eye(30), design.T @ (scores[rows] - scores[rows].mean())
        )

    fits = [
        np.linalg.solve(centered.T @ centered + p * np.eye(30), centered.T @ target)
        for p in np.logspace(-4, 2, 25) * largest
    ]
    (at,) = [number for number, fit in enumerate(fits) if np.allclose(fit, weights)]
    assert intercept == pytest.approx(scores.mean() - members.mean(0) @ weights)

    def left_out(penalty):
        errors = []
        for row in range(40):
            rest = np.arange(40) != row
            fit = ridge(penalty, rest)
            errors.append(scores[row] - scores[rest].mean() - (members[row] - members[rest].mean(0)) @ fit)
        return np.mean(np.square(errors))

    by_hand = [left_out(p) for p in np.logspace(-4, 2, 25)[[max(0, at - 8), at, min(24, at + 8)]] * largest]
    assert by_hand[1] == min(by_hand)


def test_values_of_noise_are_not_validated_and_planted_ones_are():
    generator = np.random.default_rng(3)
    members = draw_subsets(20, 120)
    simple = {"random": generator.normal(size=120), "size": members.sum(1).astype(float)}
    passed = []
    for _ in range(40):
        scores = generator.normal(size=120)
        passed.append(validate(scores, held_out_predictions(scores, members), simple).passed)
    assert np.mean(passed) <= 0.1
    scores = members @ generator.normal(0, 1, 20) + generator.normal(0, 1, 120)
    found = validate(scores, held_out_predictions(scores, members), simple)
    assert found.passed
    assert found.interval[0] < found.correlation < found.interval[1]


def test_the_ceiling_is_the_correlation_of_means_with_the_truth():
    generator = np.random.default_rng(4)
    truth = generator.normal(size=4000)
    scores = truth[:, None] + generator.normal(0, 1.5, (4000, 2))
    assert noise_ceiling(scores) == pytest.approx(np.corrcoef(truth, scores.mean(1))[0, 1], abs=0.03)
    assert noise_ceiling(generator.normal(size=(4000, 2))) < 0.25
    assert np.isnan(noise_ceiling(scores[:, :1]))


@pytest.fixture(scope="module")
def spoiled():
    """Twenty episodes, seven of them with actions of the wrong sign; their recorded returns do not tell."""
    good = assay.load("pendulum/medium", steps=4_000)
    bad = np.random.default_rng(5).permutation(good.total_episodes)[:7]
    wrong = np.isin(np.repeat(np.arange(good.total_episodes), good.episode_lengths), bad)
    return good.replace({"actions": np.where(wrong[:, None], -good.actions, good.actions)}), sorted(bad.tolist())


@pytest.fixture(scope="module")
def valued(spoiled, tmp_path_factory):
    return assay.value(spoiled[0], **SETTINGS, subsets=96, seeds=1, seed=3, runs=tmp_path_factory.mktemp("valued"))


def test_planted_bad_episodes_are_found_and_subsets_are_ranked(spoiled, valued):
    _, bad = spoiled
    found = valued
    assert found.validation.passed
    assert found.validation.correlation >= 0.6
    assert abs(found.validation.simple["random"]) < 0.3  # three standard errors of 96 subsets
    values = found.table["value"].to_numpy()
    assert values[bad].mean() < np.delete(values, bad).mean()
    kept = found.episodes_to_keep(0.65)
    assert len(set(kept) & set(bad)) <= 1
    assert "Held-out subsets are ranked" in str(found)
    assert "<p>" in found._repr_html_()
    plain = json.loads(json.dumps(found.to_plain(), allow_nan=False))
    assert plain["passed"]
    assert [row["value"] for row in plain["values"]] == values.tolist()


def test_the_command_says_the_same_and_exits_by_the_validation(spoiled, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assay.save(spoiled[0], "spoiled")
    line = ["value", "spoiled", "--set", "hidden=[16]", "--set", "learning_rate=0.003", "--workers", "0"]
    with pytest.raises(SystemExit) as end:
        main([*line, "--steps", "2", "--subsets", "24", "--seeds", "1", "--episodes", "1", "--json", "v.json"])
    assert end.value.code == 1
    assert "no values are given" in capsys.readouterr().out
    assert json.loads(Path("v.json").read_text())["values"][0]["value"] is None
    main([*line, "--steps", "150", "--subsets", "48", "--seeds", "1", "--episodes", "1"])
    assert "Held-out subsets are ranked" in capsys.readouterr().out


def test_groups_are_those_of_a_column_or_of_labels_and_without_an_effect_there_are_no_values(spoiled, tmp_path):
    dataset, _ = spoiled
    labels = [episode % 4 for episode in range(dataset.total_episodes)]
    settings = {**SETTINGS, "steps": 2, "evaluation": Evaluation(episodes=1)}
    found = assay.value(dataset, **settings, by=labels, subsets=24, runs=tmp_path)
    assert found.table["group"].to_list() == ["0", "1", "2", "3"]
    assert found.groups[1] == tuple(range(1, dataset.total_episodes, 4))
    assert not found.validation.passed
    assert found.table["value"].null_count() == 4
    assert "no values are given" in str(found)
    with pytest.raises(ConfigError, match="there are no values"):
        found.episodes_to_keep(0.5)
    with pytest.raises(ConfigError, match="no values to choose by"):
        found.curve()


def test_what_cannot_be_valued_is_refused_before_anything_is_trained(spoiled, tmp_path):
    dataset, _ = spoiled
    for change, error in (
        ({"subsets": 10}, ConfigError),
        ({"seeds": 0}, ConfigError),
        ({"by": "operator"}, UnknownNameError),
        ({"by": [1, 2]}, ConfigError),
        ({"by": [0] * dataset.total_episodes}, ConfigError),
        ({"seed": -1}, ConfigError),
    ):
        with pytest.raises(error):
            assay.value(dataset, **{**SETTINGS, **change}, runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_training_that_failed_is_told_of_values_and_data_without_an_environment_of_the_command(
    spoiled, tmp_path, monkeypatch
):
    run = StoredRun(write_run(tmp_path, status="failed", returns=(), error="MemoryError: 3 GiB"))
    training = Training.of(spoiled[0], BC(hidden=(4,)), 2, Evaluation(episodes=1), tmp_path, None)
    monkeypatch.setattr("assay.baselines.train", lambda jobs, **further: [run])
    with pytest.raises(AssayError) as error:
        training.scores([([0], 0, "subset-0")], None)
    assert "MemoryError: 3 GiB. Without it a valuation would select by what fails" in str(error.value)
    assert "trial" not in str(error.value)
    names = ("observations", "actions", "rewards", "terminations", "truncations")
    nowhere = Dataset.from_arrays(**{name: spoiled[0].column(name) for name in names})
    with pytest.raises(ConfigError, match="`assay value`: --environment"):
        Training.of(nowhere, BC(), 2, "final", tmp_path, None)


# ---------------------------------------------------------------- the plan


def test_the_planned_error_is_that_of_the_values():
    generator, deviation = np.random.default_rng(6), 4.0
    errors = []
    for trial in range(40):
        members = draw_subsets(10, 100, trial)
        errors.append(banzhaf_values(generator.normal(0, deviation, 100), members)[1])
    plan = ValuePlan(groups=10, subsets=100, deviation=deviation)
    assert np.mean(errors) == pytest.approx(plan.standard_error, rel=0.05)


def test_the_planned_subsets_tell_the_value_as_often_as_stated():
    generator, deviation, value = np.random.default_rng(7), 5.0, 3.0
    subsets = subsets_needed(value, deviation)
    assert ValuePlan(2, subsets, deviation=deviation).smallest_value <= value
    assert ValuePlan(2, subsets - 1, deviation=deviation).smallest_value > value
    told = []
    for trial in range(1500):
        members = draw_subsets(2, subsets, trial)
        scores = value * members[:, 0] + generator.normal(0, np.sqrt(deviation**2 - value**2 / 4), subsets)
        values, errors = banzhaf_values(scores, members)
        told.append(values[0] > 1.96 * errors[0])
    assert np.mean(told) == pytest.approx(0.8, abs=0.04)


def test_the_plan_is_that_of_the_settings_and_trains_nothing(spoiled):
    dataset, _ = spoiled
    found = plan_values(dataset, subsets=64, seeds=3)
    assert (found.groups, found.trainings, found.standard_error) == (20, 192, 0.25)
    assert "192 trainings" in str(found)
    assert "standard deviations" in str(found)
    assert "in units of the score" in str(plan_values(dataset, subsets=64, by=[0, 1] * 10, deviation=2.0))
    for change in ({"subsets": 3}, {"seeds": 0}, {"deviation": 0.0}, {"by": "nobody"}):
        with pytest.raises((ConfigError, UnknownNameError)):
            plan_values(dataset, **change)
    with pytest.raises(ConfigError, match="value=0"):
        subsets_needed(0, 1.0)


# ---------------------------------------------------------------- the curve


@pytest.fixture(scope="module")
def curve(valued):
    return valued.curve(shares=(0.65, 0.4), seeds=8, progress=None)


def test_kept_by_value_is_better_than_kept_at_random(spoiled, curve):
    dataset, _ = spoiled
    table = curve.table
    assert set(table["ranking"]) == {"value", "random", "return", "all"}  # all episodes are of one length
    assert curve.comparisons["random"].verdict == "better"
    assert table.filter(ranking="all")["episodes"].to_list() == [dataset.total_episodes]
    assert set(table.filter(share=0.65)["groups"]) == {13}
    by_hand = [
        table.filter(ranking="value", share=share)["score"][0] - table.filter(ranking="random", share=share)["score"][0]
        for share in (0.65, 0.4)
    ]
    assert table.filter(ranking="random")["difference"].to_list() == pytest.approx(by_hand)
    assert curve.comparisons["random"].difference == pytest.approx(np.mean(by_hand))
    assert "Kept by value is better than kept at random" in str(curve)
    plain = json.loads(json.dumps(curve.to_plain(), allow_nan=False))
    assert plain["comparisons"][0]["verdict"] == "better"


def test_the_curve_is_trained_with_seeds_that_made_no_value(valued, curve):
    from assay.analysis import load_runs

    runs = load_runs(valued.training.runs)
    of_curve = runs.filter(~runs["variant"].str.starts_with("subset"))
    assert of_curve["seed"].unique().sort().to_list() == list(range(3 + 96, 3 + 96 + 8))
    assert not set(of_curve["seed"]) & set(valued.used_seeds)
    random = of_curve.filter(of_curve["variant"].str.starts_with("random 0.4"))
    assert random["fingerprint"].n_unique() == 8  # another choice for every seed
    assert of_curve.filter(variant="value 0.4")["fingerprint"].n_unique() == 1
    with pytest.raises(ConfigError, match="seed 98 made the values"):
        valued.curve(seeds=[98, 200])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": 0}, "seeds=0"),
        ({"seeds": [500, 500]}, "occurs twice"),
        ({"shares": (0.5, 1.2)}, "a share has to be above 0 and below 1, and 1.2 is not"),
        ({"shares": (float("nan"),)}, "above 0 and below 1, and nan is not"),
        ({"shares": (0.99,)}, "keeps all of 20"),
        ({"shares": (0.5, 0.49)}, "keep the same 10"),
        ({"shares": ()}, "holds none"),
        ({"alpha": 2}, "alpha=2"),
    ],
)
def test_impossible_curves_are_refused(valued, change, message):
    with pytest.raises(ConfigError, match=message):
        valued.curve(**change)


def test_the_kept_groups_are_those_of_the_largest_values(valued):
    kept = kept_groups((0.9, 0.65), 20)
    assert kept == {0.9: 18, 0.65: 13}
    best = np.argsort(-valued.table["value"].to_numpy(), kind="stable")[:13]
    assert valued.episodes_to_keep(0.65) == sorted(best.tolist())


def test_the_figure_draws_every_order_and_all_data(curve):
    figure = curve.plot()
    (axes,) = figure.axes
    lines = [line for line in axes.lines if len(line.get_xdata()) == 2 and line.get_linestyle() == "-"]
    drawn = {tuple(line.get_ydata()) for line in lines}
    for name in ("value", "random", "return"):
        assert tuple(curve.table.filter(ranking=name).sort("share")["score"]) in drawn
    (dashed,) = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert dashed.get_ydata()[0] == curve.table.filter(ranking="all")["score"][0]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["by value", "at random", "by return"]
    with pytest.raises(ConfigError, match="no column 'share'"):
        plot_value_curve(curve.table.drop("share"))


def test_the_command_plans_and_draws_the_curve(spoiled, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assay.save(spoiled[0], "spoiled")
    line = ["value", "spoiled", "--set", "hidden=[16]", "--set", "learning_rate=0.003", "--workers", "0"]
    line += ["--steps", "150", "--subsets", "48", "--seeds", "1", "--episodes", "1"]
    main([*line, "--dry-run", "--deviation", "5"])
    assert "48 trainings" in capsys.readouterr().out
    assert not Path("runs").exists()
    main([*line, "--curve", "0.6", "--curve-seeds", "2", "--json", "v.json", "--figure", "c.svg"])
    said = capsys.readouterr().out
    assert said.index("48 trainings") < said.index("Held-out subsets")
    assert "2 seeds that made no value" in said
    rows = json.loads(Path("v.json").read_text())["curve"]["curve"]
    assert {row["ranking"] for row in rows} == {"value", "random", "return", "all"}
    assert Path("c.svg").read_text().count("<svg") == 1
    with pytest.raises(SystemExit) as end:
        main([*line, "--figure", "d.svg"])
    assert end.value.code == 2
    with pytest.raises(SystemExit) as end:
        main([*line, "--curve", "0.99", "--runs", "other"])
    assert end.value.code == 1
    assert "keeps all" in capsys.readouterr().err
    assert not Path("other").exists()


@pytest.mark.parametrize(
    ("words", "message", "status"),
    [
        ("--algorithm nope", "unknown algorithm 'nope'", 1),
        ("--algorithm dqn", "needs a Discrete action space", 1),
        ("--set nope=1", "nope is not a parameter", 1),
        ("--environment Nope-v0", "no environment Nope-v0 is registered here", 1),
        ("--steps 0", "steps=0", 1),
        ("--seed -1", "seed=-1", 1),
        ("--curve 0.5 --curve-seeds 0", "--curve-seeds 0: it has to be 1 or more", 1),
        ("--curve-seeds 4", "--curve-seeds: of --curve, which is not given", 2),
        ("--curve", "--curve: no share follows it", 2),
        ("--curve 50", "a share has to be above 0 and below 1, and 50.0 is not", 1),
        ("--leave-one-out", "--leave-one-out", 2),
        ("--json there --overwrite", "--json: there is a folder", 1),
        ("--json", "--json: . is a folder", 1),
        ("--curve 0.5 --json c.svg --figure c.svg", "cannot be the file of both --json and --figure", 1),
    ],
)
@pytest.mark.parametrize("plans", [["--dry-run"], []])
def test_the_command_refuses_what_cannot_be_before_it_trains_and_in_the_plan(
    spoiled, tmp_path, monkeypatch, capsys, words, message, status, plans
):
    monkeypatch.chdir(tmp_path)
    Path("there").mkdir()
    assay.save(spoiled[0], "spoiled")
    with pytest.raises(SystemExit) as end:
        main(["value", "spoiled", "--subsets", "48", *plans, *words.split(), *([""] if words == "--json" else [])])
    assert end.value.code == status
    assert message in " ".join(capsys.readouterr().err.split())
    assert not Path("runs").exists()


def test_leaving_out_the_spoiled_group_is_better_and_leaving_out_a_good_one_is_worse(spoiled, tmp_path):
    data, bad = spoiled
    groups = np.where(np.isin(np.arange(data.total_episodes), bad), "turned", "as recorded")
    settings = SETTINGS | {"runs": tmp_path}
    found = leave_one_out(data, by=groups, seeds=8, **settings)
    assert set(found.variants) == {"without as recorded", "without turned"}
    assert found.verdict["bc", "without turned"] == "better"
    assert found.verdict["bc", "without as recorded"] == "worse"
    with pytest.raises(ConfigError, match="all episodes belong to one group, 'x'"):
        leave_one_out(data, by=["x"] * data.total_episodes, **settings)


def test_the_command_leaves_groups_out_one_at_a_time(spoiled, tmp_path, monkeypatch, capsys):
    data, bad = spoiled
    monkeypatch.chdir(tmp_path)
    tagged = data.replace(episode_columns={**data.episode_columns, "operator": np.isin(np.arange(20), bad).astype(int)})
    assay.save(tagged, "data")
    command = [
        "value",
        "data",
        "--by",
        "operator",
        "--leave-one-out",
        "--seeds",
        "2",
        "--steps",
        "2",
        "--episodes",
        "1",
    ]
    main([*command, "--workers", "0", "--json", "found.json"])
    assert "without 0" in capsys.readouterr().out
    assert json.loads(Path("found.json").read_text())
    with pytest.raises(SystemExit, match="2"):
        main([*command, "--curve", "0.5"])
