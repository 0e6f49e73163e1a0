"""The blocks of docs/contract.md, run in order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from assay.baselines.algorithms.algorithm import Algorithm

PAGE = Path(__file__).parent.parent / "docs" / "contract.md"


def test_the_blocks_of_the_page_run(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks))
    import runpy

    try:
        runpy.run_path(str(script))
    finally:
        Algorithm.registry.remove("calm_cloning")
