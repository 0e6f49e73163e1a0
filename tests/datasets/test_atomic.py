"""Atomic folders: a writer that is killed leaves the old content, the new one, or nothing, never a part."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from assay.datasets.atomic import atomic_file, atomic_folder, atomic_write
from assay.datasets.dataset import Dataset
from assay.datasets.errors import DatasetError
from assay.datasets.formats import assay as store
from tests.datasets.dataset_strategies import clean_dataset

ROOT = Path(__file__).parents[2]
KILLS = 14

# Says "ready" once everything is imported, waits for a line, then saves until it is killed.
WRITER = """
import sys
from pathlib import Path
from tests.datasets.dataset_strategies import clean_dataset
from assay.datasets.formats import assay as store
from assay.datasets.errors import DatasetError
dataset = clean_dataset(steps=60_000, length=100, seed=int(sys.argv[2]))
dataset.fingerprint
print("ready", flush=True)
sys.stdin.readline()
store.write(dataset, Path(sys.argv[1]), overwrite=sys.argv[3] == "overwrite")
print("done", flush=True)
sys.stdin.readline()
"""


def killed_writer(target: Path, seed: int, mode: str, delay: float) -> bool:
    """Run a writer and kill it `delay` seconds after it began; tell whether it had finished."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(target), str(seed), mode],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("go\n")
        process.stdin.flush()
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        finished = process.stdout.readline() == "done\n"
    return finished


def siblings(target: Path) -> list[Path]:
    return [path for path in target.parent.iterdir() if path != target]


def how_long_a_write_takes(folder: Path) -> float:
    dataset = clean_dataset(steps=60_000, length=100, seed=9)
    start = time.perf_counter()
    store.write(dataset, folder / "timing")
    return time.perf_counter() - start


def test_a_save_that_is_killed_leaves_nothing_or_all_and_the_next_writer_cleans_up(tmp_path: Path) -> None:
    duration = how_long_a_write_takes(tmp_path)
    expected = clean_dataset(steps=60_000, length=100, seed=1).fingerprint
    generator = random.Random(0)
    abandoned = 0
    for number in range(KILLS // 2):
        target = tmp_path / str(number) / "target"
        finished = killed_writer(target, 1, "new", generator.uniform(0, 1.2 * duration))
        if target.exists():
            assert store.read(target).fingerprint == expected
        else:
            assert not finished
            abandoned += bool(target.parent.exists() and siblings(target))
        store.write(clean_dataset(seed=2), target, overwrite=True)
        assert store.read(target) == clean_dataset(seed=2)
        assert siblings(target) == []
    assert abandoned  # else no kill fell into a write, and the test shows nothing


def test_an_overwrite_that_is_killed_leaves_the_old_dataset_or_the_new_one(tmp_path: Path) -> None:
    duration = how_long_a_write_takes(tmp_path)
    target = tmp_path / "home" / "target"
    store.write(clean_dataset(steps=60_000, length=100, seed=0), target)
    fingerprints = {seed: clean_dataset(steps=60_000, length=100, seed=seed).fingerprint for seed in range(KILLS // 2)}
    generator = random.Random(1)
    current = 0
    for seed in range(1, KILLS // 2):
        finished = killed_writer(target, seed, "overwrite", generator.uniform(0, 1.2 * duration))
        found = store.read(target).fingerprint
        assert found in (fingerprints[current], fingerprints[seed])
        assert found == fingerprints[seed] or not finished
        current = seed if found == fingerprints[seed] else current
    store.write(clean_dataset(), target, overwrite=True)
    assert siblings(target) == []


def test_a_writer_that_lives_is_not_disturbed_by_another(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "target", overwrite=True) as first:
        (first / "file").write_text("first")
        with atomic_folder(tmp_path / "target", overwrite=True) as second:
            (second / "file").write_text("second")
        assert (first / "file").read_text() == "first"
        assert (tmp_path / "target/file").read_text() == "second"
    assert (tmp_path / "target/file").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_an_existing_folder_is_never_replaced_unasked(tmp_path: Path) -> None:
    store.write(clean_dataset(), tmp_path / "target")
    with pytest.raises(DatasetError, match="exists already"):
        store.write(clean_dataset(seed=1), tmp_path / "target")
    assert store.read(tmp_path / "target") == clean_dataset()


def test_a_folder_that_appears_meanwhile_is_not_replaced_unasked(tmp_path: Path) -> None:
    def write_twice() -> None:
        with atomic_folder(tmp_path / "target") as folder:
            (folder / "file").write_text("late")
            (tmp_path / "target").mkdir()
            (tmp_path / "target/file").write_text("early")

    with pytest.raises(DatasetError, match="created by somebody else"):
        write_twice()
    assert (tmp_path / "target/file").read_text() == "early"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_an_error_while_writing_leaves_the_old_content_and_no_rest(tmp_path: Path) -> None:
    store.write(clean_dataset(), tmp_path / "target")

    def fail() -> None:
        with atomic_folder(tmp_path / "target", overwrite=True) as folder:
            (folder / "half").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert store.read(tmp_path / "target") == clean_dataset()
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_a_file_in_the_way_is_not_taken_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("a file")
    with pytest.raises(DatasetError, match="exists already"):
        store.write(clean_dataset(), tmp_path / "target")
    with pytest.raises(DatasetError, match="is a file"):
        store.write(clean_dataset(), tmp_path / "target", overwrite=True)
    assert (tmp_path / "target").read_text() == "a file"


def test_an_overwritten_dataset_stays_readable_to_those_who_opened_it(tmp_path: Path) -> None:
    before = clean_dataset(seed=1)
    store.write(before, tmp_path / "target")
    opened: Dataset = store.read(tmp_path / "target")
    store.write(clean_dataset(seed=2), tmp_path / "target", overwrite=True)
    assert (opened.observations == before.observations).all()


def test_files_are_replaced_whole_and_with_ordinary_permissions(tmp_path: Path) -> None:
    mask = os.umask(0o022)
    try:
        atomic_write(tmp_path / "sub/file", "one")
        atomic_write(tmp_path / "sub/file", b"two")
        store.write(clean_dataset(), tmp_path / "target")
    finally:
        os.umask(mask)
    assert (tmp_path / "sub/file").read_bytes() == b"two"
    assert (tmp_path / "sub/file").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "target").stat().st_mode & 0o777 == 0o755
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["file"]


def test_a_link_to_a_dataset_is_followed_and_names_with_brackets_are_cleaned_up_too(tmp_path: Path) -> None:
    target = tmp_path / "real[1]*"
    store.write(clean_dataset(seed=1), target)
    (tmp_path / "link").symlink_to(target)
    rest = tmp_path / ".real[1]*.writing-dead"
    (rest / "columns").mkdir(parents=True)
    rest.with_name(f"{rest.name}.lock").touch()
    store.write(clean_dataset(seed=2), tmp_path / "link", overwrite=True)
    assert store.read(target) == clean_dataset(seed=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real[1]*"]


# -------------------------------------------------------------------- single files


def test_a_file_appears_whole_and_leaves_nothing_beside_it(tmp_path):
    with atomic_file(tmp_path / "deep" / "data.bin") as part:
        part.write_bytes(b"whole")
        assert os.listdir(tmp_path / "deep") != ["data.bin"]
    assert os.listdir(tmp_path / "deep") == ["data.bin"]
    assert (tmp_path / "deep" / "data.bin").read_bytes() == b"whole"


def test_an_error_while_writing_a_file_leaves_the_old_one(tmp_path):
    target = tmp_path / "data.bin"
    target.write_bytes(b"old")

    def write_half(content: bytes) -> None:
        with atomic_file(target, overwrite=True) as part:
            part.write_bytes(content)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half(b"half")
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["data.bin"]
    with atomic_file(target, overwrite=True) as part:
        part.write_bytes(b"new")
    assert target.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["data.bin"]


def test_a_file_is_not_replaced_unasked_even_if_it_appears_meanwhile(tmp_path):
    target = tmp_path / "data.bin"

    def write_while_another_does() -> None:
        with atomic_file(target) as part:
            part.write_bytes(b"mine")
            target.write_bytes(b"theirs")

    with pytest.raises(DatasetError, match="meanwhile"):
        write_while_another_does()
    assert target.read_bytes() == b"theirs"
    assert os.listdir(tmp_path) == ["data.bin"]
    with pytest.raises(DatasetError, match="exists already"), atomic_file(target):
        pass
    with pytest.raises(DatasetError, match="is a folder"), atomic_file(tmp_path, overwrite=True):
        pass


def test_the_next_writer_of_a_file_removes_what_a_killed_one_left(tmp_path):
    target = tmp_path / "data.bin"
    code = (
        "import sys, os, signal; from pathlib import Path; from assay.datasets.atomic import atomic_file\n"
        "with atomic_file(Path(sys.argv[1])) as part:\n"
        "    part.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(os.listdir(tmp_path)) == 2
    assert not target.exists()
    with atomic_file(target) as part:
        part.write_bytes(b"whole")
    assert os.listdir(tmp_path) == ["data.bin"]
