# `make help` lists the targets. Needs Python 3.11 or newer and nothing else; everything goes into .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN = $(abspath $(VENV))/bin
EXECUTIONS ?= 100000
JOBS ?= 2
STAMP = $(VENV)/.bincodec-installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test check lint types docs faults cluster fuzz benchmark format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## create .venv with the exact versions of constraints.txt

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=$(abspath constraints.txt) $(BIN)/python -m pip install --quiet -e '.[test,dev]'
	touch $@

demo: $(STAMP) ## compress and decode the bundled photo; leaves demo.bld and demo.png
	$(BIN)/python examples/demo.py

# bitstream/ comes first and by itself: 98 % of its lines and branches must be run, by its own tests. The other
# tests are shared out among JOBS processes, file by file, with one thread each.
test: lint types ## lint, check the types, run all tests; JOBS=4 for more at once
	$(BIN)/python -m pytest tests/bitstream --cov
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --ignore=tests/bitstream -n $(JOBS) --dist loadfile

check: test ## another name for test

lint: $(STAMP) ## ruff: rules and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy sees the tree as it installs: the flat folders mean nothing to it.
types: $(STAMP) ## mypy --strict on the installed layout
	rm -rf build
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --target build/typecheck .
	cd build/typecheck && $(BIN)/mypy --config-file ../../pyproject.toml --cache-dir ../../.mypy_cache -p bincodec

# mkdocstrings reads the package as it installs, like mypy. A warning is an error, and so is a link that leads nowhere.
docs: $(STAMP) ## the documentation as a site, build/site/index.html
	PIP_CONSTRAINT=$(abspath constraints.txt) $(BIN)/python -m pip install --quiet -e '.[docs]'
	rm -rf build/documented build/site
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --target build/documented .
	PYTHONPATH=docs/site $(BIN)/zensical build --strict --clean > build/docs.log 2>&1 || { cat build/docs.log; exit 1; }
	! grep griffe: build/docs.log

faults: $(STAMP) ## kill, interrupt and starve the command at many more moments than make test does
	BINCODEC_FAULT_ROUNDS=10 $(BIN)/python -m pytest tests/faults

cluster: $(STAMP) ## batches on two Ray nodes of this machine: a killed worker, a lost node, a bucket
	$(BIN)/python -m pytest tests/cli/batch -m cluster

# atheris is installed for this only: it comes without wheels for some platforms, and nothing else needs it.
fuzz: $(STAMP) ## feed every reader with made-up bytes; EXECUTIONS=1000000 for more
	PIP_CONSTRAINT=$(abspath constraints.txt) $(BIN)/python -m pip install --quiet atheris
	$(BIN)/python tests/fuzz/run.py --executions $(EXECUTIONS)

benchmark: $(STAMP) ## seconds and memory of ours and other codecs for the bundled photo, on two threads
	$(BIN)/bincodec eval speed examples/chelsea.png --threads 2 -o build/speed

format: $(STAMP) ## rewrite the sources with ruff
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove what the other targets made
	rm -rf .venv build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage demo.bld demo.png
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
