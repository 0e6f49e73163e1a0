"""Arrays larger than memory: the same values, in a file without a name; and what counts as free memory."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.datasets import memory
from assay.datasets.errors import DatasetError


@pytest.fixture
def small_memory(monkeypatch, tmp_path):
    """As if 16 MB were free: arrays beyond 1 MB go to a file."""
    monkeypatch.setattr(memory, "available_memory", lambda: 16 << 20)
    monkeypatch.setenv("ASSAY_SCRATCH", str(tmp_path / "scratch"))
    return tmp_path / "scratch"


def test_a_large_array_lies_in_a_file_that_has_no_name(small_memory):
    array = memory.empty((1 << 18, 3), np.float64)
    array[:] = np.arange(3)
    array[-1] = 7
    assert array.sum() == 3 * ((1 << 18) - 1) + 21
    assert os.listdir(small_memory) == []
    assert not isinstance(memory.empty((10,), np.int64).base, np.ndarray)
    assert memory.empty((10,), np.int64).base is None  # a small one is an ordinary array


def test_a_file_that_cannot_be_made_is_an_error_with_its_folder(small_memory, monkeypatch):
    small_memory.write_text("a file where the folder should be")
    with pytest.raises(DatasetError, match="ASSAY_SCRATCH"):
        memory.empty((1 << 20,), np.float64)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), max_size=12), st.integers(1, 20))
def test_ranges_are_joined_whatever_the_size_of_a_block(ranges, block):
    array = np.arange(80).reshape(40, 2)
    starts = np.array([start for start, _ in ranges], np.int64)
    lengths = np.array([length for _, length in ranges], np.int64)
    before = memory._BLOCK_ROWS
    try:
        memory._BLOCK_ROWS = block
        taken = memory.take_ranges(array, starts, lengths)
    finally:
        memory._BLOCK_ROWS = before
    expected = [array[start : start + length] for start, length in ranges]
    assert taken.tolist() == (np.concatenate(expected).tolist() if expected else [])


def test_ranges_that_follow_each_other_are_not_copied():
    array = np.arange(40)
    assert np.shares_memory(memory.take_ranges(array, np.array([3, 5]), np.array([2, 7])), array)


def test_a_copy_can_be_written_to_and_leaves_its_origin(small_memory):
    array = np.arange(1 << 18, dtype=np.float64)
    array.setflags(write=False)
    copied = memory.copy(array)
    assert (copied == array).all()
    copied[5] = -1
    assert array[5] == 5


def test_a_limit_on_the_process_lowers_the_available_memory():
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30));"
        "from assay.datasets.memory import available_memory; import numpy as np;"
        "before = available_memory(); kept = np.ones(300 << 20, np.uint8); after = available_memory();"
        "print(before, after)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    before, after = map(int, done.stdout.split())
    assert 0 < after < before <= 1 << 30
    assert abs((before - after) - (300 << 20)) < 32 << 20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator of another C library")
def test_memory_that_was_freed_is_used_again_without_page_faults():
    program = """if True:
        import ctypes, resource, sys
        from assay.datasets import memory

        library = ctypes.CDLL(None)
        library.malloc.restype = ctypes.c_void_p

        def use():
            block = ctypes.c_void_p(library.malloc(64 << 20))
            ctypes.memset(block, 1, 64 << 20)
            library.free(block)

        if sys.argv[1] == "kept":
            assert memory.keep_freed()
        use()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(8):
            use()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    """
    kept, returned = (
        int(subprocess.run([sys.executable, "-c", program, side], check=True, capture_output=True, text=True).stdout)
        for side in ("kept", "returned")
    )
    assert 10 * kept < returned
