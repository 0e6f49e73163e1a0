"""LeRobot v3.0: its folders are read once per file, states and actions are written, damage is refused."""

from __future__ import annotations

import io
import json
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import assay
from assay.datasets.dataset import Dataset
from assay.datasets.errors import AssayError, AssayWarning, ConfigError, DatasetError, FormatError
from assay.datasets.formats import FORMATS, format_named, lerobot_metadata, lerobot_statistics
from assay.datasets.formats import lerobot as lerobot_format
from assay.datasets.formats.containers import parquet as parquet_file
from assay.datasets.formats.containers.parquet import open_parquet, values
from assay.datasets.formats.containers.parquet_safety import check_parquet
from assay.datasets.info import DatasetInfo
from tests.datasets.dataset_strategies import assert_same_columns, clean_dataset, datasets, random_array
from tests.datasets.formats.fuzz import write_lerobot_v2

read, write = lerobot_format.read, lerobot_format.write
DATA, EPISODES = "data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet"


def quietly(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AssayWarning)
        return function(*arguments, **options)


def seconds(dataset: Dataset, fps: int = 10) -> np.ndarray:
    """Time stamps of frames that come as regularly as LeRobot says."""
    return (np.arange(dataset.total_steps) - dataset.episode_starts[dataset.episode_of_step]) / fps


def holdable(dataset: Dataset) -> Dataset:
    """The part of a dataset that LeRobot can hold, as it comes back."""
    rows = dataset.observation_rows
    finals = np.cumsum(dataset.episode_lengths + 1) - 1
    columns: dict[str, np.ndarray] = {}
    for prefix in ("observations", "actions"):
        names = [name for name in dataset.columns if name.split("/")[0] == prefix]
        for name in names:
            array = dataset.column(name)
            array = (array[:, None] if array.ndim == 1 else array).copy()
            if prefix == "observations":
                array[finals] = array[finals - 1]
            new = f"{prefix}/{name.partition('/')[2].replace('/', '.')}"
            columns[prefix if len(names) == 1 else new] = array
    for name in ("rewards", "terminations", "truncations"):
        columns[name] = dataset.column(name)
    columns["time"] = dataset.column("time") if "time" in dataset.columns else seconds(dataset)
    for name in dataset.columns:
        if name.startswith("infos/"):
            array = dataset.column(name)
            array = array if len(array) == dataset.total_steps else array[rows]
            columns["infos/" + name[6:].replace("/", ".")] = array
    extra = {name: array for name, array in dataset.episode_columns.items() if name != "final_observation"}
    extra["final_observation"] = np.zeros(dataset.total_episodes, bool)
    return Dataset(columns, dataset.episode_lengths, episode_columns=extra)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A small dataset of three episodes, to be spoiled."""
    quietly(write, clean_dataset(steps=18, length=6, **{"infos/effort": np.arange(18.0)}), tmp_path / "small")
    return tmp_path / "small"


def edit_info(folder: Path, **changes: Any) -> None:
    file = folder / "meta/info.json"
    info = json.loads(file.read_text())
    file.write_text(json.dumps({key: value for key, value in (info | changes).items() if value is not None}))


def edit_table(file: Path, **changes: Any) -> None:
    """Replace columns of a Parquet file; None removes one."""
    table = pq.read_table(file)
    columns = {name: table.column(name) for name in table.column_names} | changes
    pq.write_table(pa.table({name: column for name, column in columns.items() if column is not None}), file)


# -------------------------------------------------------------------- there and back


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(dataset=datasets(), block=st.sampled_from([1, 40, 1 << 16]), bytes_per_file=st.sampled_from([1, 5000, 1 << 30]))
def test_what_can_be_held_comes_back(tmp_path: Path, dataset: Dataset, block: int, bytes_per_file: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lerobot_format, "_BLOCK_ROWS", block)
        patch.setattr(lerobot_format, "_FILE_BYTES", bytes_per_file)
        patch.setattr(lerobot_format, "_CHUNK_FILES", 2)
        patch.setattr(parquet_file, "_BATCH_ROWS", 33)
        quietly(write, dataset, tmp_path / "a", overwrite=True)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            again = read(tmp_path / "a")
    assert again == holdable(dataset)
    assert [name for name in FORMATS if format_named(name).sniff(tmp_path / "a")] == ["lerobot"]


def test_what_was_read_is_written_without_a_warning_and_comes_back_equal(tmp_path: Path, written: Path) -> None:
    dataset = read(written)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write(dataset, tmp_path / "again")
    assert read(tmp_path / "again") == dataset


def test_long_episodes_come_back(tmp_path: Path) -> None:
    dataset = clean_dataset(steps=120_000, length=40_000)
    quietly(write, dataset, tmp_path / "long")
    assert read(tmp_path / "long") == holdable(dataset)


def test_text_and_two_columns_of_one_name_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="column actions is <U1"):
        write(clean_dataset(actions=np.array(["a"] * 60)), tmp_path / "a")
    twice = {"observations": None, "observations/a.b": np.zeros(70), "observations/a/b": np.zeros(70)}
    with pytest.raises(DatasetError, match=r"would both be LeRobot's feature observation\.a\.b"):
        write(clean_dataset().replace(twice), tmp_path / "a")
    with pytest.raises(ConfigError, match="fps is 0"):
        write(clean_dataset(), tmp_path / "a", fps=0)
    assert not (tmp_path / "a").exists()


def test_tasks_frame_rate_and_names_survive(tmp_path: Path, written: Path) -> None:
    features = json.loads((written / "meta/info.json").read_text())["features"]
    features["action"]["names"] = ["left", "right"]
    edit_info(written, features=features, fps=50, robot_type="so100")
    edit_table(
        written / DATA, task_index=pa.array([1] * 6 + [0] * 12), timestamp=pa.array(np.arange(18) % 6 / 50, "f4")
    )
    pq.write_table(pa.table({"task_index": [1, 0], "task": ["push the T", "wait"]}), written / "meta/tasks.parquet")
    dataset = read(written)
    assert dataset.episode_columns["task_index"].tolist() == [1, 0, 0]
    assert dataset.info.extra["lerobot"]["tasks"] == ["wait", "push the T"]
    assert dataset.column("time").tolist() == seconds(dataset, 50).tolist()  # not as rounded as LeRobot's stamps
    write(dataset, tmp_path / "again")
    again = read(tmp_path / "again")
    assert again == dataset
    info = json.loads((tmp_path / "again/meta/info.json").read_text())
    assert (info["fps"], info["robot_type"], info["total_tasks"]) == (50, "so100", 2)
    assert info["features"]["action"] == {"dtype": "float32", "shape": [2], "names": ["left", "right"]}
    assert pq.read_table(tmp_path / "again" / EPISODES)["tasks"].to_pylist() == [["push the T"], ["wait"], ["wait"]]


def test_the_task_is_what_the_caller_says(tmp_path: Path) -> None:
    quietly(write, clean_dataset(info=DatasetInfo(id="reach")), tmp_path / "a")
    assert read(tmp_path / "a").info.extra["lerobot"]["tasks"] == ["reach"]
    quietly(write, clean_dataset(), tmp_path / "b", task="reach the goal")
    assert read(tmp_path / "b").info.extra["lerobot"]["tasks"] == ["reach the goal"]


def test_the_description_is_lerobots(tmp_path: Path) -> None:
    quietly(write, clean_dataset(episode_columns={"seed": np.arange(10)}), tmp_path / "a", fps=25)
    info = json.loads((tmp_path / "a/meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    assert (info["total_episodes"], info["total_frames"], info["fps"]) == (10, 60, 25)
    assert info["splits"] == {"train": "0:10"}
    assert info["features"]["observation.state"] == {"dtype": "float64", "shape": [3], "names": None}
    assert {"timestamp", "frame_index", "episode_index", "index", "task_index"} < info["features"].keys()
    episodes = pq.read_table(tmp_path / "a" / EPISODES).to_pydict()
    assert episodes["dataset_from_index"] == list(range(0, 60, 6))
    assert episodes["dataset_to_index"] == list(range(6, 61, 6))
    assert episodes["seed"] == list(range(10))
    assert set(episodes["data/file_index"]) == {0}
    frames = pq.read_table(tmp_path / "a" / DATA)
    assert frames["timestamp"].to_pylist()[:7] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16, 0.2, 0])
    assert frames["next.done"].to_pylist() == [False] * 5 + [True] + frames["next.done"].to_pylist()[6:]
    assert frames.schema.field("observation.state").type == pa.list_(pa.float64(), 3)
    assert not frames["index"].null_count


def test_statistics_are_those_of_the_rows(tmp_path: Path) -> None:
    lengths = [4, 1, 7, 4]
    generator = np.random.default_rng(0)
    dataset = Dataset(
        {
            "observations": generator.normal(size=(20, 2, 3)),
            "actions": generator.integers(0, 9, 16),
            "rewards": np.append(generator.normal(size=15), np.nan),
            "terminations": np.zeros(16, bool),
            "truncations": np.zeros(16, bool),
        },
        lengths,
    )
    quietly(write, dataset, tmp_path / "a")
    stats = json.loads((tmp_path / "a/meta/stats.json").read_text())
    episodes = pq.read_table(tmp_path / "a" / EPISODES)
    columns = {"observation.state": dataset.observations[dataset.observation_rows], "action": dataset.actions[:, None]}
    quantiles = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
    for name, rows in {**columns, "next.reward": dataset.rewards[:, None]}.items():
        for part in ("min", "max", "mean", "std"):
            np.testing.assert_allclose(stats[name][part], getattr(rows, part)(axis=0), err_msg=f"{name} {part}")
        for part, share in quantiles.items():
            np.testing.assert_allclose(stats[name][part], np.quantile(rows, share, axis=0), err_msg=f"{name} {part}")
        assert stats[name]["count"] == [16]
        for episode, (start, length) in enumerate(zip(dataset.episode_starts, lengths, strict=True)):
            part = rows[start : start + length]
            stored = {key: episodes[f"stats/{name}/{key}"][episode].as_py() for key in ("mean", "std", "count")}
            np.testing.assert_allclose(stored["mean"], part.mean(axis=0))
            np.testing.assert_allclose(stored["std"], part.std(axis=0), atol=1e-12)
            assert stored["count"] == [length]
            for key, share in quantiles.items():
                found = episodes[f"stats/{name}/{key}"][episode].as_py()
                np.testing.assert_allclose(found, np.quantile(part, share, axis=0))
    assert stats["frame_index"]["max"] == [6.0]


def test_large_rows_have_no_statistics_of_every_episode() -> None:
    rows = np.zeros((2, 65, 64), np.uint8)
    assert lerobot_statistics.episode_statistics("observation.image", rows, np.arange(2), np.array([1, 1])) == {}


# -------------------------------------------------------------------- what becomes of the features


def test_a_file_with_many_episodes_is_read_once(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A listing of one file per episode reads it 480 times and holds its frames as often (Robbyant/lingbot-vla-v2#11).
    opened: list[Path] = []
    actual = parquet_file.open_parquet

    def counting(path: Path) -> Any:
        opened.append(path.relative_to(written))
        return actual(path)

    monkeypatch.setattr(lerobot_format, "open_parquet", counting)
    monkeypatch.setattr(lerobot_metadata, "open_parquet", counting)
    dataset = read(written)
    assert (dataset.total_episodes, dataset.total_steps) == (3, 18)
    assert sorted(map(str, opened)) == [DATA, EPISODES, "meta/tasks.parquet"]


def test_done_is_a_termination_only_with_success_and_else_a_truncation(written: Path) -> None:
    done = np.arange(18) % 6 == 5
    success = done & (np.arange(18) > 12)
    features = json.loads((written / "meta/info.json").read_text())["features"]
    del features["next.terminated"], features["next.truncated"]
    one = {"dtype": "bool", "shape": [1], "names": None}
    edit_info(written, features=features | {"next.success": one})
    edit_table(written / DATA, **{"next.terminated": None, "next.truncated": None, "next.success": pa.array(success)})
    dataset = read(written)
    assert dataset.terminations.tolist() == success.tolist()
    assert dataset.truncations.tolist() == (done & ~success).tolist()
    assert dataset.column("infos/next.success").tolist() == success.tolist()
    assert "infos/next.done" not in dataset.columns
    edit_info(written, features=features)
    assert not read(written).terminations.any()  # timeouts are not terminations
    assert read(written).truncations.tolist() == done.tolist()


def test_missing_rewards_and_ends_are_named(written: Path) -> None:
    features = json.loads((written / "meta/info.json").read_text())["features"]
    edit_info(written, features={key: value for key, value in features.items() if not key.startswith("next.")})
    with pytest.warns(AssayWarning, match=r"has no end flags \(next.done\), so none is set; columns="):
        dataset = read(written)
    assert dataset.missing["rewards"].all()  # and are no zeros that nobody gave
    assert not (dataset.terminations | dataset.truncations).any()


def test_next_observations_do_not_cross_the_border_of_an_episode(written: Path) -> None:
    dataset = read(written)
    transitions = dataset.transitions()
    assert transitions.steps.tolist() == [step for step in range(18) if step % 6 != 5]
    source = clean_dataset(steps=18, length=6)
    assert dataset.next_observations[0].tolist() == source.next_observations[0].tolist()


def test_the_last_frame_of_the_file_is_there(written: Path) -> None:
    assert read(written).rewards[-1] == clean_dataset(steps=18, length=6).rewards[-1]


def test_several_observations_are_nested_and_one_is_not(tmp_path: Path, written: Path) -> None:
    assert read(written).observations.shape == (21, 3)
    two = {"observations": None, "observations/state": np.zeros((70, 2)), "observations/environment_state": np.ones(70)}
    quietly(write, clean_dataset().replace(two), tmp_path / "two")
    dataset = read(tmp_path / "two")
    assert dataset.observations["environment_state"].shape == (70, 1)
    assert dataset.observations["state"].shape == (70, 2)


def test_a_name_that_begins_like_another_is_another_feature(tmp_path: Path) -> None:
    columns = {"observations": None, "observations/state": np.zeros(70), "observations/state.goal": np.ones((70, 5))}
    quietly(write, clean_dataset().replace(columns), tmp_path / "a")
    assert read(tmp_path / "a").observations["state.goal"].shape == (70, 5)


def test_clocks_other_than_the_frame_rate_are_kept(written: Path) -> None:
    stamps = np.arange(18, dtype=np.float32)
    edit_table(written / DATA, timestamp=pa.array(stamps))
    assert read(written).column("time").tolist() == stamps.tolist()


def test_one_of_two_flags_and_episode_columns_without_a_place_are_not_lost(written: Path) -> None:
    features = json.loads((written / "meta/info.json").read_text())["features"]
    del features["next.truncated"]
    edit_info(written, features=features)
    edit_table(written / EPISODES, quality=pa.array([1, 2, 3]), marks=pa.array([[1]] * 3), start=pa.array([0, 0, 0]))
    dataset = read(written)
    assert "infos/next.terminated" in dataset.columns
    assert dataset.episode_columns["quality"].tolist() == [1, 2, 3]
    assert dataset.info.extra["lerobot"]["episode_columns_not_read"] == ["marks", "start"]


def test_a_task_that_changes_within_an_episode_is_a_column(written: Path) -> None:
    pq.write_table(pa.table({"task_index": [0, 1], "task": ["a", "b"]}), written / "meta/tasks.parquet")
    edit_table(written / DATA, task_index=pa.array(np.arange(18) % 2))
    dataset = read(written)
    assert dataset.column("infos/task_index").tolist() == [0, 1] * 9
    assert "task_index" not in dataset.episode_columns


def test_lists_of_any_kind_and_single_numbers_are_read(written: Path) -> None:
    expected = read(written)
    action = pq.read_table(written / DATA)["action"]
    for kind in (pa.list_(pa.float32()), pa.large_list(pa.float32()), pa.list_(pa.float32(), 2)):
        edit_table(
            written / DATA, action=action.cast(kind), **{"next.reward": pa.array([[n] for n in expected.rewards])}
        )
        assert_same_columns(read(written), expected)


def test_videos_and_images_are_listed(written: Path) -> None:
    features = json.loads((written / "meta/info.json").read_text())["features"]
    features["observation.images.top"] = {
        "dtype": "video",
        "shape": [4, 6, 3],
        "names": ["height", "width", "channels"],
    }
    features["observation.image"] = {"dtype": "image", "shape": [4, 6, 3], "names": None}
    features["instruction"] = {"dtype": "string", "shape": [1], "names": None}
    edit_info(written, features=features)
    known = read(written).info.extra["lerobot"]
    assert known["videos"] == ["observation.images.top", "observation.image"]
    assert known["not_read"] == ["instruction"]
    with pytest.raises(ConfigError, match=r"has no video 'observation\.images\.left'; it has observation\.images\.top"):
        read(written, videos=["observation.images.left"])
    with pytest.raises(ConfigError, match="a list of features belongs there"):
        read(written, videos="observation.images.top")


# -------------------------------------------------------------------- videos


def add_video(folder: Path, *, width: int = 64, height: int = 48, frames: int = 18) -> np.ndarray:
    """Put a real video of frames of one color each into a dataset at 10 fps; return the colors."""
    av = pytest.importorskip("av")
    file = folder / "videos/observation.images.top/chunk-000/file-000.mp4"
    file.parent.mkdir(parents=True, exist_ok=True)
    colors = np.stack(
        [np.arange(frames) * 13 % 256, np.arange(frames) * 29 % 256, 255 - np.arange(frames) * 7 % 256], 1
    )
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv444p"
        stream.options = {"qp": "0", "g": "5"}
        for color in colors:
            frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), color, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    features = json.loads((folder / "meta/info.json").read_text())["features"]
    top = {"dtype": "video", "shape": [48, 64, 3], "names": ["height", "width", "channels"]}
    edit_info(folder, features=features | {"observation.images.top": top})
    zeros, starts = pa.array([0, 0, 0]), pa.array([0.0, 0.6, 1.2])
    name = "videos/observation.images.top"
    stamps = {f"{name}/from_timestamp": starts, f"{name}/to_timestamp": pa.array([0.6, 1.2, 1.8])}
    edit_table(folder / EPISODES, **{f"{name}/chunk_index": zeros, f"{name}/file_index": zeros}, **stamps)
    return colors


def test_a_video_is_decoded_when_asked_for(written: Path) -> None:
    colors = add_video(written)
    dataset = read(written, videos=["observation.images.top"])
    frames = dataset.observations["images.top"]
    assert (frames.shape, frames.dtype) == ((21, 48, 64, 3), np.uint8)
    mean = frames[dataset.observation_rows].mean(axis=(1, 2))
    assert np.abs(mean - colors).max() <= 3
    assert (frames[6] == frames[5]).all()  # the final observation was not recorded
    assert "videos" not in dataset.info.extra["lerobot"]
    assert dataset.observations["state"].tolist() == read(written).observations.tolist()


def test_a_video_that_lacks_frames_or_is_of_another_size_is_refused(written: Path) -> None:
    add_video(written, frames=17)
    with pytest.raises(DatasetError, match=r"file-000\.mp4 has no frame at 1\.7000 s"):
        read(written, videos=["observation.images.top"])
    add_video(written, width=32)
    with pytest.raises(DatasetError, match=r"frames are 48x32, but info\.json says 48x64"):
        read(written, videos=["observation.images.top"])
    file = written / "videos/observation.images.top/chunk-000/file-000.mp4"
    file.write_bytes(b"not a video" * 100)
    with pytest.raises(FormatError, match="is damaged"):
        read(written, videos=["observation.images.top"])
    file.unlink()
    with pytest.raises(FormatError, match="copied without its videos"):
        read(written, videos=["observation.images.top"])


def test_without_pyav_the_error_says_what_to_install(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_video(written)
    monkeypatch.setitem(sys.modules, "av", None)
    assert read(written).total_steps == 18
    with pytest.raises(ConfigError, match=r"pip install assay\[video\]"):
        read(written, videos=["observation.images.top"])


# -------------------------------------------------------------------- damage


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codebase_version": "v1.6"}, "codebase_version is 'v1.6'; v2.0, v2.1, v3.0 are read"),
        ({"codebase_version": ["v3.0"]}, "codebase_version is"),
        ({"total_frames": 19}, "the episodes hold 18 frames, but meta/info.json says 19"),
        ({"total_frames": True}, "total_frames is True"),
        ({"total_frames": 2**60}, "total_frames is"),
        ({"total_episodes": 4}, "does not list the episodes 0 to 3 once each"),
        ({"total_episodes": None}, "total_episodes is None"),
        ({"fps": 0}, "fps is 0"),
        ({"fps": "fast"}, "fps is 'fast'"),
        ({"features": {"action": 3}}, "feature action has the shape None"),
        ({"features": {"action": {"dtype": "float32", "shape": [-1]}}}, r"has the shape \[-1\]"),
        ({"features": {"action": {"dtype": "float32", "shape": [0]}}}, "which holds nothing"),
        ({"features": {"action": {"dtype": 3, "shape": [1]}}}, "has no dtype"),
        ({"features": {"action": {"dtype": "float32", "shape": [2]}}}, "feature timestamp is missing"),
    ],
)
def test_a_description_that_cannot_be_true_is_refused(changes: Any, message: str, written: Path) -> None:
    edit_info(written, **changes)
    with pytest.raises(DatasetError, match=message) as caught:
        read(written)
    assert str(written) in str(caught.value)


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        (DATA, {"action": None}, "there is no column action"),
        (DATA, {"action": pa.array([[0.0]] * 18, pa.list_(pa.float32()))}, r"rows of shape \[1\], but \[2\] belong"),
        (DATA, {"action": pa.array([[0.0, 1.0]] * 17 + [[0.0]])}, "row 17 of a batch is of another shape"),
        (DATA, {"action": pa.array([[0.0, 1.0]] * 17 + [None])}, "has 1 gaps"),
        (DATA, {"action": pa.array([[0.0, None]] * 18)}, "has 18 gaps"),
        (DATA, {"action": pa.array([["a", "b"]] * 18)}, "numbers and lists of them are read"),
        (DATA, {"action": pa.array([{"a": 1}] * 18)}, "numbers and lists of them are read"),
        (DATA, {"next.reward": pa.array([[1.0, 2.0]] * 18)}, "36 values in 18 rows; 1 belong into a row"),
        (DATA, {"next.terminated": pa.array([0.5] * 18)}, "next.terminated of frame 0 is 0.5"),
        (DATA, {"index": pa.array(range(1, 19))}, "index of frame 0 is 1, but meta/ makes it 0"),
        (DATA, {"frame_index": pa.array(range(18))}, "frame_index of frame 6 is 6, but meta/ makes it 0"),
        (DATA, {"episode_index": pa.array([0] * 18)}, "episode_index of frame 6 is 0, but meta/ makes it 1"),
        (EPISODES, {"length": pa.array([6, 6, 7])}, "dataset_to_index of episode 2 is 18"),
        (EPISODES, {"length": pa.array([6, 6, 0])}, "episode 2 has 0 steps"),
        (EPISODES, {"length": pa.array([6, 6, 2**62])}, "episode 2 has"),
        (EPISODES, {"length": pa.array([6.0, 6.0, 6.0])}, "column length of integers is missing"),
        (EPISODES, {"length": None}, "column length of integers is missing"),
        (EPISODES, {"dataset_from_index": pa.array([0, 6, 13])}, "dataset_from_index of episode 2 is 13"),
        (EPISODES, {"episode_index": pa.array([0, 1, 1])}, "does not list the episodes"),
        ("meta/tasks.parquet", {"task_index": None}, "are not task_index and the task's text"),
        ("meta/tasks.parquet", {"task_index": pa.array([7])}, "the tasks are not numbered from 0"),
    ],
)
def test_tables_that_disagree_are_refused(file: str, changes: Any, message: str, written: Path) -> None:
    edit_table(written / file, **changes)
    with pytest.raises(DatasetError, match=message) as caught:
        read(written)
    assert str(written) in str(caught.value)


def test_missing_and_extra_files_are_named(written: Path) -> None:
    shutil.copy(written / DATA, written / "data/chunk-000/file-001.parquet")
    with pytest.raises(DatasetError, match=r"file-001\.parquet: more frames than the 18"):
        read(written)
    (written / "data/chunk-000/file-001.parquet").unlink()
    content = pq.read_table(written / DATA)
    pq.write_table(content.slice(0, 12), written / DATA)
    with pytest.raises(DatasetError, match="holds 12 frames, but meta/ lists 18; the dataset is incomplete"):
        read(written)
    (written / DATA).unlink()
    with pytest.raises(FormatError, match="data holds no files"):
        read(written)
    pq.write_table(content, written / DATA)
    (written / "meta/tasks.parquet").unlink()
    with pytest.raises(FormatError, match=r"tasks\.parquet is missing"):
        read(written)


def test_files_are_taken_in_the_order_of_their_numbers(written: Path) -> None:
    expected, content = read(written), pq.read_table(written / DATA)
    (written / DATA).unlink()
    pq.write_table(content.slice(0, 6), written / "data/chunk-000/file-999.parquet")
    (written / "data/chunk-1000").mkdir()
    (written / "data/chunk-999").mkdir()
    pq.write_table(content.slice(6, 6), written / "data/chunk-999/file-000.parquet")
    pq.write_table(content.slice(12, 6), written / "data/chunk-1000/file-000.parquet")
    assert read(written) == expected


def test_one_dtype_for_all_files(written: Path) -> None:
    content = pq.read_table(written / DATA)
    pq.write_table(content.slice(0, 12), written / DATA)
    rest = content.slice(12, 6)
    place = rest.column_names.index("next.reward")
    rest = rest.set_column(place, "next.reward", rest["next.reward"].cast(pa.float32()))
    pq.write_table(rest, written / "data/chunk-000/file-001.parquet")
    with pytest.raises(FormatError, match=r"file-001\.parquet: column next\.reward is float32, but float64 before"):
        read(written)


@pytest.mark.parametrize("kind", ["snappy", "gzip", "zstd", "none"])
def test_a_bomb_is_refused(kind: str, written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_file, "_ALWAYS_ALLOWED", 1 << 16)
    monkeypatch.setattr(parquet_file, "_MOST_DENSE", 10)
    rows = 200_000
    pq.write_table(pa.table({"action": pa.array(np.zeros(rows))}), written / DATA, compression=kind)
    with open_parquet(written / DATA) as file, pytest.raises(FormatError, match=r"claims 200000 rows .*; impossible"):
        file.check_fits(8)
    pq.write_table(pa.table({"a": ["x" * 70_000]}), written / DATA, compression=kind)
    monkeypatch.setattr(parquet_file, "_ALWAYS_ALLOWED", 1 << 30)
    with open_parquet(written / DATA) as file, pytest.raises(FormatError, match="texts longer than 65536 bytes"):
        file.column("a")


def test_a_list_that_repeats_one_value_for_ever_is_refused_before_it_is_unpacked(written: Path) -> None:
    bomb = pa.ListArray.from_arrays(
        pa.array([0, 3_000_000, *[3_000_000] * 17], pa.int32()), pa.array(np.zeros(3_000_000))
    )
    edit_table(written / DATA, action=bomb)
    assert (written / DATA).stat().st_size < 20_000
    with pytest.raises(FormatError, match="column action has 3000017 values in 18 rows; 2 belong into a row"):
        read(written)


def page_header(file: Path) -> tuple[bytearray, int]:
    """The content of a file, and where the header of its first page begins: a kind, then its size when unpacked."""
    content = bytearray(file.read_bytes())
    assert (content[4], content[6]) == (0x15, 0x15)  # fields 1 and 2, 32-bit integers
    return content, 4


@pytest.mark.parametrize("codec", ["zstd", "snappy", "none"])
def test_a_page_that_claims_more_than_the_footer_is_refused_before_memory_is_set_aside(
    tmp_path: Path, codec: str
) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": np.arange(64)}), file, compression=codec, use_dictionary=False)
    content, start = page_header(file)
    with open_parquet(file) as good:
        assert good.column("a").tolist() == list(range(64))
    content[start + 4] |= 0x78  # upper bits of the varint that is the size when unpacked: 15 kB in place of half of one
    file.write_bytes(content)
    with (
        pytest.raises(FormatError, match="pages of column a are larger than the footer says"),
        open_parquet(file),
    ):
        pass


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_footer_is_refused_or_read_and_never_ends_the_process(data: st.DataObject) -> None:
    """pyarrow aborts where it is asked for the metadata of a damaged column chunk."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "a.parquet")
        pq.write_table(pa.table({"a": np.arange(18), "b": pa.array([[1.0, 2.0]] * 18)}), file)
        content = bytearray(file.read_bytes())
        start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
        # The schema comes first; what lies behind it is most often damaged here.
        place = data.draw(st.one_of(st.integers(start, len(content) - 1), st.integers(start, start + 300)))
        content[place] = data.draw(st.sampled_from([0, 1, 0x0C, 0x15, 0x16, 0x1C, 0x26, 0x82, 0xFF]))
        file.write_bytes(content)
        with suppress(FormatError), open_parquet(file) as damaged:
            assert len(damaged.column("a")) == damaged.rows


@pytest.mark.parametrize(
    "footer",
    [
        b"\x19\xf7" + b"\xff" * 8 + b"\x7f",  # field 1: a list of 2^63 doubles
        b"\x19" * 5000,  # a list of lists of lists ...
        b"\x1c" * 5000,  # a struct in a struct in a struct ...
        b"\x18\xff\xff\x03",  # a text of 65,535 bytes
    ],
    ids=["doubles", "lists", "structs", "text"],
)
def test_a_footer_that_claims_values_without_end_is_refused(footer: bytes) -> None:
    with pytest.raises(FormatError, match="damaged"):
        check_parquet(b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1", "a.parquet")


@pytest.mark.parametrize("rows", [0, 1, 5000])
@pytest.mark.parametrize("options", [{}, {"use_dictionary": False}, {"row_group_size": 700}, {"data_page_size": 64}])
def test_the_footer_is_understood_as_pyarrow_understands_it(tmp_path: Path, rows: int, options: dict[str, Any]) -> None:
    lists = pa.array([[0.5, 1.5]] * rows, pa.list_(pa.float64()))
    columns = {"n": pa.array(np.arange(rows) % 7), "l": lists, "t": pa.array(["é"] * rows, pa.string())}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet", **options)
    metadata = pq.read_metadata(tmp_path / "a.parquet")
    expected = []
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        chunks = [group.column(place) for place in range(group.num_columns)]
        counts = {chunk.path_in_schema: chunk.num_values for chunk in chunks}
        expected.append((group.num_rows, counts, sum(chunk.total_uncompressed_size for chunk in chunks)))
    assert check_parquet((tmp_path / "a.parquet").read_bytes(), "a") == expected


def test_deep_nesting_is_refused(tmp_path: Path, written: Path) -> None:
    kind: pa.DataType = pa.float64()
    for _ in range(60):
        kind = pa.list_(kind)
    pq.write_table(pa.table({"action": pa.array([], kind)}), tmp_path / "deep.parquet")
    with (
        pytest.raises(FormatError, match=r"deep\.parquet is no Parquet file, or damaged"),
        open_parquet(tmp_path / "deep.parquet"),
    ):
        pass
    (written / "meta/info.json").write_text("[" * 100_000)
    assert not lerobot_format.sniff(written)
    with pytest.raises(FormatError, match="is damaged"):
        read(written)


def test_a_page_that_changed_is_noticed(written: Path) -> None:
    content = bytearray((written / DATA).read_bytes())
    reward = read(written).rewards[:2].tobytes()
    place = content.index(reward[:8])
    content[place] ^= 1
    (written / DATA).write_bytes(content)
    with pytest.raises(FormatError, match=r"file-000\.parquet is no Parquet file, or damaged"):
        read(written)


def test_values_of_no_rows_have_the_shape() -> None:
    assert values(pa.array([], pa.list_(pa.float32())), (3,), "here").shape == (0, 3)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    file=st.sampled_from([DATA, DATA, EPISODES, "meta/tasks.parquet", "meta/info.json"]),
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4),
    keep=st.one_of(st.just(1.0), st.just(1.0), st.floats(0, 1)),
)
def test_damage_is_refused_or_leaves_the_shapes(
    tmp_path: Path, file: str, edits: list[tuple[float, int]], keep: float
) -> None:
    if not (tmp_path / "sample").exists():
        generator = np.random.default_rng(0)
        dataset = clean_dataset(steps=18, length=6, rewards=random_array(generator, "float32", (18,)))
        quietly(write, dataset, tmp_path / "sample")
    shutil.copytree(tmp_path / "sample", tmp_path / "work", dirs_exist_ok=True)
    content = bytearray((tmp_path / "work" / file).read_bytes())
    for place, value in edits:
        content[int(place * len(content))] = value
    (tmp_path / "work" / file).write_bytes(content[: round(keep * len(content))])
    assert [name for name in FORMATS if format_named(name).sniff(tmp_path / "work")] in ([], ["lerobot"])
    try:
        dataset = quietly(read, tmp_path / "work")
    except AssayError:
        return
    assert dataset.episode_lengths.tolist() == [6, 6, 6]
    if file == DATA:  # whose pages have checksums
        assert dataset.rewards.tobytes() == read(tmp_path / "sample").rewards.tobytes()


def test_loading_sniffs_and_says_where_it_came_from(written: Path) -> None:
    dataset = assay.load(written)
    assert dataset.info.id == "small"
    assert "LeRobot v3.0" in dataset.info.source
    assert dataset.history[0].parameters["format"] == "lerobot"


# -------------------------------------------------------------------- images


def picture(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind)
    return content.getvalue()


def add_images(folder: Path, files: Sequence[Path], *, size: tuple[int, int] = (4, 6), kind: str = "PNG") -> np.ndarray:
    """Put a picture into every frame of some data files, as LeRobot does; return the pixels."""
    rng, made = np.random.default_rng(0), []
    for file in files:
        count = pq.read_table(file).num_rows
        pixels = rng.integers(0, 256, (count, *size, 3), dtype=np.uint8)
        rows = [{"bytes": picture(each, kind), "path": f"frame-{number}.png"} for number, each in enumerate(pixels)]
        edit_table(file, **{"observation.images.top": pa.array(rows)})
        made.append(pixels)
    features = json.loads((folder / "meta/info.json").read_text())["features"]
    top = {"dtype": "image", "shape": [4, 6, 3], "names": ["height", "width", "channels"]}
    edit_info(folder, features=features | {"observation.images.top": top})
    return np.concatenate(made)


def test_images_in_the_frames_are_decoded_when_asked_for(written: Path) -> None:
    pixels = add_images(written, [written / DATA])
    assert read(written).info.extra["lerobot"]["videos"] == ["observation.images.top"]
    dataset = read(written, videos=["observation.images.top"])
    frames = dataset.observations["images.top"]
    assert (frames.shape, frames.dtype) == ((21, 4, 6, 3), np.uint8)
    assert np.array_equal(frames[dataset.observation_rows], pixels)
    assert (frames[6] == frames[5]).all()  # the final observation was not recorded
    assert dataset.observations["state"].tolist() == read(written).observations.tolist()


def test_images_that_a_mapping_names_are_decoded(written: Path) -> None:
    pixels = add_images(written, [written / DATA])
    columns = {"observations/joints": "observation.state", "observations/camera": "observation.images.top"}
    dataset = read(written, columns=columns)
    assert np.array_equal(dataset.observations["camera"][dataset.observation_rows], pixels)
    assert dataset.observations["joints"].tolist() == read(written).observations.tolist()
    assert "videos" not in dataset.info.extra["lerobot"]
    alone = read(written, columns={"observations": "observation.images.top", "infos/joints": "observation.state"})
    assert np.array_equal(alone.observations[alone.observation_rows], pixels)
    with pytest.raises(DatasetError, match="only features of one dimension stand side by side"):
        read(written, columns={"observations": ["observation.state", "observation.images.top"]})


def test_images_of_version_2_are_too(tmp_path: Path) -> None:
    write_lerobot_v2(tmp_path / "second", np.random.default_rng(0))
    pixels = add_images(tmp_path / "second", sorted((tmp_path / "second/data/chunk-000").iterdir()))
    columns = {"ends": "truncated"}
    dataset = read(tmp_path / "second", columns=columns, videos=["observation.images.top"])
    assert np.array_equal(dataset.observations["images.top"][dataset.observation_rows], pixels)


def test_images_that_are_missing_damaged_or_of_another_size_are_refused(written: Path) -> None:
    wanted = ["observation.images.top"]
    add_images(written, [written / DATA], size=(6, 4))
    with pytest.raises(DatasetError, match=r"of frame 0 is uint8\[6, 4, 3\], but info\.json says \[4, 6, 3\]"):
        read(written, videos=wanted)
    good = {"bytes": picture(np.zeros((4, 6, 3), np.uint8)), "path": "a.png"}
    for bad, message in (
        ({"bytes": None, "path": "images/a.png"}, r"frame 3 is not in the file"),
        ({"bytes": b"not a picture", "path": "a.png"}, r"frame 3: a damaged image"),
    ):
        rows = pa.array([good, good, good, bad, *[good] * 14])
        edit_table(written / DATA, **{"observation.images.top": rows})
        with pytest.raises(FormatError, match=message):
            read(written, videos=wanted)
