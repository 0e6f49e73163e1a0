"""How long does it take to augment a million transitions, next to a loop over transitions, and how much memory do ten million take?

    python benchmarks/augmentation.py [--steps 1000000]
    python benchmarks/augmentation.py --stream [--steps 10000000] [--limit 1073741824]

The loop is the published form of guided augmentation of PointMaze (GuDA), written from the paper's equations: for one transition after the
other, a cell and a place in it, a direction of the cell from a table, the four quarter turns of the displacement and which is nearest to it,
the walls around both places, the rotation of velocities and force, and the reward. Its guide is the distance alone. It runs on a part of the transitions; both
take turns, and the round of least CPU time counts. Goals: a million guided transitions of PointMaze in 5 CPU-seconds, of AntMaze in 10, and
50 times the speed of the loop.

With `--stream`, the augmentation runs on a stored dataset in a process that the system stops from taking more than the limit (RLIMIT_DATA).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from loading import Peak  # beside this file
from rich.console import Console
from rich.table import Table

import assay
from assay.augmentation import GuidedAugmentation, RandomAugmentation
from assay.augmentation.domains import AntMaze, PointMaze, Soccer
from assay.augmentation.maze_map import MazeMap, maze_map
from assay.datasets import Dataset
from assay.datasets.memory import empty

LENGTH = 300  # steps of an episode
LOOP_STEPS = 5_000
GOAL = (-1.0, -1.0)


def point_recording(steps: int) -> Dataset:
    """Balls that move round in the upper corridor of the maze."""
    generator = np.random.default_rng(0)
    episodes = -(-steps // LENGTH)
    rows = steps + episodes
    observation = empty((rows, 4), np.float64)
    for start in range(0, rows, 1 << 18):
        block = observation[start : start + (1 << 18)]
        angle = 0.05 * np.arange(start, start + len(block))
        block[:, 0], block[:, 1] = 1.2 * np.cos(angle), 1.0 + 0.25 * np.sin(angle)
        block[:, 2:] = generator.normal(size=(len(block), 2))
    actions = generator.uniform(-1, 1, (steps, 2)).astype(np.float32)
    places = observation[:, :2].copy()
    return recorded(
        {"observation": observation, "achieved_goal": places, "desired_goal": np.tile(GOAL, (rows, 1))}, actions
    )


def ant_recording(steps: int) -> Dataset:
    """Ants in the upper corridor of the maze."""
    generator = np.random.default_rng(0)
    rows = steps + -(-steps // LENGTH)
    observation = generator.normal(size=(rows, 27))
    observation[:, 1:5] /= np.linalg.norm(observation[:, 1:5], axis=1)[:, None]
    achieved = generator.uniform([-4.5, 3.5], [4.5, 4.5], (rows, 2))
    goal = np.tile(4 * np.array(GOAL), (rows, 1))
    actions = generator.uniform(-1, 1, (steps, 8)).astype(np.float32)
    return recorded({"observation": observation, "achieved_goal": achieved, "desired_goal": goal}, actions)


def soccer_recording(steps: int) -> Dataset:
    """A robot that pushes a ball now and then."""
    generator = np.random.default_rng(0)
    rows = steps + -(-steps // LENGTH)
    ball = generator.uniform(-2, 2, (rows, 2))
    angle = generator.uniform(-np.pi, np.pi, (2, rows))
    robot = ball + generator.uniform(0.2, 1, (rows, 1)) * np.stack([np.cos(angle[0]), np.sin(angle[0])], 1)
    observations = np.concatenate([robot, ball, np.cos(angle[1])[:, None], np.sin(angle[1])[:, None]], 1)
    return recorded(observations, generator.uniform(-1, 1, (steps, 3)).astype(np.float32))


def recorded(observations: Any, actions: np.ndarray) -> Dataset:
    steps = len(actions)
    lengths = np.full(-(-steps // LENGTH), LENGTH)
    lengths[-1] = steps - LENGTH * (len(lengths) - 1)
    truncations = np.zeros(steps, bool)
    truncations[np.cumsum(lengths) - 1] = True
    columns = (
        {f"observations/{key}": value for key, value in observations.items()} if isinstance(observations, dict) else {}
    )
    columns = columns or {"observations": observations}
    flags = {"rewards": np.zeros(steps), "terminations": np.zeros(steps, bool), "truncations": truncations}
    return Dataset({**columns, "actions": actions, **flags}, lengths)


def published_loop(dataset: Dataset, steps: int) -> list[tuple[np.ndarray, ...]]:
    """Guided augmentation of PointMaze, one transition after the other."""
    maze = maze_map("umaze", 1.0)
    heading = maze.heading(maze.centres, np.tile(GOAL, (len(maze.centres), 1)))
    table = {cell: [np.arctan2(*direction[::-1]) % (2 * np.pi)] for cell, direction in enumerate(heading)}
    generator, goal = np.random.default_rng(0), np.array(GOAL)
    transitions = dataset.transitions(np.float64)
    states, following = transitions.observations["observation"], transitions.next_observations["observation"]
    made: list[tuple[np.ndarray, ...]] = []
    source = 0
    while len(made) < steps:
        state, after, action = states[source], following[source], transitions.actions[source]
        source = (source + 1) % len(states)
        cell = int(generator.integers(len(maze.centres)))
        place = maze.centres[cell] + generator.uniform(-0.397, 0.397, 2)
        direction = table[cell][int(generator.integers(len(table[cell])))]
        displacement = after[:2] - state[:2]
        rotation, moved, least = np.eye(2), displacement, np.inf
        for quarter in range(4):
            turn = np.array(
                [
                    [np.cos(quarter * np.pi / 2), -np.sin(quarter * np.pi / 2)],
                    [np.sin(quarter * np.pi / 2), np.cos(quarter * np.pi / 2)],
                ]
            )
            turned = turn @ displacement
            gap = abs(np.arctan2(turned[1], turned[0]) % (2 * np.pi) - direction)
            gap = min(gap, 2 * np.pi - gap)
            if gap < least:
                rotation, moved, least = turn, turned, gap
        end = place + moved
        if in_wall(maze, place) or in_wall(maze, end):
            continue
        velocity, later, force = rotation @ state[2:], rotation @ after[2:], rotation @ action
        reward = float(np.linalg.norm(end - goal) <= 0.45)
        made.append((np.concatenate([place, velocity]), force, np.array(reward), np.concatenate([end, later])))
    return made


def in_wall(maze: MazeMap, place: np.ndarray) -> bool:
    """Return whether a ball there lies in a wall or touches one, by the walls of the nine cells around it."""
    row, column = int(np.floor(2.5 - place[1])), int(np.floor(place[0] + 2.5))
    for i in range(row - 1, row + 2):
        for j in range(column - 1, column + 2):
            outside = not (0 <= i < 5 and 0 <= j < 5)
            if outside or not maze.free[i, j]:
                gap = np.maximum(np.abs(place - np.array([j - 2.0, 2.0 - i])) - 0.5, 0.0)
                if np.hypot(gap[0], gap[1]) <= PointMaze.clearance:
                    return True
    return False


def fastest(functions: list[Callable[[], Any]], rounds: int = 3) -> list[float]:
    """Return the least CPU time of each function; they take turns."""
    times = [float("inf")] * len(functions)
    for _ in range(rounds):
        for number, function in enumerate(functions):
            start = time.process_time()
            function()
            times[number] = min(times[number], time.process_time() - start)
    return times


def speeds(steps: int) -> None:
    """Print CPU-seconds for each domain, and of the loop."""
    table = Table("augmentation", "transitions", "CPU-seconds", "microseconds each", "times the loop")
    point = point_recording(steps)
    cases: list[tuple[str, Any, Dataset]] = [
        ("guided, PointMaze, distance alone", GuidedAugmentation(domain=PointMaze(speed=None)), point),
        ("guided, PointMaze", GuidedAugmentation(domain=PointMaze()), point),
        ("random, PointMaze", RandomAugmentation(domain=PointMaze()), point),
        ("guided, AntMaze", GuidedAugmentation(domain=AntMaze()), ant_recording(steps)),
        ("guided, soccer", GuidedAugmentation(domain=Soccer()), soccer_recording(steps)),
    ]
    functions = [lambda transform=transform, data=data: transform(data, progress=None) for _, transform, data in cases]
    *times, loop = fastest([*functions, lambda: published_loop(point, LOOP_STEPS)])
    each = loop / LOOP_STEPS
    for (name, _, _), seconds in zip(cases, times, strict=True):
        ratio = each * steps / seconds
        table.add_row(name, f"{steps:,}", f"{seconds:.2f}", f"{1e6 * seconds / steps:.2f}", f"{ratio:.0f}")
    table.add_row("loop of the published form, PointMaze", f"{LOOP_STEPS:,}", f"{loop:.2f}", f"{1e6 * each:.1f}", "1")
    Console(width=140).print(table)


def stream(steps: int, limit: int) -> None:
    """Print time and peak memory of augmenting a stored dataset under a limit."""
    with tempfile.TemporaryDirectory() as root:
        assay.save(point_recording(steps), Path(root, "data"))
        command = [sys.executable, __file__, "--steps", str(steps), "--limit", str(limit), "--stream-in", root]
        subprocess.run(command, check=True, env=os.environ | {"ASSAY_SCRATCH": str(Path(root, "scratch"))})


def streamed(root: Path, limit: int) -> None:
    """Augment under the limit, in a process of its own."""
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    peak, started = Peak(), time.process_time()
    more = GuidedAugmentation(domain=PointMaze())(assay.load(root / "data", verify=False), progress=None)
    seconds = time.process_time() - started
    time.sleep(0.02)
    report = more.info.extra["augmentation"][-1]
    result = {
        "steps": more.total_steps,
        "CPU-seconds": round(seconds, 1),
        "peak MiB": round(peak.bytes / 2**20),
        "limit MiB": limit >> 20,
    }
    print(json.dumps({**result, "rejection_rate": round(report["rejection_rate"], 3)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--stream-in", type=Path)
    parser.add_argument("--limit", type=int, default=1 << 30)
    arguments = parser.parse_args()
    if arguments.stream_in is not None:
        streamed(arguments.stream_in, arguments.limit)
    elif arguments.stream:
        stream(arguments.steps or 10_000_000, arguments.limit)
    else:
        speeds(arguments.steps or 1_000_000)


if __name__ == "__main__":
    main()
