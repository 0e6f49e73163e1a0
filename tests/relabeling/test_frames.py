"""Frames: one picture per row of the observations, stored or rendered, and rendered once."""

from __future__ import annotations

import ctypes.util
import json
from pathlib import Path

import numpy as np
import pytest

from assay.datasets import Dataset, DatasetInfo
from assay.datasets.errors import ConfigError, UnknownNameError
from assay.relabeling.frames import frames_of
from assay.relabeling.frames.classic_control import ClassicControlRenderer


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_HOME", str(tmp_path / "home"))


def dataset_of(observations: np.ndarray, environment: str | None = None, **columns: np.ndarray) -> Dataset:
    """One dataset of two episodes, of 2 and of all other steps."""
    steps = len(observations) - 2
    ends = np.isin(np.arange(steps), [1, steps - 1])
    return Dataset.from_arrays(
        observations=observations,
        actions=np.zeros((steps, 1)),
        rewards=np.zeros(steps),
        terminations=ends,
        truncations=np.zeros(steps, bool),
        columns=columns,
        info=DatasetInfo(env_spec=None if environment is None else json.dumps({"id": environment})),
    )


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3), (3, 5, 6)])
def test_an_image_column_is_taken_as_it_is_with_its_channels_last(shape):
    images = np.random.default_rng(0).integers(0, 255, (6, *shape)).astype(np.uint8)
    source = frames_of(dataset_of(images))
    expected = images[..., None] if len(shape) == 2 else images.transpose(0, 2, 3, 1) if shape[0] == 3 else images
    assert source.shape == expected.shape[1:]
    np.testing.assert_array_equal(source.take(np.array([5, 0, 0])), expected[[5, 0, 0]])


def test_of_one_image_per_step_the_last_one_stands_for_the_final_observation():
    images = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((1, 8, 8), np.uint8)
    source = frames_of(dataset_of(np.zeros((6, 1)), **{"infos/camera": images}), column="infos/camera")
    assert source.take(np.arange(6))[:, 0, 0, 0].tolist() == [0, 1, 1, 2, 3, 3]  # steps 0 1 - 2 3 -


def test_a_mirrored_state_of_cartpole_has_the_mirrored_frame():
    states = np.array([[0, 0, 0.2, 0], [0, 0, -0.2, 0], [1.0, 0, 0.2, 0], [0, 0, 0.2, 0], [0, 0, 0, 0]])
    frames = frames_of(dataset_of(states, "CartPole-v1"), height=40).take(np.arange(4)).astype(float)
    assert frames.shape[1:] == (40, 60, 3)
    difference = np.abs(frames[0] - frames[1][:, ::-1])
    assert 3 * difference.mean() < np.abs(frames[0] - frames[1]).mean()
    assert np.abs(frames[0] - frames[2]).max() > 100  # the cart stands elsewhere
    np.testing.assert_array_equal(frames[0], frames[3])


def test_pendulum_is_drawn_where_its_angle_says():
    angles = np.array([0.0, np.pi / 2, np.pi, 0.0, 0.0])
    states = np.stack([np.cos(angles), np.sin(angles), np.zeros(5)], 1)
    frames = frames_of(dataset_of(states, "Pendulum-v1"), height=32).take(np.arange(3))
    dark = 255.0 - frames.min(-1)
    rows, columns = np.indices((32, 32)) - 15.5
    centre = np.array([[(dark_of * axis).sum() / dark_of.sum() for axis in (rows, columns)] for dark_of in dark])
    assert centre[0][0] < -3 < 3 < centre[2][0]  # up, then down
    assert abs(centre[1][0]) < 1 < abs(centre[1][1])


def test_a_body_is_rendered_from_its_positions_or_from_what_its_observations_hold_of_them():
    generator = np.random.default_rng(0)
    observations = generator.normal(0, 0.1, (6, 11)) + np.eye(11)[0] * 1.25
    positions = np.concatenate([np.zeros((6, 1)), observations[:, :5]], 1)
    rendered = frames_of(dataset_of(observations, "Hopper-v5"), height=32).take(np.arange(6))
    stored = frames_of(dataset_of(np.zeros((6, 11)), "Hopper-v5", **{"infos/qpos": positions}), height=32)
    np.testing.assert_array_equal(rendered, stored.take(np.arange(6)))
    assert len({frame.tobytes() for frame in rendered}) == 6
    assert rendered.std() > 20


def test_frames_are_rendered_once(monkeypatch):
    dataset = dataset_of(np.zeros((6, 4)), "CartPole-v1")
    first = frames_of(dataset, height=16)
    monkeypatch.setattr(ClassicControlRenderer, "render", lambda *_: pytest.fail("rendered again"))
    assert frames_of(dataset, height=16).path == first.path


def test_a_rendering_that_fails_leaves_nothing(monkeypatch, tmp_path):
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ClassicControlRenderer, "render", fail)
    with pytest.raises(KeyboardInterrupt):
        frames_of(dataset_of(np.zeros((6, 4)), "CartPole-v1"))
    assert [path for path in (tmp_path / "home").rglob("*") if path.is_file()] == []


def test_progress_counts_the_frames():
    calls = []
    frames_of(dataset_of(np.zeros((6, 4)), "CartPole-v1"), height=16, progress=lambda *call: calls.append(call))
    assert calls == [(6, 6)]


def test_what_cannot_be_rendered_says_what_to_do(monkeypatch):
    with pytest.raises(ConfigError, match=r"neither; set info\.env_spec"):
        frames_of(dataset_of(np.zeros((6, 4))))
    with pytest.raises(UnknownNameError, match="image column"):
        frames_of(dataset_of(np.zeros((6, 4))), column="camera")
    with pytest.raises(ConfigError, match="row 3 of the states"):
        frames_of(dataset_of(np.where(np.arange(6) == 3, np.nan, 0.0)[:, None] * np.ones(4), "CartPole-v1"))
    with pytest.raises(ConfigError, match="infos/qpos has"):
        frames_of(dataset_of(np.zeros((6, 11)), "Hopper-v5", **{"infos/qpos": np.zeros((6, 2))}))
    with pytest.raises(ConfigError, match="need the state of the simulator"):
        frames_of(dataset_of(np.zeros((6, 11)), "Pusher-v5"))
    monkeypatch.setattr(ctypes.util, "find_library", lambda _: None)
    with pytest.raises(ConfigError, match="libegl1 libegl-mesa0 libgl1-mesa-dri, or libosmesa6"):
        frames_of(dataset_of(np.zeros((6, 11)), "Hopper-v5"))
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    with pytest.raises(ConfigError, match="apt-get install libosmesa6"):
        frames_of(dataset_of(np.zeros((6, 11)), "Hopper-v5"))
