"""HDF5 files from strangers: read exactly, or refused before memory or time is spent; and plain files by a mapping."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import assay
from assay.datasets.errors import AssayWarning, ConfigError, DatasetError, FormatError
from assay.datasets.formats import FORMATS, format_named, hdf5, sniff, writer_named
from assay.datasets.formats.containers.hdf5 import members, open_hdf5, write_rows
from assay.datasets.info import json_value
from tests.datasets.dataset_strategies import DTYPES, clean_dataset, random_array
from tests.datasets.formats.fuzz import make_samples

in_one_folder = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


# -------------------------------------------------------------------- arrays


@in_one_folder
@given(
    dtype=st.sampled_from((*DTYPES, ">f8", ">i2", "complex64", "S5", "uint64")),
    shape=st.lists(st.integers(0, 9), min_size=0, max_size=3),
    chunks=st.one_of(st.none(), st.lists(st.integers(1, 6), min_size=3, max_size=3)),
    compression=st.sampled_from((None, "gzip", "lzf")),
    shuffle=st.booleans(),
    fletcher32=st.booleans(),
    libver=st.sampled_from(("earliest", "latest")),
    seed=st.integers(0, 1000),
)
def test_an_array_is_read_as_h5py_reads_it(
    tmp_path: Path,
    dtype: str,
    shape: list[int],
    chunks: list[int] | None,
    compression: str | None,
    shuffle: bool,
    fletcher32: bool,
    libver: str,
    seed: int,
) -> None:
    generator = np.random.default_rng(seed)
    array = random_array(generator, "uint8" if dtype == "S5" else dtype if dtype in DTYPES else "int32", tuple(shape))
    array = np.asarray(array).astype(dtype)
    options: dict[str, Any] = {}
    if shape and 0 not in shape and (chunks or compression or fletcher32 or shuffle):
        options = {"compression": compression, "shuffle": shuffle, "fletcher32": fletcher32}
        options["chunks"] = tuple(min(a, b) for a, b in zip(chunks, shape, strict=False)) if chunks else True
    with h5py.File(tmp_path / "file", "w", libver=libver) as file:
        file.create_dataset("a/b", data=array, **options)
    with open_hdf5(tmp_path / "file") as opened, h5py.File(tmp_path / "file") as file:
        found = opened.read("a/b")
        assert (found.dtype, found.shape) == (array.dtype.newbyteorder("="), array.shape)
        assert found.tobytes() == np.asarray(file["a/b"][()]).astype(found.dtype).tobytes()
        if array.ndim:
            part = np.empty((len(array) + 2, *array.shape[1:]), found.dtype)
            opened.read_into("a/b", part[1:-1])
            assert part[1:-1].tobytes() == found.tobytes()


def test_partly_filled_chunks_and_user_blocks_are_read(tmp_path: Path) -> None:
    values = np.arange(1000.0).reshape(100, 10)
    with h5py.File(tmp_path / "file", "w", userblock_size=512) as file:
        file.create_dataset("x", data=values, chunks=(33, 7), maxshape=(None, None), compression="gzip", shuffle=True)
    with open_hdf5(tmp_path / "file") as opened:
        assert (opened.read("x") == values).all()


def test_text_single_values_and_attributes(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "file", "w") as file:
        file["one"], file["many"], file["fixed"] = "größe", ["a", "bc"], np.array([b"x", b"yz"])
        file["bytes"], file["number"], file["vector"] = np.bytes_("relu"), 3, np.arange(2)
        file["group/x"] = 1
        file["group"].attrs.update(text="t" * 70_000, number=5, list=[1, 2])
    with open_hdf5(tmp_path / "file") as opened:
        assert (opened.text("one"), opened.text("many"), opened.text("fixed")) == ("größe", ["a", "bc"], ["x", "yz"])
        assert opened.text("number") is None
        assert [opened.value(name) for name in ("bytes", "number", "vector")] == ["relu", 3, [0, 1]]
        attributes = opened.attributes("group")
        assert (attributes["text"], attributes["number"], attributes["list"]) == ("t" * 70_000, 5, [1, 2])
        assert list(opened.below("group")) == ["x"]


@given(rows=st.lists(st.integers(0, 99), max_size=300))
def test_rows_are_written_block_by_block(rows: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    array = np.arange(300.0).reshape(100, 3)
    path = tmp_path_factory.mktemp("rows") / "file"
    with h5py.File(path, "w") as file:
        write_rows(file, "x", array, np.array(rows, int), compression="gzip")
        assert (file["x"][()] == array[rows]).all()


# -------------------------------------------------------------------- hostile files


def self_containing(file: h5py.File) -> None:
    group = file.create_group("g")
    group["self"] = group


def many_names(file: h5py.File) -> None:
    for level in range(14):
        for number in range(10):
            file.require_group(f"w{level}")[f"n{number}"] = file.require_group(f"w{level + 1}")


def bomb(file: h5py.File, *, filters: dict[str, Any]) -> None:
    made = file.create_dataset("x", (1000,), "f8", chunks=(1000,), compression="gzip", **filters)
    made.id.write_direct_chunk((0,), zlib.compress(bytes(1 << 29), 9))


def shared_chunks(file: h5py.File) -> None:
    file["x"] = np.zeros(4000)
    for number in range(3):
        file[f"y{number}"] = file["x"]


def never_written(file: h5py.File, **options: Any) -> None:
    file.create_dataset("x", (1000,), "f8", chunks=(100,), **options)[:100] = 1.0


def a_corner_never_written(file: h5py.File) -> None:
    made = file.create_dataset("x", (11, 11), "f8", chunks=(10, 10))
    made[:10] = 1.0
    made[:, :10] = 1.0


HOSTILE: dict[str, tuple[Callable[[h5py.File], Any], str]] = {
    "a soft link": (lambda file: file.__setitem__("x", h5py.SoftLink("/y")), "is a link to somewhere else"),
    "an external link": (lambda file: file.__setitem__("x", h5py.ExternalLink("/etc/passwd", "/")), "is a link"),
    "a group that contains itself": (self_containing, "two names"),
    "ten names for each group": (many_names, "two names"),
    "groups without end": (lambda file: file.create_group("/".join("abcdefghijklmnopqrstuvw")), "more than 16 deep"),
    "one dataset under many names": (shared_chunks, "overlap"),
    "terabytes, packed": (lambda file: file.create_dataset("x", (2**40,), "f4", compression="gzip"), "declared, but 0"),
    "terabytes": (lambda file: file.create_dataset("x", (2**40,), "f4", chunks=(100,)), "declared, but 0 are stored"),
    "one giant row": (lambda file: file.create_dataset("x", (1, 2**50), "f4", chunks=(1, 9)), "declared, but 0"),
    "rows never written": (never_written, "declared, but 800 are stored"),
    "packed rows never written": (lambda file: never_written(file, compression="gzip"), "was not written completely"),
    "a corner never written": (a_corner_never_written, "was not written completely"),
    "storage elsewhere": (
        lambda file: file.create_dataset("x", (9,), "f8", external=[("/dev/zero", 0, 72)]),
        "declared|file",
    ),
    "a chunk that holds a thousand times what it declares": (lambda file: bomb(file, filters={}), "holds 8004 bytes"),
    "the same behind a checksum": (lambda file: bomb(file, filters={"fletcher32": True}), "compressed block holds"),
    "texts": (lambda file: file.__setitem__("x", ["a"]), "holds text"),
    "compounds": (lambda file: file.__setitem__("x", np.zeros(3, [("a", "f4")])), "values of type"),
    "references": (lambda file: file.create_dataset("x", (3,), h5py.ref_dtype), "varying length|holds"),
    "nothing": (lambda file: file.__setitem__("x", h5py.Empty("f4")), "is empty"),
    "numbers of any width": (
        lambda file: file.create_dataset("x", (9,), "i4", chunks=(9,), scaleoffset=0).__setitem__(slice(None), 5),
        "filter 6",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_with_the_place(name: str, tmp_path: Path) -> None:
    change, message = HOSTILE[name]
    with h5py.File(tmp_path / "file", "w") as file:
        change(file)
    with pytest.raises(FormatError, match=message) as caught, open_hdf5(tmp_path / "file") as opened:  # noqa: PT012
        for dataset in opened.datasets:
            opened.read(dataset)
    assert str(tmp_path / "file") in str(caught.value)


def test_a_block_that_is_named_twice_leaves_no_row_to_chance(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "file", "w") as file:
        file.create_dataset("x", data=np.arange(40.0), chunks=(10,), compression="gzip")
    content = bytearray((tmp_path / "file").read_bytes())
    tree = content.rindex(b"TREE")
    key = content.index((20).to_bytes(8, "little"), tree)  # the offset of the third chunk, in its key
    content[key] = 10
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(FormatError, match="damaged"), open_hdf5(tmp_path / "file") as opened:
        opened.read("x")


def test_a_heap_of_names_that_loops_is_refused_in_no_time(tmp_path: Path) -> None:
    """HDF5 would follow its free blocks in a circle, and take all memory of the machine for them."""
    for userblock in (0, 1024):
        with h5py.File(tmp_path / "file", "w", userblock_size=userblock) as file:
            file["observations"], file["actions"] = np.zeros(3), np.zeros(3)
        content = bytearray((tmp_path / "file").read_bytes())
        heap = content.index(b"HEAP")
        address = userblock + int.from_bytes(content[heap + 24 : heap + 32], "little")
        block = (8).to_bytes(8, "little") + (16).to_bytes(8, "little")  # is its own next one, and has 16 bytes
        content[heap + 16 : heap + 24] = block[:8]
        content[address + 8 : address + 24] = block
        (tmp_path / "file").write_bytes(content)
        assert members(tmp_path / "file") == frozenset()
        with pytest.raises(FormatError, match=f"the heap at byte {heap} is damaged"), open_hdf5(tmp_path / "file"):
            pass


def test_a_folder_a_text_and_a_missing_file_are_no_hdf5(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("x")
    for path in (tmp_path, tmp_path / "text", tmp_path / "missing", Path("/dev/null")):
        assert members(path) == frozenset()
        with pytest.raises(FormatError), open_hdf5(path):
            pass


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
    with pytest.raises(ConfigError, match="no array 'run/states' for observations; the file holds run/act"):
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


def test_attributes_of_every_kind_become_plain_values(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "file", "w") as file:
        attributes = {"text": np.bytes_("abc"), "none": h5py.Empty("f4"), "texts": np.array([b"a", b"b"]), "flag": True}
        file.attrs.update(attributes | {"pair": np.zeros(1, [("a", "f4")]), "matrix": np.eye(2)})
    with open_hdf5(tmp_path / "file") as opened:
        found = opened.attributes()
    assert (found["text"], found["none"], found["texts"], found["pair"]) == ("abc", None, ["a", "b"], None)
    assert json.loads(json.dumps(json_value(found)))["matrix"] == [[1.0, 0.0], [0.0, 1.0]]


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
