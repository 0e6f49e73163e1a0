"""The dynamics ensemble on systems whose dynamics are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm

from assay.baselines.dynamics.ensemble import DynamicsEnsemble, clone_policy, train_dynamics, train_terminations
from assay.baselines.dynamics.gaussian import GaussianModel
from assay.baselines.engine.scale import Scale
from assay.datasets.errors import ConfigError

DECAY, NOISE, REWARD_NOISE = 0.9, 0.2, 0.1  # s' = 0.9 s + a + 0.2 e,  r = s - a + 0.1 e
MODEL = GaussianModel(hidden=(32, 32), learning_rate=2e-3, decay=0.0)


def linear(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    states, actions = rng.uniform(-3, 3, (count, 1)), rng.uniform(-1, 1, (count, 1))
    rewards = (states - actions)[:, 0] + REWARD_NOISE * rng.normal(size=count)
    return states, actions, rewards, DECAY * states + actions + NOISE * rng.normal(size=states.shape)


@pytest.fixture(scope="module")
def ensemble() -> DynamicsEnsemble:
    return train_dynamics(*linear(5_000, 0), networks=4, elites=3, updates=5_000, model=MODEL)


def tensors(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(np.asarray(array)).float() for array in arrays]


def test_the_likelihood_reaches_the_entropy(ensemble):
    states, actions, rewards, following = linear(4_000, 1)
    means, deviations = ensemble.predict(*tensors(states, actions))
    outcomes = np.concatenate([following, rewards[:, None]], 1)
    for network in ensemble.elites:
        surprise = -norm.logpdf(outcomes, means[network].numpy(), deviations[network].numpy()).mean(0)
        entropy = 0.5 * np.log(2 * np.pi * np.e * np.array([NOISE, REWARD_NOISE]) ** 2)
        assert np.all(np.abs(surprise - entropy) < 0.05)


def test_intervals_cover_as_often_as_they_say_where_the_noise_depends_on_the_state():
    rng = np.random.default_rng(3)

    def system(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        states = rng.uniform(-2, 2, (count, 1))
        noise = 0.1 + 0.1 * (states + 2)
        return states, np.zeros_like(states), np.zeros(count), states + noise * rng.normal(size=states.shape)

    found = train_dynamics(*system(8_000), networks=3, elites=2, updates=4_000, model=MODEL)
    states, actions, _, following = system(4_000)
    means, deviations = (item[found.elites].numpy() for item in found.predict(*tensors(states, actions)))
    z = np.abs(following - means[0, :, :1]) / deviations[0, :, :1]
    for right in (False, True):
        inside = z[(states > 0) == right]
        assert abs((inside < norm.ppf(0.95)).mean() - 0.9) < 0.03
        assert abs((inside < norm.ppf(0.75)).mean() - 0.5) < 0.05


@pytest.mark.parametrize("penalized", [None, "ensemble_deviation"])
def test_rollouts_have_the_mean_and_the_variance_of_the_system_at_every_horizon(ensemble, penalized):
    ensemble = DynamicsEnsemble(
        ensemble.networks,
        ensemble.elites,
        ensemble.held_out_errors,
        ensemble.inputs,
        ensemble.targets,
        penalty=penalized,
    )
    rng, count = np.random.default_rng(5), 20_000
    states = torch.full((count, 1), 2.0)
    mean, variance = 2.0, 0.0
    for _ in range(5):
        noise, order = tensors(rng.normal(size=(count, 2)))[0], torch.from_numpy(rng.permutation(count))
        step = ensemble.step(states, torch.full((count, 1), 0.3), noise, order)
        assert abs(float(step.rewards.mean()) - (mean - 0.3)) < 0.05
        states = step.states
        mean, variance = DECAY * mean + 0.3, DECAY**2 * variance + NOISE**2
        assert abs(float(states.mean()) - mean) < 0.05
        assert abs(float(states.std()) - variance**0.5) < 0.03
        assert (step.penalties > 0).all() == (penalized is not None)


def test_each_elite_gets_its_share_of_the_rows_and_no_other_network_any(ensemble):
    means, _ = ensemble.predict(torch.zeros(9, 1), torch.zeros(9, 1))
    noise = torch.zeros(9, 2)
    step = ensemble.step(torch.zeros(9, 1), torch.zeros(9, 1), noise, torch.randperm(9))
    found = torch.cat([step.states, step.rewards[:, None]], 1)
    of_network = [int(torch.isclose(found, means[number], atol=1e-6).all(1).sum()) for number in range(4)]
    assert [of_network[number] for number in ensemble.elites] == [3, 3, 3]
    assert sum(of_network) == 9


def test_fewer_rows_than_elites_are_dealt_out_too(ensemble):
    means, _ = ensemble.predict(torch.zeros(1, 1), torch.zeros(1, 1))
    step = ensemble.step(torch.zeros(1, 1), torch.zeros(1, 1), torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64))
    found = torch.cat([step.states, step.rewards[:, None]], 1)
    assert any(torch.allclose(found, means[number], atol=1e-6) for number in ensemble.elites)


def test_elites_have_the_least_errors_and_a_broken_network_is_none_of_them(ensemble):
    assert sorted(np.argsort(ensemble.held_out_errors)[:3]) == ensemble.elites.tolist()
    states, actions, *_ = linear(2_000, 7)
    broken = ensemble.networks.buffer.clone()
    worst = next(number for number in range(4) if number not in ensemble.elites)
    broken[worst] += 0.5 * torch.randn(broken.shape[1], generator=torch.Generator().manual_seed(0))

    def error(elites: np.ndarray) -> float:
        networks = type(ensemble.networks)(ensemble.networks.name, ensemble.networks.spec, broken)
        made = DynamicsEnsemble(networks, elites, ensemble.held_out_errors, ensemble.inputs, ensemble.targets)
        step = made.step(*tensors(states, actions), torch.zeros(2_000, 2), torch.arange(2_000))
        return float((step.states.numpy() - (DECAY * states + actions)).__pow__(2).mean())

    assert error(ensemble.elites) < 0.01
    assert error(np.arange(4)) > 10 * error(ensemble.elites)  # the stub: no elites


def test_a_network_of_an_ensemble_is_what_it_is_alone():
    small = GaussianModel(hidden=(8,))
    several = train_dynamics(*linear(300, 0), networks=3, elites=1, updates=40, model=small)
    alone = train_dynamics(*linear(300, 0), networks=1, elites=1, updates=40, model=small)
    assert np.isclose(several.held_out_errors[0], alone.held_out_errors[0], rtol=1e-5)
    assert torch.allclose(several.networks.buffer[0], alone.networks.buffer[0], atol=1e-5)
    other = train_dynamics(*linear(300, 0), networks=1, elites=1, updates=40, model=small, seed=1)
    assert not torch.allclose(other.networks.buffer[0], alone.networks.buffer[0], atol=1e-3)


def test_a_column_that_never_changes_stays_the_same():
    states, actions, rewards, following = linear(500, 0)
    goal = np.full_like(states, 7.0)
    found = train_dynamics(
        np.hstack([states, goal]), actions, rewards, np.hstack([following, goal]), networks=2, elites=1, updates=30
    )
    step = found.step(
        torch.tensor([[1.0, 7.0]]), torch.zeros(1, 1), torch.ones(1, 3), torch.zeros(1, dtype=torch.int64)
    )
    assert step.states[0, 1] == 7.0
    assert Scale.of(goal).down(goal).tolist() == np.zeros_like(goal).tolist()


def test_a_cloned_policy_has_the_mean_and_the_spread_of_what_acted():
    rng = np.random.default_rng(0)
    states = rng.uniform(-1, 1, (4_000, 2))
    actions = 0.5 * states[:, :1] + 0.2 * rng.normal(size=(4_000, 1))
    act = clone_policy(states, actions, model=MODEL, updates=1_000)
    mean, deviation = act(torch.tensor([[0.8, 0.0], [-0.8, 0.5]]))
    assert torch.allclose(mean[:, 0], torch.tensor([0.4, -0.4]), atol=0.05)
    assert torch.allclose(deviation, torch.full((2, 1), 0.2), atol=0.03)


@pytest.mark.parametrize("rate", [0.5, 0.02])
def test_terminations_are_learned_however_rare(rate):
    states = np.random.default_rng(0).normal(size=(5_000, 2))
    edge = norm.ppf(1 - rate)
    ends = train_terminations(states, states[:, 0] > edge, updates=1_500, hidden=(32,))
    asked = torch.tensor([[edge - 0.4, 0.0], [edge + 0.4, 0.0]], dtype=torch.float32)
    assert ends(asked).tolist() == [False, True]


@pytest.mark.parametrize(
    ("message", "changes"),
    [
        ("elites=3 must be between 1 and networks=2", {"networks": 2, "elites": 3}),
        ("9 transitions are too few", {"count": 9}),
    ],
)
def test_misuse_is_named(message, changes):
    count = changes.pop("count", 100)
    with pytest.raises(ConfigError, match=message):
        train_dynamics(*linear(count, 0), updates=1, **changes)


def test_ends_that_never_or_always_come_are_nothing_to_learn():
    for ended in (np.zeros(50, bool), np.ones(50, bool)):
        with pytest.raises(ConfigError, match="there is no end to learn"):
            train_terminations(np.zeros((50, 1)), ended)
