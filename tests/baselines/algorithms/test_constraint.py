"""What each constraint is for, on problems of one or two steps, and how what is named beside it fails there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from assay.baselines import A2PR, ODICE, PRDC, TD3BC
from assay.baselines.algorithms.actor_critic import a2pr, prdc
from assay.baselines.algorithms.algorithm import Losses
from assay.baselines.algorithms.autoencoder import divergence, reconstruct
from assay.baselines.engine.data import ActionScale, TrainingData
from assay.baselines.engine.population import Member, Population
from assay.datasets.transitions import Transitions

SEEDS = (0, 1, 2)


def one_step(states: np.ndarray, actions: np.ndarray, rewards: np.ndarray) -> TrainingData:
    """Episodes of one step."""
    count = len(states)
    made = Transitions(
        states, actions, rewards, np.zeros_like(states), np.ones(count, bool), np.zeros(count, bool), np.arange(count)
    )
    return TrainingData.of(made, ActionScale.of(-np.ones(1), np.ones(1)), normalize=False)


def trained(algorithm, data: TrainingData, updates: int) -> Population:
    population = Population([Member(algorithm, seed, 0) for seed in SEEDS], [data], updates)
    population.advance(updates)
    return population


def actions_at(population: Population, states: np.ndarray) -> np.ndarray:
    """Actions [P, n] of every member."""
    return population.act(np.repeat(states[None], len(SEEDS), 0))[..., 0]


# -------------------------------------------------------------------- PRDC

FAST = {"hidden": (32, 32), "batch_size": 64, "actor_learning_rate": 3e-3, "critic_learning_rate": 3e-3}


def neighbouring_states() -> tuple[TrainingData, np.ndarray]:
    """Pairs of neighbouring states: in one the data's action is bad, in the other good; the reward grows with the action."""
    rng = np.random.default_rng(0)
    states = np.stack([rng.uniform(-1, 1, 2_000), np.tile([0.3, -0.3], 1_000)], 1)
    bad = states[:, 1] > 0
    actions = np.where(bad, rng.uniform(-1.0, -0.8, 2_000), rng.uniform(-0.3, -0.1, 2_000))[:, None]
    return one_step(states, actions, 2.0 + actions[:, 0]), states[bad]


def distance_to_support(actions: np.ndarray) -> np.ndarray:
    lowest, highest = (-1.0, -0.3), (-0.8, -0.1)
    beyond = [np.maximum(np.maximum(low - actions, actions - high), 0) for low, high in zip(lowest, highest)]
    return np.minimum(*beyond)


def prdc_in_bad_states(neighbour=None, alpha=0.05) -> tuple[float, float]:
    """Return how far the policy is from the data's actions, and what it does, in states whose own action is bad."""
    data, bad = neighbouring_states()
    with pytest.MonkeyPatch.context() as patch:
        if neighbour is not None:
            patch.setattr(prdc, "nearest_actions", neighbour)
        found = actions_at(trained(PRDC(**FAST, alpha=alpha, beta=0.5), data, 600), bad[:200])
    return float(distance_to_support(found).max()), float(found.mean())


def random_actions(setting, actions):
    drawn = setting.data.draw(setting.draws, "a random neighbour", actions.shape[1])
    return setting.data.column("actions", drawn)


@pytest.mark.slow
def test_prdc_takes_the_good_action_of_a_neighbouring_state_and_stays_in_the_data():
    """Largest distance to the data's actions, and mean action where the data's own is about -0.9; 600 updates, three seeds.

    Measured: PRDC 0.0097 and -0.12; the state's own action in place of the nearest 0.0 and -0.90, a random action of the data
    0.25 and -0.57, no constraint 1.10 and 1.00. At the published weight of 40 no constraint of this kind can hold: the policy
    settles alpha Q' / (2 |Q|) beyond the action that it is held to.
    """
    distance, action = prdc_in_bad_states()
    assert distance < 0.02
    assert action > -0.35
    _, own = prdc_in_bad_states(lambda setting, actions: setting.batch.actions)
    assert own < -0.8
    distance, _ = prdc_in_bad_states(random_actions)
    assert distance > 0.1
    distance, _ = prdc_in_bad_states(lambda setting, actions: actions.detach())
    assert distance > 0.5


# -------------------------------------------------------------------- A2PR

NETWORKS = {"critic_hidden": (32, 32), "autoencoder_hidden": (32, 32)}
AUTOENCODING = {**FAST, **NETWORKS, "value_learning_rate": 3e-3, "autoencoder_learning_rate": 3e-3, "alpha": 0.01}


def two_modes() -> TrainingData:
    """Of the actions 90 % are about -0.7 and earn nothing, 10 % are about 0.7 and earn 1; the state says nothing."""
    rng = np.random.default_rng(0)
    good = rng.random(4_000) < 0.1
    actions = np.clip(np.where(good, 0.7, -0.7) + 0.1 * rng.normal(size=4_000), -1, 1)[:, None]
    return one_step(rng.normal(size=(4_000, 1)), actions, good.astype(float))


def of_two_modes(algorithm) -> tuple[float, np.ndarray]:
    """Return the smallest share of positive actions among samples of a member's autoencoder, and the mean actions."""
    population, states = trained(algorithm, two_modes(), 600), np.random.default_rng(1).normal(size=(200, 1))
    acted = actions_at(population, states).mean(1)
    if "decoder" not in population.networks:
        return np.nan, acted
    drawn = torch.Generator().manual_seed(0)
    inputs = torch.randn(len(SEEDS), 500, 3, generator=drawn)  # a state and two latent numbers
    samples = population.networks["decoder"](inputs, weights="frozen")[..., 0]
    return float((samples > 0).float().mean(1).min()), acted


def loss_on_all_actions(setting) -> Losses:
    batch = setting.batch
    noise = setting.draws.normal("latent noise of the data", batch.actions.shape[1], 2)
    found, mean, log_std = reconstruct(setting.networks, batch.observations, batch.actions, noise)
    loss = (found - batch.actions).square().mean((1, 2)) + 0.5 * divergence(mean, log_std).mean((1, 2))
    return Losses({"encoder": loss, "decoder": loss})


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["paper", "released"])
def test_a2pr_clones_the_rare_actions_that_earn(variant):
    """Smallest share of positive samples over three seeds, and mean actions; 600 updates at a small weight of the value.

    Measured: A2PR at least 0.992 of the samples and 0.68 to 0.72, paper or released; an autoencoder of all actions 0.05 to
    0.07 of the samples and 0.28 to 0.38; TD3+BC -0.50 to -0.52, where the mean of the data is -0.56.
    """
    positive, acted = of_two_modes(A2PR(**AUTOENCODING, variant=variant))
    assert positive >= 0.95
    assert (acted > 0.5).all()


@pytest.mark.slow
def test_cloning_all_actions_misses_what_a2pr_finds(monkeypatch):
    monkeypatch.setattr(a2pr, "autoencoder_loss", loss_on_all_actions)
    positive, acted = of_two_modes(A2PR(**AUTOENCODING))
    assert positive < 0.2
    assert (acted < 0.5).all()
    _, acted = of_two_modes(TD3BC(**FAST, alpha=0.01))
    assert (acted < -0.4).all()


# -------------------------------------------------------------------- ODICE

DUAL = {"hidden": (32, 32), "actor_hidden": (16,), "batch_size": 64, "target_update_rate": 0.02, "return_range": 0.0}
DUAL = {**DUAL, "value_learning_rate": 3e-3, "actor_learning_rate": 3e-3}


def drifting() -> TrainingData:
    """The state drifts a little whatever is done, and the action is the reward: V(s) and V(s') see nearly the same."""
    rng = np.random.default_rng(0)
    states, actions = rng.normal(size=(2_000, 1)), rng.uniform(-1, 1, (2_000, 1))
    never = np.zeros(2_000, bool)
    following = states + 0.05 * rng.normal(size=(2_000, 1))
    made = Transitions(states, actions, actions[:, 0], following, never, never, np.arange(2_000))
    return TrainingData.of(made, ActionScale.of(-np.ones(1), np.ones(1)), normalize=False)


@pytest.mark.slow
def test_the_orthogonal_gradient_tells_actions_apart_where_the_true_one_cancels():
    """Mean action of three members after 600 updates; actions of the data are uniform, and the best is 1.

    Measured: orthogonal 0.82 to 0.92, semi 0.84 to 0.91, true -0.02 to 0.04. The true gradient of V(s') takes back most of what that of
    V(s) does, so V falls (to -199) until all residuals are large, and all actions count alike. What was tried and does not
    separate: cosines of the features of s and s' (above 0.98 for every gradient), and a chain with the reward at its end.
    """
    data, states = drifting(), np.linspace(-1, 1, 5)[:, None]
    acted = {
        gradient: actions_at(trained(ODICE(**DUAL, gradient=gradient, discount=0.95), data, 600), states).mean(1)
        for gradient in ("orthogonal", "true")
    }
    assert (acted["orthogonal"] > 0.6).all()
    assert (abs(acted["true"]) < 0.2).all()


def leading_out() -> TrainingData:
    """Half of the actions end the episode, with the state as reward; half lead to states that are never seen to begin a step."""
    rng = np.random.default_rng(0)
    states, out = rng.uniform(0, 1, (2_000, 1)), rng.random(2_000) < 0.5
    actions = np.where(out, rng.uniform(0.5, 1, 2_000), rng.uniform(-1, -0.5, 2_000))[:, None]
    following, never = np.where(out[:, None], states + 2, states), np.zeros(2_000, bool)
    made = Transitions(states, actions, np.where(out, 0.0, states[:, 0]), following, ~out, never, np.arange(2_000))
    return TrainingData.of(made, ActionScale.of(-np.ones(1), np.ones(1)), normalize=False)


@pytest.mark.slow
def test_the_backward_part_lowers_states_that_the_data_only_leads_to():
    """Mean V of three members at unseen states after 600 updates, above the mean V of those that the data holds.

    Measured over twins and seeds: orthogonal -4.6, semi, which has no backward part, -2.2.
    """
    seen, unseen = (torch.linspace(low, low + 0.8, 9).view(1, -1, 1).expand(3, -1, -1) for low in (0.1, 2.1))
    below = {}
    for gradient in ("orthogonal", "semi"):
        algorithm = ODICE(**DUAL, gradient=gradient, dual_weight=0.4, value_layer_norm=False)
        value = trained(algorithm, leading_out(), 600).networks["value"]
        below[gradient] = float(value(unseen, weights="frozen").mean() - value(seen, weights="frozen").mean())
    assert below["orthogonal"] < below["semi"] - 1.0
