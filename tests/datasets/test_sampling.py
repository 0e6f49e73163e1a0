"""Samplers: every row belongs together, frequencies follow weights and strata, and a state restores the stream."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError, DatasetError, UnknownNameError
from assay.datasets.sampling import EpisodeSampler, SequenceSampler, TransitionSampler
from assay.datasets.sampling.windows import window


def counted(lengths, *, known=None, terminated=None, weights=None, tags=None) -> Dataset:
    """Every number tells where it is from: observation 1000 e + t, action the step, reward 2^-t."""
    steps = sum(lengths)
    observations = np.concatenate([1000.0 * e + np.arange(n + 1) for e, n in enumerate(lengths)])
    time = np.concatenate([np.arange(n) for n in lengths])
    lasts = np.cumsum(lengths) - 1
    terminations, truncations = np.zeros(steps, bool), np.zeros(steps, bool)
    for episode, last in enumerate(lasts):
        ended = terminated is None or terminated[episode]
        (terminations if ended else truncations)[last] = True
    columns = {"costs": np.arange(steps) * 10.0}
    if weights is not None:
        columns["weights"] = np.asarray(weights, float)
    extra = {f"tags/{name}": np.array(mask) for name, mask in (tags or {}).items()}
    if known is not None:
        extra["final_observation"] = np.array(known)
    return Dataset.from_arrays(
        observations=observations,
        actions=np.arange(steps)[:, None].astype(np.float32),
        rewards=0.5**time,
        terminations=terminations,
        truncations=truncations,
        columns=columns,
        episode_columns=extra,
    )


lengths_of_episodes = st.lists(st.integers(1, 7), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(lengths_of_episodes, st.integers(1, 4), st.floats(0, 1), st.integers(0, 2**31), st.data())
def test_a_transition_spans_its_steps_and_never_leaves_its_episode(lengths, n, discount, seed, data):
    flags = st.lists(st.booleans(), min_size=len(lengths), max_size=len(lengths))
    known, terminated, keep = data.draw(flags), data.draw(flags), data.draw(st.booleans())
    dataset = counted(lengths, known=known, terminated=terminated)
    if not len(dataset.transition_steps(keep_terminal=keep)):
        with pytest.raises(DatasetError, match="nothing to draw"):
            TransitionSampler(dataset, keep_terminal=keep)
        return
    sampler = TransitionSampler(
        dataset,
        32,
        return_steps=n,
        discount=discount,
        seed=seed,
        dtype=None,
        columns=["costs"],
        keep_terminal=keep,
    )
    batch = sampler.sample()
    drawable = np.array(known) | (np.array(terminated) & keep)
    starts, usable = dataset.episode_starts, dataset.episode_lengths - ~drawable
    for row in range(32):
        step, episode = int(batch.steps[row]), int(batch.episodes[row])
        time = step - starts[episode]
        span = min(n, usable[episode] - time)
        assert span >= 1
        assert batch.observations[row] == 1000 * episode + time
        assert batch.next_observations[row] == 1000 * episode + time + span
        assert batch.actions[row, 0] == step
        assert batch.columns["costs"][row] == 10 * step
        expected = sum(discount**k * 0.5 ** (time + k) for k in range(span))
        assert batch.rewards[row] == pytest.approx(expected, rel=1e-12)
        assert batch.discounts[row] == pytest.approx(discount**span, rel=1e-12)
        assert batch.terminations[row] == (terminated[episode] and time + span == lengths[episode])


def test_every_public_door_keeps_the_reward_of_a_goal_whose_final_observation_was_not_stored():
    dataset = counted([4, 3], known=[False, False], terminated=[True, False])
    sampled = TransitionSampler(dataset, 7, replacement=False).sample()
    doors = {
        "transitions": dataset.transitions(),
        "to_torch": dataset.to_torch(),
        "sampler": TransitionSampler(dataset, 6, replacement=False).sample(),
    }
    assert len(sampled) == 7
    for name, found in doors.items():
        assert sorted(np.asarray(found.steps).tolist()) == [0, 1, 2, 3, 4, 5], name  # all but the truncated last one
        assert np.asarray(found.terminations).sum() == 1, name
    for found in (dataset.transitions(keep_terminal=False), dataset.to_torch(keep_terminal=False)):
        assert np.asarray(found.steps).tolist() == [0, 1, 2, 4, 5] == dataset.usable_steps.tolist()


def test_a_state_is_of_one_choice_about_terminations():
    dataset = counted([4, 3], known=[False, True])
    state = TransitionSampler(dataset, 2).state_dict()
    with pytest.raises(ConfigError, match="keep_terminal"):
        TransitionSampler(dataset, 2, keep_terminal=False).load_state_dict(state)
    assert "keep_terminal" not in TransitionSampler(counted([4, 3]), 2).state_dict()  # as in states of before


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_windows_are_the_same_for_arrays_and_tensors_and_end_with_the_episode(data):
    torch = pytest.importorskip("torch")
    count = data.draw(st.integers(1, 5))
    numbers = st.lists(st.integers(0, 6), min_size=count, max_size=count)
    before, after = np.array(data.draw(numbers)), np.array(data.draw(numbers))
    rows, ahead = before + 10, np.arange(data.draw(st.integers(1, 8))) - data.draw(st.integers(0, 4))
    found, inside = window(rows, ahead, after=after, before=before)
    for index in range(count):
        wanted = rows[index] + ahead
        first, last = rows[index] - before[index], rows[index] + after[index]
        assert found[index].tolist() == [min(max(row, first), last) for row in wanted]
        assert inside[index].tolist() == [first <= row <= last for row in wanted]
    tensors = [torch.from_numpy(array) for array in (rows, ahead, after, before)]
    same, within = window(tensors[0], tensors[1], after=tensors[2], before=tensors[3])
    assert same.tolist() == found.tolist()
    assert within.tolist() == inside.tolist()


@settings(max_examples=60, deadline=None)
@given(lengths_of_episodes, st.integers(1, 6), st.sampled_from(["start", "end"]), st.integers(0, 2**31))
def test_a_window_holds_consecutive_steps_of_one_episode_and_zeros(lengths, length, align, seed):
    dataset = counted(lengths)
    batch = SequenceSampler(
        dataset, length, 16, align=align, discount=0.5, seed=seed, dtype=None, columns=["costs"]
    ).sample()
    to_go = dataset.returns_to_go(0.5)
    starts = dataset.episode_starts
    for row in range(16):
        mask = batch.mask[row]
        kept = batch.steps[row][mask]
        episodes = set(dataset.episode_of_step[kept].tolist())
        assert len(episodes) == 1
        (episode,) = episodes
        assert (np.diff(kept) == 1).all()
        if align == "start":  # as much of the episode as fits behind the drawn step, at the front of the window
            assert mask[: len(kept)].all()
            assert len(kept) == min(length, starts[episode] + lengths[episode] - kept[0])
        else:
            assert mask[length - len(kept) :].all()
            assert len(kept) == min(length, kept[-1] - starts[episode] + 1)
        assert batch.observations[row][mask].tolist() == (1000 * episode + kept - starts[episode]).tolist()
        assert batch.actions[row][mask, 0].tolist() == kept.tolist()
        assert batch.columns["costs"][row][mask].tolist() == (10 * kept).tolist()
        assert batch.timesteps[row][mask].tolist() == (kept - starts[episode]).tolist()
        assert batch.returns_to_go[row][mask].tolist() == to_go[kept].tolist()
        assert batch.terminations[row][mask].tolist() == dataset.terminations[kept].tolist()
        for array in (batch.observations, batch.actions, batch.rewards, batch.returns_to_go, batch.timesteps):
            assert not array[row][~mask].any()
        assert (batch.steps[row][~mask] == -1).all()


def test_whole_episodes_come_with_their_final_observation_and_zeros_behind():
    dataset = counted([2, 4, 1])
    batch = EpisodeSampler(dataset, 3, replacement=False, dtype=None, columns=["costs"]).sample()
    order = np.argsort(batch.episodes)
    assert batch.episodes[order].tolist() == [0, 1, 2]
    assert batch.lengths[order].tolist() == [2, 4, 1]
    assert batch.observations[order].tolist() == [
        [0, 1, 2, 0, 0],
        [1000, 1001, 1002, 1003, 1004],
        [2000, 2001, 0, 0, 0],
    ]
    assert batch.rewards[order].tolist() == [[1, 0.5, 0, 0], [1, 0.5, 0.25, 0.125], [1, 0, 0, 0]]
    assert batch.mask[order].sum(1).tolist() == [2, 4, 1]
    assert batch.columns["costs"][order].tolist() == [[0, 10, 0, 0], [20, 30, 40, 50], [60, 0, 0, 0]]
    assert batch.terminations[order].sum() == 3


def frequencies(sampler, batches, size):
    counts = np.zeros(size)
    for batch in itertools.islice(sampler, batches):
        rows = getattr(batch, "steps", None)
        counts += np.bincount(np.ravel(rows if rows is not None else batch.episodes), minlength=size)
    return counts / counts.sum()


def test_within_a_stratum_steps_follow_their_weights_and_nothing_else():
    dataset = counted(
        [3, 4, 5],
        known=[True, True, False],
        terminated=[True, True, False],
        weights=[1, 2, 0, 3, 1, 1, 5, 2, 4, 1, 1, 9],
        tags={"a": [True, False, True], "b": [False, True, True]},
    )
    sampler = TransitionSampler(dataset, 100, strata={"a": 0.3, "b": 0.7}, seed=5)
    drawn = np.concatenate([batch.steps.reshape(1, -1) for batch in itertools.islice(sampler, 500)])
    for rows, tag in ((drawn[:, :30], "a"), (drawn[:, 30:], "b")):
        weights = dataset.weights * dataset.tagged(tag)[dataset.episode_of_step]
        weights[-1] = 0  # its final observation is unknown
        possible = weights > 0
        counts = np.bincount(rows.ravel(), minlength=12)
        assert not counts[~possible].any()
        expected = weights[possible] / weights.sum() * rows.size
        assert scipy.stats.chisquare(counts[possible], expected).pvalue > 1e-4


def test_steps_are_drawn_in_proportion_to_their_weights():
    weights = np.array([0.0, 1.0, 3.0, 4.0, 0.0])
    sampler = TransitionSampler(counted([2, 3], weights=weights), 1000, seed=3)
    found = frequencies(sampler, 100, 5)
    assert found[0] == found[4] == 0
    # 100,000 draws: a binomial share strays by less than five standard deviations of 0.0016
    np.testing.assert_allclose(found, weights / 8, atol=0.008)


def test_episodes_are_drawn_in_proportion_to_the_mean_weight_of_their_steps():
    sampler = EpisodeSampler(counted([2, 3], weights=[1.0, 3.0, 2.0, 5.0, 11.0]), 1000, seed=3)
    np.testing.assert_allclose(frequencies(sampler, 50, 2), [0.25, 0.75], atol=0.01)


def test_uniform_draws_are_uniform_over_usable_steps():
    sampler = TransitionSampler(counted([2, 3], known=[False, True], terminated=[False, True]), 1000, seed=1)
    np.testing.assert_allclose(frequencies(sampler, 100, 5), [0.25, 0, 0.25, 0.25, 0.25], atol=0.008)


@pytest.mark.parametrize("sampler_type", [TransitionSampler, SequenceSampler, EpisodeSampler])
def test_strata_give_every_batch_its_share_of_each_tag(sampler_type):
    dataset = counted([2, 3, 4, 5], tags={"good": [True, False, False, True], "bad": [False, True, False, False]})
    options = {"length": 1} if sampler_type is SequenceSampler else {}
    sampler = sampler_type(dataset, batch_size=8, strata={"good": 0.75, "bad": 0.25}, **options)
    for batch in itertools.islice(sampler, 20):
        episodes = (
            dataset.episode_of_step[batch.steps[:, 0]] if sampler_type is SequenceSampler else np.array(batch.episodes)
        )
        assert np.isin(episodes[:6], [0, 3]).all()
        assert (episodes[6:] == 1).all()


def test_strata_are_checked():
    dataset = counted([2, 3], tags={"good": [True, False]})
    with pytest.raises(UnknownNameError, match="did you mean 'good'"):
        TransitionSampler(dataset, strata={"goood": 1.0})
    with pytest.raises(ConfigError, match="add up to 1"):
        TransitionSampler(dataset, strata={"good": 0.5})
    with pytest.raises(ConfigError, match="no row for tag good"):
        TransitionSampler(
            counted([2, 3], tags={"good": [True, False], "bad": [False, True]}),
            2,
            strata={"good": 0.01, "bad": 0.99},
        )
    with pytest.raises(ConfigError, match="replacement=False"):
        TransitionSampler(dataset, replacement=False, strata={"good": 1.0})


@settings(max_examples=40, deadline=None)
@given(lengths_of_episodes, st.integers(1, 9), st.integers(0, 2**31))
def test_without_replacement_every_pass_draws_each_step_once(lengths, batch_size, seed):
    dataset = counted(lengths)
    sampler = TransitionSampler(dataset, batch_size, replacement=False, seed=seed)
    total = dataset.total_steps
    drawn = np.concatenate([batch.steps for batch in itertools.islice(sampler, 3 * total)])
    for turn in range(3 * batch_size):
        assert sorted(drawn[turn * total : (turn + 1) * total].tolist()) == list(range(total))


@pytest.mark.parametrize("options", [{}, {"replacement": False}, {"strata": {"a": 0.5, "b": 0.5}}, {"device": "cpu"}])
@pytest.mark.parametrize("sampler_type", [TransitionSampler, SequenceSampler, EpisodeSampler])
def test_a_restored_sampler_goes_on_with_the_same_batches(sampler_type, options):
    dataset = counted([5, 3, 6], tags={"a": [True, False, True], "b": [False, True, True]})

    def episodes_of(batch):
        return (batch.steps if hasattr(batch, "steps") else batch.episodes).tolist()

    if "device" in options:
        pytest.importorskip("torch")
    whole = sampler_type(dataset, batch_size=4, seed=9, **options)
    expected = [episodes_of(batch) for batch in itertools.islice(whole, 150)]
    first = sampler_type(dataset, batch_size=4, seed=9, **options)
    for _ in range(70):  # beyond one group of draws
        first.sample()
    second = sampler_type(dataset, batch_size=4, seed=9, **options)
    second.load_state_dict(first.state_dict())
    assert [episodes_of(batch) for batch in itertools.islice(second, 80)] == expected[70:]


def test_a_state_of_other_settings_or_data_is_refused():
    dataset = counted([5, 3])
    state = TransitionSampler(dataset, 4, seed=1).state_dict()
    with pytest.raises(ConfigError, match="seed differ"):
        TransitionSampler(dataset, 4, seed=2).load_state_dict(state)
    with pytest.raises(ConfigError, match="fingerprint differ"):
        TransitionSampler(counted([5, 4]), 4, seed=1).load_state_dict(state)
    with pytest.raises(ConfigError, match="kind"):
        EpisodeSampler(dataset, 4, seed=1).load_state_dict(state)


def test_a_state_survives_json_and_knows_the_order_of_its_strata():
    dataset = counted([5, 3], tags={"a": [True, False], "b": [False, True]})
    shares = {"a": 0.5, "b": 0.5}
    state = json.loads(json.dumps(TransitionSampler(dataset, 4, strata=shares).state_dict()))
    TransitionSampler(dataset, 4, strata=shares).load_state_dict(state)
    with pytest.raises(ConfigError, match="strata differ"):
        TransitionSampler(dataset, 4, strata=dict(reversed(shares.items()))).load_state_dict(state)


def test_two_seeds_differ_and_samplers_of_other_kinds_do_not_share_a_stream():
    dataset = counted([50, 50])
    draws = [
        TransitionSampler(dataset, 64, seed=0).sample().steps.tolist(),
        TransitionSampler(dataset, 64, seed=1).sample().steps.tolist(),
        SequenceSampler(dataset, 1, 64, seed=0).sample().steps[:, 0].tolist(),
    ]
    assert draws[0] != draws[1]
    assert draws[0] != draws[2]
    assert draws[0] == TransitionSampler(dataset, 64, seed=0).sample().steps.tolist()


@pytest.mark.parametrize("sampler_type", [TransitionSampler, SequenceSampler, EpisodeSampler])
def test_tensors_on_a_device_hold_the_same_batches_as_arrays(sampler_type):
    torch = pytest.importorskip("torch")
    dataset = counted([5, 3, 6]).replace({"observations": None, "observations/a": counted([5, 3, 6]).observations})
    arrays = sampler_type(dataset, batch_size=4, seed=2).sample()
    tensors = sampler_type(dataset, batch_size=4, seed=2, device="cpu").sample()
    for name in ("observations", "actions", "rewards", "terminations", "truncations"):
        one, other = getattr(arrays, name), getattr(tensors, name)
        if isinstance(one, dict):
            one, other = one["a"], other["a"]
        assert isinstance(other, torch.Tensor)
        assert not isinstance(one, torch.Tensor)
        assert one.dtype == other.numpy().dtype
        assert one.tolist() == other.tolist()


@pytest.mark.parametrize("device", [None, "cpu"])
def test_infos_are_those_of_their_steps_whether_they_keep_final_rows_or_not(device):
    if device is not None:
        pytest.importorskip("torch")
    dataset = counted([2, 4, 1])
    dataset = dataset.replace({"infos/final": dataset.observations * 3, "infos/short": np.arange(7)})
    options = {"columns": ["infos"], "dtype": None, "device": device}
    batch = TransitionSampler(dataset, 64, **options).sample()
    assert batch.columns["infos"]["final"].tolist() == (3 * batch.observations).tolist()
    assert batch.columns["infos"]["short"].tolist() == batch.steps.tolist()
    windows = SequenceSampler(dataset, 3, 64, **options).sample()
    assert windows.columns["infos"]["final"].tolist() == (3 * windows.observations).tolist()
    assert windows.columns["infos"]["short"][windows.mask].tolist() == windows.steps[windows.mask].tolist()
    episodes = EpisodeSampler(dataset, 8, **options).sample()
    final = 3 * episodes.observations[:, :-1] * episodes.mask
    assert episodes.columns["infos"]["final"].tolist() == final.tolist()


def test_integer_rewards_are_discounted_as_fractions():
    dataset = counted([3]).replace({"rewards": np.array([1, 2, 4])})
    batch = TransitionSampler(dataset, 32, return_steps=2, discount=0.5, dtype=None).sample()
    assert batch.rewards.tolist() == np.array([2.0, 4.0, 4.0])[batch.steps].tolist()
    assert batch.discounts.tolist() == np.array([0.25, 0.25, 0.5])[batch.steps].tolist()


@pytest.mark.parametrize("dtype", [None, np.float32])
@pytest.mark.parametrize("sampler_type", [TransitionSampler, SequenceSampler, EpisodeSampler])
def test_tensors_are_made_of_any_byte_order(sampler_type, dtype):
    torch = pytest.importorskip("torch")
    dataset = counted([5, 3])
    foreign = dataset.replace(
        {
            "observations": dataset.observations.astype(">f8"),
            "actions": dataset.actions.astype(">i2"),
            "rewards": dataset.rewards.astype(">f2"),
        }
    )
    arrays = sampler_type(foreign, batch_size=4, dtype=dtype).sample()
    tensors = sampler_type(foreign, batch_size=4, dtype=dtype, device="cpu").sample()
    for name in ("observations", "actions", "rewards"):
        assert getattr(tensors, name).tolist() == getattr(arrays, name).tolist()
    whole = foreign.to_torch()
    assert whole.actions.dtype == torch.int16
    assert whole.actions.tolist() == foreign.actions.tolist()


def test_windows_of_text_are_padded_with_empty_text():
    dataset = counted([1]).replace({"observations": None, "observations/mission": np.array(["go", "stop"])})
    assert SequenceSampler(dataset, 2, 1).sample().observations["mission"].tolist() == [["go", ""]]


def test_stored_next_observations_are_used():
    dataset = counted([2, 3])
    stored = dataset.next_observations + 0.25
    batch = TransitionSampler(dataset.replace({"next_observations": stored}), 64, dtype=None).sample()
    assert (batch.next_observations == stored[batch.steps]).all()


def test_floats_are_cast_once_and_integers_keep_their_type():
    dataset = counted([2, 3]).replace({"actions": np.arange(5)})
    batch = TransitionSampler(dataset, 4).sample()
    assert (batch.observations.dtype, batch.rewards.dtype, batch.actions.dtype) == ("float32", "float32", "int64")
    assert TransitionSampler(dataset, 4, return_steps=3).sample().rewards.dtype == np.float32


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -1.0])
def test_an_impossible_weight_is_named(wrong):
    with pytest.raises(DatasetError, match="column weights, step 3"):
        TransitionSampler(counted([2, 3], weights=[1, 1, 1, wrong, 1]))


def test_weights_that_add_up_to_nothing_are_refused():
    with pytest.raises(DatasetError, match="add up to 0"):
        TransitionSampler(counted([2, 3], weights=np.zeros(5)))
