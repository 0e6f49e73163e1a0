"""The table of all metrics agrees with the single functions, and its intervals with theory."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import polars as pl
import pytest

from assay.corruption import RandomCorruption
from assay.datasets import Dataset, DatasetInfo, ReferenceScores
from assay.datasets.errors import ConfigError, DatasetError, UnknownNameError
from assay.metrics import (
    Grid,
    assess,
    fraction_terminated,
    fraction_truncated,
    length_summary,
    lsaco,
    normalized_score,
    return_summary,
    saco,
    saturation,
    tq,
    unique_state_actions,
    unique_states,
)
from assay.metrics.assess import metric_names

REFERENCES = ReferenceScores(random=-10.0, expert=30.0, source="two made-up policies")


def make(episodes: int = 50, seed: int = 0, references: ReferenceScores | None = REFERENCES) -> Dataset:
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, 12, episodes)
    steps = int(lengths.sum())
    ends = np.zeros(steps, bool)
    ends[np.cumsum(lengths) - 1] = True
    terminated = generator.random(steps) < 0.7
    return Dataset.from_arrays(
        observations=generator.standard_normal((steps + episodes, 2)),
        actions=generator.standard_normal((steps, 1)),
        rewards=generator.standard_normal(steps) + 1,
        terminations=ends & terminated,
        truncations=ends & ~terminated,
        info=DatasetInfo(id="made/up", reference_scores=references),
    )


def values(table: pl.DataFrame) -> dict[str, float]:
    return dict(zip(table["metric"], table["value"]))


def test_the_table_holds_what_the_functions_return() -> None:
    dataset, reference = make(), make(60, seed=1)
    variant = RandomCorruption("rewards")(dataset)
    groups = ["size", "returns", "quality", "state_actions", "corruption"]
    table = assess(variant, reference, bins=8, select=groups)
    grid = Grid.from_dataset(reference, 8)
    returns, lengths = return_summary(variant), length_summary(variant)
    assert values(table) == {
        "steps": variant.total_steps,
        "episodes": 50,
        **{f"return_{key}": returns[key] for key in ("mean", "std", "min", "median", "max")},
        **{f"length_{key}": lengths[key] for key in ("mean", "min", "median", "max")},
        "score": normalized_score(variant),
        "tq": tq(variant),
        "unique_states": unique_states(variant, grid),
        "unique_state_actions": unique_state_actions(variant, grid),
        "saturation": saturation(variant, grid),
        "saco": saco(variant, reference, 8),
        "lsaco": lsaco(variant, reference, 8),
        "fraction_terminated": fraction_terminated(variant),
        "fraction_truncated": fraction_truncated(variant),
        "corrupted_rewards": variant.masks["rewards"].mean(),
    }
    assert table.columns == ["metric", "value", "interval", "unit", "source", "seconds"]
    assert (table["seconds"] >= 0).all()
    assert table["unit"].null_count() == table["source"].null_count() == 0


def test_summaries_are_those_of_numpy() -> None:
    dataset = make()
    summary = return_summary(dataset)
    sums = np.array([part.sum() for part in np.split(dataset.rewards, dataset.episode_starts[1:])])
    assert summary["count"] == 50
    for key, expected in {
        "mean": sums.mean(),
        "std": sums.std(),
        "min": sums.min(),
        "quantile_25": np.percentile(sums, 25),
        "median": np.median(sums),
        "quantile_75": np.percentile(sums, 75),
        "max": sums.max(),
    }.items():
        assert summary[key] == pytest.approx(expected, rel=1e-12), key
    assert fraction_terminated(dataset) + fraction_truncated(dataset) == 1.0


def test_without_references_or_a_reference_their_rows_are_absent() -> None:
    table = assess(make(references=None))
    assert not {"score", "tq", "saco", "lsaco"} & set(table["metric"])
    assert "saturation" in set(table["metric"])
    assert "its own range" in table.filter(pl.col("metric") == "saturation")["source"].item()


def test_sources_name_the_references() -> None:
    sources = dict(assess(make(), make(60, seed=1)).select("metric", "source").iter_rows())
    assert sources["score"] == REFERENCES.source
    assert REFERENCES.source in sources["tq"]
    assert "made/up" in sources["saco"]


def flat(*arguments: Any, **options: Any) -> pl.DataFrame:
    return assess(*arguments, **options).unnest("interval").drop("seconds")


def test_estimates_have_an_interval_around_them_and_counts_have_none() -> None:
    table = flat(make(), make(60, seed=1), select=["size", "returns", "quality", "state_actions"])
    estimates = {"return_mean", "length_mean", "score", "tq"}
    for row in table.iter_rows(named=True):
        if row["metric"] in estimates:
            assert row["low"] < row["value"] < row["high"]
        else:
            assert row["low"] is row["high"] is None


def test_the_interval_of_a_mean_is_close_to_the_normal_one() -> None:
    dataset = make(2000)
    row = flat(dataset, select=["return_mean"]).row(0, named=True)
    half = 1.96 * dataset.returns.std() / np.sqrt(2000)
    assert row["high"] - row["value"] == pytest.approx(half, rel=0.15)
    assert row["value"] - row["low"] == pytest.approx(half, rel=0.15)


def test_score_and_return_intervals_are_the_same_up_to_scale() -> None:
    rows = {row["metric"]: row for row in flat(make()).iter_rows(named=True)}
    for end in ("value", "low", "high"):
        assert rows["score"][end] == pytest.approx(REFERENCES.normalize(rows["return_mean"][end]))
        assert rows["tq"][end] == pytest.approx(rows["score"][end] / 100)


def test_references_in_reverse_order_do_not_turn_the_interval_round() -> None:
    costs = make(references=ReferenceScores(random=30.0, expert=-10.0, source="costs"))
    for row in flat(costs, select=["score", "tq"]).iter_rows(named=True):
        assert row["low"] < row["value"] < row["high"]


def test_the_table_repeats_and_depends_on_the_seed_in_the_intervals_only() -> None:
    assert flat(make()).equals(flat(make()))
    other = flat(make(), seed=1)
    assert other["value"].equals(flat(make())["value"])
    assert not other["low"].equals(flat(make())["low"])


def test_one_episode_has_no_interval() -> None:
    table = flat(make(1), select=["size", "returns", "quality", "state_actions"])
    assert table["low"].null_count() == len(table)


def test_select_keeps_the_order_given_and_computes_nothing_else() -> None:
    dataset = make()
    broken = dataset.replace({"rewards": np.full_like(dataset.rewards, np.nan)})
    assert assess(broken, select=["steps", "length_max", "episodes"])["metric"].to_list() == [
        "steps",
        "length_max",
        "episodes",
    ]
    with pytest.raises(DatasetError, match="return of episode 0 is nan"):
        assess(broken, select=["return_mean"])


def test_what_cannot_be_measured_is_said() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'saco'"):
        assess(make(), select=["sacco"])
    with pytest.raises(UnknownNameError, match="corrupted_rewards"):
        assess(make(), select=["corrupted_rewards"])
    with pytest.raises(ConfigError, match="pass reference="):
        assess(make(), select=["saco"])
    with pytest.raises(ConfigError, match="reference scores"):
        assess(make(references=None), select=["tq"])
    with pytest.raises(ConfigError, match="score needs reference scores"):
        assess(make(references=None), select=["score"])
    with pytest.raises(ConfigError, match=r"\['steps'\]"):
        assess(make(), select="steps")
    with pytest.raises(DatasetError, match="no episodes"):
        assess(make().select([]))


def test_text_observations_leave_out_coverage_and_nothing_else() -> None:
    dataset = make()
    text = dataset.replace({"observations": np.full(len(dataset.observations), "go left")})
    groups = ["size", "returns", "return_structure", "quality", "state_actions", "stitching"]
    lost = set(assess(dataset, select=groups)["metric"]) - set(assess(text, select=groups)["metric"])
    on_grids = {"unique_states", "unique_state_actions", "saturation", "stitched_return_best", "stitched_return_mean"}
    assert lost == on_grids


def test_a_reference_of_one_cell_has_no_lsaco() -> None:
    dataset = make()
    flat = dataset.replace({"observations": dataset.observations * 0, "actions": dataset.actions * 0})
    assert "lsaco" not in set(assess(dataset, flat)["metric"])
    assert values(assess(flat, flat))["saco"] == 1.0


def test_unfinished_episodes_only_leave_out_quality() -> None:
    dataset = make()
    unfinished = dataset.replace({name: np.zeros(len(dataset), bool) for name in ("terminations", "truncations")})
    assert set(assess(dataset)["metric"]) - set(assess(unfinished)["metric"]) == {"tq", "time_limit"}


def test_importing_the_metrics_pulls_in_neither_torch_nor_gymnasium() -> None:
    code = "import sys, assay.metrics, assay.corruption; print({'torch', 'gymnasium'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_no_group_has_the_name_of_a_metric_and_no_two_metrics_share_one() -> None:
    groups = metric_names(make())
    names = [name for group in groups.values() for name in group]
    assert len(names) == len(set(names)) == len(set(names) - set(groups))
