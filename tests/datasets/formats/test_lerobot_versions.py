"""LeRobot of other versions and of other names: v2 is read as v3 is, names are mapped, kept and written again."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import assay
from assay.datasets.dataset import Dataset
from assay.datasets.errors import AssayWarning, ConfigError, DatasetError, FormatError
from assay.datasets.formats.lerobot import propose, read, write
from tests.datasets.dataset_strategies import clean_dataset
from tests.datasets.formats.fuzz import write_lerobot_v2
from tests.datasets.formats.test_lerobot import DATA, edit_info, edit_table, quietly

ENDS = {"ends": "truncated"}


@pytest.fixture
def second(tmp_path: Path) -> Path:
    """A set of version 2.1, of episodes of 4, 6 and 3 frames."""
    write_lerobot_v2(tmp_path / "second", np.random.default_rng(0))
    return tmp_path / "second"


@pytest.fixture
def named(tmp_path: Path) -> Path:
    """A set of version 3.0 whose features have names of their own."""
    quietly(write, clean_dataset(steps=18, length=6), tmp_path / "named")
    rename(tmp_path / "named", {"observation.state": "robot_pose", "action": "arm_command"})
    return tmp_path / "named"


def rename(folder: Path, names: dict[str, str]) -> None:
    features = json.loads((folder / "meta/info.json").read_text())["features"]
    edit_info(folder, features={names.get(name, name): feature for name, feature in features.items()}, assay=None)
    table = pq.read_table(folder / DATA)
    pq.write_table(table.rename_columns([names.get(name, name) for name in table.column_names]), folder / DATA)


def test_version_2_is_read_as_version_3_is(second: Path, tmp_path: Path) -> None:
    dataset = read(second, columns=ENDS)
    assert dataset.episode_lengths.tolist() == [4, 6, 3]
    assert dataset.missing["rewards"].all()
    assert np.flatnonzero(dataset.truncations).tolist() == [3, 9, 12]
    assert dataset.column("time")[:5].tolist() == [0, 1 / 30, 2 / 30, 3 / 30, 0]
    assert dataset.info.names == {"observations": ("shoulder", "elbow"), "actions": ("shoulder", "elbow")}
    assert "LeRobot v2.1" in dataset.info.source
    write(dataset, tmp_path / "third")
    third = read(tmp_path / "third")
    assert third == dataset
    assert third.info.names == dataset.info.names
    parts = [pq.read_table(file) for file in sorted((second / "data/chunk-000").iterdir())]
    rows = np.concatenate([np.stack(part["action"].to_numpy()) for part in parts])
    assert dataset.actions.tobytes() == rows.tobytes()
    edit_info(second, codebase_version="v2.0")
    assert read(second, columns=ENDS) == dataset


def test_what_is_missing_from_version_2_is_named(second: Path) -> None:
    (second / "data/chunk-000/episode_000001.parquet").rename(second / "kept")
    with pytest.raises(FormatError, match=r"episode_000001\.parquet is missing \(1 of 3 in all\)"):
        read(second)
    (second / "kept").rename(second / "data/chunk-000/episode_000007.parquet")
    with pytest.raises(FormatError, match=r"episode_000001\.parquet is missing"):
        read(second)
    (second / "data/chunk-000/episode_000007.parquet").rename(second / "data/chunk-000/episode_000001.parquet")
    lines = (second / "meta/episodes.jsonl").read_text()
    (second / "meta/episodes.jsonl").write_text(lines.replace('"length": 6', '"length": 7'))
    with pytest.raises(DatasetError, match=r"the episodes hold 14 frames, but meta/info\.json says 13"):
        read(second)
    (second / "meta/episodes.jsonl").write_text(lines[:-9])
    with pytest.raises(FormatError, match=r"episodes\.jsonl, line 3 is damaged"):
        read(second)
    (second / "meta/episodes.jsonl").write_text("")
    with pytest.raises(FormatError, match=r"episodes\.jsonl is empty"):
        assay.load(second)


def test_frames_of_another_episode_are_noticed(second: Path) -> None:
    one, two = (second / f"data/chunk-000/episode_00000{number}.parquet" for number in (0, 2))
    content = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(content)
    with pytest.raises(DatasetError, match="index of frame 0 is 10, but meta/ makes it 0"):
        read(second)


def test_names_are_mapped_kept_and_written_again(named: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r'columns=\{"observations": "robot_pose", "actions": "arm_command"\}'):
        read(named)
    mapping = {"observations": "robot_pose", "actions": "arm_command"}
    dataset = assay.load(named, columns=mapping)
    assert dataset.observations.shape == (21, 3)
    write(dataset, tmp_path / "again")
    features = json.loads((tmp_path / "again/meta/info.json").read_text())["features"]
    assert {"robot_pose", "arm_command"} < features.keys()
    assert read(tmp_path / "again") == dataset  # without a mapping: it is in info.json


@pytest.mark.parametrize(
    "names", [{"observation.state": "state", "action": "actions"}, {"observation.state": "observation.qpos"}]
)
def test_usual_names_need_no_mapping(names: dict[str, str], named: Path, tmp_path: Path) -> None:
    rename(named, {"robot_pose": "observation.state", "arm_command": "action"})
    expected = read(named)
    rename(named, names)
    dataset = read(named)
    assert dataset == expected
    write(dataset, tmp_path / "again")
    features = json.loads((tmp_path / "again/meta/info.json").read_text())["features"]
    assert {*names.values()} < features.keys()
    assert read(tmp_path / "again") == dataset


def test_features_stand_side_by_side_with_their_names(second: Path) -> None:
    mapping = {"observations": ["observation.state", "action"], "actions": "action", "units": {"action": "rad"}, **ENDS}
    dataset = read(second, columns=mapping)
    assert dataset.observations.shape == (16, 4)
    assert dataset.info.names["observations"] == ("shoulder", "elbow") * 2
    assert dataset.info.units == {"observations": ("", "", "rad", "rad"), "actions": ("rad", "rad")}
    assert dataset.observations[dataset.observation_rows, 2:].tolist() == dataset.actions.tolist()


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (
            {"observations": "robot_pos"},
            "there is no feature 'robot_pos' of numbers for observations; did you mean robot_pose?",
        ),
        ({"observations": "episode_index"}, "there is no feature 'episode_index' of numbers for observations"),
        ({"observations": "robot_pose", "episode": "run"}, "says itself where episodes are"),
        ({"observations": "robot_pose", "time": "clock"}, "there is no feature 'clock' for time"),
        ({"observation": "robot_pose"}, "'observation' is not a column; did you mean observations"),
    ],
)
def test_a_mapping_that_cannot_be_meant_is_refused(mapping: dict[str, Any], message: str, named: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        read(named, columns={"actions": "arm_command", **mapping})


def test_time_stamps_come_back_and_say_the_rate(tmp_path: Path, second: Path) -> None:
    dataset = read(second, columns=ENDS)
    uneven = dataset.replace({"time": dataset.column("time") + np.linspace(0, 0.1, 13) ** 2})
    write(uneven, tmp_path / "uneven")
    assert read(tmp_path / "uneven") == uneven
    bare = Dataset(
        {name: dataset.column(name) for name in dataset.columns},
        dataset.episode_lengths,
        episode_columns=dataset.episode_columns,
    )
    write(bare, tmp_path / "bare")
    assert json.loads((tmp_path / "bare/meta/info.json").read_text())["fps"] == 30


def test_a_proposal_is_a_mapping_that_reads(named: Path, second: Path) -> None:
    for folder in (named, second):
        text = propose(folder)
        (folder.parent / "columns.yaml").write_text(text)
        with warnings.catch_warnings(action="error", category=AssayWarning):
            assert assay.load(folder, columns=folder.parent / "columns.yaml").total_steps in (13, 18)


def test_a_mapping_in_info_json_is_checked_like_any_other(named: Path) -> None:
    for wrong in (3, {"columns": 3}, {"columns": {"observations": "nowhere"}}, {"columns": {"observations": 5}}):
        edit_info(named, assay=wrong)
        with pytest.raises((FormatError, ConfigError), match="named"):
            read(named)


def test_a_video_of_version_2_is_one_file_for_each_episode(second: Path) -> None:
    av = pytest.importorskip("av")
    features = json.loads((second / "meta/info.json").read_text())["features"]
    edit_info(second, features=features | {"observation.top": {"dtype": "video", "shape": [16, 16, 3], "names": None}})
    folder = second / "videos/chunk-000/observation.top"
    folder.mkdir(parents=True)
    for episode, length in enumerate((4, 6, 3)):
        with av.open(str(folder / f"episode_{episode:06d}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=30)
            stream.width = stream.height = 16
            stream.pix_fmt, stream.options = "yuv444p", {"qp": "0"}
            for frame in range(length):
                gray = np.full((16, 16, 3), 60 * episode + 10 * frame, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(gray, format="rgb24")))
            container.mux(stream.encode())
    dataset = read(second, columns=ENDS, videos=["observation.top"])
    frames = dataset.observations["top"][dataset.observation_rows].mean(axis=(1, 2, 3))
    expected = np.concatenate([60 * episode + 10 * np.arange(length) for episode, length in enumerate((4, 6, 3))])
    np.testing.assert_allclose(frames, expected, atol=3)
    assert dataset.observations["state"].shape == (16, 2)


def test_shapes_of_one_number_are_rows(second: Path) -> None:
    features = json.loads((second / "meta/info.json").read_text())["features"]
    edit_info(second, features=features | {"effort": {"dtype": "float64", "shape": [1], "names": ["effort"]}})
    for file in (second / "data/chunk-000").iterdir():
        edit_table(file, effort=pa.array(np.ones(pq.read_metadata(file).num_rows)))
    assert read(second, columns=ENDS).column("infos/effort").shape == (13,)
    mapped = read(second, columns={"observations": ["observation.state", "effort"], "actions": "action", **ENDS})
    assert mapped.observations.shape == (16, 3)
