"""Value iteration on lower bounds: by hand, as bounds, and how fast it learns from near-expert and from poor data."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from assay.baselines import VILCB, Job, train
from assay.baselines.algorithms.theory.vi_lcb import Iterate
from assay.datasets import Dataset
from assay.datasets.errors import ConfigError
from assay.datasets.info import DatasetInfo
from assay.datasets.spaces import Discrete
from tests.baselines.algorithms.tabular_problems import Problem, garnet, log_slope, policies_of, solved

HOEFFDING = {"constant": 0.5, "split": False}


def iterations(algorithm: VILCB, dataset: Dataset, seed: int = 0) -> list[Iterate]:
    job = Job(algorithm, dataset)
    data = algorithm.training_data(job.dataset, job.action_scale)
    return list(algorithm.iterate(data, np.random.default_rng(seed).random(len(data.rows))))


def test_two_states_by_hand():
    # 0 --a0, reward 1--> 1 --a0, reward 1--> end; a1 was never taken. gamma = 1/2, b = sqrt(c L') * 2 with one visit each.
    dataset = Dataset.from_arrays(
        observations=np.array([0, 1, 1]),
        actions=np.array([0, 0]),
        rewards=np.array([1.0, 1.0]),
        terminations=np.array([False, True]),
        truncations=np.array([False, False]),
        info=DatasetInfo(observation_space=Discrete(2), action_space=Discrete(2)),
    )
    found = iterations(VILCB(discount=0.5, constant=0.01, split=False, delta=0.5), dataset)
    assert len(found) == 3  # T = log 2 / (1 - 1/2), rounded up, is 2
    bonus = 2 * np.sqrt(0.01 * np.log(2 * 3 * 4 / 0.5))
    first = np.array([[1 - bonus, -bonus], [1 - bonus, -bonus]])
    # After one iteration both states are worth 1 - b; where nothing was seen, the next state is uniform.
    later = 0.5 * (1 - bonus)
    assert np.allclose(found[1].action_values, first)
    assert np.allclose(found[2].action_values, first + np.array([[later, later], [0, later]]))
    assert found[2].policy.tolist() == [0, 0]
    assert np.allclose(found[2].values, [1 - bonus + later, 1 - bonus])


@pytest.mark.parametrize("split", [True, False])
def test_with_the_printed_constant_the_most_played_action_is_the_answer(split):
    """Every bound exceeds V_max below 2000 log(...) visits, so that no value ever grows above 0."""
    problem = garnet(5, 3, 2, 0.6, 0)
    dataset = problem.sampled(np.random.default_rng(1).dirichlet(np.ones(15)).reshape(5, 3), 3_000, 2)
    found = iterations(VILCB(discount=0.6, split=split), dataset)
    assert (found[-1].values == 0).all()
    assert (found[-1].policy == found[0].policy).all()
    if not split:
        cells = np.bincount(dataset.observations[::2] * 3 + dataset.actions, minlength=15)
        assert (found[0].policy == cells.reshape(5, 3).argmax(1)).all()


def test_values_are_lower_bounds_of_their_policies_and_never_fall():
    """On 40 of 40 problems; without a penalty on 8 of 40 (it must hold on 95 %), and without the maximum values fall."""
    valid = {"bounds": 0, "no penalty": 0}
    falls = {"monotone": 0, "plain": 0}
    for seed in range(40):
        problem = garnet(8, 3, 3, 0.8, seed)
        best = problem.best()
        dataset = problem.sampled(0.5 * problem.occupancy(best) + 0.5 / 24, 4_000, seed)
        for name, fields in (("bounds", HOEFFDING), ("no penalty", {"constant": 0.0, "split": False})):
            found = iterations(VILCB(discount=0.8, **fields), dataset)
            valid[name] += all(
                (step.values <= problem.values(step.policy) + 1e-9).all()
                and (problem.values(step.policy) <= problem.values(best) + 1e-9).all()
                for step in found
            )
        for name in falls:
            fields = {"constant": 0.5, "monotone": name == "monotone"}
            found = iterations(VILCB(discount=0.8, **fields), dataset, seed)
            falls[name] += any((after.values < before.values).any() for before, after in pairwise(found))
    assert valid["bounds"] >= 38
    assert valid["no penalty"] < 38
    assert falls["monotone"] == 0
    assert falls["plain"] == 40


def test_error_falls_as_one_over_n_on_near_expert_data_and_not_without_the_penalty():
    """C* = 1.05: measured slope -1.06, with sub-optimality 0.0068 at N = 256; without a penalty -0.67 and 0.114.

    States are met with probabilities 1/2, 1/4, ..., so that what is unseen has a probability of about 1/N.
    """
    states = 12
    chance = 2.0 ** -np.arange(1, states + 1)
    chance /= chance.sum()
    rewards = np.full((states, 3), 0.2)
    rewards[:, 1] = 0.8
    problem = Problem(np.broadcast_to(chance, (states, 3, states)), rewards, chance, 0.5)
    expert = problem.occupancy(problem.best())
    shares = expert / 1.05 + (1 - 1 / 1.05) * np.outer(chance, [0.5, 0, 0.5])
    assert (expert[expert > 0] / shares[expert > 0]).max() == pytest.approx(1.05)
    gaps: dict[str, list[float]] = {"bounds": [], "no penalty": []}
    sizes = [64, 256, 1_024, 4_096]
    for size in sizes:
        datasets = [problem.sampled(shares, size, seed) for seed in range(40)]
        for name, constant in (("bounds", 0.5), ("no penalty", 0.0)):
            learner = solved(VILCB(discount=0.5, split=False, constant=constant), datasets)
            gaps[name].append(float(np.mean([problem.gap(policy) for policy in policies_of(learner, states)])))
    assert log_slope(sizes, gaps["bounds"]) <= -0.8
    assert log_slope(sizes, gaps["no penalty"]) > -0.8
    assert gaps["no penalty"][1] > 10 * gaps["bounds"][1]


def test_error_falls_as_one_over_the_root_of_n_where_the_best_action_is_rare():
    """C* = 10, and a gap between the actions that shrinks with the root of N, as in the lower bound of the paper."""
    sizes, gaps = [256, 1_024, 4_096], []
    for size in sizes:
        rewards = np.full((2, 2), 0.5)
        rewards[[0, 1], [1, 0]] += 1 / np.sqrt(size)
        problem = Problem(np.full((2, 2, 2), 0.5), rewards, np.array([0.5, 0.5]), 0.5)
        shares = np.array([[0.45, 0.05], [0.05, 0.45]])
        assert problem.occupancy(problem.best()).max() / shares.min() == pytest.approx(10)
        learner = solved(VILCB(discount=0.5, **HOEFFDING), [problem.sampled(shares, size, seed) for seed in range(40)])
        gaps.append(float(np.mean([problem.gap(policy) for policy in policies_of(learner, 2)])))
    assert -0.65 <= log_slope(sizes, gaps) <= -0.35


def test_rewards_in_another_range_scale_the_values_and_leave_the_policy():
    problem = garnet(4, 2, 2, 0.7, 3)
    dataset = problem.sampled(np.full((4, 2), 0.125), 2_000, 0)
    large = dataset.replace({"rewards": dataset.rewards * 5})
    learner = solved([VILCB(**HOEFFDING), VILCB(**HOEFFDING, reward_range=5.0)], [dataset, large])
    small_values, large_values = learner.networks["values"].buffer
    assert torch.allclose(small_values * 5, large_values)
    assert (policies_of(learner, 4)[0] == policies_of(learner, 4)[1]).all()


def test_states_that_are_no_numbers_are_refused(tmp_path):
    continuous = Dataset.from_arrays(
        observations=np.zeros((2, 3)),
        actions=np.zeros(1, np.int64),
        rewards=np.zeros(1),
        terminations=[True],
        truncations=[False],
        info=DatasetInfo(action_space=Discrete(2)),
    )
    with pytest.raises(ConfigError, match="VI-LCB needs states that are one of several"):
        train([Job(VILCB(), continuous)], steps=1, runs=tmp_path, evaluation=None)
