# Two commands on a fresh machine: `make demo` and `make test`. Both set up .venv themselves.

PYTHON ?= python3
VENV ?= .venv
BUDGET ?= small
RUNS ?= runs/quickstart-$(BUDGET)

BIN := $(VENV)/bin
export OMP_WAIT_POLICY := passive

.PHONY: demo test lint types unit clean

demo: $(VENV)/installed
	$(BIN)/assay run suites/quickstart.yaml --budget $(BUDGET) --runs $(RUNS)
	$(BIN)/assay report $(RUNS) -o report.html

test: lint types unit

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed-test
	$(BIN)/mypy

# One thread per test process: the processes already use every core.
unit: $(VENV)/installed-test
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal
	ASSAY_BUDGET=smoke $(BIN)/python -m pytest --nbmake notebooks

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Assay needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV) || { echo "On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/installed: setup.cfg pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/installed-test: setup.cfg pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
