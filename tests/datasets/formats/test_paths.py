"""Paths of every kind: what the operating system takes works, and the rest is refused in one sentence."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest

import assay
from assay.datasets.errors import AssayError, AssayWarning, DatasetError
from assay.datasets.formats import writable_formats
from tests.datasets.dataset_strategies import clean_dataset

DATASET = clean_dataset(rewards=np.zeros(60))
WITH_COSTS = clean_dataset(rewards=np.zeros(60), costs=np.ones(60))


def save_and_load(path: str | Path, name: str) -> None:
    with warnings.catch_warnings(action="ignore", category=AssayWarning):
        assay.save(WITH_COSTS if name == "dsrl" else DATASET, path, format=name)
        assert assay.load(path).total_steps == 60


@pytest.mark.parametrize("name", writable_formats())
def test_a_name_as_long_as_the_file_system_takes_can_be_written_and_read(name: str, tmp_path: Path) -> None:
    save_and_load(tmp_path / f"{'x' * 250}-v0", name)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", writable_formats())
def test_a_path_that_is_not_utf8_works_or_is_refused(name: str, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe"), "mine-v0")
    path.parent.mkdir()
    if name == "lerobot":  # Arrow opens no such path
        with pytest.raises(DatasetError, match="the path is not UTF-8"):
            save_and_load(path, name)
        assert not list(path.parent.iterdir())
        return
    save_and_load(path, name)


@pytest.mark.parametrize(
    "path", ["a\0b", "", "\ud800", f"/tmp/{'x' * 300}", "/proc/x", "/proc/x/y-v0", "/dev/null/x-v0"]
)
@pytest.mark.parametrize("name", writable_formats())
def test_an_impossible_path_is_one_clear_error(name: str, path: str) -> None:
    with pytest.raises(AssayError):
        save_and_load(path, name)
    with pytest.raises(AssayError):
        assay.load(path)
