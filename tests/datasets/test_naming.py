"""Names of variants: given ones are kept, others are made from the source and the last transforms."""

from __future__ import annotations

import numpy as np
import pytest

import assay
from assay.corruption import RandomCorruption
from assay.datasets import Dataset, DatasetInfo, Recipe, Record
from assay.datasets.naming import Named, name_from_history
from assay.datasets.transform import registered
from assay.reweighting import TrajectoryWeighting


@pytest.fixture
def dataset() -> Dataset:
    made = Dataset.from_arrays(
        observations=np.arange(24.0),
        actions=np.zeros((20, 1)),
        rewards=np.ones(20),
        terminations=np.arange(20) % 5 == 4,
        truncations=np.zeros(20, bool),
    )
    return Dataset(
        {name: made.column(name) for name in made.columns},
        made.episode_lengths,
        info=DatasetInfo(id="hopper/medium-replay"),
    )


def test_a_variant_without_a_name_is_called_by_its_source_and_what_was_done_to_it(dataset):
    noisy = RandomCorruption(element="rewards", rate=0.3)(dataset)
    assert dataset.name == "hopper/medium-replay"
    assert noisy.name == "hopper/medium-replay + rewards 0.3"
    assert noisy.select([0, 1]).name == "hopper/medium-replay + rewards 0.3 + 2 episodes"
    assert RandomCorruption(element="actions", rate=0.1, scale=2.0, distribution="gaussian")(dataset).name == (
        "hopper/medium-replay + actions 0.1 scale=2 gaussian"
    )
    assert TrajectoryWeighting(score="return", temperature=0.5)(dataset).name.endswith("+ trajectory temperature=0.5")


def test_a_long_name_keeps_the_last_transforms(dataset):
    for element in ("rewards", "actions", "observations", "dynamics"):
        dataset = RandomCorruption(element=element, rate=0.1)(dataset)
    assert dataset.name == "hopper/medium-replay + … + actions 0.1 + observations 0.1 + dynamics 0.1"


def test_a_given_name_stays_and_later_transforms_are_appended(dataset):
    named = RandomCorruption(element="rewards", rate=0.3)(dataset).named("noisy")
    assert named.name == "noisy"
    assert named.fingerprint == RandomCorruption(element="rewards", rate=0.3)(dataset).fingerprint
    assert named.select([0]).name == "noisy + 1 episode"
    assert named.named("other").name == "other"


def test_a_name_is_saved_loaded_and_part_of_recipes(dataset, tmp_path):
    assay.save(dataset.named("plain"), tmp_path / "stored")
    assert assay.load(tmp_path / "stored").name == "plain"
    recipe = Recipe.from_plain({"source": "x", "transforms": [{"datasets.named": {"variant": "mine"}}]})
    assert recipe.apply(dataset).name == "mine"


def test_a_transform_that_is_not_installed_is_still_told():
    history = [Record("source", {}), Record("elsewhere.smooth", {"width": 3, "seed": 1, "kind": "box"})]
    assert name_from_history("a", history) == "a + smooth width=3 box"


def test_every_transform_has_a_short_summary_that_its_parameters_decide():
    for name, kind in registered().items():
        assert callable(kind.summary), name
    assert Named(variant="x").summary() == "x"
