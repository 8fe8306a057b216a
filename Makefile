# Needs python3 (3.11 or newer) with venv, and make. Everything else comes from requirements.lock, by hash.
PYTHON ?= python3
ENVIRONMENT := .venv
BIN := $(ENVIRONMENT)/bin
PACKAGES := spec model impl conformance
FILES := $(shell find $(PACKAGES) -type f -not -path '*/__pycache__/*' | LC_ALL=C sort)

.DELETE_ON_ERROR:
.PHONY: help check test install lint types layers spelling dead-code unit format proved docs lock clean FORCE

help: ## Say what there is.
	@awk -F ': .*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

check: install ## The main job: check colofd's own receiver against the specification.
	$(BIN)/colofd check

test: lint types layers spelling dead-code unit ## Everything that tells whether a change is good.

install: $(ENVIRONMENT)/installed ## Make the environment and install colofd into it.

$(ENVIRONMENT)/locked: requirements.lock
	$(PYTHON) -m venv $(ENVIRONMENT)
	$(BIN)/pip install --quiet --require-hashes --requirement requirements.lock
	touch $@

# Holds the list of our files; it is written again only when a file came or went.
$(ENVIRONMENT)/files: FORCE | $(ENVIRONMENT)/locked
	@printf '%s\n' $(FILES) | cmp --silent - $@ || printf '%s\n' $(FILES) > $@

# The strict editable mode links each file, so that type checkers see the same package as Python does.
$(ENVIRONMENT)/installed: pyproject.toml setup.py $(ENVIRONMENT)/locked $(ENVIRONMENT)/files
	$(BIN)/pip install --quiet --quiet --no-deps --no-build-isolation --config-settings editable_mode=strict --editable .
	touch $@

lint: install ## Lint, and check the format.
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --check --quiet

types: install ## Check the types of the installed packages and of everything that uses them.
	$(BIN)/mypy $(PACKAGES:%=--package colofd.%)
	$(BIN)/mypy tests $(wildcard benchmarks/*.py)

layers: install ## Check that no part imports what it must not know.
	$(BIN)/lint-imports

spelling: install ## Look for misspelt words.
	$(BIN)/codespell

dead-code: install ## Look for code that nothing uses.
	$(BIN)/vulture

unit: install ## Run the tests.
	$(BIN)/pytest --numprocesses 2 --dist worksteal

format: install ## Write the format, and mend what the linter can mend.
	$(BIN)/ruff check --fix --quiet
	$(BIN)/ruff format --quiet

proved: install ## Prove everything, with known mistakes, mutants and proofs, and write docs/proved.md; some minutes.
	rm -rf build/proof
	$(BIN)/colofd prove --controls --mutants --export build/proof --proofs --json > docs/proved.json
	$(BIN)/python -m colofd.conformance.proved_page docs/proved.json > docs/proved.md

docs: install ## Build the documentation into build/site; a warning is an error.
	$(BIN)/python -m colofd.conformance.site build/site-source
	rm -rf build/site
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going build/site-source build/site

lock: install ## Write requirements.lock again from pyproject.toml.
	$(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header --no-emit-index-url --no-emit-find-links \
		--no-emit-trusted-host --extra cluster --extra dev --extra docs --extra qemu --all-build-deps --output-file requirements.lock pyproject.toml

clean: ## Remove what make made.
	rm -rf $(ENVIRONMENT) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
