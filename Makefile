# Everything here needs only Python 3.10 or later: the first call makes a virtual environment.
#   make demo     the main job on an embedded Redis (ONCE=1: end after the proof)
#   make test     set up and run the tests: each promise once
#   make test-all     the same, then the slow tests and the whole fault matrix (make test-rest)
#   make check    lint and types
#   make faults   every fault at every moment (part of make test-all)
#   make soak     MINUTES=5 SEED=1: load and faults; one line of figures
#   make mutations   take away what keeps each promise, and see tests go red
#   make versions     WITH='django==4.2.*' PYTHON=python3.12: the frameworks' tests with other versions
#   make lowest   the oldest versions that pyproject.toml promises (PYTHON=python3.10)
#   make conformance   the Durable Streams protocol's own suite against the relay (needs Node.js)
#   make package  sdist and wheel, in dist/
#   make docs     the documentation as a site, in site/
#   make bench    measure, side by side with other ways to stream
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
ARGS ?=

.PHONY: attack demo test test-all test-rest check faults soak mutations versions lowest conformance bench client screenshots package docs clean

demo: $(VENV)/installed-demo
	@$(BIN)/python -m example_project.demo $(if $(ONCE),--once) $(ARGS)

# More files at a time than two cores: most tests wait. Browser tests stay the last of each.
WORKERS ?= 3
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test: $(VENV)/installed-test
	$(PYTEST) $(ARGS)

test-all: test test-rest

# What make test leaves out, with what only that needs.
test-rest: $(VENV)/installed-test-all
	$(PYTEST) -m "slow or faults" $(ARGS)

check: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

faults: $(VENV)/installed-test
	$(PYTEST) tests/faults tests/contract tests/server/test_cluster.py tests/tasks/ends -m "" $(ARGS)

soak: $(VENV)/installed-test
	$(BIN)/python -m tests.faults.soak --minutes $(or $(MINUTES),5) --seed $(or $(SEED),0) $(ARGS)
	$(BIN)/python -m tests.faults.conversation_soak --minutes $(or $(MINUTES),5) --seed $(or $(SEED),0) $(ARGS)

# A relay server under attack, and one line of figures.
attack: $(VENV)/installed-test
	$(BIN)/python -m tests.security.attack $(ARGS)

mutations: $(VENV)/installed-test
	$(BIN)/python -m tests.mutations $(ARGS)

versions:
	$(PYTHON) -m venv --clear build/versions
	build/versions/bin/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	build/versions/bin/python -m pip install --quiet --disable-pip-version-check -e . --group test $(foreach one,$(WITH),'$(one)')
	build/versions/bin/python -m pytest tests/integrations -p no:cacheprovider $(ARGS)

# Exactly the oldest versions promised, on the oldest Python; test tools are the newest. Two files need packages
# that allow no versions as old as these.
LOWEST := tests/unit tests/contract tests/tasks/test_task_forms.py tests/tasks/test_task_arguments.py \
	tests/integrations/test_django.py tests/integrations/test_flask.py tests/integrations/test_fastapi.py \
	--ignore tests/unit/test_agent_builders.py --ignore tests/unit/test_agent_codecs.py
lowest:
	$(PYTHON) -m venv --clear build/lowest
	build/lowest/bin/python -m pip install --quiet --disable-pip-version-check uv
	build/lowest/bin/uv pip install --quiet -p build/lowest/bin/python --resolution lowest-direct -e '.[relay,reader,pydantic,django,flask,fastapi,streamstraight,cli,metrics,otel]'
	build/lowest/bin/uv pip install --quiet -p build/lowest/bin/python pytest pytest-asyncio pytest-timeout pytest-xdist pyyaml psutil hypothesis msgspec openai 'fakeredis[lua]'
	build/lowest/bin/python -m pytest -p no:anyio -n 2 --dist loadfile -p no:cacheprovider $(LOWEST) $(ARGS)

conformance: $(VENV)/installed-test
	$(BIN)/python -m pytest tests/conformance -v $(ARGS)

bench: $(VENV)/installed-dev
	$(BIN)/python -m benchmarks $(ARGS)

# The pictures in docs/images (needs Chromium).
screenshots: $(VENV)/installed-test
	$(BIN)/python -m tests.browser.screenshots

# The sdist, and the wheel from it.
package: $(VENV)/installed-dev
	rm -rf dist
	$(BIN)/python -m build --quiet
	$(BIN)/python -m twine check --strict dist/*

# The documentation as a site, in site/; a warning is an error.
docs: $(VENV)/installed-docs
	NO_MKDOCS_2_WARNING=true $(BIN)/python -m mkdocs build --strict $(ARGS)

# The browser module is committed; this builds it anew (needs Node.js).
client:
	cd client && npm ci && npm run build && npm test

$(VENV)/python-made:
	$(PYTHON) -m venv $(VENV)
	$(PIP) 'pip>=25.1'  # the first that installs dependency groups
	@touch $@

$(VENV)/installed-%: $(VENV)/python-made pyproject.toml
	$(PIP) -e . --group $*
	@touch $@

clean:
	rm -rf $(VENV) build dist site .pytest_cache .mypy_cache .ruff_cache
