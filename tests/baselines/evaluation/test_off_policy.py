"""Off-policy estimates: a policy's value where it is known in closed form, and runs compared on equal terms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from assay.baselines import DecisionTransformer, Job, Run, fitted_q_evaluation, initial_value, train
from assay.baselines.evaluation.off_policy import FittedQ, critic_values, fit_critics, initial_observations
from assay.baselines.runs.integrity import write_json
from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError
from assay.datasets.info import DatasetInfo
from assay.datasets.spaces import Box
from tests.baselines.problems import pendulum_like

SMALL = {"hidden": (16, 16), "batch_size": 32}
QUICK = {"hidden": (32, 32), "learning_rate": 3e-3, "target_update_rate": 0.1}


def single_steps(s: np.ndarray, a: np.ndarray, r: np.ndarray, s2: np.ndarray, ends: np.ndarray) -> Dataset:
    """Every transition is an episode of its own, cut by a truncation unless the problem ends with it."""
    return Dataset.from_arrays(
        observations=np.stack([s, s2], 1).reshape(-1, 1),
        actions=a[:, None],
        rewards=r,
        terminations=ends,
        truncations=~ends,
        info=DatasetInfo(id="known", action_space=Box((1,), "float32", [-1.0], [1.0])),
    )


def test_fitted_q_evaluation_finds_the_value_of_linear_policies_of_a_linear_system():
    """s' = 0.8 s + 0.3 a with reward -s^2: under a = k s the value is -s^2 / (1 - gamma (0.8 + 0.3 k)^2)."""
    rng = np.random.default_rng(0)
    s, a = rng.uniform(-1, 1, (2, 4_000))
    dataset = single_steps(s, a, -(s**2), 0.8 * s + 0.3 * a, np.zeros(4_000, bool))
    gains, discount = (-1.0, 0.0, 0.6), 0.9
    policies = [lambda s, k=k: np.clip(k * s, -1, 1).astype(np.float64) for k in gains]
    critics = fit_critics(policies, dataset, FittedQ(discount=discount, **QUICK), 1_200)
    found = critic_values(critics, policies, initial_observations(dataset)).mean(1)
    expected = [-np.mean(s**2) / (1 - discount * (0.8 + 0.3 * k) ** 2) for k in gains]
    assert np.allclose(found, expected, rtol=0.05)
    assert expected[0] > expected[1] > expected[2]


def test_a_termination_ends_the_value_and_a_truncation_does_not():
    """A chain of four states 0..3 with reward 1 per step to the right, which ends after the last: sum of gamma^t."""
    rng = np.random.default_rng(0)
    s = rng.integers(0, 4, 2_000).astype(np.float64)
    a = rng.uniform(-1, 1, 2_000)
    dataset = single_steps(s, a, np.ones(2_000), np.minimum(s + 1, 3), s == 3)
    policy = np.zeros_like
    critics = fit_critics([policy], dataset, FittedQ(discount=0.8, **QUICK), 800)
    found = critic_values(critics, [policy], np.arange(4.0)[:, None])[0]
    assert np.allclose(found, [(1 - 0.8**n) / (1 - 0.8) for n in (4, 3, 2, 1)], rtol=0.04)


def test_a_policy_in_company_is_valued_as_alone():
    dataset = pendulum_like()
    policies = [lambda s, k=k: np.clip(2 * s[:, :1] * k, -2, 2) for k in (-1.0, 0.3, 1.0)]
    algorithm = FittedQ(hidden=(16, 16), batch_size=32)
    initial = initial_observations(dataset)
    together = critic_values(fit_critics(policies, dataset, algorithm, 60, dtype=torch.float64), policies, initial)
    for policy, values in zip(policies, together):
        alone = critic_values(fit_critics([policy], dataset, algorithm, 60, dtype=torch.float64), [policy], initial)
        assert np.allclose(values, alone[0], atol=1e-9)
    assert not np.allclose(together[0], together[2], atol=1e-3)


@pytest.fixture
def runs(finished_runs) -> list[Run]:
    return [finished_runs["bc"], finished_runs["td3_bc"]]


def test_the_table_has_a_row_per_run_and_method_and_does_not_depend_on_the_splitting(runs):
    dataset = pendulum_like()
    options = {"discount": 0.9, "steps": 30}
    done: list[tuple[int, int]] = []
    table = fitted_q_evaluation(runs, dataset, **options, progress=lambda *numbers: done.append(numbers))
    assert table.select("label", "seed", "method").rows() == [
        ("BC", 0, "fitted_q"),
        ("TD3+BC", 1, "fitted_q"),
        ("TD3+BC", 1, "own_critic"),
    ]
    assert table["run"].to_list() == [runs[0].folder.name] + [runs[1].folder.name] * 2
    assert ((table["low"] < table["estimate"]) & (table["estimate"] < table["high"])).all()
    assert done[-1] == (30, 30)
    split = fitted_q_evaluation(runs, dataset, **options, population=1)
    assert np.allclose(table.select("estimate", "low", "high"), split.select("estimate", "low", "high"), atol=1e-4)


def test_the_own_critics_value_is_the_mean_over_critics_and_first_states(runs):
    dataset = pendulum_like(3)
    first = dataset.observations[::21]  # 10 episodes of 20 steps and 21 observations
    expected = runs[1].q_values(first, runs[1].policy(first))
    assert expected.shape == (2, 10)
    assert initial_value(runs[1], dataset) == pytest.approx(expected.mean())
    table = fitted_q_evaluation(runs[1:], dataset, steps=1)
    assert table["estimate"][1] == pytest.approx(expected.mean())
    low, high = table.select("low", "high").row(1)
    spread = 1.96 * expected.mean(0).std() / np.sqrt(10)
    assert high - low == pytest.approx(2 * spread, rel=0.15)


def test_a_critic_that_diverges_has_no_estimate(runs):
    dataset = pendulum_like()
    broken = dataset.replace(columns={"rewards": np.full(dataset.total_steps, 1e30)})  # its square is not a float32
    (row,) = fitted_q_evaluation(runs[:1], broken, steps=5).rows(named=True)
    assert (row["estimate"], row["low"], row["high"]) == (None, None, None)


def test_impossible_estimates_are_refused(runs, tmp_path):
    dataset = pendulum_like()
    with pytest.raises(ConfigError, match=r"discount=1\.0"):
        fitted_q_evaluation(runs, dataset, discount=1.0)
    with pytest.raises(ConfigError, match="no critic"):
        initial_value(runs[0], dataset)
    narrow = Dataset.from_arrays(
        observations=np.zeros((2, 2)), actions=np.zeros((1, 1)), rewards=[0.0], terminations=[True], truncations=[False]
    )
    with pytest.raises(ConfigError, match=r"expected \(n, 3\)"):
        fitted_q_evaluation(runs, narrow)
    description = {**runs[0].description, "status": "unfinished"}
    write_json(tmp_path / "run.json", description)
    with pytest.raises(ConfigError, match="is unfinished: only finished runs"):
        fitted_q_evaluation([*runs, Run(tmp_path)], dataset)
    looks_back = DecisionTransformer(batch_size=4, sequence_length=2, width=4, blocks=1, longest_episode=20)
    sequences = train([Job(looks_back, dataset)], steps=1, runs=tmp_path, evaluation=None)
    with pytest.raises(ConfigError, match="DT acts on sequences"):
        fitted_q_evaluation([*runs, *sequences], dataset)
