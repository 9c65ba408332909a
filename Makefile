# `make` alone lists the targets. Everything lives in .venv/; nothing is installed outside it but test system packages.
# The first interpreter that is new enough: Ubuntu 22.04 keeps python3 at 3.10 beside its python3.11.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$p && break; done)
VENV   := .venv
BIN    := $(VENV)/bin
SECONDS ?=
.DEFAULT_GOAL := help

.PHONY: help setup setup-test run test check format bench fuzz soak conformance protos protos-check readme lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

# Bars on a terminal; in a pipe only errors. The second -q hides warnings, which tell of the machine's own pip settings.
INSTALL = quiet=; [ -t 1 ] || quiet=-qq; $(BIN)/python -m pip install --disable-pip-version-check $$quiet
FROM_INDEX = $(INSTALL) --require-hashes -r
NOT_INSTALLED = { echo "not installed: pip could not get what it needs from the package index that \`pip config list\` names; mend that, then run make again" >&2; exit 3; }

$(VENV)/.run: .locks/run.txt pyproject.toml
	@python=$$(command -v $(or $(PYTHON),python3)) || { echo "$(or $(PYTHON),python3) is missing: sudo apt install python3 python3-venv" >&2; exit 2; }; \
	$$python -c '$(NEW_ENOUGH)' || { echo "$$($$python --version) is too old, 3.11 or newer is needed: sudo apt install python3.11 python3.11-venv" >&2; exit 2; }; \
	$$python -c 'import ensurepip, venv' 2>/dev/null || { echo "$${python##*/}-venv is missing: sudo apt install $${python##*/}-venv" >&2; exit 2; }; \
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $$python -m venv --clear $(VENV)
	@echo "installing what the service needs (once, about a minute)"
	@$(FROM_INDEX) .locks/run.txt || $(NOT_INSTALLED)
	@$(INSTALL) -q --no-deps --no-build-isolation --no-index -e .
	@touch $@

$(VENV)/.test: $(VENV)/.run .locks/test.txt
	@echo "installing what the tests need (once, about a minute)"
	@$(FROM_INDEX) .locks/test.txt || $(NOT_INSTALLED)
	@touch $@

# Built here, since pyscard has no wheel for Linux; setuptools is among what the tests need. Tried anew each time it fails.
$(VENV)/.pcsc: $(VENV)/.test .locks/pcsc.txt
	@said=$$($(INSTALL) --require-hashes --no-build-isolation -r .locks/pcsc.txt 2>&1) && touch $@ || \
	echo "could not build pyscard ($$(echo "$$said" | grep -v '^ *$$' | tail -n 1)): tests of PC/SC readers will be skipped." \
	"Remedy: apt-get install gcc python3-dev swig libpcsclite-dev, then make test again" >&2

setup: $(VENV)/.run ## make .venv/ (.venv/bin/gate is the command)

setup-test: $(VENV)/.test

run: setup ## start the demonstration station; SECONDS=20 ends by itself
	@$(BIN)/gate demo $(if $(SECONDS),--seconds $(SECONDS))

test: setup-test ## install what tests need, check, then the whole suite (what .ci/run calls)
	@bash tests/support/system-packages.sh
	@$(MAKE) --no-print-directory $(VENV)/.pcsc
	@$(MAKE) --no-print-directory check
	@# Four at once on 2 cores: most of the time is spent waiting for devices. A file stays together, so that what its
	@# tests share is made once (xdist's groups do nothing under pytest 9).
	$(BIN)/python -m pytest -n 4 --dist loadfile tests

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

bench: setup-test ## measure; writes build/bench.json. FEED=full: the whole Delta
	@command -v redis-server >/dev/null || { run=; [ "$$(id -u)" -eq 0 ] || run="sudo -n"; $$run apt-get install -y -qq redis-server >/dev/null 2>&1 || echo "redis-server is not installed (sudo apt install redis-server): its figures are left out" >&2; }
	$(BIN)/python -m tests.bench $(PARTS) $(if $(filter full,$(FEED)),--subjects 235213670)

readme: setup-test ## put the tables and the figures of build/bench.json into the README
	$(BIN)/python -m tests.support.readme

fuzz: setup-test ## every codec's fuzz target for 60 s
	$(BIN)/python -m tests.fuzz --seconds 60

soak: setup-test ## the demonstration station for HOURS (default 0.5); 48 failing lanes for 10 minutes; kills and cuts
	$(BIN)/gate demo --seconds $$($(BIN)/python -c 'print(int(float("$(or $(HOURS),0.5)") * 3600))')
	$(BIN)/python -m tests.simulation.soak --minutes 10
	GATE_KILLS=300 $(BIN)/python -m pytest tests/sync -k kill
	GATE_CUTS=200 $(BIN)/python -m pytest tests/drivers/test_ghost_open.py tests/agent/test_cuts.py tests/agent/test_deputy_cuts.py
	GATE_FAULTS=1000 $(BIN)/python -m pytest -n 2 tests/conformance -k no_fault_of_a_night

conformance: setup-test ## CertLogic's suites, which tests prove which requirement, and the suite every driver must pass
	@proven=0; $(BIN)/python -m tests.support.requirements || proven=$$?; \
	$(BIN)/python -m pytest $(wildcard tests/conformance) tests/drivers && exit $$proven

lock: setup-test ## pin and hash everything again
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header .locks/run.in -o .locks/run.txt
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header .locks/test.in -c .locks/run.txt -o .locks/test.txt
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header .locks/pcsc.in -o .locks/pcsc.txt

clean: ## remove everything that was made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
