"""Every public door of a dataset against what is no dataset: a scalar, a string, an empty array, a ragged list, a frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import assay
from assay.datasets import Dataset, DatasetInfo
from assay.datasets.errors import AssayError, DatasetError
from assay.datasets.validation import validate
from tests.datasets.dataset_strategies import clean_dataset

NONSENSE: dict[str, Any] = {
    "none": None,
    "scalar": 3.5,
    "negative": -1,
    "string": "abc",
    "bytes": b"abc",
    "empty": np.zeros(0),
    "ragged": [[1.0, 2.0], [3.0]],
    "strings": np.array(["a", "b", "c"]),
    "dates": np.array(["2026-01-01"] * 3, "datetime64[D]"),
    "mixed pandas": pd.DataFrame({"x": [1.0, 2.0, 3.0], "name": ["a", "b", "c"]}),
    "mixed polars": pl.DataFrame({"x": [1.0, 2.0, 3.0], "name": ["a", "b", "c"]}),
    "objects": [object()] * 3,
    "nested": {"deep": {"deeper": [[1], [2, 3]]}},
    "huge": [2**80, 1, 2],
}
GOOD: dict[str, Any] = {
    "observations": np.zeros((5, 2)),
    "actions": np.zeros((3, 1)),
    "rewards": np.zeros(3),
    "terminations": np.array([False, True, False]),
    "truncations": np.array([False, False, True]),
}
EPISODE = {**GOOD, "observations": np.zeros((4, 2))}
TEXT_IS_FINE = {("actions", "strings")}


@pytest.mark.parametrize("nonsense", NONSENSE)
@pytest.mark.parametrize("name", [*GOOD, "columns", "episode_columns", "info"])
def test_from_arrays_refuses_nonsense_by_the_name_of_the_column(name: str, nonsense: str) -> None:
    if (nonsense == "none" and name in ("actions", "rewards", "columns", "episode_columns", "info")) or (
        name,
        nonsense,
    ) in TEXT_IS_FINE:
        return
    with pytest.raises(DatasetError) as error:
        Dataset.from_arrays(**{**GOOD, name: NONSENSE[nonsense]})
    assert name in str(error.value) or "deep" in str(error.value) or "flags" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("nonsense", [name for name in NONSENSE if name != "none"])
def test_episode_lengths_are_whole_numbers(nonsense: str) -> None:
    with pytest.raises(DatasetError, match=r"episode(s|_lengths|\b)"):
        Dataset.from_arrays(**GOOD, episode_lengths=NONSENSE[nonsense])
    with pytest.raises(DatasetError, match=r"episode_lengths\[1\] is 0\.5"):
        Dataset.from_arrays(**GOOD, episode_lengths=[2.0, 0.5])
    assert Dataset.from_arrays(**GOOD, episode_lengths=[2.0, 1.0]).total_episodes == 2


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_from_episodes_refuses_nonsense_by_the_number_of_the_episode(nonsense: str) -> None:
    with pytest.raises(DatasetError):
        Dataset.from_episodes(NONSENSE[nonsense])
    with pytest.raises(DatasetError, match="episode 1"):
        Dataset.from_episodes([EPISODE, NONSENSE[nonsense]])
    for name in GOOD:
        with pytest.raises(DatasetError) as error:
            Dataset.from_episodes([EPISODE, {**EPISODE, name: NONSENSE[nonsense]}])
        assert "episode 1" in str(error.value) or f"column {name}" in str(error.value)


def test_one_episode_in_place_of_a_list_is_said() -> None:
    with pytest.raises(DatasetError, match=r"a list of mappings, one per episode, not dict"):
        Dataset.from_episodes(EPISODE)  # type: ignore[arg-type]


DOORS: dict[str, Callable[[Dataset, Any], Any]] = {
    "Dataset": lambda dataset, value: Dataset(value, [3]),
    "Dataset lengths": lambda dataset, value: Dataset(GOOD, value),
    "select": lambda dataset, value: dataset.select(value),
    "split": lambda dataset, value: dataset.split(value),
    "split seed": lambda dataset, value: dataset.split([1.0], value),
    "concatenate": lambda dataset, value: assay.concatenate(value),
    "concatenate item": lambda dataset, value: assay.concatenate([dataset, value]),
    "replace": lambda dataset, value: dataset.replace(value),
    "replace column": lambda dataset, value: dataset.replace({"rewards": value}),
    "replace info": lambda dataset, value: dataset.replace(info=value),
    "column": lambda dataset, value: dataset.column(value),
    "nested": lambda dataset, value: dataset.nested(value),
    "tagged": lambda dataset, value: dataset.tagged(value),
    "returns_to_go": lambda dataset, value: dataset.returns_to_go(value),
    "transitions": lambda dataset, value: dataset.transitions(value),
}
DEFAULTS = {
    ("replace", "none"),
    ("replace column", "none"),
    ("replace info", "none"),
    ("transitions", "none"),
    ("select", "empty"),
}


@pytest.mark.parametrize("nonsense", NONSENSE)
@pytest.mark.parametrize("door", DOORS)
def test_every_method_refuses_nonsense_with_an_error_of_its_own(door: str, nonsense: str) -> None:
    if (door, nonsense) in DEFAULTS:
        return
    with pytest.raises(AssayError):
        DOORS[door](clean_dataset(), NONSENSE[nonsense])


def test_numeric_frames_are_columns_like_any_other() -> None:
    frame = pd.DataFrame({"x": np.arange(5.0), "y": np.arange(5.0)})
    for observations in (frame, pl.from_pandas(frame)):
        made = Dataset.from_arrays(**{**GOOD, "observations": observations, "rewards": frame["x"][:3]})
        assert made.observations.shape == (5, 2)


def test_a_ragged_column_names_its_first_odd_row() -> None:
    with pytest.raises(DatasetError, match=r"column actions is ragged: row 2 has shape \(1,\) and row 0 \(2,\)"):
        Dataset.from_arrays(**{**GOOD, "actions": [[1, 2], [3, 4], [5]]})


def test_the_columns_of_a_mixed_frame_are_named() -> None:
    with pytest.raises(DatasetError, match=r"column actions is a data frame of mixed types: x \(float64\), name \("):
        Dataset.from_arrays(**{**GOOD, "actions": NONSENSE["mixed pandas"]})


def test_text_rewards_and_empty_rows_are_no_dataset() -> None:
    with pytest.raises(DatasetError, match="column rewards must be real numbers, not <U3"):
        Dataset.from_arrays(**{**GOOD, "rewards": np.array(["1.0"] * 3)})
    with pytest.raises(DatasetError, match=r"column observations has rows of no entries \(shape \[5, 0\]\)"):
        Dataset.from_arrays(**{**GOOD, "observations": np.zeros((5, 0))})
    with pytest.raises(DatasetError, match="at least one episode"):
        Dataset.from_arrays(**{name: array[:0] for name, array in GOOD.items()})
    with pytest.raises(DatasetError, match="column weights must be real numbers"):
        Dataset.from_arrays(**GOOD, columns={"weights": np.array(["1", "2", "3"])})


# ---------------------------------------------------------------- what validate finds of it


def test_validate_says_that_there_is_no_episode() -> None:
    report = validate(clean_dataset().select([]))
    assert [finding.check for finding in report.findings if finding.severity == "error"] == ["empty"]


def test_validate_names_a_part_without_entries() -> None:
    columns = {"observations": None, "observations/state": np.zeros((70, 2)), "observations/nothing": np.zeros((70, 0))}
    report = validate(clean_dataset().replace(columns))
    assert [finding.column for finding in report.findings if finding.check == "empty"] == ["observations/nothing"]


@pytest.mark.parametrize("value", [1e300, -1e300, 1e308, 4e38])
@pytest.mark.parametrize("beside", [0.0, np.nan, np.inf])
def test_validate_places_numbers_that_are_infinite_in_float32(value: float, beside: float) -> None:
    rewards = clean_dataset().rewards.copy()
    rewards[[3, 20, 40]] = beside, value, value
    report = validate(clean_dataset().replace({"rewards": rewards}))
    (finding,) = [finding for finding in report.findings if finding.check == "magnitude"]
    assert (finding.column, finding.episode, finding.row, finding.count) == ("rewards", 3, 2, 2)
    assert not report.ok


def test_numbers_that_float32_holds_are_no_finding() -> None:
    rewards = clean_dataset().rewards.copy()
    rewards[4] = 3.4e38
    assert validate(clean_dataset().replace({"rewards": rewards})).ok
    assert validate(clean_dataset(**{"infos/time": np.full(60, 1e300)})).ok  # nothing learns from infos


def test_weights_that_no_sampler_can_draw_by_are_found() -> None:
    negative = np.ones(60)
    negative[[8, 9]] = -1
    (finding,) = validate(clean_dataset(weights=negative)).findings
    assert (finding.check, finding.episode, finding.row, finding.count) == ("weights", 1, 2, 2)
    (finding,) = validate(clean_dataset(weights=np.zeros(60))).findings
    assert finding.message == "all weights are zero: no step can be drawn"


def test_info_is_a_dataset_info() -> None:
    assert Dataset.from_arrays(**GOOD, info=DatasetInfo(id="x")).info.id == "x"
