"""PointRobot: what can be avoided, by other manoeuvres and by driving; rewards that telescope; costs inside hazards only."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from assay.datasets.environments import tasks  # noqa: F401  (registers the id)
from assay.datasets.environments.point_robot import (
    GOAL,
    HAZARDS,
    HORIZON,
    RADIUS,
    CarefulDriver,
    StraightDriver,
    advanced,
    avoidable,
    observed,
    over,
    violation,
)


def states(count: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    drawn = generator.uniform((-3.0, -3.0, 0.0, -np.pi), (3.0, 3.0, 2.0, np.pi), (count, 4))
    return drawn[~over(drawn)]


def test_where_braking_and_turning_fails_no_other_manoeuvre_found_helps() -> None:
    """100 lost states outside the hazards, 200 manoeuvres each, of actions at their bounds that are held for three steps."""
    drawn = states(4_000)
    lost = drawn[~avoidable(drawn) & (violation(drawn) <= 0)][:100]
    assert len(lost) == 100
    shape = (len(lost), 200)
    actions = np.random.default_rng(1).choice([-1.0, 0.0, 1.0], (200, 9, 2), p=[0.6, 0.1, 0.3])
    driven = np.broadcast_to(lost[:, None], (*shape, 4))
    kept, ended = np.ones(shape, bool), np.zeros(shape, bool)
    for step in range(27):
        driven = advanced(driven, actions[:, step // 3])
        kept &= ended | (violation(driven) <= 0)
        ended |= over(driven)
    assert not kept.any()


def test_most_states_can_be_kept_safe_and_those_in_a_hazard_cannot() -> None:
    drawn = states(2_000)
    told = avoidable(drawn)
    assert not told[violation(drawn) > 0].any()
    assert 0.8 < told.mean() < (violation(drawn) <= 0).mean()


def drive(policy: CarefulDriver | StraightDriver, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Costs of episodes, and whether they reached the goal."""
    environment = gymnasium.make("assay/PointRobot-v0")
    costs, reached = np.zeros(count), np.zeros(count, bool)
    for episode in range(count):
        seen, _ = environment.reset(seed=episode)
        finished = False
        while not finished:
            seen, reward, terminated, truncated, info = environment.step(policy(seen[None])[0])
            costs[episode] += info["cost"]
            finished = terminated or truncated
        reached[episode] = terminated and reward > 0.5
    return costs, reached


def test_the_careful_driver_never_pays_and_the_straight_one_often() -> None:
    careful, reached = drive(CarefulDriver(), 25)
    assert (careful == 0).all()
    assert reached.mean() > 0.9
    straight, reached = drive(StraightDriver(), 25)
    assert (straight > 0).mean() > 0.3
    assert reached.all()


def test_rewards_add_up_to_how_much_nearer_the_goal_is_and_costs_are_paid_in_hazards_only() -> None:
    environment = gymnasium.make("assay/PointRobot-v0")
    generator = np.random.default_rng(0)
    for seed in range(5):
        seen, _ = environment.reset(seed=seed)
        start, total, steps, finished = seen[:2], 0.0, 0, False
        while not finished:
            seen, reward, terminated, truncated, info = environment.step(generator.uniform(-1, 1, 2))
            nearest = np.sqrt(np.square(HAZARDS - seen[:2]).sum(-1)).min()
            assert info["cost"] == float(nearest < RADIUS)
            assert info["violation"] == pytest.approx(RADIUS - nearest, abs=1e-5)
            total, steps, finished = total + reward, steps + 1, terminated or truncated
        nearer = np.linalg.norm(start - GOAL) - np.linalg.norm(seen[:2] - GOAL)
        assert total == pytest.approx(nearer + float(np.linalg.norm(seen[:2] - GOAL) <= 0.3), abs=1e-4)
        assert terminated or steps == HORIZON


def test_hazards_are_found_again_from_what_is_observed() -> None:
    drawn = states(50)
    seen = observed(drawn)
    heading = np.arctan2(seen[:, 4], seen[:, 3])
    for number, hazard in enumerate(HAZARDS):
        distance, ahead, left = seen[:, 5 + 3 * number : 8 + 3 * number].T
        angle = heading + np.arctan2(left, ahead)
        found = seen[:, :2] + distance[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
        assert np.allclose(found, hazard)
