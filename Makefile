# Everything here needs only Python 3.10 or later: the first call makes a virtual environment.
#   make demo     the main job on an embedded Redis (ONCE=1: end after the proof)
#   make test     set up and run the tests
#   make check    lint and types
#   make bench    measure, side by side with other ways to stream
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
ARGS ?=

.PHONY: demo test check bench client screenshots clean

demo: $(VENV)/installed-demo
	@$(BIN)/python -m example_project.demo $(if $(ONCE),--once) $(ARGS)

test: $(VENV)/installed-test
	$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(VENV)/installed-dev
	$(BIN)/python -m benchmarks $(ARGS)

# The pictures in docs/images (needs Chromium).
screenshots: $(VENV)/installed-test
	$(BIN)/python -m tests.browser.screenshots

# The browser module is committed; this builds it anew (needs Node.js).
client:
	cd client && npm ci && npm run build && npm test

$(VENV)/python-made:
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/installed-%: $(VENV)/python-made pyproject.toml
	$(PIP) -e '.[$*]'
	@touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
