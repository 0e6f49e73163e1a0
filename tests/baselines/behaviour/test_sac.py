"""SAC: its density and its target are the equations, and it learns what is quickly learned."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from assay.baselines.algorithms.distributions import squashed
from assay.baselines.behaviour.sac import SACConfig, SoftActorCritic, policy, soft_targets, train_sac
from assay.baselines.engine.randomness import Draws
from assay.baselines.networks import MLP, Network
from assay.datasets.environments.pool import EnvironmentPool
from assay.datasets.errors import ConfigError

TINY = SACConfig(hidden=(8,), batch_size=8, random_steps=20, evaluation_interval=25, evaluation_episodes=2)


def test_the_density_of_the_policy_is_that_of_torch_and_integrates_to_one() -> None:
    mean, log_std = torch.tensor([[0.3, -1.0]]).double(), torch.tensor([[-0.5, 0.4]]).double()
    noise = torch.tensor([[0.7, -1.2]]).double()
    actions, found = squashed(mean, log_std, noise)
    normal = torch.distributions.Normal(mean, log_std.exp())
    expected = torch.distributions.TransformedDistribution(normal, torch.distributions.TanhTransform(cache_size=0))
    torch.testing.assert_close(found, expected.log_prob(actions).sum(-1), rtol=1e-8, atol=1e-8)
    # The density of a one-dimensional action over (-1, 1).
    grid = torch.linspace(-1, 1, 200_003, dtype=torch.float64)[1:-1]
    noise = (torch.atanh(grid) - 0.3) / math.exp(-0.5)
    _, density = squashed(
        torch.full((len(grid), 1), 0.3).double(), torch.full((len(grid), 1), -0.5).double(), noise[:, None]
    )
    assert torch.trapezoid(density.exp(), grid).item() == pytest.approx(1.0, abs=1e-6)


def test_the_target_of_a_transition_worked_by_hand() -> None:
    draws = Draws([3], torch.zeros(1, dtype=torch.int64))
    actor = Network("actor", MLP(1, 2, (), learning_rate="learning_rate"), draws)
    critic = Network("critic", MLP(2, 1, (), learning_rate="learning_rate", ensemble=2, target=True), draws)
    actor.buffer.copy_(torch.tensor([[0.5, 0.0, 0.0, -1.0]]))  # mean = 0.5 s, log std = -1
    assert critic.target_buffer is not None
    critic.target_buffer.copy_(torch.tensor([[2.0, 1.0, 0.0], [1.0, 3.0, 0.0]]))  # 2 s + a, s + 3 a
    state, alpha = 0.8, 0.2
    noise = draws.normal("target actions", 2, 1)[0, :, 0].tolist()
    expected = []
    for end, each in zip((0.0, 1.0), noise):
        unbounded = 0.4 + math.exp(-1) * each
        action = math.tanh(unbounded)
        density = -0.5 * each**2 + 1.0 - 0.5 * math.log(2 * math.pi) - math.log(1 - action**2)
        value = min(2 * state + action, state + 3 * action) - alpha * density
        expected.append(1.5 + 0.9 * (1 - end) * value)
    found = soft_targets(
        actor,
        critic,
        draws,
        torch.tensor([[alpha]]),
        0.9,
        torch.tensor([[1.5, 1.5]]),
        torch.tensor([[[state], [state]]]),
        torch.tensor([[0.0, 1.0]]),
    )
    np.testing.assert_allclose(found.numpy()[0], expected, rtol=1e-5)


def test_the_shipped_policy_is_the_one_that_was_trained() -> None:
    with EnvironmentPool("Pendulum-v1", 1, workers=0) as pool:
        learner = SoftActorCritic(SACConfig(hidden=(32, 32)), pool.observation_space, pool.action_space, seed=1)
    observations = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    noise = np.random.default_rng(1).normal(size=(20, 1)).astype(np.float32)
    with torch.no_grad():
        distribution = policy(learner.actor(torch.from_numpy(observations)[None]))
        greedy = 2.0 * torch.tanh(distribution.mean[0]).numpy()
        drawn = 2.0 * squashed(distribution.mean, distribution.log_std, torch.from_numpy(noise)[None])[0][0].numpy()
    np.testing.assert_allclose(learner.policy()(observations), greedy, atol=1e-6)
    np.testing.assert_allclose(learner.policy().sample(observations, noise), drawn, atol=1e-6)


@pytest.mark.slow
def test_a_task_that_a_random_policy_fails_is_learned() -> None:
    config = SACConfig(hidden=(64, 64), batch_size=128, learning_rate=1e-3, random_steps=500, evaluation_interval=4000)
    training = train_sac("Pendulum-v1", config, seed=0, steps=4000)
    assert training.checkpoints[0].mean_return < -900
    assert training.checkpoints[-1].mean_return > -400


def test_the_temperature_falls_while_the_entropy_is_above_its_target() -> None:
    with EnvironmentPool("Pendulum-v1", 1, workers=0) as pool:
        learner = SoftActorCritic(TINY, pool.observation_space, pool.action_space, seed=1)
    training = train_sac("Pendulum-v1", TINY, seed=1, steps=30)
    from assay.baselines.behaviour.interaction import Replay

    replay = Replay(learner.space, learner.space)
    replay = Replay(pool.observation_space, pool.action_space)
    data = training.replay
    replay.begin(data.observations[0], 0)
    for step in range(data.total_steps):
        replay.add(data.actions[step], data.rewards[step], data.observations[step + 1], False, False)
    learner.learn([replay])
    # A policy that has just begun has an entropy of nearly log 2, and its target is -1.
    assert learner.temperature.state_independent.item() < 0


def test_what_it_cannot_act_in_is_refused_with_what_can() -> None:
    with pytest.raises(ConfigError, match="dqn takes discrete"):
        train_sac("CartPole-v1", TINY, steps=10)
    with pytest.raises(ConfigError, match="steps"):
        train_sac("Pendulum-v1", TINY, steps=0)
    with pytest.raises(ConfigError, match="seed"):
        train_sac("Pendulum-v1", TINY, seed=-1)
    with pytest.raises(ValueError, match="discount"):
        SACConfig(discount=1.5)
