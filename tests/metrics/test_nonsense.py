"""Whatever dataset there is, the measures give numbers or say why not."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.datasets import Dataset
from assay.datasets.errors import AssayError, AssayWarning, DatasetError
from assay.metrics import assess
from assay.metrics.measures import groups
from tests.datasets.dataset_strategies import datasets

READS_OBSERVATIONS = {
    "state_actions",
    "stitching",
    "entropy",
    "rank",
    "overlap",
    "behaviour",
    "diversity",
    "noise",
    "smoothness",
    "distance",
}
WITHOUT_REFERENCE = READS_OBSERVATIONS - {"overlap", "distance"}
PLAIN_FACTS = {"size", "returns", "return_structure", "labels"}  # of every dataset, whatever is in it
DISTANCES = ("sliced_wasserstein", "mmd", "kl_divergence", "ks_mean", "ks_max")


def assess_groups(
    dataset: Dataset, reference: Dataset | None = None
) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Measure group by group, so that one refusal hides no other; every number must be finite.

    Returns the numbers of each group, and for each that refused some or all of its metrics the reason.
    """
    found: dict[str, dict[str, float]] = {}
    refused: dict[str, str] = {}
    for group in groups():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                table = assess(dataset, reference, select=[group], sample=200)
            except AssayError as error:
                refused[group] = str(error)
                continue
        for warning in caught:
            assert warning.category is AssayWarning, warning
            assert str(warning.message).startswith("not computed: "), warning
            refused[group] = str(warning.message)
        found[group] = dict(table.select("metric", "value").iter_rows())
        for row in table.iter_rows(named=True):
            assert np.isfinite(row["value"]), row
            if row["interval"] is not None:
                assert row["interval"]["low"] <= row["value"] <= row["interval"]["high"], row
            assert row["source"]
    assert set(found) | set(refused) == set(groups())
    return found, refused


def assess_all(dataset: Dataset, reference: Dataset | None = None) -> dict[str, float]:
    """Return the numbers of all groups; none may refuse."""
    found, refused = assess_groups(dataset, reference)
    assert not refused
    return {name: value for group in found.values() for name, value in group.items()}


def holds_only_finite_numbers(dataset: Dataset) -> bool:
    columns = (dataset.column(name) for name in dataset.columns)
    return all(np.isfinite(column).all() for column in columns if column.dtype.kind in "fc")


@settings(max_examples=12, deadline=None)
@given(datasets(max_length=15, max_episodes=4), st.data())
def test_any_dataset_is_measured_or_refused(dataset: Dataset, data: st.DataObject) -> None:
    reference = data.draw(st.sampled_from([None, dataset, dataset.select([0])]))
    found, refused = assess_groups(dataset, reference)
    assert found.keys() >= {"size", "labels"}
    if holds_only_finite_numbers(dataset):
        assert not refused


def make(observations: Any, actions: Any, rewards: Any = None, lengths: tuple[int, ...] = (12, 8)) -> Dataset:
    steps = sum(lengths)
    ends = np.zeros(steps, bool)
    ends[np.cumsum(lengths) - 1] = True
    return Dataset.from_arrays(
        observations=observations,
        actions=actions,
        rewards=np.zeros(steps) if rewards is None else rewards,
        terminations=np.zeros(steps, bool),
        truncations=ends,
    )


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape)


def test_constant_columns_leave_plain_facts_and_no_entropy() -> None:
    constant = make(np.ones((22, 3)), np.zeros((20, 2)))
    found = assess_all(constant, constant)
    assert found["dead_observations"] == 3
    assert found["reward_sparsity"] == found["coverage"] == 1.0
    assert not {"state_entropy", "policy_entropy", "effective_rank_states", "action_variance"} & set(found)
    one_dead = make(np.hstack([normal(22, 2), np.ones((22, 1))]), normal(20, 2))
    assert {"state_entropy", "policy_entropy", "transition_noise", "multimodality"} - set(assess_all(one_dead)) == {
        "multimodality"
    }


def test_one_step_has_nothing_to_compare_with() -> None:
    single = make(normal(2, 3), normal(1, 2), lengths=(1,))
    found, refused = assess_groups(single, single)
    assert not refused
    assert {group for group, values in found.items() if values} == PLAIN_FACTS | {"state_actions", "stitching"}
    assert found["state_actions"] == {"unique_states": 1, "unique_state_actions": 1, "saturation": 1, "saco": 1}
    assert found["labels"] == {
        "reward_sparsity": 1.0,
        "duplicate_rate": 0.0,
        "dead_observations": 3.0,
        "dead_actions": 2.0,
        "time_limit": 1.0,
    }


def test_nan_is_refused_with_its_place_and_plain_facts_remain() -> None:
    broken = make(np.full((22, 3), np.nan), normal(20, 2))
    found, refused = assess_groups(broken)
    assert set(refused) == WITHOUT_REFERENCE
    for measured in (found, assess_groups(broken, broken)[0]):
        facts = {group for group, values in measured.items() if values}
        assert PLAIN_FACTS <= facts <= PLAIN_FACTS | {"smoothness"}  # of the actions, which are whole
    assert found["labels"]["dead_observations"] == 3
    place = r"column observations\[0\] is nan at episode 0, step 0; repair or leave out that episode"
    for group in WITHOUT_REFERENCE:
        with pytest.warns(AssayWarning, match=place):
            assess(broken, select=[group], sample=200)
    for metric in ("state_entropy", "transition_noise", "episode_diversity", "discontinuities", "action_variance"):
        with pytest.raises(DatasetError, match=r"column observations.*is nan at episode 0, step 0"):
            assess(broken, select=[metric])


def test_text_and_images_are_refused_where_distances_mean_nothing() -> None:
    frames = np.random.default_rng(1).integers(0, 255, (22, 32, 32, 3), np.uint8)
    for dataset, reason in (
        (make(np.full(22, "left"), normal(20, 2)), "no numbers"),
        (make(frames, normal(20, 2)), "pixels"),
    ):
        found = assess_all(dataset)
        assert {"duplicate_rate", "autocorrelation_actions"} <= set(found)
        assert "state_entropy" not in found
        with pytest.raises(AssayError, match=reason):
            assess(dataset, select=["state_entropy"])


def test_numbers_of_any_size() -> None:
    scales = np.array([1e-300, 1e300, 1.0])
    found = assess_all(make(normal(22, 3) * scales, normal(20, 2) * 1e200, normal(20) * 1e-200))
    plain = assess_all(make(normal(22, 3), normal(20, 2), normal(20)))
    of_rewards = {name for name in plain if name.startswith(("return_", "stitched_return_", "psv"))} - {"psv_scaled"}
    for name in of_rewards - {"return_std", "psv"}:  # squares of 1e-200 are no float64
        assert 1e200 * found[name] == pytest.approx(plain[name]), name
    same = set(plain) - of_rewards - {"state_entropy", "state_action_entropy", "policy_entropy"}
    assert {name: found[name] for name in same} == pytest.approx({name: plain[name] for name in same})
    assert found["policy_entropy"] == pytest.approx(plain["policy_entropy"] + 2 * np.log(1e200))


def test_unknown_final_observations_are_not_looked_at() -> None:
    lengths = (12, 8)
    states = normal(22, 1)
    states[[12, 21]] = 1e9  # fillers
    dataset = make(states, normal(20, 1), lengths=lengths)
    marked = Dataset(
        {name: dataset.column(name) for name in dataset.columns},
        list(lengths),
        episode_columns={"final_observation": np.zeros(2, bool)},
    )
    row = assess(marked, select=["transition_noise"]).row(0, named=True)
    assert "18 of 20 steps" in row["source"]
    assert row["value"] != assess(dataset, select=["transition_noise"])["value"][0]


def test_two_datasets_of_different_environments_are_refused() -> None:
    dataset = make(normal(22, 3), normal(20, 1))
    for other in (make(normal(22, 2), normal(20, 1)), make(normal(22, 3), np.zeros(20, np.int64))):
        for metric in ("coverage", "mmd"):
            with pytest.raises(DatasetError, match="same environment"):
                assess(dataset, other, select=[metric])


def test_discrete_actions_of_two_datasets_need_not_be_the_same_ones() -> None:
    dataset, other = make(normal(22, 2), np.arange(20) % 2), make(normal(22, 2), np.arange(20) % 3 + 5)
    assert 0 <= assess_all(dataset, other)["coverage"] <= 1


def test_the_order_of_episodes_does_not_matter() -> None:
    generator = np.random.default_rng(2)
    dataset = make(normal(107, 2), generator.standard_normal((100, 1)), normal(100), lengths=(20, 9, 31, 10, 5, 5, 20))
    reference = make(normal(101, 2) + 1, generator.standard_normal((100, 1)), normal(100), lengths=(100,))
    turned = dataset.select([3, 6, 0, 5, 1, 4, 2])
    for metrics in (list(assess_all(dataset)), ["coverage", "inside_reference", *DISTANCES]):
        metrics = [name for name in metrics if name != "multimodality"]  # looks at a few of the states
        first, second = (assess(which, reference, select=metrics)["value"].to_list() for which in (dataset, turned))
        assert second == pytest.approx(first, abs=1e-9)
