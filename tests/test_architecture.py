"""The house of the design: rooms, allowed arrows, light imports, one way to import."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("datasets", "corruption", "augmentation", "relabeling", "reweighting", "metrics", "baselines", "analysis")
TRANSFORMS = {"corruption", "augmentation", "relabeling", "reweighting"}
ALLOWED = {
    "datasets": set(),
    **{room: {"datasets"} for room in TRANSFORMS},
    "metrics": {"datasets"},
    "baselines": {"datasets"},
    "analysis": {"datasets"},
}
OPENED_BY_NAME = {  # what is imported only when it is asked for, and through a protocol or registry of the room that asks
    ("baselines/__init__.py", "*"): "names of its own modules, when they are first used",
    ("datasets/environments/worker.py", "*"): "modules that register environments, as Gymnasium ids name them",
    ("datasets/registry.py", "*"): "what can be extended registers itself in the packages that its registry names",
    (
        "corruption/attacks/victim.py",
        "baselines",
    ): "a run folder, given as a victim, is opened by the room that writes them",
}


def imported_rooms(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found |= {name.split(".")[1] for name in names if name.startswith("assay.")}
    return found & set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_the_rooms_it_may(room):
    for file in (ROOT / room).rglob("*.py"):
        assert imported_rooms(file) <= ALLOWED[room] | {room}, file


def test_no_room_opens_another_by_name_but_those_that_are_listed():
    found = set()
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "import_module":
                    name = ast.unparse(node.args[0]).removeprefix("f").strip("'")
                    opened = name.split(".")[1] if name.startswith("assay.") else "*"  # or an expression
                    found.add((file.relative_to(ROOT).as_posix(), "*" if opened.startswith("{") else opened))
    allowed = {(file, opened) for file, opened in found if opened == file.partition("/")[0]}
    assert found - allowed == set(OPENED_BY_NAME)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_a_relative_symlink_in_the_package(room):
    link = ROOT / "assay" / room
    if not link.is_symlink():
        pytest.skip("an installed or unpacked copy has folders instead")
    assert str(link.readlink()) == f"../{room}"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_cannot_be_imported_under_another_name(room):
    code = f"import {room}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"import this package as assay.{room}" in done.stderr


def test_importing_assay_is_light_and_its_datasets_pull_in_no_simulator_or_torch():
    code = (
        "import sys, json, assay; light = sorted(sys.modules); import assay.datasets, assay.metrics, assay.corruption;"
        "print(json.dumps([light, sorted(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    light, more = json.loads(done.stdout)
    heavy = {"torch", "gymnasium", "mujoco", "matplotlib", "minari"}
    assert not heavy & set(light)
    assert not {"numpy", "polars"} & set(light)
    assert not heavy & set(more)


def test_training_code_needs_only_torch_numpy_and_pydantic():
    allowed = {"torch", "numpy", "pydantic", "assay"}
    code = (
        "import sys; before = set(sys.modules);"
        "import assay.baselines;"
        "print('\\n'.join(sorted({name.split('.')[0] for name in set(sys.modules) - before})))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    forbidden = {"polars", "pandas", "h5py", "gymnasium", "mujoco", "safetensors", "pyarrow", "yaml", "scipy"}
    forbidden |= {"ray", "wandb", "tensorboard", "rich"}
    assert not forbidden & set(done.stdout.split()), allowed


def test_no_code_reads_pickle_or_evaluates_text():
    for room in (*ROOMS, "assay"):
        for file in (ROOT / room).rglob("*.py"):
            tree = ast.parse(file.read_text())
            for node in ast.walk(tree):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    names = [alias.name for alias in node.names] + [getattr(node, "module", "") or ""]
                    assert not {"pickle", "dill", "joblib", "shelve", "marshal"} & set(names), file
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    assert node.func.id not in ("eval", "exec"), file
                if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                    assert isinstance(node.value, ast.Constant), file
                    assert node.value.value is False, file
