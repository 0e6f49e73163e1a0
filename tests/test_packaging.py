"""A wheel and a source distribution install into clean environments and work from any folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
IGNORED = (".git", ".venv", "build", "dist", "*.egg-info", "__pycache__", ".mypy_cache", ".ruff_cache")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / "assay" / "datasets").is_symlink(), reason="needs a source checkout"),
]


def ignored(folder: str, names: list[str]) -> set[str]:
    """Leave out what is not in the repository; `runs` at the root are results, and further down code."""
    return shutil.ignore_patterns(*IGNORED, *(["runs"] if Path(folder) == ROOT else []))(folder, names)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build both distributions from a copy; the wheel is built from the sdist, as an index would."""
    source, output = tmp_path_factory.mktemp("source") / "assay", tmp_path_factory.mktemp("built")
    shutil.copytree(ROOT, source, symlinks=True, ignore=ignored)
    run([sys.executable, "-m", "build", "--outdir", str(output), str(source)])
    return output


def run(command: list[str], **options) -> str:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(command, capture_output=True, text=True, env=clean, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def clean_environment(folder: Path, distribution: Path) -> Path:
    """Install a distribution alone; what it depends on is lent from the environment that runs the tests."""
    run([sys.executable, "-m", "venv", str(folder)])
    python = folder / "bin" / "python"
    site = Path(run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip())
    import numpy

    # A .pth inside the lent folder is not processed, so an editable Assay in it stays invisible.
    (site / "lent.pth").write_text(str(Path(numpy.__file__).parent.parent))
    run([str(python), "-m", "pip", "install", "--quiet", "--no-deps", str(distribution)])
    return folder / "bin"


@pytest.mark.parametrize("kind", ["whl", "tar.gz"])
def test_a_distribution_works_in_a_clean_environment_from_another_folder(built, kind, tmp_path):
    (distribution,) = built.glob(f"*.{kind}")
    binaries = clean_environment(tmp_path / "environment", distribution)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    help_text = run([str(binaries / "assay"), "--help"], cwd=elsewhere)
    assert "datasets" in help_text
    code = (
        "import assay, assay.datasets, assay.metrics, assay.analysis, pathlib; from assay.datasets.collection.catalog"
        " import catalog; print(pathlib.Path(assay.datasets.__file__).resolve()); print(len(catalog()))"
    )
    where, entries = run([str(binaries / "python"), "-c", code], cwd=elsewhere).split()
    assert Path(where).is_relative_to((tmp_path / "environment").resolve())
    assert int(entries) > 10


def test_the_wheel_holds_every_room_and_its_data_and_no_tests(built):
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "assay/py.typed" in names
    for file in ROOT.glob("*/**/*"):
        room = file.relative_to(ROOT).parts[0]
        is_room = (ROOT / "assay" / room).is_symlink()
        if is_room and file.suffix in (".py", ".json", ".html", ".css", ".parquet") and "__pycache__" not in file.parts:
            assert f"assay/{file.relative_to(ROOT)}" in names
    assert not [name for name in names if name.startswith(("tests/", "datasets/", "benchmarks/"))]


def test_the_source_distribution_holds_what_a_developer_needs(built):
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    for name in ("Makefile", "constraints.txt", "suites/quickstart.yaml", "tests/test_packaging.py", "LICENSE"):
        assert name in names
