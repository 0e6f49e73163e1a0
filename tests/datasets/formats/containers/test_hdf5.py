"""HDF5 files from strangers: read exactly as h5py reads them, or refused before memory or time is spent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from h5py import h5g
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.datasets.errors import FormatError
from assay.datasets.formats import writer_named
from assay.datasets.formats.containers.hdf5 import members, open_hdf5, write_rows
from assay.datasets.formats.containers.hdf5_text import VariableLengthReader, read_attributes
from assay.datasets.info import json_value
from tests.datasets.dataset_strategies import DTYPES, clean_dataset, random_array

in_one_folder = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXTS = ["", "abc", "é" * 40, "x" * 5000] * 100


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


# -------------------------------------------------------------------- texts, attributes and names


def test_attributes_of_every_kind_become_plain_values(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "file", "w") as file:
        attributes = {"text": np.bytes_("abc"), "none": h5py.Empty("f4"), "texts": np.array([b"a", b"b"]), "flag": True}
        file.attrs.update(attributes | {"pair": np.zeros(1, [("a", "f4")]), "matrix": np.eye(2)})
    with open_hdf5(tmp_path / "file") as opened:
        found = opened.attributes()
    assert (found["text"], found["none"], found["texts"], found["pair"]) == ("abc", None, ["a", "b"], None)
    assert json.loads(json.dumps(json_value(found)))["matrix"] == [[1.0, 0.0], [0.0, 1.0]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file.h5"


def root_of(handle: h5py.File) -> Any:
    return h5g.open(handle.id, b"/")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (7,), "maxshape": (None,)},
        {"chunks": True, "compression": "gzip", "shuffle": True},
        {"chunks": (1000,), "maxshape": (None,), "compression": "gzip"},
    ],
)
def test_texts_and_bytes_of_varying_length_come_as_h5py_reads_them(file: Path, options: dict[str, Any]) -> None:
    with h5py.File(file, "w") as handle:
        handle.create_dataset("text", data=TEXTS, dtype=h5py.string_dtype(), **options)
        values = np.empty(3, object)
        values[:] = [np.arange(length, dtype=np.uint8) for length in (5, 0, 3000)]
        handle.create_dataset("bytes", data=values, dtype=h5py.vlen_dtype(np.uint8), **options)
    with h5py.File(file) as handle, VariableLengthReader(file) as reader:
        assert reader.dataset(handle["text"].id, "here") == [text.encode() for text in TEXTS]
        assert reader.dataset(handle["bytes"].id, "here") == [value.tobytes() for value in values]


@pytest.mark.parametrize("options", [{}, {"track_order": True}, {"libver": "latest"}])
def test_attributes_come_as_h5py_reads_them(file: Path, options: dict[str, Any]) -> None:
    attributes = {
        "number": 5,
        "share": np.float32(0.5),
        "flag": True,
        "row": np.arange(3),
        "text": "é" * 300,
        "empty": "",
        "list": ["a", "", "bc"],
    }
    with h5py.File(file, "w", **options) as handle:
        handle.create_group("group", track_order=options.get("track_order")).attrs.update(attributes)
        handle["group"].attrs["own"] = handle["group"].ref
    with h5py.File(file) as handle, VariableLengthReader(file) as reader:
        found = read_attributes(handle["group"].id, reader, "here")
        only = read_attributes(handle["group"].id, reader, "here", wanted=lambda name: name == "text")
    assert found.pop("own") is None
    assert found.keys() == attributes.keys()
    for name, value in attributes.items():
        assert np.array_equal(found[name], value), name
    assert only == {"text": "é" * 300}


def test_many_text_attributes_go_through_the_continuations_of_a_header(file: Path) -> None:
    with h5py.File(file, "w") as handle:
        for number in range(200):
            handle.attrs[f"name {number}"] = f"value {number}" * number
    with h5py.File(file) as handle, VariableLengthReader(file) as reader:
        found = read_attributes(root_of(handle), reader, "here")
    assert found == {f"name {number}": f"value {number}" * number for number in range(200)}


def test_one_long_text_that_all_rows_share_is_refused(file: Path) -> None:
    with h5py.File(file, "w") as handle:
        handle.create_dataset("a", data=["x" * 3000] + ["y"] * 200, dtype=h5py.string_dtype(), chunks=(201,))
        start = handle["a"].id.get_chunk_info(0).byte_offset
    stored = bytearray(file.read_bytes())
    stored[start : start + 201 * 16] = stored[start : start + 16] * 201
    file.write_bytes(stored)
    with (
        h5py.File(file) as handle,
        VariableLengthReader(file) as reader,
        pytest.raises(FormatError, match="longer than the file"),
    ):
        reader.dataset(handle["a"].id, "here")


@pytest.mark.parametrize("number", range(4))
def test_a_loop_in_the_names_of_a_group_is_refused_before_hdf5_follows_it(tmp_path: Path, number: int) -> None:
    """HDF5 goes round a chain of free blocks that leads back to itself until it has taken all memory."""
    dataset = clean_dataset(steps=12, length=6)
    writer_named("minari").write(dataset, tmp_path / "loop-v0")
    file = tmp_path / "loop-v0" / "data" / "main_data.hdf5"
    content = bytearray(file.read_bytes())
    heap = -1
    for _ in range(number + 1):
        heap = content.find(b"HEAP\0\0\0\0", heap + 1)
    assert heap > 0
    address = int.from_bytes(content[heap + 24 : heap + 32], "little")
    content[heap + 16 : heap + 24] = (8).to_bytes(8, "little")  # the first free block, which is its own successor
    content[address + 8 : address + 24] = (8).to_bytes(8, "little") + (16).to_bytes(8, "little")
    file.write_bytes(content)
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30));"
        "import assay; assay.load(sys.argv[1], format='minari')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "loop-v0")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 1
    assert f"FormatError: {file}: the heap at byte {heap} is damaged" in done.stderr.splitlines()[-1]
