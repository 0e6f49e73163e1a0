"""Discrete actions: one entry each for the networks, whole numbers for the environment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import assay
from assay.baselines import BC, IQL, TD3BC, Evaluation, Job, PercentBC, train
from assay.baselines.engine.data import ActionScale
from assay.datasets import Dataset
from assay.datasets.errors import ConfigError


def test_an_action_comes_back_from_its_entries() -> None:
    scale = ActionScale.of_discrete(3, first=-1)
    actions = np.array([1, -1, 0, 1])
    encoded = scale.encode(actions)
    assert encoded.tolist() == [[-1, -1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]
    assert scale.decode(encoded)[:, 0].tolist() == actions.tolist()
    assert scale.decode(np.array([[0.1, -0.4, 0.3]])).tolist() == [[1.0]]
    with pytest.raises(ConfigError, match="action 2 is none of the 3 from -1 on"):
        scale.encode(np.array([0, 2]))


def by_sign(steps: int, first: int = 0) -> Dataset:
    """The action says which of the two numbers of the observation is larger."""
    generator = np.random.default_rng(0)
    observations = generator.normal(size=(steps + 1, 2)).astype(np.float32)
    return Dataset.from_arrays(
        observations=observations,
        actions=first + (observations[:-1, 1] > observations[:-1, 0]).astype(np.int64),
        rewards=np.ones(steps),
        terminations=np.zeros(steps, bool),
        truncations=np.arange(steps) == steps - 1,
    )


@pytest.mark.parametrize("algorithm", [BC(), PercentBC(fraction=1.0)])
def test_a_rule_between_discrete_actions_is_learned(algorithm: BC, tmp_path: Path) -> None:
    dataset = by_sign(2000)
    (run,) = train([Job(algorithm, dataset)], steps=500, evaluation=None, device="cpu", runs=tmp_path)
    test = np.random.default_rng(1).normal(size=(500, 2))
    chosen = run.policy(test)
    assert chosen.shape == (500, 1)
    assert (chosen[:, 0] == (test[:, 1] > test[:, 0])).mean() > 0.95


@pytest.mark.parametrize("reward", [0.0, 1.0])
def test_iql_takes_the_discrete_actions_that_are_rewarded_not_those_that_are_frequent(
    reward: float, tmp_path: Path
) -> None:
    dataset = by_sign(2000)
    rare = np.random.default_rng(2).random(2000) < 0.3
    actions = np.where(rare, 1 - dataset.actions, dataset.actions)
    mixed = dataset.replace({"actions": actions, "rewards": reward * rare, "terminations": np.ones(2000, bool)})
    rates = {f"{name}_learning_rate": 3e-3 for name in ("actor", "critic", "value")}
    algorithm = IQL(hidden=(32,), temperature=10.0, expectile=0.9, target_update_rate=0.1, **rates)
    (run,) = train([Job(algorithm, mixed)], steps=500, evaluation=None, device="cpu", runs=tmp_path)
    test = np.random.default_rng(1).normal(size=(500, 2))
    follows_the_rare = (run.policy(test)[:, 0] != (test[:, 1] > test[:, 0])).mean()
    assert follows_the_rare > 0.9 if reward else follows_the_rare < 0.1


def test_a_column_of_actions_is_read_like_a_flat_one(tmp_path: Path) -> None:
    dataset = by_sign(300)
    column = dataset.replace({"actions": dataset.actions[:, None]})
    flat, wide = (
        train([Job(BC(), item)], steps=20, evaluation=None, device="cpu", runs=tmp_path / name)[0]
        for name, item in (("flat", dataset), ("wide", column))
    )
    test = np.random.default_rng(1).normal(size=(50, 2))
    assert (flat.policy(test) == wide.policy(test)).all()


def test_discrete_policies_are_evaluated_in_their_environment(tmp_path: Path) -> None:
    dataset = assay.load("cartpole/medium", steps=2000)
    evaluation = Evaluation(episodes=3, every=200)
    jobs = [Job(BC(), dataset, seed=seed) for seed in (0, 1)]
    runs = train(jobs, steps=200, evaluation=evaluation, device="cpu", runs=tmp_path, workers=1)
    for run in runs:
        assert run.status == "finished"
        assert run.returns.shape == (3,)
        assert (run.returns >= 5).all()  # CartPole pays 1 a step, and no policy falls faster


def test_algorithms_with_critics_of_real_actions_refuse_discrete_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"TD3\+BC needs a bounded Box action space"):
        train([Job(TD3BC(), by_sign(50))], steps=1, evaluation=None, device="cpu", runs=tmp_path)


def test_actions_without_a_space_are_scaled_by_what_they_span() -> None:
    dataset = by_sign(20).replace({"actions": np.linspace(-0.5, 3.0, 20)[:, None].astype(np.float32)})
    scale = Job(BC(), dataset).action_scale
    assert (scale.center - scale.half_range, scale.center + scale.half_range) == (-1.0, 3.0)
    inside = dataset.replace({"actions": dataset.actions / 10})
    assert (Job(BC(), inside).action_scale.center, Job(BC(), inside).action_scale.half_range) == (0.0, 1.0)
