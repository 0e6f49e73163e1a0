"""What an augmented dataset holds: the original steps untouched, the new ones marked and behind them."""

from __future__ import annotations

import numpy as np
import pytest

from assay.augmentation.extension import Extension
from assay.augmentation.segments import SegmentReader
from assay.datasets import Dataset
from assay.datasets.errors import DatasetError, MissingLabelsError


def example(**columns):
    return Dataset.from_arrays(
        observations={"pose": np.arange(14.0).reshape(7, 2), "count": np.arange(7)},
        actions=np.arange(5.0)[:, None],
        rewards=np.arange(5.0),
        terminations=np.array([False, False, True, False, False]),
        truncations=np.array([False, False, False, False, True]),
        columns={
            "weights": np.arange(1.0, 6.0),
            "infos/time": np.arange(5.0),
            "corrupted/rewards": np.arange(5) == 1,
            **columns,
        },
        episode_columns={"seed": np.array([3, 4]), "tags/good": np.array([True, False])},
    )


def extended(dataset, starts, length=2):
    segments = SegmentReader(dataset, length).read(np.array(starts))
    extension = Extension(dataset, [length] * len(starts))
    extension.write_segments(0, segments)
    return extension.finish({"transform": "example"})


def test_the_original_steps_stay_as_they_were_and_come_first():
    dataset = example()
    more = extended(dataset, [1, 3])
    assert (
        more.select(~more.tagged("augmented")).replace({"augmented": None}).rewards.tolist() == dataset.rewards.tolist()
    )
    for name in set(dataset.columns) - {"infos/time"}:
        np.testing.assert_array_equal(more.column(name)[: len(dataset.column(name))], dataset.column(name))
    assert more.column("augmented").tolist() == [False] * 5 + [True] * 4


def test_new_steps_are_episodes_with_every_observation_and_an_end():
    more = extended(example(), [1, 3])
    added = more.select("augmented")
    assert added.observations["count"].tolist() == [1, 2, 3, 4, 5, 6]
    assert added.next_observations["count"].tolist() == [2, 3, 5, 6]
    assert added.terminations.tolist() == [False, True, False, False]
    assert added.truncations.tolist() == [False, False, False, True]
    assert added.validate().ok


def test_a_new_step_inherits_weights_and_masks_and_nothing_that_described_the_old_one():
    more = extended(example(), [1, 3])
    added = more.select("augmented")
    assert added.weights.tolist() == [2.0, 3.0, 4.0, 5.0]
    assert added.masks["rewards"].tolist() == [True, False, False, False]
    assert "infos/time" not in more.columns
    assert more.info.extra["augmentation"] == [{"transform": "example", "left_out": ["infos/time"]}]
    assert added.episode_columns["seed"].tolist() == [0, 0]
    assert not added.tagged("good").any()


def test_stored_next_observations_are_continued_with_the_real_ones():
    following = {"next_observations/pose": np.full((5, 2), 9.0), "next_observations/count": np.full(5, 9)}
    added = extended(example(**following), [0, 4], length=1).select("augmented")
    assert added.next_observations["count"].tolist() == [9, 9]
    assert added.observations["count"].tolist() == [0, 9, 5, 9]


def test_segments_stay_inside_an_episode_and_skip_what_was_added():
    more = extended(example(), [1, 3])
    assert SegmentReader(more, 2).starts.tolist() == [0, 1, 3]
    assert SegmentReader(more, 3).starts.tolist() == [0]
    with pytest.raises(DatasetError, match="no episode has 4 original steps"):
        SegmentReader(more, 4)


def test_steps_without_labels_are_no_sources_and_new_steps_have_them():
    dataset = example().replace({"missing/actions": np.array([True, True, False, False, False])})
    assert SegmentReader(dataset, 1).starts.tolist() == [2, 3, 4]
    more = extended(dataset, [2, 4], length=1)
    assert more.missing["actions"].tolist() == [True, True, False, False, False, False, False]
    with pytest.raises(MissingLabelsError):
        SegmentReader(dataset.replace({"missing/actions": np.ones(5, bool)}), 1)


def test_steps_whose_next_observation_is_a_placeholder_are_no_sources():
    dataset = example().replace(episode_columns={"final_observation": np.array([True, False])})
    assert SegmentReader(dataset, 1).starts.tolist() == [0, 1, 2, 3]


def test_augmented_and_plain_datasets_are_joined():
    from assay.datasets import concatenate

    dataset = example().replace({"infos/time": None})
    joined = concatenate([dataset, extended(dataset, [1, 3])])
    assert joined.column("augmented").tolist() == [False] * 10 + [True] * 4
    assert joined.tagged("augmented").tolist() == [False] * 4 + [True] * 2
