"""SACo and the grid under it: exact counts on explicit bins."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from assay.datasets import Dataset
from assay.datasets.errors import ConfigError, DatasetError, UnknownNameError
from assay.datasets.formats import format_named
from assay.datasets.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete
from assay.metrics import (
    Grid,
    HyperLogLog,
    lsaco,
    saco,
    saturation,
    sketch_state_actions,
    unique_counts,
    unique_state_actions,
    unique_states,
)
from assay.metrics.grid import ImageColumn


def make(states: np.ndarray, actions: np.ndarray, episode_length: int = 10_000) -> Dataset:
    """A dataset whose steps are these rows; final observations are far away and must not count."""
    steps = len(actions)
    ends = (np.arange(steps) % episode_length == episode_length - 1) | (np.arange(steps) == steps - 1)
    final = np.full_like(states[:1], 10_000)
    pieces, start = [], 0
    for end in np.flatnonzero(ends):
        pieces += [states[start : end + 1], final]
        start = end + 1
    return Dataset.from_arrays(
        observations=np.concatenate(pieces) if pieces else states,
        actions=actions,
        rewards=np.zeros(steps),
        terminations=ends,
        truncations=np.zeros(steps, bool),
    )


def gaussian(steps: int, seed: int = 0, states: int = 3, actions: int = 2) -> Dataset:
    generator = np.random.default_rng(seed)
    rows = generator.standard_normal((steps, states + actions)).astype(np.float32)
    return make(rows[:, :states], rows[:, states:], episode_length=7)


def count_by_definition(dataset: Dataset, grid: Grid) -> int:
    """A Python set of tuples of np.digitize, as the D4RL notebook counts."""
    rows = np.column_stack(
        [
            dataset.observations[dataset.observation_rows].reshape(dataset.total_steps, -1),
            dataset.actions.reshape(dataset.total_steps, -1),
        ]
    ).astype(np.float64)
    return len(set(zip(*(np.digitize(rows[:, j], edges).tolist() for j, edges in enumerate(grid.edges)))))


def test_a_grid_worked_by_hand() -> None:
    states = np.array([0.0, 0.49, 0.5, 0.99, 1.0, 1.0, -3.0, 7.0])
    actions = np.array([0, 0, 0, 0, 0, 1, 0, 1])
    grid = Grid(("observations", "actions"), (np.linspace(0, 1, 3), np.linspace(0, 1, 3)))
    # bins of the states 1 1 2 2 3 3 0 3; of the actions 1 1 1 1 1 3 1 3
    assert grid.digitize(np.column_stack([states, actions])).tolist() == [
        [1, 1], [1, 1], [2, 1], [2, 1], [3, 1], [3, 3], [0, 1], [3, 3],
    ]  # fmt: skip
    assert unique_state_actions(make(states, actions), grid) == 5
    assert saturation(make(states, actions), grid) == 5 / 8


def test_edges_are_linspace_over_the_range_of_the_steps() -> None:
    dataset = gaussian(100)
    grid = Grid.from_dataset(dataset, bins=11)
    assert grid.names == ("observations[0]", "observations[1]", "observations[2]", "actions[0]", "actions[1]")
    states = dataset.observations[dataset.observation_rows].astype(np.float64)
    assert np.array_equal(grid.edges[1], np.linspace(states[:, 1].min(), states[:, 1].max(), 11))


special = st.sampled_from([0.0, -0.0, 1.0, 1 / 3, 1e-300, 1e300, -1e300, np.inf, -np.inf, 5e-324])


@given(
    low=st.floats(-1e6, 1e6),
    width=st.one_of(st.just(0.0), st.floats(1e-12, 1e6)),
    bins=st.integers(2, 120),
    free=st.lists(st.one_of(special, st.floats(allow_nan=False)), max_size=20),
    near=st.lists(st.tuples(st.integers(0, 119), st.integers(-2, 2)), max_size=20),
)
@settings(max_examples=300, deadline=None)
def test_bins_are_those_of_digitize_on_edges_beside_them_and_out_of_range(
    low: float, width: float, bins: int, free: list[float], near: list[tuple[int, int]]
) -> None:
    edges = np.linspace(low, low + width, bins)
    values = [*free, *edges[:3]]
    for which, offset in near:
        value = edges[which % bins]
        for _ in range(abs(offset)):
            value = np.nextafter(value, np.inf * offset)
        values.append(value)
    column = np.array(values)
    grid = Grid(("a", "b"), (edges, np.array([0.0, 1.0])))
    found = grid.digitize(np.column_stack([column, np.zeros_like(column)]))
    assert np.array_equal(found[:, 0], np.digitize(column, edges))
    assert np.all(found[:, 1] == 1)


@given(
    arrays.arrays(np.float64, st.integers(1, 30), elements=st.floats(-10, 10)),
    arrays.arrays(np.float64, 20, elements=st.floats(-12, 12)),
)
@settings(max_examples=100, deadline=None)
def test_bins_of_uneven_edges_are_those_of_digitize(edges: np.ndarray, values: np.ndarray) -> None:
    edges = np.sort(edges)
    assert np.array_equal(Grid(("a",), (edges,)).digitize(values[:, None])[:, 0], np.digitize(values, edges))


@given(seed=st.integers(0, 10_000), levels=st.integers(1, 6), columns=st.integers(1, 14), bins=st.integers(2, 100))
@settings(max_examples=60, deadline=None)
def test_the_count_is_that_of_a_set_of_tuples(seed: int, levels: int, columns: int, bins: int) -> None:
    generator = np.random.default_rng(seed)  # values on a coarse lattice: edges are hit, and many rows coincide
    states = generator.integers(-levels, levels + 1, (60, columns)) / 2
    reference = make(states, generator.integers(0, 3, 60), episode_length=9)
    other = make(states[::-1] * 1.5, generator.integers(0, 5, 60), episode_length=11)
    grid = Grid.from_dataset(reference, bins)
    assert unique_state_actions(reference, grid) == count_by_definition(reference, grid)
    assert unique_state_actions(other, grid) == count_by_definition(other, grid)


def test_wide_rows_are_counted_exactly_too() -> None:
    dataset = gaussian(20_000, states=17, actions=6)
    for bins in (2, 3, 100):
        grid = Grid.from_dataset(dataset, bins)
        assert unique_state_actions(dataset, grid) == count_by_definition(dataset, grid)


def test_more_rows_than_a_chunk_are_counted_as_one() -> None:
    dataset = gaussian(40_000)
    grid = Grid.from_dataset(dataset, 6)
    assert unique_state_actions(dataset, grid) == count_by_definition(dataset, grid)


def test_neither_the_order_of_rows_nor_duplicates_change_the_count() -> None:
    dataset = gaussian(300)
    rows = np.column_stack([dataset.observations[dataset.observation_rows], dataset.actions])
    grid = Grid.from_dataset(dataset, 5)
    shuffled = np.random.default_rng(1).permutation(np.concatenate([rows, rows[:100]]))
    assert unique_state_actions(make(shuffled[:, :3], shuffled[:, 3:]), grid) == unique_state_actions(dataset, grid)


def test_final_observations_do_not_count() -> None:
    states, actions = np.zeros((4, 1)), np.zeros((4, 1))
    dataset = make(states, actions, episode_length=2)
    assert unique_state_actions(dataset, Grid.from_dataset(dataset)) == 1


def test_a_dataset_covers_itself_once_and_a_part_of_it_less() -> None:
    dataset = gaussian(700)
    assert saco(dataset, dataset) == 1.0
    assert lsaco(dataset, dataset) == 1.0
    part = dataset.select(range(20))
    assert 0 < saco(part, dataset) < 1
    assert saco(dataset, part) > 1


def test_lsaco_is_the_ratio_of_the_logarithms() -> None:
    dataset, part = gaussian(700), gaussian(700).select(range(20))
    grid = Grid.from_dataset(dataset)
    expected = math.log(unique_state_actions(part, grid)) / math.log(unique_state_actions(dataset, grid))
    assert lsaco(part, dataset) == expected


def test_integers_of_fewer_values_than_bins_count_as_they_are() -> None:
    generator = np.random.default_rng(0)
    states, actions = generator.integers(-40, 40, (500, 2)), generator.integers(0, 99, 500)
    dataset = make(states, actions)
    distinct = len(np.unique(np.column_stack([states, actions]), axis=0))
    assert unique_state_actions(dataset, Grid.from_dataset(dataset, 100)) == distinct


def test_structured_observations_and_images_are_columns_too() -> None:
    generator = np.random.default_rng(0)
    dataset = Dataset.from_arrays(
        observations={"image": generator.integers(0, 2, (31, 2, 2), np.uint8), "door": generator.random(31) < 0.5},
        actions=generator.integers(0, 2, 30),
        rewards=np.zeros(30),
        terminations=np.arange(30) == 29,
        truncations=np.zeros(30, bool),
    )
    grid = Grid.from_dataset(dataset, images="pixels")
    assert "observations/image[1, 0]" in grid.names
    assert {"observations/door", "actions"} < set(grid.names)
    rows = np.column_stack(
        [dataset.observations["door"][:30], dataset.observations["image"][:30].reshape(30, -1), dataset.actions]
    )
    assert unique_state_actions(dataset, grid) == len(np.unique(rows, axis=0))
    whole = Grid.from_dataset(dataset)
    assert (whole.names, whole.frames) == (("observations/door", "actions"), (ImageColumn("observations/image"),))
    for bits in (64, 128):
        assert unique_state_actions(dataset, whole, bits=bits) == len(np.unique(rows, axis=0))
        assert unique_states(dataset, whole, bits=bits) == len(np.unique(rows[:, :-1], axis=0))


def test_memory_mapped_columns_give_the_same_count(tmp_path: Path) -> None:
    store = format_named("assay")
    store.write(gaussian(500), tmp_path / "stored")
    opened = store.read(tmp_path / "stored", verify=False)
    assert saco(opened.select(range(30)), opened, bins=4) == saco(
        gaussian(500).select(range(30)), gaussian(500), bins=4
    )


def test_nan_is_named_with_its_place_and_infinity_lies_in_the_outer_bins() -> None:
    dataset = gaussian(20)
    grid = Grid.from_dataset(dataset, 3)
    actions = np.array(dataset.actions)
    actions[9, 1] = np.inf
    infinite = dataset.replace({"actions": actions})
    assert unique_state_actions(infinite, grid) == count_by_definition(infinite, grid)
    with pytest.raises(DatasetError, match=r"actions\[1\] is inf at episode 1, step 2"):
        Grid.from_dataset(infinite)
    actions[9, 1] = np.nan
    with pytest.raises(DatasetError, match=r"actions\[1\] is nan at episode 1, step 2"):
        unique_state_actions(dataset.replace({"actions": actions}), grid)


def test_impossible_requests_are_refused() -> None:
    dataset = gaussian(20)
    with pytest.raises(DatasetError, match="without steps"):
        saco(dataset, dataset.select([]))
    with pytest.raises(DatasetError, match=r"6 state-action columns and the grid 5; they differ in observations\[3\]"):
        saco(gaussian(20, states=4), dataset)
    with pytest.raises(DatasetError, match="lSACo is undefined for U = 1 and U_ref = 1"):
        lsaco(make(np.zeros((3, 1)), np.zeros((3, 1))), make(np.zeros((3, 1)), np.zeros((3, 1))))
    with pytest.raises(ConfigError, match="bins=1"):
        saco(dataset, dataset, bins=1)
    with pytest.raises(ConfigError, match="edges of a must be a flat, ascending"):
        Grid(("a",), (np.array([1.0, 0.0]),))
    with pytest.raises(ConfigError, match="2 names but 1"):
        Grid(("a", "b"), (np.array([0.0, 1.0]),))
    assert saco(dataset.select([]), dataset) == 0.0


# -------------------------------------------------------------------- where the edges come from


def test_a_grid_over_the_spaces_is_the_same_for_every_dataset() -> None:
    grid = Grid.from_spaces(Box((2,), "float32", [-1.0, 0.0], [1.0, 10.0]), MultiDiscrete([2, 3], [0, 5]), bins=5)
    assert grid.names == ("observations[0]", "observations[1]", "actions[0]", "actions[1]")
    assert [edges.tolist() for edges in grid.edges] == [
        [-1.0, -0.5, 0.0, 0.5, 1.0], [0.0, 2.5, 5.0, 7.5, 10.0], [0.0, 1.0], [5.0, 6.0, 7.0],
    ]  # fmt: skip
    generator = np.random.default_rng(0)
    states = np.column_stack([generator.uniform(-1, 1, 60), generator.uniform(0, 10, 60)]).astype(np.float32)
    dataset = make(states, generator.integers([0, 5], [2, 8], (60, 2)))
    assert unique_state_actions(dataset, grid) == count_by_definition(dataset, grid)
    part, whole = unique_counts(dataset.select([0]), dataset, grid=grid)
    assert part == whole == unique_state_actions(dataset, grid)
    assert Grid.from_spaces(MultiBinary(2), Discrete(3), bins=50).edges[2].tolist() == [0.0, 1.0, 2.0]


def test_a_grid_over_nested_spaces_has_the_columns_of_the_data() -> None:
    generator = np.random.default_rng(0)
    dataset = Dataset.from_arrays(
        observations={
            "goal": {"z": generator.integers(0, 3, 11), "a": generator.random((11, 2))},
            "camera": generator.integers(0, 2, (11, 2, 2), np.uint8),
        },
        actions={"grip": generator.integers(0, 2, 10), "arm": generator.uniform(-1, 1, (10, 1))},
        rewards=np.zeros(10),
        terminations=np.arange(10) == 9,
        truncations=np.zeros(10, bool),
    )
    goal = Dict({"z": Discrete(3), "a": Box((2,), "float64", [0.0, 0.0], [1.0, 1.0])})
    camera = Box((2, 2), "uint8", [[0, 0], [0, 0]], [[255, 255], [255, 255]])
    arm = Box((1,), "float64", [-1.0], [1.0])
    by_space = Grid.from_spaces(Dict({"goal": goal, "camera": camera}), Dict({"grip": Discrete(2), "arm": arm}), 3)
    by_data = Grid.from_dataset(dataset, 3)
    assert (by_space.names, by_space.frames) == (by_data.names, by_data.frames)
    assert 1 <= unique_state_actions(dataset, by_space) <= 10
    assert by_space.states.names == ("observations/goal/a[0]", "observations/goal/a[1]", "observations/goal/z")
    assert by_space.actions.names == ("actions/arm[0]", "actions/grip")


def test_a_space_without_bounds_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"observations\[1\] has no bounds.*from_quantiles"):
        Grid.from_spaces(Box((2,), "float64", [0.0, -np.inf], [1.0, np.inf]), Discrete(2))


def test_quantile_edges_spread_the_steps_evenly_where_the_range_does_not() -> None:
    generator = np.random.default_rng(0)
    states = np.exp(3 * generator.standard_normal((1000, 1)))
    dataset = make(states, np.zeros(1000))
    quantiles, even = Grid.from_quantiles(dataset, 11), Grid.from_dataset(dataset, 11)
    assert np.array_equal(quantiles.edges[0], np.quantile(states[:, 0], np.linspace(0, 1, 11)))
    per_bin = np.bincount(np.digitize(states[:, 0], quantiles.edges[0])[states[:, 0] < states.max()])[1:]
    assert per_bin.max() - per_bin.min() <= 1
    assert np.bincount(np.digitize(states[:, 0], even.edges[0])).max() > 900
    assert unique_state_actions(dataset, quantiles) == count_by_definition(dataset, quantiles)
    shuffled = make(generator.permutation(states), np.zeros(1000), episode_length=7)
    assert np.array_equal(Grid.from_quantiles(shuffled, 11).edges[0], quantiles.edges[0])


# -------------------------------------------------------------------- the definitions


def test_the_published_code_takes_the_range_of_each_dataset_and_a_row_of_zeros() -> None:
    reference = make(np.array([[2.0], [3.0], [4.0], [5.0]]), np.array([1.0, 1.0, 1.0, 2.0]))
    dataset = make(np.array([[20.0], [20.0], [40.0]]), np.array([1.0, 1.0, 1.0]))
    # 3 edges: states 0 2.5 5 | 0 20 40, actions 0 1 2 | 0 0.5 1, and the row (0, 0) in each
    assert unique_counts(dataset, reference, 3, definition="published code") == (3, 4)
    assert saco(dataset, reference, 3, definition="published code") == 0.75
    # the paper's grid is 2 3.5 5 and 1 1.5 2 for both
    assert unique_counts(dataset, reference, 3) == (1, 3)
    # a row of zeros that is there already adds none
    with_zero = make(np.array([[0.0], [4.0]]), np.array([0.0, 1.0]))
    assert unique_counts(with_zero, with_zero, definition="published code") == (2, 2)


def test_the_notebook_takes_five_edges_and_a_hundred_thousand_rows() -> None:
    generator = np.random.default_rng(0)
    states = generator.random((100_010, 1)) * 4
    states[100_000:] = 1e6  # neither counted nor part of the range
    dataset = make(states, np.zeros(100_010))
    grid = Grid(
        ("observations[0]", "actions"), (np.linspace(states[:100_000].min(), states[:100_000].max(), 5), np.zeros(5))
    )
    expected = len(np.unique(np.digitize(states[:100_000, 0], grid.edges[0])))
    assert unique_counts(dataset, dataset, definition="d4rl notebook") == (expected, expected)
    assert expected == 5
    assert saco(dataset, dataset, definition="d4rl notebook") == 1.0
    with pytest.raises(UnknownNameError, match="d4rl notebook"):
        saco(dataset, dataset, definition="notebook")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="either grid"):
        saco(dataset, dataset, 5, grid=grid)


# -------------------------------------------------------------------- kinds of observations, streams


def test_states_and_state_actions_are_counted_apart_and_in_128_bits_too() -> None:
    dataset = gaussian(3000, states=17, actions=6)
    for bins in (2, 3, 100):
        grid = Grid.from_dataset(dataset, bins)
        rows = dataset.observations[dataset.observation_rows].astype(np.float64)
        digitized = np.column_stack([np.digitize(rows[:, j], grid.edges[j]) for j in range(17)])
        assert unique_states(dataset, grid) == len(np.unique(digitized, axis=0))
        assert unique_state_actions(dataset, grid, bits=128) == count_by_definition(dataset, grid)


def images(frames: np.ndarray) -> Dataset:
    return Dataset.from_arrays(
        observations=np.concatenate([frames, frames[:1]]), actions=np.zeros(len(frames), np.int64),
        rewards=np.zeros(len(frames)), terminations=np.arange(len(frames)) == len(frames) - 1,
        truncations=np.zeros(len(frames), bool),
    )  # fmt: skip


def test_small_differences_between_frames_go_when_they_are_made_smaller() -> None:
    generator = np.random.default_rng(0)
    scenes = generator.integers(0, 2, (5, 4, 4, 1)) * 200 + 16
    scenes = scenes.repeat(6, axis=1).repeat(6, axis=2).repeat(3, axis=3)
    frames = np.concatenate([scenes + generator.integers(-3, 4, scenes.shape) for _ in range(8)]).astype(np.uint8)
    dataset = images(frames)
    assert unique_states(dataset, Grid.from_dataset(dataset)) == 40
    assert unique_states(dataset, Grid.from_dataset(dataset, images=(4, 4, 8))) == 5
    first = images(frames.transpose(0, 3, 1, 2))  # channels before rows
    assert unique_states(first, Grid.from_dataset(first, images=(4, 4, 8))) == 5
    assert unique_states(dataset, Grid.from_dataset(dataset, images=(4, 4, 1))) == 1
    by_space = Grid.from_spaces(
        Box((24, 24, 3), "uint8", np.zeros((24, 24, 3)), np.full((24, 24, 3), 255)), Discrete(1)
    )
    assert unique_states(dataset, by_space) == 40
    with pytest.raises(ConfigError, match="levels"):
        Grid.from_dataset(dataset, images=(4, 4, 300))
    with pytest.raises(ConfigError, match="known are"):
        Grid.from_dataset(dataset, images="hash")  # type: ignore[arg-type]


def test_parts_counted_on_many_machines_give_the_count_of_the_whole() -> None:
    dataset = gaussian(30_000)
    grid = Grid.from_dataset(dataset, 12)
    halves = [dataset.select(range(3000)), dataset.select(range(2000, dataset.total_episodes))]
    travelled = [sketch_state_actions(part, grid).to_bytes() for part in halves]
    whole = HyperLogLog.from_bytes(travelled[0]).merge(HyperLogLog.from_bytes(travelled[1]))
    assert whole == sketch_state_actions(dataset, grid)
    exact = unique_state_actions(dataset, grid)
    assert abs(whole.estimate() / exact - 1) < 4 * whole.standard_error
