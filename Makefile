# Two commands, each complete on a fresh machine with Python >= 3.11 and a package index:
#   make quickstart   fine-tune one pretrained model over three tasks with five strategies, print the tables
#   make test         lint, type-check and test
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Processes of the tests: one a core, each of which takes about 1 GB.
WORKERS ?= logical
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

.PHONY: help quickstart test test-data bench clean

help:
	@sed -n 's/^#   //p' $(firstword $(MAKEFILE_LIST))

quickstart: $(VENV)/installed
	$(BIN)/retain run quickstart

test: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --maxprocesses 4 --dist worksteal

# Counts and labels of every task, on the real archives (downloads those that are not cached, 600 MB in all).
test-data: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m data

# Speed and memory against others and against what is promised: docs/performance.md. Hours: its parts can be run by themselves.
bench: $(VENV)/installed-dev build/bench/avalanche
	$(BIN)/python -m tests.bench

# Without what it depends on: nothing of that is used, and some of it does not fit every build of torch.
build/bench/avalanche: $(VENV)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target build/bench avalanche-lib==0.6.0
	@touch $@

$(VENV)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "retain needs Python >= 3.11, $(PYTHON) is older: make PYTHON=python3.11 ..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/installed: $(VENV)/python pyproject.toml constraints.txt
	$(INSTALL) .
	@touch $@

$(VENV)/installed-dev: $(VENV)/python pyproject.toml constraints.txt
	$(INSTALL) '.[dev]'
	@touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
