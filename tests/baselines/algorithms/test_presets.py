"""What authors chose per dataset: every table builds its algorithm, and CORL's own files say the same."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from assay.baselines import (
    AWAC,
    BC,
    BCQ,
    CQL,
    EDAC,
    IQL,
    SACN,
    TD3BC,
    DecisionTransformer,
    Job,
    PercentBC,
    ReBRAC,
    Suite,
)
from assay.baselines.algorithms.presets import Presets, presets_of
from assay.baselines.algorithms.registry import algorithms
from assay.baselines.engine.data import ActionScale, TrainingData
from assay.baselines.runs.plan import Plan
from assay.datasets import Dataset, DatasetInfo
from assay.datasets.errors import ConfigError, UnknownNameError
from tests.baselines.problems import transitions


def named(identifier: str, environment: str | None = None) -> Dataset:
    """Three episodes with the returns 3, 1 and 6."""
    spec = None if environment is None else f'{{"id": "{environment}"}}'
    return Dataset.from_arrays(
        observations=np.arange(18.0).reshape(9, 2),
        actions=np.linspace(-1, 1, 9)[:, None],
        rewards=np.array([1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 2.0, 2.0, 2.0]),
        terminations=np.tile([False, False, True], 3),
        info=DatasetInfo(id=identifier, env_spec=spec),
    )


# Fields that differ from the defaults, read off configs/offline of github.com/tinkoff-ai/CORL at 6afec90.
OF_HOPPER = {"deterministic": True, "reward_scale": "return_range", "target_update_rate": 0.001}
CORL = [
    (IQL, "hopper-medium-v2", OF_HOPPER),
    (IQL, "hopper-medium-replay-v2", OF_HOPPER),
    (IQL, "hopper-medium-expert-v2", {"temperature": 6.0, "expectile": 0.5}),
    (IQL, "hopper-expert-v2", {}),
    (IQL, "halfcheetah-medium-v2", {}),
    (IQL, "antmaze-umaze-v2", {"temperature": 10.0, "expectile": 0.9, "reward_scale": "minus_one"}),
    (CQL, "hopper-medium-v2", {"reward_scale": "return_range"}),
    (CQL, "hopper-medium-replay-v2", {}),
    (CQL, "pen-human-v1", {"alpha": 1.0, "actor_learning_rate": 1e-4}),
    (AWAC, "walker2d-medium-v2", {}),
    (AWAC, "maze2d-umaze-v1", {"temperature": 0.1}),
    (TD3BC, "hopper-medium-v2", {}),
    (TD3BC, "antmaze-large-play-v2", {"reward_scale": "minus_one"}),
    (SACN, "hopper-medium-v2", {"critics": 500}),
    (SACN, "hopper-medium-replay-v2", {"critics": 200}),
    (SACN, "walker2d-medium-v2", {"critics": 20}),
    (EDAC, "hopper-medium-v2", {"critics": 50}),
    (EDAC, "walker2d-medium-expert-v2", {"eta": 5.0}),
    (EDAC, "halfcheetah-medium-v2", {}),
    (DecisionTransformer, "hopper-medium-v2", {"batch_size": 4096, "learning_rate": 8e-4, "target_return": 3600.0}),
    (BC, "hopper-medium-v2", {}),
    (PercentBC, "hopper-medium-v2", {}),
    (ReBRAC, "hopper-medium-replay-v2", {"actor_penalty": 0.05, "critic_penalty": 0.5}),
]


@pytest.mark.parametrize(("algorithm", "dataset", "fields"), CORL, ids=lambda each: getattr(each, "name", None))
def test_the_presets_are_those_of_corls_own_files(algorithm, dataset, fields):
    assert algorithm.values_for(named(dataset)) == fields


def test_one_dataset_has_the_same_presets_under_all_its_names():
    for identifier in ("hopper/medium-replay", "hopper-medium-replay-v2", "mujoco/hopper/medium-replay-v0"):
        assert IQL.values_for(named(identifier, "Hopper-v5")) == OF_HOPPER
    assert IQL.values_for(named("medium-replay", "HalfCheetah-v5")) == {}


def as_tuples(value: Any) -> Any:
    return tuple(map(as_tuples, value)) if isinstance(value, list) else value


def test_every_entry_of_every_table_builds_its_algorithm():
    seen = 0
    for algorithm in algorithms().values():
        try:
            presets = presets_of(algorithm)
        except ConfigError:
            continue
        try:
            tables = [presets, presets_of(algorithm, "robomimic")]
        except UnknownNameError:
            tables = [presets]
        for table in tables:
            entries = [table.table]
            for _ in table.keys:
                entries = [inner for entry in entries for inner in entry.values()]
            for entry in [*entries, table.otherwise or {}]:
                made = algorithm(**entry)
                assert {name: getattr(made, name) for name in entry} == {
                    name: as_tuples(value) for name, value in entry.items()
                }
                seen += 1
    assert seen > 60


# Fields that differ from the defaults, read off scripts/generate_paper_configs.py of github.com/ARISE-Initiative/robomimic at d309eae.
WIDE = {"hidden": [300, 400], "autoencoder_hidden": [300, 400], "latent": 14, "latent_clip": None}
SLOW = {"critic_learning_rate": 1e-4, "autoencoder_learning_rate": 1e-4, "target_update_rate": 5e-4, "perturbed": False}
CLONING = {"batch_size": 100, "hidden": [1024, 1024], "normalize_observations": False}
PLAIN = {"orthogonal": False, "plain_deviation": True, "normalize_observations": False}
DEEP = {"hidden": [256, 256, 256]}
ROBOMIMIC = [
    (BCQ, "can/ph", {**WIDE, **SLOW, "divergence_weight": 0.7}),
    (BCQ, "can/mg", {**WIDE, "divergence_weight": 7.0}),
    (BCQ, "hopper-medium-v2", {**WIDE, "divergence_weight": 7.0, "batch_size": 256}),
    (CQL, "can/ph", {**PLAIN, "alpha": 1.0, "lagrange": True, "target_action_gap": 5.0, "batch_size": 1024, "hidden": [300, 400],
                     "actor_learning_rate": 3e-4, "critic_learning_rate": 1e-3}),
    (CQL, "hopper-medium-v2", {**PLAIN, **DEEP, "alpha": 10.0, "actor_learning_rate": 3e-5, "critic_learning_rate": 3e-4}),
    (IQL, "hopper-medium-v2", {**DEEP, "temperature": 1 / 3, "normalize_observations": False}),
    (TD3BC, "hopper-medium-v2", {}),
    (BC, "can/mg", {**CLONING, "learning_rate": 1e-3}),
    (BC, "can/ph", {**CLONING, "learning_rate": 1e-4}),
]  # fmt: skip


@pytest.mark.parametrize(("algorithm", "dataset", "fields"), ROBOMIMIC, ids=lambda each: getattr(each, "name", None))
def test_a_study_has_presets_of_its_own_beside_the_authors(algorithm, dataset, fields):
    assert algorithm.values_for(named(dataset), "robomimic") == fields


@pytest.mark.parametrize(
    ("preset", "why"),
    [("robomimik", "unknown study of CQL 'robomimik'; did you mean 'robomimic'"), (3, "preset=3 is neither")],
)
def test_a_suite_that_asks_for_an_unknown_study_is_refused(preset, why):
    with pytest.raises(ConfigError, match=why):
        Suite.from_plain(
            {
                "name": "own",
                "source": "hopper/medium",
                "variants": {"clean": []},
                "algorithms": {"cql": {"preset": preset}},
                "budgets": {"small": {"steps": 1}},
            }
        )


def test_a_star_stands_for_what_its_level_does_not_name():
    presets = Presets("Example", ("environment", "data"), {"a": {"x": {"rate": 1}, "*": {"rate": 2}}})
    assert (presets.find("a", "x"), presets.find("a", "y")) == ({"rate": 1}, {"rate": 2})
    with pytest.raises(UnknownNameError, match="unknown Example preset 'b'"):
        presets.find("b", "x")


# -------------------------------------------------------------------- the units of rewards


def laid_out(scale: str) -> np.ndarray:
    job = Job(IQL(reward_scale=scale), named("hopper-medium-v2"))
    data = job.algorithm.training_data(job.dataset, job.action_scale)
    place = sum(size for name, size in data.columns[: [name for name, _ in data.columns].index("rewards")])
    assert data.best_return == 6.0  # of the recorded rewards, whatever is learned from
    return data.rows[:, place]


def test_rewards_are_scaled_to_returns_within_a_thousand():
    scaled, recorded = laid_out("return_range"), laid_out("recorded")
    assert np.allclose(scaled, recorded * 1000 / (6 - 1))
    returns = scaled.reshape(3, 3).sum(1)
    assert returns.max() - returns.min() == pytest.approx(1000)
    assert np.allclose(laid_out("minus_one"), recorded - 1)


def test_rewards_whose_returns_are_all_equal_cannot_be_divided_by_their_range():
    same = dataclasses.replace(transitions(), rewards=np.zeros(len(transitions())))
    with pytest.raises(ConfigError, match="have the return 0, so rewards cannot be divided"):
        TrainingData.of(same, ActionScale.of(-np.ones(2), np.ones(2)), normalize=True, reward_scale="return_range")


def test_jobs_that_differ_in_the_units_of_rewards_do_not_share_their_rows():
    recorded, scaled = IQL(), IQL(reward_scale="return_range")
    assert recorded.data_parameters() != scaled.data_parameters()


# -------------------------------------------------------------------- hashes

FORMER = {  # of jobs made before the fields of `later_fields` existed
    "awac": "34797075ceae7ea6393aea9b282c9905f2b2f97abf9235e13cd209fc8d668e75",
    "cql": "d2987ff7a5669ba8a23e10c219e94f98ab2e677fa2d05a5e9f3e8e059b3caf1f",
    "iql": "f6032862bf7146c1c3dd91ddb95925401f59063f6a609c118341026ffb55c130",
    "td3_bc": "cf741ddc63bbfd4981aadd8d01e296f898c960e56b7d9a8c7c084e4463256c03",
}


@pytest.mark.parametrize("algorithm", FORMER)
def test_new_fields_at_their_defaults_leave_the_hash_of_a_job_as_it_was(algorithm):
    made, plan = algorithms()[algorithm], Plan(1000, None, "highest")
    dataset = named("hopper-medium-v2")
    assert dataset.fingerprint == "4718f6b4a7c502b07c95816ad93ea727"
    assert plan.hash(Job(made(), dataset)) == FORMER[algorithm]
    assert plan.hash(Job(made(reward_scale="minus_one"), dataset)) != FORMER[algorithm]
    assert plan.describe(Job(made(), dataset))["parameters"]["reward_scale"] == "recorded"
