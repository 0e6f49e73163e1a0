"""The neural policies that ship: small, documented, and as good as their names say."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pytest

import assay.datasets.collection
from assay.datasets.collection.catalog import BODIES, catalog, find, read_actors, shipped_policies
from assay.datasets.collection.network_policy import NetworkPolicy
from assay.datasets.collection.policy_file import open_policy_file
from assay.datasets.collection.policy_returns import episode_returns
from assay.datasets.environments.pool import EnvironmentPool

FOLDER = Path(str(assay.datasets.collection.__path__[0])) / "policies"
NAMES = [f"{body}/{level}" for body in BODIES for level in read_actors(body)]
BANDS = {"simple": (12, 22), "medium": (28, 40), "expert": (100 - 1e-9, np.inf)}


def file_of(name: str) -> Path:
    return FOLDER / f"{name.replace('/', '-')}.safetensors"


def test_every_file_is_in_the_catalog() -> None:
    assert NAMES
    assert sorted(file_of(name).name for name in NAMES) == sorted(file.name for file in FOLDER.glob("*.safetensors"))
    assert set(NAMES) <= set(catalog())


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_small_and_tells_how_it_was_made(name: str) -> None:
    assert file_of(name).stat().st_size < 500_000
    file = open_policy_file(file_of(name))
    body, _, level = name.partition("/")
    training = file.training
    assert file.environment_id == shipped_policies(body)["environment_id"]
    # Recorded under the module's former name, which still runs (tests/test_moved.py).
    assert training["command"] == f"python -m assay.baselines.online.train_actors {body}"
    assert training["algorithm"].lower() == level.partition("-")[0]
    assert {"gymnasium", "mujoco", "numpy", "torch"} == set(training["versions"])
    curve = training["learning_curve"]
    assert curve["steps"] == sorted(set(curve["steps"]))
    assert training["steps"] in curve["steps"]
    assert len(curve["mean_return"]) == len(curve["std_return"]) == len(curve["steps"]) > 5
    assert isinstance(file.policy, NetworkPolicy)
    assert file.policy.stochastic == (training["algorithm"] == "SAC")


@pytest.mark.parametrize("name", NAMES)
def test_a_level_earned_what_its_name_says(name: str) -> None:
    measured = open_policy_file(file_of(name)).training["measured"]
    assert measured["episodes"] == len(measured["returns"]) == 100
    assert measured["mean_return"] == pytest.approx(np.mean(measured["returns"]))
    references = shipped_policies(name.partition("/")[0])["references"]
    low, high = references["random_return"], references["expert_return"]
    floor, ceiling = BANDS[name.rpartition("-")[2]]
    assert floor <= 100 * (measured["mean_return"] - low) / (high - low) <= ceiling
    assert f"mean return {measured['mean_return']:.0f} over 100 episodes" in find(name).description


@pytest.mark.parametrize("name", NAMES)
def test_measured_returns_can_be_measured_again(name: str) -> None:
    file = open_policy_file(file_of(name))
    training = file.training
    try:
        here = {package: version(package) for package in training["versions"] if package != "torch"}
    except PackageNotFoundError as error:
        pytest.skip(f"{error.name} is not installed")
    recorded = {package: each for package, each in training["versions"].items() if package != "torch"}
    if here != recorded or platform.machine() != training["machine"]:
        pytest.skip("measured with other versions of the simulator")
    first = training["measured"]["first_seed"]
    with EnvironmentPool(file.environment_id, 2, workers=0) as pool:
        returns, _ = episode_returns(pool, file.policy, range(first, first + 2))
    assert returns.tolist() == training["measured"]["returns"][:2]


@pytest.mark.parametrize("name", NAMES)
def test_its_data_can_be_loaded_by_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_HOME", str(tmp_path))
    dataset = assay.load(name, steps=300)
    assert dataset.total_steps == 300
    assert dataset.validate().ok
    assert "arXiv" in dataset.info.description
    assert dataset == assay.replay(dataset.history)
