"""Average, backward and forward transfer: closed forms, and what is refused."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from assay.analysis import transfer_table
from assay.datasets.errors import ConfigError

RETURNS = np.array([[0.8, 0.1, 0.3], [0.5, 0.9, 0.2], [0.2, 0.6, 0.7]])  # row: after task i; column: in task j


def episodes(matrix: np.ndarray, steps: int = 10, seed: int = 0, label: str = "ER") -> pl.DataFrame:
    """Two episodes of each task after each task, whose mean is that of the matrix; and one evaluation that is none of these."""
    tasks = len(matrix)
    updates = [*((task + 1) * (steps // tasks) for task in range(tasks - 1)), steps]
    rows = [
        (update, goal, matrix[i, goal] + off)
        for i, update in enumerate(updates)
        for goal in range(tasks)
        for off in (-0.1, 0.1)
    ]
    rows += [(1, goal, 99.0) for goal in range(tasks)]
    frame = pl.DataFrame(rows, schema=["update", "goal", "return"], orient="row")
    return frame.with_columns(label=pl.lit(label), variant=pl.lit("v"), run=pl.lit(f"{label}{seed}"), seed=pl.lit(seed))


def measured(frame: pl.DataFrame, **options) -> dict[str, float]:
    return dict(transfer_table(frame, **options).select("measure", "value").iter_rows())


def test_the_measures_are_those_of_lopez_paz_and_ranzato():
    found = measured(episodes(RETURNS), untrained=0.05)
    assert found["average"] == pytest.approx((0.2 + 0.6 + 0.7) / 3)
    assert found["learned"] == pytest.approx((0.8 + 0.9 + 0.7) / 3)
    assert found["backward"] == pytest.approx(((0.2 - 0.8) + (0.6 - 0.9)) / 2)  # forgetting
    assert found["forward"] == pytest.approx(((0.1 - 0.05) + (0.2 - 0.05)) / 2)


def test_who_forgets_nothing_has_no_backward_transfer_and_keeps_what_was_learned():
    kept = np.array([[0.8, 0.0, 0.0], [0.8, 0.9, 0.0], [0.8, 0.9, 0.7]])
    found = measured(episodes(kept))
    assert found["backward"] == pytest.approx(0.0)
    assert found["average"] == pytest.approx(found["learned"])


def test_seeds_are_averaged_with_an_interval_and_rows_are_told_apart():
    frame = pl.concat([episodes(RETURNS), episodes(RETURNS + 0.1, seed=1), episodes(RETURNS, label="OER")])
    table = transfer_table(frame)
    assert table["seeds"].to_list() == [2] * 4 + [1] * 4
    average = table.row(0, named=True)
    assert average["value"] == pytest.approx(0.55)
    assert average["low"] == pytest.approx(0.5)
    assert average["high"] == pytest.approx(0.6)
    assert table["low"].to_list()[4:] == [None] * 4


def test_a_task_that_was_not_evaluated_when_it_was_over_is_named():
    frame = episodes(RETURNS)
    with pytest.raises(
        ConfigError, match="task 2 was not evaluated after 6 updates, when task 1 was over; evaluate every 3"
    ):
        transfer_table(frame.filter((pl.col("update") != 6) | (pl.col("goal") != 2)))
    with pytest.raises(ConfigError, match="tasks are evaluation goals, and its episodes have 0"):
        transfer_table(frame.with_columns(goal=pl.lit(None, pl.Int64)))
    with pytest.raises(ConfigError, match="a seed occurs in several runs"):
        transfer_table(pl.concat([frame, frame.with_columns(run=pl.lit("again"))]))
