# Posthaste. `make` alone lists what there is.

PYTHON ?=
export PYTHON
BIN = .venv/bin
DRILL ?=
MINUTES ?= 30
LONG ?= 10
CODE = crm_api email_service shared local alembic bench drill tests tools
COMPILE = uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11

.DEFAULT_GOAL := help
.PHONY: help run test test-long check drill soak bench format lock clean

help: ## this list
	@echo "make …"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## everything on this machine: installs what is missing, says where to go; Ctrl-C stops it
	@tools/bootstrap run
	@exec $(BIN)/python -m local run --with-parent

test: ## all tests, with real parts (finds or installs RabbitMQ, PostgreSQL, Chromium)
	@tools/bootstrap dev
	@$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder  # they often wait; each has a broker and databases

test-long: ## fuzzes every route and looks for orders of events that break a promise, others each time (LONG=10 minutes each)
	@tools/bootstrap dev
	@$(BIN)/python -m pytest -m long --minutes $(LONG) --numprocesses 2
	@$(BIN)/python -m pytest tests/model --hypothesis-profile=long --numprocesses 2 --timeout 0

check: ## lint, formatting, types, import contracts, known vulnerabilities
	@tools/bootstrap dev
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	@$(BIN)/python tools/audit.py

drill: ## breaks the running product in every way we know and checks that nothing is lost (DRILL="--seed …")
	@tools/bootstrap dev
	@$(BIN)/python -m drill $(DRILL)

soak: ## runs under load with random faults and watches memory and file descriptors (MINUTES=30)
	@tools/bootstrap dev
	@$(BIN)/python -m drill soak --minutes $(MINUTES) $(DRILL)

bench: ## what it is measured against, and how fast; writes docs/benchmarks.md (half an hour)
	@tools/bootstrap bench
	@$(BIN)/python -m bench

format: ## rewrite the code as `make check` wants it
	@tools/bootstrap dev
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

lock: ## pin requirements/*.txt anew from pyproject.toml, for every platform
	$(COMPILE) pyproject.toml -o requirements/run.txt
	$(COMPILE) --group dev pyproject.toml -o requirements/dev.txt
	$(COMPILE) --group bench pyproject.toml -c requirements/dev.txt -o requirements/bench.txt

clean: ## remove what was made here: .venv, caches (data in .run stays)
	rm -rf .venv .venv.lock .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
