"""Populations are formed by likeness, size and memory; sizes by a table of measurements; memory by what is really taken."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from assay.baselines import BC, CQL, IQL, TD3BC
from assay.baselines.engine.shapes import Shapes
from assay.baselines.training.grouping import GroupCandidate, form_groups
from assay.baselines.training.sizing import (
    available_memory,
    bytes_per_member,
    flops_per_update,
    kept_for_backward,
    like_population,
    most_members,
    saturation_table,
    steady_memory,
)

ROOT = Path(__file__).parents[3]

candidates = st.lists(
    st.builds(
        GroupCandidate,
        kind=st.sampled_from(["a", "b"]),
        data=st.integers(0, 3),
        data_bytes=st.just(0),
        company=st.sampled_from([None, "first", "second"]),
    ),
    max_size=30,
).map(lambda items: [GroupCandidate(i.kind, i.data, 10 * (i.data + 1), i.company) for i in items])


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


def table(**costs: float) -> dict[str, object]:
    measured = {name.removeprefix("of_"): cost for name, cost in costs.items()}
    return {"devices": {"cpu": [{"flops": 1000, "cost": measured}]}}


def test_a_population_is_as_large_as_was_not_measurably_slower():
    falling = {"of_1": 1.0, "of_2": 0.6, "of_4": 0.4, "of_8": 0.3}
    assert most_members("cpu", 1000, table(**falling)) == 8
    assert (
        most_members("cpu", 1000, table(**falling, of_16=0.329, of_32=0.34)) == 16
    )  # 10 % slower is noise, 13 % is not
    assert most_members("cpu", 1000, table(of_1=1.0, of_2=1.2, of_4=1.3)) == 1
    assert most_members("cpu", 1000, table(of_1=1.0, of_2=1.2, of_4=0.9)) == 4  # whatever lies between


def test_the_member_of_the_nearest_work_decides_and_an_unmeasured_device_sets_no_limit():
    light, heavy = {"flops": 10, "cost": {"1": 1.0, "8": 0.2}}, {"flops": 1000, "cost": {"1": 1.0, "8": 2.0}}
    measured = {"devices": {"cpu": [light, heavy]}}
    assert [most_members("cpu", flops, measured) for flops in (0, 10, 99, 101, 10**9)] == [8, 8, 8, 1, 1]
    assert most_members("cuda:1", 1000, measured) == 64


def test_the_table_is_complete_and_says_how_it_was_measured():
    found = saturation_table()
    assert set(found["devices"]) == set(found["measured"])
    for kind, entries in found["devices"].items():
        script = found["measured"][kind]["command"].split("python ")[1].split()[0]
        assert (ROOT / script).exists()
        assert [entry["flops"] for entry in entries] == sorted(entry["flops"] for entry in entries)
        for entry in entries:
            assert entry["cost"]["1"] == 1.0
            assert all(cost > 0 for cost in entry["cost"].values())


@given(st.integers(0, 2**45))
def test_memory_is_rounded_down_by_less_than_a_fifth(count):
    steady = steady_memory(count)
    assert count / 2**0.25 - 1 <= steady <= count
    assert steady_memory(steady_memory(count) + 1) >= steady_memory(count) - 1


@given(candidates, st.integers(1, 6), st.integers(1, 20), st.integers(8, 400), st.floats(0, 0.999))
def test_the_same_jobs_form_the_same_populations_however_much_memory_a_step_leaves_free(
    jobs, largest, member_bytes, free, share
):
    lowest = math.ceil(2 ** (math.floor(math.log2(free) * 4) / 4))  # of the step in which `free` lies
    highest = math.ceil(2 ** ((math.floor(math.log2(free) * 4) + 1) / 4)) - 1
    other = lowest + int(share * max(0, highest - lowest))

    def populations(memory):
        return form_groups(jobs, lambda _: largest, lambda _: member_bytes, steady_memory(memory))

    assert populations(free) == populations(other)


@pytest.mark.parametrize("algorithm", [BC(), TD3BC(), IQL(batch_size=64)], ids=lambda item: item.name)
def test_the_work_of_a_member_is_that_of_its_whole_update(algorithm):
    population = like_population(algorithm, 1, Shapes.flat(17, 6))
    with FlopCounterMode(display=False) as counter:
        population.advance(population.period)
    assert flops_per_update(algorithm, Shapes.flat(17, 6)) == pytest.approx(
        counter.get_total_flops() / population.period, rel=0.01
    )


@pytest.mark.parametrize("algorithm", [BC(), TD3BC(), IQL()], ids=lambda item: item.name)
def test_the_estimate_holds_the_tensors_that_are_really_there(algorithm):
    population = like_population(algorithm, 1, Shapes.flat(17, 6))
    population.advance(4)
    state = sum(tensor.nbytes for network in population.networks.values() for tensor in network.tensors().values())
    hidden = sum(algorithm.hidden) * algorithm.batch_size * 4  # what one network's backward pass keeps at least
    estimate = bytes_per_member(algorithm, Shapes.flat(17, 6))
    assert state + hidden < estimate < 20 * (state + hidden)


def test_a_larger_batch_takes_more_memory_in_proportion():
    small, large = (bytes_per_member(IQL(batch_size=size), Shapes.flat(17, 6)) for size in (256, 2560))
    smaller = bytes_per_member(IQL(batch_size=26), Shapes.flat(17, 6))
    assert np.isclose((large - smaller) / (small - smaller), (2560 - 26) / (256 - 26), rtol=0.05)


@pytest.mark.parametrize("algorithm", [TD3BC(hidden=(32, 32)), CQL(hidden=(32, 32))], ids=lambda item: item.name)
def test_memory_and_work_grow_linearly_in_members_and_their_data_does_not(algorithm):
    def cost(members):
        made = like_population(algorithm, members, Shapes.flat(5, 2))
        state = sum(tensor.nbytes for network in made.networks.values() for tensor in network.tensors().values())
        with FlopCounterMode(display=False) as flops:
            made.advance(made.period)
        return state, flops.get_total_flops(), kept_for_backward(made), made.table.rows.nbytes

    (state, flops, kept, rows), eight = cost(1), cost(8)
    assert eight[:2] == (8 * state, 8 * flops)
    assert np.isclose(eight[2], 8 * kept, rtol=0.05)
    assert eight[3] == rows


def test_memory_that_caches_files_counts_as_available():
    page = os.sysconf("SC_PAGE_SIZE")
    free, total = page * os.sysconf("SC_AVPHYS_PAGES"), page * os.sysconf("SC_PHYS_PAGES")
    assert 0.5 * free < available_memory("cpu") < total
