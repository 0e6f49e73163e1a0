"""One mapping of names for all sources: what it says is followed, what it cannot mean is an error that names the key."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, DatasetError
from assay.datasets.formats.mapping import dataset_from_mapping
from assay.datasets.tables.clock import seconds_of
from assay.datasets.tables.column_mapping import as_mapping
from assay.datasets.tables.episode_borders import starts_by_id

ARRAYS: dict[str, Any] = {
    "x": np.arange(5.0),
    "y": np.arange(5.0, 10.0),
    "u": np.zeros(5, np.float32),
    "r": np.ones(5),
    "run": np.array([7, 7, 7, 2, 2]),
    "t": np.array([0.0, 0.1, 0.2, 0.0, 0.1]),
    "won": np.array([0, 0, 1, 0, 0]),
    "colour": np.array(["red", "blue", "red", "blue", "red"]),
}
NAMES: dict[str, Any] = {"observations": ["x", "y"], "actions": ["u"], "rewards": "r"}


def read(columns: dict[str, Any], **changes: Any) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dataset_from_mapping({**ARRAYS, **changes}, where="file", columns={**NAMES, **columns})


def test_several_names_stand_side_by_side_and_name_the_dimensions() -> None:
    dataset = read({"episode": "run", "ends": "truncated", "units": {"x": "m"}})
    assert dataset.observations.tolist() == [[0, 5], [1, 6], [2, 7], [2, 7], [3, 8], [4, 9], [4, 9]]
    assert dataset.info.names == {"observations": ("x", "y"), "actions": ("u",)}
    assert dataset.info.units == {"observations": ("m", "")}


@pytest.mark.parametrize(
    "structure",
    [
        {"episode": "run"},
        {"episode": ["run", "colour"], "colour": np.array(["a", "a", "a", "b", "b"])},
        {"time": "t", "resets": True},
        {"time": "t", "gap": 1.0, "t": np.array([0.0, 0.1, 0.2, 3.0, 3.1])},
        {"episode_lengths": "run", "run": np.array([3, 2])},
        {"terminations": "won", "won": np.array([0, 0, 1, 0, 1])},
    ],
)
def test_every_way_to_tell_episodes_apart(structure: dict[str, Any]) -> None:
    changes = {name: structure.pop(name) for name in list(structure) if name in ARRAYS}
    assert read(structure, **changes).episode_lengths.tolist() == [3, 2]


def test_all_is_one_episode_and_a_number_is_the_length_of_each() -> None:
    assert read({"episode_lengths": "all"}).episode_lengths.tolist() == [5]
    assert read({"episode_lengths": 1}).episode_lengths.tolist() == [1] * 5
    with pytest.raises(DatasetError, match="5 rows are no whole number of episodes of 2 steps"):
        read({"episode_lengths": 2})


@pytest.mark.parametrize(
    ("ends", "terminated", "truncated"),
    [("truncated", [], [2, 4]), ("terminated", [2, 4], []), ("won", [2], [4]), (None, [], [])],
)
def test_ends_say_what_the_end_of_an_episode_means(
    ends: str | None, terminated: list[int], truncated: list[int]
) -> None:
    dataset = read({"episode": "run", "ends": ends})
    assert np.flatnonzero(dataset.terminations).tolist() == terminated
    assert np.flatnonzero(dataset.truncations).tolist() == truncated


def test_ends_leave_flags_of_the_source_alone() -> None:
    dataset = read({"episode": "run", "terminations": "won", "ends": "truncated"})
    assert np.flatnonzero(dataset.terminations).tolist() == [2]
    assert np.flatnonzero(dataset.truncations).tolist() == [4]


def test_categories_become_numbers_that_say_what_they_stand_for() -> None:
    columns = {"observations": ["x", "colour"], "categories": {"colour": "one-hot"}, "episode": "run"}
    dataset = read(columns)
    assert dataset.observations[:3].tolist() == [[0, 0, 1], [1, 1, 0], [2, 0, 1]]
    assert dataset.info.names["observations"] == ("x", "colour=blue", "colour=red")
    codes = read({**columns, "categories": ["colour"]})
    assert codes.observations[:3, 1].tolist() == [1, 0, 1]
    assert codes.info.extra["categories"] == {"colour": ["blue", "red"]}
    with pytest.raises(DatasetError, match=r'colour is text.*"categories": \{"colour": "one-hot"\}'):
        read({**columns, "categories": None})


def test_time_is_kept_in_seconds() -> None:
    assert read({"episode": "run", "time": "t"}).column("time").tolist() == ARRAYS["t"].tolist()
    whole = 1486559106139796569 + np.arange(5) * 1_000_000
    dataset = read({"episode": "run", "time": "t", "time_unit": "ns"}, t=whole)
    assert np.allclose(dataset.column("time"), np.arange(5) / 1000, rtol=0, atol=1e-12)
    assert dataset.info.extra["time_origin"] == "1486559106139796569 ns"
    dates = np.datetime64("2026-01-01T00:00:00.5", "us") + np.arange(5).astype("m8[s]")
    assert read({"episode": "run", "time": "t"}, t=dates).column("time").tolist() == [0, 1, 2, 3, 4]
    seconds, remembered = seconds_of(np.array([250, 500]), "ms", "example")
    assert (seconds.tolist(), remembered) == ([0.25, 0.5], {})


@pytest.mark.parametrize(
    ("stamps", "message"),
    [
        (np.array([1486559106139796569, 1486559106140796569]), "cannot be seconds.*time_unit: ms, us or ns"),
        (np.array([0.0, np.nan]), "row 1: nan is no time"),
        (np.array(["a", "b"]), "time stamps are numbers or dates"),
        (np.zeros((2, 2)), "one time stamp per row"),
        (np.array(["2026-01-01", "NaT"], "M8[s]"), "row 1 is no time"),
    ],
)
def test_what_is_no_time_is_said(stamps: np.ndarray, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        seconds_of(stamps, None, "file: t")


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([np.array([1, 2, 1])], "episode run=1 comes back in row 2"),
        ([np.array([1, 1, 2, 1]), np.array([0, 1, 0, 1])], "episode run=1, part=1 comes back in row 3"),
        ([np.array([1.0, np.nan])], "row 1 has no episode"),
        ([np.zeros((2, 2))], r"shape \[2, 2\]"),
    ],
)
def test_ids_that_tell_no_episodes_are_named(ids: list[np.ndarray], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        starts_by_id(ids, ["run", "part"][: len(ids)], "file")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3, "columns must be a mapping of names, or the path"),
        ({"observation": "x"}, "'observation' is not a column; did you mean observations"),
        ({"observations": []}, "observations names nothing"),
        ({"observations": {}}, "observations names nothing"),
        ({"observations": ["x", 3]}, "names 3, which is no name but int"),
        ({"observations": ["x", "x"]}, "names 'x' twice"),
        ({"observations": 3}, "must be a name or a list of names, not 3"),
        ({"gap": 0.5}, "gap needs time"),
        ({"gap": -1, "time": "t"}, "gap must be a number of seconds above 0"),
        ({"resets": "yes", "time": "t"}, "resets must be true or false"),
        ({"time": 3}, "time must be a name"),
        ({"time": "t", "time_unit": "h"}, "time_unit must be one of s, ms, us, ns"),
        ({"episode_lengths": 0}, "a number of steps from 1 on"),
        ({"episode_lengths": "n", "episode_ends": "m"}, "say the same thing"),
        ({"episode_lengths": "n", "episode": "m"}, "say the same thing"),
        ({"categories": {"x": "two-hot"}}, "must be one-hot or code, not 'two-hot'"),
        ({"units": ["m"]}, "units must be a mapping of names to texts"),
        ({"extra": ["x"], "infos/x": "y"}, "column infos/x is given twice"),
    ],
)
def test_a_mapping_that_cannot_be_meant_is_refused(given: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        as_mapping(given, "file")


def test_a_yaml_file_is_a_mapping_and_is_named_in_errors(tmp_path: Path) -> None:
    path = tmp_path / "columns.yaml"
    path.write_text("observations: [x, y]\nepisode: run\ntime: t\nends: truncated\n")
    mapping = as_mapping(path, "file")
    assert mapping.columns == {"observations": ("x", "y")}
    assert as_mapping(mapping.to_plain(), "file") == mapping
    path.write_text("observation: x\n")
    with pytest.raises(ConfigError, match=r"columns\.yaml: 'observation' is not a column"):
        as_mapping(str(path), "file")
    with pytest.raises(ConfigError, match=r"missing\.yaml does not exist"):
        as_mapping(tmp_path / "missing.yaml", "file")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"observations": ["x", "z"]}, "no array 'z' for observations; the file holds"),
        ({"time": "z"}, "no array 'z' for time"),
        ({"episode": "z"}, "no array 'z' for episode"),
        ({"ends": "trunkated"}, "no array 'trunkated' for ends"),
        ({"units": {"z": "m"}}, "no array 'z' for units"),
        ({}, 'nothing says where episodes end.*episode_lengths="all"'),
    ],
)
def test_names_that_are_not_there_are_told_with_what_is(columns: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, DatasetError), match=message):
        read(columns if "episode" in columns or not columns else {"episode": "run", **columns})
