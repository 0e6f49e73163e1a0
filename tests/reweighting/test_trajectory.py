"""Trajectory weighting: steps of better episodes weigh more, by the published formula."""

from __future__ import annotations

import numpy as np
import pytest

from assay.datasets import Dataset, make_transform
from assay.datasets.errors import ConfigError, DatasetError
from assay.reweighting import TrajectoryWeighting


def make(returns: list[float] | np.ndarray, lengths: list[int], first: np.ndarray | None = None) -> Dataset:
    """Episodes of these returns, all earned in the last step; `first` holds the first observations."""
    steps, episodes = sum(lengths), len(lengths)
    lasts = np.cumsum(lengths) - 1
    rewards = np.zeros(steps)
    rewards[lasts] = returns
    observations = np.random.default_rng(0).standard_normal((steps + episodes, 1 if first is None else first.shape[1]))
    if first is not None:
        observations[lasts + 1 - lengths + np.arange(episodes)] = first
    return Dataset.from_arrays(
        observations=observations,
        actions=np.zeros((steps, 1)),
        rewards=rewards,
        terminations=np.isin(np.arange(steps), lasts),
        truncations=np.zeros(steps, bool),
    )


def weights(dataset: Dataset, **parameters: object) -> np.ndarray:
    result = TrajectoryWeighting(**parameters)(dataset).weights
    assert result is not None
    return result


def test_weights_worked_by_hand() -> None:
    found = weights(make([0.0, 5.0, 10.0], [1, 2, 1]), score="return", temperature=0.5)
    unnormalized = np.exp([0.0, 1.0, 1.0, 2.0])
    assert np.allclose(found, unnormalized / unnormalized.mean(), rtol=1e-14)


@pytest.mark.parametrize("score", ["return", "advantage"])
@pytest.mark.parametrize("temperature", [1e-4, 0.1, 0.2, 5.0])
def test_weights_have_mean_one_and_are_equal_within_an_episode(score: str, temperature: float) -> None:
    generator = np.random.default_rng(1)
    dataset = make(generator.standard_normal(20), generator.integers(1, 9, 20).tolist())
    found = weights(dataset, score=score, temperature=temperature)
    assert found.dtype == np.float64
    assert found.mean() == pytest.approx(1.0, rel=1e-12)
    for part in np.split(found, dataset.episode_starts[1:]):
        assert np.all(part == part[0])


def test_an_episode_is_drawn_in_proportion_to_its_length_times_the_exponential_of_its_score() -> None:
    lengths = [3, 1, 5]
    found = weights(make([2.0, 6.0, 4.0], lengths), temperature=0.2)
    drawn = np.array([part.sum() for part in np.split(found, np.cumsum(lengths)[:-1])]) / found.sum()
    expected = np.array(lengths) * np.exp(np.array([0.0, 1.0, 0.5]) / 0.2)
    assert np.allclose(drawn, expected / expected.sum())


def test_scaling_all_rewards_changes_nothing() -> None:
    dataset = make([1.0, 2.0, 4.0, 3.0], [2, 3, 1, 2])
    scaled = dataset.replace({"rewards": dataset.rewards * 1000})
    for score in ("return", "advantage"):
        assert np.allclose(weights(dataset, score=score), weights(scaled, score=score))


def test_the_order_of_episodes_does_not_matter() -> None:
    dataset, order = make([1.0, 2.0, 4.0, 3.0], [2, 3, 1, 2]), [2, 0, 3, 1]
    for score in ("return", "advantage"):
        transform = TrajectoryWeighting(score=score)
        assert np.allclose(transform(dataset.select(order)).weights, transform(dataset).select(order).weights)


def test_low_temperature_draws_the_best_episode_only_and_a_high_one_all_alike() -> None:
    dataset = make([1.0, 9.0, 4.0], [2, 2, 2])
    assert np.allclose(weights(dataset, temperature=1e-6), [0, 0, 3, 3, 0, 0])
    assert np.allclose(weights(dataset, temperature=1e6), 1, atol=1e-5)


def test_the_advantage_is_the_residual_of_a_line_through_the_first_observations() -> None:
    generator = np.random.default_rng(2)
    first = generator.standard_normal((30, 1))
    returns = 1e3 * first[:, 0] + generator.standard_normal(30) + 500
    residual = returns - np.polyval(np.polyfit(first[:, 0], returns, 1), first[:, 0])
    expected = np.exp((residual - residual.min()) / np.ptp(residual) / 0.1)
    found = weights(make(returns, [1] * 30, first), score="advantage", temperature=0.1)
    assert np.allclose(found, expected / expected.mean(), rtol=1e-8)


def test_units_and_copies_of_observation_columns_do_not_change_the_advantage() -> None:
    generator = np.random.default_rng(3)
    first, returns = generator.standard_normal((30, 2)), generator.standard_normal(30)
    plain = weights(make(returns, [2] * 30, first), score="advantage")
    units = make(returns, [2] * 30, np.column_stack([first * [1e-9, 1e9], first[:, :1] * 1e-9, np.ones(30)]))
    assert np.allclose(weights(units, score="advantage"), plain, rtol=1e-6)


def test_structured_observations_are_all_regressed_on() -> None:
    dataset = make([1.0, 2.0, 4.0, 3.0, 7.0], [1, 2, 1, 1, 3], np.random.default_rng(4).standard_normal((5, 2)))
    nested = Dataset(
        {
            **{name: dataset.column(name) for name in dataset.columns if name != "observations"},
            "observations/left": dataset.observations[:, 0],
            "observations/right": dataset.observations[:, 1:],
        },
        dataset.episode_lengths,
    )
    assert np.allclose(weights(nested, score="advantage"), weights(dataset, score="advantage"))


@pytest.mark.parametrize("score", ["return", "advantage"])
def test_equal_returns_give_equal_weights(score: str) -> None:
    assert np.all(weights(make([0.1 + 0.2, 0.3, 0.3], [2, 1, 4]), score=score) == 1.0)
    assert np.all(weights(make([7.0], [3]), score=score) == 1.0)


def test_returns_that_the_first_observations_explain_completely_give_equal_weights() -> None:
    generator = np.random.default_rng(5)
    returns = generator.standard_normal(4) * 1e4
    interpolated = make(returns, [2] * 4, generator.standard_normal((4, 6)))  # fewer episodes than numbers
    assert np.all(weights(interpolated, score="advantage") == 1.0)
    assert not np.all(weights(interpolated, score="return") == 1.0)


def test_only_the_weights_change_and_old_ones_are_replaced() -> None:
    dataset = make([1.0, 2.0], [2, 3]).replace({"weights": np.full(5, 9.0)})
    variant = TrajectoryWeighting()(dataset)
    assert variant.columns == dataset.columns
    for name in set(dataset.columns) - {"weights"}:
        assert np.shares_memory(variant.column(name), dataset.column(name))
    assert np.array_equal(variant.weights, weights(make([1.0, 2.0], [2, 3])))


def test_its_record_in_the_history_makes_it_again() -> None:
    dataset = make([1.0, 2.0], [2, 3])
    variant = TrajectoryWeighting(score="advantage", temperature=0.3)(dataset)
    record = variant.history[-1]
    assert record.seed is None
    assert make_transform(record.transform, record.parameters)(dataset) == variant


@pytest.mark.parametrize("score", ["return", "advantage"])
def test_a_dataset_without_episodes_stays_without_weights_to_normalize(score: str) -> None:
    assert weights(make([1.0], [2]).select([]), score=score).shape == (0,)


def test_what_cannot_be_weighted_is_said() -> None:
    with pytest.raises(DatasetError, match="return of episode 1 is nan"):
        TrajectoryWeighting()(make([1.0, np.nan], [1, 1]))
    with pytest.raises(DatasetError, match="column observations is inf at episode 1, step 0"):
        TrajectoryWeighting(score="advantage")(make([1.0, 2.0], [1, 1], np.array([[0.0], [np.inf]])))
    text = make([1.0, 2.0], [1, 1]).replace({"observations": np.full(4, "go left")})
    with pytest.raises(DatasetError, match="cannot be regressed on"):
        TrajectoryWeighting(score="advantage")(text)
    assert TrajectoryWeighting(score="return")(text).weights is not None
    for wrong in ({"temperature": 0.0}, {"temperature": float("nan")}, {"score": "value"}):
        with pytest.raises(ConfigError, match=r"reweighting\.trajectory: "):
            TrajectoryWeighting(**wrong)
