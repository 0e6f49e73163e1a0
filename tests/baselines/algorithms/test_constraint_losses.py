"""PRDC, A2PR and ODICE: each loss beside its equation in NumPy, for members that differ in every hyperparameter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from assay.baselines import A2PR, ODICE, PRDC, TD3BC
from assay.baselines.algorithms.actor_critic import a2pr, odice, prdc
from assay.baselines.algorithms.algorithm import Setting
from assay.baselines.algorithms.presets import presets_of
from assay.baselines.engine.population import Member, Population
from tests.baselines.engine.test_population import forward
from tests.baselines.problems import pendulum_like, population, training_data

SMALL = {"hidden": (16, 16), "batch_size": 32}
AUTOENCODER = {**SMALL, "critic_hidden": (16, 16), "autoencoder_hidden": (12, 12)}
MEMBER = 1  # the one that is stated again; member 0 has the defaults


def made(algorithm, **different) -> tuple[Population, Setting]:
    """Two members on two datasets, trained a little, whose targets are no longer the learned networks."""
    other = type(algorithm)(**{**algorithm.parameters(), "discount": 0.9, **different})
    data = [training_data(0), training_data(1, steps=300)]
    trained = Population([Member(algorithm, 0, 0), Member(other, 7, 1)], data, 100, dtype=torch.float64)
    trained.advance(5)
    for network in trained.networks.values():
        size = network.spec.ensemble * network.spec.size
        network.buffer += 0.1 * trained.draws.normal(f"apart/{network.name}", size).view(network.buffer.shape)
    batches = trained.batches.batches()
    return trained, Setting(trained.networks, batches, trained.hyperparameters, trained.draws, trained.table)


def batch_of(setting: Setting) -> list[np.ndarray]:
    names = ("observations", "actions", "rewards", "next_observations", "bootstraps")
    return [getattr(setting.batch, name)[MEMBER].numpy() for name in names]


def of(setting: Setting, network: str, *inputs: np.ndarray, copy: int = 0, weights: str = "learned") -> np.ndarray:
    return forward(setting.networks[network], MEMBER, copy, np.hstack(inputs), weights)


# -------------------------------------------------------------------- PRDC


def test_prdc_clones_the_nearest_action_of_the_members_own_data():
    trained, setting = made(PRDC(**SMALL), alpha=7.0, beta=0.5)
    s, *_ = batch_of(setting)
    pi = of(setting, "actor", s)
    own = trained.data[1].rows  # (300, 3 + 2 + ...)
    distances = (0.5**2 * (own[None, :, :3] - s[:, None]) ** 2).sum(-1) + ((own[None, :, 3:5] - pi[:, None]) ** 2).sum(
        -1
    )
    nearest = own[distances.argmin(1), 3:5]
    q = of(setting, "critic", s, pi)[:, 0]
    expected = -7.0 / np.mean(np.abs(q)) * np.mean(q) + np.mean((pi - nearest) ** 2)
    found = prdc.actor_loss(setting)
    assert np.isclose(found.of["actor"][MEMBER].item(), expected)
    assert np.isclose(found.metrics["constraint_loss"][MEMBER].item(), np.mean((pi - nearest) ** 2))


def test_no_gradient_of_prdc_passes_the_neighbour():
    _, setting = made(PRDC(**SMALL))
    actor = setting.networks["actor"]
    (found,) = torch.autograd.grad(prdc.actor_loss(setting).of["actor"].sum(), actor.parameters[-1])
    constant = prdc.nearest_actions(setting, actor(setting.batch.observations))
    assert not constant.requires_grad
    pi = actor(setting.batch.observations)
    q = setting.networks["critic"](torch.cat([setting.batch.observations, pi], -1), weights="frozen", first=True)[
        ..., 0
    ]
    value = -(setting.hyperparameters.alpha[:, 0] / q.detach().abs().mean(-1)) * q.mean(-1)
    stated = value + (pi - constant).square().mean((1, 2))
    (expected,) = torch.autograd.grad(stated.sum(), actor.parameters[-1])
    assert torch.allclose(found, expected)


def test_prdc_with_a_large_beta_is_td3_bc():
    # Every state is its own nearest one, as long as no state comes twice.
    constrained = population(PRDC(**SMALL, beta=1e6), [0], dtype=torch.float64)
    cloning = population(TD3BC(**SMALL), [0], dtype=torch.float64)
    constrained.advance(20)
    cloning.advance(20)
    difference = (constrained.networks["actor"].buffer - cloning.networks["actor"].buffer).abs().max()
    assert difference < 1e-12


def test_rewards_are_scaled_and_shifted_in_training_alone():
    dataset = pendulum_like()
    plain, changed = PRDC(), PRDC(reward_factor=10.0, reward_shift=-1.0)
    rewards = {}
    for algorithm in (plain, changed):
        data = algorithm.training_data(dataset, training_data().action_scale.of(-2 * np.ones(1), 2 * np.ones(1)))
        rewards[algorithm] = data.rows[:, 4]
        assert np.isclose(data.best_return, np.add.reduceat(dataset.rewards, dataset.episode_starts).max(), rtol=1e-6)
    assert np.allclose(rewards[changed], 10.0 * rewards[plain] - 1.0, rtol=1e-5)
    assert plain.data_parameters() != changed.data_parameters()


# -------------------------------------------------------------------- A2PR


def reconstructed(setting: Setting, s: np.ndarray, a: np.ndarray, purpose: str):
    noise = setting.draws.normal(purpose, len(a), 4)[MEMBER].numpy()
    outputs = of(setting, "encoder", s, a)
    mean, log_std = outputs[:, :4], np.clip(outputs[:, 4:], -4, 15)
    return of(setting, "decoder", s, mean + np.exp(log_std) * noise), mean, log_std


def test_a2pr_autoencoder_learns_from_actions_of_positive_advantage():
    _, setting = made(A2PR(**AUTOENCODER), reconstruction_weight=1.5)
    s, a, *_ = batch_of(setting)
    found, mean, log_std = reconstructed(setting, s, a, "latent noise of the data")
    better = of(setting, "critic", s, a)[:, 0] > of(setting, "value", s)[:, 0]
    assert 0 < better.sum() < len(better)
    divergence = -0.5 * np.mean(1 + np.log(np.exp(log_std) ** 2) - mean**2 - np.exp(log_std) ** 2)
    expected = np.mean(1.5 * better[:, None] * (found - a) ** 2) + 0.5 * divergence
    losses = a2pr.autoencoder_loss(setting).of
    assert np.isclose(losses["encoder"][MEMBER].item(), expected)
    assert losses["encoder"] is losses["decoder"]


def test_a2pr_clones_the_better_of_two_actions_where_one_beats_the_value():
    _, setting = made(A2PR(**AUTOENCODER), alpha=4.0, mask=0.4)
    s, a, *_ = batch_of(setting)
    pi = of(setting, "actor", s)
    generated, _, _ = reconstructed(setting, s, pi, "latent noise of the policy")
    v = of(setting, "value", s)[:, 0]
    of_generated, of_data = (of(setting, "critic", s, x)[:, 0] - v for x in (generated, a))
    cloned = np.where((of_generated >= of_data)[:, None], generated, a)
    # 0 or 1: the sum of two booleans is their "or" in PyTorch, not a count
    counts = np.maximum(of_generated >= 0, of_data > 0).astype(float)
    assert 0 < counts.sum() < len(counts)
    assert ((of_generated >= 0) & (of_data > 0)).any()
    q = of(setting, "critic", s, pi)[:, 0]
    expected = -4.0 / np.mean(np.abs(q)) * np.mean(q) + np.mean(0.4 * counts[:, None] * (pi - cloned) ** 2)
    for detached in (True, False):
        assert np.isclose(a2pr.actor_loss(setting, detached).of["actor"][MEMBER].item(), expected)


def test_only_the_released_a2pr_passes_gradients_through_the_cloned_action():
    _, setting = made(A2PR(**AUTOENCODER))
    actor = setting.networks["actor"]
    pi = actor(setting.batch.observations)
    assert not a2pr.action_to_clone(setting, pi.detach())[0].requires_grad
    assert a2pr.action_to_clone(setting, pi)[0].requires_grad
    paper, released = (
        torch.autograd.grad(a2pr.actor_loss(setting, detached).of["actor"].sum(), actor.parameters[-1])[0]
        for detached in (True, False)
    )
    assert (paper - released).abs().max() > 1e-6


def test_a2pr_value_regresses_the_smaller_of_two_targets():
    _, setting = made(A2PR(**AUTOENCODER, policy_noise=0.3, noise_clip=0.4))
    s, _, r, s2, bootstrap = batch_of(setting)
    noise = np.clip(setting.draws.normal("target policy smoothing", 32, 2)[MEMBER].numpy() * 0.3, -0.4, 0.4)
    a2 = np.clip(of(setting, "actor", s2, weights="target") + noise, -1, 1)
    targets = [
        r + 0.9 * bootstrap * np.minimum(*[of(setting, "critic", s2, a2, copy=k, weights=w)[:, 0] for k in (0, 1)])
        for w in ("learned", "target")
    ]
    assert (targets[0] < targets[1]).any()
    assert (targets[0] > targets[1]).any()
    expected = np.mean((of(setting, "value", s)[:, 0] - np.minimum(*targets)) ** 2)
    assert np.isclose(a2pr.value_loss(setting).of["value"][MEMBER].item(), expected)


def test_the_masks_of_a2pr_see_the_value_before_its_step_and_its_targets_follow_last(monkeypatch):
    seen = []
    original = a2pr.value_loss

    def watched(setting):
        seen.append({name: network.buffer.clone() for name, network in setting.networks.items()})
        seen[-1]["critic target"] = setting.networks["critic"].target_buffer.clone()
        return original(setting)

    monkeypatch.setattr(a2pr, "value_loss", watched)
    trained = population(A2PR(**AUTOENCODER), [0], dtype=torch.float64)
    trained.advance(1)
    before = {name: network.buffer.clone() for name, network in trained.networks.items()}
    slow = trained.networks["critic"].target_buffer.clone()
    trained.advance(1)
    during = seen[-1]
    assert torch.equal(during["value"], before["value"])  # V steps last
    for name in ("critic", "encoder", "decoder", "actor"):
        assert not torch.equal(during[name], before[name])
    assert torch.equal(during["critic target"], slow)
    assert torch.allclose(trained.networks["critic"].target_buffer, slow.lerp(trained.networks["critic"].buffer, 0.005))


# -------------------------------------------------------------------- ODICE


def normed(network, copy: int, inputs: np.ndarray, weights: str) -> np.ndarray:
    """Values (n,) of a perceptron with layer norm before its activations."""
    source = network.target_buffer if weights == "target" else network.buffer
    row, start, hidden = source[MEMBER * network.spec.ensemble + copy].numpy(), 0, inputs
    for index, (rows, columns) in enumerate(network.spec.layers):
        hidden = hidden @ row[start : start + rows * columns].reshape(rows, columns)
        start += rows * columns
        hidden = hidden + row[start : start + columns]
        start += columns
        if index < len(network.spec.layers) - 1:
            scale, shift = row[start : start + columns], row[start + columns : start + 2 * columns]
            start += 2 * columns
            hidden = (hidden - hidden.mean(1, keepdims=True)) / np.sqrt(hidden.var(1, keepdims=True) + 1e-5)
            hidden = np.maximum(hidden * scale + shift, 0.0)
    return hidden[:, 0]


@pytest.mark.parametrize(
    ("conjugate", "f"),
    [
        (odice.pearson_conjugate, lambda w: (w - 1.0) ** 2),
        (odice.reverse_kl_conjugate, lambda w: w * np.log(w) if w > 0 else 0.0),
    ],
)
def test_the_conjugates_are_the_largest_of_x_w_minus_f_of_w_and_the_ratio_is_where(conjugate, f):
    for x in (-5.0, -2.0, -0.5, 0.0, 1.3, 4.0):
        best = minimize_scalar(
            lambda w, x=x: f(w) - x * w, bounds=(0.0, 100.0), method="bounded", options={"xatol": 1e-9}
        )
        assert conjugate(torch.tensor(x, dtype=torch.float64)).item() == pytest.approx(-best.fun, abs=1e-5)
        if conjugate is odice.pearson_conjugate:
            assert odice.visit_ratio(torch.tensor(x)).item() == pytest.approx(best.x, abs=1e-4)


@pytest.mark.parametrize("variant", ["released", "paper"])
@pytest.mark.parametrize("gradient", ["orthogonal", "true", "semi"])
def test_odice_losses_are_the_papers(gradient, variant):
    algorithm = ODICE(**SMALL, actor_hidden=(16,), gradient=gradient, variant=variant)
    _, setting = made(algorithm, dual_weight=0.7, backward_weight=0.5, actor_decay=0.01)
    s, a, r, s2, bootstrap = batch_of(setting)
    value = setting.networks["value"]
    v, v2, slow, slow2 = (
        np.stack([normed(value, k, x, weights) for k in (0, 1)]) for weights in ("learned", "target") for x in (s, s2)
    )
    found = algorithm.phases()[0].losses(setting)

    def conjugate(x):
        w = np.maximum(x / 2 + 1, 0)
        return x * w - (w - 1) ** 2

    forward_residuals = r + 0.9 * bootstrap * (v2 if gradient == "true" else slow2.min(0)) - v
    anchor, dual = 0.3 * v.mean(), 0.7 * conjugate(forward_residuals).mean()
    backward = 0.7 * 0.5 * conjugate(r + 0.9 * bootstrap * v2 - slow.min(0)).mean()
    if gradient == "orthogonal":
        stated = [anchor, dual, backward]
        assert np.allclose([loss[MEMBER].item() for loss in found.of["value"].losses], stated)
    else:
        assert np.isclose(found.of["value"][MEMBER].item(), anchor + dual)

    x = forward_residuals if variant == "released" else forward_residuals / 2 + 1
    weights = np.minimum(np.maximum(x, 0), 100)
    actor = setting.networks["actor"]
    log_std = actor.buffer[MEMBER, -2:].numpy()
    log_probability = norm.logpdf(a, of(setting, "actor", s), np.exp(log_std)).sum(1)
    decay = 0.5 * 0.01 * np.sum(actor.buffer[MEMBER].numpy() ** 2)
    assert np.isclose(found.of["actor"][MEMBER].item(), -np.mean(weights * log_probability) + decay)


def test_the_backward_part_of_every_member_is_orthogonal_to_its_own_forward_gradient():
    data = [training_data(0), training_data(1)]
    found = {}
    for order in ((0, 1), (1, 0)):
        members = [Member(ODICE(**SMALL, actor_hidden=(16,)), 3, number) for number in order]
        trained = Population(members, data, 100, dtype=torch.float64)
        setting = Setting(trained.networks, trained.batches.batches(), trained.hyperparameters, trained.draws)
        combined = members[0].algorithm.phases()[0].losses(setting).of["value"]
        parts = []

        def keep(gradients, parts=parts):
            parts.extend(gradients)
            return odice.with_orthogonal_part(gradients)

        network = trained.networks["value"]
        network.differentiate_and_combine([loss.sum() for loss in combined.losses], keep)
        anchor, ahead, behind = parts  # [P, n], both value networks of a member in one row
        total = network._gradient_rows.view(2, -1)
        kept = total - anchor - ahead
        cosine = (kept * ahead).sum(1) / (kept.norm(dim=1) * ahead.norm(dim=1))
        assert cosine.abs().max() < 1e-10
        assert (((behind * ahead).sum(1) / (behind.norm(dim=1) * ahead.norm(dim=1))).abs() > 0.05).all()
        found[order] = total
    assert torch.allclose(found[0, 1], found[1, 0].flip(0), atol=1e-12)  # swapped data, swapped gradients


def test_the_gradient_is_finite_where_the_forward_one_is_zero():
    zero, backward = torch.zeros(1, 4), torch.ones(1, 4)
    assert torch.equal(odice.with_orthogonal_part([zero, zero, backward]), backward)


def test_odice_scales_rewards_by_the_range_of_the_returns():
    dataset, scale = pendulum_like(), training_data().action_scale.of(-2 * np.ones(1), 2 * np.ones(1))
    returns = dataset.returns
    found = ODICE(return_range=1000.0, reward_factor=2.0, reward_shift=-3.0).training_data(dataset, scale).rows[:, 4]
    assert np.allclose(found, 2000.0 / (returns.max() - returns.min()) * dataset.rewards - 3.0, rtol=1e-4)
    same = dataset.replace({"rewards": np.ones(dataset.total_steps)})
    with pytest.raises(Exception, match="set return_range=0"):
        ODICE().training_data(same, scale)
    assert np.allclose(ODICE(return_range=0.0).training_data(same, scale).rows[:, 4], 1.0)


def test_odice_acts_by_its_clipped_mean():
    from assay.baselines.engine.acting import act_once

    algorithm = ODICE(**SMALL, actor_hidden=(16,))
    _, setting = made(algorithm)
    setting.networks["actor"].buffer[:, -4:-2] += 2.0  # the biases of the mean
    mean = of(setting, "actor", batch_of(setting)[0])
    assert (mean > 1).any()
    acted = act_once(algorithm, setting.networks, setting.batch.observations)
    assert np.allclose(acted[MEMBER].numpy(), np.clip(mean, -1, 1))


# -------------------------------------------------------------------- presets


def test_presets_are_those_of_the_repositories():
    assert presets_of(PRDC).find("halfcheetah") == {"alpha": 40.0, "beta": 2.0}
    assert presets_of(PRDC).find("antmaze")["reward_factor"] == 10_000.0
    expected = {"alpha": 2.5, "mask": 0.4, "reconstruction_weight": 1.0, "discount": 0.995}
    assert presets_of(A2PR).find("hopper", "medium") == expected
    assert presets_of(ODICE).find("antmaze", "large-play")["values_in_parallel"] == 1
    for algorithm in (PRDC, A2PR, ODICE):
        algorithm(**algorithm.values_for(pendulum_like()))
