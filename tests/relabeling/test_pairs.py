"""Pairs of segments: inside episodes, as probable as their method says, never two that look the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.datasets import Dataset
from assay.datasets.errors import DatasetError
from assay.relabeling.frames.views import StateViews
from assay.relabeling.preferences.pairs import PairDrawer


def dataset_of(lengths: list[int], values: np.ndarray | None = None, **options: object) -> Dataset:
    steps = sum(lengths)
    ends = np.isin(np.arange(steps), np.cumsum(lengths) - 1)
    return Dataset.from_arrays(
        observations=np.arange(steps + len(lengths), dtype=float)[:, None] if values is None else values,
        actions=np.zeros(steps),
        rewards=np.zeros(steps),
        terminations=ends,
        truncations=np.zeros(steps, bool),
        **options,
    )


def drawer(dataset: Dataset, length: int = 1, seed: int = 0) -> PairDrawer:
    return PairDrawer(dataset, StateViews.of(dataset), length, seed)


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 4), st.sampled_from(["uniform", "by_episode"])
)
def test_a_segment_lies_inside_one_episode(lengths, length, method):
    dataset = dataset_of(lengths)
    if sum(max(0, count - length + 1) for count in lengths) < 2:
        with pytest.raises(DatasetError, match="no two segments"):
            drawer(dataset, length)
        return
    pairs = drawer(dataset, length).draw(20, method)
    for side in ("first", "second"):
        episodes = dataset.episode_of_step[pairs.steps(side)]
        assert (episodes == episodes[:, :1]).all()
    assert (pairs.first != pairs.second).all()


def test_uniform_counts_steps_and_by_episode_counts_episodes():
    dataset = dataset_of([10, 90])
    share = {method: (drawer(dataset).draw(4_000, method).first < 10).mean() for method in ("uniform", "by_episode")}
    assert abs(share["uniform"] - 0.1) < 0.03
    assert abs(share["by_episode"] - 0.5) < 0.03


def test_the_last_step_is_drawn_where_its_next_observation_is_known_and_not_elsewhere():
    known, unknown = dataset_of([3, 3]), dataset_of([3, 3], episode_columns={"final_observation": np.zeros(2, bool)})
    assert set(drawer(known).draw(200, "by_episode").first) == {0, 1, 2, 3, 4, 5}
    assert set(drawer(unknown).draw(200, "by_episode").first) == {0, 1, 3, 4}


def test_pairs_that_look_the_same_are_dropped():
    values = np.repeat([[0.0], [1.0]], 6, 0)  # the steps of the first episode all lead to the same state
    pairs = drawer(dataset_of([5, 5], values)).draw(100, "uniform")
    assert ((pairs.first < 5) != (pairs.second < 5)).all()
    with pytest.raises(DatasetError, match="differ in what is seen"):
        drawer(dataset_of([5, 5], np.zeros((12, 1)))).draw(1, "uniform")


def test_pairs_by_distance_are_further_apart_and_by_disagreement_less_agreed_upon():
    dataset = dataset_of([100])
    far, near = (drawer(dataset).draw(100, method) for method in ("feature_distance", "uniform"))
    apart = [np.abs(pairs.first - pairs.second) for pairs in (far, near)]
    assert apart[0].min() > np.median(apart[1])
    chosen = drawer(dataset).draw(10, "disagreement", lambda pairs: pairs.first.astype(float))
    candidates = drawer(dataset).draw(100, "disagreement")
    assert sorted(chosen.first) == sorted(np.sort(candidates.first)[-10:])


def test_equal_seeds_draw_equal_pairs_and_a_second_call_goes_on():
    dataset = dataset_of([50, 50])
    one, again, other = (drawer(dataset, seed=seed) for seed in (0, 0, 1))
    first = one.draw(30, "uniform")
    np.testing.assert_array_equal(first.first, again.draw(30, "uniform").first)
    assert not np.array_equal(first.first, other.draw(30, "uniform").first)
    assert not np.array_equal(first.first, one.draw(30, "uniform").first)
