"""What nothing can read: the message says whether it is empty, cut off, foreign, or what is missing of which format."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import assay
from assay.datasets.errors import AssayError, AssayWarning, FormatError
from assay.datasets.formats import FORMATS, format_named, sniff
from tests.datasets.dataset_strategies import clean_dataset
from tests.datasets.formats.fuzz import make_samples

WORDS = (
    "truncated",
    "damaged",
    "empty",
    "missing",
    "bytes",
    "no Parquet",
    "incomplete",
    "differ",
    "cut off",
    "cannot be read",
)


def refusal(path: Path) -> str | None:
    with warnings.catch_warnings(action="ignore", category=AssayWarning):
        try:
            assay.load(path)
        except AssayError as error:
            return str(error)
    return None


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_was_cut_off_anywhere_is_never_of_no_known_format(name: str, tmp_path: Path) -> None:
    """A download that broke off used to be of no known format, which sends its owner looking for another reader."""
    (tmp_path / "samples").mkdir()
    sample = make_samples(name, tmp_path / "samples")[-1]
    files = [sample] if sample.is_file() else [file for file in sample.rglob("*") if file.is_file()]
    for file in files:
        content = file.read_bytes()
        for length in {0, len(content) * 6 // 10, len(content) - 1}:
            file.write_bytes(content[:length])
            message = refusal(sample)
            if message is not None:  # else it was cut where nothing stands
                assert "no known format" not in message, (file.name, length)
                assert any(word in message for word in WORDS), message
        file.write_bytes(content)


def table(path: Path, **columns: Any) -> None:
    pq.write_table(pa.table(columns), path)


def hdf5(path: Path, *names: str) -> None:
    with h5py.File(path, "w") as file:
        for name in names:
            file[name] = np.zeros(3)


def npz(path: Path, *names: str) -> None:
    with path.open("wb") as file:
        np.savez(file, **{name: np.zeros(3) for name in names})  # type: ignore[arg-type]


CASES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "arrays of D4RL without ends": (
        lambda path: hdf5(path, "observations", "actions", "rewards"),
        "holds actions, observations, rewards. Nearest is D4RL, for which terminals is missing",
    ),
    "arrays of NeoRL without next observations": (
        lambda path: npz(path, "obs", "action", "reward", "done"),
        r'Nearest is NeoRL and NeoRL-2, for which next_obs is missing. .*columns=\{"observations"',
    ),
    "a table of NeoRL-2 without actions": (
        lambda path: table(path, obs=[[1.0]], next_obs=[[1.0]], reward=[1.0], done=[0.0]),
        "Parquet table .* Nearest is NeoRL and NeoRL-2, for which action is missing",
    ),
    "an archive of anything": (lambda path: npz(path, "a", "b"), r"it holds a, b\. Any names"),
    "a pickle": (lambda path: path.write_bytes(b"\x80\x04K\x01."), "is a pickle, which is never opened"),
    "a web page": (lambda path: path.write_text("<!DOCTYPE html><html>"), "is a web page"),
    "a pointer": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid"), "git lfs pull"),
    "a packed file": (lambda path: path.write_bytes(b"\x1f\x8b\x08\0\0"), "unpack it first"),
    "nothing": (lambda path: path.touch(), r"is empty \(0 bytes\)"),
    "an empty folder": (lambda path: path.mkdir(), "the folder is empty"),
    "text": (lambda path: path.write_text("a,b"), r"is in no known format \(assay, minari"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_message_says_what_the_path_is_and_what_is_missing(name: str, tmp_path: Path) -> None:
    make, message = CASES[name]
    make(tmp_path / "case")
    with pytest.raises(FormatError, match=message) as caught:
        sniff(tmp_path / "case")
    assert str(tmp_path / "case") in str(caught.value)


@pytest.mark.parametrize(
    ("name", "file", "title"),
    [
        ("lerobot", "meta/info.json", "LeRobot"),
        ("minari", "data/metadata.json", "Minari"),
        ("assay", "metadata.json", "Assay"),
    ],
)
@pytest.mark.parametrize("content", [b"", bytes(200), b"{", b"[]"])
def test_a_folder_whose_description_is_empty_or_damaged_is_named_with_it(
    name: str, file: str, title: str, content: bytes, tmp_path: Path
) -> None:
    with warnings.catch_warnings(action="ignore", category=AssayWarning):
        assay.save(clean_dataset(), tmp_path / "mine-v0", format=name)
    (tmp_path / "mine-v0" / file).write_bytes(content)
    with pytest.raises(AssayError, match=title if name != "minari" else "metadata.json") as caught:
        assay.load(tmp_path / "mine-v0")
    assert file.split("/")[-1] in str(caught.value)
    assert ("empty" if not content.strip(b"\0") else "damaged") in str(caught.value)


def test_a_folder_of_one_damaged_file_says_which(tmp_path: Path) -> None:
    npz(tmp_path / "a.npz", "x")
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:200])
    with pytest.raises(FormatError, match=r"a\.npz begins as an \.npz archive.*truncated"):
        sniff(tmp_path)


def test_what_a_format_needs_is_what_it_recognizes_itself_by(tmp_path: Path) -> None:
    for name in FORMATS:
        needed = getattr(format_named(name), "NEEDED", None)
        if needed is None or "folder" in format_named(name).LAYOUT:
            continue
        hdf5(tmp_path / name, *needed) if ".h" in format_named(name).LAYOUT else npz(tmp_path / name, *needed)
        assert sniff(tmp_path / name) == name
        for gone in needed:
            rest = [item for item in needed if item != gone]
            hdf5(tmp_path / name, *rest) if ".h" in format_named(name).LAYOUT else npz(tmp_path / name, *rest)
            assert not format_named(name).sniff(tmp_path / name), (name, gone)
