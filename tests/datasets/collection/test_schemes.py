"""Published mixtures: what is in them, that a seed decides them, and that no transition is made up at a seam."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import assay
from assay.datasets.collection.collect import collect
from assay.datasets.collection.policies import UniformPolicy
from assay.datasets.collection.schemes import (
    drawn_until,
    medium_expert,
    mixed_trajectories,
    perspective_scheme,
    proficiency,
    replay_until,
)
from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError
from assay.datasets.loading import collect_entry
from assay.datasets.tagging import TagEpisodes


def episodes_of(lengths: list[int], reward: float) -> Dataset:
    """Return episodes whose observations count upwards from 1000 times their number."""
    return Dataset.from_episodes(
        {
            "observations": (1000.0 * number + np.arange(length + 1))[:, None],
            "actions": np.zeros((length, 1)),
            "rewards": np.full(length, reward),
            "terminations": np.arange(length) == length - 1,
            "truncations": np.zeros(length, bool),
        }
        for number, length in enumerate(lengths)
    )


LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=8)


@settings(deadline=None)
@given(random=LENGTHS, good=LENGTHS, fraction=st.floats(0, 1), steps=st.integers(1, 200), seed=st.integers(0, 9))
def test_a_mixture_holds_no_more_good_and_no_more_steps_than_the_last_trajectory_adds(
    random: list[int], good: list[int], fraction: float, steps: int, seed: int
) -> None:
    parts = episodes_of(random, 0.0), episodes_of(good, 1.0)
    mixture = mixed_trajectories(*parts, fraction, steps=steps, seed=seed)
    held = mixture.rewards.sum()
    if fraction == 0:
        assert held == 0
    else:
        assert fraction * steps < held <= fraction * steps + max(good)
    assert steps < mixture.total_steps <= max(steps + max(random), held)
    # Every transition is one of the sources', also where trajectories meet.
    assert (mixture.next_observations - mixture.observations[mixture.observation_rows] == 1).all()
    assert mixture == mixed_trajectories(*parts, fraction, steps=steps, seed=seed)


def test_a_mixture_can_be_rebuilt_from_its_history(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ASSAY_HOME", str(tmp_path))
    random, expert = assay.load("cartpole/random", steps=500), assay.load("cartpole/expert", steps=1500)
    mixture = mixed_trajectories(random, expert, 0.25, seed=3)
    assert mixture.total_steps > 1500
    assert assay.replay(mixture.history) == mixture
    assert mixture != mixed_trajectories(random, expert, 0.25, seed=4)
    joined = medium_expert(random, expert)
    assert joined.total_steps == 2000
    assert assay.replay(joined.history) == joined


def test_impossible_mixtures_are_refused() -> None:
    one = episodes_of([3], 0.0)
    with pytest.raises(ConfigError, match="fraction"):
        mixed_trajectories(one, one, 1.1)
    with pytest.raises(ConfigError, match="steps"):
        mixed_trajectories(one, one, 0.5, steps=0)
    with pytest.raises(ConfigError, match="no trajectory"):
        drawn_until([], 3, np.random.default_rng(0))


def test_the_schemes_of_the_dataset_perspective_paper() -> None:
    def left(observations: np.ndarray) -> np.ndarray:
        return np.zeros(len(observations), int)

    def taken(scheme: str) -> np.ndarray:
        policies, noise = perspective_scheme(scheme, left)
        return collect("CartPole-v1", policies, steps=5000, noise=noise, workers=0).actions

    assert perspective_scheme("random", left)[0][0][0] == UniformPolicy()
    assert (taken("expert") == 0).all()
    assert taken("noisy").mean() == pytest.approx(0.1, abs=0.02)  # half of the uniform actions
    mixed = taken("mixed")
    assert mixed[:4000].mean() == pytest.approx(0.5, abs=0.03)
    assert (mixed[4000:] == 0).all()
    with pytest.raises(ConfigError, match="scheme"):
        perspective_scheme("replay", left)


def test_the_seam_of_mixed_data_is_no_transition() -> None:
    mixed = collect_entry("cartpole/mixed", steps=1000, workers=0)
    seam = int(np.flatnonzero(np.asarray(mixed.episode_columns["policy"]) == 1)[0])
    start = int(mixed.episode_starts[seam])
    assert start == 800
    assert mixed.truncations[start - 1] or mixed.terminations[start - 1]
    assert mixed.validate().ok
    # The step before the seam leads to where the simulator went, not to the expert's first state.
    import gymnasium

    environment = gymnasium.make("CartPole-v1")
    environment.reset(seed=int(mixed.episode_columns["seed"][seam - 1]))
    for step in range(int(mixed.episode_starts[seam - 1]), start):
        after = environment.step(mixed.actions[step])[0]
    np.testing.assert_array_equal(mixed.next_observations[start - 1], after)


def test_medium_replay_is_the_beginning_of_the_whole() -> None:
    whole = episodes_of([4, 5, 6], 0.0)
    assert replay_until(whole, 9).episode_lengths.tolist() == [4, 5]
    assert replay_until(whole, 10).episode_lengths.tolist() == [4, 5, 6]
    assert replay_until(whole, 1000) == whole


def test_proficiency_tags_are_those_of_robomimic(tmp_path) -> None:
    joined = proficiency(episodes_of([2, 3], 0.0), episodes_of([4], 1.0), episodes_of([5], 2.0))
    found = {
        name: joined.episodes[f"tags/{name}"].to_list()
        for name in ("worse", "okay", "better", "worse_okay", "worse_better", "okay_better")
    }
    assert found == {
        "worse": [True, True, False, False],
        "okay": [False, False, True, False],
        "better": [False, False, False, True],
        "worse_okay": [True, True, True, False],
        "worse_better": [True, True, False, True],
        "okay_better": [False, False, True, True],
    }
    assert joined.select(pl.col("tags/better")).rewards.tolist() == [2.0] * 5
    assay.save(joined, tmp_path / "tagged")
    assert assay.load(tmp_path / "tagged") == joined


def test_a_catalog_dataset_is_tagged_by_the_skill_of_each_episode() -> None:
    dataset = collect_entry("cartpole/proficiency", steps=1500, workers=0)
    policies = np.asarray(dataset.episode_columns["policy"])
    for number, tag in enumerate(("worse", "okay", "better")):
        np.testing.assert_array_equal(dataset.episode_columns[f"tags/{tag}"], policies == number)
    better = dataset.select(pl.col("tags/better"))
    assert better.total_steps == 500


def test_tags_are_part_of_the_history_and_name_only_episodes_that_exist(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ASSAY_HOME", str(tmp_path))
    dataset = assay.load("cartpole/random", steps=200)
    tagged = TagEpisodes(tags={"first": [0], "none": []})(dataset)
    assert tagged.rewards is not None
    assert tagged.episode_columns["tags/first"].sum() == 1
    assert not tagged.episode_columns["tags/none"].any()
    assert assay.replay(tagged.history) == tagged
    with pytest.raises(ConfigError, match="episodes are 0 to"):
        TagEpisodes(tags={"beyond": [10_000]})(dataset)
