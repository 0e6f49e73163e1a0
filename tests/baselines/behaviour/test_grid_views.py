"""What Q-learning can reach on the views of LavaGap that the Dataset Perspective study learns from.

A view is 49 of the cells around the agent: it says neither where the agent stands nor where it looks, so that several states share one. Below,
Q-learning is solved with a table: every view's value is the mean over its states, weighted by how often an exploring policy visits them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("minigrid")

from assay.baselines.behaviour.perspective import GRID
from assay.datasets.environments.minigrid import FlatView, flat_view

HEADINGS = ((1, 0), (0, 1), (-1, 0), (0, -1))
INSIDE = range(1, 6)
GOAL = (5, 5)
LIMIT = 196  # steps of an episode


@dataclass
class Table:
    """All states of LavaGapS7: which view each has, and what turning left, turning right and going forward lead to (-1 ends)."""

    gaps: list[tuple[int, int]]
    views: NDArray[np.int64]  # [S]
    reached: NDArray[np.int64]  # [S, 3]
    rewards: NDArray[np.float64]  # [S, 3]
    starts: NDArray[np.int64]  # of each gap


@pytest.fixture(scope="module")
def table() -> Table:
    environment = FlatView("MiniGrid-LavaGapS7-v0")
    task = environment.grid.unwrapped
    numbers: dict[tuple[tuple[int, int], int, int, int], int] = {}
    views: list[int] = []
    known: dict[bytes, int] = {}
    for seed in range(200):
        environment.reset(seed=seed)
        gap = (int(task.gap_pos[0]), int(task.gap_pos[1]))
        if (gap, 1, 1, 0) in numbers:
            continue
        for x, y in ((x, y) for x in INSIDE for y in INSIDE if task.grid.get(x, y) is None):
            for heading in range(4):
                task.agent_pos, task.agent_dir = np.array((x, y)), heading
                numbers[gap, x, y, heading] = len(views)
                views.append(known.setdefault(flat_view(task.gen_obs()["image"]).tobytes(), len(known)))
    reached, rewards = np.full((len(views), 3), -1), np.zeros((len(views), 3))
    for (gap, x, y, heading), state in numbers.items():
        ahead = (x + HEADINGS[heading][0], y + HEADINGS[heading][1])
        wall = not (ahead[0] in INSIDE and ahead[1] in INSIDE)
        reached[state, 0] = numbers[gap, x, y, (heading - 1) % 4]
        reached[state, 1] = numbers[gap, x, y, (heading + 1) % 4]
        reached[state, 2] = state if wall else numbers.get((gap, *ahead, heading), -1)  # -1: lava, or the goal
        rewards[state, 2] = 0.95 * (ahead == GOAL)
    gaps = sorted({gap for gap, *_ in numbers})
    starts = np.array([numbers[gap, 1, 1, 0] for gap in gaps])
    return Table(gaps, np.array(views), reached, rewards, starts)


def means(keys: NDArray[np.int64], values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted means of the values of each key, [K, ...]."""
    total = np.bincount(keys, weights)
    return np.stack([np.bincount(keys, weights * column) / total for column in values.T], 1)


def visits(table: Table, greedy: NDArray[np.int64], exploration: float) -> NDArray[np.float64]:
    """Share of each state among the steps of an exploring policy."""
    now, seen = np.zeros(len(greedy)), np.zeros(len(greedy))
    now[table.starts] = 1 / len(table.starts)
    chances = exploration / 3 + (1 - exploration) * (greedy[:, None] == np.arange(3))
    goes_on = table.reached >= 0
    for _ in range(LIMIT):
        seen += now
        now = np.bincount(table.reached[goes_on], (now[:, None] * chances)[goes_on], minlength=len(greedy))
    return seen / seen.sum()


def solved(table: Table, greedy: NDArray[np.int64]) -> set[tuple[int, int]]:
    """Gaps at which a policy reaches the goal."""
    at, earned = table.starts, np.zeros(len(table.starts))
    for _ in range(LIMIT):
        earned += np.where(at >= 0, table.rewards[at, greedy[at]], 0.0)
        at = np.where(at >= 0, table.reached[at, greedy[at]], -1)
    return {gap for gap, reward in zip(table.gaps, earned) if reward > 0}


def solved_by_q_learning(
    table: Table, keys: NDArray[np.int64], discount: float, exploration: float
) -> list[set[tuple[int, int]]]:
    """What the greedy policies of the last sweeps of Q-learning on `keys` [S] solve."""
    q, weights = np.zeros((keys.max() + 1, 3)), np.full(len(keys), 1 / len(keys))
    found = []
    for sweep in range(600):
        values = q.max(1)[keys]
        targets = table.rewards + discount * np.where(table.reached >= 0, values[table.reached], 0.0)
        q = means(keys, targets, weights + 1e-9)
        if sweep % 5 == 0:  # exploration falls as a training's does; what was visited is forgotten slowly
            greedy = q.argmax(1)[keys]
            weights = 0.9 * weights + 0.1 * visits(table, greedy, max(exploration, 1 - sweep / 200))
            if sweep >= 300:
                found.append(solved(table, greedy))
    return found


@pytest.mark.parametrize("exploration", [0.02, GRID.final_exploration, 0.4])
@pytest.mark.parametrize("discount", [GRID.discount, 0.95, 0.99])
def test_on_views_q_learning_turns_in_circles_at_two_gaps(table: Table, discount: float, exploration: float) -> None:
    assert (len(table.gaps), len(table.views), len(set(table.views))) == (15, 1200, 725)
    found = solved_by_q_learning(table, table.views, discount, exploration)
    assert set(table.gaps) - set.union(*found) == {(2, 5), (4, 1)}
    # The others are solved, each of them nearly always.
    assert np.mean([len(gaps) for gaps in found]) > 12


def test_on_states_it_reaches_the_goal_at_every_gap(table: Table) -> None:
    keys = np.arange(len(table.views))
    found = solved_by_q_learning(table, keys, GRID.discount, GRID.final_exploration)
    assert set.intersection(*found) == set(table.gaps)
