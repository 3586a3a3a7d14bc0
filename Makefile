# make run    start the PBX with examples/hello (no root, nothing to install first)
# make test   check and test everything; the last line is `N passed, N failed, N skipped`
# make check  formatting, lint, types, import rules
# make bench  measure calls and registrations, write docs/benchmarks.md
# make docs   write the generated documents again

SHELL := /bin/sh
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CONFIG ?= examples/hello
DATA ?= var/hello
TESTS ?= tests

.PHONY: help run test check format bench docs clean

help:
	@sed -n 's/^# //p' Makefile

run: $(VENV)/.installed
	@exec $(BIN)/pbx run --config $(CONFIG) --data $(DATA) --show-passwords

# Both halves always run, so that one look shows everything that is wrong.
test: $(VENV)/.installed-dev
	@$(MAKE) --no-print-directory check; checked=$$?; \
	CHECK_FAILED=$$checked $(BIN)/python -m pytest $(TESTS); tested=$$?; \
	[ $$checked -eq 0 ] && [ $$tested -eq 0 ]

check: $(VENV)/.installed-dev
	@status=0; \
	run() { echo "--- $$*"; $(BIN)/"$$@" || status=1; }; \
	run ruff check --output-format concise .; \
	run ruff format --check .; \
	run mypy; \
	run lint-imports --no-logo; \
	exit $$status

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

bench: $(VENV)/.installed-dev
	$(BIN)/python -m tests.bench.run --write docs/benchmarks.md

docs: $(VENV)/.installed
	$(BIN)/python -m services.core.config.document > docs/configuration.md
	$(BIN)/python -m services.core.events.document > docs/events.md
	$(BIN)/python -m services.core.events.asyncapi > docs/asyncapi.yaml
	$(BIN)/python -m services.core.metrics.document > docs/metrics.md
	$(BIN)/python -m services.core.sip.document > docs/transactions.md

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist *.egg-info

# --- the virtual environment -----------------------------------------------------------------------------------------

$(VENV)/.installed: pyproject.toml | $(BIN)/pip
	@echo 'installing (once) ...'
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/pip
	@echo 'installing the tools of the tests (once) ...'
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.installed

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "this needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo 'this Python cannot make virtual environments: apt-get install python3-venv' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
