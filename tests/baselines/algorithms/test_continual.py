"""Tasks in order: what is drawn and kept, that OER's cloning leaves its critics alone, and what each method is for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.envs.classic_control.pendulum import PendulumEnv
from scipy.spatial.distance import cdist

import assay
from assay.analysis import load_returns, transfer_table
from assay.baselines import ER, OER, Evaluation, Job, train
from assay.baselines.algorithms.continual.tasks import MEMORY, TASK
from assay.baselines.engine.data import ActionScale, TrainingData
from assay.baselines.engine.population import Population
from assay.baselines.engine.shapes import Part, Shapes
from assay.baselines.engine.streams import CategoryRows
from assay.datasets.environments.families.task_sequences import GOALS
from assay.datasets.environments.task_sequence import PointGoal, TaskSequence, point_tasks
from assay.datasets.errors import ConfigError
from tests.baselines.problems import TASK_SHAPES, population, task_data, training_data, transitions

SMALL = {"tasks": 8, "hidden": (16, 16), "batch_size": 32, "buffer_size": 6, "replay_batch_size": 8}
MODEL = {"models": 3, "model_hidden": (12, 12), "model_batch_size": 8, "rollout_length": 4}


def tasks_of(data: TrainingData) -> np.ndarray:
    return data.rows[:, 3:].argmax(1) if data.rows.shape[1] < 11 else data.rows[:, 3:11].argmax(1)


# -------------------------------------------------------------------- rows and memory


def test_rows_of_a_task_are_drawn_alone_each_members_own_and_by_their_weights():
    weights = np.random.default_rng(5).integers(0, 3, 300).astype(float)
    plain, made = task_data(0, 200), transitions(1, 300)
    tasks = np.arange(300) % 8
    now, after = ({"observation": part, "task": tasks} for part in (made.observations, made.next_observations))
    made = type(made)(**{**made.__dict__, "observations": now, "next_observations": after, "weights": weights})
    weighted = TrainingData.of(made, ActionScale.of(-np.ones(2), np.ones(2)), normalize=False, shapes=TASK_SHAPES)
    both = population(ER(**{**SMALL, "batch_size": 4000}), [0, 1], data=[plain, weighted])
    drawn = CategoryRows(TASK, 5).choose(both.table, 4000, "rows", both.draws, {}, both.hyperparameters).numpy()
    counts = np.bincount(drawn.ravel(), minlength=500)
    assert set(np.flatnonzero(counts[:200])) == set(
        np.flatnonzero(tasks_of(plain) == 5)
    )  # of equal weight beside the other's
    expected = weights * (tasks == 5)
    assert np.allclose(counts[200:] / counts[200:].sum(), expected / expected.sum(), atol=0.03)
    assert (counts[200:][expected == 0] == 0).all()


@pytest.mark.parametrize("selection", ["random", "reward"])
def test_what_is_kept_of_a_task_is_so_many_different_steps_of_it_or_those_of_the_largest_rewards(selection):
    data = task_data(0, 200)
    made = population(ER(**SMALL, selection=selection), [0, 1], data=[data])
    made.advance(13)  # the second task has begun
    own = data.rows[tasks_of(data) == 0]
    best = {tuple(row) for row in own[np.argsort(-own[:, 13])[:6], :13].astype(np.float32)}
    for member in range(2):
        assert made.buffers[MEMORY].lengths.tolist() == [6, 6]
        kept = {tuple(row) for row in made.buffers[MEMORY].rows[member, :6].numpy()}
        assert len(kept) == 6
        assert kept <= {tuple(row) for row in own[:, :13].astype(np.float32)}
        assert (kept == best) == (selection == "reward")


def test_of_a_task_with_fewer_steps_than_fit_all_are_kept():
    data = task_data(0, 40)
    made = population(ER(**{**SMALL, "buffer_size": 100}), [0], data=[data])
    made.advance(26)  # two tasks are over
    assert made.buffers[MEMORY].lengths.tolist() == [int((tasks_of(data) <= 1).sum())]


@pytest.mark.parametrize("stop", [12, 13])
@pytest.mark.parametrize("algorithm", [ER(**SMALL), OER(**SMALL, **MODEL)], ids=["er", "oer"])
def test_a_training_stops_and_resumes_where_one_task_ends_and_another_begins(algorithm, stop):
    whole, part, resumed = (population(algorithm, [0, 1]) for _ in range(3))
    whole.advance(26)
    part.advance(stop)
    resumed.restore(part.state())
    resumed.advance(26 - stop)
    expected, found = whole.state().tensors, resumed.state().tensors
    assert all(torch.equal(expected[name], found[name]) for name in expected)


# -------------------------------------------------------------------- what is refused


def test_data_without_the_tasks_is_refused():
    with pytest.raises(ConfigError, match="observations need a part 'task', one of several categories"):
        population(ER(), [0], data=[training_data()])
    with pytest.raises(ConfigError, match="tasks=3, and the observations tell 8 tasks apart"):
        population(ER(), [0], data=[task_data()])
    made, shapes = transitions(steps=20), Shapes((Part("observation", (3,)), Part("task", (), "category", 3)), 2)
    now, after = (
        {"observation": part, "task": np.arange(20) % 2} for part in (made.observations, made.next_observations)
    )
    made = type(made)(**{**made.__dict__, "observations": now, "next_observations": after})
    data = TrainingData.of(made, ActionScale.of(-np.ones(2), np.ones(2)), normalize=False, shapes=shapes)
    with pytest.raises(ConfigError, match="the data has no step of task 2"):
        population(ER(batch_size=4, hidden=(4,)), [0], data=[data]).advance(1)


# -------------------------------------------------------------------- the environment


def test_the_tasks_are_the_evaluation_goals_and_one_is_drawn_without_any():
    environment = point_tasks(GOALS)
    assert environment.evaluation_goals == (0, 1, 2)
    assert [int(environment.reset(seed=7, options={"goal": task})[0]["task"]) for task in range(3)] == [0, 1, 2]
    assert {int(environment.reset(seed=seed)[0]["task"]) for seed in range(20)} == {0, 1, 2}
    starts = [environment.reset(seed=4, options={"goal": task})[0]["observation"].tolist() for task in range(3)]
    assert starts[0] == starts[1] == starts[2]  # the seed decides what the task leaves open
    with pytest.raises(ConfigError, match="there are 3 tasks, and none has the number 3"):
        environment.reset(options={"goal": 3})


def test_tasks_of_different_spaces_make_no_sequence():
    with pytest.raises(ConfigError, match="task 1 has the spaces"):
        TaskSequence([PointGoal((0.5, 0.0)), PendulumEnv()])
    with pytest.raises(ConfigError, match="at least two, not 1"):
        TaskSequence([PendulumEnv()])


def test_runs_keep_every_task_after_every_task(tmp_path):
    dataset = assay.load("point-tasks/random-expert-30", steps=600)
    job = Job(ER(hidden=(8,), batch_size=8, buffer_size=5, replay_batch_size=4), dataset)
    train([job], steps=7, evaluation=Evaluation(episodes=6, every=2), runs=tmp_path, workers=0)
    returns = load_returns(tmp_path)
    assert sorted(returns["update"].unique()) == [
        2,
        4,
        6,
        7,
    ]  # two updates for each of the tasks, and what is left for the last
    assert returns.filter(update=7)["goal"].to_list() == [0, 1, 2, 0, 1, 2]
    assert transfer_table(returns)["measure"].to_list() == ["average", "learned", "backward", "forward"]


# -------------------------------------------------------------------- what each is for


def test_cloning_by_a_second_policy_leaves_the_first_and_its_critics_as_they_were_and_by_one_policy_it_does_not():
    """Bit for bit, in the second and third task; the stub is ER, whose one policy has both losses."""

    def after(algorithm, weight: float) -> Population:
        made = population(algorithm(**SMALL, selection="random", replay_weight=weight), [0, 1])
        made.advance(40)
        return made

    def same(one: Population, other: Population, name: str) -> bool:
        return torch.equal(one.networks[name].buffer, other.networks[name].buffer)

    dual = after(OER, 1.0), after(OER, 0.0)
    assert same(*dual, "critic")
    assert same(*dual, "actor")
    assert not same(*dual, "clone")
    single = after(ER, 1.0), after(ER, 0.0)
    assert not same(*single, "actor")
    assert not same(*single, "critic")


def energy_distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * cdist(one, other).mean() - cdist(one, one).mean() - cdist(other, other).mean())
