"""The command line on recordings: validate by a profile with its exit statuses and files, and the edits."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import assay
from assay.cli import main
from tests.metrics.robot.recordings import recorded, smooth


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    def call(*arguments: object) -> tuple[int, str]:
        status = 0
        try:
            main([str(item) for item in arguments])
        except SystemExit as end:
            status = int(end.code or 0)
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return call


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    movements = [smooth(122, seed, 2) for seed in range(6)]
    states, actions = [x[:-2] for x in movements], [x[2:] for x in movements]
    assay.save(recorded(states, actions).replace({"rewards": np.ones(720)}), tmp_path / "clean")
    rest = [np.concatenate([x, np.repeat(x[-1:], 60, axis=0)]) for x in states[:2]] + states[2:]
    assay.save(recorded(rest).replace({"rewards": np.ones(840)}), tmp_path / "resting")
    states[4] = states[4].copy()
    states[4][50:] += 9
    assay.save(recorded(states, actions).replace({"rewards": np.ones(720)}), tmp_path / "jumping")
    return tmp_path


def test_defects_decide_the_exit_status_and_risks_only_where_one_asks(run, folders: Path) -> None:
    robot = ("--profile", "robot")
    assert run("datasets", "validate", folders / "clean", *robot, "--fail-on-risks")[0] == 0
    status, text = run("datasets", "validate", folders / "resting", *robot)
    assert (status, "risk: idle_tail" in text) == (0, True)
    assert run("validate", folders / "resting", *robot, "--fail-on-risks")[0] == 1
    status, text = run("datasets", "validate", folders / "jumping", *robot)
    assert (status, "error: jumps: 1 of 6 episodes" in text) == (1, True)
    assert run("validate", folders / "jumping")[0] == 0  # the plain checks know of no jumps
    assert run("validate", folders / "clean", *robot, "--fail-on-risks", "--check", "limits={chatter: 0.0}")[0] == 1
    assert run("validate", folders / "clean", "--fail-on-risks")[0] == 2
    assert run("validate", folders / "nowhere", *robot)[0] == 1


def test_the_findings_are_written_for_programs(run, folders: Path) -> None:
    files = "--json", folders / "out.json", "--junit", folders / "out.xml"
    assert run("validate", folders / "jumping", "--profile", "robot", *files)[0] == 1
    plain = json.loads((folders / "out.json").read_text())
    assert (plain["passed"], plain["errors"], plain["fails_on"]) == (False, 1, ["error"])
    (jump,) = [item for item in plain["findings"] if item["check"] == "jumps"]
    assert (jump["severity"], jump["episode"], jump["row"], jump["column"]) == ("error", 4, 49, "observations")
    suite = ElementTree.parse(folders / "out.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == (str(len(plain["checks"])), "1")
    (failure,) = suite.iter("failure")
    assert "jumps" in failure.text
    assert {case.get("name") for case in suite.iter("testcase")} == set(plain["checks"])


def test_the_edits_are_commands_and_are_recorded(run, folders: Path) -> None:
    def edited(*words: object) -> assay.Dataset:
        output = folders / f"edited-{len(list(folders.iterdir()))}"
        status, text = run("datasets", *words, "--output", output)
        assert status == 0, text
        return assay.load(output)

    resting = folders / "resting"
    assert edited("trim", resting).episode_lengths.tolist()[2:] == [120] * 4
    assert edited("trim", resting).episode_lengths[0] < 125
    assert edited("drop", resting, "-e", 0, "-e", 5).total_episodes == 4
    dropped = edited("drop", folders / "jumping", "--failed", "jumps")
    assert dropped.total_episodes == 5
    assert dropped.history[-1].parameters["episodes"] == [4]
    assert edited("merge", folders / "jumping", folders / "clean").total_episodes == 12
    renamed = edited("rename", resting, "--names", "observations=[hip, knee]", "--variant", "monday")
    assert (renamed.info.names["observations"], renamed.name) == (("hip", "knee"), "monday")
    assert edited("cut", resting, "--gap", 3).total_episodes == 6
    even = edited("resample", resting, "--rate", 10, "--how", "linear", "--column", "observations", "nearest")
    assert np.allclose(np.diff(even[0].columns["time"]), 0.1)
    assert even.history[-1].transform == "datasets.resample"
    assert even.history[-1].parameters["how"]["observations"] == "nearest"
    assert run("datasets", "resample", resting, "--output", folders / "four")[0] == 2
    for column, said in (("nope", "unknown column 'nope'"), ("rewards", "one way only")):
        words = "--rate", 10, "--column", column, "linear", "--output", folders / "four"
        status, text = run("datasets", "resample", resting, *words)
        assert (status, said in text) == (1, True)
    parts = "--fraction", 0.5, "--fraction", 0.5, "--output", folders / "one", "--output", folders / "two"
    assert run("datasets", "split", resting, *parts)[0] == 0
    assert assay.load(folders / "one").total_episodes == assay.load(folders / "two").total_episodes == 3
    assert run("datasets", "split", resting, "--fraction", 0.5, "--output", folders / "three")[0] == 1
    assert run("datasets", "drop", resting, "--output", folders / "four")[0] == 2
    assert run("datasets", "merge", resting, "--output", folders / "four")[0] == 2
    assert not (folders / "four").exists()


def test_what_a_transform_makes_may_be_named(run, folders: Path) -> None:
    clean = folders / "clean"
    for number, words in enumerate(
        (
            ("corrupt", clean, "--element", "actions"),
            ("apply", clean, "datasets.trim"),
            ("augment", clean, "--method", "gaussian_noise", "scale=0.001"),
            ("reweight", clean, "score=return"),
        )
    ):
        output = folders / f"made-{number}"
        status, text = run(*words, "--output", output, "--variant", "mine")
        assert status == 0, text
        assert assay.load(output).name == "mine"
