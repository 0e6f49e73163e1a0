"""DQN: its target and its exploration are the equations, and it solves what can be solved by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from assay.baselines.behaviour.dqn import DQNConfig, exploration, q_targets, train_dqn, train_dqns
from assay.baselines.engine.randomness import Draws
from assay.baselines.networks import MLP, Network
from assay.datasets.errors import ConfigError
from tests.baselines.behaviour.chain import LENGTH, true_values

CHAIN = "tests.baselines.behaviour.chain:Chain-v0"


@pytest.mark.parametrize("double", [False, True])
def test_a_known_chain_is_solved_to_its_exact_values(double: bool) -> None:
    config = DQNConfig(
        discount=0.8,
        hidden=(),
        learning_rate=0.02,
        double=double,
        target_interval=20,
        exploration_steps=0,
        final_exploration=1.0,
        evaluation_episodes=4,
        evaluation_interval=3000,
    )
    training = train_dqn(CHAIN, config, seed=0, steps=3000)
    policy = training.checkpoints[-1].policy
    found = policy.outputs(np.eye(LENGTH)[: LENGTH - 1])
    np.testing.assert_allclose(found, true_values(0.8)[: LENGTH - 1], atol=1e-3)
    assert policy(np.eye(LENGTH)[: LENGTH - 1]).tolist() == [1] * (LENGTH - 1)
    assert training.checkpoints[-1].returns.tolist() == [1.0] * 4


def linear_values(learned: list[list[float]], copy: list[list[float]]) -> Network:
    network = Network(
        "values",
        MLP(2, 2, (), learning_rate="learning_rate", target=True),
        Draws([0], torch.zeros(1, dtype=torch.int64)),
    )
    for buffer, rows in ((network.buffer, learned), (network.target_buffer, copy)):
        assert buffer is not None
        buffer.copy_(torch.tensor([[*rows[0], *rows[1], 0.0, 0.0]]))
    return network


def test_the_target_of_a_transition_worked_by_hand() -> None:
    # Q(s') is (1, 2) and (5, 0) for the two states; its copy says (10, 20) and (30, 40).
    network = linear_values([[1.0, 2.0], [5.0, 0.0]], [[10.0, 20.0], [30.0, 40.0]])
    rewards, ends = torch.tensor([[0.5, 0.5, 0.5]]), torch.tensor([[0.0, 0.0, 1.0]])
    after = torch.eye(2)[[0, 1, 1]][None]
    double = q_targets(network, True, 0.5, rewards, after, ends)
    single = q_targets(network, False, 0.5, rewards, after, ends)
    assert double.tolist() == [[0.5 + 0.5 * 20, 0.5 + 0.5 * 30, 0.5]]
    assert single.tolist() == [[0.5 + 0.5 * 20, 0.5 + 0.5 * 40, 0.5]]


def test_exploration_falls_linearly_and_stays() -> None:
    config = DQNConfig(exploration_steps=10, final_exploration=0.2)
    found = [exploration(step, config) for step in range(15)]
    np.testing.assert_allclose(np.diff(found[:11]), -0.08)
    assert found[10:] == pytest.approx([0.2] * 5)
    assert exploration(0, DQNConfig(exploration_steps=0, final_exploration=0.3)) == pytest.approx(0.3)


def test_continuous_actions_are_refused_with_what_takes_them() -> None:
    with pytest.raises(ConfigError, match="sac takes continuous"):
        train_dqn("Pendulum-v1", steps=10)
    with pytest.raises(ConfigError, match="Box of observations"):
        train_dqn("FrozenLake-v1", steps=10)
    with pytest.raises(ValueError, match="batch_size"):
        DQNConfig(batch_size=0)


def test_trainings_in_company_are_those_of_their_seeds_alone() -> None:
    """Up to rounding: in float32 the first action that differed came after 1,400 steps with the published networks."""
    config = DQNConfig(hidden=(16, 16), exploration_steps=200, evaluation_interval=150, evaluation_episodes=2)
    together = train_dqns("CartPole-v1", config, seeds=[3, 4, 5], steps=300)
    for seed, member in zip((3, 4, 5), together):
        alone = train_dqn("CartPole-v1", config, seed=seed, steps=300)
        assert member.seed == seed
        assert member.replay == alone.replay
        assert [each.steps for each in member.checkpoints] == [0, 150, 300]
        for left, right in zip(member.checkpoints, alone.checkpoints, strict=True):
            assert (left.episodes, left.returns.tolist()) == (right.episodes, right.returns.tolist())
            for mine, other in zip(left.policy.weights, right.policy.weights, strict=True):
                np.testing.assert_allclose(mine, other, atol=1e-5)
    assert together[0].replay != together[1].replay


def test_members_reach_the_return_together_and_a_population_has_seeds() -> None:
    config = DQNConfig(hidden=(8,), evaluation_interval=50, evaluation_episodes=2)
    trainings = train_dqns("CartPole-v1", config, seeds=[0, 1], steps=500, target_return=1.0)
    assert [[each.steps for each in training.checkpoints] for training in trainings] == [[0, 50]] * 2
    with pytest.raises(ConfigError, match="no seed"):
        train_dqns("CartPole-v1", config, seeds=[], steps=10)
