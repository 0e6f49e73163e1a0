"""Grids of variants: what they span, how they are named, and that suites take them."""

from __future__ import annotations

import pytest

from assay.baselines import Suite
from assay.corruption import RandomCorruption, grid, preset
from assay.corruption.presets import SEVERITIES
from assay.datasets.errors import ConfigError, UnknownNameError
from assay.datasets.recipe import transforms_from_plain, variants_from_plain
from tests.datasets.dataset_strategies import clean_dataset


def test_a_grid_spans_element_mode_rate_scale_and_seed_with_names_of_what_varies():
    found = grid(["rewards", "states"], ["random", "gaussian"], rates=[0.1, 0.3], scales=[1.0, 2.0], seeds=[0, 1])
    assert len(found) == 1 + 2 * 2 * 2 * 2 * 2
    assert found["clean"] == []
    assert found["gaussian-states-rate0.1-scale2-seed1"] == [
        {
            "corruption.random": {
                "element": "states",
                "rate": 0.1,
                "scale": 2.0,
                "seed": 1,
                "distribution": "gaussian",
            }
        }
    ]
    assert list(grid(["actions"], clean=False)) == ["random-actions"]
    for name, transforms in found.items():
        assert len(transforms_from_plain(transforms, name)) == len(transforms)


def test_elements_of_the_papers_are_several_transforms_of_one_variant():
    found = grid(["simultaneous", "mixed", "full", "actions+rewards"])
    elements = {name: [next(iter(t.values()))["element"] for t in transforms] for name, transforms in found.items()}
    four = ["observations", "actions", "rewards", "dynamics"]
    assert elements == {
        "clean": [],
        "random-simultaneous": four,
        "random-mixed": four,
        "random-full": ["states", "actions", "rewards"],
        "random-actions+rewards": ["actions", "rewards"],
    }
    masks = {}
    for name in ("random-simultaneous", "random-mixed"):
        dataset = clean_dataset(300, 6)
        for transform in transforms_from_plain(found[name], name):
            dataset = transform(dataset)
        masks[name] = [mask.tolist() for mask in dataset.masks.values()]
    assert all(mask == masks["random-mixed"][0] for mask in masks["random-mixed"])
    assert len({tuple(mask) for mask in masks["random-simultaneous"]}) == 4


def test_severities_stand_for_rate_and_scale():
    assert SEVERITIES["published"] == {"rate": 0.3, "scale": 1.0}
    found = grid(["actions"], severities=["mild", "severe"], clean=False)
    assert list(found) == ["random-actions-mild", "random-actions-severe"]
    assert found["random-actions-severe"] == preset("severe", "actions")
    (transform,) = transforms_from_plain(preset("published", "rewards", seed=4), "")
    assert transform == RandomCorruption("rewards", rate=0.3, scale=1.0, seed=4)
    (salt,) = preset("severe", "actions", "salt_and_pepper")
    assert salt["corruption.random"]["scale"] == 1.0
    (adversarial,) = preset("published", "actions", "adversarial", victim="edac")
    assert adversarial == {
        "corruption.adversarial": {"element": "actions", "rate": 0.3, "scale": 1.0, "seed": 0, "victim": "edac"}
    }


def test_a_mode_may_choose_parameters_and_rewards_are_given_no_victim():
    found = grid(["actions", "rewards"], ["fast_adversarial"], clean=False, victim="edac")
    kept = {"rate": 0.3, "scale": 1.0, "seed": 0}
    assert found == {
        "fast_adversarial-actions": [
            {"corruption.adversarial": {"element": "actions", **kept, "steps": 25, "step_size": 0.08, "victim": "edac"}}
        ],
        "fast_adversarial-rewards": [
            {"corruption.adversarial": {"element": "rewards", **kept, "steps": 25, "step_size": 0.08}}
        ],
    }
    (slower,) = preset("published", "actions", "fast_adversarial", steps=40)
    assert slower["corruption.adversarial"]["steps"] == 40


def test_modes_without_element_or_scale_occur_once():
    found = grid(["rewards", "states"], ["freeze", "truncate_episodes"], rates=[0.1, 0.2], scales=[1.0, 2.0], window=5)
    assert list(found) == [
        "clean",
        "freeze-rewards-rate0.1",
        "freeze-rewards-rate0.2",
        "freeze-states-rate0.1",
        "freeze-states-rate0.2",
        "truncate_episodes-rate0.1",
        "truncate_episodes-rate0.2",
    ]
    assert found["freeze-states-rate0.1"] == [
        {"corruption.freeze": {"element": "states", "rate": 0.1, "seed": 0, "window": 5}}
    ]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"elements": ["reward"]}, "unknown element 'reward'"),
        ({"elements": ["rewards"], "modes": ["frieze"]}, "did you mean 'freeze'"),
        ({"elements": ["rewards"], "rates": [1.5]}, "rate=1.5"),
        ({"elements": ["rewards"], "rates": []}, "rates is empty"),
        ({"elements": []}, "elements is empty"),
        ({"elements": ["rewards"], "severities": ["bad"]}, "unknown severity 'bad'"),
        ({"elements": ["rewards"], "severities": ["mild"], "rates": [0.1]}, "not both"),
        ({"elements": ["rewards"], "windows": 3}, "'windows' is a parameter of none of the modes"),
        ({"element": ["rewards"]}, "elements"),
    ],
)
def test_impossible_grids_are_one_clear_line_that_names_the_variant(parameters, message):
    with pytest.raises((ConfigError, UnknownNameError)) as error:
        variants_from_plain({"noise": {"corruption.grid": parameters}}, "suite.yaml")
    assert message in str(error.value)
    assert "suite.yaml: variant noise" in str(error.value)
    assert "\n" not in str(error.value)


def suite(variants):
    return Suite.from_plain(
        {
            "name": "example",
            "source": "hopper/medium",
            "variants": variants,
            "algorithms": {"bc": {}},
            "evaluation": {"episodes": 1, "observation_noise": {"scale": 0.2}},
            "budgets": {"small": {"steps": 10}},
        }
    )


def test_a_suite_takes_lists_and_grids_side_by_side():
    made = suite(
        {
            "clean": [],
            "mine": ["corruption.freeze"],
            "noise": {"corruption.grid": {"elements": ["rewards"], "modes": ["random", "missing"]}},
        }
    )
    assert list(made.variants) == ["clean", "mine", "random-rewards", "missing-rewards"]
    assert [len(variant.dataset.masks) for variant in made.variants_of({"": clean_dataset()})] == [0, 1, 1, 1]
    assert made.make_evaluation(made.budget("small")).observation_noise.scale == 0.2
    with pytest.raises(ConfigError, match="two variants are named 'random-rewards'"):
        suite({"random-rewards": [], "noise": {"corruption.grid": {"elements": ["rewards"]}}})
    with pytest.raises(ConfigError, match="variant noise: expected a list of transforms, or one"):
        suite({"noise": {"corruption.grid": ["rewards"]}})
    with pytest.raises(ConfigError, match=r"variant noise: unknown function of variants 'corruption.gird'"):
        suite({"noise": {"corruption.gird": {}}})
