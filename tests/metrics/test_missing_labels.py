"""Metrics of datasets that lack labels: what needs them is named, the rest is as it was, and a part of them is used."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pytest

from assay.datasets import Dataset
from assay.datasets.errors import AssayWarning, MissingLabelsError
from assay.datasets.missing import without_labels
from assay.metrics import Grid, assess, register_metric, stitched_return, unique_states
from assay.metrics.measures import remove_metric
from assay.metrics.table import MetricTable
from tests.datasets.dataset_strategies import clean_dataset

SHAPE = ["metric", "value", "unit", "source"]


def measured(dataset: Dataset, reference: Dataset | None = None, **options: object) -> MetricTable:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AssayWarning)
        return assess(dataset, reference, progress=None, **options)  # type: ignore[arg-type]


def rows(table: MetricTable) -> dict[str, tuple[object, ...]]:
    return {row[0]: row[1:] for row in table.select(SHAPE).rows()}


def masked(whole: Dataset, **masks: np.ndarray) -> Dataset:
    columns = without_labels({name: whole.column(name) for name in whole.columns}, masks)
    return Dataset(columns, whole.episode_lengths, info=whole.info)


@pytest.mark.parametrize("element", ["actions", "rewards"])
def test_what_needs_a_label_is_named_and_all_others_are_as_they_were(element: str) -> None:
    whole = clean_dataset()
    before, table = rows(measured(whole)), measured(whole.replace({element: None}))
    assert before.keys() == rows(table).keys() | table.skipped.keys()
    assert table.skipped
    for name, row in rows(table).items():
        assert row == before[name]
    assert all(f"needs {element}, and this dataset has none" in reason for reason in table.skipped.values())
    assert all(f"needs {element}" in note for note in table.notes)
    unaffected = {"steps", "length_mean", "unique_states", "state_entropy", "discontinuities", "dead_observations"}
    assert unaffected <= rows(table).keys()
    assert ("return_mean" in table.skipped) == (element == "rewards")
    assert ("unique_state_actions" in table.skipped) == (element == "actions")


def test_some_labels_are_measured_on_the_episodes_that_have_all_of_them_and_this_is_said() -> None:
    whole = clean_dataset()
    actions, rewards = np.zeros((2, 60), bool)
    actions[[0, 13]], rewards[59] = True, True  # episodes 0 and 2; episode 9
    before, table = rows(measured(whole)), measured(masked(whole, actions=actions, rewards=rewards))
    assert not table.skipped
    parts = {
        "; the 8 of 10 episodes whose actions are all there": [1, 3, 4, 5, 6, 7, 8, 9],
        "; the 9 of 10 episodes whose rewards are all there": list(range(9)),
        "; the 7 of 10 episodes whose actions and rewards are all there": [1, 3, 4, 5, 6, 7, 8],
    }
    of_parts = {note: rows(measured(whole.select(episodes))) for note, episodes in parts.items()}
    noted = dict.fromkeys(parts, 0)
    for name, (value, unit, source) in rows(table).items():
        note = next((note for note in parts if str(source).endswith(note)), None)
        if note is None:
            assert (value, unit, source) == before[name]
        else:
            noted[note] += 1
            assert (value, unit, str(source).removesuffix(note)) == of_parts[note][name]
    assert all(noted.values())


def test_a_reference_is_cut_down_too() -> None:
    whole = clean_dataset()
    reference = masked(clean_dataset(seed=1), actions=np.arange(60) < 1)
    table = rows(measured(whole, reference, select=["saco", "unique_states"]))
    expected = rows(measured(whole, reference.select(np.arange(1, 10)), select=["saco"]))
    assert table["saco"][0] == expected["saco"][0]
    assert str(table["saco"][2]).endswith("the 9 of the reference's 10 episodes whose actions are all there")
    assert "all there" not in str(table["unique_states"][2])


def test_without_a_complete_episode_the_count_is_given_and_a_chosen_metric_raises() -> None:
    dataset = masked(clean_dataset(), actions=np.arange(60) % 6 == 2)
    table = measured(dataset)
    assert "10 of 60 steps have none (the first is step 2)" in table.skipped["dead_actions"]
    with pytest.raises(MissingLabelsError, match="10 of 60 steps have none"):
        measured(dataset, select=["dead_actions"])


@pytest.fixture
def own_metrics() -> Iterator[None]:
    register_metric("mean_action", unit="action")(lambda dataset: dataset.actions.mean())
    register_metric("mean_state", unit="state", labels=())(lambda dataset: dataset.observations.mean())
    yield
    remove_metric("mean_action")
    remove_metric("mean_state")


@pytest.mark.usefixtures("own_metrics")
def test_a_metric_of_ones_own_never_reads_what_is_missing() -> None:
    whole = clean_dataset()
    dataset = masked(whole, actions=np.arange(60) < 6)
    table = rows(measured(dataset, select=["mean_action", "mean_state"]))
    assert table["mean_action"][0] == pytest.approx(whole.actions[6:].mean())
    assert table["mean_state"][0] == whole.observations.mean()
    assert "all there" not in str(table["mean_state"][2])
    assert "mean_action" in measured(whole.replace({"actions": None})).skipped


def test_states_alone_lay_their_own_grid() -> None:
    whole = clean_dataset()
    states = whole.replace({"actions": None})
    alone = Grid.from_dataset(states, bins=4, parts=("observations",))
    assert unique_states(states, alone) == unique_states(whole, Grid.from_dataset(whole, bins=4))
    assert stitched_return(states, bins=4) == stitched_return(whole, bins=4)
    with pytest.raises(MissingLabelsError, match="needs actions"):
        Grid.from_dataset(states)


def test_hidden_truth_and_uncertainty_change_no_metric() -> None:
    whole = clean_dataset()
    more = whole.replace({"truth/actions": np.full((60, 2), np.nan), "uncertainty/rewards": np.ones(60)})
    assert rows(measured(more)) == rows(measured(whole))
