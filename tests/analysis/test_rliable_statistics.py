from __future__ import annotations

import itertools
from functools import partial

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, norm, trim_mean

from assay.analysis import (
    aggregate_iqm,
    aggregate_mean,
    aggregate_median,
    aggregate_optimality_gap,
    get_interval_estimates,
    no_interval_reason,
    probability_of_improvement,
)
from assay.datasets.errors import ConfigError

AGGREGATES = [aggregate_mean, aggregate_median, aggregate_iqm, aggregate_optimality_gap]
SHAPES = [(1, 1), (2, 1), (3, 1), (5, 7), (4, 4), (10, 3), (7, 1)]


def draw(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(50, 30, shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_aggregates_are_rliables(shape: tuple[int, int]) -> None:
    scores = draw(shape)
    assert aggregate_iqm(scores) == pytest.approx(trim_mean(scores, proportiontocut=0.25, axis=None))
    assert aggregate_mean(scores) == pytest.approx(np.mean(np.mean(scores, axis=0)))
    assert aggregate_median(scores) == pytest.approx(np.median(np.mean(scores, axis=0)))
    assert aggregate_optimality_gap(scores, 60.0) == pytest.approx(60.0 - np.mean(np.minimum(scores, 60.0)))


@pytest.mark.parametrize("func", AGGREGATES)
def test_leading_axes_are_computed_one_by_one(func: object) -> None:
    scores = draw((6, 4, 5, 3))
    assert callable(func)
    together = func(scores)
    assert together.shape == (6, 4)
    for i, j in itertools.product(range(6), range(4)):
        assert together[i, j] == pytest.approx(func(scores[i, j]))


def test_probability_of_improvement_counts_pairs_and_half_of_the_ties() -> None:
    # task 0: 3 beats 1 and 2; 1 ties 1 and loses to 2 -> (1 + 1 + 0.5 + 0) / 4; task 1: all ties -> 1/2
    x, y = np.array([[3.0, 7.0], [1.0, 7.0]]), np.array([[1.0, 7.0], [2.0, 7.0]])
    assert probability_of_improvement(x, y) == (2.5 / 4 + 0.5) / 2
    assert probability_of_improvement(x, y) + probability_of_improvement(y, x) == 1.0


def test_probability_of_improvement_is_mann_and_whitneys_u_over_pairs_with_unequal_runs() -> None:
    x, y = np.round(draw((6, 4), 1)), np.round(draw((9, 4), 2))
    expected = np.mean([mannwhitneyu(x[:, t], y[:, t]).statistic / (6 * 9) for t in range(4)])
    assert probability_of_improvement(x, y) == pytest.approx(expected)


def test_the_interval_of_three_runs_is_their_range() -> None:
    # every resample repeats one run with probability 1/27, more than the 2.5 % beyond each end
    _, intervals = get_interval_estimates({"a": np.array([[1.0], [2.0], [9.0]])}, aggregate_mean)
    assert intervals["a"].tolist() == [1.0, 9.0]


def test_the_bootstrap_distribution_of_two_runs_is_the_binomial_one() -> None:
    from assay.datasets.bootstrap import bootstrap

    means = bootstrap((np.array([[0.0], [1.0]]),), aggregate_mean, 20000, np.random.default_rng(0))
    values, counts = np.unique(means, return_counts=True)
    assert values.tolist() == [0.0, 0.5, 1.0]
    np.testing.assert_allclose(counts / 20000, [0.25, 0.5, 0.25], atol=0.015)


def test_resampling_stays_within_its_task() -> None:
    scores = np.tile([0.0, 100.0, 1000.0], (5, 1))  # no spread within a task, a large one between tasks
    _, intervals = get_interval_estimates({"a": scores}, aggregate_mean)
    np.testing.assert_allclose(intervals["a"], 1100 / 3)


def test_the_interval_width_is_that_of_the_standard_error() -> None:
    scores = draw((200, 1))
    _, intervals = get_interval_estimates({"a": scores}, aggregate_mean, reps=4000)
    error = scores.std() / np.sqrt(200)  # the bootstrap's own variance divides by n
    np.testing.assert_allclose(intervals["a"], scores.mean() + error * norm.ppf([0.025, 0.975]), atol=0.2 * error)


@pytest.mark.parametrize(("runs", "expected"), [(3, 0.75), (20, 0.93)])
def test_coverage_on_normal_scores(runs: int, expected: float) -> None:
    samples = np.random.default_rng(7).normal(0.0, 1.0, (400, runs, 1))
    _, intervals = get_interval_estimates(dict(enumerate(samples)), aggregate_mean, reps=400)
    covered = np.mean([low <= 0.0 <= high for low, high in intervals.values()])
    assert covered == pytest.approx(expected, abs=0.045)  # two standard errors of 400 trials


def test_any_function_of_a_matrix_gives_the_same_as_the_vectorized_one() -> None:
    scores = {"a": draw((6, 4)), "b": draw((6, 4), 1)}
    both = get_interval_estimates(scores, lambda x: np.array([aggregate_iqm(x), aggregate_mean(x)]), reps=200)
    fast = get_interval_estimates(scores, aggregate_iqm, reps=200)
    assert both[1]["a"].shape == (2, 2)
    for name in scores:
        assert both[0][name][0] == pytest.approx(fast[0][name])
        np.testing.assert_allclose(both[1][name][:, 0], fast[1][name])
    gap = partial(aggregate_optimality_gap, gamma=100.0)
    slow = get_interval_estimates(scores, lambda x: gap(x), reps=200)
    np.testing.assert_allclose(get_interval_estimates(scores, gap, reps=200)[1]["b"], slow[1]["b"])


def test_pairs_are_resampled_independently() -> None:
    x = draw((8, 2))
    estimates, intervals = get_interval_estimates({"same": (x, x.copy())}, probability_of_improvement)
    assert estimates["same"] == 0.5
    low, high = intervals["same"]
    assert low < 0.4
    assert high > 0.6


def test_resamples_in_blocks_are_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    from assay.datasets import bootstrap as module

    scores = draw((4, 3))
    whole = module.bootstrap((scores,), aggregate_mean, 103, np.random.default_rng(0))
    monkeypatch.setattr(module, "_DRAWS_AT_A_TIME", 50)
    parts = module.bootstrap((scores,), aggregate_mean, 103, np.random.default_rng(0))
    assert whole.shape == (103,)
    assert np.array_equal(whole, parts)  # one sample's draws do not depend on how many are made at a time


def test_the_seed_repeats_and_differs() -> None:
    scores = {"a": draw((6, 4))}
    first, again = (get_interval_estimates(scores, aggregate_iqm, random_state=3)[1]["a"] for _ in range(2))
    other = get_interval_estimates(scores, aggregate_iqm, random_state=4)[1]["a"]
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_single_run_has_no_interval_rather_than_one_of_width_zero() -> None:
    scores = np.array([[10.0, 20.0]])
    estimates, intervals = get_interval_estimates({"a": scores}, aggregate_mean)
    assert estimates["a"] == 15.0
    assert np.isnan(intervals["a"]).all()
    assert no_interval_reason(scores) == "a single run per task"
    assert no_interval_reason(scores, draw((5, 2))) == "a single run per task"
    assert no_interval_reason(draw((2, 2))) is None


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.array([1.0, 2.0]), "runs x tasks"),
        (np.array([[1.0, 2.0], [np.nan, 3.0]]), "run 1, task 0"),
        (np.empty((0, 2)), "no run"),
        ((np.ones((2, 2)), np.ones((2, 3))), "number of tasks"),
    ],
)
def test_impossible_scores_are_named(scores: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        get_interval_estimates({"td3": scores}, aggregate_mean)
    assert "td3" in str(caught.value)


@pytest.mark.parametrize("wrong", [{"method": "bca"}, {"reps": 0}, {"confidence_interval_size": 95.0}])
def test_impossible_options_are_named(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        get_interval_estimates({"a": np.ones((2, 2))}, aggregate_mean, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "scores", [[[1.0, 2.0], [3.0]], "many", 3.0, [1.0, 2.0], [], np.empty((0, 2)), [["a", "b"]], None], ids=repr
)
def test_what_is_no_table_of_runs_and_tasks_is_refused_in_words(scores: object) -> None:
    for aggregate in (aggregate_mean, aggregate_median, aggregate_iqm, aggregate_optimality_gap):
        with pytest.raises(ConfigError, match=r"the scores .*(runs|run)"):
            aggregate(scores)
    with pytest.raises(ConfigError, match="the scores of 'IQL'"):
        get_interval_estimates({"IQL": scores}, aggregate_mean)


def test_ragged_counts_of_runs_are_told() -> None:
    with pytest.raises(ConfigError, match=r"rows have 3, 2 entries. Every task needs equally many runs"):
        get_interval_estimates({"IQL": [[1.0, 2.0, 3.0], [4.0, 5.0]]}, aggregate_mean)


def test_replicates_made_in_the_cache_are_those_of_the_common_bootstrap() -> None:
    from assay.analysis.statistics import _replicates
    from assay.datasets.bootstrap import bootstrap

    scores = draw((700, 3))  # 15 replicates at a time
    common = bootstrap((scores,), aggregate_iqm, 40, np.random.default_rng(0))
    assert np.array_equal(_replicates(scores, aggregate_iqm, 40, np.random.default_rng(0)), common)


def test_the_public_aggregates_are_computed_for_all_replicates_at_once() -> None:
    """The package's names are wrapped, so that wrong arguments are named, and are still known."""
    import assay.analysis
    from assay.analysis import statistics

    for name in ("aggregate_iqm", "aggregate_mean", "aggregate_median", "aggregate_optimality_gap"):
        with pytest.MonkeyPatch.context() as patch:  # what makes all at once is called
            patch.setattr(statistics, "_replicates", lambda scores, func, reps, generator: np.full(reps, 7.0))
            _, intervals = get_interval_estimates({"a": draw((3, 2))}, getattr(assay.analysis, name), reps=10)
        assert intervals["a"].tolist() == [7.0, 7.0]
