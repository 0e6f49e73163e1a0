"""AWAC, SAC-N, EDAC and CQL: each loss beside its equation in NumPy, for members that differ in every hyperparameter."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm

from assay.baselines import AWAC, CQL, EDAC, SACN
from assay.baselines.algorithms.actor_critic import awac, cql, edac, sac_n
from assay.baselines.algorithms.algorithm import Setting
from assay.baselines.algorithms.distributions import squashed
from assay.baselines.engine.acting import act_once
from assay.baselines.engine.population import Member, Population
from assay.baselines.engine.randomness import Draws
from assay.baselines.networks import MLP, Network, mlp
from assay.datasets.errors import ConfigError
from tests.baselines.engine.test_population import forward
from tests.baselines.problems import training_data

SMALL = {"hidden": (16, 16), "batch_size": 32}
MEMBER = 1  # the one that is stated again; member 0 has the defaults


def made(algorithm, **different) -> Setting:
    """Two members, trained a little, whose targets, free parameters and temperatures are no longer the initial ones."""
    other = type(algorithm)(**{**algorithm.parameters(), "discount": 0.9, **different})
    data = [training_data(0), training_data(1)]
    trained = Population([Member(algorithm, 0, 0), Member(other, 7, 1)], data, 100, dtype=torch.float64)
    trained.advance(5)
    for network in trained.networks.values():
        size = network.spec.ensemble * network.spec.size
        network.buffer += 0.1 * trained.draws.normal(f"apart/{network.name}", size).view(network.buffer.shape)
    return Setting(trained.networks, trained.batches.batches(), trained.hyperparameters, trained.draws)


def batch_of(setting: Setting) -> list[np.ndarray]:
    names = ("observations", "actions", "rewards", "next_observations", "bootstraps")
    return [getattr(setting.batch, name)[MEMBER].numpy() for name in names]


def normal(setting: Setting, purpose: str, *shape: int) -> np.ndarray:
    return setting.draws.normal(purpose, *shape)[MEMBER].numpy()


def q(setting: Setting, states: np.ndarray, actions: np.ndarray, weights: str = "learned") -> np.ndarray:
    """Values [K, B] of every critic."""
    critic = setting.networks["critic"]
    inputs = np.hstack([states, actions])
    return np.stack([forward(critic, MEMBER, k, inputs, weights)[:, 0] for k in range(critic.spec.ensemble)])


def scalar(setting: Setting, network: str) -> float:
    return setting.networks[network].buffer[MEMBER, 0].item()


def squash(mean: np.ndarray, log_std: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Actions and log densities by the change of variables."""
    unbounded = mean + np.exp(log_std) * noise
    action = np.tanh(unbounded)
    return action, (norm.logpdf(unbounded, mean, np.exp(log_std)) - np.log(1.0 - action**2)).sum(-1)


# -------------------------------------------------------------------- the squashed Gaussian


@pytest.mark.parametrize(("mean", "log_std"), [(0.0, 0.0), (0.4, -1.0), (-1.5, 0.3)])
def test_the_density_of_a_squashed_gaussian_integrates_to_one(mean, log_std):
    noise = torch.linspace(-8, 8, 20_001, dtype=torch.float64)[:, None]
    actions, log_density = squashed(torch.full_like(noise, mean), torch.full_like(noise, log_std), noise)
    assert torch.trapezoid(log_density.exp(), actions[:, 0]).item() == pytest.approx(1.0, abs=1e-6)


def test_its_log_density_is_finite_where_tanh_rounds_to_one():
    action, log_density = squashed(torch.full((1,), 30.0), torch.zeros(1), torch.zeros(1))
    assert action.item() == 1.0
    assert log_density.item() == pytest.approx(-0.5 * math.log(2 * math.pi) - 2 * (math.log(2) - 30), rel=1e-6)


@pytest.mark.parametrize("algorithm", [SACN(**SMALL, critics=2), CQL(**SMALL, sampled_actions=2)], ids=lambda a: a.name)
def test_the_policy_acts_by_the_tanh_of_its_mean(algorithm):
    setting = made(algorithm)
    acted = act_once(algorithm, setting.networks, setting.batch.observations)
    outputs = forward(setting.networks["actor"], MEMBER, 0, setting.batch.observations[MEMBER].numpy(), "learned")
    assert np.allclose(acted[MEMBER].numpy(), np.tanh(outputs[:, :2]))


# -------------------------------------------------------------------- AWAC


def test_awac_losses_are_the_papers():
    setting = made(AWAC(**SMALL), temperature=0.7)
    s, a, r, s2, bootstrap = batch_of(setting)
    log_std = setting.networks["actor"].buffer[MEMBER, -2:].numpy()

    def sample(states: np.ndarray, purpose: str) -> np.ndarray:
        mean = forward(setting.networks["actor"], MEMBER, 0, states, "learned")
        return np.clip(mean + np.exp(log_std) * normal(setting, purpose, 32, 2), -1, 1)

    y = r + 0.9 * bootstrap * q(setting, s2, sample(s2, "target actions"), "target").min(0)
    critic = np.mean((q(setting, s, a) - y) ** 2, axis=1).sum()
    assert np.isclose(awac.critic_loss(setting).of["critic"][MEMBER].item(), critic)

    advantage = q(setting, s, a).min(0) - q(setting, s, sample(s, "policy actions")).min(0)
    log_probability = norm.logpdf(a, forward(setting.networks["actor"], MEMBER, 0, s, "learned"), np.exp(log_std))
    actor = -np.mean(np.minimum(np.exp(advantage / 0.7), 100.0) * log_probability.sum(1))
    assert np.isclose(awac.actor_loss(setting).of["actor"][MEMBER].item(), actor)


def test_awac_acts_by_its_clipped_mean():
    setting = made(AWAC(**SMALL))
    setting.networks["actor"].buffer[:, -4:-2] += 2.0  # the biases of the mean
    s = setting.batch.observations
    mean = forward(setting.networks["actor"], MEMBER, 0, s[MEMBER].numpy(), "learned")
    assert (mean > 1).any()
    assert np.allclose(act_once(AWAC(**SMALL), setting.networks, s)[MEMBER].numpy(), np.clip(mean, -1, 1))


# -------------------------------------------------------------------- SAC-N and EDAC


def sac_policy(setting: Setting, states: np.ndarray, purpose: str) -> tuple[np.ndarray, np.ndarray]:
    outputs = forward(setting.networks["actor"], MEMBER, 0, states, "learned")
    return squash(outputs[:, :2], np.clip(outputs[:, 2:], -5, 2), normal(setting, purpose, 32, 2))


def sac_targets(setting: Setting, discount: float = 0.9) -> np.ndarray:
    _, _, r, s2, bootstrap = batch_of(setting)
    actions, log_probability = sac_policy(setting, s2, "target actions")
    value = q(setting, s2, actions, "target").min(0) - np.exp(scalar(setting, "temperature")) * log_probability
    return r + discount * bootstrap * value


def test_sac_n_losses_are_the_papers():
    setting = made(SACN(**SMALL, critics=4))
    s, a, *_ = batch_of(setting)
    log_temperature = scalar(setting, "temperature")
    assert log_temperature != 0.0

    _, log_probability = sac_policy(setting, s, "temperature actions")
    temperature = -log_temperature * np.mean(log_probability - 2)
    assert np.isclose(sac_n.temperature_loss(setting).of["temperature"][MEMBER].item(), temperature)

    actions, log_probability = sac_policy(setting, s, "policy actions")
    actor = np.mean(np.exp(log_temperature) * log_probability - q(setting, s, actions).min(0))
    assert np.isclose(sac_n.actor_loss(setting).of["actor"][MEMBER].item(), actor)

    critic = np.mean((q(setting, s, a) - sac_targets(setting)) ** 2, axis=1).sum()
    assert np.isclose(sac_n.critic_loss(setting).of["critic"][MEMBER].item(), critic)


def pairwise_similarity(setting: Setting, parameters: list[torch.Tensor]) -> torch.Tensor:
    """The diversity term as it is written, pair by pair, on PyTorch's own functions."""
    critics = setting.networks["critic"].spec.ensemble
    gradients = []
    for row in range(MEMBER * critics, (MEMBER + 1) * critics):
        action = setting.batch.actions[MEMBER].clone().requires_grad_()
        hidden = torch.cat([setting.batch.observations[MEMBER], action], -1)
        for weight, bias in zip(parameters[::2], parameters[1::2]):
            hidden = hidden @ weight[row] + bias[row]
            hidden = torch.relu(hidden) if weight.shape[-1] > 1 else hidden
        (gradient,) = torch.autograd.grad(hidden.sum(), action, create_graph=True)
        gradients.append(gradient / gradient.norm(dim=-1, keepdim=True))
    pairs = [(g * h).sum(-1) for i, g in enumerate(gradients) for j, h in enumerate(gradients) if i != j]
    return torch.stack(pairs).sum(0).mean() / (critics - 1)


def test_edac_adds_the_similarity_of_the_critics_gradients_and_descends_on_it():
    setting = made(EDAC(**SMALL, critics=4), eta=3.0)
    s, a, *_ = batch_of(setting)
    found = edac.critic_loss(setting)
    parameters = setting.networks["critic"].parameters
    similarity = pairwise_similarity(setting, parameters)
    errors = np.mean((q(setting, s, a) - sac_targets(setting)) ** 2, axis=1).sum()
    assert np.isclose(found.metrics["similarity"][MEMBER].item(), similarity.item())
    assert np.isclose(found.of["critic"][MEMBER].item(), errors + 3.0 * similarity.item())
    assert found.metrics["critic_loss"] is found.of["critic"]  # what is logged is what is descended on

    plain = sac_n.critic_loss(setting).of["critic"][MEMBER]
    expected = torch.autograd.grad(plain + 3.0 * similarity, parameters, retain_graph=True, materialize_grads=True)
    gradients = torch.autograd.grad(found.of["critic"][MEMBER], parameters, materialize_grads=True)
    without = torch.autograd.grad(plain, parameters, materialize_grads=True)
    assert all(torch.allclose(*pair, atol=1e-9) for pair in zip(gradients, expected))
    assert not torch.allclose(gradients[0], without[0], atol=1e-3)


def test_edac_without_its_term_is_sac_n():
    members = [
        Population([Member(algorithm, 3, 0)], [training_data()], 100, dtype=torch.float64)
        for algorithm in (EDAC(**SMALL, critics=3, eta=0.0), SACN(**SMALL, critics=3))
    ]
    for member in members:
        member.advance(20)
    left, right = (member.state(0).tensors for member in members)
    assert all(torch.allclose(left[name], right[name], atol=1e-10) for name in right)


def test_each_part_of_a_sac_n_update_sees_what_the_part_before_did():
    population = Population([Member(SACN(**SMALL, critics=2), 0, 0)], [training_data()], 100, dtype=torch.float64)
    population.advance(3)
    networks, before = population.networks, population.state()
    setting = Setting(networks, population.batches.batches(), population.hyperparameters, population.draws)
    for phase, name in zip(population.phases, ("temperature", "actor", "critic")):
        losses = phase.losses(setting).of
        assert list(losses) == [name]
        networks[name].descend(losses[name].sum(), population._learning_rate(name))
    by_hand = {name: network.buffer.clone() for name, network in networks.items()}
    population.restore(before)
    population.advance(1)
    assert all(torch.equal(by_hand[name], network.buffer) for name, network in networks.items())


def test_a_diverged_member_of_sac_n_stays_finite_and_its_neighbour_goes_on():
    wild, tame = SACN(**SMALL, critics=2, critic_learning_rate=1e200), SACN(**SMALL, critics=2)
    data = [training_data()]
    together = Population([Member(wild, 0, 0), Member(tame, 1, 0)], data, 50, dtype=torch.float64)
    alone = Population([Member(tame, 1, 0)], data, 50, dtype=torch.float64)
    together.advance(10)
    frozen = together.state(0)
    together.advance(10)
    alone.advance(20)
    assert together.frozen_at[1] is None
    assert together.frozen_at[0] is not None
    for name, tensor in together.state(0).tensors.items():
        if name.endswith(("/parameters", "/target")):
            assert torch.isfinite(tensor).all()
            assert torch.equal(tensor, frozen.tensors[name])
    assert torch.allclose(together.networks["actor"].buffer[1], alone.networks["actor"].buffer[0], atol=1e-9)


# -------------------------------------------------------------------- CQL


def cql_policy(setting: Setting, states: np.ndarray, purpose: str, *count: int) -> tuple[np.ndarray, np.ndarray]:
    actor = setting.networks["actor"]
    outputs = forward(actor, MEMBER, 0, states, "learned")
    if actor.spec.state_independent:
        scale, offset = actor.buffer[MEMBER, -2:].tolist()
        log_std = np.clip((1.0 + scale) * outputs[:, 2:] - 1.0 + offset, -20, 2)
    else:
        log_std = np.clip(outputs[:, 2:], np.log(0.007), np.log(7.5))
    return squash(outputs[:, :2], log_std, normal(setting, purpose, *count, 32, 2))


DIFFERENT = {"alpha": 2.0, "softmax_temperature": 0.6, "target_action_gap": 0.3, "entropy_weight": 1.7}


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"importance_sampling": False},
        {"max_target_backup": True, "backup_entropy": True},
        {"max_target_backup": True, "backup_order": "max_first"},
        {"lagrange": True, "plain_deviation": True},
        {"automatic_entropy": False, "backup_entropy": True},
    ],
    ids=str,
)
def test_cql_losses_are_the_papers(choices):
    algorithm = CQL(**SMALL, sampled_actions=4, **choices)
    setting = made(algorithm, **DIFFERENT)
    found = algorithm.losses(setting).of
    s, a, r, s2, bootstrap = batch_of(setting)

    actions, log_probability = cql_policy(setting, s, "policy actions")
    weight = 1.7
    if algorithm.automatic_entropy:
        log_temperature = scalar(setting, "temperature")
        weight *= np.exp(log_temperature)
        assert np.isclose(found["temperature"][MEMBER].item(), -log_temperature * np.mean(log_probability - 2))
    actor = np.mean(weight * log_probability - q(setting, s, actions).min(0))
    assert np.isclose(found["actor"][MEMBER].item(), actor)

    count = 4 if algorithm.max_target_backup else 1
    next_actions, next_log_probability = cql_policy(setting, s2, "target actions", count)
    by_critic = np.stack([q(setting, s2, chosen, "target") for chosen in next_actions])  # [n, K, B]
    next_values = by_critic.min(1)
    best, rows = next_values.argmax(0), np.arange(32)
    value = next_values[best, rows] if algorithm.backup_order == "min_first" else by_critic.max(0).min(0)
    value = value - algorithm.backup_entropy * weight * next_log_probability[best, rows]
    errors = np.mean((q(setting, s, a) - (r + 0.9 * bootstrap * value)) ** 2, axis=1)  # [K]

    uniform = 2.0 * setting.draws.uniform("uniform actions", 4, 32, 2)[MEMBER].numpy() - 1.0
    pool = [(chosen, np.full(32, math.log(0.25))) for chosen in uniform]
    pool += list(zip(*cql_policy(setting, s, "actions of the state", 4)))
    pool += list(zip(*cql_policy(setting, s2, "actions of the next state", 4)))
    if algorithm.importance_sampling:
        values = np.stack([q(setting, s, chosen) - density for chosen, density in pool])  # [3 n, K, B]
    else:
        values = np.stack([q(setting, s, chosen) for chosen, _ in [*pool, (a, None)]])
    gaps = np.mean(0.6 * logsumexp(values / 0.6, axis=0) - q(setting, s, a), axis=1)  # [K]
    if algorithm.lagrange:
        multiplier = np.exp(scalar(setting, "multiplier"))
        penalties = multiplier * 2.0 * (gaps - 0.3)
        assert np.isclose(found["multiplier"][MEMBER].item(), -penalties.mean())
    else:
        penalties = 2.0 * gaps
    assert np.isclose(found["critic"][MEMBER].item(), np.sum(errors + penalties))


def test_the_largest_of_smaller_values_is_not_the_smaller_of_largest_ones():
    smaller, larger = (
        CQL(**SMALL, sampled_actions=4, max_target_backup=True, backup_order=order)
        for order in ("min_first", "max_first")
    )
    setting = made(smaller)
    there = cql.policy(setting.networks["actor"], setting.batch.next_observations)
    cautious, bold = (one.targets(setting, there, setting.hyperparameters.entropy_weight) for one in (smaller, larger))
    assert (bold >= cautious - 1e-12).all()
    assert (bold > cautious + 1e-6).any()


@pytest.mark.parametrize("wrong", [{}, {"max_target_backup": True, "backup_entropy": True}], ids=str)
def test_an_order_of_the_backup_without_one_is_refused(wrong):
    with pytest.raises(ConfigError, match="backup_order='max_first' is an order of max_target_backup"):
        CQL(**SMALL, backup_order="max_first", **wrong).networks(training_data().shapes)


def test_cql_without_its_penalty_regresses_the_soft_target_only():
    algorithm = CQL(**SMALL, sampled_actions=2, alpha=0.0, backup_entropy=True)
    setting = made(algorithm)
    s, a, r, s2, bootstrap = batch_of(setting)
    actions, log_probability = cql_policy(setting, s2, "target actions")
    value = q(setting, s2, actions, "target").min(0) - np.exp(scalar(setting, "temperature")) * log_probability
    expected = np.sum(np.mean((q(setting, s, a) - (r + 0.9 * bootstrap * value)) ** 2, axis=1))
    assert np.isclose(algorithm.losses(setting).of["critic"][MEMBER].item(), expected)


def test_cqls_losses_train_their_own_networks_only():
    algorithm = CQL(**SMALL, sampled_actions=2, lagrange=True)
    setting = made(algorithm)
    losses = algorithm.losses(setting).of
    for name, loss in losses.items():
        for other, network in setting.networks.items():
            gradients = torch.autograd.grad(loss.sum(), network.parameters, retain_graph=True, allow_unused=True)
            assert all((gradient is not None) == (name == other) for gradient in gradients), (name, other)


@pytest.mark.parametrize("held", [1, 3 * 7 * 8, 1 << 20], ids=["one by one", "three and one", "all at once"])
def test_states_with_candidates_give_what_repeated_states_joined_with_them_give(held, monkeypatch):
    monkeypatch.setattr(mlp, "_CACHED", held)
    network = Network(
        "critic",
        MLP(5, 1, (8, 8), learning_rate="rate", ensemble=2),
        Draws([0, 1, 2], torch.zeros(1, dtype=torch.int64), torch.float64),
    )
    states = torch.randn(3, 7, 3, dtype=torch.float64)
    candidates = torch.randn(3, 4, 7, 2, dtype=torch.float64).requires_grad_()
    joined = torch.cat([states[:, None].expand(-1, 4, -1, -1), candidates], -1)  # [P, n, B, in]
    found, expected = network(states, candidates), network(joined.flatten(1, 2)).view(3, 2, 4, 7, 1)
    assert torch.allclose(found, expected, atol=1e-12)
    wanted = [*network.parameters, candidates]
    pairs = zip(torch.autograd.grad(found.square().sum(), wanted), torch.autograd.grad(expected.square().sum(), wanted))
    assert all(torch.allclose(*pair, atol=1e-12) for pair in pairs)
