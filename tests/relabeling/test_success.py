"""The success classifier: it sees what the ends of successful episodes have in common, also elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

import assay
from assay.cli import main
from assay.datasets import Dataset
from assay.datasets.errors import ConfigError, DatasetError
from assay.relabeling import SuccessLabels

QUICK = {"last_steps": 2, "updates": 200, "hidden": (16,), "learning_rate": 1e-2}


def walks(seed: int = 0) -> Dataset:
    """60 walks of 10 steps along a line; half of them go up to 10, the others down to -10."""
    signs = np.where(np.arange(60) % 2 == 0, 1.0, -1.0)
    noise = np.random.default_rng(seed).normal(0, 0.1, (60, 11))
    observations = (signs[:, None] * np.arange(11) + noise).reshape(-1, 1)
    ends = np.arange(600) % 10 == 9
    return Dataset.from_arrays(
        observations=observations,
        actions=np.zeros((600, 1)),
        rewards=ends * np.repeat(signs, 10),
        terminations=ends,
        truncations=np.zeros(600, bool),
        episode_columns={"tags/success": signs > 0},
    )


def test_success_is_seen_at_the_goal_and_nowhere_else():
    labelled = SuccessLabels(tag="success", **QUICK)(walks())
    reached = labelled.next_observations[:, 0]
    assert labelled.rewards[reached > 9.5].mean() > 0.95
    assert labelled.rewards[reached < 6].sum() == 0
    assert labelled.info.extra["success_classifier"]["held_out"]["accuracy"] > 0.9
    assert labelled.column("truth/rewards").max() == 1.0
    assert labelled.column("uncertainty/rewards").shape == (600,)


def test_a_return_says_which_episodes_succeed_as_a_tag_does():
    dataset = walks()
    by_tag, by_return = (SuccessLabels(**how, **QUICK)(dataset) for how in ({"tag": "success"}, {"least_return": 0.5}))
    np.testing.assert_array_equal(by_tag.rewards, by_return.rewards)


def test_other_tags_are_another_success():
    dataset = walks()
    other = dataset.replace(episode_columns={"tags/success": ~dataset.tagged("success")})
    labelled = SuccessLabels(tag="success", **QUICK)(other)
    reached = labelled.next_observations[:, 0]
    assert labelled.rewards[reached < -9.5].mean() > 0.95
    assert labelled.rewards[reached > -6].sum() == 0


def test_both_kinds_of_episodes_are_needed():
    with pytest.raises(DatasetError, match="60 of the 60 episodes succeed and 0 fail"):
        SuccessLabels(least_return=-2.0, **QUICK)(walks())
    with pytest.raises(ConfigError, match="say which episodes succeed"):
        SuccessLabels()


def test_the_command_prints_what_was_seen(tmp_path, capsys):
    assay.save(walks(), tmp_path / "walks")
    settings = ["updates=200", "hidden=[16]", "learning_rate=0.01"]
    options = ["--tag", "success", "--last-steps", "2", "-o", str(tmp_path / "sparse")]
    main(["relabel", "success", str(tmp_path / "walks"), *settings, *options])
    assert "of 600 steps are rewarded" in capsys.readouterr().out
    assert set(assay.load(tmp_path / "sparse").rewards) == {0.0, 1.0}
