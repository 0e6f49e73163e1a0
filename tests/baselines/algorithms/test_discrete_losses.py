"""The discrete algorithms: each loss beside its equation in NumPy, for members that differ in every hyperparameter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp, softmax

from assay.baselines import BVE, CRR, DQN, MCE, QRDQN, REM, DiscreteBC, DiscreteBCQ, DiscreteCQL, DiscreteIQL, Job
from assay.baselines.algorithms.algorithm import Setting
from assay.baselines.algorithms.discrete import bcq, crr, qrdqn
from assay.baselines.engine.population import Member, Population
from assay.baselines.engine.randomness import Draws
from assay.datasets import Dataset
from assay.datasets.info import DatasetInfo
from assay.datasets.spaces import Discrete
from tests.baselines.engine.test_population import forward
from tests.baselines.problems import discrete_data

ACTIONS = 3
MEMBER = 1  # the one that is stated again; member 0 has the defaults
SMALL = {"hidden": (16, 16), "batch_size": 64, "activation": "relu", "learning_rate": 1e-3}
COPIES = {**SMALL, "target_update_every": 1_000}
ROWS = np.arange(64)


def made(algorithm, **different) -> Setting:
    """Two members, trained a little, whose target copies and networks have moved apart."""
    changes = {"discount": 0.9} if hasattr(algorithm, "discount") else {}
    other = type(algorithm)(**{**algorithm.parameters(), **changes, **different})
    data = [discrete_data(seed, extra=algorithm.extra_columns) for seed in (0, 1)]
    trained = Population([Member(algorithm, 0, 0), Member(other, 7, 1)], data, 100, dtype=torch.float64)
    trained.advance(5)
    for network in trained.networks.values():
        size = network.spec.ensemble * network.spec.size
        network.buffer += 0.3 * trained.draws.normal(f"apart/{network.name}", size).view(network.buffer.shape)
    return Setting(trained.networks, trained.batches.batches(), trained.hyperparameters, trained.draws)


def loss_of(algorithm, setting: Setting, network: str = "critic") -> float:
    (phase,) = algorithm.phases()
    return phase.losses(setting).of[network][MEMBER].item()


def batch_of(setting: Setting) -> tuple[np.ndarray, ...]:
    """States, numbers of the actions, rewards, next states and bootstraps."""
    batch = setting.batch
    parts = [batch[name][MEMBER].numpy() for name in ("observations", "rewards", "next_observations", "bootstraps")]
    return parts[0], batch.actions[MEMBER].numpy().argmax(1), *parts[1:]


def say(setting: Setting, states: np.ndarray, weights: str = "learned", name: str = "critic", copy: int = 0):
    return forward(setting.networks[name], MEMBER, copy, states, weights)


def huber(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < 1, x**2 / 2, np.abs(x) - 0.5)


@pytest.mark.parametrize("double", [True, False])
def test_dqn_lets_the_learned_critic_choose_what_its_copy_values(double):
    algorithm = DQN(**COPIES, double=double)
    setting = made(algorithm)
    s, a, r, s2, bootstrap = batch_of(setting)
    later = say(setting, s2, "target")
    best = (say(setting, s2) if double else later).argmax(1)
    y = r + 0.9 * bootstrap * later[ROWS, best]
    assert loss_of(algorithm, setting) == pytest.approx(huber(say(setting, s)[ROWS, a] - y).mean(), rel=1e-9)
    assert (say(setting, s2).argmax(1) != later.argmax(1)).any()  # so that the two differ


def test_cql_adds_the_gap_between_all_actions_and_the_one_taken():
    algorithm = DiscreteCQL(**COPIES, alpha=0.1)
    setting = made(algorithm, alpha=2.0)
    s, a, r, s2, bootstrap = batch_of(setting)
    y = r + 0.9 * bootstrap * say(setting, s2, "target")[ROWS, say(setting, s2).argmax(1)]
    q = say(setting, s)
    expected = huber(q[ROWS, a] - y).mean() + 2.0 * (logsumexp(q, 1) - q[ROWS, a]).mean()
    assert loss_of(algorithm, setting) == pytest.approx(expected, rel=1e-9)


def test_bve_bootstraps_on_the_next_action_of_the_data_and_leaves_out_steps_without_one():
    algorithm = BVE(**SMALL)
    setting = made(algorithm)
    s, a, r, s2, bootstrap = batch_of(setting)
    next_action = setting.batch["next_actions"][MEMBER].numpy()
    known = setting.batch["has_next_actions"][MEMBER].numpy() > 0
    y = r + 0.9 * bootstrap * say(setting, s2)[ROWS, next_action.argmax(1)]
    counted = known | (bootstrap == 0)
    errors = huber(say(setting, s)[ROWS, a] - y)[counted]
    assert loss_of(algorithm, setting) == pytest.approx(errors.mean(), rel=1e-9)
    # Nothing that a row without a next action holds reaches the loss.
    batch = setting.batch
    cut = {**batch.columns, "has_next_actions": torch.zeros_like(batch.rewards)}
    moved = {**cut, "rewards": batch.rewards + 100.0 * batch.bootstraps}
    losses = [
        algorithm.phases()[0].losses(
            Setting(setting.networks, {"batch": type(batch)(columns)}, setting.hyperparameters, setting.draws)
        )
        for columns in (cut, moved)
    ]
    assert torch.equal(losses[0].of["critic"], losses[1].of["critic"])


def test_mce_regresses_the_discounted_rewards_to_the_end_of_the_episode():
    algorithm = MCE(**SMALL)
    setting = made(algorithm)
    s, a, *_ = batch_of(setting)
    returns = setting.batch["returns_to_go"][MEMBER].numpy()
    assert loss_of(algorithm, setting) == pytest.approx(huber(say(setting, s)[ROWS, a] - returns).mean(), rel=1e-9)


@pytest.mark.parametrize("discount", [0.0, 0.5, 1.0])
def test_the_returns_of_mce_are_sums_within_an_episode(discount):
    generator = np.random.default_rng(0)
    lengths = np.array([3, 1, 7, 2])
    rewards = generator.normal(size=lengths.sum()).astype(np.float32)
    ends = np.cumsum(lengths)
    expected = [
        sum(discount**k * float(reward) for k, reward in enumerate(rewards[row:end]))
        for start, end in zip(ends - lengths, ends)
        for row in range(start, end)
    ]
    dataset = Dataset.from_arrays(
        observations=generator.normal(size=(lengths.sum() + 4, 2)).astype(np.float32),
        actions=generator.integers(0, 2, lengths.sum()),
        rewards=rewards,
        terminations=np.isin(np.arange(lengths.sum()), ends[:2] - 1),
        truncations=np.isin(np.arange(lengths.sum()), ends[2:] - 1),
        info=DatasetInfo(action_space=Discrete(2)),
    )
    job = Job(MCE(discount=discount), dataset)
    data = job.algorithm.training_data(dataset, job.action_scale)
    assert data.columns[-1] == ("returns_to_go", 1)
    assert np.allclose(data.rows[:, -1], expected, atol=1e-5)


def test_members_of_mce_with_other_discounts_learn_other_returns():
    assert MCE(discount=0.5).data_parameters() != MCE(discount=0.6).data_parameters()


# -------------------------------------------------------------------- QR-DQN


@pytest.mark.parametrize("double", [True, False])
def test_qrdqn_is_quantile_regression_at_the_midpoints(double):
    algorithm = QRDQN(**COPIES, quantiles=5, double=double)
    setting = made(algorithm)
    s, a, r, s2, bootstrap = batch_of(setting)
    later = say(setting, s2, "target").reshape(64, ACTIONS, 5)
    choosing = say(setting, s2).reshape(64, ACTIONS, 5) if double else later
    targets = r[:, None] + 0.9 * bootstrap[:, None] * later[ROWS, choosing.mean(2).argmax(1)]
    found = say(setting, s).reshape(64, ACTIONS, 5)[ROWS, a]

    def regression(levels):
        u = targets[:, None, :] - found[:, :, None]  # [row, quantile, target]
        return (np.abs(np.array(levels)[:, None] - (u < 0)) * huber(u)).mean(2).sum(1).mean()

    assert loss_of(algorithm, setting) == pytest.approx(regression([0.1, 0.3, 0.5, 0.7, 0.9]), rel=1e-9)
    assert abs(regression([0.2, 0.4, 0.6, 0.8, 1.0]) / regression([0.1, 0.3, 0.5, 0.7, 0.9]) - 1) > 1e-3  # as released


def test_the_quantiles_that_minimize_the_loss_are_those_at_the_midpoints_and_keep_the_mean():
    """On targets that are far apart the Huber loss is the quantile loss; at levels i / N the last quantile would be the maximum."""
    targets = torch.arange(1_000, dtype=torch.float64) * 1_000.0
    quantiles = torch.full((4,), 4e5, dtype=torch.float64, requires_grad=True)
    best = []
    for place in range(4):

        def loss_at(value: float, place: int = place) -> float:
            moved = quantiles.detach().clone()
            moved[place] = value
            return float(qrdqn.quantile_huber(moved, targets))

        best.append(minimize_scalar(loss_at, bounds=(0, 1e6), method="bounded", options={"xatol": 1.0}).x)
    assert np.allclose(best, [125_000, 375_000, 625_000, 875_000], atol=1_500)
    assert np.mean(best) == pytest.approx(targets.mean().item(), rel=0.01)


# -------------------------------------------------------------------- REM


@pytest.mark.parametrize("double", [True, False])
def test_rem_shares_one_mixture_between_value_choice_and_target(double):
    algorithm = REM(**COPIES, heads=4, double=double)
    setting = made(algorithm)
    s, a, r, s2, bootstrap = batch_of(setting)
    shares = setting.draws.uniform("mixture of the heads", 4)[MEMBER].numpy()
    mixture = shares / shares.sum()

    def mixed(states, weights="learned", mixture=mixture):
        return say(setting, states, weights).reshape(64, ACTIONS, 4) @ mixture

    def expected(*others):
        later = mixed(s2, "target", *others)
        y = r + 0.9 * bootstrap * later[ROWS, (mixed(s2) if double else later).argmax(1)]
        return huber(mixed(s)[ROWS, a] - y).mean()

    assert loss_of(algorithm, setting) == pytest.approx(expected(), rel=1e-9)
    assert abs(expected(mixture[::-1]) / expected() - 1) > 1e-3  # another mixture in the target, as released


def test_heads_that_agree_make_rem_double_q_learning():
    algorithm, reference = REM(**COPIES, heads=4), DQN(**COPIES)
    mixed, plain = made(algorithm), made(reference)
    for buffer in ("buffer", "target_buffer"):
        wide, narrow = (getattr(each.networks["critic"], buffer) for each in (mixed, plain))
        shared = 3 * 16 + 16 + 16 * 16 + 16
        wide[:, :shared] = narrow[:, :shared]
        # [rows, actions] -> [rows, actions, heads], all heads alike
        wide[:, shared:] = narrow[:, shared:, None].expand(-1, -1, 4).reshape(2, -1)
    assert loss_of(algorithm, mixed) == pytest.approx(loss_of(reference, plain), rel=1e-9)


# -------------------------------------------------------------------- BC and BCQ


def test_cloning_is_the_cross_entropy_of_the_actions_taken():
    algorithm = DiscreteBC(**SMALL)
    setting = made(algorithm)
    s, a, *_ = batch_of(setting)
    expected = -log_softmax(say(setting, s, name="actor"), 1)[ROWS, a].mean()
    assert loss_of(algorithm, setting, "actor") == pytest.approx(expected, rel=1e-9)


def test_a_sampled_clone_acts_by_its_probabilities_and_another_takes_the_likeliest():
    states = np.zeros((1, 4_000, 3))
    found = []
    for sampled in (False, True):
        algorithm = DiscreteBC(**SMALL, sampled=sampled)
        trained = Population([Member(algorithm, 0, 0)], [discrete_data()], 10)
        found.append(np.bincount(trained.act(states)[0, :, 0].astype(int), minlength=ACTIONS) / 4_000)
    logits = trained.networks["actor"](
        torch.from_numpy(
            (states[:, :1] - trained.data[0].observation_scale.mean) / trained.data[0].observation_scale.scale
        ).float(),
        weights="frozen",
    )
    probabilities = softmax(logits[0, 0].numpy())
    assert probabilities.min() > 0.05
    assert found[0].max() == 1.0
    assert np.allclose(found[1], probabilities, atol=4 * np.sqrt(0.25 / 4_000))


def test_bcq_maximizes_over_the_likely_actions_and_clones_with_small_logits():
    algorithm = DiscreteBCQ(**COPIES)
    setting = made(algorithm, threshold=0.6, logit_penalty=0.3)
    s, a, r, s2, bootstrap = batch_of(setting)
    likely = softmax(say(setting, s2, name="behaviour"), axis=1)
    allowed = likely >= 0.6 * likely.max(1, keepdims=True)
    assert 0.2 < allowed.mean() < 0.9
    best = np.where(allowed, say(setting, s2), -np.inf).argmax(1)
    y = r + 0.9 * bootstrap * say(setting, s2, "target")[ROWS, best]
    assert loss_of(algorithm, setting) == pytest.approx(huber(say(setting, s)[ROWS, a] - y).mean(), rel=1e-9)
    logits = say(setting, s, name="behaviour")
    cloning = -log_softmax(logits, 1)[ROWS, a].mean() + 0.3 * (logits**2).mean()
    assert loss_of(algorithm, setting, "behaviour") == pytest.approx(cloning, rel=1e-9)


@pytest.mark.parametrize(
    ("threshold", "allowed"),
    [
        (0.0, [True] * 4),
        (0.25, [True, True, True, False]),
        (0.5, [True, True, False, False]),
        (1.0, [True] + [False] * 3),
    ],
)
def test_the_threshold_is_a_share_of_the_likeliest_actions_probability(threshold, allowed):
    logits = torch.log(torch.tensor([[[0.50, 0.26, 0.14, 0.10]]]))
    values = torch.zeros(1, 1, 4)
    found = bcq.among_likely(values, logits, torch.tensor([[threshold]]))
    assert (found[0, 0] == 0).tolist() == allowed


# -------------------------------------------------------------------- CRR


@pytest.mark.parametrize("weighting", ["binary", "exponential"])
@pytest.mark.parametrize("samples", [0, 4])
def test_crr_clones_what_is_better_than_the_policy(weighting, samples):
    algorithm = CRR(**COPIES, weighting=weighting, baseline_samples=samples)
    setting = made(algorithm, temperature=0.4)
    s, a, r, s2, bootstrap = batch_of(setting)
    later = softmax(say(setting, s2, "target", "actor"), 1)
    y = r + 0.9 * bootstrap * (later * say(setting, s2, "target")).sum(1)
    q = say(setting, s)
    assert loss_of(algorithm, setting) == pytest.approx(huber(q[ROWS, a] - y).mean(), rel=1e-9)
    log_policy = log_softmax(say(setting, s, name="actor"), 1)
    value = (np.exp(log_policy) * q).sum(1)
    if samples:
        uniform = setting.draws.uniform("actions of the baseline", 64, 4)[MEMBER].numpy()
        chosen = (uniform[..., None] >= np.exp(log_policy).cumsum(1)[:, None, :-1]).sum(2)
        value = q[ROWS[:, None], chosen].mean(1)
    advantage = q[ROWS, a] - value
    weights = (advantage > 0).astype(float) if weighting == "binary" else np.minimum(np.exp(advantage / 0.4), 20)
    assert 0.1 < (advantage > 0).mean() < 0.9
    assert loss_of(algorithm, setting, "actor") == pytest.approx(-(weights * log_policy[ROWS, a]).mean(), rel=1e-9)


def test_the_sampled_baseline_of_crr_is_around_the_exact_one_and_scatters():
    generator = np.random.default_rng(0)
    values = torch.tensor(generator.normal(size=(1, 5, 4)))
    log_policy = torch.log_softmax(torch.tensor(generator.normal(size=(1, 5, 4))), -1)
    draws = [Draws([seed], torch.zeros(1, dtype=torch.int64), torch.float64) for seed in range(2_000)]
    sampled = torch.stack([crr.baseline(values, log_policy, 4, each) for each in draws])
    exact = crr.baseline(values, log_policy, 0, draws[0])
    variance = (log_policy.exp() * (values - exact[..., None]).square()).sum(-1)
    error = (sampled.mean(0) - exact).abs() / (variance / 4 / 2_000).sqrt()
    assert (error < 4).all()
    assert torch.allclose(sampled.var(0), variance / 4, rtol=0.15)


# -------------------------------------------------------------------- IQL


def test_discrete_iql_is_three_losses_on_the_networks_as_they_were():
    algorithm = DiscreteIQL(**COPIES)
    setting = made(algorithm, expectile=0.9, temperature=2.0)
    s, a, r, s2, bootstrap = batch_of(setting)
    target = np.minimum(*[say(setting, s, "target", copy=k)[ROWS, a] for k in (0, 1)])
    u = target - say(setting, s, name="value")[:, 0]
    assert loss_of(algorithm, setting, "value") == pytest.approx(np.mean(np.abs(0.9 - (u < 0)) * u**2), rel=1e-9)
    y = r + 0.9 * bootstrap * say(setting, s2, name="value")[:, 0]
    errors = [(say(setting, s, copy=k)[ROWS, a] - y) ** 2 for k in (0, 1)]
    assert loss_of(algorithm, setting) == pytest.approx(np.mean(errors), rel=1e-9)
    log_policy = log_softmax(say(setting, s, name="actor"), 1)[ROWS, a]
    expected = -np.mean(np.minimum(np.exp(2.0 * u), 100) * log_policy)
    assert loss_of(algorithm, setting, "actor") == pytest.approx(expected, rel=1e-9)


# -------------------------------------------------------------------- settings


def test_the_settings_of_the_study_come_with_its_discounts():
    cartpole, breakout = (
        Dataset.from_arrays(
            observations=np.zeros((3, 2), np.float32),
            actions=np.array([0, 1]),
            rewards=np.zeros(2),
            terminations=np.array([False, True]),
            truncations=np.zeros(2, bool),
            info=DatasetInfo(action_space=Discrete(2), env_spec=f'{{"id": "{name}"}}'),
        )
        for name in ("CartPole-v1", "assay/MinAtar-Breakout-v0")
    )
    for algorithm in (BVE, MCE, DQN, QRDQN, REM, DiscreteBCQ, DiscreteCQL, CRR, DiscreteIQL):
        made_for = [algorithm(**algorithm.values_for(dataset)) for dataset in (cartpole, breakout)]
        assert [each.discount for each in made_for] == [0.95, 0.99]
        for each in made_for:
            assert algorithm.dataset_perspective(discount=each.discount) == each
            assert (each.hidden, each.activation, each.learning_rate, each.batch_size) == (
                (256, 256, 256),
                "selu",
                1e-4,
                128,
            )


def test_the_first_argument_is_the_algorithms_own():
    assert (DiscreteCQL(0.3).alpha, DiscreteBCQ(0.1).threshold, QRDQN(7).quantiles) == (0.3, 0.1, 7)
