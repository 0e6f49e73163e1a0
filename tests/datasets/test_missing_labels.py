"""A dataset may lack actions or rewards, whole or for some steps, and says so wherever somebody needs them."""

import numpy as np
import pytest

import assay
from assay.datasets import Dataset
from assay.datasets.errors import DatasetError, MissingLabelsError
from assay.datasets.missing import blank, require_labels
from assay.datasets.sampling import EpisodeSampler, SequenceSampler, TransitionSampler

FLAGS = {"terminations": [False, True, False, True], "truncations": [False] * 4}


def make(**changed):
    given = {"observations": np.arange(12.0).reshape(6, 2), "actions": np.arange(4.0)[:, None], "rewards": np.ones(4)}
    return Dataset.from_arrays(**{**given, **FLAGS, **changed})


def test_masks_have_both_elements_whatever_is_there():
    whole = make()
    assert {name: mask.tolist() for name, mask in whole.missing.items()} == {
        "actions": [False] * 4,
        "rewards": [False] * 4,
    }
    assert make(rewards=None).missing["rewards"].all()
    assert "missing/rewards" not in make(rewards=None).columns
    partly = make(missing={"actions": [True, False, False, True]})
    assert partly.missing["actions"].tolist() == [True, False, False, True]
    assert np.isnan(partly.actions[[0, 3]]).all()
    assert partly.actions[1:3].ravel().tolist() == [1.0, 2.0]


def test_a_mask_of_nothing_is_not_stored():
    assert make(missing={"actions": [False] * 4}) == make()


def test_labels_of_integers_become_zero_below_their_mask():
    dataset = make(actions=np.array([3, 4, 5, 6]), missing={"actions": [True, False, True, False]})
    assert dataset.actions.dtype == np.int64
    assert dataset.actions.tolist() == [0, 4, 0, 6]
    assert blank(np.array([True, True]), np.array([True, False])).tolist() == [False, True]


@pytest.mark.parametrize("element", ["actions", "rewards"])
def test_what_is_not_there_says_what_fills_it_in(element):
    dataset = make(**{element: None})
    for read in (lambda: getattr(dataset, element), lambda: dataset.column(element), lambda: dataset.nested(element)):
        with pytest.raises(MissingLabelsError, match=f"no {element}; assay.relabeling"):
            read()
    assert f"no {element}" in repr(dataset)


def test_the_return_of_an_episode_with_a_missing_reward_is_unknown():
    dataset = make(missing={"rewards": [False, False, False, True]})
    assert dataset.returns[0] == 2
    assert np.isnan(dataset.returns[1])
    assert np.isnan(make(rewards=None).returns).all()
    integers = make(rewards=np.array([1, 2, 3, 4]), missing={"rewards": [False, False, True, False]})
    assert integers.returns[0] == 3
    assert np.isnan(integers.returns[1])
    assert make(rewards=None).episodes["return"].is_nan().all()


@pytest.mark.parametrize("gap", [{"rewards": None}, {"actions": None}, {"missing": {"actions": [0, 0, 1, 0]}}])
def test_learners_refuse_and_count(gap):
    if "missing" in gap:
        gap = {"missing": {"actions": np.array([False, False, True, False])}}
    dataset = make(**gap)
    expected = r"1 of 4 steps have none \(the first is step 2\)" if "missing" in gap else "has none"
    doors = [
        dataset.transitions,
        dataset.to_torch,
        lambda: TransitionSampler(dataset, 2),
        lambda: EpisodeSampler(dataset, 2),
        lambda: SequenceSampler(dataset, 2, 2),
        lambda: require_labels(dataset, "actions", "rewards", by="BC"),
    ]
    for door in doors:
        with pytest.raises(MissingLabelsError, match=expected):
            door()


def test_episodes_with_and_without_labels_join_by_masks():
    first, second = make(), make(rewards=None)
    joined = assay.concatenate([first, second])
    assert joined.missing["rewards"].tolist() == [False] * 4 + [True] * 4
    assert not joined.missing["actions"].any()
    assert "missing/actions" not in joined.columns
    assert joined.rewards[:4].tolist() == [1.0] * 4
    assert joined.select([0, 1]).missing["rewards"].sum() == 0
    assert joined.select([2]).missing["rewards"].all()
    reversed_order = assay.concatenate([second, first])
    assert reversed_order.missing["rewards"].tolist() == [True] * 4 + [False] * 4


def test_datasets_that_lack_the_same_join_without_masks():
    joined = assay.concatenate([make(rewards=None), make(rewards=None)])
    assert "rewards" not in joined.columns
    assert joined.missing["rewards"].all()


def test_episodes_given_one_by_one():
    episode = {
        "observations": np.zeros((3, 1)),
        "actions": np.ones((2, 1)),
        "terminations": [False, True],
        "truncations": [False, False],
    }
    rated = episode | {"rewards": [1.0, 2.0]}
    dataset = Dataset.from_episodes([rated, episode, rated | {"missing/rewards": np.array([True, False])}])
    assert dataset.missing["rewards"].tolist() == [False, False, True, True, True, False]
    assert dataset.rewards[[0, 1, 5]].tolist() == [1.0, 2.0, 2.0]
    assert np.isnan(dataset.rewards[2:5]).all()
    assert Dataset.from_episodes([episode, episode]).missing["rewards"].all()


def test_a_stored_dataset_keeps_what_is_missing(tmp_path):
    for number, dataset in enumerate(
        [make(rewards=None), make(actions=None), make(missing={"rewards": np.arange(4) == 1})]
    ):
        assay.save(dataset, tmp_path / str(number))
        loaded = assay.load(tmp_path / str(number))
        assert loaded.fingerprint == dataset.fingerprint
        for element, mask in dataset.missing.items():
            assert loaded.missing[element].tolist() == mask.tolist()


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ({"observations": [True] * 4}, "only actions and rewards can"),
        ({"actions": [True] * 3}, "4 booleans, one per step"),
        ({"actions": [1, 0, 0, 0]}, "not int64"),
        ([True] * 4, "must be a mapping"),
    ],
)
def test_misuse_of_masks(missing, message):
    with pytest.raises(DatasetError, match=message):
        make(missing=missing)


def test_a_mask_needs_its_column():
    with pytest.raises(DatasetError, match="no column rewards"):
        make(rewards=None, missing={"rewards": [True] * 4})
    with pytest.raises(DatasetError, match="no column rewards"):
        make(rewards=None, columns={"missing/rewards": np.ones(4, bool)})
    with pytest.raises(DatasetError, match="only actions and rewards can be missing"):
        make(columns={"missing/observations": np.ones(4, bool)})
