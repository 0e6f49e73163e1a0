"""The documentation site builds, and no link of it leads nowhere."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("datasets", "corruption", "augmentation", "relabeling", "reweighting", "metrics", "baselines", "analysis")


@pytest.mark.slow
def test_every_page_and_link_is_there(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = {path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*.html")}
    assert {"index.html", "your-data.html", "reference/metrics.html"} <= pages
    assert 'src="http' not in (tmp_path / "site/index.html").read_text()  # nothing is fetched from elsewhere
    for room in ROOMS:
        page = (tmp_path / f"site/reference/{room}.html").read_text()
        described = {name.rpartition(".")[2] for name in re.findall(r'id="(assay\.[^"]+)"', page)}
        assert set(importlib.import_module(f"assay.{room}").__all__) <= described, room
        assert "Parameters" in page


@pytest.mark.slow
def test_a_link_that_leads_nowhere_fails(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text("[absent](absent.md), [no heading](#absent)")
    validation = (ROOT / "mkdocs.yml").read_text().partition("validation:")[2]
    (tmp_path / "mkdocs.yml").write_text(f"site_name: x\nvalidation:{validation}")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "absent.md" in done.stderr
    assert "#absent" in done.stderr
