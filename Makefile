# Two commands on a fresh machine (Python 3.11+ and make): `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo test test-slow test-all lint types bench docs clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable . --group dev --group docs
	touch $@

demo: $(READY)  ## run the whole job on an invented CRM, and hold it against its hidden truth
	$(BIN)/crmbridge demo

test: $(READY)  ## the default tests, under 5 minutes on 2 cores
	$(BIN)/python -m pytest -m "not slow and not large" -n auto --dist loadfile

test-slow: $(READY)  ## the tests that `make test` leaves out, but for worlds of some size
	$(BIN)/python -m pytest -m "slow and not large" -n auto --dist loadfile

test-all: $(READY)  ## every test
	$(BIN)/python -m pytest -n auto --dist loadfile

lint: $(READY)  ## style, import rules
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(READY)  ## mypy, strict
	$(BIN)/mypy

bench: $(READY)  ## speed and size, with this machine's cores and memory
	$(BIN)/python -m benchmarks.run

docs: $(READY)  ## the documentation as pages, in site/
	$(BIN)/mkdocs build --strict --quiet

clean:  ## remove what the other targets made
	rm -rf $(VENV) demo site build dist
