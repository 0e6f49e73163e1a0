"""The regret of the advice, on planes on which it can be told by hand."""

from __future__ import annotations

import polars as pl
import pytest

from assay.analysis.advice.regret import regrets, table_of
from assay.datasets.errors import ConfigError
from tests.analysis.advice.test_comparison import TWO_PLACES, evidence


def test_with_others_alike_the_advice_has_no_regret_where_the_best_overall_has():
    """BC is best on average of the two places (0.6 against 0.525), and wrong at one."""
    found = regrets(TWO_PLACES)
    assert found["regret"].to_list() == [0.0] * 6
    assert found["best"].to_list() == ["BC"] * 3 + ["DQN"] * 3
    wrong = found.filter(pl.col("overall") != pl.col("best"))
    assert wrong["overall_regret"].to_list() == pytest.approx(
        [0.6 if name == "BC" else 0.75 for name in wrong["overall"]]
    )
    assert "the advice is better" in table_of(TWO_PLACES).splitlines()[2]


def test_what_is_left_out_is_unknown_to_the_advice():
    """Without the first, only the second is near, where DQN is best; BC is best on the first."""
    first, second = (0.5, 0.5, {"BC": [1.0], "DQN": [0.2]}), (0.5, 0.6, {"BC": [0.1], "DQN": [0.9]})
    found = regrets(evidence(first, second))
    assert found["advised"].to_list() == ["DQN", "BC"]
    assert found["regret"].to_list() == pytest.approx([0.8, 0.8])


def test_where_the_advice_is_refused_there_is_no_regret_of_it():
    alone = evidence((0.0, 0.0, {"BC": [1.0]}), (1.0, 1.0, {"BC": [1.0]}))
    found = regrets(alone)
    assert found["advised"].to_list() == [None, None]
    assert found["regret"].null_count() == 2
    assert table_of(alone).splitlines()[2].startswith("| dataset | 2 | 2 | too few")


def test_an_online_run_or_an_environment_is_left_out_whole():
    other = TWO_PLACES.with_columns(
        environment=pl.lit("MountainCar-v0"),
        dataset=pl.col("dataset") + " of the other",
        performance=1 - pl.col("performance"),
    )
    both = pl.concat([TWO_PLACES, other]).with_columns(data_run=pl.lit(0, pl.Int64))
    for left_out in ("environment", "online run"):
        found = regrets(both, left_out)
        assert (found["advised"] != found["best"]).all()  # all that is left says the opposite
    with pytest.raises(ConfigError, match="one environment only"):
        regrets(TWO_PLACES, "environment")
