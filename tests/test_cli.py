"""The command line: every command does what its help says, errors are one line, and the exit status tells."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import assay
from assay.cli import main, number

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data" / "minari"
COMMANDS = (
    "datasets list",
    "datasets show",
    "datasets map",
    "datasets collect",
    "datasets train-policy",
    "datasets download",
    "datasets convert",
    "datasets formats",
    "datasets download",
    "datasets validate",
    "validate",
    "corrupt",
    "apply",
    "augment",
    "relabel actions",
    "reweight",
    "metrics",
    "card",
    "train",
    "run",
    "report",
    "serve",
    "trial",
    "value",
    "evaluate",
)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    made = assay.load("pendulum/random", steps=600)
    assay.save(made, tmp_path / "pendulum")
    return tmp_path / "pendulum"


def run(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 0) -> str:
    try:
        main([str(item) for item in arguments])
        found = 0
    except SystemExit as end:
        found = int(end.code or 0)
    captured = capsys.readouterr()
    text = captured.out + captured.err
    assert found == status, text
    return re.sub(r"\s+", " ", text)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example_that_names_it(capsys, command):
    text = run(capsys, *command.split(), "--help")
    assert "Example: assay" in text
    assert f"assay {command}" in text


def test_help_and_misuse_have_their_exit_status():
    def status(*arguments: str) -> int:
        return subprocess.run([sys.executable, "-m", "assay.cli", *arguments], cwd=ROOT, capture_output=True).returncode

    assert status("--help") == 0
    assert status("corupt") == 2
    assert status("corrupt", "x", "--rate", "lots") == 2


def test_list_shows_the_catalog_and_show_the_columns(capsys, dataset):
    listed = run(capsys, "datasets", "list")
    assert "hopper/medium-replay" in listed
    assert "random-LEVEL-PERCENT" in listed
    assert "1 to 99" in listed
    for line in listed.splitlines():
        for name, extra in (
            ("breakout/random ", "minatar"),
            ("lavagap/random ", "minigrid"),
            ("fetch-push/random ", "robotics"),
        ):
            assert extra in line or name not in line
    assert "pip install 'assay[EXTRA]'" in listed
    text = run(capsys, "datasets", "show", dataset)
    assert "observations" in text
    assert assay.load(dataset).fingerprint in text


def test_corrupt_writes_a_variant_with_its_mask_and_recipe(capsys, dataset, tmp_path):
    options = ["--element", "rewards", "--rate", 0.5, "--seed", 3, "-o", tmp_path / "noisy"]
    assert "of 600 rewards corrupted" in run(capsys, "corrupt", dataset, *options)
    noisy, clean = assay.load(tmp_path / "noisy"), assay.load(dataset)
    mask = noisy.masks["rewards"]
    assert 200 < mask.sum() < 400
    assert np.array_equal(noisy.rewards[~mask], clean.rewards[~mask])
    assert assay.replay(noisy.history) == noisy
    assert "exists already" in run(capsys, "corrupt", dataset, *options, status=1)


def test_corrupt_takes_several_elements_and_the_options_of_random_corruption(capsys, dataset, tmp_path):
    options = [
        "-e",
        "actions",
        "-e",
        "rewards",
        "--rate",
        0.5,
        "--granularity",
        "window",
        "--window",
        5,
        "--shared",
        "x",
    ]
    text = run(capsys, "corrupt", dataset, *options, "--distribution", "gaussian", "-o", tmp_path / "noisy")
    noisy = assay.load(tmp_path / "noisy")
    assert "actions corrupted" in text
    assert np.array_equal(noisy.masks["actions"], noisy.masks["rewards"])
    assert [record.parameters["distribution"] for record in noisy.history[1:]] == ["gaussian"] * 2
    run(capsys, "corrupt", dataset, "--simultaneous", "-o", tmp_path / "mixed")
    assert set(assay.load(tmp_path / "mixed").masks) == {"observations", "actions", "rewards", "dynamics"}
    for which, parameters in enumerate(('{"element": "states"}', "element=states")):
        given = ["--transform", "corruption.random", "--parameters", parameters]
        run(capsys, "corrupt", dataset, *given, "-o", tmp_path / f"states{which}")
    run(capsys, "apply", dataset, "corruption.random", "element=states", "-o", tmp_path / "applied")
    assert assay.load(tmp_path / "states0") == assay.load(tmp_path / "states1") == assay.load(tmp_path / "applied")
    assert "exists already" in run(capsys, "corrupt", dataset, "-e", "actions", "-o", tmp_path / "noisy", status=1)
    assert "say what to corrupt" in run(capsys, "corrupt", dataset, "-o", tmp_path / "x", status=1)
    wrong = ["-e", "actions", "--mode", "adversarial", "--distribution", "gaussian", "-o", tmp_path / "x"]
    assert "distribution is not a parameter" in run(capsys, "corrupt", dataset, *wrong, status=1)


def test_an_attack_trains_its_victim_once_and_takes_its_folder_too(capsys, dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("ASSAY_HOME", str(tmp_path / "home"))
    attack = ["corrupt", dataset, "--mode", "adversarial", "-e", "actions", "-e", "dynamics", "--steps", 2]
    trained = ["--victim", "iql", "--victim-steps", 3, "--victim-set", "hidden=[8]"]
    run(capsys, *attack, *trained, "-o", tmp_path / "one")
    text = run(capsys, *attack, *trained, "-o", tmp_path / "one", "--overwrite")
    assert "corruption.adversarial of actions: 100%" in text
    (victim,) = (tmp_path / "home" / "victims").iterdir()
    run(capsys, *attack, *trained, "-o", tmp_path / "two")
    run(capsys, *attack, "--victim", victim, "-o", tmp_path / "three")
    fast = ["corrupt", dataset, "--mode", "fast_adversarial", "-e", "actions", "--victim", victim]
    run(capsys, *fast, "-o", tmp_path / "fast")
    run(capsys, *fast, "--steps", 3, "-o", tmp_path / "faster")
    done = [assay.load(tmp_path / name).history[-1].parameters for name in ("fast", "faster")]
    assert [(one["steps"], one["step_size"]) for one in done] == [(25, 0.08), (3, 0.08)]
    made = [assay.load(tmp_path / name) for name in ("one", "two", "three")]
    assert made[0] == made[1] == made[2] == assay.replay(made[0].history)
    assert "bc cannot" in run(capsys, *attack, "--victim", "bc", "-o", tmp_path / "x", status=1).lower()
    assert "unknown algorithm 'edax'" in run(capsys, *attack, "--victim", "edax", "-o", tmp_path / "x", status=1)
    assert "trained already" in run(capsys, *attack, "--victim", victim, "--victim-steps", 3, "-o", "x", status=1)


@pytest.mark.parametrize("suffix", [".json", ".parquet"])
def test_metrics_writes_what_it_prints(capsys, dataset, tmp_path, suffix):
    file = tmp_path / f"quality{suffix}"
    text = run(capsys, "metrics", dataset, dataset, "--reference", dataset, "-o", file)
    frame = pl.read_json(file) if suffix == ".json" else pl.read_parquet(file)
    assert frame.height == 2 * frame.filter(pl.col("metric") == "saco").height * frame["metric"].n_unique() / 2
    assert frame.filter(pl.col("metric") == "saco")["value"].to_list() == [1.0, 1.0]
    for value in frame.filter(pl.col("metric").is_in(["steps", "return_mean"]))["value"]:
        assert number(value) in text
    assert "the suffix must be" in run(capsys, "metrics", dataset, "-o", tmp_path / "quality.xls", status=1)


def test_metrics_side_by_side_have_a_column_per_dataset(capsys, dataset, tmp_path):
    short = assay.load(dataset).select([0])
    assay.save(short, tmp_path / "short")
    table = run(capsys, "metrics", dataset, tmp_path / "short", "--compare", "-s", "size", "-s", "psv")
    assert f"steps │ 600 │ {short.total_steps} │ steps" in table
    assert "psv" in table
    assert "return_mean" not in table
    assert table.count("┏") == 1
    five = run(capsys, "metrics", dataset, "--definition", "d4rl notebook", "-s", "unique_states")
    assert "5 edges, first 100,000 steps" in five


def test_the_card_is_written_once_and_names_what_it_shows(capsys, dataset, tmp_path):
    page = tmp_path / "card.html"
    text = run(capsys, "card", dataset, "-o", page, "--reference", dataset, "--random", "none")
    assert f"card: {page}" in text
    assert "potential for improvement" in page.read_text()
    assert "exists already" in run(capsys, "card", dataset, "-o", page, status=1)


def test_a_damaged_dataset_has_a_card_that_says_so(capsys, dataset, tmp_path):
    made = assay.load(dataset)
    states = np.array(made.observations)
    states[7, 1] = np.nan
    assay.save(made.replace({"observations": states}), tmp_path / "damaged")
    text = run(capsys, "card", tmp_path / "damaged", "-o", tmp_path / "card.html", "--random", "none")
    assert "column observations[1] is nan at episode 0, step 7" in text
    page = (tmp_path / "card.html").read_text()
    assert "Validation found 1 error" in page
    assert "return mean" in page


def test_a_dataset_survives_conversion_to_minari_and_back(capsys, dataset, tmp_path):
    run(capsys, "datasets", "convert", dataset, tmp_path / "minari" / "mine-v0", "--format", "minari")
    run(capsys, "datasets", "convert", tmp_path / "minari" / "mine-v0", tmp_path / "back")
    back, original = assay.load(tmp_path / "back"), assay.load(dataset)
    assert all(np.array_equal(back.column(name), original.column(name)) for name in original.columns)


def test_options_reach_the_writer_and_what_is_read_is_named(capsys, dataset, tmp_path):
    target = tmp_path / "minari/mine-v0"
    convert = ("datasets", "convert", dataset, target, "--format", "minari")
    assert "did you mean 'data_format'" in run(capsys, *convert, "--write-option", "dataformat=arrow", status=1)
    assert not target.exists()
    text = run(capsys, *convert, "--write-option", "data_format=arrow")
    assert "read as assay, written to" in text
    assert text.strip().endswith("as minari")
    assert (target / "data/0/part-0.arrow").is_file()
    assert f"{target}, read as minari" in run(capsys, "validate", target)
    assert "did you mean 'infos'" in run(capsys, "validate", target, "--option", "info=false", status=1)


def test_validate_exits_with_1_on_findings_that_count(capsys, dataset, tmp_path):
    run(capsys, "validate", dataset)
    broken = assay.load(dataset)
    rewards = broken.rewards.copy()
    rewards[250] = np.nan
    assay.save(broken.replace({"rewards": rewards}), tmp_path / "broken")
    text = run(capsys, "datasets", "validate", tmp_path / "broken", status=1)
    assert "rewards" in text
    assert "NaN" in text


@pytest.mark.parametrize(
    ("algorithm", "environment", "settings"),
    [("sac", "Pendulum-v1", ["random_steps=50"]), ("dqn", "CartPole-v1", ["discount=0.95", "exploration_steps=50"])],
)
def test_train_a_network_and_collect_from_it(capsys, tmp_path, algorithm, environment, settings):
    from assay.datasets.collection.policy_file import open_policy_file

    actor, replay, checkpoints = tmp_path / "actor.safetensors", tmp_path / "replay", tmp_path / "checkpoints"
    changes = ["hidden=[8]", "batch_size=8", "evaluation_interval=100", "evaluation_episodes=2", *settings]
    options = [item for change in changes for item in ("--set", change)]
    train = ("datasets", "train-policy", environment, "--algorithm", algorithm, "--steps", 250, *options)
    text = run(capsys, *train, "-o", actor, "--replay", replay, "--checkpoints", checkpoints)
    assert "250 steps of training written" in text
    assert "100%" in text
    file = open_policy_file(actor)
    assert file.environment_id == environment
    assert file.training["learning_curve"]["steps"] == [0, 100, 200, 250]
    assert file.training["command"].startswith(f"assay datasets train-policy {environment} --algorithm {algorithm}")
    assert file.training["settings"]["hidden"] == [8]
    assert set(file.training["versions"]) == {"assay", "gymnasium", "mujoco", "numpy", "torch"}
    assert len(list(checkpoints.iterdir())) == 4
    kept = assay.load(replay)
    assert kept.total_steps == 250
    assert kept.validate().ok
    run(capsys, "datasets", "collect", actor, "--steps", 300, "-o", tmp_path / "collected", "--workers", 0)
    collected = assay.load(tmp_path / "collected")
    assert collected.total_steps == 300
    assert "network policy (8, greedy)" in collected.info.description
    sampled = ("datasets", "collect", actor, "--steps", 300, "-o", tmp_path / "sampled", "--sampled", "True")
    if algorithm == "sac":
        run(capsys, *sampled, "--workers", 0)
        assert "sampled" in assay.load(tmp_path / "sampled").info.description
        assert assay.load(tmp_path / "sampled") != collected
    else:
        assert "only a tanh_gaussian" in run(capsys, *sampled, status=1)
    assert "exists already" in run(capsys, *train, "-o", actor, "--replay", replay, status=1)
    assert "another run" in run(capsys, *train, "--seed", 1, "--checkpoints", checkpoints, status=1)


def test_settings_of_a_training_are_checked(capsys):
    train = ("datasets", "train-policy", "CartPole-v1")
    assert "did you mean 'discount'" in run(capsys, *train, "--algorithm", "dqn", "--set", "discuont=1", status=1)
    assert "less than or equal to 1" in run(capsys, *train, "--algorithm", "dqn", "--set", "discount=2", status=1)
    assert "FIELD=VALUE" in run(capsys, *train, "--set", "directions", status=1)
    assert "keeps no replay" in run(capsys, *train, "--replay", "x", status=1)
    assert "dqn takes discrete" in run(capsys, *train, "--algorithm", "sac", status=1)


def test_collect_a_policy_of_ones_own(capsys, tmp_path):
    policy, target = tmp_path / "policy.json", tmp_path / "collected"
    run(capsys, "datasets", "train-policy", "CartPole-v1", "--steps", 3000, "-o", policy, "--workers", 0)
    assert json.loads(policy.read_text())["environment_id"] == "CartPole-v1"
    assert "say where" in run(capsys, "datasets", "collect", policy, status=1)
    run(capsys, "datasets", "collect", policy, "--steps", 500, "-o", target, "--workers", 0)
    made = assay.load(target)
    assert made.total_steps == 500
    assert made.info.environment_id == "CartPole-v1"
    assert made.validate().ok

    again = ("datasets", "collect", policy, "--workers", 0, "-o", target)
    assert "nothing to do" in run(capsys, *again, "--steps", 500)
    assert "steps 500 instead of 400" in run(capsys, *again, "--steps", 400, status=1)
    assert "noise 0.0 instead of 0.5" in run(capsys, *again, "--steps", 500, "--noise", 0.5, status=1)
    content = json.loads(policy.read_text())
    policy.write_text(json.dumps(content, indent=2))
    assert "another dataset: policy" in run(capsys, *again, "--steps", 500, status=1)


def test_a_collection_is_left_alone_only_where_it_is_the_one_asked_for(capsys, tmp_path, dataset):
    target = tmp_path / "collected"
    collect = ("datasets", "collect", "pendulum/random", "--workers", 0, "-o", target)
    run(capsys, *collect, "--steps", 400)
    before = assay.load(target)
    assert "nothing to do" in run(capsys, *collect, "--steps", 400)
    for changes, message in (
        (("--steps", 500), "steps 400 instead of 500"),
        (("--steps", 400, "--seed", 1), "seed 0 instead of 1"),
        (("--steps", 400, "--noise", 0.1), "noise 0 instead of 0.1"),
    ):
        text = run(capsys, *collect, *changes, status=1)
        assert message in text
        assert "--overwrite" in text
    other = ("datasets", "collect", "pendulum/medium", "--steps", 400, "-o", target)
    assert "name pendulum/random instead of pendulum/medium" in run(capsys, *other, status=1)
    assert "unknown catalog dataset" in run(capsys, "datasets", "collect", "nope/medium", "-o", target, status=1)
    assert assay.load(target) == before
    assay.save(before.select(range(1)), tmp_path / "changed")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").touch()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "metadata.json").write_text('{"schema": "assay-dataset"}')
    for place, message in (
        ("changed", "not what a collection leaves there"),
        ("empty", "is an empty folder; choose another path, or pass --overwrite"),
        ("file", "is a file, and a dataset is a folder"),
        ("other", "something else than a dataset of Assay's; choose another path, or pass --overwrite"),
        ("damaged", "--overwrite collects it anew"),
    ):
        text = run(capsys, *collect[:-1], tmp_path / place, "--steps", 400, status=1)
        assert message in text


def test_train_changes_fields_and_writes_runs(capsys, dataset, tmp_path):
    options = ["--set", "alpha=1.5", "--set", "hidden=[8, 8]", "--steps", 5, "--episodes", 1, "--workers", 0]
    text = run(capsys, "train", dataset, *options, "--seeds", 0, 1, "--runs", tmp_path / "runs")
    assert text.count("finished") == 2
    stored = [json.loads(file.read_text())["job"] for file in (tmp_path / "runs").glob("*/run.json")]
    assert [job["parameters"]["alpha"] for job in stored] == [1.5, 1.5]
    assert stored[0]["parameters"]["hidden"] == [8, 8]
    assert stored[0]["evaluation"] == {
        "episodes": 1,
        "every": None,
        "seed": 0,
        "environment": None,
        "engine": "gymnasium",
    }


def test_train_takes_an_evaluation_preset_by_name(capsys, dataset, tmp_path):
    options = ["--algorithm", "bc", "--steps", 20, "--evaluation", "sparse", "--episodes", 2, "--workers", 0]
    run(capsys, "train", dataset, *options, "--set", "hidden=[8]", "--runs", tmp_path / "runs")
    (file,) = (tmp_path / "runs").glob("*/run.json")
    evaluation = json.loads(file.read_text())["job"]["evaluation"]
    assert (evaluation["episodes"], evaluation["every"]) == (2, 2)


def test_evaluate_ranks_finished_runs_by_data_alone(capsys, dataset, tmp_path):
    for options in (["--seeds", 0, 1], ["--algorithm", "bc"]):
        fields = ["--set", "hidden=[8, 8]", "--steps", 5, "--episodes", 0]
        run(capsys, "train", dataset, *options, *fields, "--runs", tmp_path / "runs")
    text = run(capsys, "evaluate", tmp_path / "runs", "--dataset", dataset, "--steps", 5, "--discount", 0.9)
    assert "Discounted value of the initial states (0.9)" in text
    assert text.count("fitted_q") == 3
    assert text.count("own_critic") == 2
    text = run(capsys, "evaluate", dataset, "--dataset", dataset, status=1)
    assert "error:" in text


SUITE = """
name: tiny
source: {source}
variants: {{clean: [], noisy: [corruption.random: {{element: rewards, rate: 0.5}}]}}
algorithms: {{bc: {{hidden: [8]}}, iql-sharp: {{algorithm: iql, hidden: [8], expectile: 0.9}}}}
seeds: [0, 1]
evaluation: {{episodes: 1}}
budgets: {{smoke: {{steps: 4}}}}
"""


def test_a_suite_runs_is_skipped_when_finished_and_reported(capsys, dataset, tmp_path):
    suite, runs = tmp_path / "tiny.yaml", tmp_path / "runs"
    suite.write_text(SUITE.format(source=dataset))
    text = run(capsys, "run", suite, "--budget", "smoke", "--runs", runs, "--workers", 0)
    assert "iql-sharp" in text
    before = {file: file.stat().st_mtime_ns for file in runs.glob("*/*")}
    assert len(before) == 8 * 4
    run(capsys, "run", suite, "--budget", "smoke", "--runs", runs, "--workers", 0)
    assert before == {file: file.stat().st_mtime_ns for file in runs.glob("*/*")}
    text = run(capsys, "report", runs, "-o", tmp_path / "report.html")
    assert str(tmp_path / "report.html") in text.replace(" ", "")
    page = (tmp_path / "report.html").read_text()
    assert "iql-sharp" in page
    assert "noisy" in page


def test_two_suites_in_one_folder_each_show_their_own_scores(capsys, dataset, tmp_path):
    runs, changed, suite = tmp_path / "runs", tmp_path / "changed", tmp_path / "tiny.yaml"
    made = assay.load(dataset)
    assay.save(made.replace({"rewards": made.rewards + 1.0}), changed)  # of the same id
    for source, seeds in ((dataset, [0, 1]), (changed, [0, 1, 2])):
        suite.write_text(SUITE.format(source=source).replace("[0, 1]", str(seeds)))
        text = run(capsys, "run", suite, "--budget", "smoke", "--runs", runs, "--workers", 0)
        table = text.rpartition("Final scores")[2]
        shown = re.findall(r"(\S+) │ clean[^│]*│ (\d) │", table)
        assert shown == [(name, str(len(seeds))) for name in ("BC", "iql-sharp")]
    run(capsys, "report", runs, "-o", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "columns=[&#39;rewards&#39;]" in page or "columns=['rewards']" in page  # what tells the two datasets apart


def test_a_dry_run_prints_jobs_and_populations_and_writes_nothing(capsys, dataset, tmp_path):
    suite, runs = tmp_path / "tiny.yaml", tmp_path / "runs"
    suite.write_text(SUITE.format(source=dataset))
    text = run(capsys, "run", suite, "--budget", "smoke", "--runs", runs, "--dry-run")
    assert "8 jobs" in text
    assert text.count("new") == 4  # two variants x two algorithms, with both seeds in a row
    assert "3 -> 1" in text
    assert "evaluation is not included" in text
    assert not runs.exists()
    assert "leave --ray out" in run(capsys, "run", suite, "--budget", "smoke", "--dry-run", "--ray", "auto", status=1)


@pytest.mark.slow
def test_a_suite_goes_on_past_a_failure_lists_it_and_exits_with_1(dataset, tmp_path):
    suite, runs, wild, broken = (tmp_path / name for name in ("tiny.yaml", "runs", "wild", "broken"))
    made = assay.load(dataset)
    assay.save(made.replace({"rewards": made.rewards * 1e30}), wild)  # cloning does not look at them
    assay.save(made.replace({"weights": np.full(made.total_steps, -1.0)}), broken)  # which no sampler can draw by
    suite.write_text(SUITE.format(source=wild))
    command = [sys.executable, "-m", "assay.cli", "run", str(suite), "--budget", "smoke", "--runs", str(runs)]
    done = subprocess.run(
        [*command, "--workers", "0", "--log", "tensorboard"], cwd=ROOT, capture_output=True, text=True
    )
    text = re.sub(r"\s+", " ", done.stdout + done.stderr)
    assert done.returncode == 1, text
    assert "Final scores" in text
    assert text.count("diverged") == 4
    assert "was not finite in update" in text
    assert "4 of 8 runs did not finish" in text
    assert "Traceback" not in text
    assert len(list((runs / "tensorboard").glob("*/events*"))) == 8

    suite.write_text(SUITE.format(source=broken))
    command[-1] = str(tmp_path / "runs of broken data")
    done = subprocess.run([*command, "--workers", "0"], cwd=ROOT, capture_output=True, text=True)
    text = re.sub(r"\s+", " ", done.stdout + done.stderr)
    assert done.returncode == 1, text
    assert "8 of 8 runs did not finish" in text
    assert text.count("weights must be finite and non-negative") == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("budgets:", "budgts:"), "unknown key 'budgts'; did you mean 'budgets'?"),
        (("steps: 4", "steps: 0"), "budgets.smoke.steps=0"),
        (("steps: 4", "stepz: 4"), "budgets.smoke.stepz is not a parameter"),
        (("expectile: 0.9", "expectile: 1.9"), "algorithm iql-sharp: iql: expectile=1.9"),
        (("algorithm: iql", "algorithm: iqk"), "unknown algorithm 'iqk'; did you mean 'iql' or 'riql'"),
        (("element: rewards", "elemnt: rewards"), "elemnt is not a parameter"),
        (("rate: 0.5", "rate: 5"), "rate=5"),
        (("corruption.random", "corruption.randm"), "did you mean 'corruption.random'"),
        (("seeds: [0, 1]", "seeds: [0, 1"), "is not a YAML file"),
    ],
)
def test_a_misspelt_suite_is_refused_by_name_before_anything_runs(capsys, dataset, tmp_path, change, message):
    suite, runs = tmp_path / "tiny.yaml", tmp_path / "runs"
    suite.write_text(SUITE.format(source=dataset).replace(*change))
    text = run(capsys, "run", suite, "--budget", "smoke", "--runs", runs, status=1)
    assert message in text
    assert "tiny.yaml" in text.replace(" ", "")
    assert not runs.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["metrics", "hoper/medium"], "did you mean 'hopper/medium'"),
        (["metrics", "./nothing/here"], "./nothing/here does not exist"),
        (["metrics", "minari:no/such-v0"], "unknown local Minari dataset"),
        (["metrics", "s3:thing"], "unknown dataset scheme"),
        (["metrics", "hoper/medium"], "there is no file or folder 'hoper/medium'; unknown catalog dataset"),
        (
            ["train", "nothere", "--steps", "1"],
            "'nothere'; unknown catalog dataset 'nothere'; `assay datasets list` shows",
        ),
        (["metrics", "d4rl:"], "d4rl: is followed by nothing; name a dataset, such as d4rl:hopper-medium-v2"),
        (["metrics", "minari:"], "minari: is followed by nothing; name a dataset, such as minari:D4RL/door/human-v2"),
        (["metrics", "d4rl:zzzz"], "names are such as d4rl:hopper-medium-v2"),
        (["datasets", "show", "halfcheetah/expert"], "halfcheetah"),
        (["corrupt", "pendulum/random", "--element", "rewards", "--rate", "1.5", "-o", "x"], "rate=1.5"),
        (["corrupt", "pendulum/random", "--element", "rewards", "--scale", "-1", "-o", "x"], "scale=-1"),
        (["run", "no-such-suite.yaml"], "no-such-suite.yaml does not exist"),
        (["report", "no-such-runs"], "no-such-runs"),
        (["train", "pendulum/random", "--set", "alpha"], "expected FIELD=VALUE"),
        (["train", "pendulum/random", "--algorithm", "td4"], "unknown algorithm 'td4'"),
        (["train", "cartpole/random", "--steps", "5"], "Box action space"),
        (["train", "pendulum/random", "--log", "wandbb"], "unknown logger 'wandbb'; did you mean 'wandb'?"),
    ],
)
def test_an_error_is_one_line_that_says_what_and_where(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    text = run(capsys, *arguments, status=1)
    assert message in text
    assert "Traceback" not in text
    assert not list(tmp_path.iterdir()), "nothing may be left behind"


def test_debug_shows_the_traceback():
    command = [sys.executable, "-m", "assay.cli", "metrics", "hoper/medium", "--debug"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("damage", ["foreign", "truncated", "empty", "flipped column"])
def test_damaged_files_are_refused_with_their_name(capsys, tmp_path, dataset, damage):
    run(capsys, "datasets", "convert", dataset, tmp_path / "mine-v0", "--format", "minari")
    target = tmp_path / "mine-v0"
    file = target / "data" / "main_data.hdf5"
    if damage == "foreign":
        target = tmp_path / "notes"
        target.mkdir()
        (target / "notes.txt").write_text("not a dataset")
    elif damage == "truncated":
        file.write_bytes(file.read_bytes()[:5000])
    elif damage == "empty":
        file.write_bytes(b"")
    else:
        target = dataset
        column = dataset / "columns" / "actions.npy"
        content = bytearray(column.read_bytes())
        content[-3] ^= 1
        column.write_bytes(content)
    text = run(capsys, "metrics", target, status=1).replace(" ", "")
    assert str(target) in text


@pytest.mark.skipif(not SHARED.exists(), reason="the shared data is not beside this checkout")
@pytest.mark.parametrize("name", ["hopper/random-v0", "hopper/sac-v0", "halfcheetah/random-v0"])
def test_metrics_and_validate_work_on_real_minari_datasets(capsys, name):
    assert "return_mean" in run(capsys, "metrics", SHARED / name)
    run(capsys, "validate", SHARED / name)


def test_a_reader_that_closes_early_is_no_error():
    command = f"{sys.executable} -m assay.cli datasets list | head -1"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, env=dict(os.environ))
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("moment", [0.5, 1.5])
def test_a_killed_collection_leaves_nothing_that_looks_finished(tmp_path, moment):
    target = tmp_path / "collected"
    options = ["datasets", "collect", "pendulum/medium", "--steps", "2000000", "-o", str(target)]
    process = subprocess.Popen([sys.executable, "-m", "assay.cli", *options], cwd=ROOT, stderr=subprocess.DEVNULL)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(2.0 + moment)  # after the imports, in the middle of the simulation
    process.kill()
    process.wait()
    assert not target.exists()
    options[4] = "400"
    subprocess.run([sys.executable, "-m", "assay.cli", *options], cwd=ROOT, check=True, capture_output=True)
    assert assay.load(target) == assay.load("pendulum/medium", steps=400)
    assert [item.name for item in tmp_path.iterdir()] == ["collected"]


def test_the_formats_are_listed_with_what_they_cannot_hold(capsys):
    text = run(capsys, "datasets", "formats")
    for name in ("assay", "minari", "d4rl", "robomimic", "lerobot", "ogbench", "neorl"):
        assert name in text
    assert "cannot hold" in text


def test_a_file_of_ones_own_is_read_with_a_mapping_from_the_command_line(capsys, tmp_path):
    np.savez(tmp_path / "logs.npz", state=np.arange(8.0)[:, None], u=np.zeros((6, 1)), r=np.ones(6), n=np.array([4, 2]))
    mapping = json.dumps({"observations": "state", "actions": "u", "rewards": "r"})
    options = ("--option", f"columns={mapping}", "--option", "episode_lengths=n", "--from", "npz")
    text = run(capsys, "datasets", "convert", tmp_path / "logs.npz", tmp_path / "mine", *options)
    assert "6 steps, read as npz, written to" in text
    made = assay.load(tmp_path / "mine")
    assert made.episode_lengths.tolist() == [4, 2]
    assert made.observations.ravel().tolist() == list(range(8))
    text = run(capsys, "datasets", "show", tmp_path / "logs.npz", *options)
    assert "read as npz" in text
    text = run(capsys, "datasets", "show", tmp_path / "logs.npz", "--option", "columns", status=1)
    assert "columns: expected FIELD=VALUE" in text
    text = run(capsys, "datasets", "show", tmp_path / "mine", "--option", "colums=1", status=1)
    assert "colums" in text


def test_a_dataset_converts_to_a_file_format_and_is_recognized_again(capsys, dataset, tmp_path):
    run(capsys, "datasets", "convert", dataset, tmp_path / "data.hdf5", "--format", "d4rl")
    text = run(capsys, "datasets", "show", tmp_path / "data.hdf5")
    assert "read as" in text
    text = run(capsys, "datasets", "convert", dataset, tmp_path / "x.npz", "--format", "neorl", status=1)
    assert "read, but not written" in text


def test_what_a_format_cannot_hold_is_dropped_by_name_only(capsys, dataset, tmp_path):
    run(capsys, "corrupt", dataset, "--element", "rewards", "--rate", "0.2", "-o", tmp_path / "noisy")
    convert = ("datasets", "convert", tmp_path / "noisy", tmp_path / "noisy-v0", "--format", "minari")
    assert "--drop corrupted" in run(capsys, *convert, status=1)
    assert not (tmp_path / "noisy-v0").exists()
    run(capsys, *convert, "--drop", "corrupted")
    assert "corrupted" not in run(capsys, "datasets", "show", tmp_path / "noisy-v0").split("history")[0]


def test_map_proposes_columns_and_show_names_them(capsys, tmp_path):
    (tmp_path / "logs").mkdir()
    for name in ("run_1.csv", "run_2.csv"):
        (tmp_path / "logs" / name).write_text("t,pos,cmd\n0.0,1.5,1\n0.1,2.5,0\n")
    main(["datasets", "map", str(tmp_path / "logs")])
    text = capsys.readouterr().out
    assert "observations: [pos]" in text
    assert "each of the 2 files is one" in text
    (tmp_path / "columns.yaml").write_text(text + "\nends: truncated\nunits: {pos: m}\n")
    shown = run(capsys, "datasets", "show", tmp_path / "logs", "--option", f"columns={tmp_path / 'columns.yaml'}")
    assert "observations pos (m)" in shown
    assert "read as table" in shown
    assert "needs no mapping" in run(capsys, "datasets", "map", saved(tmp_path), status=1)


def saved(folder: Path) -> Path:
    assay.save(assay.load("pendulum/random", steps=400), folder / "own")
    return folder / "own"
