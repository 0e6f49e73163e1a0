"""Policies that look back: the history they are given is that of their own episode."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from assay.baselines import DecisionTransformer, Evaluation, Job, train
from tests.baselines.problems import pendulum_like, population, training_data

TINY = {"batch_size": 8, "sequence_length": 3, "width": 8, "heads": 2, "blocks": 1, "longest_episode": 200, "warmup": 0}


def made(**parameters):
    algorithm = DecisionTransformer(**TINY, **parameters)
    built = population(algorithm, [0, 1], data=[training_data(extra=algorithm.extra_columns)], dtype=torch.float64)
    built.advance(20)
    return built


def test_a_decision_transformer_is_given_the_last_steps_and_the_return_still_asked_for():
    built = made(target_return=7.0, return_scale=0.5)
    rng = np.random.default_rng(0)
    observations, rewards = rng.normal(size=(6, 2, 4, 3)), rng.normal(size=(6, 2, 4))
    episodes = built.actor().begin(slice(0, 2), 4)
    actions = [episodes.act(observations[t], rewards[t - 1] if t else np.zeros((2, 4))) for t in range(6)]
    scale = built.data[0].observation_scale
    for t in range(6):
        first = max(0, t - 2)
        window = range(first, t + 1)
        returns = [(7.0 - rewards[:k].sum(0)) * 0.5 for k in window]
        taken = [actions[k] if k < t else np.zeros((2, 4, 2)) for k in window]
        inputs = [
            np.stack(returns, 2),
            np.stack([(observations[k] - scale.mean) / scale.scale for k in window], 2),
            np.stack(taken, 2),
            np.broadcast_to(np.array(window), (2, 4, len(window))),
        ]
        tensors = [torch.from_numpy(np.array(item)) for item in inputs]
        expected = built.networks["actor"](*tensors, weights="frozen")[:, :, -1]
        assert np.allclose(actions[t], expected.numpy(), atol=1e-10)


def test_without_a_target_the_best_return_of_the_data_is_asked_for():
    built = made()
    data = built.data[0]
    columns = [name for name, size in data.columns for _ in range(size)]
    assert data.best_return == pytest.approx(data.rows[:, columns.index("returns_to_go")].max(), rel=1e-6) or (
        data.best_return < data.rows[:, columns.index("returns_to_go")].max()
    )
    observations, nothing = np.zeros((2, 1, 3)), np.zeros((2, 1))
    unnamed = built.actor().begin(slice(0, 2), 1).act(observations, nothing)
    built.members = tuple(
        type(member)(DecisionTransformer(**TINY, target_return=data.best_return), member.seed, 0)
        for member in built.members
    )
    assert np.array_equal(unnamed, built.actor().begin(slice(0, 2), 1).act(observations, nothing))


def test_a_finished_decision_transformer_acts_as_it_was_evaluated(tmp_path):
    import gymnasium

    job = Job(DecisionTransformer(**TINY), pendulum_like())
    (run,) = train([job], steps=30, runs=tmp_path, evaluation=Evaluation(episodes=2, every=10), workers=0)
    assert run.status == "finished"
    import polars as pl

    table = pl.read_parquet(run.folder / "returns.parquet").filter(pl.col("final"))
    for seed, expected in zip(table["seed"], table["return"]):
        environment = gymnasium.make("Pendulum-v1")
        observation, _ = environment.reset(seed=seed)
        episode, reward, total, over = run.actor().begin(slice(0, 1), 1), 0.0, 0.0, False
        while not over:
            action = episode.act(observation[None, None].astype(np.float64), np.array([[reward]]))[0, 0]
            observation, reward, _, over, _ = environment.step(action.astype(np.float32))
            total += float(reward)
        assert total == pytest.approx(expected, rel=1e-4)
    assert run.policy(pendulum_like().observations[:5]).shape == (5, 1)
