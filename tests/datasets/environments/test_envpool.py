"""EnvPool's copies behind the pool's interface: an episode depends on its seed alone."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from assay.datasets.environments.envpool import EnvPoolEnvironments
from assay.datasets.errors import ConfigError


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "envpool", None)
    with pytest.raises(ConfigError, match=r"pip install 'assay\[envpool\]'"):
        EnvPoolEnvironments("Hopper-v5", 1)


def episodes(slots: list[int], seeds: list[int], threads: int = 2) -> list[tuple[float, ...]]:
    """Rewards of whole episodes under fixed actions."""
    actions = np.random.default_rng(0).uniform(-1, 1, (1000, 3))
    found: dict[int, list[float]] = {slot: [] for slot in slots}
    with EnvPoolEnvironments("Hopper-v5", 8, threads) as pool:
        pool.reset(np.array(slots), np.array(seeds))
        running = list(slots)
        while running:
            pool.step_async(np.array(running), np.stack([actions[len(found[slot])] for slot in running]))
            observations, rewards, terminations, truncations = pool.step_wait()
            assert observations.shape == (len(running), 11)
            for slot, reward in zip(running, rewards):
                found[slot].append(float(reward))
            running = [slot for slot, over in zip(running, terminations | truncations) if not over]
    return [tuple(found[slot]) for slot in slots]


def test_an_episode_depends_on_its_seed_and_not_on_slot_company_order_or_threads():
    pytest.importorskip("envpool")
    first = episodes([0, 1, 2], [5, 6, 7])
    assert len(set(first)) == 3
    assert episodes([6, 3, 4], [7, 5, 6], threads=1) == [first[2], first[0], first[1]]
    assert episodes([5], [6]) == [first[1]]


def test_evaluations_on_envpool_are_explicit_and_repeat(tmp_path):
    pytest.importorskip("envpool")
    from assay.baselines import BC, Evaluation, Job, train
    from tests.baselines.problems import pendulum_like

    jobs = [Job(BC(hidden=(8,)), pendulum_like(), seed) for seed in (0, 1)]
    evaluation = Evaluation(episodes=3, engine="envpool", every=4)
    runs = train(jobs, steps=8, runs=tmp_path / "first", evaluation=evaluation)
    again = train(jobs, steps=8, runs=tmp_path / "again", evaluation=evaluation, workers=1)
    plain = train(jobs, steps=8, runs=tmp_path / "first", evaluation=Evaluation(episodes=3, every=4), workers=0)
    for run, other, gymnasium in zip(runs, again, plain):
        assert run.status == "finished", run.error
        assert run.returns.tolist() == other.returns.tolist()
        assert run.folder != gymnasium.folder
        assert (run.returns < 0).all()
    with pytest.raises(ConfigError, match="EnvPool has no environment NoSuch-v0"):
        EnvPoolEnvironments("NoSuch-v0", 1)
