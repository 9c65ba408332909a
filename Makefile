# `make` alone lists the targets. Everything lives in .venv/; nothing is installed outside it but test system packages.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SECONDS ?=
.DEFAULT_GOAL := help

.PHONY: help setup setup-test run test check format bench fuzz soak conformance protos protos-check lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(VENV)/.run: .locks/run.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: sudo apt install python3 python3-venv" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "python3-venv is missing: sudo apt install python3-venv" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing what the service needs (once, about a minute)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar on --require-hashes -r .locks/run.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $@

$(VENV)/.test: $(VENV)/.run .locks/test.txt
	@echo "installing what the tests need"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar on --require-hashes -r .locks/test.txt
	@touch $@

setup: $(VENV)/.run ## make .venv/ (.venv/bin/gate is the command)

setup-test: $(VENV)/.test

run: setup ## start the demonstration station; SECONDS=20 ends by itself
	@$(BIN)/gate demo $(if $(SECONDS),--seconds $(SECONDS))

test: check ## install what tests need, check, then the whole suite (what .ci/run calls)
	@bash tests/support/system-packages.sh
	$(BIN)/python -m pytest -n 2 --dist loadgroup tests

check: setup-test ## ruff, mypy, import table, protos, rules, README
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@$(MAKE) --no-print-directory protos-check
	$(BIN)/gate check-rules
	$(BIN)/python -m pytest -q tests/test_imports.py tests/test_readme.py

format: setup-test ## format and sort imports
	$(BIN)/ruff check --fix --select I .
	$(BIN)/ruff format .

protos: setup-test ## generate gate/v1 from protos/
	$(BIN)/python tests/support/protos.py generate

protos-check: setup-test ## buf lint, and gate/v1 is what protos/ gives
	$(BIN)/buf lint protos
	$(BIN)/python tests/support/protos.py compare

bench: setup-test ## measure; prints a table, writes build/bench.json
	$(BIN)/python -m tests.bench

fuzz: setup-test ## every codec's fuzz target for 60 s
	$(BIN)/python -m tests.fuzz --seconds 60

soak: setup-test ## the demonstration station for HOURS (default 0.5)
	$(BIN)/gate demo --seconds $$($(BIN)/python -c 'print(int(float("$(or $(HOURS),0.5)") * 3600))')

conformance: setup-test ## the suite every driver must pass
	$(BIN)/python -m pytest tests/conformance

lock: setup-test ## pin and hash everything again
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header .locks/run.in -o .locks/run.txt
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header .locks/test.in -c .locks/run.txt -o .locks/test.txt

clean: ## remove everything that was made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
