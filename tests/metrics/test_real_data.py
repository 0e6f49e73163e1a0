"""What the metrics and the corruption say about real Hopper data; skipped where it is not at hand."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from assay.corruption import RandomCorruption
from assay.datasets import Dataset, DatasetInfo, reference_scores
from assay.metrics import Grid, assess, saco, tq, unique_state_actions
from assay.reweighting import TrajectoryWeighting

HOPPER = Path(__file__).parents[3] / "shared" / "data" / "minari" / "hopper"
EPISODES = 100

pytestmark = pytest.mark.skipif(not HOPPER.is_dir(), reason="the shared Hopper data is not there")


def hopper(kind: str) -> Dataset:
    names = ("observations", "actions", "rewards", "terminations", "truncations")
    with h5py.File(HOPPER / kind / "data" / "main_data.hdf5") as file:
        episodes = [{name: file[f"episode_{i}/{name}"][:] for name in names} for i in range(EPISODES)]
    return Dataset.from_episodes(episodes, info=DatasetInfo(id=kind, reference_scores=reference_scores("Hopper-v5")))


@pytest.fixture(scope="module")
def random() -> Dataset:
    return hopper("random-v0")


@pytest.fixture(scope="module")
def trained() -> Dataset:
    return hopper("sac-v0")


def test_a_trained_policy_has_more_quality_than_a_random_one(random: Dataset, trained: Dataset) -> None:
    assert -0.05 < tq(random) < 0.05
    assert tq(trained) > 0.3


def test_the_count_is_that_of_a_set_of_tuples(random: Dataset, trained: Dataset) -> None:
    for bins in (3, 5, 100):
        grid = Grid.from_dataset(trained, bins)
        rows = np.column_stack([random.observations[random.observation_rows], random.actions]).astype(np.float64)
        expected = len(set(zip(*(np.digitize(rows[:, j], edges).tolist() for j, edges in enumerate(grid.edges)))))
        assert unique_state_actions(random, grid) == expected


def test_noise_in_the_observations_covers_more_cells(trained: Dataset) -> None:
    assert saco(RandomCorruption("observations", rate=1.0)(trained), trained, bins=5) > 1.2


def test_weighting_raises_the_return_of_what_is_drawn(trained: Dataset) -> None:
    returns, plain = trained.returns[trained.episode_of_step], trained.returns[trained.episode_of_step].mean()
    for score in ("return", "advantage"):
        weights = TrajectoryWeighting(score=score)(trained).weights
        assert np.average(returns, weights=weights) > plain


def test_every_metric_is_finite(random: Dataset, trained: Dataset) -> None:
    table = assess(RandomCorruption("dynamics")(random), trained)
    assert np.isfinite(table["value"].to_numpy()).all()
    assert table.filter(metric="corrupted_dynamics")["value"].item() == pytest.approx(0.3, abs=0.05)


def test_measures_of_spread_tell_a_random_policy_from_a_trained_one(random: Dataset, trained: Dataset) -> None:
    groups = ["entropy", "overlap", "behaviour", "diversity", "smoothness"]
    first, second = (
        dict(assess(dataset, trained, select=groups, sample=1500).select("metric", "value").iter_rows())
        for dataset in (random, trained)
    )
    assert first["policy_entropy"] > second["policy_entropy"] + 1
    assert first["action_variance"] > 0.8 > 0.6 > second["action_variance"]
    assert abs(first["autocorrelation_actions"]) < 0.1 < 0.4 < second["autocorrelation_actions"]
    assert first["coverage"] < 0.2 < 0.9 < second["coverage"]


def test_corruption_of_the_dynamics_shows_as_noise_and_of_the_rewards_as_distance(trained: Dataset) -> None:
    def measured(dataset: Dataset) -> dict[str, float]:
        select = ["transition_noise", "ks_max", "sliced_wasserstein"]
        return dict(assess(dataset, trained, select=select, sample=1500).select("metric", "value").iter_rows())

    clean = measured(trained)
    assert clean["transition_noise"] < 0.1 < 0.5 < measured(RandomCorruption("dynamics")(trained))["transition_noise"]
    spoilt = measured(RandomCorruption("rewards")(trained))
    assert clean["ks_max"] < 0.1 < 0.12 < spoilt["ks_max"]
    assert spoilt["sliced_wasserstein"] > 3 * clean["sliced_wasserstein"]
