"""Shared by all tests: a private home for collected datasets, threads that wait passively, no display."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

import pytest
from hypothesis import HealthCheck, settings

# No test depends on how fast the machine is.
settings.register_profile("assay", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("assay")

if "ASSAY_HOME" not in os.environ:
    # One home for the session: the processes of pytest-xdist inherit it, so a catalog dataset is collected once.
    os.environ["ASSAY_HOME"] = tempfile.mkdtemp(prefix="assay-test-home-")
    atexit.register(shutil.rmtree, os.environ["ASSAY_HOME"], ignore_errors=True)
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the examples of a function once, where it is defined, and not again where a package offers it by `name_wrong_arguments`."""
    items[:] = [item for item in items if not (isinstance(item, pytest.DoctestItem) and _is_offered_again(item))]


def _is_offered_again(item: pytest.DoctestItem) -> bool:
    examples = item.dtest
    offered = None if examples is None else examples.globs.get(examples.name.rpartition(".")[2])
    return item.path.name == "__init__.py" and hasattr(offered, "__wrapped__")


@pytest.fixture(autouse=True)
def _no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")
