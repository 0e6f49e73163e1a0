"""A judge that looks at frames gives progress to every step, and says which episodes succeed: a real server of progress."""

from __future__ import annotations

import numpy as np
import pytest

import assay
from assay.cli import main
from assay.datasets import Dataset
from assay.datasets.errors import ConfigError, DatasetError
from assay.relabeling import JudgedProgress, ProgressLabels, ProgressServerJudge, ScriptedTeacher, SuccessLabels
from assay.relabeling.judged_progress import asked_steps, between

from .test_progress_server import Server

pytest.importorskip("httpx")
GOAL = "make it bright"


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("ASSAY_HOME", str(tmp_path / "home"))


def shaded(seed: int = 0, episodes: int = 24, length: int = 8) -> Dataset:
    """Episodes of grey images that grow brighter up to 255 where the episode is even, and up to 80 where it is odd."""
    generator = np.random.default_rng(seed)
    ends = np.where(np.arange(episodes) % 2 == 0, 255, 80)
    shades = np.linspace(0, ends, length + 1).T + generator.uniform(0, 0.4, (episodes, length + 1))
    images = np.broadcast_to(np.floor(shades).astype(np.uint8).reshape(-1, 1, 1, 1), (shades.size, 8, 8, 3))
    last = np.arange(episodes * length) % length == length - 1
    return Dataset.from_arrays(
        observations={"image": images.copy(), "shade": (shades.reshape(-1, 1) / 255).astype(np.float32)},
        actions=np.zeros((episodes * length, 1), np.float32),
        terminations=last,
        truncations=np.zeros(episodes * length, bool),
    )


@pytest.mark.parametrize("every", [1, 3, 100])
def test_progress_is_the_score_of_the_asked_frames_and_lies_on_lines_in_between(every):
    dataset = shaded()
    with Server() as server:
        judge = ProgressServerJudge(base_url=server.url)
        rated = JudgedProgress(judge=judge, goal=GOAL, every=every)(dataset)
    found = rated.column("infos/progress").reshape(24, 8)
    seen = dataset.column("observations/image")[dataset.observation_rows, 0, 0, 0].reshape(24, 8) / 255
    places = [place for place in range(8) if place % every == 0 or place == 7]
    np.testing.assert_allclose(found[:, places], seen[:, places], atol=1e-6)
    for row in range(24):
        np.testing.assert_allclose(found[row], np.interp(range(8), places, seen[row, places]), atol=1e-6)
    assert rated.info.extra["judged_progress"] == {"asked": 24 * len(places), "answered": 24 * len(places)}
    rewards = ProgressLabels(column="infos/progress")(rated).rewards.reshape(24, 8)
    np.testing.assert_allclose(rewards.sum(1), found[:, -1] - found[:, 0], atol=1e-6)


def test_a_clip_ends_with_the_asked_step_and_stays_inside_its_episode():
    with Server() as server:
        JudgedProgress(judge=ProgressServerJudge(base_url=server.url), goal=GOAL, every=7, clip_length=3)(shaded())
        lengths = {sample["trajectory"]["frames_shape"][0] for _, samples in server.requests for sample in samples}
    assert lengths == {3}


def test_nothing_is_guessed_beyond_the_answers():
    dataset = shaded(episodes=2, length=7)
    asked = asked_steps(dataset, 3)
    assert asked.tolist() == [0, 3, 6, 7, 10, 13]
    scores = np.array([0.0, 0.6, np.nan, np.nan, np.nan, np.nan])
    np.testing.assert_allclose(between(dataset, asked, scores)[:4], [0.0, 0.2, 0.4, 0.6])
    assert np.isnan(between(dataset, asked, scores)[4:]).all()


class Silent(ProgressServerJudge):
    """Gives no answer."""

    name = "silent"

    def score(self, segments, goal):
        return np.full(len(segments.steps), np.nan)


def test_a_judge_without_answers_or_without_scores_is_refused():
    with pytest.raises(DatasetError, match="answered none of"):
        JudgedProgress(judge=Silent(base_url="http://127.0.0.1:1"), goal=GOAL)(shaded())
    with pytest.raises(ConfigError, match="scripted compares pairs"):
        JudgedProgress(judge=ScriptedTeacher(), goal=GOAL)(shaded())
    with pytest.raises(DatasetError, match=r"0 of the 24 episodes succeed and 0 fail \(24 are not answered\)"):
        SuccessLabels(judge=Silent(base_url="http://127.0.0.1:1"), goal=GOAL)(shaded())


def test_success_by_a_judge_is_success_by_a_tag_of_the_same_episodes():
    dataset = shaded()
    settings = {"last_steps": 2, "updates": 100, "hidden": (16,), "learning_rate": 1e-2}
    states = {"inputs": "states", **settings}
    with Server() as server:
        judge = ProgressServerJudge(base_url=server.url)
        by_judge = SuccessLabels(judge=judge, goal=GOAL, **states)(dataset)
    tagged = dataset.replace(episode_columns={"tags/bright": np.arange(24) % 2 == 0})
    np.testing.assert_array_equal(by_judge.rewards, SuccessLabels(tag="bright", **states)(tagged).rewards)
    assert by_judge.rewards.sum() >= 24


def test_the_commands_ask_a_judge(tmp_path, capsys):
    assay.save(shaded(), tmp_path / "shaded")
    with Server() as server:
        judge = ["--judge", "progress_server", "--judge-set", f"base_url={server.url}", "--goal", GOAL]
        main(["relabel", "progress", str(tmp_path / "shaded"), *judge, "--every", "4", "-o", str(tmp_path / "rated")])
        assert "72 of 72 questions were answered" in capsys.readouterr().out
        settings = ["updates=50", "hidden=[8]", "learning_rate=0.01"]
        main(["relabel", "success", str(tmp_path / "shaded"), *settings, *judge, "-o", str(tmp_path / "sparse")])
    assert set(assay.load(tmp_path / "sparse").rewards) <= {0.0, 1.0}
    rated = assay.load(tmp_path / "rated")
    assert rated.rewards.reshape(24, 8)[::2].sum(1).min() > 0.8
    assert not rated.missing["rewards"].any()
