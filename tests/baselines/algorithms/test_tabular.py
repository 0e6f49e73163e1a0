"""The discrete algorithms in processes whose optimum is known: what they solve, what they must fail at, and their limits.

Each test trains two or three seeds for 1,000 to 3,000 updates; what is asserted held for all of them.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from assay.baselines import (
    BC,
    BVE,
    CRR,
    DQN,
    MCE,
    QRDQN,
    REM,
    DiscreteBC,
    DiscreteBCQ,
    DiscreteCQL,
    DiscreteIQL,
    Job,
    train,
)
from tests.baselines.algorithms.grid import chosen, corridor, grid, trained, two_doors

SMALL = {"hidden": (64,), "batch_size": 64, "learning_rate": 1e-3}
COPIES = {**SMALL, "target_update_every": 20}
UPDATES = 1_500

CLONING = [BC(**SMALL), DiscreteBC(**SMALL)]
OF_THE_BEHAVIOUR = [BVE(**SMALL), MCE(**SMALL)]
UNCONSTRAINED = [DQN(**COPIES), DQN(**COPIES, double=False), QRDQN(**COPIES, quantiles=10), REM(**COPIES, heads=10)]
CONSTRAINED = [
    DiscreteBCQ(0.3, **COPIES),
    DiscreteCQL(0.01, **COPIES),
    CRR(**COPIES),
    CRR(**COPIES, weighting="exponential", temperature=0.05, baseline_samples=4),
    DiscreteIQL(0.9, 10.0, **COPIES),
]


def named(algorithm) -> str:
    return algorithm.name


def with_discount(algorithm, discount: float, **changes):
    return type(algorithm)(**{**algorithm.parameters(), "discount": discount, **changes})


def everywhere(states: int, *probabilities: float) -> np.ndarray:
    return np.tile(probabilities, (states, 1))


# -------------------------------------------------------------------- a covering dataset


@pytest.fixture(scope="module")
def random_walks():
    return grid(3).collect(everywhere(9, *[0.25] * 4), 8_000)


@pytest.mark.parametrize("algorithm", [*OF_THE_BEHAVIOUR, *UNCONSTRAINED, *CONSTRAINED], ids=named)
def test_random_walks_are_enough_for_the_shortest_paths(algorithm, random_walks):
    optimal = grid(3).optimal()
    actions = chosen(trained(with_discount(algorithm, 0.9), random_walks, UPDATES), 9)[:, :-1]
    assert np.allclose(optimal[np.arange(8), actions], optimal[:-1].max(1))


@pytest.mark.parametrize("algorithm", CLONING, ids=named)
def test_cloning_random_walks_is_not(algorithm, random_walks):
    optimal = grid(3).optimal()
    actions = chosen(trained(algorithm, random_walks, UPDATES), 9)[:, :-1]
    assert (optimal[np.arange(8), actions] < optimal[:-1].max(1) - 1e-6).sum(1).min() > 2


@pytest.mark.parametrize("algorithm", OF_THE_BEHAVIOUR, ids=named)
def test_one_step_of_improvement_is_not_the_optimum(algorithm):
    """Chance earns nothing behind the second door, so what values chance stays before it; the others go through."""
    process = two_doors()
    dataset = process.collect(everywhere(2, 0.5, 0.5), 2_000)
    assert chosen(trained(with_discount(algorithm, 0.9), dataset, 1_000), 2).tolist() == [[0, 1]] * 2
    assert chosen(trained(with_discount(DQN(**COPIES), 0.9), dataset, 1_000), 2).tolist() == [[1, 1]] * 2


# -------------------------------------------------------------------- values


def values_of(population, states: int) -> np.ndarray:
    """Q (members, states, actions), the mean of an ensemble."""
    observations = torch.eye(states).expand(len(population.members), -1, -1)
    return population.algorithm.all_values(population.networks, observations).mean(1).numpy()


@pytest.mark.parametrize("algorithm", UNCONSTRAINED, ids=named)
def test_values_are_those_of_value_iteration(algorithm, random_walks):
    """Largest differences measured with three seeds: DQN 1e-6, QR-DQN 4e-5, REM 0.004, 0.006 and 0.10; chance is 0.53 away."""
    optimal = grid(3).optimal()[:-1]
    values = values_of(trained(with_discount(algorithm, 0.9), random_walks, 3_000), 9)[:, :-1]
    assert np.abs(values - optimal).max() < 0.12
    assert np.abs(grid(3).value_of(everywhere(9, *[0.25] * 4))[:-1] - optimal).max() > 0.3


def test_bve_values_the_behaviour(random_walks):
    expected = grid(3).value_of(everywhere(9, *[0.25] * 4))[:-1]
    values = values_of(trained(with_discount(BVE(**SMALL), 0.9), random_walks, 3_000), 9)[:, :-1]
    assert np.abs(values - expected).max() < 0.15
    assert np.abs(values - grid(3).optimal()[:-1]).max() > 0.3


@pytest.mark.parametrize("expectile", [0.5, 0.97])
def test_iql_with_expectile_one_half_values_the_behaviour_and_near_one_the_optimum(expectile, random_walks):
    """Largest differences measured with three seeds after 3,000 updates: 0.05 and 0.11; the two are 0.5 apart, and 0.8 is far from both."""
    algorithm = with_discount(DiscreteIQL(expectile, **COPIES), 0.9)
    population = trained(algorithm, random_walks, 2_000)
    found = population.networks["value"](torch.eye(9).expand(2, -1, -1), weights="frozen")[:, :-1, 0].numpy()
    behaviour = grid(3).value_of(everywhere(9, *[0.25] * 4))[:-1].mean(1)
    optimum = grid(3).optimal()[:-1].max(1)
    near, far = (behaviour, optimum) if expectile == 0.5 else (optimum, behaviour)
    assert np.abs(found - near).max() < 0.15
    assert np.abs(found - far).mean() > 0.4


# -------------------------------------------------------------------- a dataset that does not cover


@pytest.fixture(scope="module")
def without_traps():
    """Right 7 times of 10, left 3 times, the trap never."""
    return corridor().collect(everywhere(5, 0.3, 0.7, 0.0), 3_000)


@pytest.mark.parametrize("algorithm", [*OF_THE_BEHAVIOUR, *UNCONSTRAINED], ids=named)
def test_without_a_constraint_an_action_that_the_data_lacks_is_taken(algorithm, without_traps):
    """Its value stays near the initial 0, above the costs of all others. Measured: in 13 to 15 of 15 states."""
    actions = chosen(trained(with_discount(algorithm, 0.95), without_traps, UPDATES, seeds=(0, 1, 2)), 5)
    assert (actions == 2).mean() > 0.7


@pytest.mark.parametrize("algorithm", [*CLONING, *CONSTRAINED], ids=named)
def test_a_constraint_keeps_to_the_best_action_of_the_data(algorithm, without_traps):
    changes = {"alpha": 1.0} if isinstance(algorithm, DiscreteCQL) else {}
    if algorithm not in CLONING:
        algorithm = with_discount(algorithm, 0.95, **changes)
    actions = chosen(trained(algorithm, without_traps, UPDATES, seeds=(0, 1, 2)), 5)
    assert (actions == 1).all()


# -------------------------------------------------------------------- limits


@pytest.fixture(scope="module")
def mostly_wrong():
    """The likeliest action of each state is one that leads away from the corner; the data still covers everything."""
    wrong = np.where(np.arange(16) % 2, 0, 2)  # up or left
    policy = everywhere(16, 0.1, 0.2, 0.1, 0.2)
    policy[np.arange(16), wrong] += 0.4
    return grid().collect(policy, 12_000), wrong


def test_cql_with_a_large_alpha_is_cloning_and_with_none_is_q_learning(mostly_wrong):
    dataset, wrong = mostly_wrong
    cloned = chosen(trained(BC(**SMALL), dataset, UPDATES), 16)[:, :-1]
    assert (cloned == wrong[:-1]).all()
    assert (chosen(trained(DiscreteBC(**SMALL), dataset, UPDATES), 16)[:, :-1] == cloned).all()
    large, none = (
        chosen(trained(with_discount(DiscreteCQL(alpha, **COPIES), 0.9), dataset, UPDATES), 16)[:, :-1]
        for alpha in (1_000.0, 0.0)
    )
    assert (large == cloned).all()
    assert (none != cloned).all()


def test_bcq_with_threshold_one_is_cloning(mostly_wrong):
    dataset, wrong = mostly_wrong
    one, low = (
        chosen(trained(with_discount(DiscreteBCQ(threshold, **COPIES), 0.9), dataset, UPDATES), 16)[:, :-1]
        for threshold in (1.0, 0.05)
    )
    assert (one == wrong[:-1]).all()
    assert (low != wrong[:-1]).all()


def test_bcq_with_threshold_zero_is_double_q_learning_bit_for_bit(mostly_wrong):
    dataset, _ = mostly_wrong
    same = {**COPIES, "activation": "relu", "discount": 0.9}
    constrained, plain = (trained(each, dataset, 200) for each in (DiscreteBCQ(0.0, **same), DQN(**same)))
    for tensors in ("buffer", "target_buffer"):
        left, right = (getattr(each.networks["critic"], tensors) for each in (constrained, plain))
        assert torch.equal(left, right)
    assert (chosen(constrained, 16) == chosen(plain, 16)).all()
    little = trained(DiscreteBCQ(0.9, **same), dataset, 200)
    assert not torch.equal(little.networks["critic"].buffer, plain.networks["critic"].buffer)


@pytest.mark.parametrize(
    "algorithm", [CRR(**COPIES, weighting="exponential", temperature=1e6), DiscreteIQL(0.8, 0.0, **COPIES)], ids=named
)
def test_crr_and_iql_without_advantages_are_cloning(algorithm, mostly_wrong):
    """An infinite temperature, or an inverse one of 0, weighs all actions alike."""
    dataset, wrong = mostly_wrong
    assert (chosen(trained(algorithm, dataset, UPDATES), 16)[:, :-1] == wrong[:-1]).all()


# -------------------------------------------------------------------- runs


FEW = {"hidden": (8,), "batch_size": 16, "learning_rate": 1e-2}


def test_a_run_acts_and_has_values_where_there_is_a_critic(tmp_path, random_walks):
    kinds = [*CLONING, *OF_THE_BEHAVIOUR, *UNCONSTRAINED, *CONSTRAINED]
    small = [type(each)(**{**each.parameters(), **FEW}) for each in kinds]
    jobs = [Job(each, random_walks, variant=f"{number}") for number, each in enumerate(small)]
    runs = train(jobs, steps=5, runs=tmp_path, evaluation=None)
    states = np.arange(9.0)[:, None]
    for run, algorithm in zip(runs, small):
        assert run.status == "finished", run.error
        assert set(run.policy(states)[:, 0]) <= {0.0, 1.0, 2.0, 3.0}
        if algorithm not in small[: len(CLONING)]:
            values = run.q_values(states, np.zeros(9, int))
            assert values.shape == (2 if isinstance(algorithm, DiscreteIQL) else 1, 9)


def test_members_of_mce_see_returns_of_their_own_discount(tmp_path, random_walks):
    jobs = [Job(MCE(**FEW, discount=discount), random_walks) for discount in (0.0, 0.9)]
    near, far = train(jobs, steps=200, runs=tmp_path, evaluation=None)
    states, left = np.arange(4.0)[:, None], np.full(4, 2)
    assert np.abs(near.q_values(states, left)).max() < 0.1
    assert far.q_values(states, left).min() > 0.1
