"""Recordings of topics: ROS bags, MCAP and PX4 logs become rows on one clock; MCAP keeps whole datasets."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import assay
from assay.datasets.dataset import Dataset
from assay.datasets.errors import AssayWarning, ConfigError, DatasetError, FormatError
from assay.datasets.formats import format_named, sniff
from assay.datasets.formats.messages import decode_image, messages_of
from assay.datasets.formats.topics import Messages, Topic, dataset_from_topics, propose_for_topics
from tests.datasets.dataset_strategies import clean_dataset, datasets
from tests.datasets.formats.fuzz import write_json_mcap, write_rosbag, write_ulog

MAPPING = {"observations": "/pose/position", "actions": "/cmd", "ends": "truncated"}


def quietly(path: Path, **options: Any) -> Dataset:
    with warnings.catch_warnings(action="ignore", category=AssayWarning):
        return assay.load(path, **options)


@pytest.fixture(params=[1, 2])
def bag(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """50 joint states, number k saying k and k / 2, and 20 commands, behind the states 1, 3, 6, 8, ..."""
    write_rosbag(tmp_path / "run", np.random.default_rng(0), version=request.param)
    return tmp_path / "run"


# -------------------------------------------------------------------- the clock


def test_each_row_has_the_command_that_was_in_force(bag: Path) -> None:
    assert sniff(bag) == "rosbag"
    dataset = quietly(bag, columns=MAPPING)
    states = dataset.observations[dataset.observation_rows, 0]
    assert states.tolist() == list(range(2, 50))  # before the first command there is nothing to pair with
    commands = [step for step in range(50) if step % 5 in (1, 3)]
    assert dataset.actions[:, 0].tolist() == [max(c for c in commands if c < state) for state in states]
    np.testing.assert_allclose(np.diff(dataset.column("time")), 0.02, rtol=1e-9)
    assert dataset.info.names == {"observations": ("shoulder", "elbow"), "actions": ("x", "y", "z")}
    assert dataset.missing["rewards"].all()
    assert dataset.truncations.tolist() == [False] * 47 + [True]


@pytest.mark.parametrize(("how", "expected"), [("next", 3.0), ("nearest", 1.0), ({"actions": "next"}, 3.0)])
def test_another_message_belongs_to_a_row_if_the_user_says_so(how: Any, expected: float, bag: Path) -> None:
    dataset = quietly(bag, columns=MAPPING, how=how)
    row = int(np.flatnonzero(dataset.observations[dataset.observation_rows, 0] == (2 if expected == 3 else 1))[0])
    assert dataset.actions[row, 0] == expected


def test_the_clock_is_a_topic_or_a_rate(bag: Path) -> None:
    assert quietly(bag, columns=MAPPING, clock="/cmd").total_steps == 20
    assert quietly(bag, columns=MAPPING | {"time": "/cmd"}) == quietly(bag, columns=MAPPING, clock="/cmd")
    at_ten = quietly(bag, columns=MAPPING, clock=10)
    np.testing.assert_allclose(np.diff(at_ten.column("time")), 0.1, rtol=1e-9)
    by_header = quietly(bag, columns={"observations": "/pose", "ends": "truncated"}, stamps="header")
    np.testing.assert_allclose(np.diff(by_header.column("time")), 0.02, rtol=1e-9)


def test_rows_that_are_left_out_are_counted(bag: Path) -> None:
    with pytest.warns(AssayWarning, match="2 of 50 rows are left out, for which a topic has no message"):
        assay.load(bag, columns=MAPPING)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {},
            FormatError,
            r'topics are .*/pose \(sensor_msgs/msg/JointState, 50 messages.*columns=\{"observations": "/pose"',
        ),
        ({"columns": {"observations": "/pos", "actions": "/cmd"}}, ConfigError, "no topic '/pos'; did you mean /pose?"),
        ({"columns": {"observations": "/pose/positions"}}, ConfigError, "did you mean /pose/position?"),
        ({"columns": {"observations": "/pose/effort"}}, ConfigError, "no numbers 'effort', always equally many"),
        ({"columns": MAPPING, "clock": "/tick"}, ConfigError, "there is no topic '/tick' for the clock"),
        ({"columns": MAPPING, "clock": 0}, ConfigError, "a clock of 0 Hz cannot be"),
        ({"columns": MAPPING, "clock": True}, ConfigError, "clock must be a topic or a rate"),
        ({"columns": MAPPING, "clock": 1e9}, ConfigError, "choose a lower rate"),
        ({"columns": MAPPING, "how": "linear"}, ConfigError, "how must be one of previous, nearest, next"),
        ({"columns": MAPPING, "how": {"rewards": "next"}}, ConfigError, "how speaks of rewards"),
        ({"columns": MAPPING, "stamps": "sent"}, ConfigError, 'stamps are "received" or "header"'),
        ({"columns": MAPPING, "stamps": "header"}, FormatError, "topic /cmd: its messages .* have no header"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_there_is(options: Any, error: Any, message: str, bag: Path) -> None:
    with pytest.raises(error, match=message):
        assay.load(bag, **options)


def test_a_proposal_is_a_mapping_that_reads(bag: Path, tmp_path: Path) -> None:
    text = format_named("rosbag").propose(bag)  # type: ignore[attr-defined]
    (tmp_path / "columns.yaml").write_text(text)
    assert quietly(bag, columns=tmp_path / "columns.yaml").total_steps == 48


def test_a_cut_off_bag_is_damaged_and_never_shorter(bag: Path) -> None:
    file = bag if bag.is_file() else next(bag.glob("*.db3"))
    content = file.read_bytes()
    for share in (0.3, 0.6, 0.95):
        file.write_bytes(content[: int(share * len(content))])
        with pytest.raises(DatasetError, match="run"):
            assay.load(bag, columns=MAPPING)


def test_topics_without_a_common_moment_make_no_rows() -> None:
    early, late = Messages(np.array([0, 1]), {"x": np.zeros(2)}), Messages(np.array([5, 6]), {"u": np.zeros(2)})
    topics = [Topic("a", "A", 2, 0.0), Topic("b", "B", 2, 0.0)]
    with pytest.raises(DatasetError, match="there is no row for which all of a, b have a message"):
        dataset_from_topics(
            topics, lambda names: {"a": early, "b": late}, where="run", columns={"observations": "a", "actions": "b"}
        )


# -------------------------------------------------------------------- messages


def test_fields_that_are_not_always_there_are_no_numbers() -> None:
    messages = [
        {"a": 1, "b": [1, 2], "c": 1.5, "t": {"sec": 1, "nanosec": 5}},
        {"a": 2, "b": [1], "t": {"sec": 2, "nanosec": 0}},
    ]
    found = messages_of([0, 1], messages, "json", "here", by_header=False)
    assert {name: array.tolist() for name, array in found.fields.items()} == {
        "a": [1, 2],
        "t": [1_000_000_005, 2_000_000_000],
    }


def test_images_are_decoded_when_they_are_named(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (5, 4, 6, 3), np.uint8)
    dataset = clean_dataset(steps=4, length=4, seed=0).replace(
        {"observations": None, "observations/eye": frames, "observations/arm": np.arange(5.0)}
    )
    assay.save(dataset, tmp_path / "run.mcap", format="mcap")
    mapping = {
        "observations": {"eye": "/observations/eye", "arm": "/observations/arm"},
        "actions": "/actions",
        "ends": "truncated",
    }
    seen = quietly(tmp_path / "run.mcap", columns=mapping)
    assert seen.observations["eye"][seen.observation_rows].tolist() == frames.tolist()
    with pytest.raises(FormatError, match="a damaged image"):
        decode_image(b"\x89PNG\r\n\x1a\nnothing", "here")


# -------------------------------------------------------------------- MCAP


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    dataset=datasets(),
    absent=st.sampled_from([(), ("rewards",), ("actions", "rewards")]),
    masked=st.booleans(),
    timed=st.booleans(),
)
@pytest.mark.parametrize("target", ["mcap", "zarr"])
def test_whole_datasets_come_back(
    target: str, tmp_path: Path, dataset: Dataset, absent: tuple[str, ...], masked: bool, timed: bool
) -> None:
    """Names, times, flags and missing labels included; text is named in a warning."""
    gone = [name for name in dataset.columns if name.split("/")[0] in absent]
    dataset = dataset.replace(dict.fromkeys(gone))
    if masked and "rewards" in dataset.columns:
        rewards = dataset.rewards.copy()
        rewards[:1] = np.nan if rewards.dtype.kind == "f" else 0
        dataset = dataset.replace({"rewards": rewards, "missing/rewards": np.arange(dataset.total_steps) < 1})
    if timed:
        dataset = dataset.replace({"time": np.arange(dataset.total_steps) * 0.1 + 1e9})
    try:
        with warnings.catch_warnings(action="ignore", category=AssayWarning):
            assay.save(dataset, tmp_path / "run", format=target, overwrite=True)
    except DatasetError as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        assert any(text in refused for text in ("which ROS has no messages", "hold numbers", "cannot hold"))
        return
    again = assay.load(tmp_path / "run")
    lost = {*dataset.columns} - {*again.columns}
    assert all(dataset.column(name).dtype.kind in "USc" for name in lost)
    assert again.episode_lengths.tolist() == dataset.episode_lengths.tolist()
    for name in again.columns:
        assert again.column(name).dtype == dataset.column(name).dtype.newbyteorder("=")
        assert np.array_equal(again.column(name), dataset.column(name), equal_nan=again.column(name).dtype.kind in "fc")
    assert again.info.names == dataset.info.names


@pytest.mark.parametrize(
    ("topics", "message"),
    [
        ([], "holds no messages, so there is nothing to learn from"),
        ([Topic("/pose", "Pose", 0, 0.0)], "holds no messages"),
        ([Topic("/rosout", "rosgraph_msgs/msg/Log", 5, 1.0)], "there are no numbers to learn from"),
    ],
)
def test_no_mapping_is_proposed_where_there_is_nothing_to_learn_from(topics: list[Topic], message: str) -> None:
    with pytest.raises(FormatError, match=f"run.bag.*{message}"):
        propose_for_topics(topics, "run.bag")


def test_json_messages_are_read(tmp_path: Path) -> None:
    write_json_mcap(tmp_path / "run.mcap", np.random.default_rng(0))
    dataset = quietly(
        tmp_path / "run.mcap", columns={"observations": "/observations/list", "actions": "/actions/x"}, how="next"
    )
    assert dataset.observations[dataset.observation_rows, 2].tolist() == list(range(20))


def test_a_damaged_mcap_is_refused(tmp_path: Path) -> None:
    assay.save(clean_dataset(steps=18, length=6), tmp_path / "run.mcap", format="mcap")
    content, whole = (tmp_path / "run.mcap").read_bytes(), assay.load(tmp_path / "run.mcap")
    refused = 0
    for place in range(20, len(content), 97):
        (tmp_path / "run.mcap").write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        try:
            assert assay.load(tmp_path / "run.mcap") == whole  # the summary at the end is not needed
        except DatasetError:
            refused += 1
    assert refused > 20
    for length in range(1, len(content), 211):
        (tmp_path / "run.mcap").write_bytes(content[:length])
        with pytest.raises(DatasetError, match=r"run\.mcap"):
            assay.load(tmp_path / "run.mcap")


# -------------------------------------------------------------------- PX4


def test_a_flight_log_is_read(tmp_path: Path) -> None:
    write_ulog(tmp_path / "flight.ulg")
    mapping = {"observations": "attitude/q", "actions": "motors", "ends": "truncated"}
    dataset = quietly(tmp_path / "flight.ulg", columns=mapping)
    assert dataset.observations[dataset.observation_rows, 0].tolist() == list(range(2, 20))
    assert dataset.actions[:3].tolist() == [[1, -1], [1, -1], [3, -3]]
    assert dataset.info.names["observations"] == ("q[0]", "q[1]", "q[2]", "q[3]")
    content = (tmp_path / "flight.ulg").read_bytes()
    (tmp_path / "flight.ulg").write_bytes(content[:40])
    with pytest.raises(DatasetError, match=r"flight\.ulg"):
        assay.load(tmp_path / "flight.ulg", columns=mapping)


@pytest.mark.parametrize(
    ("package", "extra"),
    [("rosbags.highlevel", "bags"), ("mcap.stream_reader", "bags"), ("pyulog", "ulog")],
)
def test_a_missing_package_is_named(package: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_rosbag(tmp_path / "a", np.random.default_rng(0), version=1)
    write_json_mcap(tmp_path / "b", np.random.default_rng(0))
    write_ulog(tmp_path / "c")
    monkeypatch.setitem(sys.modules, package, None)
    name = {"rosbags.highlevel": "a", "mcap.stream_reader": "b", "pyulog": "c"}[package]
    with pytest.raises(ConfigError, match=rf"pip install assay\[{extra}\]"):
        assay.load(tmp_path / name, columns={"observations": "/observations"})


# -------------------------------------------------------------------- folders of recordings


def folder_of(tmp_path: Path, versions: tuple[int, ...] = (1, 2)) -> Path:
    """Two bags, of ROS 1 and of ROS 2, and a text."""
    folder = tmp_path / "logs"
    folder.mkdir()
    for number, version in enumerate(versions):
        write_rosbag(folder / f"run-{number}", np.random.default_rng(number), version=version)
    (folder / "README.md").write_text("two runs")
    return folder


def test_a_folder_of_bags_is_one_dataset_with_an_episode_for_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from assay.cli import main

    folder = folder_of(tmp_path)
    assert sniff(folder) == "recordings"
    dataset = quietly(folder, columns=MAPPING)
    parts = [quietly(folder / f"run-{number}", columns=MAPPING) for number in (0, 1)]
    assert dataset.episode_lengths.tolist() == [int(part.total_steps) for part in parts]
    for name in parts[0].columns:
        assert np.array_equal(
            dataset.column(name), np.concatenate([part.column(name) for part in parts]), equal_nan=True
        )
    assert dataset.episode_columns["file"].tolist() == ["run-0", "run-1"]
    assert dataset.info.id == "logs"
    assert dataset.info.names == parts[0].info.names
    main(["datasets", "map", str(folder)])
    text = capsys.readouterr().out
    assert text.startswith(f"# {folder}: 2 recordings, all read by this mapping, which was made from run-0\n")
    (tmp_path / "columns.yaml").write_text(text)
    assert quietly(folder, columns=tmp_path / "columns.yaml").total_episodes == 2


def test_mcap_files_in_a_folder_are_read_alike(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    dataset = clean_dataset(steps=12, length=6)
    for name in ("b", "a"):
        assay.save(dataset, tmp_path / "logs" / f"{name}.mcap", format="mcap")
    found = assay.load(tmp_path / "logs")
    assert found.episode_columns["file"].tolist() == ["a.mcap", "a.mcap", "b.mcap", "b.mcap"]
    assert np.array_equal(found.rewards, np.tile(dataset.rewards, 2))


def joint_states(path: Path, states: list[tuple[list[str], list[float]]]) -> None:
    """A bag of ROS 2 with these joints."""
    from rosbags import rosbag2
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    joints, header, time = (
        store.types[name]
        for name in ("sensor_msgs/msg/JointState", "std_msgs/msg/Header", "builtin_interfaces/msg/Time")
    )
    with rosbag2.Writer(path, version=9) as bag:
        topic = bag.add_connection("/joints", "sensor_msgs/msg/JointState", typestore=store)
        for step, (names, values) in enumerate(states):
            state = joints(header(time(1, step), ""), names, np.array(values, float), np.zeros(0), np.zeros(0))
            bag.write(topic, 10**9 + 10_000_000 * step, store.serialize_cdr(state, "sensor_msgs/msg/JointState"))


JOINTS = {"observations": "/joints/position", "ends": "truncated"}
HIP_KNEE, KNEE_HIP = ["hip", "knee"], ["knee", "hip"]


def test_joints_are_in_one_order_whatever_the_messages_say(tmp_path: Path) -> None:
    joint_states(tmp_path / "bag", [(HIP_KNEE, [1, 2]), (KNEE_HIP, [4, 3]), (HIP_KNEE, [5, 6])])
    dataset = quietly(tmp_path / "bag", columns=JOINTS)
    assert dataset.observations[dataset.observation_rows].tolist() == [[1, 2], [3, 4], [5, 6]]
    assert dataset.info.names["observations"] == ("hip", "knee")
    joint_states(tmp_path / "two", [(HIP_KNEE, [1, 2]), (["wrist", "knee"], [4, 3])])
    with pytest.raises(
        FormatError, match=r"/joints/position: message 1 is about wrist, knee, but message 0 about hip, knee; two sen"
    ):
        quietly(tmp_path / "two", columns=JOINTS)


def test_joints_of_a_folder_are_in_the_order_of_its_first_recording_and_runs_in_that_of_their_numbers(
    tmp_path: Path,
) -> None:
    (tmp_path / "logs").mkdir()
    for number, names, values in ((10, KNEE_HIP, [4, 3]), (2, HIP_KNEE, [1, 2])):
        joint_states(tmp_path / f"logs/run-{number}", [(names, values)] * 2)
    with pytest.warns(AssayWarning) as caught:
        dataset = assay.load(tmp_path / "logs", columns=JOINTS)
    assert dataset.episode_columns["file"].tolist() == ["run-2", "run-10"]
    assert dataset.observations[dataset.observation_rows].tolist() == [[1, 2], [1, 2], [3, 4], [3, 4]]
    texts = [str(warning.message) for warning in caught if isinstance(warning.message, AssayWarning)]
    assert len(texts) == len(set(texts)) == 1  # that there are no actions and rewards, once for both
    assert texts[0].startswith(f"{tmp_path / 'logs'}: ")
    assert texts[0].endswith("(all recordings)")
    joint_states(tmp_path / "logs/run-11", [(["hip", "wrist"], [1, 2])])
    with pytest.raises(
        DatasetError, match=r"run-11: observations has the names hip, wrist, but in run-2 they are hip, knee"
    ):
        quietly(tmp_path / "logs", columns=JOINTS)


def test_what_does_not_belong_into_a_folder_of_recordings_is_named(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    with pytest.raises(ConfigError, match=r"run-0.*/arm"):
        quietly(folder, columns={**MAPPING, "actions": "/arm"})
    (folder / "picture.png").write_bytes(b"\x89PNG")
    with pytest.raises(ConfigError, match=r"picture\.png is no bag"):
        quietly(folder, columns=MAPPING)
    (folder / "picture.png").unlink()
    write_json_mcap(folder / "other.mcap", np.random.default_rng(0))
    with pytest.raises((ConfigError, DatasetError), match=r"other\.mcap"):
        quietly(folder, columns=MAPPING)
