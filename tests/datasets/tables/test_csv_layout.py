"""CSV files are read as a person reads them: comments, names in comments, and what stands between values."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from assay.datasets.errors import AssayWarning, FormatError
from assay.datasets.formats import format_named
from assay.datasets.tables.files import open_table


def read(folder: Path, text: str, **options: str) -> dict[str, list]:
    file = folder / "run.csv"
    file.write_bytes(text.encode())
    table = open_table(file, **options)
    return {name: table.column(name).to_pylist() for name in table.types}


@pytest.mark.parametrize("between", [None, ",", ";", "\t", "|"])
def test_what_savetxt_writes_is_read_without_saying_how(tmp_path, between):
    rows = np.random.default_rng(0).normal(size=(5, 3))
    np.savetxt(
        tmp_path / "run.csv", rows, header=(between or " ").join("txu"), **({"delimiter": between} if between else {})
    )
    table = open_table(tmp_path / "run.csv")
    assert np.array_equal(np.stack([table.column(name) for name in "txu"], 1), rows)


def test_a_file_without_names_gets_some_and_loses_no_row(tmp_path):
    rows = np.arange(6.0).reshape(3, 2)
    np.savetxt(tmp_path / "run.csv", rows)
    with pytest.warns(AssayWarning, match="no line of names; its columns are called column_0 to column_1"):
        table = open_table(tmp_path / "run.csv")
    assert table.column("column_1").to_pylist() == [1, 3, 5]
    assert read(tmp_path, "0,1\n5,6\n") == {"0": [5], "1": [6]}  # whole numbers are names, as pandas writes them


ROWS = {"t": [0, 2], "x": [1, 3]}


@pytest.mark.parametrize(
    "text",
    [
        "# t,x\n#\n0,1\n2,3\n",
        "# from an arm\n# t,x\n# at 20 Hz\n0,1\n2,3\n",
        "# t x\n# [s] [m]\n0 1\n2 3\n",
        "# t x\n# s m/s\n0 1\n2 3\n",
        "t  x\n0  1\n 2\t3\n",
        "t\tx\r\n0\t1\r\n2\t3\r\n",
        "t,x\n0,1\n# paused\n2,3\n#4,5\n",
        "# t x\n0 1\n# paused, then on\n2 3\n#\n",
        "\n  \n# t,x\n\n0,1\n\n2,3\n",
    ],
)
def test_names_and_rows_are_found_among_comments(tmp_path, text):
    assert read(tmp_path, text) == ROWS


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("# name,colour\nred,big\nblue,small\n", {"name": ["red", "blue"], "colour": ["big", "small"]}),
        ("# by me, now\nname,x\nred,1\n", {"name": ["red"], "x": [1]}),
        ("colour,x\n#ff,2\n#aa,3\n", {"colour": ["#ff", "#aa"], "x": [2, 3]}),
        ("colour,x\nred,1\n#ff,2\n", {"colour": ["red", "#ff"], "x": [1, 2]}),
        ('a,b\n"x\n# y",1\n# c\nz,2\n', {"a": ["x\n# y", "z"], "b": [1, 2]}),
        ("log message\nhello world\n", {"log message": ["hello world"]}),
    ],
)
def test_texts_are_rows_and_not_taken_for_comments(tmp_path, text, found):
    assert read(tmp_path, text) == found


def test_a_comment_far_behind_the_first_lines_is_left_out(tmp_path):
    lines = [f"{number},{number}" for number in range(300_000)]
    assert len(read(tmp_path, "\n".join(["t,x", *lines, "# end", "7,7", ""]))["t"]) == 300_001


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# only\n# comments\n", "holds no rows but comments"),
        ("\n\n", "holds no rows but blank lines"),
        ("t x\n0 1\n2 3 4\n", "with blanks between values: .* Expected 2 columns, got 3"),
        ("t;x\n0;1\n2;3;4\n", "with semicolons between values"),
    ],
)
def test_what_cannot_be_read_is_said_in_words(tmp_path, text, message):
    with pytest.raises(FormatError, match=message):
        read(tmp_path, text)


def test_a_proposal_says_how_the_file_is_read(tmp_path):
    (tmp_path / "run.csv").write_text("# t x u\n0.0 1 2\n0.1 3 4\n0.2 5 6\n")
    text = format_named("table").propose(tmp_path / "run.csv")
    assert "# Read with blanks between values, names of a comment: t, x, u." in text
    (tmp_path / "run.csv").write_text("t,x,u\n0.0,1,2\n0.1,3,4\n0.2,5,6\n")
    assert "Read with" not in format_named("table").propose(tmp_path / "run.csv")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_table(tmp_path / "run.csv")
