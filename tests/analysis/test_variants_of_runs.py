"""Runs on variants keep them apart: by their names, by what was done to them, and by their content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assay import save
from assay.analysis import load_returns, load_runs, pivot, score_table, write_report
from assay.baselines import BC, Evaluation, Job, train
from assay.cli import main
from assay.corruption import RandomCorruption
from assay.datasets.errors import ConfigError
from tests.baselines.problems import pendulum_like

Make = Callable[..., Path]
SMALL = {"hidden": (8,), "batch_size": 16}


def test_variants_trained_from_python_are_told_apart_in_the_table(tmp_path: Path) -> None:
    clean = pendulum_like()
    variants = [clean, *(RandomCorruption(element="rewards", rate=rate)(clean) for rate in (0.1, 0.3))]
    variants += [RandomCorruption(element="actions", rate=0.3)(clean).named("noisy actions")]
    runs = train(
        [Job(BC(**SMALL), variant, seed) for variant in variants for seed in (0, 1)],
        steps=5,
        runs=tmp_path,
        evaluation=Evaluation(episodes=1),
        workers=0,
    )
    table = score_table(load_runs(tmp_path), "return_mean")
    source = clean.info.id
    expected = [source, "noisy actions", f"{source} + rewards 0.1", f"{source} + rewards 0.3"]
    assert sorted(table["variant"]) == sorted(expected)
    assert table["seeds"].to_list() == [2] * 4
    assert pivot(table, behaviour=False)["variant"].to_list() == table["variant"].to_list()
    assert {run.job["variant"] for run in runs} == set(expected)
    page = write_report(tmp_path, tmp_path / "report.html").read_text()
    assert all(name in page for name in expected)


def test_a_saved_variant_is_called_by_its_name_where_it_is_trained_and_in_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    clean = pendulum_like()
    for name, variant in (("a", clean), ("b", RandomCorruption(element="rewards", rate=0.3)(clean))):
        save(variant, name)
        main(["train", name, "--algorithm", "bc", "--set", "hidden=[4]", "--steps", "2", "--episodes", "1"])
        assert f"│ {variant.name} │" in capsys.readouterr().out
    main(["table", "runs", "--metric", "return_mean"])
    assert f"| {clean.info.id} + rewards 0.3 |" in capsys.readouterr().out


def history(seed: int, rate: float = 0.3) -> list[dict[str, Any]]:
    parameters = {"element": "rewards", "rate": rate, "seed": seed}
    return [{"transform": "source", "parameters": {}}, {"transform": "corruption.random", "parameters": parameters}]


def test_runs_of_the_first_version_are_called_by_their_transforms_too(folder: Path, run: Make) -> None:
    for seed in (0, 1):
        made = run(folder, variant="hopper-medium-replay", seed=seed, history=history(0))
        text = (
            (made / "run.json")
            .read_text()
            .replace('"variant": "hopper-medium-replay"', '"variant": "hopper/medium-replay"')
        )
        (made / "run.json").write_text(text)
    assert set(load_runs(folder)["variant"]) == {"hopper/medium-replay + rewards 0.3"}


def test_different_data_of_one_name_is_never_averaged_and_told_apart_by_its_making(folder: Path, run: Make) -> None:
    for seed in range(4):
        made_by = history(seed // 2)
        run(
            folder,
            variant="noisy",
            seed=seed,
            returns=(100.0 * seed,),
            history=made_by,
            fingerprint=f"{seed // 2:032x}",
        )
    table = score_table(load_runs(folder), "return_mean")
    assert table.select("variant", "seeds", "mean").rows() == [
        ("noisy (seed=0)", 2, 50.0),
        ("noisy (seed=1)", 2, 250.0),
    ]
    assert set(load_returns(folder)["variant"]) == {"noisy (seed=0)", "noisy (seed=1)"}


def test_different_data_of_one_name_and_making_is_told_apart_by_its_fingerprint(folder: Path, run: Make) -> None:
    for seed in range(4):
        run(folder, seed=seed, fingerprint="ab"[seed % 2] * 32)
    assert sorted(set(load_runs(folder)["variant"])) == ["clean (data aaaaaaaa)", "clean (data bbbbbbbb)"]


def test_different_data_read_apart_and_joined_is_refused_and_read_together_told_apart(
    tmp_path: Path, run: Make
) -> None:
    for seed, mark in enumerate("ab"):
        run(tmp_path / mark, seed=seed, fingerprint=mark * 32)
    joined = pl.concat([load_runs(tmp_path / "a"), load_runs(tmp_path / "b")])
    with pytest.raises(ConfigError, match=r"2 datasets of one name .*aaaaaaaa, bbbbbbbb.*load_runs\(\[...\]\)"):
        score_table(joined)
    assert score_table(joined.drop("fingerprint"))["seeds"].to_list() == [2]
    together = load_runs([tmp_path / "a", tmp_path / "b"])
    assert score_table(together)["variant"].to_list() == ["clean (data aaaaaaaa)", "clean (data bbbbbbbb)"]


def test_how_often_a_seed_occurs_is_counted_right(folder: Path, run: Make) -> None:
    for number, expectile in enumerate((0.5, 0.7, 0.9)):
        for seed in (0, 1):
            run(folder, "iql", seed=seed, parameters={"expectile": expectile}, suffix=f"{number}123abcd")
    with pytest.raises(ConfigError, match="seed 0 occurs 3 times"):
        score_table(load_runs(folder))


def test_rows_follow_a_suite_that_calls_algorithms_by_labels(folder: Path, run: Make, suite: Any) -> None:
    for label, expectile, suffix in (
        ("cautious", 0.5, "0123abcd"),
        ("bold", 0.9, "1123abcd"),
        ("IQL", 0.7, "2123abcd"),
    ):
        run(folder, "iql", parameters={"expectile": expectile}, label=label, suffix=suffix)
    run(folder, "bc")
    suite(folder, algorithms=["cautious", "bc", "iql", "bold"], variants=["clean"], seeds=[0])
    labels = [label.partition(" ")[0] for label in load_runs(folder)["label"]]
    assert labels == ["cautious", "BC", "IQL", "bold"]
    page = write_report(folder, folder.parent / "report.html").read_text()
    assert "All 4 runs finished" in page  # none of them is taken for another that was not started


def test_a_run_folder_that_was_just_made_is_not_a_damaged_one(folder: Path, run: Make) -> None:
    run(folder)
    (folder / "iql-clean-seed0-0123abcd").mkdir()
    assert load_runs(folder).height == 1
