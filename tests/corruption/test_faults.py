"""Faults of sensors: hand-worked readings, which copies of a state change, and pieces of any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import assay
from assay.corruption import (
    ClippedSensors,
    DelayedSensors,
    FrozenSensors,
    MissingValues,
    QuantizedSensors,
    RandomCorruption,
    SwappedDimensions,
)
from assay.datasets import Dataset, Transform
from assay.datasets.errors import ConfigError, DatasetError, UnknownNameError
from tests.datasets.dataset_strategies import clean_dataset, datasets

FAULTS = {
    "missing": MissingValues,
    "freeze": FrozenSensors,
    "delay": DelayedSensors,
    "quantize": QuantizedSensors,
    "clip": ClippedSensors,
    "swap": SwappedDimensions,
}
ELEMENTS = ("states", "observations", "dynamics", "actions", "rewards")
WORKING = [(fault, element) for fault in FAULTS for element in ELEMENTS if (fault, element) != ("swap", "rewards")]


def make(lengths: list[int], touched: list[int], **changes: np.ndarray) -> Dataset:
    """Two-dimensional observations (10 e + t, -(10 e + t)); the mask to use is infos/off."""
    steps, ends = sum(lengths), np.cumsum(lengths) - 1
    state = np.concatenate([10.0 * e + np.arange(n + 1) for e, n in enumerate(lengths)])
    columns = {
        "observations": np.stack([state, -state], axis=1),
        "actions": np.arange(steps, dtype=np.float32)[:, None],
        "rewards": np.arange(steps, dtype=np.float64),
        "terminations": np.isin(np.arange(steps), ends),
        "truncations": np.zeros(steps, bool),
        "infos/off": np.isin(np.arange(steps), touched),
    }
    return Dataset(columns | changes, lengths)


def field(dataset: Dataset, element: str) -> np.ndarray:
    if element in ("states", "observations"):
        return dataset.observations[dataset.observation_rows]
    return dataset.next_observations if element == "dynamics" else dataset.column(element)


def first(dataset: Dataset) -> list[float]:
    return dataset.observations[:, 0].tolist()


# -------------------------------------------------------------------- laws of all of them


@pytest.mark.parametrize(("fault", "element"), WORKING)
def test_rows_outside_the_mask_and_columns_not_named_are_bit_identical(fault: str, element: str) -> None:
    dataset = clean_dataset(600, 6)
    variant = FAULTS[fault](element, rate=0.4)(dataset)
    mask = variant.masks[element]
    assert 0 < mask.sum() < 600
    assert field(variant, element)[~mask].tobytes() == field(dataset, element)[~mask].tobytes()
    assert (field(variant, element)[mask] != field(dataset, element)[mask]).any()
    changed = {
        "states": {"observations"},
        "observations": {"observations", "next_observations"},
        "dynamics": {"next_observations"},
    }.get(element, {element})
    for name in set(dataset.columns) - changed:
        assert np.shares_memory(variant.column(name), dataset.column(name)), name
    if element == "observations":
        assert variant.next_observations.tobytes() == dataset.next_observations.tobytes()


@pytest.mark.parametrize("fault", FAULTS)
def test_dimensions_that_are_not_chosen_are_bit_identical(fault: str) -> None:
    dataset = clean_dataset(300, 6)
    variant = FAULTS[fault]("states", rate=0.5, dimensions=(0, -1))(dataset)
    assert variant.observations[:, 1].tobytes() == dataset.observations[:, 1].tobytes()
    assert (variant.observations[:, 2] != dataset.observations[:, 2]).any()
    if fault != "swap":
        alone = FAULTS[fault]("states", rate=0.5, dimensions=(0,))(dataset)
        assert alone.observations[:, 0].tobytes() == variant.observations[:, 0].tobytes()
    with pytest.raises(ConfigError, match="has 3 numbers a row, so 3 is not one of them"):
        FAULTS[fault]("states", dimensions=(0, 3))(dataset)


@pytest.mark.parametrize("fault", FAULTS)
def test_states_change_in_every_copy_and_the_final_one_with_the_last_step(fault: str) -> None:
    dataset = clean_dataset(300, 6)
    variant = FAULTS[fault]("states", rate=0.4, granularity="transition")(dataset)
    assert not variant.has_next_observations
    stored = dataset.replace({"next_observations": dataset.next_observations})
    both = FAULTS[fault]("states", rate=0.4, granularity="transition")(stored)
    assert both.observations.tobytes() == variant.observations.tobytes()
    assert np.array_equal(both.next_observations, variant.next_observations, equal_nan=True)
    finals = np.arange(6, 350, 7)
    same = (variant.observations[finals] == dataset.observations[finals]).all(axis=1)
    assert same[~variant.masks["states"][5::6]].all()
    assert not same[variant.masks["states"][5::6]].all()
    noisy = RandomCorruption("dynamics", rate=0.5)(dataset)  # an s' that is another state already stays
    disturbed = noisy.masks["dynamics"]
    after = FAULTS[fault]("states", rate=1.0, granularity="transition")(noisy)
    assert after.next_observations[disturbed].tobytes() == noisy.next_observations[disturbed].tobytes()


@pytest.mark.parametrize("fault", FAULTS)
def test_an_unknown_final_observation_keeps_repeating_the_row_before(fault: str) -> None:
    known = np.arange(50) % 2 == 0
    base = clean_dataset(300, 6, episode_columns={"final_observation": known})
    observations = base.observations.copy()
    finals = np.arange(6, 350, 7)
    observations[finals[~known]] = observations[finals[~known] - 1]
    dataset = base.replace({"observations": observations})
    variant = FAULTS[fault]("states", rate=1.0)(dataset)
    after = variant.observations
    assert np.array_equal(after[finals[~known]], after[finals[~known] - 1], equal_nan=True)
    assert variant.transitions().steps.tolist() == dataset.transitions().steps.tolist()


@pytest.mark.parametrize(("fault", "element"), WORKING)
def test_pieces_of_any_size_give_the_same_bytes(monkeypatch: pytest.MonkeyPatch, fault: str, element: str) -> None:
    dataset = clean_dataset(600, 6)
    parameters = {"rate": 0.5} | ({"fill": "last", "dimension_rate": 0.5} if fault == "missing" else {})
    whole = FAULTS[fault](element, **parameters)(dataset)
    monkeypatch.setattr("assay.corruption.shared.elements.CHUNK_BYTES", 96)
    pieces = FAULTS[fault](element, **parameters)(dataset)
    for name in whole.columns:
        one, other = whole.column(name), pieces.column(name)
        if fault in ("clip", "missing", "quantize") and one.dtype.kind == "f":
            assert np.allclose(one, other, rtol=1e-6)  # means over chunks of another size differ in their last bits
        else:
            assert one.tobytes() == other.tobytes(), name


def test_draws_do_not_depend_on_how_many_steps_follow() -> None:
    long, short = clean_dataset(600, 6), clean_dataset(600, 6).select(range(40))
    for fault in (MissingValues(rate=0.5, dimension_rate=0.5), FrozenSensors(rate=0.5), DelayedSensors(rate=0.5)):
        assert fault(short).observations.tobytes() == fault(long).observations[:280].tobytes()


@pytest.mark.parametrize("fault", FAULTS)
def test_history_rebuilds_the_same_bytes(fault: str, tmp_path: Path) -> None:
    assay.save(clean_dataset(120, 6), tmp_path / "source")
    variant = FAULTS[fault]("states", rate=0.5, dimensions=(0, 2), seed=3)(assay.load(tmp_path / "source"))
    assert assay.replay(variant.history).fingerprint == variant.fingerprint
    assay.save(variant, tmp_path / "variant")
    assert assay.load(tmp_path / "variant").fingerprint == variant.fingerprint


@settings(max_examples=30, deadline=None)
@given(dataset=datasets(max_length=12), fault=st.sampled_from(list(FAULTS)), element=st.sampled_from(ELEMENTS))
def test_any_structure_is_taken_or_refused_by_name(dataset: Dataset, fault: str, element: str) -> None:
    try:
        variant = FAULTS[fault](element, rate=0.5)(dataset)
    except (DatasetError, ConfigError) as error:
        if "needs real numbers" not in str(error) and "nothing to swap" not in str(error):
            raise
        return
    mask = variant.masks[element]
    names = [name for name in variant.columns if not name.startswith(("corrupted/", "infos/missing/"))]
    for name in names:
        before = dataset.column(name) if name in dataset.columns else None
        after = variant.column(name)
        if before is None:
            continue
        assert before.dtype == after.dtype
        rows = slice(None) if len(before) == dataset.total_steps else dataset.observation_rows
        if element != "states" or not name.startswith("next_"):
            assert after[rows][~mask].tobytes() == before[rows][~mask].tobytes()
    assert variant.transitions().steps.tolist() == dataset.transitions().steps.tolist()


def test_composed_corruptions_keep_all_masks() -> None:
    dataset = clean_dataset(300, 6)
    for transform in (
        RandomCorruption("rewards"),
        FrozenSensors(rate=0.3),
        QuantizedSensors("actions", rate=0.3),
        DelayedSensors("observations", rate=0.3),
        RandomCorruption("states", rate=0.2),
        MissingValues("dynamics"),
    ):
        before = dataset.masks
        dataset = transform(dataset)
        for element, mask in before.items():
            assert dataset.masks[element][mask].all()
    assert set(dataset.masks) == {"rewards", "states", "actions", "observations", "dynamics"}


# -------------------------------------------------------------------- each of them


def test_missing_values_are_nan_or_the_last_value_and_are_written_down() -> None:
    dataset = make([4, 3], [0, 2, 3, 5, 6])
    missing = MissingValues(mask="infos/off", dimensions=(0,))(dataset)
    expected = [np.nan, 1, np.nan, np.nan, np.nan, 10, np.nan, np.nan, np.nan]  # finals go with the last steps
    assert np.array_equal(missing.observations[:, 0], expected, equal_nan=True)
    assert np.array_equal(missing.column("infos/missing/observations")[:, 0], np.isnan(expected))
    assert not missing.column("infos/missing/observations")[:, 1].any()
    assert missing.validate().findings[0].check == "finite"
    mean = dataset.observations[dataset.observation_rows, 0].mean()
    held = MissingValues(mask="infos/off", dimensions=(0,), fill="last")(dataset)
    assert first(held) == [mean, 1, 1, 1, 1, 10, 10, 10, 10]
    assert held.validate().ok
    more = MissingValues("states", rate=0.0, dimensions=(1,))(missing)
    assert more.column("infos/missing/observations").sum() == missing.column("infos/missing/observations").sum()


def test_each_dimension_is_missing_with_its_own_probability() -> None:
    variant = MissingValues("actions", rate=0.5, dimension_rate=0.4)(clean_dataset(12_000, 6))
    mask, missing = variant.masks["actions"], np.isnan(variant.actions)
    assert not missing[~mask].any()
    assert abs(missing[mask].mean() - 0.4) < 0.02
    assert abs(missing[mask].all(axis=1).mean() - 0.16) < 0.02


def test_frozen_sensors_repeat_the_reading_before_for_as_long_as_they_are_touched() -> None:
    dataset = make([5, 3], [2, 3, 5, 6])
    assert first(FrozenSensors(mask="infos/off")(dataset)) == [0, 1, 1, 1, 4, 5, 10, 10, 12, 13]
    to_the_end = make([3], [1, 2])
    assert first(FrozenSensors(mask="infos/off")(to_the_end)) == [0, 0, 0, 0]
    only_seen = FrozenSensors("observations", mask="infos/off")(to_the_end)
    assert first(only_seen) == [0, 0, 0, 3]
    assert only_seen.next_observations[:, 0].tolist() == [1, 2, 3]
    followed = FrozenSensors("dynamics", mask="infos/off")(to_the_end)
    assert (first(followed), followed.next_observations[:, 0].tolist()) == ([0, 1, 2, 3], [1, 1, 1])


def test_validation_finds_a_sensor_that_froze_for_long() -> None:
    stopped = (np.arange(2000) >= 30) & (np.arange(2000) < 180)
    variant = FrozenSensors(mask="infos/off", dimensions=(1,))(clean_dataset(2000, 200, **{"infos/off": stopped}))
    (found,) = variant.validate().findings
    assert (found.check, found.episode, found.row, found.count) == ("frozen", 0, 29, 1)


def test_delayed_sensors_read_earlier_rows_of_their_episode() -> None:
    dataset = make([5, 3], [1, 2, 4, 7])
    assert first(DelayedSensors(mask="infos/off", steps=2)(dataset)) == [0, 0, 0, 3, 2, 3, 10, 11, 10, 11]
    everywhere = DelayedSensors("actions", rate=1.0)(dataset)
    assert everywhere.actions[:, 0].tolist() == [0, 0, 1, 2, 3, 5, 5, 6]
    whole = DelayedSensors(rate=0.5, seed=1)(clean_dataset(600, 6)).masks["states"].reshape(-1, 6)
    assert (whole.all(axis=1) | ~whole.any(axis=1)).all()


def test_quantized_readings_are_the_nearest_of_even_levels() -> None:
    dataset = make([4], [])
    rounded = QuantizedSensors(levels=3)(dataset)  # steps read 0 to 3, so levels 0, 1.5 and 3; the final 4 is beyond
    assert first(rounded) == [0, 1.5, 1.5, 3, 3]
    assert rounded.masks["states"].all()
    constant = QuantizedSensors("rewards")(dataset.replace({"rewards": np.full(4, 2.5)}))
    assert constant.rewards.tolist() == [2.5] * 4
    with pytest.raises(DatasetError, match="nan at episode 0, step 1"):
        QuantizedSensors("rewards")(dataset.replace({"rewards": np.array([0, np.nan, 1, 2])}))


def test_saturated_readings_stay_at_their_limits() -> None:
    dataset = make([4], [])
    assert first(ClippedSensors(low=1.0, high=2.5, dimensions=(0,))(dataset)) == [1, 1, 2, 2.5, 2.5]
    assert first(ClippedSensors(high=2.5, dimensions=(0,))(dataset)) == [0, 1, 2, 2.5, 2.5]
    rewards = dataset.rewards
    clipped = ClippedSensors("rewards", scale=0.5)(dataset).rewards
    assert np.allclose(clipped, np.clip(rewards, 1.5 - 0.5 * rewards.std(), 1.5 + 0.5 * rewards.std()))
    with pytest.raises(ConfigError, match="low=2 is more than high=1"):
        ClippedSensors(low=2.0, high=1.0)


def test_swapped_dimensions_are_the_same_ones_at_every_touched_step() -> None:
    dataset = clean_dataset(60, 6)
    swapped = SwappedDimensions("states", dimensions=(0, 2), rate=0.5)(dataset)
    rows, mask = dataset.observation_rows, swapped.masks["states"]
    assert np.array_equal(swapped.observations[rows][mask], dataset.observations[rows][mask][:, [2, 1, 0]])
    ring = SwappedDimensions("states", seed=2)(dataset)
    found = [int(np.flatnonzero((dataset.observations == ring.observations[:, [j]]).all(0))[0]) for j in range(3)]
    assert sorted(found) == [0, 1, 2]
    assert all(j != place for j, place in enumerate(found))
    with pytest.raises(ConfigError, match="at least two different ones"):
        SwappedDimensions(dimensions=(1, 1))
    with pytest.raises(ConfigError, match="nothing to swap"):
        SwappedDimensions("rewards")(dataset)


def test_one_column_of_a_structured_element_can_be_chosen() -> None:
    base = clean_dataset(60, 6)
    goal = np.arange(140.0).reshape(70, 2)
    dataset = base.replace({"observations": None, "observations/goal": goal, "observations/state": base.observations})
    variant = FrozenSensors(rate=0.5, column="observations/goal")(dataset)
    assert np.shares_memory(variant.column("observations/state"), dataset.column("observations/state"))
    assert (variant.column("observations/goal") != goal).any()
    with pytest.raises(UnknownNameError, match="observations/goal"):
        FrozenSensors(column="observations/gaol")(dataset)


@pytest.mark.parametrize(
    ("make_it", "message"),
    [
        (lambda: MissingValues(dimension_rate=2.0), "dimension_rate=2.0"),
        (lambda: MissingValues(fill="zero"), "fill='zero'"),
        (lambda: FrozenSensors("reward"), "element='reward'"),
        (lambda: DelayedSensors(steps=0), "steps=0"),
        (lambda: QuantizedSensors(levels=1), "levels=1"),
        (lambda: ClippedSensors(scale=-1.0), "scale=-1.0"),
        (lambda: FrozenSensors(level=3), "level is not a parameter"),
    ],
)
def test_impossible_parameters_are_named(make_it, message) -> None:
    with pytest.raises(ConfigError, match=r"^corruption\.") as error:
        make_it()
    assert message in str(error.value)


def test_elements_without_real_numbers_are_refused_by_faults_that_need_them() -> None:
    dataset = clean_dataset(60, 6, actions=np.arange(60)[:, None])
    with pytest.raises(DatasetError, match=r"corruption\.quantize needs real numbers.*actions int64"):
        QuantizedSensors("actions")(dataset)
    held: Transform = FrozenSensors("actions", rate=0.5)
    assert held(dataset).actions.dtype == np.int64
