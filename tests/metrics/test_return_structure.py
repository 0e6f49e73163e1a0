"""The shape of the returns, against numbers worked by hand and formulas of known distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.datasets import Dataset, DatasetInfo, ReferenceScores
from assay.datasets.errors import ConfigError, DatasetError
from assay.metrics import (
    assess,
    fraction_above_mean,
    potential_for_improvement,
    psv,
    return_histogram,
    return_quantiles,
)


def make(returns: object, references: ReferenceScores | None = None) -> Dataset:
    """One step an episode."""
    rewards = np.asarray(returns, float)
    return Dataset.from_arrays(
        observations=np.zeros(2 * len(rewards)),
        actions=np.zeros(len(rewards)),
        rewards=rewards,
        terminations=np.ones(len(rewards), bool),
        truncations=np.zeros(len(rewards), bool),
        info=DatasetInfo(reference_scores=references),
    )


def test_psv_by_hand() -> None:
    dataset = make([0.0, 0.0, 0.0, 8.0], ReferenceScores(random=-1.0, expert=15.0, source="example"))
    assert psv(dataset) == 36 / 4  # mean 2: only the last is above it, by 6
    assert psv(dataset, root=True) == 3.0
    assert psv(dataset, "range") == 9 / 64
    assert psv(dataset, "references") == 9 / 256
    assert psv(make([0.0, 8.0, 8.0, 8.0])) == 3.0  # the other way round: 2 above the mean three times
    assert potential_for_improvement(dataset) == 0.75
    assert potential_for_improvement(make([0.0, 8.0, 8.0, 8.0])) == 0.25
    assert fraction_above_mean(dataset) == 0.25


def test_psv_of_a_normal_distribution_is_half_its_variance_and_of_an_exponential_one_2_over_e() -> None:
    generator = np.random.default_rng(0)
    assert psv(make(3 * generator.standard_normal(200_000))) == pytest.approx(4.5, rel=0.03)
    exponential = make(generator.exponential(size=200_000))
    assert psv(exponential) == pytest.approx(2 / math.e, rel=0.03)
    assert fraction_above_mean(exponential) == pytest.approx(1 / math.e, rel=0.02)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.floats(-1e3, 1e3), st.floats(0.1, 1e3))
@settings(max_examples=50, deadline=None)
def test_scaled_measures_stay_in_range_and_do_not_depend_on_order(
    returns: list[float], shift: float, scale: float
) -> None:
    dataset = make(returns)
    assert 0 <= psv(dataset, "range") <= 0.25 + 1e-12
    assert 0 <= potential_for_improvement(dataset) <= 1
    assert 0 <= fraction_above_mean(dataset) < 1
    assert psv(make(returns[::-1])) == pytest.approx(psv(dataset), rel=1e-9)
    assert psv(dataset) <= np.var(returns) * (1 + 1e-9) + 1e-300


def test_equal_returns_have_nothing_above_the_mean() -> None:
    for returns in ([0.1] * 7, [3.0]):
        dataset = make(returns)
        assert psv(dataset) == psv(dataset, "range") == potential_for_improvement(dataset) == 0.0
        assert fraction_above_mean(dataset) == 0.0


def test_quantiles_and_histogram_are_those_of_numpy() -> None:
    returns = np.random.default_rng(0).standard_normal(50)
    dataset = make(returns)
    assert np.array_equal(return_quantiles(dataset, [0.2, 0.9]), np.percentile(returns, [20, 90]))
    counts, edges = return_histogram(dataset, 4)
    assert counts.sum() == 50
    assert (edges[0], edges[-1]) == (returns.min(), returns.max())
    with pytest.raises(ConfigError, match="between 0 and 1"):
        return_quantiles(dataset, [1.5])
    with pytest.raises(ConfigError, match="bins=0"):
        return_histogram(dataset, 0)


def test_the_table_has_values_with_intervals() -> None:
    dataset = make(np.random.default_rng(0).standard_normal(200), ReferenceScores(0.0, 2.0, "example"))
    rows = {row["metric"]: row for row in assess(dataset, select=["return_structure"]).iter_rows(named=True)}
    assert rows["psv"]["value"] == psv(dataset)
    assert rows["psv_scaled"]["value"] == pytest.approx(psv(dataset, "range"))
    assert rows["psv_score"]["value"] == pytest.approx(psv(dataset, "references"))
    assert rows["return_quantile_90"]["value"] == return_quantiles(dataset, [0.9])[0]
    for row in rows.values():
        assert row["interval"]["low"] <= row["value"] <= row["interval"]["high"], row["metric"]
    assert "psv_score" not in set(assess(make([1.0, 2.0]))["metric"])
    assert assess(make([1.0]), select=["psv"])["interval"].to_list() == [None]


def test_nonsense_is_refused() -> None:
    with pytest.raises(DatasetError, match="no episodes"):
        psv(make([1.0]).select([]))
    with pytest.raises(DatasetError, match="return of episode 1 is nan"):
        potential_for_improvement(make([1.0, np.nan]))
    with pytest.raises(ConfigError, match="reference scores"):
        psv(make([1.0, 2.0]), "references")
    with pytest.raises(ConfigError, match="known are raw"):
        psv(make([1.0]), "score")  # type: ignore[arg-type]
