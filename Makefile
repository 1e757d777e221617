# Everything that EnrollSync needs is made inside this folder: .venv, .airflow and data, all three ignored by git.
PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
DEMO := data/landing/demo
PORT ?= 8080

export PATH := $(BIN):$(PATH)
export AIRFLOW_HOME := $(CURDIR)/.airflow
export AIRFLOW__CORE__DAGS_FOLDER := $(CURDIR)/dags
export AIRFLOW__CORE__PLUGINS_FOLDER := $(CURDIR)/plugins
export AIRFLOW__CORE__LOAD_EXAMPLES := False
# A district runs by itself when its file has a schedule; nobody has to switch it on as well.
export AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION := False
export AIRFLOW__API__HOST := 127.0.0.1
export AIRFLOW__API__PORT := $(PORT)
export AIRFLOW__API__BASE_URL := http://localhost:$(PORT)
# A task on a busy machine waits longer for an answer than Airflow's five seconds.
export AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT := 60
export GX_ANALYTICS_ENABLED := false

.DEFAULT_GOAL := help
.PHONY: help setup demo up pools roles test check lint docs lock browser redis secrets

help:
	@echo "make demo    run the demo district through Airflow and show what came of it"
	@echo "make up      start Airflow with the demo district on http://localhost:8080, or PORT=8090"
	@echo "make pools   make every district's pool in Airflow, which a run's start does by itself"
	@echo "make roles   make every district's roles under Airflow's FAB auth manager"
	@echo "make test    run all tests"
	@echo "make check   lint, types and the quick tests, in about a minute"
	@echo "make lint    check style and types"
	@echo "make audit   what is known against the locked packages, and their licences"
	@echo "make sbom    list everything that is installed here in sbom.cdx.json (CycloneDX)"
	@echo "make docs    write docs/findings.md anew from the table of findings"
	@echo "make torture kill and starve nights at random instants, and count what is lost (minutes)"
	@echo "make histories live through random nights, held against a model (HISTORIES=100 SEED=1; minutes)"
	@echo "make bench   measure against peers (SIZE=100000 students; takes minutes)"
	@echo "make setup   only set everything up; the other commands do so by themselves"
	@echo "make secrets write the passwords that docker-compose.yaml needs into .env"
	@echo "make lock    pin the newest dependencies that pyproject.toml allows"

setup: .venv/ready .airflow/ready

# uv is pinned by the lock like everything else; pip's only task is to fetch it.
.venv/ready: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { echo \
	"EnrollSync needs Python 3.11, 3.12 or 3.13, but '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.12" >&2; exit 1; }
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv || { echo \
	"The virtual environment could not be made; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing the locked dependencies into .venv"
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check $$(sed -n 's/^\(uv==[^ ]*\) .*/\1/p' requirements.lock)
	@.venv/bin/uv pip install --quiet --compile-bytecode --python .venv/bin/python --require-hashes -r requirements.lock
	@.venv/bin/uv pip install --quiet --compile-bytecode --python .venv/bin/python --no-deps --no-build-isolation --editable .
	@touch $@

.airflow/ready: requirements.lock | .venv/ready
	@echo "Setting up Airflow's database in .airflow"
	@mkdir -p -m 700 .airflow && mkdir -p .airflow/logs
	@airflow db migrate > .airflow/logs/setup.log 2>&1 || { tail -n 20 .airflow/logs/setup.log; exit 1; } >&2
	@touch $@

$(DEMO)/users.csv: | .venv/ready
	@enrollsync sample $(DEMO) --format batch_upload --students 500 --seed 7 --dirt 0.02

demo: setup $(DEMO)/users.csv
	@python scripts/demo.py

up: setup $(DEMO)/users.csv
	@python scripts/up.py

# The scheduler does so by itself; this is for an Airflow that does not load plugins/.
pools: setup
	@python scripts/pools.py

roles: setup
	@python scripts/roles.py

# A file's tests stay on one worker, so that what a file sets up is set up once. Three workers for two cores, because
# one of them mostly waits for Airflow; files in their own order, because the slow ones come first then.
test: .venv/ready browser redis
	@python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

# What to run after each change: nothing here starts a server or a whole night.
check: lint
	@python -m pytest -q -n auto --dist worksteal -m "not slow" tests/unit

# The browser tests drive Debian's Chromium; nothing else needs it.
browser:
	@command -v chromium > /dev/null || if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; \
	then echo "Installing chromium for the browser tests" && apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium > /dev/null; \
	else echo "The browser tests need chromium: install the package 'chromium' to run them." >&2; fi

# The tests of docker-compose.yaml start Debian's redis themselves; nothing else needs it, and it need not run. Where
# installing would start it, it is told not to.
redis:
	@command -v redis-server > /dev/null || if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; \
	then echo "Installing redis-server for the tests of docker-compose.yaml" && apt-get update -qq && RUNLEVEL=1 apt-get install -qq -y --no-install-recommends redis-server > /dev/null; \
	else echo "The tests of docker-compose.yaml need redis-server: install the package 'redis-server' to run them." >&2; fi

# For `docker compose up`; needs no virtual environment.
secrets:
	@$(PYTHON) scripts/new_secrets.py

lint: .venv/ready .venv-audit/asked
	@ruff check .
	@ruff format --check .
	@mypy
	@.venv-audit/bin/hadolint Dockerfile

.PHONY: audit sbom lock-audit

# Whoever checks style need not ask again about packages that have not changed.
.venv-audit/asked: .venv-audit/ready pyproject.toml
	@$(MAKE) --silent audit
	@touch $@

audit: .venv-audit/ready
	@.venv-audit/bin/pip-licenses --python .venv/bin/python --summary > .venv-audit/licences || { cat .venv-audit/licences; exit 1; }
	@echo "audit: licences of all packages are among those of pyproject.toml: $$(($$(wc -l < .venv-audit/licences) - 1)) wordings"
	@python scripts/audit.py

# What is installed here, with versions, hashes of origin and licences, in CycloneDX's form.
sbom: .venv-audit/ready
	@.venv-audit/bin/cyclonedx-py environment .venv --pyproject pyproject.toml --output-reproducible --output-file sbom.cdx.json
	@echo "Wrote sbom.cdx.json"

.venv-audit/ready: requirements-audit.lock | .venv/ready
	@echo "Installing the audit's locked dependencies into .venv-audit"
	@uv venv --quiet --allow-existing --python .venv/bin/python .venv-audit
	@uv pip install --quiet --python .venv-audit/bin/python --require-hashes -r requirements-audit.lock
	@touch $@

lock-audit: .venv/ready
	@uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
	--group audit -o requirements-audit.lock

docs: .venv/ready
	@python -m enrollsync.words.codes_page

lock: .venv/ready
	@uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
	--group airflow --group stack --group test --group lint --group setup pyproject.toml -o requirements.lock

.PHONY: torture histories bench bench-plot lock-bench

# What nobody wants to happen, with figures; docs/reliability.md has those of one run.
torture: .venv/ready
	@PYTHONPATH=.:tests python tests/torture.py --trials $(or $(TRIALS),25) --seed $(or $(SEED),1) --only "$(ONLY)"

# Random nights of a small district beside a model of what its roster should say, with Great Expectations in place.
histories: .venv/ready
	@PYTHONPATH=.:tests python tests/lived_histories.py --histories $(or $(HISTORIES),100) --seed $(or $(SEED),1)

# `SIZE=1000000 RUNS=3 make bench`; benchmarks/__main__.py lists what else can be set. The peers have an environment of
# their own, because they and the project cannot agree on one pandas.
bench: .venv/ready .venv-bench/ready
	@.venv-bench/bin/python -m benchmarks

bench-plot: .venv-bench/ready
	@.venv-bench/bin/python -m benchmarks.plot

.venv-bench/ready: requirements-bench.lock | .venv/ready
	@echo "Installing the bench's locked dependencies into .venv-bench"
	@uv venv --quiet --allow-existing --python .venv/bin/python .venv-bench
	@uv pip install --quiet --compile-bytecode --python .venv-bench/bin/python --require-hashes -r requirements-bench.lock
	@touch $@

lock-bench: .venv/ready
	@uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
	--group bench -o requirements-bench.lock
