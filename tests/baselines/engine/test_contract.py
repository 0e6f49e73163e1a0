"""The contract between algorithms and the engine: streams, stages, segments, buffers, columns, acting and values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Annotated, ClassVar

import numpy as np
import pydantic
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from assay.baselines import BC, BCQ, FQL, IFQL, TD3BC, DecisionTransformer, DiscreteCQL, MixtureBC
from assay.baselines.algorithms.algorithm import FIRST, Algorithm, Losses, Phase, Setting, Stage
from assay.baselines.engine.acting import EpisodeDraws
from assay.baselines.engine.data import ActionScale, TrainingData
from assay.baselines.engine.derivations import DERIVATIONS, Rows, derivation
from assay.baselines.engine.population import Member, Population, stage_lengths
from assay.baselines.engine.randomness import Draws
from assay.baselines.engine.streams import BufferLayout, FutureRows, HindsightRows, Stream
from assay.baselines.engine.tables import Buffer, DatasetTable
from assay.baselines.networks import MLP
from assay.datasets import Dataset
from assay.datasets.errors import ConfigError, UnknownNameError
from tests.baselines.engine.toys import RolloutCloning
from tests.baselines.problems import data_for, population, training_data

CPU = torch.device("cpu")
SMALL = {"hidden": (16, 16), "batch_size": 32}


def differs(left: Population, right: Population, member: int = 0) -> float:
    first, second = left.state(member).tensors, right.state(member).tensors
    return max(float((first[name] - second[name]).abs().max()) for name in first)


# -------------------------------------------------------------------- streams


class TwoStreams(BC):
    """Behaviour cloning that also draws goals, of which it makes no use."""

    def streams(self):
        return {**super().streams(), "goals": Stream(self.batch_size, sampler=FutureRows())}


def test_a_further_stream_changes_no_number_of_the_others():
    one, two = population(BC(**SMALL), [0, 1]), population(TwoStreams(**SMALL), [0, 1])
    one.advance(20)
    two.advance(20)
    assert differs(one, two, 0) == 0.0


def table_of(lengths: list[int], members: int = 1) -> DatasetTable:
    remaining = np.concatenate([np.arange(length, 0, -1) for length in lengths]).astype(np.int32)
    made = replace(training_data(steps=len(remaining)), remaining=remaining)
    return DatasetTable([made], [0] * members, torch.float64, CPU)


def test_future_rows_stay_in_their_episode_and_come_as_often_as_stated():
    table, count = table_of([4, 6]), 20_000
    first = torch.zeros(1, count, dtype=torch.int64)  # the first row of an episode of four
    draws = Draws([0], torch.zeros(1, dtype=torch.int64), torch.float64)
    uniform = FutureRows().choose(table, count, "goals", draws, {FIRST: first}, None)
    assert chisquare(np.bincount(uniform[0].numpy(), minlength=4)).pvalue > 1e-3

    class Hyperparameters:
        discount = torch.tensor([[0.5]])

    chosen = FutureRows(discount="discount").choose(table, count, "goals", draws, {FIRST: first}, Hyperparameters)
    expected = count * np.array([0.5, 0.25, 0.125, 0.125])  # what lies behind the end counts for the last row
    assert chisquare(np.bincount(chosen[0].numpy(), minlength=4), expected).pvalue > 1e-3
    last = FutureRows().choose(table, 7, "goals", draws, {FIRST: torch.full((1, 7), 9)}, None)
    assert set(last[0].tolist()) == {9}


def hindsight(table: DatasetTable, first: torch.Tensor, update: int = 0, **shares: float) -> torch.Tensor:
    """Rows that enter goals, for shares of goals in hindsight and of the rows themselves."""
    h = SimpleNamespace(**{name: torch.tensor([[value]] * len(first)) for name, value in shares.items()})
    draws = Draws(list(range(len(first))), torch.full((1,), update), torch.float64)
    sampler = HindsightRows(**{name: name for name in shares})
    return sampler.choose(table, first.shape[1], "goals", draws, {FIRST: first}, h)


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=12), update=st.integers(0, 1_000))
def test_no_goal_in_hindsight_is_of_another_episode_or_of_the_past(lengths, update):
    table = table_of(lengths)
    first = torch.arange(sum(lengths))[None]
    episode = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    for shares in ({}, {"share": 1.0}):
        chosen = hindsight(table, first, update, **shares)
        assert (chosen >= first).all()
        assert (episode[chosen] == episode[first]).all()


def test_goals_come_as_often_from_the_future_from_anywhere_and_from_the_row_itself_as_their_shares_say():
    table, count = table_of([4, 96]), 40_000
    first = torch.zeros(1, count, dtype=torch.int64)
    chosen = hindsight(table, first, share=0.5, own_share=0.2)[0].numpy()
    expected = np.full(100, 0.3 / 100)  # anywhere
    expected[:4] += 0.5 / 4  # the future of row 0
    expected[0] += 0.2
    assert chisquare(np.bincount(chosen, minlength=100), count * expected).pvalue > 1e-3


def test_a_goal_that_is_not_from_anywhere_is_the_one_that_hindsight_alone_would_choose():
    table, first = table_of([30] * 10), torch.arange(300)[None]
    future, mixed = hindsight(table, first), hindsight(table, first, share=0.8)
    assert 0.7 < float((future == mixed).double().mean()) < 0.9


def test_goals_from_anywhere_are_of_the_members_own_data():
    data = [training_data(seed, 50) for seed in (0, 1)]
    table = DatasetTable(data, [0, 1], torch.float64, CPU)
    first = table.offsets[:, None].expand(-1, 2_000)
    chosen = hindsight(table, first, share=0.0)
    assert set(chosen[0].tolist()) == set(range(50))
    assert set(chosen[1].tolist()) == set(range(50, 100))


def test_a_stream_names_what_is_there():
    class Lost(BC):
        def streams(self):
            return {FIRST: Stream(8, table="rollouts")}

    with pytest.raises(ConfigError, match="draws from 'rollouts'; there are data"):
        population(Lost(**SMALL), [0])


def test_the_first_stream_has_its_name():
    class Other(BC):
        def streams(self):
            return {"rows": Stream(8)}

    with pytest.raises(ConfigError, match="the first stream is called 'batch', not 'rows'"):
        population(Other(**SMALL), [0])


# -------------------------------------------------------------------- stages and segments


def test_the_networks_of_an_earlier_stage_enter_the_later_one_frozen():
    made = population(RolloutCloning(), [0, 1])
    made.advance(7)
    dynamics, actor = made.networks["dynamics"].buffer.clone(), made.networks["actor"].buffer.clone()
    made.advance(20)
    assert torch.equal(made.networks["dynamics"].buffer, dynamics)
    assert not torch.equal(made.networks["actor"].buffer, actor)


@pytest.mark.parametrize("interval", [1, 2, 3])
def test_chunking_changes_nothing_across_stages_and_segments(interval):
    whole, chunked = population(RolloutCloning(), [3, 4]), population(RolloutCloning(), [3, 4])
    whole.advance(30)
    for _ in range(30 // interval):
        chunked.advance(interval)
    assert differs(whole, chunked) == 0.0
    assert whole.metrics().keys() == {"dynamics_loss", "actor_loss"}


def test_pauses_come_before_the_first_update_of_each_segment_and_only_there():
    seen = []

    @dataclass(frozen=True)
    class Watched(RolloutCloning):
        def stages(self):
            dynamics, policy = super().stages()
            return dynamics, replace(policy, between=lambda pause: seen.append(pause.update) or policy.between(pause))

    made = population(Watched(), [0])
    made.advance(7)
    assert seen == []
    made.advance(6)
    assert seen == [0, 5]
    saved = made.state()
    resumed = population(Watched(), [0])
    resumed.restore(saved)
    resumed.advance(5)
    assert seen == [0, 5, 10]


def test_what_a_pause_fills_is_part_of_the_state():
    made = population(RolloutCloning(), [0, 1])
    made.advance(9)
    state = made.state(1)
    assert state.tensors["buffers/rollouts/written"].item() > 0
    other = population(RolloutCloning(), [1])
    other.restore(state, 0)
    assert torch.equal(other.buffers["rollouts"].rows[0], made.buffers["rollouts"].rows[1])


def noise_loss(setting: Setting) -> Losses:
    value = setting.draws.normal("noise", 1)[:, 0] * setting.networks["actor"](setting.batch.observations).mean((1, 2))
    return Losses({"actor": value}, {"noise": setting.draws.normal("noise", 1)[:, 0]})


class TwoStages(BC):
    def stages(self):
        streams = self.streams()
        return (
            Stage("first", (Phase(noise_loss),), streams, updates=1),
            Stage("second", (Phase(noise_loss),), streams),
        )


def test_the_stage_is_part_of_every_purpose():
    seeds = torch.zeros(1, dtype=torch.int64)
    draws = Draws([0], seeds)
    first, second = (draws.scoped(name).normal("noise", 1) for name in ("first", "second"))
    assert first != second
    assert draws.scoped("").normal("noise", 1) == draws.normal("noise", 1)
    made = population(TwoStages(**SMALL), [0])
    made.advance(1)
    assert made.metrics()["noise"][0] == pytest.approx(first.item())


def test_a_schedule_runs_over_its_own_stage():
    made = population(RolloutCloning(), [0], steps=17)
    made.advance(7)
    rates = []
    for _ in range(11):
        rates.append(made._learning_rate("actor").item())
        made.advance(1)
    assert np.allclose(rates, 1e-3 * 0.5 * (1 + np.cos(np.pi * np.arange(11) / 10)), atol=1e-9)


@pytest.mark.parametrize(
    ("updates", "steps", "message"),
    [((5, None), 5, "too few"), ((5, 6), 10, "too few"), ((5, 6), 12, "more than"), ((None, None), 1, "need one each")],
)
def test_stages_must_fit_into_the_training(updates, steps, message):
    stages = [Stage(name, (), {}, updates=count) for name, count in zip(("one", "two"), updates)]
    with pytest.raises(ConfigError, match=message):
        stage_lengths(stages, steps)


@pytest.mark.parametrize("field", ["updates", "segment"])
def test_a_stage_without_updates_is_refused(field):
    with pytest.raises(ConfigError, match=f"{field}=0"):
        stage_lengths([Stage("one", (), {}, **{field: 0})], 10)
    with pytest.raises(ConfigError, match="the name of another one"):
        stage_lengths([Stage("one", (), {}, updates=5), Stage("one", (), {})], 10)


@pytest.mark.parametrize(("follow", "rate"), [(("critic",), "learning_rate"), ((), "learning_rat")])
def test_a_name_that_is_not_there_is_refused_before_anything_is_trained(follow, rate):
    class Misspelt(BC):
        def networks(self, shapes):
            return {"actor": MLP(shapes.observation_size, shapes.action_size, (4,), learning_rate=rate)}

        def phases(self):
            return (Phase(noise_loss, follow=follow),)

    with pytest.raises(ConfigError, match="critic" if follow else "learning_rat"):
        population(Misspelt(**SMALL), [0])


# -------------------------------------------------------------------- buffers


def test_a_full_buffer_overwrites_its_oldest_rows():
    buffer = Buffer(BufferLayout(3, {"value": 0}), 2, torch.float64, CPU)
    valid = torch.tensor([[True, True], [False, True]])
    buffer.append({"value": torch.tensor([[1.0, 2.0], [3.0, 4.0]])}, valid)
    assert buffer.lengths.tolist() == [2, 1]
    buffer.append({"value": torch.tensor([[5.0, 6.0], [7.0, 8.0]])})
    assert buffer.lengths.tolist() == [3, 3]
    assert sorted(buffer.column("value")[0].tolist()) == [2.0, 5.0, 6.0]
    assert sorted(buffer.column("value")[1].tolist()) == [4.0, 7.0, 8.0]


def test_rows_are_drawn_from_what_is_filled():
    buffer = Buffer(BufferLayout(100, {"value": 0}), 1, torch.float64, CPU)
    buffer.append({"value": torch.arange(1.0, 4.0)[None]})
    chosen = buffer.draw(Draws([0], torch.zeros(1, dtype=torch.int64)), "rows", 500)
    assert set(chosen[0].tolist()) == {0, 1, 2}


def test_a_buffer_refuses_other_columns_and_too_many_rows():
    buffer = Buffer(BufferLayout(2, {"value": 0}), 1, torch.float64, CPU)
    with pytest.raises(ConfigError, match="cannot take"):
        buffer.append({"reward": torch.zeros(1, 1)})
    with pytest.raises(ConfigError, match="3 rows do not fit into a buffer of 2"):
        buffer.append({"value": torch.zeros(1, 3)})


# -------------------------------------------------------------------- columns


def costly(episodes: int = 3, length: int = 4) -> Dataset:
    steps = episodes * length
    ends = np.arange(steps) % length == length - 1
    return Dataset.from_arrays(
        observations=np.arange(steps + episodes, dtype=np.float32)[:, None],
        actions=np.zeros((steps, 1), np.float32),
        rewards=np.arange(steps, dtype=np.float64),
        terminations=ends,
        truncations=np.zeros(steps, bool),
        columns={"costs": 10.0 * np.arange(steps)},
    )


class Careful(TD3BC):
    extra_columns: ClassVar[tuple[str, ...]] = ("costs",)


def test_any_column_of_the_dataset_comes_with_the_batch_and_costs_are_discounted_like_rewards():
    scale = ActionScale.of(-np.ones(1), np.ones(1))
    for steps in (1, 3):
        algorithm = Careful(**SMALL, return_steps=steps, normalize_observations=False)
        made = population(algorithm, [0], data=[algorithm.training_data(costly(), scale)], dtype=torch.float64)
        batch = made.batches.batches()["batch"]
        assert batch["costs"].shape == (1, 32)
        assert torch.allclose(batch["costs"], 10.0 * batch.rewards)


def test_a_column_that_is_nowhere_is_named():
    class Misspelt(BC):
        extra_columns: ClassVar[tuple[str, ...]] = ("cost",)

    with pytest.raises(UnknownNameError, match="did you mean 'costs'"):
        Misspelt().training_data(costly(), ActionScale.of(-np.ones(1), np.ones(1)))
    made = population(BC(**SMALL), [0])
    with pytest.raises(ConfigError, match="no column 'costs'"):
        made.batches.batches()["batch"]["costs"]


def test_a_derivation_of_ones_own_is_a_column():
    @derivation("reward_ranks")
    def reward_ranks(rows: Rows) -> dict[str, np.ndarray]:
        return {"reward_ranks": rows.transitions.rewards.argsort().argsort()}

    try:
        made = training_data(extra=("reward_ranks",))
        columns = [name for name, size in made.columns for _ in range(size)]
        ranks, rewards = (made.rows[:, columns.index(name)] for name in ("reward_ranks", "rewards"))
        assert (np.diff(ranks[rewards.argsort()]) == 1).all()
    finally:
        DERIVATIONS.remove("reward_ranks")


# -------------------------------------------------------------------- networks and hyperparameters


def test_a_hard_copy_is_made_every_so_many_updates():
    made = population(DiscreteCQL(**SMALL, target_update_every=3), [0])
    critic = made.networks["critic"]
    first = critic.target_buffer.clone()
    for update in range(1, 8):
        made.advance(1)
        if update < 3:
            assert torch.equal(critic.target_buffer, first)
        if update % 3 == 0:
            assert torch.equal(critic.target_buffer, critic.buffer)
        else:
            assert not torch.equal(critic.target_buffer, critic.buffer)


def test_what_may_differ_between_members_is_told_by_the_type_not_by_how_it_is_written():
    @pydantic.dataclasses.dataclass(frozen=True)
    class Written(BC):
        weight: Annotated[float, "of something"] = 1.0
        target: float | None = None
        switch: bool = False

    assert {"learning_rate", "weight"} <= set(Written.member_fields())
    assert not {"target", "switch", "batch_size"} & set(Written.member_fields())


def test_an_algorithm_written_for_the_former_contract_trains_and_is_warned_of():
    @dataclass(frozen=True)
    class Former(Algorithm):
        learning_rate: float = 1e-3
        batch_size: int = 8
        normalize_observations: bool = True
        name = "former"
        label = "former"

        def networks(self, observation_size, action_size):
            return {"actor": MLP(observation_size, action_size, (4,), learning_rate="learning_rate")}

        def phases(self):
            from assay.baselines.algorithms.imitation import bc

            return (Phase(bc.actor_loss),)

        def act(self, networks, observations):
            return networks["actor"](observations, weights="frozen")

    with pytest.warns(DeprecationWarning, match="networks\\(shapes\\)"):
        made = population(Former(), [0])
    made.advance(3)
    with pytest.warns(DeprecationWarning, match="memory, draws"):
        assert made.act(np.zeros((1, 2, 3))).shape == (1, 2, 2)


# -------------------------------------------------------------------- acting


STOCHASTIC = [
    FQL(**SMALL, flow_steps=2),
    IFQL(**SMALL, flow_steps=2, samples=3),
    MixtureBC(**SMALL, low_noise=False),
    BCQ(**SMALL, autoencoder_hidden=(8,), acting_samples=3),
]


@pytest.mark.parametrize("algorithm", STOCHASTIC, ids=lambda item: item.name)
def test_an_episode_does_not_depend_on_which_others_are_evaluated(algorithm):
    made = population(algorithm, [0, 1], dtype=torch.float64)
    made.advance(5)
    actor, rng = made.actor(), np.random.default_rng(0)
    observations = rng.normal(size=(4, 2, 3, 3))
    together = actor.begin(slice(0, 2), 3, [11, 12, 13])
    alone = actor.begin(slice(1, 2), 1, [12])
    nothing = np.zeros((2, 3))
    acted = [together.act(observations[t], nothing) for t in range(4)]
    for t in range(4):
        single = alone.act(observations[t, 1:, 1:2], nothing[1:, :1])
        assert np.allclose(single[0, 0], acted[t][1, 1], atol=1e-12)
    again = actor.begin(slice(0, 2), 3, [11, 12, 13])
    assert np.array_equal(again.act(observations[0], nothing), acted[0])


@pytest.mark.parametrize("algorithm", STOCHASTIC, ids=lambda item: item.name)
def test_seeds_and_steps_draw_other_actions_and_considering_remembers_nothing(algorithm):
    made = population(algorithm, [0], dtype=torch.float64)
    made.advance(5)
    actor, same = made.actor(), np.zeros((1, 2, 3))
    episodes = actor.begin(slice(0, 1), 2, [1, 2])
    candidates = np.zeros((1, 2, 4, 3))
    considered = episodes.consider(candidates, np.zeros((1, 2)))
    first = episodes.act(same, np.zeros((1, 2)))
    assert np.allclose(considered, first[:, :, None], atol=1e-12)
    second = episodes.act(same, np.zeros((1, 2)))
    assert not np.allclose(first[0, 0], first[0, 1])
    assert not np.allclose(first, second)


def test_episode_draws_are_standard_normal_and_uniform():
    draws = EpisodeDraws(range(2_000), 1)
    normal, uniform = draws.normal("a", 10), draws.uniform("b", 10)
    assert abs(normal.mean().item()) < 0.03
    assert abs(normal.std().item() - 1.0) < 0.03
    assert 0.0 <= uniform.min() < uniform.max() < 1.0
    assert abs(uniform.mean().item() - 0.5) < 0.01


def test_a_policy_that_looks_back_says_so():
    assert DecisionTransformer.looks_back
    assert not TD3BC.looks_back


# -------------------------------------------------------------------- values


def test_values_are_the_algorithms_own():
    made = population(DiscreteCQL(**SMALL), [0], dtype=torch.float64)
    made.advance(3)
    algorithm, rng = made.algorithm, np.random.default_rng(0)
    states = torch.from_numpy(rng.normal(size=(1, 6, 3)))
    taken = torch.from_numpy(rng.integers(0, 3, 6))
    actions = torch.full((1, 6, 3), -1.0, dtype=torch.float64)
    actions[0, torch.arange(6), taken] = 1.0
    found = algorithm.values(made.networks, states, actions)
    everything = made.networks["critic"](states, weights="frozen")
    assert torch.equal(found[0, 0], everything[0, torch.arange(6), taken])
    pairs = population(TD3BC(**SMALL), [0], dtype=torch.float64)
    assert pairs.algorithm.values(pairs.networks, states, torch.zeros(1, 6, 2)).shape == (1, 2, 6)
    with pytest.raises(ConfigError, match="BC has no critic"):
        BC().values({}, states, actions)


def test_members_of_other_shapes_cannot_share_a_population():
    wide = TrainingData.of(replace_width(4), ActionScale.of(-np.ones(2), np.ones(2)), normalize=True)
    with pytest.raises(ConfigError, match="different shapes"):
        Population([Member(BC(), 0, 0), Member(BC(), 0, 1)], [data_for(BC()), wide], 10)


def replace_width(width: int):
    from tests.baselines.problems import transitions

    return transitions(observation=width)
