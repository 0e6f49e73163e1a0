"""Choosing policies with few episodes or none, against one-trial-at-a-time statements and closed forms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from assay.analysis import load_runs, load_values, rank_stability, save_values, selection_regret, tuning_curve
from assay.analysis.selection import bandit_tuning
from assay.datasets.errors import ConfigError, DatasetIntegrityError

Make = Callable[..., Path]


def episodes(means: list[float], spread: float = 10.0, count: int = 200, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, spread, (len(means), count)) + np.array(means)[:, None]


def one_bandit(
    returns: np.ndarray, arms: int, pulls: int, scale: float | None, rng: np.random.Generator
) -> list[float]:
    """One repetition, as the protocol reads."""
    chosen = rng.permutation(len(returns))[:arms]
    seen: list[list[float]] = [[] for _ in chosen]
    held = []
    for t in range(1, pulls + 1):
        if t <= arms:
            arm = t - 1
        else:
            everything = np.concatenate(seen)
            c = np.ptp(everything) if scale is None else scale
            arm = int(np.argmax([np.mean(got) + c * np.sqrt(2 * np.log(t - 1) / len(got)) for got in seen]))
        seen[arm].append(rng.choice(returns[chosen[arm]]))
        best = max((number for number, got in enumerate(seen) if got), key=lambda number: np.mean(seen[number]))
        held.append(returns[chosen[best]].mean())
    return held


def test_all_repetitions_at_once_are_those_of_one_after_the_other() -> None:
    returns = episodes([20.0, 50.0, 55.0, 30.0, 60.0], spread=25.0)
    rng = np.random.default_rng(1)
    slow = np.array([one_bandit(returns, 3, 30, None, rng) for _ in range(400)])
    fast = bandit_tuning(returns, arms=3, pulls=30, repeats=4000)
    error = slow.std(0) / 20
    assert (np.abs(fast[1:] - slow.mean(0)) < 4 * error + 1e-9).all()


@settings(max_examples=20, deadline=None)
@given(st.floats(0.01, 1000), st.floats(-500, 500))
def test_scores_in_other_units_give_the_same_curve(factor: float, shift: float) -> None:
    returns = episodes([1.0, 2.0, 3.0])
    curve = bandit_tuning(returns, arms=3, pulls=20, repeats=20)
    np.testing.assert_allclose(
        bandit_tuning(factor * returns + shift, arms=3, pulls=20, repeats=20), factor * curve + shift, rtol=1e-6
    )


def test_choosing_blindly_gives_the_mean_and_many_episodes_the_best() -> None:
    returns = episodes([20.0, 50.0, 80.0])
    curve = bandit_tuning(returns, arms=3, pulls=300, repeats=200)
    assert curve[0] == pytest.approx(returns.mean(1).mean())
    assert curve[1] == pytest.approx(curve[0], abs=5.0)  # the only arm tried is a random one
    assert curve[-1] == pytest.approx(returns[2].mean(), abs=0.5)


def test_an_unlucky_first_episode_is_forgiven_which_a_bonus_of_one_does_not() -> None:
    good = np.concatenate([np.zeros(50), np.full(50, 100.0)])  # 50 on average, 0 in every other episode
    returns = np.stack([good, np.full(100, 30.0)])
    rng = np.random.default_rng(0)
    unscaled = np.mean([one_bandit(returns, 2, 100, 1.0, rng)[-1] for _ in range(100)])
    assert unscaled == pytest.approx(40.0, abs=4.0)  # half of the bandits never look again
    assert bandit_tuning(returns, arms=2, pulls=100, repeats=500)[-1] > 48.0


def test_fewer_policies_than_arms_are_refused() -> None:
    with pytest.raises(ConfigError, match="3 policies are too few for 8 arms"):
        bandit_tuning(episodes([1.0, 2.0, 3.0]))
    with pytest.raises(ConfigError, match="finite return"):
        bandit_tuning([np.array([1.0]), np.array([])], arms=1)


def test_the_interval_of_a_tuning_curve_is_over_training_seeds(folder: Path, run: Make) -> None:
    generator = np.random.default_rng(0)
    for seed in range(4):
        for number, expectile in enumerate((0.5, 0.7, 0.9)):
            middle = 1000.0 + 300.0 * number + 200.0 * seed
            returns = tuple(generator.normal(middle, 50.0, 20))
            run(
                folder,
                "iql",
                seed=seed,
                parameters={"expectile": expectile},
                returns=returns,
                suffix=f"{number}123abcd",
            )
    runs = load_runs(folder)
    seen: list[tuple[int, int]] = []
    curve = tuning_curve(runs, arms=3, pulls=40, repeats=100, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(number, 4) for number in range(1, 5)]
    assert curve["pulls"].to_list() == list(range(41))
    assert curve.select("settings", "tasks", "seeds", "episodes", "updates").unique().rows() == [(3, 1, 4, 20, 9000)]
    last = curve.row(-1, named=True)
    best = runs.filter(pl.col("algorithm/expectile") == 0.9)["score"]
    assert last["mean"] == pytest.approx(best.mean(), abs=1.5)
    assert last["high"] - last["low"] == pytest.approx(2 * 1.96 * best.std(ddof=0) / 2, rel=0.15)
    assert tuning_curve(runs.filter(seed=0), arms=3, pulls=5, repeats=10)["low"].null_count() == 6
    with pytest.raises(ConfigError, match="same settings; some runs are missing"):
        tuning_curve(runs.filter(~((pl.col("seed") == 0) & (pl.col("algorithm/expectile") == 0.5))), arms=2, pulls=5)


# -------------------------------------------------------------------- without an environment


def table(scores: np.ndarray, estimates: np.ndarray) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return runs and values of (candidates, seeds) scores and estimates."""
    rows = [
        {"run": f"r{c}-{s}", "label": f"c{c}", "variant": "v", "seed": s, "score": scores[c, s], "episodes": 10}
        for c in range(len(scores))
        for s in range(scores.shape[1])
    ]
    runs = pl.DataFrame(rows)
    return runs, runs.select("run", "label", "variant", "seed").with_columns(
        method=pl.lit("fitted_q"), estimate=pl.Series(estimates.ravel())
    )


def test_regret_is_the_best_mean_minus_that_of_the_chosen_with_the_choice_in_every_replicate() -> None:
    generator = np.random.default_rng(0)
    scores, estimates = generator.normal(50, 10, (6, 5)), generator.normal(0, 1, (6, 5))
    (row,) = selection_regret(*table(scores, estimates)).to_dicts()
    s, e = scores.mean(1), estimates.mean(1)
    assert (row["chosen"], row["best"]) == (f"c{e.argmax()}", f"c{s.argmax()}")
    assert row["regret"] == pytest.approx(s.max() - s[e.argmax()])
    assert row["random_regret"] == pytest.approx(s.max() - s.mean())
    assert row["correlation"] == pytest.approx(spearmanr(e, s).statistic)
    draws = [generator.integers(0, 5, 5) for _ in range(4000)]
    regrets = [scores[:, i].mean(1).max() - scores[estimates[:, i].mean(1).argmax()][i].mean() for i in draws]
    np.testing.assert_allclose([row["low"], row["high"]], np.quantile(regrets, [0.025, 0.975]), atol=1.0)
    assert (row["candidates"], row["left_out"], row["seeds"], row["episodes"]) == (6, 0, 5, 10)


def test_a_perfect_estimate_has_no_regret_and_its_negative_the_largest() -> None:
    scores = np.random.default_rng(1).normal(50, 10, (4, 3))
    (row,) = selection_regret(*table(scores, scores)).to_dicts()
    assert (row["regret"], row["low"], row["high"], row["correlation"]) == (0.0, 0.0, 0.0, pytest.approx(1.0))
    (row,) = selection_regret(*table(scores, -scores)).to_dicts()
    assert row["regret"] == pytest.approx(np.ptp(scores.mean(1)))


def test_candidates_whose_critic_diverged_are_left_out_and_counted() -> None:
    scores = np.random.default_rng(2).normal(50, 10, (3, 2))
    runs, values = table(scores, scores)
    values = values.with_columns(estimate=pl.when(pl.col("run") == "r0-1").then(None).otherwise("estimate"))
    (row,) = selection_regret(runs, values).to_dicts()
    assert (row["candidates"], row["left_out"]) == (2, 1)
    with pytest.raises(ConfigError, match="are these the values"):
        selection_regret(runs, values.with_columns(run=pl.lit("other")))


def test_agreement_is_kendalls_coefficient_of_concordance() -> None:
    estimates = np.random.default_rng(3).normal(size=(5, 4)) + np.arange(5.0)[:, None]
    row = rank_stability(table(estimates, estimates)[1]).row(0, named=True)
    ranks = estimates.argsort(0).argsort(0) + 1.0
    w = 12 * np.square(ranks.sum(1) - ranks.sum(1).mean()).sum() / (4**2 * (5**3 - 5))
    assert row["agreement"] == pytest.approx((4 * w - 1) / 3)
    first = estimates.mean(1).argmax()
    assert row["first_share"] == (estimates.argmax(0) == first).mean()
    single = rank_stability(table(estimates, estimates)[1].filter(seed=0)).row(0, named=True)
    assert (single["agreement"], single["seeds"]) == (None, 1)


def test_values_are_kept_beside_the_runs_and_never_mixed(tmp_path: Path) -> None:
    runs, values = table(np.ones((2, 2)), np.arange(4.0).reshape(2, 2))
    rows = values.with_columns(low=pl.lit(0.0), high=pl.lit(9.0))
    said = {"dataset": "hopper", "fingerprint": "a" * 32, "discount": 0.9, "updates": 5}
    assert load_values(tmp_path).is_empty()
    save_values(tmp_path, rows, **said)
    save_values(tmp_path, rows.filter(run="r0-0").with_columns(estimate=pl.lit(7.0)), **said)
    found = load_values(tmp_path)
    assert found.height == 4
    assert found.filter(run="r0-0")["estimate"].item() == 7.0
    assert selection_regret(runs, found)["candidates"].item() == 2
    for change in ({"fingerprint": "b" * 32}, {"discount": 0.99}):
        with pytest.raises(ConfigError, match=f"another {next(iter(change))}"):
            save_values(tmp_path, rows, **{**said, **change})


def test_values_that_were_edited_are_refused_by_name(tmp_path: Path) -> None:
    _, values = table(np.ones((2, 2)), np.arange(4.0).reshape(2, 2))
    rows = values.with_columns(low=pl.lit(None, pl.Float64), high=pl.lit(9.0))
    file = save_values(tmp_path, rows, dataset="hopper", fingerprint="a" * 32, discount=0.9, updates=5)
    load_values(tmp_path).with_columns(pl.col("estimate") + 1.0).write_parquet(file)
    with pytest.raises(DatasetIntegrityError, match=r"off_policy\.parquet is damaged or was edited"):
        load_values(tmp_path)
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(DatasetIntegrityError, match=r"off_policy\.parquet is damaged"):
        load_values(tmp_path)
