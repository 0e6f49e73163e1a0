"""Rewards from preferences as a transform: labels of next observations, their spread, the truth kept, a record that replays."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

import assay
from assay.cli import main
from assay.datasets import Dataset, DatasetInfo
from assay.datasets.errors import ConfigError, UnknownNameError
from assay.datasets.transform import make_transform
from assay.relabeling import PreferenceRewardLabels, ScriptedTeacher, SparseRewards, TaskMeasure, ranking_accuracy
from assay.relabeling.judges import Pairs
from assay.relabeling.shared.learned_rewards import scaled

QUICK = {"pairs": 300, "hidden": (32,), "learning_rate": 3e-3, "passes": 25}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Rewards are the first entry of the next observation; the observations have nothing to do with each other."""
    observations = np.random.default_rng(0).normal(size=(440, 2))
    ends = np.arange(400) % 10 == 9
    made = Dataset.from_arrays(
        observations=observations,
        actions=np.zeros((400, 1)),
        rewards=np.zeros(400),
        terminations=ends,
        truncations=np.zeros(400, bool),
    )
    return made.replace({"rewards": made.next_observations[:, 0] * 2.0 - 5.0})


@pytest.fixture(scope="module")
def rated(dataset: Dataset) -> Dataset:
    return PreferenceRewardLabels(judge=ScriptedTeacher(mistake=0.05, seed=0), goal="more", **QUICK)(dataset)


def test_labels_rank_steps_by_what_they_led_to(dataset, rated):
    assert ranking_accuracy(rated.rewards, dataset.rewards).low > 0.9
    before = ranking_accuracy(rated.rewards, dataset.observations[dataset.observation_rows][:, 0])
    assert before.low < 0.55  # what a step started from says nothing


def test_the_old_rewards_are_kept_and_the_spread_of_the_members_is_a_column(dataset, rated):
    np.testing.assert_array_equal(rated.column("truth/rewards"), dataset.rewards)
    assert rated.rewards.dtype == np.float32
    assert 0 <= rated.rewards.min() < rated.rewards.max() <= 1
    assert rated.column("uncertainty/rewards").shape == (400,)
    assert rated.column("uncertainty/rewards").max() > 0
    again = SparseRewards()(rated)
    np.testing.assert_array_equal(again.column("truth/rewards"), dataset.rewards)  # the oldest is the truth
    assert "uncertainty/rewards" not in again.columns


def test_the_report_says_how_good_the_model_is(rated):
    report = rated.info.extra["reward_model"]
    assert report["pairs"] == report["decided"] == 300
    assert report["held_out"]["low"] < report["held_out"]["accuracy"] < report["held_out"]["high"]
    assert report["held_out"]["pairs"] == 30


def test_the_record_makes_the_same_rewards_again(dataset, rated):
    record = rated.history[-1]
    assert record.parameters["judge"]["scripted"]["mistake"] == 0.05
    again = make_transform(record.transform, record.parameters)(dataset)
    assert again.fingerprint == rated.fingerprint


def test_a_dataset_without_rewards_is_labelled_by_another_column(dataset):
    bare = dataset.replace({"rewards": None, "infos/height": dataset.rewards})
    rated = PreferenceRewardLabels(judge=ScriptedTeacher(), judged_by="infos/height", **QUICK)(bare)
    assert not rated.missing["rewards"].any()
    assert "truth/rewards" not in rated.columns
    assert ranking_accuracy(rated.rewards, dataset.rewards).low > 0.9


def test_disagreement_asks_in_rounds_and_all_samplings_learn(dataset):
    for sampling in ("by_episode", "feature_distance", "disagreement"):
        labels = PreferenceRewardLabels(judge=ScriptedTeacher(), sampling=sampling, rounds=2, **QUICK)
        rated = labels(dataset)
        assert ranking_accuracy(rated.rewards, dataset.rewards).low > 0.85, sampling
        assert rated.info.extra["reward_model"]["decided"] == 300


@dataclass(frozen=True)
class Looker:
    """A judge of frames: the brighter segment is better."""

    name: ClassVar[str] = "looker"

    def judge(self, pairs: Pairs, goal: str) -> np.ndarray:
        assert pairs.first.rewards is None
        sides = [[side.frames[place].mean() for place in range(len(pairs))] for side in (pairs.first, pairs.second)]
        return (np.array(sides[1]) > np.array(sides[0])).astype(np.int8)


def test_a_judge_that_looks_is_shown_the_frames_after_the_steps(dataset):
    bright = np.clip(dataset.observations[:, 0] * 40 + 128, 0, 255).astype(np.uint8)
    images = np.broadcast_to(bright[:, None, None], (440, 8, 8))
    shown = dataset.replace(
        {"observations/camera": images, "observations/state": dataset.observations, "observations": None}
    )
    rated = PreferenceRewardLabels(judge=Looker(), **QUICK)(shown)
    assert ranking_accuracy(rated.rewards, dataset.rewards).low > 0.9


def test_scales():
    members = np.array([[-1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(scaled(members, "raw"), members)
    np.testing.assert_array_equal(scaled(members, "range"), [[0.0, 0.5, 1.0], [0.0, 0.0, 0.0]])
    standard = scaled(members, "standardize")
    assert (standard.mean(1) == 0).all()
    np.testing.assert_allclose(standard.std(1), [1.0, 0.0])


def test_what_cannot_be_asked_is_refused(dataset):
    with pytest.raises(UnknownNameError, match="judged_by"):
        PreferenceRewardLabels(judge=ScriptedTeacher(), judged_by="reward", **QUICK)(dataset)
    with pytest.raises(ConfigError, match="a scripted teacher compares one number"):
        PreferenceRewardLabels(judge=ScriptedTeacher(), judged_by="actions", **QUICK)(dataset)
    with pytest.raises(UnknownNameError, match="unknown judge 'scriptd'"):
        PreferenceRewardLabels(judge={"scriptd": {}})
    small = dataset.replace({"observations/camera": np.zeros((440, 8, 8), np.uint8), "observations": None})
    with pytest.raises(ConfigError, match="too small for the filters"):
        PreferenceRewardLabels(judge=ScriptedTeacher(), inputs="frames", **QUICK)(small)


def observed(environment: str, observations: Any, **kwargs: Any) -> Dataset:
    """One episode of two steps, the first of which leads to the second observation."""
    return Dataset.from_arrays(
        observations=observations,
        actions=np.zeros((2, 1)),
        rewards=np.ones(2),
        terminations=[False, True],
        truncations=[False, False],
        info=DatasetInfo(env_spec=json.dumps({"id": environment, "kwargs": kwargs})),
    )


def test_a_task_measure_is_about_what_a_step_led_to():
    walls = [[1, 1, 1, 1, 1], [1, 0, 0, 0, 1], [1, 1, 1, 0, 1], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]]
    here, goal = np.array([[9.0, 9.0], [-1.0, 1.0], [-1.0, -0.75]]), np.tile([-1.0, -1.0], (3, 1))
    maze = observed("PointMaze_UMaze-v3", {"achieved_goal": here, "desired_goal": goal}, maze_map=walls)
    assert TaskMeasure()(maze).column("infos/task_measure").tolist() == [-6.0, -0.25]  # six cells round the wall
    cart = observed("CartPole-v1", np.array([[9.0, 0, 9, 0], [1.2, 0, 0, 0], [0, 0, 3 * np.pi / 180, 0]]))
    np.testing.assert_allclose(TaskMeasure()(cart).column("infos/task_measure"), [0.5, 0.75], atol=1e-6)
    assert TaskMeasure()(observed("Hopper-v5", np.zeros((3, 11)))).column("infos/task_measure").tolist() == [1.0, 1.0]


def test_the_command_labels_and_says_how_well(dataset, tmp_path, capsys):
    assay.save(dataset, tmp_path / "source")
    settings = ["hidden=[32]", "passes=5", "learning_rate=0.003"]
    options = ["--pairs", "200", "--judge-set", "mistake=0.1", "-o", str(tmp_path / "rated")]
    main(["relabel", "preferences", str(tmp_path / "source"), *settings, *options])
    printed = capsys.readouterr().out
    assert "200 of 200 pairs were decided" in printed
    assert "accuracy on 20 held out" in printed
    assert "uncertainty/rewards" in assay.load(tmp_path / "rated").columns
