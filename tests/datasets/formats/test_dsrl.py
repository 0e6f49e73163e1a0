"""DSRL: costs beside rewards, and ranges of returns only where the file's name decides the task."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from assay.datasets.dataset import Dataset
from assay.datasets.errors import AssayWarning, DatasetError, FormatError
from assay.datasets.formats import dsrl, sniff
from tests.datasets.dataset_strategies import assert_same_columns, clean_dataset
from tests.datasets.formats.row_strategies import row_datasets

SHARED = Path(__file__).parents[3] / "../shared/reference/dsrl_reference_scores.json"


def make(path: Path, **changes: Any) -> Path:
    states = np.random.default_rng(0).normal(size=(11, 3)).astype(np.float32)
    arrays: dict[str, Any] = {
        "observations": states[:-1],
        "next_observations": states[1:],
        "actions": np.zeros((10, 2), np.float32),
        "rewards": np.arange(10.0),
        "costs": np.arange(10.0)[:, None] % 2,
        "terminals": np.zeros((10, 1), bool),
        "timeouts": np.arange(10) == 9,
    }
    with h5py.File(path, "w") as file:
        for name, array in (arrays | changes).items():
            if array is not None:
                file.create_dataset(name, data=array, compression="gzip")
    return path


def test_costs_are_a_column_and_timeouts_truncations(tmp_path: Path) -> None:
    path = make(tmp_path / "file.hdf5")
    dataset = dsrl.read(path)
    assert sniff(path) == "dsrl"
    assert dataset.column("costs").tolist() == [0, 1] * 5
    assert np.flatnonzero(dataset.truncations).tolist() == [9]
    assert not dataset.terminations.any()
    assert not dataset.has_next_observations
    assert len(dataset.transitions()) == 10


@pytest.mark.parametrize("name", ["costs", "next_observations", "timeouts"])
def test_all_of_the_names_are_needed(tmp_path: Path, name: str) -> None:
    path = make(tmp_path / "file.hdf5", **{name: None})
    assert not dsrl.sniff(path)
    with pytest.raises(FormatError, match=f"there is no dataset {name}; the file holds actions"):
        dsrl.read(path)


def test_the_published_name_gives_the_task_and_any_other_name_gives_none(tmp_path: Path) -> None:
    info = dsrl.read(make(tmp_path / "SafetyBallCircle-v0-80-886.hdf5")).info
    assert info.id == "dsrl/BallCircle"
    assert info.references is not None
    assert info.references.expert == pytest.approx(881.46, abs=0.01)
    assert "DSRL" in info.references.source
    assert info.extra["episode_cost_range"] == [0.0, 80.0]
    other = dsrl.read(make(tmp_path / "SafetyBallCircle.hdf5")).info
    assert (other.id, other.references, dict(other.extra)) == ("", None, {})


@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared")
def test_the_ranges_are_those_of_dsrl_and_every_published_name_is_known() -> None:
    published = json.loads(SHARED.read_text())
    keys = ("MIN_EPISODE_REWARD", "MAX_EPISODE_REWARD", "MIN_EPISODE_COST", "MAX_EPISODE_COST")
    assert {
        task: tuple(published[key][task] for key in keys) for task in published["MAX_EPISODE_REWARD"]
    } == dsrl.EPISODE_RANGES
    for task, url in published["DATASET_URLS"].items():
        match = dsrl._NAME.fullmatch(Path(url).stem)
        assert match is not None
        assert match[1] == task


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(dataset=row_datasets(costs=True, unknown_finals=False))
def test_what_was_written_comes_back_equal(tmp_path: Path, dataset: Dataset) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", AssayWarning)
        dsrl.write(dataset, tmp_path / "again", overwrite=True)
        again = dsrl.read(tmp_path / "again")
    assert sniff(tmp_path / "again") == "dsrl"
    assert_same_columns(dataset, again)
    assert again == dataset


def test_what_dsrl_needs_and_the_dataset_lacks_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="needs a column costs"):
        dsrl.write(clean_dataset(), tmp_path / "file")
    with pytest.raises(DatasetError, match="one cost per step"):
        dsrl.write(clean_dataset(costs=np.zeros((60, 2))), tmp_path / "file")
    unknown = clean_dataset(costs=np.zeros(60), episode_columns={"final_observation": np.zeros(10, bool)})
    with pytest.raises(DatasetError, match="final observation of episode 0"):
        dsrl.write(unknown, tmp_path / "file")
    assert not list(tmp_path.iterdir())
