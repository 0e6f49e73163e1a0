"""Trials: both sides trained with the same seeds, or read from runs that are there, become verdicts, tables and figures."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import assay
from assay.analysis import load_runs
from assay.analysis.figures import plot_forest
from assay.analysis.trials import Rules, TrialResult, compare, compare_runs
from assay.baselines import BC, Evaluation, Job, train
from assay.cli import main
from assay.datasets import Dataset, Recipe
from assay.datasets.errors import AssayError, ConfigError, UnknownNameError
from tests.analysis.conftest import write_run

TINY = BC(hidden=(16,), learning_rate=3e-3)
SETTINGS = {"algorithms": TINY, "steps": 60, "evaluation": Evaluation(episodes=2), "workers": 0, "progress": None}
SUITE = (
    "name: tiny\nsource: good\nvariants:\n  clean: []\n  noisy: [corruption.random: {element: actions}]\n"
    "algorithms: {bc: {hidden: [4]}}\nseeds: [0, 1]\nevaluation: {episodes: 1}\nbudgets: {small: {steps: 2}}\n"
)


@pytest.fixture(scope="module")
def good() -> Dataset:
    return assay.load("pendulum/medium", steps=1_000).named("good")


@pytest.fixture(scope="module")
def bad(good) -> Dataset:
    """The same states with actions of the wrong sign: whoever clones them swings against what helps."""
    return good.replace({"actions": -good.actions}).named("bad")


@pytest.fixture(scope="module")
def trained(good, bad, tmp_path_factory) -> TrialResult:
    """Two algorithms on a control and two variants of it, six seeds each."""
    shuffled = good[np.random.default_rng(0).permutation(good.total_episodes)]
    return assay.trial(
        good,
        {"bad": bad, "shuffled": shuffled},
        **{**SETTINGS, "algorithms": {"small": TINY, "smaller": BC(hidden=(8,), learning_rate=3e-3)}},
        seeds=6,
        multiplicity="none",
        runs=tmp_path_factory.mktemp("trained"),
    )


# ---------------------------------------------------------------- what is trained


def test_a_change_for_the_worse_is_called_and_one_without_effect_is_not(trained):
    assert trained.verdict["small", "bad"] == "worse"
    assert trained.interval["small", "bad"][1] < 0
    assert trained.verdict["small", "shuffled"] == "undecided"
    assert trained.smallest_difference["small", "shuffled"] > 0
    assert trained.seeds_for_half["small", "shuffled"] > 6
    assert trained.verdict["pooled", "bad"] == "worse"
    assert list(trained.verdict)[-2:] == [("pooled", "bad"), ("pooled", "shuffled")]


def test_the_numbers_are_those_of_the_returns_in_the_run_folders(trained, good):
    runs = load_runs(trained.folder).filter(pl.col("label") == "small").sort("seed")
    sides = [runs.filter(variant=variant)["score"].to_numpy() for variant in ("good", "bad")]
    assert sides[0] == pytest.approx(
        good.info.references.normalize(runs.filter(variant="good")["return_mean"].to_numpy())
    )
    by_hand = compare(*sides)
    row = trained.table.row(0, named=True)
    assert (row["algorithm"], row["after"], row["seeds"], row["starts"]) == ("small", "bad", 6, 2)
    for name, value in (("difference", by_hand.difference), ("low", by_hand.interval[0]), ("p_value", by_hand.p_value)):
        assert row[name] == pytest.approx(value)


def test_finished_runs_give_what_the_trial_gave(trained):
    again = compare_runs(trained.folder, "good", rules=Rules(multiplicity="none"))
    assert again.table.sort("algorithm", "after").equals(trained.table.sort("algorithm", "after"))


def test_what_is_finished_is_not_trained_again_and_the_sides_can_be_exchanged(trained, good, bad):
    before = {path: path.stat().st_mtime_ns for path in Path(trained.folder).rglob("*")}
    options = {**SETTINGS, "algorithms": {"small": TINY}}
    back = assay.trial(bad, good, **options, seeds=6, runs=trained.folder)
    assert {path: path.stat().st_mtime_ns for path in Path(trained.folder).rglob("*")} == before
    assert back.verdict == {"small": "better"}
    low, high = trained.interval["small", "bad"]
    assert back.interval["small"] == pytest.approx((-high, -low))


def test_seeds_are_added_until_there_is_a_verdict(good, bad, tmp_path):
    found = assay.trial(good, bad, **SETTINGS, seeds=12, look_every=2, runs=tmp_path)
    assert found.verdict == {"bc": "worse"}
    assert found.planned_seeds == 12
    assert found.looks[0] == 8  # earlier looks could have called nothing
    assert found.looks[-1] < 12
    assert len(load_runs(tmp_path)) == 2 * found.looks[-1]
    assert found.table["alpha"][0] < 0.05


def test_what_is_not_worth_finding_is_given_up_early_and_equal_data_are_called_equivalent_early(good, tmp_path):
    shuffled = good[np.random.default_rng(1).permutation(good.total_episodes)]
    settings = {**SETTINGS, "seeds": 16, "look_every": 4, "runs": tmp_path}
    given_up = assay.trial(good, shuffled.named("shuffled"), **settings, futility=200.0)
    assert given_up.verdict == {"bc": "undecided"}
    assert given_up.looks == (8,)
    assert given_up.table["futile"].to_list() == [True]
    assert "given up after 8 seeds" in str(given_up)
    assert "in at most 20 % of such trials" in given_up._repr_html_()
    equal = assay.trial(good, shuffled.named("shuffled"), **settings, margin=200.0)
    assert equal.verdict == {"bc": "equivalent"}
    assert equal.looks == (12,)  # the first look at which the level allows a verdict
    assert len(load_runs(tmp_path)) == 24


def test_data_of_its_own_for_every_seed(good, tmp_path):
    assay.save(good, tmp_path / "good")
    noise = {"source": str(tmp_path / "good"), "transforms": [{"corruption.random": {"element": "actions", "seed": 3}}]}
    found = assay.trial(good, Recipe.from_plain(noise), **SETTINGS, seeds=[5, 7], vary="data", runs=tmp_path / "runs")
    assert found.vary == "data"
    assert "procedures" in found.headline
    marks = load_runs(tmp_path / "runs").sort("variant", "seed")["fingerprint"].to_list()
    for seed in (5, 7):
        noise["transforms"][0]["corruption.random"]["seed"] = 3 + seed
        assert Recipe.from_plain(noise).build().fingerprint in marks
    assert len(set(marks)) == 3
    made = assay.trial(
        good, lambda seed: good[: 1 + seed].named("some"), **SETTINGS, seeds=2, vary="data", runs=tmp_path / "runs"
    )
    assert made.variants == ("some",)


def test_random_start_states_widen_the_interval(trained):
    fixed = compare_runs(trained.folder, "good", rules=Rules(multiplicity="none"))
    random = compare_runs(trained.folder, "good", rules=Rules(starts="random", multiplicity="none"))
    key = ("small", "shuffled")
    assert np.ptp(random.interval[key]) > np.ptp(fixed.interval[key])
    assert "start states count as random" in str(random)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": 0}, "seeds=0"),
        ({"seeds": [1, 1]}, "occurs twice"),
        ({"look_every": 0}, "look_every=0"),
        ({"seeds": 2, "look_every": 5}, "look_every=5 is more than the 2 seeds"),
        ({"algorithms": []}, "one at least"),
        ({"algorithms": [TINY, BC()]}, "bc is given twice"),
        ({"algorithms": {"pooled": TINY}}, "pooled"),
        ({"vary": "data"}, "needs data that depends on a seed"),
        ({"vary": "task"}, "compare_runs"),
        ({"margin": -1}, "margin=-1"),
        ({"futility": 2.0}, "look_every"),
        ({"futility": -2.0, "look_every": 4}, "futility=-2"),
        ({"multiplicity": "max_t", "starts": "random"}, "holm"),
    ],
)
def test_impossible_settings_are_refused_before_anything_is_trained(good, bad, tmp_path, change, message):
    with pytest.raises(AssayError, match=message):
        assay.trial(good, bad, **{**SETTINGS, **change}, runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_sides_that_cannot_be_compared_are_refused(good, bad, tmp_path):
    nowhere = Dataset.from_arrays(
        **{name: good.column(name) for name in ("observations", "actions", "rewards", "terminations", "truncations")}
    )
    for before, after, message in (
        (good, good, "there is no change to try"),
        (nowhere, bad, r"which environment .*`assay trial`: --environment"),
        (good, nowhere.named("x"), r"x does not say which environment .*`assay trial`: --environment"),
        (good, lambda seed: bad, "vary='data'"),
        (good, {"good": bad}, "names of their own"),
        (good, {}, "names of their own"),
        ("no/such", bad, "no/such"),
    ):
        with pytest.raises(AssayError, match=message):
            assay.trial(before, after, **SETTINGS, runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


# ---------------------------------------------------------------- runs that are there


def write_pairs(folder: Path, gaps, *, algorithm="bc", variants=("clean", "noisy"), base=1500.0, **options):
    for seed, gap in enumerate(gaps):
        write_run(folder, algorithm, variants[0], seed, (base, base + 10), **options)
        write_run(folder, algorithm, variants[1], seed, (base + 32 * gap, base + 10 + 32 * gap), **options)
    return folder


def test_trainings_that_diverged_count_with_what_they_earn(tmp_path):
    write_pairs(tmp_path, range(1, 8))
    lost = write_run(tmp_path, "bc", "clean", 7, (1500.0, 1510.0))
    assert lost.exists()
    write_run(tmp_path, "bc", "noisy", 7, (-20.0, math.nan), status="diverged")
    found = compare_runs(tmp_path, "clean")
    row = found.table.row(0, named=True)
    assert (row["seeds"], row["diverged_before"], row["diverged_after"]) == (8, 0, 1)
    lost_score = 0.0 - (1505.0 + 20) / 32  # a return that is not finite is that of a random policy
    assert row["difference"] == pytest.approx(np.mean([*range(1, 8), lost_score]))
    assert any("1 after it" in note for note in row["notes"])


@pytest.mark.parametrize("status", ["failed", "unfinished"])
def test_a_run_that_did_not_end_stops_the_trial(tmp_path, status):
    write_pairs(tmp_path, range(6))
    write_run(tmp_path, "bc", "clean", 6)
    write_run(tmp_path, "bc", "noisy", 6, (), status=status, error="CUDA out of memory" if status == "failed" else None)
    with pytest.raises(AssayError, match="select by what fails"):
        compare_runs(tmp_path, "clean")
    assert compare_runs(tmp_path, "clean", seeds=range(6)).table["seeds"].to_list() == [6]


def test_what_does_not_pair_is_refused(tmp_path):
    write_pairs(tmp_path / "a", range(6))
    write_run(tmp_path / "a", "bc", "noisy", 9)
    with pytest.raises(ConfigError, match="seeds 9 have a run on one side only"):
        compare_runs(tmp_path / "a", "clean")
    with pytest.raises(UnknownNameError, match="clear"):
        compare_runs(tmp_path / "a", "clear")
    write_pairs(tmp_path / "b", range(6))
    write_run(tmp_path / "b", "bc", "noisy", 0, steps=9, suffix="89abcdef")
    with pytest.raises(ConfigError, match="seed 0 has several runs"):
        compare_runs(tmp_path / "b", "clean")
    write_pairs(tmp_path / "c", range(6))
    write_run(tmp_path / "c", "bc", "other", 0, (1.0, 2.0, 3.0))
    with pytest.raises(ConfigError, match=r"one side only|other start states"):
        compare_runs(tmp_path / "c", "clean")
    write_run(tmp_path / "d", "bc", "clean", 0)
    with pytest.raises(ConfigError, match="nothing to compare"):
        compare_runs(tmp_path / "d", "clean")


def test_tasks_are_the_replicates_where_the_verdict_is_about_tasks(tmp_path):
    generator = np.random.default_rng(0)
    of_task = [4.0, 6.0, 3.0, 5.0, 7.0, 2.0, -9.0]
    for number, gap in enumerate(of_task):
        variants = (f"t{number} clean", f"t{number} noisy")
        write_pairs(tmp_path, gap + generator.normal(0, 0.1, 3), variants=variants)
    found = compare_runs(tmp_path, "clean", vary="task")
    row = found.table.row(0, named=True)
    assert (row["seeds"], row["verdict"], row["after"]) == (7, "undecided", "noisy")
    assert row["difference"] == pytest.approx(np.mean(of_task), abs=0.2)
    within = compare_runs(tmp_path, "clean")
    assert len(within.table) == 7
    assert within.variants[0] == "t0: noisy"
    assert set(within.table["comparisons"]) == {7}
    write_pairs(tmp_path / "bare", range(6), references=None)
    with pytest.raises(ConfigError, match="reference scores"):
        compare_runs(tmp_path / "bare", "clean", vary="task")
    assert compare_runs(tmp_path / "bare", "clean").unit == "of return"


def test_every_comparison_shares_the_error_rate(tmp_path):
    for algorithm in ("bc", "iql"):
        write_pairs(tmp_path, [1, 2, 3, 4, 5, 6, 7], algorithm=algorithm)
    found = compare_runs(tmp_path, "clean", rules=Rules(alpha=0.02))
    by_holm = found.table.filter(algorithm="bc").row(0, named=True)
    assert by_holm["p_value"] == 2**-6
    assert by_holm["adjusted_p_value"] == 2**-5
    assert found.verdict == {"bc": "undecided", "iql": "undecided", "pooled": "better"}
    assert "over 2 comparisons (Holm)" in str(found)
    alone = compare_runs(tmp_path, "clean", rules=Rules(alpha=0.02, multiplicity="none"))
    assert alone.verdict["bc"] == "better"
    max_t = compare_runs(tmp_path, "clean", rules=Rules(multiplicity="max_t"))
    assert max_t.verdict["bc"] == "better"


def test_equivalence_needs_a_margin(tmp_path):
    write_pairs(tmp_path, [0.1, -0.1, 0.2, -0.2, 0.1, -0.05, 0.0, 0.1])
    assert compare_runs(tmp_path, "clean").verdict == {"bc": "undecided"}
    assert compare_runs(tmp_path, "clean", rules=Rules(margin=1.0)).verdict == {"bc": "equivalent"}


# ---------------------------------------------------------------- what a person sees


def test_text_html_and_plain_values_tell_the_same(tmp_path):
    write_pairs(tmp_path, [3, 4, 5, 6, 7, 8], variants=("clean", "<b>noisy"))
    found = compare_runs(tmp_path, "clean")
    html, text = found._repr_html_(), str(found)
    assert "<b>noisy" not in html
    assert "&lt;b&gt;noisy" in html
    assert (
        "bc: better, +5.5 score points (96.9 % interval" in text
        or "bc: better, +5.5 score points (95 % interval" in text
    )
    plain = json.loads(json.dumps(found.to_plain(), allow_nan=False))
    assert plain["comparisons"][0]["verdict"] == "better"
    assert plain["rules"]["alpha"] == 0.05
    few = compare_runs(tmp_path, "clean", seeds=[0, 1, 2])
    assert few.table["low"][0] is None
    assert "6 seeds are needed" in str(few)
    json.dumps(few.to_plain(), allow_nan=False)


def test_the_forest_plot_shows_differences_intervals_and_verdicts(trained):
    figure = trained.plot()
    scores, deviations = figure.axes
    table = trained.table.filter(unit="score points")
    lines = [line for line in scores.lines if len(set(line.get_xdata())) == 2]
    assert [tuple(line.get_xdata()) for line in lines] == list(zip(table["low"], table["high"]))
    markers = [line.get_xdata()[0] for line in scores.lines if line.get_linestyle() == "None"]
    assert markers == table["difference"].to_list()
    assert {text.get_text() for text in scores.texts} >= {"worse", "small, bad", "smaller, shuffled"}
    assert "standard deviations" in deviations.get_xlabel()
    with pytest.raises(ConfigError, match="a row is missing"):
        plot_forest(table.clear())
    with pytest.raises(ConfigError, match="low is missing"):
        plot_forest(table.drop("low"))
    assert plot_forest(table, margin=2.0, width_pixels=380).axes


# ---------------------------------------------------------------- the command line


def test_the_command_says_what_the_function_says_and_exits_by_the_verdict(tmp_path, capsys):
    runs = write_pairs(tmp_path / "runs", [-3, -4, -5, -6, -7, -8])
    main(
        [
            "trial",
            str(runs),
            "--control",
            "clean",
            "--json",
            str(tmp_path / "v.json"),
            "--figure",
            str(tmp_path / "f.svg"),
        ]
    )
    assert "worse" in capsys.readouterr().out
    assert json.loads((tmp_path / "v.json").read_text()) == json.loads(
        json.dumps(compare_runs(runs, "clean").to_plain())
    )
    assert (tmp_path / "f.svg").read_text().count("<svg") == 1
    with pytest.raises(SystemExit) as end:
        main(["trial", str(runs), "--fail-on", "worse", "undecided"])
    assert end.value.code == 1
    main(["trial", str(runs), "--fail-on", "better"])
    with pytest.raises(SystemExit) as end:
        main(["trial", str(runs), "--json", str(tmp_path / "v.json")])
    assert end.value.code == 1
    assert "exists already" in capsys.readouterr().err
    for misuse in (
        ["trial"],
        ["trial", "a", "b", "--vary", "task"],
        ["trial", str(runs), "--vary", "data"],
        ["trial", str(runs), "--futility", "2"],
        ["trial", "a", "b", "--control", "foo"],
        ["trial", "a", "b", "--budget=x"],
        ["trial", str(runs), "--steps", "5"],
        ["trial", str(runs), "--look_every", "2"],
        ["trial", str(runs), "--device", "cuda"],
        ["trial", str(runs), "--budget", "small"],
        ["trial", "suite.yaml", "--seeds", "5"],
        ["trial", str(runs), "--fail-on"],
        ["trial", "a", "b", "--algorithm"],
    ):
        with pytest.raises(SystemExit) as end:
            main(misuse)
        assert end.value.code == 2


def test_the_command_trains_datasets_recipes_and_suites(good, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assay.save(good, "good")
    Path("noisy.yaml").write_text(
        "source: good\ntransforms: [corruption.random: {element: actions, rate: 0.5, seed: 0}]\n"
    )
    shared = ["--seeds", "2", "--workers", "0"]
    line = ["--algorithm", "bc", "--set", "hidden=[4]", "--steps", "2", "--episodes", "1", *shared]
    main(["trial", "good", "noisy.yaml", *line])
    main(["trial", "good", "noisy.yaml", *line, "--vary", "data", "--runs", "data"])
    assert len(load_runs("runs/trial")) == len(load_runs("data")) == 4
    Path("suite.yaml").write_text(SUITE)
    main(["trial", "suite.yaml", "--runs", "of-suite", "--workers", "0"])
    assert len(load_runs("of-suite")) == 4
    assert "noisy" in capsys.readouterr().out
    assert os.listdir("runs") == ["trial"]


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        (("", ""), ["--control", "nope"], "unknown control 'nope'; known: clean, noisy"),
        (("  noisy: [corruption.random: {element: actions}]\n", ""), [], "there is no variant but the control 'clean'"),
        (("{episodes: 1}", "null"), [], "suite.yaml: evaluation is null"),
        (("", ""), ["--json", "there", "--overwrite"], "--json: there is a folder"),
        (("", ""), ["--json", "a.svg", "--figure", "a.svg"], "cannot be the file of both --json and --figure"),
        pytest.param(
            ("", ""),
            ["--json", "/proc/x.json"],
            "/proc/x.json cannot be written: /proc",
            marks=pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc here"),
        ),
    ],
)
def test_the_command_refuses_a_suite_that_leaves_nothing_to_compare_before_it_trains(
    tmp_path, monkeypatch, capsys, change, words, message
):
    monkeypatch.chdir(tmp_path)
    Path("there").mkdir()
    Path("suite.yaml").write_text(SUITE.replace(*change) if change[0] else SUITE)
    with pytest.raises(SystemExit) as end:
        main(["trial", "suite.yaml", *words])
    assert end.value.code == 1
    assert message in " ".join(capsys.readouterr().err.split())
    assert not Path("runs").exists()


def test_one_dataset_is_told_that_a_second_one_is_needed(tmp_path, capsys):
    assay.save(assay.load("pendulum/random", steps=400), tmp_path / "one")
    with pytest.raises(SystemExit):
        main(["trial", str(tmp_path / "one")])
    assert f"name both: assay trial {tmp_path / 'one'} AFTER" in " ".join(capsys.readouterr().err.split())


def test_a_result_of_one_run_per_side_is_undecided(good, bad, tmp_path):
    jobs = [Job(TINY, data, 0) for data in (good, bad)]
    train(jobs, steps=2, runs=tmp_path, evaluation=Evaluation(episodes=1), workers=0, progress=None)
    assert compare_runs(tmp_path, "good").verdict == {"bc": "undecided"}
