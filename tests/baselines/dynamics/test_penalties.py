"""Each penalty is what a few lines of NumPy say, and knows where a model is wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, spearmanr

from assay.baselines.dynamics.ensemble import train_dynamics
from assay.baselines.dynamics.gaussian import GaussianModel
from assay.baselines.dynamics.penalties import PENALTIES, penalty
from assay.datasets.errors import ConfigError

RNG = np.random.default_rng(0)
MEANS, DEVIATIONS = RNG.normal(size=(5, 8, 3)), RNG.uniform(0.3, 2.0, (5, 8, 3))


def by_hand(name: str, variant: str, row: int) -> float:
    mu, sigma = MEANS[:, row], DEVIATIONS[:, row]
    if name == "aleatoric":
        size = sigma if variant == "released" else np.stack([np.diag(s**2) for s in sigma]).reshape(5, -1)
        return max(np.linalg.norm(one) for one in size)
    if name == "pairwise_difference":
        others = [mu.mean(0)] if variant == "released" else mu
        return max(np.linalg.norm(one - other) for one in mu for other in others)
    if name == "ensemble_deviation":
        if variant == "released":
            return np.sqrt(np.mean(np.var(mu, axis=0)))
        return np.linalg.norm(np.sqrt((sigma**2 + mu**2).mean(0) - mu.mean(0) ** 2))
    if name == "likelihood_variance":
        return np.var([multivariate_normal.logpdf(mu.mean(0), m, np.diag(s**2)) for m, s in zip(mu, sigma)])
    divergences = []
    for one in range(5):
        rest = [number for number in range(5) if number != one]
        m, v = mu[rest].mean(0), (sigma[rest] ** 2 + mu[rest] ** 2).mean(0) - mu[rest].mean(0) ** 2
        p, q = sigma[one] ** 2, mu[one]
        divergences.append(np.sum(0.5 * (np.log(v / p) + (p + (q - m) ** 2) / v - 1)))
    return np.mean(divergences)


@pytest.mark.parametrize("variant", ["paper", "released"])
@pytest.mark.parametrize("name", sorted(PENALTIES))
def test_a_penalty_is_its_formula(name, variant):
    found = penalty(name, torch.from_numpy(MEANS), torch.from_numpy(DEVIATIONS), variant)
    assert np.allclose(found.numpy(), [by_hand(name, variant, row) for row in range(8)])


@pytest.mark.parametrize("name", sorted(PENALTIES))
def test_networks_that_agree_and_are_sure_are_not_penalized(name):
    means, deviations = torch.ones(4, 6, 2), torch.full((4, 6, 2), 1e-4)
    assert penalty(name, means, deviations).abs().max() < 1e-3


def test_a_wrong_name_a_wrong_variant_and_a_comparison_of_one_network_are_refused():
    means = torch.zeros(1, 2, 3)
    for message, arguments in {
        "is not known; there are aleatoric": ("alleatoric", means, means),
        "neither 'paper' nor 'released'": ("aleatoric", means, means, "new"),
        "the ensemble has one": ("pairwise_difference", means, means),
    }.items():
        with pytest.raises(ConfigError, match=message):
            penalty(*arguments)


def test_disagreement_knows_where_the_model_is_wrong_and_expected_noise_does_not():
    """Trained in the middle, where the noise is; asked beside it too (Lu et al. 2022 calibrate penalties against the true error)."""
    rng = np.random.default_rng(1)
    states = rng.uniform(-1, 1, (3_000, 1))
    noise = 0.02 + 0.3 * (1 - np.abs(states))
    following = states + np.sin(2 * states) + noise * rng.normal(size=states.shape)
    model = GaussianModel(hidden=(48, 48), learning_rate=2e-3)
    ensemble = train_dynamics(
        states, np.zeros_like(states), 0 * states[:, 0], following, networks=5, elites=3, updates=1_500, model=model
    )
    asked = np.linspace(-3, 3, 301)[:, None]
    means, deviations = (
        item[..., :1] for item in ensemble.predict(torch.from_numpy(asked).float(), torch.zeros(301, 1))
    )
    wrong = np.abs(means[ensemble.elites].mean(0).numpy() - (asked + np.sin(2 * asked)))[:, 0]

    def agreement(name: str) -> float:
        return spearmanr(penalty(name, means, deviations, "released").numpy(), wrong).statistic

    for name in ("pairwise_difference", "ensemble_deviation", "likelihood_variance", "leave_one_out"):
        assert agreement(name) > 0.6
    assert agreement("aleatoric") < 0  # the stub: the noise that a network expects


def test_what_never_changes_is_no_part_of_a_penalty():
    rng = np.random.default_rng(0)
    states = rng.normal(size=(200, 1))
    ensemble = train_dynamics(
        states, states, 0 * states[:, 0], 2 * states, networks=2, elites=1, updates=5, penalty="leave_one_out"
    )
    step = ensemble.step(torch.zeros(3, 1), torch.zeros(3, 1), torch.zeros(3, 2), torch.arange(3))
    assert torch.isfinite(step.penalties).all()
