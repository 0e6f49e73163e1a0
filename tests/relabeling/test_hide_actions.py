"""Hidden actions: which episodes keep theirs, what is stored, and the way back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.datasets.errors import AssayError, ConfigError, DatasetError
from assay.relabeling import HideActions, LabelledOnly, RestoreTruth
from tests.relabeling.systems import dataset_of, linear, moves


def ranked(episodes=20, length=3):
    """Episodes whose returns are their numbers, in a mixed order."""
    order = np.random.default_rng(0).permutation(episodes)
    actions = np.random.default_rng(1).uniform(-1, 1, (episodes, length, 2)).astype(np.float32)
    rewards = np.repeat(order[:, None] / length, length, axis=1)
    return dataset_of(np.zeros((episodes, length + 1, 2)), actions, rewards), order


def labelled_episodes(hidden):
    return np.flatnonzero(~np.logical_or.reduceat(hidden.missing["actions"], hidden.episode_starts))


@given(
    fraction=st.sampled_from([0.05, 0.1, 0.26, 1.0]),
    low=st.sampled_from([0.0, 0.25, 0.5]),
    width=st.sampled_from([0.25, 0.5]),
    seed=st.integers(0, 5),
)
def test_labels_are_a_fraction_of_all_episodes_from_the_range_of_the_returns(fraction, low, width, seed):
    dataset, returns = ranked()
    hidden = HideActions(fraction=fraction, quantiles=(low, low + width), seed=seed)(dataset)
    kept = labelled_episodes(hidden)
    pool = np.flatnonzero((returns >= int(20 * low)) & (returns < int(20 * (low + width))))
    assert set(kept) <= set(pool)
    assert len(kept) == min(len(pool), max(1, int(20 * fraction)))


def test_hidden_actions_are_nowhere_but_in_the_truth():
    dataset, _ = ranked()
    hidden = HideActions(fraction=0.2)(dataset)
    mask = hidden.missing["actions"]
    assert np.isnan(hidden.actions[mask]).all()
    assert np.array_equal(hidden.actions[~mask], dataset.actions[~mask])
    assert np.shares_memory(hidden.column("truth/actions"), dataset.column("actions"))
    for name in ("observations", "rewards", "terminations", "truncations"):
        assert np.shares_memory(hidden.column(name), dataset.column(name))


def test_hidden_discrete_actions_are_zero_under_the_mask():
    hidden = HideActions(fraction=0.5)(moves(0))
    assert hidden.actions.dtype == np.int64
    assert not hidden.actions[hidden.missing["actions"]].any()


def test_two_seeds_choose_differently_and_one_seed_the_same():
    dataset, _ = ranked()
    first, again, other = (HideActions(seed=seed, fraction=0.25)(dataset) for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_decoupled_ranges_drop_what_lies_in_neither():
    dataset, _ = ranked()
    hidden = HideActions(fraction=0.1, quantiles=(0.0, 0.25), unlabelled_quantiles=(0.75, 1.0))(dataset)
    missing = np.logical_and.reduceat(hidden.missing["actions"], hidden.episode_starts)
    assert sorted(hidden.returns[missing].round().tolist()) == [15, 16, 17, 18, 19]
    assert (hidden.returns[~missing] < 5).all()
    assert (~missing).sum() == 2
    fewer = HideActions(quantiles=(0.0, 0.25), unlabelled_quantiles=(0.75, 1.0), unlabelled_fraction=0.1)(dataset)
    assert fewer.total_episodes == 4


def test_the_truth_restored_is_the_dataset_as_it_was():
    dataset = linear(0, episodes=10)
    assert RestoreTruth()(HideActions()(dataset)).fingerprint == dataset.fingerprint


def test_hiding_twice_keeps_the_truth():
    dataset = linear(0, episodes=10)
    twice = HideActions(fraction=0.1, seed=1)(HideActions(fraction=0.5)(dataset))
    assert RestoreTruth()(twice).fingerprint == dataset.fingerprint


def test_labelled_only_keeps_whole_episodes_as_they_were():
    dataset = linear(0, episodes=10)
    hidden = HideActions(fraction=0.3)(dataset)
    left = LabelledOnly()(hidden)
    assert not left.missing["actions"].any()
    assert np.array_equal(left.actions, dataset.select(labelled_episodes(hidden)).actions)


def test_labelled_only_splits_episodes_where_labels_are_missing():
    dataset = linear(0, episodes=2, length=5)
    mask = np.zeros(10, bool)
    mask[[1, 5, 9]] = True
    actions = np.where(mask[:, None], np.nan, dataset.actions)
    left = LabelledOnly()(dataset.replace({"actions": actions, "missing/actions": mask}))
    assert left.episode_lengths.tolist() == [1, 3, 3]
    assert left.truncations.tolist() == [True, False, False, True, False, False, True]
    kept = np.flatnonzero(~mask)
    assert np.array_equal(left.next_observations, dataset.next_observations[kept])


def test_episodes_of_unknown_return_can_only_be_drawn_from_all():
    dataset, _ = ranked()
    unknown = dataset.replace({"rewards": None})
    with pytest.raises(DatasetError, match="returns are unknown"):
        HideActions()(unknown)
    assert len(labelled_episodes(HideActions(quantiles=(0.0, 1.0))(unknown))) == 2


def test_what_cannot_be_is_refused():
    dataset, _ = ranked()
    with pytest.raises(ConfigError, match="0 <= low < high <= 1"):
        HideActions(quantiles=(0.5, 0.5))
    with pytest.raises(DatasetError, match="widen the range"):
        HideActions(quantiles=(0.0, 0.01))(dataset)
    with pytest.raises(DatasetError, match="truth/actions"):
        RestoreTruth()(dataset)
    with pytest.raises(AssayError, match="fraction"):
        HideActions(fraction=0.0)
