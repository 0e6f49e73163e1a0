"""Draws of episodes: of a size, disjoint, the same again, and refused where there are too few."""

from __future__ import annotations

import numpy as np
import pytest

from assay.datasets import Dataset
from assay.datasets.episode_draws import DrawEpisodes, draws
from assay.datasets.errors import ConfigError


@pytest.fixture
def dataset() -> Dataset:
    """Twelve episodes of one to three steps, which begin at 0, 10, 20, ..."""
    lengths = np.tile([1, 2, 3], 4)
    ends = np.zeros(lengths.sum(), bool)
    ends[lengths.cumsum() - 1] = True
    return Dataset.from_arrays(
        observations=np.concatenate([10.0 * number + np.arange(length + 1) for number, length in enumerate(lengths)]),
        actions=np.zeros(len(ends)),
        rewards=np.ones(len(ends)),
        terminations=ends,
        truncations=np.zeros(len(ends), bool),
    )


def begun(dataset: Dataset) -> list[int]:
    return [int(dataset.observations[row]) // 10 for row in dataset.observation_rows[dataset.episode_starts]]


def test_draws_of_one_size_are_disjoint_and_together_everything(dataset):
    drawn = [begun(DrawEpisodes(4, draw=draw)(dataset)) for draw in range(3)]
    assert sorted(episode for draw in drawn for episode in draw) == list(range(12))
    assert drawn[0] != [0, 1, 2, 3]
    assert drawn == [begun(DrawEpisodes(4, draw=draw)(dataset)) for draw in range(3)]
    assert drawn[0] != begun(DrawEpisodes(4, seed=1)(dataset))


def test_too_few_episodes_are_refused_with_the_numbers(dataset):
    with pytest.raises(ConfigError, match="draw 2 of 5 episodes needs a dataset of 15 episodes; this one has 12"):
        DrawEpisodes(5, draw=2)(dataset)


def test_variants_of_a_suite_are_sizes_times_draws():
    made = draws([3, 6], 2, seed=4)
    assert len(made) == 4
    assert made["6 episodes, draw 1"] == [{"datasets.draw_episodes": {"episodes": 6, "draw": 1, "seed": 4}}]
