"""The chunks found without HDF5 are where HDF5 says they are, hold what HDF5 reads, and damage is left to HDF5."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np
import pytest
from h5py import h5d, h5f, h5o
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.datasets.errors import AssayError
from assay.datasets.formats.containers.hdf5_chunks import Chunks, find_chunks
from assay.datasets.formats.containers.hdf5_guards import read_array

DTYPES = ("f8", "f4", "i8", "i4", "u1", "?", "S3")


def file_of(arrays: list[np.ndarray], superblock: int = 0, **options: Any) -> np.ndarray:
    """The bytes of a file with one dataset for each array."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver="latest" if superblock else "earliest") as file:
        for number, array in enumerate(arrays):
            limits = {"maxshape": (None, *array.shape[1:])} if "chunks" in options else {}
            file.create_dataset(f"{number}", data=array, **limits | options)
    return np.frombuffer(buffer.getvalue(), np.uint8).copy()


@contextmanager
def opened(content: np.ndarray, count: int) -> Iterator[list[h5d.DatasetID]]:
    file = h5f.open_file_image(content.tobytes())
    try:
        yield [h5d.open(file, b"%d" % number) for number in range(count)]
    finally:
        file.close()


def addresses(content: np.ndarray, count: int) -> np.ndarray:
    with opened(content, count) as ids:
        return np.array([h5o.get_info(dataset).addr for dataset in ids], np.uint64)


def read_by_hdf5(content: np.ndarray, number: int) -> np.ndarray:
    with opened(content, number + 1) as ids:
        return read_array(ids[number], len(content), "here")


def found_in(content: np.ndarray, count: int) -> Chunks | None:
    with opened(content, count) as ids:
        return find_chunks(content, ids[0], np.dtype(ids[0].dtype.str), addresses(content, count))


def values(chunks: Chunks, number: int, columns: tuple[int, ...]) -> np.ndarray:
    array = np.empty((chunks.rows[number], *columns), chunks.dtype)
    chunks.read(number, array)
    return array


@st.composite
def arrays_and_options(draw: st.DrawFn) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Arrays of one dtype and different lengths, in one piece or in chunks, of h5py's choice or any other."""
    dtype, columns = draw(st.sampled_from(DTYPES)), tuple(draw(st.lists(st.integers(1, 5), max_size=3)))
    lengths = draw(st.lists(st.integers(1, 90) | st.sampled_from([2000, 9999]), min_size=2, max_size=5))
    generator = np.random.default_rng(draw(st.integers(0, 9)))
    arrays = [generator.integers(0, 2, (length, *columns)).astype(dtype) for length in lengths]
    shapes = st.tuples(st.integers(1, 9 + max(lengths) // 50), *(st.integers(1, length) for length in columns))
    chunks = draw(st.none() | st.just(True) | shapes)
    return arrays, {} if chunks is None else {"chunks": chunks}


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(arrays_and_options())
def test_values_and_addresses_are_those_of_hdf5(case: tuple[list[np.ndarray], dict[str, Any]]) -> None:
    arrays, options = case
    content = file_of(arrays, **options)
    chunks = found_in(content, len(arrays))
    assert chunks is not None
    assert chunks.rows.tolist() == [-1, *(len(array) for array in arrays[1:])]
    with opened(content, len(arrays)) as ids:
        for number, (dataset, array) in list(enumerate(zip(ids, arrays, strict=True)))[1:]:
            places: list[Any] = []
            if options:
                dataset.chunk_iter(lambda info, places=places: places.append((info.chunk_offset, info.byte_offset)))
            else:
                places.append(((0,) * array.ndim, dataset.get_offset()))
            first, last = chunks.starts[number : number + 2]
            assert [place for _, place in sorted(places)] == chunks.addresses[first:last].tolist()
            assert values(chunks, number, array.shape[1:]).tobytes() == array.tobytes()


@pytest.mark.parametrize("lengths", [(3, 40_000, 1), (3, 1, 40_000)])
def test_trees_of_one_level_and_of_two_stand_side_by_side(lengths: tuple[int, ...]) -> None:
    arrays = [np.random.default_rng(0).normal(size=(length, 17)) for length in lengths]
    content = file_of(arrays, chunks=True)
    chunks = found_in(content, 3)
    assert chunks is not None
    assert np.diff(chunks.starts).max() > 64  # more than a node holds
    for number, array in list(enumerate(arrays))[1:]:
        np.testing.assert_array_equal(values(chunks, number, (17,)), array)


def test_a_full_node_of_64_chunks_is_read() -> None:
    chunks = found_in(file_of([np.arange(3.0), np.arange(64.0)], chunks=(1,)), 2)
    assert chunks is not None
    assert values(chunks, 1, ()).tolist() == list(range(64))


@pytest.mark.parametrize(
    "options",
    [
        {"chunks": True, "compression": "gzip"},
        {"chunks": True, "shuffle": True},
        {"chunks": True, "fletcher32": True},
        {"chunks": True, "superblock": 3},
        {"superblock": 3},
    ],
    ids=str,
)
def test_filters_and_newer_structures_are_left_to_hdf5(options: dict[str, Any]) -> None:
    assert found_in(file_of([np.arange(9.0), np.arange(4.0)], **options), 2) is None


def test_a_file_with_a_user_block_is_left_to_hdf5() -> None:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", userblock_size=512) as file:
        file["0"] = np.arange(3.0)
    assert found_in(np.frombuffer(buffer.getvalue(), np.uint8), 1) is None


@pytest.mark.parametrize(
    "other",
    [
        {"data": np.arange(8.0).reshape(4, 2), "chunks": True, "maxshape": (None, 2)},
        {"data": np.arange(4), "chunks": True, "maxshape": (None,)},
        {"data": np.arange(4.0), "chunks": True, "maxshape": (9,)},
        {"data": np.arange(4.0), "chunks": True, "maxshape": (None,), "compression": "gzip"},
        {"data": np.arange(4.0)},
        {"shape": (0,), "dtype": "f8", "chunks": (5,), "maxshape": (None,)},
    ],
    ids=["columns", "type", "limit", "filter", "layout", "rows"],
)
def test_of_datasets_that_differ_in_kind_only_those_like_the_model_are_found(other: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_dataset("0", data=np.arange(3.0), chunks=True, maxshape=(None,))
        file.create_dataset("1", **other)
        file.create_dataset("2", data=np.arange(5.0), chunks=True, maxshape=(None,))
    chunks = found_in(np.frombuffer(buffer.getvalue(), np.uint8), 3)
    assert chunks is not None
    assert chunks.rows.tolist() == [-1, -1, 5]
    assert values(chunks, 2, ()).tolist() == [0, 1, 2, 3, 4]


def test_chunks_that_were_never_written_are_left_to_hdf5() -> None:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for number in range(2):
            file.create_dataset(f"{number}", data=np.arange(6.0), chunks=(2,), maxshape=(None,))
        file["1"].resize((20,))
    assert found_in(np.frombuffer(buffer.getvalue(), np.uint8), 2) is None


def test_addresses_that_lead_anywhere_are_left_to_hdf5() -> None:
    content = file_of([np.arange(3.0), np.arange(4.0)], chunks=True)
    with opened(content, 2) as ids:
        model, right = (h5o.get_info(dataset).addr for dataset in ids)
        for wrong in (0, right + 1, right + 8, len(content) - 1, len(content), 2**62, 2**63, 2**64 - 1):
            chunks = find_chunks(content, ids[0], np.dtype("f8"), np.array([model, right, wrong], np.uint64))
            assert chunks is None or chunks.rows.tolist() == [-1, 4, -1]


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"chunks": (2, 1)}], ids=["in one piece", "in chunks"])
def test_with_any_byte_of_the_structures_changed_nothing_is_read_that_hdf5_refuses_or_reads_otherwise(
    options: dict[str, Any],
) -> None:
    arrays = [np.arange(length, length + 2.0 * length).reshape(length, 2) for length in (3, 5)]
    whole = file_of(arrays, **options)
    structures = [range(96)]  # the superblock, headers without what is reserved in them, nodes as far as they are used
    structures += [range(start, start + 160) for start in addresses(whole, 2).tolist()]
    structures += [range(match.start(), match.start() + 300) for match in re.finditer(b"TREE\1", whole.tobytes())]
    found = 0
    for place in itertools.chain(*structures):
        for change in (0x01, 0xFF):
            content = whole.copy()
            content[place] ^= change
            try:
                read = read_by_hdf5(content, 0)
                headers = addresses(content, 2)
            except (AssayError, OSError, RuntimeError, KeyError, ValueError, TypeError):
                continue
            with opened(content, 2) as ids:
                chunks = find_chunks(content, ids[0], read.dtype, headers)
            if chunks is not None and chunks.rows[1] >= 0:
                expected = read_by_hdf5(content, 1)
                assert values(chunks, 1, expected.shape[1:]).tobytes() == expected.tobytes(), place
                found += 1
    assert found  # some bytes mean nothing
