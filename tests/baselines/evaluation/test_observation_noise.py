"""Test-time noise: what a policy sees is disturbed, in the same way whoever is evaluated beside it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy import stats

from assay.analysis import load_runs, score_table
from assay.baselines import BC, Evaluation, Job, ObservationNoise, train
from assay.baselines.evaluation.evaluation import episode_seeds, evaluate
from assay.baselines.evaluation.observation_noise import NoisyEpisodes
from assay.baselines.runs.plan import Plan
from assay.datasets.errors import ConfigError
from tests.baselines.engine.test_acting import made
from tests.baselines.evaluation.test_evaluation import HOPPER, actor_for
from tests.baselines.problems import pendulum_like
from tests.baselines.training.test_train import SMALL

ATTACK = ObservationNoise(attack="action_difference", scale=0.3, samples=7)


def hopper_actor(seeds: range):
    """Untrained actors whose training observations spread by 0.1, 0.2, ..."""
    actor = actor_for(HOPPER, seeds)
    spread = 0.1 * np.arange(1, HOPPER[0] + 1)
    actor.acting = tuple(
        replace(item, observation_scale=replace(item.observation_scale, deviation=spread)) for item in actor.acting
    )
    return actor


class Seen:
    """An actor that acts with zeros and writes down what it sees."""

    members = 2
    deviation = np.array([[1.0, 2.0, 0.0], [10.0, 20.0, 0.0]])

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def begin(self, members: slice, episodes: int, seeds=None):
        actor = self

        class Episodes:
            def act(self, observations, rewards):
                actor.seen.append(observations)
                return np.zeros((*observations.shape[:2], 1))

            def consider(self, candidates, rewards):
                return candidates[..., :1] ** 3

        return Episodes()

    def observation_deviation(self, members: slice):
        return self.deviation[members]


def seen(noise: ObservationNoise, steps: int = 1, episodes: int = 3, members: slice = slice(0, 2)) -> np.ndarray:
    """What is seen of observations that are zero, [step, member, episode, 3]."""
    actor = Seen()
    begun = NoisyEpisodes(noise, actor, members, episode_seeds(0, episodes))
    shape = (members.stop - members.start, episodes)
    for _ in range(steps):
        begun.act(np.zeros((*shape, 3)), np.zeros(shape))
    return np.array(actor.seen)


@pytest.mark.parametrize(
    ("distribution", "law"),
    [("uniform", stats.uniform(-0.5, 1)), ("gaussian", stats.norm(0, 0.5)), ("student_t", stats.t(3, scale=0.5))],
)
def test_noise_follows_its_distribution_in_standard_deviations_of_each_members_data(distribution, law):
    noise = ObservationNoise(distribution=distribution, scale=0.5, degrees_of_freedom=3)
    found = seen(noise, steps=400)
    for member in range(2):
        for dimension in range(2):
            values = found[:, member, :, dimension].ravel() / Seen.deviation[member, dimension]
            assert stats.kstest(values, law.cdf).pvalue > 1e-4
    assert (found[..., 2] == 0).all()
    absolute = seen(replace(noise, unit="absolute"), steps=5)
    assert np.allclose(absolute[..., :2] * Seen.deviation[:, None, :2], found[:5, ..., :2])


def test_an_episodes_noise_depends_on_its_seed_and_the_step_alone():
    noise = ObservationNoise(scale=1.0)
    all_of_them = seen(noise, steps=4, episodes=5)
    assert np.array_equal(seen(noise, steps=2, episodes=3), all_of_them[:2, :, :3])
    assert np.array_equal(seen(noise, steps=4, episodes=5, members=slice(1, 2)), all_of_them[:, 1:])
    assert np.allclose(all_of_them[:, 1], 10 * all_of_them[:, 0])  # all members meet the same draws
    assert not np.allclose(all_of_them[0], all_of_them[1])
    assert not np.array_equal(seen(replace(noise, seed=1), steps=4, episodes=5), all_of_them)


def test_the_attack_takes_the_sample_that_changes_the_action_most():
    noise = replace(ATTACK, unit="absolute")
    chosen = seen(noise, steps=3)
    generators = noise.generators(episode_seeds(0, 3))
    for step in range(3):
        samples = noise.draw(generators, 7, 3)
        for episode in range(3):
            worst = np.argmax(samples[episode, :, 0] ** 6)  # the policy is a cube of the first entry
            assert np.array_equal(chosen[step, 0, episode], samples[episode, worst])


@pytest.mark.parametrize("noise", [ObservationNoise(scale=0.2), ATTACK], ids=["random", "attack"])
def test_a_member_is_evaluated_under_noise_as_if_it_were_alone_bit_for_bit(noise, monkeypatch):
    evaluation = Evaluation(episodes=3, observation_noise=noise)
    together = evaluate(hopper_actor(range(4)), "Hopper-v5", evaluation, workers=2)
    for seed in (0, 3):
        alone = evaluate(hopper_actor(range(seed, seed + 1)), "Hopper-v5", evaluation, workers=0)
        assert alone.returns[0].tolist() == together.returns[seed].tolist()
    monkeypatch.setattr("assay.baselines.evaluation.evaluation._SIMULATORS_AT_A_TIME", 4)
    in_parts = evaluate(hopper_actor(range(4)), "Hopper-v5", evaluation, workers=0)
    assert in_parts.returns.tolist() == together.returns.tolist()
    clean = evaluate(hopper_actor(range(4)), "Hopper-v5", Evaluation(episodes=3), workers=0)
    assert clean.returns.tolist() != together.returns.tolist()
    silent = replace(evaluation, observation_noise=replace(noise, scale=0.0))
    assert evaluate(hopper_actor(range(4)), "Hopper-v5", silent, workers=0).returns.tolist() == clean.returns.tolist()


def test_a_policy_that_looks_back_considers_without_remembering():
    built = made(target_return=7.0)
    rng = np.random.default_rng(0)
    observations, rewards = rng.normal(size=(5, 2, 4, 3)), rng.normal(size=(5, 2, 4))
    asked, plain = (built.actor().begin(slice(0, 2), 4) for _ in range(2))
    for t in range(5):
        given = rewards[t - 1] if t else np.zeros((2, 4))
        candidates = np.stack([observations[t], observations[t] + 1.0], 2)
        considered = asked.consider(candidates, given)
        done = asked.act(observations[t], given)
        assert np.allclose(considered[:, :, 0], done, atol=1e-10)
        assert not np.allclose(considered[:, :, 1], done, atol=1e-6)
        assert np.array_equal(done, plain.act(observations[t], given))


def test_without_known_deviations_only_absolute_noise_is_possible():
    actor = actor_for(HOPPER, range(1))
    with pytest.raises(ConfigError, match='unit="absolute"'):
        NoisyEpisodes(ObservationNoise(), actor, slice(0, 1), episode_seeds(0, 1))
    NoisyEpisodes(ObservationNoise(unit="absolute"), actor, slice(0, 1), episode_seeds(0, 1))


def test_runs_say_that_they_are_under_noise_and_tables_label_them(tmp_path):
    dataset, noise = pendulum_like(), ObservationNoise(scale=0.5)
    jobs = [Job(BC(**SMALL), dataset, seed) for seed in (0, 1)]
    clean = train(jobs, steps=10, runs=tmp_path, evaluation=Evaluation(episodes=2), workers=0)
    noisy = train(jobs, steps=10, runs=tmp_path, evaluation=Evaluation(episodes=2, observation_noise=noise), workers=0)
    assert {run.folder for run in clean}.isdisjoint({run.folder for run in noisy})
    assert [run.observation_noise for run in clean + noisy] == [None, None, noise, noise]
    described = json.loads((noisy[0].folder / "run.json").read_text())
    assert described["job"]["evaluation"]["observation_noise"]["scale"] == 0.5
    assert clean[0].returns.tolist() != noisy[0].returns.tolist()
    labels = load_runs(tmp_path).sort("label").select("label").to_series().to_list()
    assert labels == ["BC", "BC", "BC under uniform noise of 0.5 std", "BC under uniform noise of 0.5 std"]
    mixed = load_runs(tmp_path).filter((pl.col("seed") == 0) == pl.col("noise").is_null())  # one seed of either
    with pytest.raises(ConfigError, match=r"different noise.*no noise, uniform noise of 0\.5 std"):
        score_table(mixed, "return_mean")
    assert score_table(mixed, "return_mean", ["label"])["seeds"].to_list() == [1, 1]
    # a finished policy knows the deviation of what it was trained on
    deviation = noisy[0].actor().observation_deviation(slice(0, 1))
    assert np.allclose(deviation, dataset.transitions().observations.std(0))
    again = evaluate(noisy[0].actor(), "Pendulum-v1", Evaluation(episodes=2, observation_noise=noise), workers=0)
    assert np.allclose(again.returns[0], noisy[0].returns, rtol=1e-4)


def test_jobs_without_noise_keep_the_hash_they_had_before_there_was_any():
    described = Plan(10, Evaluation(), "highest").describe(Job(BC(), pendulum_like()))
    assert "observation_noise" not in described["evaluation"]


@pytest.mark.parametrize(
    "wrong",
    [{"scale": -1}, {"samples": 0}, {"distribution": "cauchy"}, {"size": 1}, {"samples": True}, {"scale": True}],
)
def test_impossible_noise_is_refused_by_name(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        ObservationNoise(**wrong)
