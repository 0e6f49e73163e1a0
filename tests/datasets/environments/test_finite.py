"""Processes with a known model: the simulator and the model are one, and exact returns are those of enumeration."""

from __future__ import annotations

from itertools import product

import gymnasium
import numpy as np
import pytest

from assay.datasets.environments.american_put import ANCHORS, STARTS, AmericanPut, PutModel, features_of
from assay.datasets.environments.families.theory import frozen_lake_planner, put_seller
from assay.datasets.environments.finite import PROBLEMS, FiniteEnvironment, FiniteProcess, problem_named
from assay.datasets.environments.record import records
from assay.datasets.errors import ConfigError, UnknownNameError
from tests.baselines.algorithms import linear_problem


@pytest.mark.parametrize("name", PROBLEMS)
def test_probabilities_sum_to_one_and_the_expert_is_the_best(name):
    process = problem_named(name)
    assert np.allclose(process.transitions.sum(-1), 1)
    assert np.isclose(process.start.sum(), 1)
    chosen = records()[name].expert.make()(process.observations)
    actions = np.broadcast_to(chosen, (1, process.horizon, len(process.start)))
    assert process.expected_return(actions)[0] == pytest.approx(process.best_return())
    worst = FiniteProcess(process.transitions, -process.rewards, process.start).best_return()
    assert process.best_return() > -worst + 0.01


def test_the_expected_return_is_that_of_every_path_by_hand():
    rng = np.random.default_rng(0)
    moves = rng.dirichlet(np.ones(3), (2, 3, 2))
    process = FiniteProcess(moves, rng.random((2, 3, 2)), rng.dirichlet(np.ones(3)))
    policies = rng.integers(0, 2, (4, 2, 3))
    for found, (first, second) in zip(process.expected_return(policies), policies):
        expected = 0.0
        for before, after in product(range(3), repeat=2):
            chance = process.start[before] * moves[0, before, first[before], after]
            expected += chance * (process.rewards[0, before, first[before]] + process.rewards[1, after, second[after]])
        assert found == pytest.approx(expected)


@pytest.mark.parametrize("name", ["graded-bandit", "ladder", "linear-mdp"])
def test_what_is_simulated_is_what_the_model_says(name):
    """The mean of 3,000 episodes of random actions, within four standard errors of the exact one."""
    environment = FiniteEnvironment(name)
    model, rng = environment.model, np.random.default_rng(0)
    actions = rng.integers(0, model.rewards.shape[2], (1, model.horizon, len(model.start)))
    environment.reset(seed=0)
    returns = []
    for _ in range(3_000):
        seen, _ = environment.reset()
        total, over, step = 0.0, False, 0
        while not over:
            state = int(seen) if model.features is None else int((model.features == seen).all((1, 2)).argmax())
            seen, reward, terminated, truncated, _ = environment.step(actions[0, step, state])
            total, over, step = total + reward, terminated or truncated, step + 1
        assert (terminated, truncated, step) == (not model.continuing, model.continuing, model.horizon)
        returns.append(total)
    error = abs(np.mean(returns) - model.expected_return(actions)[0])
    assert error < 4 * np.std(returns) / np.sqrt(len(returns))


@pytest.mark.parametrize("perturbation", [None, 0.0, 0.6])
def test_the_linear_process_is_that_of_the_authors(perturbation):
    phi = linear_problem.features()
    process = problem_named("linear-mdp", perturbation=perturbation)
    assert np.allclose(process.features, phi)
    assert np.allclose(process.transitions[0][0], linear_problem.moves(0, phi, perturbation)[0])  # all begin in state 0
    later = [1, 3, 4]  # where that leads
    assert np.allclose(process.transitions[1][later], linear_problem.moves(1, phi, None)[later])
    assert np.allclose(np.moveaxis(process.rewards, 0, -1), phi @ np.array(linear_problem.THETA).T)


def test_what_is_linear_is_linear():
    """P(s' | s, a) is one matrix times the features, at every step; that of a table of its own would be an accident."""
    for name in ("graded-linear", "linear-mdp"):
        process = problem_named(name)
        phi = process.features.reshape(-1, process.features.shape[-1])
        assert np.allclose(phi.sum(1), 1)
        for moves in process.transitions[:-1]:
            flat = moves.reshape(len(phi), -1)
            fitted = phi @ np.linalg.lstsq(phi, flat, rcond=None)[0]
            assert np.allclose(fitted, flat, atol=1e-9)


def test_graded_gaps_halve_and_the_better_action_alternates():
    process = problem_named("graded-table", horizon=1)
    gaps = process.rewards[0, :, 1] - process.rewards[0, :, 0]
    assert np.allclose(np.abs(gaps), 0.5 ** np.arange(1, 9))
    assert (np.sign(gaps) == [1, -1] * 4).all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("linear-mpd", {}), UnknownNameError, "did you mean 'linear-mdp'"),
        (("bandit", {"perturbation": 1.0}), ConfigError, "perturbation"),
        (("linear-mdp", {"perturbation": 1.5}), ConfigError, r"leaves \[0, 1\]"),
    ],
)
def test_what_is_no_problem_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        problem_named(arguments[0], **arguments[1])


# -------------------------------------------------------------------- American put


def test_a_put_that_is_sold_at_once_or_never_is_worth_what_it_says():
    model = PutModel()
    sold, kept = (np.full((1, 20, len(model.observations)), action) for action in (1, 0))
    assert model.expected_return(sold)[0] == pytest.approx(np.maximum(0, 100 - STARTS).mean())
    assert model.expected_return(kept)[0] == 0.0


def test_the_exact_value_of_a_put_is_the_mean_of_its_episodes():
    """2,000 episodes under a falling price, within four standard errors."""
    model, environment, policy = PutModel(0.4), AmericanPut(0.4), put_seller(6.0)
    actions = np.broadcast_to(policy(model.observations), (1, 20, len(model.observations)))
    environment.reset(seed=0)
    returns = []
    for _ in range(2_000):
        seen, _ = environment.reset()
        total, over = 0.0, False
        while not over:
            seen, reward, over, _, _ = environment.step(policy(seen[None])[0])
            total += reward
        returns.append(total)
    error = abs(np.mean(returns) - model.expected_return(actions)[0])
    assert error < 4 * np.std(returns) / np.sqrt(len(returns))


def test_a_falling_price_makes_a_put_worth_more():
    values = []
    for up in (0.2, 0.5, 0.8):
        model = PutModel(up)
        actions = np.broadcast_to(put_seller(6.0)(model.observations), (1, 20, len(model.observations)))
        values.append(model.expected_return(actions)[0])
    assert values == sorted(values, reverse=True)


def test_tents_share_every_price_above_the_first_anchor_and_vanish_below():
    waiting = features_of(np.array([ANCHORS[0], 91.3, 120.0, 76.0]))[:, 0]
    assert np.allclose(waiting.sum(1), [1, 1, 1, 0])
    with pytest.raises(ConfigError, match="from 0 to 1"):
        AmericanPut(1.2)


def test_the_planner_of_the_lake_is_at_the_optimum():
    """Within 100 steps 0.74 of the episodes end at the goal; a policy that always goes right ends there in 0.03."""
    model = gymnasium.make("FrozenLake-v1").unwrapped.P
    moves, rewards = np.zeros((16, 4, 16)), np.zeros((16, 4))
    for state, action in np.ndindex(16, 4):
        for chance, after, reward, over in model[state][action]:
            rewards[state, action] += chance * reward
            moves[state, action, after] += chance * (not over)
    process = FiniteProcess(
        np.broadcast_to(moves, (100, *moves.shape)), np.broadcast_to(rewards, (100, 16, 4)), np.eye(16)[0]
    )
    chosen = np.broadcast_to(frozen_lake_planner()(np.arange(16)), (1, 100, 16))
    assert process.expected_return(chosen)[0] > process.best_return() - 0.02
    assert process.expected_return(np.full((1, 100, 16), 2))[0] < 0.1
