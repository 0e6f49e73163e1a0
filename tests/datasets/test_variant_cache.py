"""Results of costly transforms: made once, equal to what the transform gives, never mistaken for another's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from assay.corruption import RandomCorruption
from assay.datasets.dataset import Dataset
from assay.datasets.errors import DatasetIntegrityError
from assay.datasets.info import DatasetInfo, Record
from assay.datasets.recipe import Recipe
from assay.datasets.variant_cache import apply_or_find, cache_path
from tests.datasets.dataset_strategies import clean_dataset


@pytest.fixture
def made(monkeypatch, tmp_path) -> list[Dataset]:
    """Random corruption as if it took minutes, with what it was applied to."""
    applied, apply = [], RandomCorruption.apply

    def counted(self: RandomCorruption, dataset: Dataset) -> Dataset:
        applied.append(dataset)
        return apply(self, dataset)

    monkeypatch.setenv("ASSAY_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(RandomCorruption, "costly", property(lambda self: self.element != "rewards"))
    monkeypatch.setattr(RandomCorruption, "apply", counted)
    return applied


def folders() -> list[Path]:
    from assay.datasets.loading import home

    return sorted((home() / "variants").glob("*"))


def test_a_costly_transform_is_applied_once_and_gives_the_same(made):
    dataset, transform = clean_dataset(60, 6), RandomCorruption("observations")
    first, second = (apply_or_find(transform, dataset) for _ in range(2))
    assert made == [dataset]
    assert folders() == [cache_path(transform, dataset)]
    direct = transform(dataset)
    for result in (first, second):
        assert result == direct
        assert (result.history, result.info) == (direct.history, direct.info)


def test_what_costs_little_is_not_kept(made):
    transform = RandomCorruption("rewards")
    for _ in range(2):
        apply_or_find(transform, clean_dataset(60, 6))
    assert len(made) == 2
    assert folders() == []


def test_other_parameters_data_history_or_info_have_folders_of_their_own(made):
    dataset = clean_dataset(60, 6)
    others = [
        dataset.replace({"rewards": dataset.rewards + 1}),
        dataset.replace(info=DatasetInfo(id="another")),
        dataset.replace(record=Record("source", {"name": "elsewhere"})),
    ]
    transform = RandomCorruption("observations")
    paths = {cache_path(transform, one) for one in (dataset, *others)}
    paths |= {
        cache_path(RandomCorruption("observations", seed=1), dataset),
        cache_path(RandomCorruption("states"), dataset),
    }
    assert len(paths) == 6
    for one in others:
        apply_or_find(transform, dataset)
        assert apply_or_find(transform, one).history == transform(one).history


def test_transforms_that_follow_are_found_one_by_one(made):
    dataset = clean_dataset(60, 6)
    elements = ("observations", "rewards", "actions")
    recipe = Recipe("x", tuple(RandomCorruption(element) for element in elements))
    once = recipe.apply(dataset, keep=True)
    assert (len(made), len(folders())) == (3, 2)
    assert recipe.apply(dataset, keep=True) == once == recipe.apply(dataset)
    assert len(made) == 3 + 1 + 3  # rewards again, and all without keep


def test_a_damaged_result_is_an_error_with_the_folder_to_delete(made):
    dataset, transform = clean_dataset(60, 6), RandomCorruption("observations")
    result = apply_or_find(transform, dataset)
    (folder,) = folders()
    file = folder / "columns" / "observations.npy"
    damaged = np.load(file)
    damaged[3] += 1
    np.save(file, damaged)
    with pytest.raises(DatasetIntegrityError, match=f"column observations is damaged.*delete {folder}"):
        apply_or_find(transform, dataset)
    (folder / "metadata.json").unlink()
    with pytest.raises(DatasetIntegrityError, match=f"delete {folder}"):
        apply_or_find(transform, dataset)
    assert len(made) == 1
    assert result.masks["observations"].any()
