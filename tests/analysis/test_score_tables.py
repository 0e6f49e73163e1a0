from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assay.analysis import change_table, load_runs, pivot, score_table
from assay.datasets.errors import ConfigError

Make = Callable[..., Path]


def cell(table: pl.DataFrame, algorithm: str, variant: str) -> dict[str, Any]:
    return table.filter(algorithm=algorithm, variant=variant).to_dicts()[0]


def test_a_cell_is_the_mean_over_seeds_with_the_range_of_three_as_interval(shared_example: Path) -> None:
    table = score_table(load_runs(shared_example))
    assert table.select("algorithm", "variant").rows() == [
        ("bc", "clean"),
        ("bc", "random-rewards"),
        ("td3_bc", "clean"),
        ("td3_bc", "random-rewards"),
    ]
    row = cell(table, "td3_bc", "random-rewards")
    assert row["mean"] == pytest.approx(22.0)
    assert (row["low"], row["high"]) == pytest.approx((20.0, 25.0))
    assert (row["runs"], row["seeds"]) == (3, 3)
    assert row["behaviour"] == pytest.approx(30.0)
    assert row["no_interval"] is None


def test_returns_are_summarized_where_there_is_no_score(folder: Path, run: Make) -> None:
    for seed, value in enumerate((-100.0, -200.0)):
        run(folder, seed=seed, returns=(value,), references=None, behaviour=-300.0)
    runs = load_runs(folder)
    row = score_table(runs, "return_mean").to_dicts()[0]
    assert (row["mean"], row["low"], row["high"], row["behaviour"]) == (-150.0, -200.0, -100.0, -300.0)
    assert score_table(runs)["mean"].to_list() == [None]


def test_unfinished_runs_are_counted_and_not_averaged(folder: Path, run: Make) -> None:
    run(folder, seed=0)
    run(folder, seed=1, returns=(), status="unfinished")
    run(folder, "iql", seed=0, returns=(), status="failed")
    table = score_table(load_runs(folder))
    bc, iql = cell(table, "bc", "clean"), cell(table, "iql", "clean")
    assert (bc["runs"], bc["seeds"], bc["mean"]) == (2, 1, 50.0)
    assert (bc["low"], bc["high"], bc["no_interval"]) == (None, None, "a single seed")
    assert (iql["runs"], iql["seeds"], iql["mean"], iql["no_interval"]) == (1, 0, None, "no scored run")


def test_a_cell_does_not_depend_on_the_other_rows(shared_example: Path) -> None:
    runs = load_runs(shared_example)
    alone = score_table(runs.filter(algorithm="td3_bc", variant="clean"), reps=50)
    assert cell(score_table(runs, reps=50), "td3_bc", "clean") == cell(alone, "td3_bc", "clean")


def test_several_datasets_are_tasks_of_equal_weight(folder: Path, run: Make) -> None:
    for seed, value in enumerate((1580.0, 1612.0)):
        run(folder, seed=seed, returns=(value,))
    runs = load_runs(folder)
    other = runs.with_columns(pl.lit("walker2d/medium").alias("dataset"), (pl.col("score") + 10).alias("score"))
    row = score_table(pl.concat([runs, other])).to_dicts()[0]
    assert row["mean"] == pytest.approx(55.5)  # 50, 51 and 60, 61
    assert row["seeds"] == 2
    with pytest.raises(ConfigError, match="lopsided"):
        score_table(pl.concat([runs, other[:1]]))


def test_runs_that_differ_in_parameters_are_not_taken_for_more_seeds(folder: Path, run: Make) -> None:
    for suffix, expectile in (("0123abcd", 0.7), ("1123abcd", 0.9)):
        run(folder, "iql", parameters={"expectile": expectile}, suffix=suffix)
    with pytest.raises(ConfigError, match="label"):
        score_table(load_runs(folder))
    assert score_table(load_runs(folder), rows=["label"])["label"].to_list() == [
        "IQL (expectile=0.7)",
        "IQL (expectile=0.9)",
    ]


def test_an_unknown_column_is_named(shared_example: Path) -> None:
    with pytest.raises(ConfigError, match="'reward'"):
        score_table(load_runs(shared_example), "reward")


def test_change_is_relative_to_the_clean_variant(shared_example: Path) -> None:
    table = change_table(load_runs(shared_example))
    assert table["variant"].unique().to_list() == ["random-rewards"]
    td3_bc, bc = cell(table, "td3_bc", "random-rewards"), cell(table, "bc", "random-rewards")
    assert (td3_bc["clean"], td3_bc["mean"], td3_bc["change"]) == pytest.approx((62.0, 22.0, -40.0))
    assert td3_bc["percent"] == pytest.approx(-4000 / 62)
    assert td3_bc["verdict"] == "lower"
    assert 20 - 64 <= td3_bc["low"] < -40 < td3_bc["high"] <= 25 - 60
    assert bc["change"] == pytest.approx(0.0)
    assert bc["verdict"] == "no clear difference"


def test_change_with_too_few_seeds_or_a_negative_clean_return_is_careful(folder: Path, run: Make) -> None:
    for variant, value in (("clean", -100.0), ("random-rewards", -200.0)):
        for seed in (0, 1):
            run(folder, variant=variant, seed=seed, returns=(value + seed,), references=None)
    run(folder, "iql", "random-rewards", returns=(5.0,), references=None)
    table = change_table(load_runs(folder), "return_mean")
    bc, iql = cell(table, "bc", "random-rewards"), cell(table, "iql", "random-rewards")
    assert (bc["change"], bc["percent"], bc["verdict"]) == (-100.0, None, "too few seeds")
    assert (iql["change"], iql["clean"], iql["verdict"]) == (None, None, "no score")


def test_the_clean_variant_is_found_or_asked_for(shared_example: Path) -> None:
    runs = load_runs(shared_example)
    renamed = runs.with_columns(pl.col("variant").replace("clean", "original"))
    assert change_table(renamed)["change"].to_list() == change_table(runs)["change"].to_list()
    assert change_table(renamed, clean="random-rewards")["variant"].unique().to_list() == ["original"]
    with pytest.raises(ConfigError, match="'absent'"):
        change_table(runs, clean="absent")
    with pytest.raises(ConfigError, match="clean="):
        change_table(renamed.with_columns(transforms=pl.lit(1)))


def test_a_pivot_reads_as_mean_and_interval(shared_example: Path) -> None:
    text = pivot(score_table(load_runs(shared_example)))
    assert text.columns == ["variant", "bc", "td3_bc", "behaviour", "seeds", "episodes"]
    assert text.row(1) == ("random-rewards", "42.0 [39.0, 45.0]", "22.0 [20.0, 25.0]", "30.0", "3", "2")
    across = pivot(score_table(load_runs(shared_example)), "algorithm", "variant")
    assert across.columns == ["algorithm", "clean", "random-rewards", "seeds", "episodes"]


def test_a_pivot_shows_a_dash_for_what_was_not_run_and_refuses_double_cells(shared_example: Path) -> None:
    table = score_table(load_runs(shared_example))
    assert pivot(table[1:]).filter(variant="clean")["bc"].item() == "–"
    with pytest.raises(ConfigError, match="several rows"):
        pivot(pl.concat([table, table]))


def test_every_table_says_how_many_seeds_and_episodes_the_fewest_where_they_differ(folder: Path, run: Make) -> None:
    for seed in range(3):
        run(folder, seed=seed, returns=(1580.0,) * (5 if seed else 4))
        run(folder, variant="random-rewards", seed=seed, returns=(1580.0,) * 7)
    runs = load_runs(folder)
    assert score_table(runs).select("seeds", "episodes").rows() == [(3, 4), (3, 7)]
    assert change_table(runs).select("seeds", "episodes").rows() == [(3, 4)]
    assert pivot(score_table(runs), "algorithm", "variant").select("seeds", "episodes").rows() == [("3", "4–7")]
