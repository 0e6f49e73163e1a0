"""One environment is one record: names and ids are told once, and what is made from them agrees."""

from __future__ import annotations

import subprocess
import sys

import gymnasium
import pytest

from assay.datasets.collection.catalog import BODIES, catalog
from assay.datasets.collection.scripted import SCRIPTED
from assay.datasets.environments.record import families, family_of, records
from assay.datasets.environments.worker import register_environments_of
from assay.datasets.info import reference_scores


def test_every_name_and_every_id_has_one_record() -> None:
    every = [record for family in families() for record in family.environments]
    names = [record.name for record in every if record.name]
    ids = [record.environment_id for record in every]
    assert len(names) == len(set(names)) == len(records())
    assert len(ids) == len(set(ids))


def test_the_catalog_has_the_environments_of_the_records_and_no_others() -> None:
    found = {entry.body: entry.environment_id for entry in catalog().values()}
    assert found == {name: record.environment_id for name, record in records().items()}
    assert {*BODIES, *SCRIPTED} == set(records())
    assert not set(BODIES) & set(SCRIPTED)


def test_own_environments_are_registered_as_their_records_say() -> None:
    register_environments_of("assay/SparsePendulum-v0")
    for record in records().values():
        assert record.environment_id.startswith("assay/") == (record.registration is not None)
        if record.registration is not None:
            spec = gymnasium.spec(record.environment_id)
            assert spec.entry_point == record.registration.entry_point
            assert spec.kwargs == dict(record.registration.kwargs)
            assert spec.max_episode_steps == record.registration.max_episode_steps


def test_an_id_belongs_to_the_family_whose_prefix_it_has() -> None:
    names = (
        "AntMaze_Large-v5",
        "MiniGrid-Empty-8x8-v0",
        "assay/MiniGrid-LavaGapS7-v0",
        "assay/MinAtar-Breakout-v0",
        "Hopper-v5",
        "x",
    )
    found = {name: family_of(name) for name in names}
    assert {name: None if family is None else family.extra for name, family in found.items()} == {
        "AntMaze_Large-v5": "robotics",
        "MiniGrid-Empty-8x8-v0": "minigrid",
        "assay/MiniGrid-LavaGapS7-v0": "minigrid",
        "assay/MinAtar-Breakout-v0": "minatar",
        "Hopper-v5": None,
        "x": None,
    }


def test_references_hold_for_every_version_of_a_body() -> None:
    for record in (record for family in families() for record in family.environments):
        for version in ("-v2", "-v4", "-v5"):
            scores = reference_scores(record.environment_id.rpartition("-v")[0] + version)
            assert (scores is not None) == (record.reference_returns is not None)
            if scores is not None:
                assert (scores.random, scores.expert) == record.reference_returns


def test_the_records_import_no_simulator() -> None:
    code = (
        "import sys; from assay.datasets.environments.record import records; records();"
        "assert not {'gymnasium', 'minigrid', 'mujoco', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_a_package_says_of_environments_that_nobody_asked_for_is_not_shown() -> None:
    asked = "from assay.datasets.environments.worker import register_environments_of as register; register({!r})"
    done = subprocess.run(
        [sys.executable, "-c", asked.format("PointMaze_UMaze-v3")], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("name", [name for name, task in SCRIPTED.items() if task.expert is not None])
def test_an_expert_is_discrete_where_its_environment_is(name: str) -> None:
    task = SCRIPTED[name]
    if (family := family_of(task.environment_id)) and family.module:
        pytest.importorskip(family.module)
    register_environments_of(task.environment_id)
    space = gymnasium.make(task.environment_id).action_space
    assert task.discrete == isinstance(space, gymnasium.spaces.Discrete)
    mixed = {f"{name}/mixed", f"{name}/noisy"}  # of numbered actions, whose noise is the probability of a uniform one
    assert mixed <= set(catalog()) if task.discrete and task.detour is None else not mixed & set(catalog())
