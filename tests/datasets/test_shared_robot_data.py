"""Real robot logs that nobody here made: every file loads, or is refused with its reason, and is what its README says."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path

import numpy as np
import pytest

import assay
from assay.datasets import Dataset
from assay.datasets.errors import AssayError, AssayWarning, FormatError
from assay.datasets.formats import format_named, sniff

SHARED = Path(__file__).parents[2] / "../shared/data/robot"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared")

# file or folder -> (format, options of reading, steps, episodes)
POSES = {"observations": "/turtle1/pose", "actions": "/turtle1/cmd_vel", "ends": "truncated"}
JOINTS = {"observations": "/fake_joints_state/position", "ends": "truncated"}
FLIGHT = {"observations": "vehicle_attitude/q", "actions": "actuator_controls_0/control", "ends": "truncated"}
FILES = {
    "g1_lerobot_v21": ("lerobot", {"columns": {"ends": "truncated"}}, 35_965, 100),
    "bridge_rlds": ("rlds", {}, 250, 25),
    "bags/turtle-lz4.bag": ("rosbag", {"columns": POSES}, 1_262, 1),
    "bags/joint-states.bag": ("rosbag", {"columns": JOINTS}, 2_725, 1),
    "robosuite_lift/demo.hdf5": ("robomimic", {"observations": "states", "ends": "truncated"}, 1_384, 3),
    "sample_log_small.ulg": ("ulog", {"columns": FLIGHT}, 1_297, 1),
}


def load(name: str) -> Dataset:
    with warnings.catch_warnings(action="ignore", category=AssayWarning):
        return assay.load(SHARED / name, **FILES[name][1])


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_recognized_and_loads_whole(name: str) -> None:
    kind, _, steps, episodes = FILES[name]
    assert sniff(SHARED / name) == kind
    dataset = load(name)
    assert (dataset.total_steps, dataset.total_episodes) == (steps, episodes)
    assert np.isfinite(dataset.column("observations")).all()


def test_the_humanoid_is_what_its_readme_says() -> None:
    dataset = load("g1_lerobot_v21")
    lengths = dataset.episode_lengths
    assert (lengths.min(), lengths.max()) == (221, 583)
    assert dataset.observations.shape[1] == dataset.actions.shape[1] == 26
    names = dataset.info.names
    assert names["observations"][:2] == ("kLeftShoulderPitch", "kLeftShoulderRoll")  # nested in a list in the file
    assert len(set(names["actions"])) == 26
    assert dataset.missing["rewards"].all()
    assert not dataset.missing["actions"].any()
    inside = np.diff(dataset.episode_of_step) == 0
    np.testing.assert_allclose(np.diff(dataset.column("time"))[inside], 1 / 30, rtol=1e-9)
    assert (np.diff(dataset.actions, axis=0)[inside] != 0).any(axis=1).all()
    assert (dataset.actions.std(axis=0) > 0).all()
    assert dataset.info.extra["lerobot"]["fps"] == 30
    with pytest.raises(FormatError, match=r"episode_000000\.mp4 is missing \(100 of 100 in all\)"):
        assay.load(SHARED / "g1_lerobot_v21", videos=["observation.images.cam_high"])


@pytest.mark.parametrize("target", ["lerobot", "zarr"])
def test_the_humanoid_is_written_and_comes_back(target: str, tmp_path: Path) -> None:
    dataset = load("g1_lerobot_v21")
    assay.save(dataset, tmp_path / "set", format=target)
    again = assay.load(tmp_path / "set")
    assert again == dataset
    assert again.info.names == dataset.info.names


def test_turtles_observe_and_command_on_different_clocks() -> None:
    proposal = format_named("rosbag").propose(SHARED / "bags/turtle-lz4.bag")  # type: ignore[attr-defined]
    assert "/turtle1/cmd_vel (" not in proposal  # it is taken
    assert "1344 messages" in proposal
    dataset = load("bags/turtle-lz4.bag")
    assert dataset.info.names["observations"] == ("x", "y", "theta", "linear_velocity", "angular_velocity")
    assert np.median(np.diff(dataset.column("time"))) == pytest.approx(0.016, abs=2e-4)
    with pytest.warns(AssayWarning, match="82 of 1344 rows are left out, for which a topic has no message"):
        assay.load(SHARED / "bags/turtle-lz4.bag", columns=POSES)
    changes = np.any(np.diff(dataset.actions, axis=0) != 0, axis=1).sum()
    assert 0 < changes < 357  # no more than there were commands, of which many repeat the one before


def test_joint_states_are_the_numbers_that_another_tool_exported() -> None:
    dataset = load("bags/joint-states.bag")
    assert dataset.info.names["observations"] == tuple(f"joint_{number}" for number in range(6))
    assert dataset.missing["actions"].all()
    assert dataset.column("time")[-1] == pytest.approx(2.724, abs=1e-3)
    export = SHARED.parent / "logs/joints.csv"
    with export.open() as file:
        rows = list(csv.DictReader(file))
    exported = np.array([[float(row[f"field.position{n}"]) for n in range(6)] for row in rows])
    assert len(exported) == dataset.total_steps
    differs = ~np.isclose(dataset.observations[dataset.observation_rows], exported, rtol=1e-6, atol=1e-9)
    # Two numbers of the export are not those of the bag: somebody edited the CSV (the six joints move as one in the bag).
    assert np.argwhere(differs).tolist() == [[0, 0], [1411, 3]]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("bags/no-messages.bag", "holds no messages, so there is nothing to learn from"),
        ("bags/topics_and_services.mcap", "there are no numbers to learn from"),
        (
            "bags/turtle-lz4.bag",
            r'its topics are .*/turtle1/pose \(turtlesim/msg/Pose, 1344 messages.*columns=\{"observations"',
        ),
        ("sample_log_small.ulg", r"actuator_controls_0 \(actuator_controls_0, 1812 messages"),
        ("robosuite_lift/demo.hdf5", 'observations="states" takes as observations'),
    ],
)
def test_what_cannot_be_learned_from_is_refused_with_its_reason(name: str, reason: str) -> None:
    with pytest.raises(AssayError, match=reason):
        assay.load(SHARED / name)


def test_the_bridge_sample_keeps_what_it_has() -> None:
    with pytest.warns(
        AssayWarning, match="the split train is described and not there; 25 of 25 episodes have no last step"
    ):
        dataset = assay.load(SHARED / "bridge_rlds")
    assert dataset.observations.shape == (275, 7)
    assert dataset.info.extra["rlds"]["last"] == "step"
    assert set(dataset.episode_columns["language_instruction"].tolist()) >= {"flip pot upright which is in sink"}
    images = ["observation/image_0"]
    with warnings.catch_warnings(action="ignore", category=AssayWarning):
        seen = assay.load(SHARED / "bridge_rlds", images=images)
    assert (seen.observations["image_0"].shape, seen.observations["image_0"].dtype) == ((275, 64, 64, 3), np.uint8)
    assert seen.observations["state"].tolist() == dataset.observations.tolist()


def test_a_flight_is_many_topics_at_rates_of_their_own() -> None:
    with pytest.raises(FormatError, match=r"battery_status\[1\] .*sensor_combined \(sensor_combined, 1298 messages"):
        assay.load(SHARED / "sample_log_small.ulg")
    status = {"observations": "estimator_status/states", "time": "estimator_status", "ends": "truncated"}
    with warnings.catch_warnings(action="ignore", category=AssayWarning):
        dataset = assay.load(SHARED / "sample_log_small.ulg", columns=status)
    assert (dataset.total_steps, dataset.observations.shape[1]) == (636, 24)
    norms = np.linalg.norm(load("sample_log_small.ulg").observations, axis=1)
    np.testing.assert_allclose(norms, 1, atol=1e-5)  # quaternions


def test_demonstrations_of_the_simulator_have_states_for_observations() -> None:
    dataset = load("robosuite_lift/demo.hdf5")
    assert (dataset.observations.shape[1], dataset.actions.shape[1]) == (32, 7)
    assert dataset.episode_columns["demo"].tolist() == [1, 2, 3]
    assert dataset.missing["rewards"].all()
    assert dataset.truncations.sum() == 3
