# Every target sets up what it needs; `make demo` and `make test` work in a fresh clone.

SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

python := .venv/bin/python
# More options for the program behind a target: make test ARGS="-x --lf", make demo ARGS="--port 9000".
ARGS ?=
# Tests that start no process, and tests with processes, sockets and a browser.
fast := tests/unit tests/model tests/contract tests/architecture
slow := tests/integration tests/fuzz tests/generation
browser := tests/e2e
browsers := tests/browsers
typescript := clients/typescript

# pyright says that a newer one exists; the lock decides.
export PYRIGHT_PYTHON_IGNORE_WARNINGS = 1

.PHONY: help setup demo test test-browsers test-fast lint format bundle bench soak lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## Make .venv with the locked packages (the other targets do it by themselves)
	@scripts/setup

demo: setup ## Run the demo; it prints the address to open
	@.venv/bin/clarion demo $(ARGS)

test: setup ## Run every test
	@scripts/browser
	@echo "test: the TypeScript client: tests, package, sizes, speed"
	@scripts/npm $(typescript)/test/react18
	@scripts/npm $(typescript) check
	@echo "test: unit, model, contract, architecture"
	@$(python) -m pytest -q -n 2 --dist worksteal $(fast) $(ARGS)
	@echo "test: integration, fuzz"
	@$(python) -m pytest -q -n 2 --dist worksteal --durations 5 $(slow) $(ARGS)
	@echo "test: a browser"
	@$(python) -m pytest -q --durations 5 $(browser) $(ARGS)
	@echo "test: the TypeScript client in Chromium"
	@$(python) -m pytest -q -n 2 --dist worksteal --durations 5 $(browsers) $(ARGS)

test-browsers: setup ## Run the TypeScript client in Firefox and WebKit
	@scripts/browsers
	@$(python) -m pytest -q -n 2 --dist worksteal --durations 5 $(browsers) --browsers=firefox,webkit $(ARGS)

test-fast: setup ## Run only the tests that start no process
	@$(python) -m pytest -q $(fast) $(ARGS)

lint: setup ## Check style, format and types; change nothing
	@scripts/system-packages nodejs
	@echo "lint: ruff check"
	@$(python) -m ruff check --quiet
	@echo "lint: ruff format"
	@$(python) -m ruff format --check --quiet
	@echo "lint: mypy"
	@$(python) -m mypy --no-error-summary
	@echo "lint: pyright"
	@$(python) -m pyright
	@echo "lint: biome and tsc"
	@scripts/npm $(typescript) lint

format: setup ## Format the code, and mend what ruff can mend
	@$(python) -m ruff check --fix --quiet
	@$(python) -m ruff format --quiet
	@scripts/npm $(typescript) format

bundle: ## Build the TypeScript client into the Python package, where the hub serves it from
	@scripts/npm $(typescript) bundle ../../src/clarion/static/clarion.js

bench: setup ## Measure Clarion beside other servers, and write the results
	@scripts/system-packages nginx libnginx-mod-nchan
	@PYTHONPATH=. $(python) -m benchmarks $(ARGS)

soak: setup ## Connect, drop, read slowly and publish at random for long, and watch the memory
	@PYTHONPATH=. $(python) -m benchmarks soak $(ARGS)

lock: setup ## Pin anew what changed in pyproject.toml; all of it with ARGS=--upgrade
	@scripts/lock $(ARGS)

clean: ## Remove what the other targets made
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis dist $(typescript)/dist examples/react-dashboard/dist
	@find . \( -name __pycache__ -o -name node_modules \) -type d -prune -exec rm -rf {} +
