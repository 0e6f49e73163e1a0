"""Distances between datasets agree with closed forms, with scipy, and with slow sums."""

from __future__ import annotations

from math import gamma, pi, sqrt

import numpy as np
import pytest
from scipy import stats

from assay.metrics import assess, kl_divergence, ks_distances, mmd, sliced_wasserstein
from assay.metrics.measures import NotMeasurable

from .synthetic import dataset_of


def normal(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d))


# -------------------------------------------------------------------- sliced Wasserstein


def test_a_shift_moves_every_projection_by_its_part() -> None:
    rows, shift = normal(200, 5), np.array([3.0, 0, 4, 0, 0])
    # E (u . v)^2 = |v|^2 / D over the sphere, here of 3,000 directions
    assert sliced_wasserstein(rows + shift, rows, directions=3000) == pytest.approx(5 / sqrt(5), rel=0.03)
    assert sliced_wasserstein(rows[::-1], rows) == 0.0


def test_normals_of_two_widths() -> None:
    # W2 of N(0, 1) and N(0, 9) on a line is 2; every direction has it
    assert sliced_wasserstein(3 * normal(20_000, 3), normal(20_000, 3, 1), 20) == pytest.approx(2, abs=0.06)


def test_samples_of_unequal_size_are_compared_exactly() -> None:
    rows, reference = normal(6, 1), normal(4, 1, 1)
    whole = np.sort(np.repeat(rows, 2)), np.sort(np.repeat(reference, 3))  # the same distributions, 12 rows each
    assert sliced_wasserstein(rows, reference) == pytest.approx(sqrt(((whole[0] - whole[1]) ** 2).mean()))
    assert sliced_wasserstein(np.repeat(rows, 7, axis=0), rows) == pytest.approx(0, abs=1e-12)


def test_one_direction_agrees_with_scipy_to_first_order() -> None:
    # a distance of order two is at least the one of order one, and equal for a shift
    rows, reference = normal(50, 1), normal(40, 1, 1) + 20
    first = stats.wasserstein_distance(rows[:, 0], reference[:, 0])
    assert first <= sliced_wasserstein(rows, reference) <= first * 1.01


# -------------------------------------------------------------------- MMD


def test_mmd_is_the_slow_sum() -> None:
    rows, reference = normal(7, 3), normal(9, 3, 1)

    def mean(a: np.ndarray, b: np.ndarray, same: bool) -> float:
        values = [
            np.exp(-((x - y) ** 2).sum() / (2 * 1.7**2))
            for i, x in enumerate(a)
            for j, y in enumerate(b)
            if not (same and i == j)
        ]
        return float(np.mean(values))

    expected = mean(rows, rows, True) + mean(reference, reference, True) - 2 * mean(rows, reference, False)
    assert mmd(rows, reference, bandwidth=1.7) == pytest.approx(expected)


def test_mmd_of_two_normals_has_a_closed_form() -> None:
    # E k over N(0, 2) differences: (s^2 / (s^2 + 2))^(d/2); shifted by v: times exp(-v^2 / 2 (s^2 + 2))
    s, v = 1.0, 1.0
    expected = 2 * (s**2 / (s**2 + 2)) ** 0.5 * (1 - np.exp(-(v**2) / (2 * (s**2 + 2))))
    assert mmd(normal(2000, 1), normal(2000, 1, 1) + v, bandwidth=s) == pytest.approx(expected, abs=0.02)


def test_mmd_of_equal_distributions_is_zero_on_average() -> None:
    values = [mmd(normal(60, 2, 2 * seed), normal(60, 2, 2 * seed + 1), bandwidth=1.0) for seed in range(60)]
    assert abs(np.mean(values)) < 3 * np.std(values) / sqrt(60)
    assert min(values) < 0


# -------------------------------------------------------------------- KL


@pytest.mark.parametrize("dimensions", [1, 3])
def test_kl_of_two_normals(dimensions: int) -> None:
    rows, reference = normal(4000, dimensions), normal(4000, dimensions, 1)
    assert kl_divergence(rows, reference) == pytest.approx(0, abs=0.06)
    assert kl_divergence(rows + 1, reference) == pytest.approx(dimensions / 2, abs=0.12)
    wide = dimensions * (np.log(2) + 1 / 8 - 1 / 2)  # of N(0, 1) from N(0, 4)
    assert kl_divergence(rows, 2 * reference) == pytest.approx(wide, abs=0.1)


def test_kl_of_repeated_rows_is_finite_and_large_for_a_point_mass() -> None:
    assert kl_divergence(np.zeros((50, 2)), normal(500, 2)) > 10
    assert np.isfinite(kl_divergence(np.zeros((50, 2)), np.zeros((50, 2))))


# -------------------------------------------------------------------- KS


def test_ks_is_that_of_scipy_also_with_ties() -> None:
    rows, reference = normal(70, 3), normal(50, 3, 1)
    rows[:, 2], reference[:, 2] = np.round(rows[:, 2]), np.round(reference[:, 2])
    expected = [stats.ks_2samp(rows[:, j], reference[:, j]).statistic for j in range(3)]
    assert ks_distances(rows, reference) == pytest.approx(expected)
    assert ks_distances(rows, rows[::-1]).max() == 0


def test_too_few_rows_are_refused() -> None:
    rows = normal(5, 2)
    for distance in (sliced_wasserstein, mmd, kl_divergence, ks_distances):
        with pytest.raises(NotMeasurable):
            distance(rows[:0], rows)
    with pytest.raises(NotMeasurable):
        mmd(rows[:1], rows)
    with pytest.raises(NotMeasurable):
        kl_divergence(rows, rows)


# -------------------------------------------------------------------- the table


def test_the_table_sees_what_changed() -> None:
    def noise(states: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        return generator.standard_normal((len(states), 1))

    reference = dataset_of(normal(1020, 2), noise, 20, rewards=normal(1000, 1, 5)[:, 0], name="made/reference")
    same = dataset_of(normal(1020, 2, 2), noise, 20, rewards=normal(1000, 1, 6)[:, 0])
    shifted = same.replace({"rewards": same.rewards + 2})
    calm, changed = (
        {r["metric"]: r for r in assess(d, reference, select=["distance"]).iter_rows(named=True)}
        for d in (same, shifted)
    )
    assert calm["sliced_wasserstein"]["value"] < 0.15
    assert changed["sliced_wasserstein"]["value"] == pytest.approx(2 / sqrt(4), abs=0.15)
    assert calm["mmd"]["interval"]["low"] < 0.003
    assert changed["mmd"]["interval"]["low"] > 0.02
    assert abs(calm["kl_divergence"]["value"]) < 0.3
    assert 1 < changed["kl_divergence"]["value"] < 2.2  # 2 in truth; 500 rows in 4 dimensions see less
    expected = 2 * stats.norm.cdf(1) - 1
    assert changed["ks_max"]["value"] == pytest.approx(expected, abs=0.05)
    assert changed["ks_mean"]["value"] < 0.25
    for row in changed.values():
        assert row["interval"]["low"] < row["value"] < row["interval"]["high"]
        assert "made/reference: 500 of 1,000 steps" in row["source"]


def test_the_mean_over_directions_is_the_expected_one() -> None:
    # E |u . v| is not needed, but fixes that directions are even on the sphere: E |u_1| = G(D/2) / (sqrt(pi) G((D+1)/2))
    from assay.metrics.distance import _directions

    found = np.abs(_directions(3, 20_000, 0)[:, 0]).mean()
    assert found == pytest.approx(gamma(1.5) / (sqrt(pi) * gamma(2)), rel=0.01)
