# Everything a person types, each on a machine that has only Python 3.11+ and make:
#   make demo     simulated devices, a broker, the backend and a live view of events
#   make test     the tests
#   make lint     style, types, the stack of imports
#   make faults   kill backend, broker and devices at random; nothing may be lost
#   make bench    the measurements of benchmarks/README.md
PYTHON ?= python3
# The release that weights and tests were made with. A range would do, too; this keeps installations alike.
TORCH ?= torch==2.13.0
BIN := .venv/bin
export OMP_WAIT_POLICY := PASSIVE
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test lint bench faults clean
.DEFAULT_GOAL := demo

demo: .venv/backend
	@$(BIN)/backend demo $(ARGS)

test: .venv/dev
	$(BIN)/python -m pytest $(ARGS)

lint: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

faults: .venv/dev
	$(BIN)/python -m benchmarks.faults $(ARGS)

bench: .venv/dev
	$(BIN)/python -m benchmarks $(ARGS)

.venv/backend: pyproject.toml
	@echo "Installing into .venv, once; this takes a minute or two ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	@$(BIN)/pip install -q "$(TORCH)"
	@$(BIN)/pip install -q -e ".[backend]"
	@touch $@

.venv/dev: .venv/backend
	@echo "Installing what tests and linters need ..."
	@$(BIN)/pip install -q -e ".[dev]"
	@touch $@

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
