# Everything here sets itself up in .venv and needs nothing but python3, make and a package index.
#
#   make demo                          the whole main job against a sandbox, under a minute
#   make test                          every test that needs no site
#   make test BENCH=path SITE=name     and the tests of an ERPNext site on that bench
#   make simulate SEEDS=100000         more seeds of the fault simulator
#   make bench                         the benchmarks
#   make lint, make clean

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
SEEDS ?= 20000
PYTEST_ARGS ?=
BENCH_ARGS ?=

.PHONY: demo test site-check site-test simulate bench lint clean
.DELETE_ON_ERROR:

demo: $(VENV)/.app
	@$(RUN) -m marketplace_sync.demo

test: $(if $(BENCH),site-check) $(VENV)/.dev
	$(RUN) -m pytest $(PYTEST_ARGS)
ifdef BENCH
	@$(MAKE) --no-print-directory site-test
endif

# Before the long run, not after it.
site-check:
	@test -n "$(SITE)" || { echo "make test BENCH=$(BENCH): say which site too: SITE=name" >&2; exit 2; }
	@test -d "$(BENCH)/sites/$(SITE)" || { echo "There is no site $(SITE) in the bench $(BENCH)" >&2; exit 2; }

site-test: site-check
	# Frappe tells failed tests by its exit code only where CI is set.
	cd "$(BENCH)/sites" && CI=1 ../env/bin/python -m frappe.utils.bench_helper frappe --site "$(SITE)" \
		run-tests --app marketplace_sync

simulate: $(VENV)/.dev
	$(RUN) -m tests.simulator --seeds $(SEEDS)

bench: $(VENV)/.dev
	$(RUN) -m benchmarks $(BENCH_ARGS)

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environments are made anew only when pyproject.toml has changed.
$(VENV)/.app: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "Python 3.10 or newer is needed. Name yours: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "This Python can't make virtual environments:" \
		"install its venv package (Debian, Ubuntu: apt install python3-venv) and run make again." >&2; exit 1; }
	@echo "Setting up $(VENV) (only the first time)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(RUN) -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.app
	@$(RUN) -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@
