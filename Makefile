# Everything runs from a virtual environment in .venv, made by hack/bootstrap.py; nothing else has to be installed.
PYTHON ?= python3
BIN := .venv/bin
ENGINE ?= docker
IMAGE ?= localhost/csi-model:$(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
REVISION ?= $(or $(shell git rev-parse HEAD 2>/dev/null),unknown)
HELM ?= helm
UV ?= uv
LOCK := --universal --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url --quiet \
	--custom-compile-command "make lock" --upgrade

.PHONY: help demo test lint unit sanity e2e bench scale docs clean run-env dev-env bench-env e2e-env image manifests lock

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: run-env ## Show a model volume end to end on this machine (ARGS="--help" for options)
	@$(BIN)/csi-model demo $(ARGS)

test: lint ## Run everything: linters, unit, contract and integration tests, and csi-sanity
	$(BIN)/python -m pytest $(ARGS)

lint: dev-env ## Check style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: dev-env ## Run the tests but csi-sanity
	$(BIN)/python -m pytest --ignore=tests/sanity $(ARGS)

sanity: dev-env ## Run the real csi-sanity against the driver and print its summary
	$(BIN)/python -m pytest tests/sanity -s $(ARGS)

e2e: e2e-env ## Run the scenarios in a real cluster on this machine, as root (ARGS="--keep-cluster"; see e2e/README.md)
	@$(BIN)/python -m e2e.cluster check
	@$(BIN)/python -m e2e.cluster.programs
	$(BIN)/python -m pytest e2e $(ARGS)

bench: bench-env ## Measure against what people use today (ARGS="--quick"; "--help" for options; see bench/README.md)
	@$(BIN)/python -m bench $(ARGS)

scale: e2e-env ## Measure the controller in a simulated cluster of 1,000 nodes (ARGS="--quick"; see docs/scale.md)
	@$(BIN)/python -m bench.scale $(ARGS)

docs: dev-env ## Render the pages that are made from the code
	$(BIN)/python -m csi_model.rpc.codes > docs/errors.md
	$(BIN)/python -m csi_model.core.fields > docs/parameters.md
	$(BIN)/python -m csi_model.rpc.metrics > docs/metrics.md

image: ## Build the container image (ENGINE=docker|podman|buildah; IMAGE=name:tag)
	$(ENGINE) build --file Dockerfile --build-arg REVISION=$(REVISION) --tag $(IMAGE) .

manifests: ## Render manifests/install.yaml from the chart (HELM=path)
	$(PYTHON) hack/render.py --helm $(HELM)

lock: ## Pin anew what the image installs, after a change of pyproject.toml's dependencies (UV=path)
	$(UV) pip compile $(LOCK) --output-file requirements.lock pyproject.toml
	$(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' | \
	$(UV) pip compile $(LOCK) --output-file requirements-build.lock --constraint requirements.lock -

run-env:
	@$(PYTHON) hack/bootstrap.py run

dev-env:
	@$(PYTHON) hack/bootstrap.py dev

e2e-env:
	@$(PYTHON) hack/bootstrap.py e2e

bench-env:
	@$(PYTHON) hack/bootstrap.py bench

clean: ## Remove .venv and what was built
	rm -rf .venv build dist csi_model/rpc/generated *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
