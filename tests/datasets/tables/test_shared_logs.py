"""Real logs in tables that nobody here made: each loads by its proposal, and the facts of their README come out."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import assay
from assay.datasets import Dataset
from assay.datasets.errors import AssayWarning
from assay.datasets.formats import format_named

LOGS = Path(__file__).parents[3] / "../shared/data/logs"
pytestmark = pytest.mark.skipif(not LOGS.is_dir(), reason="needs ../shared")


def load(name: str, **changes: Any) -> tuple[Dataset, dict[str, Any]]:
    """Load a file by the mapping that is proposed for it, with changes."""
    path = LOGS / name
    mapping = yaml.safe_load(format_named("table").propose(path)) | changes  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AssayWarning)
        return assay.load(path, columns=mapping), mapping


def test_bandit_logs_are_episodes_of_one_decision_with_propensities() -> None:
    dataset, mapping = load("obd_random_men/men.csv", ends="terminated")
    assert mapping["episode_lengths"] == 1
    assert (dataset.total_steps, dataset.total_episodes) == (10_000, 10_000)
    assert (dataset.column("infos/propensity_score") == 1 / 34).all()
    assert sorted(np.unique(dataset.actions)) == list(range(34))  # 34 items, of which a random policy chose
    assert set(np.unique(dataset.rewards)) == {0, 1}  # clicks
    names = dataset.info.names["observations"]
    assert sum(name.startswith("user_feature_0=") for name in names) == len(
        dataset.info.extra["categories"]["user_feature_0"]
    )
    assert sum(name.startswith("user-item_affinity_") for name in names) == 34
    assert dataset.info.extra["time_origin"].startswith("2019-11-24T00:03:13.442536")
    assert (np.diff(dataset.column("time")) >= 0).all()
    assert dataset.terminations.all()
    assert len(dataset.transitions()) == 10_000  # a termination needs no next observation


def test_items_of_the_bandit_are_a_table_as_well() -> None:
    dataset, _ = load("obd_random_men/item_context.csv")
    assert dataset.total_steps == 34
    assert dataset.actions.tolist() == list(range(34))


def test_joint_states_have_nanoseconds_and_columns_that_never_change() -> None:
    dataset, mapping = load("joints.csv")
    assert (dataset.total_steps, dataset.total_episodes) == (2_725, 1)
    assert (mapping["time"], mapping["time_unit"]) == ("%time", "ns")
    assert dataset.info.extra["time_origin"] == "1486559106139796569 ns"
    assert abs(dataset.column("time")[1] - (1486559106140360682 - 1486559106139796569) / 1e9) < 1e-12
    assert dataset.missing["actions"].all()
    assert dataset.missing["rewards"].all()
    both = [f"field.{kind}{number}" for kind in ("position", "velocity") for number in range(6)]
    whole, _ = load("joints.csv", observations=both)
    assert whole.info.names["observations"] == tuple(both)
    assert np.array_equal(whole.observations[:, :6], dataset.observations)


@pytest.mark.parametrize(
    ("model", "share"),
    [("6b_finetuning", 21.7), ("6b_verification", 39.0), ("175b_finetuning", 34.7), ("175b_verification", 56.3)],
)
def test_scored_solutions_are_steps_of_text(model: str, share: float) -> None:
    dataset, mapping = load(
        "gsm8k/example_model_solutions.jsonl",
        actions=f"{model}/solution",
        rewards=f"{model}/is_correct",
        ends="terminated",
    )
    assert mapping["observations"] == "question"
    assert dataset.total_episodes == 1_319
    assert round(100 * dataset.rewards.mean(), 1) == share
    assert str(dataset.observations[0]).startswith("Janet\u2019s ducks lay 16 eggs per day.")
