"""The reward model: it finds a known reward, says how well, and finds nothing where the answers say nothing."""

from __future__ import annotations

import numpy as np
import pytest

from assay.datasets import Dataset
from assay.datasets.errors import DatasetError
from assay.relabeling.frames.source import ColumnFrames
from assay.relabeling.frames.views import FrameViews, StateViews
from assay.relabeling.preferences.agreement import agreement, ranking_accuracy
from assay.relabeling.preferences.pairs import PairDrawer, StepPairs
from assay.relabeling.preferences.reward_model import BradleyTerry, Training, fit_reward_model, margins

STATES = BradleyTerry(learning_rate=3e-3, hidden=(32,))


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    generator = np.random.default_rng(0)
    ends = np.arange(600) % 20 == 19
    return Dataset.from_arrays(
        observations=generator.normal(size=(630, 3)),
        actions=np.zeros(600),
        rewards=np.zeros(600),
        terminations=ends,
        truncations=np.zeros(600, bool),
    )


def truth_of(dataset: Dataset) -> np.ndarray:
    after = dataset.next_observations
    return after[:, 0] - np.abs(after[:, 1])


def drawn(dataset: Dataset, count: int = 400, length: int = 1) -> tuple[StateViews, StepPairs, np.ndarray]:
    views = StateViews.of(dataset)
    pairs = PairDrawer(dataset, views, length, seed=1).draw(count, "uniform")
    sums = [truth_of(dataset)[pairs.steps(side)].sum(1) for side in ("first", "second")]
    return views, pairs, (sums[1] > sums[0]).astype(np.int8)


@pytest.mark.parametrize("length", [1, 3])
def test_a_known_reward_is_found_from_comparisons_of_sums(dataset, length):
    views, pairs, answers = drawn(dataset, 600, length)
    algorithm = BradleyTerry(learning_rate=3e-3, hidden=(32,), length=length)
    model = fit_reward_model(views, pairs, answers, Training(algorithm, passes=40))
    found = ranking_accuracy(model.rewards(np.arange(600)).mean(0), truth_of(dataset))
    assert found.low > 0.85
    assert model.held_out.accuracy > 0.8
    assert model.held_out.pairs == 60


def test_shuffled_answers_teach_nothing(dataset):
    views, pairs, answers = drawn(dataset)
    shuffled = np.random.default_rng(0).permutation(answers)
    model = fit_reward_model(views, pairs, shuffled, Training(STATES, passes=20))
    found = ranking_accuracy(model.rewards(np.arange(600)).mean(0), truth_of(dataset))
    assert found.high < 0.85
    assert model.held_out.low < 0.5


def test_training_stops_at_the_published_accuracy_or_keeps_the_best_pass_on_validation_pairs(dataset):
    views, pairs, answers = drawn(dataset)
    assert fit_reward_model(views, pairs, answers, Training(STATES, passes=60)).passes < 60
    noisy = np.where(np.random.default_rng(0).random(len(answers)) < 0.3, 1 - answers, answers)
    quick = BradleyTerry(learning_rate=1e-2, hidden=(64,))
    best = fit_reward_model(views, pairs, noisy, Training(quick, passes=20, stop="validation"))
    assert best.passes < 20
    until = fit_reward_model(views, pairs, noisy, Training(quick, passes=best.passes, stop="validation"))
    np.testing.assert_array_equal(best.rewards(np.arange(600)), until.rewards(np.arange(600)))


def test_undecided_pairs_change_nothing(dataset):
    views, pairs, answers = drawn(dataset)
    more = pairs.joined(pairs.take(np.arange(50)))
    undecided = np.concatenate([answers, np.full(50, -1, np.int8)])
    training = Training(STATES, passes=3)
    one, other = (fit_reward_model(views, *given, training) for given in ((pairs, answers), (more, undecided)))
    np.testing.assert_array_equal(one.rewards(np.arange(50)), other.rewards(np.arange(50)))
    with pytest.raises(DatasetError, match="0 of 400 pairs have an answer"):
        fit_reward_model(views, pairs, np.full(400, -1), training)


def test_members_differ_and_a_swapped_pair_has_the_opposite_margin(dataset):
    views, pairs, answers = drawn(dataset)
    model = fit_reward_model(views, pairs, answers, Training(STATES, passes=2))
    found = margins(model.population, views, pairs)
    swapped = margins(model.population, views, StepPairs(pairs.second, pairs.first))
    np.testing.assert_allclose(found, -swapped, atol=1e-6)
    assert found.std(0).min() > 0
    assert model.rewards(np.arange(600)).shape == (3, 600)


def test_frames_are_compared_as_vectors_are(dataset):
    brightness = (np.clip(dataset.observations[:, 0] / 6 + 0.5, 0, 1) * 255).astype(np.uint8)
    source = ColumnFrames(np.broadcast_to(brightness[:, None, None], (630, 12, 12)), dataset.observation_rows, 30)
    views = FrameViews(source, dataset.observation_rows)
    algorithm = BradleyTerry(learning_rate=3e-3, filters=((4, 4, 2), (8, 3, 2)), features=16, length=2)
    pairs = PairDrawer(dataset, views, 2, seed=0).draw(300, "uniform")
    bright = dataset.next_observations[:, 0]
    sums = [bright[pairs.steps(side)].sum(1) for side in ("first", "second")]
    model = fit_reward_model(views, pairs, sums[1] > sums[0], Training(algorithm, passes=30))
    assert ranking_accuracy(model.rewards(np.arange(600)).mean(0), bright).low > 0.9


def test_calibration_is_measured():
    generator = np.random.default_rng(0)
    probabilities = generator.random(50_000)
    answers = (generator.random(50_000) < probabilities).astype(int)
    honest, sure = agreement(probabilities, answers), agreement((probabilities > 0.5) * 0.998 + 0.001, answers)
    assert honest.calibration_error < 0.01
    assert abs(sure.calibration_error - 0.249) < 0.01  # sure of everything, right in three quarters
    assert honest.log_loss < np.log(2) < sure.log_loss
    assert honest.low < 0.75 < honest.high


def test_equal_rewards_rank_half_right():
    assert ranking_accuracy(np.zeros(10), np.arange(10)).accuracy == 0.5
