"""Each finding is made on a dataset that was built to have it, and on no other; one that has none of them gets none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from assay.analysis.advice import findings_of
from assay.analysis.advice.findings import METRICS
from assay.datasets import Dataset
from assay.datasets.info import DatasetInfo
from assay.datasets.spaces import Box, Discrete
from assay.metrics import assess

EPISODES, STEPS = 40, 50
SPACES = DatasetInfo(observation_space=Box((2,), "float64", [-np.inf] * 2, [np.inf] * 2), action_space=Discrete(2))


def plain(
    *,
    episodes: int = EPISODES,
    noise: float = 0.0,
    behaviour: str = "by the state",
    rewards: str = "dense",
    info: DatasetInfo = SPACES,
    **columns: np.ndarray,
) -> Dataset:
    """Return data of a damped swing pushed left or right, deterministic but for the noise, from starts that differ."""
    rng = np.random.default_rng(0)
    position, speed = rng.uniform(-1, 1, (2, episodes))
    rows, taken = [np.stack([position, speed], -1)], []
    for _ in range(STEPS):
        chance = rng.integers(0, 2, episodes)
        action = {
            "by the state": (position < 0).astype(int),
            "by chance": chance,
            "one of two forces": np.where(chance, 1.0, -1.0) + 0.05 * rng.normal(size=episodes),
            "around the state": 0.5 * position + 0.05 * rng.normal(size=episodes),
        }[behaviour]
        speed = 0.95 * speed - 0.2 * position + 0.1 * action + noise * rng.normal(size=episodes)
        position = position + 0.2 * speed + noise * rng.normal(size=episodes)
        rows.append(np.stack([position, speed], -1))
        taken.append(action)
    last = np.tile(np.arange(STEPS) == STEPS - 1, episodes)
    earned = -np.abs(np.stack(rows[1:], 1)[..., 0]).ravel()
    earned = {
        "dense": earned,
        "constant": np.full_like(earned, -1.0),
        "at the end": np.where(last, np.repeat(rng.random(episodes), STEPS), 0.0),
        "none": np.zeros_like(earned),
    }[rewards]
    given = {
        "observations": np.stack(rows, 1).reshape(-1, 2),
        "actions": np.stack(taken, 1).ravel(),
        "rewards": earned,
        "terminations": last,
        "truncations": np.zeros_like(last),
    }
    return Dataset.from_arrays(**{**given, **columns}, info=info)


def names_of(dataset: Dataset) -> list[str]:
    return [finding.name for finding in found(dataset)]


def found(dataset: Dataset):
    return findings_of(dataset, dataset.validate(), assess(dataset, select=METRICS, progress=None))


CONTINUOUS = replace(SPACES, action_space=Box((), "float64", -np.inf, np.inf))
LENGTH = EPISODES * STEPS
NEVER = np.zeros(LENGTH, bool)
HAS = {
    "too few episodes": lambda: plain(episodes=10),
    "constant rewards": lambda: plain(rewards="constant"),
    "sparse rewards": lambda: plain(rewards="at the end"),
    "stochastic dynamics": lambda: plain(noise=0.3),
    "multimodal actions": lambda: plain(behaviour="by chance"),
    "episode borders doubtful": lambda: plain().replace({"terminations": NEVER}),
}


def test_data_without_faults_show_nothing():
    assert names_of(plain()) == []
    assert names_of(plain(behaviour="around the state", info=CONTINUOUS)) == []


@pytest.mark.parametrize("name", HAS)
def test_a_finding_is_made_where_it_was_built_in_and_no_other(name):
    expected = {name} | ({"returns all equal"} if name == "constant rewards" else set())  # of episodes of one length
    assert set(names_of(HAS[name]())) == expected


def test_continuous_actions_of_two_groups_are_multimodal():
    assert names_of(plain(behaviour="one of two forces", info=CONTINUOUS)) == ["multimodal actions"]


def test_returns_are_equal_only_where_all_are():
    all_equal = plain(rewards="none")
    assert set(names_of(all_equal)) == {"returns all equal", "sparse rewards"}
    rewards = np.zeros(LENGTH)
    rewards[-1] = 1e-3
    assert "returns all equal" not in names_of(plain().replace({"rewards": rewards}))


@pytest.mark.parametrize("element", ["rewards", "actions"])
def test_labels_that_are_missing_are_counted_by_element(element):
    mask = np.zeros(LENGTH, bool)
    mask[: 5 * STEPS] = True
    (finding,) = found(plain(missing={element: mask}))
    assert finding.name == "labels missing"
    assert finding.found == f"{element} are missing at 250 of 2,000 steps"
    assert ("cloning" in finding.means) == (element == "rewards")


def test_the_doubts_about_borders_are_those_of_validation():
    both = np.tile(np.arange(STEPS) == STEPS - 1, EPISODES)
    (finding,) = found(plain(truncations=both))
    assert finding.name == "episode borders doubtful"
    assert finding.found.startswith("both flags: 40 of 2,000 rows")


def test_errors_that_are_not_about_borders_are_passed_on():
    dataset = plain()
    wrong = dataset.actions.copy()
    wrong[7] = 5
    names = names_of(dataset.replace({"actions": wrong}))
    assert "errors in the data" in names
    assert "episode borders doubtful" not in names


def test_a_finding_says_what_it_is_and_what_it_means():
    (finding,) = found(plain(episodes=3))
    assert str(finding).startswith("too few episodes: 3 episodes, fewer than 20; the mean return is")
    assert finding.means in str(finding)
