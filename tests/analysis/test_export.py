"""Tables for papers and programs, and what to cite."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assay.analysis import load_runs, score_table
from assay.analysis.bibliography import bibliography, uncited
from assay.analysis.export import format_table
from assay.baselines import algorithms
from assay.cli import main
from assay.datasets.errors import ConfigError
from assay.datasets.transform import registered

Make = Callable[..., Path]
BIB = Path(__file__).parents[2] / "analysis" / "templates" / "references.bib"


def runs_of(scores: dict[tuple[str, str], list[float | None]]) -> pl.DataFrame:
    rows = [
        {"label": label, "variant": variant, "seed": seed, "score": score, "episodes": 10}
        for (label, variant), values in scores.items()
        for seed, score in enumerate(values)
    ]
    return pl.DataFrame(rows, schema_overrides={"score": pl.Float64})


def test_the_highest_mean_of_a_row_is_bold_and_ties_as_shown_are_both() -> None:
    runs = runs_of(
        {
            ("A", "clean"): [10.0, 20.0],
            ("B", "clean"): [15.02, 15.02],
            ("A", "noisy"): [1.0, 3.0],
            ("B", "noisy"): [5.0, 5.0],
        }
    )
    lines = format_table(runs, "markdown").splitlines()
    assert lines[0] == "| variant | A | B |"
    assert lines[2] == "| clean | **15.0** [10.0, 20.0] | **15.0** [15.0, 15.0] |"
    assert lines[3] == "| noisy | 2.0 [1.0, 3.0] | **5.0** [5.0, 5.0] |"
    assert "2 seeds, 10 episodes each" in lines[-1]


def test_what_has_no_score_or_no_rival_is_not_bold() -> None:
    text = format_table(runs_of({("A", "clean"): [1.0, 2.0], ("B", "clean"): [None, None]}))
    assert "| clean | 1.5 [1.0, 2.0] | – |" in text
    assert "**" not in text


def test_latex_has_a_row_for_every_variant_and_escapes_names() -> None:
    text = format_table(
        runs_of({("A_1", "50 % {noise} & more"): [1.0, 2.0], ("B", "50 % {noise} & more"): [3.0, 4.0]}), "latex"
    )
    assert r"50 \% \{noise\} \& more & 1.5 {\scriptsize [1.0, 2.0]} & \textbf{3.5} {\scriptsize [3.0, 4.0]} \\" in text
    assert r"variant & A\_1 & B \\" in text
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert re.findall(r"\\(begin|end)\{(\w+)\}", text) == [
        ("begin", "table"),
        ("begin", "tabular"),
        ("end", "tabular"),
        ("end", "table"),
    ]
    assert text.isascii()


def test_csv_and_parquet_hold_the_numbers_of_the_score_table(example: Path, tmp_path: Path) -> None:
    expected = score_table(load_runs(example), rows=["label"])
    read = pl.read_csv(io.StringIO(format_table(load_runs(example), "csv")))
    assert read["mean"].to_list() == expected["mean"].to_list()
    assert read["episodes"].to_list() == [2] * 4
    main(["table", str(example), "--format", "parquet", "-o", str(tmp_path / "scores.parquet")])
    assert pl.read_parquet(tmp_path / "scores.parquet").equals(expected)


def test_the_command_prints_or_writes_and_refuses_what_exists_before_reading(
    example: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["table", str(example)])
    assert "| clean | 42.0 [40.0, 44.0] | **62.0** [60.0, 64.0] |" in capsys.readouterr().out
    files = ["-o", str(tmp_path / "scores.tex"), "--bibtex", str(tmp_path / "references.bib")]
    main(["table", str(example), "--format", "latex", *files])
    assert r"\textbf{62.0}" in (tmp_path / "scores.tex").read_text()
    assert "@inproceedings{fujimoto2021minimalist" in (tmp_path / "references.bib").read_text()
    for words, message in (
        (["no-such-runs", *files], "exists already"),
        ([str(example), "--format", "parquet"], "name the file to write"),
        ([str(example), "--metric", "scoore"], "no column 'scoore'"),
        ([], "which runs are to be written?"),
    ):
        with pytest.raises(SystemExit):
            main(["table", *words])
        assert message in capsys.readouterr().err.replace("\n", " ")


def test_runs_that_did_not_finish_are_told_by_tables_and_by_the_report_s_terminal(
    folder: Path, run: Make, suite: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(folder, seed=0)
    run(folder, seed=1, returns=(), status="failed")
    run(folder, seed=2, returns=(), status="unfinished")
    said = "1 of 3 runs finished; 1 failed and 1 unfinished."
    for text_format in ("markdown", "latex"):
        assert said in format_table(load_runs(folder), text_format)
    for words in ([], ["--format", "csv"], ["-o", str(tmp_path / "scores.md")]):
        main(["table", str(folder), *words])
        captured = capsys.readouterr()
        assert (captured.out + captured.err).count(said) == 1
    suite(folder, algorithms=["bc"], variants=["clean"], seeds=[0, 1, 2, 3])
    main(["report", str(folder), "-o", str(tmp_path / "report.html")])
    assert "1 of 4 runs finished; 1 failed, 1 unfinished and 1 not started." in capsys.readouterr().out


def test_a_table_without_any_score_says_why(folder: Path, run: Make) -> None:
    run(folder, returns=(), status="failed")
    failed = load_runs(folder)
    assert format_table(failed).endswith("no run has one. 0 of 1 run finished; 1 failed.")
    without = failed.drop("evaluation/episodes").with_columns(status=pl.lit("finished"))
    assert format_table(without).endswith(
        "no run has one. Runs that were trained without an environment have no evaluation."
    )


def test_a_table_of_runs_with_a_limit_of_costs_says_where_it_is_exceeded() -> None:
    runs = runs_of({("A", "clean"): [9.0, 9.0], ("B", "clean"): [3.0, 5.0]})
    said = "Bold: the highest mean of a row. Costs are not looked at: in 1 of 2 cells the mean cost is over the limit."
    assert said in format_table(runs.with_columns(normalized_cost=pl.Series([1.5, 0.9, 0.2, None])))
    assert "ost" not in format_table(runs)


# -------------------------------------------------------------------- citations


def test_every_algorithm_is_cited_by_the_paper_that_its_file_names() -> None:
    known = algorithms()
    shipped = {name: kind for name, kind in known.items() if kind.__module__.startswith("assay.baselines")}
    assert uncited(pl.DataFrame({"algorithm": sorted(shipped)})) == []
    for name, kind in shipped.items():
        document = sys.modules[kind.__module__].__doc__
        named = set(re.findall(r"\d{4}\.\d{5}", document))
        cited = set(re.findall(r"eprint = \{(\d{4}\.\d{5})\}", bibliography(pl.DataFrame({"algorithm": [name]}))))
        cited -= {"2108.13264"}  # of the statistics
        assert cited <= named, name


def test_what_entries_are_cited_for_exists() -> None:
    patterns = re.findall(r"(algorithm|transform):([\w.]+)", BIB.read_text())
    names = {"algorithm": set(algorithms()), "transform": set(registered())}
    assert [pair for pair in patterns if pair[1] not in names[pair[0]]] == []


def test_entries_are_well_formed_and_unique() -> None:
    text = BIB.read_text()
    keys = re.findall(r"^@\w+\{(\w+),$", text, re.MULTILINE)
    assert len(keys) == len(set(keys)) == text.count("@") > 30
    assert text.count("{") == text.count("}")
    for entry in re.split(r"^@", text, flags=re.MULTILINE)[1:]:
        assert {"title", "author", "year", "cited_for"} <= set(re.findall(r"^  (\w+) = \{", entry, re.MULTILINE))


def test_runs_are_cited_by_what_they_used(folder: Path, run: Make) -> None:
    run(folder, "iql", "random-rewards")
    run(folder, "mine", "clean", label="Mine")
    runs = load_runs(folder)
    text = bibliography(runs)
    keys = re.findall(r"@\w+\{(\w+),", text)
    assert keys == sorted(keys)
    assert set(keys) == {
        "agarwal2021deep",
        "kostrikov2022offline",
        "yang2024towards",
        "fu2020d4rl",
        "towers2024gymnasium",
        "todorov2012mujoco",
    }
    assert "cited_for" not in text
    assert uncited(runs) == ["algorithm:mine"]
    with pytest.raises(ConfigError, match="nothing to cite"):
        bibliography(runs.clear())
