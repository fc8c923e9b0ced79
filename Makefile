PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-all test-exhaustive test-cluster test-gpu bench simulate lint reference screenshots clean

demo: $(VENV)/installed ## install, train the demo board, print its table and its page
	$(BIN)/harness run demo

test: lint ## everything quick: ruff, mypy, pytest
	$(BIN)/pytest --numprocesses auto --dist worksteal

test-all: $(VENV)/installed-test ## what is slow or needs a service
	$(BIN)/pytest -m "(slow or service) and not exhaustive" --timeout 1800 --numprocesses auto --dist loadfile --durations 40

test-exhaustive: $(VENV)/installed-test ## slow tests that show in another way what shorter ones show
	$(BIN)/pytest -m exhaustive --timeout 1800 --numprocesses auto --dist loadfile --durations 40

test-cluster: $(VENV)/installed-test ## boards on a real SLURM and a real Ray cluster, which it starts
	.ci/packages slurm-wlm slurmdbd munge mariadb-server
	$(BIN)/pytest tests/cluster -m cluster --timeout 600 --numprocesses auto --dist loadfile

# PYTHON=... on the command line is taken as it is, for machines on which nothing can be installed
ifeq ($(origin PYTHON),command line)
GPU_PYTHON := $(PYTHON)
else
GPU_PYTHON := $(BIN)/python
test-gpu: $(VENV)/installed-test
endif

test-gpu: ## on a GPU: its tests and the engine's figures beside their bars, in build/gpu.json; PART=tests, speed or a model
	$(GPU_PYTHON) tests/gpu/acceptance.py $(if $(PART),--part $(PART))

bench: $(VENV)/installed-test ## what is fast, against its plain alternative; figures in build/benchmarks.json
	mkdir -p build
	$(BIN)/pytest tests/benchmarks --timeout 1800 --benchmark-json build/benchmarks.json

simulate: $(VENV)/installed-test ## what the statistics are chosen by; tables in docs/simulations.md
	for program in tests/simulations/[!t]*.py; do $(BIN)/python $$program || exit 1; done

lint: $(VENV)/installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

reference: $(VENV)/installed ## docs/cli.md and the tables of docs/board.md, from the code
	$(BIN)/python .github/reference.py

screenshots: $(VENV)/installed-test ## the documents' pictures of kept boards, by Chromium
	$(BIN)/python .github/screenshots.py

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/installed-test: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable ".[test]"
	touch $@ $(VENV)/installed
