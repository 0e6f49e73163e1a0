"""The guards for HDF5: they pass what h5py writes, and refuse what a stranger might."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from h5py import h5g

from assay.datasets.errors import FormatError
from assay.datasets.formats import writer_named
from assay.datasets.formats.containers.hdf5_safety import (
    VariableLengthReader,
    damage_is_a_format_error,
    datasets_below,
    open_member,
    read_array,
    read_attributes,
)
from tests.datasets.dataset_strategies import clean_dataset

TEXTS = ["", "abc", "é" * 40, "x" * 5000] * 100


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
        found = read_attributes(open_member(root_of(handle), b"group", "here"), reader, "here")
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


def test_datasets_are_found_in_the_order_of_their_paths_and_read_whole(file: Path) -> None:
    arrays = {"a": np.arange(5), "b/c": np.ones((2, 3), ">f4"), "b/d/e": np.array([True, False]), "z": np.zeros((0, 4))}
    with h5py.File(file, "w") as handle:
        for name, values in arrays.items():
            handle[name] = values
    with h5py.File(file) as handle:
        found = {
            name: read_array(item, file.stat().st_size, name) for name, item in datasets_below(root_of(handle), "x")
        }
    assert list(found) == list(arrays)
    for name, values in arrays.items():
        assert found[name].dtype.isnative
        assert np.array_equal(found[name], values)


def link(handle: h5py.File) -> None:
    handle["a"] = h5py.ExternalLink("/etc/passwd", "/")


def loop(handle: h5py.File) -> None:
    group = handle.create_group("a")
    group["b"] = group


def deep(handle: h5py.File) -> None:
    handle.create_group("/".join("abcdefghijklmnopqrstuvwxyz"))


def bush(handle: h5py.File) -> None:
    group = handle.create_group("a")
    for _ in range(12):
        below = group.create_group("0")
        for number in range(1, 50):
            group[str(number)] = below
        group = below


def dangling(handle: h5py.File) -> None:
    handle["a"] = h5py.SoftLink("/nowhere")


def kind(handle: h5py.File) -> None:
    handle["a"] = np.dtype("f8")


def giant(handle: h5py.File) -> None:
    handle.create_dataset("a", (2**20, 2**20), "f8", chunks=(1, 1024))


def unwritten(handle: h5py.File) -> None:
    handle.create_dataset("b", data=np.zeros(1000))
    handle.create_dataset("a", (100,), "f8", chunks=(10,))


def elsewhere(handle: h5py.File) -> None:
    handle.create_dataset("a", (6,), "f8", external=[("/dev/zero", 0, 48)])


def text(handle: h5py.File) -> None:
    handle["a"] = "text"


def nothing(handle: h5py.File) -> None:
    handle["a"] = h5py.Empty("f8")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (link, "here: 'a' is a link to somewhere else"),
        (dangling, "here: 'a' is a link to somewhere else"),
        (loop, "here: a/b is a group that has another name too"),
        (deep, "nested more than 16 deep"),
        (bush, "is a group that has another name too"),
        (kind, "here: 'a' is neither a group nor a dataset"),
        (giant, "a: 8796093022208 bytes were declared"),
        (unwritten, "a was not written completely"),
        (elsewhere, "a is stored in another file"),
        (text, "a holds text"),
        (nothing, "a is empty"),
    ],
)
def test_what_a_stranger_might_send_is_refused(file: Path, spoil: Callable[[h5py.File], None], message: str) -> None:
    with h5py.File(file, "w") as handle:
        spoil(handle)

    def read_all() -> None:
        with h5py.File(file) as handle:
            for name, item in datasets_below(root_of(handle), "here"):
                read_array(item, file.stat().st_size, name)

    with pytest.raises(FormatError, match=message):
        read_all()


def test_a_missing_member_is_named_and_other_failures_of_h5py_become_format_errors(file: Path) -> None:
    with h5py.File(file, "w"):
        pass
    with h5py.File(file) as handle, pytest.raises(FormatError, match="here: 'gone' is missing"):
        open_member(root_of(handle), b"gone", "here")
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(FormatError, match="here: the file is damaged or truncated"), damage_is_a_format_error("here"):
        h5py.File(file)


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
