"""Motions of the plane, maps of mazes, and the ways of the soccer robot and the car, against independent statements."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.augmentation.maze_map import MAPS, MazeMap, maze_map
from assay.augmentation.plane import Motions
from assay.datasets.environments.parking import way_in
from assay.datasets.environments.push_ball import CONTACT, way_to_push

vectors = st.tuples(*[st.floats(-5, 5)] * 2).map(np.array)


@given(st.integers(0, 100), vectors, vectors, st.sampled_from(["quarter", "any"]), st.booleans())
def test_motions_keep_lengths_and_angles_and_only_mirrors_turn_round(seed, one, other, rotation, mirrored):
    motion = Motions.draw(1, np.random.default_rng(seed), rotation, mirrored)
    moved_one, moved_other = motion(one[None])[0], motion(other[None])[0]
    assert moved_one @ moved_other == pytest.approx(one @ other, abs=1e-9)
    area = one[0] * other[1] - one[1] * other[0]
    assert moved_one[0] * moved_other[1] - moved_one[1] * moved_other[0] == pytest.approx(
        motion.mirror[0] * area, abs=1e-9
    )
    assert mirrored or motion.mirror[0] == 1


def test_quarters_are_exact():
    motion = Motions.draw(100, np.random.default_rng(0), "quarter", False)
    moved = motion(np.tile([0.1, 0.7], (100, 1)))
    assert set(map(tuple, np.abs(moved).tolist())) == {(0.1, 0.7), (0.7, 0.1)}


@given(
    st.integers(0, 50), vectors.filter(lambda v: v @ v > 1e-3), vectors.filter(lambda v: v @ v > 1e-3), st.booleans()
)
def test_motions_turn_one_vector_into_the_direction_of_another(seed, vector, direction, mirrored):
    generator = np.random.default_rng(seed)
    for rotation, least in (("any", 1 - 1e-9), ("quarter", np.cos(np.pi / 4) - 1e-9)):
        moved = Motions.towards(vector[None], direction[None], generator, rotation, mirrored)(vector[None])[0]
        assert moved @ direction / np.sqrt((moved @ moved) * (direction @ direction)) >= least


# ---------------------------------------------------------------- mazes


@pytest.mark.parametrize("name", MAPS)
def test_maps_are_those_of_gymnasium_robotics(name):
    maps = pytest.importorskip("gymnasium_robotics.envs.maze.maps")
    theirs = getattr(maps, {"umaze": "U_MAZE", "open": "OPEN"}.get(name, f"{name.upper()}_MAZE"))
    assert [[1 if cell == "#" else 0 for cell in row] for row in MAPS[name]] == theirs


def shortest_steps(rows, start, goal):
    """Cells on a shortest path, by relaxing all distances until nothing changes."""
    free = {(i, j) for i, row in enumerate(rows) for j, cell in enumerate(row) if cell != "#"}
    steps = dict.fromkeys(free, np.inf) | {goal: 0}
    for _ in free:
        for i, j in free:
            steps[i, j] = min(
                steps[i, j], *(1 + steps.get(n, np.inf) for n in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)))
            )
    return steps[start]


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_between_centres_the_way_is_as_long_as_the_shortest_path(scale):
    maze = maze_map("medium", scale)
    cells = np.argwhere(maze.free)
    for start in cells[::4]:
        for goal in cells[::5]:
            places = np.array([[(j + 0.5 - 4) * scale, (4 - i - 0.5) * scale] for i, j in (start, goal)])
            expected = shortest_steps(maze.rows, tuple(start), tuple(goal)) * scale
            assert maze.distance(places[:1], places[1:])[0] == pytest.approx(expected)


@settings(deadline=None)
@given(st.sampled_from(sorted(MAPS)), st.integers(0, 10_000))
def test_along_the_way_the_distance_falls_by_what_is_walked_and_no_wall_is_met(name, seed):
    maze, generator = maze_map(name, 1.0), np.random.default_rng(seed)
    place, goal = maze.draw(1, generator, 0.2), maze.draw(1, generator, 0.2)
    for _ in range(2000):
        heading, before = maze.heading(place, goal)[0], maze.distance(place, goal)[0]
        length = np.hypot(*heading)
        if length < 1e-9:
            break
        step = min(0.05, length)
        place = place + step * heading / length
        assert maze.clear(place, 0.0)[0]
        assert maze.distance(place, goal)[0] <= before - step + 1e-9
    assert np.abs(place - goal).max() < 1e-9


def test_places_keep_away_from_walls_and_walls_are_seen():
    maze = maze_map("umaze", 1.0)
    places = maze.draw(10_000, np.random.default_rng(0), 0.11)
    assert maze.clear(places, 0.109).mean() > 0.99  # but for the inner corners, which are walls of other cells
    assert set(maze.cell(places)) == set(range(7))
    on_the_wall = np.array([[0.0, 0.0], [-1.0, 1.45], [0.45, 0.45], [9.0, 9.0]])
    assert not maze.clear(on_the_wall, 0.11).any()
    assert np.isinf(maze.distance(on_the_wall[:1], np.array([[-1.0, -1.0]])))


def test_goals_are_drawn_where_the_map_says():
    assert len(maze_map("umaze", 1.0).goals) == 7
    assert MazeMap(("#####", "#g..#", "###.#", "#..c#", "#####"), 1.0).goals.tolist() == [[-1.0, 1.0], [1.0, -1.0]]


def test_a_goal_that_cannot_be_reached_is_infinitely_far():
    maze = MazeMap(("#####", "#.#.#", "#####"), 1.0)
    assert np.isinf(maze.distance(np.array([[-1.0, 0.0]]), np.array([[1.0, 0.0]])))


# ---------------------------------------------------------------- soccer and parking


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000))
def test_the_way_behind_the_ball_goes_round_it_and_shortens_by_what_is_walked(seed):
    generator = np.random.default_rng(seed)
    ball, target = generator.uniform(-2, 2, (1, 2)), np.array([[4.6, 0.0]])
    robot = ball + generator.uniform(0.25, 2) * np.array(
        [[np.cos(angle := generator.uniform(-np.pi, np.pi)), np.sin(angle)]]
    )
    for _ in range(1500):
        length, direction = way_to_push(robot, ball, target)
        if length[0] < 0.004:
            break
        robot = robot + 0.002 * direction
        assert np.hypot(*(robot - ball)[0]) > CONTACT - 1e-3
        assert way_to_push(robot, ball, target)[0][0] == pytest.approx(length[0] - 0.002, abs=1e-4)
    assert way_to_push(robot, ball, target)[0][0] < 0.01


def test_the_way_into_a_spot_is_straight_in_front_of_it_and_leads_back_from_behind():
    spot, upright = np.zeros((1, 2)), np.array([[0.0, 1.0]])
    assert way_in(np.array([[0.0, -7.0]]), spot, upright)[0].tolist() == [7.0]
    length, heading = way_in(np.array([[0.0, 5.0]]), spot, upright)
    assert length.tolist() == [25.0]  # back to 10 m in front, and in
    assert heading.tolist() == [-np.pi / 2]
    _, heading = way_in(np.array([[3.0, -9.0]]), spot, upright)
    assert np.pi / 2 < heading[0] < np.pi  # to the line of the spot, which is on the left
