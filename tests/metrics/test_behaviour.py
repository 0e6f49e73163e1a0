"""Variance and modes of actions given the state, the dip, and the diversity of episodes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog

from assay.metrics import action_variance, assess, dip, episode_diversity, mixture_gain, multimodality
from assay.metrics.measures import NotMeasurable

from .synthetic import dataset_of

# -------------------------------------------------------------------- the dip


def slow_dip(values: np.ndarray) -> float:
    """Return the dip by linear programming: for each mode, the unimodal function nearest to the empirical one."""
    places, counts = np.unique(values, return_counts=True)
    after = np.cumsum(counts) / len(values)
    before = after - counts / len(values)
    best = 1.0
    for mode in range(len(places)):
        # G at the places up to the mode (the last from the left), from the mode on (the first from the right), distance
        variables = len(places) + 2
        constraints: list[tuple[dict[int, float], float]] = [({mode: 1, mode + 1: -1}, 0)]  # may jump up at the mode
        for i in range(len(places)):
            if i < mode or i == mode:
                constraints.append(({i: 1, variables - 1: -1}, before[i]))
            if i < mode:
                constraints.append(({i: -1, variables - 1: -1}, -after[i]))
            if i > mode:
                constraints.append(({i + 1: 1, variables - 1: -1}, before[i]))
            if i > mode or i == mode:
                constraints.append(({i + 1: -1, variables - 1: -1}, -after[i]))
        for i in range(1, len(places) - 1):
            a, b = places[i] - places[i - 1], places[i + 1] - places[i]
            if i < mode:
                constraints.append(({i - 1: -b, i: a + b, i + 1: -a}, 0))  # convex
            if i > mode:
                constraints.append(({i: b, i + 1: -a - b, i + 2: a}, 0))  # concave
        for i in range(len(places) - 1):
            j = i if i < mode else i + 1
            constraints.append(({j: 1, j + 1: -1}, 0))
        matrix = np.zeros((len(constraints), variables))
        for row, (entries, _) in zip(matrix, constraints):
            for column, factor in entries.items():
                row[column] = factor
        cost = np.eye(variables)[-1]
        best = min(best, linprog(cost, matrix, [bound for _, bound in constraints], bounds=[(0, 1)] * variables).fun)
    return best


def test_the_dip_is_that_of_linear_programming() -> None:
    generator = np.random.default_rng(0)
    for _ in range(6):
        size = int(generator.integers(2, 10))
        for values in (
            generator.random(size),
            generator.integers(0, 5, size + 1).astype(float),
            np.concatenate([generator.normal(0, 1, size), generator.normal(6, 1, size)]),
        ):
            if len(np.unique(values)) > 1:
                assert dip(values) == pytest.approx(slow_dip(values), abs=1e-9)


def test_dips_by_hand() -> None:
    assert dip(np.arange(10)) == pytest.approx(1 / 20)  # evenly spaced: half a step
    assert dip([5.0]) == pytest.approx(1 / 2)
    assert dip([3.0] * 8) == pytest.approx(1 / 16)
    assert dip([0.0] * 6 + [1.0] * 6) == pytest.approx(1 / 4)  # two equal atoms
    # three quarters in one atom: that is the mode, and half of the other's step is the distance
    assert dip([0.0] * 9 + [1.0] * 3) == pytest.approx(1 / 8)
    # two pairs far apart: F is 1/2 over the gap, the nearest line crosses it a quarter less the slope of a pair
    assert dip([0.0, 1.0, 99.0, 100.0]) == pytest.approx(slow_dip(np.array([0.0, 1.0, 99.0, 100.0])))


def test_the_dip_knows_neither_order_nor_place_nor_unit_nor_sign() -> None:
    values = np.random.default_rng(1).gamma(2, 1, 30)
    for other in (values[::-1], values + 7, values * 1000, -values):
        assert dip(other) == pytest.approx(dip(values), abs=1e-12)
    with pytest.raises(NotMeasurable):
        dip([])


# -------------------------------------------------------------------- actions given the state


def test_action_variance_is_the_share_of_noise() -> None:
    generator = np.random.default_rng(2)
    states = generator.uniform(-1, 1, (4000, 1))
    noise = generator.standard_normal((4000, 1))
    assert action_variance(states, noise) == pytest.approx(1, abs=0.06)
    assert action_variance(states, np.sin(states)) < 0.001
    signal = np.sqrt(3) * states  # of variance 1
    assert action_variance(states, 2 * signal + noise) == pytest.approx(1 / 5, abs=0.02)


def test_action_variance_by_hand() -> None:
    # the neighbour of each is its twin; variances among twins: 0 and 2, of all: 3/2 (ddof 0)
    states, actions = np.array([[0.0], [0.0], [9.0], [9.0]]), np.array([[0.0], [0.0], [1.0], [3.0]])
    assert action_variance(states, actions, k=1) == pytest.approx(1 / actions.var())
    with pytest.raises(NotMeasurable, match="all actions are the same"):
        action_variance(states, states * 0)


def test_several_modes_are_seen_and_one_is_not() -> None:
    generator = np.random.default_rng(3)
    states = generator.random((400, 2))
    directions = np.array([[1.0, 2.0, -1.0]])
    for signs, expected in ((generator.choice([-1, 1], (400, 1)), 1.0), (np.ones((400, 1)), 0.0)):
        actions = signs * directions + 0.2 * generator.standard_normal((400, 3))
        assert multimodality(states, actions) == pytest.approx(expected, abs=0.05)
    assert multimodality(states, np.zeros((400, 3))) == 0.0
    with pytest.raises(NotMeasurable, match="50 neighbours"):
        multimodality(states[:30], states[:30])


# -------------------------------------------------------------------- mixtures


def slow_gain(values: np.ndarray) -> float:
    """The largest gain over many starts of a plain optimizer, for one sample."""
    from scipy.optimize import minimize
    from scipy.stats import norm

    values = (values - values.mean()) / values.std()

    def loss(p: np.ndarray) -> float:
        weight, deviations = 1 / (1 + np.exp(-p[0])), np.maximum(np.exp(p[3:]), 0.1)
        density = weight * norm.pdf(values, p[1], deviations[0]) + (1 - weight) * norm.pdf(values, p[2], deviations[1])
        return -float(np.log(density + 1e-300).sum())

    low, high = np.quantile(values, (0.25, 0.75))
    starts = [(0.0, low, high, 0.0, 0.0), (0.0, low, high, -1.0, -1.0), (1.0, 0.0, high, 0.0, -1.0)]
    best = min(minimize(loss, start, method="Nelder-Mead", options={"maxiter": 4000}).fun for start in starts)
    one = -norm.logpdf(values).sum()
    return float(2 * (one - best) - 3 * np.log(len(values)))


@pytest.mark.parametrize("apart", [3.0, 8.0])
def test_the_gain_of_a_mixture_is_that_of_a_plain_optimizer(apart: float) -> None:
    generator = np.random.default_rng(int(10 * apart))
    samples = generator.standard_normal((4, 50)) + apart * (generator.random((4, 50)) < 0.4)
    found = mixture_gain(samples)
    for gain, values in zip(found, samples, strict=True):
        assert gain == pytest.approx(slow_gain(values), abs=1.0)  # both may stop at another of several maxima


def test_a_mixture_of_two_points_gains_what_its_closed_form_says() -> None:
    # Half the numbers at -1 and half at 1: both variances at their floor, densities without overlap.
    values = np.repeat([[-1.0, 1.0]], 20, axis=0).reshape(1, 40)
    two = 40 * (np.log(0.5) - 0.5 * np.log(2 * np.pi * 0.01))
    one = -0.5 * 40 * (np.log(2 * np.pi) + 1)
    assert mixture_gain(values)[0] == pytest.approx(2 * (two - one) - 3 * np.log(40), rel=1e-9)
    assert mixture_gain(5 + 3 * values)[0] == pytest.approx(mixture_gain(values)[0], rel=1e-9)
    assert mixture_gain(np.ones((1, 40)))[0] == pytest.approx(-3 * np.log(40))


def test_few_samples_of_one_gaussian_are_taken_for_two() -> None:
    samples = np.random.default_rng(0).standard_normal((400, 50))
    assert (mixture_gain(samples) > 0).mean() < 0.05


# -------------------------------------------------------------------- episodes


def test_diversity_of_episodes_that_stay_where_they_are_and_of_equal_ones() -> None:
    generator = np.random.default_rng(4)
    places = np.repeat(generator.standard_normal((40, 2)), 11, axis=0)
    apart = dataset_of(places, lambda s, g: s[:, :1], episodes=40)
    together = dataset_of(
        generator.standard_normal((4040, 2)), lambda s, g: g.standard_normal((len(s), 1)), episodes=40
    )
    select = ["episode_diversity"]
    means = places[::11, [0, 1, 0]] / places[:, [0, 1, 0]].std(0)  # and all deviations are 0
    pairs = np.linalg.norm(means[:, None] - means[None], axis=-1)[np.triu_indices(40, 1)]
    assert assess(apart, select=select)["value"][0] == pytest.approx(pairs.mean() / np.sqrt(6))
    row = assess(together, select=select).row(0, named=True)
    assert row["value"] == pytest.approx(np.sqrt(2 * 3 * (0.01 + 0.005) / 6), rel=0.1)
    assert row["interval"]["low"] < row["value"] < row["interval"]["high"]


def test_diversity_is_the_mean_over_pairs() -> None:
    summaries = np.random.default_rng(5).standard_normal((7, 4))
    pairs = [np.linalg.norm(summaries[i] - summaries[j]) / 2 for i in range(7) for j in range(i)]
    assert episode_diversity(summaries) == pytest.approx(np.mean(pairs))
    assert episode_diversity(summaries[::-1]) == pytest.approx(np.mean(pairs))
    with pytest.raises(NotMeasurable, match="two episodes"):
        episode_diversity(summaries[:1])


# -------------------------------------------------------------------- the table


def test_the_table_agrees_with_the_functions_and_says_what_it_looked_at() -> None:
    generator = np.random.default_rng(6)
    dataset = dataset_of(
        generator.standard_normal((1020, 2)) * [1, 100],
        lambda s, g: s[:, :1] + g.choice([-3, 3], (len(s), 1)) + 0.1 * g.standard_normal((len(s), 1)),
        episodes=20,
    )
    table = assess(dataset, select=["behaviour"])
    states = dataset.observations[dataset.observation_rows]
    scaled = dataset.actions / dataset.actions.std(0)
    assert table["value"][0] == pytest.approx(action_variance(states, scaled))
    assert table["value"][1] == pytest.approx(multimodality(states, scaled), abs=0.1)  # of 25 states, and of all
    assert all("all 1,000 steps" in source for source in table["source"])
    assert table["interval"].null_count() == 0


def test_discrete_actions_have_a_variance_and_no_modes() -> None:
    generator = np.random.default_rng(7)
    dataset = dataset_of(generator.standard_normal((1020, 1)), lambda s, g: g.integers(0, 3, len(s)), episodes=20)
    assert assess(dataset, select=["behaviour"])["metric"].to_list() == ["action_variance"]
    assert assess(dataset, select=["action_variance"])["value"][0] == pytest.approx(1, abs=0.08)
    with pytest.raises(NotMeasurable, match="discrete"):
        assess(dataset, select=["multimodality"])
