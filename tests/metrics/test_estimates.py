"""Intervals by leaving out blocks agree with theory, and cover what depends from step to step."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from assay.metrics.estimates import BLOCKS, blocks_of, leaving_out, mean_by_blocks, of_sample
from assay.metrics.neighbours import kth_without, nearest

from .synthetic import dataset_of


def test_the_interval_of_a_mean_of_single_rows_is_students() -> None:
    values = np.random.default_rng(0).standard_normal(20)
    value, interval = mean_by_blocks(values, np.arange(20))
    assert interval == pytest.approx(stats.t.interval(0.95, 19, value, stats.sem(values)))


def test_blocks_of_unequal_size_weigh_by_size() -> None:
    generator = np.random.default_rng(1)
    blocks = np.repeat(np.arange(20), generator.integers(1, 30, 20))
    hits = 0
    for _ in range(300):
        low, high = mean_by_blocks(generator.standard_normal(len(blocks)), blocks).interval or (0.0, 0.0)
        hits += low < 0 < high
    assert 0.9 < hits / 300 < 0.99


def test_steps_that_resemble_each_other_widen_the_interval() -> None:
    values = np.repeat(np.random.default_rng(2).standard_normal(200), 10)
    half = [np.diff(mean_by_blocks(values, blocks).interval or (0, 0)) / 2 for blocks in (
        np.repeat(np.arange(200), 10) % 20, np.arange(2000) % 20
    )]  # fmt: skip
    assert half[0] == pytest.approx(2.09 / np.sqrt(200), rel=0.4)
    assert half[1] < half[0]


def test_the_variances_of_two_samples_add_up() -> None:
    generator = np.random.default_rng(3)
    first, second = generator.standard_normal((2, 400))
    blocks = np.arange(400) % 20

    def difference(block: int | None) -> float:
        return float(first[blocks != of_sample(block, 0)].mean() - second[blocks != of_sample(block, 1)].mean())

    low, high = leaving_out(difference, blocks, blocks).interval or (0.0, 0.0)
    parts = [np.diff(mean_by_blocks(values, blocks).interval or (0, 0))[0] for values in (first, second)]
    assert high - low == pytest.approx(np.hypot(*parts))


def test_blocks_are_whole_episodes_where_there_are_enough_and_stretches_otherwise() -> None:
    states = np.zeros((220, 1))
    many, few = (dataset_of(states[: 200 + n], lambda s, g: s, episodes=n) for n in (20, 2))
    steps = np.arange(200)
    assert (blocks_of(many, steps) == many.episode_of_step % BLOCKS).all()
    assert (blocks_of(few, steps) == steps // 10).all()
    assert mean_by_blocks(np.ones(1), np.zeros(1, np.int64)) == (1.0, None)


def test_neighbours_without_a_block_are_those_of_the_rest() -> None:
    rows = np.random.default_rng(4).standard_normal((60, 2))
    blocks = np.arange(60) % 4
    found = nearest(rows, 20)
    kept = np.flatnonzero(blocks != 2)
    expected = nearest(rows[kept], 3).distances[:, -1]
    assert kth_without(found.distances, blocks[found.rows], 2, 3)[0][kept] == pytest.approx(expected)


def test_a_row_is_never_its_own_neighbour_even_among_equals() -> None:
    found = nearest(np.zeros((12, 2)), 4)
    assert (found.rows != np.arange(12)[:, None]).all()
    assert all(len(set(row)) == 4 for row in found.rows.tolist())
