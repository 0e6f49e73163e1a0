"""Correlations and regressions of scores on dataset metrics, against closed forms and independent statements."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize
from scipy.stats import spearmanr, t

from assay.analysis import mixed_regression, rank_correlations
from assay.analysis.associations import mixed_model, spearman
from assay.datasets.errors import ConfigError


def table(metric: np.ndarray, scores: np.ndarray, **columns: Any) -> pl.DataFrame:
    """Return runs: (datasets,) metric values and (datasets, seeds) scores."""
    datasets, seeds = scores.shape
    which = np.repeat(np.arange(datasets), seeds)
    return pl.DataFrame(
        {
            "label": "a",
            "environment": "E",
            "fingerprint": [f"f{number}" for number in which],
            "seed": np.tile(np.arange(seeds), datasets),
            "score": scores.ravel(),
            "episodes": 10,
            "metric/m": metric[which],
        }
    ).with_columns(**columns)


@settings(max_examples=60, deadline=None)
@given(arrays(np.int64, st.tuples(st.just(2), st.integers(3, 12)), elements=st.integers(0, 6)))
def test_correlations_are_scipys_with_ties(values: np.ndarray) -> None:
    x, y = values.astype(float)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert np.isnan(spearman(x, y))
    else:
        assert spearman(x, y) == pytest.approx(spearmanr(x, y).statistic)


def test_the_correlation_is_over_datasets_and_its_interval_the_bootstrap_over_them() -> None:
    generator = np.random.default_rng(0)
    metric = generator.normal(size=30)
    scores = metric[:, None] * 5 + generator.normal(size=(30, 4)) * 8
    row = rank_correlations(table(metric, scores)).row(0, named=True)
    assert row["correlation"] == pytest.approx(spearmanr(metric, scores.mean(1)).statistic)
    assert (row["datasets"], row["seeds"], row["episodes"]) == (30, 4, 10)
    drawn = [generator.integers(0, 30, 30) for _ in range(1000)]
    expected = np.quantile([spearmanr(metric[i], scores.mean(1)[i]).statistic for i in drawn], [0.025, 0.975])
    np.testing.assert_allclose([row["low"], row["high"]], expected, atol=0.04)


def test_an_easy_environment_with_good_data_makes_no_correlation() -> None:
    falling = np.arange(6.0)
    easy = table(falling + 100, -falling[:, None] + 1000)
    hard = table(falling, -falling[:, None]).with_columns(
        environment=pl.lit("F"), fingerprint=pl.format("{}-hard", "fingerprint")
    )
    runs = pl.concat([easy, hard])
    assert rank_correlations(runs)["correlation"].item() == pytest.approx(-1.0)
    assert rank_correlations(runs, within=None)["correlation"].item() > 0.3


def test_few_datasets_have_no_interval_and_two_no_correlation() -> None:
    metric = np.arange(4.0)
    row = rank_correlations(table(metric, metric[:, None])).row(0, named=True)
    assert (row["correlation"], row["low"]) == (pytest.approx(1.0), None)
    assert rank_correlations(table(metric[:2], metric[:2, None]))["correlation"].item() is None
    with pytest.raises(ConfigError, match="with_metrics"):
        rank_correlations(table(metric, metric[:, None]).drop("metric/m"))


# -------------------------------------------------------------------- mixed regression


def test_with_equally_many_seeds_it_is_the_ordinary_regression_on_the_means_of_datasets() -> None:
    generator = np.random.default_rng(1)
    metric = generator.normal(size=8)
    scores = 50 + 6 * metric[:, None] + generator.normal(size=(8, 1)) * 5 + generator.normal(size=(8, 5))
    row = mixed_regression(table(metric, scores), by=None).filter(term="m").row(0, named=True)
    x, means = (metric - metric.mean()) / metric.std(ddof=1), scores.mean(1)
    slope = x @ means / (x @ x)
    residual = means - means.mean() - slope * x
    error = np.sqrt(residual @ residual / 6 / (x @ x))
    assert row["coefficient"] == pytest.approx(slope)
    assert row["standard_error"] == pytest.approx(error, rel=1e-4)
    assert row["high"] - row["coefficient"] == pytest.approx(t.ppf(0.975, 6) * error, rel=1e-4)
    within = scores.var(1, ddof=1).mean()
    assert row["within"] == pytest.approx(within**0.5, rel=1e-3)
    assert row["between"] == pytest.approx((residual @ residual / 6 - within / 5) ** 0.5, rel=1e-3)


def test_with_unequal_numbers_of_seeds_it_maximizes_the_restricted_likelihood() -> None:
    generator = np.random.default_rng(2)
    groups = np.repeat(np.arange(7), [1, 2, 5, 3, 8, 2, 4])
    design = np.column_stack(
        [np.ones(len(groups)), generator.normal(size=7)[groups], generator.normal(size=len(groups))]
    )
    y = design @ [3.0, 2.0, -1.0] + generator.normal(size=7)[groups] * 2 + generator.normal(size=len(groups))

    def deviance(logs: np.ndarray) -> float:  # with the whole covariance matrix
        between, within = np.exp(logs)
        v = between * (groups[:, None] == groups) + within * np.eye(len(y))
        inverse = np.linalg.inv(v)
        information = design.T @ inverse @ design
        beta = np.linalg.solve(information, design.T @ inverse @ y)
        rest = y - design @ beta
        return float(np.linalg.slogdet(v)[1] + np.linalg.slogdet(information)[1] + rest @ inverse @ rest)

    best = np.exp(minimize(deviance, [0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10}).x)
    model = mixed_model(y, design, groups)
    np.testing.assert_allclose([model.between, model.within], best, rtol=1e-3)
    v = best[0] * (groups[:, None] == groups) + best[1] * np.eye(len(y))
    covariance = np.linalg.inv(design.T @ np.linalg.inv(v) @ design)
    np.testing.assert_allclose(model.coefficients, covariance @ design.T @ np.linalg.inv(v) @ y, rtol=1e-3)
    np.testing.assert_allclose(model.covariance, covariance, rtol=2e-3, atol=1e-6)


def test_the_intervals_cover_the_truth_where_seeds_alone_would_not() -> None:
    generator = np.random.default_rng(3)
    covered, naive, trials = 0, 0, 300
    for _ in range(trials):
        x = generator.normal(size=8)
        y = (generator.normal(size=(8, 1)) * 4 + generator.normal(size=(8, 6))).ravel()  # no slope
        design = np.column_stack([np.ones(48), np.repeat(x, 6)])
        model = mixed_model(y, design, np.repeat(np.arange(8), 6))
        covered += abs(model.coefficients[1]) < t.ppf(0.975, 6) * model.covariance[1, 1] ** 0.5
        alone = mixed_model(y, design, np.arange(48))  # every run a dataset of its own
        naive += abs(alone.coefficients[1]) < t.ppf(0.975, 46) * alone.covariance[1, 1] ** 0.5
    assert covered / trials == pytest.approx(0.95, abs=0.035)
    assert naive / trials < 0.75


def test_algorithms_have_levels_of_their_own() -> None:
    metric = np.arange(6.0)
    luck = np.random.default_rng(4).normal(size=(6, 3))
    runs = pl.concat(
        [
            table(metric, 10.0 * metric[:, None] + luck),
            table(metric, 10.0 * metric[:, None] + luck + 30.0, label=pl.lit("b")),
        ]
    )
    found = {row["term"]: row for row in mixed_regression(runs).iter_rows(named=True)}
    assert found["b"]["coefficient"] - found["a"]["coefficient"] == pytest.approx(30.0)
    assert found["m"]["coefficient"] == pytest.approx(10.0 * metric.std(ddof=1), abs=1.0)


def test_what_cannot_be_told_apart_is_refused() -> None:
    metric, scores = np.arange(5.0), np.random.default_rng(5).normal(size=(5, 2))
    runs = table(metric, scores)
    with pytest.raises(ConfigError, match="one metric follows from the others"):
        mixed_regression(runs.with_columns((2 * pl.col("metric/m")).alias("metric/n")))
    with pytest.raises(ConfigError, match="at least 3 are needed"):
        mixed_regression(runs.filter(pl.col("fingerprint").is_in(["f0", "f1"])))
    with pytest.raises(ConfigError, match="'m' is the same on all datasets"):
        mixed_regression(runs.with_columns(pl.lit(1.0).alias("metric/m")))
    with pytest.raises(ConfigError, match="no metric 'n'; they have m"):
        mixed_regression(runs, ["n"])
