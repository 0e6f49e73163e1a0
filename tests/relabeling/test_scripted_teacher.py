"""The scripted teacher: right without errors, and wrong as often as it is told to be."""

from __future__ import annotations

import numpy as np
import pytest

from assay.datasets.errors import ConfigError
from assay.relabeling import ScriptedTeacher
from assay.relabeling.judges import Pairs, Segments, judge_from_plain, judge_to_plain


def pairs_of(first: np.ndarray, second: np.ndarray) -> Pairs:
    steps = np.arange(first.size).reshape(first.shape)
    return Pairs(Segments(steps, first), Segments(steps + first.size, second))


RANDOM = pairs_of(*np.random.default_rng(0).normal(size=(2, 20_000, 2)))
TRUE = (RANDOM.second.rewards.sum(1) > RANDOM.first.rewards.sum(1)).astype(int)


def test_without_errors_the_larger_sum_wins():
    np.testing.assert_array_equal(ScriptedTeacher().judge(RANDOM, ""), TRUE)


def test_mistakes_are_as_frequent_as_said_and_depend_on_the_seed_alone():
    answers = ScriptedTeacher(mistake=0.2, seed=1).judge(RANDOM, "")
    assert abs((answers != TRUE).mean() - 0.2) < 0.01
    part = Pairs(*(Segments(side.steps[::7], side.rewards[::7]) for side in (RANDOM.first, RANDOM.second)))
    np.testing.assert_array_equal(ScriptedTeacher(mistake=0.2, seed=1).judge(part, ""), answers[::7])
    assert (ScriptedTeacher(mistake=0.2, seed=2).judge(RANDOM, "") != answers).mean() > 0.2


def test_equal_and_poor_pairs_are_not_decided():
    pairs = pairs_of(np.array([[1.0], [1.0], [0.1]]), np.array([[1.05], [2.0], [0.3]]))
    assert ScriptedTeacher(equal=0.1).judge(pairs, "").tolist() == [-1, 1, 1]
    assert ScriptedTeacher(skip=0.5).judge(pairs, "").tolist() == [1, 1, -1]
    assert ScriptedTeacher().judge(pairs_of(np.ones((1, 1)), np.ones((1, 1))), "").tolist() == [-1]


def test_a_myopic_teacher_looks_at_the_end():
    pairs = pairs_of(np.array([[3.0, 0.0]]), np.array([[0.0, 2.0]]))
    assert ScriptedTeacher().judge(pairs, "").tolist() == [0]
    assert ScriptedTeacher(myopia=0.5).judge(pairs, "").tolist() == [1]


def test_a_rational_teacher_follows_the_bradley_terry_model():
    pairs = pairs_of(np.zeros((20_000, 1)), np.ones((20_000, 1)))
    assert abs(ScriptedTeacher(rationality=1.0).judge(pairs, "").mean() - 1 / (1 + np.exp(-1))) < 0.01


def test_a_judge_is_written_in_recipes_as_its_name_and_parameters():
    teacher = ScriptedTeacher(mistake=0.1, seed=3)
    assert judge_from_plain(judge_to_plain(teacher)) == teacher
    with pytest.raises(ConfigError, match="mapping of its name"):
        judge_from_plain([1])
    with pytest.raises(ConfigError, match="mistake"):
        ScriptedTeacher(mistake=2.0)
