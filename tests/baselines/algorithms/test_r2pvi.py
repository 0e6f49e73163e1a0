"""PEVI, DRPVI and R2PVI: duals against their primal problems, one step by hand, and returns under perturbed dynamics."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog, minimize

from assay.baselines import DRPVI, PEVI, R2PVI, Job, train
from assay.datasets import Dataset
from assay.datasets.errors import ConfigError
from assay.datasets.info import DatasetInfo
from assay.datasets.spaces import Discrete
from tests.baselines.algorithms.linear_problem import THETA, episodes, returns_of
from tests.baselines.algorithms.tabular_problems import solved

VALUES = np.array([0.3, 1.7, 0.9, 2.4, 1.1])
CHANCES = np.array([[0.1, 0.3, 0.2, 0.25, 0.15]])  # mu of one feature: with exact data the projection is an expectation
HORIZON = 3


def worst_by_linear_program(price: float | None = None, radius: float | None = None, low: float | None = None) -> float:
    """Minimize E_mu V + price * TV, or E_mu V within TV <= radius, over mu, and the excess t >= |mu - mu0| / 2."""
    values, chances = VALUES, CHANCES[0]
    if low is not None:
        values, chances = np.append(values, low), np.append(chances, 0.0)
    count, one = len(values), np.eye(len(values))
    costs = np.concatenate([values, np.full(count, 0.5 * (price or 0.0))])
    limits = [np.hstack([one, -one]), np.hstack([-one, -one])]
    bounds = [chances, -chances]
    if radius is not None:
        limits.append(np.concatenate([np.zeros(count), np.full(count, 0.5)])[None])
        bounds.append(np.array([radius]))
    sums = np.concatenate([np.ones(count), np.zeros(count)])[None]
    found = linprog(costs, np.vstack(limits), np.concatenate(bounds), sums, [1.0])
    assert found.success
    return float(found.fun)


def worst_by_descent(divergence: str, price: float) -> float:
    """Minimize E_mu V + price * D(mu || mu0) over the simplex."""
    mu0 = CHANCES[0]

    def cost(mu: np.ndarray) -> float:
        mu = np.maximum(mu, 1e-300)
        distance = (mu * np.log(mu / mu0)).sum() if divergence == "kl" else ((mu - mu0) ** 2 / mu0).sum()
        return float(mu @ VALUES + price * distance)

    sums = {"type": "eq", "fun": lambda mu: mu.sum() - 1}
    options = {"ftol": 1e-14, "maxiter": 1_000}
    found = minimize(cost, mu0, method="SLSQP", bounds=[(1e-12, 1)] * 5, constraints=[sums], options=options)
    return float(found.fun)


@pytest.mark.parametrize("price", [0.1, 0.5, 2.0])
def test_the_worst_values_are_those_of_the_primal_problems(price):
    def of(divergence: str, **fields) -> float:
        return float(R2PVI(divergence=divergence, regularizer=price, **fields).projected(VALUES, CHANCES)[0])

    assert of("total_variation") == pytest.approx(worst_by_linear_program(price), abs=1e-6)
    assert of("kl") == pytest.approx(worst_by_descent("kl", price), abs=1e-5)
    assert of("chi_squared") == pytest.approx(worst_by_descent("chi_squared", price), abs=1e-5)
    # The published code of the simulated problem takes the minimum of the dual.
    assert of("chi_squared", variant="released") < worst_by_descent("chi_squared", price) - 0.05


def test_with_a_radius_the_dual_is_that_of_a_linear_program_that_may_go_to_value_zero():
    for radius in (0.0, 0.1, 0.4):
        found = DRPVI(radius=radius).projected(VALUES, CHANCES)[0]
        assert found == pytest.approx(worst_by_linear_program(radius=radius, low=0.0), abs=1e-6)


@pytest.mark.parametrize("divergence", ["total_variation", "kl", "chi_squared"])
def test_a_large_price_is_no_robustness_and_a_small_one_the_smallest_value(divergence):
    plain = PEVI().projected(VALUES, CHANCES)[0]
    large = R2PVI(divergence=divergence, regularizer=1e5).projected(VALUES, CHANCES)[0]
    assert large == pytest.approx(plain, abs=1e-4)
    small = R2PVI(divergence=divergence, regularizer=4e-3).projected(VALUES, CHANCES)[0]
    assert small == pytest.approx(VALUES.min(), abs=0.05)
    assert plain - VALUES.min() > 0.5  # which the stub, no robustness, would fail by


def test_two_steps_of_one_feature_by_hand():
    # Two episodes of two steps, phi = 1 for both actions; the second reward is 1 and 0.
    dataset = Dataset.from_arrays(
        observations=np.ones((6, 2, 1)),
        actions=np.array([0, 1, 0, 1]),
        rewards=np.array([0.0, 1.0, 0.0, 0.0]),
        terminations=np.array([False, True, False, True]),
        truncations=np.zeros(4, bool),
        info=DatasetInfo(action_space=Discrete(2)),
    )
    learner = solved(PEVI(horizon=2, ridge=1.0, beta=0.1), [dataset])
    # Lambda = 2 + 1; theta_1 = 1/3; V_1 = 1/3 - 0.1 sqrt(1/3); nu_0 = 2/3 V_1.
    last = 1 / 3 - 0.1 * np.sqrt(1 / 3)
    assert np.allclose(learner.networks["weights"].buffer.numpy(), [[2 / 3 * last, 1 / 3]], atol=1e-7)
    assert np.allclose(learner.networks["inverses"].buffer.numpy(), 1 / 3)


def test_the_penalties_by_hand():
    import torch

    features, inverse = torch.tensor([[3.0, 4.0]]), torch.tensor([[[1.0, 0.5], [0.5, 4.0]]])
    assert float(PEVI().uncertainty(features, inverse)) == pytest.approx(np.sqrt(9 + 12 + 64))
    assert float(R2PVI().uncertainty(features, inverse)) == pytest.approx(np.sqrt(9 + 64))
    assert float(DRPVI().uncertainty(features, inverse)) == pytest.approx(np.sqrt(9 + 64))
    assert float(R2PVI(penalty="sum").uncertainty(features, inverse)) == pytest.approx(3 + 8)


def test_robustness_to_perturbed_dynamics_is_bought_with_a_nominal_loss():
    """Exact returns, mean of 20 data sets at q = 0 and 1: PEVI 1.546 and 0.756, TV 1.407 and 0.987, KL 1.497 and 0.837.

    Measured with the published code and 5 data sets: PEVI 1.535 and 0.739, TV 1.382 and 1.014, KL 1.487 and 0.815. Chi-squared
    is 1.524 and 0.794, and 1.325 and 1.125 where the dual is minimized, as published: most of its robustness was the sign.
    """
    datasets = [episodes(seed) for seed in range(20)]
    known = {"reward_weights": THETA}
    methods = {
        "pevi": PEVI(**known),
        "tv": R2PVI(**known),
        "kl": R2PVI(**known, divergence="kl"),
        "chi": R2PVI(**known, divergence="chi_squared"),
        "released": R2PVI(**known, divergence="chi_squared", variant="released"),
    }
    found = {}
    for name, method in methods.items():
        learner = solved(method, datasets)
        found[name] = [returns_of(learner, q).mean() for q in (0.0, 1.0)]
    drop = {name: nominal - perturbed for name, (nominal, perturbed) in found.items()}
    assert found["tv"][1] >= found["pevi"][1] + 0.15
    assert drop["tv"] < 0.6 * drop["pevi"]
    assert found["tv"][0] < found["pevi"][0]
    assert drop["tv"] < drop["kl"] < drop["pevi"]
    assert found["released"][1] > found["chi"][1] + 0.15


def test_under_kl_a_feature_that_no_step_has_is_worth_the_horizon_and_no_action_sees_it():
    dataset = episodes(0)
    weights = solved(R2PVI(reward_weights=THETA, divergence="kl"), [dataset]).networks["weights"].buffer.view(3, 4)
    firsts = dataset.observations[:: HORIZON + 1]
    assert weights[0, 1:3].tolist() == pytest.approx([3.0, 3.0])
    assert (firsts[..., 1:3] == 0).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"horizon": 2}, "more than the horizon 2"), ({"reward_weights": ((1.0,),)}, "reward_weights have shape")],
)
def test_what_does_not_fit_the_data_is_refused_with_the_reason(fields, message, tmp_path):
    (run,) = train([Job(PEVI(**fields), episodes(0))], steps=1, runs=tmp_path, evaluation=None)
    assert run.status == "failed"
    assert message in (run.error or "")


def test_observations_without_features_of_every_action_are_refused(tmp_path):
    flat = episodes(0)
    flat = flat.replace({"observations": flat.observations.reshape(len(flat.observations), -1)})
    with pytest.raises(ConfigError, match="features of every action"):
        train([Job(PEVI(), flat)], steps=1, runs=tmp_path, evaluation=None)
