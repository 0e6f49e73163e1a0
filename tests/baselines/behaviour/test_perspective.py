"""The data of the Dataset Perspective study: five datasets of each online run, which say whose they are."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import assay
from assay.baselines import Suite
from assay.baselines.behaviour.dqn import DQNConfig
from assay.baselines.behaviour.perspective import (
    PLANS,
    SMALL_PLANS,
    PerspectivePlan,
    main,
    make_perspective_data,
    run_seed,
    table_of,
)
from assay.datasets.errors import ConfigError

STEPS = 300
SCHEMES = ("random", "expert", "mixed", "noisy", "replay")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("perspective")
    config = DQNConfig(hidden=(16,), learning_rate=1e-2, exploration_steps=100, evaluation_episodes=2)
    plan = PerspectivePlan("CartPole-v1", config, STEPS, "smaller networks")
    make_perspective_data("cartpole", folder, lambda _: None, runs=2, plan=plan, workers=0)
    return folder


def test_every_run_has_five_datasets_of_as_many_steps_as_its_training(made: Path) -> None:
    content = json.loads((made / "cartpole" / "returns.json").read_text())
    assert list(content["runs"]) == ["0", "1"]
    assert [run["seed"] for run in content["runs"].values()] == [run_seed(0), run_seed(1)]
    for run in (0, 1):
        data = {name: assay.load(made / "cartpole" / f"run{run}" / name) for name in SCHEMES}
        for name, dataset in data.items():
            assert dataset.validate().ok
            assert (dataset.total_steps, dataset.info.id) == (STEPS, f"cartpole-run{run}/{name}")
        few = round(0.8 * STEPS)
        for column in ("actions", "rewards"):
            mixed = data["mixed"].column(column)
            np.testing.assert_array_equal(mixed[:few], data["random"].column(column)[:few])
            np.testing.assert_array_equal(mixed[few:], data["expert"].column(column)[: STEPS - few])
        assert data["mixed"].truncations[few - 1] or data["mixed"].terminations[few - 1]  # no false transition
        assert (data["noisy"].actions != data["expert"].actions).any()
    first, second = (assay.load(made / "cartpole" / f"run{run}" / "replay") for run in (0, 1))
    assert first != second


def test_scores_have_chance_at_0_and_the_runs_own_expert_at_100(made: Path) -> None:
    content = json.loads((made / "cartpole" / "returns.json").read_text())
    for run, described in content["runs"].items():
        references = assay.load(made / "cartpole" / f"run{run}" / "noisy").info.references
        expert, chance = described["measured"]["mean_return"], content["random"]["mean_return"]
        if expert > chance:
            assert references is not None
            assert (references.random, references.expert) == (chance, expert)
        else:
            assert references is None


def test_what_is_there_is_not_made_again_and_the_table_says_what_was_changed(made: Path) -> None:
    path = made / "cartpole" / "returns.json"
    before = path.read_bytes()
    told: list[str] = []
    make_perspective_data("cartpole", made, told.append, runs=2, steps=STEPS)
    assert (path.read_bytes(), told) == (before, [])
    header, _, row = table_of(made).splitlines()
    assert row.split("|")[1].strip() == "cartpole"
    assert row.split("|")[-2].strip() == "smaller networks"
    assert len(header.split("|")) == len(row.split("|"))


def test_datasets_of_another_size_are_not_mixed_in(made: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds datasets of 300 steps, not 400"):
        make_perspective_data("cartpole", made, lambda _: None, runs=3, steps=400)


def test_the_small_budget_makes_what_the_suites_small_budgets_train_on() -> None:
    suite = Suite.from_yaml(Path(__file__).parents[3] / "suites" / "dataset-perspective.yaml")
    made = {
        f"runs/perspective/{body}/run{run}/{scheme}"
        for body, plan in SMALL_PLANS.items()
        for run in range(plan.runs)
        for scheme in SCHEMES
    }
    parts = [suite.part_of(suite.budget(name)).sources_by_label for name in ("small", "small-minatar")]
    assert sorted(source for part in parts for source in part.values()) == sorted(made)
    assert {plan.steps for plan in SMALL_PLANS.values()} == {50_000}
    assert all(plan.changed or plan.config == PLANS[body].config for body, plan in SMALL_PLANS.items())


def test_the_command_that_made_the_data_names_its_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = PerspectivePlan("CartPole-v1", DQNConfig(hidden=(4,), evaluation_episodes=1), 60, "tiny", runs=1)
    monkeypatch.setitem(SMALL_PLANS, "cartpole", plan)
    path = make_perspective_data("cartpole", tmp_path, lambda _: None, budget="small", workers=0)
    content = json.loads(path.read_text())
    assert content["command"].endswith("perspective cartpole --budget small --runs 1 --steps 60")
    assert (content["settings"]["hidden"], content["changed"]) == ([4], "tiny")
    monkeypatch.setattr(sys, "argv", ["perspective", "lavagap", "--budget", "small", "--output", str(tmp_path)])
    with pytest.raises(SystemExit):
        main()
    assert "unknown environment 'lavagap'" in capsys.readouterr().err


def test_the_plans_are_the_published_ones_or_say_what_was_changed() -> None:
    published = {name: plan for name, plan in PLANS.items() if not plan.changed}
    assert PLANS.keys() - published.keys() == {"cartpole", "lavagap", "dynamic-obstacles"}
    assert {name: (plan.config.discount, plan.steps, plan.config.replay_size) for name, plan in published.items()} == {
        "mountaincar": (0.99, 100_000, 50_000),
        "breakout": (0.99, 2_000_000, 500_000),
        "space-invaders": (0.99, 2_000_000, 500_000),
    }
