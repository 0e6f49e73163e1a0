"""d3rlpy: version 2 is read and written, version 1 is read, and no observation is made up."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from assay.datasets.dataset import Dataset
from assay.datasets.errors import AssayWarning, DatasetError, FormatError
from assay.datasets.formats import d3rlpy, sniff
from tests.datasets.dataset_strategies import assert_same_columns, clean_dataset
from tests.datasets.formats.row_strategies import row_datasets


def version_2(path: Path, lengths: tuple[int, ...] = (3, 1, 4), **changes: Any) -> Path:
    """What `ReplayBuffer.dump` of d3rlpy 2.8 writes."""
    generator = np.random.default_rng(0)
    arrays: dict[str, Any] = {"columns": ["observations", "actions", "rewards", "terminated"], "version": "2.1"}
    arrays["num_episodes"] = len(lengths)
    for episode, length in enumerate(lengths):
        arrays[f"observations_{episode}"] = generator.normal(size=(length, 3)).astype(np.float32)
        arrays[f"actions_{episode}"] = generator.integers(0, 4, (length, 1))
        arrays[f"rewards_{episode}"] = np.full((length, 1), episode, np.float32)
        arrays[f"terminated_{episode}"] = episode == 1
    with h5py.File(path, "w") as file:
        for name, array in (arrays | changes).items():
            if array is not None:
                file.create_dataset(name, data=array)
    return path


def version_1(path: Path, **changes: Any) -> Path:
    """What `MDPDataset.dump` of d3rlpy 1 writes."""
    arrays: dict[str, Any] = {
        "observations": np.arange(20, dtype=np.float32).reshape(10, 2),
        "actions": np.zeros((10, 2), np.float32),
        "rewards": np.arange(10, dtype=np.float32),
        "terminals": (np.arange(10) == 3).astype(np.float32),
        "episode_terminals": np.isin(np.arange(10), (3, 6)).astype(np.float32),
        "discrete_action": False,
        "create_mask": False,
        "mask_size": 1,
        "version": "1.0",
    }
    with h5py.File(path, "w") as file:
        for name, array in (arrays | changes).items():
            if array is not None:
                file.create_dataset(name, data=array)
    return path


def test_version_2_is_read_with_flat_rewards_and_discrete_actions(tmp_path: Path) -> None:
    path = version_2(tmp_path / "file.h5")
    dataset = d3rlpy.read(path)
    assert sniff(path) == "d3rlpy"
    assert dataset.episode_lengths.tolist() == [3, 1, 4]
    assert dataset.rewards.tolist() == [0, 0, 0, 1, 2, 2, 2, 2]
    assert dataset.actions.shape == (8,)
    assert np.flatnonzero(dataset.terminations).tolist() == [3]
    assert np.flatnonzero(dataset.truncations).tolist() == [2, 7]


def test_t_observations_that_meet_t_plus_1_are_not_shifted_and_no_final_one_is_made_up(tmp_path: Path) -> None:
    """d3rlpy shifts the observations of Minari datasets, and gives terminal steps a next observation of zeros."""
    path = version_2(tmp_path / "file.h5")
    dataset = d3rlpy.read(path)
    assert not dataset.episode_columns["final_observation"].any()
    transitions = dataset.transitions(keep_terminal=False)
    assert transitions.steps.tolist() == [0, 1, 4, 5, 6]
    with h5py.File(path) as file:
        for episode, start in enumerate((0, 3, 4)):
            rows = dataset.observation_rows[start : start + len(file[f"actions_{episode}"])]
            assert (dataset.observations[rows] == file[f"observations_{episode}"][()]).all()
    assert transitions.next_observations.any(axis=1).all()


def test_observations_of_a_tuple_are_nested(tmp_path: Path) -> None:
    changes: dict[str, Any] = {f"observations_{episode}": None for episode in range(3)}
    for episode, length in enumerate((3, 1, 4)):
        changes |= {f"observations_{episode}_0": np.zeros((length, 2)), f"observations_{episode}_1": np.ones(length)}
    dataset = d3rlpy.read(version_2(tmp_path / "file.h5", **changes))
    assert list(dataset.observations) == ["_index_0", "_index_1"]


def test_what_is_not_known_is_named(tmp_path: Path) -> None:
    with pytest.warns(AssayWarning, match="embeddings_<episode>"):
        d3rlpy.read(version_2(tmp_path / "file.h5", embeddings_0=np.zeros(3), embeddings_2=np.zeros(3)))


def test_version_1_tells_timeouts_from_terminals_and_keeps_the_tail(tmp_path: Path) -> None:
    path = version_1(tmp_path / "file.h5")
    dataset = d3rlpy.read(path)
    assert sniff(path) == "d3rlpy"
    assert dataset.episode_lengths.tolist() == [4, 3, 3]
    assert np.flatnonzero(dataset.terminations).tolist() == [3]
    assert np.flatnonzero(dataset.truncations).tolist() == [6]
    assert len(dataset.transitions(keep_terminal=False)) == 7
    assert dataset.info.extra == {"discrete_action": False, "create_mask": False, "mask_size": 1, "version": "1.0"}
    with pytest.warns(AssayWarning, match="no episode_terminals"):
        assert d3rlpy.read(version_1(tmp_path / "file.h5", episode_terminals=None)).total_episodes == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": "2.0"}, "version 2.0"),
        ({"num_episodes": 2**60}, "num_episodes says"),
        ({"num_episodes": 4}, "there is no dataset rewards_3"),
        ({"num_episodes": -1}, "num_episodes says -1"),
        ({"columns": ["observations"]}, "columns is"),
        ({"observations_1": np.zeros((2, 3), np.float32)}, "observations_1 has 2 rows; the episode has 1 steps"),
        ({"observations_2": np.zeros((4, 3))}, r"observations_2 is float64\[3\] here, but float32\[3\]"),
        ({"actions_2": None}, "there is no dataset actions_2"),
        ({"terminated_1": np.zeros(3)}, "terminated_1 is float64"),
        ({"rewards_1": np.zeros((0, 1), np.float32)}, "rewards_1 is of shape"),
    ],
)
def test_impossible_files_are_refused_with_the_place(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        d3rlpy.read(version_2(tmp_path / "file.h5", **changes))


def as_d3rlpy_holds_it(dataset: Dataset) -> Dataset:
    """Without what CANNOT_HOLD lists."""
    lasts = dataset.episode_starts + dataset.episode_lengths - 1
    truncations = np.zeros(dataset.total_steps, bool)
    truncations[lasts] = ~dataset.terminations[lasts]
    columns: dict[str, np.ndarray] = {"truncations": truncations}
    for name in dataset.columns:
        array = dataset.column(name)
        if name.split("/")[0] == "observations":
            finals = lasts + np.arange(dataset.total_episodes) + 1
            array = array.copy()
            array[finals] = array[finals - 1]
            columns[name] = array
        elif name in ("actions", "rewards", "terminations"):
            columns[name] = array
    actions = columns["actions"]
    if actions.dtype.kind in "iu" and actions.shape[1:] == (1,):
        columns["actions"] = actions[:, 0]
    unknown = {"final_observation": np.zeros(dataset.total_episodes, bool)}
    return Dataset(columns, dataset.episode_lengths, episode_columns=unknown)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(dataset=row_datasets())
def test_what_was_written_comes_back_but_for_what_d3rlpy_cannot_hold(tmp_path: Path, dataset: Dataset) -> None:
    dataset = dataset.replace({name: None for name in dataset.columns if name.startswith("next_")})
    expected = as_d3rlpy_holds_it(dataset)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        d3rlpy.write(dataset, tmp_path / "again", overwrite=True)
    assert len(caught) == (0 if expected == dataset else 1)
    again = d3rlpy.read(tmp_path / "again")
    assert_same_columns(expected, again)
    assert again == expected


def test_tuples_and_episodes_of_40000_steps_come_back_equal(tmp_path: Path) -> None:
    plain = clean_dataset(steps=80_000, length=40_000)
    nested = plain.replace(
        {
            "observations": None,
            "observations/_index_0": plain.observations,
            "observations/_index_1": plain.observations[:, 0],
        }
    )
    dataset = as_d3rlpy_holds_it(nested)
    d3rlpy.write(dataset, tmp_path / "long")
    assert d3rlpy.read(tmp_path / "long") == dataset


def test_what_cannot_be_said_is_an_error(tmp_path: Path) -> None:
    good = clean_dataset()
    with pytest.raises(DatasetError, match="a tuple of them"):
        d3rlpy.write(good.replace({"observations": None, "observations/a": good.observations}), tmp_path / "file")
    with pytest.raises(DatasetError, match="actions as one array"):
        d3rlpy.write(good.replace({"actions": None, "actions/a": good.actions}), tmp_path / "file")
    (tmp_path / "no").write_bytes(b"x")
    with pytest.raises(FormatError, match="not an HDF5 file"):
        d3rlpy.read(tmp_path / "no")
