"""Validation: each fault is found where it is, and clean data has none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings

from assay.datasets.dataset import Dataset, concatenate
from assay.datasets.formats import format_named
from assay.datasets.info import DatasetInfo
from assay.datasets.missing import without_labels
from assay.datasets.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space
from assay.datasets.validation import Finding, ValidationReport, validate
from tests.datasets.dataset_strategies import clean_dataset, datasets

SHARED = Path(__file__).parents[2] / "../shared/data"


def only_finding(dataset: Dataset) -> Finding:
    report = validate(dataset)
    assert len(report.findings) == 1, str(report)
    return report.findings[0]


def spoiled(name: str, index: Any, value: Any, **changes: Any) -> Dataset:
    dataset = clean_dataset(**changes)
    array = dataset.column(name).copy()
    array[index] = value
    return dataset.replace({name: array})


def info(observation_space: Space | None = None, action_space: Space | None = None) -> DatasetInfo:
    return DatasetInfo(observation_space=observation_space, action_space=action_space)


def box(size: int, bound: float, dtype: str = "float64") -> Box:
    return Box((size,), dtype, [-bound] * size, [bound] * size)


def test_clean_data_has_no_findings() -> None:
    report = validate(clean_dataset(info=info(box(3, np.inf), box(2, 1.0, "float32"))))
    assert report.findings == ()
    assert report.ok
    assert str(report).endswith("0 errors, 0 warnings")
    assert report.to_frame().is_empty()


@settings(max_examples=40, deadline=None)
@given(dataset=datasets(max_length=8))
def test_any_dataset_can_be_validated(dataset: Dataset) -> None:
    report = dataset.validate()
    assert isinstance(report, ValidationReport)
    assert report.to_frame().height == len(report.findings)


def test_an_empty_dataset_can_be_validated() -> None:
    assert [finding.message for finding in validate(clean_dataset().select([])).findings] == ["there is no episode"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["observations", "actions", "rewards"])
def test_the_first_place_and_the_count_of_values_that_are_not_finite(name: str, value: float) -> None:
    finding = only_finding(spoiled(name, [20, 21, 40], value))
    assert (finding.check, finding.severity, finding.column, finding.count) == ("finite", "error", name, 3)
    rows = 7 if name == "observations" else 6
    assert (finding.episode, finding.row) == (20 // rows, 20 % rows)


def test_a_block_whose_sum_overflows_is_still_finite() -> None:
    report = validate(clean_dataset(rewards=np.where(np.arange(60) % 2, 1e308, 1.7e308)))
    assert [finding.check for finding in report.findings] == ["magnitude"]


def test_both_flags_on_one_step() -> None:
    finding = only_finding(spoiled("terminations", [11, 23], True))
    assert (finding.check, finding.severity, finding.episode, finding.row, finding.count) == (
        *("both flags", "error", 1, 5, 2),
    )


def test_an_episode_without_an_end_flag() -> None:
    finding = only_finding(spoiled("truncations", [17, 59], False))
    assert (finding.check, finding.severity, finding.episode, finding.count) == ("episode end", "error", 2, 2)


def test_a_flag_in_the_middle_of_an_episode() -> None:
    finding = only_finding(spoiled("terminations", 14, True))
    assert (finding.check, finding.severity, finding.episode, finding.row) == ("early flag", "error", 2, 2)


@pytest.mark.parametrize(
    ("space", "actions", "bad"),
    [
        (box(2, 1.0, "float32"), np.random.default_rng(0).uniform(-1, 1, (60, 2)).astype("f4"), 1.5),
        (Discrete(4, start=2), np.arange(60) % 4 + 2, 6),
        (Discrete(4, start=2), np.arange(60) % 4 + 2, 1),
        (MultiDiscrete([2, 3], [0, 1]), np.stack([np.arange(60) % 2, np.arange(60) % 3 + 1], 1), [1, 0]),
        (MultiBinary(2), np.random.default_rng(0).integers(0, 2, (60, 2), np.int8), 2),
    ],
)
def test_an_action_outside_its_space(space: Space, actions: np.ndarray, bad: Any) -> None:
    assert validate(clean_dataset(actions=actions, info=info(action_space=space))).findings == ()
    finding = only_finding(spoiled("actions", 30, bad, actions=actions, info=info(action_space=space)))
    assert (finding.check, finding.severity, finding.column) == ("action bounds", "error", "actions")
    assert (finding.episode, finding.row, finding.count) == (5, 0, 1)


def test_an_action_on_a_bound_that_was_rounded_is_inside() -> None:
    actions = np.random.default_rng(0).uniform(-0.1, 0.1, (60, 2)).astype("f4")
    actions[3], actions[4] = np.float32(0.1), np.float32(-0.1)  # both further out than the float64 bound
    report = validate(clean_dataset(actions=actions, info=info(action_space=box(2, 0.1))))
    assert [finding.check for finding in report.findings] == ["dtype"]


def test_an_observation_outside_a_bounded_box_is_a_warning() -> None:
    dataset = spoiled("observations", (8, 1), 50.0, info=info(box(3, 10.0)))
    finding = only_finding(dataset)
    assert (finding.check, finding.severity, finding.episode, finding.row) == ("observation bounds", "warning", 1, 1)
    assert validate(dataset).ok


def test_a_shape_other_than_the_spaces_is_an_error() -> None:
    finding = only_finding(clean_dataset(info=info(box(4, np.inf))))
    assert (finding.check, finding.severity, finding.column) == ("shape", "error", "observations")
    finding = validate(clean_dataset(info=info(Dict({"goal": box(3, 1.0)})))).findings[0]
    assert (finding.check, finding.severity) == ("shape", "error")


def test_a_dtype_other_than_the_spaces_is_a_warning() -> None:
    finding = only_finding(clean_dataset(info=info(box(3, np.inf, "float32"))))
    assert (finding.check, finding.severity, finding.column) == ("dtype", "warning", "observations")
    actions = np.arange(60, dtype=np.int32) % 3
    assert validate(clean_dataset(actions=actions, info=info(action_space=Discrete(3)))).findings == ()


def test_stored_next_observations_that_jump_are_a_warning_unless_a_mask_explains_them() -> None:
    dataset = clean_dataset()
    following = np.asarray(dataset.next_observations).copy()
    assert validate(dataset.replace({"next_observations": following})).findings == ()
    following[[10, 33]] += 1
    jumping = dataset.replace({"next_observations": following})
    finding = only_finding(jumping)
    assert (finding.check, finding.severity, finding.column) == ("continuity", "warning", "next_observations")
    assert (finding.episode, finding.row, finding.count) == (1, 4, 2)
    mask = np.zeros(60, bool)
    mask[10] = True
    assert only_finding(jumping.replace({"corrupted/dynamics": mask})).count == 1
    mask[33] = True
    assert validate(jumping.replace({"corrupted/dynamics": mask})).findings == ()


def test_a_corrupted_observation_explains_the_jump_of_the_step_before_it() -> None:
    dataset = clean_dataset()
    following = np.asarray(dataset.next_observations)
    observations = np.array(dataset.observations)
    observations[dataset.observation_rows[[12, 20]]] += 1  # step 12 is the first of its episode
    mask = np.zeros(60, bool)
    mask[12] = mask[20] = True
    spoilt = dataset.replace({"observations": observations, "next_observations": following})
    assert only_finding(spoilt).count == 1
    assert validate(spoilt.replace({"corrupted/observations": mask})).findings == ()


def test_missing_final_observations_are_a_warning() -> None:
    known = np.arange(10) % 3 != 1
    finding = only_finding(clean_dataset(episode_columns={"final_observation": known}))
    assert (finding.check, finding.severity, finding.episode, finding.count) == ("final observation", "warning", 1, 3)


def test_duplicate_transitions_are_counted_and_the_first_repetition_is_named() -> None:
    dataset = clean_dataset()
    observations, actions, rewards = (np.array(dataset.column(key)) for key in ("observations", "actions", "rewards"))
    rows = dataset.observation_rows
    for copy, original in ((20, 3), (40, 3), (50, 4)):
        observations[[rows[copy], rows[copy] + 1]] = observations[[rows[original], rows[original] + 1]]
        actions[copy], rewards[copy] = actions[original], rewards[original]
    rewards[50] += 1  # so the last of the three repeats (s, a) only
    report = validate(dataset.replace({"observations": observations, "actions": actions, "rewards": rewards}))
    assert [(item.check, item.severity, item.episode, item.row, item.count) for item in report.findings] == [
        ("duplicate state-actions", "warning", 3, 2, 3),
        ("duplicate transitions", "warning", 3, 2, 2),
    ]


def test_repeated_state_actions_are_ordinary_where_states_are_discrete() -> None:
    dataset = clean_dataset(observations=np.arange(70) % 7, actions=np.zeros(60, int))
    assert not {finding.check for finding in validate(dataset).findings} & {"duplicate state-actions"}


def long_episodes(**changes: Any) -> Dataset:
    return clean_dataset(steps=800, length=100, **changes)


@pytest.mark.parametrize("size", [1e-7, 1e-5])
def test_an_episode_that_repeats_another_up_to_rounding_is_found(size: float) -> None:
    dataset = long_episodes()
    noise = np.random.default_rng(1).normal(scale=size, size=(101, 3))
    copied = np.array(dataset.observations)
    copied[5 * 101 : 6 * 101] = copied[2 * 101 : 3 * 101] + noise
    actions = np.array(dataset.actions)
    actions[500:600] = actions[200:300]
    finding = only_finding(dataset.replace({"observations": copied, "actions": actions}))
    assert (finding.check, finding.episode, finding.count) == ("near-duplicate episodes", 5, 1)
    assert "the first: episode 2" in finding.message


def test_an_episode_that_shares_its_first_half_with_another_is_no_near_duplicate() -> None:
    dataset = long_episodes()
    copied, actions = np.array(dataset.observations), np.array(dataset.actions)
    copied[5 * 101 : 5 * 101 + 50] = copied[2 * 101 : 2 * 101 + 50] + 1e-9
    actions[500:550] = actions[200:250]
    assert validate(dataset.replace({"observations": copied, "actions": actions})).findings == ()


def test_a_sensor_that_freezes_within_an_episode_is_named() -> None:
    dataset = long_episodes()
    observations = np.array(dataset.observations)
    observations[3 * 101 + 40 : 4 * 101, 1] = observations[3 * 101 + 40, 1]
    finding = only_finding(dataset.replace({"observations": observations}))
    assert (finding.check, finding.column, finding.episode, finding.row) == ("frozen", "observations", 3, 40)
    assert finding.message.endswith(": 1")


def test_a_value_that_an_episode_begins_and_ends_with_is_not_frozen() -> None:
    dataset = long_episodes()
    observations = np.array(dataset.observations)
    observations[3 * 101 : 4 * 101, 1] = 0.0
    assert validate(dataset.replace({"observations": observations})).findings == ()


def test_a_goal_that_is_constant_within_every_episode_is_not_frozen() -> None:
    observations = np.random.default_rng(0).normal(size=(808, 3))
    observations[:, 2] = np.repeat(np.arange(8.0), 101)
    assert validate(long_episodes(observations=observations)).findings == ()


@pytest.mark.parametrize(
    ("name", "promised"),
    [("task-high-100000-train", 100_000), ("walker-10k", 10_000), ("big/2M", 2_000_000), ("task-60-v2", None)],
)
def test_a_name_that_promises_another_size_is_a_warning(name: str, promised: int | None) -> None:
    report = validate(clean_dataset(info=DatasetInfo(id=name)))
    if promised is None:
        assert report.findings == ()
    else:
        assert [finding.check for finding in report.findings] == ["size in name"]
        assert f"promises {promised:,} steps, but there are 60" in report.findings[0].message


@pytest.mark.parametrize("name", ["hopper-medium-v2", "task-1000-train", "task-1k", "world2d-v1"])
def test_a_name_that_keeps_its_promise_is_in_order(name: str) -> None:
    assert validate(clean_dataset(steps=1000, length=10, info=DatasetInfo(id=name))).findings == ()


@pytest.mark.parametrize(("limit", "longer"), [(5, 10), (6, 0), (None, 0), (-1, 0), ("6", 0), (True, 0)])
def test_episodes_longer_than_the_environments_limit_are_a_warning(limit: Any, longer: int) -> None:
    info = DatasetInfo(env_spec=json.dumps({"id": "Pendulum-v1", "max_episode_steps": limit}))
    found = [item for item in clean_dataset(info=info).validate().findings if item.check == "time limit"]
    assert [(item.count, item.episode, item.row) for item in found] == ([(longer, 0, 5)] if longer else [])
    assert all("5 steps" in item.message and "10 of 10" in item.message for item in found)


def test_time_stamps_that_restart_stand_still_or_leap_inside_an_episode_are_found() -> None:
    times = np.tile(np.arange(6) / 30, 10).astype(np.float32)
    info = DatasetInfo(extra={"lerobot": {"fps": 30}})

    def found(changed: np.ndarray) -> list[tuple[int, Any, Any]]:
        dataset = clean_dataset(info=info, **{"infos/timestamp": changed})
        return [
            (item.count, item.episode, item.row) for item in dataset.validate().findings if item.check == "timestamps"
        ]

    assert found(times) == []  # each episode begins anew
    restarted = times.copy()
    restarted[15:18] = times[12:15]
    assert found(restarted) == [(1, 2, 3)]
    still = times.copy()
    still[20] = still[19]
    assert found(still) == [(1, 3, 2), (1, 3, 3)]  # and two frames pass at once afterwards
    leap = times.copy()
    leap[9:12] += 7
    assert found(leap) == [(1, 1, 3)]


def test_a_transition_that_differs_in_one_bit_is_no_duplicate() -> None:
    dataset = clean_dataset()
    twice = concatenate([dataset, dataset.replace({"rewards": np.nextafter(dataset.rewards, np.inf)})])
    assert [finding.check for finding in validate(twice).findings] == ["duplicate state-actions"]


def test_duplicate_episodes_are_counted() -> None:
    dataset = clean_dataset()
    report = validate(concatenate([dataset, dataset.select([4, 5])]))
    assert [(finding.check, finding.count) for finding in report.findings] == [
        ("duplicate state-actions", 12),
        ("duplicate transitions", 12),
        ("duplicate episodes", 2),
    ]
    assert report.findings[2].episode == 10


def test_constant_columns_and_dimensions_are_a_warning() -> None:
    finding = only_finding(spoiled("observations", (slice(None), 1), 0.5))
    assert (finding.check, finding.severity, finding.column) == ("constant", "warning", "observations")
    assert finding.message == "1 of 3 dimensions never change: 1"
    assert only_finding(spoiled("actions", slice(None), 0.5)).message == "every row is the same"


def test_rewards_that_are_all_zero_are_a_warning_once() -> None:
    finding = only_finding(clean_dataset(rewards=np.zeros(60)))
    assert (finding.check, finding.severity, finding.column) == ("zero rewards", "warning", "rewards")


@pytest.mark.parametrize(
    ("costs", "check", "severity", "message"),
    [
        (np.zeros((6, 2)), "costs", "error", "a row has shape [2]; a step has one cost"),
        (np.zeros((6, 0)), "costs", "error", "a row has shape [0]"),
        (np.array(["none"] * 6), "costs", "error", "the column is <U4; costs are real numbers"),
        (np.zeros(6, complex), "costs", "error", "complex128; costs are real numbers"),
        (np.array([0, 1, np.nan, 0, np.nan, 0]), "finite", "error", "2 of 6 rows hold NaN"),
        (np.array([0, 1, -1, 0, 0, 0]), "costs", "warning", "1 of 6 rows are negative"),
        (np.array([[0.0], [1], [0], [1e300], [0], [0]]), "magnitude", "error", "1 of 6 rows hold numbers beyond"),
        (np.array([[0.0], [1], [0], [0], [0], [0]]), None, None, None),
        (np.array([False, True] * 3), None, None, None),
    ],
)
def test_costs_are_one_number_of_each_step(costs: np.ndarray, check: Any, severity: Any, message: Any) -> None:
    dataset = clean_dataset(steps=6).replace({"costs": costs})
    found = [finding for finding in validate(dataset).findings if finding.check != "empty"]
    assert [(item.check, item.severity, item.column) for item in found] == (
        [] if check is None else [(check, severity, "costs")]
    )
    assert all(message in item.message for item in found)


@pytest.mark.parametrize("name", ["observations", "actions"])
def test_complex_numbers_are_an_error(name: str) -> None:
    dataset = clean_dataset()
    finding = only_finding(dataset.replace({name: dataset.column(name) + 0j}))
    assert (finding.check, finding.severity, finding.column) == ("dtype", "error", name)
    assert "learners take real numbers" in finding.message


def test_the_report_is_readable_and_errors_come_first() -> None:
    dataset = spoiled("actions", 7, np.nan, rewards=np.zeros(60))
    report = validate(dataset)
    lines = str(report).splitlines()
    assert lines[0].endswith("checks: 1 errors, 1 warnings")
    assert lines[1].strip() == (
        "error: finite: 1 of 60 rows hold NaN or infinite values (column actions, episode 1, row 1)"
    )
    assert not report.ok
    frame = report.to_frame()
    assert frame.columns == ["check", "severity", "column", "episode", "row", "count", "message"]
    assert frame.filter(pl.col("severity") == "error")["episode"].to_list() == [1]


def test_memory_maps_are_not_loaded_whole(tmp_path: Path) -> None:
    import tracemalloc

    steps = 200_000
    format_named("assay").write(clean_dataset(steps=steps, length=1000), tmp_path / "stored")
    dataset = (
        format_named("assay")
        .read(tmp_path / "stored", verify=False)
        .replace({"observations": np.lib.format.open_memmap(tmp_path / "wide.npy", "w+", "f8", (steps + 200, 100))})
    )
    tracemalloc.start()
    validate(dataset)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert dataset.observations.nbytes > 150e6
    assert peak < 80e6


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared")
@pytest.mark.parametrize(
    ("name", "duplicates"),
    [
        ("DMSD-high-20000-val", 3),
        ("Fusion-high-20000-val", 0),
        ("Pipeline-high-20000-val", 0),
        ("Pipeline-high-100000-train", 78),
        ("Salespromotion-high-20000-val", 478),
        ("SafetyHalfCheetah-high-20000-val", 0),
    ],
)
def test_known_duplicates_of_real_data_are_found(name: str, duplicates: int) -> None:
    data = np.load(SHARED / f"neorl2/{name}.npz", allow_pickle=False)
    truncations, terminations = data["truncated"].ravel().astype(bool), data["done"].ravel().astype(bool)
    lengths = np.diff(np.flatnonzero(truncations | terminations), prepend=-1)
    ends = np.cumsum(lengths) - 1
    dataset = Dataset.from_arrays(
        observations=np.insert(data["obs"], ends + 1, data["next_obs"][ends], axis=0),
        actions=data["action"],
        rewards=data["reward"].ravel(),
        terminations=terminations,
        truncations=truncations,
        columns={"next_observations": data["next_obs"]},
    )
    counts = {finding.check: finding.count for finding in validate(dataset).findings}
    assert counts.get("duplicate transitions", 0) == duplicates
    assert "continuity" not in counts
    assert ("constant" in counts) == (name == "Pipeline-high-20000-val") or "Pipeline" not in name


def test_episodes_beyond_the_time_limit_of_their_environment_are_found() -> None:
    spec = '{"id": "Pendulum-v1", "max_episode_steps": %d}'
    assert validate(clean_dataset(info=DatasetInfo(env_spec=spec % 6))).findings == ()
    (finding,) = validate(clean_dataset(info=DatasetInfo(env_spec=spec % 5))).findings
    assert (finding.check, finding.episode, finding.row, finding.count) == ("time limit", 0, 5, 10)
    assert "longer than the 5 steps" in finding.message


def lacking(**masks: np.ndarray) -> Dataset:
    """Clean data without the labels of the masks; True alone takes the column away."""
    whole = clean_dataset()
    columns = {name: whole.column(name) for name in whole.columns}
    for element, mask in masks.items():
        if mask is True:
            del columns[element]
        else:
            columns = without_labels(columns, {element: mask})
    return Dataset(columns, whole.episode_lengths)


def test_missing_labels_are_a_fact_and_nothing_below_their_mask_is_looked_at() -> None:
    mask = np.arange(60) % 12 == 3
    report = lacking(actions=mask, rewards=mask).validate()
    assert report.ok
    assert [(item.check, item.severity, item.episode, item.row, item.count) for item in report.findings] == [
        ("missing", "note", 0, 3, 5),
        ("missing", "note", 0, 3, 5),
    ]
    assert str(report).splitlines()[0].endswith("0 errors, 0 warnings, 2 notes")
    assert "5 of 60 steps have none, in 5 of 10 episodes" in report.findings[0].message
    wholly = lacking(actions=True, rewards=True).validate()
    assert wholly.ok
    assert [item.message for item in wholly.findings] == [
        f"{element} are missing: no step has one, in 10 of 10 episodes" for element in ("actions", "rewards")
    ]


def test_nan_beside_a_mask_is_a_defect() -> None:
    mask = np.arange(60) == 3
    dataset = lacking(rewards=mask)
    rewards = dataset.rewards.copy()
    rewards[7] = np.nan
    found = dataset.replace({"rewards": rewards}).validate().findings
    assert [(item.check, item.severity, item.episode, item.row, item.count) for item in found] == [
        ("finite", "error", 1, 1, 1),
        ("missing", "note", 0, 3, 1),
    ]


def test_labels_that_are_not_there_repeat_nothing_and_leave_their_space_alone() -> None:
    observations = np.tile(np.random.default_rng(0).normal(size=(7, 3)), (10, 1))
    actions = np.full(60, 2)
    columns = {"observations": observations, "actions": actions, "rewards": np.zeros(60)}
    whole = clean_dataset(**columns, info=DatasetInfo(action_space=Discrete(2, start=2)))
    assert any(item.check == "duplicate episodes" for item in whole.validate().findings)
    unlabelled = {name: whole.column(name) for name in whole.columns}
    nothing = Dataset(
        without_labels(unlabelled, {"actions": np.ones(60, bool)}), whole.episode_lengths, info=whole.info
    )
    assert {item.check for item in nothing.validate().findings} == {
        "missing",
        "zero rewards",
    }  # 0 lies outside the space
    del unlabelled["actions"]
    states_only = Dataset(unlabelled, whole.episode_lengths, info=whole.info).validate()
    assert states_only.ok
    assert "(s, r, s')" in str(states_only)
