"""The house of the design: rooms, allowed arrows, light imports, one way to import."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
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
    "analysis": {"datasets", "baselines"},  # of baselines the readers of run folders only: LIGHT
}
LIGHT = {"assay.baselines.runs.reader", "assay.baselines.runs.schema"}  # import neither torch nor an algorithm
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


def test_analysis_imports_of_baselines_the_readers_of_run_folders_only():
    found = set()
    for file in (ROOT / "analysis").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found |= {name for name in names if name.startswith("assay.baselines")}
    assert found == LIGHT


def test_reading_runs_needs_no_torch():
    code = "import sys, assay.analysis; print(sorted({'torch', 'gymnasium', 'pandas', 'ray'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


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
    code = (
        "import sys, assay.baselines; from assay.baselines import Job, Run, algorithms, train; algorithms();"
        "print('\\n'.join(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    imported = distributions(set(done.stdout.split()))
    assert imported <= needed_by({"torch", "numpy", "pydantic"}) | loaded_by("torch, numpy, pydantic") | {"assay"}
    assert {"torch", "numpy", "pydantic"} <= imported


def needed_by(names: set[str]) -> set[str]:
    """Return these distributions and all that they require."""
    found: set[str] = set()
    open_ = [canonical(name) for name in names]
    while open_:
        if (name := open_.pop()) in found:
            continue
        found.add(name)
        with suppress(PackageNotFoundError):
            wanted = [text for text in requires(name) or [] if "extra ==" not in text]
            open_ += [canonical(re.split(r"[^A-Za-z0-9._-]", text)[0]) for text in wanted]
    return found


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def loaded_by(modules: str) -> set[str]:
    """Return the distributions that are loaded once these modules are, such as what torch uses where it is there."""
    code = f"import sys, {modules}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return distributions(set(done.stdout.split()))


def distributions(modules: set[str]) -> set[str]:
    return {canonical(provider) for name in modules for provider in _providers().get(name, [])}


@cache
def _providers() -> Mapping[str, list[str]]:
    return packages_distributions()


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
