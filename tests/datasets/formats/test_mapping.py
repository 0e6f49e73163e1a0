"""A mapping of names: what the user says is taken, what is missing is named, nothing is guessed."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.datasets.dataset import Dataset
from assay.datasets.errors import AssayWarning, ConfigError, DatasetError, FormatError
from assay.datasets.formats.mapping import Arrays, dataset_from_mapping

COLUMNS = {"observations": "state", "actions": "act", "rewards": "rew"}


def arrays(**changes: Any) -> dict[str, Any]:
    """Two episodes of 3 and 2 steps under names of their own."""
    result: dict[str, Any] = {
        "state": np.arange(10.0).reshape(5, 2),
        "act": np.arange(5, dtype=np.float32)[:, None],
        "rew": np.arange(5.0)[:, None],
        "end": np.array([0, 0, 1, 0, 0]),
        "stop": np.array([0.0, 0, 0, 0, 1]),
    }
    return {name: array for name, array in (result | changes).items() if array is not None}


def read(held: dict[str, Any], columns: dict[str, str] | None = None, **options: Any) -> Dataset:
    return dataset_from_mapping(held, where="file", columns=COLUMNS if columns is None else columns, **options)


def quietly(*arguments: Any, **options: Any) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AssayWarning)
        return read(*arguments, **options)


def test_named_columns_are_taken_and_a_column_of_shape_n_1_is_flat() -> None:
    dataset = read(arrays(), COLUMNS | {"terminations": "end", "truncations": "stop"})
    assert dataset.rewards.tolist() == [0, 1, 2, 3, 4]
    assert dataset.episode_lengths.tolist() == [3, 2]
    assert dataset.terminations.tolist() == [False, False, True, False, False]
    assert dataset.truncations.tolist() == [False, False, False, False, True]
    assert dataset.observations[:, 0].tolist() == [0, 2, 4, 4, 6, 8, 8]
    assert dataset.episode_columns["final_observation"].tolist() == [False, False]


def test_names_of_the_dataset_need_no_mapping() -> None:
    held = arrays(rewards=np.ones(5), rew=None, **{"infos/depth": np.zeros(5)})
    dataset = read(held, {"observations": "state", "actions": "act", "terminations": "end", "truncations": "stop"})
    assert dataset.rewards.tolist() == [1] * 5
    assert "infos/depth" in dataset.columns


@pytest.mark.parametrize(
    "structure",
    [
        {"episode_lengths": np.array([3, 2])},
        {"episode_lengths": np.array([[3.0], [2.0]])},
        {"episode_ends": np.array([3, 5], np.uint8)},
        {"episode_starts": np.array([0, 3])},
        {"episode_starts": np.array([1, 0, 0, 1, 0])},
        {"episode_starts": np.array([True, False, False, True, False])},
        {"episode_starts": np.array([1.0, 0, 0, 1, 0], np.float32)[:, None]},
    ],
)
def test_every_way_to_say_where_episodes_are_means_the_same(structure: dict[str, np.ndarray]) -> None:
    option, array = next(iter(structure.items()))
    dataset = quietly(arrays(where=array), **{option: "where"})
    assert dataset.episode_lengths.tolist() == [3, 2]
    assert not dataset.terminations.any()


@given(lengths=st.lists(st.integers(1, 4), min_size=1, max_size=6))
def test_lengths_ends_and_starts_of_any_episodes_agree(lengths: list[int]) -> None:
    steps, ends = sum(lengths), np.cumsum(lengths)
    starts = ends - lengths
    flags = np.isin(np.arange(steps), starts)
    base = {"state": np.zeros((steps, 1)), "act": np.zeros(steps), "rew": np.zeros(steps)}
    for option, array in [
        ("episode_lengths", np.array(lengths)),
        ("episode_ends", ends),
        ("episode_starts", starts),
        ("episode_starts", flags.astype(int)),
    ]:
        assert quietly(base | {"where": array}, **{option: "where"}).episode_lengths.tolist() == lengths


def test_observations_with_a_final_one_per_episode_are_not_shifted() -> None:
    held = arrays(state=np.arange(7.0))
    dataset = read(held, COLUMNS | {"terminations": "end", "truncations": "stop"})
    assert dataset.observations.tolist() == list(range(7))
    assert "final_observation" not in dataset.episode_columns
    assert dataset.next_observations.tolist() == [1, 2, 3, 5, 6]


def test_next_observations_are_kept_only_where_they_differ_from_the_next_row() -> None:
    columns = COLUMNS | {"terminations": "end", "truncations": "stop", "next_observations": "next"}
    same = read(arrays(state=np.arange(7.0), next=np.array([1.0, 2, 3, 5, 6])), columns)
    assert not same.has_next_observations
    other = read(arrays(state=np.arange(7.0), next=np.array([1.0, 2, 3, 5, 7])), columns)
    assert other.next_observations.tolist() == [1, 2, 3, 5, 7]
    only_rows = read(arrays(state=np.arange(5.0), next=np.array([1.0, 2, 9, 4, 8])), columns)
    assert only_rows.observations.tolist() == [0, 1, 2, 9, 3, 4, 8]
    assert not only_rows.has_next_observations


def test_a_group_brings_everything_below_it() -> None:
    held = arrays(state=None, **{"state/pose": np.zeros((5, 2)), "state/goal": np.ones(5)})
    dataset = read(held, COLUMNS | {"terminations": "end", "truncations": "stop"})
    assert sorted(dataset.observations) == ["goal", "pose"]


def test_what_is_not_taken_and_flags_that_are_nowhere_are_named() -> None:
    with pytest.warns(AssayWarning) as caught:
        dataset = read(arrays(), COLUMNS | {"terminations": "end"})
    assert len(caught) == 1
    assert "no truncations" in str(caught[0].message)
    assert "stop" in str(caught[0].message)
    assert dataset.episode_lengths.tolist() == [3, 2]
    assert not dataset.truncations.any()


@pytest.mark.parametrize(
    ("held", "columns", "options", "kind", "message"),
    [
        (
            {"act": None},
            {},
            {},
            FormatError,
            r'observations or actions or rewards; the file holds.*"actions": "',
        ),
        ({}, COLUMNS, {}, FormatError, "nothing says where episodes end.*episode_lengths="),
        ({}, {"obs": "state"}, {}, ConfigError, "'obs' is not a column"),
        (
            {},
            {"observations": "sate"},
            {},
            ConfigError,
            "no array 'sate' for observations; did you mean 'state'. the file holds act, end",
        ),
        ({}, COLUMNS, {"episode_ends": "x"}, ConfigError, "no array 'x' for episode_ends"),
        ({}, COLUMNS, {"episode_ends": "end", "episode_starts": "end"}, ConfigError, "say the same thing"),
        ({}, COLUMNS, {"episode_ends": "end"}, DatasetError, "episode 0 has 0 steps"),
        ({"end": np.array([3, 4])}, COLUMNS, {"episode_ends": "end"}, DatasetError, "hold 4 steps, but there are 5"),
        ({"end": np.array([3, 2.5])}, COLUMNS, {"episode_lengths": "end"}, DatasetError, "entry 1 is 2.5"),
        ({"end": np.array([3, np.nan])}, COLUMNS, {"episode_lengths": "end"}, DatasetError, "entry 1 is nan"),
        ({"end": np.array([2**63 - 1] * 4)}, COLUMNS, {"episode_lengths": "end"}, DatasetError, "entry 0"),
        ({"end": np.array([2, 4])}, COLUMNS, {"episode_starts": "end"}, DatasetError, "first row starts no episode"),
        ({"end": np.array([0, 9])}, COLUMNS, {"episode_starts": "end"}, DatasetError, "episode 1 starts at row 9"),
        ({"end": np.zeros(5, bool)}, COLUMNS, {"episode_starts": "end"}, DatasetError, "first row starts no episode"),
        ({"end": np.full(5, 2)}, COLUMNS | {"terminations": "end"}, {}, DatasetError, "row 0: 2 is not a flag"),
        ({"end": np.zeros(4)}, COLUMNS | {"terminations": "end"}, {}, DatasetError, "terminations has 4 rows"),
        ({"act": np.zeros(4)}, COLUMNS | {"terminations": "end"}, {}, DatasetError, "file: column actions has 4 rows"),
        ({"rew": np.float64(1)}, COLUMNS | {"terminations": "end"}, {}, DatasetError, "single value"),
        ({}, COLUMNS | {"observations/pose": "act", "terminations": "end"}, {}, DatasetError, "lies inside"),
    ],
)
def test_errors_say_what_is_wrong_and_what_to_pass(
    held: dict[str, Any], columns: dict[str, str], options: dict[str, str], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        quietly(arrays(**held), columns, **options)


def test_arrays_are_read_once_and_only_when_needed() -> None:
    held, asked = arrays(), []

    def fetch(name: str) -> np.ndarray:
        asked.append(name)
        return held[name]

    with pytest.warns(AssayWarning, match="stop"):
        read(Arrays(held, fetch), COLUMNS | {"terminations": "end"})
    assert sorted(asked) == ["act", "end", "rew", "state"]


@pytest.mark.parametrize("element", ["actions", "rewards"])
def test_labels_that_nothing_is_named_are_missing_and_said_to_be(element: str) -> None:
    held = arrays(**{"act" if element == "actions" else "rew": None})
    columns = {key: value for key, value in COLUMNS.items() if key != element}
    columns |= {"terminations": "end", "truncations": "stop"}
    with pytest.warns(AssayWarning, match=f"nothing is named {element}, so they are missing"):
        dataset = dataset_from_mapping(held, where="here", columns=columns)
    assert {key: bool(mask.all()) for key, mask in dataset.missing.items()} == {
        key: key == element for key in ("actions", "rewards")
    }
