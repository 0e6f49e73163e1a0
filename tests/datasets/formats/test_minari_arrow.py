"""Minari's Arrow and Parquet, and text and images in all of its formats: agreement, faults of its own, hostile files."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from assay.datasets.dataset import Dataset
from assay.datasets.errors import AssayWarning, DatasetError, FormatError
from assay.datasets.formats import minari as minari_format
from assay.datasets.formats import sniff
from assay.datasets.info import DatasetInfo
from assay.datasets.spaces import Box, Text
from tests.datasets.dataset_strategies import clean_dataset
from tests.datasets.formats.test_minari import compare_with_minari, edit_metadata, read_or_refuse

read, write = minari_format.read, minari_format.write
FORMATS = ("hdf5", "arrow", "parquet")
FILES = ("arrow", "parquet")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "root"))
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def made_by_minari(
    name: str, data_format: str, lengths: tuple[int, ...] = (4, 1, 2), jpeg: bool = True, same_images: bool = False
) -> Any:
    """Every kind of space, infos as lists and arrays, seeds and options; written by Minari itself."""
    minari = pytest.importorskip("minari")
    from gymnasium import spaces
    from minari.data_collector.episode_buffer import EpisodeBuffer

    generator = np.random.default_rng(0)

    def buffer(number: int, length: int) -> Any:
        rows = length + 1
        images = generator.integers(0, 256, (1 if same_images else rows, 32, 40, 3), dtype=np.uint8)
        observations = {
            "pose": generator.normal(size=(rows, 3)).astype(np.float32),
            "pair": (generator.normal(size=rows), generator.integers(0, 255, (rows, 2, 2), dtype=np.uint8)),
            "mission": [f"go to {'é' * (row % 3)}" for row in range(rows)],
            "camera": np.resize(images, (rows, 32, 40, 3)),
            "depth": generator.integers(0, 256, (rows, 32, 33), dtype=np.uint8),
            "gear": generator.integers(0, 3, rows),
            "switches": generator.integers(0, 2, (rows, 4), dtype=np.int8),
            "keys": generator.integers(0, 4, (rows, 2)),
        }
        return EpisodeBuffer(
            seed=2**63 + number,
            options={"start": {"x": [1, 2]}, "name": "left"} if number else None,
            observations=observations,
            actions=["ab", "c"][:length] + ["d"] * (length - 2) if data_format != "hdf5" else ["d"] * length,
            rewards=generator.normal(size=length).tolist(),
            terminations=[False] * (length - 1) + [True],
            truncations=[False] * length,
            infos={"time": list(np.arange(rows) * 0.5), "force": generator.normal(size=(rows, 2, 3))},
        )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return minari.create_dataset_from_buffers(
            name,
            [buffer(number, length) for number, length in enumerate(lengths)],
            data_format=data_format,
            jpeg_encoding=jpeg,
            observation_space=spaces.Dict(
                pose=spaces.Box(-1, 1, (3,), np.float32),
                pair=spaces.Tuple([spaces.Box(-9, 9, (), np.float64), spaces.Box(0, 255, (2, 2), np.uint8)]),
                mission=spaces.Text(9),
                camera=spaces.Box(0, 255, (32, 40, 3), np.uint8),
                depth=spaces.Box(0, 255, (32, 33), np.uint8),
                gear=spaces.Discrete(3),
                switches=spaces.MultiBinary(4),
                keys=spaces.MultiDiscrete([4, 4]),
            ),
            action_space=spaces.Text(4),
        )


# -------------------------------------------------------------------- agreement with Minari


@pytest.mark.parametrize("jpeg", [True, False])
@pytest.mark.parametrize("data_format", FORMATS)
def test_every_kind_of_space_is_read_as_minari_has_it(root: Path, data_format: str, jpeg: bool) -> None:
    made = made_by_minari("every/space-v0", data_format, jpeg=jpeg)
    dataset = read(root / "every/space-v0")
    compare_with_minari(dataset, made)
    assert sniff(root / "every/space-v0") == "minari"
    assert dataset.observations["mission"].dtype.kind == "U"
    assert dataset.observations["camera"].shape == (10, 32, 40, 3)
    assert dataset.column("infos/force").shape == (10, 2, 3)
    assert dataset.episode_columns["options"].tolist()[0] == ""
    assert json.loads(dataset.episode_columns["options"][2]) == {"start": {"x": [1, 2]}, "name": "left"}
    for other in FORMATS:
        write(dataset, root / f"again/{other}-v0", data_format=other)
        assert read(root / f"again/{other}-v0") == dataset


def test_images_of_equally_many_bytes_are_read(root: Path) -> None:
    made = made_by_minari("same/images-v0", "hdf5", same_images=True)
    with h5py.File(root / "same/images-v0/data/main_data.hdf5") as file:
        assert file["episode_0/observations/camera"].ndim == 2
    compare_with_minari(read(root / "same/images-v0"), made)


@pytest.mark.parametrize("data_format", FILES)
def test_infos_that_minari_cannot_read_back_itself_are_read(root: Path, data_format: str) -> None:
    minari = pytest.importorskip("minari")
    from gymnasium import spaces
    from minari.data_collector.episode_buffer import EpisodeBuffer

    infos = {"flat": np.arange(4.0), "deep": {"pair": (np.ones((4, 2)), np.zeros((4, 1), np.int32))}}
    buffer = EpisodeBuffer(
        observations=np.zeros((4, 2)),
        actions=np.zeros(3, int),
        rewards=[0.0] * 3,
        terminations=[False] * 3,
        truncations=[False, False, True],
        infos=infos,
    )
    box = spaces.Box(-1, 1, (2,), np.float64)
    minari.create_dataset_from_buffers(
        "nested/infos-v0", [buffer], observation_space=box, action_space=spaces.Discrete(2), data_format=data_format
    )
    dataset = read(root / "nested/infos-v0")
    assert dataset.column("infos/flat").tolist() == [0.0, 1.0, 2.0, 3.0]
    assert dataset.column("infos/deep/pair/_index_0").shape == (4, 2)
    assert dataset.column("infos/deep/pair/_index_1").dtype == np.int32
    assert "infos/flat" not in read(root / "nested/infos-v0", infos=False).columns


def long_dataset(*lengths: int) -> Dataset:
    steps, episodes = sum(lengths), len(lengths)
    ends = np.cumsum(lengths) - 1
    return Dataset(
        {
            "observations": np.arange((steps + episodes) * 2.0).reshape(-1, 2),
            "actions": np.arange(steps),
            "rewards": np.arange(steps) * 0.5,
            "terminations": np.isin(np.arange(steps), ends[::2]),
            "truncations": np.isin(np.arange(steps), ends[1::2]),
        },
        lengths,
    )


@pytest.mark.parametrize("data_format", FILES)
@pytest.mark.parametrize("lengths", [(40_000, 7), (32_767, 2), (32_768, 2), (5, 70_000)])
def test_arrow_episodes_of_32768_steps_and_more_that_minari_wrote_come_back_whole(
    root: Path, data_format: str, lengths: tuple[int, ...]
) -> None:
    minari = pytest.importorskip("minari")
    from gymnasium import spaces
    from minari.data_collector.episode_buffer import EpisodeBuffer

    expected = long_dataset(*lengths)
    starts = expected.episode_starts.tolist()
    buffers = [
        EpisodeBuffer(
            observations=expected.observations[start + number : start + number + length + 1],
            actions=expected.actions[start : start + length],
            rewards=expected.rewards[start : start + length].tolist(),
            terminations=expected.terminations[start : start + length].tolist(),
            truncations=expected.truncations[start : start + length].tolist(),
        )
        for number, (start, length) in enumerate(zip(starts, lengths, strict=True))
    ]
    box = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    minari.create_dataset_from_buffers(
        "long/one-v0", buffers, observation_space=box, action_space=spaces.Discrete(10**6), data_format=data_format
    )
    assert read(root / "long/one-v0") == expected


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=st.lists(st.sampled_from((1, 2, 999, 32_767, 32_768, 40_000)), min_size=1, max_size=3))
def test_episodes_of_up_to_40000_steps_survive_every_format_and_minari_reads_them(
    root: Path, lengths: list[int]
) -> None:
    minari = pytest.importorskip("minari")
    dataset = long_dataset(*lengths)
    for data_format in FORMATS:
        write(dataset, root / "long/own-v0", overwrite=True, data_format=data_format)
        assert read(root / "long/own-v0") == dataset
        compare_with_minari(dataset, minari.load_dataset("long/own-v0"))


def test_attributes_of_episodes_keep_their_types(root: Path) -> None:
    columns = {
        "level": np.arange(10, dtype=np.int16),
        "share": np.linspace(0, 1, 10).astype(np.float32),
        "solved": np.arange(10) > 4,
        "map": np.array([f"m{number}" for number in range(10)]),
        "seed": np.where(np.arange(10) % 2, np.arange(10), -1),
        "options": np.array([json.dumps({"a": {"b": number}}) if number else "" for number in range(10)]),
    }
    dataset = clean_dataset(episode_columns=columns)
    for data_format in FORMATS:
        write(dataset, root / "mine/typed-v0", overwrite=True, data_format=data_format)
        again = read(root / "mine/typed-v0")
        assert again == dataset
        assert {name: values.dtype for name, values in again.episode_columns.items()} == {
            name: values.dtype for name, values in columns.items()
        }


def test_infos_of_t_rows_are_filled_for_minari_and_come_back_as_they_were(root: Path) -> None:
    minari = pytest.importorskip("minari")
    dataset = clean_dataset().replace({"infos/late": np.arange(1.0, 61.0)})
    write(dataset, root / "mine/late-v0", data_format="arrow")
    assert read(root / "mine/late-v0") == dataset
    episode = minari.load_dataset("mine/late-v0")[1]
    assert episode.infos["late"].tolist() == [7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 0.0]


def test_names_of_parts_that_look_like_entries_of_tuples_come_back(root: Path) -> None:
    rows = {f"observations/_index_{index}": np.full(70, index) for index in range(12)}
    rows |= {
        "infos/_index_1": np.zeros(60),
        "infos/pair/_index_0": np.ones(60),
        "infos/pair/_index_1": np.ones((60, 2)),
    }
    dataset = clean_dataset().replace(
        {"observations": None, "actions": None, **rows, "actions/0": np.zeros(60), "actions/1": np.ones(60)}
    )
    for data_format in FORMATS:
        write(dataset, root / "mine/names-v0", overwrite=True, data_format=data_format)
        assert read(root / "mine/names-v0") == dataset


def test_another_byte_order_is_converted_with_a_warning(root: Path) -> None:
    dataset = clean_dataset(rewards=np.arange(60, dtype=">f8"))
    with pytest.warns(AssayWarning, match="one byte order.*rewards"):
        write(dataset, root / "mine/order-v0", data_format="arrow")
    assert (read(root / "mine/order-v0").rewards == dataset.rewards).all()


def test_an_unknown_data_format_is_refused(root: Path) -> None:
    with pytest.raises(DatasetError.__mro__[1], match="Minari knows hdf5, arrow, parquet"):
        write(clean_dataset(), root / "mine/x-v0", data_format="zarr")


# -------------------------------------------------------------------- what Minari's writer does to the order of rows


def rewrite(
    folder: Path, change: Callable[[pa.Table], pa.Table], number: int = 0, rows: int = 1 << 20, **options: Any
) -> Path:
    """Replace the file of an episode; `rows` are the most in a batch."""
    file = folder / f"data/{number}/part-0.arrow"
    with pa.ipc.open_file(pa.py_buffer(file.read_bytes())) as reader:
        table = change(reader.read_all())
    with pa.ipc.new_file(str(file), table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=rows)
    return folder


@pytest.fixture
def written(root: Path) -> Path:
    """A small dataset in Arrow, to be spoiled."""
    dataset = clean_dataset(steps=18, length=6).replace({"infos/x": np.arange(21.0)})
    write(dataset, root / "mine/small-v0", data_format="arrow")
    return root / "mine/small-v0"


def test_a_short_batch_before_the_last_shows_that_rows_are_out_of_order(root: Path) -> None:
    write(long_dataset(70_000), root / "long/own-v0", data_format="arrow")
    whole, middle = 32_768, slice(65_536, None)
    parts = [slice(0, whole), middle, slice(whole, 65_536)]  # as Minari's threads may hand them over
    rewrite(
        root / "long/own-v0",
        lambda table: pa.concat_tables([table.slice(part.start, (part.stop or 70_001) - part.start) for part in parts]),
    )
    with pytest.raises(DatasetError, match=r"episode 0: batches of \[32768, 4465, 32768\] rows, a short one"):
        read(root / "long/own-v0")


def test_order_that_cannot_be_verified_is_warned_about_unless_we_wrote_it(root: Path) -> None:
    dataset = long_dataset(140_000)
    for data_format in FILES:
        write(dataset, root / "long/own-v0", overwrite=True, data_format=data_format)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read(root / "long/own-v0")
        edit_metadata(root / "long/own-v0", assay=None)
        if data_format == "arrow":
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                read(root / "long/own-v0")  # one batch, which no thread can have moved
        else:
            with pytest.warns(AssayWarning, match="1 episodes have more than 131072 rows"):
                read(root / "long/own-v0")


def test_a_file_of_many_batches_among_files_of_one_is_read_whole(root: Path) -> None:
    """A schema is parsed once for all files that describe it alike; the places of batches are each file's own."""
    dataset = long_dataset(50, 50, 20, 50, 4)
    write(dataset, root / "mine/batches-v0", data_format="arrow")
    for number, rows in ((1, 7), (3, 50), (4, 1)):
        rewrite(root / "mine/batches-v0", lambda table: table, number, rows=rows)
    assert read(root / "mine/batches-v0") == dataset


# -------------------------------------------------------------------- refusing


def replaced(name: str, values: Any) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        return table.set_column(table.schema.names.index(name), name, values)

    return change


def unlink(name: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / "data" / name).unlink()


def content(name: str, text: bytes) -> Callable[[Path], Any]:
    return lambda folder: (folder / "data" / name).write_bytes(text)


def cut(folder: Path) -> None:
    file = folder / "data/1/part-0.arrow"
    file.write_bytes(file.read_bytes()[:-20])


def displaced(folder: Path) -> None:
    """Let the footer say that the batch begins 8 bytes later."""
    file = folder / "data/1/part-0.arrow"
    data, marker = file.read_bytes(), b"\xff\xff\xff\xff"
    begins = data.index(marker, data.index(marker) + 4)  # the first one begins the schema
    footer = data.rindex(begins.to_bytes(8, "little"))
    file.write_bytes(data[:footer] + (begins + 8).to_bytes(8, "little") + data[footer + 8 :])


def table_change(change: Callable[[pa.Table], pa.Table], number: int = 1, **options: Any) -> Callable[[Path], Any]:
    return lambda folder: rewrite(folder, change, number, **options)


WIDE = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(28)), 4)
NARROW = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(14)), 2)
HOLES = pa.array([1.0, None, 1.0, 1.0, 1.0, 1.0, 1.0])
CHANGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a missing episode": (
        lambda folder: shutil.rmtree(folder / "data/1"),
        r"holds 2 episodes.*says 3 \(1 is missing\)",
    ),
    "a missing file": (unlink("1/part-0.arrow"), "part-0.arrow is missing"),
    "a missing record": (unlink("1/metadata.json"), "metadata.json is missing or damaged"),
    "a record in words": (content("1/metadata.json", b'"x"'), "does not hold a JSON object"),
    "options in words": (content("1/metadata.json", b'{"options": 5}'), "options are int"),
    "a seed in words": (content("1/metadata.json", b'{"seed": "x"}'), "the seed is 'x'"),
    "another number of steps": (content("1/metadata.json", b'{"total_steps": 5}'), "total_steps says 5, but"),
    "an empty file": (content("1/part-0.arrow", b""), "is no Arrow file, or was truncated"),
    "another file": (content("1/part-0.arrow", b"x" * 1000), "is no Arrow file, or was truncated"),
    "a batch elsewhere": (displaced, "batch 0 does not begin where the footer says"),
    "a truncated file": (cut, "is no Arrow file, or was truncated"),
    "more rows": (table_change(lambda table: pa.concat_tables([table, table])), "more steps than the 18"),
    "fewer rows": (table_change(lambda table: table.slice(0, 3)), "total_steps says 6, but there are 2"),
    "one row": (table_change(lambda table: table.slice(0, 1)), "1 rows, where steps and a final row belong"),
    "no rows": (table_change(lambda table: table.slice(0, 0)), "0 rows, where steps and a final row belong"),
    "a missing column": (table_change(lambda table: table.drop_columns("actions")), "actions is missing here"),
    "a column missing everywhere": (table_change(lambda table: table.drop_columns("actions"), 0), "actions is missing"),
    "another dtype": (
        table_change(replaced("rewards", pa.array(np.zeros(7, "f4")))),
        "rewards is float here, but double",
    ),
    "wider rows": (table_change(replaced("observations", WIDE), 0), "4 numbers in a row, which do not make the shape"),
    "narrower rows": (table_change(replaced("observations", NARROW)), r"\[2\] here, but .*\[3\]"),
    "rows of any size": (table_change(replaced("observations", pa.array([[1.0]] * 7)), 0), "is list<.*rows of fixed"),
    "text": (table_change(replaced("rewards", pa.array(["a"] * 7)), 0), "rewards"),
    "rows without a value": (table_change(replaced("rewards", HOLES)), "column rewards has rows without a value"),
    "flags that are no booleans": (
        lambda folder: [rewrite(folder, replaced("truncations", pa.array(np.zeros(7, "u1"))), i) for i in range(3)],
        "truncations must be flat booleans",
    ),
    "dictionaries": (
        table_change(replaced("rewards", pa.array([1.0] * 7).dictionary_encode()), 0),
        "holds dictionaries|is dictionary",
    ),
    "a bomb": (table_change(lambda table: table, compression="zstd"), "batch 0 is compressed"),
    "a space of other parts": (
        lambda folder: edit_metadata(folder, observation_space='{"type": "Dict", "subspaces": {}}'),
        "column observations is not in the observation_space",
    ),
    "steps in the billions": (lambda folder: edit_metadata(folder, total_steps=2**40), "truncated or damaged"),
    "fewer steps": (lambda folder: edit_metadata(folder, total_steps=17), "more steps than the 17"),
    "more steps": (lambda folder: edit_metadata(folder, total_steps=19), "18 steps, but metadata.json says 19"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_an_impossible_dataset_is_refused_with_the_place(name: str, written: Path) -> None:
    change, message = CHANGES[name]
    change(written)
    with pytest.raises(DatasetError, match=message) as caught:
        read(written)
    assert str(written) in str(caught.value)


@pytest.mark.parametrize("special", ["pipe", "folder"])
def test_what_is_no_file_is_not_opened(written: Path, special: str) -> None:
    import os

    file = written / "data/1/part-0.arrow"
    file.unlink()
    os.mkfifo(file) if special == "pipe" else file.mkdir()
    with pytest.raises(FormatError, match="is not a file"):
        read(written)


def test_text_that_numpy_would_shorten_or_blow_up_is_refused(root: Path) -> None:
    space = DatasetInfo(observation_space=Text(9, 0, "ab"))
    write(clean_dataset(observations=np.full(70, "ab"), info=space), root / "mine/text-v0", data_format="arrow")
    rewrite(root / "mine/text-v0", replaced("observations", pa.array(["ab\0"] * 7)))
    with pytest.raises(FormatError, match="ends in a zero character"):
        read(root / "mine/text-v0")
    rewrite(root / "mine/text-v0", replaced("observations", pa.array(["a" * 2_000_000] + ["b"] * 6)))
    with pytest.raises(FormatError, match="texts of up to 2000000 characters"):
        read(root / "mine/text-v0")


def test_a_few_bytes_of_parquet_do_not_become_gigabytes_of_text(root: Path) -> None:
    space = DatasetInfo(observation_space=Text(9, 0, "ab"))
    dataset = long_dataset(4000).replace({"observations": np.full(4001, "ab")}, info=space)
    write(dataset, root / "mine/text-v0", data_format="parquet")
    file = root / "mine/text-v0/data/0/part-0.parquet"
    table = replaced("observations", pa.array(["a" * 1_000_000] * 300 + ["b"] * 3701))(parquet.read_table(file))
    parquet.write_table(table, file)
    assert file.stat().st_size < 1_000_000
    with pytest.raises(FormatError, match="its texts are many times larger than the files"):
        read(root / "mine/text-v0")


IMAGES = Box((32, 32, 3), "uint8", np.zeros((32, 32, 3), int).tolist(), np.full((32, 32, 3), 255).tolist())


def jpeg(width: int, height: int, mode: str = "RGB", kind: str = "JPEG") -> bytes:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new(mode, (width, height)).save(buffer, format=kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (jpeg(5000, 5000), "row 3 is an image of 5000 x 5000"),
        (jpeg(32, 33), "row 3 is an image of 32 x 33"),
        (jpeg(32, 32, "L"), "row 3 is an image of 32 x 32 in L"),
        (jpeg(32, 32, "RGB", "PNG"), "row 3 is a damaged image"),
        (jpeg(32, 32)[:200], "row 3 is a damaged image"),
        (b"", "row 3 is a damaged image"),
    ],
)
@pytest.mark.parametrize("data_format", ["hdf5", "arrow"])
def test_images_of_another_size_or_kind_are_refused_before_they_are_unpacked(
    root: Path, data_format: str, image: bytes, message: str
) -> None:
    folder = root / "mine/images-v0"
    pixels = np.zeros((70, 32, 32, 3), np.uint8)
    write(
        clean_dataset(observations=pixels, info=DatasetInfo(observation_space=IMAGES)), folder, data_format=data_format
    )
    edit_metadata(folder, jpeg_encoding=True)
    good, values = jpeg(32, 32), [jpeg(32, 32)] * 7
    values[3] = image
    for number in range(10):
        images = values if number == 1 else [good] * 7
        if data_format == "arrow":
            rewrite(folder, replaced("observations", pa.array(images, pa.binary())), number)
        else:
            with h5py.File(folder / "data/main_data.hdf5", "a") as file:
                del file[f"episode_{number}/observations"]
                stored = np.empty(7, object)
                stored[:] = [np.frombuffer(item, np.uint8) for item in images]
                file.create_dataset(
                    f"episode_{number}/observations", data=stored, dtype=h5py.vlen_dtype(np.uint8), chunks=True
                )
    with pytest.raises(FormatError, match=f"episode 1: column observations: {message}"):
        read(folder)


@pytest.mark.parametrize("place", ["attribute", "observations"])
def test_a_text_that_declares_gigabytes_takes_no_memory(root: Path, place: str) -> None:
    import struct

    folder = root / "mine/text-v0"
    options = {"options": np.array([json.dumps({"name": "x" * 77})] * 10)}
    space = DatasetInfo(observation_space=Text(99, 0, "y"))
    write(clean_dataset(observations=np.full(70, "y" * 88), episode_columns=options, info=space), folder)
    file = folder / "data/main_data.hdf5"
    stored = bytearray(file.read_bytes())
    length = struct.pack("<I", 77 if place == "attribute" else 88)
    heaps = [at for at in range(len(stored)) if stored[at : at + 5] == b"GCOL\x01"]
    wanted = [length + struct.pack("<Q", heap) for heap in heaps]
    found = next(at for at in range(len(stored)) if bytes(stored[at : at + 12]) in wanted)
    stored[found : found + 4] = b"\xf0\xff\xff\xff"
    file.write_bytes(stored)
    program = (
        "import resource, sys; from pathlib import Path; from assay.datasets.errors import FormatError\n"
        "from assay.datasets.formats import minari\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: minari.read(Path(sys.argv[1]))\n"
        "except FormatError as error: print(error)\n"
        "else: sys.exit('no error')\n"
        "sys.exit(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before > 100_000)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "damaged" in done.stdout


# -------------------------------------------------------------------- fuzzing


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small datasets with every kind of space, written by Minari in every format."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("samples")
        patch.setenv("MINARI_DATASETS_PATH", str(root))
        for data_format in FORMATS:
            made_by_minari(f"made/{data_format}-v0", data_format)
    return root / "made"


@pytest.mark.parametrize("data_format", FORMATS)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4),
    keep=st.one_of(st.just(1.0), st.just(1.0), st.just(1.0), st.floats(0, 1)),
    only_structure=st.booleans(),
)
def test_a_damaged_file_is_refused_or_has_the_declared_shapes(
    samples: Path, tmp_path: Path, data_format: str, edits: list[tuple[float, int]], keep: float, only_structure: bool
) -> None:
    shutil.copytree(samples / f"{data_format}-v0/data", tmp_path / "data", dirs_exist_ok=True)
    name = "main_data.hdf5" if data_format == "hdf5" else f"0/part-0.{data_format}"
    stored = bytearray((tmp_path / "data" / name).read_bytes())
    places = np.flatnonzero(np.frombuffer(stored, np.uint8)) if only_structure else np.arange(len(stored))
    for place, value in edits:
        stored[places[int(place * len(places))]] = value
    (tmp_path / "data" / name).write_bytes(stored[: round(keep * len(stored))])
    dataset = read_or_refuse(tmp_path)
    assert dataset is None or (dataset.total_steps, dataset.total_episodes) == (7, 3)
    assert dataset is None or dataset.observations["camera"].shape == (10, 32, 40, 3)


def test_parquet_of_another_shape_is_refused(root: Path) -> None:
    write(clean_dataset(steps=18, length=6), root / "mine/small-v0", data_format="parquet")
    file = root / "mine/small-v0/data/1/part-0.parquet"
    parquet.write_table(parquet.read_table(file).slice(0, 3), file)
    with pytest.raises(DatasetError, match="total_steps says 6, but there are 2"):
        read(root / "mine/small-v0")
    file.write_bytes(b"PAR1" + bytes(30) + b"PAR1")
    with pytest.raises(FormatError, match=r"data/1/part-0.parquet is damaged"):
        read(root / "mine/small-v0")
