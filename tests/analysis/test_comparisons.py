"""Aggregates, profiles, sample efficiency and pairs, against few-line statements and closed forms."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as number_arrays
from scipy.stats import mannwhitneyu, norm, trim_mean

from assay.analysis import (
    aggregate_table,
    comparison_table,
    create_performance_profile,
    load_runs,
    performance_profiles,
    sample_efficiency,
    score_arrays,
)
from assay.analysis.statistics import mean_score_profile, run_score_profile
from assay.datasets.errors import ConfigError

Make = Callable[..., Path]


def table(scores: dict[str, np.ndarray], seeds: dict[str, range] | None = None) -> pl.DataFrame:
    """Return runs with these scores: name -> (seeds, tasks)."""
    rows = [
        {"label": name, "variant": f"v{task}", "seed": seed, "score": values[row, task], "episodes": 10}
        for name, values in scores.items()
        for row, seed in enumerate((seeds or {}).get(name, range(len(values))))
        for task in range(values.shape[1])
    ]
    return pl.DataFrame(rows).sample(fraction=1.0, shuffle=True, seed=0)  # the order of the rows means nothing


def draw(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(50, 20, shape)


def test_scores_stand_by_seed_and_task_whatever_the_order_of_the_runs() -> None:
    scores = {"a": draw((4, 3)), "b": draw((4, 3), 1)}
    found = score_arrays(table(scores))
    order = [int(task[1:]) for task in found.tasks]
    for name, values in scores.items():
        np.testing.assert_array_equal(found.scores[name], values[:, order])
    assert (found.paired, found.episodes, found.seeds) == (True, 10, ((0, 1, 2, 3),) * 3)


def test_lopsided_tables_are_refused_by_name() -> None:
    runs = table({"a": draw((3, 2)), "b": draw((3, 2), 1)})
    with pytest.raises(ConfigError, match="b has no scored run on 'v1'"):
        score_arrays(runs.filter(~((pl.col("label") == "b") & (pl.col("variant") == "v1"))))
    with pytest.raises(ConfigError, match="2 scored runs on v0 and 3 on v1"):
        score_arrays(runs.filter(~((pl.col("variant") == "v0") & (pl.col("seed") == 2))))
    with pytest.raises(ConfigError, match="seed 0 occurs more than once"):
        score_arrays(pl.concat([runs, runs.filter(seed=0)]))
    with pytest.raises(ConfigError, match="no run has a score"):
        score_arrays(runs.with_columns(score=pl.lit(None, pl.Float64)))
    with pytest.raises(ConfigError, match="hindsight"):
        score_arrays(runs.with_columns(best_score=pl.col("score")), "best_score")


def test_the_aggregate_table_holds_the_four_aggregates_with_their_counts() -> None:
    scores = draw((6, 4))
    found = {row["aggregate"]: row for row in aggregate_table(table({"a": scores})).iter_rows(named=True)}
    assert found["mean"]["value"] == pytest.approx(scores.mean())
    assert found["median"]["value"] == pytest.approx(np.median(scores.mean(0)))
    assert found["iqm"]["value"] == pytest.approx(trim_mean(scores, 0.25, axis=None))
    assert found["optimality_gap"]["value"] == pytest.approx(100 - np.minimum(scores, 100).mean())
    assert all(row["low"] < row["value"] < row["high"] for row in found.values())
    assert {(row["tasks"], row["seeds"], row["episodes"]) for row in found.values()} == {(4, 6, 10)}


def test_the_interval_of_the_mean_over_tasks_is_that_of_the_stratified_standard_error() -> None:
    scores = draw((50, 4)) + np.array([0.0, 100.0, 500.0, -300.0])  # the spread between tasks must not count
    row = aggregate_table(table({"a": scores}), reps=4000).row(0, named=True)
    error = np.sqrt((scores.var(0) / 50).sum()) / 4
    np.testing.assert_allclose(
        [row["low"], row["high"]], scores.mean() + error * norm.ppf([0.025, 0.975]), atol=0.2 * error
    )


def test_a_single_seed_has_no_interval() -> None:
    found = aggregate_table(table({"a": draw((1, 3))}))
    assert found["low"].null_count() == found.height
    assert performance_profiles(table({"a": draw((1, 3))}))["low"].null_count() == 101


# -------------------------------------------------------------------- profiles


@settings(max_examples=50, deadline=None)
@given(
    number_arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 4)), elements=st.floats(-50, 150, width=16)),
    st.lists(st.floats(-60, 160, width=16), min_size=1, max_size=6),
)
def test_a_profile_falls_from_everything_to_nothing_and_counts(scores: np.ndarray, thresholds: list[float]) -> None:
    at = np.sort([-1e3, *thresholds, 1e3])
    profile = run_score_profile(scores, at)
    assert profile[0] == 1.0
    assert profile[-1] == 0.0
    assert (np.diff(profile) <= 0).all()
    expected = [sum(value > threshold for value in scores.ravel()) / scores.size for threshold in at]
    np.testing.assert_allclose(profile, expected)
    means = [sum(mean > threshold for mean in scores.mean(0)) / scores.shape[1] for threshold in at]
    np.testing.assert_allclose(mean_score_profile(scores, at), means)


def test_the_area_under_the_profile_above_zero_is_the_mean_of_positive_scores() -> None:
    scores = np.abs(draw((7, 5)))
    at = np.linspace(0, scores.max(), 20001)
    area = np.trapezoid(run_score_profile(scores, at), at)
    assert area == pytest.approx(scores.mean(), rel=1e-3)


def test_the_interval_of_a_profile_of_one_task_is_the_binomial_one() -> None:
    scores = np.arange(100.0)[:, None]
    _, intervals = create_performance_profile({"a": scores}, [49.5], reps=4000)
    error = np.sqrt(0.25 / 100)
    np.testing.assert_allclose(intervals["a"][:, 0], [0.5 - 1.96 * error, 0.5 + 1.96 * error], atol=0.012)


def test_profiles_hold_all_names_at_common_thresholds() -> None:
    scores = {"a": draw((5, 2)), "b": draw((5, 2), 1) + 10}
    found = performance_profiles(table(scores))
    at = found["threshold"].unique().sort()
    assert (found.height, at.len()) == (2 * 101, 101)
    for name, values in scores.items():
        share = found.filter(label=name).sort("threshold")["share"].to_numpy()
        np.testing.assert_allclose(share, [(values > threshold).mean() for threshold in at])


# -------------------------------------------------------------------- sample efficiency


def test_sample_efficiency_is_the_iqm_of_each_evaluation_and_resamples_whole_runs(folder: Path, run: Make) -> None:
    scores = draw((4, 3))  # seeds, updates
    for seed, values in enumerate(scores):
        middle = 32.0 * values - 20.0
        run(folder, seed=seed, earlier={1000: (middle[0],), 2000: (middle[1],)}, returns=(middle[2],))
    found = sample_efficiency(load_runs(folder))
    assert found["update"].to_list() == [1000, 2000, 3000]
    np.testing.assert_allclose(found["iqm"], [trim_mean(values, 0.25) for values in scores.T])
    assert found.select("tasks", "seeds", "episodes").unique().rows() == [(1, 4, 1)]
    assert (found["low"] < found["iqm"]).all()
    constant = folder.parent / "constant"  # every run flat: whole runs move the curve up and down, never tilt it
    for seed in range(4):
        run(constant, seed=seed, earlier={1000: (100.0 * seed,)}, returns=(100.0 * seed,))
    ends = sample_efficiency(load_runs(constant)).select("low", "high").rows()
    assert ends[0] == ends[1]


def test_runs_evaluated_at_different_updates_are_refused(folder: Path, run: Make) -> None:
    run(folder, seed=0, earlier={1000: (1.0,)})
    run(folder, seed=1, earlier={1500: (1.0,)})
    with pytest.raises(ConfigError, match=r"different numbers of updates \(1 are common"):
        sample_efficiency(load_runs(folder))


def test_a_run_that_diverged_and_runs_without_references_are_named(folder: Path, run: Make) -> None:
    run(folder, seed=0, earlier={1000: (1.0,)}, references=None)
    run(folder, seed=1, earlier={1000: (float("nan"),)}, references=None, status="diverged")
    with pytest.raises(ConfigError, match="metric='return'"):
        sample_efficiency(load_runs(folder))
    with pytest.raises(ConfigError, match=r"seed1.* has no finite return after 1,000 updates"):
        sample_efficiency(load_runs(folder), "return")
    assert sample_efficiency(load_runs(folder).filter(status="finished"), "return")["iqm"].to_list() == [1.0, 1580.0]


# -------------------------------------------------------------------- pairs


def test_pairs_are_compared_seed_by_seed() -> None:
    luck = draw((20, 2), 2) * 5  # of a seed; common to both
    scores = {"a": luck + 3.0 + draw((20, 2)) / 100, "b": luck}
    row = comparison_table(table(scores)).row(0, named=True)
    difference = scores["a"] - scores["b"]
    assert row["difference"] == pytest.approx(difference.mean())
    error = np.sqrt((difference.var(0) / 20).sum()) / 2
    np.testing.assert_allclose(
        [row["low"], row["high"]], difference.mean() + error * norm.ppf([0.025, 0.975]), rtol=0.02
    )
    u = [mannwhitneyu(scores["a"][:, task], scores["b"][:, task]).statistic / 400 for task in range(2)]
    assert row["probability"] == pytest.approx(np.mean(u))
    assert row["probability_low"] < 0.5 < row["probability_high"]  # which ignores the pairs, and so sees nothing


def test_every_pair_or_those_with_a_control() -> None:
    scores = {name: draw((3, 1), number) for number, name in enumerate("abc")}
    found = comparison_table(table(scores))
    assert set(map(frozenset, found.select("first", "second").rows())) == set(
        map(frozenset, itertools.combinations("abc", 2))
    )
    with_control = comparison_table(table(scores), control="b")
    assert set(with_control["second"]) == {"b"}
    assert with_control.filter(first="a")["difference"].item() == pytest.approx((scores["a"] - scores["b"]).mean())
    with pytest.raises(ConfigError, match="no label is called 'd'; there are"):
        comparison_table(table(scores), control="d")
    with pytest.raises(ConfigError, match="only one label"):
        comparison_table(table({"a": draw((3, 1))}))


def test_other_seeds_form_no_pairs() -> None:
    scores = {"a": draw((3, 1)), "b": draw((3, 1), 1)}
    with pytest.raises(ConfigError, match="the seeds differ"):
        comparison_table(table(scores, {"b": range(1, 4)}))


def test_variants_are_compared_over_algorithms() -> None:
    rows = [
        {"label": label, "algorithm": label, "variant": variant, "seed": seed, "score": 10.0 * gain + seed + offset}
        for (label, offset), (variant, gain), seed in itertools.product(
            (("a", 0.0), ("b", 50.0)), (("noisy", 0), ("clean", 1)), range(3)
        )
    ]
    row = comparison_table(pl.DataFrame(rows), by="variant", control="noisy").row(0, named=True)
    assert (row["first"], row["second"], row["difference"], row["tasks"]) == ("clean", "noisy", 10.0, 2)
    assert row["low"] == pytest.approx(10.0)  # every pair differs by 10, whatever is drawn
