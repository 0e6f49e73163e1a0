"""Real files that nobody here made: read, validated as their README says, converted there and back, learned from."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import assay
from assay.datasets import Dataset
from assay.datasets.errors import AssayWarning, DatasetError
from assay.datasets.formats import format_named, sniff, writable_formats

SHARED = Path(__file__).parents[2] / "../shared/data"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared")

# file -> (format, steps, episodes, findings of validate() with their counts)
UNENDED = {"episode end", "final observation"}  # recordings of observations and actions alone
FILES: dict[str, tuple[str, int, int, dict[str, int]]] = {
    "minari/halfcheetah/random-v0": ("minari", 20_000, 20, {}),
    "minari/halfcheetah/sac-v0": ("minari", 100_000, 100, {}),
    "minari/hopper/random-v0": ("minari", 20_000, 889, {}),
    "minari/hopper/sac-v0": ("minari", 100_000, 241, {}),
    "minari/hopper/tqc-v0": ("minari", 100_000, 111, {}),
    "npz/adroit_door_human_demos.npz": ("npz", 6_729, 25, dict.fromkeys(UNENDED, 25)),
    "npz/expert_cartpole.npz": ("stable_baselines", 49_527, 100, dict.fromkeys(UNENDED, 100) | {"constant": 1}),
    "npz/expert_pendulum.npz": ("stable_baselines", 20_000, 100, dict.fromkeys(UNENDED, 100)),
    "npz/imitation_cartpole_0_expert_rollouts.npz": ("imitation", 26_964, 57, {"constant": 1}),
    "npz/imitation_pendulum_0_expert_rollouts.npz": ("imitation", 11_200, 56, {}),
    "neorl2/DMSD-high-100000-train.npz": ("neorl", 100_000, 1_000, {}),
    "neorl2/DMSD-high-20000-val.npz": (
        "neorl",
        20_000,
        200,
        {"duplicate state-actions": 10, "duplicate transitions": 3},
    ),
    "neorl2/Fusion-high-20000-val.npz": ("neorl", 20_000, 200, {}),
    "neorl2/Pipeline-high-100000-train.npz": (
        "neorl",
        100_000,
        100,
        {"duplicate state-actions": 79, "duplicate transitions": 78},
    ),
    "neorl2/Pipeline-high-20000-val.npz": ("neorl", 20_000, 20, {"constant": 1}),
    "neorl2/SafetyHalfCheetah-high-100000-train.npz": ("neorl", 18_000, 18, {"size in name": 1}),
    "neorl2/SafetyHalfCheetah-high-20000-val.npz": ("neorl", 2_000, 2, {"size in name": 1}),
    "neorl2/Salespromotion-high-20000-val.npz": (
        "neorl",
        20_000,
        400,
        {"duplicate state-actions": 535, "duplicate transitions": 478},
    ),
}
CONVERTED = [name for name, (_, steps, episodes, _) in FILES.items() if steps <= 20_000 and episodes <= 100]
LOSES_FINAL = {"lerobot", "d3rlpy", "ogbench"}  # the final observation of an episode, or the step that needs it


def read(path: Path) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AssayWarning)  # recordings without flags say so
        return assay.load(path)


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_recognized_and_validates_as_its_readme_says(name: str) -> None:
    format_name, steps, episodes, findings = FILES[name]
    assert sniff(SHARED / name) == format_name
    dataset = read(SHARED / name)
    assert (dataset.total_steps, dataset.total_episodes) == (steps, episodes)
    assert {finding.check: finding.count for finding in dataset.validate().findings} == findings


@pytest.mark.parametrize("name", FILES)
def test_exactly_one_format_claims_a_file_besides_those_that_need_a_mapping(name: str) -> None:
    from assay.datasets.formats import FORMATS

    claiming = [item for item in FORMATS if item not in ("npz", "hdf5") and format_named(item).sniff(SHARED / name)]
    assert claiming in ([FILES[name][0]], [] if FILES[name][0] == "npz" else [FILES[name][0]])


@pytest.mark.parametrize("format_name", [name for name in writable_formats() if name not in ("dsrl", "mcap")])
@pytest.mark.parametrize("name", CONVERTED)
def test_a_file_converts_to_a_format_and_back(name: str, format_name: str, tmp_path: Path) -> None:
    dataset = read(SHARED / name)
    folder = format_named(format_name).LAYOUT.startswith("folder")
    target = tmp_path / ("converted-v0" if folder else "converted.bin")
    lasts = dataset.episode_starts + dataset.episode_lengths - 1
    unended = not (dataset.terminations | dataset.truncations)[lasts].all()
    unknown = not dataset.final_observations_known.all()
    if (format_name == "d4rl" and unended) or (format_name == "minari" and unknown):
        with pytest.raises(DatasetError, match=r"episode 0"):
            assay.save(dataset, target, format=format_name)
        assert not target.exists()
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AssayWarning)
        drop = ["rewards", "terminations"] if format_name == "ogbench" else []
        assay.save(dataset, target, format=format_name, drop=drop)
        back = assay.load(target)
    before, after = usable(dataset, format_name), usable(back, format_name)
    assert before.keys() == after.keys()
    for key in before:
        assert before[key].dtype == after[key].dtype, key
        assert np.array_equal(before[key], after[key]), key


def usable(dataset: Dataset, format_name: str) -> dict[str, np.ndarray]:
    """What a format keeps of the data: rows of steps, or of transitions inside the episodes."""
    if format_name not in LOSES_FINAL:
        transitions = dataset.transitions(dtype=dataset.observations.dtype)
        kept = ("observations", "actions", "rewards", "next_observations", "terminations", "truncations")
        return {key: getattr(transitions, key) for key in kept}
    inside = np.ones(dataset.total_steps, bool)
    if format_name == "ogbench" and not dataset.final_observations_known.any():
        inside[dataset.episode_starts + dataset.episode_lengths - 1] = False
    rows = {"observations": dataset.observations[dataset.observation_rows][inside], "actions": dataset.actions[inside]}
    return rows if format_name == "ogbench" else rows | {"rewards": dataset.rewards, "flags": dataset.terminations}


@pytest.mark.parametrize("name", FILES)
def test_every_file_can_be_learned_from(name: str, tmp_path: Path) -> None:
    from assay.baselines import BC, Job, train

    dataset = read(SHARED / name)
    (run,) = train(
        [Job(algorithm=BC(), dataset=dataset, seed=0)], steps=100, evaluation=None, device="cpu", runs=tmp_path
    )
    losses: Any = run.curves
    assert run.status == "finished"
    assert np.isfinite(losses["value"].to_numpy()).all()
    observations = dataset.observations[:5].astype(np.float32)
    assert np.isfinite(run.policy(observations)).all()
