"""HyperLogLog: within its stated error of the exact count, and a union is a merge."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.datasets.errors import ConfigError, FormatError
from assay.metrics import HyperLogLog


def numbers(count: int, seed: int = 0) -> np.ndarray:
    return np.random.PCG64(seed).random_raw(count).astype(np.uint64)


def sketch(hashes: np.ndarray, precision: int = 10) -> HyperLogLog:
    made = HyperLogLog(precision)
    made.add(hashes)
    return made


@pytest.mark.parametrize("count", [1, 10, 100, 1_000, 5_000, 50_000])
def test_the_error_is_the_theoretical_one_at_every_scale(count: int) -> None:
    errors = np.array([sketch(numbers(count, seed)).estimate() / count - 1 for seed in range(60)])
    stated = sketch(numbers(1)).standard_error
    assert stated == 1.04 / 32
    assert np.sqrt((errors**2).mean()) < 1.25 * stated
    assert abs(errors.mean()) < 4 * stated / np.sqrt(60)  # no bias
    if count >= 5_000:
        assert np.sqrt((errors**2).mean()) > 0.7 * stated


@pytest.mark.parametrize(("precision", "count"), [(6, 2_000), (14, 300_000), (18, 300_000)])
def test_every_precision_keeps_its_error(precision: int, count: int) -> None:
    made = sketch(numbers(count), precision)
    assert abs(made.estimate() / count - 1) < 3.5 * made.standard_error
    assert made.standard_error == 1.04 / 2 ** (precision / 2)
    low, high = made.interval()
    assert high - low == pytest.approx(2 * 1.96 * made.standard_error * made.estimate())


def test_numbers_that_do_not_look_random_are_counted_as_well() -> None:
    for count, step in ((20_000, 1), (20_000, 1 << 40), (20_000, 3)):
        made = sketch(np.arange(count, dtype=np.uint64) * np.uint64(step), 12)
        assert abs(made.estimate() / count - 1) < 4 * made.standard_error


def test_nothing_is_zero_and_one_is_one() -> None:
    assert HyperLogLog().estimate() == 0.0
    assert sketch(np.zeros(5, np.uint64), 14).estimate() == pytest.approx(1, abs=1e-3)
    assert sketch(np.zeros(0, np.uint64)) == HyperLogLog(10)


@given(a=st.integers(0, 3000), b=st.integers(0, 3000), overlap=st.integers(0, 3000), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_a_merge_is_the_sketch_of_the_union_in_any_order_and_chunking(a: int, b: int, overlap: int, seed: int) -> None:
    hashes = numbers(a + b + 1, seed)
    left, right = hashes[:a], hashes[max(0, a - overlap) :]
    whole = sketch(hashes)
    assert sketch(left).merge(sketch(right)) == sketch(right).merge(sketch(left)) == whole
    assert whole.merge(whole, HyperLogLog(10)) == whole
    shuffled = np.random.default_rng(seed).permutation(np.concatenate([hashes, hashes[:a]]))
    assert HyperLogLog(10).update(np.array_split(shuffled, 7)) == whole


def test_merging_leaves_the_parts_as_they_are() -> None:
    left, right = sketch(numbers(100)), sketch(numbers(100, 1))
    left.merge(right)
    assert left == sketch(numbers(100))


def test_a_sketch_travels_as_bytes() -> None:
    made = sketch(numbers(1000), 9)
    content = made.to_bytes()
    assert len(content) == 512 + 12
    assert HyperLogLog.from_bytes(content) == made
    assert HyperLogLog.from_bytes(content).precision == 9
    for damaged in (b"", content[:-1], content + b"0", b"x" + content[1:], content[:-1] + b"\xff"):
        with pytest.raises(FormatError):
            HyperLogLog.from_bytes(damaged)


def test_misuse_is_refused() -> None:
    with pytest.raises(ConfigError, match="precision=3"):
        HyperLogLog(3)
    with pytest.raises(ConfigError, match="uint64, not int64"):
        HyperLogLog().add(np.zeros(3, np.int64))
    with pytest.raises(ConfigError, match="10 and 11 do not merge"):
        HyperLogLog(10).merge(HyperLogLog(11))


def test_positions_are_those_of_the_binary_digits() -> None:
    from assay.metrics.hyperloglog import _leading_zeros

    words = np.array([1, 2, 3, 2**53 - 1, 2**53 + 1, 2**63, 2**64 - 1, 2**54 - 1, 2**32], np.uint64)
    assert _leading_zeros(words).tolist() == [64 - int(word).bit_length() for word in words]
