# Everything runs from a virtual environment in .venv, made by hack/bootstrap.py; nothing else has to be installed.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test lint unit sanity bench docs clean run-env dev-env bench-env

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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

bench: bench-env ## Measure against what people use today (ARGS="--quick"; "--help" for options; see bench/README.md)
	@$(BIN)/python -m bench $(ARGS)

docs: dev-env ## Render the pages that are made from the code
	$(BIN)/python -m csi_model.rpc.codes > docs/errors.md
	$(BIN)/python -m csi_model.core.fields > docs/parameters.md

run-env:
	@$(PYTHON) hack/bootstrap.py run

dev-env:
	@$(PYTHON) hack/bootstrap.py dev

bench-env:
	@$(PYTHON) hack/bootstrap.py bench

clean: ## Remove .venv and what was built
	rm -rf .venv build dist csi_model/rpc/generated *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
