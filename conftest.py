"""Shared fixtures: a private home for collected datasets, and small datasets made by hand."""

from __future__ import annotations

import os
import tempfile

import pytest

# One home for the whole session (all xdist workers), so that a catalog dataset is collected once.
os.environ.setdefault("ASSAY_HOME", os.path.join(tempfile.gettempdir(), f"assay-test-home-{os.getuid()}"))
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@pytest.fixture(autouse=True)
def _no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")
