"""RLDS folders without TensorFlow: what the last step is, checksums, splits, images and text."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import assay
from assay.datasets.dataset import Dataset
from assay.datasets.errors import AssayWarning, ConfigError, DatasetError, FormatError
from assay.datasets.formats import format_named, sniff
from assay.datasets.formats.containers.tfrecord import read_examples
from tests.datasets.formats.fuzz import write_rlds, write_tfrecord

SHARD = "reach-train.tfrecord-00000-of-00001"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two episodes, of 3 and 5 steps."""
    write_rlds(tmp_path / "1.0.0", np.random.default_rng(0))
    return tmp_path / "1.0.0"


def examples(folder: Path) -> list[dict[str, Any]]:
    return [{name: list(values) for name, values in example.items()} for example in read_examples(folder / SHARD)]


def test_steps_are_read_and_the_folder_above_is_as_good(folder: Path) -> None:
    assert sniff(folder) == sniff(folder.parent) == "rlds"
    dataset = assay.load(folder)
    assert assay.load(folder.parent) == dataset
    assert dataset.episode_lengths.tolist() == [3, 5]
    stored = np.concatenate([example["steps/action"] for example in examples(folder)]).astype(np.float32)
    assert dataset.actions[:, 0].tobytes() == stored.tobytes()
    assert dataset.rewards.tolist() == [0, 0, 1, 0, 0, 0, 0, 1]
    assert np.flatnonzero(dataset.terminations).tolist() == [7]  # is_terminal
    assert np.flatnonzero(dataset.truncations).tolist() == [2]  # is_last alone
    assert dataset.episode_columns["id"].tolist() == [3, 5]
    assert dataset.episode_columns["language"].tolist() == ["reach", "reach"]
    assert not dataset.final_observations_known.any()


def test_a_last_step_without_action_and_reward_is_the_final_observation(tmp_path: Path) -> None:
    write_rlds(tmp_path / "1.0.0", np.random.default_rng(0), observed_last=True)
    dataset = assay.load(tmp_path / "1.0.0")
    assert dataset.info.extra["rlds"]["last"] == "observation"
    assert dataset.episode_lengths.tolist() == [2, 4]
    assert dataset.final_observations_known.all()
    states = np.concatenate([e["steps/observation/state"] for e in examples(tmp_path / "1.0.0")]).reshape(-1, 2)
    assert dataset.observations.tolist() == states.astype(np.float32).tolist()
    assert assay.load(tmp_path / "1.0.0", last="step").episode_lengths.tolist() == [3, 5]


def test_images_are_listed_and_decoded_when_asked_for(folder: Path) -> None:
    assert assay.load(folder).info.extra["rlds"]["images"] == ["observation/image"]
    frames = assay.load(folder, images=["observation/image"]).observations["image"]
    assert (frames.shape, frames.dtype) == ((10, 4, 6, 3), np.uint8)
    with pytest.raises(ConfigError, match="it has observation/image"):
        assay.load(folder, images=["observation/eye"])


def test_images_that_a_mapping_names_are_decoded(folder: Path) -> None:
    columns = {"observations/state": "observation/state", "observations/eye": "observation/image", "actions": "action"}
    dataset, shown = load_quietly(folder, columns=columns), assay.load(folder, images=["observation/image"])
    assert np.array_equal(dataset.observations["eye"], shown.observations["image"])
    assert dataset.info.extra["rlds"]["images"] == []


def test_where_nothing_but_images_is_observed_the_error_and_the_proposal_name_them(
    folder: Path, tmp_path: Path
) -> None:
    changed = examples(folder)
    features = json.loads((folder / "features.json").read_text())
    steps = features["featuresDict"]["features"]["steps"]["sequence"]["feature"]["featuresDict"]["features"]
    del steps["observation"]["featuresDict"]["features"]["state"]
    (folder / "features.json").write_text(json.dumps(features))
    write_tfrecord(folder / SHARD, [{n: v for n, v in e.items() if n != "steps/observation/state"} for e in changed])
    with pytest.raises(
        FormatError, match=r'no numbers are observed\. There are images: images=\["observation/image"\]'
    ):
        assay.load(folder)
    shown = assay.load(folder, images=["observation/image"])
    assert shown.observations.shape == (10, 4, 6, 3)
    (tmp_path / "columns.yaml").write_text(format_named("rlds").propose(folder))
    assert np.array_equal(assay.load(folder, columns=tmp_path / "columns.yaml").observations, shown.observations)


def test_names_may_be_mapped(folder: Path) -> None:
    dataset = assay.load(folder, columns={"observations": ["observation/state", "action"], "actions": "action"})
    assert dataset.observations.shape == (10, 3)
    assert dataset.missing["rewards"].all()


def test_an_episode_that_was_cut_has_no_end(folder: Path) -> None:
    changed = examples(folder)
    changed[0]["steps/is_last"] = [0, 0, 0]
    write_tfrecord(folder / SHARD, changed)
    with pytest.warns(AssayWarning, match="1 of 2 episodes have no last step"):
        dataset = assay.load(folder)
    assert not (dataset.terminations | dataset.truncations)[:3].any()
    assert load_quietly(
        folder, columns={"observations": "observation/state", "actions": "action", "ends": "truncated"}
    ).truncations[2]


def load_quietly(folder: Path, **options: Any) -> Dataset:
    with warnings.catch_warnings(action="ignore", category=AssayWarning):
        return assay.load(folder, **options)


def test_every_flipped_bit_and_every_cut_is_noticed(folder: Path) -> None:
    content = (folder / SHARD).read_bytes()
    for place in range(0, len(content), 41):
        (folder / SHARD).write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        with pytest.raises(FormatError, match=r"record \d is cut off"):
            assay.load(folder)
        if place:
            (folder / SHARD).write_bytes(content[:place])
            with pytest.raises(
                DatasetError, match=r"record \d is cut off|holds 1 episodes, but dataset_info.json says 2"
            ):
                assay.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps/action": [1.0]}, "action has 1 values; 3 belong there"),
        ({"steps/is_first": [0, 1, 0]}, "is_first is set in step 1 of 3"),
        ({"steps/is_last": [1, 0, 0]}, "is_last is set in step 0 of 3"),
        ({"steps/reward": [b"a", b"b", b"c"]}, "reward holds no numbers of type float32"),
    ],
)
def test_steps_that_do_not_fit_are_refused(change: dict[str, Any], message: str, folder: Path) -> None:
    changed = examples(folder)
    changed[0] |= change
    write_tfrecord(folder / SHARD, changed)
    with pytest.raises(DatasetError, match=message):
        assay.load(folder)


def test_descriptions_that_are_empty_or_wrong_are_named(folder: Path) -> None:
    about, features = folder / "dataset_info.json", folder / "features.json"
    before = about.read_text()
    about.write_text(json.dumps({"splits": [{"name": "train", "shardLengths": ["1", "1"]}]}))
    with pytest.raises(FormatError, match="shard 1 of the split train is missing"):
        assay.load(folder)
    about.write_text("")
    with pytest.raises(FormatError, match=r"dataset_info\.json is empty"):
        assay.load(folder)
    about.write_text(before)
    features.write_text("{}")
    with pytest.raises(FormatError, match=r"features\.json: there is no feature steps/is_last"):
        assay.load(folder)
    features.write_text("")
    with pytest.raises(FormatError, match=r"features\.json is empty"):
        assay.load(folder)


def test_without_the_packages_the_error_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    with pytest.raises(ConfigError, match=r"pip install assay\[rlds\]"):
        assay.load(folder)


@pytest.mark.parametrize("observed_last", [False, True])
def test_the_mapping_that_is_proposed_loads_what_is_loaded_without_one(
    tmp_path: Path, observed_last: bool, capsys
) -> None:
    from assay.cli import main

    write_rlds(tmp_path / "1.0.0", np.random.default_rng(0), observed_last=observed_last)
    main(["datasets", "map", str(tmp_path)])
    text = capsys.readouterr().out
    (tmp_path / "columns.yaml").write_text(text)
    assert "# not taken: observation/image (images" in text
    mapped, usual = assay.load(tmp_path, columns=tmp_path / "columns.yaml"), assay.load(tmp_path)
    assert {name: mapped.column(name).tobytes() for name in mapped.columns} == {
        name: usual.column(name).tobytes() for name in usual.columns
    }
    assert mapped.episode_lengths.tolist() == usual.episode_lengths.tolist()
