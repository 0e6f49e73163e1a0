"""Entropy by neighbours agrees with distributions of known entropy; the rank with known spectra."""

from __future__ import annotations

import numpy as np
import pytest

from assay.metrics import assess, effective_rank, knn_entropy, spectrum
from assay.metrics.measures import NotMeasurable

from .synthetic import dataset_of

GAUSSIAN = 0.5 * np.log(2 * np.pi * np.e)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(("dimensions", "bias"), [(1, 0.05), (3, 0.05), (6, 0.1), (11, 0.15)])
def test_the_entropy_of_normal_rows(dimensions: int, bias: float) -> None:
    rows = generator().standard_normal((5000, dimensions))
    assert knn_entropy(rows) == pytest.approx(dimensions * GAUSSIAN, abs=bias + 2 * np.sqrt(dimensions / 2 / 5000))


def test_the_bias_in_many_dimensions_is_as_documented() -> None:
    rows = generator().standard_normal((2000, 23))
    assert 1.2 < knn_entropy(rows) - 23 * GAUSSIAN < 2.2


@pytest.mark.parametrize("dimensions", [1, 2, 4])
def test_the_entropy_of_uniform_rows_is_the_logarithm_of_the_volume(dimensions: int) -> None:
    rows = generator(1).uniform(0, 3, (5000, dimensions))
    # balls that reach over the border find too few neighbours: upwards, more so in more dimensions
    assert 0 <= knn_entropy(rows) - dimensions * np.log(3) + 0.05 < 0.1 + 0.05 * dimensions**2


def test_correlated_normals_and_units() -> None:
    mixing = np.array([[1.0, 0.0], [0.9, 0.2]])
    rows = generator(2).standard_normal((5000, 2)) @ mixing.T
    assert knn_entropy(rows) == pytest.approx(2 * GAUSSIAN + np.log(0.2), abs=0.08)
    assert knn_entropy(rows * [1000, 0.001]) == pytest.approx(knn_entropy(rows), abs=1e-6)
    assert knn_entropy(rows * 10 + 4) == pytest.approx(knn_entropy(rows) + 2 * np.log(10), abs=1e-6)


def test_row_order_and_constant_columns_do_not_matter() -> None:
    rows = generator().standard_normal((500, 3))
    assert knn_entropy(rows[::-1]) == pytest.approx(knn_entropy(rows), abs=1e-9)
    assert knn_entropy(np.column_stack([rows, np.full(500, 7.0)])) == pytest.approx(knn_entropy(rows), abs=1e-9)
    assert effective_rank(rows[::-1]) == pytest.approx(effective_rank(rows), abs=1e-9)


def test_the_distance_by_hand() -> None:
    # r = 1, 1, 2 in units of the data; n = 3, k = 1: psi(3) - psi(1) = 3/2, ball of radius r: 2 r long
    assert knn_entropy(np.array([[0.0], [1.0], [3.0]]), k=1) == pytest.approx(1.5 + np.log(2) + np.log(2) / 3)


def test_repeated_rows_lower_the_entropy_and_stay_finite() -> None:
    rows = generator().standard_normal((1000, 2))
    some = np.concatenate([rows, np.repeat(rows[:50], 5, axis=0)])
    assert np.isfinite(knn_entropy(some))
    assert knn_entropy(some) < knn_entropy(rows) - 1


def test_too_few_rows_and_rows_that_do_not_vary_are_refused() -> None:
    for rows in (np.zeros((0, 2)), np.zeros((1, 2)), generator().random((3, 2)), np.ones((50, 2))):
        with pytest.raises(NotMeasurable):
            knn_entropy(rows)
    with pytest.raises(NotMeasurable):
        spectrum(np.ones((50, 2)))


def test_the_spectrum_of_equally_correlated_columns() -> None:
    # correlation rho between all of d columns: one eigenvalue 1 + (d - 1) rho, the others 1 - rho
    d, rho = 4, 0.5
    covariance = np.full((d, d), rho) + (1 - rho) * np.eye(d)
    basis, _ = np.linalg.qr(np.column_stack([np.ones(64), generator().standard_normal((64, d))]))
    rows = basis[:, 1:] @ np.linalg.cholesky(covariance).T  # exactly this covariance
    shares = np.array([1 + (d - 1) * rho, *[1 - rho] * (d - 1)]) / d
    assert spectrum(rows * [1, 10, 100, 1000]) == pytest.approx(shares)
    assert effective_rank(rows) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))


def test_in_the_table_the_policy_entropy_is_that_of_the_noise() -> None:
    states = generator(3).standard_normal((4020, 2))
    dataset = dataset_of(states, lambda s, g: s[:, :1] + 0.5 * g.standard_normal((len(s), 1)), episodes=20)
    rows = {row["metric"]: row for row in assess(dataset, select=["entropy"]).iter_rows(named=True)}
    for name, expected in {
        "state_entropy": 2 * GAUSSIAN,
        "state_action_entropy": 3 * GAUSSIAN + np.log(0.5),
        "policy_entropy": GAUSSIAN + np.log(0.5),
    }.items():
        row = rows[name]
        assert row["value"] == pytest.approx(expected, abs=0.12), name
        low, high = row["interval"]["low"], row["interval"]["high"]
        assert low < row["value"] < high < low + 0.5
        assert "all 4,000 steps" in row["source"]


def test_in_the_table_a_discrete_policy_has_the_entropy_of_its_choices() -> None:
    states = generator(4).standard_normal((3020, 2))
    blind = dataset_of(states, lambda s, g: g.integers(0, 4, len(s)), episodes=20)
    seeing = dataset_of(states, lambda s, g: (s[:, 0] > 0).astype(np.int64), episodes=20)
    value = {name: assess(d, select=["policy_entropy"])["value"][0] for name, d in (("b", blind), ("s", seeing))}
    assert value["b"] == pytest.approx(np.log(4), abs=0.1)
    assert value["s"] == pytest.approx(0, abs=0.1)


def test_a_subsample_says_so_and_its_interval_covers_the_whole() -> None:
    states = generator(5).standard_normal((4040, 3))
    dataset = dataset_of(states, lambda s, g: g.standard_normal((len(s), 1)), episodes=40)
    select = ["state_entropy", "effective_rank_states"]
    few, all_of_them = assess(dataset, select=select, sample=1000, seed=3), assess(dataset, select=select)
    for row, whole in zip(few.iter_rows(named=True), all_of_them["value"], strict=True):
        assert "1,000 of 4,000 steps, seed 3" in row["source"]
        assert row["interval"]["low"] < whole < row["interval"]["high"]


def test_discrete_states_have_no_entropy_and_the_reason_is_given() -> None:
    dataset = dataset_of(np.arange(220) % 5 * 1.0, lambda s, g: g.standard_normal((len(s), 1)), episodes=20)
    with pytest.raises(NotMeasurable, match="discrete and have no density"):
        assess(dataset, select=["state_entropy"])
