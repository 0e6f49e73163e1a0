"""Declared symmetries: right ones double the data, wrong ones are refused with the dimension."""

from __future__ import annotations

import numpy as np
import pytest

import assay
from assay.augmentation import Symmetry
from assay.augmentation.segments import SegmentReader
from assay.augmentation.simulator import deviations
from assay.augmentation.simulators import simulator_of
from assay.datasets import Dataset
from assay.datasets.errors import ConfigError, DatasetError

PENDULUM = {"observation_signs": (1, -1, -1), "action_signs": (-1,)}
WALKER = {  # the legs change sides
    "observation_permutation": (0, 1, 5, 6, 7, 2, 3, 4, 8, 9, 10, 14, 15, 16, 11, 12, 13),
    "action_permutation": (3, 4, 5, 0, 1, 2),
}


@pytest.fixture(scope="module")
def pendulum():
    return assay.load("pendulum/medium", steps=2000)


@pytest.fixture(scope="module")
def walker():
    return assay.load("walker2d/simple", steps=1000)


@pytest.mark.parametrize("proof", ["simulator", "data"])
def test_a_right_declaration_doubles_the_data_with_the_simulators_transitions(pendulum, proof):
    mirrored = Symmetry(**PENDULUM, proof=proof)(pendulum)
    added = mirrored.select("augmented")
    assert added.total_steps == 2000
    np.testing.assert_array_equal(added.actions, -pendulum.actions)
    reader = SegmentReader(added.replace({"augmented": None}))
    assert deviations(reader.read(reader.starts[::20]), simulator_of(pendulum)).largest.max() < 1e-5


@pytest.mark.parametrize("proof", ["simulator", "data"])
@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"observation_signs": (1, 1, -1), "action_signs": (-1,)}, "the sign of observation dimension 1"),
        ({"observation_signs": (1, -1, 1), "action_signs": (-1,)}, "the sign of observation dimension 2"),
        ({"observation_signs": (1, -1, -1)}, "the sign of action dimension 0"),
    ],
)
def test_a_wrong_declaration_is_refused_by_the_dimension(pendulum, proof, wrong, named):
    with pytest.raises(DatasetError, match=named):
        Symmetry(**wrong, proof=proof)(pendulum)


def test_legs_that_change_sides_are_a_symmetry_and_a_mixed_up_joint_is_named(walker):
    assert Symmetry(**WALKER)(walker).total_steps == 2000
    wrong = {**WALKER, "action_permutation": (4, 3, 5, 0, 1, 2)}
    with pytest.raises(DatasetError, match="where action dimensions 0 and 1 come from"):
        Symmetry(**wrong)(walker)
    with pytest.raises(DatasetError, match="the sign of observation dimension 5"):
        Symmetry(**WALKER, observation_signs=(1,) * 5 + (-1,) + (1,) * 11)(walker)


def test_the_name_of_a_dimension_is_said_where_it_has_one(pendulum):
    from dataclasses import replace

    named = pendulum.replace(info=replace(pendulum.info, names={"observations": ("cosine", "sine", "speed")}))
    with pytest.raises(DatasetError, match=r"observations\[2\] \(speed\) is off"):
        Symmetry(observation_signs=(1, -1, 1), action_signs=(-1,))(named)


def test_data_of_one_side_cannot_tell(walker):
    with pytest.raises(DatasetError, match="the data cannot tell whether the symmetry holds"):
        Symmetry(**WALKER, proof="data")(walker)


def test_discrete_actions_have_a_permutation():
    cartpole = assay.load("cartpole/medium", steps=1000)
    mirrored = Symmetry(observation_signs=(-1,) * 4, action_permutation=(1, 0))(cartpole).select("augmented")
    assert mirrored.actions.tolist() == (1 - cartpole.actions).tolist()
    with pytest.raises(DatasetError, match="discrete actions need an action_permutation"):
        Symmetry(observation_signs=(-1,) * 4)(cartpole)
    with pytest.raises(DatasetError, match="are not what the simulator does"):
        Symmetry(observation_signs=(-1,) * 4, action_permutation=(0, 1))(cartpole)


def test_mirroring_twice_gives_the_data_back(pendulum):
    once = Symmetry(**PENDULUM, proof="none")(pendulum).select("augmented")
    once = once.replace({"augmented": None}, episode_columns={"tags/augmented": None})
    twice = Symmetry(**PENDULUM, proof="none")(once).select("augmented")
    np.testing.assert_array_equal(twice.rewards, pendulum.rewards)
    np.testing.assert_array_equal(twice.next_observations, pendulum.next_observations)


@pytest.mark.parametrize(
    ("parameters", "what"),
    [
        ({"observation_signs": (1, 2, 1)}, "observation_signs must be 1 or -1"),
        ({"observation_permutation": (0, 0, 1)}, "must name every dimension from 0 to 2 once"),
        ({"ratio": 2.0}, "ratio"),
    ],
)
def test_impossible_declarations_are_refused(parameters, what):
    with pytest.raises(ConfigError, match=what):
        Symmetry(**parameters)


def test_lengths_and_structures_that_do_not_fit_are_refused(pendulum):
    with pytest.raises(DatasetError, match="observation_signs has 2 entries; observations have 3 numbers"):
        Symmetry(observation_signs=(1, -1))(pendulum)
    nested = Dataset.from_arrays(
        observations={"state": np.zeros((3, 2))}, actions=np.zeros((2, 1)), rewards=np.zeros(2),
        terminations=np.array([False, True]), truncations=np.zeros(2, bool),
    )  # fmt: skip
    with pytest.raises(DatasetError, match="must be flat vectors"):
        Symmetry()(nested)
    with pytest.raises(ConfigError, match="says of no environment"):
        Symmetry()(pendulum.replace(info=type(pendulum.info)()))
