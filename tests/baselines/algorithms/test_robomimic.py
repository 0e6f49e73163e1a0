"""BCQ and BC-GMM: each loss beside its equation in NumPy, and what each is for, with what fails in its place."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, logsumexp
from scipy.stats import norm

from assay.baselines import BC, BCQ, Job, MixtureBC
from assay.baselines.algorithms.actor_critic import bcq
from assay.baselines.algorithms.algorithm import Setting
from assay.baselines.algorithms.distributions import mixture_log_probability
from assay.baselines.engine.acting import act_once
from assay.baselines.engine.population import Member, Population
from assay.datasets import Dataset
from assay.datasets.errors import ConfigError
from tests.baselines.algorithms.test_constraint import (
    SEEDS,
    actions_at,
    distance_to_support,
    neighbouring_states,
    one_step,
    trained,
)
from tests.baselines.algorithms.test_constraint_losses import MEMBER, batch_of, made, of
from tests.baselines.problems import population, training_data

SMALL = {"hidden": (16, 16), "batch_size": 32}
FEW = {**SMALL, "autoencoder_hidden": (12,), "sampled_actions": 3, "acting_samples": 5}
DIFFERENT = {"perturbation": 0.3, "minimum_weight": 0.6, "divergence_weight": 1.5}


# -------------------------------------------------------------------- BCQ, its equations


def noise_of(setting: Setting, purpose: str, *shape: int) -> np.ndarray:
    return setting.draws.normal(purpose, *shape)[MEMBER].numpy()


def proposed(setting: Setting, s: np.ndarray, z: np.ndarray, weights: str, clip: float | None = 0.5) -> np.ndarray:
    a = of(setting, "decoder", s, z if clip is None else np.clip(z, -clip, clip))
    if "actor" not in setting.networks:
        return a
    return np.clip(a + 0.3 * of(setting, "actor", s, a, weights=weights), -1, 1)


@pytest.mark.parametrize("choices", [{}, {"perturbed": False}, {"latent": 3, "latent_clip": None}], ids=str)
def test_bcq_regresses_the_best_proposal_of_mixed_critics(choices):
    algorithm = BCQ(**FEW, **choices)
    _, setting = made(algorithm, **DIFFERENT)
    s, a, r, s2, bootstrap = batch_of(setting)
    z = noise_of(setting, "latent of the next state", 3, 32, algorithm.latent or 4)
    values = []
    for each in z:
        a2 = proposed(setting, s2, each, "target", algorithm.latent_clip)
        q = [of(setting, "critic", s2, a2, copy=k, weights="target")[:, 0] for k in (0, 1)]
        values.append(0.6 * np.minimum(*q) + 0.4 * np.maximum(*q))
    y = r + 0.9 * bootstrap * np.max(values, 0)
    expected = sum(np.mean((of(setting, "critic", s, a, copy=k)[:, 0] - y) ** 2) for k in (0, 1))
    assert np.isclose(algorithm.critic_loss(setting).of["critic"][MEMBER].item(), expected)


def test_bcqs_autoencoder_and_its_moves():
    algorithm = BCQ(**FEW)
    _, setting = made(algorithm, **DIFFERENT)
    s, a, *_ = batch_of(setting)
    outputs = of(setting, "encoder", s, a)
    mean, std = outputs[:, :4], np.exp(np.clip(outputs[:, 4:], -4, 15))
    found = of(setting, "decoder", s, mean + std * noise_of(setting, "latent of the data", 32, 4))
    divergence = np.mean(0.5 * (mean**2 + std**2 - 1) - np.log(std))
    losses = bcq.autoencoder_loss(setting).of
    assert np.isclose(losses["encoder"][MEMBER].item(), np.mean((found - a) ** 2) + 1.5 * divergence)
    assert losses["encoder"] is losses["decoder"]

    moved = proposed(setting, s, noise_of(setting, "latent of the state", 1, 32, 4)[0], "learned")
    expected = -np.mean(of(setting, "critic", s, moved)[:, 0])
    assert np.isclose(algorithm.actor_loss(setting).of["actor"][MEMBER].item(), expected)


def test_the_gradient_of_bcqs_moves_is_that_of_a_few_lines_and_reaches_them_alone():
    algorithm = BCQ(**FEW)
    _, setting = made(algorithm, **DIFFERENT)
    networks, s, h = setting.networks, setting.batch.observations, setting.hyperparameters
    z = setting.draws.normal("latent of the state", 1, 32, 4)[:, 0].clamp(-0.5, 0.5)
    a = networks["decoder"](torch.cat([s, z], -1)).detach()
    moved = torch.clip(a + h.perturbation[..., None] * networks["actor"](torch.cat([s, a], -1)), -1, 1)
    stated = -networks["critic"](torch.cat([s, moved], -1), weights="frozen")[:, 0].mean((1, 2))  # the first critic
    loss = algorithm.actor_loss(setting).of["actor"]
    for parameter in networks["actor"].parameters:
        left, right = (torch.autograd.grad(x.sum(), parameter, retain_graph=True)[0] for x in (loss, stated))
        assert torch.allclose(left, right, atol=1e-12)
    for other in ("critic", "encoder", "decoder"):
        found = torch.autograd.grad(loss.sum(), networks[other].parameters, retain_graph=True, allow_unused=True)
        assert all(gradient is None for gradient in found)


def test_bcq_acts_by_the_best_of_its_proposals():
    algorithm = BCQ(**FEW)
    populated = population(algorithm, [0, 1], dtype=torch.float64)
    populated.advance(5)
    observations = torch.randn(2, 6, 3, dtype=torch.float64)
    chosen = act_once(algorithm, populated.networks, observations)
    drawn = act_once(BCQ(**{**FEW, "acting_samples": 1}), populated.networks, observations)

    def valued(actions):
        return populated.networks["critic"](torch.cat([observations, actions], -1), weights="frozen", first=True)

    assert (valued(chosen) >= valued(drawn) - 1e-12).all()  # the single proposal is the first of the five
    assert (valued(chosen) > valued(drawn)).any()


# -------------------------------------------------------------------- BCQ, what it is for


BANDIT = {"hidden": (32, 32), "autoencoder_hidden": (32, 32), "batch_size": 64}


def anywhere(decoder, observations, noise, clip=None):
    """Uniform actions in place of those that a model of the data proposes."""
    return 2.0 * torch.special.ndtr(noise[..., : decoder.spec.outputs]) - 1.0


class Spiked:
    """A critic that overestimates actions near 0.9, which the data never takes."""

    def __init__(self, critic):
        self.critic = critic

    def __call__(self, *inputs, **options):
        return (
            self.critic(*inputs, **options)
            + 100.0 * torch.exp(-((inputs[-1][..., -1:] - 0.9) / 0.05).square())[:, None]
        )


def test_a_spike_outside_the_data_does_not_move_bcqs_targets(monkeypatch):
    """Largest change of a target; actions of the data are between -1 and -0.1. Measured: BCQ 0, uniform actions 99."""
    algorithm = BCQ(**BANDIT, sampled_actions=50)
    data, _ = neighbouring_states()
    fitted = trained(algorithm, data, 100)
    batch = fitted.batches.batches()
    alive = {"batch": type(batch["batch"])({**batch["batch"].columns, "bootstraps": torch.ones(len(SEEDS), 64)})}
    plain, spiked = (
        Setting({**fitted.networks, "critic": critic}, alive, fitted.hyperparameters, fitted.draws)
        for critic in (fitted.networks["critic"], Spiked(fitted.networks["critic"]))
    )
    assert (algorithm.targets(spiked) - algorithm.targets(plain)).abs().max() < 1e-3
    monkeypatch.setattr(bcq, "decode", anywhere)
    assert (algorithm.targets(spiked) - algorithm.targets(plain)).abs().max() > 50


@pytest.mark.slow
def test_bcq_takes_good_actions_of_the_data_and_uniform_proposals_leave_it(monkeypatch):
    """Largest distance to the data's actions, and mean action where those are between -1 and -0.8; the reward grows with the action.

    Measured after 600 updates of three members: BCQ 0.0 and -0.846, uniform proposals 1.10 and 0.61.
    """
    data, bad = neighbouring_states()

    def found() -> tuple[float, float]:
        acted = actions_at(trained(BCQ(**BANDIT), data, 600), bad[:50])
        return float(distance_to_support(acted).max()), float(acted.mean())

    distance, action = found()
    assert distance < 0.06  # the moves are at most 0.05
    assert action > -0.88
    monkeypatch.setattr(bcq, "decode", anywhere)
    distance, action = found()
    assert distance > 0.5
    assert action > 0


# -------------------------------------------------------------------- BC-GMM


def test_the_loss_of_bc_gmm_is_the_negative_log_likelihood():
    algorithm = MixtureBC(**SMALL, modes=3)
    other = MixtureBC(**SMALL, modes=3, initial_deviation=0.2, minimum_deviation=0.05)
    fitted = Population([Member(algorithm, 0, 0), Member(other, 7, 0)], [training_data()], 10, dtype=torch.float64)
    fitted.advance(5)
    setting = Setting(fitted.networks, fitted.batches.batches(), fitted.hyperparameters, fitted.draws)
    s, a, *_ = batch_of(setting)
    outputs = of(setting, "actor", s)
    logits, rest = outputs[:, :3], outputs[:, 3:].reshape(32, 3, 4)
    means, std = np.tanh(rest[..., :2]), 0.2 * np.log1p(np.exp(rest[..., 2:])) / np.log(2) + 0.05
    each = norm.logpdf(a[:, None], means, std).sum(-1)
    expected = -np.mean(logsumexp(log_softmax(logits, 1) + each, 1))
    assert np.isclose(algorithm.loss(setting).of["actor"][MEMBER].item(), expected)


def two_ways() -> tuple[np.ndarray, np.ndarray]:
    """States and actions: half of the actions are about -0.7 and half about 0.7, whatever the state."""
    rng = np.random.default_rng(0)
    signs = rng.choice([-1.0, 1.0], 4_000)
    return rng.normal(size=(4_000, 1)), np.clip(0.7 * signs + 0.05 * rng.normal(size=4_000), -1, 1)[:, None]


FAST = {"hidden": (32, 32), "batch_size": 128, "learning_rate": 3e-3}


def of_two_ways(algorithm) -> tuple[float, np.ndarray]:
    """Return the mean negative log likelihood of the data, and actions of three members, after 1,000 updates."""
    states, actions = two_ways()
    fitted = trained(algorithm, one_step(states, actions, np.zeros(len(states))), 1_000)
    acted = actions_at(fitted, states[:300])
    if not isinstance(algorithm, MixtureBC):
        return np.nan, acted
    seen, taken = (torch.tensor(x, dtype=torch.float32).expand(len(SEEDS), -1, -1) for x in (states, actions))
    mixture = algorithm.mixture(fitted.networks["actor"], seen, fitted.hyperparameters)
    return -mixture_log_probability(taken, *mixture).mean().item(), acted


@pytest.mark.slow
def test_bc_gmm_takes_one_of_two_ways_where_one_mode_and_least_squares_take_neither():
    """Negative log likelihood of the data, and mean |action| of three members after 1,000 updates; the ways are -0.7 and 0.7.

    Measured: five modes -0.874 and 0.69 to 0.70, one mode 1.065 and 0.02 to 0.04, least squares 0.01 to 0.02.
    """
    likelihood, acted = of_two_ways(MixtureBC(**FAST))
    assert (abs(abs(acted).mean(1) - 0.7) < 0.05).all()
    assert (abs((acted > 0).mean(1) - 0.5) < 0.2).all()
    unimodal, between = of_two_ways(MixtureBC(**FAST, modes=1, initial_deviation=0.1, minimum_deviation=0.01))
    assert unimodal > likelihood + 1.0
    assert (abs(between) < 0.2).all()
    _, between = of_two_ways(BC(**FAST))
    assert (abs(between) < 0.2).all()


def test_modes_are_drawn_by_their_shares_and_noise_is_low_unless_it_is_asked_for():
    algorithm = MixtureBC(**SMALL, modes=2)
    populated = population(algorithm, [0], dtype=torch.float64)
    populated.networks["actor"].buffer[:] = 0.0
    bias = populated.networks["actor"].weights["frozen"][-1]  # logits, then (mean, width) of each mode
    bias[0, 0] = torch.tensor([np.log(3.0), 0, 0.5, 0.5, -2, -2, -0.5, -0.5, -2, -2], dtype=torch.float64)
    states = torch.zeros(1, 4_000, 3, dtype=torch.float64)
    acted = act_once(algorithm, populated.networks, states)[0]
    assert abs((acted[:, 0] > 0).double().mean() - 0.75) < 0.03
    assert (acted.abs() - np.tanh(0.5)).abs().max() < 1e-3
    noisy = act_once(MixtureBC(**SMALL, modes=2, low_noise=False), populated.networks, states)[0]
    width = np.log1p(np.exp(-2)) + 1e-4
    assert abs(noisy[noisy[:, 0] > 0.2][:, 1].std().item() - width) < 0.02


def test_bc_gmm_refuses_discrete_actions():
    dataset = Dataset.from_arrays(
        observations=np.zeros((7, 2)),
        actions=np.arange(6) % 3,
        rewards=np.zeros(6),
        terminations=np.arange(6) == 5,
    )
    with pytest.raises(ConfigError, match="bounded Box"):
        Job(MixtureBC(**SMALL), dataset).action_scale  # noqa: B018
