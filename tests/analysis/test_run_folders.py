from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assay.analysis import load_curves, load_quality, load_returns, load_runs, load_suite, score_table
from assay.analysis.runs import read_folders
from assay.datasets.errors import AssayError, ConfigError, DatasetIntegrityError, FormatError

Make = Callable[..., Path]


def edit(run: Path, **fields: Any) -> None:
    file = run / "run.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


def test_a_run_is_one_row_with_its_mean_final_return_and_its_score(folder: Path, run: Make) -> None:
    run(folder, "iql", "random-rewards", 3, (1000.0, 2000.0, 1740.0), behaviour=940.0)
    (row,) = load_runs(folder).to_dicts()
    assert (row["algorithm"], row["label"], row["variant"], row["seed"]) == ("iql", "IQL", "random-rewards", 3)
    assert row["return_mean"] == 1580.0
    assert row["score"] == 50.0
    assert row["behaviour_score"] == 30.0
    assert (row["episodes"], row["updates"], row["transforms"]) == (3, 3000, 1)
    assert row["best_score"] is None  # there was no other evaluation to be best of
    assert Path(row["path"]).name == row["run"]


def test_best_and_final_scores_stay_apart(folder: Path, run: Make) -> None:
    run(folder, returns=(1580.0,), earlier={1000: (2540.0, 2540.0), 2000: (-20.0,)})
    (row,) = load_runs(folder).to_dicts()
    assert (row["score"], row["best_score"]) == (50.0, 80.0)


def test_without_references_there_is_a_return_and_no_score(folder: Path, run: Make) -> None:
    run(folder, returns=(-150.0, -250.0), references=None)
    (row,) = load_runs(folder).to_dicts()
    assert row["return_mean"] == -200.0
    assert row["score"] is row["behaviour_score"] is row["references"] is None
    assert load_returns(folder)["score"].null_count() == 2


@pytest.mark.parametrize("status", ["unfinished", "failed"])
def test_a_run_that_did_not_finish_is_listed_without_a_score(folder: Path, run: Make, status: str) -> None:
    made = run(folder, returns=(), earlier={1000: (500.0,)}, status=status, losses=(1.0,), steps=4000)
    (made / "curves.parquet").unlink()
    (row,) = load_runs(folder).to_dicts()
    assert row["status"] == status
    assert row["score"] is row["return_mean"] is row["best_score"] is None
    assert (row["updates"], row["updates_planned"]) == (1000, 4000)
    (made / "returns.parquet").unlink()
    assert load_runs(folder)["updates"].to_list() == [0]


def test_a_diverged_run_keeps_the_score_it_ended_with(folder: Path, run: Make) -> None:
    run(folder, returns=(-20.0,), status="diverged")
    run(folder, returns=(float("nan"),), status="diverged", seed=1)
    assert load_runs(folder)["score"].to_list() == [0.0, None]


def test_one_run_folder_can_be_read_by_itself(folder: Path, run: Make) -> None:
    run(folder, seed=0)
    one = run(folder, seed=1)
    assert load_runs(one)["seed"].to_list() == [1]


def test_rows_follow_the_suite_and_free_runs_begin_with_untouched_data(folder: Path, run: Make, suite: Any) -> None:
    for algorithm in ("bc", "td3_bc"):
        for variant in ("a-rewards", "clean"):
            run(folder, algorithm, variant, 1)
            run(folder, algorithm, variant, 0)
    free = load_runs(folder)
    assert free["variant"].to_list() == ["clean", "clean", "a-rewards", "a-rewards"] * 2
    assert load_suite(folder) is None
    suite(folder, algorithms=["td3_bc", "bc"], variants=["a-rewards", "clean"])
    ordered = load_runs(folder)
    assert ordered["algorithm"].to_list() == ["td3_bc"] * 4 + ["bc"] * 4
    assert ordered["variant"].to_list()[:4] == ["a-rewards", "a-rewards", "clean", "clean"]
    assert ordered["seed"].to_list() == [0, 1] * 4


def test_labels_tell_runs_apart_that_differ_in_parameters_or_budget(folder: Path, run: Make) -> None:
    run(folder, "iql", parameters={"expectile": 0.7, "batch_size": 256})
    run(folder, "iql", parameters={"expectile": 0.9, "batch_size": 256}, suffix="1123abcd")
    run(folder, "bc")
    assert sorted(load_runs(folder)["label"]) == ["BC", "IQL (expectile=0.7)", "IQL (expectile=0.9)"]
    run(folder, "bc", steps=9000, suffix="1123abcd")
    assert "BC (updates=9000)" in load_runs(folder)["label"].to_list()


def test_long_frames_carry_the_keys_of_their_run(example: Path) -> None:
    returns, curves, quality = load_returns(example), load_curves(example), load_quality(example)
    assert returns.height == 12 * 2
    assert returns.filter(pl.col("final"))["score"].mean() == pytest.approx(load_runs(example)["score"].mean())
    assert curves.height == 12 * 3
    assert curves.columns == ["run", "algorithm", "label", "variant", "seed", "update", "metric", "value"]
    assert quality.filter(variant="clean", metric="tq")["value"].item() == 0.3
    (example / "quality.parquet").unlink()
    assert load_quality(example).is_empty()
    assert load_quality(example).columns == quality.columns


def test_hidden_and_unrelated_folders_are_not_runs(example: Path) -> None:
    (example / ".bc-clean-seed9-00000000.writing-x").mkdir()
    (example / "figures").mkdir()
    assert load_runs(example).height == 12


def damaged_json(run: Path) -> Path:
    (run / "run.json").write_text('{"schema": "assay-run", ')
    return run / "run.json"


def foreign_json(run: Path) -> Path:
    (run / "run.json").write_text('{"lr": 0.1}')
    return run / "run.json"


def later_version(run: Path) -> Path:
    edit(run, schema_version=2)
    return run / "run.json"


def no_seed(run: Path) -> Path:
    edit(run, job={"algorithm": "bc", "variant": "clean", "steps": 3})
    return run / "run.json"


def text_as_number(run: Path) -> Path:
    edit(run, seconds="long")
    return run / "run.json"


def unknown_status(run: Path) -> Path:
    edit(run, status="great")
    return run / "run.json"


def equal_references(run: Path) -> Path:
    edit(run, references={"random": 1.0, "expert": 1.0, "source": ""})
    return run / "run.json"


def no_json(run: Path) -> Path:
    (run / "run.json").unlink()
    return run / "run.json"


def cut_returns(run: Path) -> Path:
    file = run / "returns.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    return file


def no_returns(run: Path) -> Path:
    (run / "returns.parquet").unlink()
    return run / "returns.parquet"


def no_final_returns(run: Path) -> Path:
    file = run / "returns.parquet"
    pl.read_parquet(file).with_columns(final=pl.lit(False)).write_parquet(file)
    return file


def infinite_return(run: Path) -> Path:
    file = run / "returns.parquet"
    pl.read_parquet(file).with_columns(pl.lit(float("inf")).alias("return")).write_parquet(file)
    return file


def lacking_column(run: Path) -> Path:
    file = run / "returns.parquet"
    pl.read_parquet(file).drop("final").write_parquet(file)
    return file


def wrong_type(run: Path) -> Path:
    file = run / "returns.parquet"
    pl.read_parquet(file).with_columns(pl.lit("many").alias("return")).write_parquet(file)
    return file


@pytest.mark.parametrize(
    "harm",
    [
        damaged_json,
        foreign_json,
        later_version,
        no_seed,
        text_as_number,
        unknown_status,
        equal_references,
        no_json,
        cut_returns,
        no_returns,
        no_final_returns,
        infinite_return,
        lacking_column,
        wrong_type,
    ],
)
def test_a_damaged_folder_is_an_error_that_names_the_file(example: Path, harm: Callable[[Path], Path]) -> None:
    victim = sorted(path for path in example.iterdir() if path.is_dir())[3]
    file = harm(victim)
    with pytest.raises(AssayError) as caught:
        load_runs(example)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_suite_or_quality_file_is_named(example: Path) -> None:
    (example / "quality.parquet").write_bytes(b"PAR1")
    with pytest.raises(DatasetIntegrityError, match=r"quality\.parquet"):
        load_quality(example)
    (example / "suite.json").write_text("[]")
    with pytest.raises(FormatError, match=r"suite\.json"):
        load_runs(example)


def test_a_folder_without_runs_is_refused_unless_a_suite_has_just_begun(tmp_path: Path, suite: Any) -> None:
    with pytest.raises(FormatError, match="no run folder"):
        load_runs(tmp_path)
    with pytest.raises(FormatError, match="not a folder"):
        load_runs(tmp_path / "absent")
    with pytest.raises(FormatError, match="not a folder"):
        load_quality(tmp_path / "absent")
    suite(tmp_path)
    assert load_runs(tmp_path).is_empty()


def test_runs_that_their_suite_has_replaced_are_left_out(folder: Path, run: Make, suite: Any) -> None:
    """As when a search was grown: both winners have one label, because what was found is no part of it."""
    for alpha, suffix in ((1.0, "aaaaaaaa"), (2.0, "bbbbbbbb")):
        for seed in range(2):
            made = run(folder, "bc", "clean", seed, label="BC, searched", parameters={"alpha": alpha}, suffix=suffix)
            plain = json.loads((made / "run.json").read_text())
            plain["job"]["by_variant"] = ["alpha"]
            (made / "run.json").write_text(json.dumps(plain))
    run(folder, "bc", "clean", 0)
    current = [f"bc-clean-seed{seed}-aaaaaaaa" for seed in range(2)]
    suite(folder)
    with pytest.raises(
        ConfigError, match=r"seed 0 occurs 2 times \(bc-clean-seed0-aaaaaaaa, bc-clean-seed0-bbbbbbbb\)"
    ) as error:
        score_table(load_runs(folder), rows=["label"])
    assert "rows=" not in str(error.value), "labels are what tables tell runs apart by, and they are alike"
    suite(folder, runs=current)
    names = ["bc-clean-seed0-0123abcd", *current]
    assert sorted(load_runs(folder)["run"]) == sorted(item.folder.name for item in read_folders(folder)) == names
    assert sorted(load_runs([folder])["run"]) == names
    assert score_table(load_runs(folder), rows=["label"])["seeds"].to_list() == [1, 2]
    suite(folder, runs=current[:1])
    assert sorted(load_runs(folder)["run"]) == names, "another seed of the same settings stays"
