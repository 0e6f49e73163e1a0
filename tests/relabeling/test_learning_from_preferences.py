"""What the published method claims, at a small size: rewards learned from frames rank, and a policy learns from learned rewards.

CartPole and pendulum for the ranking from frames. For the policies pendulum (continuous actions) and CartPole (discrete ones), both by
IQL: their data is collected in seconds, and their returns tell a learner that follows its rewards from one that does not. The data
is a mixture of good and random episodes, so that cloning it is not enough.
"""

from __future__ import annotations

import numpy as np
import pytest

import assay
from assay.relabeling import PreferenceRewardLabels, ScriptedTeacher, TaskMeasure, ranking_accuracy
from assay.relabeling.judges import Pairs
from assay.relabeling.task_measure import MEASURE

FRAMES = {"inputs": "frames", "frame_height": 32, "filters": ((16, 5, 2), (32, 3, 2), (64, 3, 2))}


class Shuffled:
    """A judge whose answers have nothing to do with the pairs."""

    name = "shuffled"

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
