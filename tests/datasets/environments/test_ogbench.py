"""OGBench's environments: tasks, success and time limits are OGBench's, episodes follow from their seeds, and its data are evaluated in them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import assay
from assay.baselines import GCBC, Job, train
from assay.datasets.environments.families.ogbench import PUBLISHED, STEPS, published_environment
from assay.datasets.environments.ogbench_experts import MAZES, CubeOracle, PointPlanner
from assay.datasets.environments.pool import EnvironmentPool
from assay.datasets.environments.specification import evaluation_environment
from assay.datasets.errors import AssayWarning, ConfigError
from assay.datasets.loading import collect_entry
from assay.relabeling import HindsightGoals
from tests.test_docs import PAGES, blocks_of

ogbench = pytest.importorskip("ogbench")

from assay.datasets.environments.ogbench import make  # noqa: E402

MEDIUM = "assay/OGBench-pointmaze-medium-v0"


def steps_of(env: Any, policy: Any) -> Iterator[tuple[Any, float, bool]]:
    """Act until the episode ends: what is observed after each step, its reward, and whether it ended there."""
    observation, over = env.last, False
    while not over:
        rows = np.zeros(1, [(name, "f8", value.shape) for name, value in observation.items()])
        for name, value in observation.items():
            rows[name] = value
        observation, reward, terminated, truncated, _ = env.step(np.clip(policy(rows)[0], -1, 1).astype(np.float32))
        over = terminated or truncated
        yield observation, reward, terminated


def begun(env: Any, goal: int | None, seed: int) -> Any:
    """Reset and return the environment, with what it observed."""
    env.last = env.reset(seed=seed, options=None if goal is None else {"goal": goal})[0]
    return env


def test_every_environment_of_states_is_there_with_its_time_limit() -> None:
    theirs = {
        name: spec.max_episode_steps
        for name, spec in gymnasium.registry.items()
        if str(spec.entry_point).startswith(("ogbench.locomaze", "ogbench.manipspace"))
        and "visual-" not in name
        and "singletask" not in name
    }
    broken = "humanoidmaze-teleport-v0"
    with pytest.raises(ValueError, match="'teleport_in' not found"):
        make(broken)
    assert theirs == {**STEPS, broken: 2000}


def test_names_of_published_data_lead_to_registered_environments_and_others_do_not() -> None:
    import assay.datasets.environments.tasks  # noqa: F401  (importing registers them)

    names = [f"{environment}-{kind}-v0" for kind, those in PUBLISHED.items() for environment in those]
    assert all(
        published_environment(name) in gymnasium.registry for name in (*names, *(f"{name}-val" for name in names))
    )
    # What a dataset is called, without the kind of its data, is what OGBench makes of it.
    assert {published_environment(name) for name in names} == {
        "assay/OGBench-" + "-".join([*name.split("-")[:-2], name.split("-")[-1]]) for name in names
    }
    for other in (
        "my-pointmaze-medium-navigate-v0",
        "pointmaze-medium-navigate-v1",
        "visual-scene-play-v0",
        "navigate-v0",
    ):
        assert published_environment(other) is None


@pytest.mark.parametrize("name", MAZES)
def test_the_mazes_are_those_of_the_simulator(name: str) -> None:
    theirs = gymnasium.make(f"pointmaze-{name}-v0", disable_env_checker=True).unwrapped.maze_map
    assert [[int(cell == "#") for cell in row] for row in MAZES[name]] == theirs.tolist()


@pytest.mark.parametrize("task", ["pointmaze-giant-v0", "antmaze-medium-v0", "antsoccer-arena-v0"])
def test_the_evaluation_goals_are_the_tasks_of_the_package(task: str) -> None:
    reference = gymnasium.make(task, disable_env_checker=True)
    size = reference.observation_space.shape
    env = make(task)
    assert len(env.evaluation_goals) == len(reference.unwrapped.task_infos) == 5
    for goal, told in enumerate(reference.unwrapped.task_infos):
        observation = begun(env, goal, 0).last
        state, aim = observation["achieved_goal"], observation["desired_goal"]
        assert state.shape == aim.shape == size
        start = told["init_xy" if "init_xy" in told else "agent_init_xy"]
        assert np.abs(state[:2] - start).max() <= 1  # where in the cell is drawn
        assert np.abs(aim[:2] - told["goal_xy"]).max() <= 1
        core = env.unwrapped.core
        for place, reached in ((told["goal_xy"] + np.array([9.0, 9.0]), False), (aim[:2], True)):
            core.set_xy(place) if "init_xy" in told else core.set_agent_ball_xy(place, place)
            assert core.compute_success() == reached  # the goal in the observation is that of the success


def test_an_episode_ends_where_the_package_counts_success_with_a_reward_of_one() -> None:
    env, reference = make("pointmaze-medium-v0"), gymnasium.make("pointmaze-medium-v0", disable_env_checker=True)
    reference.reset(seed=0)
    for goal in range(5):
        played = list(steps_of(begun(env, goal, goal), PointPlanner(MAZES["medium"])))
        assert len(played) > 50
        for observation, reward, ended in played:
            reference.unwrapped.set_xy(observation["achieved_goal"])
            reference.unwrapped.cur_goal_xy = observation["desired_goal"]
            assert ended == (reward == 1) == reference.unwrapped.compute_success()


@pytest.mark.parametrize("task", ["pointmaze-teleport-v0", "antmaze-medium-v0"])
def test_an_episode_follows_from_its_seed_and_nothing_else(task: str) -> None:
    def played(env: Any, seed: int) -> np.ndarray:
        for goal in (None, 1, 4):
            begun(env, goal, seed)
        actions = np.random.default_rng(0).uniform(-1, 1, (300, *env.action_space.shape)).astype(np.float32)
        states = [env.last["achieved_goal"], env.last["desired_goal"]]
        return np.array([*states, *(env.step(action)[0]["achieved_goal"] for action in actions)])

    np.random.seed(0)  # noqa: NPY002  (that of everyone)
    env = make(task)
    first, draw = played(env, 3), np.random.uniform()  # noqa: NPY002
    played(env, 4)
    assert np.array_equal(played(env, 3), first)
    np.random.seed(0)  # noqa: NPY002  (that of everyone)
    assert np.random.uniform() == draw  # noqa: NPY002  the caller's own draws go on as they would have
    assert np.array_equal(played(make(task), 3), first)
    assert not np.array_equal(played(make(task), 5), first)


@pytest.mark.parametrize("name", ["medium", "large", "giant"])
def test_the_planner_reaches_every_goal(name: str) -> None:
    env = make(f"pointmaze-{name}-v0")
    for goal in range(5):
        steps = sum(1 for *_, reached in steps_of(begun(env, goal, goal), PointPlanner(MAZES[name])))
        assert steps < STEPS[f"pointmaze-{name}-v0"]


def test_data_go_from_goal_to_goal_and_are_evaluated_as_the_package_does() -> None:
    first = collect_entry("ogbench-pointmaze-medium/expert", steps=1500, environments=1, workers=0)
    assert first == collect_entry("ogbench-pointmaze-medium/expert", steps=1500, environments=3, workers=1)
    assert first.episode_lengths.tolist() == [1000, 500]  # as OGBench's, and the rest
    assert not first.terminations.any()
    rows = first.observation_rows
    goals, states = first.observations["desired_goal"], first.observations["achieved_goal"]
    near = np.linalg.norm(states[rows + 1] - goals[rows], axis=1) <= 1
    assert np.array_equal(first.rewards == 1, near)
    assert np.array_equal(near, (goals[rows] != goals[rows + 1]).any(1))
    assert near.sum() > 5
    spec = evaluation_environment(first.info)
    assert spec is not None
    assert (spec.id, spec.is_plain) == (MEDIUM, True)
    assert json.loads(first.info.env_spec or "")["kwargs"]["collecting"] is True


def test_where_there_are_no_rules_for_data_it_is_said() -> None:
    with pytest.raises(ConfigError, match=re.escape("pointmaze-... and cube-single-v0, not in scene-v0")):
        make("scene-v0", collecting=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """Collected data, and the same as a file of OGBench's."""
    collected = collect_entry("ogbench-pointmaze-medium/expert", steps=2000, workers=0)
    path = tmp_path_factory.mktemp("ogbench") / "pointmaze-medium-navigate-v0.npz"
    with pytest.warns(AssayWarning, match="goals"):
        assay.save(collected, path, format="ogbench", drop=["rewards"])
    return collected, path


def test_a_file_of_collected_data_is_read_by_the_package_as_the_same_transitions(data: tuple[Any, Path]) -> None:
    collected, path = data
    theirs = ogbench.utils.load_dataset(path, ob_dtype=np.float64)
    rows, states = collected.observation_rows, collected.observations["achieved_goal"]
    assert np.array_equal(theirs["observations"], states[rows])
    assert np.array_equal(theirs["next_observations"], states[rows + 1])
    assert np.array_equal(theirs["actions"], collected.actions)
    assert np.flatnonzero(theirs["terminals"]).tolist() == (np.cumsum(collected.episode_lengths) - 1).tolist()


def test_goals_in_hindsight_of_a_published_name_say_where_to_evaluate_and_what_is_learned_is_the_same(
    data: tuple[Any, Path], tmp_path: Path
) -> None:
    collected, path = data
    plain = assay.load(path)
    assert np.array_equal(plain.observations, collected.observations["achieved_goal"])
    assert plain.info.env_spec is None
    read = HindsightGoals()(plain)
    spec = evaluation_environment(read.info)
    assert spec is not None
    assert (spec.id, spec.is_plain) == (MEDIUM, True)
    ends = np.cumsum(read.episode_lengths + 1) - 1
    states, goals = read.observations["achieved_goal"], read.observations["desired_goal"]
    assert np.array_equal(states, collected.observations["achieved_goal"])
    assert np.array_equal(goals, np.repeat(states[ends], read.episode_lengths + 1, axis=0))
    jobs = [Job(GCBC(hidden=(8,), batch_size=16), each) for each in (collected, read)]
    runs = train(jobs, steps=3, runs=tmp_path, evaluation=None, progress=None)
    rows = np.concatenate([states, goals], axis=1)[:20]
    assert np.array_equal(*(run.policy(rows) for run in runs))


@pytest.mark.slow
def test_goal_conditioned_methods_train_on_a_file_and_are_evaluated_on_the_five_tasks(
    data: tuple[Any, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / data[1].name).symlink_to(data[1])
    page = "goals.md"
    (block,) = (
        block for block in blocks_of(page, PAGES[f"docs/{page}"].read_text()) if block.mark.startswith("run by")
    )
    read: dict[str, Any] = {}
    exec(block.content, read)
    assert len(read["runs"]) == 3
    for run in read["runs"]:
        assert run.evaluations["goal"].to_list() == [0, 1, 2, 3, 4]
        assert set(run.evaluations["return"]) <= {0.0, 1.0}
        assert (run.evaluations["length"] <= 1000).all()


@pytest.mark.slow
def test_the_oracle_moves_the_cube_in_all_tasks_and_in_data_from_place_to_place() -> None:
    env, reference = make("cube-single-v0"), gymnasium.make("cube-single-v0", disable_env_checker=True)
    states = []
    for goal, told in enumerate(reference.unwrapped.task_infos):
        state, aim = (begun(env, goal, goal).last[name] for name in ("achieved_goal", "desired_goal"))
        states.append((state, aim))
        for entries, place, near in ((state, told["init_xyzs"][0], 0.0101), (aim, told["goal_xyzs"][0], 0.005)):
            assert np.abs(entries[19:21] / 10 + (0.425, 0.0) - place[:2]).max() < near
        assert list(steps_of(env, CubeOracle()))[-1][1:] == (1.0, True)
    again = begun(make("cube-single-v0"), 4, 4).last  # also where nothing was played before
    assert all(np.array_equal(*pair) for pair in zip(states[4], (again["achieved_goal"], again["desired_goal"])))
    dataset = collect_entry("ogbench-cube-single/expert", steps=400, environments=1, workers=0)
    goals = dataset.observations["desired_goal"]
    changes = np.flatnonzero((goals[1:] != goals[:-1]).any(1))
    assert len(changes) >= 3
    apart = (dataset.observations["achieved_goal"][changes + 1] - goals[changes]) / 10
    assert (np.linalg.norm(apart[:, 19:22], axis=1) <= 0.02).all()  # the cube lies where it was to be
    assert (np.linalg.norm(apart[:, 12:15], axis=1) <= 0.04).all()


def test_a_worker_process_gives_the_same() -> None:
    found = []
    for workers in (0, 1):
        with EnvironmentPool(MEDIUM, 3, workers=workers) as pool:
            assert pool.evaluation_goals == 5
            found.append(pool.reset([0, 1, 2], [7, 8, 9], [4, 0, 2]))
    assert all(np.array_equal(found[0][name], found[1][name]) for name in found[0].dtype.names)
