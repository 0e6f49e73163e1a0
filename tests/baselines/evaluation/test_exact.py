"""Exact evaluation: the expectation of what a simulator gives, and refused where there is no model or no plain policy."""

from __future__ import annotations

import numpy as np
import pytest

import assay
from assay.baselines import LCB, PEVI, DiscreteBC, Evaluation, Job, ObservationNoise, TabularDoC, train
from assay.baselines.evaluation.evaluation import evaluate
from assay.baselines.evaluation.exact import exact_returns, known_model
from assay.datasets.environments.specification import EnvironmentSpec
from assay.datasets.errors import ConfigError
from tests.baselines.algorithms.linear_problem import episodes, returns_of
from tests.baselines.algorithms.tabular_problems import solved

EXACT = Evaluation(episodes=1, engine="exact")


def test_the_exact_return_is_that_of_an_independent_recursion_also_under_perturbed_dynamics():
    learner = solved(PEVI(), [episodes(seed) for seed in range(3)])
    for perturbation in (0.0, 0.5, 1.0):
        found, horizon = exact_returns(
            learner.actor(), EnvironmentSpec("assay/LinearMDP-v0", {"perturbation": perturbation})
        )
        assert horizon == 3
        assert np.allclose(found, returns_of(learner, perturbation))


def test_it_is_the_mean_of_simulated_episodes_and_repeats_without_noise():
    learner = solved(PEVI(), [episodes(seed) for seed in range(2)])
    actor = learner.actor()
    exact = evaluate(actor, "assay/LinearMDP-v0", EXACT)
    simulated = evaluate(actor, "assay/LinearMDP-v0", Evaluation(episodes=400), workers=0)
    assert exact.returns.shape == (2, 1)
    assert (exact.lengths == 3).all()
    error = np.abs(simulated.returns.mean(1) - exact.returns[:, 0])
    assert (error < 4 * simulated.returns.std(1) / 20).all()
    assert np.array_equal(exact.returns, evaluate(actor, "assay/LinearMDP-v0", EXACT).returns)


def test_a_run_holds_the_one_number(tmp_path):
    dataset = assay.load("bandit/random-expert-95", steps=400)
    (run,) = train([Job(LCB(), dataset)], steps=1, runs=tmp_path, evaluation=EXACT)
    assert run.status == "finished", run.error
    assert run.returns.tolist() == [0.6]


@pytest.mark.parametrize(
    ("algorithm", "message"),
    [(TabularDoC(updates=5), "acts at random"), (LCB(), "no model to compute returns by")],
    ids=["acts at random", "no model"],
)
def test_what_cannot_be_computed_is_refused_with_what_to_do(algorithm, message):
    dataset = assay.load("lucky-bandit/detours", steps=200)
    actor = solved(algorithm, [dataset]).actor()
    with pytest.raises(ConfigError, match=f"(?s){message}.*engine gymnasium"):
        evaluate(actor, "assay/LuckyBandit-v0" if "random" in message else "CartPole-v1", EXACT)


class Remembering:
    """Episodes that repeat their first action: a policy of the past."""

    members = 1

    def begin(self, members, episodes, seeds=None):
        self.first = None
        return self

    def act(self, observations, rewards):
        self.first = np.floor(observations[..., :1]) % 2 if self.first is None else self.first
        return self.first


def test_a_policy_with_a_memory_is_refused():
    with pytest.raises(ConfigError, match="by memory"):
        exact_returns(Remembering(), "assay/GradedTable-v0")


def test_networks_are_valued_too(tmp_path):
    dataset = assay.load("graded-bandit/random", steps=400)
    algorithm = DiscreteBC(hidden=(8,), batch_size=32, learning_rate=1e-2)
    (run,) = train([Job(algorithm, dataset)], steps=50, runs=tmp_path, evaluation=EXACT)
    assert run.status == "finished", run.error
    assert 0 < run.returns[0] <= known_model("assay/GradedBandit-v0").best_return()


@pytest.mark.parametrize("wrong", [{}, {"episodes": 1, "observation_noise": ObservationNoise(scale=0.1)}])
def test_exact_and_many_episodes_or_noise_contradict_each_other(wrong):
    with pytest.raises(ConfigError, match="one number"):
        Evaluation(engine="exact", **wrong)
