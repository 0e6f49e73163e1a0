"""Values that cannot be meant are refused by what they are called, before anything is trained."""

from __future__ import annotations

import dataclasses
import math
import typing
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import assay
from assay.analysis.tables import format_interval, pivot, score_table
from assay.analysis.trials import predicted_power, seeds_needed, smallest_difference
from assay.augmentation import GenerativeAugmentation, ModelBasedAugmentation
from assay.baselines import BC, MOBILE, RIQL, DecisionTransformer, Evaluation, Job, algorithms, train
from assay.cli import main
from assay.datasets import Dataset
from assay.datasets.errors import AssayError, ConfigError
from assay.datasets.info import ReferenceScores
from assay.datasets.transform import registered

# -------------------------------------------------------------------- fields


@pytest.mark.parametrize("name", sorted(algorithms()))
def test_no_algorithm_takes_a_number_that_is_none_or_a_size_below_one(name):
    cls = algorithms()[name]
    for field, kind in typing.get_type_hints(cls).items():
        if field not in {item.name for item in dataclasses.fields(cls)}:
            continue
        wrong: list[typing.Any] = [math.nan, math.inf] if "float" in str(kind) else [-1] if kind is int else []
        if field in ("batch_size", "return_steps", "sequence_length"):
            wrong += [0]
        if field == "hidden":
            wrong = [(0,), (4, -1), (4.5,)]
        if field == "filters":
            wrong = [((0, 1, 1),), ((8, 3, -1),)]
        if "tuple" in str(kind) and field not in ("hidden", "filters"):
            continue
        for value in wrong:
            with pytest.raises(ConfigError, match=field):
                cls(**{field: value})


@pytest.mark.parametrize("name", [name for name, cls in sorted(registered().items()) if hasattr(cls, "hidden")])
def test_no_transform_takes_a_layer_without_units(name):
    with pytest.raises(ConfigError, match="hidden"):
        registered()[name](hidden=(0,))


def test_fields_that_do_not_go_together_are_named():
    with pytest.raises(ConfigError, match="width=128 has to be a multiple of heads=3"):
        DecisionTransformer(heads=3)
    with pytest.raises(ConfigError, match="lowest_target=5 has to be below highest_target=1"):
        RIQL(lowest_target=5, highest_target=1)


@pytest.mark.parametrize(
    ("algorithm", "message"),
    [
        (BC, r"algorithm=BC is a class; write BC\(\)"),
        ("bc", r"algorithm='bc' is not an algorithm; write one such as algorithm_named\('bc'\)"),
        (None, r"algorithm=None is not an algorithm; write one such as BC\(\)"),
    ],
)
def test_a_job_takes_an_algorithm(pendulum, algorithm, message):
    with pytest.raises(ConfigError, match=message):
        Job(algorithm, pendulum)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("pendulum/medium", r"dataset is 'pendulum/medium', not a Dataset; write assay.load\('pendulum/medium'\)"),
        (Path("own"), r"write assay.load\('own'\)"),
        (None, r"dataset is a NoneType, not a Dataset; write assay.load\('pendulum/medium'\)"),
    ],
)
def test_a_job_takes_a_dataset(dataset, message):
    with pytest.raises(ConfigError, match=message):
        Job(BC(), dataset)


def test_a_message_that_begins_with_a_name_keeps_its_capitals():
    with pytest.raises(ConfigError, match="mobile: MOBILE's penalty"):
        MOBILE(elites=1)


# -------------------------------------------------------------------- devices


@pytest.mark.parametrize("device", ["x", "cuda:99", "meta"])
def test_a_device_that_cannot_be_used_is_named_wherever_one_is_given(pendulum, device):
    from assay.baselines.dynamics.ensemble import train_dynamics

    refusal = pytest.raises(ConfigError, match=f"device '{device}' cannot be used")
    ones = np.ones((40, 1))
    for cls in {cls for cls in registered().values() if "device" in {item.name for item in dataclasses.fields(cls)}}:
        transform = object.__new__(cls)
        for item in dataclasses.fields(cls):
            object.__setattr__(transform, item.name, device if item.name == "device" else None)
        with refusal:
            transform(pendulum)
    for take in (
        pendulum.to_torch,
        lambda place: train_dynamics(ones, ones, ones[:, 0], ones, updates=1, device=place),
        lambda place: train([Job(BC(), pendulum)], steps=1, evaluation=None, device=place),
    ):
        with refusal:
            take(device)


# -------------------------------------------------------------------- trials and values


@pytest.fixture(scope="module")
def pendulum() -> Dataset:
    return assay.load("pendulum/random", steps=400)


def made(observation: int, action: int) -> Dataset:
    rng, steps = np.random.default_rng(0), 40
    return Dataset.from_arrays(
        observations=rng.normal(size=(steps + 1, observation)),
        actions=rng.uniform(-1, 1, (steps, action)),
        rewards=np.zeros(steps),
        terminations=np.arange(steps) == steps - 1,
        truncations=np.zeros(steps, bool),
    ).named("made")


@pytest.fixture(autouse=True)
def never_trained(monkeypatch, request):
    if request.node.name.startswith("test_sides") or "evaluation" in request.node.name:
        monkeypatch.setattr("assay.baselines.train", lambda *_, **__: pytest.fail("it was trained"))


@pytest.mark.parametrize("value", [None, 3, lambda policy: None, "fnal"])
def test_an_evaluation_that_is_none_is_refused(pendulum, value):
    setting = {"steps": 1, "evaluation": value, "progress": None}
    with pytest.raises(AssayError, match="evaluation"):
        assay.trial(pendulum, pendulum[:1].named("half"), algorithms="bc", **setting)
    with pytest.raises(AssayError, match="evaluation"):
        assay.value(pendulum, algorithm="bc", subsets=24, **setting)


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (made(4, 1), r"observations of made and of pendulum/random differ: vector \(4,\), and vector \(3,\)"),
        (made(3, 2), "actions of made and of pendulum/random differ: 2 numbers, and 1 numbers"),
        (lambda seed: None, "its callable gave None for seed 0; it has to return a Dataset"),
        (3, "3 is no side of a trial"),
    ],
)
def test_sides_that_cannot_be_compared_are_refused_before_training(pendulum, after, message):
    vary = "data" if callable(after) and not isinstance(after, Dataset) else "training"
    with pytest.raises(AssayError, match=message):
        assay.trial(
            pendulum,
            after,
            algorithms="bc",
            steps=1,
            seeds=2,
            evaluation=Evaluation(environment="Pendulum-v1"),
            vary=vary,
        )


def test_unknown_columns_and_algorithms_are_named(pendulum):
    with pytest.raises(AssayError, match="unknown column of episodes 'nope'; known: episode, length") as error:
        assay.value(pendulum, algorithm="bc", steps=1, subsets=24, by="nope")
    assert str(error.value).count("episode,") == 1
    with pytest.raises(ConfigError, match="5 is no algorithm"):
        assay.trial(pendulum, pendulum[:1].named("half"), algorithms=5, steps=1)


def test_seeds_are_asked_for_with_numbers_that_can_be_meant():
    assert seeds_needed(-3.0, 10.0) == seeds_needed(3.0, 10.0)
    for wrong in ((math.nan, 1), (math.inf, 1), (1, -1), (1, math.nan), (1, 1, math.nan), (1, 1, 0.05, 2)):
        with pytest.raises(ConfigError):
            seeds_needed(*wrong)
    for wrong in ((1, -1), (1, 0), (1, 2.5), (math.nan, 3), (-1, 3)):
        with pytest.raises(ConfigError):
            smallest_difference(*wrong)
    for wrong in ((1, -1, 3), (1, 1, 1), (math.nan, 1, 3), (1, math.nan, 3), (1, 1, 5, 2)):
        with pytest.raises(ConfigError):
            predicted_power(*wrong)


# -------------------------------------------------------------------- advice and tables


def test_references_the_wrong_way_round_are_refused(pendulum):
    reversed_ones = ReferenceScores(5.0, -3.0, "a slip")
    said = pendulum.replace(info=dataclasses.replace(pendulum.info, reference_scores=reversed_ones))
    for dataset, given in ((pendulum, {"random_return": 5, "best_return": -3}), (said, {})):
        with pytest.raises(ConfigError, match="random_return=5 and best_return=-3"):
            assay.advise(dataset, dataset, progress=None, **given)
    with pytest.raises(ConfigError, match="the evidence has no column"):
        assay.advise(pendulum, pendulum, evidence=pl.DataFrame(), progress=None)


@pytest.mark.parametrize("digits", [-1, 400, 10**20, 2.5, True])
def test_numbers_are_not_written_with_impossible_decimals(digits):
    runs = pl.DataFrame({"algorithm": ["bc"], "variant": "clean", "seed": [0], "score": [40.0]})
    for write in (lambda: format_interval(1.0, None, None, digits), lambda: pivot(score_table(runs), digits=digits)):
        with pytest.raises(ConfigError, match="decimals are a whole number"):
            write()


def test_a_metric_that_is_a_text_and_an_impossible_interval_are_named():
    runs = pl.DataFrame({"algorithm": ["bc"], "variant": "clean", "seed": [0], "score": [40.0], "status": "finished"})
    with pytest.raises(ConfigError, match="metric='status' is no number of a run; score are"):
        score_table(runs, "status")
    with pytest.raises(ConfigError, match="has to lie between 0 and 1"):
        score_table(runs, confidence=95)


def test_a_table_of_runs_that_were_not_evaluated_says_so(pendulum, tmp_path, capsys):
    train([Job(BC(hidden=(4,)), pendulum)], steps=2, runs=tmp_path, evaluation=None, progress=None)
    main(["table", str(tmp_path)])
    assert "Mean final return: no run has one. Runs that were trained without an environment" in capsys.readouterr().out
    main(["table", str(tmp_path), "--metric", "seconds"])
    assert "seconds: mean over 1 seed. Bold" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["table", str(tmp_path), "--metric", "seconds", "--digits", "-1"])
    assert "decimals are a whole number" in capsys.readouterr().err


# -------------------------------------------------------------------- policies


def test_a_policy_for_other_data_is_refused_before_training(pendulum, tmp_path, monkeypatch):
    (run,) = train([Job(BC(hidden=(4,)), pendulum)], steps=2, runs=tmp_path, evaluation=None, progress=None)
    monkeypatch.setattr(
        "assay.baselines.engine.population.Population.advance", lambda *_: pytest.fail("it was trained")
    )
    for dataset, message in (
        (made(4, 1), "does not act on the observations"),
        (made(3, 2), "answers 1 number, and an"),
    ):
        for transform in (
            ModelBasedAugmentation(policy=str(run.folder), updates=2),
            GenerativeAugmentation(policy=str(run.folder), updates=2, guidance=1.0, length=4),
        ):
            with pytest.raises(ConfigError, match=message):
                transform(dataset, progress=None)
