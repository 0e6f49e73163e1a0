"""What holds for every method without a loop: company, chunks, a resume and saving change nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from assay.baselines import (
    DRPVI,
    DRVIL,
    LCB,
    PEVI,
    R2PVI,
    VILCB,
    DirectAlgorithm,
    Job,
    TabularDoC,
    TabularRCSL,
    algorithms,
    train,
)
from assay.datasets import Dataset
from assay.datasets.info import DatasetInfo
from assay.datasets.spaces import Discrete
from tests.baselines.algorithms.linear_problem import episodes as linear
from tests.baselines.algorithms.tabular_problems import garnet, learner_of, solved


def bandit(seed: int, steps: int) -> Dataset:
    """A contextual bandit of three states and two actions."""
    rng = np.random.default_rng(seed)
    return Dataset.from_arrays(
        observations=rng.integers(0, 3, 2 * steps),
        actions=rng.integers(0, 2, steps),
        rewards=rng.random(steps),
        terminations=np.ones(steps, bool),
        truncations=np.zeros(steps, bool),
        info=DatasetInfo(observation_space=Discrete(3), action_space=Discrete(2)),
    )


def process(seed: int, steps: int) -> Dataset:
    """Steps of a random problem of four states and two actions."""
    return garnet(4, 2, 2, 0.8, 0).sampled(np.full((4, 2), 0.125), steps, seed)


METHODS = [
    (LCB(), bandit),
    (VILCB(constant=0.05, discount=0.8), process),
    (PEVI(), linear),
    (TabularDoC(updates=200, outcomes=3), bandit),
    (TabularDoC(updates=200, penalty="exact"), bandit),
    (DRPVI(), linear),
    (DRPVI(variance_aware=True), linear),
    (DRVIL(), linear),
    (TabularRCSL(outcomes=3), bandit),
    (R2PVI(), linear),
    (R2PVI(divergence="kl", penalty="sum"), linear),
    (R2PVI(divergence="chi_squared"), linear),
]
by_name = pytest.mark.parametrize(
    ("algorithm", "data"),
    METHODS,
    ids=[f"{item.name}-{getattr(item, 'divergence', getattr(item, 'penalty', ''))}" for item, _ in METHODS],
)


def tensors(learner, member: int) -> dict[str, torch.Tensor]:
    return dict(learner.state(member).tensors)


def largest_difference(left: dict, right: dict) -> float:
    assert left.keys() == right.keys()
    return max(float((left[name] - right[name]).abs().max()) for name in left)


def test_every_direct_algorithm_is_here():
    found = {name for name, kind in algorithms().items() if issubclass(kind, DirectAlgorithm)}
    assert found == {algorithm.name for algorithm, _ in METHODS}


@by_name
def test_a_member_equals_the_same_job_alone(algorithm, data):
    datasets = [data(seed, 60 + 30 * seed) for seed in range(3)]
    together = solved(algorithm, datasets, [5, 6, 7])
    for member, dataset in enumerate(datasets):
        alone = solved(algorithm, [dataset], [5 + member])
        assert largest_difference(tensors(together, member), tensors(alone, 0)) < 1e-12


@by_name
def test_members_may_differ_in_every_float_field(algorithm, data):
    dataset = data(0, 200)
    for name in algorithm.member_fields():
        other = type(algorithm)(**{**algorithm.parameters(), name: getattr(algorithm, name) * 0.5})
        together = solved([algorithm, other], [dataset, dataset])
        assert largest_difference(tensors(together, 0), tensors(solved(algorithm, [dataset]), 0)) < 1e-12
        assert largest_difference(tensors(together, 1), tensors(solved(other, [dataset]), 0)) < 1e-12
        assert largest_difference(tensors(together, 0), tensors(together, 1)) > 1e-4


@by_name
def test_the_same_seed_repeats_bit_for_bit_and_chunks_and_a_resume_change_nothing(algorithm, data):
    datasets = [data(seed, 100) for seed in range(2)]
    whole, pieces, resumed = (learner_of(algorithm, datasets, [1, 2]) for _ in range(3))
    whole.advance(5)
    pieces.advance(1)
    resumed.restore(pieces.state())
    pieces.advance(4)
    resumed.advance(4)
    for other in (pieces, resumed):
        assert other.completed == whole.completed == 5
        for member in range(2):
            assert largest_difference(tensors(whole, member), tensors(other, member)) == 0.0


@by_name
def test_a_finished_run_acts_as_the_learner_did(algorithm, data, tmp_path):
    dataset = data(0, 100)
    (run,) = train([Job(algorithm, dataset, 3)], steps=2, runs=tmp_path, evaluation=None)
    assert run.status == "finished", run.error
    seen = dataset.observations[:7]
    flat = np.asarray(seen, float).reshape(len(seen), -1)
    episodes = solved(algorithm, [dataset], [3]).actor().begin(slice(0, 1), len(seen))
    expected = episodes.act(flat[None], np.zeros((1, len(seen))))[0]
    assert np.array_equal(run.policy(flat), expected)


@by_name
def test_weights_are_not_ignored_in_silence(algorithm, data, tmp_path):
    dataset = data(0, 40)
    weighted = dataset.replace({"weights": np.linspace(0.0, 2.0, dataset.total_steps)})
    (run,) = train([Job(algorithm, weighted)], steps=1, runs=tmp_path, evaluation=None)
    assert run.status == "failed"
    assert "counts every step once, and the dataset has weights" in run.description["error"]
