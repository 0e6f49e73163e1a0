"""Former names of modules import the same modules, with a warning."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec

import pytest

import assay  # noqa: F401  (makes the former names importable)
from assay.moved import MOVED


@pytest.mark.parametrize("former", sorted(MOVED))
def test_a_former_name_imports_the_module_that_has_moved(former: str) -> None:
    sys.modules.pop(former, None)
    with pytest.warns(DeprecationWarning, match=f"{former} is now {MOVED[former]}"):
        module = import_module(former)
    assert module is sys.modules[MOVED[former]]
    assert module.__spec__ is not None
    assert module.__spec__.name == MOVED[former]


def test_a_former_name_hides_no_public_name_and_leads_somewhere() -> None:
    for former, name in MOVED.items():
        assert find_spec(name) is not None, name
        package, _, last = former.rpartition(".")
        assert last not in getattr(sys.modules.get(package), "__all__", ()), former


def test_a_former_name_runs_as_a_script() -> None:
    code = "import sys, runpy; sys.argv = ['x']; runpy.run_module('assay.baselines.online.chain_that_is_not_there')"
    done = subprocess.run([sys.executable, "-c", f"import assay; {code}"], capture_output=True, text=True)
    assert "No module named" in done.stderr
    script = "import assay, runpy; runpy.run_module('assay.baselines.online.checkpoints', run_name='script')"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
