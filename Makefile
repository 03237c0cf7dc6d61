# `make demo` shows the product, `make test` proves it; both make their own .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test coverage check kind clean

demo: $(VENV)/.installed
	$(BIN)/rollout demo

# The tests of the pure parts alone run every line and branch of them (pyproject.toml, tool.rollout.coverage). They are
# measured, and therefore cheap: what takes long, or measures time or memory itself, is in other folders.
PURE := tests/checks tests/diagnosis tests/judge tests/mesh tests/playbook tests/record tests/report tests/stages tests/world

test: $(VENV)/.developed check coverage
	$(BIN)/pytest -n auto $(PURE:%=--ignore=%)

coverage: $(VENV)/.developed
	$(BIN)/pytest -n auto --cov --cov-report=json:build/coverage.json $(PURE)
	$(BIN)/python .ci/coverage build/coverage.json

check: $(VENV)/.developed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# Real Kubernetes, Istio and Prometheus, for those who have Docker; it says what is missing.
kind: $(VENV)/.installed
	docs/kind/up $(CURDIR)/$(BIN)/rollout

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "rollout needs Python 3.11 or newer; this is $$($(PYTHON) --version)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "Python has no venv here. Next: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.developed: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .coverage*
