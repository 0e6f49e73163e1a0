"""What a dataset with holes can still be measured by, and how the table shows it."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from assay import save
from assay.datasets import Dataset
from assay.datasets.errors import AssayWarning, DatasetError
from assay.datasets.pieces import take_pieces
from assay.metrics import assess

from .test_assess import make


def damaged(element: str, step: int = 7) -> Dataset:
    dataset = make()
    column = np.array(dataset.column(element), np.float64)
    column.reshape(len(column), -1)[step, 0] = np.nan
    return dataset.replace({element: column})


def everywhere(element: str) -> Dataset:
    """Return the dataset with a hole in every step."""
    column = np.full_like(np.array(make().column(element), np.float64), np.nan)
    return make().replace({element: column})


@pytest.mark.parametrize("element", ["rewards", "observations", "actions"])
def test_what_does_not_look_at_the_hole_is_measured_as_before(element: str) -> None:
    whole = assess(make())
    with pytest.warns(AssayWarning, match=f"measured on the .* whose numbers are all finite: .*{element[:-1]}"):
        table = assess(damaged(element))
    assert table["metric"].to_list() == whole["metric"].to_list()
    untouched = {"steps", "episodes", "length_mean", "fraction_terminated"}
    same = [table.filter(pl.col("metric").is_in(untouched)).drop("seconds") for table in (table, whole)]
    assert same[0].equals(same[1])


@pytest.mark.parametrize("element", ["rewards", "observations", "actions"])
def test_what_looks_at_the_hole_is_measured_on_the_rest_and_says_how_much_that_is(element: str) -> None:
    dataset = damaged(element)
    with pytest.warns(AssayWarning):
        table = assess(dataset)
    of_episodes = table.filter(pl.col("source").str.contains("episodes whose numbers are all finite"))
    of_steps = table.filter(pl.col("source").str.contains("steps whose numbers are all finite"))
    assert len(of_episodes) + len(of_steps) > 2
    left = dataset.select(np.arange(dataset.total_episodes) != dataset.episode_of_step[7])
    for row in of_episodes.iter_rows(named=True):
        assert f"the {dataset.total_episodes - 1} of {dataset.total_episodes} episodes" in row["source"]
        assert row["value"] == assess(left, select=[row["metric"]])["value"][0]
    lost = 2 if element == "observations" else 1  # the step from it, and the step to it
    pieces = take_pieces(
        dataset, *runs_of(np.abs(np.arange(dataset.total_steps) - 7 + (lost - 1) / 2) >= lost / 2, dataset)
    )
    for row in of_steps.iter_rows(named=True):
        assert f"the {dataset.total_steps - lost} of {dataset.total_steps} steps" in row["source"]
        assert row["value"] == assess(pieces, select=[row["metric"]])["value"][0]


def runs_of(kept: np.ndarray, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return the first step and the length of each run of kept steps inside an episode, one step after the other."""
    firsts, lengths = [], []
    for step in np.flatnonzero(kept):
        begins = step in dataset.episode_starts or not kept[step - 1]
        if begins:
            firsts.append(step)
            lengths.append(0)
        lengths[-1] += 1
    return np.array(firsts), np.array(lengths)


def test_where_nothing_is_left_the_reason_names_the_place() -> None:
    with pytest.warns(AssayWarning, match="not computed: .*state_entropy"):
        table = assess(everywhere("observations"))
    reason = table.skipped["state_entropy"]
    assert "column observations" in reason
    assert "step" in reason
    assert f"state_entropy, {'state_action_entropy'}" in str(table)
    assert not set(table["metric"]) & set(table.skipped)


def test_a_metric_that_is_asked_for_by_name_and_has_nothing_left_is_an_error_and_one_of_a_group_is_not() -> None:
    broken = everywhere("rewards")
    with pytest.raises(DatasetError, match="return of episode 0 is nan"):
        assess(broken, select=["return_mean"])
    with pytest.warns(AssayWarning, match="return_mean"):
        table = assess(broken, select=["returns"])
    assert "length_mean" in table["metric"].to_list()


def test_a_reference_with_holes_is_cut_down_too() -> None:
    with pytest.warns(AssayWarning, match="of the reference's"):
        table = assess(make(), damaged("observations"), select=["saco"])
    assert "the reference's" in table["source"][0]


def test_print_shows_every_row_whole_and_the_table_stays_a_polars_frame() -> None:
    table = assess(make(), make(seed=1))
    lines = str(table).splitlines()
    assert len(table) > 40
    for name in table["metric"]:
        assert any(f"│ {name} " in line for line in lines), name
    assert repr(table) == str(table)
    assert table._repr_html_().count("<tr>") == len(table) + 2
    assert isinstance(table, pl.DataFrame)
    assert table.to_pandas()["metric"].tolist() == table["metric"].to_list()
    assert pl.concat([table, table]).height == 2 * len(table)
    assert str(pl.DataFrame({"a": range(99)})).count("\n") < 30  # the setting does not leak


def test_a_whole_dataset_is_measured_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not assess(make()).skipped


def test_the_command_measures_what_is_left_and_says_what_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from assay.cli import main

    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # which the command line replaces
    save(everywhere("rewards"), tmp_path / "damaged")
    with contextlib.suppress(SystemExit):  # with status 0 or another; what was printed and written decides
        main(["metrics", str(tmp_path / "damaged"), "-o", str(tmp_path / "metrics.parquet")])
    printed = capsys.readouterr()
    text = " ".join((printed.out + printed.err).split())
    assert "length_mean" in text
    assert "not computed: return_mean" in text
    assert "column rewards" in text
    written = pl.read_parquet(tmp_path / "metrics.parquet")
    assert "length_mean" in written["metric"].to_list()
    assert "return_mean" not in written["metric"].to_list()
