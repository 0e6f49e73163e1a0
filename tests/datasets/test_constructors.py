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
from assay.datasets.errors import AssayError, ConfigError, DatasetError
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
TEXT_IS_FINE = {("actions", "strings"), ("observations", "strings")}  # of three rows, as there are steps


@pytest.mark.parametrize("nonsense", NONSENSE)
@pytest.mark.parametrize("name", [*GOOD, "columns", "episode_columns", "info"])
def test_from_arrays_refuses_nonsense_by_the_name_of_the_column(name: str, nonsense: str) -> None:
    if (nonsense == "none" and name != "observations") or (
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


LENGTHS = [3, 1, 2]
STEPS = sum(LENGTHS)
LASTS = np.cumsum(LENGTHS) - 1


def ended(*steps: int) -> np.ndarray:
    return np.isin(np.arange(STEPS), steps)


@pytest.mark.parametrize("ends", ["truncated", "terminated"])
@pytest.mark.parametrize("final", [True, False])
def test_what_is_not_said_is_defaulted(ends: str, final: bool) -> None:
    """The least: observations and lengths. Ends are what `ends` says, and a final observation that is not there is not known."""
    observations = np.arange(float(STEPS + 3 * final))[:, None]
    dataset = Dataset.from_arrays(observations=observations, episode_lengths=LENGTHS, ends=ends)
    assert dataset.episode_lengths.tolist() == LENGTHS
    flags = {"truncated": dataset.truncations, "terminated": dataset.terminations}
    assert flags.pop(ends).tolist() == ended(*LASTS).tolist()
    assert not flags.popitem()[1].any()
    assert dataset.missing["actions"].all()
    assert dataset.missing["rewards"].all()
    if final:
        assert dataset.column("observations").tolist() == observations.tolist()
    else:
        assert dataset.column("observations")[dataset.observation_rows].tolist() == observations.tolist()
        assert not dataset.episode_columns["final_observation"].any()
    parts = np.split(observations, np.cumsum(np.array(LENGTHS) + final))[:3]
    episodes = [{"observations": part, "costs": np.zeros(length)} for part, length in zip(parts, LENGTHS)]
    one_by_one = Dataset.from_episodes(episodes, ends=ends)
    assert one_by_one.replace({"costs": None}).fingerprint == dataset.fingerprint


@pytest.mark.parametrize("name", ["terminations", "truncations"])
def test_one_flag_says_where_episodes_end_and_the_last_rows_are_one_more(name: str) -> None:
    given = {"observations": np.zeros((STEPS, 1)), name: ended(2, 3)}
    dataset = Dataset.from_arrays(**given)
    assert dataset.episode_lengths.tolist() == LENGTHS
    assert dataset.truncations.tolist() == (ended(5) if name == "terminations" else ended(2, 3, 5)).tolist()
    assert dataset.terminations.tolist() == (ended(2, 3) if name == "terminations" else ended()).tolist()
    assert Dataset.from_arrays(**given, ends="terminated").terminations[-1]


def test_next_observations_give_the_final_ones() -> None:
    rows = np.arange(float(STEPS))[:, None]
    dataset = Dataset.from_arrays(observations=rows, episode_lengths=LENGTHS, columns={"next_observations": rows + 1})
    assert dataset.next_observations.tolist() == (rows + 1).tolist()
    assert "final_observation" not in dataset.episode_columns


def test_flags_that_are_given_are_not_changed() -> None:
    flags = {"terminations": ended(2), "truncations": ended(3)}
    dataset = Dataset.from_arrays(observations=np.zeros((STEPS, 1)), episode_lengths=LENGTHS, **flags)
    assert dataset.truncations.tolist() == ended(3).tolist()


def test_what_cannot_be_defaulted_is_asked_for() -> None:
    with pytest.raises(DatasetError, match="nothing says where episodes end: pass episode_lengths"):
        Dataset.from_arrays(observations=np.zeros((3, 1)), actions=np.zeros(3))
    with pytest.raises(ConfigError, match="ends='finished': an episode ends truncated or terminated"):
        Dataset.from_arrays(observations=np.zeros((3, 1)), episode_lengths=[3], ends="finished")  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match="truncations has 2 flags, and the episodes have 3 steps"):
        Dataset.from_arrays(observations=np.zeros((3, 1)), episode_lengths=[3], truncations=[False, True])
    with pytest.raises(DatasetError, match="episode 1 has no column terminations, and others have"):
        Dataset.from_episodes([EPISODE, {"observations": np.zeros((3, 2)), "actions": np.zeros((2, 1))}])
    info = DatasetInfo(names={"observations": ["x", "y"]})
    with pytest.raises(DatasetError, match="has 2 texts for observations, whose rows have 1 numbers"):
        Dataset.from_arrays(observations=np.zeros((3, 1)), episode_lengths=[3], info=info)


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
