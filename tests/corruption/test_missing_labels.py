"""Transforms of datasets that lack labels: each keeps what is missing missing, or says which label it needs."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np
import pytest

from assay.corruption.repair import FillMissing, RewardFilter
from assay.datasets import Dataset
from assay.datasets.errors import MissingLabelsError
from assay.datasets.transform import make_transform, registered

STEPS, EPISODES = 240, 8
MASK = np.random.default_rng(0).random(STEPS) < 0.3
LABELS = ("actions", "rewards")
# What a transform must be given to be made, and needs no label.
GIVEN: dict[str, dict[str, Any]] = {
    "datasets.draw_episodes": {"episodes": 5},
    "datasets.named": {"variant": "a name"},
    "datasets.split": {"fractions": (0.5, 0.5), "part": 1},
    "datasets.tag": {"tags": {"best": [0, 3]}},
    "corruption.random": {"element": "observations"},
    "corruption.repair.column": {"of": "infos/step", "share": 0.2},
    "corruption.repair.outliers": {"element": "observations"},
    "reweighting.density_ratio": {"updates": 2, "hidden": (4,)},
    "reweighting.column": {"of": "infos/step"},
    "reweighting.tags": {"shares": {"early": 0.5}},
    "reweighting.mixture": {"of": ["uniform", {"reweighting.column": {"of": "infos/step"}}]},
}
NEEDS_OTHERS = {"corruption.adversarial", "datasets.merge", "datasets.resample"}  # a victim, files, times
ROOMS = ("corruption.", "datasets.", "reweighting.")
NAMES = sorted(name for name in registered() if name.startswith(ROOMS) and name not in NEEDS_OTHERS)


def lacking(element: str, how: str, seed: int = 1) -> Dataset:
    """Return 8 episodes of 30 steps, without this label everywhere ("whole") or below MASK ("mask")."""
    generator = np.random.default_rng(seed)
    step = np.arange(STEPS)
    given: dict[str, Any] = {
        "observations": generator.normal(size=(STEPS + EPISODES, 3)).astype(np.float32),
        "actions": generator.uniform(-1, 1, (STEPS, 2)).astype(np.float32),
        "rewards": generator.normal(size=STEPS).astype(np.float32),
        "terminations": step % 60 == 59,
        "truncations": (step % 30 == 29) & (step % 60 != 59),
        "columns": {"infos/step": step, "weights": 1.0 + step % 2},
        "episode_columns": {"tags/early": np.arange(EPISODES) < EPISODES // 2},
    }
    if how == "whole":
        given[element] = None
    else:
        given["missing"] = {element: MASK}
    return Dataset.from_arrays(**given)


def looking_at(name: str, element: str) -> dict[str, Any]:
    """Return the parameters with which a transform changes or reads this element, if it can."""
    fields = {field.name for field in dataclasses.fields(registered()[name])}
    own = GIVEN.get(name, {})
    return (
        own
        | ({"element": element} if "element" in fields else {})
        | ({"elements": [element]} if "elements" in fields else {})
    )


def result_or_refusal(name: str, parameters: dict[str, Any], dataset: Dataset) -> Dataset | MissingLabelsError:
    try:
        return make_transform(name, parameters)(dataset)
    except MissingLabelsError as error:
        return error


@pytest.mark.parametrize("how", ["whole", "mask"])
@pytest.mark.parametrize("element", LABELS)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_missing_stays_missing_or_the_label_that_is_needed_is_named(name, element, how):
    dataset = lacking(element, how)
    for parameters in (GIVEN.get(name, {}), looking_at(name, element)):
        if name == "corruption.repair.oracle":
            parameters = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = result_or_refusal(name, parameters, dataset)
        if isinstance(result, MissingLabelsError):
            assert element in str(result)
            assert "relabeling" in str(result)
            continue
        missing = result.missing[element]
        if how == "whole":
            assert missing.all()
            continue
        labels = result.column(element)
        assert np.isnan(labels[missing]).all()
        assert np.isfinite(labels[~missing]).all()
        if "infos/step" in result.columns and name not in ("corruption.downsample",):
            assert missing.tolist() == MASK[result.column("infos/step")].tolist()


@pytest.mark.parametrize("method", ["previous", "interpolate", "constant", "drop", "split"])
@pytest.mark.parametrize("how", ["whole", "mask"])
def test_gaps_of_sensors_are_filled_where_labels_are_missing(method, how):
    dataset = lacking("rewards", how)
    observations = dataset.column("observations").copy()
    observations[40, 1] = np.nan
    filled = FillMissing(method=method)(dataset.replace({"observations": observations}))
    assert np.isfinite(filled.column("observations")).all()
    assert filled.missing["rewards"].sum() >= dataset.missing["rewards"].sum() - 2


def test_nothing_is_filled_from_a_label_that_is_missing():
    dataset = Dataset.from_arrays(
        observations=np.zeros((6, 1)),
        actions=np.array([1.0, 2.0, np.nan, np.nan, 5.0])[:, None],
        rewards=np.zeros(5),
        terminations=np.arange(5) == 4,
        truncations=np.zeros(5, bool),
        missing={"actions": [False, True, False, True, False]},
    )
    filled = FillMissing(method="previous")(dataset)
    assert filled.missing["actions"].tolist() == [False, True, False, True, False]
    assert filled.actions[[0, 2, 4], 0].tolist() == [1.0, 1.0, 5.0]  # not 2, which nobody recorded
    assert filled.column("filled/actions").tolist() == [False, False, True, False, False]


def test_a_step_without_a_reward_is_not_suspected():
    found = RewardFilter(action="flag")(lacking("rewards", "mask"))
    assert not found.column("flagged/rewards")[MASK].any()
    assert (found.column("suspicion/rewards")[MASK] == 0).all()
    assert RewardFilter()(lacking("rewards", "mask")).total_steps > 0.9 * STEPS
