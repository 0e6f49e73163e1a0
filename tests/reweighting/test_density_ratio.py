"""Density ratios on systems whose ratio is known: two loops that never meet, and a choice that leads into one of them."""

from __future__ import annotations

import numpy as np
import pytest

from assay.datasets import Dataset, make_transform
from assay.datasets.errors import DatasetError, MissingLabelsError
from assay.reweighting import DensityRatioWeighting, TrajectoryWeighting

QUICK = {"hidden": (32,), "learning_rate": 3e-3, "batch_size": 128}


def loops(count: int = 200, choice: bool = False) -> Dataset:
    """Episodes of one step. State 1 leads to itself with reward 1, state 2 to itself with reward 0.

    With `choice`, state 0 leads to 1 by the action -1 and to 2 by the action 1, with reward 0 either way.
    """
    kinds = [(1, 1, -1.0, 1.0), (1, 1, 1.0, 1.0), (2, 2, -1.0, 0.0), (2, 2, 1.0, 0.0)]
    kinds += [(0, 1, -1.0, 0.0), (0, 2, 1.0, 0.0)] if choice else []
    rows = [kinds[number % len(kinds)] for number in range(count)]
    one_hot = np.eye(3)
    return Dataset.from_arrays(
        observations=np.concatenate([one_hot[[before, after]] for before, after, _, _ in rows]),
        actions=np.array([[action] for _, _, action, _ in rows]),
        rewards=np.array([reward for *_, reward in rows]),
        episode_lengths=[1] * count,
        columns={"infos/state": np.array([before for before, *_ in rows])},
    )


def mean_weight(dataset: Dataset, state: int, action: float | None = None) -> float:
    chosen = dataset.column("infos/state") == state
    if action is not None:
        chosen &= dataset.actions[:, 0] == action
    return float(dataset.weights[chosen].mean())


def ratio_of_loops(**parameters: object) -> float:
    weighted = DensityRatioWeighting(**{**QUICK, "updates": 1_500, **parameters})(loops())
    return mean_weight(weighted, 1) / mean_weight(weighted, 2)


def test_without_the_flow_weights_are_the_exponential_of_the_reward():
    assert ratio_of_loops(flow_weight=0.0, entropy_weight=1.0) == pytest.approx(np.e, rel=0.05)


@pytest.mark.slow
def test_with_the_flow_each_loop_is_as_likely_as_the_state_it_leads_to():
    """In a loop exp(f + g) = exp(g), so f = 0 and the weight is that of the state alone: e at K = 1, as far as C lets it at K = 0."""
    assert ratio_of_loops(flow_weight=1.0, entropy_weight=1.0) == pytest.approx(np.e, rel=0.1)
    assert ratio_of_loops(flow_weight=100.0, entropy_weight=0.0) <= np.exp(2 * 1.2) * 1.1
    assert ratio_of_loops(flow_weight=0.0, entropy_weight=0.0) > np.exp(2 * 1.2) * 2, (
        "without the flow f adds its own clip"
    )


@pytest.mark.slow
def test_the_flow_carries_what_comes_later_back_to_the_choice_that_leads_there():
    dataset = loops(240, choice=True)
    settings = {**QUICK, "updates": 3_000, "entropy_weight": 1.0}
    flowing = DensityRatioWeighting(flow_weight=5.0, **settings)(dataset)
    assert flowing.info.extra["density_ratio"]["flow"] < 0.02
    loops_apart = mean_weight(flowing, 1) / mean_weight(flowing, 2)
    choices_apart = mean_weight(flowing, 0, -1.0) / mean_weight(flowing, 0, 1.0)
    assert loops_apart > 1.5
    assert choices_apart == pytest.approx(loops_apart, rel=0.15)
    still = DensityRatioWeighting(flow_weight=0.0, **settings)(dataset)
    assert mean_weight(still, 0, -1.0) / mean_weight(still, 0, 1.0) == pytest.approx(1.0, abs=0.1), "both rewards are 0"


def test_weights_that_are_there_are_multiplied_or_replaced():
    dataset = TrajectoryWeighting(score="return", temperature=1.0)(loops())
    settings = {**QUICK, "updates": 50}
    product = DensityRatioWeighting(combine="product", **settings)(dataset)
    alone = DensityRatioWeighting(**settings)(dataset)
    assert (alone.weights == DensityRatioWeighting(**settings)(loops()).weights).all()
    assert product.weights.mean() == pytest.approx(1.0)
    assert mean_weight(product, 1) / mean_weight(product, 2) > 1.5 * mean_weight(alone, 1) / mean_weight(alone, 2)
    record = product.history[-1]
    assert (make_transform(record.transform, record.parameters)(dataset).weights == product.weights).all()


def test_what_cannot_be_learned_from_is_refused():
    dataset = loops(20)
    with pytest.raises(DatasetError, match="all rewards are 1"):
        DensityRatioWeighting(**QUICK)(dataset.replace({"rewards": np.ones(20)}))
    with pytest.raises(MissingLabelsError, match="rewards"):
        DensityRatioWeighting(**QUICK)(dataset.replace({"rewards": None}))
