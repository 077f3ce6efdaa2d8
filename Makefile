# Everything a person needs: `make up` to trade on paper, `make test` to check.
# Needs Python 3.11, 3.12 or 3.13 with venv, make and a package registry. No compiler.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
NAME ?=
SEEDS ?= 2000
MINUTES ?= 30

.PHONY: up test install check bench bench-peers simulate soak clean

up: $(STAMP)
	@exec $(BIN)/greenlight up $(ARGS)

install: $(STAMP)

$(STAMP): pyproject.toml cluster/constraints.txt
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
	  echo "greenlight: no '$(PYTHON)' on PATH; install Python 3.11, 3.12 or 3.13, or run: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(not ((3, 11) <= sys.version_info[:2] <= (3, 13)))' || { \
	  echo "greenlight: $$($(PYTHON) --version) is not supported; run: make PYTHON=python3.11 $(MAKECMDGOALS) (3.11, 3.12 or 3.13)" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "greenlight: this Python lacks venv; install your system's python3-venv package" >&2; exit 2; }
	@echo "greenlight: making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@echo "greenlight: installing packages"
	@$(BIN)/uv pip install --compile-bytecode --python $(BIN)/python --constraint cluster/constraints.txt --editable '.[dev]'
	@touch $(STAMP)

test: $(STAMP)
	@$(BIN)/python -m pytest $(ARGS)

check: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(STAMP)
	@$(BIN)/python -m tests.benchmarks $(NAME)

PEERS := .venv-peers
bench-peers: $(STAMP) $(PEERS)/.installed
	@$(BIN)/python -m tests.benchmarks backtest
	@$(BIN)/python -m tests.benchmarks sweep

# Apart from ours: they ask for other versions, and one is under the GPL.
$(PEERS)/.installed: tests/benchmarks/peers.txt
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(PEERS)
	@$(BIN)/uv pip install --quiet --python $(PEERS)/bin/python --requirement tests/benchmarks/peers.txt
	@touch $@

simulate: $(STAMP)
	@$(BIN)/python -m tests.faults.simulation --seeds $(SEEDS)

soak: $(STAMP)
	@$(BIN)/python -m tests.faults.soak --minutes $(MINUTES)

clean:
	@rm -rf $(VENV) $(PEERS) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
