from __future__ import annotations

import platform
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import pytest

import assay
from assay.datasets.collection.catalog import BODIES, catalog, find, shipped_policies
from assay.datasets.collection.collect import collect
from assay.datasets.collection.policies import LinearPolicy, UniformPolicy
from assay.datasets.collection.policy_returns import episode_returns
from assay.datasets.collection.scripted import SCRIPTED, measured_returns
from assay.datasets.environments.pool import EnvironmentPool
from assay.datasets.errors import ConfigError, UnknownNameError
from assay.datasets.loading import collect_entry

SAME_POLICIES = {"pendulum-sparse": "pendulum"}
"""Bodies that have another's policies, in the same task with other rewards."""


@pytest.mark.parametrize("body", BODIES)
def test_a_shipped_level_earned_what_its_name_says(body: str) -> None:
    content = shipped_policies(body)
    low, high = content["references"]["random_return"], content["references"]["expert_return"]
    bands = {"simple": (12, 22), "medium": (28, 40), "expert": (100 - 1e-9, np.inf)}
    for level, entry in content["levels"].items():
        measured = entry["measured"]
        assert measured["episodes"] == len(measured["returns"]) == 100
        assert measured["mean_return"] == pytest.approx(np.mean(measured["returns"]))
        floor, ceiling = bands[level]
        if body not in SAME_POLICIES:
            assert floor <= 100 * (measured["mean_return"] - low) / (high - low) <= ceiling
    assert {*content["levels"], *content["absent"]} == {"simple", "medium", "expert"}


@pytest.mark.parametrize(("body", "other"), SAME_POLICIES.items())
def test_a_body_with_other_rewards_has_the_same_policies(body: str, other: str) -> None:
    own, theirs = shipped_policies(body), shipped_policies(other)
    for level, entry in own["levels"].items():
        assert entry["policy"] == theirs["levels"][level]["policy"]
        assert entry["measured"]["mean_return"] != theirs["levels"][level]["measured"]["mean_return"]
    assert [each["policy"] for each in own["iterates"]] == [each["policy"] for each in theirs["iterates"]]


@pytest.mark.parametrize("body", [body for body in BODIES if "medium" in shipped_policies(body)["levels"]])
def test_the_iterates_follow_the_training_and_improve(body: str) -> None:
    iterates = shipped_policies(body)["iterates"]
    assert 8 <= len(iterates) <= 12
    iterations = [iterate["training"]["iteration"] for iterate in iterates]
    assert iterations == sorted(set(iterations))
    earned = [iterate["measured"]["mean_return"] for iterate in iterates]
    assert np.mean(earned[-3:]) > np.mean(earned[:3])


@pytest.mark.parametrize("body", BODIES)
def test_measured_returns_can_be_measured_again(body: str) -> None:
    content = shipped_policies(body)
    here = {name: version(name) for name in content["versions"]}
    if here != content["versions"] or platform.machine() != content["machine"]:
        pytest.skip("measured with other versions of the simulator")
    level = next((name for name in ("medium", "simple") if name in content["levels"]), None)
    if level is None:
        pytest.skip(f"no policy of {body} is shipped")
    entry = content["levels"][level]
    first = entry["measured"]["first_seed"]
    with EnvironmentPool(content["environment_id"], 3, workers=0) as pool:
        policy = LinearPolicy.from_dict(entry["policy"])
        returns, _ = episode_returns(pool, policy, range(first, first + 3), entry["noise"])
    assert returns.tolist() == entry["measured"]["returns"][:3]


def test_every_entry_can_be_collected() -> None:
    for name, entry in catalog().items():
        assert entry.name == name
        assert sum(share for _, share in entry.blocks) == pytest.approx(1)
        if entry.body in ("hopper", "cartpole"):
            collected = collect(entry.environment_id, entry.policies(), steps=60, noise=entry.noise, workers=0)
            assert len(collected.rewards) == 60
            assert len(np.unique(collected.episode_policies)) == len(entry.blocks)


def test_every_body_has_random_and_a_replay_of_its_medium() -> None:
    for body in BODIES:
        assert find(f"{body}/random").noise == 0
        assert (f"{body}/medium" in catalog()) == (f"{body}/medium-replay" in catalog())


def test_the_digest_follows_what_decides_the_data() -> None:
    entry = find("hopper/medium")
    assert entry.digest == find("hopper/medium").digest
    assert len({entry.digest, replace(entry, noise=0.77).digest, find("hopper/medium-replay").digest}) == 3
    assert replace(entry, description="other words").digest == entry.digest


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'hopper/medium"):
        find("hopper/mediun")
    with pytest.raises(UnknownNameError, match="body"):
        shipped_policies("hoper")


@pytest.mark.parametrize(
    ("percent", "near"), [("0", 1), ("-5", 1), ("05", 5), ("0.5", 1), ("5%", 5), ("100", 99), ("150", 99)]
)
def test_a_mixture_with_an_impossible_percentage_says_what_is_possible(percent: str, near: int) -> None:
    with pytest.raises(UnknownNameError, match=rf"did you mean 'point-tasks/random-expert-{near}'\? .*from 1 to 99"):
        find(f"point-tasks/random-expert-{percent}")


def test_a_mixture_without_a_percentage_is_told_how_mixtures_are_named() -> None:
    with pytest.raises(UnknownNameError, match=r"NAME/random-LEVEL-PERCENT, .* 1 to 99"):
        find("point-tasks/random-expert")
    assert find("cartpole/random-dqn-expert-99").blocks[0][1] == 0.99


@pytest.mark.parametrize("name", ["halfcheetah/expert", "halfcheetah/medium-expert"])
def test_a_level_that_was_not_reached_says_why(name: str) -> None:
    with pytest.raises(UnknownNameError, match="linear policies do not reach it"):
        find(name)


@pytest.mark.parametrize("body", SCRIPTED)
def test_what_scripted_experts_earn_can_be_measured_again(body: str) -> None:
    task, measured = SCRIPTED[body], measured_returns()[body]
    assert measured["environment_id"] == task.environment_id
    try:
        here = {package: version(package) for package in task.packages}
    except PackageNotFoundError as error:
        pytest.skip(f"{error.name} is not installed")
    if here != measured["versions"]:
        pytest.skip("measured with other versions of the simulator")
    policies = {"random": (UniformPolicy(), 0.0)}
    if task.expert is not None:
        policies["expert"] = (task.expert(), task.noise)
    with EnvironmentPool(task.environment_id, 2, workers=0) as pool:
        for name, (policy, noise) in policies.items():
            seeds = range(measured[name]["first_seed"], measured[name]["first_seed"] + 2)
            returns, _ = episode_returns(pool, policy, seeds, noise)
            assert returns.tolist() == measured[name]["first_returns"][:2]
            assert measured[name]["episodes"] == 100


@pytest.mark.parametrize("body", [body for body, task in SCRIPTED.items() if task.expert is not None])
def test_a_scripted_expert_is_better_than_random_and_its_scores_say_so(body: str) -> None:
    scores = find(f"{body}/expert").reference_scores
    assert scores is not None
    assert scores.expert > scores.random
    assert "measured here" in scores.source


def test_a_task_without_an_expert_has_random_data_and_no_scale() -> None:
    entry = find("breakout/random")
    assert entry.reference_scores is None
    assert [name for name in catalog() if name.startswith("breakout/")] == ["breakout/random"]
    with pytest.raises(UnknownNameError, match="unknown catalog dataset 'breakout/expert'"):
        find("breakout/expert")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": "10"}, "steps='10': expected a whole number, 1 or more"),
        ({"steps": 1.5}, "steps=1.5: expected a whole number"),
        ({"steps": True}, "steps=True: expected a whole number"),
        ({"steps": 0}, "steps=0: expected a whole number"),
        ({"seed": "a"}, "seed='a': expected a whole number"),
        ({"noise": "a"}, "noise='a': expected a number, 0 or more"),
        ({"noise": True}, "noise=True: expected a number"),
        ({"noise": float("nan")}, "noise=nan: expected a number"),
        ({"noise": -1.0}, "noise=-1.0: expected a number"),
    ],
)
def test_impossible_options_of_a_catalog_dataset_are_refused_before_anything_is_collected(
    options: dict[str, object], message: str
) -> None:
    for make in (assay.load, collect_entry):
        with pytest.raises(ConfigError, match=message):
            make("point-tasks/expert", **options)
