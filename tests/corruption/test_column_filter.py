"""Filters by a column: what is flagged, how much of it, and that random and oracle act on as many steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.corruption import ColumnFilter, DynamicsFilter, OracleFilter, RandomCorruption, curation
from assay.corruption.repair import FillMissing
from assay.datasets import Dataset
from assay.datasets.errors import ConfigError, DatasetError, UnknownNameError
from assay.datasets.recipe import Recipe, transforms_from_plain
from tests.corruption.test_repair import linear_world


def made(lengths, columns=None, episode_columns=None) -> Dataset:
    steps = int(np.sum(lengths))
    return Dataset.from_arrays(
        observations=np.arange(steps + len(lengths), dtype=float),
        actions=np.zeros(steps),
        rewards=np.arange(steps, dtype=float),
        episode_lengths=list(lengths),
        columns=columns or {},
        episode_columns=episode_columns or {},
    )


def flagged(dataset: Dataset, **fields) -> np.ndarray:
    found = ColumnFilter(action="flag", **fields)
    return found(dataset).column(f"flagged/{found.label}")


def episodes_of(dataset: Dataset, flags: np.ndarray) -> list[int]:
    """The flagged episodes, every one of which is flagged whole."""
    of_episodes = np.split(flags, dataset.episode_starts[1:])
    assert all(part.all() or not part.any() for part in of_episodes)
    return [number for number, part in enumerate(of_episodes) if part.any()]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.floats(0, 1), st.integers(0, 5))
def test_the_worst_episodes_are_taken_until_no_number_of_them_is_nearer_to_the_share(lengths, share, seed):
    scores = np.random.default_rng(seed).permutation(len(lengths)).astype(float)
    dataset = made(lengths, episode_columns={"score": scores})
    chosen = episodes_of(dataset, flagged(dataset, of="score", share=share))
    order = np.argsort(-scores)
    assert sorted(chosen) == sorted(order[: len(chosen)])  # the worst, whatever their lengths
    wanted = share * sum(lengths)
    held = np.concatenate([[0], np.cumsum(np.array(lengths)[order])])
    assert abs(held[len(chosen)] - wanted) == pytest.approx(np.abs(held - wanted).min())


def test_lower_is_worse_where_it_is_said_and_a_threshold_flags_what_is_beyond_it():
    dataset = made([2, 1, 3], episode_columns={"score": np.array([1.0, 3.0, 2.0])})
    assert episodes_of(dataset, flagged(dataset, of="score", threshold=1.5)) == [1, 2]
    assert episodes_of(dataset, flagged(dataset, of="score", worse="lower", threshold=1.5)) == [0]
    assert episodes_of(dataset, flagged(dataset, of="score", worse="lower", share=0.34)) == [0]


def test_an_episode_is_scored_by_the_mean_or_the_largest_of_its_steps_that_have_one():
    column = np.array([0.0, 4.0, np.nan, 3.0, 3.0, np.nan])
    dataset = made([3, 2, 1], columns={"infos/doubt": column})
    assert episodes_of(dataset, flagged(dataset, of="infos/doubt", threshold=2.5)) == [1]  # means 2 and 3
    assert episodes_of(dataset, flagged(dataset, of="infos/doubt", of_episode="max", threshold=3.5)) == [0]
    assert episodes_of(dataset, flagged(dataset, of="infos/doubt", share=5 / 6)) == [0, 1]  # no score: the last


def test_equal_scores_are_taken_in_random_order_of_the_seed():
    dataset = made([1] * 40, episode_columns={"score": np.zeros(40)})
    chosen = [tuple(episodes_of(dataset, flagged(dataset, of="score", share=0.5, seed=seed))) for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]
    assert chosen[0] != tuple(range(20))


@pytest.mark.parametrize("granularity", ["trajectory", "transition"])
def test_oracle_random_and_detector_act_on_as_many_steps_as_are_corrupted(granularity):
    noisy = RandomCorruption("actions", rate=0.4, granularity=granularity, count="exact")(linear_world(600))
    per = "episode" if granularity == "trajectory" else "step"
    size = {"per": per, "share": "corrupted", "action": "flag"}
    sides = {name: ColumnFilter(of=name, **size)(noisy).column(f"flagged/{name}") for name in ("oracle", "random")}
    assert (sides["oracle"] == noisy.masks["actions"]).all()
    assert sides["random"].sum() == noisy.masks["actions"].sum()
    assert 0.2 < (sides["random"] & noisy.masks["actions"]).sum() / sides["random"].sum() < 0.6  # it knows nothing


def test_what_is_dropped_or_weighted_down_is_what_is_flagged():
    dataset = made([2, 1, 3], episode_columns={"score": np.array([1.0, 3.0, 2.0])})
    assert ColumnFilter(of="score", share=0.17)(dataset).episode_lengths.tolist() == [2, 3]
    light = ColumnFilter(of="score", share=0.17, action="weights", weight=0.25)(dataset)
    assert light.weights.tolist() == [1, 1, 0.25, 1, 1, 1]
    again = ColumnFilter(of="score", share=0.17, action="weights", weight=0.25)(light)
    assert again.weights.tolist() == [1, 1, 0.0625, 1, 1, 1]
    everything = ColumnFilter(of="score", threshold=0.0, action="weights", weight=0.5)(dataset)
    assert everything.weights.tolist() == [0.5] * 6  # nothing is lost, so nothing is refused
    with pytest.raises(DatasetError, match="nothing is left"):
        ColumnFilter(of="score", threshold=0.0, action="weights")(dataset)


def test_steps_that_lead_to_a_wrong_observation_go_too_where_it_is_said():
    dataset = made([4], columns={"infos/doubt": np.array([0.0, 0.0, 1.0, 0.0])})
    fields = {"of": "infos/doubt", "per": "step", "threshold": 0.5}
    assert ColumnFilter(**fields)(dataset).rewards.tolist() == [0, 1, 3]
    left = ColumnFilter(**fields, wrong_observations=True)(dataset)
    assert left.rewards.tolist() == [0, 3]
    assert 2.0 not in left.observations  # the doubted one is in no transition


def test_a_filter_is_replayed_and_applied_from_a_recipe():
    noisy = RandomCorruption("rewards", rate=0.2)(linear_world(300))
    plain = [
        {"corruption.repair.rewards": {"action": "flag"}},
        {"corruption.repair.column": {"of": "suspicion/rewards", "share": 0.2}},
    ]
    recipe = Recipe("unused", transforms_from_plain(plain, "recipe"))
    assert recipe.apply(noisy).fingerprint == recipe.apply(noisy).fingerprint
    assert [item.transform for item in recipe.apply(noisy).history[-2:]] == [
        "corruption.repair.rewards",
        "corruption.repair.column",
    ]


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"of": "score"}, ConfigError, "either share or threshold"),
        ({"of": "score", "share": 0.1, "threshold": 1.0}, ConfigError, "either share or threshold"),
        ({"of": "score", "share": 1.5}, ConfigError, "share=1.5"),
        ({"of": "oracle", "threshold": 1.0}, ConfigError, "give a share"),
        ({"of": "scoer", "share": 0.1}, UnknownNameError, "did you mean 'score'"),
        ({"of": "observations", "share": 0.1}, ConfigError, "one number per step"),
        ({"of": "score", "per": "step", "share": 0.1}, ConfigError, 'per="episode"'),
        ({"of": "name", "share": 0.1}, ConfigError, "numbers are needed"),
        ({"of": "oracle", "share": 0.1}, UnknownNameError, "nothing of this dataset is marked"),
        ({"of": "score", "share": "corrupted"}, UnknownNameError, "nothing of this dataset is marked"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(fields, error, words):
    dataset = made([2, 1], episode_columns={"score": np.array([1.0, 3.0]), "name": np.array(["a", "b"])})
    with pytest.raises(error, match=words) as caught:
        ColumnFilter(**fields)(dataset)
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- filling


def test_episodes_without_a_number_to_fill_from_are_left_out_where_that_is_said():
    dataset = made([2, 2])
    observations = dataset.observations.copy()
    observations[[0, 3, 4, 5]] = np.nan
    dataset = dataset.replace({"observations": observations})
    with pytest.raises(DatasetError, match="no number to fill from"):
        FillMissing(method="interpolate")(dataset)
    filled = FillMissing(method="interpolate", hopeless="drop")(dataset)
    assert filled.observations.tolist() == [1.0, 1.0, 2.0]
    with pytest.raises(DatasetError, match="nothing is left"):
        FillMissing(method="previous", hopeless="drop")(dataset[1:])


# ---------------------------------------------------------------- the variants of an audit

NOISE = [{"corruption.random": {"element": "actions", "granularity": "trajectory", "count": "exact", "rate": 0.4}}]
SPIKES = [{"corruption.random": {"element": "states", "distribution": "salt_and_pepper", "scale": 0.5, "rate": 0.2}}]
DETECTORS = {
    "low return": {"of": "return", "worse": "lower"},
    "dynamics": {"of": "suspicion/dynamics", "after": [{"corruption.repair.dynamics": {"action": "flag"}}]},
}


def built(variants, name, dataset):
    return Recipe("unused", transforms_from_plain(variants[name], name)).apply(dataset)


def test_every_defect_has_every_detector_and_the_controls_of_every_action():
    actions = {"drop": {}, "weight": {"action": "weights", "weight": 0.2}}
    variants = curation({"noise": NOISE}, DETECTORS, actions, draws=3)
    detectors = ["oracle", "random 1", "random 2", "random 3", "low return", "dynamics"]
    assert list(variants) == ["noise"] + [f"noise / {name} / {action}" for action in actions for name in detectors]
    world = linear_world(600)
    left = {name: built(variants, name, world) for name in variants}
    assert {left[f"noise / {name} / drop"].total_steps for name in detectors} == {360}
    assert not left["noise / oracle / drop"].masks["actions"].any()
    assert left["noise / random 1 / drop"].fingerprint != left["noise / random 2 / drop"].fingerprint
    assert left["noise / dynamics / weight"].weights.min() == pytest.approx(0.2)


def test_a_repair_gives_the_flagged_steps_numbers_of_their_neighbours():
    defects = {
        "spikes": {
            "transforms": SPIKES,
            "per": "step",
            "actions": {"repair": {"fill": "states"}},
            "detectors": ["dynamics"],
        }
    }
    variants = curation(defects, DETECTORS, draws=1)
    assert list(variants) == ["spikes"] + [f"spikes / {name} / repair" for name in ("oracle", "random 1", "dynamics")]
    world = linear_world(600)
    distances = {
        name: np.abs(built(variants, name, world).observations - world.observations).mean() for name in variants
    }
    assert distances["spikes / oracle / repair"] < 0.5 * distances["spikes"]
    assert distances["spikes / dynamics / repair"] < 0.7 * distances["spikes / random 1 / repair"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (({"a / b": NOISE}, DETECTORS), "slash"),
        (({"noise": NOISE}, {"random 1": {"of": "return"}}), "there already"),
        (({"noise": NOISE}, {"return": {"worse": "lower"}}), "detector return"),
        (({"noise": NOISE}, {"return": {"of": "return", "worst": "lower"}}), "'worst' is not one of"),
        (({"noise": {"transforms": NOISE, "detectors": ["jerk"]}}, DETECTORS), "no detector 'jerk'"),
        (({"noise": {"transform": NOISE}}, DETECTORS), "'transform' is not one of"),
        (({"noise": NOISE}, DETECTORS, {"repair": {"fill": "state"}}), "fill='state'"),
    ],
)
def test_parts_of_an_audit_that_are_misspelt_are_named(arguments, words):
    with pytest.raises(ConfigError, match=words):
        curation(*arguments)


def test_scores_of_a_filter_rank_whole_episodes():
    noisy = RandomCorruption("states", rate=0.4, granularity="trajectory", count="exact")(linear_world(600))
    scored = DynamicsFilter(action="flag")(noisy)
    dropped = ColumnFilter(of="suspicion/dynamics", share="corrupted")(scored)
    oracle = OracleFilter()(noisy)
    assert dropped.masks["states"].mean() < 0.1 < noisy.masks["states"].mean()
    assert dropped.total_episodes == pytest.approx(oracle.total_episodes, abs=2)
