"""Windows: aligned at both ends of every episode, without a zero and without a neighbour's state."""

from __future__ import annotations

import numpy as np
import pytest

from assay.datasets import Dataset
from assay.datasets.errors import ConfigError, DatasetError
from assay.relabeling.shared.windows import Windows


def counted(lengths=(3, 1, 4), **changes):
    """Episodes whose states are 100 (episode + 1) + step."""
    states = np.concatenate([100.0 * (number + 1) + np.arange(length + 1) for number, length in enumerate(lengths)])
    steps = sum(lengths)
    columns = {
        "observations": states[:, None],
        "actions": np.zeros((steps, 1), np.float32),
        "rewards": np.zeros(steps),
        "terminations": np.zeros(steps, bool),
        "truncations": np.zeros(steps, bool),
    }
    return Dataset({**columns, **changes.pop("columns", {})}, lengths, **changes)


@pytest.mark.parametrize("past", [0, 1, 2, 5])
def test_a_window_is_the_states_up_to_the_next_one_and_the_first_state_stands_for_earlier_ones(past):
    dataset = counted()
    found = Windows(dataset).states(np.arange(dataset.total_steps), past)[..., 0]
    for row, (episode, step) in enumerate([(0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (2, 1), (2, 2), (2, 3)]):
        expected = [100 * (episode + 1) + max(0, step - back) for back in range(past, -1, -1)]
        assert found[row].tolist() == [*expected, 100 * (episode + 1) + step + 1]


def test_the_last_step_sees_the_final_observation():
    assert Windows(counted()).states(np.array([2, 3, 7]), 0)[:, 1, 0].tolist() == [103, 201, 304]


def test_a_step_whose_next_state_was_never_recorded_has_no_window():
    dataset = counted(episode_columns={"final_observation": np.array([True, False, False])})
    assert np.flatnonzero(~Windows(dataset).complete).tolist() == [3, 7]


def test_stored_next_observations_are_the_next_states():
    stored = np.arange(8.0)[:, None]
    windows = Windows(counted(columns={"next_observations": stored}))
    assert windows.states(np.arange(8), 0)[:, 1].tolist() == stored.tolist()


def test_inputs_are_normalized_and_a_longer_window_begins_with_the_shorter():
    generator = np.random.default_rng(0)
    states = generator.standard_normal((51, 3)) * [1.0, 100.0, 0.01] + 5.0
    columns = {"observations": states, "actions": np.zeros((50, 1), np.float32), "rewards": np.zeros(50)}
    columns |= {"terminations": np.zeros(50, bool), "truncations": np.zeros(50, bool)}
    windows = Windows(Dataset(columns, [50]))
    short, long = windows.inputs(np.arange(50), 0), windows.inputs(np.arange(50), 2)
    assert np.array_equal(long[:, :6], short)
    assert np.allclose(short[:, 3:].std(0), 1.0, atol=1e-3)
    assert np.array_equal(windows.inputs(np.arange(50), 0, width=12)[:, 6:], np.zeros((50, 6)))
    changes = short[:, 3:] * windows.scale.change_deviation + windows.scale.change_mean
    assert np.allclose(changes, np.diff(states, axis=0), rtol=1e-4, atol=1e-5)


def test_categories_are_codes_and_images_are_refused():
    tabular = counted(columns={"observations": np.array([0, 1, 2, 1, 0, 0, 2, 2, 1, 0, 1])})
    assert Windows(tabular).inputs(np.array([0]), 0).tolist() == [[1, 0, 0, -1, 1, 0]]
    with pytest.raises(ConfigError, match="image"):
        Windows(counted(columns={"observations": np.zeros((11, 8, 8, 3), np.uint8)}))


def test_a_state_that_is_not_finite_is_named():
    states = np.zeros((11, 2))
    states[4, 1] = np.nan
    with pytest.raises(DatasetError, match="row 4"):
        Windows(counted(columns={"observations": states}))
