"""A search proposes what it proposed before, learns from what came of it, and is judged on what it has not seen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from assay.analysis import load_runs, load_search, score_table, search_table, write_report
from assay.analysis.trials import compare_runs
from assay.baselines import Proposal, Suite, plan_suite, run_suite, search
from assay.baselines.suites.search import Range, propose
from assay.baselines.suites.suite import _train_once
from assay.datasets.errors import ConfigError, FormatError, UnknownNameError

SPACE = {
    "penalty": ["a", "b", "c", "d"],
    "weight": {"low": 0.1, "high": 10, "log": True},
    "length": {"low": 1, "high": 10},
    "rate": {"low": 0.0, "high": 1.0},
}
BEST_OF = {"a": (0.3, 2, 0.0), "b": (1.0, 8, -0.3), "c": (5.0, 5, 0.5), "d": (2.0, 3, -0.1)}  # weight, length, value
HIGHEST = 0.5


def value(parameters) -> float:
    """Return a value whose best weight, length and height differ between penalties; the highest is 0.5."""
    weight, length, height = BEST_OF[parameters["penalty"]]
    away = [np.log(parameters["weight"] / weight) / 2, (parameters["length"] - length) / 5, parameters["rate"] - 0.6]
    return height - sum(float(distance) ** 2 for distance in away)


def values(batch) -> list[float]:
    return [value(item) for item in batch]


def without_optuna() -> bool:
    try:
        import optuna  # noqa: F401
    except ImportError:
        return True
    return False


needs_optuna = pytest.mark.skipif(without_optuna(), reason="needs Optuna")
SAMPLERS = ["random", pytest.param("tpe", marks=needs_optuna), pytest.param("gp", marks=needs_optuna)]


# ------------------------------------------------------------------ proposals


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_same_seed_proposes_the_same_and_another_seed_does_not(sampler):
    few = {"sampler": sampler, "proposals": 14, "batch": 4}
    first, again, other = (search(values, SPACE, seed=seed, **few) for seed in (3, 3, 4))
    assert first == again
    assert all(one.parameters != another.parameters for one, another in zip(first, other))
    assert [item.number for item in first] == list(range(14))
    assert [item.batch for item in first] == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 2


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_longer_search_begins_as_a_shorter_one(sampler):
    short, long = (search(values, SPACE, sampler=sampler, proposals=count, batch=4) for count in (12, 16))
    assert long[:12] == short


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_search_taken_up_from_what_was_told_goes_on_as_an_undisturbed_one(sampler):
    whole = search(values, SPACE, sampler=sampler, proposals=15, batch=5)
    space = {"penalty": tuple("abcd"), **{name: Range(**SPACE[name]) for name in ("weight", "length", "rate")}}
    copied = [Proposal(item.number, item.batch, dict(item.parameters), item.value) for item in whole[:10]]
    assert propose(space, copied, 5, sampler, 0) == [item.parameters for item in whole[10:]]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_proposals_lie_in_the_space(sampler):
    for item in search(values, SPACE, sampler=sampler, proposals=13, batch=13):
        assert item.parameters["penalty"] in SPACE["penalty"]
        assert isinstance(item.parameters["length"], int)
        assert 1 <= item.parameters["length"] <= 10
        assert 0.1 <= item.parameters["weight"] <= 10
        assert item.parameters["weight"] == float(f"{item.parameters['weight']:.6g}")


def test_random_proposals_are_uniform_or_uniform_in_the_logarithm_whatever_the_batch():
    few, many = (search(values, SPACE, sampler="random", proposals=2000, batch=size) for size in (7, 500))
    assert [item.parameters for item in few] == [item.parameters for item in many]
    drawn = pl.DataFrame([item.parameters for item in few])
    assert abs((drawn["weight"] < 1.0).mean() - 0.5) < 0.04
    assert abs((drawn["rate"] < 0.25).mean() - 0.25) < 0.04
    for name, share in (("penalty", 1 / 4), ("length", 1 / 10)):
        counts = drawn[name].value_counts()["count"] / 2000
        assert len(counts) == round(1 / share)
        assert abs(counts - share).max() < 0.04


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_what_diverges_counts_as_the_worst_and_is_never_found(sampler):
    def half(batch):
        return [None if item["penalty"] in "ab" else value(item) for item in batch]

    found = search(half, SPACE, sampler=sampler, proposals=15, batch=5)
    known = [item for item in found if item.value is not None]
    assert all(item.parameters["penalty"] in "cd" for item in known)
    assert len(known) < 15
    if sampler == "tpe":  # learns to stay away: more than half where it is let
        later = search(half, SPACE, sampler=sampler, proposals=40, batch=5)[20:]
        assert sum(item.parameters["penalty"] in "cd" for item in later) >= 15


def regrets(sampler: str, seen=lambda space: space) -> list[float]:
    """Return what 25 evaluations leave of the highest value, for 20 seeds; `seen` is the space that the sampler knows."""
    left = []
    for seed in range(20):
        hidden = np.random.default_rng([seed, 1])

        def objective(batch, hidden=hidden):
            return [value({"penalty": "abcd"[hidden.integers(4)], **item}) for item in batch]

        found = search(objective, seen(SPACE), sampler=sampler, proposals=25, batch=5, seed=seed)
        left.append(HIGHEST - max(item.value for item in found))
    return left


@needs_optuna
def test_search_by_a_model_beats_random_search_and_not_where_it_ignores_the_categories():
    informed, blind = np.median(regrets("tpe")), np.median(regrets("random"))
    ignorant = np.median(
        regrets("tpe", lambda space: {name: entry for name, entry in space.items() if name != "penalty"})
    )
    assert informed < 0.6 * blind, "measured: 0.08 against 0.20"
    assert ignorant > 0.6 * blind, "the stub: categories drawn blindly"


@pytest.mark.slow
@needs_optuna
def test_a_gaussian_process_finds_the_top_of_a_smooth_objective():
    def smooth(batch):
        return [-((item["x"] - 3.0) ** 2) - np.log(item["y"]) ** 2 for item in batch]

    space = {"x": {"low": 0.0, "high": 10.0}, "y": {"low": 0.1, "high": 10.0, "log": True}}
    highest = [
        [
            max(item.value for item in search(smooth, space, sampler=sampler, proposals=20, seed=seed))
            for seed in range(5)
        ]
        for sampler in ("gp", "random")
    ]
    modelled, drawn = np.median(highest, axis=1)
    assert modelled > drawn / 10, "a tenth of the regret"


@needs_optuna
def test_optuna_writes_nothing_and_says_nothing(tmp_path):
    code = (
        "from assay.baselines import search\n"
        "search(lambda batch: [item['x'] for item in batch], {'x': {'low': 0.0, 'high': 1.0}}, proposals=15, sampler='tpe')"
    )
    environment = {**os.environ, "HOME": str(tmp_path), "TMPDIR": str(tmp_path), "PYTHONWARNINGS": "default"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert "optuna" not in (done.stdout + done.stderr).lower()
    assert list(tmp_path.iterdir()) == []


def test_without_optuna_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"pip install 'assay\[search\]'"):
        search(values, SPACE, sampler="tpe")
    assert len(search(values, SPACE, sampler="random", proposals=3)) == 3


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ({}, "space: expected fields"),
        ({"x": 3}, "x=3: expected a list of values"),
        ({"x": [1]}, "x: expected two or more different values"),
        ({"x": [1, 1]}, "x: expected two or more different values"),
        ({"x": {"low": 3, "high": 1}}, "low=3 has to be less than high=1"),
        ({"x": {"low": 0, "high": 1, "log": True}}, "low=0 has to be more than 0"),
        ({"x": {"low": 0, "hihg": 1}}, "did you mean 'high'"),
        ({"x": {"low": True, "high": 2}}, "x: low"),
        ({"x": {"low": 0.0, "high": float("inf")}}, "high"),
    ],
)
def test_impossible_spaces_are_refused_by_name(space, says):
    with pytest.raises(ConfigError) as error:
        search(values, space, sampler="random")
    assert says in str(error.value)


def test_other_settings_are_refused():
    with pytest.raises(UnknownNameError, match="did you mean 'tpe'"):
        search(values, SPACE, sampler="tp")
    with pytest.raises(ConfigError, match="proposals=0"):
        search(values, SPACE, sampler="random", proposals=0)


# --------------------------------------------------------------------- suites

PLAIN = {
    "name": "searched",
    "source": "pendulum/random",
    "variants": {"clean": [], "noise": [{"corruption.random": {"element": "rewards"}}]},
    "algorithms": {"bc": {"hidden": [4]}, "td3_bc": {"hidden": [4]}},
    "seeds": [0, 1],
    "evaluation": {"episodes": 1},
    "search": {
        "parameters": {"td3_bc": {"alpha": {"low": 1, "high": 10, "log": True}}},
        "sampler": "random",
        "proposals": 4,
        "batch": 2,
        "seeds": [7],
    },
    "budgets": {
        "smoke": {"steps": 4, "dataset_steps": 400, "algorithm_parameters": {"batch_size": 8}},
        "less": {
            "steps": 4,
            "dataset_steps": 400,
            "algorithm_parameters": {"batch_size": 8},
            "only": {"variants": ["clean"], "algorithms": ["td3_bc"]},
            "search": {"parameters": {"td3_bc": {"hidden": [[4], [6]]}}, "proposals": 6, "batch": 6},
        },
    },
}


def changed(**search_changes) -> dict:
    return {**PLAIN, "search": {**PLAIN["search"], **search_changes}}


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """Return the folder of a suite that was run with its search."""
    folder = tmp_path_factory.mktemp("searched")
    runs = run_suite(Suite.from_plain(PLAIN), "smoke", runs=folder, progress=None, workers=0)
    assert {run.status for run in runs} == {"finished"}
    return folder


def test_what_a_search_finds_is_trained_on_other_seeds_and_evaluated_on_other_episodes(results):
    table, searched = load_runs(results), load_runs(results / "search")
    per_variant = ["BC", "BC", "TD3+BC", "TD3+BC", "TD3+BC, searched", "TD3+BC, searched"]
    assert sorted(table["label"]) == sorted(2 * per_variant)
    assert table["label"].unique(maintain_order=True).to_list() == ["BC", "TD3+BC", "TD3+BC, searched"]
    assert set(table["seed"]) == {0, 1}
    assert set(searched["seed"]) == {7}
    assert set(table["evaluation/seed"]).isdisjoint(searched["evaluation/seed"])
    assert searched.height == 2 * 4

    proposals = load_search(results)
    assert "score" not in proposals.columns, "the best of many is no score"
    for (variant,), part in proposals.group_by("variant"):
        assert part["value"].to_list() == [
            searched.filter(pl.col("run") == run)["score"].item() for (run,) in part["runs"]
        ]
        best = part.filter(pl.col("best")).row(0, named=True)
        assert best["value"] == part["value"].max() == part["best_so_far"][-1]
        final = table.filter((pl.col("label") == "TD3+BC, searched") & (pl.col("variant") == variant))
        assert set(final["algorithm/alpha"]) == {best["parameter/alpha"]}
    assert search_table(proposals)["parameter"].to_list() == ["alpha"] * 2


def test_a_plan_says_what_a_search_takes_and_what_of_it_is_done(results, tmp_path):
    done, new = (plan_suite(Suite.from_plain(PLAIN), "smoke", runs=folder).search for folder in (results, tmp_path))
    assert (done.trainings, done.finished, done.finals, done.seconds) == (8, 8, 4, 0.0)
    assert (new.trainings, new.finished, new.finals) == (8, 0, 4)
    assert new.seconds > 0
    assert list(tmp_path.iterdir()) == []


def test_a_batch_is_one_population_where_only_floats_differ(results):
    populations = {
        path.parent.name: yaml.safe_load(path.read_text())["population"]
        for path in (results / "search").glob("*/run.json")
    }
    for (_,), batch in load_search(results).explode("runs").group_by("batch"):
        assert batch.height == 4, "both variants, two proposals each"
        assert len({populations[run] for run in batch["runs"]}) == 1


def test_a_budget_changes_the_search_and_what_is_the_same_is_trained_once(tmp_path):
    runs = run_suite(Suite.from_plain(PLAIN), "less", runs=tmp_path, progress=None, workers=0)
    assert len(runs) == 4
    assert load_search(tmp_path).select("variant", "proposal").rows() == [("clean", number) for number in range(6)]
    widths = load_runs(tmp_path / "search")
    assert widths["algorithm/hidden"].to_list() == ["[4]", "[6]"], "six proposals, two different ones"


def test_a_search_that_finds_the_default_is_the_default(tmp_path):
    suite = Suite.from_plain(PLAIN)
    budget = suite.budgets["less"]
    [variant] = suite.part_of(budget).variants_of(suite.load_sources(budget), budget=budget)
    jobs = suite.part_of(budget).make_jobs(budget, [variant], {("clean", "td3_bc"): {"hidden": [4]}})
    runs = _train_once(jobs, steps=4, runs=tmp_path, evaluation=None, progress=None)
    assert [run.folder for run in runs[:2]] == [run.folder for run in runs[2:]]


@pytest.mark.slow
def test_a_killed_search_goes_on_to_the_same_proposals_and_trains_nothing_twice(tmp_path):
    plain = changed(proposals=12, batch=2, sampler="random" if without_optuna() else "tpe")
    plain = {**plain, "variants": {"clean": []}, "algorithms": {"td3_bc": {"hidden": [4]}}}
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(plain))
    whole = tmp_path / "whole"
    run_suite(tmp_path / "suite.yaml", "smoke", runs=whole, progress=None)

    broken = tmp_path / "broken"
    command = "import sys; from assay.baselines import run_suite; run_suite(sys.argv[1], 'smoke', runs=sys.argv[2], progress=None)"
    process = subprocess.Popen([sys.executable, "-c", command, str(tmp_path / "suite.yaml"), str(broken)])
    deadline = time.monotonic() + 120
    while not (broken / "search" / "search.json").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in finished(broken / "search")}
    assert 0 < len(before) < 12, "killed in the middle"
    plan = plan_suite(tmp_path / "suite.yaml", "smoke", runs=broken)
    assert 0 < plan.search.finished <= len(before)

    run_suite(tmp_path / "suite.yaml", "smoke", runs=broken, progress=None)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert load_search(broken).equals(load_search(whole))
    columns = ["run", "label", "variant", "seed", "score"]
    assert load_runs(broken)[columns].equals(load_runs(whole)[columns])


def finished(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*/run.json") if yaml.safe_load(path.read_text())["status"] == "finished"]


@pytest.mark.parametrize(
    ("plain", "says"),
    [
        (changed(sampler="tpee"), "search: sampler='tpee'"),
        (changed(proposals=0), "search: proposals=0"),
        (changed(trials=3), "search: trials is not a parameter"),
        (changed(seeds=[0]), "search: seeds=[0]: 0 is one of the suite's seeds"),
        (changed(seeds=[]), "search: seeds=[]"),
        (changed(seeds=[7, 7]), "search: seeds="),
        (changed(parameters={}), "search: parameters={}"),
        (changed(parameters={"td3": {"alpha": [1, 2]}}), "search: parameters: unknown algorithm 'td3'"),
        (changed(parameters={"td3_bc": {"alhpa": [1, 2]}}), "did you mean 'alpha'"),
        (
            changed(parameters={"td3_bc": {"alpha": [1, "x"]}}),
            "search: parameters: algorithm td3_bc",
        ),
        (changed(parameters={"td3_bc": {"alpha": 3}}), "search: parameters: td3_bc: alpha=3"),
        (changed(parameters={"td3_bc": {"batch_size": {"low": 1.5, "high": 9}}}), "batch_size=1.5"),
        (changed(parameters={"td3_bc": {"batch_size": {"low": 1.0, "high": 9.0}}}), "batch_size="),
        (changed(parameters={"td3_bc": {"discount": {"low": 0.5, "high": 2}}}), "discount=2"),
        (changed(parameters={"td3_bc": {"preset": ["variant", "none"]}}), "preset is not a field"),
        ({**PLAIN, "search": [1]}, "search=[1]: expected a mapping"),
        ({**PLAIN, "evaluation": None}, "evaluation is null"),
        ({**PLAIN, "search": None}, "the suite has no section search"),
    ],
)
def test_a_search_that_cannot_be_is_refused_with_the_file_and_the_field(tmp_path, plain, says):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(plain))
    with pytest.raises(ConfigError) as error:
        Suite.from_yaml(tmp_path / "mine.yaml")
    text = str(error.value)
    assert str(tmp_path / "mine.yaml") in text
    assert says in text
    assert "\n" not in text


def test_importance_is_what_ranks_say():
    numbers = [1.0, 2.0, 3.0, 4.0, 5.0]
    proposals = pl.DataFrame(
        {
            "algorithm": "X",
            "variant": "clean",
            "value": [None, 1.0, 4.0, 9.0, 16.0],  # the diverged one is the lowest
            "best": [False] * 4 + [True],
            "parameter/rising": numbers,
            "parameter/falling": [-number for number in numbers],
            "parameter/kind": ["a", "a", "b", "b", "b"],
        }
    )
    table = search_table(proposals).rows_by_key("parameter", named=True, unique=True)
    assert (table["rising"]["correlation"], table["rising"]["importance"]) == (1.0, 1.0)
    assert (table["falling"]["correlation"], table["falling"]["importance"]) == (-1.0, 1.0)
    from scipy.stats import kruskal

    assert table["kind"]["importance"] == pytest.approx(kruskal([1, 2], [3, 4, 5]).statistic / 4)
    assert table["kind"]["correlation"] is None
    assert table["kind"]["found"] == "b"


def test_a_folder_without_a_search_is_named(tmp_path):
    with pytest.raises(FormatError, match="has searched nothing yet"):
        load_search(tmp_path)


@pytest.mark.slow
def test_a_search_that_was_edited_sets_its_earlier_winners_aside(tmp_path):
    for first, last in ((1, 2), (20, 30)):  # ranges that do not overlap, so that another one is found
        space = {"td3_bc": {"alpha": {"low": first, "high": last, "log": True}}}
        suite = Suite.from_plain({**changed(parameters=space, batch=4), "algorithms": {"td3_bc": {"hidden": [4]}}})
        run_suite(suite, "smoke", runs=tmp_path, progress=None, workers=0)
    assert len([path for path in tmp_path.glob("*-seed*") if path.is_dir()]) == 2 * 3 * 2
    searched = load_runs(tmp_path).filter(label="TD3+BC, searched")
    assert searched.height == 4
    assert searched["algorithm/alpha"].min() >= 20
    assert score_table(load_runs(tmp_path), rows=["label"])["seeds"].to_list() == [2] * 4
    assert {*compare_runs(tmp_path, "clean").verdict} == {"TD3+BC", "TD3+BC, searched", "pooled"}
    write_report(tmp_path, tmp_path / "report.html")
    assert "4 runs of earlier settings" in (tmp_path / "report.html").read_text()
