"""Jobs become populations: what does not fit is split or streamed, and says so; sizes depend on jobs and memory."""

from __future__ import annotations

import time
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from assay.baselines import BC, FISOR, TD3BC, Job, PercentBC, algorithm_named, algorithms, train
from assay.baselines.algorithms.algorithm import Algorithm
from assay.baselines.algorithms.continual.tasks import TasksInOrder
from assay.baselines.algorithms.direct import DirectAlgorithm
from assay.baselines.algorithms.goal_conditioned.goals import GoalConditioned
from assay.baselines.algorithms.model_based.agent import LearnedDynamics, ModelBased
from assay.baselines.engine.shapes import Shapes
from assay.baselines.runs.plan import Plan
from assay.baselines.training.options import TrainingOptions
from assay.baselines.training.sizing import bytes_per_member
from assay.baselines.training.work import (
    Work,
    WorkGroup,
    build_population,
    estimate_data_bytes,
    form_populations,
    lay_out,
)
from assay.datasets.dataset import Dataset
from assay.datasets.errors import AssayError, AssayWarning
from assay.datasets.spaces import Box
from tests.baselines.problems import pendulum_like

SMALL = {"hidden": (16, 16), "batch_size": 32}
PLAN = Plan(10, None, "highest")
DATA = 200 * ((2 * 3 + 1 + 2) * 4 + 4)  # bytes of a pendulum-like dataset on the device


def work(tmp_path, jobs) -> list[Work]:
    made = [Work(job, PLAN, tmp_path) for job in jobs]
    for item in made:
        item.look_up()
    return made


def test_what_does_not_fit_together_is_split_with_a_warning(tmp_path):
    items = work(tmp_path, [Job(BC(**SMALL), pendulum_like(data), seed) for data in (0, 1) for seed in (0, 1)])
    each = bytes_per_member(BC(**SMALL), Shapes.flat(3, 1))
    with pytest.warns(AssayWarning, match=r"4 jobs of BC need .* trained as 2 populations"):
        groups = form_populations(items, TrainingOptions(population=64), memory=2 * each + DATA)
    assert [[item.job.seed for item in group.members] for group in groups] == [[0, 1], [0, 1]]
    assert len({group.company for group in groups}) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (group,) = form_populations(items, TrainingOptions(population=64), memory=4 * each + 2 * DATA)
    assert not group.streaming


def test_a_dataset_larger_than_the_memory_is_streamed_with_a_warning(tmp_path):
    large = pendulum_like(episodes=2000)
    items = work(tmp_path, [Job(TD3BC(**SMALL), large, seed) for seed in (0, 1)])
    memory = 3 * bytes_per_member(TD3BC(**SMALL), Shapes.flat(3, 1))
    assert memory < 200 * DATA
    with pytest.warns(AssayWarning, match="sent from host memory while TD3") as caught:
        (group,) = form_populations(items, TrainingOptions(population=64), memory=memory)
    assert len(caught) == 1
    assert group.streaming
    streamed = build_population(group, lay_out(group)[0], PLAN, TrainingOptions())
    resident = build_population(replace(group, streaming=False), lay_out(group)[0], PLAN, TrainingOptions())
    for population in (streamed, resident):
        population.advance(5)
    assert streamed.batches.streaming
    state = resident.state().tensors
    assert all(torch.equal(value, state[name]) for name, value in streamed.state().tensors.items())


def incomplete(weighted: bool, kind: type[Algorithm]) -> Dataset:
    """Episodes of which some end with an unknown final observation, and some of those in a termination."""
    rng, lengths = np.random.default_rng(0), [3, 5, 7, 2, 9, 4, 6, 8]
    steps, episodes = sum(lengths), len(lengths)
    lasts = np.cumsum(lengths) - 1
    columns = {
        "observations": rng.normal(size=(steps + episodes, 5)).astype(np.float32),
        "actions": rng.uniform(-1, 1, (steps, 4)).astype(np.float32),
        "rewards": rng.normal(size=steps),
        "costs": rng.integers(0, 2, steps).astype(np.float64),
        "terminations": np.isin(np.arange(steps), lasts[::2]),
        "truncations": np.isin(np.arange(steps), lasts[1::2]),
    }
    if not kind.continuous_actions:
        columns["actions"] = rng.integers(0, 3, steps)
    if kind.category_code == "index":
        columns["observations"] = rng.integers(0, 5, steps + episodes)
    if issubclass(kind, GoalConditioned):
        parts = np.split(columns.pop("observations"), [2, 4], axis=1)
        columns |= {
            f"observations/{name}": part for name, part in zip(("achieved_goal", "desired_goal", "observation"), parts)
        }
    if issubclass(kind, TasksInOrder):
        columns["observations/task"] = np.arange(steps + episodes) % kind().tasks
        columns["observations/state"] = columns.pop("observations")
    known = np.arange(episodes) % 4 > 1
    if weighted:
        columns["weights"] = rng.random(steps)
    return Dataset(columns, lengths, episode_columns={"final_observation": known})


@pytest.mark.parametrize("storage", ["float32", "float16"])
@pytest.mark.parametrize("name", sorted(algorithms()))
def test_the_estimate_of_the_data_is_what_is_allocated(name, storage, tmp_path):
    plan = Plan(10, None, "highest", storage)
    if issubclass(algorithms()[name], DirectAlgorithm):
        pytest.skip("its data stay where they were laid out")
    model = {"terminations": "none", "model_updates": 1, "rollout_batch": 10}
    parameters = model if issubclass(algorithms()[name], ModelBased) else {}
    parameters |= {"model_updates": 1} if issubclass(algorithms()[name], LearnedDynamics) else {}
    parameters |= {"anchor_updates": 1} if name.startswith("cocoa") else {}
    parameters |= {"reward_updates": 1, "discriminators": 1} if name.startswith("morec") else {}
    for weighted in ([False], [True], [False, True]):
        items = [
            Work(Job(algorithm_named(name, parameters), incomplete(each, algorithms()[name])), plan, tmp_path)
            for each in weighted
        ]
        estimate = sum(estimate_data_bytes(item, weighted=any(weighted)) for item in items)
        data, _ = lay_out(WorkGroup(items))
        assert estimate == build_population(WorkGroup(items), data, plan, TrainingOptions()).table.nbytes


def test_what_cannot_be_laid_out_is_no_matter_of_its_size(tmp_path):
    broken = pendulum_like().replace({"rewards": np.full(200, np.nan)})
    (group,) = form_populations(work(tmp_path, [Job(PercentBC(**SMALL), broken)]), TrainingOptions())
    assert "cannot be ranked" in str(lay_out(group)[1][0][1])


def never(*_: object) -> float:
    raise AssertionError("the clock was read")


def test_the_same_jobs_form_the_same_populations_whatever_the_clock_says(tmp_path, monkeypatch):
    items = work(tmp_path, [Job(make(**SMALL), pendulum_like(), seed) for make in (BC, TD3BC) for seed in range(24)])
    for clock in ("time", "perf_counter", "monotonic", "process_time", "thread_time"):
        monkeypatch.setattr(time, clock, never)
    memory = 40 * bytes_per_member(TD3BC(**SMALL), Shapes.flat(3, 1)) + DATA
    formed = [[item.folder for item in group.members] for group in form_populations(items, TrainingOptions())]
    assert [len(members) for members in formed] == [24, 24], "small jobs of one kind are one population"
    for free in (memory, 2 * memory, 100 * memory):
        again = form_populations(items, TrainingOptions(), memory=free)
        assert [[item.folder for item in group.members] for group in again] == formed
    assert [len(group.members) for group in form_populations(items, TrainingOptions(population=16))] == [16, 8, 16, 8]


def test_long_trainings_form_the_same_populations_as_short_ones(tmp_path):
    jobs = [Job(BC(**SMALL), pendulum_like(), seed) for seed in range(6)]
    for steps in (1, 10**9):
        items = [Work(job, Plan(steps, None, "highest"), tmp_path) for job in jobs]
        assert [len(group.members) for group in form_populations(items, TrainingOptions())] == [6]


def test_datasets_of_equal_content_and_other_spaces_are_laid_out_apart(tmp_path):
    narrow = pendulum_like()
    wide = narrow.replace(info=replace(narrow.info, action_space=Box((1,), "float32", [-4.0], [4.0])))
    jobs = [Job(BC(**SMALL), narrow), Job(BC(**SMALL), wide, seed=1)]
    (group,) = form_populations(work(tmp_path, jobs), TrainingOptions())
    data, failures = lay_out(group)
    assert not failures
    assert [item.action_scale.half_range.tolist() for item in data.values()] == [[2.0], [4.0]]


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_an_algorithm_with_a_stored_column_of_one_number_is_measured_and_trains(shape, tmp_path):
    dataset = incomplete(weighted=False, kind=FISOR)
    dataset = dataset.replace({"costs": dataset.column("costs").reshape(shape)})
    small = FISOR(hidden=(8,), batch_size=16, critic_batch_size=16, width=8, blocks=1)
    jobs = [Job(small, dataset, seed) for seed in (0, 1)]
    runs = train(jobs, steps=3, runs=tmp_path, evaluation=None, processes=1)
    assert [run.status for run in runs] == ["finished", "finished"]


@pytest.mark.parametrize("name", ["cpq", "iql_lag", "fisor"])
def test_a_dataset_without_the_column_that_is_learned_from_is_told_so(name, tmp_path):
    job = Job(algorithm_named(name, {}), pendulum_like())
    with pytest.raises(AssayError, match="no column 'costs', which this algorithm learns from"):
        train([job], steps=2, evaluation=None, runs=tmp_path)
