"""Draws are a stateless function of seed, purpose, update and position, and look random."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from assay.baselines.engine.randomness import Draws


def at(update: int, seeds=(0, 1, 2)) -> Draws:
    return Draws(seeds, torch.tensor([update]))


def splitmix(x: int) -> int:
    mask = 2**64 - 1
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
    return x ^ (x >> 31)


def test_bits_are_the_documented_function_in_unsigned_64_bit_arithmetic():
    import zlib

    golden, mask = 0x9E3779B97F4A7C15, 2**64 - 1
    seed, update, position = 12345, 7, 41
    key = splitmix(splitmix((seed + golden) & mask) ^ zlib.crc32(b"batch"))
    state = splitmix((key + golden * (update + 1)) & mask)
    expected = splitmix((state + golden * (position + 1)) & mask)
    bits = Draws([seed], torch.tensor([update])).bits("batch", 100)[0, position].item()
    assert bits % 2**64 == expected


def test_a_members_stream_does_not_depend_on_its_neighbours():
    together, alone = at(5).normal("noise", 4, 3), at(5, seeds=(1,)).normal("noise", 4, 3)
    assert torch.equal(together[1], alone[0])


@pytest.mark.parametrize("change", ["seed", "purpose", "update"])
def test_another_seed_purpose_or_update_gives_other_numbers(change):
    base = at(3, (0,)).uniform("a", 1000)
    other = {
        "seed": at(3, (1,)).uniform("a", 1000),
        "purpose": at(3, (0,)).uniform("b", 1000),
        "update": at(4, (0,)).uniform("a", 1000),
    }[change]
    assert abs(np.corrcoef(base[0], other[0])[0, 1]) < 0.1


def test_uniform_normal_and_fractions_follow_their_distributions():
    draws = at(0, seeds=range(4))
    assert stats.kstest(draws.uniform("u", 50_000).numpy().ravel(), "uniform").pvalue > 1e-3
    assert stats.kstest(draws.normal("n", 50_000).numpy().ravel(), "norm").pvalue > 1e-3
    assert stats.kstest(draws.fractions("f", 50_000).numpy().ravel(), "uniform").pvalue > 1e-3
    assert float(draws.uniform("u", 50_000).max()) < 1.0


def test_consecutive_updates_are_independent():
    series = np.array([at(update, (0,)).uniform("u", 1).item() for update in range(2000)])
    assert abs(np.corrcoef(series[:-1], series[1:])[0, 1]) < 0.08
    assert stats.kstest(series, "uniform").pvalue > 1e-3


def test_integers_are_uniform_below_each_members_own_limit():
    limits = torch.tensor([3, 7, 1])
    drawn = at(0).integers("i", limits, 30_000).numpy()
    for row, limit in zip(drawn, limits.tolist()):
        counts = np.bincount(row, minlength=limit)
        assert len(counts) == limit
        assert limit == 1 or stats.chisquare(counts).pvalue > 1e-3


def test_both_precisions_see_the_same_draws():
    update = torch.tensor([9])
    single, double = Draws([4], update), Draws([4], update, torch.float64)
    assert torch.equal(single.normal("n", 50).double(), double.normal("n", 50))


def test_events_happen_with_their_members_probability_and_do_not_depend_on_company():
    probability = torch.tensor([[0.1], [0.75], [0.0], [1.0]])
    together = Draws([3, 4, 5, 6], torch.zeros(1, dtype=torch.int64)).events("mask", probability, 500, 401)
    for member, expected in enumerate(probability[:, 0].tolist()):
        share = together[member].double().mean().item()
        assert abs(share - expected) <= 5 * (expected * (1 - expected) / together[member].numel()) ** 0.5
    alone = Draws([4], torch.zeros(1, dtype=torch.int64)).events("mask", probability[1:2], 500, 401)
    assert torch.equal(alone[0], together[1])
    mask = together[1].double() - 0.75  # neighbours that share a number are independent
    for shift in (1, 2, 3, 4):
        assert abs((mask[:, shift:] * mask[:, :-shift]).mean().item()) < 0.003


KINDS = {
    "bits": lambda draws: draws.bits("a", 3, 5),
    "uniform": lambda draws: draws.uniform("b", 7),
    "normal": lambda draws: draws.normal("c", 4, 3),
    "fractions": lambda draws: draws.fractions("d", 9),
    "integers": lambda draws: draws.integers("e", torch.tensor([3, 1000, 2**31 - 1]), 11),
    "events": lambda draws: draws.events("f", torch.tensor([[0.1], [0.5], [0.9]]), 13),
}


@given(st.integers(1, 17), st.integers(0, 2**40), st.data())
def test_numbers_drawn_ahead_are_those_drawn_one_update_at_a_time(updates, first, data):
    """Whatever is asked for, first in whichever of the updates, and how often."""
    ahead, counter = Draws((0, 1, 2), torch.tensor([first])), torch.tensor([first])
    ahead.update = counter
    with ahead.ahead(updates):
        for number in range(updates):
            for kind in data.draw(st.lists(st.sampled_from(sorted(KINDS)), max_size=4)):
                assert torch.equal(KINDS[kind](ahead), KINDS[kind](at(first + number)))
            counter += 1
            ahead.proceed()
    assert torch.equal(KINDS["normal"](ahead), KINDS["normal"](at(first + updates)))  # and afterwards


def test_what_was_drawn_ahead_is_dropped_when_an_update_fails():
    draws = at(3)
    with contextlib.suppress(ZeroDivisionError), draws.ahead(4):
        draws.normal("c", 2)
        _ = 1 / 0
    assert torch.equal(draws.normal("c", 2), at(3).normal("c", 2))
