# Two commands on a fresh machine: `make demo` and `make test`. Both set up .venv themselves. `make test` leaves out the
# tests that are marked slow; `make test-all` runs everything.

PYTHON ?= python3
VENV ?= .venv
BUDGET ?= demo
RUNS ?= runs/quickstart-$(BUDGET)

BIN := $(VENV)/bin
export OMP_WAIT_POLICY := passive

# On two cores of 2020 to 2025, with a connection of 100 Mbit/s or more for what pip installs.
DURATION_smoke := 2 minutes
DURATION_demo := 5 minutes
DURATION_small := 20 minutes

.PHONY: demo announce test test-all lint types unit unit-all notebook site clean

demo: announce $(VENV)/installed
	$(BIN)/assay run suites/quickstart.yaml --budget $(BUDGET) --runs $(RUNS)
	$(BIN)/assay report $(RUNS) -o report.html

announce:
	@echo "Installing, then the quickstart suite with the budget '$(BUDGET)': $(if $(DURATION_$(BUDGET)),about $(DURATION_$(BUDGET)) in all,'assay run --dry-run' estimates the time)."

test: lint types unit notebook

test-all: lint types unit-all notebook

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed-test
	$(BIN)/mypy

# One thread per test process: the processes already use every core.
unit: $(VENV)/installed-test
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

unit-all: $(VENV)/installed-test
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

notebook: $(VENV)/installed-test
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 ASSAY_BUDGET=smoke $(BIN)/python -m pytest -n auto --dist worksteal --nbmake notebooks

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Assay needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV) || { echo "On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/installed: setup.cfg pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/installed-test: setup.cfg pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@ $(VENV)/installed

site: $(VENV)/installed-test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
