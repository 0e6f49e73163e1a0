"""Runs as tidy frames: every parameter a column, filters before and after reading, lazy long tables, metrics of the data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assay.analysis import load_curves, load_returns, load_runs, scan_curves, scan_returns, score_table, with_metrics
from assay.datasets.errors import ConfigError

Make = Callable[..., Path]
SOURCE = {"transform": "source", "parameters": {"name": "hopper"}}


def corrupted(**parameters: Any) -> dict[str, Any]:
    return {"transform": "corruption.random", "parameters": parameters}


def test_every_parameter_of_algorithm_transforms_and_evaluation_is_a_column(folder: Path, run: Make) -> None:
    made_by = [SOURCE, corrupted(element="rewards", rate=0.3), corrupted(element="actions", rate=1)]
    run(folder, "iql", "noisy", parameters={"expectile": 0.7, "hidden": [64, 64], "twin": True}, history=made_by)
    run(folder, "bc", "clean", parameters={"learning_rate": 1, "twin": None}, returns=(1.0, 2.0, 3.0))
    runs = load_runs(folder).sort("algorithm")
    assert runs["algorithm/expectile"].to_list() == [None, 0.7]
    assert runs["algorithm/learning_rate"].to_list() == [1, None]
    assert runs["algorithm/hidden"].to_list() == [None, "[64, 64]"]
    assert runs["algorithm/twin"].to_list() == [None, True]
    assert runs["transform/corruption.random/rate"].to_list() == [None, 0.3]
    assert runs["transform/corruption.random#2/rate"].to_list() == [None, 1]
    assert runs["transform/corruption.random#2/element"].to_list() == [None, "actions"]
    assert runs["evaluation/episodes"].to_list() == [3, 2]
    kinds = {name: runs.schema[name] for name in runs.columns if name.startswith("algorithm/")}
    assert kinds["algorithm/twin"] == pl.Boolean
    assert kinds["algorithm/learning_rate"] == pl.Int64


def test_whole_and_other_numbers_of_one_parameter_are_one_column_of_numbers(folder: Path, run: Make) -> None:
    for seed, alpha in enumerate((1, 2.5)):
        run(folder, seed=seed, parameters={"alpha": alpha})
    assert load_runs(folder).sort("seed")["algorithm/alpha"].to_list() == [1.0, 2.5]


def test_long_lists_are_told_by_their_length_and_differ_where_they_differ(folder: Path, run: Make) -> None:
    for seed in (0, 1):
        select = {"transform": "datasets.select", "parameters": {"episodes": list(range(seed, 900 + seed))}}
        run(folder, variant=f"part-{seed}", seed=seed, history=[SOURCE, select])
    first, second = load_runs(folder)["transform/datasets.select/episodes"].to_list()
    assert first.startswith("900 entries")
    assert first != second


def test_a_filter_before_reading_gives_the_rows_of_the_same_filter_afterwards(example: Path) -> None:
    where = (pl.col("algorithm") == "bc") & (pl.col("seed") > 0)
    assert load_runs(example, where=where).equals(load_runs(example).filter(where))


def test_results_of_runs_that_a_filter_leaves_out_are_not_read(example: Path) -> None:
    next(example.glob("td3_bc-*")).joinpath("returns.parquet").write_bytes(b"damaged")
    assert load_runs(example, where=pl.col("algorithm") == "bc")["score"].null_count() == 0
    with pytest.raises(ConfigError, match=r"no column .*score.* before their results are read"):
        load_runs(example, where=pl.col("score") > 10)


def test_labels_tell_all_runs_apart_also_where_a_filter_leaves_one(folder: Path, run: Make) -> None:
    for number, expectile in enumerate((0.7, 0.9)):
        run(folder, "iql", parameters={"expectile": expectile}, suffix=f"{number}123abcd")
    chosen = load_runs(folder, where=pl.col("algorithm/expectile") > 0.8)
    assert chosen["label"].to_list() == ["IQL (expectile=0.9)"]
    assert load_returns(chosen)["label"].unique().to_list() == ["IQL (expectile=0.9)"]


def test_long_tables_of_filtered_runs_are_those_rows_of_the_whole(example: Path) -> None:
    runs = load_runs(example).filter(seed=2)
    for load in (load_returns, load_curves):
        assert load(runs).equals(load(example).filter(seed=2))
    with pytest.raises(ConfigError, match="no column 'path'"):
        load_returns(runs.drop("path"))


def test_a_lazy_table_is_the_table_and_opens_only_the_runs_it_needs(example: Path) -> None:
    assert scan_returns(example).collect().equals(load_returns(example))
    assert scan_curves(example).collect().equals(load_curves(example))
    long = scan_returns(example)
    mean = long.filter(pl.col("final")).group_by("algorithm", maintain_order=True).agg(pl.col("score").mean())
    expected = load_returns(example).filter(pl.col("final")).group_by("algorithm", maintain_order=True)
    assert mean.collect().equals(expected.agg(pl.col("score").mean()))
    assert long.head(3).collect().equals(load_returns(example).head(3))
    for damaged in example.glob("td3_bc-*"):
        (damaged / "returns.parquet").write_bytes(b"damaged")
    assert long.filter(pl.col("algorithm") == "bc").select("return").collect().height == 12


def test_frames_become_pandas_frames(example: Path) -> None:
    frame = load_runs(example).to_pandas()
    assert frame.groupby("algorithm")["score"].mean().round(1).to_dict() == {"bc": 42.0, "td3_bc": 42.0}


def test_metrics_are_joined_by_what_the_data_is_and_not_by_its_name(
    folder: Path, run: Make, suite: Any, quality: Any
) -> None:
    suite(folder, variants=["clean", "noisy"], algorithms=["bc"], seeds=[0])
    for variant, mark in (("clean", "a"), ("noisy", "b")):
        run(folder, variant=variant, fingerprint=mark * 32)
    quality(folder, [("clean", "tq", 0.9), ("noisy", "tq", 0.4), ("noisy", "saco", 1.5)])
    elsewhere = folder.parent / "others"
    run(elsewhere, variant="what-I-call-it", fingerprint="b" * 32)
    run(elsewhere, variant="unknown", fingerprint="c" * 32, seed=1)
    runs = with_metrics(load_runs([folder, elsewhere]))
    assert dict(zip(runs["variant"], runs["metric/tq"])) == {
        "clean": 0.9,
        "noisy": 0.4,
        "what-I-call-it": 0.4,
        "unknown": None,
    }
    assert with_metrics(runs.drop("metric/tq", "metric/saco"), metrics=["saco"]).columns[-1] == "metric/saco"
    with pytest.raises(ConfigError, match="nothing is known"):
        with_metrics(load_runs(elsewhere))
    with pytest.raises(ConfigError, match="'tqq' is not known"):
        with_metrics(load_runs(folder), metrics=["tqq"])


def test_metrics_that_contradict_each_other_are_refused() -> None:
    runs = pl.DataFrame({"run": ["a"], "fingerprint": ["f" * 32]})
    known = pl.DataFrame({"fingerprint": ["f" * 32] * 2, "metric": ["tq"] * 2, "value": [0.1, 0.2]})
    with pytest.raises(ConfigError, match="two values for the dataset ffffffff"):
        with_metrics(runs, known)
    with pytest.raises(ConfigError, match=r"no column 'fingerprint'.*pl\.lit"):
        with_metrics(runs, known.drop("fingerprint"))


def test_runs_of_one_variant_in_several_folders_of_python_end_in_one_table(folder: Path, run: Make) -> None:
    noisy = [SOURCE, corrupted(element="rewards", rate=0.3, scale=1.0, seed=0)]
    for seed in range(2):
        run(folder, variant="hopper", seed=seed, history=[SOURCE])
        run(folder, variant="hopper + rewards 0.3", seed=seed, history=noisy, suffix="1123abcd")
    assert score_table(load_runs(folder))["seeds"].to_list() == [2, 2]
