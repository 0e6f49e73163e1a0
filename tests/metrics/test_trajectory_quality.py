"""TQ: the mean return of completed episodes between two references."""

from __future__ import annotations

import numpy as np
import pytest

from assay.datasets import Dataset, DatasetInfo, ReferenceScores
from assay.datasets.errors import ConfigError, DatasetError
from assay.metrics import tq


def make(returns: list[float], ends: str, references: ReferenceScores | None = None) -> Dataset:
    """Two steps an episode; ends: t terminated, u truncated, - cut without a flag."""
    episodes = len(returns)
    rewards = np.repeat(np.array(returns) / 2, 2)
    last = np.arange(2 * episodes) % 2 == 1
    return Dataset.from_arrays(
        observations=np.zeros(3 * episodes),
        actions=np.zeros(2 * episodes),
        rewards=rewards,
        terminations=last & np.repeat([end == "t" for end in ends], 2),
        truncations=last & np.repeat([end == "u" for end in ends], 2),
        episode_lengths=[2] * episodes,
        info=DatasetInfo(reference_scores=references),
    )


def test_the_references_themselves_have_quality_zero_and_one() -> None:
    assert tq(make([-20.0, -20.0], "tu"), -20.0, 80.0) == 0.0
    assert tq(make([70.0, 90.0], "tu"), -20.0, 80.0) == 1.0


def test_quality_is_not_clipped() -> None:
    assert tq(make([-70.0], "t"), -20.0, 80.0) == -0.5
    assert tq(make([130.0], "t"), -20.0, 80.0) == 1.5


def test_terminated_and_truncated_episodes_count_and_unfinished_ones_do_not() -> None:
    assert tq(make([2.0, 4.0, 1000.0], "tu-"), 0.0, 10.0) == 0.3
    with pytest.raises(DatasetError, match="no episode is completed"):
        tq(make([1.0], "-"), 0.0, 1.0)


def test_the_references_of_the_dataset_are_the_default_and_each_can_be_overridden() -> None:
    dataset = make([5.0], "t", ReferenceScores(random=0.0, expert=10.0, source="example"))
    assert tq(dataset) == 0.5
    assert tq(dataset, best_return=20.0) == 0.25
    assert tq(dataset, random_return=4.0) == pytest.approx(1 / 6)
    assert tq(dataset, random_return=0.0, best_return=5.0) == 1.0


def test_missing_or_impossible_references_say_what_to_pass() -> None:
    with pytest.raises(ConfigError, match="pass random_return and best_return"):
        tq(make([1.0], "t"))
    with pytest.raises(ConfigError, match="pass best_return"):
        tq(make([1.0], "t"), random_return=0.0)
    with pytest.raises(ConfigError, match="two finite and different references, not 1 and 1"):
        tq(make([1.0], "t"), 1.0, 1.0)
    with pytest.raises(ConfigError, match="finite"):
        tq(make([1.0], "t"), 1.0, float("nan"))


def test_a_return_that_is_not_a_number_names_its_episode() -> None:
    with pytest.raises(DatasetError, match="return of episode 1 is nan"):
        tq(make([1.0, np.nan], "tt"), 0.0, 1.0)


def test_datasets_are_references_by_the_mean_of_their_completed_episodes() -> None:
    random, expert = make([0.0, 2.0, 1000.0], "tu-"), make([10.0, 12.0], "tt")
    assert tq(make([6.0], "t"), random=random, best=expert) == 0.5
    assert tq(make([6.0], "t"), random_return=0.0, best=expert) == pytest.approx(6 / 11)
    assert tq(random, random=random, best=expert) == 0.0
    assert tq(expert, random=random, best=expert) == 1.0
    with pytest.raises(ConfigError, match="either random_return or random, not both"):
        tq(random, random_return=0.0, random=random, best=expert)


def test_references_come_from_d4rl_or_the_catalog_by_environment() -> None:
    spec = '{"id": "Hopper-v5"}'
    own = ReferenceScores(random=0.0, expert=10.0, source="own")
    hopper = make([3234.3], "t").replace(info=DatasetInfo(env_spec=spec, reference_scores=own))
    assert tq(hopper, references="d4rl") == tq(hopper, references="catalog") == 1.0
    assert tq(hopper) == 323.43
    assert tq(hopper, references=ReferenceScores(random=0.0, expert=6468.6, source="example")) == 0.5
    cartpole = make([500.0], "t").replace(info=DatasetInfo(env_spec='{"id": "CartPole-v1"}'))
    assert tq(cartpole, references="catalog") == 1.0
    with pytest.raises(ConfigError, match="D4RL has no reference returns for CartPole-v1"):
        tq(cartpole, references="d4rl")
    with pytest.raises(ConfigError, match="environment is unknown"):
        tq(make([1.0], "t"), references="catalog")
    with pytest.raises(ConfigError, match="known are own, d4rl"):
        tq(hopper, references="minari")  # type: ignore[arg-type]


def test_partial_episodes_count_only_if_asked() -> None:
    dataset = make([2.0, 4.0, 9.0], "tu-")
    assert tq(dataset, 0.0, 10.0) == 0.3
    assert tq(dataset, 0.0, 10.0, partial="count") == 0.5
    assert tq(make([1.0], "-"), 0.0, 2.0, partial="count") == 0.5
    with pytest.raises(ConfigError, match="drop or count"):
        tq(dataset, 0.0, 10.0, partial="keep")  # type: ignore[arg-type]
