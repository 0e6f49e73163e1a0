"""Weights by column, by tag, mixed and multiplied; and a resampled dataset is what the weights promise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

import assay
from assay.cli import main
from assay.datasets import Dataset, make_transform
from assay.datasets.errors import ConfigError, DatasetError, UnknownNameError
from assay.datasets.sampling import TransitionSampler
from assay.reweighting import (
    ColumnWeighting,
    CoverageWeighting,
    DensityRatioWeighting,
    Materialize,
    MixtureWeighting,
    TagWeighting,
    TrajectoryWeighting,
    effective_sample_size,
    materialize,
)


def episodes(lengths: list[int], seed: int = 0, **columns: Any) -> Dataset:
    generator, steps = np.random.default_rng(seed), sum(lengths)
    return Dataset.from_arrays(
        observations=generator.normal(size=(steps + len(lengths), 2)),
        actions=generator.normal(size=(steps, 1)),
        rewards=generator.normal(size=steps),
        episode_lengths=lengths,
        columns={"infos/step": np.arange(steps), **columns},
        episode_columns={"tags/good": np.arange(len(lengths)) % 3 == 0, "level": np.arange(len(lengths)) * 1.0},
    )


MANY = [3, 1, 4, 2, 6, 5, 3]
STEPS = sum(MANY)


@pytest.mark.parametrize(
    "weighting",
    [
        ColumnWeighting(of="rewards"),
        ColumnWeighting(of="level", temperature=0.3),
        TagWeighting(shares={"good": 0.7}),
        TrajectoryWeighting(score="top", fraction=0.3),
        TrajectoryWeighting(score="advantage"),
        MixtureWeighting(of=[{"reweighting.trajectory": {"score": "return"}}, "uniform"], shares=(0.8, 0.2)),
    ],
    ids=lambda weighting: weighting.name,
)
def test_weights_have_mean_1_are_replayed_and_multiply(weighting):
    dataset = episodes(MANY)
    weighted = weighting(dataset)
    assert weighted.weights.mean() == pytest.approx(1.0, abs=1e-12)
    record = weighted.history[-1]
    assert make_transform(record.transform, record.parameters)(dataset) == weighted
    assert 1 <= effective_sample_size(weighted) <= STEPS
    before = np.random.default_rng(1).random(STEPS)
    both = make_transform(weighting.name, {**weighting.parameters(), "combine": "product"})(
        dataset.replace({"weights": before})
    )
    product = before * weighted.weights
    np.testing.assert_allclose(both.weights, product / product.mean(), rtol=1e-12)


def test_a_softmax_of_a_column_by_hand_and_turned_around():
    dataset = episodes([2, 2], **{"infos/score": np.array([0.0, 5.0, np.nan, 10.0])})
    expected = np.exp(np.array([0.0, 0.5, 1.0]) / 0.25)
    found = ColumnWeighting(of="infos/score", temperature=0.25)(dataset).weights
    assert found[2] == 0
    np.testing.assert_allclose(found[[0, 1, 3]], expected * 4 / expected.sum())
    turned = ColumnWeighting(of="infos/score", temperature=0.25, lower_is_better=True)(dataset).weights
    np.testing.assert_allclose(turned[[3, 1, 0]], found[[0, 1, 3]])


def test_a_tag_gets_its_share_and_the_rest_the_other():
    dataset = episodes(MANY)
    good = dataset.tagged("good")[dataset.episode_of_step]
    weights = TagWeighting(shares={"good": 0.7})(dataset).weights
    assert weights[good].sum() / weights.sum() == pytest.approx(0.7)
    assert len(set(weights[good].round(12))) == len(set(weights[~good].round(12))) == 1


def test_the_best_by_count_and_ties_go_to_the_earlier():
    dataset = Dataset.from_arrays(
        observations=np.zeros((8, 1)), actions=np.zeros((4, 1)), rewards=[1.0, 3.0, 3.0, 2.0], episode_lengths=[1] * 4
    )
    for fraction, best in ((0.25, [1]), (0.26, [1, 2]), (0.75, [1, 2, 3]), (1.0, [0, 1, 2, 3])):
        weights = TrajectoryWeighting(score="top", fraction=fraction)(dataset).weights
        assert np.flatnonzero(weights).tolist() == best
        assert effective_sample_size(dataset.replace({"weights": weights})) == len(best)


RATIO = {"updates": 150, "hidden": (16,), "learning_rate": 1e-2, "batch_size": 64}


@pytest.mark.parametrize(
    "weightings",
    [
        [ColumnWeighting(of="rewards", temperature=0.5)],
        [TrajectoryWeighting(temperature=0.5)],
        [CoverageWeighting(power=0.5)],
        [DensityRatioWeighting(**RATIO)],
        [TrajectoryWeighting(score="advantage", temperature=0.5), DensityRatioWeighting(combine="product", **RATIO)],
    ],
    ids=lambda weightings: " + ".join(weighting.name for weighting in weightings),
)
def test_steps_are_drawn_as_often_as_they_weigh(weightings):
    dataset = episodes(MANY)
    for weighting in weightings:
        dataset = weighting(dataset)
    drawn = np.zeros(STEPS)
    sampler = TransitionSampler(dataset, batch_size=1_000, seed=0)
    for _ in range(20):
        drawn += np.bincount(np.asarray(sampler.sample().steps), minlength=STEPS)
    expected = dataset.weights / dataset.weights.sum() * drawn.sum()
    assert (np.square(drawn - expected) / expected).sum() < chi2.ppf(0.999, STEPS - 1)
    uniform = np.full(STEPS, drawn.mean())
    assert (np.square(drawn - uniform) / uniform).sum() > chi2.ppf(0.999, STEPS - 1), (
        "a sampler that ignores weights would pass"
    )


@given(seed=st.integers(0, 2**20), factor=st.integers(1, 12))
def test_a_resampled_dataset_holds_each_step_as_often_as_its_weight_says(seed, factor):
    dataset = episodes(MANY, seed)
    for weighted in (
        TrajectoryWeighting(temperature=0.7)(dataset),
        ColumnWeighting(of="rewards", temperature=0.7)(dataset),
    ):
        resampled = materialize(weighted, steps=factor * STEPS, seed=seed)
        assert resampled.weights is None
        counts = np.bincount(resampled.column("infos/step"), minlength=STEPS)
        expected = weighted.weights * factor
        assert (np.abs(counts - expected) < 1 + 1e-6).all()
        for name in ("actions", "rewards"):
            np.testing.assert_array_equal(resampled.column(name), dataset.column(name)[resampled.column("infos/step")])
        np.testing.assert_array_equal(
            resampled.next_observations, dataset.next_observations[resampled.column("infos/step")]
        )


def test_episodes_stay_whole_where_their_steps_weigh_the_same():
    dataset = episodes(MANY)
    whole = materialize(TrajectoryWeighting(temperature=0.5)(dataset), steps=10 * STEPS)
    origin = whole.episodes["origin/episode"].to_numpy()
    assert whole.episode_lengths.tolist() == np.array(MANY)[origin].tolist()
    single = materialize(ColumnWeighting(of="rewards")(dataset))
    assert set(single.episode_lengths) == {1}


def test_what_cannot_be_weighted_is_refused_with_the_place():
    dataset = episodes([2, 2], **{"infos/cost": np.array([0.0, -1.0, 1.0, 2.0]), "infos/none": np.full(4, np.nan)})
    with pytest.raises(UnknownNameError, match="infos/costs"):
        ColumnWeighting(of="infos/costs")(dataset)
    with pytest.raises(DatasetError, match="is -1 at step 1; a weight is at least 0"):
        ColumnWeighting(of="infos/cost", form="proportional")(dataset)
    with pytest.raises(DatasetError, match="no finite number"):
        ColumnWeighting(of="infos/none")(dataset)
    with pytest.raises(DatasetError, match="is inf at step 2; a score is a finite number"):
        ColumnWeighting(of="infos/far")(dataset.replace({"infos/far": np.array([0.0, 1.0, np.inf, 2.0])}))
    with pytest.raises(ConfigError, match="a row more for each episode"):
        ColumnWeighting(of="observations")(dataset)
    with pytest.raises(UnknownNameError, match="god"):
        TagWeighting(shares={"god": 0.5})(dataset)
    with pytest.raises(DatasetError, match="drawn from no step"):
        TagWeighting(shares={"good": 0.5})(dataset.select([0]))
    with pytest.raises(ConfigError, match="add up to 1"):
        MixtureWeighting(of=["uniform", "uniform"], shares=(0.5, 0.6))
    with pytest.raises(ConfigError, match="is no weighting"):
        MixtureWeighting(of=[{"corruption.random": {"element": "rewards"}}])
    with pytest.raises(DatasetError, match="no weights to resample by"):
        materialize(dataset)
    with pytest.raises(ConfigError, match="step 1 weighs other than the first of its episode"):
        Materialize(by="episode")(ColumnWeighting(of="rewards")(dataset))


def test_the_command_says_how_many_steps_are_left(tmp_path, capsys):
    assay.save(episodes(MANY), tmp_path / "own")
    main(["reweight", str(tmp_path / "own"), "score=top", "fraction=0.3", "-o", str(tmp_path / "best")])
    best = assay.load(tmp_path / "best")
    assert f"as much as {effective_sample_size(best):,.0f} of {STEPS} equally drawn steps" in " ".join(
        capsys.readouterr().out.split()
    )
    main(
        [
            "reweight",
            str(tmp_path / "own"),
            "of=rewards",
            "--method",
            "column",
            "--materialize",
            "-o",
            str(tmp_path / "made"),
        ]
    )
    assert assay.load(tmp_path / "made").weights is None
