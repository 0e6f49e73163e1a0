"""What the published method claims, at a small size: rewards learned from frames rank, and a policy learns from learned rewards.

Pendulum and CartPole for the ranking from frames. For the policy CartPole, by IQL of discrete actions: its data is collected in seconds, most of its
episodes are short, and so a learner that follows its rewards is told from one that does not. The suite `preference-rewards` has the other
tasks.
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

FRAMES = {"inputs": "frames", "filters": ((16, 5, 3), (32, 3, 2), (64, 3, 2))}


@dataclass(frozen=True)
class Shuffled:
    """A judge whose answers have nothing to do with the pairs."""

    name: ClassVar[str] = "shuffled"

    def judge(self, pairs: Pairs, goal: str) -> np.ndarray:
        return (np.random.default_rng(0).random(len(pairs)) < 0.5).astype(np.int8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "steps", "pairs", "passes"),
    [("pendulum/medium-replay", 3_000, 1_000, 12), ("cartpole/medium-replay", 5_000, 2_000, 25)],
)
def test_rewards_learned_from_frames_rank_steps_unless_the_answers_are_shuffled(name, steps, pairs, passes):
    dataset = TaskMeasure()(assay.load(name, steps=steps))
    truth = dataset.column(MEASURE)
    options = {"pairs": pairs, "passes": passes, "learning_rate": 1e-3, "frame_height": 32, **FRAMES}
    rated = PreferenceRewardLabels(judge=ScriptedTeacher(), judged_by=MEASURE, **options)(dataset)
    assert ranking_accuracy(rated.rewards, truth).low > 0.85
    options |= {"passes": 2, "pairs": 1_000}
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
    runs = train(jobs, steps=2_500, runs=tmp_path, evaluation=Evaluation(episodes=10), progress=None)
    scores = [np.mean(run.returns) for run in runs]
    means = dict(zip(variants, np.reshape(scores, (3, 2)).mean(1)))
    assert means["learned"] > 0.8 * means["true"], means
    assert means["shuffled"] < 0.8 * means["true"], means
