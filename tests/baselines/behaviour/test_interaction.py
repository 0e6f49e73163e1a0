"""What an online training leaves behind: the same bytes from the same seed, and a replay that is a proper dataset."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

import assay
from assay.baselines.behaviour.checkpoints import read_checkpoints, write_checkpoint
from assay.baselines.behaviour.dqn import DQNConfig, train_dqn
from assay.baselines.behaviour.interaction import OnlineTraining
from assay.baselines.behaviour.sac import SACConfig, train_sac
from assay.datasets.errors import FormatError

SMALL = {"hidden": (8, 8), "batch_size": 8, "evaluation_interval": 50, "evaluation_episodes": 2}


def sac(seed: int = 0, steps: int = 120, environment_id: str = "Hopper-v5") -> OnlineTraining:
    return train_sac(environment_id, SACConfig(random_steps=30, **SMALL), seed=seed, steps=steps)


def dqn(seed: int = 0, steps: int = 120) -> OnlineTraining:
    return train_dqn("CartPole-v1", DQNConfig(exploration_steps=50, **SMALL), seed=seed, steps=steps)


@pytest.mark.parametrize("train", [sac, dqn])
def test_a_seed_repeats_and_a_shorter_training_is_the_beginning_of_a_longer_one(train: Any) -> None:
    first, again, shorter, other = train(), train(), train(steps=100), train(seed=1)
    assert first.replay == again.replay
    for left, right in zip(first.checkpoints, again.checkpoints, strict=True):
        assert [weight.tobytes() for weight in left.policy.weights] == [w.tobytes() for w in right.policy.weights]
        assert left.returns.tolist() == right.returns.tolist()
    assert [checkpoint.steps for checkpoint in first.checkpoints] == [0, 50, 100, 120]
    np.testing.assert_array_equal(shorter.replay.rewards, first.replay.rewards[:100])
    np.testing.assert_array_equal(shorter.checkpoints[2].policy.weights[0], first.checkpoints[2].policy.weights[0])
    assert other.replay != first.replay


@pytest.mark.parametrize("train", [sac, dqn])
def test_the_replay_is_what_the_simulator_says(train: Any) -> None:
    replay = train().replay
    assert replay.validate().ok
    assert not (replay.terminations & replay.truncations).any()
    assert len(replay.observations) == replay.total_steps + replay.total_episodes
    environment = gymnasium.make(replay.info.environment_id)
    step = 0
    for episode, length in enumerate(replay.episode_lengths.tolist()):
        observation, _ = environment.reset(seed=int(replay.episode_columns["seed"][episode]))
        for number in range(length):
            np.testing.assert_array_equal(replay.observations[step + episode], observation)
            observation, reward, terminated, truncated, _ = environment.step(replay.actions[step])
            np.testing.assert_array_equal(replay.next_observations[step], observation)
            cut = step == replay.total_steps - 1 and not terminated
            assert (replay.rewards[step], replay.terminations[step]) == (reward, terminated)
            assert replay.truncations[step] == (truncated or cut)
            assert (terminated or truncated or cut) == (number == length - 1)
            step += 1


def test_a_time_limit_is_a_truncation_and_the_replay_survives_a_store(tmp_path: Any) -> None:
    replay = sac(environment_id="Pendulum-v1", steps=450).replay
    assert replay.episode_lengths.tolist() == [200, 200, 50]
    assert not replay.terminations.any()
    assert np.flatnonzero(replay.truncations).tolist() == [199, 399, 449]
    assay.save(replay, tmp_path / "replay")
    assert assay.load(tmp_path / "replay") == replay


def test_a_training_stops_at_the_return_that_was_asked_for() -> None:
    config = DQNConfig(**SMALL)
    training = train_dqn("CartPole-v1", config, steps=500, target_return=1.0)
    assert [checkpoint.steps for checkpoint in training.checkpoints] == [0, 50]


def test_progress_tells_every_checkpoint() -> None:
    told: list[Any] = []
    training = train_dqn("CartPole-v1", DQNConfig(**SMALL), steps=230, progress=lambda *each: told.append(each))
    assert [step for step, checkpoint in told if checkpoint is None] == []
    assert tuple(checkpoint for _, checkpoint in told if checkpoint is not None) == training.checkpoints
    assert training.best.mean_return == max(checkpoint.mean_return for checkpoint in training.checkpoints)


def test_checkpoints_come_back_and_those_of_another_run_are_refused(tmp_path: Any) -> None:
    training, run = dqn(), {"algorithm": "DQN", "seed": 0}
    for checkpoint in training.checkpoints:
        write_checkpoint(tmp_path, "CartPole-v1", checkpoint, run)
    back = read_checkpoints(tmp_path, run)
    observations = np.random.default_rng(0).normal(size=(30, 4))
    for left, right in zip(training.checkpoints, back, strict=True):
        assert (left.steps, left.episodes) == (right.steps, right.episodes)
        np.testing.assert_array_equal(left.policy.outputs(observations), right.policy.outputs(observations))
        np.testing.assert_array_equal(left.returns, right.returns)
    with pytest.raises(FormatError, match="another run"):
        read_checkpoints(tmp_path, {**run, "seed": 1})
