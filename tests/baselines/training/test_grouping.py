"""Populations are formed by likeness, size and memory; sizes by what is faster; memory by what is really taken."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from assay.baselines import BC, CQL, IQL, TD3BC
from assay.baselines.training.grouping import Candidate, form_groups
from assay.baselines.training.sizing import (
    available_memory,
    bytes_per_member,
    choose_size,
    kept_for_backward,
    like_population,
)

candidates = st.lists(
    st.builds(
        Candidate,
        kind=st.sampled_from(["a", "b"]),
        data=st.integers(0, 3),
        data_bytes=st.just(0),
        company=st.sampled_from([None, "first", "second"]),
    ),
    max_size=30,
).map(lambda items: [Candidate(i.kind, i.data, 10 * (i.data + 1), i.company) for i in items])


@given(candidates, st.integers(1, 6), st.integers(1, 20), st.integers(1, 150))
def test_every_job_has_one_place_and_every_population_fits(jobs, largest, member_bytes, memory):
    groups = form_groups(jobs, lambda _: largest, lambda _: member_bytes, memory)
    assert sorted(index for group in groups for index in group.members) == list(range(len(jobs)))
    for group in groups:
        members = [jobs[index] for index in group.members]
        assert len({(item.kind, item.company) for item in members}) == 1
        assert len(members) <= largest or members[0].company is not None
        data = {item.data: item.data_bytes for item in members}
        if group.streaming:  # only what could not be placed at all
            assert all(item.data_bytes + member_bytes > memory for item in members)
            assert len(members) * member_bytes <= max(memory, member_bytes)
        else:
            assert sum(data.values()) + len(members) * member_bytes <= memory


@given(candidates, st.integers(1, 6))
def test_without_a_limit_of_memory_there_is_no_population_too_many(jobs, largest):
    groups = form_groups(jobs, lambda _: largest, lambda _: 1, 10**9)
    kinds = [(item.kind, item.company) for item in jobs]
    begun = {kind for kind in kinds if kind[1] is not None}
    assert len(groups) == len(begun) + sum(-(-kinds.count(kind) // largest) for kind in set(kinds) - begun)


def test_the_size_grows_until_doubling_is_slower_by_more_than_five_percent():
    costs = {1: 1.0, 2: 1.2, 4: 1.6, 8: 3.3, 16: 7.0, 32: 14.0}
    asked = []

    def seconds(members):
        asked.append(members)
        return costs[members]

    assert choose_size(100, seconds, most=64) == 8  # 8 members cost 0.41 each after 0.4, 16 cost 0.44
    assert asked == [1, 2, 4, 8, 16]
    assert choose_size(3, lambda members: 1.0, most=64) == 3
    assert choose_size(100, lambda members: 1.0, most=5) == 5


@pytest.mark.parametrize("algorithm", [BC(), TD3BC(), IQL()], ids=lambda item: item.name)
def test_the_estimate_holds_the_tensors_that_are_really_there(algorithm):
    population = like_population(algorithm, 1, 17, 6)
    population.advance(4)
    state = sum(tensor.nbytes for network in population.networks.values() for tensor in network.tensors().values())
    hidden = sum(algorithm.hidden) * algorithm.batch_size * 4  # what one network's backward pass keeps at least
    estimate = bytes_per_member(algorithm, 17, 6)
    assert state + hidden < estimate < 20 * (state + hidden)


def test_a_larger_batch_takes_more_memory_in_proportion():
    small, large = (bytes_per_member(IQL(batch_size=size), 17, 6) for size in (256, 2560))
    smaller = bytes_per_member(IQL(batch_size=26), 17, 6)
    assert np.isclose((large - smaller) / (small - smaller), (2560 - 26) / (256 - 26), rtol=0.05)


@pytest.mark.parametrize("algorithm", [TD3BC(hidden=(32, 32)), CQL(hidden=(32, 32))], ids=lambda item: item.name)
def test_memory_and_work_grow_linearly_in_members_and_their_data_does_not(algorithm):
    def cost(members):
        made = like_population(algorithm, members, 5, 2)
        state = sum(tensor.nbytes for network in made.networks.values() for tensor in network.tensors().values())
        with FlopCounterMode(display=False) as flops:
            made.advance(made.period)
        return state, flops.get_total_flops(), kept_for_backward(made), made.batches.rows.nbytes

    (state, flops, kept, rows), eight = cost(1), cost(8)
    assert eight[:2] == (8 * state, 8 * flops)
    assert np.isclose(eight[2], 8 * kept, rtol=0.05)
    assert eight[3] == rows


def test_memory_that_caches_files_counts_as_available():
    page = os.sysconf("SC_PAGE_SIZE")
    free, total = page * os.sysconf("SC_AVPHYS_PAGES"), page * os.sysconf("SC_PHYS_PAGES")
    assert 0.5 * free < available_memory("cpu") < total
