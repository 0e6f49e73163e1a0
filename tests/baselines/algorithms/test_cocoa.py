"""COCOA: pairs of differences and anchors, rollouts against time, and what both are for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from assay.baselines import COCOA, COCOACQL, COCOAIQL, COCOAMOBILE, COCOARAVL
from assay.baselines.algorithms.algorithm import Memory, Pause, Setting
from assay.baselines.algorithms.model_based import mobile
from assay.baselines.algorithms.model_based.cocoa import against_time, pause_against_time
from assay.baselines.algorithms.model_based.dynamics import elites_of, mean_of_elites, predict
from assay.baselines.engine.data import ActionScale, TrainingData
from assay.baselines.engine.population import Population
from assay.baselines.engine.shapes import Part, Shapes
from assay.baselines.networks import MLP, FixedNetwork, Network, Specification
from assay.baselines.networks.bilinear import Bilinear
from assay.datasets.errors import ConfigError
from assay.datasets.transitions import Transitions
from tests.baselines.problems import SMALL_MODEL, population

SMALL = {
    **SMALL_MODEL,
    "batch_size": 64,
    "model_hidden": (24, 24),
    "model_batch_size": 64,
    "model_updates": 400,
    "model_learning_rate": 3e-3,
    "model_decay": 0.0,
    "rollout_interval": 10,
    "rollout_batch": 12,
    "rollout_length": 3,
    "retained_rollouts": 2,
    "terminations": "none",
    "anchor_updates": 400,
    "anchor_hidden": (32,),
    "reverse_rollouts": 1_000,
}
REACH = 0.3  # of one step


def setting_of(made: Population) -> Setting:
    stage = made._now
    return Setting(made.networks, stage.batches.batches(), made.hyperparameters, stage.draws, made.table)


def plane_data(seed: int, steps: int = 1_000) -> TrainingData:
    """s' = s + 0.3 a in a square of side 2; rewards are the height."""
    rng = np.random.default_rng(seed)
    following, actions = rng.uniform(-1, 1, (2, steps, 2))
    ends = np.zeros(steps, bool)
    made = Transitions(following - REACH * actions, actions, following[:, 1], following, ends, ends, np.arange(steps))
    return TrainingData.of(made, ActionScale.of(-np.ones(2), np.ones(2)), normalize=False)


def trained_on_the_plane(**parameters) -> Population:
    """Two members, each with its own data, at the first update of the policy."""
    made = population(COCOA(**{**SMALL, **parameters}), [0, 1], data=[plane_data(0), plane_data(1)], steps=900)
    made.advance(801)
    return made


@pytest.fixture(scope="module")
def plane() -> Population:
    return trained_on_the_plane()


# -------------------------------------------------------------------------------------------------- units


def test_a_bilinear_network_is_the_sum_of_products_of_two_perceptrons_of_each_member():
    made = population(COCOA(**{**SMALL, "embedding": 5}), [3, 4], steps=900, dtype=torch.float64)
    critic = made.networks["critic"]
    state, others = critic.spec.state, critic.spec.others
    rows = torch.randn(2, 7, 2 * state + others, dtype=torch.float64)
    found = critic(rows, weights="frozen")  # [P, K, B, 1]
    difference, anchor, action = rows.split([state, state, others], -1)
    count = len(critic.weights["frozen"]) // 2

    def perceptron(weights, inputs):
        for number, (weight, bias) in enumerate(zip(weights[::2], weights[1::2])):
            inputs = inputs @ weight + bias
            if number < len(weights) // 2 - 1:
                inputs = inputs.relu()
        return inputs

    for member in range(2):
        for copy in range(2):
            own = [tensor[2 * member + copy] for tensor in critic.weights["frozen"]]
            f = perceptron(own[:count], torch.cat([difference[member], action[member]], -1))
            g = perceptron(own[count:], torch.cat([anchor[member], action[member]], -1))
            assert torch.allclose(found[member, copy, :, 0], (f * g).sum(-1))


def test_the_reverse_model_says_where_a_step_came_from(plane):
    states, actions = torch.rand(2, 200, 2) * 1.6 - 0.8, torch.rand(2, 200, 2) * 2 - 1
    came_from = mean_of_elites(against_time(plane.networks), states, actions, 2)
    goes_to = mean_of_elites(plane.networks, states, actions, 2)
    assert (came_from - (states - REACH * actions)).abs().mean() < 0.03
    assert (goes_to - (states + REACH * actions)).abs().mean() < 0.03


def test_a_pause_against_time_swaps_the_ends_of_every_step_and_leaves_the_data_as_it_was(plane):
    pause = Pause(plane.networks, plane.buffers, plane.table, plane.hyperparameters, plane.draws, 0)
    reverse, rows = pause_against_time(pause), torch.arange(5)[None]
    for name, other in (("observations", "next_observations"), ("next_observations", "observations")):
        assert torch.equal(reverse.data.column(name, rows), plane.table.column(other, rows))
    assert not torch.equal(plane.table.column("observations", rows), plane.table.column("next_observations", rows))


def test_the_mean_of_the_elites_is_that_of_their_best_weights_and_the_same_as_they_act(plane):
    states, actions = torch.rand(2, 9, 2), torch.rand(2, 9, 2)
    means, _ = predict(plane.networks, states, actions)
    found = mean_of_elites(plane.networks, states, actions, 2)
    fixed = {name: FixedNetwork(name, item.spec, item.buffer) for name, item in plane.networks.items()}
    for member in range(2):
        chosen = elites_of(plane.networks, 2)[member]
        assert torch.allclose(found[member], means[member, chosen, :, :-1].mean(0), atol=1e-5)
    assert torch.allclose(mean_of_elites(fixed, states, actions, 2), found, atol=1e-6)


def test_rollouts_against_time_hold_one_direction_each_and_lead_away_from_the_data(plane):
    buffer, count = plane.buffers["reversed"], SMALL["reverse_rollouts"]
    actions = buffer.column("actions")[0].view(5, count, 2)
    assert (actions - actions.mean(0)).std() < 0.12  # the noise, some of it clipped
    outside = (buffer.column("observations")[0].view(5, count, 2).abs() > 1).any(-1).float().mean(1)
    assert (outside.diff() > 0).all()


def test_policy_and_critics_see_pairs_that_add_up_to_the_states(plane):
    algorithm, rows = plane.algorithm, plane.buffers["model"]
    stored = rows.column("observations")[:, : int(rows.lengths[0])]
    states = stored[..., :2] + stored[..., 2:]
    assert torch.allclose(algorithm.seen(plane.networks, states), stored, atol=1e-5)
    memory = Memory(0, torch.zeros(2, 9), {}, plane.hyperparameters)
    actions, _ = algorithm.act(plane.networks, states[:, :9], memory, None)
    expected = plane.networks["actor"](stored[:, :9], weights="frozen")[..., :2].tanh()
    assert torch.allclose(actions, expected, atol=1e-5)
    values = algorithm.values(plane.networks, states[:, :9], actions)
    inputs = torch.cat([stored[:, :9], actions], -1)
    assert torch.allclose(values, plane.networks["critic"](inputs, weights="frozen")[..., 0], atol=1e-4)


def test_true_dynamics_are_refused():
    with pytest.raises(ConfigError, match="learned"):
        COCOA(dynamics="true")


# -------------------------------------------------------------------------------------------------- what they are for


def distance_to_data(states: torch.Tensor) -> torch.Tensor:
    """Distance of states [P, B, 2] to the next states of each member's data, the mean of each member."""
    data = [torch.from_numpy(plane_data(seed).rows).float() for seed in range(2)]
    following = torch.stack([rows[:, 5:7] for rows in data])  # behind s, a and r
    return torch.cdist(states, following).amin(-1).mean(-1)


def test_anchors_of_states_outside_the_data_are_nearer_to_it(plane):
    """Measured, mean distance of two members: states 0.75 and 0.75, anchors 0.58 and 0.58, where a step reaches 0.3 along each axis."""
    angles = torch.rand(2, 400) * 2 * math.pi
    outside = 1.9 * torch.stack([angles.cos(), angles.sin()], -1)
    anchors = plane.algorithm.anchors(plane.networks, outside)
    still = COCOA(**SMALL, anchor_steps=0).anchors(plane.networks, outside)  # the stub
    away = distance_to_data(outside)
    assert (distance_to_data(anchors) < away - 0.5 * REACH).all()
    assert not (distance_to_data(still) < away).any()


def wave(states: torch.Tensor) -> torch.Tensor:
    """A line and a wave around it."""
    return states + torch.sin(2 * math.pi * states)


def error_beyond(kind: str, seeds: list[int]) -> torch.Tensor:
    """Train on states in [-1, 1], and return the root mean squared error in [1, 2] of each seed."""
    draws = population(COCOA(**SMALL), seeds, steps=900).draws
    spec: Specification = Bilinear(1, 0, 1, (64, 64), 4, learning_rate="actor_learning_rate")
    if kind == "perceptron":
        spec = MLP(1, 1, (64, 64), learning_rate="actor_learning_rate")
    network, members = Network("f", spec, draws), len(seeds)
    random = torch.Generator().manual_seed(0)

    def inputs(states, anchors):
        if kind == "perceptron":
            return states
        anchors = states if kind == "identity" else anchors
        return torch.cat([states - anchors, anchors], -1)

    rate = torch.full((members, 1), 3e-3)
    for number in range(UPDATES):
        if number == UPDATES // 2:
            rate = rate / 10
        states, anchors = (torch.rand(members, 256, 1, generator=random) * 2 - 1 for _ in range(2))
        loss = (network(inputs(states, anchors)) - wave(states)).square().mean()
        network.descend(loss * members, rate)
    states = torch.linspace(1, 2, 200)[None, :, None].expand(members, -1, -1)
    anchors = states - 1.0  # of the data, with a difference that the data shows too
    error = network(inputs(states, anchors), weights="frozen") - wave(states)
    return error.square().mean((1, 2)).sqrt()


UPDATES = 2_000


@pytest.mark.slow
def test_a_bilinear_network_extrapolates_where_its_parts_are_known():
    """Root mean squared errors of three seeds: 0.55, 0.66, 0.97; with the state as its anchor 3.5, 2.7, 3.7; of a perceptron 1.7, 3.4, 3.5."""
    errors = {kind: error_beyond(kind, [0, 1, 2]) for kind in ("bilinear", "identity", "perceptron")}
    assert (errors["bilinear"] < 0.5 * errors["perceptron"]).all()
    assert not (errors["identity"] < 0.5 * errors["perceptron"]).any()  # the stub


def test_pairs_with_candidates_are_what_they_are_joined():
    """CQL values many actions for each state at once."""
    spec = Bilinear(3, 2, 1, (8,), 4, learning_rate="critic_learning_rate", output="tanh", state_independent=2)
    shapes = [parameter.shape for parameter in spec.parameters()]
    assert shapes[-1] == (1, 2)
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(2, *shape, generator=generator, dtype=torch.float64) for shape in shapes]
    pairs = torch.randn(2, 5, 6, generator=generator, dtype=torch.float64)
    actions = torch.randn(2, 7, 5, 2, generator=generator, dtype=torch.float64)
    together = spec.forward(weights, pairs, actions)
    each = [spec.forward(weights, torch.cat([pairs, actions[:, number]], -1)) for number in range(7)]
    assert torch.allclose(together, torch.stack(each, 1), rtol=0, atol=1e-12)
    differences, anchors = (torch.cat([part, actions[:, 0]], -1) for part in pairs.chunk(2, -1))
    f, g = (spec.part.forward(part, rows) for part, rows in ((weights[:4], differences), (weights[4:8], anchors)))
    assert torch.allclose(each[0], torch.tanh((f * g).sum(-1, keepdim=True)), rtol=0, atol=1e-12)


# -------------------------------------------------------------------------------------------------- on other bases

BRIEF = {**SMALL, "model_updates": 20, "anchor_updates": 20, "reverse_rollouts": 50}


@pytest.mark.parametrize("kind", [COCOA, COCOAMOBILE, COCOARAVL, COCOACQL, COCOAIQL])
def test_every_base_sees_pairs_in_all_of_its_losses_and_in_acting(kind):
    known = {name: value for name, value in BRIEF.items() if name in kind().parameters()}
    made = population(kind(**known), [0, 1], data=[plane_data(0), plane_data(1)], steps=900, dtype=torch.float64)
    made.advance(41)  # the second update of the policy is next
    algorithm, states = made.algorithm, torch.rand(2, 9, 2, dtype=torch.float64)
    seen = algorithm.seen(made.networks, states)
    assert torch.allclose(algorithm.states(seen), states)
    assert not torch.allclose(seen[..., 2:], states)  # the anchor is another state
    plain = kind.__bases__[-1]().networks(Shapes((Part("", (2,)),), 2))
    for name in ("actor", "critic"):
        own = made.networks[name].spec
        assert isinstance(own, Bilinear)
        for field in ("learning_rate", "ensemble", "target", "schedule", "output", "state_independent"):
            assert getattr(own, field) == getattr(plain[name], field)
    for phase in algorithm.phases():
        for loss in phase.losses(setting_of(made)).each:
            assert torch.isfinite(loss).all()


def test_mobiles_penalty_on_pairs_asks_the_model_about_states_and_the_critics_about_pairs(monkeypatch):
    made = population(COCOAMOBILE(**BRIEF, samples=2), [0, 1], data=[plane_data(0), plane_data(1)], steps=900)
    made.advance(41)
    asked = []
    plain = mobile.predict
    monkeypatch.setattr(
        mobile, "predict", lambda networks, states, actions: asked.append(states) or plain(networks, states, actions)
    )
    setting = setting_of(made)
    made.algorithm.phases()[0].losses(setting)
    pairs = setting.batches["model"].observations
    assert pairs.shape[-1] == 4
    assert torch.allclose(asked[0], pairs[..., :2] + pairs[..., 2:])
