"""Goals in hindsight: the last state that is known is what the episode was for."""

from __future__ import annotations

import numpy as np
import pytest

from assay.baselines import GCBC, Job, train
from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError
from assay.datasets.info import DatasetInfo
from assay.relabeling import HindsightGoals

NAMES = {"observations": ("x", "y")}


def plain(**columns: np.ndarray) -> Dataset:
    """Two episodes of 3 and 2 steps, of which the second lacks its final observation."""
    rng = np.random.default_rng(0)
    given = {
        "observations": rng.standard_normal((7, 2)),
        "actions": rng.uniform(-1, 1, (5, 2)),
        "rewards": np.zeros(5),
        "terminations": np.zeros(5, bool),
        "truncations": np.array([0, 0, 1, 0, 1], bool),
    }
    known = {"final_observation": np.array([True, False])}
    info = DatasetInfo(env_spec='{"id": "Pendulum-v1"}', names=NAMES)
    return Dataset({**given, **columns}, [3, 2], info=info, episode_columns=known)


def test_the_goal_is_the_last_state_that_is_known() -> None:
    dataset = plain()
    states = dataset.column("observations")
    made = HindsightGoals()(dataset)
    assert np.array_equal(made.column("observations/achieved_goal"), states)
    assert np.array_equal(made.column("observations/desired_goal"), states[[3, 3, 3, 3, 5, 5, 5]])
    assert made.info.names == {f"observations/{part}_goal": ("x", "y") for part in ("achieved", "desired")}
    assert made.info.env_spec is None
    assert HindsightGoals(environment="FetchReach-v4")(dataset).info.environment_id == "FetchReach-v4"
    assert np.array_equal(made.actions, dataset.actions)


def test_next_states_keep_the_goal_of_their_step() -> None:
    following = np.arange(10.0).reshape(5, 2)
    dataset = plain(next_observations=following)
    made = HindsightGoals()(dataset)
    assert np.array_equal(made.column("next_observations/achieved_goal"), following)
    assert np.array_equal(
        made.column("next_observations/desired_goal"), dataset.column("observations")[[3, 3, 3, 5, 5]]
    )


def test_any_data_can_be_learned_from_by_a_method_for_goals(tmp_path) -> None:
    made = HindsightGoals()(plain())
    (run,) = train([Job(GCBC(hidden=(8,), batch_size=4), made)], steps=3, evaluation=None, runs=tmp_path)
    assert run.status == "finished"


def test_an_episode_without_a_transition_is_nothing_to_learn_from(tmp_path) -> None:
    states, step = np.zeros((2, 2)), np.zeros((1, 2))
    ends = {"terminations": np.array([False]), "truncations": np.array([True])}
    unknown = {"final_observation": np.array([False])}
    alone = Dataset(
        {"observations": states, "actions": step, "rewards": np.zeros(1), **ends}, [1], episode_columns=unknown
    )
    (run,) = train([Job(GCBC(hidden=(8,)), HindsightGoals()(alone))], steps=3, evaluation=None, runs=tmp_path)
    assert (run.status, run.error) == ("failed", "the dataset has no transition to learn from")


def test_goals_are_not_given_twice() -> None:
    with pytest.raises(ConfigError, match="have parts already"):
        HindsightGoals()(HindsightGoals()(plain()))
