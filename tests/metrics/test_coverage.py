"""Coverage of a reference agrees with a slow count, and with theory for equal distributions."""

from __future__ import annotations

import numpy as np
import pytest

from assay.datasets.errors import ConfigError, DatasetError
from assay.metrics import assess, coverage, inside
from assay.metrics.measures import NotMeasurable

from .synthetic import dataset_of


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.norm(a[:, None] - b[None], axis=-1)


def test_both_are_the_slow_count() -> None:
    generator = np.random.default_rng(0)
    rows, reference = generator.normal(0.5, 1, (80, 3)), generator.standard_normal((70, 3))
    radii = np.sort(distances(reference, reference), axis=1)[:, 4]  # itself is the first
    across = distances(rows, reference)
    assert coverage(rows, reference, k=4) == (across.min(0) <= radii).mean()
    closest = across.argmin(1)
    assert inside(rows, reference, k=4) == (across.min(1) <= radii[closest]).mean()


@pytest.mark.parametrize(("dimensions", "power"), [(1, 1), (5, 1), (2, 9)])
def test_a_second_sample_of_the_reference_covers_what_theory_says(dimensions: int, power: int) -> None:
    n, k = 2000, 5
    rows, reference = np.random.default_rng(1).standard_normal((2, n, dimensions)) ** power
    missed = np.prod([(n - i) / (2 * n - i) for i in range(1, k + 1)])
    assert coverage(rows, reference, k) == pytest.approx(1 - missed, abs=0.012)


def test_a_dataset_covers_itself_and_nothing_far_away_whatever_the_order() -> None:
    rows = np.random.default_rng(2).standard_normal((100, 2))
    assert coverage(rows[::-1], rows) == inside(rows[::-1], rows) == 1.0
    assert coverage(rows + 100, rows) == inside(rows + 100, rows) == 0.0
    half = rows[rows[:, 0] < 0]
    assert inside(half, rows) == 1.0
    assert 0.4 < coverage(half, rows) < 0.8


def test_repeated_rows_are_covered_by_themselves() -> None:
    rows = np.zeros((20, 2))
    assert coverage(rows, rows) == inside(rows, rows) == 1.0
    assert coverage(rows + 1e-9, rows) == 0.0


def test_too_few_rows_are_refused() -> None:
    rows = np.random.default_rng(3).standard_normal((6, 2))
    assert coverage(rows[:1], rows) >= 0
    for few, reference in ((rows[:0], rows), (rows, rows[:5])):
        with pytest.raises(NotMeasurable):
            coverage(few, reference)


def noise(states: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return generator.standard_normal((len(states), 1))


def test_the_table_compares_at_equal_sizes_on_the_scale_of_the_reference() -> None:
    generator = np.random.default_rng(4)
    reference = dataset_of(generator.standard_normal((2040, 2)) * [1, 1000], noise, episodes=40, name="made/reference")
    dataset = dataset_of(generator.standard_normal((4040, 2)) * [1, 1000], noise, episodes=40)
    rows = {row["metric"]: row for row in assess(dataset, reference, select=["overlap"]).iter_rows(named=True)}
    row = rows["coverage"]
    assert row["value"] == pytest.approx(0.969, abs=0.015)
    assert "2,000 of 4,000 steps" in row["source"]
    assert "made/reference: all 2,000 steps" in row["source"]
    assert row["interval"]["low"] < row["value"] < row["interval"]["high"]
    assert rows["inside_reference"]["value"] > 0.6


def test_a_reference_is_needed_and_must_have_the_same_columns() -> None:
    generator = np.random.default_rng(5)
    dataset = dataset_of(generator.standard_normal((101, 2)), noise)
    with pytest.raises(ConfigError, match="reference"):
        assess(dataset, select=["coverage"])
    with pytest.raises(DatasetError, match="same environment"):
        assess(dataset, dataset_of(generator.standard_normal((101, 3)), noise), select=["coverage"])


def test_a_dataset_and_its_variant_are_compared_by_different_steps() -> None:
    dataset = dataset_of(np.random.default_rng(6).standard_normal((2040, 2)), noise, episodes=40)
    row = assess(dataset, dataset, select=["coverage"]).row(0, named=True)
    assert "1,000 of 2,000 steps" in row["source"]
    assert row["value"] == pytest.approx(0.969, abs=0.02)
