"""Which steps are touched: units are whole, shares are kept, tags and given masks are obeyed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.corruption import RandomCorruption
from assay.datasets import Dataset
from assay.datasets.errors import ConfigError, DatasetError, UnknownNameError
from assay.datasets.generators import BLOCK_STEPS, block_generator


def make(lengths: list[int], tags: dict[str, list[bool]] | None = None, **columns: np.ndarray) -> Dataset:
    steps = sum(lengths)
    ends = np.zeros(steps, bool)
    ends[np.cumsum(lengths) - 1] = True
    generator = np.random.default_rng(0)
    base = {
        "observations": generator.standard_normal((steps + len(lengths), 2)),
        "actions": generator.standard_normal((steps, 1)),
        "rewards": generator.standard_normal(steps),
        "terminations": ends,
        "truncations": np.zeros(steps, bool),
    }
    extra = {f"tags/{name}": np.array(mask) for name, mask in (tags or {}).items()}
    return Dataset(base | columns, lengths, episode_columns=extra)


def mask_of(dataset: Dataset, **parameters: object) -> np.ndarray:
    return RandomCorruption("rewards", **parameters)(dataset).masks["rewards"]  # type: ignore[arg-type]


def units_of(lengths: list[int], size: int | None) -> list[tuple[int, int]]:
    """(first, stop) of the windows of an episode each, stated by slicing lists."""
    units, start = [], 0
    for length in lengths:
        steps = list(range(start, start + length))
        for first in range(0, length, size or length):
            part = steps[first : first + (size or length)]
            units.append((part[0], part[-1] + 1))
        start += length
    return units


some_lengths = st.lists(st.integers(1, 9), min_size=1, max_size=6)


@settings(max_examples=80, deadline=None)
@given(some_lengths, st.integers(1, 4), st.floats(0, 1), st.integers(0, 99), st.booleans())
def test_a_unit_is_touched_as_a_whole_by_the_number_of_its_first_step(lengths, window, rate, seed, whole):
    dataset = make(lengths)
    granularity = {"granularity": "trajectory"} if whole else {"granularity": "window", "window": window}
    mask = mask_of(dataset, rate=rate, seed=seed, **granularity)
    draws = block_generator(seed, "corruption.random", "rewards:mask", 0).random(sum(lengths))
    for first, stop in units_of(lengths, None if whole else window):
        assert (mask[first:stop] == (draws[first] < rate)).all()


@settings(max_examples=80, deadline=None)
@given(some_lengths, st.sampled_from(["transition", "window", "trajectory"]), st.floats(0, 1), st.integers(0, 99))
def test_an_exact_count_touches_the_rounded_share_of_the_units(lengths, granularity, rate, seed):
    dataset = make(lengths)
    mask = mask_of(dataset, rate=rate, seed=seed, granularity=granularity, window=3, count="exact")
    size = {"transition": 1, "window": 3, "trajectory": None}[granularity]
    states = [set(mask[first:stop].tolist()) for first, stop in units_of(lengths, size)]
    assert all(len(state) == 1 for state in states)
    assert sum(True in state for state in states) == round(rate * len(states))


@pytest.mark.parametrize("count", ["random", "exact"])
@pytest.mark.parametrize("granularity", ["transition", "window", "trajectory"])
def test_steps_touched_at_a_lower_rate_are_among_those_at_a_higher_one(granularity, count):
    dataset = make([7] * 40)
    low, high = (mask_of(dataset, rate=rate, granularity=granularity, count=count) for rate in (0.2, 0.6))
    assert low.any()
    assert not (low & ~high).any()


def test_only_tagged_episodes_are_touched_and_the_rate_is_of_their_steps():
    dataset = make([100] * 4, tags={"worse": [False, True, False, True]})
    for parameters in ({}, {"granularity": "window"}, {"granularity": "trajectory", "rate": 1.0}):
        mask = mask_of(dataset, tag="worse", **({"rate": 0.5} | parameters))
        assert not mask[:100].any()
        assert not mask[200:300].any()
        assert mask.any()
    assert mask_of(dataset, tag="worse", rate=0.25, count="exact").sum() == 50
    with pytest.raises(UnknownNameError, match="worse"):
        mask_of(dataset, tag="wors")


def test_a_given_mask_is_what_is_touched():
    chosen = np.arange(20) % 3 == 1
    dataset = make([8, 12], **{"infos/chosen": chosen})
    variant = RandomCorruption("actions", rate=0.0, mask="infos/chosen")(dataset)
    assert variant.masks["actions"].tolist() == chosen.tolist()
    assert ((variant.actions != dataset.actions).any(axis=1) == chosen).all()
    with pytest.raises(UnknownNameError, match="infos/chosen"):
        mask_of(dataset, mask="infos/chose")
    with pytest.raises(DatasetError, match="one boolean per step"):
        mask_of(dataset, mask="rewards")
    with pytest.raises(ConfigError, match="tag has no effect"):
        mask_of(dataset, mask="infos/chosen", tag="any")


def test_shared_rows_are_the_same_for_all_elements_and_others_are_independent():
    dataset = make([50] * 40)
    for element in ("actions", "rewards", "dynamics"):
        dataset = RandomCorruption(element, rate=0.5, shared="mixed")(dataset)
    masks = dataset.masks
    assert masks["actions"].tolist() == masks["rewards"].tolist() == masks["dynamics"].tolist()
    other = RandomCorruption("observations", rate=0.5)(dataset).masks["observations"]
    assert 0.4 < (other & masks["actions"]).sum() / masks["actions"].sum() < 0.6
    again = RandomCorruption("observations", rate=0.5, shared="other")(dataset).masks["observations"]
    assert again.tolist() != masks["actions"].tolist()


def test_windows_and_exact_counts_reach_across_blocks_of_draws():
    dataset = make([BLOCK_STEPS - 5, 40, 1000])
    mask = mask_of(dataset, rate=0.5, granularity="window", window=50)
    for first, stop in units_of([BLOCK_STEPS - 5, 40, 1000], 50):
        assert len(set(mask[first:stop].tolist())) == 1
    assert 0.4 < mask.mean() < 0.6


def test_recorded_parameters_make_the_same_variant_again():
    dataset = make([5, 6, 7])
    transform = RandomCorruption("actions", rate=0.4, granularity="window", window=2, shared="x", seed=3)
    variant = transform(dataset)
    record = variant.history[-1]
    assert record.parameters["window"] == 2
    assert RandomCorruption(**record.parameters)(dataset) == variant
