"""Damage real files in every way and read them: a reader refuses with an AssayError, or gives a well-formed dataset.

    python -m tests.datasets.formats.fuzz --minutes 10 --formats d4rl robomimic

Every case is a function of its seed: a sample file of the format, a few edits, the options of the reader. It runs in a
child process under limits on memory and time, so that a crash, a hang and a hunger for memory are findings like any
other:

- anything raised but an AssayError, from `sniff` anything at all; two formats that claim one file; a mistake in the
  reader's own lines (TypeError, IndexError, ...) that it reports as damage;
- a process that dies, or takes more than ten seconds of processor time for a case;
- memory beyond 256 MB and three times the dataset (the samples have less than 100 kB, which is 120 MB unpacked);
- a dataset that cannot be hashed, laid out for learning, or validated;
- in formats whose values are checksummed (`CHECKSUMMED`), a column with other values than the sample's. HDF5 has no
  checksums: where its values were hit, nothing can notice, and only the laws above hold.

Each finding is saved with its seed: `--replay FORMAT SEED` runs it again, in this process.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from assay.datasets.dataset import Dataset
from assay.datasets.errors import AssayError, AssayWarning
from assay.datasets.formats import FORMATS, format_named
from tests.datasets.dataset_strategies import clean_dataset, fill

Maker = Callable[[Path, np.random.Generator], None]
SECONDS_PER_CASE = 10
LARGEST_GROWTH = 256 << 20  # bytes, beyond three times the dataset
CHECKSUMMED = {"assay", "npz", "ogbench", "neorl", "stable_baselines", "imitation", "gen_dgrl"}

MAKERS: dict[str, list[Maker]] = {}
"""Format -> what makes samples of it that its own writer does not; for formats that are only read, all."""

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "d4rl": [{}, {"style": "d4rl"}, {"style": "d4rl", "terminate_on_end": True}, {"horizon": 4}],
    "robomimic": [{}, {"filter_key": "better"}, {"dones": "terminations"}],
    "hdf5": [{}, {"episode_starts": "extra/starts"}, {"columns": {"infos/extra": "extra/starts"}}],
    "lerobot": [{}, {"columns": {"observations": "observation.state", "actions": ["action"], "ends": "truncated"}}],
    "rlds": [{}, {"last": "observation"}, {"images": ["observation/image"]}],
    "mcap": [{}, {"columns": {"observations": "/observations", "actions": "/actions"}, "how": "nearest"}],
    "rosbag": [{"columns": {"observations": "/pose", "actions": "/cmd/x"}, "clock": 20.0}],
    "recordings": [{"columns": {"observations": "/pose", "actions": "/cmd/x"}, "clock": 20.0}],
    "ulog": [{"columns": {"observations": "attitude/q", "actions": "motors/output"}}],
    "zarr": [{}, {"images": ["img"]}, {"columns": {"observations": "state", "actions": "action"}}],
    "maniskill": [{}, {"observations": "env_states"}, {"rewards": "success"}],
    "minari": [{}, {"repeat_missing_final": True}, {"infos": False}],
    "table": [{}, {"columns": {"episode": "run", "extra": ["pose/x", "pose/y", "note"], "ends": "truncated"}}],
}


def sample_maker(name: str) -> Callable[[Maker], Maker]:
    """Register what writes a sample of a format to a path."""

    def register(maker: Maker) -> Maker:
        MAKERS.setdefault(name, []).append(maker)
        return maker

    return register


# -------------------------------------------------------------------- samples


def sample_datasets(generator: np.random.Generator) -> Iterator[Dataset]:
    """Small datasets of many structures; a format writes those that it can hold."""
    flat = clean_dataset(steps=18, length=6, seed=int(generator.integers(100)))
    terminations = flat.truncations & (np.arange(18) > 6)
    flags = {"terminations": terminations, "truncations": flat.truncations & ~terminations}
    yield flat
    yield flat.replace({**flags, "costs": np.ones(18), "infos/position": generator.normal(size=(18, 2))})
    structure = {"children": {"pose": ("float32", (3,)), "goal": ("int64", ())}}
    for nested in (structure, {"children": (("float64", (2,)), ("uint8", (4, 4, 3)))}):
        parts = fill(nested, generator, 21)
        named = parts if isinstance(parts, dict) else {f"_index_{i}": part for i, part in enumerate(parts)}
        yield flat.replace({"observations": None, **{f"observations/{key}": part for key, part in named.items()}})
    unknown = flat.replace({"actions": generator.integers(0, 5, 18)})
    yield Dataset(
        {name: unknown.column(name) for name in unknown.columns},
        unknown.episode_lengths,
        episode_columns={"final_observation": np.zeros(3, bool)},
    )
    yield Dataset(
        {name: flat.column(name) for name in flat.columns},
        flat.episode_lengths,
        episode_columns={
            "seed": np.arange(3),
            "tags/better": np.array([True, False, True]),
            "level": np.array(["a", "bb", ""]),
        },
    )
    yield flat.replace({"next_observations": generator.normal(size=(18, 3))})


def make_samples(name: str, folder: Path) -> list[Path]:
    """Write the samples of a format."""
    generator = np.random.default_rng(0)
    module = format_named(name)
    result = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AssayWarning)
        if hasattr(module, "write"):
            for number, dataset in enumerate(sample_datasets(generator)):
                path = folder / f"sample{number}-v0"
                lossy = {"drop": dataset.columns} if "drop" in inspect.signature(module.write).parameters else {}
                with suppress(AssayError):
                    module.write(dataset, path, **lossy)
                    result.append(path)
    for number, maker in enumerate(MAKERS.get(name, [])):
        path = folder / f"made{number}-v0"
        maker(path, generator)
        result.append(path)
    if not result:
        raise SystemExit(f"format {name} is only read: register a sample_maker for it in {__file__}")
    return result


def _flat_rows(generator: np.random.Generator) -> dict[str, Any]:
    return {
        "observations": generator.normal(size=(20, 4)).astype(np.float32),
        "actions": generator.normal(size=(20, 2)).astype(np.float32),
        "rewards": generator.normal(size=20).astype(np.float32),
    }


@sample_maker("d4rl")
def d4rl_of_version_2(path: Path, generator: np.random.Generator) -> None:
    with h5py.File(path, "w") as file:
        rows = _flat_rows(generator) | {"next_observations": generator.normal(size=(20, 4)).astype(np.float32)}
        rows |= {"terminals": np.arange(20) == 7, "timeouts": np.isin(np.arange(20), (3, 19))}
        rows |= {"infos/qpos": generator.normal(size=(20, 3)), "infos/action_log_probs": np.zeros(20, np.float32)}
        for key, array in rows.items():
            file.create_dataset(key, data=array, compression="gzip", shuffle=key == "actions")
        file["metadata/algorithm"], file["metadata/iteration"] = "SAC", 100
        file["metadata/policy/fc0/weight"] = generator.normal(size=(4, 3))
        file["metadata/policy/nonlinearity"] = np.bytes_("relu")


@sample_maker("d4rl")
def d4rl_of_version_0(path: Path, generator: np.random.Generator) -> None:
    with h5py.File(path, "w") as file:
        for key, array in (_flat_rows(generator) | {"terminals": (np.arange(20) == 7).astype("u1")[:, None]}).items():
            file.create_dataset(key, data=array, chunks=(4, *array.shape[1:]), compression="gzip", fletcher32=True)


@sample_maker("robomimic")
def robomimic_of_others(path: Path, generator: np.random.Generator) -> None:
    with h5py.File(path, "w") as file:
        for demo in (0, 2, 10):
            group = file.create_group(f"data/demo_{demo}")
            group["obs/eye"] = generator.integers(0, 255, (4, 6, 6, 3), np.uint8)
            group["obs/pose"], group["states"] = generator.normal(size=(4, 3)), generator.normal(size=(4, 5))
            group["actions"], group["dones"], group["rewards"] = np.zeros((4, 2)), [0, 0, 1, 1], [0.0, 0, 0, 1]
            group.attrs.update(num_samples=4, model_file="<mujoco/>" * (demo + 1))
        file["data"].attrs.update(total=12, env_args=json.dumps({"env_name": "Lift", "env_type": 1}))
        file["mask/better"] = np.array([b"demo_2", b"demo_10"])


@sample_maker("d3rlpy")
def d3rlpy_of_version_1(path: Path, generator: np.random.Generator) -> None:
    with h5py.File(path, "w") as file:
        rows = _flat_rows(generator) | {"terminals": np.arange(20) == 7, "episode_terminals": np.arange(20) % 4 == 3}
        for key, array in (rows | {"discrete_action": False, "version": "1.0"}).items():
            file[key] = array


@sample_maker("hdf5")
def plain_hdf5(path: Path, generator: np.random.Generator) -> None:
    with h5py.File(path, "w") as file:
        rows = _flat_rows(generator) | {"terminations": np.arange(20) == 7, "extra/starts": np.arange(20) % 5 == 0}
        for key, array in (rows | {"infos/depth": np.arange(20.0)}).items():
            file.create_dataset(key, data=array, chunks=(8, *array.shape[1:]), compression="gzip")


@sample_maker("table")
def table_of_the_own_names(path: Path, generator: np.random.Generator) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = {"rewards": generator.normal(size=20), "run": np.arange(20) // 5, "terminations": np.arange(20) % 5 == 4}
    lists = {name: generator.normal(size=(20, 2)).tolist() for name in ("observations", "actions")}
    pose = [{"x": 1.0, "y": None if row == 3 else 2.0} for row in range(20)]
    pq.write_table(pa.table({**rows, **lists, "pose": pose, "note": ["a", None] * 10}), path, row_group_size=8)


@sample_maker("neorl")
def neorl_of_version_1(path: Path, generator: np.random.Generator) -> None:
    ends = np.array([7, 13, 20])
    rows = {"obs": generator.normal(size=(20, 4)).astype(np.float32), "next_obs": np.ones((20, 4), np.float32)}
    rows |= {"action": np.zeros((20, 2), np.float32), "reward": np.zeros((20, 1)), "done": (np.arange(20) == 6) * 1.0}
    _save_npz(path, {**rows, "index": ends}, generator)


@sample_maker("neorl")
def neorl_of_version_2(path: Path, generator: np.random.Generator) -> None:
    observations = generator.normal(size=(21, 4)).astype(np.float32)
    rows = {"obs": observations[:-1], "next_obs": observations[1:], "action": np.zeros((20, 2), np.float32)}
    flags = {"done": np.zeros(20, np.float32), "truncated": (np.arange(20) % 5 == 4).astype(np.float32)}
    _save_npz(path, {**rows, "reward": np.ones(20, np.float32), **flags}, generator)


@sample_maker("neorl")
def neorl_of_version_2_as_a_table(path: Path, generator: np.random.Generator) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    observations = generator.normal(size=(21, 4)).astype(np.float32)
    columns = {
        "obs": observations[:-1].tolist(),
        "next_obs": observations[1:].tolist(),
        "action": np.zeros((20, 2)).tolist(),
    }
    flags = {"done": np.zeros(20), "truncated": (np.arange(20) % 5 == 4).astype(float)}
    pq.write_table(
        pa.table({**columns, "reward": np.ones(20), **flags}), path, row_group_size=7, write_page_checksum=True
    )


@sample_maker("maniskill")
def maniskill_trajectories(path: Path, generator: np.random.Generator) -> None:
    with h5py.File(path, "w") as file:
        for number, length in ((0, 3), (2, 5), (10, 2)):
            group = file.create_group(f"traj_{number}", track_order=True)
            group["obs/agent/qpos"] = generator.normal(size=(length + 1, 9)).astype(np.float32)
            images = generator.integers(0, 255, (length + 1, 4, 4, 3), np.uint8)
            group.create_dataset("obs/sensor_data/camera/rgb", data=images, compression="gzip", compression_opts=5)
            group["actions"], group["rewards"] = generator.normal(size=(length, 8)), np.zeros(length, np.float32)
            group["terminated"], group["truncated"] = np.arange(length) == length - 1, np.zeros(length, bool)
            group["env_states/actors/cube"], group["success"] = np.zeros((length + 1, 13)), np.zeros(length, bool)


@sample_maker("stable_baselines")
def stable_baselines_recording(path: Path, generator: np.random.Generator) -> None:
    rows = {"actions": np.zeros((20, 1), np.int64), "obs": generator.normal(size=(20, 4)), "rewards": np.ones(20)}
    _save_npz(path, {**rows, "episode_returns": np.full(4, 5.0), "episode_starts": np.arange(20) % 5 == 0}, generator)


@sample_maker("imitation")
def imitation_demonstrations(path: Path, generator: np.random.Generator) -> None:
    rows = {"obs": generator.normal(size=(23, 4)), "acts": np.zeros(20, np.int64), "rews": np.ones(20)}
    ends = {"indices": np.array([7, 13]), "terminal": np.array([True, False, True])}
    _save_npz(path, {**rows, **ends, "infos": np.array([{}] * 20, object)}, generator)


@sample_maker("ogbench")
def ogbench_of_others(path: Path, generator: np.random.Generator) -> None:
    rows = {"observations": generator.normal(size=(20, 4)).astype(np.float32), "qpos": np.ones((20, 3))}
    rows |= {"actions": generator.normal(size=(20, 2)).astype(np.float32), "terminals": np.arange(20) % 5 == 4}
    _save_npz(path, {**rows, "button_states": np.zeros((20, 2), np.int64), "note": np.array("x")}, generator)


@sample_maker("npz")
def plain_npz(path: Path, generator: np.random.Generator) -> None:
    rows = _flat_rows(generator) | {
        "episode_lengths": np.array([7, 6, 7]),
        "level": np.arange(3),
        "init": np.zeros((3, 2)),
    }
    _save_npz(path, rows, generator)


def _save_npz(path: Path, arrays: dict[str, Any], generator: np.random.Generator) -> None:
    with path.open("wb") as file:
        (np.savez if generator.random() < 0.5 else np.savez_compressed)(file, **arrays)


@sample_maker("gen_dgrl")
def procgen_episodes(path: Path, generator: np.random.Generator) -> None:
    path.mkdir()
    for number, length in enumerate((3, 1, 5)):
        rewards = np.arange(length, dtype=np.float32)[:, None]
        name = f"20230329T19080{number}_{number}_{length}_{40 + number}_{rewards.sum():.2f}.npz"
        np.savez_compressed(
            path / name,
            observations=generator.integers(0, 255, (length + 1, 3, 8, 8), np.uint8),
            actions=np.zeros((length, 1), np.int64),
            rewards=rewards,
            dones=np.arange(length) == length - 1,
        )


@sample_maker("lerobot")
def lerobot_with_tasks(path: Path, generator: np.random.Generator) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    flat = clean_dataset(steps=18, length=6)
    format_named("lerobot").write(flat, path)
    frames = pq.read_table(path / "data/chunk-000/file-000.parquet")
    for number, compression in enumerate(("gzip", "none", "zstd")):
        part = frames.slice(6 * number, 6)
        part = part.set_column(part.column_names.index("task_index"), "task_index", pa.array([number % 2] * 6))
        pq.write_table(part, path / f"data/chunk-000/file-00{number}.parquet", compression=compression)
    pq.write_table(pa.table({"task_index": [0, 1], "task": ["a", "b"]}), path / "meta/tasks.parquet")


@sample_maker("lerobot")
def lerobot_of_version_2(path: Path, generator: np.random.Generator) -> None:
    write_lerobot_v2(path, generator)


def write_lerobot_v2(path: Path, generator: np.random.Generator, lengths: tuple[int, ...] = (4, 6, 3)) -> None:
    """LeRobot v2.1 as its own recorder lays it out: a Parquet file for each episode, lines of JSON about them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (path / "data/chunk-000").mkdir(parents=True)
    (path / "meta").mkdir()
    start = 0
    for episode, length in enumerate(lengths):
        frame = np.arange(length)
        columns = {
            "observation.state": pa.array(list(generator.normal(size=(length, 2)).astype(np.float32))),
            "action": pa.array(list(generator.normal(size=(length, 2)).astype(np.float32))),
            "timestamp": pa.array((frame / 30).astype(np.float32)),
            "frame_index": pa.array(frame),
            "episode_index": pa.array(np.full(length, episode)),
            "index": pa.array(start + frame),
            "task_index": pa.array(np.zeros(length, np.int64)),
        }
        pq.write_table(pa.table(columns), path / f"data/chunk-000/episode_{episode:06d}.parquet")
        start += length
    one = {"dtype": "int64", "shape": [1], "names": None}
    vector = {"dtype": "float32", "shape": [2], "names": [["shoulder", "elbow"]]}
    features = {"observation.state": vector, "action": vector, "timestamp": one | {"dtype": "float32"}}
    features |= dict.fromkeys(("frame_index", "episode_index", "index", "task_index"), one)
    info = {"codebase_version": "v2.1", "robot_type": "arm", "fps": 30, "features": features}
    info |= {"total_episodes": len(lengths), "total_frames": start, "total_tasks": 1, "chunks_size": 1000}
    (path / "meta/info.json").write_text(json.dumps(info))
    about = [{"episode_index": n, "tasks": ["reach"], "length": length} for n, length in enumerate(lengths)]
    (path / "meta/episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in about))
    (path / "meta/tasks.jsonl").write_text(json.dumps({"task_index": 0, "task": "reach"}) + "\n")


@sample_maker("rlds")
def rlds_folder(path: Path, generator: np.random.Generator) -> None:
    write_rlds(path, generator)


def write_rlds(
    path: Path, generator: np.random.Generator, lengths: tuple[int, ...] = (3, 5), *, observed_last: bool = False
) -> None:
    """A TFDS folder: features.json, dataset_info.json and one shard."""
    import io

    from PIL import Image

    path.mkdir()
    examples = []
    for length in lengths:
        steps: dict[str, list[Any]] = {
            "observation/state": generator.normal(size=2 * length).astype(np.float32).tolist(),
            "action": generator.normal(size=length).astype(np.float32).tolist(),
            "reward": [0.0] * (length - 1) + [0.0 if observed_last else 1.0],
            "is_first": [1] + [0] * (length - 1),
            "is_last": [0] * (length - 1) + [1],
            "is_terminal": [0] * (length - 1) + [int(length > 3)],
            "language": [b"reach"] * length,
            "observation/image": [],
        }
        if observed_last:
            steps["action"][-1] = 0.0
        for _ in range(length):
            pixels = io.BytesIO()
            Image.fromarray(generator.integers(0, 255, (4, 6, 3), np.uint8)).save(pixels, "PNG")
            steps["observation/image"].append(pixels.getvalue())
        examples.append({f"steps/{key}": values for key, values in steps.items()} | {"episode_metadata/id": [length]})
    write_tfrecord(path / "reach-train.tfrecord-00000-of-00001", examples)

    def tensor(dtype: str, *shape: int) -> dict[str, Any]:
        return {"tensor": {"shape": {"dimensions": [str(n) for n in shape]}, "dtype": dtype, "encoding": "none"}}

    image = {"image": {"shape": {"dimensions": ["4", "6", "3"]}, "dtype": "uint8", "encodingFormat": "png"}}
    observation = {"featuresDict": {"features": {"state": tensor("float32", 2), "image": image}}}
    flags = dict.fromkeys(("is_first", "is_last", "is_terminal"), tensor("bool"))
    step = {"observation": observation, "action": tensor("float32", 1), "reward": tensor("float32"), **flags}
    step["language"] = {"text": {}}
    steps_feature = {"sequence": {"feature": {"featuresDict": {"features": step}}}}
    about = {"featuresDict": {"features": {"id": tensor("int64")}}}
    features = {"featuresDict": {"features": {"steps": steps_feature, "episode_metadata": about}}}
    (path / "features.json").write_text(json.dumps(features))
    splits = [{"name": "train", "shardLengths": [str(len(lengths))]}]
    (path / "dataset_info.json").write_text(json.dumps({"name": "reach", "splits": splits}))


def write_tfrecord(path: Path, examples: list[dict[str, list[Any]]]) -> None:
    """A file of tf.train.Example with the checksums that TensorFlow writes."""
    import google_crc32c

    from assay.datasets.formats.containers.tfrecord import _example_class

    def masked(data: bytes) -> bytes:
        crc = google_crc32c.value(data)
        return (((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little")

    with path.open("wb") as file:
        for values in examples:
            example = _example_class()()
            for name, items in values.items():
                kind = {bytes: "bytes_list", float: "float_list"}.get(type(items[0]), "int64_list")
                getattr(example.features.feature[name], kind).value.extend(items)
            data = example.SerializeToString()
            length = len(data).to_bytes(8, "little")
            file.write(length + masked(length) + data + masked(data))


@sample_maker("zarr")
def zarr_of_diffusion_policy(path: Path, generator: np.random.Generator) -> None:
    write_zarr(path, generator)


def write_zarr(path: Path, generator: np.random.Generator, *, zarr_format: Any = 2, **options: Any) -> None:
    """A replay buffer as Diffusion Policy stores it."""
    import zarr

    root = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    rows = {"action": generator.normal(size=(9, 2)), "state": generator.normal(size=(9, 3)).astype(np.float32)}
    rows |= {"img": generator.integers(0, 255, (9, 4, 4, 3), np.uint8)}
    for name, array in rows.items():
        made = root.create_array(
            f"data/{name}", shape=array.shape, chunks=(4, *array.shape[1:]), dtype=array.dtype, **options
        )
        made[:] = array
    root.create_array("meta/episode_ends", shape=(2,), dtype=np.int64)[:] = [5, 9]


@sample_maker("mcap")
def mcap_of_json(path: Path, generator: np.random.Generator) -> None:
    write_json_mcap(path, generator)


def write_json_mcap(path: Path, generator: np.random.Generator) -> None:
    """A recording of JSON messages, as Foxglove's tools make it."""
    from mcap.writer import CompressionType, Writer

    with path.open("wb") as file:
        writer: Any = Writer(file, compression=CompressionType.LZ4)
        writer.start()
        schema = writer.register_schema("pose", "jsonschema", b"{}")
        channels = [writer.register_channel(topic, "json", schema) for topic in ("/observations", "/actions")]
        for step in range(20):
            for place, channel in enumerate(channels):
                content = {"x": float(generator.normal()), "note": "a", "list": [1, 2, step]}
                writer.add_message(channel, 10_000_000 * step + place, json.dumps(content).encode(), 0)
        writer.finish()


@sample_maker("rosbag")
def rosbag_of_version_1(path: Path, generator: np.random.Generator) -> None:
    write_rosbag(path, generator, version=1)


@sample_maker("recordings")
def folder_of_recordings(path: Path, generator: np.random.Generator) -> None:
    path.mkdir()
    write_rosbag(path / "first", generator, version=1)
    write_rosbag(path / "second", generator, version=1)


@sample_maker("rosbag")
def rosbag_of_version_2(path: Path, generator: np.random.Generator) -> None:
    write_rosbag(path, generator, version=2)


def write_rosbag(path: Path, generator: np.random.Generator, *, version: int) -> None:
    """Joint states at 50 Hz and commands at 20 Hz, in a bag of ROS 1 or 2."""
    from rosbags import rosbag1, rosbag2
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS1_NOETIC if version == 1 else Stores.ROS2_HUMBLE)
    types = store.types
    time, header, joints, point = (
        types[name]
        for name in (
            "builtin_interfaces/msg/Time",
            "std_msgs/msg/Header",
            "sensor_msgs/msg/JointState",
            "geometry_msgs/msg/Point",
        )
    )
    target = path.with_suffix(".bag") if version == 1 else path
    made: Any = rosbag1.Writer(target) if version == 1 else rosbag2.Writer(target, version=9)
    pack = store.serialize_ros1 if version == 1 else store.serialize_cdr
    with made as bag:
        pose = bag.add_connection("/pose", "sensor_msgs/msg/JointState", typestore=store)
        command = bag.add_connection("/cmd", "geometry_msgs/msg/Point", typestore=store)
        for step in range(50):
            stamp = time(1, 20_000_000 * step)
            about = header(step, stamp, "") if version == 1 else header(stamp, "")
            state = joints(about, ["shoulder", "elbow"], np.array([step, 0.5 * step]), np.zeros(2), np.zeros(0))
            bag.write(pose, 10**9 + 20_000_000 * step, pack(state, "sensor_msgs/msg/JointState"))
            if step % 5 in (1, 3):
                message = point(float(step), float(generator.normal()), 0.0)
                bag.write(command, 10**9 + 20_000_000 * step + 7, pack(message, "geometry_msgs/msg/Point"))
    if version == 1:
        target.rename(path)


@sample_maker("ulog")
def ulog_of_two_topics(path: Path, generator: np.random.Generator) -> None:
    write_ulog(path)


def write_ulog(path: Path) -> None:
    """Two topics, after the specification of the format (docs.px4.io, ULog): definitions, subscriptions, data."""
    import struct

    def message(kind: bytes, content: bytes) -> bytes:
        return struct.pack("<H", len(content)) + kind + content

    parts = [b"ULog\x01\x12\x35\x01" + struct.pack("<Q", 0), message(b"B", bytes(40))]
    parts += [
        message(b"F", b"attitude:uint64_t timestamp;float[4] q;"),
        message(b"F", b"motors:uint64_t timestamp;float[2] output;"),
    ]
    for number, name in enumerate((b"attitude", b"motors")):
        parts.append(message(b"A", struct.pack("<BH", 0, number) + name))
    for step in range(20):
        parts.append(message(b"D", struct.pack("<HQ4f", 0, 1000 * step, step, 0, 0, 1)))
        if step % 2:
            parts.append(message(b"D", struct.pack("<HQ2f", 1, 1000 * step + 1, step, -step)))
    path.write_bytes(b"".join(parts))


# -------------------------------------------------------------------- damage

_NUMBERS = (0, 1, 2, 127, 128, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
_MARKS = (b"\x89HDF", b"TREE", b"SNOD", b"HEAP", b"GCOL", b"OHDR", b"PK\x03\x04", b"PK\x01\x02", b"\x93NUMPY", b"PAR1")


def damage_bytes(content: bytearray, generator: np.random.Generator) -> None:
    """Edit the bytes of a file in place, more often where its structure is."""
    pick = int(generator.integers(10))
    if not content:
        content += bytes([1, 2, 3])
    if pick == 0:
        del content[int(generator.integers(len(content) + 1)) :]
    elif pick == 1:
        content += generator.bytes(int(generator.integers(1, 5000)))
    elif pick in (2, 3):
        length = int(generator.integers(1, 1 + min(600, len(content))))
        here, there = (int(generator.integers(len(content) - length + 1)) for _ in range(2))
        content[here : here + length] = bytes(length) if pick == 2 else content[there : there + length]
    else:
        marks = [place for mark in _MARKS for place in _all(content, mark)]
        filled = np.flatnonzero(np.frombuffer(bytes(content), np.uint8))
        for _ in range(int(generator.integers(1, 6))):
            where = int(generator.integers(4))
            if where == 0 and marks:
                place = marks[int(generator.integers(len(marks)))] + int(generator.integers(64))
            elif where == 1 and len(filled):
                place = int(filled[int(generator.integers(len(filled)))])
            elif where == 2:
                place = int(generator.integers(min(len(content), 3000)))
            else:
                place = int(generator.integers(len(content)))
            width = int(generator.choice((1, 1, 1, 2, 4, 8)))
            value = int(generator.choice(len(_NUMBERS)))
            number = _NUMBERS[value] if generator.random() < 0.5 else int(generator.integers(2**63))
            number = len(content) if generator.random() < 0.05 else number
            content[place : place + width] = (number % 256**width).to_bytes(width, "little")


def _all(content: bytearray, mark: bytes) -> Iterator[int]:
    place = content.find(mark)
    while place >= 0:
        yield place
        place = content.find(mark, place + 1)


def damage_hdf5(path: Path, generator: np.random.Generator) -> None:
    """Change what an HDF5 file holds, through HDF5 itself."""
    with h5py.File(path, "a") as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        name = names[int(generator.integers(len(names)))]
        other = names[int(generator.integers(len(names)))]
        array = file[name][()]
        shape, dtype = file[name].shape, file[name].dtype
        rows = shape[0] if shape else 1
        edits: list[Callable[[], Any]] = [
            lambda: _swap(file, name, other),
            lambda: file.pop(name),
            lambda: _put(file, name, h5py.SoftLink(f"/{other}")),
            lambda: _put(file, name, h5py.SoftLink("/nowhere")),
            lambda: _put(file, name, h5py.ExternalLink("/etc/passwd", "/")),
            lambda: _put(file, name, file[other]),
            lambda: _put(file, name, file["/"]),
            lambda: _make(file, name, shape=(2**40, *shape[1:]), dtype="f4", chunks=True, compression="gzip"),
            lambda: _make(file, name, shape=(rows, 2**50), dtype="f4", chunks=(1, 1024)),
            lambda: _make(file, name, data=np.zeros((rows, 2000)), chunks=(rows, 2000), compression="gzip"),
            lambda: _make(file, name, shape=shape, dtype="f8", external=[("/dev/zero", 0, 2**20)]),
            lambda: _virtual(file, name, other),
            lambda: _put(file, name, h5py.Empty("f4")),
            lambda: _put(file, name, 3.5),
            lambda: _put(file, name, ["text"] * rows),
            lambda: _put(file, name, "text"),
            lambda: _make(file, name, data=array.reshape(rows, -1)[: rows - 1] if rows > 1 else array),
            lambda: _put(file, name, np.zeros((rows, 1))),
            lambda: _put(file, name, np.full(shape, 7.5)),
            lambda: _put(file, name, np.full(shape, np.nan)),
            lambda: _put(file, name, np.zeros(shape, complex)),
            lambda: _put(file, name, np.zeros(shape, [("a", "f4"), ("b", "i8")])),
            lambda: _put(file, name, np.array(array).astype(">f8") if dtype.kind in "biuf" else array),
            lambda: _make(file, name, shape=(rows,), dtype=h5py.ref_dtype),
            lambda: _make(file, name, shape=(rows,), dtype=h5py.vlen_dtype(np.float64)),
            lambda: _make(file, name, shape=(0, *shape[1:]), dtype=dtype),
            lambda: _make(file, name, shape=shape, dtype="f4"),
            lambda: _bomb(file, name, shape),
            lambda: file.create_group("infos/" + "/".join("abcdefghijklmnopqrstuvwxyz")),
            lambda: file.create_group("metadata/" + "/".join("abcdefghij")).__setitem__("x", 1),
            lambda: [file.require_group(f"g{i}").__setitem__("a", file.require_group(f"g{i + 1}")) for i in range(12)],
            lambda: [_wide(file, level) for level in range(12)],
            lambda: file.attrs.__setitem__("assay", "{" * 3000),
            lambda: file.attrs.__setitem__("assay", json.dumps({"info": {"id": 5}})),
            lambda: file[name].attrs.__setitem__("note", "x" * 70000),
            lambda: file[name].parent.attrs.__setitem__("num_samples", 2**62),
            lambda: file.attrs.__setitem__("many", np.zeros(4000)),
        ]
        edits[int(generator.integers(len(edits)))]()


def _swap(file: h5py.File, one: str, other: str) -> None:
    if one != other:
        file.move(one, "swapped")
        file.move(other, one)
        file.move("swapped", other)


def _put(file: h5py.File, name: str, value: Any) -> None:
    file.pop(name)
    file[name] = value


def _make(file: h5py.File, name: str, **options: Any) -> None:
    file.pop(name)
    file.create_dataset(name, **options)


def _virtual(file: h5py.File, name: str, other: str) -> None:
    shape = file[other].shape
    layout = h5py.VirtualLayout(shape, file[other].dtype)
    if shape:
        layout[...] = h5py.VirtualSource(".", other, shape)
    file.pop(name)
    file.create_virtual_dataset(name, layout)


def _bomb(file: h5py.File, name: str, shape: tuple[int, ...]) -> None:
    """A chunk that holds a thousand times what it declares."""
    file.pop(name)
    shape = shape or (1,)
    made = file.create_dataset(name, shape, "f4", chunks=shape, compression="gzip")
    made.id.write_direct_chunk((0,) * len(shape), zlib.compress(bytes(1 << 27), 1))


def _wide(file: h5py.File, level: int) -> None:
    """Names for one group, again and again inside one another: 10^12 paths."""
    below = file.require_group(f"w{level + 1}")
    for number in range(10):
        file.require_group(f"w{level}")[f"n{number}"] = below


def damage_zip(path: Path, generator: np.random.Generator) -> None:
    """Change the members of a zip archive."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    names = list(members)
    name, other = (names[int(generator.integers(len(names)))] for _ in range(2))
    pick = int(generator.integers(8))
    if pick == 0:
        members[name], members[other] = members[other], members[name]
    elif pick == 1:
        members.pop(name)
    elif pick == 2:
        members[f"../../{name}"] = members.pop(name)
    elif pick == 3:
        content = bytearray(members[name])
        damage_bytes(content, generator)
        members[name] = bytes(content)
    elif pick == 4:
        members[name] = members[name].replace(b"(18,", b"(9999999999999,").replace(b"(20,", b"(2000000000,")
    elif pick == 5:
        members[name] = members[name][:128] + bytes(1 << 27)
    elif pick == 6:
        members[name] = members[name].replace(b"<f", b"|O").replace(b"'<i", b"'|O")
    else:
        members[f"{name}x"] = members.pop(name)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for key, content in members.items():
            archive.writestr(key, content)
        if pick == 7:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                archive.writestr(names[0], b"twice")


def damage_json(path: Path, generator: np.random.Generator) -> None:
    """Change a value of a JSON file."""
    document = json.loads(path.read_text())
    values = [None, -1, 2**80, 1e308, "text", [], {}, [[[]]], True, "../../etc", "\ud800", 0.5]
    value = values[int(generator.integers(len(values)))]
    place, key = document, None
    while isinstance(place, dict | list) and place:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        parent, key = place, keys[int(generator.integers(len(keys)))]
        place = parent[key]
        if not isinstance(place, dict | list) or not place or generator.random() < 0.3:
            parent[key] = value
            break
    text = json.dumps(document)
    path.write_text("[" * 100_000 if generator.random() < 0.05 else text)


def damage(path: Path, generator: np.random.Generator) -> None:
    """Damage a sample: a file, or some file of a folder."""
    files = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
    chosen = files[int(generator.integers(len(files)))]
    if path.is_dir() and generator.random() < 0.1:
        other = files[int(generator.integers(len(files)))]
        if generator.random() < 0.5:
            chosen.unlink()
        elif chosen != other:
            one, two = chosen.read_bytes(), other.read_bytes()
            chosen.write_bytes(two)
            other.write_bytes(one)
        return
    head = chosen.read_bytes()[:8]
    structural = {b"\x89HDF": damage_hdf5, b"PK\x03\x04": damage_zip}.get(head[:4])
    structural = damage_json if chosen.suffix == ".json" else structural
    if structural is not None and generator.random() < 0.3:
        with suppress(Exception):  # an edit that this file does not allow is no edit
            structural(chosen, generator)
        if generator.random() < 0.7:
            return
    content = bytearray(chosen.read_bytes())
    damage_bytes(content, generator)
    chosen.write_bytes(content)


# -------------------------------------------------------------------- one case


def run_case(name: str, samples: list[Path], folder: Path, seed: int) -> str | None:
    """Make the case of a seed in a folder and read it; return what is wrong, if anything."""
    generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
    sample = samples[int(generator.integers(len(samples)))]
    path = folder / sample.name
    shutil.copytree(sample, path) if sample.is_dir() else shutil.copy(sample, path)
    damage(path, generator)
    options = OPTIONS.get(name, [{}])
    chosen = options[int(generator.integers(len(options)))]
    before = _resident(reset=True)
    size = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            claims = [item for item in FORMATS if format_named(item).sniff(path)]
        except Exception:
            return f"sniff raised {traceback.format_exc()}"
        if len(claims) > 1:
            return f"claimed by {' and '.join(claims)}"
        try:
            dataset = format_named(name).read(path, **chosen)
            size = sum(dataset.column(column).nbytes for column in dataset.columns)
            dataset.fingerprint  # noqa: B018
            dataset.transitions()
            dataset.validate()
            if (
                name in CHECKSUMMED
                and _same_checksums(path, sample)
                and (column := _differs(dataset, format_named(name).read(sample, **chosen)))
            ):
                return f"column {column} differs silently"
        except AssayError as error:
            if "does not fit into memory" in str(error):
                return f"memory: {error}"
            if (mistake := _mistake(error)) is not None:
                return f"read({chosen}) took a mistake of its own for damage: {mistake}"
        except Exception:
            return f"read({chosen}) raised {traceback.format_exc()}"
    growth = _resident() - before
    if growth > LARGEST_GROWTH + 3 * size:
        return f"memory grew by {growth >> 20} MB for a dataset of {size} bytes, read({chosen})"
    return None


def _mistake(error: BaseException) -> str | None:
    """Return the traceback of what a reader turned into its error, if that was raised in its own lines."""
    cause = error.__cause__
    if not isinstance(cause, AttributeError | TypeError | IndexError | AssertionError | NameError | ZeroDivisionError):
        return None
    frames = traceback.extract_tb(cause.__traceback__)
    ours = frames and "datasets" in Path(frames[-1].filename).parts and "site-packages" not in frames[-1].filename
    return "".join(traceback.format_exception(cause)) if ours else None


def _same_checksums(path: Path, sample: Path) -> bool:
    """Tell whether the archives are still the sample's: one that was written anew has checksums of its own."""
    if sample.is_file() and sample.read_bytes()[:4] == b"PAR1":
        return False  # each page has its own, which the table does not list
    for file in sample.rglob("*.npz") if sample.is_dir() else [sample]:
        other = path / file.relative_to(sample) if sample.is_dir() else path
        if not other.exists():
            return False  # nothing lists the files of such a folder
        with suppress(zipfile.BadZipFile), zipfile.ZipFile(file) as one, zipfile.ZipFile(other) as two:
            if {item.filename: item.CRC for item in one.infolist()} != {
                item.filename: item.CRC for item in two.infolist()
            }:
                return False
    return True


def _differs(dataset: Dataset, sample: Dataset) -> str | None:
    for column in {*dataset.columns} & {*sample.columns}:
        if dataset.column(column).tobytes() != sample.column(column).tobytes():
            return column
    return None


def _resident(*, reset: bool = False) -> int:
    """Return the most memory that this process held since the last reset, or now."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def child(name: str, samples: Path, work: Path, first: int, last: int) -> None:
    """Run cases first to last - 1, noting the one at work and what is found."""
    paths = sorted(samples.iterdir())
    os.environ["ASSAY_SCRATCH"] = str(work / "scratch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(AssayError):
            format_named(name).read(paths[0], **OPTIONS.get(name, [{}])[-1])  # whatever is imported late
    for kind, room in ((resource.RLIMIT_DATA, 1 << 30), (resource.RLIMIT_AS, 4 << 30)):
        taken = {"VmData": 0, "VmSize": 0}
        for line in Path("/proc/self/status").read_text().splitlines():
            key = line.split(":")[0]
            if key in taken:
                taken[key] = int(line.split()[1]) * 1024
        resource.setrlimit(kind, (taken["VmData" if kind == resource.RLIMIT_DATA else "VmSize"] + room,) * 2)
    for seed in range(first, last):
        (work / "next").write_text(str(seed))
        os.replace(work / "next", work / "now")  # never half written, whenever this process dies
        folder = work / "case"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        found = run_case(name, paths, folder, seed)
        if found is not None:
            with (work / "found").open("a") as file:
                file.write(json.dumps({"seed": seed, "what": found}) + "\n")


# -------------------------------------------------------------------- many cases


def fuzz(name: str, *, seconds: float, first: int, findings: Path, cases: int | None = None) -> tuple[int, int]:
    """Fuzz one format; return how many cases ran and how many findings there were."""
    count, seed, end = 0, first, time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix=f"fuzz-{name}-") as temporary:
        samples, work = Path(temporary, "samples"), Path(temporary, "work")
        samples.mkdir()
        work.mkdir()
        make_samples(name, samples)
        while time.monotonic() < end and (cases is None or seed < first + cases):
            last = seed + (1000 if cases is None else min(1000, first + cases - seed))
            arguments = [sys.executable, "-m", "tests.datasets.formats.fuzz", "--child", name, str(samples), str(work)]
            (work / "now").write_text(str(seed))
            (work / "found").unlink(missing_ok=True)
            process = subprocess.Popen([*arguments, str(seed), str(last)])
            hung = _watch(process, work / "now", end)
            at = int((work / "now").read_text() or seed)
            found = [json.loads(line) for line in _lines(work / "found")]
            if hung or process.returncode not in (0, -signal.SIGTERM):
                what = f"a case took more than {SECONDS_PER_CASE} seconds" if hung else f"died: {process.returncode}"
                found.append({"seed": at, "what": what})
            for item in found:
                count += 1
                keep(name, item, findings, samples)
            seed = last if process.returncode == 0 else at + 1
    return seed - first, count


def _watch(process: subprocess.Popen[bytes], progress: Path, end: float) -> bool:
    """Wait for the child; stop it at the end, or where one case takes too long (then True).

    Its own time counts, so that a busy machine is no finding; standing still for minutes is one.
    """
    text, wall, own = progress.read_text(), time.monotonic(), SECONDS_PER_CASE  # it has to import first
    while process.poll() is None:
        time.sleep(0.1)
        if (now := progress.read_text()) != text:
            text, wall, own = now, time.monotonic(), int(_processor_seconds(process.pid))
        if _processor_seconds(process.pid) - own > SECONDS_PER_CASE or time.monotonic() - wall > 30 * SECONDS_PER_CASE:
            process.kill()
            process.wait()
            return True
        if time.monotonic() > end:
            process.terminate()
            process.wait()
    return False


def _processor_seconds(process: int) -> float:
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def keep(name: str, item: dict[str, Any], findings: Path, samples: Path) -> None:
    """Save a finding: its seed, what happened, and the damaged file."""
    folder = findings / f"{name}-{item['seed']}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "what.txt").write_text(
        f"python -m tests.datasets.formats.fuzz --replay {name} {item['seed']}\n\n{item['what']}\n"
    )
    generator = np.random.default_rng([item["seed"], zlib.crc32(name.encode())])
    paths = sorted(samples.iterdir())
    sample = paths[int(generator.integers(len(paths)))]
    path = folder / sample.name
    shutil.copytree(sample, path) if sample.is_dir() else shutil.copy(sample, path)
    damage(path, generator)
    print(f"{name}: finding at seed {item['seed']}: {item['what'].strip().splitlines()[-1]}", flush=True)


def main() -> None:
    """Fuzz the formats that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=1.0, help="in all, shared by the formats")
    parser.add_argument("--cases", type=int, help="for each format; default: as many as the time allows")
    parser.add_argument("--formats", nargs="+", default=list(FORMATS), choices=FORMATS)
    parser.add_argument("--seed", type=int, default=0, help="of the first case")
    parser.add_argument("--findings", type=Path, default=Path(tempfile.gettempdir(), "assay-fuzz-findings"))
    parser.add_argument("--replay", nargs=2, metavar=("FORMAT", "SEED"), help="run one case again, in this process")
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        name, samples, work, first, last = options.child
        child(name, Path(samples), Path(work), int(first), int(last))
        return
    if options.replay:
        name, seed = options.replay
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary, "samples")
            folder.mkdir()
            Path(temporary, "case").mkdir()
            print(run_case(name, sorted(make_samples(name, folder)), Path(temporary, "case"), int(seed)))
        return
    total = 0
    for name in options.formats:
        seconds = options.minutes * 60 / len(options.formats)
        cases, count = fuzz(name, seconds=seconds, first=options.seed, findings=options.findings, cases=options.cases)
        total += count
        print(f"{name}: {cases} cases, {count} findings", flush=True)
    sys.exit(1 if total else 0)


if __name__ == "__main__":
    main()
