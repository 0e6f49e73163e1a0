"""Every writer: what is learned from what was written is what is learned from the dataset, or nothing is written."""

from __future__ import annotations

import ast
import re
import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import assay
from assay.datasets.dataset import Dataset, is_under
from assay.datasets.errors import AssayWarning, ConfigError, DatasetError, UnknownNameError
from assay.datasets.formats import writable_formats
from assay.datasets.missing import without_labels
from tests.datasets.dataset_strategies import clean_dataset, random_array
from tests.datasets.formats.row_strategies import row_datasets

PARTIAL = [name for name in writable_formats() if name not in ("assay", "npz")]
"""Formats that cannot hold everything."""
STANDARD = {"observations", "actions", "rewards", "next_observations", "terminations"}
EXTRAS = (
    "weights",
    "costs",
    "corrupted/rewards",
    "uncertainty/rewards",
    "infos/missing/rewards",
    "mine",
)


@st.composite
def changed_datasets(draw: st.DrawFn) -> Dataset:
    """A dataset that transforms may have left: extra columns of any meaning, flags anywhere, marked episodes."""
    dataset = draw(row_datasets(costs=draw(st.booleans())))
    generator = np.random.default_rng(draw(st.integers(0, 1000)))
    steps = dataset.total_steps
    columns: dict[str, Any] = {
        name: random_array(generator, "bool" if name.startswith("corrupted") else "float32", (steps,))
        for name in draw(st.sets(st.sampled_from(EXTRAS), max_size=2))
    }
    if draw(st.booleans()):
        columns["terminations"] = dataset.terminations | (generator.random(steps) < 0.2)
    if draw(st.booleans()):
        columns["rewards"] = np.zeros(steps)
    episode_columns = {}
    if draw(st.integers(0, 3)) == 0:
        episode_columns["corrupted/duplicated"] = generator.random(dataset.total_episodes) < 0.5
    return dataset.replace(columns, episode_columns=episode_columns)


def learned(dataset: Dataset, steps: np.ndarray) -> dict[str, np.ndarray]:
    """What a method may learn from, as rows of the given steps; shapes are the format's business."""
    transitions = dataset.transitions(np.float64, keep_terminal=True)
    rows = np.searchsorted(transitions.steps, steps)
    assert transitions.steps[rows].tolist() == steps.tolist()
    result = {name: getattr(transitions, name)[rows] for name in STANDARD}
    result["next_observations"][transitions.terminations[rows]] = 0  # never looked at, and not known to every format
    for name in dataset.columns:
        if name.split("/")[0] not in (*STANDARD, "truncations", "infos", "time") or is_under(name, "infos/missing"):
            result[name] = dataset.column(name)[steps]
    return result | {name: dataset.episode_columns[name] for name in dataset.episode_columns if "corrupted" in name}


def assert_same_is_learned(before: Dataset, after: Dataset, dropped: list[str]) -> None:
    steps = after.transitions(keep_terminal=True).steps
    same_steps = before.total_steps == after.total_steps
    # OGBench does not write the steps whose next observation is unknown, and counts the others.
    first = learned(before, steps if same_steps else before.usable_steps)
    second = learned(after, steps)
    names = {name for name in first if not any(is_under(name, item) for item in dropped)}
    assert names | STANDARD == {*second} | STANDARD
    for name in names - ({"next_observations"} if "terminations" in dropped else set()):
        assert np.array_equal(first[name].reshape(-1), second[name].reshape(-1)), name


@pytest.mark.parametrize("name", writable_formats())
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(dataset=changed_datasets())
def test_the_same_is_learned_or_nothing_is_written(name: str, tmp_path: Path, dataset: Dataset) -> None:
    """Corrupted dynamics written as Minari or d3rlpy came back as the clean ones."""
    folder = tmp_path / "case"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path, dropped = folder / "case-v0", list[str]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AssayWarning)
        try:
            assay.save(dataset, path, format=name)
        except DatasetError as error:
            assert not list(folder.iterdir())
            found = re.search(r"drop=(\[.*?\])", str(error))
            if found is None:  # the format cannot hold such a dataset at all
                assert name not in ("assay", "npz")
                return
            dropped = ast.literal_eval(found[1])
            assay.save(dataset, path, format=name, drop=dropped)  # what the message names is enough
        assert_same_is_learned(dataset, assay.load(path), dropped)


@pytest.mark.parametrize("name", PARTIAL)
def test_harmless_things_are_left_out_with_one_warning_that_names_them(name: str, tmp_path: Path) -> None:
    dataset = clean_dataset(costs=np.ones(60), rewards=np.zeros(60), episode_columns={"level": np.arange(10) > 3})
    dataset = dataset.replace(
        {"infos/note": np.full((60, 2), "text"), "infos/late": np.zeros(70), "truth/rewards": np.zeros(60)}
    )
    with pytest.warns(AssayWarning) as caught:
        assay.save(dataset, tmp_path / "mine-v0", format=name, drop=[] if name == "dsrl" else ["costs"])
    assert len(caught) == 1
    message = str(caught[0].message)
    assert "infos/note" in message
    assert "truth" not in message  # what a transform hid is no format's business but Assay's own
    assert ("infos/late" in message) == (name in ("d4rl", "dsrl", "robomimic", "lerobot", "d3rlpy"))


@pytest.mark.parametrize("name", PARTIAL)
def test_next_observations_are_refused_where_they_differ_and_only_there(name: str, tmp_path: Path) -> None:
    dataset = clean_dataset(rewards=np.zeros(60), **({"costs": np.ones(60)} if name == "dsrl" else {}))
    following = dataset.next_observations
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AssayWarning)
        assay.save(dataset.replace({"next_observations": following}), tmp_path / "same-v0", format=name)
        following = following.copy()
        following[7, 0] = np.nextafter(following[7, 0], np.inf)
        differing = dataset.replace({"next_observations": following})
        if name in ("d4rl", "dsrl", "robomimic", "mcap", "zarr"):
            assay.save(differing, tmp_path / "other-v0", format=name)
            assert assay.load(tmp_path / "other-v0").column("next_observations").tobytes() == following.tobytes()
            return
        with pytest.raises(DatasetError, match=r"cannot hold next_observations.*drop=\['next_observations'\]"):
            assay.save(differing, tmp_path / "other-v0", format=name)
        assert not (tmp_path / "other-v0").exists()
        assay.save(differing, tmp_path / "other-v0", format=name, drop=["next_observations"])
        assert not assay.load(tmp_path / "other-v0").has_next_observations


def test_what_is_dropped_has_to_be_there_and_to_be_something_that_can_be_missing(tmp_path: Path) -> None:
    dataset = clean_dataset(weights=np.ones(60))
    with pytest.raises(UnknownNameError, match="did you mean 'weights'"):
        assay.save(dataset, tmp_path / "a", drop=["weigths"])
    with pytest.raises(ConfigError, match=r"drop=\['weights'\]"):
        assay.save(dataset, tmp_path / "a", drop="weights")
    with pytest.raises(ConfigError, match="observations cannot be dropped"):
        assay.save(dataset, tmp_path / "a", drop=["observations"])
    with pytest.raises(ConfigError, match="rewards cannot be dropped: minari holds it"):
        assay.save(dataset, tmp_path / "a-v0", format="minari", drop=["rewards", "weights"])
    assert not list(tmp_path.iterdir())
    assay.save(dataset, tmp_path / "a", drop=["weights"])
    assert "weights" not in assay.load(tmp_path / "a").columns


HOLDING = {
    "no rewards": {"assay", "npz", "lerobot", "robomimic", "zarr", "mcap"},
    "no actions": {"assay", "npz", "lerobot", "zarr", "mcap"},
    "some": {"assay", "npz", "zarr", "mcap"},
}
"""Formats that hold what a dataset lacks; all others refuse."""


@st.composite
def unlabelled_datasets(draw: st.DrawFn, lacking: str) -> Dataset:
    dataset = draw(row_datasets(costs=True, unended=False, unknown_finals=False))
    if lacking != "some":
        return dataset.replace({lacking.removeprefix("no "): None})
    steps = dataset.total_steps
    masks = {
        element: np.array(draw(st.lists(st.booleans(), min_size=steps, max_size=steps)))
        for element in draw(st.sets(st.sampled_from(("actions", "rewards")), min_size=1))
    }
    masks = {element: mask | (np.arange(steps) == 0) for element, mask in masks.items()}
    columns = without_labels({name: dataset.column(name) for name in dataset.columns}, masks)
    return Dataset(columns, dataset.episode_lengths, episode_columns=dataset.episode_columns)


@pytest.mark.parametrize("lacking", HOLDING)
@pytest.mark.parametrize("name", writable_formats())
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_missing_labels_come_back_or_are_refused_by_name(
    name: str, lacking: str, tmp_path: Path, data: st.DataObject
) -> None:
    dataset = data.draw(unlabelled_datasets(lacking))
    folder = tmp_path / "case"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = folder / "case-v0"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AssayWarning)
        harmless = [
            item
            for item in (() if name == "dsrl" else ("costs", "next_observations"))
            if any(is_under(column, item) for column in dataset.columns)
        ]
        if name not in HOLDING[lacking]:
            with pytest.raises(DatasetError, match="missing/" if lacking == "some" else lacking.removeprefix("no ")):
                assay.save(dataset, path, format=name, drop=harmless)
            assert not list(folder.iterdir())
            return
        assay.save(dataset, path, format=name, drop=[] if name in ("assay", "npz") else harmless)
        loaded = assay.load(path)
    for element, mask in dataset.missing.items():
        assert loaded.missing[element].tolist() == mask.tolist()
        for column in (column for column in dataset.columns if is_under(column, element)):
            before, after = dataset.column(column), loaded.column(column)
            assert before.reshape(-1).tobytes() == after.reshape(-1).tobytes()


@pytest.mark.parametrize("name", writable_formats())
def test_names_and_units_come_back_or_are_said_to_be_left_out(name: str, tmp_path: Path) -> None:
    dataset = clean_dataset(steps=24, length=6, seed=0).replace({"costs": np.ones(24), "rewards": np.zeros(24)})
    names = {"observations": ("hip", "knee", "ankle"), "actions": ("left", "right")}
    units = {"observations": ("rad", "rad/s", "")}
    dataset = dataset.replace(info=replace(dataset.info, names=names, units=units))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        costs = [] if name in ("assay", "npz", "dsrl") else ["costs"]
        assay.save(dataset, tmp_path / "own-v0", format=name, drop=costs)
    told = " ".join(str(item.message) for item in caught)
    loaded = assay.load(tmp_path / "own-v0").info
    assert dict(loaded.names) == names or "names of dimensions" in told
    assert dict(loaded.units) == units or "units" in told
