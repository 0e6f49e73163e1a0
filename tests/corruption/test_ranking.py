"""Ranking: the area under the curve as a probability of pairs, and what is left of it when the length is taken out."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import spearmanr

from assay.corruption import ColumnFilter, detection
from assay.corruption.repair.ranking import auroc, auroc_beyond_length, auroc_of_equal_length, length_correlation
from tests.corruption.test_column_filter import made


def by_pairs(scores, truth, allowed=lambda wrong, right: True):
    """The share of pairs of a wrong and a right unit that are in order, counted one by one."""
    pairs = [pair for pair in product(np.flatnonzero(truth), np.flatnonzero(~truth)) if allowed(*pair)]
    wins = [(scores[a] > scores[b]) + 0.5 * (scores[a] == scores[b]) for a, b in pairs]
    return np.mean(wins) if wins else np.nan


@pytest.mark.parametrize("seed", range(5))
def test_the_area_is_the_share_of_pairs_in_order(seed):
    generator = np.random.default_rng(seed)
    truth, scores = generator.random(40) < 0.4, generator.integers(0, 6, 40).astype(float)
    scores[3], scores[7] = np.inf, -np.inf
    lengths = generator.integers(1, 4, 40)
    assert auroc(scores, truth) == pytest.approx(by_pairs(scores, truth))
    equal = by_pairs(scores, truth, lambda a, b: lengths[a] == lengths[b])
    assert auroc_of_equal_length(scores, truth, lengths) == pytest.approx(equal)
    finite = np.nan_to_num(scores, posinf=99, neginf=-99)
    assert length_correlation(scores, lengths) == pytest.approx(spearmanr(finite, lengths).statistic)


def test_there_is_no_area_where_all_or_none_are_wrong():
    scores, lengths = np.arange(4.0), np.array([1, 1, 2, 2])
    for truth in (np.zeros(4, bool), np.ones(4, bool)):
        assert np.isnan(auroc(scores, truth))
        assert np.isnan(auroc_beyond_length(scores, truth, lengths))
    assert np.isnan(auroc_of_equal_length(scores, lengths == 2, lengths))
    assert np.isnan(length_correlation(scores, np.ones(4)))


@pytest.fixture(scope="module")
def shortened():
    """400 episodes, of which wrong ones are shorter: 5 to 12 steps against 8 to 15."""
    generator = np.random.default_rng(0)
    truth = generator.random(400) < 0.4
    lengths = np.where(truth, generator.integers(5, 13, 400), generator.integers(8, 16, 400))
    return generator, truth, lengths


@pytest.mark.parametrize("noise", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_score_that_is_only_length_loses_its_area_under_control(shortened, noise, sign):
    generator, truth, lengths = shortened
    scores = -sign * lengths + noise * generator.normal(size=len(lengths))
    seen = auroc(scores, truth)
    assert seen > 0.72 if sign > 0 else seen < 0.28
    for controlled in (auroc_of_equal_length, auroc_beyond_length):
        assert controlled(scores, truth, lengths) == pytest.approx(0.5, abs=0.09)


def test_a_score_that_sees_more_than_length_keeps_it_under_control(shortened):
    generator, truth, lengths = shortened
    scores = 2.0 * truth + lengths + generator.normal(size=len(lengths))  # the length hides it
    assert auroc(scores, truth) < 0.65
    assert auroc_of_equal_length(scores, truth, lengths) > 0.85
    assert auroc_beyond_length(scores, truth, lengths) > 0.75


def test_where_all_lengths_are_equal_control_changes_nothing():
    generator = np.random.default_rng(1)
    truth, scores, lengths = generator.random(50) < 0.5, generator.normal(size=50), np.full(50, 7)
    expected = auroc(scores, truth)
    assert auroc_of_equal_length(scores, truth, lengths) == pytest.approx(expected)
    assert auroc_beyond_length(scores, truth, lengths) == pytest.approx(expected)


def test_detection_counts_episodes_or_steps_and_takes_the_length_out(shortened):
    _, truth, lengths = shortened
    corrupted = np.repeat(truth, lengths)
    dataset = made(lengths, columns={"corrupted/actions": corrupted})
    found = ColumnFilter(of="length", worse="lower", share="corrupted", action="flag")
    scored = detection(found(dataset), "length", truth="any", per="episode")
    assert (scored.steps, scored.corrupted) == (400, truth.sum())
    assert scored.auroc == pytest.approx(by_pairs(-lengths, truth))
    assert scored.auroc_of_equal_length == 0.5 == scored.auroc_beyond_length
    assert scored.length_correlation == pytest.approx(-1.0)
    of_steps = detection(found(dataset), "length", truth="any")
    assert (of_steps.steps, of_steps.corrupted) == (lengths.sum(), corrupted.sum())
    assert of_steps.auroc == pytest.approx(auroc(-np.repeat(lengths, lengths), corrupted))
