"""The commands of the Makefile: what they run, and what they say first."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}  # also below make
pytestmark = pytest.mark.skipif(not (ROOT / "Makefile").exists(), reason="needs a source checkout")


def commands(*arguments: str) -> list[str]:
    """Return what make would run, and run nothing."""
    done = subprocess.run(
        ["make", "--dry-run", *arguments], env=ENVIRONMENT, cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize("budget", ["demo", "smoke", "small"])
def test_the_demo_says_first_how_long_it_takes(budget):
    first, *others = commands("demo", f"BUDGET={budget}")
    assert "echo" in first
    assert f"the budget '{budget}': about" in first
    assert "minutes in all" in first
    assert any(f"assay run suites/quickstart.yaml --budget {budget}" in command for command in others)


def test_the_demo_has_a_budget_of_its_own_and_answers_with_intervals():
    assert any("--budget demo" in command for command in commands("demo"))
    suite = yaml.safe_load((ROOT / "suites" / "quickstart.yaml").read_text())
    assert suite["budgets"].keys() >= {"smoke", "demo", "small", "paper"}
    assert len(suite["budgets"]["demo"].get("seeds", suite["seeds"])) >= 3


def test_slow_tests_run_in_ci_and_not_in_make_test():
    quick, everything = (
        [line for line in commands(target) if "pytest -n" in line and "nbmake" not in line]
        for target in ("test", "test-all")
    )
    assert ['-m "not slow"' in line for line in quick] == [True]
    assert ["slow" in line for line in everything] == [False]
    assert "make test-all" in (ROOT / ".ci" / "run").read_text()
