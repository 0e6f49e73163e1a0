"""What holds for every metric on grids and returns: order, chunks and nonsense do not change what is said."""

from __future__ import annotations

import numpy as np
import pytest

import assay
from assay.datasets import Dataset, DatasetInfo, ReferenceScores, concatenate
from assay.datasets.errors import AssayError, AssayWarning
from assay.metrics import Grid, assess, grid, saco, tq

GROUPS = ["size", "returns", "return_structure", "quality", "state_actions", "stitching"]


def make(episodes: int = 30, seed: int = 0) -> Dataset:
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, 12, episodes)
    steps = int(lengths.sum())
    ends = np.zeros(steps, bool)
    ends[np.cumsum(lengths) - 1] = True
    return Dataset.from_arrays(
        observations=generator.integers(-3, 4, (steps + episodes, 2)) / 2,
        actions=generator.integers(0, 3, steps),
        rewards=generator.standard_normal(steps),
        terminations=ends,
        truncations=np.zeros(steps, bool),
        info=DatasetInfo(reference_scores=ReferenceScores(-1.0, 5.0, "example")),
    )


def values(dataset: Dataset, reference: Dataset | None = None) -> dict[str, float]:
    table = assess(dataset, reference, select=None if reference is None else GROUPS, bins=7)
    return {row["metric"]: row["value"] for row in table.iter_rows(named=True)}


def test_the_order_of_the_episodes_changes_no_metric() -> None:
    dataset, reference = make(), make(seed=1)
    order = np.random.default_rng(0).permutation(dataset.total_episodes)
    shuffled, plain = values(dataset.select(order), reference), values(dataset, reference)
    assert plain.keys() >= {"saco", "psv", "tq", "stitched_return_best", "unique_states"}
    for name, value in plain.items():
        assert shuffled[name] == pytest.approx(value, rel=1e-12), name


def test_doubling_the_data_changes_no_share_and_no_cell() -> None:
    dataset, reference = make(), make(seed=1)
    plain, twice = values(dataset, reference), values(concatenate([dataset, dataset]), reference)
    for name in plain.keys() - {"steps", "episodes", "saturation"}:
        if not name.startswith("return_quantile") and not name.endswith("median"):
            assert twice[name] == pytest.approx(plain[name], rel=1e-12), name
    assert twice["saturation"] == plain["saturation"] / 2


@pytest.mark.parametrize("chunk", [1, 100, 1 << 30])
def test_the_size_of_chunks_changes_nothing(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, reference = make(), make(seed=1)
    expected = values(dataset, reference)
    quantiles = Grid.from_quantiles(dataset, 5)
    monkeypatch.setattr(grid, "_CHUNK_BYTES", chunk)
    monkeypatch.setattr(grid, "_QUANTILE_BYTES", chunk)
    assert values(dataset, reference) == expected
    assert all(np.array_equal(a, b) for a, b in zip(Grid.from_quantiles(dataset, 5).edges, quantiles.edges))


def nonsense(kind: str) -> Dataset:
    steps = 1 if kind == "one step" else 12
    lengths = [steps] if kind in ("one step", "one episode") else [4] * 3
    states = np.random.default_rng(0).standard_normal((steps + len(lengths), 2))
    states = {"constant": np.ones_like(states), "NaN": np.full_like(states, np.nan)}.get(kind, states)
    ends = np.zeros(steps, bool)
    ends[np.cumsum(lengths) - 1] = True
    return Dataset.from_arrays(
        observations=states,
        actions=np.zeros(steps),
        rewards=np.zeros(steps),
        terminations=ends,
        truncations=np.zeros(steps, bool),
    )


@pytest.mark.parametrize("kind", ["one step", "one episode", "constant"])
def test_little_or_flat_data_has_defined_metrics(kind: str) -> None:
    table = assess(nonsense(kind), nonsense(kind), select=[group for group in GROUPS if group != "quality"])
    assert np.isfinite(table["value"].to_numpy()).all()
    assert dict(zip(table["metric"], table["value"]))["saco"] == 1.0


def test_states_that_are_no_numbers_are_named_with_their_place() -> None:
    for group in ("state_actions", "stitching"):
        with pytest.warns(AssayWarning, match=r"observations\[0\] is nan at episode 0, step 0"):
            assert not assess(nonsense("NaN"), select=[group]).height
    assert assess(nonsense("NaN"), select=["return_structure"]).height
    with pytest.raises(AssayError, match="no episodes"):
        assess(nonsense("constant").select([]))


def test_quality_and_coverage_separate_random_replay_medium_and_expert() -> None:
    data = {
        level: assay.load(f"cartpole/{level}", steps=3000) for level in ("random", "medium-replay", "medium", "expert")
    }
    quality = {level: tq(dataset) for level, dataset in data.items()}
    coverage = {
        level: saco(dataset, data["medium-replay"], definition="d4rl notebook") for level, dataset in data.items()
    }
    assert quality["random"] < quality["medium-replay"] < quality["medium"] < quality["expert"]
    assert abs(quality["random"]) < 0.1
    assert quality["expert"] > 0.9
    assert 1.0 == coverage["medium-replay"] > coverage["random"] > coverage["medium"] > coverage["expert"]
