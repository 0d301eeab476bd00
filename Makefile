# Cradle. Everything below runs without root, without a server, and without a network beyond the package index.
PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/.ready
DATE ?=
CUSTOMER ?= demo
FROM ?=
STACK ?=
GPU ?=
FACTORY_IMAGE ?=
BUILD_OPTIONS ?=
STAGES ?=
WORKERS ?= 2
SPREAD := -n $(WORKERS) --dist loadfile
COMPOSE := docker compose --file docker/compose.yaml

.PHONY: help setup demo image up down ui test test-unit test-s3 test-services test-faults test-images test-long lint lock bench bench-full docs

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(STAMP) ## Make the environment in .venv from the locked requirements

$(STAMP): requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	$(BIN)/uv --system-certs pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt requirements/uv.txt
	$(BIN)/uv --system-certs pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

ifeq ($(STACK),services)
demo: ## Run the demo customer's night; FROM=<folder> CUSTOMER=<name> runs it on your files; STACK=services on the servers
	@$(COMPOSE) exec -T airflow-scheduler$(if $(GPU),-gpu) cradle generate $(CUSTOMER)
	@$(COMPOSE) exec -T airflow-scheduler$(if $(GPU),-gpu) cradle night $(CUSTOMER) $(if $(DATE),--date $(DATE))
else
demo: $(STAMP)
ifeq ($(FROM),)
	@$(BIN)/cradle generate $(CUSTOMER)
	@$(BIN)/cradle night $(CUSTOMER) $(if $(DATE),--date $(DATE))
else
	@test -f data/customers/$(CUSTOMER).yaml || $(BIN)/cradle customers add $(CUSTOMER) --from "$(FROM)"
	@$(BIN)/cradle night $(CUSTOMER) --from "$(FROM)" $(if $(DATE),--date $(DATE))
endif
endif

image: ## Build the factory's container image from this code; FACTORY_IMAGE=<name> takes a ready one instead
	@$(if $(FACTORY_IMAGE),true,docker build $(BUILD_OPTIONS) --file docker/Dockerfile --tag cradle:local .)

up: image ## Start SeaweedFS, Polaris, PostgreSQL, Airflow and the dashboards; GPU=1 embeds on a GPU
	@GPU=$(GPU) FACTORY_IMAGE=$(FACTORY_IMAGE) sh docker/up.sh

down: ## Stop them; the data stay
	@$(COMPOSE) --profile gpu down

ui: $(STAMP) ## Start Airflow, the dashboards and the API of the image; Ctrl-C stops all three
	@$(BIN)/cradle ui $(CUSTOMER)

test: $(STAMP) lint test-unit ## Check the code, run all tests that need no servers, no engine and no hour; WORKERS=4 spreads them wider
	$(BIN)/python -m pytest -q $(SPREAD) -m "not long and not engine" --ignore=tests/unit

test-unit: $(STAMP) ## Run the unit tests
	$(BIN)/python -m pytest -q $(SPREAD) tests/unit

test-s3: $(STAMP) ## Run the behaviour tests over PostgreSQL and an S3 server
	$(BIN)/python -m pytest -q $(SPREAD) --backend s3 -m "not long" tests

test-services: $(STAMP) ## Run them over SeaweedFS, Polaris and PostgreSQL, and the tests of roles and isolation
	$(BIN)/python -m pytest -q $(SPREAD) --backend services -m "not faults and not long" tests

test-faults: $(STAMP) ## Kill those servers in the middle of nights, lose their answers, end their keys, fill their disk
	$(BIN)/python -m pytest -q --backend services -m faults tests

test-images: $(STAMP) ## Build the base, start images, install packages; needs Docker or Podman
	$(BIN)/python -m pytest -q -m engine tests

test-long: $(STAMP) ## Run the long tests: whole nights killed and backfilled
	$(BIN)/python -m pytest -q -m long

lint: $(STAMP) ## Check style, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(STAMP) ## Measure each stage beside its peers, at a reduced size; STAGES="ingest embed" takes some
	$(BIN)/python -m benchmarks $(STAGES) --size reduced

bench-full: $(STAMP) ## Measure them at the size of the lighting catalogue, and how cost grows
	$(BIN)/python -m benchmarks $(STAGES) --size full
	$(BIN)/python -m benchmarks $(STAGES) --growth --rounds 3

docs: $(STAMP) ## Write the pages that are generated from the code
	$(BIN)/python -m tests.write_docs

lock: ## Resolve the requirements anew (needs uv)
	uv pip compile --quiet --override requirements/overrides.in --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra factory --extra dev pyproject.toml requirements/build.in -o requirements/dev.txt
	uv pip compile --quiet --override requirements/overrides.in --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra serve pyproject.toml -c requirements/dev.txt -o requirements/serve.txt
	uv pip compile --quiet --override requirements/overrides.in --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra factory pyproject.toml requirements/build.in -c requirements/dev.txt -o requirements/factory.txt
	printf 'uv\nsetuptools\n' | uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-header - -c requirements/dev.txt -o requirements/base.txt
	echo uv | uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-header - -o requirements/uv.txt
