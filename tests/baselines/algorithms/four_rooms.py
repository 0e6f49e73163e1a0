"""A point in four rooms: data of random walks, the true length of the way to any place, and success of policies."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from assay.baselines.engine.data import ActionScale, TrainingData
from assay.baselines.engine.shapes import Part, Shapes
from assay.datasets.transitions import Transitions

SHAPES = Shapes((Part("achieved_goal", (2,)), Part("desired_goal", (2,)), Part("observation", (2,))), 2)
STEP = 0.2
"""Length of the longest step along an axis."""
WALL, DOOR = 0.1, 0.3
"""Half of the thickness of the walls, which lie along both axes of [-1, 1] x [-1, 1], and of the width of their doors."""
NEAR = 0.15
"""A goal within this distance is reached."""


def free(places: np.ndarray) -> np.ndarray:
    """Tell which places [..., 2] are in no wall."""
    within = np.abs(places) < WALL
    open_here = np.abs(np.abs(places[..., ::-1]) - 0.5) < DOOR
    return (~within | open_here).all(-1)


def moved(places: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Return where points [n, 2] come to: a quarter of the step at a time, along each axis as far as there is no wall."""
    found = places.copy()
    for _ in range(4):
        for axis in (0, 1):
            wanted = found.copy()
            wanted[:, axis] = np.clip(found[:, axis] + STEP / 4 * np.clip(actions[:, axis], -1, 1), -1, 1)
            found = np.where(free(wanted)[:, None], wanted, found)
    return found


def anywhere(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return places [count, 2] in the rooms."""
    places = rng.uniform(-1, 1, (4 * count, 2))
    return places[free(places)][:count]


def onward(places: np.ndarray) -> np.ndarray:
    """Return the direction [n, 2] of a walk through the four rooms that always turns the same way."""
    x, y = np.sign(places).T
    door = np.where((x * y > 0)[:, None], np.stack([-0.25 * x, 0.5 * y], 1), np.stack([0.5 * x, -0.25 * y], 1))
    way = door - places
    return way / np.maximum(np.abs(way).max(1, keepdims=True), 1e-9)


def walks(episodes: int, rounds: float = 0.0, length: int = 40, seed: int = 0) -> TrainingData:
    """Episodes of uniform random actions, a share of them with a drift that goes round the rooms; desired goals mean nothing."""
    rng = np.random.default_rng(seed)
    walk, actions = [anywhere(rng, episodes)], []
    drifts = 0.7 * (np.arange(episodes) < rounds * episodes)[:, None]
    for _ in range(length):
        actions.append(
            np.clip(drifts * onward(walk[-1]) + (1 - 0.5 * (drifts > 0)) * rng.uniform(-1, 1, (episodes, 2)), -1, 1)
        )
        walk.append(moved(walk[-1], actions[-1]))
    places, wanted = np.stack(walk, 1), np.repeat(anywhere(rng, episodes)[:, None], length, 1)
    now, after = (part.reshape(-1, 2) for part in (places[:, :-1], places[:, 1:]))
    last = np.tile(np.arange(length) == length - 1, episodes)
    made = Transitions(
        seen(now, wanted.reshape(-1, 2)),
        np.stack(actions, 1).reshape(-1, 2),
        np.zeros(len(now)),
        seen(after, wanted.reshape(-1, 2)),
        np.zeros(len(now), bool),
        last,
        np.arange(len(now)),
    )
    return TrainingData.of(made, ActionScale.of(-np.ones(2), np.ones(2)), normalize=False, shapes=SHAPES)


def seen(places: np.ndarray, goals: np.ndarray) -> dict[str, np.ndarray]:
    """Return observations of points [n, 2] that are to reach goals [n, 2]."""
    return {"achieved_goal": places, "desired_goal": goals, "observation": places}


def steps_to(goal: np.ndarray, places: np.ndarray, cells: int = 40) -> np.ndarray:
    """Return the least number of steps from places [n, 2] to a goal, by breadth-first search over a fine grid.

    A step reaches every cell of a square around its own that `moved` leads to.
    """
    size = 2.0 / cells
    centres = -1 + size * (np.arange(cells) + 0.5)
    reach = int(STEP / size)
    distance = np.full((cells, cells), -1)
    row, column = (np.clip(((goal + 1) / size).astype(int), 0, cells - 1)).tolist()
    distance[row, column] = 0
    offsets = np.array([(i, j) for i in range(-reach, reach + 1) for j in range(-reach, reach + 1)])
    frontier, steps = np.array([[row, column]]), 0
    while len(frontier):
        steps += 1
        starts = np.repeat(frontier, len(offsets), 0)
        moves = np.tile(offsets, (len(frontier), 1))
        ends = moved(centres[starts], moves * size / STEP)
        cells_of = np.unique(np.clip(((ends + 1) / size).astype(int), 0, cells - 1), axis=0)
        frontier = cells_of[distance[tuple(cells_of.T)] < 0]
        distance[tuple(frontier.T)] = steps
    return distance[tuple(np.clip(((places + 1) / size).astype(int), 0, cells - 1).T)]


def success(act: Callable[[np.ndarray], np.ndarray], pairs: int = 200, steps: int = 25, seed: int = 1) -> float:
    """Return the share of (start, goal) pairs in different rooms whose goal is reached; `act` takes vectors [n, 6]."""
    rng = np.random.default_rng(seed)
    places, goals = anywhere(rng, 2 * pairs), anywhere(rng, 2 * pairs)
    apart = (np.sign(places) != np.sign(goals)).any(1)
    places, goals = places[apart][:pairs], goals[apart][:pairs]
    there = np.zeros(len(places), bool)
    for _ in range(steps):
        places = moved(places, act(SHAPES.vector(seen(places, goals))))
        there |= np.hypot(*(places - goals).T) < NEAR
    return float(there.mean())
