# Tenure: two commands on a fresh machine are `make demo` and `make test`.
# They need make, a POSIX shell and Python 3.11 to 3.13 (any of python3, python3.13, python3.12, python3.11; or PYTHON=...).
# Everything that they make, caches too, lives in .venv and .tenure.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.SUFFIXES:

CACHE := $(CURDIR)/.tenure/cache
BIN := .venv/bin
UV := .venv/.uv/bin/uv
PIP := --disable-pip-version-check --no-cache-dir install -q --no-user --root-user-action=ignore --upgrade

# The default cache folder fails where HOME is missing or cannot be written.
export UV_CACHE_DIR := $(or $(UV_CACHE_DIR),$(CACHE)/uv)
export UV_PYTHON_DOWNLOADS := never
export UV_NO_PROGRESS := 1
# Compiled files are kept, since imports take three times as long without, but not beside the sources.
export PYTHONDONTWRITEBYTECODE :=
export PYTHONPYCACHEPREFIX := $(CACHE)/pycache
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

# A name on the PATH may be a shim that starts nothing, so each one is run before it is believed.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1 \
	&& { echo "$$p"; break; }; done)

.PHONY: help demo up test test-extra check bench lock image manifests licences clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/.runtime ## Set up if needed, then delete and prove it against the local sandbox provider
	@$(BIN)/tenure demo

up: .venv/.runtime ## Serve API, worker and beat in one process on SQLite
	@$(BIN)/tenure up

# Three at once on two cores: a third of the time is spent waiting, for leases, ticks and pauses.
test: .venv/.test ## Run the whole test suite (SQLite, and PostgreSQL and Redis protocol servers from wheels)
	@$(BIN)/python -m pytest -n 3 --dist loadgroup --ignore=tests/extra --ignore=tests/bench $(ARGS)

test-extra: .venv/.extra ## Run what needs tools outside Python (browser, other languages); names what is absent
	@sh tests/house/extra.sh $(BIN)/python $(ARGS)

check: .venv/.test ## Lint, format, types and the import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --cache-dir $(CACHE)/imports

bench: .venv/.test ## Measure everything in docs/benchmarks.md, or the part in ARGS=tests/bench/test_speed.py
	@$(BIN)/python -m pytest -s $(or $(ARGS),tests/bench)

lock: $(UV) ## Write the locks again; ARGS="--upgrade-package NAME" moves a pin
	@echo uv | $(UV) pip compile -q --universal --generate-hashes --no-header --no-annotate $(ARGS) -o bootstrap.lock -
	@$(UV) pip compile -q --universal --generate-hashes --no-header --no-annotate $(ARGS) \
		pyproject.toml -o requirements.lock
	@$(UV) pip compile -q --universal --generate-hashes --no-header --no-annotate $(ARGS) \
		--extra otel -c requirements.lock pyproject.toml -o requirements-otel.lock
	@$(UV) pip compile -q --universal --generate-hashes --no-header --no-annotate $(ARGS) \
		--extra otel --group test -c requirements-otel.lock pyproject.toml -o requirements-test.lock
	@$(UV) pip compile -q --universal --generate-hashes --no-header --no-annotate $(ARGS) \
		--extra otel --group test --group extra -c requirements-test.lock pyproject.toml -o requirements-extra.lock

image: .venv/.extra ## Build the image with docker or buildah, and its list of parts (BASE=... takes another base)
	@sh deploy/build-image.sh
	@$(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --mc-type application --output-reproducible \
		--of JSON -o .tenure/tenure.cdx.json requirements-otel.lock
	@echo "list of parts: .tenure/tenure.cdx.json"

manifests: .venv/.extra ## Write deploy/kubernetes/base from the Helm chart
	@$(BIN)/python deploy/kubernetes/render.py

licences: .venv/.test ## Write docs/licences.md from what the installed packages say
	@$(BIN)/python deploy/licences.py

clean: ## Remove the environment and the caches; .tenure keeps its data
	rm -rf .venv .tenure/cache

# Installs exactly what lock $(1) names, by hash, then this checkout itself without any network: a sync removes it.
define install
	@$(UV) pip sync -q --python .venv --require-hashes $(1)
	@$(UV) pip install -q --python .venv --no-deps --no-build-isolation --offline -e .
endef

# uv itself comes by hash through pip. A Python without pip may still bring one for a venv of its own.
$(UV): bootstrap.lock
	@test -n "$(PYTHON)" || { echo "no Python 3.11 to 3.13 found: install one, or name it with PYTHON=..." >&2; exit 1; }
	@mkdir -p $(CACHE)
	@"$(PYTHON)" -m venv --clear --without-pip .venv
	@pip="$(PYTHON)"; "$$pip" -m pip --version >/dev/null 2>&1 || { \
		"$(PYTHON)" -m venv .venv/.pip >/dev/null 2>&1 && pip=.venv/.pip/bin/python || { \
		echo "$(PYTHON) has neither pip nor ensurepip: install your system's package for pip (python3-pip)" >&2; exit 1; }; }; \
	"$$pip" -m pip $(PIP) --target .venv/.uv --require-hashes -r bootstrap.lock
	@touch $@

.venv/.runtime: $(UV) requirements.lock pyproject.toml
	$(call install,requirements.lock)
	@rm -f .venv/.test
	@touch $@

# The test lock holds every pin of the runtime lock, so this set serves the demo as well; and so on.
.venv/.test: $(UV) requirements.lock requirements-test.lock pyproject.toml
	$(call install,requirements-test.lock)
	@touch .venv/.runtime $@

.venv/.extra: .venv/.test requirements-extra.lock
	$(call install,requirements-extra.lock)
	@touch .venv/.runtime .venv/.test $@
