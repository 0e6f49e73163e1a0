"""What makes an evaluation impossible is said before a long training, and always in words."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from gymnasium.spaces import Box, Dict, Discrete, Tuple

from assay.baselines import BC, Evaluation, Job, train
from assay.baselines.engine.shapes import Part, Shapes
from assay.baselines.evaluation.environment import require_fit
from assay.datasets.errors import CollectionError, ConfigError
from tests.baselines.problems import pendulum_like
from tests.baselines.training.test_train import SMALL


def job() -> Job:
    return Job(BC(**SMALL), pendulum_like())


def test_an_unknown_environment_is_said_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"no environment Pendulun-v1 is registered here: .*module:Pendulun-v1; .*--episodes 0"
    ):
        train([job()], steps=1, runs=tmp_path / "runs", evaluation=Evaluation(environment="Pendulun-v1"))
    elsewhere = Evaluation(environment="CartPole-v1", engine="exact", episodes=1)
    with pytest.raises(ConfigError, match="has no model"):
        train([job()], steps=1, runs=tmp_path / "runs", evaluation=elsewhere)
    assert not (tmp_path / "runs").exists()


def test_an_environment_that_does_not_fit_is_said_before_a_long_training(tmp_path: Path) -> None:
    elsewhere = Evaluation(episodes=1, environment="MountainCarContinuous-v0")
    said = "MountainCarContinuous-v0 has observations of 2 numbers, and the data of 3 numbers"
    with pytest.raises(ConfigError, match=said):
        train([job()], steps=100_000, runs=tmp_path / "runs", evaluation=elsewhere, workers=0)
    unknown = Evaluation(episodes=1, environment="not_there:Pendulum-v1")
    with pytest.raises(CollectionError, match="not_there"):
        train([job()], steps=100_000, runs=tmp_path / "runs", evaluation=unknown, workers=0)
    assert not (tmp_path / "runs").exists()
    (run,) = train([job()], steps=1, runs=tmp_path / "runs", evaluation=elsewhere, workers=0)
    assert run.status == "failed"
    assert run.error.startswith(said)


def simulators(observation_space: object, action_space: object) -> SimpleNamespace:
    return SimpleNamespace(environment_id="x", observation_space=observation_space, action_space=action_space)


def test_parts_are_compared_by_name_and_actions_by_their_kind() -> None:
    parts = Dict(goal=Box(0, 1, (2,)), seen=Tuple([Discrete(3), Box(0, 1, (2, 2))]))
    known = Part("goal", (2,)), Part("seen/_index_0", (), "category", 3), Part("seen/_index_1", (2, 2))
    require_fit(simulators(parts, Discrete(4)), Shapes(known, 4, discrete_actions=True))
    require_fit(simulators(parts, Discrete(4)), Shapes(known, 3, discrete_actions=True))  # of which not all were taken
    require_fit(simulators(Box(0, 1, (3,)), Box(0, 1, (2, 2))), Shapes.flat(3, 4))
    with pytest.raises(
        ConfigError, match="observations of goal 2, seen/_index_0 1, seen/_index_1 4, and the data of 7"
    ):
        require_fit(simulators(parts, Discrete(4)), Shapes.flat(7, 4, discrete_actions=True))
    for space, shapes, said in (
        (Discrete(2), Shapes.flat(3, 3, discrete_actions=True), "of 2 choices, and those of the data have 3 choices"),
        (Discrete(2), Shapes.flat(3, 2), "of 2 choices, and those of the data have 2 numbers"),
        (Box(0, 1, (2,)), Shapes.flat(3, 1), "of 2 numbers, and those of the data have 1 numbers"),
    ):
        with pytest.raises(ConfigError, match=said):
            require_fit(simulators(Box(0, 1, (3,)), space), shapes)
