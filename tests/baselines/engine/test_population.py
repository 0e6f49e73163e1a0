"""The engine: a population is its members, training repeats, stops and resumes; losses are what their papers say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from assay.baselines import (
    A2PR,
    AWAC,
    BC,
    BCQ,
    BVE,
    COCOA,
    COCOACQL,
    COCOAIQL,
    COCOAMOBILE,
    COCOARAVL,
    CPQ,
    CQL,
    CRR,
    DQN,
    EDAC,
    ER,
    FISOR,
    FQL,
    GCBC,
    GCIQL,
    IFQL,
    IQL,
    MCE,
    MOBILE,
    MOPO,
    MOREC,
    MORECMOBILE,
    ODICE,
    OER,
    PRDC,
    QRDQN,
    RAVL,
    REM,
    RIQL,
    SACN,
    TD3BC,
    BCSafe,
    DecisionTransformer,
    DiscreteBC,
    DiscreteBCQ,
    DiscreteCQL,
    DiscreteIQL,
    IQLLag,
    MixtureBC,
    PercentBC,
    ReBRAC,
    SMORe,
)
from assay.baselines.algorithms.model_based.agent import LearnedDynamics
from assay.baselines.engine.data import ActionScale, TrainingData
from assay.baselines.engine.population import Member, Population
from assay.baselines.engine.shapes import Shapes
from assay.datasets.errors import ConfigError
from tests.baselines.engine.toys import RolloutCloning
from tests.baselines.problems import SMALL_MODEL, data_for, population, training_data, transitions

SMALL = {"hidden": (16, 16), "batch_size": 32}
TINY = {"batch_size": 8, "sequence_length": 4, "width": 8, "heads": 2, "blocks": 2, "longest_episode": 30, "warmup": 9}
FEW = {**SMALL, "sampled_actions": 3}
OFTEN = {**SMALL, "learning_rate": 1e-3}
HARD_COPIES = {**OFTEN, "target_update_every": 3}
CQL_CHOICES = {"lagrange": True, "max_target_backup": True, "backup_entropy": True, "importance_sampling": False}
MODEL = {
    **SMALL_MODEL,
    "model_updates": 41,
    "rollout_interval": 7,
    "rollout_batch": 10,
    "rollout_length": 2,
    "retained_rollouts": 3,
    "terminations": "learned",
}
ANCHORS = {
    "embedding": 2,
    "anchor_hidden": (12,),
    "anchor_updates": 12,
    "reverse_rollouts": 10,
    "reverse_length": 2,
}
ONLY_ANCHORS = {name: value for name, value in SMALL_MODEL.items() if name != "real_percent"}
ONLY_ANCHORS |= {**ANCHORS, "model_updates": 21}
GAME = {
    "reward_updates": 9,
    "reward_batch_size": 8,
    "discriminators": 3,
    "discriminator_hidden": (8,),
    "transition_hidden": (8,),
    "lowest_dynamics_reward": 0.69,
}
AUTOENCODER = {**SMALL, "critic_hidden": (16, 16), "autoencoder_hidden": (12, 12)}
TASKS = {**SMALL, "tasks": 8, "buffer_size": 6, "replay_batch_size": 8}
TASK_MODEL = {"models": 3, "model_hidden": (12, 12), "model_batch_size": 8, "rollout_length": 4, "action_weight": 0.5}
ALGORITHMS = [
    BC(**SMALL),
    TD3BC(**SMALL),
    IQL(**SMALL),
    IQL(**SMALL, deterministic=True),
    MixtureBC(**SMALL, modes=3),
    BCQ(**SMALL, autoencoder_hidden=(12,), sampled_actions=3, acting_samples=4),
    BCQ(**SMALL, autoencoder_hidden=(12,), sampled_actions=3, acting_samples=4, perturbed=False, latent_clip=None),
    DecisionTransformer(**TINY),
    PercentBC(**SMALL),
    ReBRAC(**SMALL),
    RIQL(**SMALL),
    AWAC(**SMALL),
    SACN(**SMALL, critics=3),
    EDAC(**SMALL, critics=3),
    CQL(**FEW),
    CQL(**FEW, **CQL_CHOICES),
    CQL(**FEW, plain_deviation=True, max_target_backup=True, backup_order="max_first"),
    FQL(**SMALL, alpha=1.0, flow_steps=3, normalize_values=True),
    IFQL(**SMALL, flow_steps=3, samples=4),
    PRDC(**SMALL, alpha=10.0),
    A2PR(**AUTOENCODER),
    ODICE(**SMALL, actor_hidden=(16,)),
    SMORe(**SMALL),
    SMORe(**SMALL, variant="paper", terminate_at_goal=True),
    GCBC(**SMALL),
    GCIQL(**SMALL),
    DiscreteCQL(**HARD_COPIES),
    DiscreteBC(**OFTEN),
    BVE(**OFTEN),
    MCE(**OFTEN),
    DQN(**HARD_COPIES),
    QRDQN(**HARD_COPIES, quantiles=5),
    REM(**HARD_COPIES, heads=4),
    DiscreteBCQ(**HARD_COPIES),
    CRR(**HARD_COPIES),
    CRR(**HARD_COPIES, weighting="exponential", baseline_samples=4),
    DiscreteIQL(**HARD_COPIES),
    MOPO(**MODEL, penalty="ensemble_deviation"),
    MOBILE(**{**MODEL, "terminations": "none"}, samples=3, deterministic_backup=False),
    RAVL(**MODEL, critics=3),
    COCOA(**MODEL, **ANCHORS),
    COCOAMOBILE(**MODEL, **ANCHORS, samples=2),
    COCOARAVL(**MODEL, **ANCHORS),
    COCOACQL(**{**ONLY_ANCHORS, **FEW}, **CQL_CHOICES),
    COCOAIQL(**ONLY_ANCHORS, deterministic=True),
    MOREC(**MODEL, **GAME, variant="released"),
    MORECMOBILE(**MODEL, **GAME, samples=2, selection="best"),
    RolloutCloning(**SMALL),
    FISOR(**SMALL, critic_batch_size=20, width=8, blocks=2, diffusion_steps=3, samples=4),
    BCSafe(**SMALL),
    CPQ(**SMALL, actor_hidden=(12,), autoencoder_hidden=(12,), sampled_actions=3),
    IQLLag(
        **SMALL, cost_limit=0.0, critic_learning_rate=1e-2
    ),  # the data breaks the limit, so the multiplier moves soon
    ER(**TASKS),
    ER(**TASKS, selection="reward"),
    OER(**TASKS, **TASK_MODEL),
]
by_name = pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: a.name)


def weights(made: Population, member: int) -> dict[str, torch.Tensor]:
    return dict(made.state(member).tensors)


def largest_difference(left: dict, right: dict) -> float:
    assert left.keys() == right.keys()
    return max(float((left[name] - right[name]).abs().max()) for name in left)


@by_name
def test_a_member_of_a_population_equals_the_same_job_alone(algorithm):
    data = [data_for(algorithm, 0), data_for(algorithm, 1, steps=300)]
    together = population(algorithm, [0, 1, 2, 3], data=data, dtype=torch.float64)
    for member, updates in ((2, 30), (1, 100)):  # one of each dataset, with neighbours on both sides
        together.advance(updates - together.completed)
        alone = population(algorithm, [member], data=[data[member % 2]], dtype=torch.float64)
        alone.advance(updates)
        assert largest_difference(weights(together, member), weights(alone, 0)) < 1e-9


@by_name
def test_in_single_precision_a_member_equals_the_job_alone_to_rounding(algorithm):
    together, alone = population(algorithm, [5, 6]), population(algorithm, [6])
    together.advance(20)
    alone.advance(20)
    # After 20 Adam steps of 3e-4 the parameters have moved by about 6e-3.
    for name in algorithm.acting:
        if name in alone.networks:
            rows = together.networks[name].rows(1)
            assert (
                largest_difference({name: together.networks[name].buffer[rows]}, {name: alone.networks[name].buffer})
                < 1e-4
            )


@by_name
def test_members_may_differ_in_every_float_field(algorithm):
    fields = algorithm.member_fields()
    other = type(algorithm)(**{**algorithm.parameters(), **{name: getattr(algorithm, name) * 0.5 for name in fields}})
    members, data = [Member(algorithm, 0, 0), Member(other, 0, 0)], [data_for(algorithm)]
    together = Population(members, data, 100, dtype=torch.float64)
    together.advance(30)
    for number, member in enumerate(members):
        alone = Population([member], data, 100, dtype=torch.float64)
        alone.advance(30)
        assert largest_difference(weights(together, number), weights(alone, 0)) < 1e-9
    assert largest_difference(weights(together, 0), weights(together, 1)) > 1e-4


@by_name
def test_stop_and_resume_equals_an_uninterrupted_training_bit_for_bit(algorithm):
    """So another training of the same seeds does too, and another seed differs."""
    whole, part = population(algorithm, [0, 1]), population(algorithm, [0, 1])
    whole.advance(40)
    assert largest_difference(weights(whole, 0), weights(whole, 1)) > 1e-3
    expected, done = whole.metrics(), 0
    for stop in (1, 7, 20):
        part.advance(stop - done)
        done = stop
        resumed = population(algorithm, [0, 1])
        for member in range(2):
            resumed.restore(part.state(member), member)
        resumed.advance(40 - stop)
        for member in range(2):
            assert largest_difference(weights(whole, member), weights(resumed, member)) == 0.0
        metrics = resumed.metrics()
        assert expected.keys() == metrics.keys()
        assert all(np.allclose(expected[name], metrics[name], rtol=1e-12) for name in expected)


def test_a_members_state_fits_at_another_place_of_another_population():
    algorithm = TD3BC(**SMALL)
    first = population(algorithm, [0, 1, 2], dtype=torch.float64)
    first.advance(11)
    moved = population(algorithm, [2, 0], dtype=torch.float64)
    moved.restore(first.state(2), 0)
    moved.restore(first.state(0), 1)
    moved.advance(9)
    first.advance(9)
    assert largest_difference(weights(first, 2), weights(moved, 0)) < 1e-9
    assert largest_difference(weights(first, 0), weights(moved, 1)) < 1e-9


def test_chunking_the_updates_changes_nothing():
    whole, chunked = population(IQL(**SMALL), [3]), population(IQL(**SMALL), [3])
    whole.advance(20)
    for _ in range(20):
        chunked.advance(1)
    assert largest_difference(weights(whole, 0), weights(chunked, 0)) == 0.0


def test_a_diverged_member_does_not_disturb_its_neighbour():
    wild = BC(**SMALL, learning_rate=1e30)
    together = Population([Member(wild, 0, 0), Member(BC(**SMALL), 1, 0)], [training_data()], 50, dtype=torch.float64)
    alone = population(BC(**SMALL), [1], dtype=torch.float64)
    together.networks["actor"].buffer[0] = torch.nan
    together.advance(20)
    alone.advance(20)
    metrics = together.metrics()["actor_loss"]
    assert np.isnan(metrics[0])
    assert largest_difference(weights(together, 1), weights(alone, 0)) < 1e-9


# In the others a loss sees what the one before it in the same update did, and an earlier step of that update stays; or
# the first updates train models alone.
@pytest.mark.parametrize(
    "algorithm",
    [a for a in ALGORITHMS if not isinstance(a, (A2PR, AWAC, BCQ, CPQ, LearnedDynamics, SACN, SMORe))],
    ids=lambda algorithm: algorithm.name,
)
def test_a_member_whose_loss_is_not_finite_is_frozen_as_it_was_before(algorithm):
    data = [data_for(algorithm, number) for number in (0, 1)]
    rates = {name: 1e200 for name in algorithm.member_fields() if name.endswith("learning_rate")}
    wild = type(algorithm)(**{**algorithm.parameters(), **rates})
    together = Population([Member(wild, 0, 0), Member(algorithm, 1, 1)], data, 50, dtype=torch.float64)
    states = [together.state()]
    for _ in range(10):
        together.advance(1)
        states.append(together.state())
    frozen_at, other = together.frozen_at
    assert other is None
    assert 0 < frozen_at < 10
    for name, value in together.state().tensors.items():
        # What a pause measures of the data of the next task is no step of a loss, and OER's networks of the model are not compared.
        if name.endswith(("/parameters", "/target")) and not (algorithm.name == "oer" and name.startswith("dynamics_")):
            rows = len(value) // 2
            assert torch.equal(value[:rows], states[frozen_at].tensors[name][:rows])
            assert torch.isfinite(value[:rows]).all()
            assert not torch.equal(value[rows:], states[frozen_at].tensors[name][rows:])
    resumed = Population([Member(wild, 0, 0), Member(algorithm, 1, 1)], data, 50, dtype=torch.float64)
    for member in range(2):
        resumed.restore(together.state(member), member)
    assert resumed.frozen_at == [frozen_at, None]


# -------------------------------------------------------------------- batches


def test_every_member_draws_rows_of_its_own_dataset_only():
    data = [training_data(0, steps=50), training_data(1, steps=70), training_data(2, steps=30)]
    made = population(BC(**SMALL), [0, 1, 2], data=data)
    drawn = np.concatenate([made.batches.draw_indices().numpy() for _ in range(50) if made.advance(1) is None], axis=1)
    for member, (low, high) in enumerate([(0, 50), (50, 120), (120, 150)]):
        assert set(drawn[member]) == set(range(low, high))


def test_weighted_draws_follow_the_weights_and_never_take_a_zero():
    weights_ = np.array([0.0, 1.0, 3.0, 0.0, 6.0, 0.0])
    data = [training_data(0, steps=6, weights=weights_), training_data(1, steps=4)]
    made = population(BC(hidden=(4,), batch_size=4000), [0, 1], data=data)
    drawn = made.batches.draw_indices().numpy()
    counts = np.bincount(drawn[0], minlength=6)
    assert counts[[0, 3, 5]].sum() == 0
    assert np.allclose(counts / counts.sum(), weights_ / weights_.sum(), atol=0.03)
    assert set(drawn[1]) == {6, 7, 8, 9}


def test_rows_hold_the_normalized_transition():
    made, original = training_data(), transitions()
    mean, std = original.observations.mean(0), original.observations.std(0)
    row = 17
    expected = np.concatenate(
        [
            (original.observations[row] - mean) / (std + 1e-3),
            original.actions[row],
            [original.rewards[row]],
            (original.next_observations[row] - mean) / (std + 1e-3),
            [0.0 if original.terminations[row] else 1.0],
        ]
    )
    assert np.allclose(made.rows[row], expected, rtol=1e-12)


def test_actions_come_back_in_the_environments_units():
    data = TrainingData.of(transitions(), ActionScale.of(np.array([-2.0, 0.0]), np.array([2.0, 10.0])), normalize=True)
    made = population(BC(**SMALL), [0], data=[data])
    acted = made.act(np.random.default_rng(0).normal(size=(1, 200, 3)) * 100)
    assert (acted[..., 0] >= -2).all()
    assert (acted[..., 0] <= 2).all()
    assert (acted[..., 1] >= 0).all()
    assert (acted[..., 1] <= 10).all()
    assert acted[..., 1].std() > 0.5


def test_impossible_populations_are_refused():
    with pytest.raises(ConfigError, match="cannot share a population"):
        Population([Member(BC(), 0, 0), Member(IQL(), 0, 0)], [training_data()], 10)
    with pytest.raises(ConfigError, match="unbounded"):
        ActionScale.of(np.array([-np.inf]), np.array([1.0]))
    broken = transitions()
    broken.observations[13, 1] = np.nan
    with pytest.raises(ConfigError, match=r"step 13, column observations\[1\] holds NaN"):
        TrainingData.of(broken, ActionScale.of(-np.ones(2), np.ones(2)), normalize=False)


# -------------------------------------------------------------------- losses, stated again for one member in NumPy


def forward(network, member: int, copy: int, inputs: np.ndarray, weights: str) -> np.ndarray:
    source = network.target_buffer if weights == "target" else network.buffer
    row = source[member * network.spec.ensemble + copy].numpy()
    start, hidden = 0, inputs
    for index, (rows, columns) in enumerate(network.spec.layers):
        matrix = row[start : start + rows * columns].reshape(rows, columns)
        start += rows * columns
        hidden = hidden @ matrix + row[start : start + columns]
        start += columns
        if index < len(network.spec.layers) - 1:
            hidden = np.maximum(hidden, 0.0)
            if network.spec.layer_norm:
                scale, shift = row[start : start + columns], row[start + columns : start + 2 * columns]
                start += 2 * columns
                mean, variance = hidden.mean(1, keepdims=True), hidden.var(1, keepdims=True)
                hidden = (hidden - mean) / np.sqrt(variance + 1e-5) * scale + shift
    return np.tanh(hidden) if network.spec.output == "tanh" else hidden


def one_batch(made: Population, member: int):
    batch = made.batches.batches()["batch"]
    return [
        getattr(batch, name)[member].numpy()
        for name in ("observations", "actions", "rewards", "next_observations", "bootstraps")
    ]


def setting_of(made: Population):
    from assay.baselines.algorithms.algorithm import Setting

    return Setting(made.networks, made.batches.batches(), made.hyperparameters, made.draws)


def moved_apart(algorithm, seeds=(0, 1)) -> Population:
    """A population whose target networks differ from the learned ones."""
    made = population(algorithm, seeds, dtype=torch.float64)
    made.advance(10)
    for network in made.networks.values():
        network.buffer += 0.05 * made.draws.normal(
            f"apart/{network.name}", network.spec.ensemble * network.spec.size
        ).view(network.buffer.shape)
    return made


def test_bc_loss_is_the_mean_squared_error():
    from assay.baselines.algorithms.imitation import bc

    made = moved_apart(BC(**SMALL))
    loss = bc.actor_loss(setting_of(made)).of["actor"]
    for member in range(2):
        s, a, *_ = one_batch(made, member)
        assert np.isclose(
            loss[member].item(), np.mean((forward(made.networks["actor"], member, 0, s, "learned") - a) ** 2)
        )


def test_td3_bc_losses_are_the_papers():
    from assay.baselines.algorithms.actor_critic import td3_bc

    made = moved_apart(TD3BC(**SMALL, policy_noise=0.3, noise_clip=0.4))
    setting = setting_of(made)
    critic, actor = td3_bc.critic_loss(setting).of["critic"], td3_bc.actor_loss(setting).of["actor"]
    noise = np.clip(made.draws.normal("target policy smoothing", 32, 2).numpy() * 0.3, -0.4, 0.4)
    for member in range(2):
        s, a, r, s2, bootstrap = one_batch(made, member)
        a2 = np.clip(forward(made.networks["actor"], member, 0, s2, "target") + noise[member], -1, 1)
        q2 = [forward(made.networks["critic"], member, k, np.hstack([s2, a2]), "target")[:, 0] for k in (0, 1)]
        y = r + 0.99 * bootstrap * np.minimum(*q2)
        q = [forward(made.networks["critic"], member, k, np.hstack([s, a]), "learned")[:, 0] for k in (0, 1)]
        assert np.isclose(critic[member].item(), np.mean((q[0] - y) ** 2) + np.mean((q[1] - y) ** 2))
        pi = forward(made.networks["actor"], member, 0, s, "learned")
        q_pi = forward(made.networks["critic"], member, 0, np.hstack([s, pi]), "learned")[:, 0]
        expected = -2.5 / np.mean(np.abs(q_pi)) * np.mean(q_pi) + np.mean((pi - a) ** 2)
        assert np.isclose(actor[member].item(), expected)


def test_iql_losses_are_the_papers():
    from scipy.stats import norm

    from assay.baselines.algorithms.actor_critic import iql

    made = moved_apart(IQL(**SMALL, expectile=0.8, temperature=2.0))
    found = iql.losses(setting_of(made)).of
    for member in range(2):
        s, a, r, s2, bootstrap = one_batch(made, member)
        critic, value = made.networks["critic"], made.networks["value"]
        target = np.minimum(*[forward(critic, member, k, np.hstack([s, a]), "target")[:, 0] for k in (0, 1)])
        v, v2 = (forward(value, member, 0, x, "learned")[:, 0] for x in (s, s2))
        u = target - v
        assert np.isclose(found["value"][member].item(), np.mean(np.abs(0.8 - (u < 0)) * u**2))
        y = r + 0.99 * bootstrap * v2
        q = [forward(critic, member, k, np.hstack([s, a]), "learned")[:, 0] for k in (0, 1)]
        assert np.isclose(found["critic"][member].item(), np.mean([(q[0] - y) ** 2, (q[1] - y) ** 2]))
        log_std = made.networks["actor"].buffer[member, -2:].numpy()
        mean = forward(made.networks["actor"], member, 0, s, "learned")
        log_probability = norm.logpdf(a, mean, np.exp(log_std)).sum(1)
        expected = -np.mean(np.minimum(np.exp(2.0 * u), 100.0) * log_probability)
        assert np.isclose(found["actor"][member].item(), expected)


def test_iql_with_a_deterministic_policy_weighs_squared_distances():
    from assay.baselines.algorithms.actor_critic import iql

    made = moved_apart(IQL(**SMALL, temperature=2.0, deterministic=True))
    assert made.networks["actor"].spec.state_independent == 0  # no standard deviation
    found = iql.losses(setting_of(made)).of
    for member in range(2):
        s, a, *_ = one_batch(made, member)
        critic = made.networks["critic"]
        target = np.minimum(*[forward(critic, member, k, np.hstack([s, a]), "target")[:, 0] for k in (0, 1)])
        u = target - forward(made.networks["value"], member, 0, s, "learned")[:, 0]
        action = forward(made.networks["actor"], member, 0, s, "learned")
        expected = np.mean(np.minimum(np.exp(2.0 * u), 100.0) * np.square(action - a).sum(1))
        assert np.isclose(found["actor"][member].item(), expected)


def test_a_deterministic_policy_of_iql_is_of_continuous_actions():
    with pytest.raises(ConfigError, match="deterministic=True is a policy of continuous actions"):
        IQL(deterministic=True).networks(Shapes.flat(3, 2, True))


def test_an_update_is_the_published_adam_step_with_the_members_learning_rate():
    made = population(BC(**SMALL, learning_rate=0.01), [0], dtype=torch.float64)
    reference = torch.nn.Parameter(made.networks["actor"].buffer.clone())
    optimizer = torch.optim.Adam([reference], lr=0.01)
    for _ in range(5):
        before = made.networks["actor"].buffer.clone()
        assert torch.allclose(before, reference.detach(), atol=1e-12)
        made.advance(1)
        reference.grad = made.networks["actor"].gradient.clone()
        optimizer.step()


def test_targets_follow_at_their_rate_and_the_delayed_actor_every_second_update():
    made = population(TD3BC(**SMALL, target_update_rate=0.25), [0], dtype=torch.float64)
    critic, actor = made.networks["critic"], made.networks["actor"]
    first_target, first_actor = critic.target_buffer.clone(), actor.buffer.clone()
    made.advance(1)
    assert torch.equal(critic.target_buffer, first_target)
    assert torch.equal(actor.buffer, first_actor)
    made.advance(1)
    assert torch.allclose(critic.target_buffer, 0.75 * first_target + 0.25 * critic.buffer, atol=1e-12)
    assert not torch.equal(actor.buffer, first_actor)


def test_the_cosine_schedule_ends_at_zero():
    made = population(IQL(**SMALL), [0], steps=10)
    rates = []
    for _ in range(11):
        rates.append(made._learning_rate("actor").item())
        made.advance(1)
    expected = 3e-4 * 0.5 * (1 + np.cos(np.pi * np.arange(11) / 10))
    assert np.allclose(rates, expected, atol=1e-10)
    assert made._learning_rate("critic").item() == pytest.approx(3e-4)


# Of discrete actions one is compiled, since Inductor takes half a minute for each; of tasks in order the one without a model.
COMPILED = [each for each in ALGORITHMS if each.continuous_actions or each.name == "discrete_cql"]
INDUCTOR = [each for each in COMPILED if getattr(each, "selection", "random") == "random"]


@pytest.mark.slow  # ten to thirty seconds each
@pytest.mark.parametrize(
    ("algorithm", "backend", "tolerance"),
    [(each, "aot_eager", 1e-12) for each in ALGORITHMS] + [(each, "inductor", 1e-6) for each in INDUCTOR],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "name", ""),
)
def test_compiled_updates_equal_eager_ones(algorithm, backend, tolerance):
    """Inductor has logarithms and cosines of its own, in float32, which is what noise is made of."""
    compiled = population(algorithm, [0, 1], dtype=torch.float64, compile=backend)
    eager = population(algorithm, [0, 1], dtype=torch.float64)
    compiled.advance(9)
    eager.advance(9)
    assert largest_difference(dict(compiled.state().tensors), dict(eager.state().tensors)) < tolerance
    expected, metrics = eager.metrics(), compiled.metrics()
    assert list(metrics) == list(expected)
    assert all(np.allclose(metrics[name], expected[name], rtol=tolerance, atol=tolerance) for name in expected)


@by_name
def test_bfloat16_activations_change_the_rounding_only(algorithm):
    half, full = population(algorithm, [0, 1], bf16=True), population(algorithm, [0, 1])
    half.advance(4)
    full.advance(4)
    assert all(value.dtype == torch.float32 for value in half.state().tensors.values() if value.is_floating_point())
    expected, metrics = full.metrics(), half.metrics()
    assert list(metrics) == list(expected)
    assert any((metrics[name] != expected[name]).any() for name in expected)
    for name, values in expected.items():
        assert np.allclose(metrics[name], values, rtol=0.05, atol=0.05), name
