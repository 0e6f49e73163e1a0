"""What the published method claims, at a small size: rewards learned from frames rank, and a policy learns from learned rewards.

CartPole and pendulum for the ranking from frames. For the policies pendulum (continuous actions) and CartPole (discrete ones), both by
IQL: their data is collected in seconds, and their returns tell a learner that follows its rewards from one that does not. The data
is a mixture of good and random episodes, so that cloning it is not enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import assay
from assay.baselines import IQL, Evaluation, Job, train
from assay.relabeling import PreferenceRewardLabels, ScriptedTeacher, TaskMeasure, ranking_accuracy
from assay.relabeling.judges import Pairs
from assay.relabeling.task_measure import MEASURE

FRAMES = {"inputs": "frames", "frame_height": 32, "filters": ((16, 5, 2), (32, 3, 2), (64, 3, 2))}


@dataclass(frozen=True)
class Shuffled:
    """A judge whose answers have nothing to do with the pairs."""

    name: ClassVar[str] = "shuffled"

    def judge(self, pairs: Pairs, goal: str) -> np.ndarray:
        return (np.random.default_rng(0).random(len(pairs)) < 0.5).astype(np.int8)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["cartpole", "pendulum"])
def test_rewards_learned_from_frames_rank_held_out_pairs_unless_the_answers_are_shuffled(task):
    dataset = TaskMeasure()(assay.load(f"{task}/medium-replay", steps=3_000))
    truth = dataset.column(MEASURE)
    options = {"pairs": 700, "passes": 14, "learning_rate": 1e-3, **FRAMES}
    rated = PreferenceRewardLabels(judge=ScriptedTeacher(), judged_by=MEASURE, **options)(dataset)
    assert ranking_accuracy(rated.rewards, truth).low > 0.85
    options["passes"] = 3
    blind = PreferenceRewardLabels(judge=Shuffled(), **options)(dataset)
    assert ranking_accuracy(blind.rewards, truth).high < 0.85
    assert blind.info.extra["reward_model"]["held_out"]["low"] < 0.5


@pytest.mark.slow
def test_a_policy_learns_from_learned_rewards_what_it_learns_from_those_that_the_teacher_knows(tmp_path):
    dataset = TaskMeasure()(assay.load("cartpole/medium-replay", steps=5_000))
    options = {"pairs": 600, "passes": 20, "learning_rate": 3e-3, "hidden": (32,), "judged_by": MEASURE}
    variants = {
        "true": dataset.replace({"rewards": dataset.column(MEASURE)}),
        "learned": PreferenceRewardLabels(judge=ScriptedTeacher(), **options)(dataset),
        "shuffled": PreferenceRewardLabels(judge=Shuffled(), **{**options, "passes": 3})(dataset),
    }
    rates = {f"{name}_learning_rate": 1e-3 for name in ("actor", "critic", "value")}
    algorithm = IQL(hidden=(64, 64), batch_size=128, **rates)
    jobs = [Job(algorithm, variant, seed) for variant in variants.values() for seed in range(2)]
    runs = train(jobs, steps=1_000, runs=tmp_path, evaluation=Evaluation(episodes=10), progress=None)
    scores = [np.mean(run.returns) for run in runs]
    means = dict(zip(variants, np.reshape(scores, (3, 2)).mean(1)))
    assert means["learned"] > 0.8 * means["true"], means
    assert means["shuffled"] < 0.8 * means["true"], means
