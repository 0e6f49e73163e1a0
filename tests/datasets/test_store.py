"""Assay's store: what is saved comes back exactly and on disk, and no damage goes unnoticed."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.datasets.dataset import Dataset
from assay.datasets.errors import AssayError, DatasetError, DatasetIntegrityError, FormatError
from assay.datasets.formats import assay as store
from assay.datasets.formats import sniff
from assay.datasets.info import DatasetInfo, Record, ReferenceScores
from assay.datasets.spaces import Box, Discrete
from tests.datasets.dataset_strategies import assert_same_columns, clean_dataset, datasets

read, write = store.read, store.write


def is_on_disk(array: Any) -> bool:
    while array is not None:
        if isinstance(array, np.memmap):
            return True
        array = getattr(array, "base", None)
    return False


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    dataset = clean_dataset(steps=12, length=3, episode_columns={"seed": np.arange(4), "name": np.array(list("abcd"))})
    write(dataset.replace({"infos/deep/x": np.arange(16)}), tmp_path / "stored")
    return tmp_path / "stored"


def edit_metadata(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change metadata.json as somebody would who knows its checksum."""
    metadata = json.loads((folder / "metadata.json").read_text())
    change(metadata)
    metadata["checksum"] = store._checksum(metadata)
    (folder / "metadata.json").write_text(json.dumps(metadata))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(dataset=datasets())
def test_what_was_saved_comes_back_exactly(dataset: Dataset, tmp_path: Path) -> None:
    write(dataset, tmp_path / "again", overwrite=True)
    again = read(tmp_path / "again")
    assert_same_columns(dataset, again)
    assert again.fingerprint == dataset.fingerprint
    assert again.episodes.equals(dataset.episodes)


def test_info_history_and_text_columns_come_back(tmp_path: Path) -> None:
    info = DatasetInfo(
        id="x",
        observation_space=Box((3,), "float64", [-np.inf] * 3, [1.0] * 3),
        action_space=Discrete(2),
        reference_scores=ReferenceScores(0.5, 2.0, "a paper"),
        authors=("one", "two"),
        extra={"key": [1, {"a": None}]},
    )
    record = Record("source", {"name": "x"}, seed=3, version="0")
    dataset = clean_dataset(info=info).replace({"infos/note": np.array(["é", "long"] * 30)}, record=record)
    write(dataset, tmp_path / "stored")
    again = read(tmp_path / "stored")
    assert (again.info, again.history) == (info, (record,))
    assert again.column("infos/note").tolist() == ["é", "long"] * 30


def test_columns_stay_on_disk_and_cannot_be_written_to(stored: Path) -> None:
    dataset = read(stored)
    for name in dataset.columns:
        assert is_on_disk(dataset.column(name)), name
        assert not dataset.column(name).flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        dataset.rewards[0] = 1.0


def test_columns_that_are_not_contiguous_are_stored_in_row_order(tmp_path: Path) -> None:
    actions = np.asfortranarray(np.random.default_rng(0).normal(size=(60, 2)))
    dataset = clean_dataset(actions=actions, rewards=np.arange(120.0)[::2])
    write(dataset, tmp_path / "stored")
    assert read(tmp_path / "stored") == dataset


def test_an_empty_dataset_and_columns_of_no_width_come_back(tmp_path: Path) -> None:
    write(clean_dataset().select([]), tmp_path / "empty")
    assert read(tmp_path / "empty").total_episodes == 0
    narrow = clean_dataset(**{"infos/none": np.zeros((60, 0))})
    write(narrow, tmp_path / "narrow")
    assert read(tmp_path / "narrow") == narrow


def test_flipping_any_byte_of_any_column_file_is_detected_and_the_column_is_named(stored: Path) -> None:
    files = sorted((stored / "columns").rglob("*.npy"))
    assert len(files) == 6
    for file in files:
        name = file.relative_to(stored / "columns").with_suffix("").as_posix()
        content = file.read_bytes()
        for place in range(len(content)):
            changed = bytearray(content)
            changed[place] ^= 1 << place % 8
            file.write_bytes(changed)
            with pytest.raises(DatasetIntegrityError, match=f"column {name} "):
                read(stored)
        file.write_bytes(content)
    assert read(stored).total_steps == 12


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_edit_or_truncation_of_any_file_is_refused_or_changes_nothing(stored: Path, data: st.DataObject) -> None:
    fingerprint = json.loads((stored / "metadata.json").read_text())["fingerprint"]
    files = sorted(file for file in stored.rglob("*") if file.is_file())
    file = data.draw(st.sampled_from(files))
    content = file.read_bytes()
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        changed = changed[: data.draw(st.integers(0, len(content)))]
    file.write_bytes(changed)
    try:
        dataset = read(stored)
    except AssayError:
        dataset = None
    finally:
        file.write_bytes(content)
    assert dataset is None or dataset.fingerprint == fingerprint


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(("dtype", "shape", "hash")), value=st.one_of(
    st.none(), st.integers(-5, 2**70), st.text("0123456789,<>|V", max_size=6), st.lists(st.integers(-3, 2**66), max_size=3),
    st.sampled_from(["O", "V8", "<f4", "object", "S99999999999", ",", "f8,O"]),
))  # fmt: skip
def test_hostile_descriptions_of_a_column_are_refused(stored: Path, key: str, value: Any) -> None:
    content = (stored / "metadata.json").read_bytes()
    edit_metadata(stored, lambda metadata: metadata["columns"]["rewards"].__setitem__(key, value))
    with pytest.raises(DatasetIntegrityError, match="column rewards"):
        read(stored)
    (stored / "metadata.json").write_bytes(content)


def test_missing_and_truncated_and_longer_files_are_named(stored: Path) -> None:
    file = stored / "columns/infos/deep/x.npy"
    content = file.read_bytes()
    for changed in (b"", content[:-1], content + b"\0", content[:40]):
        file.write_bytes(changed)
        with pytest.raises(DatasetIntegrityError, match="column infos/deep/x is damaged"):
            read(stored, verify=False)
    file.unlink()
    with pytest.raises(DatasetIntegrityError, match="column infos/deep/x is missing"):
        read(stored)
    file.write_bytes(content)
    (stored / "episodes.parquet").unlink()
    with pytest.raises(DatasetIntegrityError, match=r"episodes.parquet is missing"):
        read(stored)


def test_extra_files_change_nothing(stored: Path) -> None:
    before = read(stored)
    np.save(stored / "columns/stranger.npy", np.zeros(12))
    (stored / "notes.txt").write_text("mine")
    assert read(stored) == before


@pytest.mark.parametrize("name", ["../outside", "../../../etc/passwd", "/etc/passwd", "infos/../../../x"])
def test_a_column_name_cannot_lead_out_of_the_folder(stored: Path, name: str) -> None:
    edit_metadata(stored, lambda metadata: metadata["columns"].__setitem__(name, metadata["columns"]["rewards"]))
    with pytest.raises(FormatError, match="lies outside the dataset's folder"):
        read(stored)


def test_a_symbolic_link_cannot_lead_out_of_the_folder(stored: Path, tmp_path: Path) -> None:
    file = stored / "columns/rewards.npy"
    file.rename(tmp_path / "elsewhere.npy")
    file.symlink_to(tmp_path / "elsewhere.npy")
    with pytest.raises(FormatError, match="lies outside the dataset's folder"):
        read(stored)


def test_a_column_of_another_dtype_or_shape_than_written_is_refused(stored: Path) -> None:
    np.save(stored / "columns/rewards.npy", np.zeros(12, np.float32))
    with pytest.raises(DatasetIntegrityError, match=r"column rewards is damaged: .*of float64\[12\]"):
        read(stored, verify=False)


def test_pickled_objects_are_never_opened(stored: Path, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "exploded",))

    np.save(stored / "columns/rewards.npy", np.array([Bomb()] * 12, object), allow_pickle=True)
    with pytest.raises(DatasetIntegrityError, match="column rewards is damaged"):
        read(stored)
    edit_metadata(stored, lambda metadata: metadata["columns"]["rewards"].__setitem__("dtype", "|O"))
    with pytest.raises(DatasetIntegrityError, match="column rewards cannot be"):
        read(stored)
    (stored / "columns/rewards.npy").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DatasetIntegrityError, match="column rewards cannot be"):
        read(stored)
    assert not (tmp_path / "exploded").exists()


def test_opening_without_verification_reads_no_values(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = stored / "columns/rewards.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)

    def refuse(array: np.ndarray) -> str:
        raise AssertionError("a column was hashed")

    monkeypatch.setattr(store, "hash_array", refuse)
    monkeypatch.setattr("assay.datasets.dataset.hash_array", refuse)
    assert read(stored, verify=False).total_steps == 12


def test_edited_metadata_is_detected_and_a_newer_schema_is_refused(stored: Path) -> None:
    text = (stored / "metadata.json").read_text()
    (stored / "metadata.json").write_text(text.replace('"description": ""', '"description": "better"'))
    with pytest.raises(DatasetIntegrityError, match="damaged or was edited"):
        read(stored)
    (stored / "metadata.json").write_text(text)
    edit_metadata(stored, lambda metadata: metadata.__setitem__("schema_version", 99))
    with pytest.raises(FormatError, match="schema version 99"):
        read(stored)


@pytest.mark.parametrize(
    "change",
    [
        lambda metadata: metadata.pop("fingerprint"),
        lambda metadata: metadata["columns"].pop("rewards"),
        lambda metadata: metadata.__setitem__("info", {"colour": "red"}),
        lambda metadata: metadata.__setitem__("info", {"authors": 5}),
        lambda metadata: metadata["history"].append({"colour": "red"}),
        lambda metadata: metadata["history"].append(5),
        lambda metadata: metadata.__setitem__("episode_columns", ["seed"]),
        lambda metadata: metadata.__setitem__("columns", {"rewards": 5}),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(stored: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    edit_metadata(stored, change)
    with pytest.raises(DatasetIntegrityError):
        read(stored)


def test_the_store_is_recognized_by_its_content_and_other_folders_are_named(stored: Path, tmp_path: Path) -> None:
    assert sniff(stored) == "assay"
    with pytest.raises(FormatError, match="the folder holds the datasets stored"):
        sniff(tmp_path)
    with pytest.raises(DatasetError, match="does not exist"):
        sniff(tmp_path / "absent")
