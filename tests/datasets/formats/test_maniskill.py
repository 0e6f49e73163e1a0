"""ManiSkill's trajectory.h5 and trajectory.json, as its recorder writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import assay
from assay.datasets.errors import AssayWarning, ConfigError, DatasetError, FormatError
from assay.datasets.formats import maniskill, sniff

LENGTHS = {0: 3, 2: 5, 10: 2}


def record(path: Path, *, obs: str = "nested", json_file: bool = True, **left_out: bool) -> Path:
    """Write trajectories of three lengths, numbered 0, 2 and 10, as RecordEpisode lays them out."""
    generator = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for number, length in LENGTHS.items():
            group = file.create_group(f"traj_{number}", track_order=True)
            if obs == "nested":
                group["obs/agent/qpos"] = generator.normal(size=(length + 1, 9)).astype(np.float32)
                images = generator.integers(0, 255, (length + 1, 4, 4, 3), np.uint8)
                group.create_dataset(
                    "obs/sensor_data/base_camera/rgb", data=images, compression="gzip", compression_opts=5
                )
            elif obs == "flat":
                group["obs"] = generator.normal(size=(length + 1, 42)).astype(np.float32)
            else:
                group.create_group("obs")
            group["actions"] = generator.normal(size=(length, 8)).astype(np.float32)
            group["env_states/actors/cube"] = generator.normal(size=(length + 1, 13)).astype(np.float32)
            last = np.arange(length) == length - 1
            contents = {
                "terminated": last & (number != 2),
                "truncated": last & (number == 2),
                "success": last & (number == 0),
            }
            contents["rewards"] = np.arange(length, dtype=np.float32)
            for name, array in contents.items():
                if not left_out.get(f"no_{name}"):
                    group[name] = array
    if json_file:
        path.with_suffix(".json").write_text(json.dumps(described()))
    return path


def described() -> dict[str, Any]:
    return {
        "env_info": {
            "env_id": "PickCube-v1",
            "max_episode_steps": 50,
            "env_kwargs": {"obs_mode": "state", "control_mode": "x"},
        },
        "commit_info": None,
        "source_type": "motionplanning",
        "episodes": [
            {
                "episode_id": number,
                "episode_seed": 100 + number,
                "control_mode": "x",
                "elapsed_steps": length,
                "success": True,
            }
            for number, length in LENGTHS.items()
        ],
    }


def test_every_array_comes_back_in_its_place(tmp_path: Path) -> None:
    path = record(tmp_path / "trajectory.h5")
    assert sniff(path) == "maniskill"
    dataset = assay.load(path)
    assert dataset.episode_lengths.tolist() == [3, 5, 2]  # in the order of the numbers, not of the names
    assert dataset.rewards.tolist() == [0, 1, 2, 0, 1, 2, 3, 4, 0, 1]
    assert np.flatnonzero(dataset.terminations).tolist() == [2, 9]
    assert np.flatnonzero(dataset.truncations).tolist() == [7]
    assert np.flatnonzero(dataset.column("infos/success")).tolist() == [2]
    with h5py.File(path) as file:
        for name, place in (
            ("observations/agent/qpos", "obs/agent/qpos"),
            ("observations/sensor_data/base_camera/rgb", "obs/sensor_data/base_camera/rgb"),
            ("actions", "actions"),
            ("infos/env_states/actors/cube", "env_states/actors/cube"),
        ):
            expected = np.concatenate([file[f"traj_{number}/{place}"][()] for number in LENGTHS])
            assert dataset.column(name).tobytes() == expected.tobytes(), name
    assert dataset.final_observations_known.all()
    assert not dataset.validate().findings or dataset.validate().ok


def test_the_json_file_gives_environment_seeds_and_lengths(tmp_path: Path) -> None:
    dataset = assay.load(record(tmp_path / "trajectory.h5", obs="flat"))
    assert dataset.info.environment_id == "PickCube-v1"
    spec = json.loads(str(dataset.info.env_spec))
    assert (spec["max_episode_steps"], spec["kwargs"]) == (50, {"obs_mode": "state", "control_mode": "x"})
    assert dataset.episode_columns["seed"].tolist() == [100, 102, 110]
    assert dataset.episode_columns["trajectory"].tolist() == [0, 2, 10]
    plain = described()
    plain["episodes"][1]["elapsed_steps"] = 4
    (tmp_path / "trajectory.json").write_text(json.dumps(plain))
    with pytest.raises(DatasetError, match=r"traj_2 has 4 steps here, but 5 in trajectory\.h5"):
        assay.load(tmp_path / "trajectory.h5")
    (tmp_path / "trajectory.json").write_text("")
    with pytest.raises(FormatError, match=r"trajectory\.json is empty"):
        assay.load(tmp_path / "trajectory.h5")
    (tmp_path / "trajectory.json").unlink()
    with pytest.warns(AssayWarning, match=r"trajectory\.json, which names the environment, is missing"):
        assert assay.load(tmp_path / "trajectory.h5").info.env_spec is None


def test_demonstrations_without_observations_say_how_to_get_some(tmp_path: Path) -> None:
    path = record(tmp_path / "trajectory.h5", obs="none")
    with pytest.raises(FormatError, match=r'no obs were recorded.*replay_trajectory.*observations="env_states"'):
        assay.load(path)
    dataset = assay.load(path, observations="env_states")
    assert dataset.column("observations/actors/cube").shape == (13, 13)
    assert "infos/env_states/actors/cube" not in dataset.columns


def test_rewards_that_were_not_recorded_are_missing_with_a_warning_or_made_of_successes(tmp_path: Path) -> None:
    path = record(tmp_path / "trajectory.h5", no_rewards=True)
    with pytest.warns(AssayWarning, match=r'rewards were not recorded.*rewards="success"'):
        assert assay.load(path).missing["rewards"].all()
    assert np.flatnonzero(assay.load(path, rewards="success").rewards).tolist() == [2]
    with pytest.raises(ConfigError, match="has no success"):
        maniskill.read(record(tmp_path / "b.h5", no_success=True), rewards="success")


def test_without_flags_a_success_on_the_last_step_is_the_termination(tmp_path: Path) -> None:
    path = record(tmp_path / "trajectory.h5", no_terminated=True, no_truncated=True)
    with pytest.warns(AssayWarning, match="no terminated and truncated"):
        dataset = assay.load(path)
    assert np.flatnonzero(dataset.terminations).tolist() == [2]
    assert np.flatnonzero(dataset.truncations).tolist() == [7, 9]


def test_trajectories_that_differ_are_refused_with_the_place(tmp_path: Path) -> None:
    path = record(tmp_path / "trajectory.h5", obs="flat")
    with h5py.File(path, "a") as file:
        file["traj_2"].pop("obs")
        file["traj_2/obs"] = np.zeros((5, 42), np.float32)
    with pytest.raises(DatasetError, match=r"traj_2/obs is of shape \[5, 42\].*5 steps, so 6 rows"):
        assay.load(path)
    with h5py.File(path, "a") as file:
        file["traj_2"].pop("obs")
    with pytest.raises(FormatError, match="traj_2: obs is not in every trajectory"):
        assay.load(path)
