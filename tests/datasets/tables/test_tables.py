"""Frames and files of rows become the same dataset; what does not fit says where it is and what to do."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import assay
from assay.datasets import Dataset
from assay.datasets.errors import AssayError, AssayWarning, ConfigError, DatasetError, FormatError
from assay.datasets.formats import format_named, sniff
from tests.datasets.dataset_strategies import assert_same_columns

MAPPING: dict[str, Any] = {
    "observations": ["x", "y"],
    "actions": ["u"],
    "rewards": "r",
    "episode": "run",
    "time": "t",
    "ends": "truncated",
    "extra": ["heat"],
}


def rows(**changes: Any) -> dict[str, Any]:
    """Two runs of 3 and 2 rows."""
    columns: dict[str, Any] = {
        "run": ["a", "a", "a", "b", "b"],
        "t": [0.0, 0.1, 0.2, 0.0, 0.1],
        "x": [0.0, 1.0, 2.0, 3.0, 4.0],
        "y": [5, 6, 7, 8, 9],
        "u": [0.5, 0.25, -0.5, 1.5, 0.125],
        "r": [1.0, 1.0, 4.0, 2.0, 2.0],
        "heat": [20, 21, 22, 20, 21],
    }
    return {name: values for name, values in (columns | changes).items() if values is not None}


def load(source: Any, **changes: Any) -> Dataset:
    said = {name: value for name, value in (MAPPING | changes).items() if value is not None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AssayWarning)
        return (
            assay.load(source, columns=said) if isinstance(source, Path) else Dataset.from_frame(source, columns=said)
        )


def write(path: Path, columns: dict[str, Any]) -> Path:
    """Write columns in the format of the path's suffix."""
    table = pa.table(columns)
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=2)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    else:
        table.to_pandas().to_csv(path, index=False, sep=";" if path.suffix == ".tsv" else ",")
    return path


# -------------------------------------------------------------------- one content, many sources


@pytest.mark.parametrize(
    "source", ["pandas", "polars", "lazy", "arrow", "batch", ".csv", ".tsv", ".parquet", ".jsonl", "folder"]
)
def test_every_source_of_the_same_rows_is_the_same_dataset(source: str, tmp_path: Path) -> None:
    table = pa.table(rows())
    made: Any = {
        "pandas": lambda: pd.DataFrame(rows()),
        "polars": lambda: pl.DataFrame(rows()),
        "lazy": lambda: pl.DataFrame(rows()).lazy(),
        "arrow": lambda: table,
        "batch": lambda: table.to_batches()[0],
    }
    if source == "folder":
        for name, part in (("a", table[:3]), ("b", table[3:])):
            pq.write_table(part.drop_columns("run"), tmp_path / f"{name}.parquet")
        dataset = load(tmp_path, episode=None)
    else:
        dataset = load(made[source]() if source in made else write(tmp_path / f"rows{source}", rows()))
    assert dataset.observations.tolist() == [[0, 5], [1, 6], [2, 7], [2, 7], [3, 8], [4, 9], [4, 9]]
    assert dataset.actions.ravel().tolist() == rows()["u"]
    assert dataset.rewards.tolist() == rows()["r"]
    assert dataset.column("time").tolist() == rows()["t"]
    assert dataset.column("infos/heat").tolist() == rows()["heat"]
    assert dataset.truncations.tolist() == [False, False, True, False, True]
    assert dataset.episode_columns["id"].tolist() == ["a", "b"]
    assert dataset.final_observations_known.tolist() == [False, False]
    assert dataset.info.names == {"observations": ("x", "y"), "actions": ("u",)}
    assert not dataset.missing["actions"].any()


def test_arguments_are_the_mapping() -> None:
    one = Dataset.from_frame(
        pl.DataFrame(rows()), ["x", "y"], ["u"], "r", "run", "t", ends="truncated", extra=["heat"], units={"x": "m"}
    )
    assert one == load(pl.DataFrame(rows()))
    assert one.info.units == {"observations": ("m", "")}
    with pytest.raises(ConfigError, match="columns is a whole mapping; put observations into it"):
        Dataset.from_frame(pl.DataFrame(rows()), ["x"], columns=MAPPING)


def test_a_last_row_without_an_action_is_the_final_observation() -> None:
    dataset = load(pl.DataFrame(rows(u=[0.5, 0.25, None, 1.5, 0.125])))
    assert dataset.episode_lengths.tolist() == [2, 2]
    assert dataset.observations[:, 0].tolist() == [0, 1, 2, 3, 4, 4]
    assert dataset.final_observations_known.tolist() == [True, False]
    assert dataset.column("time").tolist() == [0.0, 0.1, 0.0, 0.1]
    assert dataset.truncations.tolist() == [False, True, False, True]


def test_labels_with_gaps_are_missing_and_observations_with_gaps_are_nan() -> None:
    columns = rows(u=[None, 0.25, -0.5, 1.5, 0.125], r=[1, None, 4, 2, 2], y=[5, None, 7, 8, 9])
    dataset = load(pl.DataFrame(columns))
    assert dataset.missing["actions"].tolist() == [True, False, False, False, False]
    assert dataset.missing["rewards"].tolist() == [False, True, False, False, False]
    assert dataset.rewards.dtype == np.int64
    assert np.isnan(dataset.observations[1, 1])
    assert np.isfinite(dataset.observations).sum() == 13
    assert load(pd.DataFrame(columns)).missing["actions"].tolist() == dataset.missing["actions"].tolist()


def test_flags_of_the_table_end_episodes() -> None:
    columns = rows(run=None, done=[0, 0, 1, 0, 0], cut=[False, False, False, False, True])
    dataset = load(pl.DataFrame(columns), episode=None, ends=None, terminations="done", truncations="cut")
    assert dataset.episode_lengths.tolist() == [3, 2]
    assert np.flatnonzero(dataset.terminations).tolist() == [2]


def test_lists_nested_columns_categories_and_dates() -> None:
    frame = pl.DataFrame(
        rows(
            pose=[{"at": [0.0, 1.0], "held": k % 2 == 0} for k in range(5)],
            colour=pl.Series(["red", "blue", "red", "red", "blue"], dtype=pl.Categorical),
            t=pd.date_range("2026-01-01", periods=5, freq="250ms"),
        )
    )
    dataset = load(
        frame,
        observations={"pose": "pose/at", "more": ["x", "pose/held", "colour"]},
        categories={"colour": "one-hot"},
    )
    assert dataset.observations["pose"].shape == (7, 2)
    assert dataset.observations["more"][1].tolist() == [1, 0, 1, 0]
    assert dataset.info.names["observations/more"] == ("x", "pose/held", "colour=blue", "colour=red")
    assert dataset.column("time").tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert dataset.info.extra["time_origin"].startswith("2026-01-01T00:00:00")


def test_a_frame_that_changes_later_does_not_change_the_dataset() -> None:
    frame = pd.DataFrame(rows())
    dataset = load(frame)
    before = dataset.observations.copy()
    frame.loc[0, "x"] = 100.0
    frame["y"].to_numpy()
    assert dataset.observations.tolist() == before.tolist()


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[int], int, list[bool], int]:
    lengths = draw(st.lists(st.integers(1, 90), min_size=1, max_size=6))
    known = [draw(st.booleans()) and length > 1 for length in lengths]
    return lengths, draw(st.integers(1, 3)), known, draw(st.integers(0, 2**31))


@settings(max_examples=60, deadline=None)
@given(table=tables(), kind=st.sampled_from(["polars", "pandas", "parquet"]))
def test_rows_of_any_episodes_come_to_their_places(tmp_path_factory: Any, table: Any, kind: str) -> None:
    lengths, width, known, seed = table
    generator = np.random.default_rng(seed)
    total = sum(lengths)
    values = generator.normal(size=(total, width + 2)).astype(np.float32)
    ids = np.repeat(generator.permutation(len(lengths)), lengths)
    actions: list[float | None] = values[:, width].tolist()
    for last, final in zip(np.cumsum(lengths) - 1, known, strict=True):
        if final:
            actions[last] = None
    columns = {f"x{k}": values[:, k] for k in range(width)}
    frame = pl.DataFrame({**columns, "u": pl.Series(actions, dtype=pl.Float32), "r": values[:, width + 1], "run": ids})
    source: Any = frame
    if kind == "pandas":
        source = frame.to_pandas()
    elif kind == "parquet":
        source = tmp_path_factory.mktemp("table") / "rows.parquet"
        pq.write_table(frame.to_arrow(), source, row_group_size=50)
    said = {"observations": [*columns], "actions": ["u"], "rewards": "r", "episode": "run", "ends": "terminated"}
    dataset = assay.load(source, columns=said) if kind == "parquet" else Dataset.from_frame(source, columns=said)
    parts, start = [], 0
    for length, final in zip(lengths, known, strict=True):
        steps = length - final
        observed = values[start : start + length, :width]
        parts.append(
            {
                "observations": observed if final else np.concatenate([observed, observed[-1:]]),
                "actions": values[start : start + steps, width, None],
                "rewards": values[start : start + steps, width + 1],
                "terminations": np.arange(steps) == steps - 1,
                "truncations": np.zeros(steps, bool),
            }
        )
        start += length
    assert_same_columns(dataset, Dataset.from_episodes(parts))
    assert dataset.final_observations_known.tolist() == known


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), lengths=st.lists(st.integers(1, 8), min_size=1, max_size=4))
def test_names_times_flags_and_missing_labels_go_out_and_come_back(
    tmp_path_factory: Any, seed: int, lengths: list[int]
) -> None:
    generator = np.random.default_rng(seed)
    total = sum(lengths)
    reward = [None if generator.random() < 0.3 else float(value) for value in generator.normal(size=total)]
    frame = pl.DataFrame(
        {
            "run": np.repeat(np.arange(len(lengths)), lengths),
            "t": np.concatenate([np.sort(generator.random(length)) for length in lengths]),
            "x": generator.normal(size=total),
            "u": generator.normal(size=total),
            "r": pl.Series(reward, dtype=pl.Float64),
            "won": generator.random(total) < 0.5,
        }
    )
    said: dict[str, Any] = {"observations": ["x"], "actions": ["u"], "rewards": "r", "episode": "run", "time": "t"}
    dataset = Dataset.from_frame(frame, columns={**said, "ends": "won", "units": {"x": "m"}})
    folder = tmp_path_factory.mktemp("out")
    for format in ("assay", "npz"):
        path = folder / f"saved.{format}"
        assay.save(dataset, path, format=format)
        back = assay.load(path)
        assert back == dataset
        assert (back.info.names, back.info.units) == (dataset.info.names, dataset.info.units)


# -------------------------------------------------------------------- what cannot be read


@pytest.mark.parametrize(
    ("changes", "said", "kind", "message"),
    [
        ({"run": ["a", "b", "a", "b", "b"]}, {}, DatasetError, r"episode run=a comes back in row 2, after others"),
        ({"run": ["a", None, "a", "b", "b"]}, {}, DatasetError, r"row 1 has no episode \(run is missing\)"),
        ({"x": ["1", "2", "3", "4", "?"]}, {}, DatasetError, r'column x is text.*"categories"'),
        ({"u": None}, {}, ConfigError, r"no array 'u' for actions; the file holds heat, r, run"),
        ({}, {"observations": ["x", "z"]}, ConfigError, r"no array 'z' for observations"),
        ({}, {"observations": None}, FormatError, r"nothing is named observations"),
        ({"x": [[1.0], [1.0, 2.0], [1.0], [1.0], [1.0]]}, {"observations": "x"}, DatasetError, "row 1 holds 2 values"),
        (
            {"x": [[1.0], None, [1.0], [1.0], [1.0]]},
            {"observations": "x"},
            DatasetError,
            "row 1 is missing; every row needs a list",
        ),
        ({"t": [0.0, None, 0.2, 0.0, 0.1]}, {}, DatasetError, "t, row 1: nan is no time"),
        ({"t": ["now", "later", "x", "y", "z"]}, {}, DatasetError, "texts that are no times"),
        ({}, {"episode": None}, FormatError, "nothing says where episodes end"),
        ({}, {"episode": None, "episode_lengths": "y"}, DatasetError, "must be a number or all"),
        ({"u": [None] * 5}, {}, None, ""),
        ({"run": ["a", "a", "a", "b", "c"], "u": [1.0, 1, 1, 1, None]}, {}, DatasetError, "one row without an action"),
        ({"done": [0, 0, 2, 0, 0]}, {"terminations": "done"}, DatasetError, "row 2: 2 is not a flag"),
        ({"done": [0, 0, None, 0, 0]}, {"terminations": "done"}, DatasetError, "row 2: nan is not a flag"),
        ({"y": ["2026-01-01"] * 5}, {}, DatasetError, "column y is text"),
        ({}, {"ends": "heat"}, DatasetError, "20 is not a flag"),
        ({"y": pd.to_datetime(["2026-01-01"] * 5)}, {}, DatasetError, "column y holds times"),
    ],
)
def test_misuse_is_said_with_the_column_and_the_row(
    changes: dict[str, Any], said: dict[str, Any], kind: type[AssayError] | None, message: str
) -> None:
    if kind is None:
        with pytest.raises(DatasetError):
            load(pl.DataFrame(rows(**changes))).transitions()
        return
    with pytest.raises(kind, match=message) as caught:
        load(pl.DataFrame(rows(**changes)), **said)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (None, "must be a frame of pandas, polars or pyarrow, not NoneType"),
        (np.zeros((3, 2)), "not ndarray; arrays go to Dataset.from_arrays"),
        ({"x": [1.0]}, "not dict"),
        (pd.DataFrame({"x": []}), "has no rows"),
        (pl.DataFrame(), "has no rows"),
        (pd.DataFrame(np.zeros((2, 2))), "column 0 has a name that is no text"),
        (pd.DataFrame(np.zeros((2, 2)), columns=["x", "x"]), "two columns are named 'x'"),
        (pd.DataFrame({"x": [1.0, "a"], "y": [1, 2]}), "column 'x' holds values of mixed or unknown types"),
        (pd.DataFrame({"x": [object(), object()], "y": [1, 2]}), "column 'x' holds values of mixed or unknown types"),
        (pa.table([[1], [2]], names=["x", "x"]), "two columns are named 'x'"),
    ],
)
def test_what_is_no_frame_is_said(frame: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        Dataset.from_frame(frame, observations=["x"], episode_lengths="all")


def test_columns_that_nobody_asks_for_may_hold_anything() -> None:
    junk = {"note": [1, "a", None], "when": [object()] * 3, "phase": [1j, 2j, 3j]}
    clean = pd.DataFrame({"x": [1.0, 2.0, 3.0], "u": [0.0, 1.0, 2.0]})
    said = {"observations": ["x"], "actions": ["u"], "episode_lengths": "all", "ends": "truncated"}
    expected = Dataset.from_frame(clean, **said)
    with pytest.warns(AssayWarning, match="not read: note, phase, when"):
        assert Dataset.from_frame(clean.assign(**junk), **said) == expected
    held = pl.from_pandas(clean).with_columns(pl.Series("when", junk["when"], dtype=pl.Object))
    with pytest.warns(AssayWarning, match="not read: when"):
        assert Dataset.from_frame(held, **said) == expected
    for frame in (clean.assign(**junk), held):
        with pytest.raises(DatasetError, match="column 'when' holds"):
            Dataset.from_frame(frame, **{**said, "observations": ["x", "when"]})
    with pytest.raises(DatasetError, match=r"run is in the index, not a column: frame\.reset_index\(\)"):
        Dataset.from_frame(clean.assign(run=0).set_index("run"), observations=["x"], episode="run")


def test_a_name_that_is_not_there_is_met_with_the_nearest() -> None:
    frame = pd.DataFrame({"position": [1.0], "speed": [2.0], "colour": ["red"]})
    with pytest.raises(ConfigError, match="no array 'positon' for observations; did you mean 'position'"):
        Dataset.from_frame(frame, observations=["positon"], episode_lengths="all")
    with pytest.raises(
        DatasetError, match=r'column colour is text \(.red. in row 0\), and .*"categories": \{"colour": "one-hot"\}'
    ):
        Dataset.from_frame(frame, observations=["speed", "colour"], episode_lengths="all")


SAID = {"observations": ["x"], "actions": ["u"], "time": "t"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("run.csv", "t,x,u,\u00e9\n0,1,2,3\n".encode("latin-1"), "run.csv is not UTF-8.*save it as UTF-8"),
        ("run.csv", "t,x,u\n0,1,2\n".encode("utf-16"), "run.csv is text in UTF-16; save it as UTF-8"),
        ("run.csv", b"t;x;u\n0;1,5;2\n1;,;2\n", "column x is text"),
        ("run.csv", b"t,x,u\n0,1,2\n1,ERR,2\n", r"column x is text \('ERR' in row 1\), and cannot stand beside"),
        ("run.csv", b"t;x;u\n0;1,5;2\n1;-2,25e3;2\n", r'column x holds numbers such as 1,5; say so: decimal=","'),
        ("run.txt", b"t,x,u\n0,1,2\n", "tables of text are read from files that end in .csv or .tsv"),
        ("run.json", b'[{"t": 0, "x": 1, "u": 2}]', "JSON is read as lines of one object each, from a file that ends in .jsonl"),
        ("runs/", b"", "runs/ does not exist"),
    ],
)  # fmt: skip
def test_files_that_are_nearly_tables_are_met_with_what_to_do(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    if content:
        (tmp_path / name).write_bytes(content)
    with warnings.catch_warnings(action="ignore", category=AssayWarning), pytest.raises(AssayError, match=message):
        assay.load(f"{tmp_path}/{name}", columns=SAID | {"episode_lengths": "all", "ends": "truncated"})


def test_numbers_with_decimal_commas_are_read_where_it_is_said(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    path.write_text("t;x;u\n0,5;1,5;2\n1,5;-2,25;2\n")
    assert "observations: [x]" in format_named("table").propose(path, decimal=",")  # type: ignore[attr-defined]
    said = SAID | {"episode_lengths": "all", "ends": "truncated"}
    assert quietly(path, said, decimal=",").observations[:2].tolist() == [[1.5], [-2.25]]


def quietly(path: Path, said: dict[str, Any], **options: Any) -> Dataset:
    with warnings.catch_warnings(action="ignore", category=AssayWarning):
        return assay.load(path, columns=said, **options)


@pytest.mark.parametrize("said", [{}, {"episode": "file"}, {"episode_lengths": "all"}])
def test_a_file_of_a_folder_without_rows_is_named_and_not_left_out(said: dict[str, Any], tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.csv").write_text("t,x,u\n0,1,2\n1,2,3\n" if name != "b" else "t,x,u\n")
    for last in (False, True):
        if last:
            (tmp_path / "c.csv").unlink()
        with pytest.raises(DatasetError, match="b has no rows, so it is no episode; take it out of the folder"):
            quietly(tmp_path, SAID | {"ends": "truncated"} | said)
    (tmp_path / "b.csv").write_text("")
    with pytest.raises(FormatError, match=r"b\.csv is empty; take it out of the folder"):
        quietly(tmp_path, SAID | {"ends": "truncated"} | said)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is no table|cannot be read|empty"),
        ("x,u,r\n", "has no rows"),
        ("x,u,r\n1,2\n", "cannot be read as CSV.*Expected 3 columns, got 2"),
        ("x,x,r\n1,2,3\n", "two columns are named 'x'"),
        ("x,u,r\n1,2,3\nfour,5,6\n", "x is text"),
    ],
)
def test_damaged_csv_is_named_with_the_file(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "run.csv"
    path.write_text(content)
    said = {"observations": ["x"], "actions": ["u"], "rewards": "r", "episode_lengths": "all"}
    with pytest.raises(DatasetError, match=message) as caught:
        format_named("table").read(path, columns=said)
    assert "run.csv" in str(caught.value)


def test_damaged_json_lines_and_folders_are_named(tmp_path: Path) -> None:
    said = {"observations": ["x"], "episode_lengths": "all"}
    (tmp_path / "log.jsonl").write_text('{"x": 1}\n{"x": \n')
    with pytest.raises(FormatError, match=r"log\.jsonl cannot be read as JSON Lines"):
        assay.load(tmp_path / "log.jsonl", columns=said)
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "a.csv").write_text("x,u\n1,2\n")
    (folder / "b.csv").write_text("x,v\n1,2\n")
    with pytest.raises(DatasetError, match=r"b lacks the column 'u', which a has|b has the column 'v', which a lacks"):
        assay.load(folder, columns=said)
    (folder / "b.csv").write_text("x,u\none,2\n")
    with pytest.raises(DatasetError, match="column x of b is string, but int64 in another file"):
        assay.load(folder, columns=said)
    write(folder / "c.parquet", rows())
    with pytest.raises(FormatError, match=r"tables of several kinds \(csv, parquet\)"):
        assay.load(folder, format="table", columns=said)


def test_files_of_a_folder_are_in_the_order_of_their_numbers_and_may_differ_in_whole_numbers(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        (tmp_path / f"run_{number}.csv").write_text(f"x,u\n{number},1\n{number}.5,1\n" if number > 1 else "x,u\n1,1\n")
    (tmp_path / "columns.yaml").write_text("observations: [x]\nactions: [u]\nends: truncated\n")
    with pytest.warns(AssayWarning, match="nothing is named rewards"):
        dataset = assay.load(tmp_path, columns=tmp_path / "columns.yaml")
    assert dataset.episode_columns["id"].tolist() == ["run_1", "run_2", "run_10"]
    assert dataset.observations[:, 0].tolist() == [1, 1, 2, 2.5, 2.5, 10, 10.5, 10.5]
    assert assay.replay(dataset.history) == dataset


def test_ids_may_begin_anew_in_every_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("run,x\n0,1\n0,2\n1,3\n")
    said = {"observations": ["x"], "ends": "truncated"}
    with pytest.raises(DatasetError, match="episode run=0 comes back in row 3"):
        assay.load(tmp_path, columns={**said, "episode": "run"})
    with pytest.warns(AssayWarning):
        dataset = assay.load(tmp_path, columns={**said, "episode": ["file", "run"]})
    assert dataset.episode_lengths.tolist() == [2, 1, 2, 1]
    assert dataset.episode_columns["id/file"].tolist() == ["a", "a", "b", "b"]


def test_a_column_whose_later_rows_are_of_another_kind_is_read_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_text("x,u\n" + "1,1\n" * 400_000 + "0.5,1\n")
    with pytest.warns(AssayWarning):
        dataset = assay.load(path, columns={"observations": ["x"], "actions": ["u"], "episode_lengths": "all"})
    assert dataset.observations[-1, 0] == 0.5


def test_a_table_without_a_mapping_says_what_it_holds_and_how_to_propose_one(tmp_path: Path) -> None:
    for suffix in (".csv", ".parquet", ".jsonl"):
        path = write(tmp_path / f"rows{suffix}", rows())
        with pytest.raises(
            FormatError, match=r"it holds run, t, x, y, u, r, heat.*`assay datasets map .*` proposes one"
        ):
            assay.load(path)
    frame = load(pl.DataFrame(rows())).to_polars()
    frame.write_parquet(tmp_path / "own.parquet")
    assert sniff(tmp_path / "own.parquet") == "table"


# -------------------------------------------------------------------- proposals


def proposed(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(format_named("table").propose(path))  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"episode": "run", "time": "t"}),
        ({"run": None}, {"resets": True, "time": "t"}),
        ({"run": None, "t": None}, {"episode_lengths": "all"}),
        ({"run": None, "t": None, "done": [0, 0, 1, 0, 1]}, {"terminations": "done"}),
        ({"run": None, "t": None, "pscore": [0.5] * 5}, {"episode_lengths": 1, "extra": ["pscore"]}),
        ({"success": [0, 0, 1, 0, 0]}, {"ends": "success"}),
        ({"index": [0, 1, 2, 3, 4], "gain": [3.0] * 5}, {"episode": "run"}),
    ],
)
def test_a_proposal_finds_what_the_columns_show_and_can_be_loaded(
    tmp_path: Path, changes: dict[str, Any], expected: dict[str, Any]
) -> None:
    path = write(tmp_path / "rows.parquet", rows(**changes))
    found = proposed(path)
    assert found["observations"] == ["x", "y", "heat"]
    assert (found["actions"], found["rewards"]) == (["u"], "r")
    assert expected.items() <= found.items()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AssayWarning)
        assert assay.load(path, columns=found).total_steps == 5


def test_a_proposal_finds_gaps_units_of_time_and_constant_columns(tmp_path: Path) -> None:
    stamps = np.concatenate([np.arange(50), np.arange(50) + 5_000]) * 10**7 + 17 * 10**17
    path = write(tmp_path / "rows.parquet", {"stamp": stamps, "x": np.arange(100.0), "kp": np.ones(100)})
    text = format_named("table").propose(path)  # type: ignore[attr-defined]
    found = yaml.safe_load(text)
    assert (found["time"], found["time_unit"], found["gap"]) == ("stamp", "ns", 0.1)
    assert "kp (always 1)" in text
    with pytest.warns(AssayWarning):
        assert assay.load(path, columns=found).episode_lengths.tolist() == [50, 50]


def test_a_group_for_each_episode_is_proposed_and_read(tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "takes.h5", "w") as file:
        for number, steps in enumerate([3, 1, 2] * 4):
            group = file.create_group(f"take_{number}")
            group["state"] = np.full((steps + 1, 2), float(number))
            group["cmd"], group["rew"] = np.zeros((steps, 1)), np.ones(steps)
    found = yaml.safe_load(format_named("hdf5").propose(tmp_path / "takes.h5"))  # type: ignore[attr-defined]
    assert found == {"observations": "take_*/state", "actions": "take_*/cmd", "rewards": "take_*/rew"}
    dataset = assay.load(tmp_path / "takes.h5", columns=found | {"ends": "truncated"})
    assert dataset.episode_lengths.tolist() == [3, 1, 2] * 4
    assert dataset.final_observations_known.all()
    assert dataset.observations[dataset.observation_rows[dataset.episode_starts], 0].tolist() == list(range(12))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.__delitem__("take_1/cmd"), "episode '1' has no take_\\*/cmd"),
        (lambda file: file["take_1"].__setitem__("rew2", 1.0), None),
        (
            lambda file: (file.__delitem__("take_1/state"), file.__setitem__("take_1/state", np.zeros((2, 2)))),
            "2 rows for 2 steps",
        ),
        (
            lambda file: (file.__delitem__("take_1/state"), file.__setitem__("take_1/state", np.zeros((3, 5)))),
            "all episodes need the same",
        ),
    ],
)
def test_groups_that_do_not_fit_together_are_named(tmp_path: Path, change: Any, message: str | None) -> None:
    import h5py

    path = tmp_path / "takes.h5"
    with h5py.File(path, "w") as file:
        for number in range(3):
            file[f"take_{number}/state"] = np.zeros((3, 2))
            file[f"take_{number}/cmd"] = np.zeros((2, 1))
        change(file)
    said = {"observations": "take_*/state", "actions": "take_*/cmd", "ends": "truncated"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AssayWarning)
        if message is None:
            assert assay.load(path, columns=said).total_steps == 6
            return
        with pytest.raises((ConfigError, DatasetError), match=message):
            assay.load(path, columns=said)
    with pytest.raises(ConfigError, match=r"nothing matches 'run_\*/state'; the file holds take_\*/"):
        assay.load(path, columns={"observations": "run_*/state"})


def test_the_proposal_on_the_page_is_what_is_proposed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[3] / "docs" / "your-data.md").read_text()
    made, shown = page.split("```python\n")[1].split("```")[0], page.split("```yaml\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    exec(made, {})
    text = format_named("table").propose(Path("logs"))  # type: ignore[attr-defined]
    assert [line for line in text.splitlines() if not line.startswith(("# A mapping", "#     "))] == shown.splitlines()


@pytest.mark.parametrize(
    "first", ["# from the arm\n# at 20 Hz\nt,x,u\n", "# from the arm\n# t,x,u\n", "#t,x,u\n", "t,x,u\n"]
)
def test_comments_before_the_names_are_passed_over(tmp_path: Path, first: str) -> None:
    (tmp_path / "run.csv").write_text(f"{first}0.0,1,-1\n0.5,2,-2\n")
    columns = {"observations": "x", "actions": "u", "time": "t", "episode_lengths": "all", "ends": "truncated"}
    dataset = assay.load(tmp_path / "run.csv", columns=columns | {"rewards": "x"})
    assert dataset.actions.ravel().tolist() == [-1, -2]
    assert dataset.column("time").tolist() == [0.0, 0.5]


@pytest.mark.parametrize("start", ["", "\ufeff", "# from the camera\r\n"])
def test_names_behind_a_hash_are_names_also_where_texts_follow(tmp_path: Path, start: str) -> None:
    (tmp_path / "data.csv").write_bytes(f"{start}#timestamp,file,x\r\n0,0.png,5\r\n1,1.png,6\r\n".encode())
    columns = {
        "observations": "x",
        "time": "timestamp",
        "infos/file": "file",
        "episode_lengths": "all",
        "ends": "truncated",
    }
    with warnings.catch_warnings(action="ignore"):
        dataset = assay.load(tmp_path / "data.csv", columns=columns | {"actions": "x", "rewards": "x"})
    assert dataset.total_steps == 2
    assert dataset.column("infos/file").tolist() == ["0.png", "1.png"]


def test_a_column_that_is_called_by_a_hash_alone_keeps_its_name(tmp_path: Path) -> None:
    from assay.datasets.tables.files import open_table

    (tmp_path / "data.csv").write_text("#,x\n0,5\n1,6\n")
    assert list(open_table(tmp_path / "data.csv").types) == ["#", "x"]
    (tmp_path / "data.csv").write_text("# joints\ntime,0,1\n0,5,6\n")  # numbers are names here
    assert list(open_table(tmp_path / "data.csv").types) == ["time", "0", "1"]


def test_tables_are_read_without_pandas(tmp_path: Path) -> None:
    """It takes longer to import than most tables take to be read."""
    run = ["Monday", None, "Monday", "Tuesday"]
    made = pa.table(
        {
            "x": [0.0, None, 2.0, 3.0],
            "n": pa.array([1, None, 3, 4], pa.int16()),
            "two": [[1.0, 2.0]] * 4,
            "on": [True, None, False, True],
            "text": run,
            "run": pa.array(["a", "a", "a", "b"]).dictionary_encode(),
            "at": pa.array([0, 10, 20, 0], pa.timestamp("ms")),
        }
    )
    pq.write_table(made, tmp_path / "table.parquet")
    columns = {"observations": ["x", "n"], "actions": "two", "episode": "run", "time": "at", "ends": "truncated"}
    columns |= {f"infos/{name}": name for name in ("on", "text")}
    code = (
        "import json, sys, warnings, assay; warnings.simplefilter('ignore'); "
        f"dataset = assay.load({str(tmp_path / 'table.parquet')!r}, columns={columns!r}); "
        "print('pandas' in sys.modules, dataset.observations[[0, 1, 2, 4]].tolist(), dataset.column('infos/on').tolist(), "
        "dataset.column('infos/text').tolist(), dataset.column('time').tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    expected = [
        False,
        [[0.0, 1.0], [math.nan, math.nan], [2.0, 3.0], [3.0, 4.0]],
        [1.0, math.nan, 0.0, 1.0],
        ["Monday", "", "Monday", "Tuesday"],
        [0.0, 0.01, 0.02, 0.0],
    ]
    assert done.stdout.strip() == " ".join(map(str, expected))


def test_no_mapping_is_proposed_for_a_table_without_rows(tmp_path: Path) -> None:
    (tmp_path / "run.csv").write_text("x,u\n")
    with pytest.raises(FormatError, match=r"run\.csv holds no rows, so there is nothing to learn from"):
        format_named("table").propose(tmp_path / "run.csv")  # type: ignore[attr-defined]
