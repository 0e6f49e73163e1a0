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
from assay.metrics import assess

from .test_assess import make


def damaged(element: str, step: int = 7) -> Dataset:
    dataset = make()
    column = np.array(dataset.column(element), np.float64)
    column.reshape(len(column), -1)[step, 0] = np.nan
    return dataset.replace({element: column})


@pytest.mark.parametrize("element", ["rewards", "observations", "actions"])
def test_what_does_not_look_at_the_hole_is_measured_as_before(element: str) -> None:
    whole = assess(make())
    with pytest.warns(AssayWarning, match=f"not computed: .*{element}"):
        table = assess(damaged(element))
    assert 10 < len(table) < len(whole)
    assert set(table["metric"]) | set(table.skipped) >= set(whole["metric"])
    assert not set(table["metric"]) & set(table.skipped)
    untouched = {"steps", "episodes", "length_mean", "fraction_terminated"}
    assert untouched <= set(table["metric"])
    same = [table.filter(pl.col("metric").is_in(untouched)).drop("seconds") for table in (table, whole)]
    assert same[0].equals(same[1])


def test_the_reason_names_the_place() -> None:
    with pytest.warns(AssayWarning):
        table = assess(damaged("observations"))
    reason = table.skipped["state_entropy"]
    assert "column observations" in reason
    assert "step" in reason
    assert f"state_entropy, {'state_action_entropy'}" in str(table)


def test_a_metric_that_is_asked_for_by_name_is_an_error_and_one_of_a_group_is_not() -> None:
    broken = damaged("rewards")
    with pytest.raises(DatasetError, match="rewards"):
        assess(broken, select=["return_mean"])
    with pytest.warns(AssayWarning, match="return_mean"):
        table = assess(broken, select=["returns"])
    assert "length_mean" in table["metric"].to_list()


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
    save(damaged("rewards"), tmp_path / "damaged")
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
