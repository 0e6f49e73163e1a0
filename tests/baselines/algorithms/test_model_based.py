"""Model-based algorithms: what they draw, keep, roll out and penalize, beside independent statements."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from assay.baselines import COCOACQL, MOBILE, MOPO, RAVL, SACN, Job, train
from assay.baselines.algorithms.actor_critic.sac_n import critic_loss, temperature
from assay.baselines.algorithms.algorithm import Pause, Setting
from assay.baselines.algorithms.model_based import mobile
from assay.baselines.algorithms.model_based.agent import mixed
from assay.baselines.algorithms.model_based.dynamics import (
    BootstrapRows,
    elites_of,
    held_out_rows,
    keep_best,
    model_step,
    predict,
)
from assay.baselines.dynamics.known import known_dynamics
from assay.baselines.engine.data import ActionScale, TrainingData
from assay.baselines.engine.population import Member, Population
from assay.datasets.environments.edge_of_reach import EdgeOfReach
from assay.datasets.errors import ConfigError
from assay.datasets.transitions import Transitions
from tests.baselines.problems import SMALL_MODEL, pendulum_like, population, training_data

SMALL = {
    **SMALL_MODEL,
    "model_updates": 40,
    "rollout_interval": 10,
    "rollout_batch": 12,
    "rollout_length": 3,
    "retained_rollouts": 2,
    "terminations": "none",
}
PENDULUM, PLANE = '{"id": "Pendulum-v1"}', '{"id": "assay/EdgeOfReach-v0"}'


def pause_of(made: Population) -> Pause:
    stage = made._now
    return Pause(
        made.networks, made.buffers, made.table, made.hyperparameters, stage.draws, made.completed - stage.start
    )


def setting_of(made: Population) -> Setting:
    stage = made._now
    return Setting(made.networks, stage.batches.batches(), made.hyperparameters, stage.draws, made.table)


# -------------------------------------------------------------------------------------------------- rows


@pytest.mark.parametrize("length", [1, 2, 7, 10, 503, 12_345])
def test_every_row_is_either_held_out_or_can_be_drawn(length):
    lengths = torch.tensor([length])
    count, distance = held_out_rows(lengths)
    held = set((torch.arange(int(count)) * distance).tolist())
    assert len(held) == max(1, min(length // 5, 1000))
    assert max(held) < length
    others = length - len(held)

    class AllPlaces:  # draws that give every place once, and rows that are the places
        def integers(self, purpose, limits, rows):
            return torch.arange(rows)[None]

        def fixed_integers(self, names, places, limits):
            return places

    if others == 0:
        return
    table = training_data(0, steps=4)
    made = population(MOPO(**SMALL), [0], data=[table])
    made.table.lengths, made.table.offsets = lengths, torch.tensor([100])
    rows = BootstrapRows(1).choose(made.table, others, "batch", AllPlaces(), {}, None) - 100
    assert set(rows[0].tolist()) == set(range(length)) - held


def test_a_network_sees_the_same_bootstrap_sample_in_every_update_and_two_networks_see_two():
    made = population(MOPO(**{**SMALL, "model_batch_size": 4_000}), [0], data=[training_data(0, steps=200)])
    samples = []
    for _ in range(2):
        rows = made.batches.draw_indices()[0].view(3, -1)
        samples.append([set(part.tolist()) for part in rows])
        made.update += 1
    assert samples[0] == samples[1]  # 4,000 draws of 160 places reach all of them
    assert samples[0][0] != samples[0][1]
    share = np.mean([len(sample) for sample in samples[0]]) / 160
    assert abs(share - (1 - np.exp(-1))) < 0.06  # with replacement


# -------------------------------------------------------------------------------------------------- the model


def linear_data(seed: int, steps: int = 4_000) -> TrainingData:
    """s' = 0.9 s + a + 0.2 e, r = s - a + 0.1 e."""
    rng = np.random.default_rng(seed)
    states, actions = rng.uniform(-3, 3, (steps, 1)), rng.uniform(-1, 1, (steps, 1))
    made = Transitions(
        observations=states,
        actions=actions,
        rewards=(states - actions)[:, 0] + 0.1 * rng.normal(size=steps),
        next_observations=0.9 * states + actions + 0.2 * rng.normal(size=states.shape),
        terminations=np.zeros(steps, bool),
        truncations=np.zeros(steps, bool),
        steps=np.arange(steps),
    )
    return TrainingData.of(made, ActionScale.of(-np.ones(1), np.ones(1)), normalize=False)


@pytest.fixture(scope="module")
def linear_model() -> Population:
    algorithm = MOPO(
        **{**SMALL, "model_hidden": (24, 24), "model_updates": 2_500, "model_batch_size": 256},
        model_learning_rate=2e-3,
        model_decay=0.0,
    )
    made = population(algorithm, [0, 1], data=[linear_data(0), linear_data(1)], steps=2_501)
    made.advance(2_501)
    return made


def test_the_likelihood_of_a_linear_system_reaches_its_entropy(linear_model):
    fresh = linear_data(7).rows.astype(np.float32)
    states, actions, rewards, following = (
        torch.from_numpy(part)[None].expand(2, -1, -1) for part in np.split(fresh[:, :4], 4, 1)
    )
    means, deviations = predict(linear_model.networks, states, actions)
    outcomes = torch.cat([following, rewards], -1)
    for member in range(2):
        for network in elites_of(linear_model.networks, 2)[member]:
            normal = torch.distributions.Normal(means[member, network], deviations[member, network])
            surprise = -normal.log_prob(outcomes[member]).mean(0)
            entropy = torch.distributions.Normal(0.0, torch.tensor([0.2, 0.1])).entropy()
            assert (surprise - entropy).abs().max() < 0.05


def test_steps_of_the_model_have_the_mean_and_the_variance_of_the_system(linear_model):
    states, actions = torch.full((2, 20_000, 1), 2.0), torch.full((2, 20_000, 1), 0.3)
    step = model_step(
        linear_model.networks, states, actions, linear_model.draws, "test", elites=2, uncertainty=None, variant="paper"
    )
    for member in range(2):
        assert abs(float(step.states[member].mean()) - 2.1) < 0.04
        assert abs(float(step.states[member].std()) - 0.2) < 0.02
        assert abs(float(step.rewards[member].mean()) - 1.7) < 0.03
    assert not step.penalties.any()


class Silent:
    """Draws without noise, which deal rows out in order to member 0 and backwards to member 1."""

    def bits(self, purpose, count):
        return torch.stack([torch.arange(count), -torch.arange(count)])

    def normal(self, purpose, *shape):
        return torch.zeros(2, *shape)


def test_every_elite_gets_its_share_of_the_rows_where_nobody_asks_all_networks(linear_model):
    states, actions = torch.full((2, 9, 1), 2.0), torch.full((2, 9, 1), 0.3)
    step = model_step(
        linear_model.networks, states, actions, Silent(), "test", elites=2, uncertainty=None, variant="paper"
    )
    means, _ = predict(linear_model.networks, states, actions)
    found = torch.cat([step.states, step.rewards[..., None]], -1)
    for member in range(2):
        first, second = elites_of(linear_model.networks, 2)[member].tolist()
        rows = (slice(0, 5), slice(5, 9)) if member == 0 else (slice(4, 9), slice(0, 4))  # dealt in the other order
        assert torch.allclose(found[member, rows[0]], means[member, first, rows[0]], atol=1e-5)
        assert torch.allclose(found[member, rows[1]], means[member, second, rows[1]], atol=1e-5)


@pytest.mark.parametrize(("elites", "count"), [(1, 4), (2, 1), (3, 1), (3, 2)])
def test_one_elite_takes_all_rows_and_few_rows_are_dealt_to_the_first_elites(linear_model, elites, count):
    states, actions = torch.linspace(-1, 1, 2 * count).view(2, count, 1), torch.zeros(2, count, 1)
    step = model_step(
        linear_model.networks, states, actions, Silent(), "test", elites=elites, uncertainty=None, variant="paper"
    )
    means, _ = predict(linear_model.networks, states, actions)
    for member in range(2):
        best = elites_of(linear_model.networks, elites)[member].tolist()
        chosen = best * count if elites == 1 else best[:count][:: 1 - 2 * member]
        expected = torch.stack([means[member, network, row] for row, network in enumerate(chosen)])
        assert torch.allclose(torch.cat([step.states, step.rewards[..., None]], -1)[member], expected, atol=1e-5)


def test_elites_are_the_networks_with_the_least_errors_and_a_broken_one_is_none_of_them(linear_model):
    errors = linear_model.networks["dynamics_errors"].buffer.view(2, 3)
    for member in range(2):
        least = sorted(errors[member].argsort()[:2].tolist())
        assert elites_of(linear_model.networks, 2)[member].tolist() == least


def test_the_best_weights_are_kept_and_worse_ones_are_not():
    made = population(MOPO(**SMALL), [0, 1])
    made.advance(41)
    dynamics, errors = made.networks["dynamics"], made.networks["dynamics_errors"]
    best, least = dynamics.target_buffer.clone(), errors.buffer.clone()
    with torch.no_grad():
        dynamics.buffer[1:3] += 1.0  # broken: the second and the third network of the first member
    keep_best(pause_of(made))
    assert torch.equal(dynamics.target_buffer[1:3], best[1:3])
    assert torch.equal(errors.buffer[1:3], least[1:3])
    assert (errors.buffer <= least).all()


# -------------------------------------------------------------------------------------------------- rollouts


def test_a_rollout_follows_the_members_own_policy_and_the_true_dynamics_to_the_end_of_its_episode():
    data = [TrainingData.of(_plane(seed), ActionScale.of(-np.ones(2), np.ones(2)), normalize=True) for seed in (0, 1)]
    data = [replace(item, environment=PLANE) for item in data]
    algorithm = RAVL(**{**SMALL, "dynamics": "true", "critics": 2})
    made = population(algorithm, [3, 4], data=data, dtype=torch.float64)
    made.advance(1)
    rows = made.buffers["model"].rows
    assert made.buffers["model"].lengths.tolist() == [36, 36]
    for member, item in enumerate(data):
        mean, scale = item.observation_scale.mean, item.observation_scale.scale
        states, actions, rewards, following, goes_on = np.split(rows[member, :36].numpy(), [2, 4, 5, 7], axis=1)
        reached, earned = states * scale + mean + actions, []
        for state, action in zip(states * scale + mean, actions):
            environment = EdgeOfReach()
            environment.reset(seed=0)
            environment._state = state
            earned.append(environment.step(action)[1])
        assert np.allclose(following * scale + mean, reached)
        assert np.allclose(rewards[:, 0], earned, atol=1e-6)
        assert (goes_on == 1).all()
        assert np.allclose(following[:24], states[12:])  # the next step begins where the one before ended


def _plane(seed: int) -> Transitions[np.ndarray]:
    rng = np.random.default_rng(seed)
    states, actions = rng.uniform(-1, 1, (50, 2)), rng.uniform(-1, 1, (50, 2))
    ends = np.zeros(50, bool)
    return Transitions(states, actions, rng.normal(size=50), states + actions, ends, ends, np.arange(50))


def test_only_steps_before_the_end_of_an_episode_are_kept():
    """Hopper's episodes end where it is too low; rollouts of noise end at different steps."""
    rng = np.random.default_rng(0)
    states = np.concatenate([rng.uniform(0.72, 1.4, (200, 1)), rng.normal(0, 0.05, (200, 10))], 1)
    ends = np.zeros(200, bool)
    following = states + rng.normal(0, 0.2, states.shape)
    made = Transitions(states, rng.uniform(-1, 1, (200, 3)), np.zeros(200), following, ends, ends, np.arange(200))
    data = TrainingData.of(made, ActionScale.of(-np.ones(3), np.ones(3)), normalize=False)
    algorithm = MOPO(**{**SMALL, "terminations": "known", "rollout_length": 4, "rollout_batch": 50})
    learned = population(algorithm, [0], data=[replace(data, environment='{"id": "Hopper-v5"}')])
    learned.advance(41)
    buffer = learned.buffers["model"]
    rows = buffer.rows[0, : int(buffer.lengths[0])]
    heights, angles, goes_on = rows[:, 11 + 3 + 1], rows[:, 11 + 3 + 2], rows[:, -1]
    fallen = (heights <= 0.7) | (angles.abs() >= 0.2)
    assert torch.equal(goes_on == 0, fallen)
    assert 50 < len(rows) < 200
    assert 0 < int((goes_on == 0).sum()) <= 50  # no rollout ends twice
    starts = rows[:, :2]
    assert bool(((starts[:, 0] > 0.7) & (starts[:, 1].abs() < 0.2)).all())  # none begins a step where it has fallen


def test_rewards_of_the_model_are_penalized_and_those_of_the_data_are_not():
    free, costly = (MOPO(**SMALL, penalty="ensemble_deviation", penalty_weight=weight) for weight in (0.0, 2.0))
    made = Population([Member(free, 0, 0), Member(costly, 0, 0)], [training_data(0)], 100, dtype=torch.float64)
    made.advance(41)
    buffer = made.buffers["model"]
    first = slice(0, 12)  # the first steps of the first rollouts: the same states, actions and draws
    assert torch.allclose(buffer.column("actions")[0, first], buffer.column("actions")[1, first])
    means, deviations = predict(
        made.networks, buffer.column("observations")[:, first], buffer.column("actions")[:, first]
    )
    mixture = (deviations.square().mean(1) + means.var(1, unbiased=False)).sum(-1).sqrt()  # [P, 12]
    rewards = buffer.column("rewards")[:, first]
    assert torch.allclose(rewards[0] - rewards[1], 2.0 * mixture[1], atol=1e-9)
    both = mixed(setting_of(made)).batch
    assert both.rewards.shape == (2, 32)
    assert torch.equal(both.rewards[:, :8], setting_of(made).batches["batch"].rewards)


def test_the_buffer_holds_the_last_rollouts_and_losses_are_those_of_soft_actor_critic_on_both():
    made = population(RAVL(**SMALL, critics=3, eta=0.0), [0], dtype=torch.float64)
    made.advance(75)
    assert made.buffers["model"].layout.capacity == 12 * 3 * 2
    assert int(made.buffers["model"].written[0, 0]) == 12 * 3 * 4  # at 0, 10, 20 and 30 updates of the policy
    setting = mixed(setting_of(made))
    agent = Setting(setting.networks, setting.batches, setting.hyperparameters, setting.draws)
    plain = critic_loss(agent).of["critic"]
    assert torch.allclose(made.phases[2].losses(setting_of(made)).of["critic"], plain)
    assert isinstance(made.algorithm, SACN)


# -------------------------------------------------------------------------------------------------- MOBILE


def inconsistency_with(means: torch.Tensor, slope: float) -> torch.Tensor:
    """MOBILE's penalty for networks without noise that say these next states [N, 2], where Q' = slope times the first entry."""

    class Values:
        members = 1

        def __call__(self, inputs, weights):
            return slope * inputs[:, None, :, :1]  # [P, K, B, 1]

    class Policy:
        def __call__(self, states, weights):
            return torch.zeros(*states.shape[:2], 2)

    networks = {"actor": Policy(), "critic": Values()}
    draws = population(SACN(hidden=(4,)), [0]).draws
    setting = SimpleNamespace(networks=networks, draws=draws)
    count = len(means)
    patched = {
        "predict": lambda *_: (
            torch.cat([means, torch.zeros(count, 1)], 1)[None, :, None],
            torch.zeros(1, count, 1, 3),
        ),
        "elites_of": lambda *_: torch.arange(count)[None],
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, function in patched.items():
            patch.setattr(mobile, name, function)
        return mobile.inconsistency(
            setting, torch.zeros(1, 1, 2), torch.zeros(1, 1, 1), count, 4, lambda _, states: states
        )


def test_mobiles_penalty_is_zero_for_equal_networks_and_blind_to_what_the_value_does_not_depend_on():
    assert inconsistency_with(torch.zeros(5, 2), slope=3.0).item() == 0.0
    apart = torch.tensor([[0.0, 0.0], [0.0, 7.0]])  # along the second entry, in which Q' is flat
    assert inconsistency_with(apart, slope=3.0).item() == 0.0
    relevant = torch.tensor([[0.0, 0.0], [0.5, 7.0]])
    assert inconsistency_with(relevant, slope=3.0).item() == pytest.approx(3.0 * 0.5 / np.sqrt(2.0))


def test_mobiles_targets_are_penalized_on_rows_of_the_model_alone_and_bounded_from_below():
    algorithm = MOBILE(**SMALL, samples=3, penalty_weight=2.0, deterministic_backup=True)
    made = population(algorithm, [0], dtype=torch.float64)
    made.advance(50)
    setting = setting_of(made)
    both = mixed(setting)
    unsure = torch.cat([torch.zeros(1, 8), torch.full((1, 24), 5.0)], 1).double()
    plain = mobile.penalized_targets(both, torch.zeros_like(unsure), deterministic=True)
    costly = mobile.penalized_targets(both, unsure, deterministic=True)
    assert torch.allclose(plain - costly, 2.0 * unsure)
    made.hyperparameters.lowest_target.fill_(0.0)
    assert (mobile.penalized_targets(both, unsure, deterministic=True) >= 0).all()


def test_mobiles_temperature_has_a_limit_and_that_of_the_others_has_none():
    for kind, expected in ((MOBILE, 0.5), (MOPO, 2.0)):
        made = population(kind(**SMALL, **({"highest_temperature": 0.5} if kind is MOBILE else {})), [0])
        made.networks["temperature"].buffer.fill_(float(np.log(2.0)))
        assert temperature(setting_of(made)).item() == pytest.approx(expected)


# -------------------------------------------------------------------------------------------------- known dynamics


def test_known_dynamics_are_those_of_the_simulator():
    import gymnasium

    step, rng = known_dynamics(PENDULUM), np.random.default_rng(0)
    environment = gymnasium.make("Pendulum-v1").unwrapped
    environment.reset(seed=0)
    for _ in range(50):
        environment.state = np.array([rng.uniform(-np.pi, np.pi), rng.uniform(-8, 8)])
        states, action = environment._get_obs(), rng.uniform(-2, 2, 1).astype(np.float32)
        expected, reward, *_ = environment.step(action)
        found, earned = step(torch.from_numpy(states)[None].double(), torch.from_numpy(action)[None].double())
        assert np.allclose(found[0], expected, atol=1e-5)
        assert np.isclose(earned[0], reward, atol=1e-5)
    assert known_dynamics('{"id": "Pendulum-v1", "kwargs": {"g": 9.81}}') is None
    assert known_dynamics(None) is None


# -------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("kind", "parameters", "part"),
    [
        (MOPO, {"elites": 8}, "elites=8"),
        (MOPO, {"penalty": "guess"}, "pairwise_difference"),
        (RAVL, {"return_steps": 3}, "return_steps"),
        (MOBILE, {"dynamics": "true"}, "learned"),
        (MOBILE, {"elites": 1}, "elites=1"),
    ],
)
def test_settings_that_cannot_be_are_refused(kind, parameters, part):
    with pytest.raises(ConfigError, match=part):
        kind(**parameters)


def test_an_environment_whose_ends_or_dynamics_are_not_known_is_named():
    known = pendulum_like()
    unknown = known.replace({}, info=replace(known.info, env_spec='{"id": "Elsewhere-v0"}'))
    scale = ActionScale.of(-2 * np.ones(1), 2 * np.ones(1))
    with pytest.raises(ConfigError, match="learned"):
        MOPO(**{**SMALL, "terminations": "known"}).training_data(unknown, scale)
    with pytest.raises(ConfigError, match="Pendulum"):
        population(RAVL(**{**SMALL, "dynamics": "true", "critics": 2}), [0]).advance(1)


@pytest.mark.parametrize("kind", [MOPO, COCOACQL])
def test_too_few_transitions_for_a_model_are_refused(kind):
    scale, parameters = (
        ActionScale.of(-2 * np.ones(1), 2 * np.ones(1)),
        {"models": 3, "elites": 2, "model_hidden": (8,)},
    )
    further = {"terminations": "none"} if kind is MOPO else {}
    with pytest.raises(ConfigError, match=r"3 transitions are too few .* 10 are needed"):
        kind(**parameters, **further).training_data(pendulum_like(episodes=1, length=3), scale)


def test_updates_that_do_not_suffice_for_the_stages_are_said_with_the_fields_that_ask_for_them(tmp_path):
    with pytest.raises(
        ConfigError, match=r"CQL\+COCOA on .*10 updates.*dynamics 20000.*the fields model_updates, anchor_updates"
    ):
        train([Job(COCOACQL(), pendulum_like())], steps=10, evaluation=None, runs=tmp_path)


def test_presets_are_those_of_the_published_code():
    assert MOPO.values_for(pendulum_like()) == {"rollout_length": 1, "penalty_weight": 2.5, "variant": "released"}


# -------------------------------------------------------------------------------------------------- what they are for


def hole_data(seed: int, steps: int = 2_000) -> TrainingData:
    """A line with a hole in the data between 0 and 1: rewards rise towards it, and are best behind it."""
    rng = np.random.default_rng(seed)
    left = rng.random(steps) < 0.7
    low, high = np.where(left, -2.0, 1.0), np.where(left, 0.0, 2.0)
    states = rng.uniform(low, high)
    following = rng.uniform(np.maximum(low, states - 0.5), np.minimum(high, states + 0.5))
    ends = np.zeros(steps, bool)
    made = Transitions(
        states[:, None],
        (following - states)[:, None] / 0.5,
        np.where(left, following, 1.0),
        following[:, None],
        ends,
        ends,
        np.arange(steps),
    )
    return TrainingData.of(made, ActionScale.of(-np.ones(1), np.ones(1)), normalize=False)


def return_on_the_line(act) -> float:
    """Return of 20 steps from the left; in the hole nothing moves and each step costs 3."""
    states, total = np.linspace(-2, -0.5, 50), np.zeros(50)
    for _ in range(20):
        stuck = (states > 0) & (states < 1)
        states = np.where(stuck, states, np.clip(states + 0.5 * act(states), -2, 2))
        total += np.where((states > 0) & (states < 1), -3.0, np.where(states <= 0, states, 1.0))
    return float(total.mean())


@pytest.mark.slow
def test_a_penalty_keeps_mopo_out_of_a_hole_in_the_data_that_the_model_promises_much_of():
    """Returns of three seeds, penalty weights 0 (the stub), 100 and 10,000; to stay where one is, as the data does on average, earns -25.

    Measured: -54.7, -54.8, -54.6; -8.6, -8.7, -10.1; -11.5, -20.5, -14.8. The penalties `ensemble_deviation` at weights to 5 and
    `pairwise_difference` at weights to 30 do not keep it out: between the two parts the networks agree on what they make up.
    """
    settings = {
        "hidden": (32, 32),
        "model_hidden": (32, 32),
        "models": 5,
        "elites": 3,
        "model_batch_size": 32,
        "model_updates": 1_500,
        "rollout_interval": 250,
        "rollout_batch": 500,
        "rollout_length": 5,
        "retained_rollouts": 4,
        "terminations": "none",
        "actor_learning_rate": 1e-3,
        "critic_learning_rate": 1e-3,
        "temperature_learning_rate": 1e-3,
        "model_learning_rate": 2e-3,
        "discount": 0.95,
        "batch_size": 128,
        "target_update_rate": 0.02,
        "penalty": "pairwise_difference",
    }
    weights = (0.0, 100.0, 10_000.0)
    members = [Member(MOPO(**settings, penalty_weight=weight), seed, seed) for weight in weights for seed in range(3)]
    made = Population(members, [hole_data(seed) for seed in range(3)], 4_500)
    made.advance(4_500)

    @torch.no_grad()
    def earned(number: int) -> float:
        def act(states):
            seen = torch.from_numpy(states).float()[None, :, None].expand(len(members), -1, -1)
            return torch.tanh(made.networks["actor"](seen, weights="frozen")[number, :, 0]).numpy()

        return return_on_the_line(act)

    free, kept, held = np.array([earned(number) for number in range(9)]).reshape(3, 3)
    still = return_on_the_line(np.zeros_like)
    assert still == pytest.approx(-25.0)
    assert (free < still - 20).all()
    assert (kept > still + 10).all()
    assert (held > 1.1 * still).all()


@pytest.mark.slow
def test_values_at_the_edge_of_reach_explode_without_diversity_and_do_not_with_it():
    """The dynamics are the true ones, rollouts have one step, and no policy is worth more than 25.

    Measured, mean value of the policy's actions in the square after 1,000 updates, three seeds: without diversity (the stub) 1268, 1542 and
    1176, with eta = 1 15.5, 17.8 and 19.2, with eta = 10 10.8, 12.3 and 12.5. With ten critics 998, 1325 and 965; 13.9, 13.4 and 12.8;
    11.7, 10.3 and 9.8. The return is not asserted: in this plane RAVL's policy is drawn over the edge as well, and earns 1 to 3 of 48, at
    eta 1 to 200, target rates 0.005 to 0.05, learning rates 3e-4 and 1e-3, widths of the bump 0.3 to 0.7 and up to 4,000 updates.
    """
    settings = {
        "hidden": (64, 64),
        "critics": 5,
        "discount": 0.95,
        "dynamics": "true",
        "terminations": "none",
        "rollout_length": 1,
        "rollout_batch": 2_000,
        "rollout_interval": 1_000,
        "target_update_rate": 0.05,
        "actor_learning_rate": 1e-3,
        "critic_learning_rate": 1e-3,
        "temperature_learning_rate": 1e-3,
        "batch_size": 128,
    }
    rng = np.random.default_rng(0)
    states, following = rng.uniform(-1, 1, (2, 2_000, 2))
    actions = np.clip(following - states, -1, 1)
    _, rewards = known_dynamics(PLANE)(torch.from_numpy(states), torch.from_numpy(actions))
    ends = np.zeros(2_000, bool)
    made = Transitions(states, actions, rewards.numpy(), states + actions, ends, ends, np.arange(2_000))
    data = TrainingData.of(made, ActionScale.of(-np.ones(2), np.ones(2)), normalize=False)
    members = [Member(RAVL(**settings, eta=eta), seed, 0) for eta in (0.0, 10.0) for seed in range(3)]
    trained = Population(members, [replace(data, environment=PLANE)], 1_000)
    trained.advance(1_000)
    seen = torch.from_numpy(states[:200]).float().expand(6, -1, -1)
    with torch.no_grad():
        chosen = torch.tanh(trained.networks["actor"](seen, weights="frozen")[..., :2])
        values = trained.networks["critic"](torch.cat([seen, chosen], -1), weights="frozen").mean((1, 2, 3))
    assert (values[:3] > 10 * 25).all()
    assert (values[3:] < 25).all()
