# The verbs of every day; CI runs the same ones. `make demo` and `make test` set everything up by themselves.
PYTHON ?= python3.11
SHELL := /bin/bash
BIN := .venv/bin
# It pins pandas below 2.4, so it cannot live in .venv. Trees alone: its networks would bring torch and CUDA.
AUTOGLUON := autogluon.tabular[lightgbm,catboost,xgboost]>=1.6.3,<1.7
export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export DVC_NO_ANALYTICS := 1

.PHONY: help install autogluon lock demo test lint format types contracts bench clean

help: ## what each verb does
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: .venv/.installed ## make .venv with exactly what requirements.lock says

# uv only installs here; what gets installed is decided by the lock file alone (names, versions, hashes).
.venv/.installed: requirements.lock bootstrap.lock pyproject.toml
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r bootstrap.lock
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

autogluon: install ## make .venv-autogluon, AutoGluon's own environment (0.9 GB), for comparisons alone
	$(PYTHON) -m venv --clear .venv-autogluon
	$(BIN)/uv pip sync --quiet --python .venv-autogluon/bin/python --require-hashes --compile-bytecode autogluon.lock

lock: install ## resolve requirements.lock again within the bounds of pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --extra dev --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url -o requirements.lock
	echo '$(AUTOGLUON)' | $(BIN)/uv pip compile - --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url -o autogluon.lock

demo: install ## three simulated nights in ./demo, offline
	$(BIN)/flickcast demo

test: install lint types contracts ## everything CI checks
	$(BIN)/pytest

lint: install ## ruff, formatting included
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install ## rewrite the formatting
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

types: install ## mypy
	$(BIN)/mypy

contracts: install ## who may import whom
	$(BIN)/lint-imports

bench: install ## time each stage, write docs/performance.md's table
	$(BIN)/python benchmarks/stages.py

clean: ## remove what the verbs made
	rm -rf .venv .venv-autogluon demo build dist
