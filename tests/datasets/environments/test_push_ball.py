"""The soccer task: what a step does, when it ends, and that its planner scores."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from assay.datasets.environments.push_ball import CONTACT, BallPlanner, PushBallToGoal
from assay.datasets.environments.worker import register_environments_of


def stepped(state, action):
    environment = PushBallToGoal()
    environment.set_state(np.array(state, float))
    return environment.step(np.array(action, float))


def test_the_robot_turns_then_walks_along_and_across_its_heading():
    after, *_ = stepped([0, 0, 2, 2, 0, 1], [0, 1, 0])
    assert after[:2] == pytest.approx([0, 0.1])
    after, *_ = stepped([0, 0, 2, 2, 0, 1], [0, 0, 1])
    assert after[:2] == pytest.approx([-0.05, 0])
    after, *_ = stepped([0, 0, 2, 2, 1, 0], [1, 1, 0])
    assert after[:2] == pytest.approx([0.1 * np.cos(0.3), 0.1 * np.sin(0.3)])
    assert after[4:] == pytest.approx([np.cos(0.3), np.sin(0.3)])


def test_the_ball_moves_out_of_the_way_along_the_line_between_the_two_and_only_then():
    after, *_ = stepped([0, 0, 0.25, 0.1, 1, 0], [0, 1, 0])
    offset = after[2:4] - after[:2]
    assert np.hypot(*offset) == pytest.approx(CONTACT)
    assert offset[1] / offset[0] == pytest.approx(0.1 / 0.15)
    after, *_ = stepped([0, 0, 0.5, 0, 1, 0], [0, 1, 0])
    assert after[2:4].tolist() == [0.5, 0]


@pytest.mark.parametrize(
    ("ball", "reward", "ends"),
    [((4.45, 0.0), 1.0, True), ((4.45, 0.9), 0.0, True), ((4.2, 0.0), 0.0, False), ((-4.0, 0.0), 0.0, False)],
)
def test_a_goal_is_worth_one_and_out_is_worth_nothing(ball, reward, ends):
    _, earned, terminated, truncated, info = stepped([ball[0] - CONTACT, ball[1], *ball, 1, 0], [0, 1, 0])
    assert (earned, terminated, truncated, info["success"]) == (reward, ends, False, reward == 1)


def test_the_planner_scores_and_its_detour_does_not():
    register_environments_of("assay/PushBallToGoal-v0")
    environment = gymnasium.make("assay/PushBallToGoal-v0")
    scored = {}
    for name, planner in {"goal": BallPlanner(), "aside": BallPlanner(aim=(0.0, 2.9))}.items():
        returns = []
        for seed in range(10):
            observation, _ = environment.reset(seed=seed)
            ended, earned = False, 0.0
            while not ended:
                observation, reward, terminated, truncated, _ = environment.step(planner(observation[None])[0])
                earned, ended = earned + reward, terminated or truncated
            returns.append(earned)
        scored[name] = float(np.mean(returns))
    assert scored["goal"] == 1.0
    assert scored["aside"] <= 0.1
