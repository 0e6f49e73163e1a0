"""A flipped bit or a cut in any file of Assay's own is found and named, or changes nothing. Formats of datasets and run folders have tests
of their own (`tests/datasets/formats/fuzz.py`, `tests/baselines/runs`)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import assay
from assay.datasets.collection.network_policy import NetworkPolicy
from assay.datasets.collection.policies import LinearPolicy
from assay.datasets.collection.policy_file import open_policy_file, write_policy_file
from assay.datasets.errors import AssayError
from assay.relabeling import read_progress, write_progress
from assay.relabeling.frames import frames_of
from assay.relabeling.judges.store import Answer, AnswerStore, Question

Read = Callable[[], Any]
ROUNDS = 120


def linear_policy(folder: Path) -> tuple[Path, Read]:
    path = folder / "policy.json"
    policy = LinearPolicy(weights=np.ones((1, 3)) / 3, mean=np.zeros(3), std=np.ones(3))
    write_policy_file(path, "Pendulum-v1", policy, {"seed": 3, "returns": [1.5, 2.5]})

    def read() -> Any:
        found = open_policy_file(path)
        return found.environment_id, found.policy.to_dict(), dict(found.training)

    return path, read


def network_policy(folder: Path) -> tuple[Path, Read]:
    path = folder / "actor.safetensors"
    generator = np.random.default_rng(0)
    weights = [generator.normal(size=shape).astype(np.float32) for shape in ((3, 4), (4, 1))]
    biases = [np.zeros(4, np.float32), np.zeros(1, np.float32)]
    low, high = np.array([-2.0], np.float32), np.array([2.0], np.float32)
    write_policy_file(path, "Pendulum-v1", NetworkPolicy(weights, biases, "tanh", low, high), {"seed": 3})

    def read() -> Any:
        found = open_policy_file(path)
        policy = found.policy
        assert isinstance(policy, NetworkPolicy)
        arrays = [array.tolist() for array in (*policy.weights, *policy.biases, policy.low, policy.high)]
        return found.environment_id, policy.head, policy.activation, policy.stochastic, arrays, dict(found.training)

    return path, read


def progress(folder: Path) -> tuple[Path, Read]:
    dataset = assay.load("pendulum/random", steps=400)
    path = folder / "mine_progress.parquet"
    write_progress(path, dataset, dense=np.linspace(0, 1, dataset.total_steps))
    return path, lambda: read_progress(path, dataset).dense.tolist()


def answers(folder: Path) -> tuple[Path, Read]:
    path = folder / "answers.sqlite"
    question = Question("judge", "1", "a goal")
    names = [bytes([number]) * 16 for number in range(40)]
    with AnswerStore(path) as store:
        for number, name in enumerate(names):
            store.add(question, name, b"", Answer(number / 40, reply=f"reply {number}", cost=0.25))
        store._connection.execute("PRAGMA journal_mode = DELETE")

    def read() -> Any:
        with AnswerStore(path) as store:
            return [store.find(question, name) for name in names]

    return path, read


def frames(folder: Path) -> tuple[Path, Read]:
    dataset = assay.load("pendulum/random", steps=200)
    source = frames_of(dataset, height=16)
    (path,) = (folder / "frames").glob("*.h5")
    return path, lambda: frames_of(dataset, height=16).take(np.arange(source.rows)).tolist()


MAKERS = [linear_policy, network_policy, progress, answers, frames]


@pytest.mark.parametrize("make", MAKERS, ids=[make.__name__ for make in MAKERS])
@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_damage_is_named_or_changes_nothing(make, damage, tmp_path, monkeypatch):
    monkeypatch.setenv("ASSAY_HOME", str(tmp_path))
    path, read = make(tmp_path)
    truth, content = read(), path.read_bytes()
    generator = np.random.default_rng(0)
    found = 0
    for _ in range(ROUNDS):
        spoilt = bytearray(content)
        place = int(generator.integers(len(content)))
        if damage == "flip":
            spoilt[place] ^= 1 << int(generator.integers(8))
        else:
            del spoilt[place:]
        path.write_bytes(bytes(spoilt))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = value_or_refusal(read)
        if isinstance(result, AssayError):
            assert path.name in str(result)
            found += 1
        else:
            assert same(result, truth, make), f"{damage} at byte {place} changes what is read"
    assert found > ROUNDS / 25  # much of a store is empty pages


def value_or_refusal(read: Read) -> Any:
    try:
        return read()
    except AssayError as error:
        return error


def same(value: Any, truth: Any, make: Any) -> bool:
    """Tell whether nothing changed; an answer that is gone is asked for again, which is no other answer."""
    if make is answers:
        return all(own is None or own == other for own, other in zip(value, truth, strict=True))
    return value == truth
