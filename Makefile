# Everything a fresh clone needs: `make demo` and `make test` set themselves up. Requires Python 3.11 to 3.13 and make.

# The first Python that fits; say PYTHON=/path/to/python to choose.
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c '$(FITS)' 2>/dev/null && { echo $$python; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Where `make demo` puts its copy of the project.
DIR ?= featurelayer-demo
# Options for pytest, as in `make test ARGS="-k codec"`.
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all check format bench mutants map vendor build clean

help:  ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' Makefile | awk -F ':.*## ' '{printf "make %-9s %s\n", $$1, $$2}'

install: $(READY)  ## Set .venv up; the others do it by themselves

$(READY): pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed: make PYTHON=/path/to/python" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	@touch $@

demo: $(READY)  ## Run the whole path on the flights of 2013 (about two minutes)
	$(BIN)/featurelayer demo --dir $(DIR)

# Two workers; one file's tests stay together, so that what a file builds is built once.
# FEATURELAYER_EXAMPLES=10 runs ten times as many examples of the property tests.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: $(READY)  ## Run the tests that need no JVM and no chdb, in about ten minutes
	$(PYTEST) -m "not engine" $(ARGS)

# What `make test` leaves: Spark, chdb and DynamoDB Local, more random worlds, and ten times as many failing exports.
test-all: $(READY)  ## Run the tests that `make test` leaves out, in about half an hour
	FEATURELAYER_REST=1 FEATURELAYER_WORLDS=$${FEATURELAYER_WORLDS:-4} FEATURELAYER_TRIALS=$${FEATURELAYER_TRIALS:-10} \
		$(PYTEST) -m "engine or more" $(ARGS)

check: $(READY)  ## Lint, types, layers and unit tests, in under a minute
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pytest -q -n 2 -m "not slow" tests/unit $(ARGS)

format: $(READY)  ## Format the code and repair what the linter can
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

bench: $(READY)  ## Run the benchmarks; each prints the ratios of one run
	@for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

# ARGS="--module classify --count 60 --seed 7" chooses; the default takes hours.
mutants: $(READY)  ## Break the critical modules on purpose; say what no test notices
	$(BIN)/python tools/mutants.py $(ARGS)

map: $(READY)  ## Renew the map of the folders in CONTRIBUTING.md
	$(BIN)/python tools/map.py

vendor:  ## Renew the JavaScript libraries of the catalog from the npm registry
	python3 tools/vendor.py $(ARGS)

build: $(READY)  ## Build the wheel, the source distribution and the wheel of the demo's data into dist/
	$(BIN)/python -m build --no-isolation
	$(BIN)/python -m build --no-isolation --wheel --outdir dist dbt_project/data

clean:  ## Remove what was built, and .venv; demo folders stay
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache benchmarks/data
	cd dbt_project && rm -rf target logs dbt_packages package-lock.yml .user.yml .featurelayer *.duckdb *.duckdb.wal
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
