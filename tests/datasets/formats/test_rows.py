"""Between rows of transitions and the dataset's layout, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.datasets.dataset import Dataset
from assay.datasets.errors import DatasetError, FormatError
from assay.datasets.formats import rows as rows_module
from assay.datasets.formats.rows import (
    dataset_from_rows,
    episode_lengths_from_ends,
    episode_lengths_from_flags,
    flags,
    flat,
    naming,
    next_observation_rows,
    observation_rows,
)
from tests.datasets.dataset_strategies import assert_same_columns, clean_dataset, datasets


def rows_of(dataset: Dataset, *, following: bool) -> dict[str, np.ndarray]:
    plain = {
        name: dataset.column(name)
        for name in dataset.columns
        if not name.startswith(("observations", "next_observations", "infos"))
    }
    result = plain | observation_rows(dataset)
    return result | next_observation_rows(dataset, needed_by="this test") if following else result


@settings(max_examples=80, deadline=None)
@given(dataset=datasets(extras=False))
def test_rows_with_next_observations_give_the_dataset_back(dataset: Dataset) -> None:
    again = dataset_from_rows(rows_of(dataset, following=True), lengths=dataset.episode_lengths)
    assert again == dataset


@settings(max_examples=60, deadline=None)
@given(dataset=datasets(extras=False))
def test_without_next_observations_no_transition_is_invented(dataset: Dataset) -> None:
    again = dataset_from_rows(rows_of(dataset, following=False), lengths=dataset.episode_lengths)
    assert not again.episode_columns["final_observation"].any()
    assert observation_rows(again).keys() == observation_rows(dataset).keys()
    for name, array in observation_rows(dataset).items():
        assert observation_rows(again)[name].tobytes() == array.tobytes()
    steps = again.transitions(keep_terminal=False).steps
    lasts = dataset.episode_starts + dataset.episode_lengths - 1
    assert sorted({*steps.tolist(), *lasts.tolist()}) == list(range(dataset.total_steps))
    assert not np.isin(steps, lasts).any()


@settings(max_examples=60, deadline=None)
@given(dataset=datasets(extras=False), data=st.data())
def test_next_observations_that_differ_anywhere_are_kept(dataset: Dataset, data: st.DataObject) -> None:
    rows = rows_of(dataset, following=True)
    name = data.draw(st.sampled_from([key for key in rows if key.startswith("next_")]))
    inside = np.setdiff1d(np.arange(dataset.total_steps), dataset.episode_starts + dataset.episode_lengths - 1)
    if not len(inside) or not rows[name][0].size:
        return
    step = data.draw(st.sampled_from(inside.tolist()))
    changed = rows[name].copy()
    changed[step] = ~changed[step] if changed.dtype == bool else changed[step] + 1
    again = dataset_from_rows({**rows, name: changed}, lengths=dataset.episode_lengths)
    assert again.has_next_observations
    assert again.column(name).tobytes() == changed.tobytes()


def test_blocks_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = clean_dataset(steps=60, length=6)
    monkeypatch.setattr(rows_module, "_BLOCK_ROWS", 7)
    assert dataset_from_rows(rows_of(dataset, following=True)) == dataset
    rows = rows_of(dataset, following=True)
    for step in range(60):
        changed = rows["next_observations"].copy()
        changed[step] += 1
        again = dataset_from_rows({**rows, "next_observations": changed})
        assert again.has_next_observations == (step % 6 != 5)  # the last one of an episode is its final observation


def test_signed_zeros_and_nan_are_compared_by_their_bits() -> None:
    columns: dict[str, Any] = {"actions": np.zeros(2), "rewards": np.zeros(2)}
    columns |= {"terminations": np.array([False, True]), "truncations": np.zeros(2, bool)}
    nan = {"observations": np.array([0.0, np.nan]), "next_observations": np.array([np.nan, 1.0])}
    zero = {"observations": np.array([0.0, -0.0]), "next_observations": np.array([0.0, 1.0])}
    assert not dataset_from_rows(columns | nan).has_next_observations
    assert dataset_from_rows(columns | zero).has_next_observations


def test_flags_end_episodes_and_a_tail_is_one_more() -> None:
    terminations = np.array([0, 1, 0, 0, 0, 0], bool)
    truncations = np.array([0, 0, 0, 1, 0, 0], bool)
    assert episode_lengths_from_flags(terminations, truncations).tolist() == [2, 2, 2]
    assert episode_lengths_from_flags(terminations[:2], truncations[:2]).tolist() == [2]
    assert episode_lengths_from_flags(terminations[:1], truncations[:1]).tolist() == [1]
    assert episode_lengths_from_flags(terminations[:0], truncations[:0]).tolist() == []
    assert episode_lengths_from_flags(terminations | True, truncations).tolist() == [1] * 6


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_flags_of_any_number_type_become_booleans(dtype: str, shape: tuple[int, ...]) -> None:
    result = flags(np.array([0, 1, 0], dtype).reshape(shape), "here")
    assert result.dtype == bool
    assert result.tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([0.0, np.nan]), "here, row 1: nan is not a flag"),
        (np.array([0.0, 0.5]), "here, row 1: 0.5 is not a flag"),
        (np.array([1, -1]), "here, row 1: -1 is not a flag"),
        (np.array([1, 2], np.uint8), "here, row 1: 2 is not a flag"),
        (np.array(["0", "1"]), "here is <U1; one flag per row"),
        (np.zeros((2, 2)), r"here has shape \[2, 2\]"),
        (np.zeros(()), r"here has shape \[\]"),
    ],
)
def test_what_is_no_flag_is_named(array: np.ndarray, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        flags(array, "here")


def test_a_column_of_single_numbers_is_flattened() -> None:
    assert flat(np.ones((3, 1)), "here").shape == flat(np.ones(3), "here").shape == (3,)
    with pytest.raises(DatasetError, match="here has shape"):
        flat(np.ones((3, 2)), "here")


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        ([2, 5], "ends the last episode at row 5, but there are 6 rows"),
        ([2, 7], r"entry 1: 7 cannot end an episode that starts at row 2; there are 6 rows"),
        ([0, 6], "entry 0: 0 cannot end"),
        ([4, 2, 6], "entry 1: 2 cannot end an episode that starts at row 4"),
        ([3, 3, 6], "entry 1: 3 cannot end"),
        ([-1, 6], "entry 0: -1 cannot end"),
        ([], "ends the last episode at row 0"),
        ([[6]], "a list of row numbers"),
        ([6.0], "a list of row numbers"),
    ],
)
def test_ends_that_do_not_cut_the_rows_are_named(ends: Any, message: str) -> None:
    array = np.array(ends) if ends else np.zeros(0, np.int64)
    with pytest.raises(DatasetError, match=message):
        episode_lengths_from_ends(array, 6, "array index")


def test_ends_of_any_integer_type_are_taken() -> None:
    for dtype in (np.int8, np.uint64, np.int64):
        assert episode_lengths_from_ends(np.array([2, 6], dtype), 6, "here").tolist() == [2, 4]


@pytest.mark.parametrize(
    ("changes", "lengths", "message"),
    [
        ({"actions": np.zeros(2)}, None, "column actions has 2 rows, but rewards has 3"),
        ({"actions": np.zeros(())}, None, "column actions is a single value"),
        ({"rewards": np.zeros(())}, None, "column rewards is a single value"),
        ({}, [2], "the episodes hold 2 steps, but there are 3 rows"),
        ({}, [4, -1], "episode 1 has -1 steps"),
        ({}, [3, 0], "episode 1 has 0 steps"),
        ({}, [1.5, 1.5], "a list of integers is needed"),
        ({}, [[3]], "a list of integers is needed"),
        ({}, [2**62, 2**62, 3], "the episodes hold"),
        ({"next_observations/a": np.zeros(3)}, None, r"next observations \(next_observations/a\) and observations"),
        ({"next_observations": np.zeros((3, 1))}, None, "column next_observations is float64"),
        ({"next_observations": np.zeros(3, np.float32)}, None, "column next_observations is float32"),
    ],
)
def test_rows_that_do_not_fit_together_are_refused(changes: dict[str, Any], lengths: Any, message: str) -> None:
    columns: dict[str, np.ndarray] = {
        "observations": np.zeros(3), "actions": np.zeros(3), "rewards": np.zeros(3),
        "terminations": np.array([0, 0, 1], bool), "truncations": np.zeros(3, bool),
    }  # fmt: skip
    with pytest.raises(DatasetError, match=message):
        dataset_from_rows(columns | changes, lengths=None if lengths is None else np.array(lengths))


def test_a_writer_that_needs_what_followed_is_told_which_episode_lacks_it() -> None:
    known = np.arange(10) != 4
    with pytest.raises(DatasetError, match=r"final observation of episode 4 was never recorded, and D4RL stores"):
        next_observation_rows(clean_dataset(episode_columns={"final_observation": known}), needed_by="D4RL")


def test_stored_next_observations_are_what_followed() -> None:
    dataset = clean_dataset(next_observations=np.ones((60, 3)))
    assert next_observation_rows(dataset, needed_by="this")["next_observations"].tolist() == np.ones((60, 3)).tolist()


def test_errors_get_the_name_of_the_file_once(tmp_path: Path) -> None:
    with pytest.raises(FormatError) as caught, naming(tmp_path), naming(tmp_path):
        raise FormatError("array obs is missing")
    assert str(caught.value) == f"{tmp_path}: array obs is missing"


def test_rows_survive_the_way_there_and_back() -> None:
    dataset = clean_dataset()
    assert_same_columns(dataset_from_rows(rows_of(dataset, following=True)), dataset)
