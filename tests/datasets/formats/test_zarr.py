"""Zarr replay buffers: those of Diffusion Policy and UMI are read, and written for them to read; damage is refused."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numcodecs import Pickle, Zlib, Zstd

import assay
from assay.datasets.errors import AssayWarning, ConfigError, DatasetError, FormatError
from assay.datasets.formats import sniff
from assay.datasets.formats.zarr import propose, read, write
from tests.datasets.dataset_strategies import clean_dataset
from tests.datasets.formats.fuzz import write_zarr

FLAGS = r"nothing is named rewards, so they are missing .*; it has no terminations.*columns=\{\"ends\": \"truncated\"\}"


@pytest.mark.parametrize(
    "options", [{}, {"compressors": Zlib(1)}, {"compressors": Zstd()}, {"compressors": None}, {"zarr_format": 3}]
)
def test_buffers_of_others_are_read(options: dict[str, Any], tmp_path: Path) -> None:
    write_zarr(tmp_path / "pusht.zarr", np.random.default_rng(0), **options)
    assert sniff(tmp_path / "pusht.zarr") == "zarr"
    with pytest.warns(AssayWarning, match=FLAGS):
        dataset = assay.load(tmp_path / "pusht.zarr")
    root = zarr.open_group(tmp_path / "pusht.zarr", mode="r")
    assert dataset.episode_lengths.tolist() == [5, 4]
    assert dataset.actions.tolist() == root["data/action"][:].tolist()
    assert dataset.observations[dataset.observation_rows].tolist() == root["data/state"][:].tolist()
    assert dataset.info.extra["zarr"] == {"images": ["img"]}
    mapping = {"observations": {"eye": "img", "arm": "state"}, "actions": "action", "ends": "truncated"}
    seen = assay.load(tmp_path / "pusht.zarr", columns=mapping)
    assert seen.observations["eye"].shape == (11, 4, 4, 3)
    assert seen.truncations.sum() == 2


def test_a_zip_file_is_read_like_its_folder(tmp_path: Path) -> None:
    write_zarr(tmp_path / "umi.zarr", np.random.default_rng(0))
    with zipfile.ZipFile(tmp_path / "umi.zarr.zip", "w") as archive:
        for file in sorted((tmp_path / "umi.zarr").rglob("*")):
            archive.write(file, file.relative_to(tmp_path / "umi.zarr"))
    columns = {"observations": "state", "actions": "action", "ends": "truncated"}
    assert assay.load(tmp_path / "umi.zarr.zip", columns=columns) == assay.load(tmp_path / "umi.zarr", columns=columns)


def test_what_is_written_is_what_diffusion_policy_reads(tmp_path: Path) -> None:
    """Its ReplayBuffer wants flat arrays in data, all as long as the last of meta/episode_ends."""
    dataset = clean_dataset(steps=18, length=6)
    write(dataset, tmp_path / "a.zarr")
    root = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert root.metadata.zarr_format == 2
    assert root["meta/episode_ends"][:].tolist() == [6, 12, 18]
    assert {array.shape[0] for _, array in root["data"].arrays()} == {18}
    assert not list(root["data"].groups())
    assert not list(root["meta"].groups())
    assert root["data/state"][:].tolist() == dataset.observations[dataset.observation_rows].tolist()
    assert root["data/action"][:].tolist() == dataset.actions.tolist()
    assert read(tmp_path / "a.zarr") == dataset


def test_a_missing_chunk_is_no_zeros_unless_the_user_says_so(tmp_path: Path) -> None:
    write_zarr(tmp_path / "a", np.random.default_rng(0))
    next((tmp_path / "a/data/action").glob("1.0")).unlink()
    with pytest.raises(FormatError, match=r'array data/action has 2 of its 3 chunks; .*missing_chunks="fill"'):
        assay.load(tmp_path / "a")
    with pytest.warns(AssayWarning, match="nothing is named rewards"):
        dataset = assay.load(tmp_path / "a", missing_chunks="fill")
    assert not dataset.actions[4:8].any()


def test_pickles_and_unknown_codecs_are_never_opened(tmp_path: Path) -> None:
    write_zarr(tmp_path / "a", np.random.default_rng(0))
    described = json.loads((tmp_path / "a/data/action/.zarray").read_text())
    described["filters"] = [Pickle().get_config()]
    (tmp_path / "a/data/action/.zarray").write_text(json.dumps(described))
    with pytest.raises(FormatError, match=r"array data/action cannot be read: .*pickle"):
        assay.load(tmp_path / "a", columns={"observations": "state", "actions": "action"})


@pytest.mark.parametrize("codec", [None, Zlib(1), Zstd()])
def test_a_chunk_that_claims_more_than_it_may_is_refused(codec: Any, tmp_path: Path) -> None:
    write_zarr(tmp_path / "a", np.random.default_rng(0), **({} if codec is None else {"compressors": codec}))
    chunk = tmp_path / "a/data/state/0.0"
    content = bytearray(chunk.read_bytes())
    if codec is None:  # Blosc says its size in its head
        content[4:8] = (1 << 30).to_bytes(4, "little")
        chunk.write_bytes(content)
    else:
        chunk.write_bytes(codec.encode(bytes(1 << 20)))
    with pytest.raises(FormatError, match=r"chunk data/state/0\.0 (says it holds|has 4\d+ bytes for 48)"):
        assay.load(tmp_path / "a")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": ["eye"]}, "there are no images 'eye'; there are img"),
        ({"images": "img"}, "a list of keys belongs there"),
        ({"columns": {"observations": "pose"}}, "there is no array 'pose' in data; there are action, img, state"),
        ({"missing_chunks": "ignore"}, 'missing_chunks is "refuse" or "fill"'),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: Any, message: str, tmp_path: Path) -> None:
    write_zarr(tmp_path / "a", np.random.default_rng(0))
    with pytest.raises(ConfigError, match=message):
        assay.load(tmp_path / "a", **options)


def test_episodes_that_do_not_add_up_are_refused(tmp_path: Path) -> None:
    write_zarr(tmp_path / "a", np.random.default_rng(0))
    zarr.open_group(tmp_path / "a", mode="r+")["meta/episode_ends"][1] = 10
    with pytest.raises(DatasetError, match="the episodes hold 10 steps, but there are 9 rows"):
        assay.load(tmp_path / "a")
    (tmp_path / "a/data/state/.zarray").write_text("")
    with pytest.raises(FormatError, match=r"a is incomplete or damaged|cannot be read"):
        assay.load(tmp_path / "a", columns={"observations": "state", "actions": "action"})


def test_a_proposal_is_a_mapping_that_reads(tmp_path: Path) -> None:
    write_zarr(tmp_path / "a", np.random.default_rng(0))
    (tmp_path / "columns.yaml").write_text(propose(tmp_path / "a"))
    with pytest.warns(AssayWarning, match="nothing is named rewards"):
        assert assay.load(tmp_path / "a", columns=tmp_path / "columns.yaml").truncations.sum() == 2


def test_without_zarr_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_zarr(tmp_path / "a", np.random.default_rng(0))
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(ConfigError, match=r"pip install assay\[zarr\]"):
        assay.load(tmp_path / "a")
