"""10%BC, ReBRAC and RIQL: what they keep of the data, and their losses stated again in NumPy for one member."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from assay.baselines import BC, RIQL, Job, PercentBC, ReBRAC
from assay.baselines.algorithms.actor_critic import riql
from assay.baselines.engine.batches import Batches
from assay.baselines.engine.data import ActionScale, TrainingData
from assay.baselines.engine.population import Member, Population
from assay.baselines.engine.randomness import Draws
from assay.baselines.engine.tables import DatasetTable
from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, UnknownNameError
from assay.datasets.transitions import Transitions
from tests.baselines.engine.test_population import forward, moved_apart, one_batch, setting_of
from tests.baselines.problems import pendulum_like, population, training_data

SMALL = {"hidden": (16, 16), "batch_size": 32}
UNIT = ActionScale.of(-np.ones(1), np.ones(1))


# -------------------------------------------------------------------- 10%BC


def episodes(returns: list[list[float]], unfinished: tuple[int, ...] = ()) -> Dataset:
    """Episodes with these rewards; the observations count the rows."""
    lengths = [len(rewards) for rewards in returns]
    steps = sum(lengths)
    truncations = np.zeros(steps, bool)
    truncations[np.cumsum(lengths) - 1] = [number not in unfinished for number in range(len(lengths))]
    return Dataset.from_arrays(
        observations=np.arange(steps + len(lengths), dtype=np.float64)[:, None],
        actions=np.zeros((steps, 1)),
        rewards=np.concatenate(returns),
        terminations=np.zeros(steps, bool),
        truncations=truncations,
        episode_lengths=lengths,
    )


def kept_rewards(algorithm: PercentBC, dataset: Dataset) -> list[float]:
    data = algorithm.training_data(dataset, UNIT)
    return data.rows[:, 2].tolist()  # after one observation and one action


def test_the_best_trajectories_are_kept_whole_and_in_order():
    dataset = episodes([[1.0, 1.0], [5.0], [0.0, 0.0, 9.0], [3.0], [4.0, 0.5]])
    assert kept_rewards(PercentBC(fraction=0.4), dataset) == [5.0, 0.0, 0.0, 9.0]
    assert kept_rewards(PercentBC(fraction=0.79), dataset) == [5.0, 0.0, 0.0, 9.0, 4.0, 0.5]  # int(3.95) of 5
    assert kept_rewards(PercentBC(fraction=0.01), dataset) == [0.0, 0.0, 9.0]  # at least one
    # Discounted by 0.5 the returns are 1.5, 5, 2.25, 3, 4.25.
    assert kept_rewards(PercentBC(fraction=0.4, discount=0.5), dataset) == [5.0, 4.0, 0.5]


def test_of_equal_trajectories_the_first_is_kept_and_unfinished_ones_come_last():
    assert kept_rewards(PercentBC(fraction=0.4), episodes([[1.0], [2.0], [2.0, 0.0], [2.0], [0.0]])) == [2.0, 2.0, 0.0]
    dataset = episodes([[-9.0], [-1.0], [-8.0], [-7.0]], unfinished=(1,))
    assert kept_rewards(PercentBC(fraction=0.5), dataset) == [-8.0, -7.0]
    assert kept_rewards(PercentBC(fraction=1.0), dataset) == [-9.0, -1.0, -8.0, -7.0]


def test_observations_are_normalized_by_the_kept_transitions():
    data = PercentBC(fraction=0.5).training_data(episodes([[0.0, 0.0], [1.0, 1.0]]), UNIT)
    assert data.observation_scale.mean.tolist() == [3.5]  # of rows 3 and 4
    assert data.observation_scale.scale.tolist() == pytest.approx([0.5 + 1e-3])


def test_all_trajectories_are_plain_behaviour_cloning_bit_for_bit():
    dataset, weights = pendulum_like(), []
    for algorithm in (BC(**SMALL), PercentBC(**SMALL, fraction=1.0)):
        job = Job(algorithm, dataset)
        data = algorithm.training_data(dataset, job.action_scale)
        made = Population([Member(algorithm, 3, 0)], [data], 50)
        made.advance(50)
        weights.append(made.networks["actor"].buffer)
    assert torch.equal(*weights)


def test_a_broken_reward_cannot_be_ranked_and_other_damage_is_found_at_its_step():
    with pytest.raises(ConfigError, match="episode 1 holds a reward that is NaN"):
        PercentBC().training_data(episodes([[1.0], [np.nan]]), UNIT)
    dataset = episodes([[1.0], [2.0]])
    dataset = dataset.replace(columns={"actions": np.array([[0.0], [np.inf]])})
    with pytest.raises(ConfigError, match=r"step 1 of episode 1, column actions\[0\] holds NaN"):
        PercentBC(fraction=0.5).training_data(dataset, UNIT)


# -------------------------------------------------------------------- ReBRAC


@pytest.mark.parametrize("normalize", [True, False])
def test_rebrac_losses_are_the_papers(normalize):
    algorithm = ReBRAC(
        **SMALL, actor_penalty=0.3, critic_penalty=0.7, policy_noise=0.3, noise_clip=0.4, normalize_values=normalize
    )
    made = moved_apart(algorithm)
    setting = setting_of(made)
    critic_phase, actor_phase = algorithm.phases()
    critic, actor = critic_phase.losses(setting).of["critic"], actor_phase.losses(setting).of["actor"]
    noise = np.clip(made.draws.normal("target policy smoothing", 32, 2).numpy() * 0.3, -0.4, 0.4)
    for member in range(2):
        s, a, r, s2, bootstrap = one_batch(made, member)
        data_a2, exists = (setting.batch[name][member].numpy() for name in ("next_actions", "has_next_actions"))
        assert 0 < exists.sum() < 32
        a2 = np.clip(forward(made.networks["actor"], member, 0, s2, "target") + noise[member], -1, 1)
        q2 = [forward(made.networks["critic"], member, k, np.hstack([s2, a2]), "target")[:, 0] for k in (0, 1)]
        penalty = 0.7 * ((a2 - data_a2) ** 2).sum(1) * exists
        y = r + 0.99 * bootstrap * (np.minimum(*q2) - penalty)
        q = [forward(made.networks["critic"], member, k, np.hstack([s, a]), "learned")[:, 0] for k in (0, 1)]
        assert np.isclose(critic[member].item(), np.mean((q[0] - y) ** 2) + np.mean((q[1] - y) ** 2))
        pi = forward(made.networks["actor"], member, 0, s, "learned")
        q_pi = [forward(made.networks["critic"], member, k, np.hstack([s, pi]), "learned")[:, 0] for k in (0, 1)]
        smaller = np.minimum(*q_pi)
        factor = 1 / np.mean(np.abs(smaller)) if normalize else 1.0
        expected = np.mean(0.3 * ((pi - a) ** 2).sum(1) - factor * smaller)
        assert np.isclose(actor[member].item(), expected)


def test_rebrac_begins_as_edac_does():
    made = population(ReBRAC(hidden=(64, 64, 64)), [0])
    for name, last in (("actor", 1e-3), ("critic", 3e-3)):
        network = made.networks[name]
        tensors = dict(zip((item.name for item in network.spec.parameters()), network.parameters))
        for layer in range(3):
            assert (tensors[f"{layer}/bias"] == 0.1).all()
        for part in ("weight", "bias"):
            assert 0 < tensors[f"3/{part}"].abs().max() <= last
        assert tensors["3/weight"].abs().max() > 0.9 * last
        assert ("0/norm/scale" in tensors) == (name == "critic")


def test_the_penalty_of_n_steps_is_taken_at_the_last_of_them():
    """Two episodes, of three steps and of one; the first ends by a time limit."""
    transitions = Transitions(
        observations=np.arange(4.0)[:, None],
        actions=np.array([[0.1], [0.2], [0.3], [0.4]]),
        rewards=np.array([1.0, 10.0, 100.0, 1000.0]),
        next_observations=np.arange(4.0)[:, None] + 1.0,
        terminations=np.array([False, False, False, True]),
        truncations=np.array([False, False, True, False]),
        steps=np.arange(4),
    )
    data = TrainingData.of(transitions, UNIT, normalize=False, extra=("next_actions",))
    draws = Draws([0], torch.zeros(1, dtype=torch.int64), torch.float64)
    table = DatasetTable([data], [0], torch.float64, torch.device("cpu"))
    hyperparameters = SimpleNamespace(discount=torch.tensor([[0.5]], dtype=torch.float64))
    streams = ReBRAC(return_steps=2, batch_size=64).streams()
    batch = Batches(streams, table, {}, draws, hyperparameters).batches()["batch"]
    found = {
        int(s): (round(r, 6), s2, bootstrap, round(a2, 6), exists)
        for s, r, s2, bootstrap, a2, exists in torch.stack(
            [
                batch.observations[0, :, 0],
                batch.rewards[0],
                batch.next_observations[0, :, 0],
                batch.bootstraps[0],
                batch["next_actions"][0, :, 0],
                batch["has_next_actions"][0],
            ],
            1,
        ).tolist()
    }
    assert found == {
        0: (6.0, 2.0, 0.5, 0.3, 1.0),
        1: (60.0, 3.0, 0.5, 0.0, 0.0),
        2: (100.0, 3.0, 1.0, 0.0, 0.0),
        3: (1000.0, 4.0, 0.0, 0.0, 0.0),
    }


def test_rebrac_presets_are_corls():
    chosen = ReBRAC.preset("walker2d", "medium", hidden=(8,))
    assert (chosen.actor_penalty, chosen.critic_penalty, chosen.hidden) == (0.05, 0.1, (8,))
    assert ReBRAC.preset("halfcheetah", "medium") == ReBRAC()
    with pytest.raises(UnknownNameError, match="'medium-replay'"):
        ReBRAC.preset("hopper", "medium_replay")
    with pytest.raises(UnknownNameError, match="unknown ReBRAC preset 'antmaze'"):
        ReBRAC.preset("antmaze", "umaze")


# -------------------------------------------------------------------- RIQL


def riql_in_numpy(made: Population, member: int, algorithm: RIQL) -> dict[str, float]:
    s, a, r, s2, bootstrap = one_batch(made, member)
    critic, value = made.networks["critic"], made.networks["value"]
    ensemble = range(algorithm.critics)
    q_target = [forward(critic, member, k, np.hstack([s, a]), "target")[:, 0] for k in ensemble]
    v, v2 = (forward(value, member, 0, x, "learned")[:, 0] for x in (s, s2))
    u = np.quantile(q_target, algorithm.quantile, axis=0) - v
    y = np.clip(r + algorithm.discount * bootstrap * v2, algorithm.lowest_target, algorithm.highest_target)
    q = [forward(critic, member, k, np.hstack([s, a]), "learned")[:, 0] for k in ensemble]
    error, delta = np.abs(y - q), algorithm.sigma**-2
    huber = np.where(error < delta, error**2 / (2 * delta), error - delta / 2)
    assert 0 < (error < delta).mean() < 1
    pi = forward(made.networks["actor"], member, 0, s, "learned")
    return {
        "value": np.mean(np.abs(algorithm.expectile - (u < 0)) * u**2),
        "critic": np.mean(huber),
        "actor": np.mean(np.minimum(np.exp(algorithm.temperature * u), 100.0) * ((pi - a) ** 2).sum(1)),
    }


def test_riql_losses_are_the_papers_for_members_that_differ():
    first = RIQL(**SMALL, critics=4, quantile=0.4, sigma=0.8, lowest_target=-0.5, highest_target=0.6)
    second = replace(first, quantile=0.9, sigma=1.3, expectile=0.9, temperature=6.0, discount=0.9)
    made = Population([Member(first, 0, 0), Member(second, 1, 0)], [training_data()], 100, dtype=torch.float64)
    made.advance(10)
    for network in made.networks.values():
        count = network.spec.ensemble * network.spec.size
        network.buffer += 0.2 * made.draws.normal(f"apart/{network.name}", count).view(network.buffer.shape)
    found = riql.losses(setting_of(made)).of
    for member, algorithm in enumerate((first, second)):
        for name, expected in riql_in_numpy(made, member, algorithm).items():
            assert np.isclose(found[name][member].item(), expected), name


def test_the_quantile_is_numpys_and_its_ends_are_minimum_and_maximum():
    values = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 7, 11, 1)))
    levels = torch.tensor([[0.0], [1.0], [0.5], [0.25], [0.1]], dtype=torch.float64)
    found = riql.over_critics(values, levels)
    expected = [np.quantile(member[..., 0], level, axis=0) for member, level in zip(values, levels[:, 0])]
    assert np.allclose(found, expected, rtol=1e-12)
    assert torch.equal(found[0], values[0].amin(0).squeeze(-1))
    assert torch.equal(found[1], values[1].amax(0).squeeze(-1))
    assert torch.equal(riql.over_critics(values[:, :1], levels), values[:, 0, :, 0])  # one critic is every quantile


def test_the_huber_loss_is_a_scaled_squared_error_within_delta_and_pytorchs_everywhere():
    errors = torch.linspace(-3, 3, 61, dtype=torch.float64)
    assert torch.allclose(riql.huber(errors, torch.tensor(1e6)), errors.square() / 2e6)
    for delta in (0.3, 1.0, 2.0):
        smooth = torch.nn.functional.smooth_l1_loss(errors, torch.zeros_like(errors), reduction="none", beta=delta)
        assert torch.allclose(riql.huber(errors, torch.tensor(delta)), smooth)


def test_riql_normalizes_by_observations_and_next_observations_together():
    dataset = episodes([[1.0, 1.0, 1.0], [1.0]])
    data = RIQL().training_data(dataset, UNIT)
    both = np.array([0, 1, 2, 4, 1, 2, 3, 5.0])
    assert data.observation_scale.mean == pytest.approx(both.mean())
    assert data.observation_scale.scale == pytest.approx(both.std() + 1e-3)
    assert np.allclose(data.rows[:, 0], (both[:4] - both.mean()) / (both.std() + 1e-3))
    plain = RIQL(normalize_observations=False).training_data(dataset, UNIT)
    assert plain.rows[:, 0].tolist() == [0, 1, 2, 4]


def test_riql_presets_are_the_published_table():
    def published(*key: str) -> tuple[float, float, int]:
        preset = RIQL.preset(*key)
        return preset.sigma, preset.quantile, preset.critics

    assert published("hopper", "random", "observations") == (0.1, 0.25, 3)
    assert published("walker2d", "random", "dynamics") == (1.0, 0.25, 3)
    assert published("hopper", "adversarial", "rewards") == (0.1, 0.25, 5)
    assert RIQL.preset("hopper", "random", "dynamics", quantile=0.1).quantile == 0.1
    with pytest.raises(UnknownNameError, match="did you mean 'observations'"):
        RIQL.preset("hopper", "random", "observation")
    with pytest.raises(UnknownNameError, match="unknown RIQL preset 'ant'"):
        RIQL.preset("ant", "random", "actions")
