"""Known terminations are those of the simulators."""

from __future__ import annotations

import json

import gymnasium
import numpy as np
import pytest
import torch

from assay.baselines.dynamics.terminations import known_termination


@pytest.mark.parametrize("name", ["Hopper-v5", "Walker2d-v5", "Ant-v5", "HalfCheetah-v5", "Humanoid-v5", "CartPole-v1"])
def test_a_known_termination_is_the_simulators(name):
    environment = gymnasium.make(name)
    ends = known_termination(environment.spec.to_json())
    states, ended = [], []
    environment.action_space.seed(0)
    environment.reset(seed=0)
    for _ in range(600):
        state, _, terminated, truncated, _ = environment.step(environment.action_space.sample())
        states.append(state)
        ended.append(terminated)
        if terminated or truncated:
            environment.reset()
    assert ends(torch.from_numpy(np.array(states))).tolist() == ended
    assert any(ended) == (name != "HalfCheetah-v5")


def test_an_environment_that_is_not_known_or_has_another_range_has_none():
    assert known_termination(None) is None
    assert known_termination(json.dumps({"id": "Mine-v0"})) is None
    other = {"id": "Hopper-v5", "kwargs": {"healthy_z_range": [0.5, 2.0]}}
    assert known_termination(json.dumps(other)) is None
    endless = known_termination(json.dumps({"id": "Hopper-v5", "kwargs": {"terminate_when_unhealthy": False}}))
    assert not endless(torch.zeros(3, 11)).any()
