PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Made after each install: of the plain package, of the tools of development, of the docs' builder.
PLAIN := $(VENV)/.plain
READY := $(VENV)/.ready
DOCS := $(VENV)/.docs
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# A worker takes about 2 GB; the tests of a file share what they load. Files come in the order of
# their names, so that those of processes, which take longest, are not left for the end.
TOGETHER := -q -n logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder
# Else each of the processes that tests start compiles the library for itself.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo quick test compiled lint format docs reference test-matrix gpu clean

demo: $(PLAIN)
	@echo 'Scoring the 9 files of examples/media (about 10 seconds) ...'
	@$(BIN)/librehps score examples/media --model tiny --table \
		--prompt "a red circle left of a blue square"
	@echo
	@echo 'Next:  . $(BIN)/activate   makes the command librehps available in this terminal.'
	@echo 'Then:  librehps score examples/media --model tiny --prompt "a red circle"'
	@echo 'More:  README.md, Six jobs; docs/quickstart.md'

# The tests of a few seconds each: what to run between two edits.
quick: $(READY)
	$(BIN)/python -m pytest $(TOGETHER) -m "not slow" tests/unit tests/cli

test: $(READY)
	@$(MAKE) --no-print-directory -j 2 lint compiled
	$(BIN)/python -m pytest $(TOGETHER) --durations=15

# What a fresh clone lacks, once for all workers, beside the types; the tests say what fails.
compiled: $(READY)
	-@$(BIN)/python -m pytest -q --collect-only > /dev/null 2>&1

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --cache-dir $(VENV)/.mypy_cache
	$(BIN)/python tools/words.py core librehps_cli tests tools benchmarks examples

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The docs site, in site/: a broken link or an unknown name of the Python API stops the build.
docs: $(READY) $(DOCS)
	$(BIN)/python -m pytest -q tests/unit/test_docs.py
	$(BIN)/zensical build --strict --clean

# What the pages show: the outputs of their commands, the reference of commands, the pictures.
reference: $(READY)
	$(BIN)/python tools/readme.py
	$(BIN)/python tools/pictures.py

# The golden tests on every Python and transformers that we support; needs those interpreters.
test-matrix:
	$(PYTHON) tools/matrix.py

# Checks and times on a CUDA GPU, with the packages of PYTHON: nothing is installed.
gpu:
	@PYTHONPATH=core:. $(PYTHON) benchmarks/gpu.py

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "librehps needs Python 3.11 or newer")'
	@$(PYTHON) -m venv $(VENV)

$(PLAIN): pyproject.toml constraints.txt | $(BIN)/python
	@echo 'Installing librehps into $(VENV) (1.6 GB on disk, 5.6 GB with CUDA; once; prints nothing for some minutes) ...'
	@$(PIP) -e .
	@touch $@

$(READY): pyproject.toml constraints.txt | $(BIN)/python
	@echo 'Installing librehps and the development tools into $(VENV) (3.5 GB on disk, once; takes some minutes) ...'
	@$(PIP) -e '.[dev]'
	@touch $(PLAIN) $@

$(DOCS): pyproject.toml constraints.txt | $(BIN)/python
	@echo 'Installing the docs builder into $(VENV) ...'
	@$(PIP) -e '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV) dist build site
