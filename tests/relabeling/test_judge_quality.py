"""A judge with known error rates is measured within its interval; one that only looks at the side is found out."""

import numpy as np
import pytest

from assay.datasets.errors import ConfigError, UnknownNameError
from assay.relabeling import ScriptedTeacher, judge_quality
from assay.relabeling.judge_quality import wilson_interval
from assay.relabeling.judges import Pairs, Segments


def rated(count, seed=0):
    rewards = np.random.default_rng(seed).normal(size=(2, count, 1))
    return Pairs(*(Segments(np.arange(count)[:, None] + count * side, rewards[side]) for side in range(2)))


class Simulated:
    """Right with these rates; draws anew at each question."""

    name = "simulated"

    def __init__(self, sensitivity, specificity, undecided=0.0, seed=0):
        self.rates, self.undecided = (specificity, sensitivity), undecided
        self.generator = np.random.default_rng(seed)

    def judge(self, pairs, goal):
        truth = (pairs.second.rewards > pairs.first.rewards)[:, 0].astype(int)
        right = self.generator.random(len(pairs)) < np.take(self.rates, truth)
        answers = np.where(right, truth, 1 - truth)
        answers[self.generator.random(len(pairs)) < self.undecided] = -1
        return answers


@pytest.mark.slow
def test_known_rates_lie_in_their_intervals_as_often_as_stated():
    truth = {"sensitivity": 0.9, "specificity": 0.7, "shown of a difference": 0.6, "decided": 0.8}
    inside = dict.fromkeys(truth, 0)
    for seed in range(100):
        quality = judge_quality(Simulated(0.9, 0.7, 0.2, seed), rated(300, seed), "any", repeats=1, swap=False)
        for measure, value in truth.items():
            low, high = quality.interval(measure)
            inside[measure] += low <= value <= high
    assert all(86 <= count <= 100 for count in inside.values()), inside  # 95 of 100, within four deviations


def test_repeats_and_swaps_of_a_noisy_judge_have_their_closed_forms():
    quality = judge_quality(Simulated(0.8, 0.8), rated(4000), "any", repeats=3)
    low, high = quality.interval("agreement between repeats")
    assert low < 0.8**2 + 0.2**2 < high
    low, high = quality.interval("consistent when swapped")
    assert low < 0.8**2 + 0.2**2 < high
    low, high = quality.interval("bias to the first")
    assert low < 0 < high
    low, high = quality.interval("trials for one")
    assert low < 1 / 0.6**2 < high


def test_a_judge_that_always_takes_the_first_is_found_out():
    class First:
        name = "first"

        def judge(self, pairs, goal):
            return np.zeros(len(pairs), np.int8)

    quality = judge_quality(First(), rated(200), "any")
    assert quality["bias to the first"] == 1
    assert quality["consistent when swapped"] == 0
    assert quality["sensitivity"] == 0
    assert quality["specificity"] == 1
    assert quality["shown of a difference"] == 0


def test_a_teacher_without_mistakes_is_perfect():
    quality = judge_quality(ScriptedTeacher(), rated(100), "any")
    for measure in ("sensitivity", "specificity", "decided", "consistent when swapped", "trials for one"):
        assert quality[measure] == 1


def test_without_truth_there_is_no_sensitivity():
    pairs = Pairs(*(Segments(np.arange(3)[:, None] + 3 * side) for side in range(2)))

    class Second:
        name = "second"

        def judge(self, pairs, goal):
            return np.ones(len(pairs), np.int8)

    quality = judge_quality(Second(), pairs, "any")
    assert "sensitivity" not in quality.table["measure"].to_list()
    assert judge_quality(Second(), pairs, "any", truth=[1, 0, -1])["specificity"] == 0
    with pytest.raises(UnknownNameError, match="sensitivity"):
        quality["sensitivity"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"truth": [1, 2, 0]}, "3 numbers"), ({"repeats": 0}, "repeats=0"), ({"level": 1.0}, "level=1.0")],
)
def test_misuse(changed, message):
    with pytest.raises(ConfigError, match=message):
        judge_quality(ScriptedTeacher(), rated(3), "any", **changed)
    with pytest.raises(ConfigError, match="at least one pair"):
        judge_quality(ScriptedTeacher(), rated(0), "any")


def test_wilson_of_nothing_says_nothing():
    assert wilson_interval(0, 0) == (0.0, 1.0)
