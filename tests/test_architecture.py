"""The house of the design: rooms, allowed arrows, light imports, one way to import."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("datasets", "corruption", "augmentation", "relabeling", "reweighting", "metrics", "baselines", "analysis")
OPENED_BY_NAME = {  # what is imported only when it is asked for, and through a protocol or registry of the room that asks
    ("baselines/__init__.py", "*"): "names of its own modules, when they are first used",
    ("datasets/environments/worker.py", "*"): "modules that register environments, as Gymnasium ids name them",
    ("datasets/registry.py", "*"): "what can be extended registers itself in the packages that its registry names",
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


def test_a_room_may_import_datasets_alone_and_datasets_none(drawing):
    between = {
        (source, target)
        for source, target in drawing.arrows_of_page()
        if not target.startswith(drawing.room_of(source))
    }
    between = {(source, target) for source, target in between if source != drawing.COMMAND_LINE}
    assert {target for _, target in between} == {"datasets"}
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
