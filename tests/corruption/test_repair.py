"""Filters: what they flag, that nothing false appears where steps are dropped, and how detection is counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import assay
from assay.corruption import (
    DuplicateEpisodes,
    DynamicsFilter,
    FrozenSensors,
    MergeEpisodes,
    MissingValues,
    OracleFilter,
    OutlierFilter,
    RandomCorruption,
    RewardFilter,
    SegmentEpisodes,
    detection,
)
from assay.corruption.repair.detection import average_precision
from assay.corruption.repair.filters import drop_steps
from assay.corruption.repair.outliers import center_and_spread
from assay.datasets import Dataset
from assay.datasets.errors import ConfigError, DatasetError, UnknownNameError
from tests.corruption.test_episodes import make, rows
from tests.datasets.dataset_strategies import clean_dataset, datasets


def linear_world(steps: int = 3000, length: int = 30, dtype: type = np.float64) -> Dataset:
    """s' = A s + B a + little noise, r = s . w; episodes that are truncated."""
    generator = np.random.default_rng(0)
    a, b = np.array([[0.9, 0.2, 0.0], [-0.2, 0.9, 0.0], [0.0, 0.1, 0.8]]), generator.normal(size=(3, 2))
    states, actions, rewards = [], [], []
    for _ in range(steps // length):
        state = generator.normal(size=3)
        for _ in range(length):
            action = generator.uniform(-1, 1, 2)
            states.append(state)
            actions.append(action)
            rewards.append(state.sum() + 0.01 * generator.normal())
            state = a @ state + b @ action + 0.01 * generator.normal(size=3)
        states.append(state)
    ends = np.zeros(steps, bool)
    ends[length - 1 :: length] = True
    return Dataset(
        {
            "observations": np.array(states, dtype),
            "actions": np.array(actions, dtype),
            "rewards": np.array(rewards, dtype),
            "terminations": np.zeros(steps, bool),
            "truncations": ends,
        },
        [length] * (steps // length),
    )


# -------------------------------------------------------------------- dropping steps


@settings(max_examples=60, deadline=None)
@given(dataset=datasets(max_length=9, extras=False), seed=st.integers(0, 99), share=st.floats(0, 1))
def test_dropping_steps_loses_these_and_makes_no_transition(dataset: Dataset, seed: int, share: float) -> None:
    dropped = np.random.default_rng(seed).random(dataset.total_steps) < share
    if dropped.all():
        with pytest.raises(DatasetError, match="nothing is left"):
            drop_steps(dataset, dropped)
        return
    left = drop_steps(dataset, dropped)
    before, after = dataset.transitions(np.float64), left.transitions(np.float64)

    def joined(value):
        return (
            value if isinstance(value, np.ndarray) else np.concatenate([joined(v) for v in value.values()], axis=None)
        )

    kept = np.flatnonzero(~dropped)
    for name in ("rewards", "terminations"):
        assert getattr(after, name).tobytes() == getattr(before, name)[kept].tobytes()
    for name in ("observations", "next_observations", "actions"):
        stored = getattr(before, name)
        if isinstance(stored, np.ndarray):
            assert getattr(after, name).tobytes() == stored[kept].tobytes()
        else:
            assert joined(getattr(after, name)).size <= joined(stored).size
    assert (after.truncations | ~before.truncations[kept]).all()


def test_a_split_episode_is_truncated_before_a_dropped_step_with_the_true_next_observation() -> None:
    dataset = make([5, 2])
    left = drop_steps(dataset, np.isin(np.arange(7), [2, 5]))
    assert rows(left) == [row for number, row in enumerate(rows(dataset)) if number not in (2, 5)]
    assert left.episode_lengths.tolist() == [2, 2, 1]
    assert left.truncations.tolist() == [False, True, False, True, False]
    assert left.terminations.tolist() == [False, False, False, False, True]
    assert left.validate().ok


@pytest.mark.parametrize("element", ["observations", "actions", "rewards", "dynamics", "states"])
def test_the_oracle_leaves_exactly_transitions_of_the_clean_data(element: str) -> None:
    dataset = linear_world(600)
    clean = {
        (s.tobytes(), a.tobytes(), r, n.tobytes())
        for s, a, r, n in zip(
            dataset.observations[dataset.observation_rows], dataset.actions, dataset.rewards, dataset.next_observations
        )
    }
    noisy = RandomCorruption(element, rate=0.3)(dataset)
    left = OracleFilter()(noisy)
    found = [
        (s.tobytes(), a.tobytes(), r, n.tobytes())
        for s, a, r, n in zip(
            left.observations[left.observation_rows], left.actions, left.rewards, left.next_observations
        )
    ]
    assert set(found) <= clean
    expected = ~noisy.masks[element]
    if element == "states":
        later = np.append(noisy.masks["states"][1:], False)
        later[dataset.episode_starts + dataset.episode_lengths - 1] = False
        expected &= ~later
    assert len(found) == expected.sum()
    finals = np.cumsum(left.episode_lengths + 1) - 1
    assert {row.tobytes() for row in left.observations[finals]} <= {row.tobytes() for row in dataset.observations}
    assert left.validate().ok


def test_weights_and_flags_keep_every_step() -> None:
    noisy = RandomCorruption("rewards", rate=0.3)(linear_world(600))
    weighted = OracleFilter(action="weights")(noisy)
    assert weighted.weights.tolist() == (~noisy.masks["rewards"]).astype(float).tolist()
    again = OracleFilter(action="weights")(noisy.replace({"weights": np.full(600, 2.0, np.float32)}))
    assert again.weights.dtype == np.float32
    assert set(again.weights.tolist()) == {0.0, 2.0}
    flagged = OracleFilter(action="flag")(noisy)
    assert flagged.column("flagged/oracle").tolist() == noisy.masks["rewards"].tolist()
    assert set(flagged.columns) == {*noisy.columns, "flagged/oracle"}
    with pytest.raises(DatasetError, match="flags every step"):
        OracleFilter(action="weights")(RandomCorruption("rewards", rate=1.0)(linear_world(600)))


def test_the_oracle_takes_all_masks_or_those_named() -> None:
    dataset = linear_world(600)
    noisy = RandomCorruption("actions", rate=0.2)(RandomCorruption("rewards", rate=0.2)(dataset))
    assert OracleFilter(elements=("rewards",))(noisy).total_steps == (~noisy.masks["rewards"]).sum()
    both = noisy.masks["rewards"] | noisy.masks["actions"]
    assert OracleFilter()(noisy).total_steps == (~both).sum()
    with pytest.raises(UnknownNameError, match="reward"):
        OracleFilter(elements=("reward",))(noisy)
    assert OracleFilter()(dataset).total_steps == 600
    segments = SegmentEpisodes(length=7)(dataset)
    assert OracleFilter()(segments).total_steps == 600  # truncated transitions are true
    assert OracleFilter()(DuplicateEpisodes(rate=0.5)(dataset)).total_steps == 600
    merged = MergeEpisodes(rate=1.0)(dataset)
    assert OracleFilter()(merged).episode_lengths.tolist() == [29] * 19 + [30]


# -------------------------------------------------------------------- statistical filters


def test_the_median_and_spread_are_those_of_the_definition() -> None:
    values = np.random.default_rng(0).standard_t(2, 4001)
    center, spread = center_and_spread(values)
    assert center == np.median(values)
    assert spread == pytest.approx(1.4826 * np.median(np.abs(values - np.median(values))))
    assert center_and_spread(np.append(values[:4000], np.nan))[0] == np.median(values[:4000])
    mostly_equal = np.array([0.0, 0, 0, 0, 3])
    assert center_and_spread(mostly_equal) == (0.0, pytest.approx(np.sqrt(np.pi / 2) * 0.6))
    assert center_and_spread(np.zeros(4)) == (0.0, 0.0)


def test_outliers_are_found_in_their_worst_dimension_and_what_is_not_finite_always_is() -> None:
    dataset = linear_world()
    observations = dataset.observations.copy()
    observations[5, 2] = 100.0  # step 5
    observations[40, 0] = np.nan  # step 39, in the second episode
    flagged = OutlierFilter("states", action="flag", threshold=10.0)(dataset.replace({"observations": observations}))
    assert np.flatnonzero(flagged.column("flagged/states")).tolist() == [5, 39]
    assert flagged.column("suspicion/states")[39] == np.inf
    followed = OutlierFilter("dynamics", action="flag", threshold=10.0)(dataset.replace({"observations": observations}))
    assert np.flatnonzero(followed.column("flagged/dynamics")).tolist() == [4, 38]


def test_a_given_share_is_flagged_exactly() -> None:
    flagged = OutlierFilter("rewards", share=0.1, action="flag")(linear_world(600))
    flags, scores = flagged.column("flagged/rewards"), flagged.column("suspicion/rewards")
    assert flags.sum() == 60
    assert scores[flags].min() >= scores[~flags].max()


@pytest.mark.parametrize("element", ["observations", "dynamics", "states"])
@pytest.mark.parametrize("features", [0, 32])
def test_the_dynamics_residual_finds_wrong_states_where_the_z_score_does_not(element: str, features: int) -> None:
    noisy = RandomCorruption(element, rate=0.3)(linear_world())
    found = detection(DynamicsFilter(element, features=features, share=0.3, action="flag")(noisy), element)
    assert found.average_precision > (0.6 if element == "states" else 0.95)  # the step before is as wrong
    assert found.recall > (0.4 if element == "states" else 0.9)
    by_threshold = detection(DynamicsFilter(element, features=features, action="flag")(noisy), element)
    assert by_threshold.precision > (
        0.5 if element == "states" else 0.9
    )  # so many outliers widen the spread: few of them are beyond the threshold
    ordinary = detection(OutlierFilter(element, action="flag")(noisy), element)
    assert ordinary.average_precision < found.average_precision


def test_the_reward_residual_finds_wrong_rewards_and_the_z_score_large_ones() -> None:
    noisy = RandomCorruption("rewards", rate=0.2, scale=0.1)(linear_world())
    model = detection(RewardFilter(share=0.2, action="flag")(noisy), "rewards")
    assert model.precision > 0.9
    assert model.recall > 0.9
    assert model.average_precision > 0.95
    assert detection(OutlierFilter("rewards", action="flag")(noisy), "rewards").recall < 0.5
    large = RandomCorruption("rewards", rate=0.05)(linear_world())
    assert detection(OutlierFilter("rewards", action="flag")(large), "rewards").recall > 0.6


def test_joined_episodes_are_found_by_the_dynamics() -> None:
    merged = MergeEpisodes(rate=0.5)(linear_world())
    found = detection(DynamicsFilter("borders", action="flag")(merged), "borders")
    assert found.recall > 0.9
    assert found.precision > 0.9


def test_filters_take_missing_values_and_unknown_final_observations() -> None:
    dataset = linear_world(600)
    dataset = Dataset(
        {name: dataset.column(name) for name in dataset.columns},
        dataset.episode_lengths,
        episode_columns={"final_observation": np.zeros(20, bool)},
    )
    gaps = MissingValues(rate=0.1)(dataset)
    flagged = DynamicsFilter("states", action="flag")(gaps).column("flagged/states")
    lasts = np.arange(29, 600, 30)
    unfinished = np.isin(np.arange(600), lasts)
    assert flagged[gaps.masks["states"] & ~unfinished].all()
    left = DynamicsFilter("states")(gaps).transitions()
    assert np.isfinite(left.observations).all()
    assert np.isfinite(left.next_observations).all()


def test_scores_do_not_depend_on_the_size_of_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    noisy = RandomCorruption("dynamics", rate=0.3)(linear_world(600))
    filters = (
        DynamicsFilter(action="flag"),
        RewardFilter(features=8, action="flag"),
        OutlierFilter("dynamics", action="flag"),
    )
    whole = [item(noisy) for item in filters]
    monkeypatch.setattr("assay.corruption.shared.elements.CHUNK_BYTES", 2048)
    for item, before in zip(filters, whole):
        name = f"suspicion/{item.label}"
        assert np.allclose(item(noisy).column(name), before.column(name), rtol=1e-4, atol=1e-5)


def test_history_rebuilds_a_repaired_dataset(tmp_path: Path) -> None:
    assay.save(linear_world(600), tmp_path / "source")
    repaired = DynamicsFilter()(RandomCorruption("dynamics")(assay.load(tmp_path / "source")))
    assert assay.replay(repaired.history).fingerprint == repaired.fingerprint


def test_what_cannot_be_filtered_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"threshold=0\.0"):
        OutlierFilter("rewards", threshold=0.0)
    with pytest.raises(ConfigError, match="element='a/b'"):
        DynamicsFilter("a/b")
    with pytest.raises(DatasetError, match="no step has finite"):
        DynamicsFilter()(MissingValues(rate=1.0)(linear_world(600)))
    with pytest.raises(DatasetError, match="nothing is left"):
        OutlierFilter("rewards", share=1.0)(linear_world(600))


# -------------------------------------------------------------------- detection


def test_precision_is_of_the_flags_and_recall_of_the_corrupted_steps() -> None:
    """Ten steps: 4 corrupted, 5 flagged, 3 of them rightly. RDT's code calls 3/5 the recall."""
    corrupted = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], bool)
    flagged = np.array([1, 1, 1, 0, 1, 1, 0, 0, 0, 0], bool)
    scores = np.array([9, 8, 6, 1, 7, 6, 1, 1, 1, 1], np.float32)
    dataset = clean_dataset(
        10, 5, **{"corrupted/rewards": corrupted, "flagged/rewards": flagged, "suspicion/rewards": scores}
    )
    found = detection(dataset, "rewards")
    assert (found.precision, found.recall) == (3 / 5, 3 / 4)
    assert found.f1 == pytest.approx(2 * 0.6 * 0.75 / 1.35)
    # recall grows by 1/4 at scores 9 (precision 1), 8 (1), 6 (3 of 5) and 1 (4 of 10)
    assert found.average_precision == pytest.approx((1 + 1 + 3 / 5 + 4 / 10) / 4)
    assert (found.flagged, found.corrupted, found.steps) == (5, 4, 10)


def test_detection_of_nothing_is_nan_and_names_are_checked() -> None:
    dataset = clean_dataset(10, 5, **{"corrupted/rewards": np.zeros(10, bool), "flagged/rewards": np.zeros(10, bool)})
    found = detection(dataset, "rewards")
    assert np.isnan([found.precision, found.recall, found.f1, found.average_precision]).all()
    with pytest.raises(UnknownNameError, match="flag 'actions'"):
        detection(dataset, "actions")
    with pytest.raises(UnknownNameError, match="mask 'action'"):
        detection(dataset, "rewards", truth="action")


def test_average_precision_is_the_sum_over_all_thresholds() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        truth = generator.random(50) < 0.3
        truth[7] = True
        scores = generator.integers(0, 8, 50).astype(float)
        expected, before = 0.0, 0.0
        for threshold in sorted(set(scores), reverse=True):
            flagged = scores >= threshold
            recall = (flagged & truth).sum() / truth.sum()
            expected += (recall - before) * (flagged & truth).sum() / flagged.sum()
            before = recall
        assert average_precision(scores, truth) == pytest.approx(expected)


def test_frozen_windows_may_be_looked_for_under_another_name() -> None:
    frozen = FrozenSensors(rate=0.3)(linear_world())
    flagged = DynamicsFilter("stopped", action="flag")(frozen)
    assert detection(flagged, "stopped", truth="states").average_precision > 0.8
