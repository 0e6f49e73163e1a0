"""EDM against closed forms: its coefficients, its sampler under the exact denoiser, and guidance on a toy of known shape."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from assay.baselines.diffusion.edm import Diffusion, denoised, noise_levels, sample, train_denoiser

MEAN, DEVIATION = 1.5, 0.5


def exact(noisy: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
    """The best denoiser of N(1.5, 0.5^2): the posterior mean."""
    return (DEVIATION**2 * noisy + level**2 * MEAN) / (DEVIATION**2 + level**2)


def test_the_denoiser_has_the_published_coefficients():
    noisy, level = torch.randn(1, 6, 3), torch.rand(1, 6, 1) * 10 + 0.01
    seen = {}

    class Network:
        def __call__(self, inputs, time, weights):
            seen["inputs"], seen["time"] = inputs, time
            return torch.full_like(inputs, 2.0)

    found = denoised(Network(), noisy, level)
    for row in range(6):
        sigma, x = float(level[0, row]), noisy[0, row]
        skip, out, inner = 1 / (sigma**2 + 1), sigma / math.sqrt(sigma**2 + 1), 1 / math.sqrt(sigma**2 + 1)
        assert torch.allclose(found[0, row], skip * x + out * 2.0, atol=1e-6)
        assert torch.allclose(seen["inputs"][0, row], inner * x, atol=1e-6)
        assert math.isclose(float(seen["time"][0, row]), math.log(sigma) / 4, rel_tol=1e-5)


def test_noise_levels_are_equation_5():
    levels = noise_levels(5)
    expected = [(80 ** (1 / 7) + i / 4 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7 for i in range(5)]
    assert np.allclose(levels, [*expected, 0.0])


@pytest.mark.parametrize("churn", [0.0, 80.0])
def test_the_sampler_draws_the_gaussian_whose_denoiser_it_is_given(churn):
    drawn = sample(exact, 20_000, 1, np.random.default_rng(0), steps=64, churn=churn).numpy()[:, 0]
    assert abs(drawn.mean() - MEAN) < 0.02
    assert abs(drawn.std() - DEVIATION) < 0.02
    assert stats.kstest(drawn, stats.norm(MEAN, DEVIATION).cdf).statistic < 0.02


def test_without_churn_heun_is_of_second_order():
    """Halving the steps of a first-order method doubles the error of where a path ends; of this one it quadruples it."""
    ends = []
    for steps in (20, 40, 80, 2560):
        ends.append(sample(exact, 50, 1, np.random.default_rng(0), steps=steps, churn=0.0).numpy())
    errors = [np.abs(end - ends[-1]).mean() for end in ends[:-1]]
    assert errors[0] / errors[1] > 3.0
    assert errors[1] / errors[2] > 3.0


def two_bumps(count: int, seed: int) -> np.ndarray:
    """States N(0, 0.58^2), actions at -0.7 or 0.7, whatever the state."""
    rng = np.random.default_rng(seed)
    actions = rng.choice([-0.7, 0.7], count) + 0.15 * rng.normal(size=count)
    return np.stack([0.58 * rng.normal(size=count), actions], 1)


@pytest.fixture(scope="module")
def toy():
    vectors = two_bumps(6_000, 0)
    mean, deviation = vectors.mean(0), vectors.std(0)
    model = Diffusion(width=64, blocks=2, learning_rate=1e-3)
    return train_denoiser((vectors - mean) / deviation, model=model, updates=2_500), mean, deviation


def drawn_from(toy, guide=None, seed: int = 1) -> np.ndarray:
    denoiser, mean, deviation = toy
    return sample(denoiser, 3_000, 2, np.random.default_rng(seed), steps=64, guide=guide).numpy() * deviation + mean


def test_a_trained_denoiser_draws_the_data(toy):
    drawn, data = drawn_from(toy), two_bumps(6_000, 9)
    for column in (0, 1):
        assert stats.wasserstein_distance(drawn[:, column], data[:, column]) < 0.08
    assert abs((drawn[:, 1] > 0).mean() - 0.5) < 0.05
    assert (np.abs(drawn[:, 1]) < 0.3).mean() < 0.02  # between the bumps


def off_support(drawn: np.ndarray) -> float:
    return float((np.abs(np.abs(drawn[:, 1]) - 0.7) > 0.45).mean())


def test_drawing_is_determined_by_the_generator(toy):
    assert np.array_equal(drawn_from(toy), drawn_from(toy))
    assert not np.array_equal(drawn_from(toy), drawn_from(toy, seed=2))
    assert off_support(drawn_from(toy)) < 0.02
