from __future__ import annotations

import json

import numpy as np
import pytest

from assay.datasets.collection.policies import LinearPolicy, feature_count
from assay.datasets.errors import ConfigError


def some_policy(actions: int = 3, observation: int = 11, features: str = "linear") -> LinearPolicy:
    generator = np.random.default_rng(0)
    weights = generator.normal(size=(actions, feature_count(observation, features)))
    return LinearPolicy(weights, generator.normal(size=observation), generator.uniform(0.1, 2, observation), features)


@pytest.mark.parametrize("features", ["linear", "quadratic"])
@pytest.mark.parametrize(("actions", "observation"), [(1, 1), (1, 3), (3, 11), (6, 17), (6, 40)])
def test_a_row_does_not_depend_on_the_rows_beside_it(actions: int, observation: int, features: str) -> None:
    policy = some_policy(actions, observation, features)
    observations = np.random.default_rng(1).normal(size=(200, observation))
    whole = policy(observations)
    for size in (1, 2, 3, 7, 16, 64):
        for start in range(0, 200, size):
            np.testing.assert_array_equal(policy(observations[start : start + size]), whole[start : start + size])
    np.testing.assert_array_equal(policy(np.asfortranarray(observations)), whole)


def test_quadratic_features_are_all_products_once() -> None:
    policy = LinearPolicy([[1, 10, 100, 1000, 10000]], mean=[0, 0], std=[1, 2], features="quadratic")
    assert policy(np.array([[2.0, 6.0]])).tolist() == [[2 + 30 + 400 + 6000 + 90000]]


def test_discrete_takes_the_largest_score() -> None:
    policy = LinearPolicy([[1.0], [-1.0]], mean=[0.0], std=[1.0], discrete=True)
    assert policy(np.array([[2.0], [-3.0]])).tolist() == [0, 1]


def test_json_round_trip_is_exact() -> None:
    policy = some_policy()
    again = LinearPolicy.from_json(policy.to_json())
    assert again == policy
    np.testing.assert_array_equal(again.weights, policy.weights)
    assert policy.rounded(6) != policy
    assert policy.rounded(6) == policy.rounded(6).rounded(6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": [[1.0, 2.0]]}, "columns"),
        ({"weights": [1.0]}, "2 dimension"),
        ({"weights": [["a"]]}, "numbers"),
        ({"mean": [float("nan")]}, "finite"),
        ({"std": [0.0]}, "positive"),
        ({"features": "cubic"}, "cubic"),
        ({"kind": "neural"}, "neural"),
        ({"discrete": 1}, "true or false"),
        ({"extra": 1}, "extra"),
    ],
)
def test_bad_json_says_what_is_wrong(change: dict[str, object], message: str) -> None:
    good = LinearPolicy([[1.0]], [0.0], [1.0]).to_dict()
    with pytest.raises(ConfigError, match=message):
        LinearPolicy.from_json(json.dumps(good | change))


def test_not_json_is_refused() -> None:
    with pytest.raises(ConfigError, match="must be JSON"):
        LinearPolicy.from_json("{")
    with pytest.raises(ConfigError, match="fields"):
        LinearPolicy.from_json("[]")
