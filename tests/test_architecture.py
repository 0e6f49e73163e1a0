"""The house of the design: rooms, allowed arrows, light imports, one way to import."""

from __future__ import annotations

import ast
import importlib.util
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
LIGHT = {"assay.baselines.runs.reader", "assay.baselines.runs.schema"}  # import neither torch nor an algorithm
ENGINE = (  # what rooms of transforms may import of baselines
    "assay.baselines.engine.",
    "assay.baselines.dynamics.",
    "assay.baselines.diffusion.",
    "assay.baselines.networks",
    "assay.baselines.algorithms.algorithm",
)
OPENED_BY_NAME = {  # what is imported only when it is asked for, and through a protocol or registry of the room that asks
    ("baselines/__init__.py", "*"): "names of its own modules, when they are first used",
    ("datasets/environments/worker.py", "*"): "modules that register environments, as Gymnasium ids name them",
    ("baselines/training/sending.py", "*"): "a training process imports the module of an algorithm that it is sent",
    ("datasets/registry.py", "*"): "what can be extended registers itself in the packages that its registry names",
    ("datasets/plotting.py", "analysis"): "Dataset.plot opens the figures of the card when somebody draws",
    (
        "analysis/trials/asked.py",
        "baselines",
    ): "what a trial is asked to train is compared with that room's algorithms and evaluations",
    ("analysis/trials/trial.py", "baselines"): "a trial is trained by the room that trains, when it is started",
    ("analysis/values/training.py", "baselines"): "subsets are trained by the room that trains",
    (
        "datasets/collection/policies_by_path.py",
        "baselines",
    ): "a run folder, given as a policy, is opened by the room that writes them",
    (
        "corruption/attacks/victim.py",
        "baselines",
    ): "a run folder, given as a victim, is opened by the room that writes them",
}


@pytest.fixture(scope="module")
def drawing():
    """The script that draws docs/architecture.md; it reads the imports and the page's tables."""
    specification = importlib.util.spec_from_file_location("drawing", ROOT / "docs" / "make_architecture_drawing.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_code_imports_what_the_page_allows_and_every_room_has_a_row(drawing):
    assert drawing.disagreements() == []


def imported_of_baselines(room):
    found = set()
    for file in (ROOT / room).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found |= {name for name in names if name.startswith("assay.baselines")}
    return found


def test_analysis_imports_of_baselines_the_readers_of_run_folders_only():
    assert imported_of_baselines("analysis") == LIGHT


@pytest.mark.parametrize("room", ["augmentation", "relabeling", "reweighting"])
def test_rooms_that_train_import_of_baselines_the_engine_its_networks_and_models_and_the_contract_only(room):
    found = imported_of_baselines(room)
    assert found
    assert {name for name in found if not name.startswith(ENGINE)} == set()


def test_reading_runs_needs_no_torch():
    code = "import sys, assay.analysis; print(sorted({'torch', 'gymnasium', 'pandas', 'ray'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_room_may_import_datasets_alone_and_datasets_none(drawing):
    between = {
        (source, target)
        for source, target in drawing.arrows_of_page()
        if not target.startswith(drawing.room_of(source))
    }
    between = {(source, target) for source, target in between if source != drawing.COMMAND_LINE}
    excepted = {
        (source, target)
        for source, target in between
        if source.partition("/")[0] in ("analysis", "augmentation", "relabeling", "reweighting")
    }
    assert {target for _, target in excepted} == {"datasets", "baselines"}  # of these what the tests above say
    assert {target for _, target in between - excepted} == {"datasets"}
    assert {source.partition("/")[0] for source, _ in between} == {*ROOMS} - {"datasets"}


def test_the_drawing_holds_the_arrows_of_the_code(drawing):
    assert drawing.arrows_of_drawing() == drawing.arrows_to_draw(), "run python docs/make_architecture_drawing.py"


def test_an_import_that_is_not_allowed_is_named(drawing, monkeypatch, tmp_path):
    file = tmp_path / "wrong.py"
    file.write_text("from assay.baselines import train\nimport assay.datasets.formats.npz\n")
    monkeypatch.setattr(drawing, "files", lambda: [("metrics", file)])
    wrong = [text for text in drawing.disagreements() if "imports" in text]
    assert wrong == ["metrics imports baselines, which architecture.md does not allow"]


def test_no_room_opens_another_by_name_but_those_that_are_listed(drawing):
    assert drawing.opened_by_name() == set(OPENED_BY_NAME)


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
        "import assay.relabeling, assay.reweighting;"
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
