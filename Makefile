# PYTHON makes the environment, VENV is where it lies. Each target makes it if it is missing and
# installs again when one of METADATA has changed; the version is in hf_attn/__init__.py.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
METADATA := pyproject.toml constraints.txt hf_attn/__init__.py

# What to hand on: make demo DEMO_ARGS="--output-dir model", make test PYTEST_ARGS="-k config".
DEMO_ARGS ?=
PYTEST_ARGS ?=
CONFORMANCE_ARGS ?=
# In the order in which they run: the second reads the model that the first one trains.
NOTEBOOKS := docs/notebooks/decisions.ipynb docs/notebooks/inside-attention.ipynb

# Empty files, as new as the last install without and with the `dev` extra.
BASE := $(VENV)/.installed-base
DEV := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test lint types format coverage conformance docs docs-serve notebooks
.PHONY: pictures build test-sdist clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

install: $(BASE) ## the package and what it needs to run, editable

demo: $(BASE) ## fetch R8, train on it, evaluate, answer three sentences
	$(BIN)/hf-attn quickstart $(DEMO_ARGS)

# A process for each core, with one thread each: they get in each other's way with more.
test: lint types ## lint, types and tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile $(PYTEST_ARGS)

lint: $(DEV) ## ruff: rules and layout
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV) ## mypy, strict
	$(BIN)/mypy

format: $(DEV) ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

coverage: $(DEV) ## the tests, with the lines and branches that none of them runs
	$(BIN)/python -m pytest --cov --cov-report=term $(PYTEST_ARGS)

conformance: $(DEV) ## transformers' own common tests, on our classes
	$(BIN)/python scripts/conformance.py $(CONFORMANCE_ARGS)

# Links within the site are checked; those to elsewhere are listed, for a person to follow.
docs: $(DEV) ## the documentation, in build/docs, and what it links to, in build/docs-links.txt
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	grep -rhoE --include='*.html' '<a[^>]* href="https?://[^"]+' build/docs \
		| sed 's/.*href="//' | sort | uniq -c > build/docs-links.txt

docs-serve: $(DEV) ## the documentation on loopback, built again at each change
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

notebooks: $(DEV) ## run the notebooks of the documentation and store what they give
	$(BIN)/python scripts/execute_notebooks.py $(NOTEBOOKS)

pictures: $(DEV) ## draw the pictures of the README and the documentation
	$(BIN)/python scripts/make_pictures.py

build: $(DEV) ## source distribution and wheel, in dist/
	rm -rf dist
	$(BIN)/python -m build

# Without the package's sources beside them, the tests can only import what was installed.
test-sdist: build ## the tests of the built source distribution, on the built package
	rm -rf build/sdist
	mkdir -p build/sdist
	tar -xzf dist/*.tar.gz -C build/sdist --strip-components=1
	rm -r build/sdist/hf_attn
	$(PYTHON) -m venv build/sdist/.venv
	build/sdist/.venv/bin/python -m pip install -c constraints.txt "$$(echo dist/*.tar.gz)[dev]"
	cd build/sdist && .venv/bin/python -m pytest $(PYTEST_ARGS)

clean: ## remove what was built and cached, keep the environment
	rm -rf build dist htmlcov .coverage .mypy_cache .pytest_cache .ruff_cache
	find hf_attn scripts tests -name __pycache__ -prune -exec rm -r {} +

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(BASE): $(METADATA) | $(BIN)/python
	$(BIN)/python -m pip install -c constraints.txt -e .
	touch $@

$(DEV): $(METADATA) | $(BIN)/python
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	touch $(BASE) $@
