"""HDF5 files from strangers: read exactly, or refused before memory or time is spent; and plain files by a mapping."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import assay
from assay.datasets.errors import AssayWarning, ConfigError, DatasetError, FormatError
from assay.datasets.formats import FORMATS, format_named, hdf5, sniff, writer_named
from tests.datasets.dataset_strategies import clean_dataset
from tests.datasets.formats.fuzz import make_samples

in_one_folder = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


# -------------------------------------------------------------------- which format


def test_every_sample_is_claimed_by_its_own_format_alone(tmp_path: Path) -> None:
    for name in ("d4rl", "robomimic", "dsrl", "d3rlpy", "hdf5"):
        (tmp_path / name).mkdir()
        for path in make_samples(name, tmp_path / name):
            assert [item for item in FORMATS if format_named(item).sniff(path)] == [name]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["d4rl", "robomimic", "dsrl", "d3rlpy", "hdf5"])
def test_damaged_files_are_refused_or_read_within_memory_and_time(name: str, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.datasets.formats.fuzz",
        "--formats",
        name,
        "--cases",
        "150",
        "--minutes",
        "2",
    ]
    process = subprocess.run([*command, "--findings", str(tmp_path)], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr


# -------------------------------------------------------------------- plain files


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "plain.hdf5", "w") as file:
        file["run/state/pose"], file["run/state/goal"] = np.arange(10.0).reshape(5, 2), np.arange(5)
        file["run/act"], file["run/rew"] = np.zeros((5, 1)), np.ones((5, 1))
        file["run/end"], file["run/cut"], file["starts"] = [0, 0, 1, 0, 0], [0, 0, 0, 0, 1], [0, 3]
        file["note"] = "text"
    return tmp_path / "plain.hdf5"


COLUMNS = {"observations": "run/state", "actions": "run/act", "rewards": "run/rew"}
FLAGS = {"terminations": "run/end", "truncations": "run/cut"}


def test_a_mapping_of_paths_and_groups_is_followed(plain: Path) -> None:
    with pytest.warns(AssayWarning, match="note") as caught:
        dataset = assay.load(plain, format="hdf5", columns=COLUMNS | FLAGS, episode_starts="starts")
    assert len(caught) == 1
    assert dataset.episode_lengths.tolist() == [3, 2]
    assert sorted(dataset.observations) == ["goal", "pose"]
    assert dataset.history[0].parameters["options"]["episode_starts"] == "starts"


def test_without_a_mapping_the_error_shows_what_the_file_holds_and_what_to_pass(plain: Path) -> None:
    with pytest.raises(FormatError, match="in no known format"):
        sniff(plain)
    with pytest.raises(FormatError, match=r'file holds run/act.*columns=\{"observations": "...", "actions": "..."'):
        hdf5.read(plain)
    with pytest.raises(
        ConfigError,
        match=r"no array 'run/states' for observations; did you mean 'run/state/pose'\? the file holds run/act",
    ):
        hdf5.read(plain, columns={"observations": "run/states"})


def test_a_file_with_the_names_of_a_dataset_is_recognized(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "file", "w") as file:
        file["observations"], file["actions"], file["rewards"] = np.zeros(7), np.zeros(5), np.zeros(5)
        file["terminations"], file["truncations"] = [0, 0, 1, 0, 0], [0, 0, 0, 0, 1]
    assert sniff(tmp_path / "file") == "hdf5"
    assert "final_observation" not in assay.load(tmp_path / "file").episode_columns


def test_arrays_that_hold_no_numbers_are_named(plain: Path) -> None:
    with h5py.File(plain, "a") as file:
        file["infos/note"] = ["a"] * 5
    with pytest.warns(AssayWarning, match="infos/note"):
        dataset = hdf5.read(plain, columns=COLUMNS | FLAGS)
    assert "infos/note" not in dataset.columns


@pytest.mark.parametrize("name", ["d4rl", "robomimic", "d3rlpy", "dsrl"])
def test_a_dataset_without_episodes_comes_back_or_is_refused(tmp_path: Path, name: str) -> None:
    empty = clean_dataset(costs=np.zeros(60)).select([]).replace({"costs": None} if name != "dsrl" else {})
    module = writer_named(name)
    if name in ("robomimic", "d3rlpy"):
        with pytest.raises(DatasetError, match="at least one"):
            module.write(empty, tmp_path / "file")
    else:
        module.write(empty, tmp_path / "file")
        assert module.read(tmp_path / "file") == empty
