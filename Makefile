# The commands of a checkout. Each one makes the environment it needs in .venv;
# the stamps in there make a second call instant.

# The first Python that is new enough: the system's, since distributions build theirs
# with profile-guided optimisation, which takes a third off the tests; then those on PATH.
PYTHON ?= $(shell for name in /usr/bin/python3 python3 \
	python3.14 python3.13 python3.12 python3.11; do \
	if $$name -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	then echo $$name; break; fi; done)
PIP := .venv/bin/pip --quiet --disable-pip-version-check
# Where PYTHONDONTWRITEBYTECODE is set, each start would compile the packages anew.
COMPILE := .venv/bin/python -m compileall -q registry webhooks
IMAGE ?= stagegate:dev
SERVE_ARGS ?=
PYTEST_ARGS ?=
# What `make bench` measures: a command of tests/bench.
BENCH ?= mlflow --plot bench.svg
BENCH_ARGS ?=
# Two keep two cores busy but for their waits; each further one collects and builds anew.
TEST_PROCESSES ?= 3
# Lengths of `make long`.
CRASH_RUNS ?= 1000
STATEFUL_STEPS ?= 10000
SCHEMATHESIS_SECONDS ?= 300
LONG_ARGS ?= -m long

SIDE_BY_SIDE := --numprocesses=$(TEST_PROCESSES) --dist=loadfile --no-loadscope-reorder \
	--durations=10

# Where it is set, each process that a test starts would compile all it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help venv test tests lint style types services check demo serve long bench screenshots image clean

help: ## say what there is
	@echo 'make demo    the whole story on this machine; KEEP=1 leaves the server running'
	@echo 'make serve   the server, on http://127.0.0.1:8000 (SERVE_ARGS="--port 9000")'
	@echo 'make test    lint, types, layers, and the tests on real services'
	@echo 'make lint    lint, types and layers alone'
	@echo 'make check   one part of the tests (PYTEST_ARGS="tests/unit -k policy")'
	@echo 'make long    the long tests (CRASH_RUNS=$(CRASH_RUNS) STATEFUL_STEPS=$(STATEFUL_STEPS)'
	@echo '             SCHEMATHESIS_SECONDS=$(SCHEMATHESIS_SECONDS))'
	@echo 'make bench   Stagegate beside MLflow, in ten minutes, as a table and as bench.svg'
	@echo '             (BENCH_ARGS="--only transition --seconds 3"); BENCH=sizes: as it grows'
	@echo 'make screenshots   every web page, light and dark, wide and narrow, in screenshots/'
	@echo 'make image   the container image $(IMAGE), by docker or buildah'
	@echo 'make venv    only the environment in .venv'
	@echo 'make clean   remove .venv and caches; data stay'

.venv/.made:
	@if [ -z "$(PYTHON)" ]; then \
		echo 'Stagegate needs Python 3.11 or newer with the module venv, found none;' \
			'on Debian and Ubuntu: apt-get install python3-venv' >&2; exit 1; fi
	@echo "==> making .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv
	@# --group, below, is newer than the pip of most systems.
	@$(PIP) install --upgrade 'pip>=25.1'
	@touch $@

.venv/.serve: pyproject.toml | .venv/.made
	@echo '==> installing Stagegate into .venv (half a minute)'
	@$(PIP) install --editable . && $(COMPILE)
	@touch $@

.venv/.demo: pyproject.toml | .venv/.made
	@echo '==> installing Stagegate and scikit-learn into .venv (a minute)'
	@$(PIP) install --editable '.[demo]' && $(COMPILE)
	@touch $@ .venv/.serve

.venv/.dev: pyproject.toml | .venv/.made
	@echo '==> installing Stagegate and the tools of its tests into .venv (two minutes)'
	@$(PIP) install --editable '.[demo]' --group dev && $(COMPILE)
	@touch $@ .venv/.serve .venv/.demo

venv: .venv/.dev

lint: style types

style: .venv/.dev
	@echo '==> ruff check'
	@.venv/bin/ruff check --quiet
	@echo '==> ruff format --check'
	@.venv/bin/ruff format --check --quiet
	@echo '==> lint-imports'
	@.venv/bin/lint-imports --no-logo

types: .venv/.dev
	@echo '==> mypy --strict'
	@.venv/bin/mypy

services: .venv/.dev
	@echo '==> services'
	@.venv/bin/python -m tests.services --build

test: style services
	@# Side by side: mypy keeps one core busy, the tests wait for servers now and then.
	@$(MAKE) --no-print-directory --jobs=2 types tests

tests: .venv/.dev
	@echo '==> tests, first those that coverage is asked of'
	@.venv/bin/coverage erase
	@# Without the carets of tracebacks, for which CPython 3.11 parses: its parser
	@# fails now and then while another thread parses too.
	@PYTHONNODEBUGRANGES=1 .venv/bin/coverage run -m pytest $(SIDE_BY_SIDE) \
		-m 'not long' $(PYTEST_ARGS)
	@echo '==> coverage: 95 % in all, 100 % for registry/domain and webhooks'
	@.venv/bin/coverage combine --quiet
	@.venv/bin/coverage report
	@.venv/bin/coverage report --include='registry/domain/*,registry/search/[gl]*,webhooks/*' --fail-under=100

check: services
	@.venv/bin/python -m pytest $(PYTEST_ARGS)

long: services
	@echo '==> long runs: $(CRASH_RUNS) crashes, $(STATEFUL_STEPS) steps, \
	$(SCHEMATHESIS_SECONDS) s of schemathesis'
	@STAGEGATE_TEST_CRASH_RUNS=$(CRASH_RUNS) \
	STAGEGATE_TEST_STATEFUL_STEPS=$(STATEFUL_STEPS) \
	STAGEGATE_TEST_SCHEMATHESIS_SECONDS=$(SCHEMATHESIS_SECONDS) \
	.venv/bin/python -m pytest --hypothesis-profile=long -v -rP $(LONG_ARGS)

screenshots: .venv/.dev
	@.venv/bin/python -m tests.browser.screenshots

bench: .venv/.dev
	@.venv/bin/python -m tests.bench $(BENCH) $(BENCH_ARGS)

demo: .venv/.demo
	@exec .venv/bin/stagegate demo $(if $(filter-out 0,$(KEEP)),--keep)

serve: .venv/.serve
	@exec .venv/bin/stagegate serve $(SERVE_ARGS)

image:
	@if docker info >/dev/null 2>&1; then \
		exec docker build --tag $(IMAGE) .; \
	elif command -v buildah >/dev/null; then \
		exec buildah --storage-driver vfs build --isolation chroot --tag $(IMAGE) .; \
	else echo 'neither a running docker nor buildah is here' >&2; exit 1; fi

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -f .coverage .coverage.*
	find registry webhooks tests -name __pycache__ -type d -prune -exec rm -rf {} +
