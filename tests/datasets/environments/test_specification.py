"""Datasets are evaluated in the environment that they were recorded in: arguments, time limit, wrappers and all."""

from __future__ import annotations

import json

import gymnasium
import numpy as np
import pytest

from assay.datasets.collection.collect import collect
from assay.datasets.collection.policies import UniformPolicy
from assay.datasets.environments.envpool import EnvPoolEnvironments
from assay.datasets.environments.pool import EnvironmentPool
from assay.datasets.environments.record import families
from assay.datasets.environments.specification import EnvironmentSpec, evaluation_environment, read_spec
from assay.datasets.errors import CollectionError, ConfigError
from assay.datasets.info import DatasetInfo


def recorded(environment: gymnasium.Env) -> str:
    assert environment.spec is not None
    return environment.spec.to_json()


def episode(environment: gymnasium.Env, seed: int = 3, steps: int = 30) -> list[tuple]:
    """Observations and rewards of an episode of one action."""
    found = [tuple(np.ravel(environment.reset(seed=seed)[0]).tolist())]
    for _ in range(steps):
        observation, reward, terminated, truncated, _ = environment.step(np.array([0.5], np.float32))
        found.append((*np.ravel(observation).tolist(), reward, terminated, truncated))
        if terminated or truncated:
            break
    return found


def pool_episode(spec: EnvironmentSpec, workers: int, seed: int = 3, steps: int = 30) -> list[tuple]:
    with EnvironmentPool(spec, 1, workers=workers) as pool:
        found = [tuple(pool.reset([0], [seed])[0].ravel().tolist())]
        for _ in range(steps):
            observation, reward, terminated, truncated = (each[0] for each in pool.step([0], [[0.5]]))
            found.append((*observation.ravel().tolist(), float(reward), bool(terminated), bool(truncated)))
            if terminated or truncated:
                break
    return found


MADE = {
    "plain": lambda: gymnasium.make("Pendulum-v1"),
    "arguments": lambda: gymnasium.make("Pendulum-v1", g=1.0),
    "limit": lambda: gymnasium.make("Pendulum-v1", max_episode_steps=7),
    "limit by a wrapper": lambda: gymnasium.wrappers.TimeLimit(gymnasium.make("Pendulum-v1"), 7),
    "wrappers": lambda: gymnasium.wrappers.RescaleAction(
        gymnasium.wrappers.FrameStackObservation(gymnasium.make("Pendulum-v1", g=2.0), 2), -0.5, 0.5
    ),
}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("kind", MADE)
def test_a_pool_steps_the_environment_that_was_recorded(kind: str, workers: int) -> None:
    spec = evaluation_environment(DatasetInfo(env_spec=recorded(MADE[kind]())))
    assert spec is not None
    assert spec.is_plain == (kind == "plain")
    true = [tuple(map(float, row)) for row in episode(MADE[kind]())]
    found = [tuple(map(float, row)) for row in pool_episode(spec, workers)]
    assert found == true


def test_only_what_differs_from_the_registered_environment_is_said() -> None:
    ordinary = gymnasium.make("Hopper-v5", render_mode="rgb_array")
    assert evaluation_environment(DatasetInfo(env_spec=recorded(ordinary))) == EnvironmentSpec("Hopper-v5")
    changed = gymnasium.make("Hopper-v5", max_episode_steps=77, forward_reward_weight=2.0)
    found = evaluation_environment(DatasetInfo(env_spec=recorded(changed)))
    assert found == EnvironmentSpec("Hopper-v5", {"forward_reward_weight": 2.0}, 77)
    games = '{"id": "assay/MinAtar-Breakout-v0", "max_episode_steps": 5000, "kwargs": {"game": "breakout"}}'
    assert evaluation_environment(DatasetInfo(env_spec=games)) == EnvironmentSpec("assay/MinAtar-Breakout-v0")


def test_an_evaluation_environment_of_minari_is_preferred() -> None:
    info = DatasetInfo(
        env_spec='{"id": "Pendulum-v1", "max_episode_steps": 1000}',
        extra={"eval_env_spec": '{"id": "Pendulum-v1", "max_episode_steps": 30, "kwargs": {"g": 5.0}}'},
    )
    assert evaluation_environment(info) == EnvironmentSpec("Pendulum-v1", {"g": 5.0}, 30)


@pytest.mark.parametrize("text", [None, "", "no json", "[]", "{}", '{"id": 3}'])
def test_what_is_no_spec_names_no_environment(text: str | None) -> None:
    assert read_spec(text) is None
    assert evaluation_environment(DatasetInfo(env_spec=text)) is None


def test_a_spec_of_an_environment_that_is_not_registered_here_is_taken_as_it_is() -> None:
    info = DatasetInfo(env_spec='{"id": "NoSuch-v0", "max_episode_steps": 5}')
    assert evaluation_environment(info) == EnvironmentSpec("NoSuch-v0", {}, 5)


def test_a_wrapper_that_cannot_be_applied_again_is_refused_by_name() -> None:
    plain = json.loads(recorded(gymnasium.make("Pendulum-v1")))
    plain["additional_wrappers"] = [{"name": "Mine", "entry_point": "mine.wrappers:Mine", "kwargs": {}}]
    with pytest.raises(ConfigError, match=r"inside the wrapper Mine \(mine\.wrappers:Mine\)"):
        read_spec(json.dumps(plain))
    plain["additional_wrappers"] = [
        {
            "name": "TransformReward",
            "entry_point": "gymnasium.wrappers.transform_reward:TransformReward",
            "kwargs": None,
        }
    ]
    with pytest.raises(ConfigError, match="TransformReward"):
        read_spec(json.dumps(plain))
    plain["additional_wrappers"] = [
        {"name": "DataCollector", "entry_point": "minari.data_collector:DataCollector", "kwargs": None}
    ]
    assert read_spec(json.dumps(plain)) == EnvironmentSpec("Pendulum-v1", {}, 200)  # observes only


def test_a_worker_imports_no_code_that_a_dataset_names() -> None:
    plain = {
        "id": "Pendulum-v1",
        "additional_wrappers": [{"name": "os", "entry_point": "gymnasium.wrappers:os", "kwargs": {}}],
    }
    spec = read_spec(json.dumps(plain))
    assert spec is not None
    with pytest.raises(CollectionError, match=r"gymnasium\.wrappers has no wrapper os"):
        EnvironmentPool(spec, 1, workers=0)


def test_envpool_refuses_what_it_cannot_make() -> None:
    with pytest.raises(ConfigError, match=r"Pendulum-v1 \(g=1\.0\), which EnvPool cannot make"):
        EnvPoolEnvironments(EnvironmentSpec("Pendulum-v1", {"g": 1.0}), 1)


def test_more_data_is_collected_in_the_recorded_environment() -> None:
    spec = EnvironmentSpec("Pendulum-v1", {"g": 1.0}, 25)
    collected = collect(spec, UniformPolicy(), steps=100, workers=0)
    assert collected.episode_lengths.tolist() == [25] * 4
    assert read_spec(collected.environment_spec) == spec


OWN = [
    record.environment_id for family in families() for record in family.environments if record.registration is not None
]


@pytest.mark.parametrize("environment_id", sorted(set(OWN)))
def test_what_an_environment_of_assays_own_brings_itself_is_not_applied_again(environment_id: str) -> None:
    pytest.importorskip("assay.datasets.environments.tasks")
    try:
        environment = gymnasium.make(environment_id)
    except (ImportError, ConfigError, gymnasium.error.Error) as error:
        pytest.skip(f"it needs an extra: {error}")
    assert environment.spec is not None
    recorded = read_spec(environment.spec.to_json())
    environment.close()
    assert recorded is not None
    assert (recorded.id, recorded.wrappers) == (environment_id, ())
    evaluated = evaluation_environment(DatasetInfo(env_spec=environment.spec.to_json()))
    assert evaluated is not None
    assert evaluated.id == environment_id
